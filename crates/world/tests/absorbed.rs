//! What a sampled run does not play, because pools have taken it up, changes nothing that it is asked for.

use proptest::prelude::*;
use world::scenario::World;
use world::{Measures, Scenario, simulate, simulate_sampled};

fn world(text: &str) -> World {
    let scenario = Scenario::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    scenario.variants.into_iter().next().map_or_else(|| panic!("{text}"), |variant| variant.world)
}

/// Counters of segments are those of what was played, and so are times of answers.
fn is_asked_for(measure: &str) -> bool {
    let kept = ["OutRsts", "TCPTimeWaitOverflow", "ActiveOpens", "PassiveOpens", "AttemptFails"];
    let words: Vec<&str> = measure.split('.').collect();
    match words.as_slice() {
        [_, "counters", counter] => kept.contains(counter),
        [_, "answer_us" | "per_second", ..] => false,
        _ => true,
    }
}

/// Both ways, number by number. True if the sampled one played less.
fn agree(world: &World) -> bool {
    let full = simulate(world);
    let Some((sampled, looks)) = simulate_sampled(world, 100, u64::MAX) else { panic!("it has an end") };
    let of = |measures: &Measures, name: &str| measures.get(name);
    for name in full.measures.0.keys().chain(sampled.measures.0.keys()).filter(|name| is_asked_for(name)) {
        let (one, other) = (of(&sampled.measures, name), of(&full.measures, name));
        assert_eq!(one, other, "{name}, sampled and in full");
    }
    // How long the last burst takes is not played.
    assert!(sampled.end_ms.abs_diff(full.end_ms) <= 2_500, "{} and {}", sampled.end_ms, full.end_ms);
    assert_eq!(looks.last().map(|look| look.at_ms), Some(sampled.end_ms));
    let segments = |measures: &Measures| of(measures, "client.counters.OutSegs").unwrap_or(0.0);
    segments(&sampled.measures) < segments(&full.measures) / 2.0
}

const HOSTS: &str = "name = \"s\"\ntitle = \"t\"\nlimit_ms = 600000\n[[host]]\nname = \"client\"\n[[host]]\nname = \"server\"\n";

fn pooled(load: &str, server: &str) -> String {
    format!(
        "{HOSTS}[[server]]\nname = \"app\"\nhost = \"server\"\nport = 8080\n{server}\n\
         [[client]]\nname = \"load\"\nhost = \"client\"\nto = [\"app\"]\n{load}\n"
    )
}

#[test]
fn a_load_that_a_pool_has_taken_up_is_not_played_to_its_end() {
    let load = "connections = 5000\nper_second = 1000.0\nburst = 20\nconcurrency = 100\npool = 100\nclose = { when = \"requests\" }";
    assert!(agree(&world(&pooled(load, "close = { when = \"peer\" }"))));
    // A pool that is too small goes on to close, and to wait.
    let small = load.replace("pool = 100", "pool = 2");
    assert!(!agree(&world(&pooled(&small, "close = { when = \"peer\" }"))));
    // Whoever ends what is idle may do so later.
    assert!(!agree(&world(&pooled(load, "close = { when = \"idle\", after_ms = 5000 }"))));
    assert!(!agree(&world(&pooled(load, "close = { when = \"requests\", requests = 150 }"))));
    // A second client that does not pool goes on as it is.
    let second = "[[client]]\nname = \"other\"\nhost = \"client\"\nto = [\"app\"]\nconnections = 200\nper_second = 10.0\nclose = { when = \"requests\" }";
    assert!(!agree(&world(&pooled(&format!("{load}\n{second}"), "close = { when = \"peer\" }"))));
    // One that holds its connections changes nothing.
    let held = "[[client]]\nname = \"other\"\nhost = \"client\"\nto = [\"app\"]\nconnections = 5\nconcurrency = 5\nclose = { when = \"never\" }";
    assert!(agree(&world(&pooled(&format!("{load}\n{held}"), "close = { when = \"peer\" }"))));
}

#[test]
fn a_run_that_has_more_events_than_it_may_have_is_given_up() {
    let load = "connections = 2000\nper_second = 1000.0\nclose = { when = \"requests\" }";
    let world = world(&pooled(load, "close = { when = \"peer\" }"));
    assert!(simulate_sampled(&world, 100, 1_000).is_none());
    assert!(simulate_sampled(&world, 100, 100_000).is_some());
}

fn worlds() -> impl Strategy<Value = String> {
    let load = (500_u32..5_000, 50_u32..1_000, 1_u32..40, 1_u32..60, 1_u32..60, 0_u32..20, 1_u32..3);
    let server = (prop_oneof![3 => Just(0_u64), 1 => 1_u64..30], any::<bool>(), any::<bool>());
    let close = prop::sample::select(&["requests", "peer", "never"][..]);
    (load, server, close, any::<u32>(), prop::option::of(1_u32..400)).prop_map(|(load, server, close, seed, other)| {
        let (connections, rate, burst, concurrency, pool, think, requests) = load;
        let (after, never, with_settle) = server;
        let load = format!(
            "connections = {connections}\nper_second = {rate}.0\nburst = {burst}\nconcurrency = {concurrency}\npool = {pool}\n\
             think_ms = {think}\nrequests = {requests}\nclose = {{ when = \"{close}\" }}"
        );
        let other = other.map_or_else(String::new, |connections| {
            format!(
                "[[client]]\nname = \"other\"\nhost = \"client\"\nto = [\"app\"]\nconnections = {connections}\nper_second = 200.0\nclose = {{ when = \"peer\" }}"
            )
        });
        let server = if never { "never" } else { "peer" };
        let text = pooled(&format!("{load}\n{other}"), &format!("answer = {{ after_ms = {after} }}\nclose = {{ when = \"{server}\" }}"));
        let settle = if with_settle { "settle_ms = 700\n" } else { "" };
        text.replacen("limit_ms", &format!("seed = {seed}\n{settle}limit_ms"), 1)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn any_load_over_a_pool_is_the_same_in_what_is_asked_for(text in worlds()) {
        agree(&world(&text));
    }
}
