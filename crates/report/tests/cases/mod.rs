//! Hosts to report on, and what rules would say of them. The findings are written here by hand, so that a
//! change in the words of a rule changes no page.

use diagnose::{
    Applicability, Avoid, Change, Confidence, Diagnosis, Evidence, Finding, Remedy, Severity, Subject,
    Unknown,
};
use evidence::Case;

mod captured;

pub(crate) use captured::{captured, captured_hostile};

/// A host and what was found on it.
pub(crate) type Found = (Case, Diagnosis);

fn case(namespaces: &str, gaps: &str) -> Case {
    let text = format!(
        r#"{{"schema": "lastack.case/1", "written_by": "lastack 0.1.0",
            "host": {{"name": "web1", "kernel": "6.18.44", "taken_at": "2026-11-20T12:29:03.123456789Z"}},
            "namespaces": [{namespaces}], "gaps": [{gaps}]}}"#
    );
    Case::from_bytes(text.as_bytes()).unwrap()
}

fn with_budgets(case: Case, findings: Vec<Finding>, unknown: Vec<Unknown>) -> Found {
    let mut budgets: Vec<diagnose::Budget> = (case.namespaces.iter())
        .flat_map(|namespace| diagnose::budgets(namespace, case.traffic.as_ref()))
        .collect();
    for budget in &mut budgets {
        // Forecasts are not what is tested here: a better one changes no page.
        let used = budget.ports - budget.left();
        budget.rate_lasts = budget.time_wait > 100;
        budget.closes_per_second = f64::from(budget.time_wait) / 60.0;
        budget.seconds_left =
            (budget.rate_lasts && used * 2 > budget.ports).then(|| f64::from(budget.left()) / 40.0);
        budget.past_knee = used * 2 > budget.ports;
    }
    (case, Diagnosis { budgets, findings, unknown })
}

fn finding(rule: &'static str, severity: Severity, claim: &str) -> Finding {
    Finding {
        rule,
        severity,
        confidence: Confidence::Certain,
        claim: claim.to_owned(),
        subject: Subject { netns: "host".into(), ..Subject::default() },
        evidence: Vec::new(),
        remedies: Vec::new(),
        avoid: Vec::new(),
        next: None,
    }
}

fn seen(source: &str, says: &str) -> Evidence {
    Evidence { source: source.into(), says: says.into() }
}

fn remedy(name: &'static str, summary: &str, expected: &str, risk: &str) -> Remedy {
    Remedy {
        name,
        summary: summary.into(),
        applicability: Applicability::DisplayOnly,
        risk: risk.into(),
        changes: Vec::new(),
        expected: expected.into(),
        guards: Vec::new(),
    }
}

fn setting(remedy: Remedy, applicability: Applicability, setting: &str, from: &str, to: &str) -> Remedy {
    let change = Change::Setting { setting: setting.into(), from: from.into(), to: to.into() };
    Remedy { applicability, changes: vec![change], ..remedy }
}

fn avoid(what: &str, because: &str) -> Avoid {
    Avoid { what: what.into(), because: because.into() }
}

