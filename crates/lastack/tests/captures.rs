//! What the rules make of captures of real programs: exactly those that should fire. `captures/README.md` says how
//! they were made.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn capture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/captures/{name}.pcap.gz"))
}

fn lastack(command: &str) -> Command {
    let mut lastack = Command::new(env!("CARGO_BIN_EXE_lastack"));
    lastack.args([command, "--json"]);
    lastack
}

/// The rules that fire, each with what it is about.
fn fired(name: &str) -> BTreeSet<(String, String)> {
    let folder = tempfile::tempdir().unwrap();
    let case = folder.path().join("empty.case");
    std::fs::write(&case, evidence::Case::default().to_bytes()).unwrap();
    let output =
        lastack("doctor").arg("--case").arg(&case).arg("--capture").arg(capture(name)).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let findings = report["findings"].as_array().unwrap();
    findings.iter().map(|one| (text(&one["rule"]), text(&one["subject"]["destination"]))).collect()
}

#[test]
fn exactly_the_right_rules_fire() {
    let (front, app) = ("10.91.1.1:80", "10.91.2.2:8080");
    for (name, expected) in [
        ("nginx-http-1.0", &[("time-wait-at-server", app), ("upstream-keepalive-off", app)][..]),
        ("nginx-without-a-pool", &[("time-wait-at-client", app), ("upstream-keepalive-unpooled", app)]),
        ("nginx-keepalive-2", &[("upstream-keepalive-small", app)]),
        ("nginx-keepalive-32", &[]),
        // It aborts its connections to the server: whether it had read the last answer, packets do not tell.
        ("haproxy-default", &[("upstream-keepalive-off", front), ("upstream-keepalive-unpooled", app)]),
        (
            "nat-three-clocks",
            &[("syn-meets-time-wait", "10.94.0.2:80"), ("timestamps-behind-nat", "10.94.0.2:80")],
        ),
        ("nat-offsets", &[("syn-meets-time-wait", "10.94.0.2:80")]),
        ("idle-timeout", &[("idle-timeout-race", "10.91.2.2:8081")]),
        ("ways-to-abort", &[]),
    ] {
        let expected = expected.iter().map(|(rule, at)| ((*rule).to_owned(), (*at).to_owned())).collect();
        assert_eq!(fired(name), expected, "{name}");
    }
}

#[test]
fn a_cause_is_told_where_packets_tell_it() {
    let output = lastack("read").arg(capture("ways-to-abort")).output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let told: Vec<(String, String)> = lines
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let notes = line["notes"].as_array().unwrap();
            assert_eq!(notes.contains(&"active-reset".into()), line["reset_cause"] != "after-close");
            (text(&line["client"]), text(&line["reset_cause"]))
        })
        .collect();
    let expected = [
        // The server read all and answered; then linger 0.
        (1, "abort-by-linger"),
        // It answered without reading, which no server of HTTP does: the packets are the same.
        (2, "abort-by-linger"),
        // A request with a body, which was read in part (3) or whole (4): the same again, and so not told.
        (3, "unknown"),
        (4, "unknown"),
        // No answer: closed with the request unread (5), or read and then linger 0 (6).
        (5, "unknown"),
        (6, "unknown"),
        // The client, after the answer: read (7), unread (8), half read (9).
        (7, "unknown"),
        (8, "unknown"),
        (9, "unknown"),
        // It gives up waiting for the second answer, with linger 0.
        (10, "abort-by-linger"),
        // 60,000 bytes, read and then linger 0 (11), or unread (12): no window update follows either.
        (11, "unknown"),
        (12, "unknown"),
        // Killed with data unread.
        (13, "unknown"),
        // The next request after the server's close.
        (14, "after-close"),
        // Two requests answered; then linger 0.
        (15, "abort-by-linger"),
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|(port, cause)| (format!("127.0.0.1:{}", 40_000 + port), (*cause).to_owned()))
        .collect();
    assert_eq!(told, expected);
}
