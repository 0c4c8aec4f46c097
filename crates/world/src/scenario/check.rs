//! What no single table can say: that names lead somewhere, and that numbers are within reason.

mod expected;
mod lines;
mod places;

use super::{
    Bind, Client, Close, ClosesWhen, Family, Fix, Harm, Host, How, Kernel, MOST_AT_ONCE, Nat, NatKind, Probe,
    Scenario, ScenarioError, Server, Settings, Stage, Step, Variant, World,
};
use std::collections::BTreeSet;
use std::fmt::Display;

/// The most of anything that a world holds.
const MOST_TABLES: usize = 256;
/// The most ports of a server: on the kernel stage each has a thread and a descriptor.
const MOST_PORTS: u16 = 256;
/// The most connections of a client.
const MOST_CONNECTIONS: u32 = 100_000_000;
/// The longest time, milliseconds: a week.
const LONGEST_MS: u64 = 7 * 24 * 3_600 * 1_000;
/// The most bytes of a request or an answer.
const MOST_BYTES: u32 = 1 << 30;
/// The most connections that a server of the kernel stage serves at once.
const MOST_WORKERS: u32 = 512;
/// The most data in a probe: one segment.
const MOST_PROBED: u32 = 1_000;
/// What the kernel takes for TCP_KEEPIDLE, TCP_KEEPINTVL and TCP_KEEPCNT: 1 to these.
const MOST_KEEPALIVE: (u32, u32, u32) = (32_767, 32_767, 127);

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
    expected::stages("scenario", &scenario.on)?;
    let mut known = BTreeSet::new();
    for variant in &scenario.variants {
        name("variant", &variant.name, &mut known)?;
        let place = format!("variant {:?}", variant.name);
        expected::stages(&place, &variant.on)?;
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
        expected::variant(variant)?;
    }
    expected::relations(scenario)
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
    places::settings(world, None, "settings", &world.settings)?;
    for host in &world.hosts {
        places::settings(world, Some(&host.name), &format!("host {:?}", host.name), &host.settings)?;
    }
    if world.hosts.is_empty() {
        return Err(wrong("host", "there is none: write [[host]] with a name"));
    }
    within_a_week("the top of the file", &[("settle_ms", world.settle_ms), ("limit_ms", world.limit_ms)])?;
    let mut names = BTreeSet::new();
    for host in &world.hosts {
        self::host(world, host, &mut names)?;
    }
    for server in &world.servers {
        name("server", &server.name, &mut names)?;
        self::server(world, server)?;
    }
    for proxy in &world.proxies {
        let place = format!("proxy {:?}", proxy.name);
        name("proxy", &proxy.name, &mut names)?;
        at(world, &place, &proxy.host)?;
        destinations(world, &place, "upstream", &proxy.upstream)?;
        within_a_week(&place, &[("keepalive_idle_ms", proxy.keepalive_idle_ms.unwrap_or(0))])?;
        places::proxy(world, proxy)?;
    }
    places::ports(world)?;
    for client in &world.clients {
        name("client", &client.name, &mut names)?;
        self::client(world, client)?;
    }
    places::pairs(world)?;
    let mut probes = BTreeSet::new();
    for probe in &world.probes {
        name("probe", &probe.name, &mut probes)?;
        self::probe(world, probe)?;
    }
    places::ways(world)?;
    for fault in &world.faults {
        at(world, "fault", &fault.host)?;
        let delay = if let Harm::Delay(ms) = fault.harm { ms } else { 0 };
        let times = [("delay_ms", delay), ("from_ms", fault.from_ms), ("for_ms", fault.for_ms.unwrap_or(0))];
        within_a_week("fault", &times)?;
        if fault.port == Some(0) {
            return Err(wrong("fault", "port = 0: 1 to 65535, or none for all"));
        }
    }
    world.steps.iter().try_for_each(|step| self::step(world, step))
}

/// Times of a table.
fn within_a_week(place: &str, times: &[(&str, u64)]) -> Result<(), ScenarioError> {
    match times.iter().find(|(_, ms)| *ms > LONGEST_MS) {
        Some((key, ms)) => Err(wrong(place, format_args!("{key} = {ms}: at most {LONGEST_MS} (a week)"))),
        None => Ok(()),
    }
}

