//! Ports, networks and settings: that nothing is in the same place twice, and all of it within the world.

use super::{name, wrong};
use crate::scenario::{Host, NatKind, Program, Proxy, ScenarioError, Settings, World};
use std::collections::{BTreeMap, BTreeSet};

/// The longest name of a setting, and the longest value.
const LONGEST_SETTING: usize = 256;

/// The most pairs of a source and a destination: each has a budget of ports, 8 or 16 KiB in the simulator.
const MOST_PAIRS: u64 = 16_384;

/// The most connections that nginx keeps in a pool: it has a place for each of them from the start.
pub(super) const MOST_KEPT: u32 = 100_000;

/// Settings of systems that have no `net.`: values in Windows' registry.
const REGISTRY: [&str; 3] = ["AutoReusePortRangeNumberOfPorts", "MaxUserPort", "TcpTimedWaitDelay"];

/// No settings but those of a network namespace: any other belongs to the machine, which has no second one. No `host`
/// is all hosts.
pub(super) fn settings(
    world: &World,
    host: Option<&str>,
    place: &str,
    settings: &Settings,
) -> Result<(), ScenarioError> {
    for (name, value) in settings.iter() {
        let of_network = name.strip_prefix("net").and_then(|rest| rest.strip_prefix(['.', '/']));
        let known = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
        let within = |rest: &str| {
            rest.chars().all(known) && !rest.split('/').any(|part| part.is_empty() || part == "..")
        };
        if !of_network.is_some_and(within) && !REGISTRY.contains(&name) || name.len() > LONGEST_SETTING {
            return Err(wrong(
                place,
                format_args!("{name:?}: a host has no settings but those of its network, below net."),
            ));
        }
        if value.chars().any(|c| c.is_control() && c != '\t') || value.len() > LONGEST_SETTING {
            return Err(wrong(
                place,
                format_args!("{name} = {value:?}: one line, at most {LONGEST_SETTING} characters"),
            ));
        }
    }
    let known = |name: &str| settings.get(name).or_else(|| world.setting(host?, name));
    if let Some(why) = crate::simulator::settings::mistake(known, settings.iter()) {
        return Err(wrong(place, why));
    }
    Ok(())
}

/// The networks of a host: good names, each once.
pub(super) fn networks(place: &str, host: &Host) -> Result<(), ScenarioError> {
    if host.networks.is_empty() || host.networks.len() > 8 {
        return Err(wrong(place, "networks: one to eight"));
    }
    let mut known = BTreeSet::new();
    for network in &host.networks {
        name("network", network, &mut known)
            .map_err(|error| wrong(place, format_args!("networks: {error}")))?;
    }
    Ok(())
}

/// Who listens: each on ports of its own.
pub(super) fn ports(world: &World) -> Result<(), ScenarioError> {
    // By host: first and last port, and whose they are.
    let mut taken: BTreeMap<&str, Vec<(u16, u16, String)>> = BTreeMap::new();
    let servers = world.servers.iter().map(|server| {
        let last = server.port.saturating_add(server.ports.saturating_sub(1));
        (server.host.as_str(), server.port, last, format!("server {:?}", server.name))
    });
    let proxies = world
        .proxies
        .iter()
        .map(|proxy| (proxy.host.as_str(), proxy.port, proxy.port, format!("proxy {:?}", proxy.name)));
    for (host, first, last, place) in servers.chain(proxies) {
        if first == 0 {
            return Err(wrong(place, "port = 0: 1 to 65535"));
        }
        let others = taken.entry(host).or_default();
        if let Some((_, _, other)) = others.iter().find(|(from, to, _)| first <= *to && *from <= last) {
            return Err(wrong(
                place,
                format_args!("port {first} of host {host:?} is that of {other}: each has its own"),
            ));
        }
        others.push((first, last, place));
    }
    Ok(())
}

/// Who connects from where to where: not so many pairs that their budgets fill the memory.
pub(super) fn pairs(world: &World) -> Result<(), ScenarioError> {
    let ports = |name: &String| {
        let server = world.servers.iter().find(|server| server.name == *name);
        server.map_or(1, |server| u64::from(server.ports))
    };
    let clients = world.clients.iter().map(|client| {
        let of_each = u64::from(client.sources) * u64::from(client.destinations);
        let to: u64 = client.to.iter().map(ports).sum();
        (format!("client {:?}", client.name), of_each * to)
    });
    let proxies = world.proxies.iter();
    let proxies = proxies
        .map(|proxy| (format!("proxy {:?}", proxy.name), proxy.upstream.iter().map(ports).sum::<u64>()));
    let mut all = 0;
    for (place, pairs) in clients.chain(proxies) {
        all += pairs;
        if all > MOST_PAIRS {
            return Err(wrong(
                place,
                format_args!(
                    "{pairs} pairs of a source and a destination, {all} with those before: at most {MOST_PAIRS}"
                ),
            ));
        }
    }
    Ok(())
}

