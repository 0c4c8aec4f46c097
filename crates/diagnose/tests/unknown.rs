//! A rule that lacks what it needs says so, and how to see it; it is never silent, and never guesses.
#![allow(clippy::unwrap_used, clippy::missing_docs_in_private_items, reason = "a test fails by panicking")]

use diagnose::{Look, Verdict};
use evidence::Case;
use serde_json::{Value, json};

/// What a rule says of a namespace and the gaps of its case.
fn said(rule: &str, namespace: &Value, gaps: &Value) -> Verdict {
    let text = json!({ "schema": "lastack.case/1", "namespaces": [namespace], "gaps": gaps });
    let case = Case::from_bytes(&serde_json::to_vec(&text).unwrap()).unwrap();
    diagnose::rule(rule).unwrap().check(&Look::new(&case, &case.namespaces[0]))
}

fn gap(unseen: &str) -> Value {
    json!([{ "unseen": unseen, "because": "permission denied", "how_to_see": "run as root" }])
}

fn unknown(because: &str, how_to_see: &str) -> Verdict {
    Verdict::Unknown { because: because.to_owned(), how_to_see: how_to_see.to_owned() }
}

/// A glance: counters were read once.
fn glance(more: &Value) -> Value {
    let mut namespace = json!({
        "name": "host",
        "counters": { "interval_ms": 0, "end": { "TcpOutRsts": 7, "TcpExtListenOverflows": 7 } },
    });
    namespace.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    namespace
}

const RISES: [&str; 5] = [
    "syn-meets-time-wait",
    "timestamps-behind-nat",
    "abort-instead-of-close",
    "accept-queue-full",
    "conntrack-full",
];

#[test]
fn rules_that_need_rises_say_the_same_of_a_glance() {
    let once =
        unknown("counters were read once; rises need a look with a length", "lastack doctor --for 10s");
    let namespace = glance(&json!({ "conntrack": { "entries": 10, "max": 1000 } }));
    for rule in RISES {
        assert_eq!(said(rule, &namespace, &json!([])), once, "{rule}");
    }
}

#[test]
fn rules_that_need_counters_name_the_gap() {
    let namespace = json!({ "name": "host", "conntrack": { "entries": 10, "max": 1000 } });
    for rule in RISES {
        let said = said(rule, &namespace, &gap("counters"));
        assert_eq!(said, unknown("permission denied", "run as root"), "{rule}");
    }
}

#[test]
fn what_a_glance_shows_needs_no_rises() {
    let full = json!({
        "conntrack": { "entries": 990, "max": 1000 },
        "sockets": { "listeners": [{ "address": "*:80", "queue": 129, "backlog": 128 }] },
    });
    for rule in ["accept-queue-full", "conntrack-full"] {
        assert!(matches!(said(rule, &glance(&full), &json!([])), Verdict::Found(_)), "{rule}");
    }
}

#[test]
fn conntrack_that_could_not_be_read_is_not_conntrack_that_is_absent() {
    let namespace = json!({ "name": "host" });
    assert_eq!(said("conntrack-full", &namespace, &json!([])), Verdict::Quiet);
    assert_eq!(
        said("conntrack-full", &namespace, &gap("conntrack")),
        unknown("permission denied", "run as root")
    );
}

#[test]
fn close_wait_without_ages_is_unknown_unless_there_is_little_of_it() {
    let namespace = |sockets: u32| {
        json!({ "name": "host", "sockets": { "groups": [{
            "role": "server", "local": "10.0.0.1:80", "remote": "10.0.0.2", "states": { "CLOSE-WAIT": sockets },
            "waiting": [{ "state": "CLOSE-WAIT", "sockets": sockets }],
        }] } })
    };
    let said = |sockets: u32| said("close-wait-leak", &namespace(sockets), &gap("ages"));
    assert_eq!(said(9), Verdict::Quiet);
    assert_eq!(said(99), unknown("permission denied", "run as root"));
    assert!(matches!(said(100), Verdict::Found(_)));
}

#[test]
fn rules_that_count_sockets_say_when_sockets_are_missing() {
    let namespace = json!({ "name": "host", "sockets": { "groups": [{
        "role": "server", "local": "10.0.0.1:80", "remote": "10.0.0.2", "states": { "TIME-WAIT": 50 },
        "time_wait": { "by_second": { "30": 50 } },
    }] } });
    for rule in ["close-wait-leak", "fin-wait-2-waiting", "last-ack-unanswered", "bind-without-reuseaddr"] {
        let said = said(rule, &namespace, &gap("sockets"));
        assert_eq!(said, unknown("permission denied", "run as root"), "{rule}");
    }
}

#[test]
fn rules_that_only_packets_decide_say_so_once_whatever_the_namespaces() {
    let text = json!({ "schema": "lastack.case/1", "namespaces": [{ "name": "host" }, { "name": "web" }] });
    let case = Case::from_bytes(&serde_json::to_vec(&text).unwrap()).unwrap();
    let diagnosis = diagnose::diagnose(&case);
    let because = "no packets were read";
    let undecided: Vec<&str> = diagnosis
        .unknown
        .iter()
        .filter(|unknown| unknown.because == because)
        .map(|unknown| unknown.rule)
        .collect();
    let of_packets = [
        "upstream-keepalive-off",
        "upstream-keepalive-unpooled",
        "upstream-keepalive-small",
        "client-without-pool",
        "idle-timeout-race",
    ];
    assert_eq!(undecided, of_packets);
    let way = "lastack read FILE, or lastack doctor --capture FILE";
    assert_eq!(diagnose::Rule::without_packets(), unknown(because, way));
    // A capture without a connection decides them: there is nothing to see.
    let empty = Case { traffic: Some(evidence::Traffic::default()), ..Case::default() };
    assert_eq!(diagnose::diagnose(&empty), diagnose::Diagnosis::default());
}