fn server(world: &World, server: &Server) -> Result<(), ScenarioError> {
    let place = format!("server {:?}", server.name);
    at(world, &place, &server.host)?;
    if server.port == 0 || server.ports == 0 || server.port.checked_add(server.ports - 1).is_none() {
        return Err(wrong(place, "port and ports must lie within 1 to 65535"));
    }
    if server.ports > MOST_PORTS {
        return Err(wrong(place, format_args!("ports = {}: at most {MOST_PORTS}", server.ports)));
    }
    if let Some(workers) = server.workers
        && !(1..=MOST_WORKERS).contains(&workers)
    {
        return Err(wrong(place, format_args!("workers = {workers}: 1 to {MOST_WORKERS}")));
    }
    if let Some((idle, between, probes)) = server.keepalive_s {
        let (most_idle, most_between, most_probes) = MOST_KEEPALIVE;
        let taken = (1..=most_idle).contains(&idle)
            && (1..=most_between).contains(&between)
            && (1..=most_probes).contains(&probes);
        if !taken {
            return Err(wrong(
                place,
                format_args!(
                    "keepalive_s = [{idle}, {between}, {probes}]: from 1 to [{most_idle}, {most_between}, {most_probes}]"
                ),
            ));
        }
    }
    within_a_week(&place, &[("answer: after_ms", server.answer.after_ms)])?;
    bytes(&place, "answer: bytes", server.answer.bytes)?;
    close(world, &server.host, &place, &server.close)?;
    let Close { when, how, after_ms, .. } = server.close;
    if how == How::Goodbye && after_ms == 0 {
        return Err(wrong(
            place,
            "close: how = \"goodbye\" needs after_ms: so long the client has to close first, then it is reset",
        ));
    }
    if how == How::Goodbye && !server.answer.length {
        return Err(wrong(
            place,
            "close: how = \"goodbye\" needs the length of an answer: without it only the server's own close ends the last one",
        ));
    }
    if server.answer.unread != (how == How::Unread) || server.answer.unread && server.close.requests > 1 {
        return Err(wrong(
            place,
            "answer = { unread = true } and close = { when = \"requests\", how = \"unread\" } go together, after one request: who does not read it cannot tell it from the next",
        ));
    }
    let at_once = after_ms == 0 || when == ClosesWhen::Idle;
    if server.answer.with_fin && !(how == How::Fin && at_once) {
        return Err(wrong(
            place,
            "answer: with_fin: its FIN goes out with the last bytes, so it goes with how = \"fin\" and no after_ms",
        ));
    }
    Ok(())
}

fn bytes(place: &str, key: &str, bytes: u32) -> Result<(), ScenarioError> {
    if bytes > MOST_BYTES {
        return Err(wrong(place, format_args!("{key} = {bytes}: at most {MOST_BYTES}")));
    }
    Ok(())
}

fn close(world: &World, host: &str, place: &str, close: &Close) -> Result<(), ScenarioError> {
    linger(world, host, place, close)?;
    within_a_week(place, &[("close: after_ms", close.after_ms)])?;
    if close.requests == 0 {
        return Err(wrong(place, "close: requests: at least 1"));
    }
    if close.when != ClosesWhen::Requests {
        let why = match close.how {
            How::Goodbye => "close: how = \"goodbye\" is the last message: it goes with when = \"requests\"",
            How::Unread => {
                "close: how = \"unread\" leaves the last message: it goes with when = \"requests\""
            }
            How::Fin | How::Shutdown | How::Reset | How::Linger => return idle(place, close),
        };
        return Err(wrong(place, why));
    }
    Ok(())
}

fn idle(place: &str, close: &Close) -> Result<(), ScenarioError> {
    if close.when == ClosesWhen::Idle && close.after_ms == 0 {
        return Err(wrong(place, "close when idle needs after_ms"));
    }
    Ok(())
}

