//! Any small world on both stages: what the kernel counts is what the simulator foretells.

use namespaced::in_namespace;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::Command;

/// What does not agree at first is played again so often, by itself.
const AGAIN: usize = 2;

/// So many variants are played at a time: they wait more than they work.
const JOBS: &str = "3";

/// Where all of them are.
const WORLD: &str = r#"name = "any"
title = "any world"
settle_ms = 800
limit_ms = 30000
[[host]]
name = "client"
[[host]]
name = "server"
[[server]]
name = "app"
host = "server"
port = 8080
close = { when = "peer" }
[[client]]
name = "load"
host = "client"
to = ["app"]
connections = 6
per_second = 20.0
timeout_ms = 1500
close = { when = "requests" }
"#;

/// Splitmix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % below as u64).expect("below a usize")
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.roll(all.len())]
    }

    /// True once in so many times.
    fn one_in(&mut self, times: usize) -> bool {
        self.roll(times) == 0
    }
}

/// What changes [`WORLD`]. Who closes first is never a matter of microseconds: times are a tenth of a second apart where
/// both sides close, and after a reset.
fn change(dice: &mut Dice) -> String {
    let pool = dice.one_in(4);
    let server_when = dice.pick(&["requests", "requests", "peer", "peer", "idle", "never"]);
    let server_how = match server_when {
        "requests" => dice.pick(&["fin", "fin", "fin", "shutdown", "reset", "linger", "unread", "goodbye"]),
        _ => dice.pick(&["fin", "fin", "fin", "shutdown", "reset", "linger"]),
    };
    let server_after = match server_when {
        "requests" | "peer" if matches!(server_how, "goodbye" | "reset" | "unread") => 300,
        "requests" if pool && server_how != "fin" => 300,
        "requests" | "peer" => dice.pick(&[0, 300]),
        "idle" => dice.pick(&[100, 650]),
        _ => 0,
    };
    let after_requests =
        if server_when == "requests" && server_how != "unread" { dice.pick(&[1, 1, 2, 3]) } else { 1 };
    let client_when = dice.pick(&["requests", "requests", "peer", "peer", "idle", "never"]);
    let client_how = match (pool, client_when) {
        (true, _) => dice.pick(&["fin", "fin", "shutdown", "reset"]),
        (false, "requests") => dice.pick(&["fin", "fin", "shutdown", "reset", "linger", "unread", "goodbye"]),
        (false, _) => dice.pick(&["fin", "fin", "shutdown", "reset", "linger"]),
    };
    let client_after = match client_when {
        "requests" if server_when != "requests" => dice.pick(&[0, 150, 450]),
        "requests" | "idle" => dice.pick(&[150, 450]),
        "peer" => dice.pick(&[0, 450]),
        _ => 0,
    };
    let at_once = server_when == "requests" && server_after == 0;
    // A pool closes what is over at once.
    let with_fin = server_how == "fin"
        && (server_after == 0 || server_when == "idle")
        && (pool && at_once || dice.one_in(3));
    let length = server_how == "goodbye" || pool && at_once || !dice.one_in(5);
    let linger = |how| if how == "linger" { ", linger_s = 1" } else { "" };
    let mut text = format!(
        "\"server.app\" = {{ answer = {{ length = {length}, with_fin = {with_fin}, unread = {}, after_ms = {}, bytes = {} }}, \
         close = {{ when = \"{server_when}\", how = \"{server_how}\", after_ms = {server_after}, requests = {after_requests}{} }} }}, \
         \"client.load\" = {{ requests = {}, think_ms = {}, request_bytes = {}, http = \"{}\", concurrency = {}, bind = \"{}\"",
        server_how == "unread",
        dice.pick(&[0, 0, 40]),
        dice.pick(&[100, 5000]),
        linger(server_how),
        dice.pick(&[1, 1, 2, 3]),
        dice.pick(&[0, 30, 220]),
        dice.pick(&[0, 0, 5000]),
        dice.pick(&["1.1", "1.1", "1.0", "1.1-close"]),
        dice.pick(&[1, 4, 20]),
        dice.pick(&["none", "none", "address", "address-no-port"]),
    );
    // Writing to a string does not fail.
    if pool {
        let _ = write!(text, ", pool = {}", dice.pick(&[1, 2, 8]));
        if dice.one_in(2) {
            text.push_str(", pool_idle_ms = 170");
        }
    }
    let _ = write!(
        text,
        ", close = {{ when = \"{client_when}\", how = \"{client_how}\", after_ms = {client_after}{} }} }}",
        linger(client_how)
    );
    for host in ["client", "server"] {
        let all = [
            "\"net.ipv4.tcp_timestamps\" = 0",
            "\"net.ipv4.tcp_max_tw_buckets\" = 0",
            "\"net.ipv4.tcp_fin_timeout\" = 5",
            "\"net.ipv4.tcp_rfc1337\" = 1",
            "\"net.ipv4.tcp_orphan_retries\" = 1",
            "\"net.ipv4.tcp_tw_reuse\" = 1",
        ];
        let mut some: Vec<&str> = all.into_iter().filter(|_| dice.one_in(6)).collect();
        // Whether a reset comes before the room in the table is asked for is a matter of microseconds.
        some.retain(|setting| !(setting.contains("max_tw") && [client_how, server_how].contains(&"reset")));
        let _ = write!(text, ", \"host.{host}.settings\" = {{ {} }}", some.join(", "));
    }
    // Not data: what is sent behind it waits for a congestion window, which the machine does not have.
    if dice.one_in(4) {
        let host = dice.pick(&["client", "server"]);
        let what = dice.pick(&["pure-acks", "fins", "resets", "syns"]);
        let _ = write!(text, ", fault = [{{ host = \"{host}\", incoming = true, drop = \"{what}\" }}]");
    }
    text
}

