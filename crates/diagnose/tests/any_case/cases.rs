//! Cases as anyone may write them.

use crate::configurations::configuration;
use proptest::prelude::*;
use serde_json::{Value, json};

const STATES: [&str; 10] = [
    "SYN-SENT",
    "SYN-RECEIVED",
    "ESTABLISHED",
    "FIN-WAIT-1",
    "FIN-WAIT-2",
    "CLOSE-WAIT",
    "CLOSING",
    "LAST-ACK",
    "TIME-WAIT",
    "CLOSED",
];

const COUNTERS: [&str; 19] = [
    "TcpActiveOpens",
    "TcpAttemptFails",
    "TcpCurrEstab",
    "TcpEstabResets",
    "TcpExtListenDrops",
    "TcpExtListenOverflows",
    "TcpExtPAWSEstab",
    "TcpExtPAWSPassive",
    "TcpExtPAWSTimewait",
    "TcpExtTCPACKSkippedTimeWait",
    "TcpExtTCPAbortOnClose",
    "TcpExtTCPAbortOnData",
    "TcpExtTCPReqQFullDrop",
    "TcpExtTCPSynRetrans",
    "TcpExtTCPTimeWaitOverflow",
    "TcpExtTW",
    "TcpInSegs",
    "TcpOutRsts",
    "TcpPassiveOpens",
];

const SETTINGS: [&str; 20] = [
    "net.core.somaxconn",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_abort_on_overflow",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_max_orphans",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_orphan_retries",
    "net.ipv4.tcp_rfc1337",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_timestamps",
    "net.ipv4.tcp_tw_recycle",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_tw_reuse_delay",
    "net.ipv4.tcp_tw_timeout",
    "net.netfilter.nf_conntrack_buckets",
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_tcp_timeout_time_wait",
    "net.netfilter.nf_conntrack_count",
];

/// Mostly numbers that mean something, and the largest there are.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0..20_u32, 4 => 20..2_000_u32, 2 => 2_000..100_000_u32, 1 => Just(u32::MAX)]
}

fn long() -> impl Strategy<Value = u64> {
    prop_oneof![6 => number().prop_map(u64::from), 1 => Just(u64::MAX)]
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => long().prop_map(|number| number.to_string()),
        2 => (number(), number()).prop_map(|(first, last)| format!("{first}\t{last}")),
        1 => Just(String::new()),
        1 => "[ -~]{0,12}",
    ]
}

fn counts() -> impl Strategy<Value = Value> {
    proptest::collection::btree_map(proptest::sample::select(&STATES[..]), number(), 0..4)
        .prop_map(|counts| json!(counts))
}

/// What stands in a file of configuration, as far as it is one line.
fn printable() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,12}", "\\PC{0,40}", Just("\u{4e2d}".repeat(90))]
}

fn countdown() -> impl Strategy<Value = Value> {
    (proptest::collection::btree_map(0..5_000_u32, number(), 0..4), number())
        .prop_map(|(by_second, overdue)| json!({ "by_second": by_second, "overdue": overdue }))
}

fn waiting() -> impl Strategy<Value = Value> {
    let state = proptest::sample::select(&STATES[..]);
    (state, number(), number(), number(), number(), number(), number()).prop_map(
        |(state, sockets, orphans, unread, retransmitting, old, longest)| {
            json!({
                "state": state, "sockets": sockets, "orphans": orphans, "unread": unread,
                "retransmitting": retransmitting,
                "idle": { "known": sockets / 2, "at_least": { "5": old, "60": old / 2 }, "longest_ms": longest },
            })
        },
    )
}

fn owner() -> impl Strategy<Value = Value> {
    (proptest::option::of(0..2_u32), proptest::option::of(number()), counts())
        .prop_map(|(process, uid, states)| json!({ "process": process, "uid": uid, "known_by": "inode", "states": states }))
}

