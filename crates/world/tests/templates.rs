//! A life that is played from a template gives what it gives in full, and the same world the same run.

use proptest::prelude::*;
use std::ops::Range;
use world::scenario::World;
use world::{Costs, Scenario, collection, simulate, simulate_in_full};

/// Connections of a client: enough for a rehearsal to be worth it, few enough for a test.
const MOST: u32 = 1_500;

/// Both ways, number by number; and each of them twice.
fn agree(name: &str, world: &World) {
    let (played, full) = (simulate(world), simulate_in_full(world));
    for measure in played.measures.0.keys().chain(full.measures.0.keys()) {
        let (one, other) = (played.measures.get(measure), full.measures.get(measure));
        assert_eq!(one, other, "{name}: {measure}, played and in full");
    }
    assert_eq!(played.end_ms, full.end_ms, "{name}");
    assert_eq!(simulate(world), played, "{name}: once more");
}

#[test]
fn every_scenario_is_the_same_played_and_in_full() {
    for name in collection::names() {
        for mut variant in collection::scenario(name).unwrap().unwrap().variants {
            for client in &mut variant.world.clients {
                client.connections = client.connections.min(MOST);
                client.request_bytes = client.request_bytes.min(1_000_000);
            }
            agree(&format!("{name} {}", variant.name), &variant.world);
        }
    }
}

/// A world of two hosts: what the client's host, its server and the client are told.
fn small(host: &str, server: &str, client: &str) -> World {
    let text = format!(
        "name = \"small\"\ntitle = \"t\"\nseed = 1084494165\nlimit_ms = 90000\n\
         [[host]]\nname = \"client\"\nsettings = {{ {host} }}\n[[host]]\nname = \"server\"\n\
         [[server]]\nname = \"app\"\nhost = \"server\"\nport = 80\n{server}\n\
         [[client]]\nname = \"load\"\nhost = \"client\"\nto = [\"app\"]\n{client}\n"
    );
    let scenario = Scenario::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    scenario.variants.into_iter().next().expect("a scenario has a variant").world
}

const TEN_PORTS: &str = "\"net.ipv4.ip_local_port_range\" = \"40000 40010\"";

/// Ten ports for seventeen connections, and the first one waits longer for its processor than the second.
#[test]
fn lives_end_in_the_order_of_their_syns() {
    let server = "answer = { length = false }\nclose = { when = \"requests\" }";
    let client = "connections = 17\nconcurrency = 2\nclose = { when = \"peer\", how = \"reset\" }";
    agree("overtaken", &small(TEN_PORTS, server, client));
}

/// Who resets has its port back while the server's FIN is on the way, and takes it again: that FIN meets a socket whose
/// SYN is still to come, which is none for the kernel.
#[test]
fn what_comes_before_the_syn_is_for_the_connection_before() {
    let server = "close = { when = \"requests\", how = \"reset\" }";
    let client = "connections = 40\nconcurrency = 7\nbind = \"address\"\nclose = { when = \"requests\", how = \"reset\" }";
    let world = small(TEN_PORTS, server, client);
    agree("taken again", &world);
    assert_eq!(simulate(&world).measures.get("load.failed.connect.ETIMEDOUT"), None);
}

/// The same over a slow network: the next SYN is under way before the FIN has come, and meets it.
#[test]
fn a_port_that_is_taken_again_too_soon_is_not_played() {
    let server = "close = { when = \"requests\" }";
    let client = "connections = 40\nconcurrency = 7\nbind = \"address\"\nclose = { when = \"requests\", how = \"reset\" }";
    let mut world = small(TEN_PORTS, server, client);
    world.costs.link = 2_000_000;
    agree("too soon", &world);
}

/// Settings that change while there are TIME-WAITs: a SYN that takes one over begins a connection with those of today.
#[test]
fn a_time_wait_that_is_taken_over_leaves_no_timestamps_to_the_next_connection() {
    let server = "close = { when = \"requests\" }\nanswer = { length = false }";
    let client = "connections = 41\nconcurrency = 2\nrequest_bytes = 4245\nclose = { when = \"requests\" }\n\
                  [[step]]\nat_ms = 1\nhost = \"server\"\nset = { \"net.ipv4.tcp_timestamps\" = 0 }";
    let mut world = small(TEN_PORTS, server, client);
    let costs = &mut world.costs;
    costs.processors = None;
    (costs.connect, costs.link, costs.wake, costs.accept, costs.call, costs.turn) = (0, 0, 0, 0, 0, 0);
    agree("without timestamps from now on", &world);
}

