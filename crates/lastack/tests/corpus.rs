//! What fuzzing found or started from, replayed: each file of `fuzz/corpus` goes through the check that the
//! fuzzer of its folder's name makes. `fuzz/README.md` says how to fuzz.

use std::collections::BTreeSet;
use std::panic::RefUnwindSafe;
use std::path::{Path, PathBuf};

#[path = "../../../fuzz/checks/capture_file.rs"]
mod capture_file;
#[path = "../../../fuzz/checks/case.rs"]
mod case;
#[path = "../../../fuzz/checks/frame.rs"]
mod frame;
#[path = "../../../fuzz/checks/haproxy_config.rs"]
mod haproxy_config;
#[path = "../../../fuzz/checks/http.rs"]
mod http;
#[path = "../../../fuzz/checks/journal.rs"]
mod journal;
#[path = "../../../fuzz/checks/netlink.rs"]
mod netlink;
#[path = "../../../fuzz/checks/nginx_config.rs"]
mod nginx_config;
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
#[path = "../../../fuzz/checks/sysctl_config.rs"]
mod sysctl_config;
#[path = "../../../fuzz/checks/tcp_options.rs"]
mod tcp_options;

/// A target, and what must hold of any bytes.
type Check = (&'static str, fn(&[u8]));

/// The targets with a check of their own; those of one tool's output are in another table.
const CHECKS: [Check; 15] = [
    ("capture_file", capture_file::capture_file),
    ("case", case::case),
    ("frame", frame::frame),
    ("haproxy_config", haproxy_config::haproxy_config),
    ("http", http::http),
    ("journal", journal::journal),
    ("netlink", netlink::netlink),
    ("nginx_config", nginx_config::nginx_config),
    ("pasted", pasted::pasted),
    ("plan", plan::plan),
    ("proc", proc::proc),
    ("redaction", redaction::redaction),
    ("sos", sos::sos),
    ("sysctl_config", sysctl_config::sysctl_config),
    ("tcp_options", tcp_options::tcp_options),
];

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

/// The names of the files, or folders, in a folder of `fuzz/`, without what comes after a point.
fn names_in(folder: &str) -> std::io::Result<BTreeSet<String>> {
    let files = files_in(&fuzz().join(folder))?;
    Ok(files.iter().filter_map(|file| file.file_stem()?.to_str().map(str::to_owned)).collect())
}

/// The files of a corpus for which what must hold does not.
fn failing(target: &str, check: impl Fn(&[u8]) + RefUnwindSafe) -> std::io::Result<Vec<PathBuf>> {
    let mut failed = Vec::new();
    for file in files_in(&fuzz().join("corpus").join(target))? {
        let bytes = std::fs::read(&file)?;
        if std::panic::catch_unwind(|| check(&bytes)).is_err() {
            failed.push(file);
        }
    }
    Ok(failed)
}

#[test]
fn each_target_has_a_corpus_that_is_replayed() -> std::io::Result<()> {
    let targets = names_in("fuzz_targets")?;
    assert_eq!(names_in("corpus")?, targets);
    let of_tools = pasted_outputs::TARGETS.map(|(target, _)| target);
    let replayed = CHECKS.iter().map(|(target, _)| *target).chain(of_tools);
    assert_eq!(replayed.map(str::to_owned).collect::<BTreeSet<_>>(), targets);
    Ok(())
}

#[test]
fn what_must_hold_of_each_corpus_does() -> std::io::Result<()> {
    let mut failed = Vec::new();
    for (target, check) in CHECKS {
        failed.extend(failing(target, check)?);
    }
    assert!(failed.is_empty(), "what must hold does not for {failed:#?}");
    Ok(())
}

#[test]
fn what_must_hold_of_each_tools_output_does() -> std::io::Result<()> {
    let mut failed = Vec::new();
    for (target, _) in pasted_outputs::TARGETS {
        failed.extend(failing(target, |bytes| pasted_outputs::check(target, bytes))?);
    }
    assert!(failed.is_empty(), "what must hold does not for {failed:#?}");
    Ok(())
}
