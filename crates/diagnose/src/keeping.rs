//! Whether a client keeps its connections to a server, as packets show it.
//!
//! One exchange has one habit at most, so that one rule speaks of it. In this order:
//!
//! 1. HTTP, and the client asks to close (HTTP/1.0, or `Connection: close`): [`Habit::AsksToClose`], or
//!    [`Habit::NoPool`] if it is known to be no proxy;
//! 2. HTTP that both sides would keep, and the client closes all the same, without having waited, although
//!    other connections of it carry many requests: [`Habit::SmallPool`];
//! 3. the same with one request each: [`Habit::Unpooled`] if the client is a proxy, else [`Habit::NoPool`];
//! 4. no HTTP that could be read, and the client closes each within a second: [`Habit::NoPool`].
//!
//! A client is a proxy if its requests say so (`Via`, `Forwarded`, `X-Forwarded-For`), if its address answers
//! requests of others in the same captures, at least half as many as it sends, or if its sockets are this host's and
//! belong to a program that is known as one: certain enough, each of them. Where their owner is not known, three
//! connections or more in use at once are taken for a proxy's (a program that has no pool mostly works on one request
//! after the other). A server that asks to close, or closes first, leaves its client no choice:
//! then this is about the server, and nobody's habit.

use crate::packets::{self, Proxy, TrafficLook, both_directions, per_second};
use crate::wording::{count, counted, rate, share};
use crate::{Avoid, Evidence, Remedy, Severity, myths};
use evidence::{Ends, Exchange, Http};
use tcp::profile::linux;

/// Fewer connections are no habit...
const SOME: u64 = 20;
/// ...and slower ones are health checks and people: a check a second is the fastest in use.
const PER_SECOND: f64 = 1.5;
/// Nearly all: the rest are connections of which a part was not captured.
const NEARLY_ALL: f64 = 0.8;
/// So many requests on a connection, on average, and it is not kept.
const ONE: f64 = 1.2;
/// A connection with so few was closed soon after it was opened...
pub(crate) const FEW: u32 = 3;
/// ...which a pool of the right size does rarely: half of them is a pool that is too small...
const HALF: f64 = 0.5;
/// ...and so many on average, and the pool does its work all the same.
const ENOUGH: f64 = 20.0;
/// So many at once, and it works on several requests at a time.
const AT_ONCE: u32 = 3;
/// Without HTTP only the time tells: connections must be short...
const SHORT_S: f64 = 1.0;
/// ...and many.
const MANY: u64 = 100;

/// How a client deals with its connections to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// It asks the server to close.
    AsksToClose,
    /// It is a proxy that closes after each answer, or looks like one.
    Unpooled(Proxy),
    /// It keeps fewer than it uses.
    SmallPool,
    /// It opens one for each request; `http` if requests could be counted.
    NoPool { http: bool, asks: bool },
}

/// What an exchange shows of its client; none if nothing is wrong with it, or too little was seen.
pub(crate) fn habit(look: &TrafficLook<'_>, exchange: &Exchange) -> Option<Habit> {
    let enough = exchange.connections >= SOME
        && per_second(exchange.connections, exchange.length_ms) >= PER_SECOND
        && exchange.client.address.is_some()
        && both_directions(exchange);
    if !enough {
        return None;
    }
    match &exchange.http {
        Some(http) if share(http.connections, exchange.connections) >= HALF => {
            with_http(look, exchange, http)
        }
        _ => without_http(look, exchange),
    }
}

fn with_http(look: &TrafficLook<'_>, exchange: &Exchange, http: &Http) -> Option<Habit> {
    let proxy = look.proxy(exchange, http);
    // The sockets of this host say more than packets do.
    let no_proxy = !proxy.is_seen() && (look.owner(exchange).is_some() || look.listens_nowhere(exchange));
    if share(http.client_asks_to_close.count, http.connections) >= NEARLY_ALL {
        return Some(if no_proxy { Habit::NoPool { http: true, asks: true } } else { Habit::AsksToClose });
    }
    let kept = share(http.kept.count, http.connections) >= NEARLY_ALL;
    // Several hosts behind one address each have their own connections.
    if !kept || !closes_at_once(exchange) || look.several_hosts(exchange.client).is_some() {
        return None;
    }
    let mean = share(http.requests, http.connections);
    if mean >= ONE {
        let few = share(few(http), http.connections) >= HALF;
        return (few && mean < ENOUGH && exchange.at_once >= 2).then_some(Habit::SmallPool);
    }
    let may_be_one = exchange.at_once >= AT_ONCE && !no_proxy;
    if proxy.is_seen() || may_be_one {
        Some(Habit::Unpooled(proxy))
    } else {
        Some(Habit::NoPool { http: true, asks: false })
    }
}

fn without_http(look: &TrafficLook<'_>, exchange: &Exchange) -> Option<Habit> {
    // Little's law: on average a connection lives no longer than what is open at once, divided by the rate.
    let lives_s = f64::from(exchange.at_once) / per_second(exchange.connections, exchange.length_ms);
    let short = exchange.connections >= MANY && lives_s <= SHORT_S;
    let alone = look.several_hosts(exchange.client).is_none();
    (short && alone && share(closed_by_client(exchange), exchange.connections) >= NEARLY_ALL)
        .then_some(Habit::NoPool { http: false, asks: false })
}

