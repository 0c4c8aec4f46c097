//! What each remedy does to a world.

use super::idle;
use crate::scenario::{
    Bind, Client, Close, ClosesWhen, HaproxyClose, How, Http, Program, Reuse, Server, World,
};
use evidence::Settings;
use std::collections::BTreeSet;

/// A remedy: changes the world at a host, and says what it changed.
pub(super) type Act = fn(&mut World, &str, Option<u32>) -> Vec<String>;

/// All of them, by the names that rules use. The last few are no remedies: people ask what they would do.
pub(super) const ALL: &[(&str, Act)] = &[
    ("keep-connections", pool),
    ("keep-alive", pool),
    ("pool-in-the-program", pool),
    ("no-close-from-the-program", pool),
    ("pool-in-the-proxy", pool_in_the_proxy),
    ("larger-pool", larger_pool),
    ("let-the-peer-close", let_the_peer_close),
    ("let-the-client-close", let_the_client_close),
    ("more-destinations", more_destinations),
    ("more-source-addresses", more_sources),
    ("bind-address-no-port", no_port),
    ("wider-port-range", |world, here, _| set(world, here, "net.ipv4.ip_local_port_range", "10240 65535")),
    ("tw-reuse", |world, here, _| set(world, here, "net.ipv4.tcp_tw_reuse", "1")),
    ("timestamps-on", |world, here, _| set(world, here, "net.ipv4.tcp_timestamps", "1")),
    ("timestamps-at-the-peer", timestamps_at_the_peer),
    ("larger-table", |world, here, _| set(world, here, "net.ipv4.tcp_max_tw_buckets", "262144")),
    ("default-fin-timeout", |world, here, _| set(world, here, "net.ipv4.tcp_fin_timeout", "60")),
    ("shorter-fin-timeout", |world, here, _| set(world, here, "net.ipv4.tcp_fin_timeout", "10")),
    ("rfc1337-off", |world, here, _| set(world, here, "net.ipv4.tcp_rfc1337", "0")),
    ("recycle-off", |world, here, _| set(world, here, "net.ipv4.tcp_tw_recycle", "0")),
    ("abort-on-overflow-off", |world, here, _| set(world, here, "net.ipv4.tcp_abort_on_overflow", "0")),
    ("fewer-orphan-retries", |world, here, _| set(world, here, "net.ipv4.tcp_orphan_retries", "3")),
    ("raise-somaxconn", |world, here, _| set(world, here, "net.core.somaxconn", "65535")),
    ("longer-backlog", longer_backlog),
    ("accept-again", accept_again),
    ("close-after-end-of-file", stop_the_leak),
    ("close-responses", stop_the_leak),
    ("close-after-shutdown", close_after_shutdown),
    ("remove-linger-zero", no_resets),
    ("read-before-close", no_resets),
    ("read-to-the-end", no_resets),
    ("lingering-close", no_resets),
    ("shorter-idle-timeout-at-the-client", idle::shorter_at_the_client),
    ("longer-idle-timeout-at-the-server", idle::longer_at_the_server),
    ("linger-zero", linger_zero),
    ("upstream-http-1-1", upstream_1_1),
];

pub(super) fn find(name: &str) -> Option<Act> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, act)| *act)
}

fn set(world: &mut World, here: &str, setting: &str, value: &str) -> Vec<String> {
    let Some(host) = world.hosts.iter_mut().find(|host| host.name == here) else { return Vec::new() };
    host.settings.set(setting, value);
    vec![format!("{setting} = {value} at {here}")]
}

/// The names of the servers that clients of a host go to, or of those that stand there.
fn servers_at(world: &World, here: &str) -> BTreeSet<String> {
    world.servers.iter().filter(|server| server.host == here).map(|server| server.name.clone()).collect()
}

/// True for a client whose connections end and are opened again.
fn comes_again(client: &Client) -> bool {
    client.pool.is_none() && client.close.when != ClosesWhen::Never
}

