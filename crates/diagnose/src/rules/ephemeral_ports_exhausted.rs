//! The local ports for one destination are spent or will be in seconds: `connect()` fails with EADDRNOTAVAIL.
//!
//! ## What it sees
//!
//! For each (source address, destination address and port) the ports of `ip_local_port_range` without the
//! reserved ones, and what holds them: TIME-WAIT, live connections, and ports that `bind()` took, which are
//! lost to *every* destination. The time that TIME-WAIT sockets have left is the record of closes per second
//! over the last minute; from it follow the rate and the second in which no port is left.
//!
//! That `bind()` took the port of a connection is inferred, and said to be likely, where ports lie in the half
//! that `bind()` tries first while the other has room, and not about as many in both; or where several
//! destinations have ports in both halves, four of five ports of each half are held, and hardly one to two
//! destinations: `connect()` would give the same port to several (of the first 8 local addresses).
//!
//! It is an error when no port is left, from 98 % on, or when the last goes in less than 10 s; a warning from
//! 80 %, in less than 60 s, or past the knee: `connect()` first walks the ports of one parity and, when
//! that half is used up, walks it in vain each time: about 0.9 ms instead of 7 us with the default range.
//! Where no connection has a port, it looks at the range itself: all reserved, or held by `bind()` to as much.
//! Ports that `tcp_tw_reuse` gives back do not count as taken. It gives none back to a destination without
//! timestamps, which the ports of both halves tell, or the SYN-ACKs of a capture (`--capture`). A rate is
//! believed after five seconds, so that a burst is no forecast.
//!
//! A program's own range (`IP_LOCAL_PORT_RANGE`, Linux 6.3) is not seen: no socket shows it. Its `connect()` fails
//! when that range is used up, whatever room the host's has; `strace -e trace=setsockopt` shows who sets one.
//!
//! ## Why it hurts
//!
//! `connect()` fails with EADDRNOTAVAIL ("cannot assign requested address"), at once and without a packet;
//! with `bind()` before it, `bind()` fails with EADDRINUSE. **No counter of the kernel moves.** Without
//! `tcp_tw_reuse` a destination takes ports / 60 s connections a second for ever: 470 by default.
//!
//! ## How to prove it
//!
//! ```sh
//! ss -Htan '( dst 10.0.0.2:80 )' | awk '{print $1}' | sort | uniq -c
//! sysctl net.ipv4.ip_local_port_range net.ipv4.ip_local_reserved_ports net.ipv4.tcp_tw_reuse
//! strace -f -e trace=connect,bind -p PID    # EADDRNOTAVAIL at connect, EADDRINUSE at bind
//! lastack doctor --for 10s
//! ```
//!
//! ## What to do
//!
//! In this order: keep connections (a pool, HTTP keep-alive: one connection for many requests); let the other
//! side close first, so that TIME-WAIT is there; connect to more addresses or ports of the service; use more
//! source addresses, with `IP_BIND_ADDRESS_NO_PORT` before `bind()`, or `bind()` takes the port for all
//! destinations; widen the range, after reserving the ports of services inside it; `tcp_tw_reuse = 1`, which
//! needs timestamps on both sides. Doubling the ports doubles the rate; a pool removes the limit.
//!
//! ## What not to do
//!
//! `tcp_fin_timeout` does not shorten TIME-WAIT. A smaller `tcp_max_tw_buckets` frees ports by closing without
//! TIME-WAIT. `tcp_tw_recycle` drops clients behind NAT and is gone since 4.12. `SO_LINGER` with 0 s resets.
//!
//! ## Sources
//!
//! RFC 9293 section 3.6.1 (TIME-WAIT); net/ipv4/inet_hashtables.c `__inet_hash_connect()`; net/ipv4/tcp_ipv4.c
//! `tcp_twsk_unique()`; measured on Linux 6.18: exactly as many connections as ports, the knee at half of
//! them, and an empty difference of all counters while `connect()` fails.

use crate::budget::restarted_timers;
use crate::wording::{count, counted, length, percent, rate, share};
use crate::{
    Applicability, Avoid, Budget, Confidence, Evidence, Finding, Look, Remedy, Reuse, Severity, Verdict,
};
use crate::{Change, Subject, myths};
use evidence::{PortRange, Unseen};
use std::time::Duration;
use tcp::profile::linux;

