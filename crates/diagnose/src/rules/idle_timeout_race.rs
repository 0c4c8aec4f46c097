//! The server's idle timeout is shorter than the client's: a request meets a closing connection.
//!
//! ## What it sees
//!
//! In a capture, connections on which a server had answered everything, closed because nothing came for a while,
//! and got the client's next request after that, which it answered with a reset. If the request passed the FIN
//! on its way, that is certain, from the first on: a request is lost. If the client had got the FIN and sent its
//! request all the same, the client is slow to look: from 3 on, where the server closed idle connections
//! (possible).
//!
//! A server that closes idle connections is healthy by itself, and quiet here.
//!
//! Where `lastack doctor` finds a running nginx as the client, or is given its file, it names the line with the
//! idle timeout of its pool. If the server is an nginx or HAProxy whose files are known, too, both timeouts are
//! compared: if the server's is not the longer one, that is a note (possible) without a capture, and a warning in
//! `lastack lint`.
//!
//! ## Why it hurts
//!
//! The client gets ECONNRESET, or the end of the stream, in the place of an answer. It cannot know whether the
//! request was carried out. A proxy tries again what is safe to repeat (GET), and answers 502 to a POST. It
//! happens to few requests, after quiet times: hard to catch, and taken for "the network".
//!
//! ## How to prove it
//!
//! ```sh
//! lastack read web.pcap --json | jq -c 'select(.reset_cause == "idle-timeout-race")'
//! grep -E 'upstream prematurely closed|recv\(\) failed \(104' /var/log/nginx/error.log
//! ```
//!
//! ## What to do
//!
//! Let the side that sends requests be the one that closes: **the idle timeout of the upstream must be longer than
//! that of the proxy** or client, with some seconds between them. Node keeps idle connections for 5 s
//! (`server.keepAliveTimeout`), uvicorn for 5 s (`--timeout-keep-alive`), gunicorn for 2 s (`--keep-alive`),
//! Apache for 5 s; nginx as a client for 60 s (`keepalive_timeout` in `upstream {}`), most load balancers for
//! 60 s, Envoy for an hour.
//!
//! ## What not to do
//!
//! Do not switch keep-alive off for it: that trades a rare error for a handshake with each request. Do not
//! repeat requests blindly that change something.
//!
//! ## Sources
//!
//! RFC 9112 section 9.5 (a connection may be closed at any time; the client must be ready for it) and 9.3.1
//! (what may be repeated). Measured with nginx and a server with 2 s: GET answered by the second try, POST with
//! 502, `recv() failed (104: Connection reset by peer)`.

use crate::configured::ConfigurationLook;
use crate::packets::{self, TrafficLook};
use crate::repair::{self, GUARDS};
use crate::served::{Served, served};
use crate::told::{Keeping, Route};
use crate::wording::{counted, length};
use crate::{Applicability, Avoid, Confidence, Evidence, Finding, Remedy, Severity, Verdict};
use evidence::{Configuration, Counted, Endpoint, Exchange, FilePlace};
use std::time::Duration;

const RACE: &str = "idle-timeout-race";
const AFTER_CLOSE: &str = "after-close";

/// Resets after a close have other causes too: fewer are accidents.
const SOME: u64 = 3;

pub(super) fn check_traffic(look: &TrafficLook<'_>) -> Verdict {
    let races = look.traffic.exchanges.iter().filter_map(|exchange| {
        let finding = race(look, exchange).or_else(|| late(look, exchange))?;
        Some((exchange.connections, finding))
    });
    look.most(races.collect())
}

pub(super) fn check_configuration(look: &ConfigurationLook<'_>) -> Verdict {
    let pooled = look.routes().filter(|route| matches!(route.keeping, Keeping::Pooled { .. }));
    look.most(pooled.filter_map(|route| compared(look, route)))
}

