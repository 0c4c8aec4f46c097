//! What no single table can say: that names lead somewhere, and that numbers are within reason.

use super::{
    Bind, Client, ClosesWhen, Fix, Harm, Host, MOST_AT_ONCE, Nat, NatKind, Scenario, ScenarioError, Settings,
    Stage, Variant, World,
};
use std::collections::BTreeSet;
use std::fmt::Display;

/// The most of anything that a world holds.
const MOST_TABLES: usize = 256;
/// The most connections of a client.
const MOST_CONNECTIONS: u32 = 100_000_000;
/// The longest time, milliseconds: a week.
const LONGEST_MS: u64 = 7 * 24 * 3_600 * 1_000;

fn wrong(place: impl Display, why: impl Display) -> ScenarioError {
    ScenarioError::World { place: place.to_string(), why: why.to_string() }
}

/// Names are those of rules, files and measures: no dots, no spaces.
fn name(kind: &str, name: &str, known: &mut BTreeSet<String>) -> Result<(), ScenarioError> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 64 || !name.chars().all(good) {
        return Err(wrong(
            format_args!("{kind} {name:?}"),
            "a name has small letters, digits and \"-\", at most 64",
        ));
    }
    if !known.insert(name.to_owned()) {
        return Err(wrong(format_args!("{kind} {name:?}"), "the name is taken: each has its own"));
    }
    Ok(())
}

pub(super) fn scenario(scenario: &Scenario) -> Result<(), ScenarioError> {
    name("scenario", &scenario.name, &mut BTreeSet::new())?;
    let mut known = BTreeSet::new();
    for variant in &scenario.variants {
        name("variant", &variant.name, &mut known)?;
        let place = format!("variant {:?}", variant.name);
        if let Some(stage) = variant.on.iter().find(|stage| !scenario.on.contains(stage)) {
            return Err(wrong(place, format_args!("the scenario as a whole does not run on {stage:?}")));
        }
        let limited = variant.world.servers.iter().find(|server| server.workers.is_some());
        if let Some(server) = limited.filter(|_| variant.on.contains(&Stage::Simulator)) {
            return Err(wrong(
                place,
                format_args!(
                    "the simulator has no limit of workers, as server {:?} has: write on = [\"kernel\"]",
                    server.name
                ),
            ));
        }
        for fix in &variant.fixes {
            self::fix(scenario, variant, fix).map_err(|why| wrong(format!("{place}, fix"), why))?;
        }
        for host in variant.expect.findings.keys().chain(variant.expect.possible.keys()) {
            if variant.world.host(host).is_none() {
                return Err(wrong(
                    place,
                    format_args!("findings are expected at {host:?}, which is no host"),
                ));
            }
        }
    }
    for relation in &scenario.relations {
        for variant in [&relation.less, &relation.more] {
            if scenario.variant(variant).is_none() {
                return Err(wrong("relation", format_args!("no variant is called {variant:?}")));
            }
        }
    }
    Ok(())
}

fn fix(scenario: &Scenario, variant: &Variant, fix: &Fix) -> Result<(), String> {
    if variant.world.host(&fix.host).is_none() {
        return Err(format!("host = {:?} is no host of this scenario", fix.host));
    }
    if !variant.on.contains(&Stage::Kernel) {
        return Err("`lastack fix` runs on the kernel stage only, and the variant does not".to_owned());
    }
    if fix.before == variant.world {
        return Err("before: the world before is the same: undo what the fix does".to_owned());
    }
    if scenario.unfixed.contains_key(&fix.finding) {
        return Err(format!("`unfixed` says that nothing is changed against {}", fix.finding));
    }
    for name in &fix.restart {
        if !variant.world.servers.iter().any(|server| server.name == *name) {
            return Err(format!("restart: no server is called {name:?}"));
        }
    }
    if !variant.world.probes.is_empty() {
        return Err("a world with probes is not played twice".to_owned());
    }
    // The same stage and the same load serve before and after.
    let rest = |world: &World| {
        let mut world = World { settings: Settings::default(), proxies: Vec::new(), ..world.clone() };
        for host in &mut world.hosts {
            host.settings = Settings::default();
        }
        world
    };
    let places = |world: &World| -> Vec<(String, String, u16)> {
        world.proxies.iter().map(|proxy| (proxy.name.clone(), proxy.host.clone(), proxy.port)).collect()
    };
    if rest(&fix.before) != rest(&variant.world) || places(&fix.before) != places(&variant.world) {
        return Err("before: only settings, and what a proxy is told, may differ from the variant".to_owned());
    }
    Ok(())
}