/// The clients that a remedy at a host is about: its own, or, where it only serves, those that come to it.
pub(super) fn clients_about(world: &World, here: &str, which: fn(&Client) -> bool) -> Vec<usize> {
    let picked = |wanted: &dyn Fn(&Client) -> bool| -> Vec<usize> {
        let clients = world.clients.iter().enumerate().filter(|(_, client)| which(client) && wanted(client));
        clients.map(|(place, _)| place).collect()
    };
    let own = picked(&|client| client.host == here);
    if !own.is_empty() {
        return own;
    }
    let here = servers_at(world, here);
    picked(&|client| client.to.iter().any(|to| here.contains(to)))
}

/// Servers that end connections first wait for the other side instead.
fn let_servers_wait(world: &mut World, names: &BTreeSet<String>) -> usize {
    let mut changed = 0;
    for server in world.servers.iter_mut().filter(|server| names.contains(&server.name)) {
        if server.close.when == ClosesWhen::Requests {
            server.close = Close::new(ClosesWhen::Peer, How::Fin);
            server.answer.with_fin = false;
            changed += 1;
        }
    }
    changed
}

fn pool(world: &mut World, here: &str, number: Option<u32>) -> Vec<String> {
    if world.proxies.iter().any(|proxy| proxy.host == here) {
        return pool_in_the_proxy(world, here, number);
    }
    let mut done = Vec::new();
    let mut to = BTreeSet::new();
    for place in clients_about(world, here, comes_again) {
        let Some(client) = world.clients.get_mut(place) else { continue };
        let size = number.unwrap_or(client.concurrency);
        let requests = client.requests.max(1);
        client.connections = client.connections.saturating_mul(requests);
        client.per_second = client.per_second.map(|rate| (rate * f64::from(requests)).min(1e7));
        client.requests = 1;
        client.pool = Some(size);
        client.http = Http::V1_1;
        client.close = Close::new(ClosesWhen::Requests, How::Fin);
        to.extend(client.to.iter().cloned());
        done.push(match number {
            Some(size) => format!("{} keeps up to {size} connections", client.name),
            None => format!("{} keeps as many connections as it has requests at once", client.name),
        });
    }
    if let_servers_wait(world, &to) > 0 {
        done.push("servers leave connections open that nobody asks them to close".to_owned());
    }
    done
}

pub(super) fn proxies_at(world: &World, here: &str) -> Vec<usize> {
    let proxies = world.proxies.iter().enumerate().filter(|(_, proxy)| proxy.host == here);
    proxies.map(|(place, _)| place).collect()
}

fn upstream_1_1(world: &mut World, here: &str, _: Option<u32>) -> Vec<String> {
    let mut done = Vec::new();
    let mut upstream = BTreeSet::new();
    for place in proxies_at(world, here) {
        let Some(proxy) = world.proxies.get_mut(place) else { continue };
        proxy.http = Http::V1_1;
        proxy.mode = HaproxyClose::KeepAlive;
        upstream.extend(proxy.upstream.iter().cloned());
        done.push(format!("{} speaks HTTP/1.1 to its upstream, without Connection: close", proxy.name));
    }
    if let_servers_wait(world, &upstream) > 0 {
        done.push("its upstream leaves connections open that nobody asks it to close".to_owned());
    }
    done
}

fn pool_in_the_proxy(world: &mut World, here: &str, number: Option<u32>) -> Vec<String> {
    let places = proxies_at(world, here);
    if places.is_empty() {
        return pool(world, here, number);
    }
    let at_once: u32 = world.clients.iter().map(|client| client.concurrency).fold(0, u32::saturating_add);
    let mut done = upstream_1_1(world, here, None);
    for place in places {
        let Some(proxy) = world.proxies.get_mut(place) else { continue };
        match proxy.program {
            Program::Nginx => {
                let size = number.unwrap_or(at_once).max(2);
                proxy.keepalive = Some(size);
                done.push(format!("{} keeps up to {size} idle connections for each worker", proxy.name));
            }
            Program::Haproxy => {
                proxy.reuse = Reuse::Always;
                done.push(format!("{}: http-reuse always", proxy.name));
            }
        }
    }
    done
}