fn exhausted_finding() -> Finding {
    Finding {
        evidence: vec![
            seen("sock_diag", "28,100 ports in TIME-WAIT, 132 established"),
            seen("TIME-WAIT timers", "470 closes a second over 10 s, at most 512 in one second (12 s ago)"),
            seen("net.ipv4.ip_local_port_range", "is 32768\t60999"),
        ],
        remedies: vec![
            remedy(
                "pool",
                "Let php-fpm keep its connections to 10.0.0.2:80: a pool, HTTP keep-alive",
                "one port for each connection that is in use at once, instead of one for 60 s each",
                "a kept connection may be closed by the peer while idle: keep it shorter than the peer does",
            ),
            remedy("more-destinations", "Spread the connections over more addresses of the service", "", ""),
            remedy("more-sources", "Connect from more source addresses", "28,232 more ports for each", ""),
            setting(
                remedy("wider-range", "Widen the range of local ports", "64,512 ports instead of 28,232", ""),
                Applicability::Unsafe,
                "net.ipv4.ip_local_port_range",
                "32768\t60999",
                "1024 65535",
            ),
            setting(
                remedy(
                    "reuse",
                    "Take TIME-WAIT ports again after a second",
                    "27,600 ports come free",
                    "none",
                ),
                Applicability::Safe,
                "net.ipv4.tcp_tw_reuse",
                "2",
                "1",
            ),
        ],
        avoid: vec![
            avoid(
                "lower tcp_fin_timeout",
                "it is how long an orphan FIN-WAIT-2 is kept; TIME-WAIT stays 60 s",
            ),
            avoid("lower tcp_max_tw_buckets", "connections then skip TIME-WAIT, and late FINs meet a reset"),
        ],
        next: Some("ss -tanp '( dst 10.0.0.2:80 )'".into()),
        ..finding(
            "ephemeral-ports-exhausted",
            Severity::Error,
            "All 28,232 local ports from 10.0.0.1 to 10.0.0.2:80 are taken: 28,100 in TIME-WAIT, 132 established, \
             opened by php-fpm (24 processes); connect() fails with EADDRNOTAVAIL",
        )
    }
}

/// A client that has used up its ports.
pub(crate) fn exhausted() -> Found {
    let by_second: Vec<String> =
        (0..60).map(|left| format!("\"{left}\": {}", 440 + left * 37 % 58)).collect();
    let processes: Vec<String> =
        (0..24).map(|pid| format!(r#"{{"pid": {}, "name": "php-fpm"}}"#, 812 + pid)).collect();
    let owners: Vec<String> = (0..24)
        .map(|process| {
            format!(
                r#"{{"process": {process}, "known_by": "inode", "states": {{"ESTABLISHED": 5}}}},
                   {{"process": {process}, "known_by": "cookie", "states": {{"TIME-WAIT": {}}}}}"#,
                1_100 + process
            )
        })
        .collect();
    let total: u32 = (0..60).map(|left| 440 + left * 37 % 58).sum();
    let other = 14_116 - 66;
    let namespace = format!(
        r#"{{"name": "host", "inode": 4026531840,
            "settings": {{"net.ipv4.ip_local_port_range": "32768\t60999", "net.ipv4.tcp_tw_reuse": "2",
                          "net.ipv4.tcp_timestamps": "1", "net.ipv4.tcp_fin_timeout": "15",
                          "net.ipv4.tcp_max_tw_buckets": "131072"}},
            "counters": {{"interval_ms": 1000,
                "start": {{"TcpActiveOpens": 91000, "TcpAttemptFails": 3, "TcpExtTW": 100}},
                "end": {{"TcpActiveOpens": 91470, "TcpAttemptFails": 3, "TcpExtTW": 570}}}},
            "processes": [{processes}],
            "conntrack": {{"entries": 61002, "max": 262144, "tcp_by_state": {{"TIME_WAIT": 56200, "ESTABLISHED": 132}}}},
            "sockets": {{"by_state": {{"ESTABLISHED": 162, "TIME-WAIT": {total}}},
                "groups": [
                    {{"role": "client", "local": "10.0.0.1", "remote": "10.0.0.2:80",
                      "states": {{"ESTABLISHED": 132, "TIME-WAIT": {total}}},
                      "time_wait": {{"by_second": {{{by_second}}}}},
                      "ports": {{"time_wait": {{"preferred": {other}, "other": {other}}},
                                 "established": {{"preferred": 66, "other": 66}}}},
                      "owners": [{owners}]}},
                    {{"role": "client", "local": "2001:db8:85a3::8a2e:370:7334",
                      "remote": "[2001:db8:1234:5678:9abc:def0:1234:5678]:5432",
                      "states": {{"ESTABLISHED": 30}},
                      "ports": {{"established": {{"preferred": 400, "other": 0}}}}}}
                ]}}}}"#,
        processes = processes.join(","),
        owners = owners.join(","),
        by_second = by_second.join(","),
    );
    with_budgets(case(&namespace, ""), vec![exhausted_finding()], Vec::new())
}