fn group() -> impl Strategy<Value = Value> {
    let ends = prop_oneof![
        Just(("server", "10.0.0.1:80", "10.0.0.2")),
        Just(("server", "[2001:db8::1]:50000", "2001:db8::2")),
        Just(("server", "*", "*")),
        Just(("client", "10.0.0.1", "10.0.0.2:443")),
        Just(("client", "127.0.0.1", "*:443")),
        Just(("client", "*", "*")),
    ];
    let halves =
        (number(), number()).prop_map(|(preferred, other)| json!({ "preferred": preferred, "other": other }));
    (
        ends,
        counts(),
        countdown(),
        countdown(),
        halves,
        proptest::collection::vec(waiting(), 0..3),
        proptest::collection::vec(owner(), 0..3),
    )
        .prop_map(|((role, local, remote), states, time_wait, fin_wait_2, ports, waiting, owners)| {
            json!({
                "role": role, "local": local, "remote": remote, "states": states, "time_wait": time_wait,
                "fin_wait_2": fin_wait_2, "ports": { "time_wait": ports, "established": ports },
                "waiting": waiting, "owners": owners,
            })
        })
}

fn listener() -> impl Strategy<Value = Value> {
    let address = proptest::sample::select(&["*:80", "*:40000", "[::1]:443", "10.0.0.1:80", "*"][..]);
    (address, number(), number(), proptest::option::of(0..2_u32)).prop_map(|(address, queue, backlog, process)| {
        json!({ "address": address, "queue": queue, "backlog": backlog, "process": process })
    })
}

fn conntrack() -> impl Strategy<Value = Value> {
    (long(), long(), long(), long(), any::<bool>()).prop_map(|(entries, max, time_wait, rise, partial)| {
        json!({
            "entries": entries, "max": max, "partial": partial, "other_protocols": entries,
            "tcp_by_state": { "TIME_WAIT": time_wait, "ESTABLISHED": time_wait },
            "stats_start": { "drop": 0, "early_drop": 0, "insert_failed": 0 },
            "stats_end": { "drop": rise, "early_drop": rise / 2, "insert_failed": rise },
        })
    })
}

fn gap() -> impl Strategy<Value = Value> {
    let unseen = [
        "sockets",
        "owners",
        "settings",
        "counters",
        "conntrack",
        "ages",
        "bound-ports",
        "slabs",
        "namespace",
    ];
    let unseen = proptest::sample::select(unseen.to_vec());
    (unseen, any::<bool>()).prop_map(|(unseen, here)| {
        json!({ "unseen": unseen, "netns": here.then_some("host"), "because": "of a test", "how_to_see": "look" })
    })
}

fn ends() -> BoxedStrategy<Value> {
    (long(), long(), long())
        .prop_map(|(client, server, both)| json!({ "client": client, "server": server, "both": both }))
        .boxed()
}

fn counted() -> BoxedStrategy<Value> {
    let example = (0..3_u16, long(), long(), any::<u16>()).prop_map(|(file, first, last, port)| {
        json!({ "file": file, "first_packet": first, "last_packet": last, "client_port": port })
    });
    (long(), proptest::collection::vec(example, 0..4))
        .prop_map(|(count, examples)| json!({ "count": count, "examples": examples }))
        .boxed()
}

fn by(names: &'static [&'static str]) -> impl Strategy<Value = Value> {
    proptest::collection::btree_map(proptest::sample::select(names), long(), 0..4).prop_map(|map| json!(map))
}

fn examples_by(names: &'static [&'static str]) -> impl Strategy<Value = Value> {
    proptest::collection::btree_map(proptest::sample::select(names), counted(), 0..4)
        .prop_map(|map| json!(map))
}

fn http() -> impl Strategy<Value = Value> {
    let by_requests = proptest::collection::btree_map(0..1_001_u32, long(), 0..5);
    (long(), long(), by_requests, long(), [counted(), counted(), counted()]).prop_map(
        |(connections, requests, by_requests, old, [kept, client, server])| {
            json!({
                "connections": connections, "requests": requests, "by_requests": by_requests,
                "old_version": old, "kept": kept, "client_asks_to_close": client, "server_asks_to_close": server,
            })
        },
    )
}