/// SO_LINGER: what it needs, and whose it is.
fn linger(world: &World, host: &str, place: &str, close: &Close) -> Result<(), ScenarioError> {
    use Kernel::{Freebsd, Macos, Windows, WindowsXp};
    match (close.how, close.linger_s) {
        (How::Linger, None) => Err(wrong(place, "close: how = \"linger\" needs linger_s")),
        (How::Linger, Some(0)) => {
            Err(wrong(place, "close: linger_s = 0 sends a reset: write how = \"reset\""))
        }
        (How::Linger, Some(_))
            if world
                .host(host)
                .is_some_and(|host| matches!(host.kernel, Windows | WindowsXp | Macos | Freebsd)) =>
        {
            Err(wrong(
                place,
                format_args!(
                    "close: how = \"linger\" is simulated as Linux does it: leave it out, or kernel of host {host:?}"
                ),
            ))
        }
        (How::Linger, Some(_)) | (_, None) => Ok(()),
        (_, Some(_)) => Err(wrong(place, "close: linger_s goes with how = \"linger\"")),
    }
}

fn probe(world: &World, probe: &Probe) -> Result<(), ScenarioError> {
    let place = format!("probe {:?}", probe.name);
    at(world, &place, &probe.host)?;
    if !world.servers.iter().any(|server| server.name == probe.to) {
        return Err(wrong(place, format_args!("to = {:?} is no server", probe.to)));
    }
    if probe.after.parse::<tcp::State>().is_err() {
        return Err(wrong(place, format_args!("after = {:?} is no state of RFC 9293", probe.after)));
    }
    if let Err(unknown) = probe.send.flags.parse::<tcp::Flags>() {
        return Err(wrong(place, format_args!("flags = {:?}: {unknown}", probe.send.flags)));
    }
    let replies = ["nothing", "ACK", "SYN,ACK", "FIN,ACK", "RST", "RST,ACK"];
    if !replies.contains(&probe.reply.as_str()) {
        return Err(wrong(place, format_args!("reply = {:?} is none of {:?}", probe.reply, replies)));
    }
    if probe.send.bytes > MOST_PROBED {
        return Err(wrong(place, format_args!("bytes = {}: at most {MOST_PROBED}", probe.send.bytes)));
    }
    Ok(())
}