fn larger_pool(world: &mut World, here: &str, number: Option<u32>) -> Vec<String> {
    if !proxies_at(world, here).is_empty() {
        return pool_in_the_proxy(world, here, number);
    }
    let mut done = Vec::new();
    for client in world.clients.iter_mut().filter(|client| client.host == here && client.pool.is_some()) {
        let size = number.unwrap_or(client.concurrency);
        client.pool = Some(size);
        done.push(format!("{} keeps up to {size} connections", client.name));
    }
    if done.is_empty() { pool(world, here, number) } else { done }
}

/// Who closes first is swapped: servers do, clients wait for it.
fn servers_close(world: &mut World, clients: &[usize]) -> Vec<String> {
    let mut done = Vec::new();
    for place in clients {
        let Some(client) = world.clients.get_mut(*place) else { continue };
        if client.close.when != ClosesWhen::Requests {
            continue;
        }
        let (requests, to) = (client.requests, client.to.clone());
        client.close = Close::new(ClosesWhen::Peer, How::Fin);
        let name = client.name.clone();
        for server in world.servers.iter_mut().filter(|server| to.contains(&server.name)) {
            server.close = Close { requests, ..Close::new(ClosesWhen::Requests, How::Fin) };
        }
        done.push(format!("{name} waits until the server has closed"));
    }
    done
}

/// The other way round.
fn clients_close(world: &mut World, servers: &BTreeSet<String>) -> Vec<String> {
    let mut done = Vec::new();
    if let_servers_wait(world, servers) == 0 {
        return done;
    }
    for client in &mut world.clients {
        if client.to.iter().any(|to| servers.contains(to)) && client.close.when == ClosesWhen::Peer {
            let requests = client.requests;
            client.close = Close { requests, ..Close::new(ClosesWhen::Requests, How::Fin) };
            done.push(format!("{} closes first", client.name));
        }
    }
    done
}

fn own_clients(world: &World, here: &str, which: fn(&Client) -> bool) -> Vec<usize> {
    let own = world.clients.iter().enumerate().filter(|(_, client)| client.host == here && which(client));
    own.map(|(place, _)| place).collect()
}

/// True if a client opens connections for as long as it asks, with a pool that it may be too much for or without.
fn connects(client: &Client) -> bool {
    client.close.when != ClosesWhen::Never
}

fn let_the_peer_close(world: &mut World, here: &str, _: Option<u32>) -> Vec<String> {
    let own = own_clients(world, here, comes_again);
    if own.is_empty() {
        let servers = servers_at(world, here);
        return clients_close(world, &servers);
    }
    servers_close(world, &own)
}

fn let_the_client_close(world: &mut World, here: &str, _: Option<u32>) -> Vec<String> {
    let servers = servers_at(world, here);
    clients_close(world, &servers)
}

/// How many budgets of ports a host needs for connections of these clients, each with the ports of its range: one of
/// each `requests_of` a client's connections.
fn budgets_needed<'w>(
    world: &World,
    host: &str,
    clients: impl Iterator<Item = &'w Client>,
    requests_of: fn(&Client) -> f64,
) -> u32 {
    let settings: Settings = world
        .settings
        .iter()
        .chain(world.host(host).into_iter().flat_map(|host| host.settings.iter()))
        .collect();
    let (range, reserved) = (settings.local_port_range(), settings.reserved_ports());
    let lasts = settings.time_wait().as_secs_f64();
    let each = clients.map(|client| {
        let all = f64::from(client.connections) * requests_of(client);
        let held = client.per_second.map_or(all, |rate| (rate * requests_of(client) * lasts).min(all));
        let range = client.own_ports().map_or(range, |own| range.narrowed(own));
        held * 1.1 / f64::from(range.halves_without(&reserved).total().max(1))
    });
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    let needed = each.sum::<f64>().ceil().clamp(2.0, 64.0) as u32;
    needed
}

