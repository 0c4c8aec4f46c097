//! Known numbers of sockets in each state are counted exactly.

use crate::harness::{Server, doctor, run, set, ss, until};
use namespaced::{in_namespace, lacks};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, TcpStream};
use std::time::Duration;

const STATES: [(&str, &str); 10] = [
    ("LISTEN", "listening"),
    ("SYN-SENT", "syn-sent"),
    ("ESTABLISHED", "established"),
    ("FIN-WAIT-1", "fin-wait-1"),
    ("FIN-WAIT-2", "fin-wait-2"),
    ("CLOSE-WAIT", "close-wait"),
    ("CLOSING", "closing"),
    ("LAST-ACK", "last-ack"),
    ("TIME-WAIT", "time-wait"),
    ("SYN-RECEIVED", "syn-recv"),
];

fn counted(state: &str) -> usize {
    let (report, _) = doctor(&["--for", "0"]);
    report["sockets"]["by_state"][state].as_u64().map_or(0, |n| usize::try_from(n).expect("a count"))
}

fn all_states_agree_with_ss() {
    let (report, _) = doctor(&["--for", "0"]);
    for (state, ss_name) in STATES {
        let ours = report["sockets"]["by_state"][state].as_u64().unwrap_or(0);
        assert_eq!(ours, ss(ss_name, "") as u64, "{state}");
    }
}

#[test]
fn every_closing_state_is_counted_exactly_over_both_families() {
    in_namespace("states::every_closing_state_is_counted_exactly_over_both_families", || {
        set("net.ipv4.tcp_rfc1337", "1");
        let mut kept: Vec<TcpStream> = Vec::new();
        let mut to_be_cut = Vec::new();
        let mut listeners = Vec::new();
        for (address, port) in
            [(IpAddr::V4(Ipv4Addr::LOCALHOST), 900), (IpAddr::V6(Ipv6Addr::LOCALHOST), 901)]
        {
            let server = Server::on(address, port);
            server.client_closes(7);
            server.server_closes(5);
            for _ in 0..3 {
                let (client, accepted) = server.pair();
                kept.extend([client, accepted]);
            }
            for _ in 0..4 {
                let (client, accepted) = server.pair();
                drop(client);
                kept.push(accepted);
            }
            for _ in 0..2 {
                let (client, accepted) = server.pair();
                client.shutdown(Shutdown::Write).expect("shuts down");
                kept.extend([client, accepted]);
            }
            // To be closed when nothing gets through any more: FIN-WAIT-1, and LAST-ACK behind a CLOSE-WAIT.
            for _ in 0..6 {
                let (client, accepted) = server.pair();
                kept.push(accepted);
                to_be_cut.push(client);
            }
            for _ in 0..8 {
                let (client, accepted) = server.pair();
                drop(client);
                to_be_cut.push(accepted);
            }
            listeners.push(server);
        }
        syn_sent(9);
        until("the FINs are acknowledged", || {
            ss("close-wait", "") == 2 * (4 + 2 + 8) && ss("fin-wait-2", "") == 2 * (4 + 2 + 8)
        });
        run("ip", &["link", "set", "lo", "down"]);
        drop(to_be_cut);
        let expected = [
            ("LISTEN", 2),
            ("SYN-SENT", 9),
            ("ESTABLISHED", 2 * (6 + 6)),
            ("FIN-WAIT-1", 2 * 6),
            ("FIN-WAIT-2", 2 * (4 + 2 + 8)),
            ("CLOSE-WAIT", 2 * (4 + 2)),
            ("LAST-ACK", 2 * 8),
            ("TIME-WAIT", 2 * (7 + 5)),
        ];
        for (state, count) in expected {
            assert_eq!(counted(state), count, "{state}");
        }
        all_states_agree_with_ss();
    });
}

/// Connects into a link behind which nobody answers.
fn syn_sent(count: usize) {
    run("ip", &["link", "add", "v0", "type", "veth", "peer", "name", "v1"]);
    run("ip", &["addr", "add", "10.9.0.1/24", "dev", "v0"]);
    run("ip", &["link", "set", "v0", "up"]);
    run("ip", &["link", "set", "v1", "up"]);
    run("ip", &["neigh", "add", "10.9.0.2", "lladdr", "02:00:00:00:00:02", "dev", "v0", "nud", "permanent"]);
    for port in 1..=count {
        std::thread::spawn(move || {
            let port = u16::try_from(port).expect("a port");
            TcpStream::connect_timeout(&(Ipv4Addr::new(10, 9, 0, 2), port).into(), Duration::from_secs(60))
        });
    }
    until("the SYNs are out", || ss("syn-sent", "") == count);
}

#[test]
fn both_ends_that_close_at_once_are_seen_in_closing() {
    let name = "states::both_ends_that_close_at_once_are_seen_in_closing";
    if lacks(name, "nft", "nftables") {
        return;
    }
    in_namespace(name, || {
        let server = Server::local(900);
        let (client, accepted) = server.pair();
        // Both send a FIN that does not arrive; sent again, the FINs pass and their pure ACKs do not.
        run("ip", &["link", "set", "lo", "down"]);
        drop(client);
        drop(accepted);
        run(
            "nft",
            &["add table inet t; add chain inet t out { type filter hook output priority 0; }; \
            add rule inet t out tcp flags & (fin|syn|rst|ack) == ack drop"],
        );
        run("ip", &["link", "set", "lo", "up"]);
        until("a FIN sent again meets FIN-WAIT-1", || ss("closing", "") > 0);
        run("ip", &["link", "set", "lo", "down"]);
        assert!(counted("CLOSING") > 0);
        all_states_agree_with_ss();
    });
}
