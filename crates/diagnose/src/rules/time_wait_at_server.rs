//! This host serves and closes first: TIME-WAIT is here, and it costs memory, not ports.
//!
//! ## What it sees
//!
//! TIME-WAIT sockets on one local port that this host serves: from 1,000 if they are five times as many as live
//! connections on it, else from 30,000. Always a note: it says who decided to close, not that something fails.
//!
//! In a capture: 100 connections or more that leave one server in TIME-WAIT, 10 a second or more.
//!
//! Where the files of the nginx or HAProxy that listens there are known, the line that makes it close is named:
//! `keepalive_timeout 0`, `keepalive_requests` of 10 or less, `option httpclose`.
//!
//! ## Why it hurts
//!
//! It does not, by itself. All of them share the one listening port, so no local port is used up, and clients
//! can connect again from the same port at once (a SYN that is newer ends the TIME-WAIT). Each costs 256 bytes:
//! 100,000 are 26 MB. What it may tell is waste: every request pays for a handshake because the server closes
//! after each answer (HTTP/1.0, `Connection: close`, keep-alive off or very short).
//!
//! Two things are worth a look: `tcp_max_tw_buckets` (see `time-wait-table-small`), and clients behind NAT
//! whose SYN meets a TIME-WAIT of somebody else (see `syn-meets-time-wait`).
//!
//! ## How to prove it
//!
//! ```sh
//! ss -Htan state time-wait '( sport = :8080 )' | wc -l
//! ss -Htan state time-wait '( sport = :8080 )' | awk '{sub(/:[0-9]*$/, "", $4); print $4}' | sort | uniq -c
//! nstat -az TcpExtTCPTimeWaitOverflow            # must not rise
//! grep tw_sock /proc/slabinfo
//! ```
//!
//! ## What to do
//!
//! Nothing, if memory allows and clients are happy. To save the handshakes: keep-alive on the server (longer
//! timeout, more requests a connection), and clients that use it. If the connection must end after each
//! request, a protocol in which the client closes first moves TIME-WAIT to the clients.
//!
//! ## What not to do
//!
//! `tcp_tw_recycle` (gone since 4.12) drops clients behind NAT. `tcp_tw_reuse` works for `connect()` only and
//! does nothing here. A smaller `tcp_max_tw_buckets` trades memory for resets. `tcp_rfc1337 = 1` takes away the
//! way in which a client clears an old TIME-WAIT, and turns milliseconds into a minute.
//!
//! ## Sources
//!
//! RFC 9293 section 3.6.1; RFC 1337; net/ipv4/tcp_minisocks.c `tcp_timewait_state_process()`; measured on Linux
//! 6.18: 256 bytes of slab each (100,000 in 28 MB with the clients' buckets), 12 reconnects from one client port.

use crate::budget::{Pace, restarted_timers};
use crate::packets::{self, TrafficLook, per_second};
use crate::place::Place;
use crate::served::{self, Served};
use crate::wording::{count, counted, memory, rate};
use crate::{Avoid, Confidence, Evidence, Finding, Look, Remedy, Severity, Subject, Verdict, myths};
use evidence::{System, Endpoint, Exchange, Group, Role, Unseen};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use tcp::State;
use tcp::profile::linux;

/// So many on one port say that this host closes first as a habit...
const MANY: u32 = 1_000;
/// ...if most connections do not live longer than their TIME-WAIT.
const TIMES_LIVE: u64 = 5;
/// So many whatever lives: 7.7 MB.
const VERY_MANY: u32 = 30_000;
/// So many peers are named.
const NAMED: usize = 3;
/// In a capture: fewer on one port are not a habit...
const CAPTURED: u64 = 100;
/// ...and slower ones keep 600 in TIME-WAIT at most.
const CAPTURED_PER_SECOND: f64 = 10.0;

pub(super) fn check(look: &Look<'_>) -> Verdict {
    let mut ports = BTreeMap::<Option<u16>, Vec<&Group>>::new();
    for group in look.namespace.sockets.groups.iter().filter(|group| group.role == Role::Server) {
        ports.entry(group.local.port).or_default().push(group);
    }
    let mut found: Vec<(u32, Option<u16>, Vec<&Group>)> = ports
        .into_iter()
        .filter_map(|(port, groups)| {
            let time_wait = time_waits(&groups);
            let live: u64 = groups.iter().map(|group| group.states.live()).sum();
            let habit = time_wait >= MANY && u64::from(time_wait) >= live * TIMES_LIVE;
            (habit || time_wait >= VERY_MANY).then_some((time_wait, port, groups))
        })
        .collect();
    found.sort_by_key(|(time_wait, ..)| Reverse(*time_wait));
    let findings = found.iter().map(|(time_wait, port, groups)| finding(look, *time_wait, *port, groups));
    look.found_or(findings.collect(), &[Unseen::Sockets])
}

