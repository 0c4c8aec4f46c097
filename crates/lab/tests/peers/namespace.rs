//! A network namespace of the test's own: the test runs itself again inside one.

use std::env;
use std::io::Write;
use std::process::{Command, Stdio};

const INSIDE: &str = "LASTACK_TEST_INSIDE";

/// Runs `body` in a fresh network namespace with `lo` up. `name` must be the test's own name.
pub(crate) fn in_namespace(name: &str, body: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip of iproute2 runs");
        assert!(up.success());
        body();
        return;
    }
    let Some(flag) = unshare_flag() else {
        skip(name, "no network namespace: neither root nor unprivileged user namespaces");
        return;
    };
    let test = env::current_exe().expect("the test knows its own file");
    let status = Command::new("unshare")
        .args([flag, "--"])
        .arg(test)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
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

/// Says that a test could not run, where `cargo xtask test` counts it.
fn skip(name: &str, reason: &str) {
    println!("SKIP {name}: {reason}");
    if let Some(file) = env::var_os("LASTACK_SKIP_LOG") {
        let mut log =
            std::fs::OpenOptions::new().append(true).create(true).open(file).expect("the skip log opens");
        writeln!(log, "{name}\t{reason}").expect("the skip log takes a line");
    }
}
