//! New connections meet the TIME-WAIT of an old one with the same addresses and ports, and wait for it.
//!
//! ## What it sees
//!
//! Counters make it "possible"; packets decide. At the server: `TcpExtPAWSTimewait`
//! (Linux 6.17 and later) or `TcpExtTCPACKSkippedTimeWait` rises by 3 or more and by 1 % of the connections
//! accepted. At the client: `TcpOutRsts` (less the resets that other counters explain) and
//! `TcpExtTCPSynRetrans` rise alike, by 3 or more and by 1 % of the connections opened.
//!
//! A SYN whose sequence number or timestamp is not newer than the old connection's is answered by TIME-WAIT
//! with the old ACK. The client, in SYN-SENT, answers with a reset; that ends TIME-WAIT; the next SYN
//! succeeds. No counter at all moves at the server when timestamps were off: quiet counters do not prove
//! that all is well.
//!
//! `lastack lint` notes a line of a sysctl file that sets `tcp_rfc1337`: on that host such a meeting is an outage.
//!
//! Packets prove it: a SYN answered by an old ACK, and the client's reset. It is certain where the earlier
//! connection of the ports is in the capture too, else likely; a warning from 1 % of the connections to that
//! server on, an error where a client never got in.
//!
//! ## Why it hurts
//!
//! It costs about 10 ms where the client is Linux 5.6 or newer, and 1 s (the next SYN) where it is older.
//! It becomes an outage of up to 60 s, or for as long as the client keeps trying, if the reset has no
//! effect: the server has `tcp_rfc1337 = 1`, or a firewall or NAT on the way drops the bare ACK or the
//! reset.
//!
//! Several clients behind one NAT or load balancer are the usual cause: their clocks and sequence numbers
//! differ, and the NAT uses a port again within 60 s.
//!
//! ## How to prove it
//!
//! ```sh
//! tcpdump -nni any 'host CLIENT and port PORT'    # SYN, a bare ACK (no SYN,ACK), RST, the same SYN
//! ss -tno state time-wait '( sport = :PORT )'     # timers near 60 s again: old timestamps restart them
//! sysctl net.ipv4.tcp_rfc1337
//! ```
//!
//! ## What to do
//!
//! At the server `tcp_rfc1337 = 0`. Let bare ACKs and resets through every firewall; conntrack in kernels
//! before about 6.2 calls that reset INVALID. At the NAT or load balancer: more source addresses, and a
//! port used again only after more than 60 s. Best of all, keep connections alive, so that there are few
//! new ones.
//!
//! ## What not to do
//!
//! Do not set `tcp_rfc1337 = 1`, though the kernel's text recommends it: it takes away the recovery. Do not
//! switch `tcp_timestamps` off: then only the sequence number decides, `tcp_tw_reuse` has no effect, and
//! PAWS protects no one.
//!
//! ## Sources
//!
//! RFC 9293 section 3.6.1 and 3.10.7.3, RFC 6191, RFC 1337; net/ipv4/tcp_minisocks.c
//! `tcp_timewait_state_process()`, net/ipv4/tcp_input.c `tcp_rcv_synsent_state_process()`. Measured on
//! Linux 6.18: connect() takes 9 to 15 ms; with `tcp_rfc1337 = 1` 67 s.

use crate::configured::ConfigurationLook;
use crate::myths;
use crate::packets::{self, TrafficLook};
use crate::value::number_taken;
use crate::wording::{clipped, count, counted, length};
use crate::{
    Applicability, Avoid, Confidence, Evidence, Finding, Look, Remedy, Severity, Subject, Verdict,
};
use evidence::{Counted, Exchange};
use std::time::Duration;
use tcp::profile::linux;

/// Fewer are late segments of closed connections, which every host gets.
const SOME: u64 = 3;
/// Part of new connections; below, the delay is lost among others.
const SHARE: f64 = 0.01;
/// Resets and repeated SYNs come in pairs: their numbers differ by at most one and a fifth.
const PAIR_SLACK: u64 = 5;