/// Fewer taken ports are no trouble, however small the range, unless none is left.
const NOISE: u32 = 10;
/// What is left then goes with the next burst: connections of one second in most services.
const SPENT: f64 = 0.98;
/// One port in five left is less than what a retry storm takes.
const NEARLY_SPENT: f64 = 0.8;
/// Nobody reacts in less.
const ERROR_S: f64 = 10.0;
/// One TIME-WAIT: what is taken from now on does not come back before.
const WARNING_S: f64 = 60.0;
/// Bound ports that were not seen could matter from here on.
const HALF_SPENT: f64 = 0.4;
/// So many destinations are named one by one; the rest are as full or less.
const MAX_FINDINGS: usize = 5;
/// A wider range starts here: above the ports that services are usually given.
const WIDE: PortRange = PortRange { first: 10_240, last: u16::MAX };
/// A range that grows by less is not worth the change.
const WORTH_WIDENING: f64 = 1.2;

pub(super) fn check(look: &Look<'_>) -> Verdict {
    let mut worst: Vec<(Severity, &Budget)> =
        look.budgets.iter().filter_map(|budget| Some((severity(budget)?, budget))).collect();
    worst.sort_by_key(|(severity, _)| std::cmp::Reverse(*severity));
    // What bind() took is the same for every destination: say it once.
    let mut poisoned = false;
    worst.retain(|(_, budget)| !mostly_bound(budget) || !std::mem::replace(&mut poisoned, true));
    let more = worst.len().saturating_sub(MAX_FINDINGS);
    let mut findings: Vec<Finding> = (worst.iter().take(MAX_FINDINGS))
        .enumerate()
        .map(|(place, (severity, budget))| {
            let more = if place + 1 == MAX_FINDINGS { more } else { 0 };
            finding(look, *severity, budget, more)
        })
        .collect();
    if findings.is_empty() && look.gap(Unseen::Settings).is_none() {
        findings.extend(to_any(look));
    }
    let bound_matters =
        look.budgets.iter().any(|budget| fullness(budget) >= HALF_SPENT && budget.taken >= NOISE);
    let needed: &[Unseen] = if bound_matters {
        &[Unseen::Sockets, Unseen::Settings, Unseen::BoundPorts]
    } else {
        &[Unseen::Sockets, Unseen::Settings]
    };
    match look.found_or(findings, needed) {
        Verdict::Quiet if look.namespace.sockets.folded > 0 => Verdict::Unknown {
            because: format!(
                "the destinations of {} are not kept apart, or not known",
                counted(look.namespace.sockets.folded, "socket", "sockets")
            ),
            how_to_see: look
                .command("ss -Htan state time-wait | awk '{print $4}' | sort | uniq -c | sort -n"),
        },
        verdict => verdict,
    }
}

fn fullness(budget: &Budget) -> f64 {
    share(budget.blocked(), budget.ports)
}

/// True if another destination would be nearly as full: the ports are lost to all of them.
fn mostly_bound(budget: &Budget) -> bool {
    let bound = u64::from(budget.bound) + u64::from(budget.bound_likely);
    bound * 2 > u64::from(budget.blocked())
}

fn runs_out_within(budget: &Budget, seconds: f64) -> bool {
    budget.rate_lasts && budget.seconds_left.is_some_and(|left| left < seconds)
}

/// How bad a budget is, if it is bad.
pub(super) fn severity(budget: &Budget) -> Option<Severity> {
    // Without ports nothing is drawn from the range: what is connected has bound its port itself.
    if budget.ports == 0 {
        return None;
    }
    if budget.left() == 0 {
        return Some(Severity::Error);
    }
    if budget.blocked() < NOISE {
        return None;
    }
    if fullness(budget) >= SPENT || runs_out_within(budget, ERROR_S) {
        Some(Severity::Error)
    } else if fullness(budget) >= NEARLY_SPENT || budget.past_knee || runs_out_within(budget, WARNING_S) {
        Some(Severity::Warning)
    } else {
        None
    }
}