/// Whoever talks reaches whom it talks to, over hosts that are on several networks.
pub(super) fn ways(world: &World) -> Result<(), ScenarioError> {
    let clients = world.clients.iter();
    let clients = clients.map(|client| (format!("client {:?}", client.name), &client.host, &client.to[..]));
    let proxies = world.proxies.iter();
    let proxies = proxies.map(|proxy| (format!("proxy {:?}", proxy.name), &proxy.host, &proxy.upstream[..]));
    let probes = world.probes.iter();
    let probes =
        probes.map(|probe| (format!("probe {:?}", probe.name), &probe.host, std::slice::from_ref(&probe.to)));
    let balancers = world.hosts.iter().flat_map(|host| host.nat.iter().map(move |nat| (host, nat)));
    let balancers =
        balancers.map(|(host, nat)| (format!("host {:?}, nat", host.name), &host.name, &nat.to[..]));
    for (place, from, to) in clients.chain(proxies).chain(probes).chain(balancers) {
        let Some(from) = world.host(from) else { continue };
        let near = reached(world, from);
        for to in to {
            let Some((host, _)) = world.destination(to) else { continue };
            if !near.contains(host) {
                return Err(wrong(
                    place,
                    format_args!(
                        "no network leads from host {:?} to host {host:?}, where {to:?} is",
                        from.name
                    ),
                ));
            }
        }
    }
    for host in &world.hosts {
        for nat in host.nat.iter().filter(|nat| nat.kind == NatKind::DirectRouting) {
            let mut behind = nat.to.iter().filter_map(|to| world.host(world.destination(to)?.0));
            let far = |server: &&Host| !server.networks.iter().any(|name| host.networks.contains(name));
            if let Some(far) = behind.find(far) {
                return Err(wrong(
                    format_args!("host {:?}, nat", host.name),
                    format_args!("direct routing needs a network that it shares with host {:?}", far.name),
                ));
            }
        }
    }
    Ok(())
}

/// The hosts that one reaches.
fn reached<'a>(world: &'a World, from: &'a Host) -> BTreeSet<&'a str> {
    let mut hosts = BTreeSet::from([from.name.as_str()]);
    let mut networks: BTreeSet<&str> = BTreeSet::new();
    let mut next: Vec<&str> = from.networks.iter().map(String::as_str).collect();
    while let Some(network) = next.pop() {
        if networks.insert(network) {
            for host in world.hosts.iter().filter(|host| host.networks.iter().any(|name| name == network)) {
                hosts.insert(&host.name);
                next.extend(host.networks.iter().map(String::as_str));
            }
        }
    }
    hosts
}

/// A proxy: what its program knows, and an upstream that does not lead back to it.
pub(super) fn proxy(world: &World, proxy: &Proxy) -> Result<(), ScenarioError> {
    let place = format!("proxy {:?}", proxy.name);
    if !(1..=64).contains(&proxy.workers) {
        return Err(wrong(place, format_args!("workers = {}: 1 to 64", proxy.workers)));
    }
    let pooled =
        proxy.keepalive.is_some() || proxy.keepalive_idle_ms.is_some() || proxy.keepalive_requests.is_some();
    if proxy.program == Program::Haproxy && pooled {
        return Err(wrong(
            place,
            "keepalive, keepalive_idle_ms and keepalive_requests are nginx's: HAProxy has reuse",
        ));
    }
    if let Some(kept) = proxy.keepalive.filter(|kept| *kept > MOST_KEPT) {
        return Err(wrong(place, format_args!("keepalive = {kept}: at most {MOST_KEPT}")));
    }
    super::lines::lines(&place, proxy)?;
    // Whoever is reached from here.
    let mut reached = BTreeSet::new();
    let mut next: Vec<&str> = proxy.upstream.iter().map(String::as_str).collect();
    while let Some(name) = next.pop() {
        if name == proxy.name {
            return Err(wrong(place, "upstream: its requests would come back to it, without an end"));
        }
        if let Some(other) = world.proxies.iter().find(|other| other.name == name)
            && reached.insert(name)
        {
            next.extend(other.upstream.iter().map(String::as_str));
        }
    }
    Ok(())
}