fn step(world: &World, step: &Step) -> Result<(), ScenarioError> {
    within_a_week("step", &[("at_ms", step.at_ms)])?;
    places::settings(world, step.host.as_deref(), "step", &step.set)?;
    let sets = step.set.iter().next().is_some();
    if let Some(host) = &step.host {
        at(world, "step", host)?;
    } else if step.destroy.is_some() || sets {
        return Err(wrong("step", "set and destroy need a host"));
    }
    if !sets && step.destroy.is_none() && step.restart.is_none() && step.end.is_none() {
        return Err(wrong("step", "nothing is done: write set, destroy, restart or end"));
    }
    if let Some(state) = &step.destroy
        && state.parse::<tcp::State>().is_err()
    {
        return Err(wrong("step", format_args!("destroy = {state:?} is no state of RFC 9293")));
    }
    let is_server = |name: &String| world.servers.iter().any(|server| server.name == *name);
    let is_client = |name: &String| world.clients.iter().any(|client| client.name == *name);
    if let Some(name) = step.restart.as_ref().filter(|name| !is_server(name)) {
        return Err(wrong("step", format_args!("restart = {name:?} is no server")));
    }
    if let Some(name) = step.end.as_ref().filter(|name| !is_server(name) && !is_client(name)) {
        return Err(wrong("step", format_args!("end = {name:?} is no server and no client")));
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
    places::networks(&place, host)?;
    let ahead = ("clock_ahead_ms", host.clock_ahead_ms.unsigned_abs());
    within_a_week(&place, &[ahead, ("time_wait_ms", host.time_wait_ms.unwrap_or(0))])?;
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
    if nat.port == Some(0) {
        return Err(wrong(place, "port = 0: 1 to 65535"));
    }
    if nat.to.len() > MOST_TABLES {
        return Err(wrong(place, format_args!("to: {} names: at most {MOST_TABLES}", nat.to.len())));
    }
    for to in &nat.to {
        let Some(server) = world.servers.iter().find(|server| server.name == *to) else {
            return Err(wrong(place, format_args!("to = {to:?} is no server")));
        };
        if server.host == host.name {
            return Err(wrong(
                place,
                format_args!("to = {to:?} is on this host, through which nothing passes then"),
            ));
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
    if client.timeout_ms == 0 {
        return Err(wrong(place, "timeout_ms: at least 1"));
    }
    let times = [
        ("start_ms", client.start_ms),
        ("for_ms", client.for_ms.unwrap_or(0)),
        ("think_ms", client.think_ms),
        ("pool_idle_ms", client.pool_idle_ms.unwrap_or(0)),
        ("timeout_ms", client.timeout_ms),
    ];
    within_a_week(&place, &times)?;
    bytes(&place, "request_bytes", client.request_bytes)?;
    if client.port == Some(0) {
        return Err(wrong(place, "port = 0: 1 to 65535; bind = \"address\" lets the kernel pick one"));
    }
    if (client.bind == Bind::Port) != client.port.is_some() {
        return Err(wrong(place, "bind = \"port\" and port go together"));
    }
    own_ports(world, &place, client)?;
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
        let is_here = host.is_some_and(|host| host.name == client.host);
        if is_here && world.family == Family::Ipv6 && (client.destinations > 1 || client.sources > 1) {
            return Err(wrong(
                place,
                format_args!("{to:?} is on its own host: with IPv6 there is one address to go to and from"),
            ));
        }
    }
    if client.sources > 1 && client.bind == Bind::None {
        return Err(wrong(place, "several sources need bind = \"address\" or \"address-no-port\""));
    }
    let unkept = match client.close.how {
        How::Linger => Some("linger"),
        How::Goodbye => Some("goodbye"),
        How::Unread => Some("unread"),
        How::Fin | How::Shutdown | How::Reset => None,
    };
    if let Some(how) = unkept.filter(|_| client.pool.is_some()) {
        return Err(wrong(
            place,
            format_args!("close: how = {how:?} is for connections that are not kept: leave out pool, or how"),
        ));
    }
    close(world, &client.host, &place, &client.close)
}

/// A client's own range of ports, and whether there is such a thing.
fn own_ports(world: &World, place: &str, client: &Client) -> Result<(), ScenarioError> {
    let Some((first, last)) = client.ports else { return Ok(()) };
    if first == 0 || first > last {
        return Err(wrong(
            place,
            format_args!("ports = [{first}, {last}]: the first is not above the last, nor 0"),
        ));
    }
    if client.bind == Bind::Port {
        return Err(wrong(
            place,
            "ports: with bind = \"port\" the kernel chooses none: leave out ports, or bind otherwise",
        ));
    }
    if world.host(&client.host).is_some_and(|host| host.kernel != Kernel::Linux) {
        return Err(wrong(
            place,
            format_args!(
                "ports: IP_LOCAL_PORT_RANGE is Linux's, from 6.3 on: leave out ports, or kernel of host {:?}",
                client.host
            ),
        ));
    }
    Ok(())
}

fn destinations(world: &World, place: &str, key: &str, to: &[String]) -> Result<(), ScenarioError> {
    if to.is_empty() {
        return Err(wrong(place, format_args!("{key} names nobody")));
    }
    if to.len() > MOST_TABLES {
        return Err(wrong(place, format_args!("{key}: {} names: at most {MOST_TABLES}", to.len())));
    }
    for name in to {
        if world.destination(name).is_none() {
            let known = world.servers.iter().map(|server| server.name.as_str());
            let known = known.chain(world.proxies.iter().map(|proxy| proxy.name.as_str()));
            let balancers = world.hosts.iter().flat_map(|host| &host.nat);
            let known = known.chain(balancers.filter_map(|nat| nat.name.as_deref()));
            let known = known.collect::<Vec<_>>().join(", ");
            return Err(wrong(place, format_args!("{key} = {name:?}: there are {known}")));
        }
    }
    Ok(())
}
