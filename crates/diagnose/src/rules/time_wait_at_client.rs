//! Short connections leave from here, one local port and one TIME-WAIT each.
//!
//! ## What it sees
//!
//! TIME-WAIT sockets of connections that this host opened *and* closed first. It fires if those to one
//! destination hold a quarter of the local ports, if there are 1,000 and five times as many as live
//! connections to it, or from 20,000 over all destinations. It is a warning when the rate of closes would take
//! more than half of the ports in the end (past the knee, see `ephemeral-ports-exhausted`), else a note.
//!
//! The owner of a TIME-WAIT socket is not known to the kernel. It is taken from live connections to the same
//! destination, and from sockets that were seen alive earlier in the look.
//!
//! In a capture: 100 connections or more from one address to one server that leave the client in TIME-WAIT, 10 a
//! second or more. It is a warning when that rate takes more than half of the default port range in the end (235 a
//! second), else a note.
//!
//! ## Why it hurts
//!
//! Each connection costs a handshake and keeps its port for 60 s after the close. Ports are the bound: 28,232 by
//! default for each destination, so 470 connections a second for ever. Memory is not: 512 bytes each here
//! (mini-socket and bind buckets). Many TIME-WAIT sockets alone do not slow the host down.
//!
//! ## How to prove it
//!
//! ```sh
//! ss -Htan state time-wait '( dst 10.0.0.2:80 )' | wc -l
//! ss -Htanp state established '( dst 10.0.0.2:80 )'          # who talks to it
//! lastack doctor --for 10s                                   # owners seen before they close
//! ```
//!
//! ## What to do
//!
//! Keep connections: a pool in the client, keep-alive in a proxy towards its upstream (HTTP/1.1, no
//! `Connection: close`, a pool at least as large as the concurrency). Where connections cannot be kept, let
//! the server close first: TIME-WAIT is then there, without a port, at half the memory.
//!
//! ## What not to do
//!
//! `tcp_fin_timeout` says nothing of TIME-WAIT. A smaller `tcp_max_tw_buckets` and `SO_LINGER` with 0 s avoid
//! TIME-WAIT by breaking closes. `tcp_tw_recycle` breaks clients behind NAT and is gone since Linux 4.12.
//!
//! ## Sources
//!
//! RFC 9293 section 3.6.1 (the side that closes first waits); include/net/tcp.h TCP_TIMEWAIT_LEN; measured on
//! Linux 6.18: 512 bytes of slab for each TIME-WAIT of a client to one destination, and no cost in CPU before
//! half of the ports are taken.

use crate::budget::{Pace, restarted_timers};
use crate::packets::{self, TrafficLook, per_second};
use crate::wording::{count, counted, length, memory, percent, rate, share};
use crate::{Budget, Confidence, Evidence, Finding, Look, Remedy, Reuse, Severity, Subject, Verdict, myths};
use evidence::{Exchange, Role, Settings, Unseen};
use std::time::Duration;
use tcp::State;
use tcp::profile::linux;

/// Of the ports for one destination: half of the way to the knee.
const SHARE: f64 = 0.25;
/// Of a tiny range a quarter is nothing.
const LEAST: u32 = 50;
/// So many to one destination are a habit...
const MANY: u32 = 1_000;
/// ...if they are not what a large pool leaves when it turns over.
const TIMES_LIVE: u32 = 5;
/// Over all destinations; 10 MB.
const MANY_OVER_ALL: u32 = 20_000;
/// What a rate may take in the end before it hurts: the knee.
const HALF: f64 = 0.5;
/// So many destinations are named one by one.
const MAX_FINDINGS: usize = 5;
/// In a capture: fewer to one server are not a habit...
const CAPTURED: u64 = 100;
/// ...and slower ones keep 600 in TIME-WAIT at most.
const CAPTURED_PER_SECOND: f64 = 10.0;

pub(super) fn check(look: &Look<'_>) -> Verdict {
    let mut many: Vec<&Budget> = look.budgets.iter().filter(|budget| fires(budget)).collect();
    many.sort_by_key(|budget| std::cmp::Reverse(budget.time_wait));
    let more = many.len().saturating_sub(MAX_FINDINGS);
    let mut findings: Vec<Finding> =
        many.iter().take(MAX_FINDINGS).map(|budget| to_one(look, budget)).collect();
    if more > 0
        && let Some(last) = findings.last_mut()
    {
        let says = format!("{} more with fewer", counted(more as u64, "destination", "destinations"));
        last.evidence.push(Evidence::new("sock_diag", says));
    }
    if findings.is_empty() {
        findings.extend(to_all(look));
    }
    look.found_or(findings, &[Unseen::Sockets])
}