/// So many addresses a host can have.
fn addresses(number: u32) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX).clamp(1, super::MOST_ADDRESSES)
}

/// The same of a client that connects itself. A pool leaves less to do than can be told.
fn budgets_of(world: &World, client: &Client) -> u32 {
    match client.pool {
        Some(_) => 2,
        None => budgets_needed(world, &client.host, std::iter::once(client), |_| 1.0),
    }
}

/// The same of a proxy, which may connect for each request.
fn budgets_of_proxy(world: &World, place: usize) -> u32 {
    let Some(proxy) = world.proxies.get(place) else { return 1 };
    let clients = world.clients.iter().filter(|client| client.to.contains(&proxy.name));
    budgets_needed(world, &proxy.host, clients, |client| f64::from(client.requests.max(1)))
}

fn more_destinations(world: &mut World, here: &str, number: Option<u32>) -> Vec<String> {
    let mut done = Vec::new();
    for place in own_clients(world, here, connects) {
        let Some(client) = world.clients.get(place) else { continue };
        let count = addresses(number.unwrap_or_else(|| budgets_of(world, client)));
        let (to, name) = (client.to.clone(), client.name.clone());
        let hosts: Vec<String> =
            to.iter().filter_map(|to| Some(world.destination(to)?.0.to_owned())).collect();
        for host in world.hosts.iter_mut().filter(|host| hosts.contains(&host.name) && host.name != here) {
            host.addresses = host.addresses.max(count);
        }
        if hosts.iter().any(|host| host == here) {
            continue;
        }
        if let Some(client) = world.clients.get_mut(place) {
            client.destinations = count;
        }
        done.push(format!("{name} goes to {count} addresses of each server"));
    }
    for place in proxies_at(world, here) {
        let count = addresses(number.unwrap_or_else(|| budgets_of_proxy(world, place)));
        let upstream = world.proxies.get(place).map(|proxy| proxy.upstream.clone()).unwrap_or_default();
        for server in world.servers.iter_mut().filter(|server| upstream.contains(&server.name)) {
            server.port = server.port.min(u16::MAX - count);
            server.ports = count;
            done.push(format!("the upstream {} listens on {count} ports", server.name));
        }
    }
    done
}

fn more_sources(world: &mut World, here: &str, number: Option<u32>) -> Vec<String> {
    let mut done = Vec::new();
    let have = |world: &mut World, count: u16| {
        if let Some(host) = world.hosts.iter_mut().find(|host| host.name == here) {
            host.addresses = host.addresses.max(count);
        }
    };
    for place in proxies_at(world, here) {
        let count = addresses(number.unwrap_or_else(|| budgets_of_proxy(world, place)));
        have(world, count);
        let Some(proxy) = world.proxies.get_mut(place) else { continue };
        proxy.sources = proxy.sources.max(count);
        let how = match proxy.program {
            Program::Nginx => "proxy_bind",
            Program::Haproxy => "source",
        };
        done.push(format!("{} connects from {count} addresses (`{how}`)", proxy.name));
    }
    for place in own_clients(world, here, connects) {
        let Some(client) = world.clients.get(place) else { continue };
        let count = addresses(number.unwrap_or_else(|| budgets_of(world, client)));
        have(world, count);
        if let Some(client) = world.clients.get_mut(place) {
            client.sources = client.sources.max(count);
            client.bind = Bind::AddressNoPort;
            done.push(format!(
                "{} connects from {count} addresses, each by IP_BIND_ADDRESS_NO_PORT",
                client.name
            ));
        }
    }
    done
}

fn no_port(world: &mut World, here: &str, _: Option<u32>) -> Vec<String> {
    let mut done = Vec::new();
    for client in
        world.clients.iter_mut().filter(|client| client.host == here && client.bind == Bind::Address)
    {
        client.bind = Bind::AddressNoPort;
        done.push(format!("{} leaves the port to connect()", client.name));
    }
    done
}

