//! What fuzzing found or started from, replayed: each file of `fuzz/corpus` goes through the check that the
//! fuzzer of its folder's name makes. `fuzz/README.md` says how to fuzz.

use std::path::Path;

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

fn replay(target: &str, check: fn(&[u8])) -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files = std::fs::read_dir(&corpus)?.map(|entry| entry.map(|entry| entry.path()));
    let mut files: Vec<_> = files.collect::<Result<_, _>>()?;
    files.sort();
    assert!(!files.is_empty(), "{} is empty", corpus.display());
    let mut failed = Vec::new();
    for file in files {
        let bytes = std::fs::read(&file)?;
        if std::panic::catch_unwind(|| check(&bytes)).is_err() {
            failed.push(file);
        }
    }
    assert!(failed.is_empty(), "what must hold does not for {failed:#?}");
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
    replay("pasted_around", pasted_outputs::around)?;
    replay("pasted_bsd", pasted_outputs::bsd)?;
    replay("pasted_conntrack", pasted_outputs::conntrack)?;
    replay("pasted_netstat", pasted_outputs::netstat)?;
    replay("pasted_nstat", pasted_outputs::nstat)?;
    replay("pasted_powershell", pasted_outputs::powershell)?;
    replay("pasted_proc_tcp", pasted_outputs::proc_tcp)?;
    replay("pasted_settings", pasted_outputs::settings)?;
    replay("pasted_ss", pasted_outputs::ss)?;
    replay("pasted_statistics", pasted_outputs::statistics)?;
    replay("pasted_windows", pasted_outputs::windows)
}

#[test]
fn the_corpus_of_texts_with_addresses_is_redacted() -> std::io::Result<()> {
    replay("redaction", redaction::redaction)
}

#[test]
fn the_corpus_of_paths_of_reports_is_told_apart() -> std::io::Result<()> {
    replay("sos", sos::sos)
}