fn fires(budget: &Budget) -> bool {
    let live = budget.established.saturating_add(budget.other);
    let time_wait = budget.time_wait;
    time_wait >= LEAST && share(time_wait, budget.ports) >= SHARE
        || time_wait >= MANY && time_wait / TIMES_LIVE >= live
}

/// The part of the ports that this rate takes in the end.
fn in_the_end(look: &Look<'_>, budget: &Budget) -> f64 {
    let settings = &look.namespace.settings;
    let each = if budget.reuse == Reuse::Works { settings.tw_reuse_delay() } else { settings.time_wait() };
    budget.closes_per_second * each.as_secs_f64() / f64::from(budget.ports.max(1))
}

fn to_one(look: &Look<'_>, budget: &Budget) -> Finding {
    // Without ages it may have been one burst; the ports are taken all the same.
    let goes_on = budget.rate_lasts || budget.lacks_ages();
    let warning = goes_on && in_the_end(look, budget) > HALF;
    let who = budget.opened_by();
    let owner = budget.owners.first();
    let (source, destination) = (&budget.source, &budget.destination);
    let kept = length(look.namespace.settings.time_wait());
    let claim = format!(
        "{} short connections from {source} to {destination}, {} a second: {} in TIME-WAIT hold {} of {} local \
         ports for {kept} each{}",
        who.as_deref().map_or_else(|| "An unknown process opens".to_owned(), |who| format!("{who} opens")),
        rate(budget.closes_per_second),
        count(budget.time_wait),
        percent(budget.time_wait, budget.ports),
        count(budget.ports),
        cost(look, ", and ", bytes(budget.time_wait, budget.ports)),
    );
    let mut evidence = vec![Evidence::new(
        "sock_diag",
        format!(
            "{} in TIME-WAIT, {} established, {} in other states",
            count(budget.time_wait),
            count(budget.established),
            count(budget.other)
        ),
    )];
    if let Some(ago) = budget.peak_seconds_ago {
        let says = format!(
            "{} closes a second over {} s, at most {} in one second ({ago} s ago)",
            rate(budget.closes_per_second),
            budget.rate_over_s,
            count(budget.peak_per_second)
        );
        evidence.push(Evidence::new("TIME-WAIT timers", says));
        evidence.extend(restarted_timers(look.namespace));
    }
    if budget.reusable > 0 {
        let says = format!("lets connect() take {} of these ports again", count(budget.reusable));
        evidence.push(Evidence::new("net.ipv4.tcp_tw_reuse", says));
    }
    Finding {
        rule: "time-wait-at-client",
        severity: if warning { Severity::Warning } else { Severity::Note },
        confidence: Confidence::Certain,
        claim,
        subject: Subject {
            source: Some(source.clone()),
            destination: Some(destination.clone()),
            process: owner.map(|owner| owner.process.clone()),
            pid: owner.map(|owner| owner.pid),
            ..look.subject()
        },
        evidence,
        remedies: remedies(look, who.as_deref(), destination),
        avoid: avoid(look),
        next: Some(look.command(&format!("ss -tanp '( dst {destination} )'"))),
    }
}

/// What memory they take, where that is known: its sizes are those of Linux.
fn cost(look: &Look<'_>, joined: &str, bytes: u64) -> String {
    let linux = look.namespace.settings.system.is_linux();
    if linux { format!("{joined}{}", memory(bytes)) } else { String::new() }
}

/// Many TIME-WAIT sockets, though not to any one destination.
fn to_all(look: &Look<'_>) -> Option<Finding> {
    let groups = || look.namespace.sockets.groups.iter().filter(|group| group.role == Role::Client);
    let time_wait = groups().fold(0_u32, |sum, group| sum.saturating_add(group.states.of(State::TimeWait)));
    if time_wait < MANY_OVER_ALL {
        return None;
    }
    let destinations = groups().filter(|group| group.states.of(State::TimeWait) > 0).count();
    let pace = Pace::of_groups(groups(), look.namespace.settings.time_wait());
    let Pace { per_second: speed, over_s, .. } = pace;
    let ports = look.namespace.settings.local_port_range().ports();
    let holder = look.holder(groups(), &State::ALL);
    let who = holder.map(|(process, _)| format!("{} (pid {})", process.name, process.pid));
    let mut evidence = vec![Evidence::new(
        "sock_diag",
        format!(
            "{} in TIME-WAIT to {}",
            count(time_wait),
            counted(destinations as u64, "destination", "destinations")
        ),
    )];
    if over_s > 0 {
        let says = format!("{} closes a second over {over_s} s", rate(speed));
        evidence.push(Evidence::new(pace.source(), says));
        evidence.extend(restarted_timers(look.namespace));
    }
    Some(Finding {
        rule: "time-wait-at-client",
        severity: Severity::Note,
        confidence: Confidence::Certain,
        claim: format!(
            "Short connections leave from here to {}, {} a second, most of them by {}: {} in TIME-WAIT{}; no \
             destination is near its number of ports",
            counted(destinations as u64, "destination", "destinations"),
            rate(speed),
            who.as_deref().unwrap_or("an unknown process"),
            count(time_wait),
            cost(look, " cost ", bytes(time_wait, ports)),
        ),
        subject: Subject {
            process: holder.map(|(process, _)| process.name.clone()),
            pid: holder.map(|(process, _)| process.pid),
            ..look.subject()
        },
        evidence,
        remedies: remedies(look, who.as_deref(), "them"),
        avoid: avoid(look),
        next: Some(look.command("ss -Htan state time-wait | awk '{print $4}' | sort | uniq -c | sort -n")),
    })
}