fn timestamps_at_the_peer(world: &mut World, here: &str, _: Option<u32>) -> Vec<String> {
    let mut done = Vec::new();
    for host in world.hosts.iter_mut().filter(|host| host.name != here) {
        if host.settings.get("net.ipv4.tcp_timestamps").is_some_and(|value| value.trim() == "0") {
            host.settings.set("net.ipv4.tcp_timestamps", "1");
            done.push(format!("timestamps are on at {}", host.name));
        }
    }
    done
}

fn longer_backlog(world: &mut World, here: &str, number: Option<u32>) -> Vec<String> {
    change_servers(world, here, |server| {
        server.backlog = number.unwrap_or(4_096).max(server.backlog);
        format!("{} listens with a backlog of {}", server.name, server.backlog)
    })
}

fn accept_again(world: &mut World, here: &str, _: Option<u32>) -> Vec<String> {
    change_servers(world, here, |server| {
        server.accepts = true;
        format!("{} calls accept()", server.name)
    })
}

fn change_servers(world: &mut World, here: &str, change: impl Fn(&mut Server) -> String) -> Vec<String> {
    let mut done = Vec::new();
    for server in world.servers.iter_mut().filter(|server| server.host == here) {
        let before = server.clone();
        let said = change(server);
        if *server != before {
            done.push(said);
        }
    }
    done
}

fn stop_the_leak(world: &mut World, here: &str, _: Option<u32>) -> Vec<String> {
    let mut done = Vec::new();
    let close = Close::new(ClosesWhen::Peer, How::Fin);
    for server in world.servers.iter_mut().filter(|server| server.host == here) {
        if server.close.when == ClosesWhen::Never {
            server.close = close;
            done.push(format!("{} closes what its clients have closed", server.name));
        }
    }
    let ends: BTreeSet<String> = (world.servers.iter())
        .filter(|server| server.close.when != ClosesWhen::Peer)
        .map(|server| server.name.clone())
        .collect();
    for client in world.clients.iter_mut().filter(|client| client.host == here) {
        if client.close.when == ClosesWhen::Never && client.to.iter().any(|to| ends.contains(to)) {
            client.close = close;
            done.push(format!("{} closes what its servers have closed", client.name));
        }
    }
    done
}

fn close_after_shutdown(world: &mut World, here: &str, _: Option<u32>) -> Vec<String> {
    let mut done = Vec::new();
    for client in world.clients.iter_mut().filter(|client| client.host == here) {
        if client.close.how == How::Shutdown {
            client.close.how = How::Fin;
            done.push(format!("{} calls close() instead of shutdown()", client.name));
        }
    }
    done
}

fn no_resets(world: &mut World, here: &str, _: Option<u32>) -> Vec<String> {
    let mut done = Vec::new();
    for client in world.clients.iter_mut().filter(|client| client.host == here) {
        if matches!(client.close.how, How::Reset | How::Unread) {
            client.close.how = How::Fin;
            done.push(format!("{} closes with a FIN", client.name));
        }
    }
    for server in world.servers.iter_mut().filter(|server| server.host == here) {
        if matches!(server.close.how, How::Reset | How::Unread) || server.answer.unread {
            server.close.how = How::Fin;
            server.answer.unread = false;
            done.push(format!("{} closes with a FIN", server.name));
        }
    }
    done
}

fn linger_zero(world: &mut World, here: &str, _: Option<u32>) -> Vec<String> {
    let mut done = Vec::new();
    for client in world.clients.iter_mut().filter(|client| client.host == here) {
        if client.close.when == ClosesWhen::Requests {
            client.close.how = How::Reset;
            done.push(format!("{} closes with a reset", client.name));
        }
    }
    for server in world.servers.iter_mut().filter(|server| server.host == here) {
        if server.close.when == ClosesWhen::Requests {
            server.close.how = How::Reset;
            server.answer.with_fin = false;
            done.push(format!("{} closes with a reset", server.name));
        }
    }
    done
}
