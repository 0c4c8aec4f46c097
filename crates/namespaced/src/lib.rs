//! For tests only: a network namespace of the test's own, and what to do where there can be none.
//!
//! Nothing of the host is touched and nothing can be left behind: the namespace goes with the last process in
//! it. As root `unshare -n` makes it, otherwise `unshare -rn` where unprivileged user namespaces are allowed.
//!
//! Everything here panics where it fails, for its caller is a test.

#![allow(clippy::print_stdout, reason = "a skip is said where the test is run by hand, too")]

use std::env;
use std::fs::OpenOptions;
use std::io::Write;
use std::process::{Command, Stdio};

/// Set for the test that has been started again, inside.
const INSIDE: &str = "LASTACK_TEST_INSIDE";

/// Runs `body` in a fresh network namespace with `lo` up: the test's program is started again there, with this
/// one test. `name` must be the test's own name, as `--exact` takes it.
///
/// Where no namespace can be made the test is skipped.
///
/// # Panics
///
/// If the test fails inside, or `name` is not the name of a test.
pub fn in_namespace(name: &str, body: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip of iproute2 runs");
        assert!(up.success(), "lo is up");
        body();
        return;
    }
    let Some(flag) = unshare_flag() else {
        skip(name, "no network namespace: neither root nor unprivileged user namespaces");
        return;
    };
    let mut unshare = Command::new("unshare");
    unshare.args([flag, "--"]);
    start_again(name, unshare.env(INSIDE, "1"));
}

/// Starts the test's program once more, with this one test, as the last arguments of a command.
///
/// # Panics
///
/// If the test fails there, or `name` is not the name of a test.
pub fn start_again(name: &str, command: &mut Command) {
    let test = env::current_exe().expect("the test knows its own file");
    // A test that was renamed would start nothing inside, and pass.
    let found = Command::new(&test).args(["--list", "--exact", name]).output().expect("the test starts");
    assert!(found.stdout.starts_with(name.as_bytes()), "{name} is not the name of a test");
    let status = command
        .arg(test)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .stdin(Stdio::null())
        .status()
        .expect("unshare of util-linux runs");
    assert!(status.success(), "{name} failed in its namespace");
}

/// How this user may make a namespace, found out by doing it.
fn unshare_flag() -> Option<&'static str> {
    ["-n", "-rn"].into_iter().find(|flag| {
        Command::new("unshare")
            .args([flag, "--", "true"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    })
}

/// True if a program is not installed: then the test is skipped, and the package is named that Debian has it in.
pub fn lacks(name: &str, program: &str, package: &str) -> bool {
    // Not started: some make folders in the home directory even for `--version`.
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if !found {
        skip(name, &format!("{program} is not installed (Debian: {package})"));
    }
    !found
}

/// Says that a test cannot run here and why, where it is run by hand and where `cargo xtask test` counts it: in
/// the file that `LASTACK_SKIP_LOG` names. The test then returns.
///
/// # Panics
///
/// If that file cannot be written to.
pub fn skip(name: &str, reason: &str) {
    println!("SKIP {name}: {reason}");
    if let Some(file) = env::var_os("LASTACK_SKIP_LOG") {
        let mut log = OpenOptions::new().append(true).create(true).open(file).expect("the skip log opens");
        // One call, so that the lines of tests that run at once do not mix.
        log.write_all(format!("{name}\t{reason}\n").as_bytes()).expect("the skip log takes a line");
    }
}

#[cfg(test)]
mod tests {
    use super::{in_namespace, skip};

    fn interfaces() -> Vec<String> {
        let table = std::fs::read_to_string("/proc/thread-self/net/dev").expect("the table of interfaces");
        let names = table.lines().skip(2).filter_map(|line| line.split_once(':'));
        names.map(|(name, _)| name.trim().to_owned()).collect()
    }

    #[test]
    fn inside_there_is_nothing_but_a_loopback_that_is_up() {
        in_namespace("tests::inside_there_is_nothing_but_a_loopback_that_is_up", || {
            assert_eq!(interfaces(), ["lo"]);
            std::net::TcpListener::bind("127.0.0.1:80").expect("every port is free, and ours to take");
        });
    }

    #[test]
    #[should_panic(expected = "is not the name of a test")]
    fn a_name_of_no_test_does_not_pass() {
        in_namespace("tests::there_is_no_such_test", || ());
    }

    #[test]
    fn a_skip_is_a_line_in_the_log() {
        const SKIPS: &str = "LASTACK_TEST_SKIPS";
        if std::env::var_os(SKIPS).is_some() {
            skip("one", "no privilege");
            skip("two", "no program");
            return;
        }
        let log = std::env::temp_dir().join(format!("lastack-skips-{}", std::process::id()));
        let run = std::process::Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "tests::a_skip_is_a_line_in_the_log"])
            .envs([(SKIPS, "1".as_ref()), ("LASTACK_SKIP_LOG", log.as_os_str())])
            .output()
            .expect("this test runs again");
        assert!(run.status.success(), "{run:?}");
        let lines = std::fs::read_to_string(&log).expect("the log");
        std::fs::remove_file(&log).expect("the log is ours");
        assert_eq!(lines, "one\tno privilege\ntwo\tno program\n");
    }
}
