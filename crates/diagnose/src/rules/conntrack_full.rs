//! conntrack's table is full or nearly so, or its NAT finds no free port: packets are dropped.
//!
//! ## What it sees
//!
//! The entries of this network namespace against `nf_conntrack_max`: from 90 % a warning, from 98 % an
//! error, and an error as well if `early_drop` or `drop` rise while it is at 90 %. With room in the table:
//! rises of `early_drop` (it was full for a moment), of `insert_failed` (two connections claimed one tuple:
//! an SNAT has no port left, or packets of one flow raced), of `drop`.
//!
//! conntrack watches packets, not sockets. It has a TIME_WAIT of its own, which lasts 120 s whichever host
//! has the sockets, and whatever their timers are. Its share of the entries is in the evidence.
//!
//! `lastack lint` notes a line of a sysctl file that sets `net.ipv4.ip_conntrack_max` or another `ip_conntrack_*`:
//! kernels since 4.9 do not have these, and what should have been raised is what it was.
//!
//! ## Why it hurts
//!
//! A full table drops the first packet of every new connection through this host, silently but for a line
//! in the kernel's log. A collision of SNAT drops the SYN: no error, and connect() takes 1 s longer.
//!
//! ## How to prove it
//!
//! ```sh
//! dmesg | grep 'nf_conntrack: table full'
//! sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max
//! conntrack -S                                                   # insert_failed, drop, early_drop
//! conntrack -L -p tcp | awk '{print $4}' | sort | uniq -c        # entries by state
//! ```
//!
//! ## What to do
//!
//! Full: raise `nf_conntrack_max` (in the host's own namespace; each entry takes some 300 bytes) and with
//! it `nf_conntrack_buckets`. Mostly TIME_WAIT: `nf_conntrack_tcp_timeout_time_wait` down to the 60 s of
//! sockets. Traffic that needs neither NAT nor state: NOTRACK in the raw table. Few, long connections
//! instead of many short ones help everywhere.
//!
//! No port for SNAT: more source addresses, and random choice of ports (`--random-fully`, nft `masquerade
//! fully-random`). From Linux 6.5 on SNAT may take a port from an entry in TIME_WAIT.
//!
//! ## What not to do
//!
//! No setting of sockets (`tcp_tw_reuse`, `tcp_fin_timeout`) touches conntrack. `conntrack -F` cuts
//! connections that are behind NAT. A short `nf_conntrack_tcp_timeout_established` forgets idle
//! connections: their next packet is INVALID.
//!
//! ## Sources
//!
//! net/netfilter/nf_conntrack_core.c, net/netfilter/nf_conntrack_proto_tcp.c `tcp_timeouts[]`,
//! net/netfilter/nf_nat_core.c; commit adf0516845bc (Linux 4.9) for the old names. Measured on Linux 6.18: a
//! masquerade of 10 ports, the 11th connect() took 1.017 s, `insert_failed` and `drop` up by one.

use crate::configured::ConfigurationLook;
use crate::wording::{clipped, count, counted, length, percent, share};
use crate::{
    Applicability, Avoid, Confidence, Evidence, Finding, Look, Remedy, Severity, Subject, Verdict,
};
use evidence::{Conntrack, Unseen};
use std::time::Duration;
use tcp::profile::linux;

/// From here a burst fills it: raise it now.
const NEARLY: f64 = 0.90;
/// From here the next burst is lost: a limit of 65,536 has 1,300 entries left.
const FULL: f64 = 0.98;
/// Fewer collisions are packets of one flow that raced (two DNS queries from one port).
const SOME: u64 = 3;
/// From this share of the entries on, TIME_WAIT is worth shortening.
const TIME_WAIT_SHARE: f64 = 0.25;

const MAX: &str = "net.netfilter.nf_conntrack_max";
const BUCKETS: &str = "net.netfilter.nf_conntrack_buckets";
const TIME_WAIT: &str = "net.netfilter.nf_conntrack_tcp_timeout_time_wait";

/// The names before 4.9, of which what follows is the same today.
const OLD: [&str; 2] = ["net.ipv4.netfilter.ip_conntrack_", "net.ipv4.ip_conntrack_"];