const REJECTED: &str = "TcpExtPAWSTimewait";
const SKIPPED: &str = "TcpExtTCPACKSkippedTimeWait";
const RFC1337: &str = "net.ipv4.tcp_rfc1337";

/// Resets that have another cause and say so.
const EXPLAINED: [&str; 4] =
    ["TcpExtTCPAbortOnClose", "TcpExtTCPAbortOnData", "TcpExtTCPAbortOnMemory", "TcpExtTCPAbortOnLinger"];

pub(super) fn check(look: &Look<'_>) -> Verdict {
    if let Some(unwatched) = look.unwatched() {
        return unwatched;
    }
    let findings: Vec<Finding> = [server(look), client(look)].into_iter().flatten().collect();
    findings.into()
}

/// What a file sets, by itself.
pub(super) fn check_configuration(look: &ConfigurationLook<'_>) -> Verdict {
    let on = |value: &str| number_taken(value).is_some_and(|number| number > 0);
    let written = look.written(RFC1337).filter(|(written, _)| look.alone && on(&written.value));
    let Some((written, at)) = written else { return Verdict::Quiet };
    let time_wait = length(linux::TIME_WAIT.value);
    let out = Remedy::advice(
        "rfc1337-line-out",
        format!("Take the line at {at} out: by default a reset with the exact sequence number ends a TIME-WAIT"),
        "a forged or late reset with the exact sequence number may end a TIME-WAIT early, as on every other host",
        "the SYN after the reset succeeds: about 10 ms instead of an outage",
    );
    Verdict::Found(vec![Finding {
        rule: "syn-meets-time-wait",
        severity: Severity::Note,
        confidence: Confidence::Certain,
        claim: format!(
            "tcp_rfc1337 is set at boot: a client whose SYN meets a TIME-WAIT there waits up to {time_wait}, instead of \
             clearing it with a reset"
        ),
        subject: Subject { setting: Some(RFC1337.to_owned()), ..Subject::default() },
        evidence: vec![Evidence::new(at, format!("sets it to {}", clipped(&written.value)))],
        remedies: vec![out],
        avoid: vec![myths::ignore_resets()],
        next: None,
    }])
}

/// True if so many are at least [`SHARE`] of a number of new connections; of none they always are.
fn of_new(met: u64, new: u64) -> bool {
    met as f64 >= SHARE * new as f64
}

fn server(look: &Look<'_>) -> Option<Finding> {
    let met = look.rise(REJECTED).max(look.rise(SKIPPED));
    let accepted = look.rise("TcpPassiveOpens");
    let ignores_resets = look.namespace.settings.number(RFC1337).is_some_and(|value| value > 0);
    if met < SOME || !of_new(met, accepted) {
        return None;
    }
    let time_wait = length(look.namespace.settings.time_wait());
    let mut subject = look.subject();
    let cost = if ignores_resets {
        subject.setting = Some(RFC1337.to_owned());
        format!(
            "and tcp_rfc1337 keeps it from being cleared: such a client waits {time_wait}, or for as long as it keeps trying"
        )
    } else {
        "which costs them about 10 ms, or 1 s from clients before Linux 5.6".to_owned()
    };
    let mut evidence: Vec<Evidence> = [REJECTED, SKIPPED, "TcpPassiveOpens"]
        .into_iter()
        .filter(|name| look.rise(name) > 0)
        .map(|name| look.risen(name))
        .collect();
    evidence.extend(look.set(RFC1337));
    Some(Finding {
        rule: "syn-meets-time-wait",
        severity: if ignores_resets { Severity::Error } else { Severity::Warning },
        confidence: Confidence::Possible,
        claim: format!(
            "Up to {} met a TIME-WAIT of this host in {}, beside {} connections accepted, {cost}",
            counted(met, "SYN", "SYNs"),
            length(look.interval()),
            count(accepted)
        ),
        subject,
        evidence,
        remedies: [
            rfc1337_off(look),
            Some(let_resets_pass()),
            Some(spread_ports(&time_wait)),
            Some(keep_alive()),
        ]
        .into_iter()
        .flatten()
        .collect(),
        avoid: avoid(),
        next: Some(next(look)),
    })
}

