//! The simulator gives what was measured on a real kernel.

use world::scenario::World;
use world::{Measures, Run, Scenario, simulate};

/// One client `load` on host `client`, one server `app` on host `server`, and what else a test needs.
fn world(top: &str, client_host: &str, server: &str, client: &str) -> World {
    let text = format!(
        "name = \"test\"\ntitle = \"t\"\n{top}\n\
         [[host]]\nname = \"client\"\naddresses = 4\nsettings = {{ {client_host} }}\n\
         [[host]]\nname = \"server\"\naddresses = 4\n\
         [[server]]\nname = \"app\"\nhost = \"server\"\nport = 8080\n{server}\n\
         [[client]]\nname = \"load\"\nhost = \"client\"\nto = [\"app\"]\n{client}\n"
    );
    let scenario = Scenario::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    scenario.variants[0].world.clone()
}

const SECOND: &str = "close = { when = \"peer\" }";
const FIRST: &str = "close = { when = \"requests\" }";
const PORTS: &str = "\"net.ipv4.ip_local_port_range\" = \"40000 40999\"";

/// Connections that close first, from 1,000 ports with more settings, and what else the client does.
fn exhaustion(settings: &str, client: &str) -> Measures {
    let world =
        world("limit_ms = 400000", &format!("{PORTS}{settings}"), SECOND, &format!("{FIRST}\n{client}"));
    simulate(&world).measures
}

fn get(measures: &Measures, name: &str) -> f64 {
    measures.get(name).unwrap_or(0.0)
}

fn check(measures: &Measures, expected: &[(&str, f64)]) {
    for (name, value) in expected {
        let found = get(measures, name);
        assert!((found - value).abs() < f64::EPSILON, "{name} = {found}, not {value}: {measures:#?}");
    }
}

#[test]
fn a_thousand_ports_make_a_thousand_connections() {
    for reuse in [0, 2] {
        let measures = exhaustion(&format!(", \"net.ipv4.tcp_tw_reuse\" = {reuse}"), "connections = 1200");
        check(
            &measures,
            &[
                ("load.ok", 1_000.0),
                ("load.failed.connect.EADDRNOTAVAIL", 200.0),
                ("client.sockets.TIME-WAIT", 1_000.0),
                ("client.counters.TW", 1_000.0),
                ("client.counters.ActiveOpens", 1_000.0),
                ("server.counters.PassiveOpens", 1_000.0),
                ("server.sockets.TIME-WAIT", 0.0),
                ("server.counters.TW", 0.0),
            ],
        );
    }
}

#[test]
fn over_130_seconds_they_come_in_bursts_of_a_thousand() {
    let measures = exhaustion("", "connections = 130000\nper_second = 1000\nfor_ms = 130000");
    check(&measures, &[("load.ok", 3_000.0), ("load.failed.connect.EADDRNOTAVAIL", 127_000.0)]);
}

#[test]
fn tw_reuse_gives_each_port_once_a_second() {
    let measures = exhaustion(
        ", \"net.ipv4.tcp_tw_reuse\" = 1",
        "connections = 20000\nper_second = 2000\nfor_ms = 10000",
    );
    let ok = get(&measures, "load.ok");
    assert!((9_990.0..=10_010.0).contains(&ok), "{ok}");
    check(&measures, &[("client.counters.TWRecycled", ok - 1_000.0), ("client.sockets.TIME-WAIT", 1_000.0)]);
    // With a tenth of the delay, ten times that.
    let measures = exhaustion(
        ", \"net.ipv4.tcp_tw_reuse\" = 1, \"net.ipv4.tcp_tw_reuse_delay\" = 100",
        "connections = 40000\nper_second = 20000\nfor_ms = 2000\nconcurrency = 8",
    );
    let ok = get(&measures, "load.ok");
    assert!((19_900.0..=20_100.0).contains(&ok), "{ok}");
}