pub(super) fn world(world: &World) -> Result<(), ScenarioError> {
    let lengths = [
        ("host", world.hosts.len()),
        ("server", world.servers.len()),
        ("proxy", world.proxies.len()),
        ("client", world.clients.len()),
        ("probe", world.probes.len()),
        ("fault", world.faults.len()),
        ("step", world.steps.len()),
    ];
    for (kind, length) in lengths {
        if length > MOST_TABLES {
            return Err(wrong(kind, format_args!("{length} of them: at most {MOST_TABLES}")));
        }
    }
    let settings = std::iter::once(("settings".to_owned(), &world.settings));
    let settings =
        settings.chain(world.hosts.iter().map(|host| (format!("host {:?}", host.name), &host.settings)));
    for (place, settings) in settings.chain(world.steps.iter().map(|step| ("step".to_owned(), &step.set))) {
        if let Some(why) = crate::simulator::settings::mistake(settings.iter()) {
            return Err(wrong(place, why));
        }
    }
    if world.hosts.is_empty() {
        return Err(wrong("host", "there is none: write [[host]] with a name"));
    }
    for (key, ms) in [("settle_ms", world.settle_ms), ("limit_ms", world.limit_ms)] {
        if ms > LONGEST_MS {
            return Err(wrong(key, format_args!("{ms}: at most {LONGEST_MS} (a week)")));
        }
    }
    let mut names = BTreeSet::new();
    for host in &world.hosts {
        self::host(world, host, &mut names)?;
    }
    for server in &world.servers {
        let place = format!("server {:?}", server.name);
        name("server", &server.name, &mut names)?;
        at(world, &place, &server.host)?;
        if server.port == 0 || server.ports == 0 || server.port.checked_add(server.ports - 1).is_none() {
            return Err(wrong(place, "port and ports must lie within 1 to 65535"));
        }
    }
    for proxy in &world.proxies {
        let place = format!("proxy {:?}", proxy.name);
        name("proxy", &proxy.name, &mut names)?;
        at(world, &place, &proxy.host)?;
        destinations(world, &place, "upstream", &proxy.upstream)?;
    }
    for client in &world.clients {
        name("client", &client.name, &mut names)?;
        self::client(world, client)?;
    }
    let mut probes = BTreeSet::new();
    for probe in &world.probes {
        let place = format!("probe {:?}", probe.name);
        name("probe", &probe.name, &mut probes)?;
        at(world, &place, &probe.host)?;
        destinations(world, &place, "to", std::slice::from_ref(&probe.to))?;
        if probe.after.parse::<tcp::State>().is_err() {
            return Err(wrong(place, format_args!("after = {:?} is no state of RFC 9293", probe.after)));
        }
    }
    for fault in &world.faults {
        at(world, "fault", &fault.host)?;
        if let Harm::Delay(ms) = fault.harm
            && ms > LONGEST_MS
        {
            return Err(wrong("fault", format_args!("delay_ms = {ms}: at most {LONGEST_MS} (a week)")));
        }
    }
    for step in &world.steps {
        if let Some(host) = &step.host {
            at(world, "step", host)?;
        } else if step.destroy.is_some() || step.set.iter().next().is_some() {
            return Err(wrong("step", "set and destroy need a host"));
        }
        for ended in step.restart.iter().chain(&step.end) {
            if !names.contains(ended) {
                return Err(wrong("step", format_args!("nothing is called {ended:?}")));
            }
        }
    }
    Ok(())
}

fn at(world: &World, place: &str, host: &str) -> Result<(), ScenarioError> {
    match world.host(host) {
        Some(_) => Ok(()),
        None => Err(wrong(place, format_args!("host = {host:?} is no host of this scenario"))),
    }
}

