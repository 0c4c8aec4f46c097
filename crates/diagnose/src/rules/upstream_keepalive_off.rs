//! A proxy asks its upstream to close after each answer: HTTP/1.0, or `Connection: close`.
//!
//! ## What it sees
//!
//! In a capture: 20 connections or more from one address to one server, 1.5 a second or more, and on four of
//! five the client speaks HTTP/1.0 without `Connection: keep-alive`, or sends `Connection: close`. It is a
//! warning from 10 a second, else a note. Health checks are slower, and stay quiet.
//!
//! FastCGI has no such header: nginx asks the program to close unless `fastcgi_keep_conn` is on, and only its files
//! tell.
//!
//! nginx before 1.29.7 does this by default: `proxy_http_version 1.0` and `Connection: close`, also where
//! `keepalive` is set. HAProxy does it with `option http-server-close` or `httpclose`. Some programs do it too
//! (`ab` without `-k`, Python's `urllib.request`). Packets do not show the name of the program.
//!
//! Where `lastack doctor` finds a running nginx or HAProxy, or is given its files, it names the line that says so,
//! or the default of that version, and is certain. Without a capture the sockets decide: closes and opens to the
//! upstream; connections that are few are a note (possible), and files that nobody seems to use are nothing. HAProxy
//! leaves no socket where it ends its side by a reset: opened connections that are gone are a note then (possible).
//! `lastack lint` judges files alone: a warning where a pool is set that has nothing to keep, else a note. It notes
//! a section of HAProxy that says `httpclose` and `http-keep-alive`: the last one holds, and the other misleads.
//!
//! ## Why it hurts
//!
//! Every request pays for a handshake and a slow start, and leaves one side in TIME-WAIT for 60 s. Which side
//! is a race: a server that sends its FIN with the end of the answer has TIME-WAIT, and it costs memory only;
//! one that closes a moment later leaves it to the proxy, where each holds a local port, 28,232 for one
//! upstream. The finding says where it was. HAProxy ends its side by a reset: then there is none.
//!
//! ## How to prove it
//!
//! ```sh
//! lastack read web.pcap --json | jq -c '[.client, .server, .http, .first_closer, .time_wait_at]'
//! tshark -r web.pcap -Y 'http.request.version == "HTTP/1.0" or http.connection == "close"'
//! nginx -T | grep -E 'proxy_http_version|Connection|keepalive'
//! ```
//!
//! ## What to do
//!
//! In nginx all three of them: `proxy_http_version 1.1;`, `proxy_set_header Connection "";` and `keepalive N;`
//! in the `upstream {}` block (without such a block nothing is pooled). In HAProxy take `http-server-close`
//! and `httpclose` out. Then see that the upstream keeps connections longer than the proxy does
//! (`idle-timeout-race`).
//!
//! ## What not to do
//!
//! TIME-WAIT is not the disease: `tcp_fin_timeout`, `tcp_tw_recycle` and `SO_LINGER` with 0 s leave the
//! handshakes where they are. `tcp_tw_reuse` helps a proxy that has TIME-WAIT, and hides the cause.
//!
//! ## Sources
//!
//! RFC 9112 section 9.3 (persistence by version and by `Connection`); nginx.org, ngx_http_proxy_module and
//! CHANGES of 1.29.7; haproxy configuration.txt. Measured with nginx 1.22.1: 1,496 requests, 1,496 upstream
//! connections, TIME-WAIT at either side by the timing of the upstream's FIN.

use crate::configured::ConfigurationLook;
use crate::keeping::{self, Habit, endings, left, pace, requests};
use crate::packets::{self, Proxy, TrafficLook};
use crate::told::{self, Keeping, Route};
use crate::wording::share;
use crate::{Confidence, Evidence, Finding, Remedy, Severity, Subject, Verdict};
use evidence::{Exchange, Http};
use std::collections::BTreeSet;

/// Part of the connections that speak HTTP/1.0, for the sentence to say so.
const MOSTLY: f64 = 0.5;

pub(super) fn check_traffic(look: &TrafficLook<'_>) -> Verdict {
    let off = look.traffic.exchanges.iter().filter_map(|exchange| {
        let http = exchange.http.as_ref()?;
        (keeping::habit(look, exchange)? == Habit::AsksToClose)
            .then(|| (exchange.connections, finding(look, exchange, http)))
    });
    look.most(off.collect())
}

pub(super) fn check_configuration(look: &ConfigurationLook<'_>) -> Verdict {
    let off = look.routes().filter(|route| matches!(route.keeping, Keeping::Off { .. }));
    look.most(off.filter_map(|route| of_route(look, route)).chain(contradictions(look)))
}