#[test]
fn tw_reuse_without_timestamps_does_nothing() {
    let measures = exhaustion(
        ", \"net.ipv4.tcp_tw_reuse\" = 1, \"net.ipv4.tcp_timestamps\" = 0",
        "connections = 5000\nper_second = 1000",
    );
    check(&measures, &[("load.ok", 1_000.0), ("load.failed.connect.EADDRNOTAVAIL", 4_000.0)]);
}

#[test]
fn more_sources_or_destinations_make_more_ports() {
    check(&exhaustion("", "connections = 5000\ndestinations = 4"), &[("load.ok", 4_000.0)]);
    let sources = exhaustion("", "connections = 5000\nsources = 4\nbind = \"address\"");
    check(&sources, &[("load.ok", 4_000.0), ("load.failed.bind.EADDRINUSE", 1_000.0)]);
    let bound = exhaustion("", "connections = 5000\ndestinations = 4\nbind = \"address\"");
    check(&bound, &[("load.ok", 1_000.0), ("load.failed.bind.EADDRINUSE", 4_000.0)]);
    let no_port = exhaustion("", "connections = 5000\ndestinations = 4\nbind = \"address-no-port\"");
    check(&no_port, &[("load.ok", 4_000.0), ("load.failed.connect.EADDRNOTAVAIL", 1_000.0)]);
    let reserved =
        exhaustion(", \"net.ipv4.ip_local_reserved_ports\" = \"40000-40499\"", "connections = 1200");
    check(&reserved, &[("load.ok", 500.0)]);
}

#[test]
fn an_orphan_waits_for_the_fin_as_long_as_fin_timeout_says() {
    // LAB 10: 61 and 65 shorten it to 2 and 10 s.
    for (setting, lifetime_ms) in
        [(3, 3_000), (20, 20_000), (60, 60_000), (61, 2_000), (65, 10_000), (90, 60_000)]
    {
        for (settle, waiting) in [(lifetime_ms - 200, 5.0), (lifetime_ms + 200, 0.0)] {
            let world = world(
                &format!("limit_ms = 400000\nsettle_ms = {settle}"),
                &format!("\"net.ipv4.tcp_fin_timeout\" = {setting}"),
                "close = { when = \"never\" }",
                &format!("{FIRST}\nconnections = 5"),
            );
            let measures = simulate(&world).measures;
            check(
                &measures,
                &[
                    ("client.sockets.FIN-WAIT-2", waiting),
                    ("client.sockets.TIME-WAIT", 0.0),
                    ("server.sockets.CLOSE-WAIT", 5.0),
                    ("client.counters.TWKilled", if lifetime_ms <= 4_000 { 5.0 } else { 0.0 }),
                    (
                        "client.counters.TW",
                        if lifetime_ms > 4_000
                            && settle > 1_000
                            && (setting <= 60 || settle * 2 > lifetime_ms)
                        {
                            5.0
                        } else {
                            0.0
                        },
                    ),
                ],
            );
        }
    }
}

#[test]
fn the_same_world_gives_the_same_run() {
    let world = world("", PORTS, SECOND, &format!("{FIRST}\nconnections = 1200\nconcurrency = 3"));
    let (once, again): (Run, Run) = (simulate(&world), simulate(&world));
    assert_eq!(once, again);
    let mut other = world.clone();
    other.seed += 1;
    assert_ne!(simulate(&other).trace, once.trace, "the seed decides which ports are taken");
}

#[test]
fn scenarios_that_need_no_proxy_are_foretold() {
    for text in [
        include_str!("../../../scenarios/port-exhaustion.toml"),
        include_str!("../../../scenarios/close-wait-leak.toml"),
    ] {
        let scenario = Scenario::parse(text).unwrap();
        for variant in &scenario.variants {
            let run = simulate(&variant.world);
            for (name, bounds) in &variant.expect.measures {
                let value = get(&run.measures, name);
                assert!(
                    bounds.hold(value),
                    "{} {}: {name} = {value}, not {bounds:?}: {:#?}",
                    scenario.name,
                    variant.name,
                    run.measures
                );
            }
        }
    }
}
