//! Remedies against requests that meet a close: one side's idle timeout becomes the longer one.

use super::acts::{clients_about, proxies_at};
use crate::scenario::{Close, ClosesWhen, How, World};
use std::collections::BTreeSet;

/// Clients of pools and proxies at a host, or that come to it, whose servers close what is idle; and these servers.
fn about(world: &World, here: &str) -> (Vec<usize>, Vec<usize>, BTreeSet<String>) {
    let idle = |name: &String| {
        let mut servers = world.servers.iter();
        servers.any(|server| server.name == *name && server.close.when == ClosesWhen::Idle)
    };
    let is_pooled = |place: &usize| {
        world.clients.get(*place).is_some_and(|client| client.pool.is_some() && client.to.iter().any(idle))
    };
    let pools = |place: &usize| {
        world
            .proxies
            .get(*place)
            .is_some_and(|proxy| proxy.keepalive.is_some() && proxy.upstream.iter().any(idle))
    };
    let clients: Vec<usize> = clients_about(world, here, |_| true).into_iter().filter(is_pooled).collect();
    let proxies: Vec<usize> = proxies_at(world, here).into_iter().filter(pools).collect();
    let to = clients.iter().filter_map(|place| world.clients.get(*place)).flat_map(|client| &client.to);
    let upstream =
        proxies.iter().filter_map(|place| world.proxies.get(*place)).flat_map(|proxy| &proxy.upstream);
    let servers = to.chain(upstream).filter(|name| idle(name)).cloned().collect();
    (clients, proxies, servers)
}

/// The client gives up what is idle before its server does: after `number` seconds, or three quarters of its server's
/// time.
pub(super) fn shorter_at_the_client(world: &mut World, here: &str, number: Option<u32>) -> Vec<String> {
    let (clients, proxies, servers) = about(world, here);
    let closing = world.servers.iter().filter(|server| servers.contains(&server.name));
    let Some(server_ms) = closing.map(|server| server.close.after_ms).min() else { return Vec::new() };
    let idle_ms = number.map_or(server_ms * 3 / 4, |seconds| u64::from(seconds) * 1_000).max(1);
    let mut done = Vec::new();
    for place in clients {
        if let Some(client) = world.clients.get_mut(place) {
            client.pool_idle_ms = Some(idle_ms);
            done.push(format!("{} gives up connections that are idle for {idle_ms} ms", client.name));
        }
    }
    for place in proxies {
        if let Some(proxy) = world.proxies.get_mut(place) {
            proxy.keepalive_idle_ms = Some(idle_ms);
            done.push(format!("{} gives up connections that are idle for {idle_ms} ms", proxy.name));
        }
    }
    done
}

/// The server keeps what is idle longer than its clients do: `number` seconds, a quarter and two seconds longer, or,
/// where it is not known when they give up, for as long as they like.
pub(super) fn longer_at_the_server(world: &mut World, here: &str, number: Option<u32>) -> Vec<String> {
    let (clients, proxies, servers) = about(world, here);
    let of_clients =
        clients.iter().filter_map(|place| world.clients.get(*place)).map(|client| client.pool_idle_ms);
    let of_proxies =
        proxies.iter().filter_map(|place| world.proxies.get(*place)).map(|proxy| proxy.keepalive_idle_ms);
    let longest = of_clients.chain(of_proxies).try_fold(0, |longest, idle_ms| Some(idle_ms?.max(longest)));
    let seconds = number.map(|seconds| u64::from(seconds) * 1_000);
    let idle_ms = seconds
        .or_else(|| longest.map(|client_ms: u64| client_ms.saturating_add((client_ms / 4).max(2_000))));
    let mut done = Vec::new();
    for server in world.servers.iter_mut().filter(|server| servers.contains(&server.name)) {
        server.close = match idle_ms {
            Some(after_ms) => Close { after_ms, ..server.close },
            None => Close::new(ClosesWhen::Peer, How::Fin),
        };
        done.push(match idle_ms {
            Some(idle_ms) => format!("{} keeps idle connections for {idle_ms} ms", server.name),
            None => format!("{} keeps idle connections longer than its clients do", server.name),
        });
    }
    done
}