/// A server that forgets to close.
pub(crate) fn leaking() -> Found {
    let namespace = r#"{"name": "host", "inode": 4026531840,
        "settings": {"net.ipv4.ip_local_port_range": "32768\t60999"},
        "processes": [{"pid": 77, "name": "worker", "open_files": 950, "open_files_limit": 1024},
                      {"pid": 12, "name": "nginx", "container": "4f1c0d9e8b7a665544332211"}],
        "sockets": {"by_state": {"LISTEN": 2, "ESTABLISHED": 14, "CLOSE-WAIT": 912},
            "listeners": [{"address": "*:8080", "queue": 130, "backlog": 128, "process": 0},
                          {"address": "*:80", "queue": 0, "backlog": 511, "process": 1}],
            "groups": [
                {"role": "server", "local": "10.0.0.1:8080", "remote": "10.0.7.9",
                 "states": {"ESTABLISHED": 2, "CLOSE-WAIT": 912},
                 "waiting": [{"state": "CLOSE-WAIT", "sockets": 912}],
                 "owners": [{"process": 0, "known_by": "inode", "states": {"ESTABLISHED": 2, "CLOSE-WAIT": 912}}]},
                {"role": "server", "local": "10.0.0.1:80", "remote": "192.0.2.7",
                 "states": {"ESTABLISHED": 12},
                 "owners": [{"process": 1, "known_by": "inode", "states": {"ESTABLISHED": 10}},
                            {"uid": 33, "known_by": "uid", "states": {"ESTABLISHED": 2}}]}
            ]}}"#;
    let gaps = r#"{"unseen": "ages", "netns": "host", "because": "ages of sockets were not asked for",
                   "how_to_see": "lastack doctor --for 1s"},
                  {"unseen": "conntrack", "because": "conntrack's table: permission denied",
                   "how_to_see": "run as root"}"#;
    let leak = Finding {
        confidence: Confidence::Likely,
        evidence: vec![
            seen("sock_diag", "912 sockets in CLOSE-WAIT, 870 of them with bytes that were not read"),
            seen("/proc/77/fd", "950 of 1,024 descriptors are open"),
        ],
        remedies: vec![
            remedy(
                "close-it",
                "Fix worker (pid 77): when read() returns 0, close the socket, also in the branches for errors",
                "CLOSE-WAIT goes back to the few that are being closed",
                "none",
            ),
            remedy(
                "restart",
                "Restart worker (pid 77) to win time",
                "all descriptors come back",
                "it begins anew",
            ),
        ],
        avoid: vec![avoid("any sysctl", "no timer runs in CLOSE-WAIT: only close() by the process ends it")],
        next: Some("ss -tnp state close-wait '( sport = :8080 )'".into()),
        ..finding(
            "close-wait-leak",
            Severity::Error,
            "worker (pid 77) has not closed 912 connections on port 8080 that the peers have closed, all for at \
             least 60 s, the longest for 11 min; it has 74 descriptors left",
        )
    };
    let queue = Finding {
        next: Some("ss -tln '( sport = :8080 )'".into()),
        evidence: vec![seen("sock_diag", "130 of 128 connections wait for accept()")],
        ..finding(
            "accept-queue-full",
            Severity::Warning,
            "The accept queue of *:8080 is full: new SYNs are dropped",
        )
    };
    let range = finding(
        "listener-in-ephemeral-range",
        Severity::Note,
        "Port 50051 is listened on and lies in the range of automatic ports",
    );
    let unknown = vec![
        Unknown {
            rule: "conntrack-full",
            because: "conntrack's table: permission denied".into(),
            how_to_see: "run as root".into(),
        },
        Unknown {
            rule: "time-wait-table-full",
            because: "counters were read once; rises need a look with a length".into(),
            how_to_see: "lastack doctor --for 10s".into(),
        },
        Unknown {
            rule: "abort-instead-of-close",
            because: "counters were read once; rises need a look with a length".into(),
            how_to_see: "lastack doctor --for 10s".into(),
        },
    ];
    with_budgets(case(namespace, gaps), vec![leak, queue, range], unknown)
}