/// Two clients of one host with ranges of their own, and one that has the host's.
#[test]
fn each_range_of_ports_is_searched_by_itself() {
    let server = "close = { when = \"peer\" }";
    let more = |name: &str, ports: &str| {
        format!(
            "[[client]]\nname = \"{name}\"\nhost = \"client\"\nto = [\"app\"]\n{ports}\nconnections = 40\n\
             concurrency = 3\nclose = {{ when = \"requests\" }}\n"
        )
    };
    let client = format!(
        "connections = 40\nports = [40000, 40010]\nclose = {{ when = \"requests\" }}\n{}{}",
        more("narrow", "ports = [40020, 40039]"),
        more("wide", "start_ms = 100")
    );
    let world = small("\"net.ipv4.ip_local_port_range\" = \"40000 40059\"", server, &client);
    agree("ranges", &world);
    let run = simulate(&world);
    let ok = |name: &str| run.measures.get(&format!("{name}.ok"));
    assert_eq!((ok("load"), ok("narrow"), ok("wide")), (Some(11.0), Some(20.0), Some(29.0)));
    assert_eq!(run.played, 60);
}

/// close() that waits for the acknowledgement of its FIN: at whoever closes first, second, and over a slow network.
#[test]
fn who_lingers_is_held_alike() {
    let linger = |when: &str| format!("close = {{ when = \"{when}\", how = \"linger\", linger_s = 2 }}");
    let fin = |when: &str| format!("close = {{ when = \"{when}\" }}");
    for (server, client) in [
        (fin("peer"), linger("requests")),
        (fin("requests"), linger("peer")),
        (linger("peer"), linger("requests")),
        (linger("requests"), fin("peer")),
        (fin("never"), linger("requests")),
    ] {
        let load = format!("connections = 60\nconcurrency = 3\n{client}");
        let mut world = small("", &server, &load);
        for link in [3_000, 2_000_000] {
            world.costs.link = link;
            agree(&format!("{server} {client}"), &world);
            assert_eq!(
                simulate(&world).played,
                if server.contains("never") { 0 } else { 60 },
                "{server} {client}"
            );
        }
    }
}

/// A server that is slow to accept: connections that are played wait in the same queue as those that are not.
#[test]
fn all_wait_in_the_same_accept_queue() {
    let server = "backlog = 3\nclose = { when = \"peer\" }";
    let client = "connections = 60\nconcurrency = 8\nclose = { when = \"requests\" }";
    let mut world = small("", server, client);
    (world.costs.processors, world.costs.accept) = (None, 3_000_000);
    agree("accept queue", &world);
    let overflows = simulate(&world).measures.get("server.counters.ListenOverflows");
    assert!(overflows > Some(0.0), "{overflows:?}");
    // Where there is room for all of them they are played.
    let mut world = small("", "close = { when = \"peer\" }", client);
    world.costs.processors = None;
    agree("room", &world);
    assert_eq!(simulate(&world).played, 60);
}

/// How a side closes.
fn close() -> impl Strategy<Value = String> {
    let when = prop_oneof![
        4 => Just("when = \"requests\""),
        4 => Just("when = \"peer\""),
        1 => Just("when = \"idle\""),
        1 => Just("when = \"never\""),
    ];
    let how = prop_oneof![6 => Just("fin"), 2 => Just("linger"), 1 => Just("reset"), 1 => Just("shutdown"), 1 => Just("goodbye"), 1 => Just("unread")];
    let after = prop_oneof![3 => Just(0_u64), 1 => 1_u64..50];
    (when, how, after).prop_map(|(when, how, after)| {
        let after = if when.contains("idle") { after + 1 } else { after };
        // Only who has answered or asked says goodbye, or leaves something.
        let how = if matches!(how, "goodbye" | "unread") && !when.contains("requests") { "fin" } else { how };
        let linger = if how == "linger" { ", linger_s = 1" } else { "" };
        format!("close = {{ {when}, how = \"{how}\", after_ms = {after}{linger} }}")
    })
}