/// The idle timeouts of both sides, from their files.
fn compared(look: &ConfigurationLook<'_>, route: &Route<'_>) -> Option<Finding> {
    let (client_ms, client_place) = route.idle_ms?;
    let others = look.case.configurations.iter().enumerate();
    let others = others.filter(|(_, other)| look.alone || share_a_host(route, other));
    let meets = |served: &Served<'_>| {
        let mut here = route.servers.iter().filter(|server| served.meets(**server));
        here.any(|server| served.names(*server) || is_behind(look, route, served, *server))
    };
    // A server that closes after each answer meets no request.
    let kept = others.flat_map(served).filter(meets).filter_map(|served| Some((served.idle?, served)));
    let kept = kept.filter(|((ms, _), _)| *ms > 0).min_by_key(|((ms, _), _)| *ms);
    let ((server_ms, server_place), keeps) = kept?;
    if server_ms > client_ms {
        return None;
    }
    let [client, server] = [client_ms, server_ms].map(|ms| length(Duration::from_millis(ms)));
    let (who, to) = (route.who(), &route.to);
    let by_default = |place: Option<FilePlace>| if place.is_none() { ", by default" } else { "" };
    let at_client = route.configuration.at(client_place.or(route.block).unwrap_or(route.place));
    let at_server = keeps.configuration.1.at(server_place.unwrap_or(keeps.place));
    let used = look.alone || look.live(route).open > 0;
    used.then(|| Finding {
        rule: "idle-timeout-race",
        severity: if look.alone { Severity::Warning } else { Severity::Note },
        confidence: if look.alone { Confidence::Likely } else { Confidence::Possible },
        claim: format!(
            "{who} keeps idle connections to {to} for {client}, and the server there, {}, for {server}: a request may meet a \
             close",
            keeps.program
        ),
        subject: look.subject(route),
        evidence: vec![
            Evidence::new(at_client.clone(), format!("the pool keeps them for {client}{}", by_default(client_place))),
            Evidence::new(at_server.clone(), format!("{} keeps them for {server}{}", keeps.program, by_default(server_place))),
        ],
        remedies: vec![
            Remedy::advice(
                "longer-idle-timeout-at-the-server",
                format!("Set the idle timeout at {at_server} some seconds longer than {client}"),
                "more idle connections at the server",
                "the client closes first, and no request meets a close",
            )
            .carried_out(Applicability::Unsafe, [keeps.idle_timeout(repair::longer_than(client_ms))], &GUARDS),
            Remedy::advice(
                "shorter-idle-timeout-at-the-client",
                format!("Or set that at {at_client} some seconds shorter than {server}"),
                "more handshakes after quiet times, and TIME-WAIT at the client",
                "the client closes first, and no request meets a close",
            )
            .carried_out(Applicability::Unsafe, route.shorter_idle_timeout(server_ms), &GUARDS),
        ],
        avoid: avoid(),
        next: None,
    })
}

/// True if one who listens on all addresses is the server behind a route. Most proxies listen so themselves, on the port of
/// their servers: the server's address decides, where it is known whose it is.
fn is_behind(look: &ConfigurationLook<'_>, route: &Route<'_>, listens: &Served<'_>, server: Endpoint) -> bool {
    let Some(address) = server.address.filter(|address| !address.is_loopback()) else { return true };
    if look.alone {
        return !std::ptr::eq(listens.configuration.1, route.configuration);
    }
    look.namespaces(route).any(|namespace| {
        namespace.addresses.contains(&address)
            || namespace.sockets.groups.iter().any(|group| group.local.address == Some(address))
    })
}

/// True if a server's configuration can be that of the other end: on the same network namespace.
fn share_a_host(route: &Route<'_>, other: &Configuration) -> bool {
    match (&route.configuration.running, &other.running) {
        (Some(one), Some(other)) => one.netns == other.netns,
        _ => false,
    }
}

fn avoid() -> Vec<Avoid> {
    vec![Avoid::new(
        "keep-alive off",
        "it trades a rare error for a handshake and a TIME-WAIT with each request",
    )]
}

/// The request passed the FIN on its way.
fn race(look: &TrafficLook<'_>, exchange: &Exchange) -> Option<Finding> {
    let met = exchange.resets.get(RACE).filter(|met| met.count > 0)?;
    let says = "the server closed while idle, the next request passed its FIN, and was reset";
    Some(finding(look, exchange, met, Confidence::Certain, says))
}