/// Bind buckets are one pair a port, however many destinations share it.
fn bytes(time_wait: u32, ports: u32) -> u64 {
    u64::from(time_wait) * linux::TIME_WAIT_BYTES.value
        + u64::from(time_wait.min(ports)) * linux::BIND_BUCKETS_BYTES.value
}

fn remedies(look: &Look<'_>, who: Option<&str>, destination: &str) -> Vec<Remedy> {
    advice(who.unwrap_or("the program that connects"), destination, look.namespace.settings.time_wait())
}

fn advice(who: &str, destination: &str, time_wait: Duration) -> Vec<Remedy> {
    vec![
        Remedy::advice(
            "keep-connections",
            format!("Let {who} keep its connections to {destination}: a pool, HTTP keep-alive"),
            "a kept connection may be closed by the peer while idle: keep it shorter than the peer does",
            "as many sockets as connections in use at once, and no handshake for each request",
        ),
        Remedy::advice(
            "let-the-peer-close",
            format!("Let {destination} close first where connections cannot be kept"),
            format!(
                "TIME-WAIT is then at the peer, where it costs {} B of memory each",
                linux::TIME_WAIT_BYTES.value
            ),
            format!("no TIME-WAIT and no port held for {} here", length(time_wait)),
        ),
    ]
}

fn avoid(look: &Look<'_>) -> Vec<crate::Avoid> {
    myths_of(look.namespace.settings.time_wait())
}

fn myths_of(time_wait: Duration) -> Vec<crate::Avoid> {
    vec![myths::lower_fin_timeout(time_wait), myths::smaller_table(), myths::recycle(), myths::linger_zero()]
}

pub(super) fn check_traffic(look: &TrafficLook<'_>) -> Verdict {
    let many = look.traffic.exchanges.iter().filter_map(|exchange| {
        let time_wait = exchange.time_wait_at.client.saturating_add(exchange.time_wait_at.both);
        let speed = per_second(time_wait, exchange.length_ms);
        (time_wait >= CAPTURED && speed >= CAPTURED_PER_SECOND)
            .then(|| (time_wait, captured(look, exchange, time_wait, speed)))
    });
    look.most(many.collect())
}

fn captured(look: &TrafficLook<'_>, exchange: &Exchange, time_wait: u64, speed: f64) -> Finding {
    // The settings of a host in a capture are not known: the system of the case, as it comes.
    let system = look.case.host.system;
    let defaults = Settings { system, ..Settings::default() };
    let (kept, ports) = (defaults.time_wait(), defaults.local_port_range().ports());
    let warning = speed * kept.as_secs_f64() > HALF * f64::from(ports);
    let (client, server) = (packets::client(exchange), packets::server(exchange.server));
    let says = format!(
        "TIME-WAIT is left at the client by {} of {}, {} a second",
        count(time_wait),
        counted(exchange.connections, "connection", "connections"),
        rate(speed)
    );
    let mut evidence = vec![look.sums(says)];
    let examples = exchange.http.as_ref().map(|http| {
        if http.client_asks_to_close.count > http.kept.count {
            &http.client_asks_to_close
        } else {
            &http.kept
        }
    });
    evidence.extend(examples.into_iter().flat_map(|some| look.shows(some, "such connections")));
    Finding {
        rule: "time-wait-at-client",
        severity: if warning { Severity::Warning } else { Severity::Note },
        confidence: Confidence::Certain,
        claim: format!(
            "{client} closes first: {} connections a second to {server} leave it in TIME-WAIT, and each holds a local \
             port of {client} for {} ({} has {} for one destination, unless set otherwise)",
            rate(speed),
            length(kept),
            system.name(),
            count(ports)
        ),
        subject: TrafficLook::subject(exchange),
        evidence,
        remedies: advice(&client, &server, kept),
        avoid: myths_of(kept),
        next: examples.and_then(|some| look.next(exchange, some)),
    }
}
