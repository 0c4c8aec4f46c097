//! What a model that is fitted to a list of sockets says of a load that is known, and that no case breaks it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use evidence::Case;
use proptest::prelude::*;
use std::collections::BTreeMap;
use world::fit::{Ends, Fit, Knowledge, Pace, Party, Unfit, fit};
use world::scenario::Bind;
use world::whatif::{Effect, Point, Remedy, Worlds, only_to, plan};
use world::{Scenario, simulate_in_full};

/// 200 connections a second for ever, each 50 ms long, cut after 20 s: a host as `doctor` would find it.
fn case(host: &str, client: &str, server: &str) -> Case {
    let text = format!(
        r#"
        name = "s"
        title = "t"
        limit_ms = 20000
        [[host]]
        name = "client"
        [[host]]
        name = "server"
        [[server]]
        name = "app"
        host = "server"
        port = 8080
        answer = {{ after_ms = 50 }}
        {server}
        [[client]]
        name = "load"
        host = "client"
        to = ["app"]
        connections = 100000
        per_second = 200.0
        concurrency = 100
        {client}
        "#
    );
    let scenario = Scenario::parse(&text).unwrap();
    simulate_in_full(&scenario.variants[0].world).cases.remove(host).unwrap()
}

const CLIENT_CLOSES: (&str, &str) = (r#"close = { when = "requests" }"#, r#"close = { when = "peer" }"#);

fn fitted(host: &str, (client, server): (&str, &str)) -> Fit {
    fit(&case(host, client, server), &Knowledge::default()).unwrap()
}

fn is_near(value: f64, known: f64) -> bool {
    (value - known).abs() <= known * 0.1
}

#[test]
fn a_client_that_closes_first_is_read_from_its_time_wait() {
    let fit = fitted("client", CLIENT_CLOSES);
    let [talker] = fit.talkers.as_slice() else { panic!("{:#?}", fit.talkers) };
    assert_eq!((talker.client, talker.port, talker.ends), (Party::Here, 8_080, Ends::ClientCloses));
    assert_eq!((talker.pace, fit.lasts, fit.here.as_str()), (Pace::GoesOn, true, "here"));
    assert!(is_near(talker.per_second.low, 200.0) && is_near(talker.per_second.high, 200.0), "{talker:?}");
    // Little's law.
    assert!((45..=56).contains(&talker.open_ms), "{talker:?}");
    assert_eq!(talker.process.as_deref(), Some("load"));
    assert!(fit.low.check().is_ok() && fit.high.check().is_ok());
}

#[test]
fn the_other_host_fits_the_same_load() {
    let fit = fitted("server", (CLIENT_CLOSES.1, CLIENT_CLOSES.0));
    let [talker] = fit.talkers.as_slice() else { panic!("{:#?}", fit.talkers) };
    assert_eq!((talker.server, talker.port, talker.ends), (Party::Here, 8_080, Ends::ServerCloses));
    assert!(is_near(talker.per_second.high, 200.0), "{talker:?}");
}

#[test]
fn what_leaves_no_time_wait_is_read_from_counters() {
    for (host, closes) in [("client", Ends::ServerCloses), ("server", Ends::ClientCloses)] {
        let ways = if host == "client" { (CLIENT_CLOSES.1, CLIENT_CLOSES.0) } else { CLIENT_CLOSES };
        let fit = fitted(host, ways);
        let talker = fit.talkers.iter().find(|talker| talker.ends == closes).unwrap();
        assert!(is_near(talker.per_second.high, 200.0), "{host}: {talker:?}");
        assert!(fit.assumptions.iter().any(|one| one.because.contains("Opens")), "{:?}", fit.assumptions);
    }
}

/// A proxy and its server on one host: half of the connections end at one side first, half at the other, and the kernel
/// lists both ends.
#[test]
fn a_host_that_talks_to_itself_is_fitted_once() {
    let text = r#"
        name = "s"
        title = "t"
        limit_ms = 20000
        [[host]]
        name = "h"
        [[server]]
        name = "waits"
        host = "h"
        port = 9001
        close = { when = "peer" }
        [[server]]
        name = "closes"
        host = "h"
        port = 9002
        close = { when = "requests" }
        [[client]]
        name = "one"
        host = "h"
        to = ["waits"]
        connections = 100000
        per_second = 100.0
        concurrency = 100
        close = { when = "requests" }
        [[client]]
        name = "other"
        host = "h"
        to = ["closes"]
        connections = 100000
        per_second = 100.0
        concurrency = 100
        close = { when = "peer" }
        "#;
    let scenario = Scenario::parse(text).unwrap();
    let case = simulate_in_full(&scenario.variants[0].world).cases.remove("h").unwrap();
    let fit = fit(&case, &Knowledge::default()).unwrap();
    let mut found: Vec<(u16, Ends)> = fit.talkers.iter().map(|talker| (talker.port, talker.ends)).collect();
    found.sort_unstable();
    assert_eq!(found, [(9_001, Ends::ClientCloses), (9_002, Ends::ServerCloses)], "{:#?}", fit.talkers);
    assert!(fit.talkers.iter().all(|talker| is_near(talker.per_second.high, 100.0)), "{:#?}", fit.talkers);
    let plan = plan(&Worlds::from(&fit), &[]);
    let played = plan.columns[0].play(&fit.here).numbers;
    assert_eq!(played.failed.high.to_bits(), 0.0_f64.to_bits());
    // Of 12,000 some are taken again: tcp_tw_reuse is for loopback by default.
    assert!((10_000.0..=12_000.0).contains(&played.time_wait.high), "{played:?}");
}

#[test]
fn connections_within_a_host_may_come_from_several_addresses() {
    let text = r#"
        name = "s"
        title = "t"
        limit_ms = 5000
        [[host]]
        name = "h"
        addresses = 2
        [[server]]
        name = "app"
        host = "h"
        port = 9001
        close = { when = "peer" }
        [[client]]
        name = "load"
        host = "h"
        to = ["app"]
        connections = 100
        sources = 2
        bind = "address-no-port"
        close = { when = "requests" }
        "#;
    let scenario = Scenario::parse(text).unwrap();
    let run = simulate_in_full(&scenario.variants[0].world);
    assert_eq!(run.measures.0.get("load.ok").copied(), Some(100.0), "{:?}", run.measures);
}

#[test]
fn a_program_that_binds_first_is_told_by_the_half_of_its_ports() {
    let bound = (r#"close = { when = "requests" }"#.to_owned() + "\n bind = \"address\"", CLIENT_CLOSES.1);
    let fit = fitted("client", (&bound.0, bound.1));
    assert!(fit.talkers[0].binds, "{:?}", fit.talkers);
    assert_eq!(fit.high.clients[0].bind, Bind::Address);
    assert!(!fitted("client", CLIENT_CLOSES).talkers[0].binds);
}

#[test]
fn an_effect_is_said_in_numbers_before_and_after() {
    let case = case("client", CLIENT_CLOSES.0, CLIENT_CLOSES.1);
    let narrow = world::cure::Cure::set(None, "net.ipv4.ip_local_port_range", "40000 43999").unwrap();
    let fit = fit(&case, &Knowledge::default()).unwrap();
    let plan = plan(&Worlds::from(&fit), &["wait".parse().unwrap(), narrow].map(Remedy::named));
    let played = |place: usize| plan.columns[place].play(&fit.here).numbers;
    let effect = Effect { before: played(0), after: played(1), lasts: fit.lasts };
    assert_eq!(effect.before.failed.high.to_bits(), 0.0_f64.to_bits());
    assert!(effect.after.failed.low > 1_000.0, "{:?}", effect.after);
    assert_eq!(plan.left_out.len(), 1);
    let said = effect.differences().join("; ");
    assert!(said.contains("failed connects 0 -> ") && said.contains(" a second; "), "{said}");
    assert!(said.contains("local ports left "), "{said}");
}

#[test]
fn knowledge_that_makes_no_load_is_refused() {
    let case = case("client", CLIENT_CLOSES.0, CLIENT_CLOSES.1);
    let with = |knowledge: Knowledge| fit(&case, &knowledge);
    for knowledge in [
        Knowledge { times: 0.0, ..Knowledge::default() },
        Knowledge { times: f64::NAN, ..Knowledge::default() },
        Knowledge { times: f64::INFINITY, ..Knowledge::default() },
        Knowledge { for_ms: Some(0), ..Knowledge::default() },
        Knowledge { for_ms: Some(u64::MAX), ..Knowledge::default() },
    ] {
        assert!(matches!(with(knowledge), Err(Unfit::Unusable(_))));
    }
    let elsewhere = Knowledge { netns: Some("elsewhere".to_owned()), ..Knowledge::default() };
    assert!(matches!(with(elsewhere), Err(Unfit::NoNamespace { .. })));
    assert_eq!(fit(&Case::default(), &Knowledge::default()), Err(Unfit::NoLoad));
    let twice = with(Knowledge { times: 2.0, ..Knowledge::default() }).unwrap();
    assert!(is_near(twice.talkers[0].per_second.high, 400.0));
    assert!(with(Knowledge { failed: u64::MAX, ..Knowledge::default() }).is_ok());
}

/// A number that a lying file may hold.
fn count() -> impl Strategy<Value = u64> {
    prop_oneof![0..20_u64, 0..100_000_u64, Just(u64::from(u32::MAX)), Just(u64::MAX)]
}

fn address() -> impl Strategy<Value = String> {
    prop_oneof![
        (0..4_u8).prop_map(|last| format!("10.0.0.{last}")),
        Just("127.0.0.1".to_owned()),
        Just("2001:db8::1".to_owned()),
        Just("*".to_owned()),
    ]
}

fn endpoint() -> impl Strategy<Value = String> {
    (address(), prop_oneof![Just(80_u16), Just(8_080), Just(0), Just(65_535)]).prop_map(|(address, port)| {
        if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
    })
}

fn exchange() -> impl Strategy<Value = serde_json::Value> {
    let ends = || (count(), count(), count());
    let more = (count(), count(), ends(), ends(), count());
    (address(), endpoint(), count(), 0..=u32::MAX, count(), more).prop_map(
        |(client, server, connections, at_once, length_ms, (graceful, open, first, never, requests))| {
            serde_json::json!({
                "client": client, "server": server, "connections": connections, "at_once": at_once,
                "length_ms": length_ms, "open_us": graceful, "handshakes": {"complete": connections, "refused": open},
                "endings": {"graceful": graceful, "open": open, "reset": requests, "half-closed": graceful},
                "first_closer": {"client": first.0, "server": first.1, "both": first.2},
                "not_closed_by": {"client": never.0, "server": never.1, "both": never.2},
                "resets_by": {"abort-by-linger": {"client": requests, "server": open, "both": graceful}},
                "http": {"connections": open, "requests": requests, "kept": {"count": open}},
                "closed_idle": {"client": first.0, "server": first.1, "both": 0}, "idle_ms": [first.2 % 100_000, 100_000],
                "resets": {"idle-timeout-race": {"count": requests % 1_000}, "after-close": {"count": open}},
                "without_timestamps": {"count": graceful}, "time_wait_at": {"client": 0, "server": graceful, "both": 0},
            })
        },
    )
}

fn group() -> impl Strategy<Value = serde_json::Value> {
    let small = || 0..u32::MAX;
    (
        any::<bool>(),
        address(),
        endpoint(),
        small(),
        small(),
        proptest::collection::vec((0..4_000_u32, small()), 0..12),
    )
        .prop_map(|(is_client, one, other, open, held, closes)| {
            let by_second: serde_json::Map<String, serde_json::Value> =
                closes.into_iter().map(|(second, count)| (second.to_string(), count.into())).collect();
            let (local, remote) = if is_client { (one, other) } else { (other, one) };
            serde_json::json!({
                "role": if is_client { "client" } else { "server" }, "local": local, "remote": remote,
                "states": {"ESTABLISHED": open, "TIME-WAIT": held, "CLOSE-WAIT": open, "FIN-WAIT-2": held},
                "time_wait": {"by_second": by_second},
                "ports": {"time_wait": {"preferred": held, "other": open}},
            })
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_case_breaks_it(
        groups in proptest::collection::vec(group(), 0..4),
        exchanges in proptest::collection::vec(exchange(), 0..4),
        (length_ms, opens, interval_ms, failed) in (count(), count(), count(), count()),
        range in prop_oneof![Just("32768 60999"), Just("1 1"), Just("junk"), Just("65535 65535")],
    ) {
        let case = serde_json::json!({
            "schema": "lastack.case/1",
            "host": {"name": "h", "taken_at": "2026-01-01T00:00:10Z"},
            "namespaces": [{
                "name": "n",
                "settings": {"net.ipv4.ip_local_port_range": range, "net.ipv4.tcp_tw_timeout": "0"},
                "counters": {"interval_ms": interval_ms, "start": {"TcpActiveOpens": 0, "TcpPassiveOpens": 0},
                             "end": {"TcpActiveOpens": opens, "TcpPassiveOpens": opens}},
                "sockets": {"groups": groups},
            }],
            "traffic": {"start": "2026-01-01T00:00:00Z", "length_ms": length_ms, "exchanges": exchanges},
        });
        let case = Case::from_bytes(case.to_string().as_bytes());
        prop_assert!(case.is_ok(), "{case:?}");
        if let Ok(fit) = fit(&case.unwrap(), &Knowledge { failed, ..Knowledge::default() }) {
            for world in [&fit.low, &fit.high] {
                prop_assert!(world.check().is_ok());
                prop_assert!(world.hosts.iter().any(|host| host.name == fit.here));
                let connections: f64 = world.clients.iter().map(|client| f64::from(client.connections)).sum();
                prop_assert!(connections <= 1e7, "{connections}");
            }
        }
    }
}

fn recorded(name: &str) -> Case {
    let file = format!("{}/tests/whatif/{name}.case", env!("CARGO_MANIFEST_DIR"));
    #[allow(clippy::disallowed_methods, reason = "a test reads what was recorded")]
    Case::from_bytes(&std::fs::read(file).unwrap()).unwrap()
}

#[test]
fn idle_timeouts_are_those_of_the_configuration_if_it_is_there_and_else_those_of_the_capture() {
    let mut case = recorded("idle-timeout-race");
    let idle = |case: &Case| fit(case, &Knowledge::default()).unwrap().talkers[0].idle.unwrap();
    let seen = idle(&case);
    assert_eq!((seen.server_ms, seen.client_ms, seen.requests, seen.met), (1_000, None, 40, 10));
    let written = |value: serde_json::Value| serde_json::json!({"known": "written", "value": value, "place": {"file": 0, "line": 1, "column": 1}});
    let configuration = serde_json::json!({
        "running": {"netns": "", "pid": 7, "name": "nginx"},
        "files": ["nginx.conf"],
        "nginx": {
            "servers": [
                {"listen": ["80"], "keepalive_timeout_ms": written(9.into())},
                {"listen": ["10.1.2.1:8080"], "keepalive_timeout_ms": written(950.into())}
            ],
            "upstreams": [{
                "servers": [{"address": "10.1.2.1:8080"}],
                "keepalive_timeout_ms": written(60_000.into())
            }]
        }
    });
    case.configurations.push(serde_json::from_value(configuration).unwrap());
    assert_eq!((idle(&case).server_ms, idle(&case).client_ms), (950, Some(60_000)));
    // Files that nobody was seen to use say nothing of what was seen.
    case.configurations[0].running = None;
    assert_eq!(idle(&case), seen);
}

#[test]
fn requests_that_meet_a_close_go_on_for_as_long_as_the_load_does() {
    let mut case = recorded("idle-timeout-race");
    let traffic = case.traffic.as_mut().unwrap();
    // Ten are lost in a minute, of twenty that come too late: one stream is more than enough for these.
    (traffic.length_ms, traffic.exchanges[0].length_ms) = (60_000, 60_000);
    traffic.exchanges[0].http.as_mut().unwrap().requests = 400;
    for minutes in [1, 3] {
        let knowledge = Knowledge { for_ms: Some(minutes * 60_000), ..Knowledge::default() };
        let fit = fit(&case, &knowledge).unwrap();
        let played = plan(&Worlds::from(&fit), &[]).columns[0].play(&fit.here);
        let seen = 10.0 * minutes as f64;
        let lost = played.numbers.lost;
        assert!(lost.low > seen * 0.5 && lost.high < seen * 1.7, "{lost:?}, not {seen}");
        let course = &played.over_time;
        let (first, second) = course.split_at(course.len() / 2);
        let lost = |half: &[Point]| half.iter().map(|point| point.lost_per_second).sum::<f64>();
        assert!(lost(second) > lost(first) * 0.5, "{minutes}: {} and {}", lost(first), lost(second));
    }
}

#[test]
fn a_server_that_answers_without_timestamps_has_none_in_the_model() {
    let mut case = recorded("port-exhaustion");
    let reused = |case: &Case| {
        let fit = fit(case, &Knowledge { failed: 200, ..Knowledge::default() }).unwrap();
        let said = fit.assumptions.iter().any(|one| one.assumed.contains("timestamps but for 10."));
        let cure = world::cure::Cure::set(None, "net.ipv4.tcp_tw_reuse", "1").unwrap();
        let mut worlds = Worlds::from(&fit);
        for world in &mut worlds.worlds {
            // Slow enough that a TIME-WAIT may be taken again.
            world.clients[0].per_second = Some(400.0);
        }
        let plan = plan(&worlds, &[Remedy::named(cure)]);
        (said, plan.columns[1].play(&fit.here).numbers.failed)
    };
    let (said, failed) = reused(&case);
    assert!(!said && failed.high < 1.0, "{failed:?}");
    let exchange = &mut case.traffic.as_mut().unwrap().exchanges[0];
    exchange.without_timestamps.count = exchange.connections;
    let (said, failed) = reused(&case);
    assert!(said && failed.low > 100.0, "{failed:?}");
}

#[test]
fn a_remedy_for_one_destination_leaves_the_others_alone() {
    let mut case = recorded("port-exhaustion");
    let exchanges = &mut case.traffic.as_mut().unwrap().exchanges;
    let mut other = exchanges[0].clone();
    other.server.address = Some("192.0.2.9".parse().unwrap());
    let named = exchanges[0].server.to_string();
    exchanges.push(other);
    let fit = fit(&case, &Knowledge::default()).unwrap();
    let only = only_to(&fit, [named.as_str()]).unwrap();
    assert_eq!((only.to.as_str(), only.clients.len()), (named.as_str(), 1));
    // Both are all there is, and where nobody goes nothing is left out.
    assert_eq!(only_to(&fit, [named.as_str(), "192.0.2.9:8080"]), None);
    assert_eq!(only_to(&fit, ["192.0.2.10:8080"]), None);
    assert_eq!(only_to(&fit, ["somewhere"]), None);
    let everywhere = Remedy::named("keep-connections=4".parse().unwrap());
    let plan = plan(&Worlds::from(&fit), &[Remedy { only: Some(only), ..everywhere.clone() }, everywhere]);
    let pooled = |column: usize| -> Vec<bool> {
        plan.columns[column].worlds[0].clients.iter().map(|client| client.pool.is_some()).collect()
    };
    assert_eq!([pooled(0), pooled(1), pooled(2)], [[false, false], [true, false], [true, true]]);
    assert_eq!(plan.columns[1].changes[0], format!("only for connections to {named}"));
    let time_wait = |column: usize| plan.columns[column].play(&fit.here).numbers.time_wait.high;
    assert!(time_wait(0) > 1_900.0 && (900.0..1_100.0).contains(&time_wait(1)) && time_wait(2) < 10.0);
}

/// A capture alone, of connections between two hosts in so many milliseconds.
fn captured(connections: u64, length_ms: u64, more: &serde_json::Value) -> Case {
    let mut exchange = serde_json::json!({
        "client": "192.0.2.1", "server": "192.0.2.9:8888", "connections": connections, "at_once": 1,
        "length_ms": length_ms, "handshakes": {"complete": connections}, "endings": {"graceful": connections},
        "first_closer": {"client": connections},
    });
    exchange.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let case = serde_json::json!({
        "schema": "lastack.case/1",
        "host": {"name": ""},
        "traffic": {"length_ms": length_ms, "connections": connections, "exchanges": [exchange]},
    });
    Case::from_bytes(case.to_string().as_bytes()).unwrap()
}

#[test]
fn an_answer_that_took_long_is_waited_for_and_no_time_is_longer_than_four_hours() {
    let slow = serde_json::json!({"open_us": 160_000_000_u64});
    let played = |case: &Case| {
        let fit = fit(case, &Knowledge::default()).unwrap();
        let numbers = plan(&Worlds::from(&fit), &[]).columns[0].play(&fit.here).numbers;
        (fit, numbers)
    };
    let (fit, numbers) = played(&captured(2, 170_000, &slow));
    assert_eq!(fit.talkers[0].open_ms, 80_000);
    assert_eq!((numbers.lost.high, numbers.answered.low), (0.0, 2.0), "{numbers:?}");
    // A clock that jumped by twenty years.
    let (fit, numbers) = played(&captured(3, 630_720_000_000, &serde_json::json!({})));
    assert!(fit.for_ms <= 14_400_000 && numbers.lost.high < 0.5, "{numbers:?}");
    assert!(
        fit.assumptions.iter().any(|one| one.assumed == "what took 175200 hours is played in 4"),
        "{fit:#?}"
    );
}

#[test]
fn who_resets_without_a_fin_ends_it_whatever_the_cause() {
    let ends = |more: serde_json::Value| -> Vec<(Ends, u64)> {
        let fit = fit(&captured(100, 20, &more), &Knowledge::default()).unwrap();
        fit.talkers.iter().map(|talker| (talker.ends, talker.connections)).collect()
    };
    let reset = |server: u64, closed: u64| {
        serde_json::json!({
            "endings": {"reset": 100}, "reset_by": {"client": 100 - server, "server": server},
            "resets": {"unknown": {"count": 100}}, "resets_by": {"unknown": {"server": server}},
            "first_closer": {"client": closed},
        })
    };
    assert_eq!(ends(reset(100, 0)), [(Ends::ServerResets, 100)]);
    assert_eq!(ends(reset(60, 0)), [(Ends::ServerResets, 60), (Ends::ClientResets, 40)]);
    assert_eq!(ends(reset(100, 100)), [(Ends::ClientCloses, 100)], "it came after a FIN");
    assert_eq!(ends(reset(100, 70)), [(Ends::ClientCloses, 70), (Ends::ServerResets, 30)]);
}

#[test]
fn a_capture_without_a_load_says_what_is_in_it() {
    let refused = |count: u64| {
        let none = serde_json::json!({"handshakes": {"refused": count}, "endings": {"refused": count}});
        fit(&captured(count, 10, &none), &Knowledge::default()).unwrap_err()
    };
    assert_eq!(refused(0), Unfit::NoConnection);
    assert!(refused(1).to_string().contains("of one connection in it, none was seen to open"));
    assert!(refused(7).to_string().contains("of 7 connections in it"));
    // SYNs that are answered, and no more: who sends them holds nothing open.
    let half = |open: u64, count: u64| {
        let scan = serde_json::json!({"handshakes": {"half": count}, "endings": {"open": open}});
        fit(&captured(open, 10, &scan), &Knowledge::default())
    };
    assert!(half(7, 7).unwrap_err().to_string().contains("of 7 connections in it, none was seen to open"));
    let fit = half(9, 7).unwrap();
    assert_eq!((fit.talkers[0].ends, fit.talkers[0].connections), (Ends::StaysOpen, 2));
    assert!(fit.assumptions.iter().any(|one| one.assumed.starts_with("7 connects that were refused, not")));
}

/// What many peers hold at once, they have found ports for; and what cannot be played is played in part.
#[test]
fn more_sockets_than_can_be_played_are_scaled_down_and_it_is_said() {
    let stays = |count: u64| {
        let case = serde_json::json!({
            "schema": "lastack.case/1",
            "host": {"name": "h"},
            "namespaces": [{"name": "", "sockets": {"groups": [
                {"role": "server", "local": "10.0.0.1:8080", "remote": "*", "states": {"CLOSE-WAIT": count}},
                {"role": "client", "local": "10.0.0.1", "remote": "10.0.0.9:90", "states": {"CLOSE-WAIT": 20_000},
                 "ports": {"other": {"preferred": 14_116, "other": 5_884}}},
            ]}}],
        });
        fit(&Case::from_bytes(case.to_string().as_bytes()).unwrap(), &Knowledge::default()).unwrap()
    };
    for (count, said) in [(50_000, false), (10_000_000, true), (u64::from(u32::MAX), true)] {
        let fit = stays(count);
        let connections: Vec<u64> = fit.talkers.iter().map(|talker| talker.connections).collect();
        // The small one is left as it is: its ports are those that are short.
        assert_eq!(connections, [count.min(180_000), 20_000]);
        assert!(fit.talkers.iter().all(|talker| u64::from(talker.at_once) <= talker.connections));
        assert_eq!(fit.assumptions.iter().any(|one| one.assumed.contains("stand for")), said);
    }
    let numbers = plan(&Worlds::from(&stays(30_000)), &[]).columns[0].play("here").numbers;
    let left = numbers.ports_left.unwrap().low;
    assert!(numbers.failed.high < 0.5 && (8_231.5..8_232.5).contains(&left), "{numbers:?}");
}

/// A case of sockets alone.
fn listed(more: &serde_json::Value, groups: &serde_json::Value) -> Case {
    let mut namespace = serde_json::json!({"name": "", "sockets": {"groups": groups}});
    namespace.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let case =
        serde_json::json!({"schema": "lastack.case/1", "host": {"name": "h"}, "namespaces": [namespace]});
    Case::from_bytes(case.to_string().as_bytes()).unwrap()
}

#[test]
fn what_a_proxys_upstream_closes_is_not_taken_for_that_of_a_kept_connection_here() {
    let aged = |count: u32| (0..60).map(|left| (left.to_string(), count)).collect::<BTreeMap<String, u32>>();
    let counters = serde_json::json!({
        "addresses": ["10.9.0.1", "127.0.0.1"],
        "counters": {"interval_ms": 10_000, "start": {"TcpActiveOpens": 0}, "end": {"TcpActiveOpens": 450}},
    });
    let case = listed(
        &counters,
        &serde_json::json!([
            {"role": "client", "local": "127.0.0.1", "remote": "127.0.0.1:8081", "states": {"ESTABLISHED": 3}},
            {"role": "server", "local": "127.0.0.1:8081", "remote": "127.0.0.1", "states": {"ESTABLISHED": 3}},
            {"role": "client", "local": "10.9.0.1", "remote": "10.9.0.7:5432", "states": {"ESTABLISHED": 20}},
            {"role": "client", "local": "10.9.0.1", "remote": "10.9.0.2:9001",
             "states": {"TIME-WAIT": 360, "ESTABLISHED": 1}, "time_wait": {"by_second": aged(6)}},
        ]),
    );
    let fit = fit(&case, &Knowledge::default()).unwrap();
    let of = |ends| {
        fit.talkers.iter().filter(move |talker| talker.ends == ends && talker.lasts()).collect::<Vec<_>>()
    };
    let closed_there = of(Ends::ServerCloses);
    assert_eq!(closed_there.len(), 1, "{:#?}", fit.talkers);
    assert_eq!((closed_there[0].port, of(Ends::ClientCloses)[0].port), (9001, 9001));
    assert!(
        (35.0..42.0)
            .contains(&f64::midpoint(closed_there[0].per_second.low, closed_there[0].per_second.high))
    );
}

#[test]
fn ports_that_are_all_gone_fail_connects_however_fast_they_went() {
    let range = serde_json::json!({"settings": {"net.ipv4.ip_local_port_range": "40000 40999"}});
    let of = |time_wait: serde_json::Value| {
        let group = serde_json::json!([{
            "role": "client", "local": "10.9.0.1", "remote": "10.9.0.2:80", "states": {"TIME-WAIT": 1_000},
            "ports": {"time_wait": {"preferred": 500, "other": 500}}, "time_wait": time_wait,
        }]);
        fit(&listed(&range, &group), &Knowledge::default()).unwrap()
    };
    let wider = Remedy::named("wider-port-range".parse().unwrap());
    let failed = |fit: &Fit, cures: &[Remedy]| {
        let plan = plan(&Worlds::from(fit), cures);
        let numbers = plan.columns.last().unwrap().play(&fit.here).numbers;
        (numbers.failed.high, numbers.time_wait_peak.high)
    };
    let wider = [wider];
    // In four seconds, some time ago: so fast they are asked for.
    let fast = of(serde_json::json!({"by_second": {"30": 250, "31": 250, "32": 250, "33": 250}}));
    assert!(fast.lasts && failed(&fast, &[]).0 > 1_000.0, "{:?}", failed(&fast, &[]));
    let (none, time_wait) = failed(&fast, &wider);
    assert!(none < 0.5 && (14_000.0..16_000.0).contains(&time_wait), "{none} {time_wait}");
    // In one: a burst, of which one was too many at least.
    let burst = of(serde_json::json!({"by_second": {"30": 1_000}}));
    assert_eq!((burst.lasts, failed(&burst, &[]).0, failed(&burst, &wider).0), (false, 1.0, 0.0));
    // Without ages: as many as the ports allow, and more.
    let ageless = of(serde_json::json!({}));
    assert!(ageless.lasts && failed(&ageless, &[]).0 > 0.5 && failed(&ageless, &wider).0 < 0.5);
    assert!(ageless.assumptions.iter().any(|one| one.assumed.contains("spread evenly over the 60 s")));
}

#[test]
fn sockets_of_windows_are_played_on_windows() {
    let group = serde_json::json!([{
        "role": "client", "local": "10.0.0.5", "remote": "10.0.0.9:443", "states": {"TIME-WAIT": 1_200},
    }]);
    let mut case = listed(&serde_json::json!({}), &group);
    case.host.system = evidence::System::Windows;
    case.namespaces[0].settings.system = evidence::System::Windows;
    let fit = fit(&case, &Knowledge::default()).unwrap();
    let host = fit.low.hosts.iter().find(|host| host.name == fit.here).unwrap();
    assert_eq!(host.kernel, world::scenario::Kernel::Windows);
    assert_eq!(host.settings.get("net.ipv4.ip_local_port_range"), Some("49152 65535"));
    let numbers = plan(&Worlds::from(&fit), &[]).columns[0].play(&fit.here).numbers;
    assert!((1_150.0..1_250.0).contains(&numbers.time_wait_peak.high), "{numbers:?}");
}
