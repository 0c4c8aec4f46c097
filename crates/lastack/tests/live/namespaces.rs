//! Other network namespaces than one's own.

use crate::harness::{Server, lastack};
use namespaced::{in_namespace, skip};
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, Command, Stdio};

/// A namespace that lives as long as a process in it, which ends with the test.
struct Elsewhere(Child);

impl Elsewhere {
    fn new() -> Option<Self> {
        let child = Command::new("unshare")
            .args(["-n", "--", "sh", "-c", "ip link set lo up; echo ready; exec sleep 60"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let mut elsewhere = Self(child);
        let mut line = String::new();
        let stdout = elsewhere.0.stdout.take()?;
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).ok()?;
        (line == "ready\n").then_some(elsewhere)
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn netns_names(arguments: &[&str]) -> Vec<String> {
    let output = lastack(&[&["doctor", "--json", "--for", "0"], arguments].concat());
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    let namespaces = report["host"]["namespaces"].as_array().expect("namespaces");
    namespaces.iter().map(|ns| ns["name"].as_str().or(ns.as_str()).expect("a name").to_owned()).collect()
}

#[test]
fn a_namespace_by_pid_by_path_and_among_all() {
    let name = "namespaces::a_namespace_by_pid_by_path_and_among_all";
    in_namespace(name, || {
        let Some(elsewhere) = Elsewhere::new() else {
            skip(name, "no second network namespace inside the first");
            return;
        };
        let _here = Server::on(IpAddr::V4(Ipv4Addr::LOCALHOST), 900);
        let pid = format!("pid:{}", elsewhere.0.id());
        assert_eq!(netns_names(&["--netns", &pid]), std::slice::from_ref(&pid));
        let path = format!("/proc/{}/ns/net", elsewhere.0.id());
        assert_eq!(netns_names(&["--netns", &path]).len(), 1);
        let all = netns_names(&["--all-netns"]);
        assert!(all.len() >= 2, "{all:?}");
        let mut once = all.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), all.len(), "each once: {all:?}");
    });
}

#[test]
fn a_namespace_that_is_not_there_is_one_clear_line() {
    for (spec, word) in [
        ("no-such-namespace", "no-such-namespace"),
        ("/etc/hostname", "/etc/hostname"),
        ("pid:999999999", "999999999"),
        ("pid:x", "pid:x"),
    ] {
        let output = lastack(&["doctor", "--for", "0", "--netns", spec]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{spec}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.starts_with("lastack: ") && error.contains(word), "{error}");
        assert!(output.stdout.is_empty());
    }
}
