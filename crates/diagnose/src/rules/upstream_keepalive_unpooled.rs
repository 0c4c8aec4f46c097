//! HTTP/1.1 keeps the connection, but no pool does: the proxy closes after each answer, and has TIME-WAIT.
//!
//! ## What it sees
//!
//! In a capture: 20 connections or more from one address to one server, 1.5 a second or more; neither side asks
//! to close; one request on nearly each; and the client closes first, without having waited. It is a warning
//! from 10 a second, else a note.
//!
//! A proxy and a program without a pool look the same in packets. It is taken for a proxy if its address
//! answers requests in the same capture, at least half as many as it sends, or if `lastack doctor --capture`
//! saw that its sockets belong to nginx, HAProxy, Envoy or another known one (likely, all three); or else, if their
//! owner is not known, if it has three connections or more in use at once (possible: it may be a program with
//! several threads). What is none of that is `client-without-pool`.
//!
//! Where `lastack doctor` finds a running nginx or HAProxy, or is given its files, it names the line: no
//! `keepalive`, an address or a variable in `proxy_pass` that goes past the pool, `http-reuse never`; then it is
//! certain. Without a capture the sockets decide. `lastack lint` judges files alone: a warning where the other half
//! of the repair is written, else a note.
//!
//! ## Why it hurts
//!
//! It is the half of a repair: with `proxy_http_version 1.1` and `Connection ""` the upstream no longer closes,
//! so the proxy does, after each answer. TIME-WAIT moves from the upstream, where it costs memory, to the proxy,
//! where each holds a local port for 60 s: 28,232 for one upstream, 470 a second for ever. The handshake for
//! each request stays.
//!
//! ## How to prove it
//!
//! ```sh
//! lastack read web.pcap --json | jq -c '[.client, .server, .http.requests, .http.close_by, .first_closer]'
//! ss -Htan state time-wait '( dst 10.0.0.2:8080 )' | wc -l     # on the proxy
//! nginx -T | grep -E 'upstream|keepalive|proxy_pass'
//! ```
//!
//! ## What to do
//!
//! nginx: `keepalive N;` in the `upstream {}` block, and `proxy_pass` to that block: an address in `proxy_pass`
//! is never pooled. N is for each worker, and at least the number of requests in work at once. HAProxy:
//! `http-reuse always` (with `safe` the first request of each client opens a connection), not `never`. A program:
//! one client or session for all requests.
//!
//! ## What not to do
//!
//! Do not go back to HTTP/1.0 to have TIME-WAIT at the upstream again. `tcp_tw_reuse = 1` on the proxy makes
//! the ports last, and hides the handshakes.
//!
//! ## Sources
//!
//! RFC 9112 section 9.3; nginx.org, ngx_http_upstream_module `keepalive`; haproxy configuration.txt
//! `http-reuse`. Measured with nginx 1.22.1: 1,496 requests, 1,496 connections, TIME-WAIT at the proxy for all;
//! with `keepalive 32` the same requests need 8 connections.

use crate::configured::ConfigurationLook;
use crate::keeping::{self, Habit, endings, left, pace, requests};
use crate::packets::{self, Proxy, TrafficLook};
use crate::told::{Keeping, Route};
use crate::wording::{count, counted};
use crate::{Confidence, Finding, Severity, Verdict};
use evidence::{Exchange, Http};

pub(super) fn check_traffic(look: &TrafficLook<'_>) -> Verdict {
    let unpooled = look.traffic.exchanges.iter().filter_map(|exchange| {
        let http = exchange.http.as_ref()?;
        match keeping::habit(look, exchange)? {
            Habit::Unpooled(proxy) => Some((exchange.connections, finding(look, exchange, http, proxy))),
            _ => None,
        }
    });
    look.most(unpooled.collect())
}

pub(super) fn check_configuration(look: &ConfigurationLook<'_>) -> Verdict {
    let unpooled = look.routes().filter(|route| matches!(route.keeping, Keeping::Unpooled { .. }));
    look.most(unpooled.filter_map(|route| told(look, route)))
}

/// What the files say, with what sockets show of it.
fn told(look: &ConfigurationLook<'_>, route: &Route<'_>) -> Option<Finding> {
    let Keeping::Unpooled { how, half_done, .. } = &route.keeping else { return None };
    let claim = format!("{} {how}: it closes each connection after its answer, and has TIME-WAIT", route.who());
    let alone = if *half_done { Severity::Warning } else { Severity::Note };
    look.closing("upstream-keepalive-unpooled", route, claim, alone)
}

fn finding(look: &TrafficLook<'_>, exchange: &Exchange, http: &Http, proxy: Proxy) -> Finding {
    let (client, server) = (packets::client(exchange), packets::server(exchange.server));
    let mut evidence =
        look.shows(&http.kept, "neither side asks to close, and the client closes all the same");
    evidence.extend([requests(look, http), endings(look, exchange)]);
    let shown = proxy.shown(&client).unwrap_or_else(|| {
        let most = counted(exchange.at_once, "connection", "connections");
        format!("{client} had up to {most} open at once: a proxy, or a program with several threads")
    });
    evidence.push(match (proxy, look.owner(exchange)) {
        (Proxy::Named(_), Some(owner)) => owner.shown(exchange),
        _ => look.sums(shown),
    });
    let told = look.told(exchange, |route| {
        matches!(route.keeping, Keeping::Unpooled { .. }) || route.first_request_opens()
    });
    evidence.extend(told.into_iter().flat_map(Route::says));
    let mut remedies = vec![match told {
        Some(route) => route.repair(Some(exchange.at_once)),
        None => keeping::pool_in_the_proxy(exchange),
    }];
    if told.is_none() && !matches!(proxy, Proxy::Says | Proxy::Named(_)) {
        remedies.push(keeping::pool_in_the_program());
    }
    Finding {
        rule: "upstream-keepalive-unpooled",
        severity: keeping::severity(exchange),
        confidence: match (told, proxy.is_seen()) {
            (Some(_), _) => Confidence::Certain,
            (None, true) => Confidence::Likely,
            (None, false) => Confidence::Possible,
        },
        claim: format!(
            "{client} has no pool for {server}: HTTP/1.1 would keep the connections, and {client} closes {} of them \
             first: {}; {}",
            count(keeping::closed_by_client(exchange)),
            pace(exchange, Some(http)),
            left(exchange)
        ),
        subject: TrafficLook::subject(exchange),
        evidence,
        remedies,
        avoid: keeping::avoid(),
        next: look.next(exchange, &http.kept),
    }
}