fn client(look: &Look<'_>) -> Option<Finding> {
    let explained = EXPLAINED.iter().fold(0_u64, |sum, name| sum.saturating_add(look.rise(name)));
    let resets = look.rise("TcpOutRsts").saturating_sub(explained);
    let repeated = look.rise("TcpExtTCPSynRetrans");
    let opened = look.rise("TcpActiveOpens");
    let (fewer, more) = (resets.min(repeated), resets.max(repeated));
    let pairs = more - fewer <= 1 + more / PAIR_SLACK;
    if fewer < SOME || !pairs || opened == 0 || !of_new(fewer, opened) {
        return None;
    }
    let time_wait = length(look.namespace.settings.time_wait());
    let mut evidence =
        ["TcpOutRsts", "TcpExtTCPSynRetrans", "TcpActiveOpens"].map(|name| look.risen(name)).to_vec();
    if explained > 0 {
        let says = format!("explain {} of the resets, which are not counted", count(explained));
        evidence.push(Evidence::new("TcpExtTCPAbortOn*", says));
    }
    Some(Finding {
        rule: "syn-meets-time-wait",
        severity: Severity::Warning,
        confidence: Confidence::Possible,
        claim: format!(
            "Up to {} of {} opened in {} were answered by a peer's TIME-WAIT, reset and tried again: {} and {} \
             rise alike",
            // One connection may have tried more than once.
            count(fewer.min(opened)),
            counted(opened, "connection", "connections"),
            length(look.interval()),
            counted(resets, "reset", "resets"),
            counted(repeated, "repeated SYN", "repeated SYNs")
        ),
        subject: look.subject(),
        evidence,
        remedies: vec![
            keep_alive(),
            Remedy::advice(
                "rfc1337-off-at-the-server",
                format!("At the servers set {RFC1337} = 0, if it is 1"),
                "none: it is the default of every kernel",
                format!("a connect() that took up to {time_wait} takes about 10 ms"),
            ),
            let_resets_pass(),
            spread_ports(&time_wait),
        ],
        avoid: avoid(),
        next: Some(next(look)),
    })
}

fn rfc1337_off(look: &Look<'_>) -> Option<Remedy> {
    let change =
        look.change(RFC1337, 0).filter(|_| look.namespace.settings.number(RFC1337).unwrap_or(0) > 0)?;
    let remedy = Remedy::advice(
        "rfc1337-off",
        format!("Let resets end TIME-WAIT again, as by default: {RFC1337} = 0"),
        "a forged or late reset with the exact sequence number may end a TIME-WAIT early, as on every other host",
        "the SYN after the reset succeeds: about 10 ms instead of an outage",
    );
    Some(remedy.carried_out(Applicability::Safe, [change], &[SKIPPED, "TcpExtListenDrops"]))
}

fn let_resets_pass() -> Remedy {
    Remedy::advice(
        "let-resets-pass",
        "Let every firewall and NAT on the way pass the server's bare ACK and the client's reset (conntrack: \
         kernels before about 6.2 call that reset INVALID)",
        "none, if it is only for connections that are known",
        "the delay falls from minutes to about 10 ms, or to 1 s with old clients",
    )
}

fn spread_ports(time_wait: &str) -> Remedy {
    Remedy::advice(
        "spread-ports",
        format!(
            "At the NAT or load balancer use more source addresses, and use a port again only after more than \
             {time_wait}"
        ),
        "none",
        "no SYN meets a TIME-WAIT",
    )
}

fn keep_alive() -> Remedy {
    Remedy::advice(
        "keep-alive",
        "Keep connections alive and pool them, so that few are opened",
        "the idle timeout of the server must be longer than that of its clients",
        "as many fewer delays as there are fewer connections",
    )
}