/// Connections that the client ended, with FIN or reset.
pub(crate) fn closed_by_client(exchange: &Exchange) -> u64 {
    exchange.first_closer.client.saturating_add(exchange.reset_by.client).min(exchange.connections)
}

/// True if the client ends connections, and not because they were idle for long.
fn closes_at_once(exchange: &Exchange) -> bool {
    let idle = exchange.closed_idle.client;
    share(closed_by_client(exchange).saturating_sub(idle), exchange.connections) >= HALF
}

/// Connections with few requests.
pub(crate) fn few(http: &Http) -> u64 {
    http.by_requests.range(..=FEW).fold(0, |sum, (_, connections)| sum.saturating_add(*connections))
}

/// The most requests that one connection carried.
pub(crate) fn most(http: &Http) -> u32 {
    http.by_requests.last_key_value().map_or(0, |(requests, _)| *requests)
}

/// From so many connections a second on, handshakes cost what matters: each of them at least a round trip before the
/// request, and 60 s of TIME-WAIT after it.
const HURTS_PER_SECOND: f64 = 10.0;

/// How bad the habit is at this rate.
pub(crate) fn severity(exchange: &Exchange) -> Severity {
    let rate = per_second(exchange.connections, exchange.length_ms);
    if rate >= HURTS_PER_SECOND { Severity::Warning } else { Severity::Note }
}

/// `1,496 connections for 1,496 requests, 300 a second`.
pub(crate) fn pace(exchange: &Exchange, http: Option<&Http>) -> String {
    let requests = http.map(|http| format!(" for {}", counted(http.requests, "request", "requests")));
    format!(
        "{}{}, {} a second",
        counted(exchange.connections, "connection", "connections"),
        requests.unwrap_or_default(),
        rate(per_second(exchange.connections, exchange.length_ms))
    )
}

/// Who is left in TIME-WAIT, as one clause.
pub(crate) fn left(exchange: &Exchange) -> String {
    let Ends { client: at_client, server: at_server, both } = exchange.time_wait_at;
    let (client, server) = (packets::client(exchange), packets::server(exchange.server));
    let ports = at_client.saturating_add(both);
    let memory = at_server.saturating_add(both);
    match (ports, memory) {
        (0, 0) => "no TIME-WAIT was seen to be left".to_owned(),
        (_, 0) => format!("TIME-WAIT is left at {client} ({}), where each holds a port", count(ports)),
        (0, _) => format!("TIME-WAIT is left at {server} ({}), where it costs memory only", count(memory)),
        _ => format!("TIME-WAIT is left at {client} ({}) and at {server} ({})", count(ports), count(memory)),
    }
}

/// Who closed first, and how, as evidence.
pub(crate) fn endings(look: &TrafficLook<'_>, exchange: &Exchange) -> Evidence {
    let Ends { client, server, both } = exchange.first_closer;
    let parts = [
        (client, "the client's FIN came first"),
        (server, "the server's FIN came first"),
        (both, "both at once"),
        (exchange.reset_by.client, "the client sent a reset"),
        (exchange.reset_by.server, "the server sent a reset"),
    ];
    let parts = parts.into_iter().filter(|(connections, _)| *connections > 0);
    let said: Vec<String> =
        parts.map(|(connections, who)| format!("{who} on {}", count(connections))).collect();
    let said = if said.is_empty() { "no end was captured".to_owned() } else { said.join(", ") };
    look.sums(format!("{}: {said}; at most {} open at once", pace(exchange, None), count(exchange.at_once)))
}

/// Requests by connection, as evidence.
pub(crate) fn requests(look: &TrafficLook<'_>, http: &Http) -> Evidence {
    look.sums(format!(
        "{} on {}, {:.1} each, at most {} on one",
        counted(http.requests, "request", "requests"),
        counted(http.connections, "connection", "connections"),
        share(http.requests, http.connections),
        count(most(http))
    ))
}

/// The remedy for proxies: a pool that is large enough.
pub(crate) fn pool_in_the_proxy(exchange: &Exchange) -> Remedy {
    Remedy::advice(
        "pool-in-the-proxy",
        format!(
            "nginx: an `upstream {{}}` block with `keepalive {}` or more (each worker has its own), \
             proxy_http_version 1.1 and proxy_set_header Connection \"\" (the defaults from 1.29.7 on); HAProxy: neither \
             `option http-server-close` nor `httpclose`, and `http-reuse always` where requests may share connections",
            exchange.at_once.max(2)
        ),
        "a kept connection may be closed by the server while idle: let the proxy's idle timeout be the shorter one",
        "about as many connections as requests in work at once, and no TIME-WAIT for each request",
    )
}

/// The remedy for programs.
pub(crate) fn pool_in_the_program() -> Remedy {
    Remedy::advice(
        "pool-in-the-program",
        "If it is a program: let it make one client or session when it starts, use that for every request, and read \
         each response to its end, so that its connection can be used again",
        "a kept connection may be closed by the server while idle: let the client's idle timeout be the shorter one",
        "as many connections as requests in work at once, and no handshake for each request",
    )
}

/// What is not to be done about it.
pub(crate) fn avoid() -> Vec<Avoid> {
    vec![myths::lower_fin_timeout(linux::TIME_WAIT.value), myths::recycle(), myths::linger_zero()]
}
