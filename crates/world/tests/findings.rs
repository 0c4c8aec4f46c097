//! Rules judge simulated hosts as they judge real ones.

use std::collections::BTreeSet;
use world::scenario::{Kernel, Stage, World};
use world::{collection, simulate, simulate_watched};

/// The rules that fire at each host of a world, by `HOST RULE`.
fn fired(world: &World) -> BTreeSet<String> {
    let run = simulate(world);
    let findings = run.cases.iter().flat_map(|(host, case)| {
        let findings = diagnose::diagnose(case).findings;
        findings.into_iter().map(move |finding| format!("{host} {}", finding.rule))
    });
    findings.collect()
}

fn variant(scenario: &str, name: &str) -> World {
    let scenario = collection::scenario(scenario).expect("it comes with lastack").expect("it is read");
    scenario.variant(name).expect("it has the variant").world.clone()
}

#[test]
fn nothing_fires_that_is_not_expected() {
    // Without packets, a reset in answer to late data looks like any other.
    let needs_packets = ["idle-timeout-race server-shorter: server abort-instead-of-close"];
    let mut wrong = Vec::new();
    for name in collection::names() {
        for variant in collection::scenario(name).unwrap().unwrap().variants {
            if !variant.on.contains(&Stage::Simulator) {
                continue;
            }
            let allowed = variant.expect.findings.iter().chain(&variant.expect.possible);
            let allowed: BTreeSet<String> = allowed
                .flat_map(|(host, rules)| rules.iter().map(move |rule| format!("{host} {rule}")))
                .collect();
            for alarm in fired(&variant.world).difference(&allowed) {
                wrong.push(format!("{name} {}: {alarm}", variant.name));
            }
        }
    }
    wrong.retain(|alarm| !needs_packets.contains(&alarm.as_str()));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn with_packets_exactly_what_is_expected_fires() {
    let mut wrong = Vec::new();
    for name in collection::names() {
        for variant in collection::scenario(name).unwrap().unwrap().variants {
            let world = &variant.world;
            let large = world
                .clients
                .iter()
                .any(|client| client.connections > 2_500 || client.request_bytes > 1_000_000);
            // Probes send no packets here: each meets an endpoint of its own.
            if large || !world.probes.is_empty() || !variant.on.contains(&Stage::Simulator) {
                continue;
            }
            let run = simulate_watched(world);
            for (host, case) in &run.cases {
                let findings = diagnose::diagnose(case).findings;
                let (here, there): (Vec<_>, Vec<_>) =
                    findings.iter().partition(|finding| finding.concerns(case));
                // What a capture shows of the other side is right there, too.
                let judged = |rule: &str| {
                    // Whose program connects is not to be seen from the other side.
                    let same = ["client-without-pool", "upstream-keepalive-unpooled"];
                    let of = |expected: &BTreeSet<String>| {
                        expected.iter().any(|one| {
                            one == rule || [one.as_str(), rule].iter().all(|one| same.contains(one))
                        })
                    };
                    variant.expect.findings.values().chain(variant.expect.possible.values()).any(of)
                };
                let nowhere = there.iter().filter(|finding| !judged(finding.rule));
                wrong.extend(
                    nowhere.map(|one| format!("{name} {}: {host} has {} of a peer", variant.name, one.rule)),
                );
                let here = here.into_iter();
                let fired: BTreeSet<String> = here.map(|finding| finding.rule.to_owned()).collect();
                let expected = variant.expect.findings.get(host).cloned().unwrap_or_default();
                let possible = variant.expect.possible.get(host).cloned().unwrap_or_default();
                let place = format!("{name} {}: {host}", variant.name);
                wrong.extend(expected.difference(&fired).map(|rule| format!("{place} misses {rule}")));
                let allowed: BTreeSet<String> = expected.union(&possible).cloned().collect();
                wrong.extend(fired.difference(&allowed).map(|rule| format!("{place} has {rule}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_capture_shows_what_was_measured() {
    let run = simulate_watched(&variant("port-exhaustion", "peer-closes-first"));
    let traffic = run.cases["client"].traffic.as_ref().unwrap();
    assert_eq!(traffic.files, ["client.pcap"]);
    let segments =
        ["InSegs", "OutSegs"].map(|name| run.measures.get(&format!("client.counters.{name}")).unwrap());
    assert!(
        (traffic.segments as f64 - segments[0] - segments[1]).abs() < 0.5,
        "{} segments",
        traffic.segments
    );
    assert_eq!(run.captures.len(), 2);
    // Packets that are looked at change nothing.
    assert_eq!(run.measures, simulate(&variant("port-exhaustion", "peer-closes-first")).measures);
}

#[test]
fn what_sockets_settings_and_counters_show_fires() {
    let cases: [(&str, &str, &[&str]); 6] = [
        ("port-exhaustion", "default", &["client ephemeral-ports-exhausted", "client time-wait-at-client"]),
        ("port-exhaustion", "poisoned", &["client ephemeral-ports-exhausted", "client time-wait-at-client"]),
        ("time-wait-overflow", "peer-closes-at-once", &["server time-wait-table-full"]),
        ("linger-zero", "client-resets", &["client abort-instead-of-close"]),
        ("snat-exhaustion", "ten-ports", &["router conntrack-full"]),
        ("recycle-behind-nat", "recycle", &["server time-wait-recycle"]),
    ];
    for (scenario, name, expected) in cases {
        let fired = fired(&variant(scenario, name));
        for rule in expected {
            assert!(fired.contains(*rule), "{scenario} {name}: {rule} is not in {fired:?}");
        }
    }
}

#[test]
fn a_simulated_host_is_a_case_like_any_other() {
    let run = simulate(&variant("upstream-keepalive", "http-1-1"));
    let case = &run.cases["proxy"];
    assert_eq!(evidence::Case::from_bytes(&case.to_bytes()).as_ref(), Ok(case));
    let namespace = &case.namespaces[0];
    assert_eq!(namespace.processes[0].name, "nginx");
    let measured = run.measures.get("proxy.sockets.TIME-WAIT").unwrap();
    assert!((f64::from(namespace.sockets.by_state.of(tcp::State::TimeWait)) - measured).abs() < 0.5);
    // What is neither Linux nor Windows has no doctor.
    let mut mac = variant("windows-ports", "vista");
    mac.hosts[0].kernel = Kernel::Macos;
    assert!(!simulate(&mac).cases.contains_key("client"));
}

#[test]
fn a_windows_host_is_judged_by_what_its_tables_show() {
    let run = simulate(&variant("windows-ports", "xp"));
    let case = &run.cases["client"];
    assert_eq!(case.host.system, evidence::System::Windows);
    assert_eq!(evidence::Case::from_bytes(&case.to_bytes()).as_ref(), Ok(case));
    let namespace = &case.namespaces[0];
    let range = namespace.settings.local_port_range();
    assert_eq!((range.first, range.last, namespace.settings.time_wait().as_secs()), (1_025, 5_000, 240));
    let diagnosis = diagnose::diagnose(case);
    assert!(diagnosis.findings.iter().any(|finding| finding.claim.contains("3,976")), "{diagnosis:?}");
    // netstat has neither timers nor counters: what needs them is not decided.
    assert!(namespace.counters.end.is_empty());
    assert!(diagnosis.unknown.iter().any(|unknown| unknown.rule == "idle-timeout-race"), "{diagnosis:?}");
}

#[test]
fn a_server_behind_direct_routing_has_the_address_of_the_service() {
    let run = simulate_watched(&variant("lvs-direct-routing", "as-is"));
    let at = |host: &str| {
        let case = &run.cases[host];
        let findings = diagnose::diagnose(case).findings;
        let of_closer = findings.iter().find(|finding| finding.rule == "time-wait-at-server");
        of_closer.map(|finding| finding.concerns(case))
    };
    assert_eq!((at("backend"), at("client"), at("balancer")), (Some(true), Some(false), None));
}

#[test]
fn simulated_hosts_are_judged_the_same_with_stand_ins() {
    use evidence::Redaction;
    use std::hash::{BuildHasherDefault, DefaultHasher};
    let key = BuildHasherDefault::<DefaultHasher>::default();
    let judged = |case: &evidence::Case| {
        let diagnosis = diagnose::diagnose(case);
        let mut findings: Vec<_> = diagnosis
            .findings
            .iter()
            .map(|finding| (finding.rule, finding.severity, finding.confidence, finding.evidence.len()))
            .collect();
        findings.sort();
        let mut budgets: Vec<_> =
            diagnosis.budgets.iter().map(|budget| (budget.taken, budget.ports)).collect();
        budgets.sort_unstable();
        (findings, budgets, diagnosis.unknown.len())
    };
    let mut hosts = 0;
    for name in collection::names() {
        let scenario = collection::scenario(name).unwrap().unwrap();
        let Some(variant) = scenario.variants.iter().find(|one| one.on.contains(&Stage::Simulator)) else {
            continue;
        };
        for (host, case) in simulate(&variant.world).cases {
            let redaction = Redaction::new(&case, &key);
            let redacted = redaction.apply(&case).unwrap();
            assert_eq!(judged(&case), judged(&redacted), "{name} {}: {host}", variant.name);
            hosts += usize::from(!redaction.is_empty());
        }
    }
    assert!(hosts > 20, "{hosts} hosts had addresses");
}