/// Sections of HAProxy that say that connections are closed, and in a later line that they are kept: the last one
/// holds. Where one holds that closes, the finding of the route has both.
fn contradictions(look: &ConfigurationLook<'_>) -> Vec<Finding> {
    let mut seen = BTreeSet::new();
    let configurations = look.case.configurations.iter().filter(|_| look.alone);
    let proxies = configurations.flat_map(|configuration| {
        let proxies = configuration.haproxy.iter().flat_map(|haproxy| &haproxy.proxies);
        proxies.map(move |proxy| (configuration, proxy))
    });
    let both = proxies.filter_map(|(configuration, proxy)| {
        let keeps = proxy.connection.value().is_some_and(|mode| mode == "keep-alive");
        let is_http = proxy.mode.value().is_some_and(|mode| mode == "http");
        let (said, place) = (proxy.connection_in_vain.as_ref()?, proxy.connection.place()?);
        let (at, lost) = (configuration.at(place), told::in_vain(configuration, proxy)?);
        // Sections that inherit it say it again.
        (keeps && is_http && seen.insert(lost.source.clone())).then(|| {
            let closes = told::option_of(said.value().map_or("", String::as_str));
            let one = Remedy::advice(
                "one-of-two-options",
                format!("Take `option {closes}` at {} out, if connections are to be kept, as they are now", lost.source),
                "none: HAProxy does without it what it does with it",
                "the file says once what is done with connections",
            );
            Finding {
                rule: "upstream-keepalive-off",
                severity: Severity::Note,
                confidence: Confidence::Certain,
                claim: format!(
                    "A section says `option {closes}`, and in a later line `option http-keep-alive`: connections are kept, as \
                     the last one says"
                ),
                subject: Subject::default(),
                evidence: vec![lost, Evidence::new(at, "`option http-keep-alive` holds")],
                remedies: vec![one],
                avoid: Vec::new(),
                next: None,
            }
        })
    });
    both.collect()
}

/// What the files say, with what sockets show of it.
fn of_route(look: &ConfigurationLook<'_>, route: &Route<'_>) -> Option<Finding> {
    let Keeping::Off { how, place, pool } = &route.keeping else { return None };
    let (who, to) = (route.who(), &route.to);
    let by_default = if place.is_none() { ", as it does by default" } else { "" };
    let mut claim = format!("Keep-alive is off from {who} to {to}: it {how}{by_default}");
    // Without a pool, that is how FastCGI is mostly used, and no mistake in a file.
    if look.alone && pool.is_none() && route.is_fastcgi() {
        return None;
    }
    if look.alone && pool.is_some() {
        claim.push_str(", and the pool that is set has nothing to keep");
    }
    let alone = if pool.is_some() { Severity::Warning } else { Severity::Note };
    look.closing("upstream-keepalive-off", route, claim, alone)
}

fn finding(look: &TrafficLook<'_>, exchange: &Exchange, http: &Http) -> Finding {
    let old = share(http.old_version, http.connections) >= MOSTLY;
    let how = if old { "speaks HTTP/1.0" } else { "sends `Connection: close`" };
    let (client, server) = (packets::client(exchange), packets::server(exchange.server));
    let mut evidence = look.shows(&http.client_asks_to_close, &format!("the client {how}"));
    evidence.extend([requests(look, http), endings(look, exchange)]);
    let proxy = look.proxy(exchange, http);
    evidence.extend(proxy.shown(&client).map(|shown| look.sums(shown)));
    let told = look.told(exchange, |route| matches!(route.keeping, Keeping::Off { .. }));
    evidence.extend(told.into_iter().flat_map(Route::says));
    let mut remedies = vec![match told {
        Some(route) => route.repair(Some(exchange.at_once)),
        None => keeping::pool_in_the_proxy(exchange),
    }];
    if !old && proxy != Proxy::Says && told.is_none() {
        remedies.push(Remedy::advice(
            "no-close-from-the-program",
            "If it is a program: do not let it send `Connection: close`, and give it a pool (Python: a Session instead \
             of urllib.request)",
            "none",
            "connections that can be used again",
        ));
    }
    Finding {
        rule: "upstream-keepalive-off",
        severity: keeping::severity(exchange),
        confidence: if proxy.is_seen() || told.is_some() { Confidence::Certain } else { Confidence::Likely },
        claim: format!(
            "Keep-alive is off from {client} to {server}, because {client} {how}: {}; {}",
            pace(exchange, Some(http)),
            left(exchange)
        ),
        subject: TrafficLook::subject(exchange),
        evidence,
        remedies,
        avoid: keeping::avoid(),
        next: look.next(exchange, &http.client_asks_to_close),
    }
}
