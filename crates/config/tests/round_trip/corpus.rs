//! What fuzzing found or started from, replayed. `fuzz/README.md` says how to fuzz.

use crate::{haproxy_config::haproxy_config, nginx_config::nginx_config, sysctl_config::sysctl_config};
use std::path::Path;

fn replay(folder: &str, begins: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begins)));
    files.sort();
    assert!(!files.is_empty(), "{} has no {begins}*", folder.display());
    for file in files {
        println!("{}", file.display());
        check(&std::fs::read(&file).unwrap());
    }
}

#[test]
fn the_examples_are_written_as_they_were_read() {
    for (begins, check) in
        [("nginx-", nginx_config as fn(&[u8])), ("haproxy-", haproxy_config), ("sysctl-", sysctl_config)]
    {
        replay("tests/examples", begins, check);
    }
}

#[test]
fn the_corpus_of_nginx_is_written_as_it_was_read() {
    replay("../../fuzz/corpus/nginx_config", "", nginx_config);
}

#[test]
fn the_corpus_of_haproxy_is_written_as_it_was_read() {
    replay("../../fuzz/corpus/haproxy_config", "", haproxy_config);
}

#[test]
fn the_corpus_of_sysctl_is_written_as_it_was_read() {
    replay("../../fuzz/corpus/sysctl_config", "", sysctl_config);
}