fn exchange() -> impl Strategy<Value = Value> {
    let hosts = prop_oneof![
        Just(("10.0.0.1", "10.0.0.2:80")),
        Just(("10.0.0.2", "10.0.0.3:8080")),
        Just(("2001:db8::1", "[2001:db8::2]:443")),
        Just(("*", "10.0.0.2:80")),
        Just(("*", "*")),
    ];
    let causes =
        &["idle-timeout-race", "after-close", "abort-by-linger", "unread-data", "half-open", "x"][..];
    (
        (hosts, long(), number(), long()),
        by(&["complete", "unanswered", "half"]),
        [ends(), ends(), ends(), ends(), ends()],
        examples_by(causes),
        examples_by(&["accepted", "challenged"]),
        (proptest::option::of(number()), proptest::option::of((number(), number()))),
        [counted(), counted(), counted(), counted(), counted()],
        proptest::option::of(http().boxed()),
    )
        .prop_map(
            |(
                ((client, server), connections, at_once, length),
                handshakes,
                [first_closer, time_wait_at, reset_by, not_closed_by, closed_idle],
                resets,
                reuses,
                (shortest, idle),
                [challenged, again, unanswered, last_fin, not_closed],
                http,
            )| {
                json!({
                    "client": client, "server": server, "connections": connections, "at_once": at_once,
                    "length_ms": length, "handshakes": handshakes, "first_closer": first_closer,
                    "time_wait_at": time_wait_at, "resets": resets, "reset_by": reset_by, "reuses": reuses,
                    "shortest_reuse_ms": shortest, "challenged": challenged, "syn_again": again,
                    "unanswered": unanswered, "last_fin_unacknowledged": last_fin,
                    "not_closed_by": not_closed_by, "not_closed": not_closed, "closed_idle": closed_idle,
                    "idle_ms": idle, "http": http,
                })
            },
        )
}

fn traffic() -> impl Strategy<Value = Value> {
    let clocks = (number(), long(), long()).prop_map(|(hosts, packet, at)| {
        let one = json!({ "packet": packet, "at_ms": at, "value": hosts });
        json!({ "address": "10.0.0.1", "hosts": hosts, "proof": [[one, one]] })
    });
    let files = proptest::collection::vec("[ -~\n]{0,9}", 0..3);
    (files, long(), proptest::collection::vec(exchange().boxed(), 0..5), proptest::collection::vec(clocks, 0..2))
        .prop_map(|(files, length, exchanges, clocks)| {
            json!({ "files": files, "length_ms": length, "exchanges": exchanges, "clocks": clocks })
        })
}

/// A case file: of a host with one namespace, its traffic, and what programs in it are told.
pub(crate) fn case() -> impl Strategy<Value = Value> {
    let process = || {
        (number(), "[a-z]{1,8}|haproxy|nginx", long(), long()).prop_map(|(pid, name, open, limit)| {
        json!({ "pid": pid, "name": name, "open_files": open, "open_files_limit": limit })
    })
    };
    let counters = || proptest::collection::btree_map(proptest::sample::select(&COUNTERS[..]), long(), 0..19);
    let settings = proptest::collection::btree_map(proptest::sample::select(&SETTINGS[..]), value(), 0..20);
    (
        (counters(), counters(), prop_oneof![Just(0_u64), Just(1_000), Just(10_000), Just(u64::MAX)]),
        settings,
        [process(), process()],
        (counts(), proptest::collection::vec(group(), 0..5), proptest::collection::vec(listener(), 0..4)),
        proptest::option::of(conntrack()),
        (proptest::collection::vec(gap(), 0..2), proptest::option::of(traffic().boxed())),
        proptest::collection::vec(configuration(&printable().boxed()), 0..3),
    )
        .prop_map(
            |(
                (start, end, interval),
                settings,
                processes,
                (by_state, groups, listeners),
                conntrack,
                (gaps, traffic),
                configurations,
            )| {
                json!({
                    "schema": "lastack.case/1",
                    "namespaces": [{
                        "name": "host", "addresses": ["10.0.0.1", "127.0.0.1", "::1"], "settings": settings, "processes": processes, "conntrack": conntrack,
                        "counters": { "interval_ms": interval, "start": start, "end": end },
                        "sockets": { "by_state": by_state, "groups": groups, "listeners": listeners },
                    }],
                    "traffic": traffic,
                    "configurations": configurations,
                    "gaps": gaps,
                })
            },
        )
}
