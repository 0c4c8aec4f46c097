//! `lab run --repair`: what `fix` does on a stage is held against the load, and against what there was before.

use namespaced::in_namespace;
use serde_json::Value;
use std::process::{Command, Stdio};

/// A table of TIME-WAIT that is too small: `fix` makes it larger.
const SCENARIO: &str = r#"
name = "repair"
title = "A table that is too small"
[unfixed]
time-wait-at-server = "nothing needs a change"
[[host]]
name = "client"
[[host]]
name = "server"
[[server]]
name = "app"
host = "server"
port = 8080
close = { when = "requests" }
[[client]]
name = "load"
host = "client"
to = ["app"]
connections = 150
concurrency = 4
close = { when = "peer" }
[[variant]]
name = "large"
[variant.expect]
findings = { server = ["time-wait-at-server"] }
measures = { "server.sockets.TIME-WAIT" = 150, "server.counters.TCPTimeWaitOverflow" = 0 }
[[variant.fix]]
host = "server"
finding = "time-wait-table-full"
before = { "host.server.settings" = { "net.ipv4.tcp_max_tw_buckets" = 50 } }
"#;

/// Runs a scenario's fix; the exit status, and the line for it.
fn repair(text: &str) -> (Option<i32>, Value) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("repair.toml");
    std::fs::write(&file, text).expect("the folder takes a file");
    let output = Command::new(env!("CARGO_BIN_EXE_lastack"))
        .args(["lab", "run", "--repair", "--json"])
        .arg(&file)
        .stdin(Stdio::null())
        .output()
        .expect("lastack runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    let line = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"));
    (output.status.code(), line)
}

/// What is wrong, in one text.
fn wrong(line: &Value) -> String {
    let wrong = line["wrong"].as_array().expect("a list").iter();
    wrong.filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_load_is_repaired_and_all_is_as_before_when_it_is_taken_back() {
    in_namespace("repair::a_load_is_repaired_and_all_is_as_before_when_it_is_taken_back", || {
        let (code, line) = repair(SCENARIO);
        assert_eq!(code, Some(0), "{line}");
        assert_eq!((&line["passed"], &line["skipped"]), (&true.into(), &Value::Null), "{line}");
        assert_eq!(line["before"]["measures"]["server.sockets.TIME-WAIT"], 50.0);
        assert_eq!(line["repaired"]["measures"]["server.sockets.TIME-WAIT"], 150.0);
        let changes = line["changes"].as_array().expect("a list");
        assert!(
            changes[0].as_str().is_some_and(|change| change.contains("tcp_max_tw_buckets: 50 to")),
            "{line}"
        );
        assert!(line["restored"]["settings"].as_u64().is_some_and(|settings| settings > 500), "{line}");
        assert_eq!(line["offered"][0]["remedy"], "larger-table");
    });
}

#[test]
fn a_fix_that_does_not_do_what_its_variant_says_is_told() {
    in_namespace("repair::a_fix_that_does_not_do_what_its_variant_says_is_told", || {
        // The load is repaired, but not as the variant has it; nothing is left changed for that.
        let (code, line) = repair(&SCENARIO.replace("TIME-WAIT\" = 150", "TIME-WAIT\" = 149"));
        assert_eq!((code, &line["passed"]), (Some(1), &false.into()));
        assert_eq!(wrong(&line), "repaired: server.sockets.TIME-WAIT is 150, expected 149");
        assert!(line["restored"]["settings"].is_u64(), "{line}");
    });
}

#[test]
fn what_cannot_be_repaired_is_told_before_anything_is_changed() {
    in_namespace("repair::what_cannot_be_repaired_is_told_before_anything_is_changed", || {
        let cases = [
            // Another rule than the one that fires, and so nobody tries what is offered.
            (
                SCENARIO.replace("\"time-wait-table-full\"", "\"accept-queue-full\""),
                "`doctor` does not find accept-queue-full at server before the fix; it finds time-wait-",
            ),
            (
                SCENARIO.replace("\"time-wait-table-full\"", "\"accept-queue-full\""),
                "`fix` offers larger-table against time-wait-table-full at server: no variant has",
            ),
            // A remedy that nobody offers.
            (
                SCENARIO.replace("before =", "remedy = \"tw-reuse\"\nbefore ="),
                "no finding here offers the remedy tw-reuse",
            ),
            // Nothing is wrong before.
            (SCENARIO.replace("buckets\" = 50", "buckets\" = 5000"), "there is nothing to repair"),
        ];
        for (text, expected) in cases {
            let (code, line) = repair(&text);
            assert_eq!(code, Some(1), "{line}");
            assert!(wrong(&line).contains(expected), "{expected}: {line}");
            assert_eq!((&line["repaired"], &line["restored"]), (&Value::Null, &Value::Null));
        }
    });
}
