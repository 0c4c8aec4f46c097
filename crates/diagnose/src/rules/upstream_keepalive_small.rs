//! A pool of connections is smaller than the number of requests in work: the surplus is opened and closed.
//!
//! ## What it sees
//!
//! In a capture: 20 connections or more from one address to one server, 1.5 a second or more; neither side asks
//! to close; the client closes at least half of them without having waited; several are open at once. They
//! carry between 1.2 and 20 requests on average, so that some are used again, but half of them carry 3 or
//! fewer. It is likely, and a warning from 10 a second, else a note.
//!
//! Where `lastack doctor` finds a running nginx or HAProxy, or is given its files, it names the line with the size
//! of the pool, and is certain. Without a capture it compares the pool, times the workers, with the connections
//! that are open while connections are closed here first. HAProxy's `pool-max-conn` is for each server: those of a
//! backend are added up. `lastack lint` cannot know the concurrency: it notes
//! connections that are closed after ten requests or fewer.
//!
//! ## Why it hurts
//!
//! `keepalive N` in nginx is the number of *idle* connections that a worker keeps. When a burst of answers
//! comes back and there is no slot left, nginx closes the oldest: the next burst opens new ones. Every surplus
//! connection pays for a handshake, and leaves a TIME-WAIT with a local port at the proxy.
//!
//! Go's `net/http` does the same: it keeps 2 idle connections for each host, unless told otherwise.
//!
//! ## How to prove it
//!
//! ```sh
//! lastack read web.pcap --json | jq -r 'select(.http) | .http.requests' | sort -n | uniq -c
//! ss -Htan state time-wait '( dst 10.0.0.2:8080 )' | wc -l     # on the proxy: many
//! ```
//!
//! ## What to do
//!
//! Make the pool as large as the number of requests in work at once, for each worker of nginx (`keepalive`), or
//! for each host (Go: `MaxIdleConnsPerHost`; Java's Apache client: `maxConnPerRoute`). The finding says how
//! many were open at once in the capture.
//!
//! ## What not to do
//!
//! Do not make it as large as it can be: idle connections are taken from the upstream, where each may hold a
//! thread. A longer idle timeout does not help: the connections are closed for want of a slot, not of time.
//!
//! ## Sources
//!
//! nginx.org, ngx_http_upstream_module `keepalive`; Go, net/http/transport.go `DefaultMaxIdleConnsPerHost`.
//! Measured with nginx 1.22.1, `keepalive 2` and 8 clients: 1,496 requests on 590 to 815 connections, all of
//! them closed by nginx.

use crate::configured::ConfigurationLook;
use crate::keeping::{self, FEW, Habit, endings, left, pace, requests};
use crate::packets::{self, Proxy, TrafficLook};
use crate::told::{Keeping, Route};
use crate::wording::{count, counted};
use crate::{Avoid, Confidence, Evidence, Finding, Remedy, Severity, Verdict};
use evidence::{Exchange, Http};

pub(super) fn check_traffic(look: &TrafficLook<'_>) -> Verdict {
    let small = look.traffic.exchanges.iter().filter_map(|exchange| {
        let http = exchange.http.as_ref()?;
        (keeping::habit(look, exchange)? == Habit::SmallPool)
            .then(|| (exchange.connections, finding(look, exchange, http)))
    });
    look.most(small.collect())
}

/// After so many requests a connection is hardly worth its handshake.
const HARDLY_KEPT: u64 = 10;

pub(super) fn check_configuration(look: &ConfigurationLook<'_>) -> Verdict {
    look.most(look.routes().filter_map(|route| told(look, route)))
}