fn time_waits(groups: &[&Group]) -> u32 {
    groups.iter().fold(0, |sum, group| sum.saturating_add(group.states.of(State::TimeWait)))
}

fn finding(look: &Look<'_>, time_wait: u32, port: Option<u16>, groups: &[&Group]) -> Finding {
    let place = Place::Port(port);
    let holder = look.holder(groups.iter().copied(), &State::ALL).map(|(process, _)| process);
    let listening = || {
        let listeners = &look.namespace.sockets.listeners;
        let process =
            listeners.iter().filter(|listener| listener.address.port == port).find_map(|l| l.process)?;
        look.process(process)
    };
    let server = holder.or_else(listening);
    let who =
        server.map_or("the server".to_owned(), |process| format!("{} (pid {})", process.name, process.pid));
    let closes = Pace::of_groups(groups.iter().copied(), look.namespace.settings.time_wait());
    let Pace { per_second: speed, over_s, .. } = closes;
    let live: u64 = groups.iter().map(|group| group.states.live()).sum();
    let system = look.namespace.settings.system;
    let cost = cost(system, u64::from(time_wait) * linux::TIME_WAIT_BYTES.value);
    let mut evidence = vec![
        Evidence::new("sock_diag", format!("{} in TIME-WAIT, {} live", count(time_wait), count(live))),
        Evidence::new("sock_diag", peers(groups)),
    ];
    if over_s > 0 {
        let says = format!("{} closes a second over {over_s} s", rate(speed));
        evidence.push(Evidence::new(closes.source(), says));
        evidence.extend(restarted_timers(look.namespace));
    }
    evidence.extend(look.set("net.ipv4.tcp_max_tw_buckets"));
    let told = served::hardly_kept(look.case, &look.namespace.name, port);
    evidence.extend(told.as_ref().and_then(Served::says));
    Finding {
        rule: "time-wait-at-server",
        severity: Severity::Note,
        confidence: Confidence::Certain,
        claim: format!(
            "{} closes first {}, {} a second: {} in TIME-WAIT cost {cost} and no local port",
            server.map_or("An unknown server", |_| who.as_str()),
            place.preposition(),
            rate(speed),
            count(time_wait)
        ),
        subject: Subject {
            process: server.map(|process| process.name.clone()),
            pid: server.map(|process| process.pid),
            ..place.into_subject(look.subject())
        },
        evidence,
        remedies: remedies(&who, told.as_ref()),
        avoid: avoid(),
        next: Some(look.command(format!("ss -tan state time-wait {}", place.filter()).trim_end())),
    }
}

/// What these bytes are: the size of a TIME-WAIT is known of Linux only.
fn cost(system: System, bytes: u64) -> String {
    if system.is_linux() { format!("{} of memory", memory(bytes)) } else { "memory".to_owned() }
}

fn remedies(who: &str, told: Option<&Served<'_>>) -> Vec<Remedy> {
    let keep = Remedy::advice(
        "keep-connections",
        format!(
            "To save handshakes, let {who} keep connections open between requests (keep-alive), longer than clients pause"
        ),
        "idle connections cost more memory each than TIME-WAIT does; limit their number",
        "fewer connections for the same requests; nothing fails if it stays as it is",
    );
    vec![
        match told {
            Some(told) => told.carried_out(keep),
            None => keep,
        },
        Remedy::advice(
            "let-the-client-close",
            "Or let clients close first where the protocol allows it",
            "TIME-WAIT and a local port are then at the client: many requests from few clients will miss them",
            "no TIME-WAIT here",
        ),
    ]
}

fn avoid() -> Vec<Avoid> {
    vec![
        myths::recycle(),
        myths::reuse_where_nobody_connects(),
        myths::smaller_table(),
        myths::ignore_resets(),
    ]
}

