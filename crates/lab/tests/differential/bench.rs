//! The kernel in a namespace of the test's own, with a TUN device.

use lab::differential::{Bench, DEVICE, LOCAL, LOCAL_V6, PEERS, PEERS_V6, RETRANSMIT_MIN, TIMED_PEERS, set};
use lab::tun::Tun;
use std::fs::File;
use std::process::Command;

/// Runs `body` in a fresh network namespace. `name` must be the test's own name.
pub(crate) fn with_bench(name: &str, body: impl FnOnce(Bench)) {
    if let Err(error) = File::options().read(true).write(true).open("/dev/net/tun") {
        namespaced::skip(name, &format!("/dev/net/tun: {error}"));
        return;
    }
    namespaced::in_namespace(name, || body(prepare()));
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("ip of iproute2 runs");
    assert!(status.success(), "ip {arguments}");
}

/// The kernel answers at once and repeats nothing by itself: what is compared is what a segment does, not when.
fn prepare() -> Bench {
    let tun = Tun::create(DEVICE).expect("a TUN device can be made");
    ip(&format!("addr add {LOCAL}/32 dev {DEVICE}"));
    ip(&format!("link set {DEVICE} up"));
    ip(&format!("route add {PEERS} dev {DEVICE} quickack 1 rto_min {}ms", RETRANSMIT_MIN.as_millis()));
    ip(&format!("-6 addr add {LOCAL_V6}/128 dev {DEVICE} nodad"));
    ip(&format!("-6 route add {PEERS_V6} dev {DEVICE} quickack 1 rto_min {}ms", RETRANSMIT_MIN.as_millis()));
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