fn host(world: &World, host: &Host, names: &mut BTreeSet<String>) -> Result<(), ScenarioError> {
    name("host", &host.name, names)?;
    let place = format!("host {:?}", host.name);
    if host.networks.is_empty() || host.networks.len() > 8 {
        return Err(wrong(place, "networks: one to eight"));
    }
    if !(1..=200).contains(&host.addresses) {
        return Err(wrong(place, format_args!("addresses = {}: 1 to 200", host.addresses)));
    }
    for nat in &host.nat {
        if let Some(at) = &nat.name {
            name("nat", at, names)?;
        }
        self::nat(world, &place, host, nat)?;
    }
    Ok(())
}

fn nat(world: &World, place: &str, host: &Host, nat: &Nat) -> Result<(), ScenarioError> {
    let place = format!("{place}, nat");
    let translates = matches!(nat.kind, NatKind::Dnat | NatKind::Full | NatKind::DirectRouting);
    if translates && (nat.name.is_none() || nat.port.is_none() || nat.to.is_empty()) {
        return Err(wrong(place, "needs a name that clients can go to, a port, and the servers in to"));
    }
    for to in &nat.to {
        if !world.servers.iter().any(|server| server.name == *to) {
            return Err(wrong(place, format_args!("to = {to:?} is no server")));
        }
    }
    match (&nat.out, nat.kind) {
        (None, NatKind::Snat | NatKind::Full) => {
            return Err(wrong(place, "needs out: the network where this host's address is shown"));
        }
        (Some(out), _) if !host.networks.contains(out) => {
            return Err(wrong(place, format_args!("out = {out:?} is no network of this host")));
        }
        _ => {}
    }
    match nat.ports {
        Some((first, last)) if first == 0 || first > last => Err(wrong(
            place,
            format_args!("ports = [{first}, {last}]: the first is not above the last, nor 0"),
        )),
        _ => Ok(()),
    }
}

fn client(world: &World, client: &Client) -> Result<(), ScenarioError> {
    let place = format!("client {:?}", client.name);
    at(world, &place, &client.host)?;
    destinations(world, &place, "to", &client.to)?;
    if client.connections > MOST_CONNECTIONS {
        return Err(wrong(place, format_args!("connections: at most {MOST_CONNECTIONS}")));
    }
    if !(1..=MOST_AT_ONCE).contains(&client.concurrency) {
        return Err(wrong(place, format_args!("concurrency: 1 to {MOST_AT_ONCE}")));
    }
    if client.per_second.is_some_and(|rate| !(rate > 0.0 && rate <= 10_000_000.0)) {
        return Err(wrong(place, "per_second: above 0, at most 10000000"));
    }
    if client.burst == 0 || (client.burst > 1 && client.per_second.is_none()) {
        return Err(wrong(place, "burst: at least 1; more go with per_second"));
    }
    if client.requests == 0 {
        return Err(wrong(place, "requests: at least 1"));
    }
    if (client.bind == Bind::Port) != client.port.is_some() {
        return Err(wrong(place, "bind = \"port\" and port go together"));
    }
    let addresses = world.host(&client.host).map_or(1, |host| host.addresses);
    if client.sources == 0 || client.sources > addresses {
        return Err(wrong(place, format_args!("sources: 1 to the {addresses} addresses of its host")));
    }
    for to in &client.to {
        let host = world.destination(to).and_then(|(host, _)| world.host(host));
        let most = host.map_or(1, |host| host.addresses);
        if client.destinations == 0 || client.destinations > most {
            return Err(wrong(
                place,
                format_args!("destinations: 1 to the {most} addresses of {to:?}'s host"),
            ));
        }
    }
    if client.sources > 1 && client.bind == Bind::None {
        return Err(wrong(place, "several sources need bind = \"address\" or \"address-no-port\""));
    }
    if client.close.when == ClosesWhen::Idle && client.close.after_ms == 0 {
        return Err(wrong(place, "close when idle needs after_ms"));
    }
    Ok(())
}

fn destinations(world: &World, place: &str, key: &str, to: &[String]) -> Result<(), ScenarioError> {
    if to.is_empty() {
        return Err(wrong(place, format_args!("{key} names nobody")));
    }
    for name in to {
        if world.destination(name).is_none() {
            let known = world.servers.iter().map(|server| server.name.as_str());
            let known = known.chain(world.proxies.iter().map(|proxy| proxy.name.as_str()));
            let known = known.collect::<Vec<_>>().join(", ");
            return Err(wrong(place, format_args!("{key} = {name:?}: there are {known}")));
        }
    }
    Ok(())
}
