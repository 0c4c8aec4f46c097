//! The kernel in a namespace of the test's own, with a TUN device.

use lab::differential::{Bench, DEVICE, LOCAL, LOCAL_V6, PEERS, PEERS_V6, RETRANSMIT_MIN, TIMED_PEERS, set};
use lab::tun::Tun;
use std::fs::File;
use std::process::Command;
use std::time::Duration;

/// Runs `body` in a fresh network namespace. `name` must be the test's own name.
pub(crate) fn with_bench(name: &str, body: impl FnOnce(Bench)) {
    if let Err(error) = File::options().read(true).write(true).open("/dev/net/tun") {
        namespaced::skip(name, &format!("/dev/net/tun: {error}"));
        return;
    }
    namespaced::in_namespace(name, || body(prepare()));
}

fn ip(arguments: &str) {
    iproute2("ip", arguments);
}

fn iproute2(program: &str, arguments: &str) {
    let status = Command::new(program).args(arguments.split(' ')).status().expect("iproute2 is installed");
    assert!(status.success(), "{program} {arguments}");
}

/// What is sent to an IPv6 address is dropped until its local route is there, and that is made behind the caller's
/// back, also without duplicate address detection (net/ipv6/addrconf.c addrconf_dad_work()).
fn wait_for_local_v6() {
    const LOCAL: u32 = 0x8000_0000;
    let address = format!("{:032x} 80 ", LOCAL_V6.to_bits());
    for _ in 0..2_000 {
        let routes = std::fs::read_to_string("/proc/net/ipv6_route").expect("the namespace has IPv6");
        let is_local = |line: &str| {
            let flags = line.split_whitespace().nth(8).and_then(|flags| u32::from_str_radix(flags, 16).ok());
            line.starts_with(&address) && flags.is_some_and(|flags| flags & LOCAL != 0)
        };
        if routes.lines().any(is_local) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("no local route for {LOCAL_V6}");
}

/// The kernel answers at once and repeats nothing by itself: what is compared is what a segment does, not when.
fn prepare() -> Bench {
    let tun = Tun::create(DEVICE).expect("a TUN device can be made");
    ip(&format!("addr add {LOCAL}/32 dev {DEVICE}"));
    ip(&format!("link set {DEVICE} up"));
    // Without a queue a reply is with the device when the segment is in: another processor that sends something there in
    // this moment would else take it along later (net/core/dev.c __dev_xmit_skb()).
    iproute2("tc", &format!("qdisc replace dev {DEVICE} root noqueue"));
    ip(&format!("route add {PEERS} dev {DEVICE} quickack 1 rto_min {}ms", RETRANSMIT_MIN.as_millis()));
    ip(&format!("-6 addr add {LOCAL_V6}/128 dev {DEVICE} nodad"));
    ip(&format!("-6 route add {PEERS_V6} dev {DEVICE} quickack 1 rto_min {}ms", RETRANSMIT_MIN.as_millis()));
    ip(&format!("route add {TIMED_PEERS} dev {DEVICE} quickack 1"));
    for (setting, value) in [
        ("net.ipv4.tcp_timestamps", "1"),
        ("net.ipv4.tcp_sack", "0"),
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
    wait_for_local_v6();
    Bench::open(tun).expect("sock_diag answers")
}