/// What files set by names that are gone. On a host, whether its kernel is so old that it has them was not looked at.
pub(super) fn check_configuration(look: &ConfigurationLook<'_>) -> Verdict {
    let lines = look.sysctls().filter(|_| look.alone).flat_map(|(files, sysctl)| {
        let set = sysctl.keys.iter().filter_map(move |key| {
            let line = key.winner.as_ref().filter(|line| line.pattern.is_none())?;
            let rest = OLD.iter().find_map(|old| key.name.strip_prefix(old))?;
            Some(of_old(&key.name, rest, &files.at(line.place), &line.value))
        });
        set.collect::<Vec<_>>()
    });
    look.most(lines)
}

fn of_old(name: &str, rest: &str, at: &str, value: &str) -> Finding {
    let (name, today) = (clipped(name), format!("net.netfilter.nf_conntrack_{}", clipped(rest)));
    Finding {
        rule: "conntrack-full",
        severity: Severity::Note,
        confidence: Confidence::Certain,
        claim: format!("{name} is set, which kernels since 4.9 do not have: {today} stays what it is"),
        subject: Subject { setting: Some(name.to_string()), ..Subject::default() },
        evidence: vec![Evidence::new(at, format!("sets it to {}", clipped(value)))],
        remedies: vec![Remedy::advice(
            "name-of-today",
            format!("Write {today} at {at}, and see that the module nf_conntrack is loaded before (modules-load.d)"),
            "what was meant takes effect for the first time",
            "the file does what it says",
        )],
        avoid: Vec::new(),
        next: None,
    }
}

pub(super) fn check(look: &Look<'_>) -> Verdict {
    let Some(conntrack) = &look.namespace.conntrack else {
        return look.quiet_unless_unseen(&[Unseen::Conntrack]);
    };
    let findings: Vec<Finding> =
        [filled(look, conntrack), moved(look, conntrack)].into_iter().flatten().collect();
    if !findings.is_empty() {
        return Verdict::Found(findings);
    }
    let needed: &[Unseen] =
        if conntrack.max == 0 { &[Unseen::Conntrack, Unseen::Settings] } else { &[Unseen::Conntrack] };
    match look.quiet_unless_unseen(needed) {
        // The table has room now; whether it had during the look, its statistics say.
        Verdict::Quiet if conntrack.stats_start.is_empty() => look.unwatched().unwrap_or(Verdict::Quiet),
        quiet => quiet,
    }
}

/// How much a statistic rose.
fn rise(conntrack: &Conntrack, name: &str) -> u64 {
    conntrack.rise(name).unwrap_or(0)
}

fn filled(look: &Look<'_>, conntrack: &Conntrack) -> Option<Finding> {
    let full = share(conntrack.entries, conntrack.max);
    if full < NEARLY {
        return None;
    }
    let dropped = rise(conntrack, "drop").saturating_add(rise(conntrack, "early_drop"));
    let drops = match dropped {
        0 => String::new(),
        _ => format!("; {} or evicted in {}", dropped_text(dropped), length(look.interval())),
    };
    let mut evidence = vec![Evidence::new(
        "conntrack",
        format!("{} of at most {} entries", count(conntrack.entries), count(conntrack.max)),
    )];
    evidence.extend(by_state(look, conntrack));
    evidence.extend(statistics(look, conntrack));
    let mut subject = look.subject();
    subject.setting = Some(MAX.to_owned());
    Some(Finding {
        rule: "conntrack-full",
        severity: if full >= FULL || dropped > 0 { Severity::Error } else { Severity::Warning },
        confidence: Confidence::Certain,
        claim: format!(
            "conntrack holds {} of at most {} entries ({}){drops}",
            count(conntrack.entries),
            count(conntrack.max),
            percent(conntrack.entries, conntrack.max)
        ),
        subject,
        evidence,
        remedies: [
            raise_max(look, conntrack),
            shorter_time_wait(look, conntrack),
            Some(notrack()),
            Some(keep_alive()),
        ]
        .into_iter()
        .flatten()
        .collect(),
        avoid: avoid(),
        next: Some(look.command("conntrack -L -p tcp | awk '{print $4}' | sort | uniq -c")),
    })
}