/// The range itself has no port to give, whatever the destination: there may be no connection that shows it.
fn to_any(look: &Look<'_>) -> Option<Finding> {
    const RESERVED: &str = "net.ipv4.ip_local_reserved_ports";
    let settings = &look.namespace.settings;
    settings.text("net.ipv4.ip_local_port_range")?;
    let range = settings.local_port_range();
    let ports = range.halves_without(&settings.reserved_ports()).total();
    let bound = look.namespace.sockets.bound;
    let taken = bound.all.total().min(ports);
    let full = share(taken, ports);
    if ports > 0 && (full < NEARLY_SPENT || taken < NOISE && taken < ports) {
        return None;
    }
    let fails = "connect() fails with EADDRNOTAVAIL, whatever the destination";
    let (severity, claim) = if ports == 0 {
        let claim = format!("All {} local ports are reserved: {fails}", count(range.ports()));
        (Severity::Error, claim)
    } else {
        let held = if taken == ports {
            format!("All {} local ports are held by bind(): {fails}", count(ports))
        } else {
            format!(
                "{} of {} local ports are held by bind() ({}) and lost to every destination",
                count(taken),
                count(ports),
                percent(taken, ports)
            )
        };
        (if full >= SPENT { Severity::Error } else { Severity::Warning }, held)
    };
    let mut evidence =
        vec![Evidence::new("net.ipv4.ip_local_port_range", said(&look.namespace.settings))];
    evidence.extend(look.set(RESERVED).filter(|_| ports < range.ports()));
    if taken > 0 {
        let says = format!(
            "{} held by listening sockets, {} by sockets that are bound and not connected",
            counted(bound.listening.total(), "port is", "ports are"),
            count(bound.idle.unwrap_or_default().total())
        );
        evidence.push(Evidence::new("sock_diag", says));
    }
    let remedy = if ports == 0 {
        Remedy::advice(
            "reserve-less",
            format!("Take ports out of {RESERVED}, or widen the range beyond them"),
            "a service whose port is reserved no more may find it taken when it starts",
            "each port serves one connection to each destination",
        )
    } else {
        Remedy::advice(
            "close-what-is-bound",
            "Close sockets that are bound and not used, and move services below the range",
            "clients of a service that moves must learn its port",
            "each port comes back for every destination",
        )
    };
    Some(Finding {
        rule: "ephemeral-ports-exhausted",
        severity,
        confidence: Confidence::Certain,
        claim,
        subject: look.subject(),
        evidence,
        remedies: vec![remedy],
        avoid: vec![Avoid::new("tcp_tw_reuse, tcp_fin_timeout", "no TIME-WAIT is involved")],
        next: Some(look.command(if ports == 0 {
            "sysctl net.ipv4.ip_local_reserved_ports"
        } else if bound.listening.total() * 2 > taken {
            "ss -Htlnp"
        } else {
            // -B lists what is bound and neither listens nor is connected.
            "ss -tanp -B    # iproute2 6.7 or newer"
        })),
    })
}

fn confidence(budget: &Budget) -> Confidence {
    // Would the verdict be the same without what was inferred, and without the forecast?
    let certain = share(budget.blocked().saturating_sub(budget.bound_likely), budget.ports);
    if certain >= NEARLY_SPENT || budget.past_knee { Confidence::Certain } else { Confidence::Likely }
}

fn finding(look: &Look<'_>, severity: Severity, budget: &Budget, more: usize) -> Finding {
    let mut evidence = evidence(look, budget);
    if more > 0 {
        let says = format!(
            "{} are in this state, too",
            counted(more as u64, "more destination", "more destinations")
        );
        evidence.push(Evidence::new("sock_diag", says));
    }
    let owner = budget.owners.first();
    Finding {
        rule: "ephemeral-ports-exhausted",
        severity,
        confidence: confidence(budget),
        claim: claim(budget),
        subject: Subject {
            source: Some(budget.source.clone()),
            destination: Some(budget.destination.clone()),
            process: owner.map(|owner| owner.process.clone()),
            pid: owner.map(|owner| owner.pid),
            ..look.subject()
        },
        evidence,
        remedies: remedies(look, budget),
        avoid: avoid(look),
        next: Some(look.command(&format!("ss -tanp '( dst {} )'", budget.destination))),
    }
}