fn setting(name: &'static str, values: &'static [u32]) -> impl Strategy<Value = String> {
    prop::option::of(prop::sample::select(values)).prop_map(move |value| {
        value.map_or_else(String::new, |value| format!("\"net.ipv4.{name}\" = {value}, "))
    })
}

fn settings() -> impl Strategy<Value = String> {
    (
        setting("tcp_tw_reuse", &[0, 1, 2]),
        setting("tcp_timestamps", &[0, 1, 2]),
        setting("tcp_max_tw_buckets", &[0, 20, 200, 1_000]),
        setting("tcp_fin_timeout", &[1, 5, 61]),
        setting("tcp_rfc1337", &[0, 1]),
    )
        .prop_map(|(reuse, timestamps, table, fin, rfc1337)| {
            format!("{reuse}{timestamps}{table}{fin}{rfc1337}")
        })
}

/// Things that disturb.
fn trouble() -> impl Strategy<Value = String> {
    let drops = prop::sample::select(&["pure-acks", "fins", "resets", "syns", "data", "everything"][..]);
    let delay = prop::option::of(1_u64..500);
    let fault = (any::<bool>(), any::<bool>(), drops, delay, 0_u64..200, 1_u64..100).prop_map(
        |(server, incoming, segments, delay, from, length)| {
            let host = if server { "server" } else { "client" };
            let harm = match delay {
                None => format!("drop = \"{segments}\""),
                Some(ms) => format!("delay = \"{segments}\"\ndelay_ms = {ms}"),
            };
            format!(
                "[[fault]]\nhost = \"{host}\"\nincoming = {incoming}\n{harm}\nfrom_ms = {from}\nfor_ms = {length}\n"
            )
        },
    );
    let step = (
        0_u64..300,
        prop::sample::select(
            &[
                "host = \"client\"\nset = { \"net.ipv4.tcp_tw_reuse\" = 1 }",
                "host = \"client\"\nset = { \"net.ipv4.ip_local_port_range\" = \"50000 50019\" }",
                "host = \"server\"\nset = { \"net.ipv4.tcp_timestamps\" = 0 }",
                "host = \"client\"\ndestroy = \"TIME-WAIT\"",
                "restart = \"app\"",
                "end = \"load\"",
            ][..],
        ),
    )
        .prop_map(|(at, what)| format!("[[step]]\nat_ms = {at}\n{what}\n"));
    prop_oneof![4 => Just(String::new()), 1 => fault, 1 => step]
}

