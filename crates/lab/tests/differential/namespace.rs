//! A network namespace of the test's own, with a TUN device: the test runs itself again inside one.

use lab::differential::{Bench, DEVICE, LOCAL, PEERS, RETRANSMIT_MIN, TIMED_PEERS, set};
use lab::tun::Tun;
use std::env;
use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};

const INSIDE: &str = "LASTACK_TEST_INSIDE";

/// Runs `body` in a fresh network namespace. `name` must be the test's own name.
pub(crate) fn in_namespace(name: &str, body: impl FnOnce(Bench)) {
    if env::var_os(INSIDE).is_some() {
        body(prepare());
        return;
    }
    let Some(flag) = unshare_flag() else {
        skip(name, "no network namespace: neither root nor unprivileged user namespaces");
        return;
    };
    if let Err(error) = File::options().read(true).write(true).open("/dev/net/tun") {
        skip(name, &format!("/dev/net/tun: {error}"));
        return;
    }
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

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("ip of iproute2 runs");
    assert!(status.success(), "ip {arguments}");
}

/// The kernel answers at once and repeats nothing by itself: what is compared is what a segment does, not when.
fn prepare() -> Bench {
    let tun = Tun::create(DEVICE).expect("a TUN device can be made");
    ip("link set lo up");
    ip(&format!("addr add {LOCAL}/32 dev {DEVICE}"));
    ip(&format!("link set {DEVICE} up"));
    ip(&format!("route add {PEERS} dev {DEVICE} quickack 1 rto_min {}ms", RETRANSMIT_MIN.as_millis()));
    ip(&format!("route add {TIMED_PEERS} dev {DEVICE} quickack 1"));
    for (setting, value) in [
        ("net.ipv4.tcp_timestamps", "1"),
        ("net.ipv4.tcp_sack", "0"),
        ("net.ipv4.tcp_window_scaling", "0"),
        ("net.ipv4.tcp_early_retrans", "0"),
        ("net.ipv4.tcp_recovery", "0"),
        ("net.ipv4.tcp_no_metrics_save", "1"),
        ("net.ipv4.tcp_syncookies", "0"),
        ("net.ipv4.tcp_max_syn_backlog", "65536"),
        ("net.ipv4.ip_local_port_range", "62000 65000"),
        ("net.core.somaxconn", "65535"),
    ] {
        set(setting, value).expect("a setting of the namespace");
    }
    Bench::open(tun).expect("sock_diag answers")
}
