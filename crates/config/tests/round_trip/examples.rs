//! The examples of this crate's tests; what fuzzing found is replayed by `crates/lastack/tests/corpus.rs`.

use crate::{haproxy_config::haproxy_config, nginx_config::nginx_config, sysctl_config::sysctl_config};

#[test]
fn the_examples_are_written_as_they_were_read() {
    for (begins, check) in
        [("nginx-", nginx_config as fn(&[u8])), ("haproxy-", haproxy_config), ("sysctl-", sysctl_config)]
    {
        let files = std::fs::read_dir("tests/examples").unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = files
            .filter(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begins)))
            .collect();
        files.sort();
        assert!(!files.is_empty(), "there is no {begins}*");
        for file in files {
            println!("{}", file.display());
            check(&std::fs::read(&file).unwrap());
        }
    }
}
