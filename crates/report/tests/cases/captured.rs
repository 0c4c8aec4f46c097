//! What captures showed, alone and beside a host, and with names that try to write on the screen.

use super::{Found, avoid, finding, remedy, seen};
use diagnose::{Confidence, Diagnosis, Severity, Subject};
use evidence::{Case, Counted, Ends, Example, Exchange, Gap, Http, Traffic, Unseen};
use std::collections::BTreeMap;

fn shown(count: u64, packets: &[(u64, u64)]) -> Counted {
    let example = |(first_packet, last_packet): &(u64, u64)| Example {
        file: 0,
        first_packet: *first_packet,
        last_packet: *last_packet,
        client_port: 40_001,
    };
    Counted { count, examples: packets.iter().map(example).collect() }
}

fn counts<N: Copy>(of: &[(&str, N)]) -> BTreeMap<String, N> {
    of.iter().map(|(what, count)| ((*what).to_owned(), *count)).collect()
}

/// A proxy without a pool, seen for two minutes.
pub(crate) fn captured() -> Found {
    let upstream = Exchange {
        client: "10.0.1.2".parse().unwrap(),
        server: "10.0.2.2:8080".parse().unwrap(),
        connections: 1_496,
        at_once: 8,
        length_ms: 120_000,
        handshakes: counts(&[("complete", 1_490), ("refused", 2), ("unseen", 4)]),
        endings: counts(&[("graceful", 1_480), ("reset", 12), ("refused", 2), ("open", 2)]),
        first_closer: Ends { client: 3, server: 1_476, both: 1 },
        time_wait_at: Ends { client: 3, server: 1_476, both: 1 },
        resets: [
            ("abort-by-linger".to_owned(), shown(9, &[(17, 25), (30, 44), (90, 90)])),
            ("no-listener".to_owned(), shown(2, &[(3, 4)])),
            ("unknown".to_owned(), shown(3, &[])),
        ]
        .into(),
        reset_by: Ends { client: 9, server: 5, both: 0 },
        reuses: [("accepted".to_owned(), shown(4, &[(700, 708)]))].into(),
        shortest_reuse_ms: Some(21_412),
        syn_again: shown(7, &[(5, 9)]),
        http: Some(Http {
            connections: 1_490,
            requests: 1_496,
            responses: 1_484,
            by_requests: [(1, 1_484), (2, 6)].into(),
            close_by: Ends { client: 0, server: 0, both: 1_484 },
            old_version: 1_484,
            ..Http::default()
        }),
        ..Exchange::default()
    };
    let other = Exchange {
        client: "2001:db8:1234:5678:9abc:def0:1234:5678".parse().unwrap(),
        server: "[2001:db8:1234:5678:9abc:def0:1234:9999]:443".parse().unwrap(),
        connections: 2,
        length_ms: 1_500,
        handshakes: counts(&[("complete", 2)]),
        endings: counts(&[("half-closed", 2)]),
        ..Exchange::default()
    };
    let traffic = Traffic {
        files: vec!["/var/tmp/web.pcap".into(), "/var/tmp/web.pcap1".into()],
        start: "2026-11-20T12:29:03.123456789Z".into(),
        length_ms: 120_000,
        frames: 15_432,
        segments: 15_400,
        connections: 1_498,
        exchanges: vec![upstream, other],
        time_wait_by_second: (0..120).map(|second| (second, at_server(u64::from(second) % 25))).collect(),
        notes: counts(&[("began-late", 4), ("active-reset", 9)]),
        ..Traffic::default()
    };
    let gaps = vec![Gap {
        unseen: Unseen::Packets,
        netns: None,
        because: "/var/tmp/web.pcap1: the capture itself lost 12 packets".into(),
        how_to_see: "capture less (tcpdump -s 128, a filter) or with a larger buffer (-B)".into(),
    }];
    let mut off = finding(
        "upstream-keepalive-off",
        Severity::Warning,
        "Keep-alive is off from 10.0.1.2 to 10.0.2.2:8080",
    );
    off.confidence = Confidence::Likely;
    off.subject = Subject {
        source: Some("10.0.1.2".into()),
        destination: Some("10.0.2.2:8080".into()),
        ..Subject::default()
    };
    off.evidence.push(seen("web.pcap", "packets 17 to 25 and 30 to 44: the client speaks HTTP/1.0"));
    off.remedies.push(remedy("pool", "Give the proxy a pool", "8 connections", "none"));
    off.avoid.push(avoid("linger 0", "the peer loses what it has not read"));
    off.next = Some("lastack read /var/tmp/web.pcap --connection 10.0.1.2:40001".into());
    let case = Case { traffic: Some(traffic), gaps, ..Case::default() };
    (case, Diagnosis { findings: vec![off], ..Diagnosis::default() })
}

fn at_server(server: u64) -> Ends {
    Ends { server, ..Ends::default() }
}

/// The same from a case that somebody wrote, with names that no capture has.
pub(crate) fn captured_hostile() -> Found {
    let evil = "\u{1b}[2J\u{1b}]0;owned\u{7}\r\n\u{202e}txt.exe\u{200b}\u{9b}31m; rm -rf /tmp/x";
    let (mut case, mut diagnosis) = captured();
    let traffic = case.traffic.as_mut().unwrap();
    traffic.files =
        vec![evil.into(), "n".repeat(4_096), format!("/{evil}/\u{5d0}\u{5d1}\u{5d2}.pcap"), "x/".into()];
    traffic.start = evil.into();
    traffic.length_ms = u64::MAX;
    traffic.connections = u64::MAX;
    traffic.notes = counts(&[(evil, 3), ("", u64::MAX)]);
    traffic.time_wait_by_second = [(0, at_server(u64::MAX)), (u32::MAX, at_server(1))].into();
    let exchange = &mut traffic.exchanges[0];
    exchange.endings = counts(&[(evil, 7), (&"long-".repeat(300), 2)]);
    exchange.handshakes = counts(&[(evil, u64::MAX)]);
    exchange.resets = [(evil.to_owned(), shown(u64::MAX, &[(9, 1), (u64::MAX, u64::MAX)]))].into();
    exchange.reuses = [(evil.to_owned(), shown(1, &[(0, 0)]))].into();
    case.gaps[0].because = format!("{evil}: {}", "\u{4e2d}".repeat(200));
    let finding = &mut diagnosis.findings[0];
    finding.claim = evil.into();
    finding.evidence.push(seen(evil, evil));
    finding.next = Some(format!("lastack read '{evil}' --connection 1"));
    (case, diagnosis)
}
