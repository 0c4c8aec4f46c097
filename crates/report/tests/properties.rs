//! Whatever a case holds: the report is finite and valid, and the page keeps within its width.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use evidence::Case;
use proptest::prelude::*;
use report::{Report, Style};
use serde_json::{Value, json};
use unicode_width::UnicodeWidthChar;

#[path = "../../diagnose/tests/any_case/configurations.rs"]
mod configurations;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{0,12}",
        ".{0,60}",
        "\\PC{0,300}",
        Just("\u{1b}[31m\u{202e}\n\t\u{9b}".to_owned()),
        Just("\u{4e2d}".repeat(90)),
        Just("net.ipv4.x=1 2".to_owned()),
    ]
}

fn count() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), Just(1), 0..2_000_u32, Just(28_232), any::<u32>(), Just(u32::MAX)]
}

fn big() -> impl Strategy<Value = u64> {
    prop_oneof![count().prop_map(u64::from), any::<u64>(), Just(u64::MAX)]
}

fn states() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(tcp::State::ALL.to_vec());
    prop::collection::vec((names, count()), 0..6).prop_map(|states| {
        states.into_iter().map(|(state, count)| (state.name().to_owned(), json!(count))).collect()
    })
}

fn endpoint() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("10.0.0.2:80".to_owned()),
        Just("*:8080".to_owned()),
        Just("*".to_owned()),
        Just("10.0.0.1".to_owned()),
        Just("[2001:db8:1234:5678:9abc:def0:1234:5678]:65535".to_owned()),
        Just("2001:db8:1234:5678:9abc:def0:1234:5678".to_owned()),
    ]
}

fn halves() -> impl Strategy<Value = Value> {
    (count(), count()).prop_map(|(preferred, other)| json!({"preferred": preferred, "other": other}))
}

fn group() -> impl Strategy<Value = Value> {
    let owner = (prop::option::of(0..3_u32), states())
        .prop_map(|(process, states)| json!({"process": process, "known_by": "cookie", "states": states}));
    let closes = prop::collection::btree_map(0..4_000_u32, count(), 0..20);
    (
        prop::sample::select(vec!["client", "server"]),
        endpoint(),
        endpoint(),
        states(),
        closes,
        halves(),
        halves(),
        prop::collection::vec(owner, 0..4),
    )
        .prop_map(|(role, local, remote, states, closes, waiting, established, owners)| {
            json!({"role": role, "local": local, "remote": remote, "states": states,
                   "time_wait": {"by_second": closes}, "owners": owners,
                   "ports": {"time_wait": waiting, "established": established}})
        })
}

fn namespace() -> impl Strategy<Value = Value> {
    let process = (any::<u32>(), text(), prop::option::of(text()), prop::option::of(big()))
        .prop_map(|(pid, name, container, files)| json!({"pid": pid, "name": name, "container": container, "open_files": files}));
    let listener = (endpoint(), count(), count(), prop::option::of(0..3_u32)).prop_map(
        |(address, queue, backlog, process)| {
            json!({"address": address, "queue": queue, "backlog": backlog, "process": process})
        },
    );
    let conntrack = (big(), big(), prop::collection::btree_map(text(), big(), 0..4)).prop_map(|(entries, max, states)| {
        json!({"entries": entries, "max": max, "tcp_by_state": states, "stats_start": {"drop": 0}, "stats_end": {"drop": max}})
    });
    let setting = prop::sample::select(vec![
        "net.ipv4.ip_local_port_range",
        "net.ipv4.tcp_tw_timeout",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.ip_local_reserved_ports",
    ]);
    let value = prop_oneof![
        text(),
        Just("0 65535".to_owned()),
        Just("40000 40000".to_owned()),
        Just("600".to_owned())
    ];
    (
        (text(), prop::collection::vec(text(), 0..5)),
        prop::collection::btree_map(setting, value, 0..4),
        (big(), big(), big()),
        prop::collection::vec(process, 3..5),
        (states(), prop::collection::vec(listener, 0..4), prop::collection::vec(group(), 0..6), halves()),
        prop::option::of(conntrack),
    )
        .prop_map(|((name, holders), settings, (interval, start, end), processes, sockets, conntrack)| {
            let (states, listeners, groups, bound) = sockets;
            json!({"name": name, "holders": holders, "settings": settings, "processes": processes,
                   "counters": {"interval_ms": interval, "start": {"TcpOutRsts": start}, "end": {"TcpOutRsts": end}},
                   "sockets": {"by_state": states, "listeners": listeners, "groups": groups, "bound": {"all": bound}},
                   "conntrack": conntrack})
        })
}

fn case() -> impl Strategy<Value = Case> {
    let gap = (text(), text(), prop::option::of(text()))
        .prop_map(|(because, how, netns)| json!({"unseen": "owners", "because": because, "how_to_see": how, "netns": netns}));
    let slabs = prop::option::of(big()).prop_map(|bytes| match bytes {
        Some(bytes) => {
            json!({"tw_sock_TCP": {"total_bytes": bytes}, "tw_sock_TCPv6": {"total_bytes": bytes}})
        }
        None => json!({}),
    });
    (
        (text(), text(), text(), slabs),
        prop::collection::vec(namespace(), 0..4),
        prop::collection::vec(gap, 0..5),
        prop::collection::vec(configurations::configuration(&text().boxed()), 0..3),
    )
        .prop_map(|((name, kernel, taken_at, slabs), namespaces, gaps, configurations)| {
            let case = json!({"schema": "lastack.case/1", "namespaces": namespaces, "gaps": gaps, "configurations": configurations,
                "host": {"name": name, "kernel": kernel, "taken_at": taken_at, "slabs": slabs}});
            Case::from_bytes(&serde_json::to_vec(&case).unwrap()).unwrap()
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn any_case_makes_a_page_that_keeps_within_its_width(case in case(), width in 0_usize..140, color in any::<bool>()) {
        let diagnosis = diagnose::diagnose(&case);
        let report = Report::new(&case, &diagnosis);
        let mut page = Vec::new();
        report::page::write(&report, &mut page, Style { width, color }).unwrap();
        let page = String::from_utf8(page).unwrap();
        let odd = page.chars().find(|letter| letter.is_control() && !matches!(letter, '\n' | '\u{1b}'));
        prop_assert!(odd.is_none(), "{odd:?} reached the terminal");
        let colored = page.contains('\u{1b}');
        prop_assert!(color || !colored, "a colour nobody asked for");
        if width >= 40 && !color {
            let limit = width.min(Style::WIDEST);
            for line in page.lines() {
                let columns: usize = line.chars().filter_map(UnicodeWidthChar::width).sum();
                // A command is broken only between its words: the longest of them is here more than a line.
                let command = line.trim_start().starts_with("$ ") || line.ends_with('\\') || line.ends_with('\'');
                prop_assert!(columns <= limit || command, "{width}: {line:?}");
            }
        }
    }

    #[test]
    fn any_case_makes_a_valid_report_with_finite_numbers(case in case()) {
        let diagnosis = diagnose::diagnose(&case);
        let report = Report::new(&case, &diagnosis);
        let mut line = Vec::new();
        report::write_json(&report, &mut line).unwrap();
        let value: Value = serde_json::from_slice(&line).unwrap();
        // serde_json writes NaN and infinities as null, where the schema wants a number.
        thread_local!(static SCHEMA: jsonschema::Validator = jsonschema::validator_for(&report::json_schema()).unwrap());
        let valid = SCHEMA.with(|schema| schema.validate(&value).map_err(|error| error.to_string()));
        prop_assert_eq!(valid, Ok(()));
    }
}