/// What the files say, with what sockets show of it.
fn told(look: &ConfigurationLook<'_>, route: &Route<'_>) -> Option<Finding> {
    let Keeping::Pooled { idle, workers, requests, .. } = &route.keeping else { return None };
    let few = requests.filter(|(requests, place)| *requests <= HARDLY_KEPT && place.is_some());
    let mut evidence = route.says();
    let (who, to) = (route.who(), &route.to);
    let closed_after = |requests: u64| {
        let requests = counted(requests, "request", "requests");
        format!("{who} closes each connection to {to} after {requests}: it is hardly kept")
    };
    let (severity, confidence, claim, size) = if look.alone {
        (Severity::Note, Confidence::Certain, closed_after(few?.0), None)
    } else {
        let live = look.live(route);
        let (severity, confidence, shown) = live.harm().filter(|_| live.closes())?;
        evidence.push(shown);
        let pool = idle.zip(*workers).map(|(idle, workers)| idle.saturating_mul(workers));
        match (pool, few) {
            (Some(pool), _) if u64::from(live.open) > pool => {
                let claim = format!(
                    "The pool of {who} for {to} is too small: it keeps {}, {} were open, and the surplus is closed",
                    counted(pool, "idle connection", "idle connections"),
                    count(live.open)
                );
                (severity, confidence, claim, Some(live.open))
            }
            (_, Some((requests, _))) => (severity, confidence, closed_after(requests), None),
            _ => return None,
        }
    };
    let remedy = match size {
        Some(size) => route.larger_pool(size),
        None => route.more_requests(),
    };
    Some(Finding {
        rule: "upstream-keepalive-small",
        severity,
        confidence,
        claim,
        subject: look.subject(route),
        evidence,
        remedies: vec![remedy],
        avoid: vec![crate::myths::linger_zero()],
        next: None,
    })
}

fn finding(look: &TrafficLook<'_>, exchange: &Exchange, http: &Http) -> Finding {
    let (client, server) = (packets::client(exchange), packets::server(exchange.server));
    let few = count(keeping::few(http));
    let at_once = exchange.at_once;
    let mut evidence = look.shows(&http.kept, "a connection that both sides would have kept");
    evidence.push(look.sums(format!(
        "{few} of {} carried {FEW} requests or fewer, the busiest {}",
        counted(http.connections, "connection", "connections"),
        count(keeping::most(http))
    )));
    evidence.extend([requests(look, http), endings(look, exchange)]);
    let proxy = look.proxy(exchange, http);
    evidence.extend(proxy.shown(&client).map(|shown| look.sums(shown)));
    let told = look.told(exchange, |route| matches!(route.keeping, Keeping::Pooled { idle: Some(_), .. }));
    evidence.extend(told.map_or_else(Vec::<Evidence>::new, Route::says));
    // Not the slots: each connection is closed after the number of requests that a file allows.
    let limited = told.and_then(|route| match &route.keeping {
        Keeping::Pooled { requests: Some((limit, Some(_))), .. }
            if *limit <= HARDLY_KEPT && u64::from(keeping::most(http)) <= *limit =>
        {
            Some((route, *limit))
        }
        _ => None,
    });
    let general = Remedy::advice(
        "larger-pool",
        format!(
            "Let the pool hold at least {at_once} idle connections: nginx `keepalive {at_once}` (for each worker), \
             Go MaxIdleConnsPerHost, HAProxy pool-max-conn"
        ),
        "the upstream holds that many idle connections more, each perhaps with a thread",
        format!("about {at_once} connections instead of {}", count(exchange.connections)),
    );
    let mut remedies = vec![match (limited, told) {
        (Some((route, _)), _) => route.more_requests(),
        (None, Some(route)) => route.larger_pool(at_once),
        (None, None) => general,
    }];
    if proxy != Proxy::Says && told.is_none() {
        remedies.push(Remedy::advice(
            "read-to-the-end",
            "If it is a program whose pool is large enough: let it read each response to its end, or the connection \
             cannot be used again",
            "none",
            "connections go back to the pool",
        ));
    }
    Finding {
        rule: "upstream-keepalive-small",
        severity: keeping::severity(exchange),
        confidence: if told.is_some() { Confidence::Certain } else { Confidence::Likely },
        claim: match limited {
            Some((route, limit)) => format!(
                "{} closes each connection to {} after {}: {}, though {} at once would do, and {}",
                route.who(),
                route.to,
                counted(limit, "request", "requests"),
                pace(exchange, Some(http)),
                count(at_once),
                left(exchange)
            ),
            None => format!(
                "The pool of {client} for {server} is too small: {}, though {} at once would do; {client} closes \
                 the surplus, and {}",
                pace(exchange, Some(http)),
                count(at_once),
                left(exchange)
            ),
        },
        subject: TrafficLook::subject(exchange),
        evidence,
        remedies,
        avoid: vec![
            match limited {
                Some(_) => Avoid::new("a longer idle timeout", "they are closed by their requests, not by time"),
                None => Avoid::new("a longer idle timeout", "the surplus is closed for want of a slot, not of time"),
            },
            crate::myths::linger_zero(),
        ],
        next: look.next(exchange, &http.kept),
    }
}