/// The client had the FIN, and sent its request all the same.
fn late(look: &TrafficLook<'_>, exchange: &Exchange) -> Option<Finding> {
    let met = exchange.resets.get(AFTER_CLOSE)?;
    let kept = exchange.http.as_ref().is_some_and(|http| http.kept.count > 0);
    let by = exchange.resets_by.get(AFTER_CLOSE).copied().unwrap_or(exchange.reset_by);
    let fires = kept && met.count.min(by.server).min(exchange.closed_idle.server) >= SOME;
    let says = "something was sent after the server had closed, and was reset";
    fires.then(|| finding(look, exchange, met, Confidence::Possible, says))
}

fn finding(
    look: &TrafficLook<'_>,
    exchange: &Exchange,
    met: &Counted,
    confidence: Confidence,
    says: &str,
) -> Finding {
    let (client, server) = (packets::client(exchange), packets::server(exchange.server));
    let idle = exchange.closed_idle.server;
    // The times are of both sides: they are the server's only if the client closed none.
    let idle_ms = exchange.idle_ms.filter(|_| exchange.closed_idle.client == 0 && idle > 0);
    let idle_for = match idle_ms {
        Some((least, most)) => {
            let [least, most] = [least, most].map(|ms| length(Duration::from_millis(ms.into())));
            if least == most { format!(" for {least}") } else { format!(" for {least} to {most}") }
        }
        None => String::new(),
    };
    let mut evidence = look.shows(met, says);
    if idle > 0 {
        let says = format!(
            "{server} closed {} that were idle{idle_for}",
            counted(idle, "connection", "connections")
        );
        evidence.push(look.sums(says));
    }
    let told = look
        .told(exchange, |route| route.idle_ms.is_some() && matches!(route.keeping, Keeping::Pooled { .. }));
    if let Some((route, (ms, place))) = told.and_then(|route| Some((route, route.idle_ms?))) {
        let kept = length(Duration::from_millis(ms));
        let by_default = if place.is_none() { ", by default" } else { "" };
        let says = format!("{} keeps idle connections to {} for {kept}{by_default}", route.who(), route.to);
        evidence.push(Evidence::new(route.at(place.or(route.block)), says));
    }
    Finding {
        rule: "idle-timeout-race",
        severity: Severity::Warning,
        confidence,
        claim: format!(
            "{} of {client} met a close, on {} in all: {server} closes what is idle{idle_for}, and its idle timeout is \
             shorter than the client's",
            counted(met.count, "request", "requests"),
            counted(exchange.connections, "connection", "connections")
        ),
        subject: TrafficLook::subject(exchange),
        evidence,
        remedies: vec![
            Remedy::advice(
                "longer-idle-timeout-at-the-server",
                format!(
                    "Let {server} keep idle connections longer than {client} does (Node keepAliveTimeout, gunicorn \
                     --keep-alive, uvicorn --timeout-keep-alive, Apache KeepAliveTimeout, nginx keepalive_timeout)"
                ),
                "more idle connections at the server",
                "the client closes first, and no request meets a close",
            ),
            Remedy::advice(
                "shorter-idle-timeout-at-the-client",
                format!(
                    "Or let {client} give up idle connections some seconds before the server does (nginx: \
                     keepalive_timeout in upstream{{}}; Envoy: idle_timeout; Go: IdleConnTimeout)"
                ),
                "more handshakes after quiet times, and TIME-WAIT at the client",
                "the client closes first, and no request meets a close",
            )
            .carried_out(
                Applicability::Unsafe,
                told.zip(idle_ms).and_then(|(route, (least, _))| route.shorter_idle_timeout(least.into())),
                &GUARDS,
            ),
            Remedy::advice(
                "retry-what-is-safe",
                "Let the client repeat once, on a new connection, requests that may be repeated (GET, HEAD, or with a key)",
                "requests that change something may be carried out twice: leave those out",
                "a close that is met costs a handshake instead of an error",
            ),
        ],
        avoid: avoid(),
        next: look.next(exchange, met),
    }
}
