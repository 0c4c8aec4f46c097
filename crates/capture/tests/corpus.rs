//! What fuzzing found or started from, replayed: each file of `fuzz/corpus` goes through the check that the fuzzer
//! of its folder's name makes. `fuzz/README.md` says how to fuzz.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test, and the corpus is files")]
#![allow(clippy::print_stdout, reason = "a failure names the file")]
#![allow(unreachable_pub, reason = "the checks are public for the fuzz targets")]

use std::path::Path;

#[path = "../../../fuzz/checks/capture_file.rs"]
mod capture_file;
#[path = "../../../fuzz/checks/frame.rs"]
mod frame;
#[path = "../../../fuzz/checks/http.rs"]
mod http;
#[path = "../../../fuzz/checks/tcp_options.rs"]
mod tcp_options;

fn replay(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", corpus.display());
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        println!("{}", file.display());
        check(&bytes);
    }
}

#[test]
fn the_corpus_of_captures_is_read() {
    replay("capture_file", capture_file::capture_file);
}

#[test]
fn the_corpus_of_frames_is_taken_apart() {
    replay("frame", frame::frame);
}

#[test]
fn the_corpus_of_options_is_walked() {
    replay("tcp_options", tcp_options::tcp_options);
}

#[test]
fn the_corpus_of_http_is_counted() {
    replay("http", http::http);
}