/// A busy server with nothing wrong, fully seen.
pub(crate) fn healthy() -> Found {
    let namespace = r#"{"name": "host", "inode": 4026531840,
        "settings": {"net.ipv4.ip_local_port_range": "32768\t60999", "net.ipv4.tcp_fin_timeout": "60"},
        "counters": {"interval_ms": 1000, "start": {"TcpPassiveOpens": 10}, "end": {"TcpPassiveOpens": 62}},
        "processes": [{"pid": 12, "name": "nginx"}],
        "sockets": {"by_state": {"LISTEN": 1, "ESTABLISHED": 640, "TIME-WAIT": 48},
            "listeners": [{"address": "*:443", "queue": 0, "backlog": 511, "process": 0}],
            "groups": [
                {"role": "server", "local": "192.0.2.9:443", "remote": "198.51.100.4",
                 "states": {"ESTABLISHED": 640, "TIME-WAIT": 48},
                 "time_wait": {"by_second": {"59": 1, "40": 20, "20": 27}},
                 "owners": [{"process": 0, "known_by": "inode", "states": {"ESTABLISHED": 640}},
                            {"process": 0, "known_by": "listener", "states": {"TIME-WAIT": 48}}]}
            ]}}"#;
    with_budgets(case(namespace, ""), Vec::new(), Vec::new())
}

/// Three namespaces, two of them in trouble of the same kind.
pub(crate) fn namespaces() -> Found {
    let one = |name: &str, inode: u32, holder: &str, taken: u32| {
        format!(
            r#"{{"name": "{name}", "inode": {inode}, "holders": ["{holder}"],
                "settings": {{"net.ipv4.ip_local_port_range": "40000\t40999", "net.ipv4.tcp_tw_reuse": "0"}},
                "counters": {{"interval_ms": 10000,
                    "start": {{"TcpActiveOpens": 1, "TcpOutRsts": 5}}, "end": {{"TcpActiveOpens": 161, "TcpOutRsts": 9}}}},
                "processes": [{{"pid": {inode}, "name": "{name}-job", "container": "c{inode}abcdef0123456789"}}],
                "sockets": {{"by_state": {{"TIME-WAIT": {taken}}},
                    "groups": [{{"role": "client", "local": "172.17.0.2", "remote": "10.0.0.2:6379",
                        "states": {{"TIME-WAIT": {taken}}},
                        "time_wait": {{"by_second": {{"55": {taken}}}}},
                        "ports": {{"time_wait": {{"preferred": {preferred}, "other": {other}}}}},
                        "owners": [{{"process": 0, "known_by": "cookie", "states": {{"TIME-WAIT": {taken}}}}}]}}]}}}}"#,
            preferred = taken.min(500),
            other = taken.saturating_sub(500),
        )
    };
    let namespaces = [
        one("host", 4001, "systemd (pid 1)", 3),
        one("blue", 4002, "blue-job (pid 4002, container c4002abcdef0)", 998),
        one("pid:4003", 4003, "green-job (pid 4003, container c4003abcdef0)", 940),
    ];
    let full = |netns: &str, claim: &str| Finding {
        subject: Subject { netns: netns.into(), ..Subject::default() },
        remedies: vec![setting(
            remedy("wider-range", "Widen the range of local ports", "64,512 ports instead of 1,000", ""),
            Applicability::Unsafe,
            "net.ipv4.ip_local_port_range",
            "40000\t40999",
            "1024 65535",
        )],
        evidence: vec![seen("sock_diag", "all in TIME-WAIT")],
        ..finding("ephemeral-ports-exhausted", Severity::Warning, claim)
    };
    let findings = vec![
        full(
            "blue",
            "998 of 1,000 local ports from 172.17.0.2 to 10.0.0.2:6379 are taken: none is left in 2 s",
        ),
        full(
            "pid:4003",
            "940 of 1,000 local ports from 172.17.0.2 to 10.0.0.2:6379 are taken: none is left in 4 s",
        ),
    ];
    let gaps = r#"{"unseen": "owners", "netns": "blue", "because": "owners of 3 sockets: the process ended",
                   "how_to_see": "look for longer: lastack doctor --for 10s"},
                  {"unseen": "owners", "netns": "pid:4003", "because": "owners of 3 sockets: the process ended",
                   "how_to_see": "look for longer: lastack doctor --for 10s"}"#;
    with_budgets(case(&namespaces.join(","), gaps), findings, Vec::new())
}

