//! Captures: one for each interface of each host, and what they show together.

use crate::host::Program;
use capture::{FileEnding, Reader, TrafficTally};
use evidence::{Gap, Traffic, Unseen};
use std::path::{Path, PathBuf};

/// So much of each packet is kept: all headers, and the head of an HTTP message.
const SNAP: &str = "400";

/// The kernel's buffer for a capture, KiB.
const BUFFER: &str = "32768";

/// A capture that runs.
#[derive(Debug)]
pub(super) struct Tap {
    /// Its number at its host.
    pub(super) id: u32,
    /// Where it writes.
    pub(super) file: PathBuf,
    /// What it is called in reports: `server-lan.pcap`.
    pub(super) name: String,
}

/// The program that captures on an interface.
pub(super) fn program(interface: &str, file: &Path) -> Program {
    let mut command: Vec<String> = ["tcpdump", "-i", interface, "-p", "-n", "-U", "--immediate-mode"]
        .iter()
        .chain(&["-s", SNAP, "-B", BUFFER, "-w"])
        .map(|&word| word.to_owned())
        .collect();
    command.push(file.display().to_string());
    if rustix::process::geteuid().is_root() {
        // It would change to another user, who may not write here.
        command.extend(["-Z".to_owned(), "root".to_owned()]);
    }
    command.push("tcp".to_owned());
    Program { command, ready: Some("listening on".to_owned()), listens: None }
}

/// How many packets a capture lost, from its last words: `3 packets dropped by kernel`.
pub(super) fn lost(last_words: &str) -> Option<u64> {
    let line = last_words.lines().find(|line| line.contains("dropped by kernel"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// What the captures of a host show, joined.
pub(super) fn traffic(files: &[(&str, &[u8])], seed: u64) -> (Traffic, Vec<Gap>) {
    let mut gaps = Vec::new();
    let (mut names, mut readers) = (Vec::new(), Vec::new());
    for (name, bytes) in files {
        match Reader::new(bytes) {
            Ok(reader) => {
                names.push((*name).to_owned());
                readers.push(reader);
            }
            Err(error) => gaps.push(unseen(format!("{name}: {error}"))),
        }
    }
    let (mut traffic, read) = TrafficTally::of(readers, seed);
    for (name, reader) in names.iter().zip(read.readers()) {
        if let Some(FileEnding::Broken(why)) = reader.ending() {
            gaps.push(unseen(format!("{name}: {why}")));
        }
    }
    // In the order of their readers, since examples name files by place.
    traffic.files = names;
    (traffic, gaps)
}

/// A part of the packets was not seen.
pub(super) fn unseen(because: String) -> Gap {
    let how_to_see = "run the scenario again, with nothing else on the machine".to_owned();
    Gap { unseen: Unseen::Packets, netns: None, because, how_to_see }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_read_from_the_last_words() {
        let words = "tcpdump: listening on lan\n100 packets captured\n104 packets received by filter\n4 packets dropped by kernel\n";
        assert_eq!(lost(words), Some(4));
        assert_eq!(lost("1 packet captured\n0 packets dropped by kernel"), Some(0));
        assert_eq!(lost("tcpdump: no such device"), None);
    }
}