fn peers(groups: &[&Group]) -> String {
    let mut peers = BTreeMap::<String, u32>::new();
    for group in groups {
        let time_wait = group.states.of(State::TimeWait);
        if time_wait > 0 {
            let peer = group
                .remote
                .address
                .map_or("peers too many to keep apart".to_owned(), |address| address.to_string());
            let sum = peers.entry(peer).or_default();
            *sum = sum.saturating_add(time_wait);
        }
    }
    let all = peers.len();
    let mut peers: Vec<(String, u32)> = peers.into_iter().collect();
    peers.sort_by_key(|(_, time_wait)| Reverse(*time_wait));
    let named: Vec<String> = peers
        .iter()
        .take(NAMED)
        .map(|(peer, time_wait)| format!("{} with {peer}", count(*time_wait)))
        .collect();
    if all > NAMED {
        format!("of {} peers, most: {}", count(all as u64), named.join(", "))
    } else {
        named.join(", ")
    }
}

pub(super) fn check_traffic(look: &TrafficLook<'_>) -> Verdict {
    let mut servers = BTreeMap::<Endpoint, Vec<&Exchange>>::new();
    for exchange in look.traffic.exchanges.iter().filter(|exchange| left(exchange) > 0) {
        servers.entry(exchange.server).or_default().push(exchange);
    }
    let many = servers.into_iter().filter_map(|(server, exchanges)| {
        let time_wait = exchanges.iter().fold(0, |sum: u64, exchange| sum.saturating_add(left(exchange)));
        // Exchanges are not all at the same time: the whole capture is.
        let longest = exchanges.iter().map(|exchange| exchange.length_ms).max().unwrap_or(0);
        let speed = match exchanges.as_slice() {
            [_] => per_second(time_wait, longest),
            _ => per_second(time_wait, look.traffic.length_ms.max(longest)),
        };
        (time_wait >= CAPTURED && speed >= CAPTURED_PER_SECOND)
            .then(|| (time_wait, captured(look, server, &exchanges, time_wait, speed)))
    });
    look.most(many.collect())
}

fn left(exchange: &Exchange) -> u64 {
    exchange.time_wait_at.server.saturating_add(exchange.time_wait_at.both)
}

fn captured(
    look: &TrafficLook<'_>,
    server: Endpoint,
    exchanges: &[&Exchange],
    time_wait: u64,
    speed: f64,
) -> Finding {
    let who = packets::server(server);
    let http = exchanges.iter().filter_map(|exchange| exchange.http.as_ref());
    let asked = |clients: bool| {
        http.clone().fold(0_u64, |sum, http| {
            let asked =
                if clients { http.client_asks_to_close.count } else { http.server_asks_to_close.count };
            sum.saturating_add(asked)
        })
    };
    let decided = match (asked(true), asked(false)) {
        (0, 0) => String::new(),
        (clients, servers) if clients >= servers => "; its clients asked it to close".to_owned(),
        _ => format!("; {who} decided to close, by `Connection: close`"),
    };
    let connections = exchanges.iter().fold(0_u64, |sum, exchange| sum.saturating_add(exchange.connections));
    let says = format!(
        "TIME-WAIT is left at the server by {} of {} with {}, {} a second",
        count(time_wait),
        counted(connections, "connection", "connections"),
        counted(exchanges.len() as u64, "client", "clients"),
        rate(speed)
    );
    let examples = exchanges.iter().find_map(|exchange| {
        let http = exchange.http.as_ref()?;
        let some = [&http.client_asks_to_close, &http.server_asks_to_close, &http.kept];
        Some((*exchange, some.into_iter().max_by_key(|some| some.count)?))
    });
    let mut evidence = vec![look.sums(says)];
    evidence.extend(examples.into_iter().flat_map(|(_, some)| look.shows(some, "such connections")));
    let in_the_end = speed * linux::TIME_WAIT.value.as_secs_f64();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float saturates")]
    let bytes = (in_the_end * linux::TIME_WAIT_BYTES.value as f64) as u64;
    Finding {
        rule: "time-wait-at-server",
        severity: Severity::Note,
        confidence: Confidence::Certain,
        claim: format!(
            "{who} closes first: {} connections a second leave it in TIME-WAIT, which costs {} in the end and no local \
             port{decided}",
            rate(speed),
            cost(look.case.host.system, bytes)
        ),
        subject: Subject {
            destination: (server != Endpoint::default()).then(|| server.to_string()),
            ..Subject::default()
        },
        evidence,
        remedies: remedies(&who, None),
        avoid: avoid(),
        next: examples.and_then(|(exchange, some)| look.next(exchange, some)),
    }
}
