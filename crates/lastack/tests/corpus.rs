//! What fuzzing found or started from, replayed: each file of `fuzz/corpus` goes through the check that the
//! fuzzer of its folder's name makes. `fuzz/README.md` says how to fuzz.

use std::collections::BTreeSet;
use std::panic::RefUnwindSafe;
use std::path::{Path, PathBuf};

#[path = "../../../fuzz/checks/case.rs"]
mod case;
#[path = "../../../fuzz/checks/journal.rs"]
mod journal;
#[path = "../../../fuzz/checks/netlink.rs"]
mod netlink;
#[path = "../../../fuzz/checks/pasted.rs"]
mod pasted;
#[path = "../../../fuzz/checks/pasted_outputs.rs"]
mod pasted_outputs;
#[path = "../../../fuzz/checks/plan.rs"]
mod plan;
#[path = "../../../fuzz/checks/proc.rs"]
mod proc;
#[path = "../../../fuzz/checks/redaction.rs"]
mod redaction;
#[path = "../../../fuzz/checks/sos.rs"]
mod sos;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn files_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let files = std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut files: Vec<_> = files.collect::<Result<_, _>>()?;
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    Ok(files)
}

fn replay(target: &str, check: impl Fn(&[u8]) + RefUnwindSafe) -> std::io::Result<()> {
    let mut failed = Vec::new();
    for file in files_in(&fuzz().join("corpus").join(target))? {
        let bytes = std::fs::read(&file)?;
        if std::panic::catch_unwind(|| check(&bytes)).is_err() {
            failed.push(file);
        }
    }
    assert!(failed.is_empty(), "what must hold does not for {failed:#?}");
    Ok(())
}

/// The names of the files, or folders, in a folder of `fuzz/`, without what comes after a point.
fn names_in(folder: &str) -> std::io::Result<BTreeSet<String>> {
    let files = files_in(&fuzz().join(folder))?;
    Ok(files.iter().filter_map(|file| file.file_stem()?.to_str().map(str::to_owned)).collect())
}

#[test]
fn each_target_has_a_corpus_and_each_of_a_tool_its_outputs() -> std::io::Result<()> {
    let targets = names_in("fuzz_targets")?;
    assert_eq!(names_in("corpus")?, targets);
    let of_tools: BTreeSet<_> = targets.into_iter().filter(|target| target.starts_with("pasted_")).collect();
    assert_eq!(
        pasted_outputs::TARGETS.iter().map(|(target, _)| (*target).to_owned()).collect::<BTreeSet<_>>(),
        of_tools
    );
    Ok(())
}

#[test]
fn the_corpus_of_cases_is_read_and_diagnosed() -> std::io::Result<()> {
    replay("case", case::case)
}

#[test]
fn the_corpus_of_netlink_datagrams_is_read_and_counted() -> std::io::Result<()> {
    replay("netlink", netlink::netlink)
}

#[test]
fn the_corpus_of_pasted_texts_is_read_and_diagnosed() -> std::io::Result<()> {
    replay("pasted", pasted::pasted)
}

#[test]
fn the_corpus_of_proc_texts_is_read() -> std::io::Result<()> {
    replay("proc", proc::proc)
}

#[test]
fn the_corpus_of_plans_is_read() -> std::io::Result<()> {
    replay("plan", plan::plan)
}

#[test]
fn the_corpus_of_journals_is_read() -> std::io::Result<()> {
    replay("journal", journal::journal)
}

#[test]
fn the_corpus_of_each_tools_output_is_read() -> std::io::Result<()> {
    for (target, _) in pasted_outputs::TARGETS {
        replay(target, |bytes| pasted_outputs::check(target, bytes))?;
    }
    Ok(())
}

#[test]
fn the_corpus_of_texts_with_addresses_is_redacted() -> std::io::Result<()> {
    replay("redaction", redaction::redaction)
}

#[test]
fn the_corpus_of_paths_of_reports_is_told_apart() -> std::io::Result<()> {
    replay("sos", sos::sos)
}