/// `960 TIME-WAIT, 30 established`: what holds the ports, the largest part first.
fn holders(budget: &Budget) -> String {
    let mut parts = [
        (budget.time_wait - budget.reusable.min(budget.time_wait), "in TIME-WAIT"),
        (budget.established, "established"),
        (budget.other, "in other states"),
        (budget.bound, "held by bind()"),
        (budget.bound_likely, "likely held by bind()"),
    ];
    parts.sort_by_key(|(ports, _)| std::cmp::Reverse(*ports));
    let named: Vec<String> = parts
        .iter()
        .filter(|(ports, _)| *ports > 0)
        .map(|(ports, by)| format!("{} {by}", count(*ports)))
        .collect();
    named.join(", ")
}

fn claim(budget: &Budget) -> String {
    let ends = format!("from {} to {}", budget.source, budget.destination);
    let by = budget.opened_by().map(|by| format!(", opened by {by}")).unwrap_or_default();
    let (blocked, ports) = (budget.blocked(), budget.ports);
    let taken = if budget.left() == 0 {
        format!("All {} local ports {ends} are taken", count(ports))
    } else {
        format!(
            "{} of {} local ports {ends} are taken ({})",
            count(blocked),
            count(ports),
            percent(blocked, ports)
        )
    };
    format!("{taken}: {}{by}{}", holders(budget), outlook(budget))
}

fn outlook(budget: &Budget) -> String {
    let speed = format!("{} closes a second", rate(budget.closes_per_second));
    match budget.seconds_left {
        Some(0.0) if budget.bound_before_connect > 0 => {
            "; connect() fails with EADDRNOTAVAIL, bind() before it with EADDRINUSE".to_owned()
        }
        Some(0.0) => "; connect() fails with EADDRNOTAVAIL".to_owned(),
        Some(left) if !budget.rate_lasts => format!(
            "; if it goes on as in the last {} s, at {speed}, the last is taken in {}",
            budget.rate_over_s,
            length(Duration::from_secs_f64(left.min(1e6)))
        ),
        Some(left) => {
            format!("; at {speed} the last is taken in {}", length(Duration::from_secs_f64(left.min(1e6))))
        }
        None if budget.rate_lasts => {
            format!("; at {speed} they come free as fast as they are taken")
        }
        None if budget.lacks_ages() => {
            format!("; {speed} in the last {} s, and how it goes on only their ages tell", budget.rate_over_s)
        }
        None if budget.closes_per_second >= 1.0 => "; the closes have stopped".to_owned(),
        None => "; few of them close".to_owned(),
    }
}

fn evidence(look: &Look<'_>, budget: &Budget) -> Vec<Evidence> {
    let mut all = vec![Evidence::new(
        "sock_diag",
        format!("{} of {} ports: {}", count(budget.blocked()), count(budget.ports), holders(budget)),
    )];
    if let Some(ago) = budget.peak_seconds_ago {
        let says = format!(
            "{} closes a second over {} s, at most {} in one second ({ago} s ago)",
            rate(budget.closes_per_second),
            budget.rate_over_s,
            count(budget.peak_per_second),
        );
        all.push(Evidence::new("TIME-WAIT timers", says));
        all.extend(restarted_timers(look.namespace));
    }
    if budget.reusable > 0 {
        let says = format!("lets connect() take {} of the ports in TIME-WAIT", count(budget.reusable));
        all.push(Evidence::new("net.ipv4.tcp_tw_reuse", says));
    }
    if budget.reuse == Reuse::PeerWithoutTimestamps {
        let says = format!(
            "{} to {} offered timestamps and got none: tcp_tw_reuse gives no port back",
            counted(budget.without_timestamps, "connection", "connections"),
            budget.destination
        );
        all.push(Evidence::new("capture", says));
    }
    if budget.past_knee {
        // The cost is that of walking the half, so it goes with the number of ports.
        let default = PortRange::default().ports();
        let walk = linux::CONNECT_PAST_KNEE_US.value * u64::from(budget.ports) / u64::from(default);
        let says = format!(
            "the half of the ports that connect() tries first is used up: each connect() walks it in vain, about {} us \
             instead of {}",
            count(walk.max(linux::CONNECT_BEFORE_KNEE_US.value)),
            linux::CONNECT_BEFORE_KNEE_US.value,
        );
        all.push(Evidence::new("sock_diag", says));
    }
    let by_half = budget.bound_likely.saturating_sub(budget.unshared);
    if by_half > 0 {
        let says = format!(
            "{} of other destinations lie in the half that bind() tries first, while the other half has room",
            counted(by_half, "port", "ports")
        );
        all.push(Evidence::new("sock_diag", says));
    }
    if budget.unshared > 0 {
        let says = format!(
            "{} of other destinations: hardly a port of the range is free, and hardly one is held to two destinations, \
             as ports that connect() chose would be",
            counted(budget.unshared, "port", "ports")
        );
        all.push(Evidence::new("sock_diag", says));
    }
    all.push(Evidence::new("net.ipv4.ip_local_port_range", said(&look.namespace.settings)));
    if budget.reserved > 0 {
        let says = format!("takes {} out of the range", counted(budget.reserved, "port", "ports"));
        all.push(Evidence::new("net.ipv4.ip_local_reserved_ports", says));
    }
    all
}

