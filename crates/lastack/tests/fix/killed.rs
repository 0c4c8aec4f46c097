//! `kill -9` at every step: afterwards, and after one `lastack fix --log`, the host is as it was or as planned.
//!
//! The steps are not listed here: a run that is not killed writes the name of each place that it passes, and then
//! each of them is where the next run is killed.

use crate::sandbox::{CHANGES, State, applies, apply, before, ends, fix, in_debug_build, plan};
use std::collections::BTreeSet;
use std::process::Command;

const LOG: &str = "/mnt/points";

/// The places that a command passes.
fn points(command: &mut Command) -> BTreeSet<String> {
    let _ = std::fs::remove_file(LOG);
    command.env("LASTACK_FAILPOINT_LOG", LOG).output().unwrap();
    std::fs::read_to_string(LOG).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Kills a command at a place: the process that makes the change, or with `!` the one before the terminal as well.
fn kill_at(mut command: Command, point: &str, whom: &str) {
    command.env("LASTACK_FAILPOINT", format!("{point}{whom}")).output().unwrap();
}

/// Settles, and holds the host to being one of the two, and the log to saying so.
#[track_caller]
fn settled(before: &State, planned: &State, at: &str) {
    ends(&mut fix(&["--log"]), 0);
    let now = State::read();
    assert!(
        now == *before || now == *planned,
        "killed at {at}: {now:#?}\nis neither {before:#?}\nnor {planned:#?}"
    );
    for apply in applies() {
        let outcome = apply["outcome"].as_str().unwrap();
        assert!(matches!(outcome, "kept" | "rolled-back"), "killed at {at}: {apply}");
    }
}

#[test]
fn an_apply_that_is_killed_anywhere_is_done_or_undone() {
    in_debug_build("killed::an_apply_that_is_killed_anywhere_is_done_or_undone", || {
        let unchanged = before();
        let points = points(&mut apply("0"));
        let planned = State::read();
        assert_ne!(planned, unchanged);
        for needed in ["folder-made", "record-torn", "setting-written", "file-swapped", "deciding", "tidied"]
        {
            assert!(points.contains(needed), "{needed} is not passed: {points:?}");
        }
        for point in &points {
            for whom in ["", "!"] {
                let at = format!("{point}{whom}");
                assert_eq!(before(), unchanged);
                kill_at(apply("0"), point, whom);
                settled(&unchanged, &planned, &at);
                let kept = applies().last().is_some_and(|apply| apply["outcome"] == "kept");
                assert_eq!(kept, State::read() == planned, "killed at {at}, the log says otherwise");
            }
        }
        println!("{} places, each with one and with both processes killed", points.len());
    });
}

#[test]
fn an_apply_that_fails_and_is_killed_anywhere_is_undone() {
    in_debug_build("killed::an_apply_that_fails_and_is_killed_anywhere_is_undone", || {
        // The kernel does not take a range that begins below ip_unprivileged_port_start.
        let fails = || {
            let range = ("net.ipv4.ip_local_port_range", "32768 60999", "100 60999");
            fix(&["--plan", &plan(&[CHANGES[0], CHANGES[1], range]), "--apply", "--yes", "--guard", "0"])
        };
        let unchanged = before();
        let said = ends(&mut fails(), 1);
        assert!(said.contains("the kernel refuses the value"), "{said}");
        assert_eq!(State::read(), unchanged);
        let points = points(&mut fails());
        assert!(points.contains("undone#2"), "{points:?}");
        for point in &points {
            for whom in ["", "!"] {
                assert_eq!(before(), unchanged);
                kill_at(fails(), point, whom);
                settled(&unchanged, &unchanged, &format!("{point}{whom}"));
            }
        }
        println!("{} places", points.len());
    });
}

#[test]
fn a_rollback_that_is_killed_anywhere_is_done_or_was_not_begun() {
    in_debug_build("killed::a_rollback_that_is_killed_anywhere_is_done_or_was_not_begun", || {
        let unchanged = before();
        ends(&mut apply("0"), 0);
        let planned = State::read();
        let points = points(&mut fix(&["--rollback", "last"]));
        assert_eq!(State::read(), unchanged);
        for point in &points {
            for whom in ["", "!"] {
                before();
                ends(&mut apply("0"), 0);
                kill_at(fix(&["--rollback", "last"]), point, whom);
                settled(&planned, &unchanged, &format!("{point}{whom}"));
                // Done, it cannot be done again; not done, it can.
                let done = State::read() == unchanged;
                ends(&mut fix(&["--rollback", "last"]), if done { 2 } else { 0 });
                assert_eq!(State::read(), unchanged);
            }
        }
        println!("{} places", points.len());
    });
}

#[test]
fn settling_that_is_killed_anywhere_is_done_by_the_next() {
    in_debug_build("killed::settling_that_is_killed_anywhere_is_done_by_the_next", || {
        let unchanged = before();
        ends(&mut apply("0"), 0);
        let planned = State::read();
        // Before it is decided, when all is to be undone; and after that, when the rest is to be done.
        for (at, end) in [("acted#3", &unchanged), ("deciding", &unchanged), ("file-swapped", &planned)] {
            before();
            kill_at(apply("0"), at, "!");
            let points = points(&mut fix(&["--log"]));
            assert_eq!(State::read(), *end, "killed at {at}");
            assert!(!points.is_empty(), "{at}: nothing was left to settle");
            for point in &points {
                before();
                kill_at(apply("0"), at, "!");
                kill_at(fix(&["--log"]), point, "");
                settled(end, end, &format!("{at}, then {point}"));
            }
        }
    });
}