fn worlds(connections: Range<u32>, ports: Range<u32>, backlog: Range<u32>) -> impl Strategy<Value = String> {
    let load = (
        connections,
        1_u32..20,
        prop::option::of(50_u32..3_000),
        1_u32..4,
        prop::sample::select(&["none", "address", "address-no-port"][..]),
        prop::option::of(1_u32..6),
        prop_oneof![4 => Just(0_u32), 1 => 1_u32..20_000],
        // Where its own range of ports begins, from the host's on, and how many it has; either end may lie outside.
        prop::option::weighted(0.3, (0_u32..30, 1_u32..60)),
    );
    let server = (any::<bool>(), any::<bool>(), prop_oneof![3 => Just(0_u64), 1 => 1_u64..20], backlog);
    let hosts = (settings(), settings(), ports, any::<u32>());
    (load, server, hosts, close(), close(), trouble()).prop_map(
        |(load, server, hosts, client_closes, server_closes, trouble)| {
            let (connections, concurrency, rate, requests, bind, pool, bytes, own) = load;
            let (length, with_fin, after, backlog) = server;
            let (client_settings, server_settings, ports, seed) = hosts;
            let rate = rate.map_or_else(String::new, |rate| format!("per_second = {rate}.0\n"));
            // A FIN of its own, and soon.
            let with_fin = with_fin
                && server_closes.contains("\"fin\"")
                && (server_closes.contains("idle") || server_closes.contains("after_ms = 0"));
            let unread = server_closes.contains("unread");
            let length = length || server_closes.contains("goodbye");
            // A server that says goodbye waits for that.
            let server_closes = if server_closes.contains("goodbye") {
                server_closes.replace("after_ms = 0", "after_ms = 7")
            } else {
                server_closes
            };
            // What is kept is closed otherwise.
            let pool = pool.filter(|_| !["linger", "goodbye", "unread"].iter().any(|how| client_closes.contains(how)));
            let pool = pool.map_or_else(String::new, |pool| format!("pool = {pool}\n"));
            let own = own.map_or_else(String::new, |(from, length)| {
                format!("ports = [{}, {}]\n", 39_990 + from, 39_990 + from + length)
            });
            let last = 40_000 + ports;
            format!(
                "name = \"any\"\ntitle = \"t\"\nseed = {seed}\nlimit_ms = 90000\n\
                 [[host]]\nname = \"client\"\n\
                 settings = {{ {client_settings}\"net.ipv4.ip_local_port_range\" = \"40000 {last}\" }}\n\
                 [[host]]\nname = \"server\"\nsettings = {{ {server_settings}\"net.core.somaxconn\" = 4096 }}\n\
                 [[server]]\nname = \"app\"\nhost = \"server\"\nport = 80\nbacklog = {backlog}\n\
                 answer = {{ unread = {unread}, length = {length}, with_fin = {with_fin}, after_ms = {after} }}\n{server_closes}\n\
                 [[client]]\nname = \"load\"\nhost = \"client\"\nto = [\"app\"]\ntimeout_ms = 3000\n\
                 connections = {connections}\nconcurrency = {concurrency}\n{rate}{pool}{own}requests = {requests}\n\
                 bind = \"{bind}\"\nrequest_bytes = {bytes}\n{client_closes}\n{trouble}"
            )
        },
    )
}

/// What things cost: as on one machine, or not.
fn costs() -> impl Strategy<Value = Costs> {
    let time = || prop_oneof![3 => 0_u64..30_000, 1 => 0_u64..20_000_000];
    let machine = (prop::option::of(1_u32..4), time(), time(), time(), time(), time(), time());
    machine.prop_map(|(processors, link, wake, accept, call, turn, connect)| Costs {
        processors,
        link,
        wake,
        accept,
        call,
        turn,
        connect,
        ..Costs::default()
    })
}

/// Few ports and a short queue, or enough of both.
fn any_size() -> impl Strategy<Value = String> {
    prop_oneof![worlds(16..40, 10..16, 2..8), worlds(16..300, 10..400, 2..200)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_world_is_the_same_played_and_in_full(text in any_size(), costs in costs()) {
        let scenario = Scenario::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let mut world = scenario.variants[0].world.clone();
        agree(&text, &world);
        world.costs = costs;
        agree(&format!("{text}\n{:?}", world.costs), &world);
    }
}

/// Who ends first where a server is restarted only segments tell.
#[test]
fn a_server_that_ends_in_the_middle_is_the_same_played_and_in_full() {
    let text = r#"
        name = "any"
        title = "t"
        seed = 297703990
        limit_ms = 90000
        [[host]]
        name = "client"
        settings = { "net.ipv4.ip_local_port_range" = "40000 40093" }
        [[host]]
        name = "server"
        settings = { "net.ipv4.tcp_max_tw_buckets" = 20, "net.core.somaxconn" = 4096 }
        [[server]]
        name = "app"
        host = "server"
        port = 80
        backlog = 2
        answer = { length = false, with_fin = false, after_ms = 0 }
        close = { when = "peer", how = "shutdown", after_ms = 20 }
        [[client]]
        name = "load"
        host = "client"
        to = ["app"]
        timeout_ms = 3000
        connections = 55
        concurrency = 4
        requests = 1
        bind = "none"
        request_bytes = 0
        close = { when = "idle", how = "fin", after_ms = 1 }
        [[step]]
        at_ms = 101
        restart = "app"
    "#;
    let world = Scenario::parse(text).unwrap().variants[0].world.clone();
    agree("a restart", &world);
}