/// What the range is, and whether that was seen.
fn said(settings: &evidence::Settings) -> String {
    let range = settings.local_port_range();
    let by_default = match settings.text("net.ipv4.ip_local_port_range") {
        Some(_) => "",
        None => ", by default: it was not seen",
    };
    format!("is {} to {}{by_default}", range.first, range.last)
}

fn avoid(look: &Look<'_>) -> Vec<Avoid> {
    let time_wait = look.namespace.settings.time_wait();
    vec![myths::lower_fin_timeout(time_wait), myths::smaller_table(), myths::recycle(), myths::linger_zero()]
}

fn remedies(look: &Look<'_>, budget: &Budget) -> Vec<Remedy> {
    let who = budget.opened_by().unwrap_or_else(|| "the program that connects".to_owned());
    let time_wait = length(look.namespace.settings.time_wait());
    let mut all = Vec::new();
    // A listener needs its port; only what bind() holds besides could be left to connect().
    let listening = look.namespace.sockets.bound.listening.total();
    let poisoned = (budget.bound + budget.bound_likely > listening).then(|| no_port(look, budget));
    if mostly_bound(budget) {
        all.extend(poisoned.clone());
    }
    if budget.established + budget.other > budget.time_wait {
        all.push(Remedy::advice(
            "fewer-connections",
            format!("Let {who} carry more over each connection (HTTP/2, pipelining) or cap its pool"),
            "requests wait for a connection if the cap is too low",
            "each connection that is not opened leaves its port",
        ));
    } else {
        all.push(Remedy::advice(
            "keep-connections",
            format!("Let {who} keep its connections to {}: a pool, HTTP keep-alive", budget.destination),
            "a kept connection may be closed by the peer while idle: keep it shorter than the peer does",
            format!(
                "one port for each connection that is in use at once, instead of one for {time_wait} each"
            ),
        ));
        all.push(Remedy::advice(
            "let-the-peer-close",
            format!("Let {} close first where connections cannot be kept", budget.destination),
            format!(
                "TIME-WAIT is then at the peer, where it costs {} B of memory each",
                linux::TIME_WAIT_BYTES.value
            ),
            "ports come free at once",
        ));
    }
    all.push(Remedy::advice(
        "more-destinations",
        "Spread the connections over more addresses or ports of the service",
        "none here; the service must listen on them",
        format!("{} more ports for each address or port", count(budget.ports)),
    ));
    all.push(Remedy::advice(
        "more-source-addresses",
        "Connect from more local addresses: IP_BIND_ADDRESS_NO_PORT, then bind() to the address and port 0",
        "without IP_BIND_ADDRESS_NO_PORT, bind() takes the port for every destination",
        format!("{} more ports for each address", count(budget.ports)),
    ));
    if !mostly_bound(budget) {
        all.extend(poisoned);
    }
    all.extend(wider_range(look, budget));
    all.extend(reuse(look, budget));
    all
}