/// Counts that nothing but the ways to close, and what is lost, decides.
fn is_compared(name: &str) -> bool {
    let Some((_, what)) = name.split_once('.') else { return false };
    let counters = [
        "counters.OutRsts",
        "counters.ActiveOpens",
        "counters.EstabResets",
        "counters.AttemptFails",
        "counters.TCPTimeWaitOverflow",
    ];
    counters.contains(&what)
        || matches!(what, "ok" | "connected" | "requests")
        || ["sockets.", "failed.", "counters.TCPAbort"].iter().any(|begin| what.starts_with(begin))
}

/// What is not the same, a line each.
fn differences(line: &Value) -> Vec<String> {
    let counts = |of: &str| -> BTreeMap<String, f64> {
        let all = line[of].as_object().unwrap_or_else(|| panic!("{of}: {line}"));
        let numbers = all.iter().filter(|(name, _)| is_compared(name));
        numbers.filter_map(|(name, number)| Some((name.clone(), number.as_f64()?))).collect()
    };
    let (measured, predicted) = (counts("measured"), counts("predicted"));
    let names: BTreeSet<&String> = measured.keys().chain(predicted.keys()).collect();
    let of = |counts: &BTreeMap<String, f64>, name: &str| counts.get(name).copied().unwrap_or(0.0);
    let both = names.into_iter().map(|name| (name, of(&measured, name), of(&predicted, name)));
    let apart = both.filter(|(_, measured, predicted)| (measured - predicted).abs() > 0.5);
    apart.map(|(name, measured, predicted)| format!("{name}: {measured}, foretold {predicted}")).collect()
}

fn number(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).unwrap_or_default();
    if text.is_empty() { default } else { text.parse().unwrap_or_else(|_| panic!("{name} is a number")) }
}

/// Plays these worlds, and gives those on which the stages do not agree, with what is different.
fn play(worlds: &BTreeMap<String, String>) -> BTreeMap<String, Vec<String>> {
    let mut text = WORLD.to_owned();
    for (name, change) in worlds {
        let _ = write!(text, "[[variant]]\nname = \"{name}\"\nchange = {{ {change} }}\n");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("any.toml");
    std::fs::write(&file, text).expect("is written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_lastack"));
    let output = command.args(["lab", "run", "--json", "--jobs", JOBS]).arg(file).output().expect("it runs");
    let lines = String::from_utf8_lossy(&output.stdout);
    let mut differ = BTreeMap::new();
    let mut played = 0;
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let name = line["variant"].as_str().expect("a variant has a name").to_owned();
        played += 1;
        let found = if line["measured"].is_object() {
            differences(&line)
        } else {
            vec![format!("it was not measured: {}{}", line["wrong"], line["skipped"])]
        };
        if !found.is_empty() {
            differ.insert(name, found);
        }
    }
    assert_eq!(played, worlds.len(), "{}", String::from_utf8_lossy(&output.stderr));
    differ
}

/// `LASTACK_WORLDS` of them, from the seed `LASTACK_SEED` on.
#[test]
fn any_world_is_the_same_on_both_stages() {
    in_namespace("stages::any_world_is_the_same_on_both_stages", || {
        let (count, first) = (number("LASTACK_WORLDS", 12), number("LASTACK_SEED", 1));
        let mut worlds: BTreeMap<String, String> = (first..first + count)
            .map(|seed| (format!("seed-{seed}"), change(&mut Dice(seed.wrapping_mul(0x9e37_79b9)))))
            .collect();
        let mut differ = play(&worlds);
        for _ in 0..AGAIN {
            worlds.retain(|name, _| differ.contains_key(name));
            if worlds.is_empty() {
                break;
            }
            for (name, found) in &differ {
                println!("{name}, once: {}", found.join("; "));
            }
            differ = play(&worlds);
        }
        for (name, found) in &differ {
            println!("{name}: {}\n    {}", worlds[name], found.join("\n    "));
        }
        assert!(differ.is_empty(), "{} of {count} worlds are not the same", differ.len());
    });
}