fn avoid() -> Vec<Avoid> {
    let half_second = length(linux::INVALID_RATELIMIT.value);
    vec![
        myths::ignore_resets(),
        Avoid::new(
            "tcp_timestamps = 0",
            "then only the sequence number decides, tcp_tw_reuse has no effect, and PAWS protects no one",
        ),
        Avoid::new(
            "shorter SYN retries at the client",
            format!("TIME-WAIT answers one segment in {half_second} only (tcp_invalid_ratelimit)"),
        ),
    ]
}

fn next(look: &Look<'_>) -> String {
    // SYN or RST, over IPv4 and IPv6.
    look.command("tcpdump -nni any -c 100 'tcp[13] & 6 != 0 or (ip6[6] == 6 and ip6[53] & 6 != 0)'")
}

pub(super) fn check_traffic(look: &TrafficLook<'_>) -> Verdict {
    let met = look.traffic.exchanges.iter().filter_map(|exchange| captured(look, exchange));
    look.most(met.collect())
}

fn captured(look: &TrafficLook<'_>, exchange: &Exchange) -> Option<(u64, Finding)> {
    let none = Counted::default();
    let by = |map: &std::collections::BTreeMap<String, Counted>, name: &str| {
        map.get(name).map_or(0, |some| some.count)
    };
    // A connection that is half open answers so too; its reset says so.
    let half_open = by(&exchange.resets, "half-open");
    let cleared = exchange.resets.get("time-wait-challenge").unwrap_or(&none);
    let met = cleared.count.max(exchange.challenged.count.saturating_sub(half_open));
    if met == 0 {
        return None;
    }
    let reused = by(&exchange.reuses, "challenged");
    let shut_out = exchange.shut_out.count;
    let known = reused > 0 && (cleared.count > 0 || half_open == 0);
    let (client, server) = (packets::client(exchange), packets::server(exchange.server));
    let after = match exchange.shortest_reuse_ms.filter(|_| reused > 0) {
        Some(ms) => format!(
            "; addresses and ports were used again after as little as {}",
            length(Duration::from_millis(ms.into()))
        ),
        None => "; the earlier connection is not in the capture".to_owned(),
    };
    let fate = if shut_out > 0 {
        format!("{} got no further", counted(shut_out, "connection", "connections"))
    } else {
        "each had to reset the old one and try again".to_owned()
    };
    let examples = if exchange.challenged.count > 0 { &exchange.challenged } else { cleared };
    let mut evidence = look.shows(examples, "the SYN was answered by the ACK of an older connection");
    if cleared.count > 0 {
        evidence.extend(look.shows(cleared, "the client reset it, which ends the TIME-WAIT"));
    } else {
        evidence.push(
            look.sums("no reset of the client followed: something on the way drops it, or the bare ACK"),
        );
    }
    let time_wait = length(linux::TIME_WAIT.value);
    let finding = Finding {
        rule: "syn-meets-time-wait",
        severity: if shut_out > 0 {
            Severity::Error
        } else if of_new(met, exchange.connections) {
            Severity::Warning
        } else {
            Severity::Note
        },
        confidence: if known { Confidence::Certain } else { Confidence::Likely },
        claim: format!(
            "{} of {} from {client} met a TIME-WAIT of {server}, and {fate}{after}",
            counted(met, "SYN", "SYNs"),
            counted(exchange.connections, "connection", "connections"),
        ),
        subject: TrafficLook::subject(exchange),
        evidence,
        remedies: vec![
            spread_ports(&time_wait),
            let_resets_pass(),
            Remedy::advice(
                "rfc1337-off-at-the-server",
                format!("At the server set {RFC1337} = 0, if it is 1"),
                "none: it is the default of every kernel",
                format!("a connect() that took up to {time_wait} takes about 10 ms"),
            ),
            keep_alive(),
        ],
        avoid: avoid(),
        next: look.next(exchange, examples),
    };
    Some((met, finding))
}