fn dropped_text(dropped: u64) -> String {
    if dropped == 1 {
        "1 packet was dropped".to_owned()
    } else {
        format!("{} packets were dropped", count(dropped))
    }
}

/// Drops without a table that is full now.
fn moved(look: &Look<'_>, conntrack: &Conntrack) -> Option<Finding> {
    if share(conntrack.entries, conntrack.max) >= NEARLY {
        return None;
    }
    let (failed, early, drop) =
        (rise(conntrack, "insert_failed"), rise(conntrack, "early_drop"), rise(conntrack, "drop"));
    let interval = length(look.interval());
    let (confidence, claim, mut remedies) = if early > 0 {
        let claim = format!(
            "conntrack's table was full for a moment: {} evicted in {interval} to make room, {} of {} are left now",
            counted(early, "entry was", "entries were"),
            count(conntrack.entries),
            count(conntrack.max)
        );
        let remedies =
            [raise_max(look, conntrack), shorter_time_wait(look, conntrack)].into_iter().flatten().collect();
        (Confidence::Likely, claim, remedies)
    } else if failed >= SOME {
        let claim = format!(
            "{} to enter conntrack in {interval} since another connection had the tuple: SNAT ran out of ports for \
             a destination, or packets of one flow raced",
            counted(failed, "packet failed", "packets failed")
        );
        (Confidence::Possible, claim, vec![more_addresses(), random_ports()])
    } else if drop >= SOME {
        let claim = format!(
            "{} by conntrack in {interval}, though its table has room: no memory, or a helper refused them",
            dropped_text(drop)
        );
        (Confidence::Possible, claim, Vec::new())
    } else {
        return None;
    };
    remedies.push(keep_alive());
    let mut evidence = statistics(look, conntrack);
    evidence.push(Evidence::new(
        "conntrack",
        format!("{} of at most {} entries", count(conntrack.entries), count(conntrack.max)),
    ));
    evidence.extend(by_state(look, conntrack));
    Some(Finding {
        rule: "conntrack-full",
        severity: Severity::Warning,
        confidence,
        claim,
        subject: look.subject(),
        evidence,
        remedies,
        avoid: avoid(),
        next: Some(look.command("conntrack -S")),
    })
}

fn statistics(look: &Look<'_>, conntrack: &Conntrack) -> Vec<Evidence> {
    ["insert_failed", "drop", "early_drop"]
        .into_iter()
        .map(|name| (name, rise(conntrack, name)))
        .filter(|(_, rise)| *rise > 0)
        .map(|(name, rise)| {
            Evidence::new(
                format!("conntrack {name}"),
                format!("rose by {} in {}", count(rise), length(look.interval())),
            )
        })
        .collect()
}

/// conntrack's TIME_WAIT entries, how many of all that were read.
fn time_wait(conntrack: &Conntrack) -> (u64, u64) {
    let read =
        conntrack.tcp_by_state.values().fold(conntrack.other_protocols, |sum, n| sum.saturating_add(*n));
    (conntrack.tcp_by_state.get("TIME_WAIT").copied().unwrap_or(0), read)
}

/// How long conntrack keeps a connection in its TIME_WAIT.
fn time_wait_length(look: &Look<'_>) -> Duration {
    let set = look.namespace.settings.number(TIME_WAIT).map(Duration::from_secs);
    set.unwrap_or(linux::CONNTRACK_TIME_WAIT.value)
}

fn by_state(look: &Look<'_>, conntrack: &Conntrack) -> Option<Evidence> {
    let (waiting, read) = time_wait(conntrack);
    let part =
        if conntrack.partial { format!(" of the {} that were read", count(read)) } else { String::new() };
    (waiting > 0).then(|| {
        Evidence::new(
            "conntrack",
            format!(
                "{} entries ({}{part}) are in conntrack's own TIME_WAIT, which lasts {} here; sockets keep theirs {}",
                count(waiting),
                percent(waiting, read),
                length(time_wait_length(look)),
                length(look.namespace.settings.time_wait())
            ),
        )
    })
}