fn no_port(look: &Look<'_>, budget: &Budget) -> Remedy {
    let ports = budget.bound + budget.bound_likely;
    let culprit = (look.budgets.iter())
        .filter(|other| other.bound_before_connect > 0)
        .max_by_key(|other| other.bound_before_connect);
    let where_to = culprit.map_or_else(
        || "on sockets that bind() an address before connect()".to_owned(),
        |other| {
            let who = other.opened_by().map(|by| format!("{by}, ")).unwrap_or_default();
            format!(
                "where bind() comes before connect(): most likely in {who}the connections to {}",
                other.destination
            )
        },
    );
    Remedy::advice(
        "bind-address-no-port",
        format!("Set IP_BIND_ADDRESS_NO_PORT {where_to}, or leave out the bind()"),
        "none: the port is then chosen by connect(), which knows the destination",
        format!(
            "up to {} come back for every destination as those sockets end",
            counted(ports, "port", "ports")
        ),
    )
}

fn wider_range(look: &Look<'_>, budget: &Budget) -> Option<Remedy> {
    let settings = &look.namespace.settings;
    let now = settings.local_port_range();
    let wide = PortRange { first: now.first.min(WIDE.first), last: WIDE.last };
    if f64::from(wide.ports()) < f64::from(now.ports()) * WORTH_WIDENING {
        return None;
    }
    let reserved = settings.reserved_ports();
    let inside: Vec<u16> = super::listener_in_ephemeral_range::named_ports(look)
        .into_iter()
        .filter(|port| wide.contains(*port) && !reserved.contains(*port))
        .collect();
    let range = look.change("net.ipv4.ip_local_port_range", format!("{}\t{}", wide.first, wide.last));
    let reserve = super::listener_in_ephemeral_range::reserve(look, &inside);
    // First reserve, then widen. If what listens inside cannot be reserved, a person must decide.
    let changes: Vec<Change> = if inside.is_empty() || reserve.is_some() {
        range.map(|range| reserve.into_iter().chain([range]).collect()).unwrap_or_default()
    } else {
        Vec::new()
    };
    let mut all = reserved;
    all.extend(inside.iter().copied());
    let ports = wide.halves_without(&all).total();
    // What listens in the wider range may leave nothing to gain.
    if f64::from(ports) < f64::from(budget.ports) * WORTH_WIDENING {
        return None;
    }
    let steady = |ports: u32| rate(f64::from(ports) / settings.time_wait().as_secs_f64());
    let advice = Remedy::advice(
        "wider-port-range",
        if inside.is_empty() {
            format!("Widen the range of local ports to {} to {}", wide.first, wide.last)
        } else {
            format!(
                "Widen the range of local ports to {} to {}, and reserve what listens inside it ({})",
                wide.first,
                wide.last,
                counted(inside.len() as u64, "port", "ports")
            )
        },
        "a service that is not running now and whose port lies in the new range may fail to start (EADDRINUSE): \
         reserve its port first",
        format!(
            "{} ports instead of {}: {} connections a second for ever instead of {}",
            count(ports),
            count(budget.ports),
            steady(ports),
            steady(budget.ports)
        ),
    );
    Some(advice.carried_out(
        Applicability::Unsafe,
        changes,
        &[
            "TcpExtTCPTimeWaitOverflow does not rise: more TIME-WAIT sockets fit the range now",
            "services restart on their ports without EADDRINUSE",
        ],
    ))
}

fn reuse(look: &Look<'_>, budget: &Budget) -> Option<Remedy> {
    if !matches!(budget.reuse, Reuse::Off | Reuse::LoopbackOnly)
        || !look.namespace.settings.timestamps()
        || budget.without_timestamps > 0
    {
        return None;
    }
    // It gives back TIME-WAIT only.
    if budget.time_wait * 2 < budget.blocked() {
        return None;
    }
    let change = look.change("net.ipv4.tcp_tw_reuse", 1)?;
    let settings = &look.namespace.settings;
    let advice = Remedy::advice(
        "tw-reuse",
        "Let connect() take ports whose TIME-WAIT is old enough: tcp_tw_reuse = 1",
        "none as long as the timestamps of both ends only grow; does nothing if the peer has none, and a NAT that \
         hands the same ports to several hosts breaks it",
        format!(
            "a port can be taken again after {} instead of {}",
            length(settings.tw_reuse_delay()),
            length(settings.time_wait())
        ),
    );
    Some(advice.carried_out(
        Applicability::Unsafe,
        [change],
        &[
            "TcpExtTWRecycled rises: it is used",
            "TcpExtTCPSynRetrans does not rise faster than before",
            "TcpAttemptFails does not rise faster than before",
        ],
    ))
}