/// Names that try to write on the screen themselves.
pub(crate) fn hostile() -> Found {
    let (mut case, mut diagnosis) = leaking();
    let evil = "\u{1b}[2J\u{1b}]0;owned\u{7}\r\n\u{202e}txt.exe\u{200b}\u{9b}31m; rm -rf /";
    case.host.name = format!("web1{evil}");
    case.host.kernel = evil.into();
    case.host.taken_at = evil.into();
    for namespace in &mut case.namespaces {
        namespace.name = format!("ns{evil}");
        namespace.processes[0].name = evil.into();
        namespace.processes[1].name = "\u{4e2d}\u{6587}\u{540d}\u{5b57} ".repeat(40);
        namespace.processes[1].container = None;
        namespace.settings.values.insert("net.ipv4.tcp_rfc1337".into(), evil.to_owned());
    }
    for gap in &mut case.gaps {
        gap.because = evil.into();
        gap.how_to_see = evil.into();
    }
    for finding in &mut diagnosis.findings {
        finding.claim = format!("{evil} has not closed 912 connections{}", " verylongword".repeat(3));
        finding.subject.netns = format!("ns{evil}");
        finding.evidence.push(seen(evil, &"x".repeat(300)));
        finding.next = Some(format!("ip netns exec 'ns{evil}' ss -tnp state close-wait"));
    }
    diagnosis.findings[0].remedies.push(setting(
        remedy("evil", evil, evil, evil),
        Applicability::Unsafe,
        "net.ipv4.ip_local_reserved_ports",
        evil,
        evil,
    ));
    (case, diagnosis)
}

/// A case without a namespace.
pub(crate) fn empty() -> Found {
    (Case::default(), Diagnosis::default())
}

/// More of everything than a page or a report has room for.
pub(crate) fn crowded() -> Found {
    let (mut case, mut diagnosis) = namespaces();
    let namespace = case.namespaces[1].clone();
    for number in 0..250_u32 {
        let mut copy = namespace.clone();
        copy.name = format!("ns{number}");
        copy.processes[0].pid = number;
        copy.processes[0].name = format!("job{number}");
        copy.sockets.listeners = vec![evidence::Listener { queue: number, ..Default::default() }; 2];
        copy.conntrack = Some(evidence::Conntrack { entries: u64::from(number), ..Default::default() });
        case.namespaces.push(copy);
        case.gaps.push(evidence::Gap {
            unseen: evidence::Unseen::Owners,
            netns: Some(format!("ns{number}")),
            because: format!("owners of {number} sockets: permission denied"),
            how_to_see: "run as root".into(),
        });
        let mut again = diagnosis.findings[0].clone();
        again.subject.netns = format!("ns{number}");
        diagnosis.findings.push(again);
        diagnosis.unknown.push(Unknown {
            rule: "conntrack-full",
            because: format!("conntrack of ns{number}: permission denied"),
            how_to_see: "run as root".into(),
        });
    }
    let (findings, unknown) = (diagnosis.findings, diagnosis.unknown);
    with_budgets(case, findings, unknown)
}

/// All of them, by name.
pub(crate) fn all() -> [(&'static str, Found); 9] {
    [
        ("exhausted", exhausted()),
        ("leaking", leaking()),
        ("healthy", healthy()),
        ("namespaces", namespaces()),
        ("hostile", hostile()),
        ("empty", empty()),
        ("crowded", crowded()),
        ("captured", captured()),
        ("captured_hostile", captured_hostile()),
    ]
}