fn raise_max(look: &Look<'_>, conntrack: &Conntrack) -> Option<Remedy> {
    let to = conntrack.max.checked_mul(2).filter(|to| *to > 0)?;
    // Other namespaces have the file, but may not write it: the limit is the host's.
    let ours = look.namespace.name == "host";
    let change = ours.then(|| look.change(MAX, to)).flatten();
    let where_ = if ours { "" } else { "in the host's own namespace, " };
    let buckets = match look.namespace.settings.number(BUCKETS) {
        Some(buckets) if buckets < conntrack.max => {
            format!(", and {BUCKETS} with it ({} now)", count(buckets))
        }
        _ => String::new(),
    };
    let bytes =
        look.case.host.slabs.get("nf_conntrack").map(|slab| slab.object_bytes).filter(|bytes| *bytes > 0);
    let memory = bytes.map_or_else(
        || "more kernel memory".to_owned(),
        |bytes| {
            format!(
                "up to {} MB more kernel memory",
                count(bytes.saturating_mul(conntrack.max).div_ceil(1_000_000))
            )
        },
    );
    let remedy = Remedy::advice(
        "raise-conntrack-max",
        format!("Raise the table's limit {where_}twofold: {MAX} = {to}{buckets}"),
        format!("{memory} when it fills, and longer chains if the number of buckets stays"),
        format!("the table is at {} and takes new connections again", percent(conntrack.entries, to)),
    );
    Some(remedy.carried_out(Applicability::Safe, change, &["conntrack drop", "conntrack early_drop"]))
}

fn shorter_time_wait(look: &Look<'_>, conntrack: &Conntrack) -> Option<Remedy> {
    let (waiting, read) = time_wait(conntrack);
    let (lasts, to) = (time_wait_length(look), look.namespace.settings.time_wait());
    if share(waiting, read) < TIME_WAIT_SHARE || lasts <= to {
        return None;
    }
    let remedy = Remedy::advice(
        "shorter-conntrack-time-wait",
        format!(
            "Let conntrack forget closed connections as soon as sockets do: {TIME_WAIT} = {}",
            to.as_secs()
        ),
        "a segment that comes later is INVALID, and a NAT may give its port to another connection sooner",
        format!(
            "of {} entries in TIME_WAIT about {} remain",
            count(waiting),
            percent(to.as_secs(), lasts.as_secs())
        ),
    );
    let change = look.change(TIME_WAIT, to.as_secs());
    Some(remedy.carried_out(Applicability::Unsafe, change, &["conntrack insert_failed", "conntrack invalid"]))
}

fn more_addresses() -> Remedy {
    Remedy::advice(
        "more-snat-addresses",
        "Give the SNAT more source addresses",
        "peers that admit addresses by list must know the new ones",
        "as many times more ports for each destination",
    )
}

fn random_ports() -> Remedy {
    Remedy::advice(
        "random-fully",
        "Let the SNAT choose ports at random (iptables `--random-fully`, nft `masquerade fully-random`)",
        "none, but when all ports are taken it does not help",
        "connections that start together no longer try the same port",
    )
}

fn notrack() -> Remedy {
    Remedy::advice(
        "notrack",
        "Take traffic that needs neither NAT nor state out of conntrack (NOTRACK, nft `notrack`), both directions",
        "rules that ask for `ct state established` no longer match it",
        "its connections take no entries",
    )
}

fn keep_alive() -> Remedy {
    Remedy::advice(
        "keep-alive",
        "Keep connections alive and pool them, so that few are opened through this host",
        "idle timeouts must be shorter at the clients than at the servers and in conntrack",
        "as many fewer entries as there are fewer connections",
    )
}

fn avoid() -> Vec<Avoid> {
    vec![
        Avoid::new("tcp_tw_reuse, tcp_fin_timeout", "they are for sockets; conntrack has timers of its own"),
        Avoid::new("conntrack -F", "it cuts the connections that are behind NAT"),
        Avoid::new(
            "a short nf_conntrack_tcp_timeout_established",
            "idle connections are forgotten, and their next packet is INVALID",
        ),
    ]
}
