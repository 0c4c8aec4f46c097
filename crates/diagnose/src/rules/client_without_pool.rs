//! A client opens a connection for each request, to the same server, again and again.
//!
//! ## What it sees
//!
//! In a capture, from one address to one server, 1.5 connections a second or more which the client closes first:
//! - HTTP: 20 or more with one request each, though neither side asks to close (likely); or which it asks the server
//!   to close, if the sockets of its host show that it is no proxy: nobody listens there, or the program is another;
//! - anything else (TLS, databases, caches): 100 or more that live for less than a second on average (possible:
//!   what they carry cannot be read).
//!
//! It is a warning from 10 a second, else a note. A client that is a proxy is told by
//! `upstream-keepalive-unpooled`, and so is one that has three connections or more in use at once, unless
//! `lastack doctor --capture` saw the program that its sockets belong to; one that asks to close, by
//! `upstream-keepalive-off`. Several hosts behind one address, as their timestamps tell, are no one client.
//!
//! ## Why it hurts
//!
//! Each request waits for a handshake (two or three round trips with TLS), begins with a small window, and
//! leaves a TIME-WAIT that holds a local port of the client for 60 s: 28,232 for one server, 470 a second for
//! ever. Then `connect()` fails with EADDRNOTAVAIL.
//!
//! ## How to prove it
//!
//! ```sh
//! lastack read web.pcap --json | jq -c '[.client, .server, .http.requests, .first_closer]'
//! ss -Htan state time-wait '( dst 10.0.0.2:80 )' | wc -l       # on the client
//! ```
//!
//! ## What to do
//!
//! Make the client object once and use it for every request: `requests.Session` (Python; `requests.get()` has
//! none), one `http.Client` (Go) or `reqwest::Client` (Rust), an agent with keepAlive (Node before 19),
//! pconnect or a pooler (PHP, databases). Read each response to its end: a body that was left unread takes its
//! connection with it.
//!
//! ## What not to do
//!
//! Do not set `SO_LINGER` to 0 s, or `tcp_tw_recycle`, to be rid of TIME-WAIT. `tcp_fin_timeout` says nothing of
//! it. `tcp_tw_reuse = 1` gives ports back after a second: relief, while the handshakes go on.
//!
//! ## Sources
//!
//! RFC 9112 section 9.3; RFC 9293 section 3.6.1; Go, net/http/transport.go; Python, requests and urllib3; Little's
//! law for how long connections live.

use crate::keeping::{self, Habit, endings, left, pace, requests};
use crate::packets::{self, TrafficLook};
use crate::wording::count;
use crate::{Confidence, Finding, Verdict};
use evidence::{Counted, Exchange};

pub(super) fn check_traffic(look: &TrafficLook<'_>) -> Verdict {
    let without =
        look.traffic.exchanges.iter().filter_map(|exchange| match keeping::habit(look, exchange)? {
            Habit::NoPool { http, asks } => {
                Some((exchange.connections, finding(look, exchange, http, asks)))
            }
            _ => None,
        });
    look.most(without.collect())
}

fn finding(look: &TrafficLook<'_>, exchange: &Exchange, http: bool, asks: bool) -> Finding {
    let (client, server) = (packets::client(exchange), packets::server(exchange.server));
    let none = Counted::default();
    let http = exchange.http.as_ref().filter(|_| http);
    let shown =
        http.map_or(&none, |http| if asks { &http.client_asks_to_close } else { &http.kept });
    let says = if asks {
        "the client asks to close after its request"
    } else {
        "one request, and the client closes though nobody asks it to"
    };
    let mut evidence = look.shows(shown, says);
    evidence.extend(http.map(|http| requests(look, http)));
    evidence.push(endings(look, exchange));
    let owner = look.owner(exchange);
    evidence.extend(owner.map(|owner| owner.shown(exchange)));
    let lives = if http.is_some() { "" } else { ", each open for less than a second" };
    let mut remedies = vec![keeping::pool_in_the_program()];
    if http.is_some() && owner.is_none() {
        remedies.push(keeping::pool_in_the_proxy(exchange));
    }
    Finding {
        rule: "client-without-pool",
        severity: keeping::severity(exchange),
        confidence: if http.is_some() { Confidence::Likely } else { Confidence::Possible },
        claim: format!(
            "{client} opens a new connection to {server} again and again, and {}: {}{lives}; {}",
            if asks {
                "asks the server to close each".to_owned()
            } else {
                format!("closes {} of them first", count(keeping::closed_by_client(exchange)))
            },
            pace(exchange, http),
            left(exchange)
        ),
        subject: TrafficLook::subject(exchange),
        evidence,
        remedies,
        avoid: keeping::avoid(),
        next: look.next(exchange, shown),
    }
}
