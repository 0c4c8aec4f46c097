//! Several hosts behind one address send timestamps of different clocks, and segments are rejected for it.
//!
//! ## What it sees
//!
//! Rises of the counters of PAWS, the check that a segment's timestamp is not older than the last one seen:
//! - `TcpExtPAWSPassive`: SYNs were dropped in silence. Only kernels before 4.12 with `tcp_tw_recycle = 1`
//!   have and move it (likely, an error);
//! - `TcpExtPAWSTimewait` (Linux 6.17 and later): segments to a TIME-WAIT were rejected, 5 or more and 1 %
//!   of the connections accepted (possible);
//! - `TcpExtPAWSEstab`: segments of connections were rejected, 10 or more, one a second, 1 % of new
//!   connections and 1 in 1,000 segments (possible). Kernels without `PAWSTimewait` count TIME-WAIT's
//!   rejects here too.
//!
//! Packets show the address: timestamps that one clock cannot have made, together with SYNs from there that met
//! an old connection, or 3 or more that got no answer from a server that answers others (likely). Several clocks
//! behind an address are no fault by themselves.
//!
//! ## Why it hurts
//!
//! A NAT or load balancer gives connections of several hosts the same address and port after each other. If
//! the second host's clock is behind, its SYN looks old: TIME-WAIT answers with an ACK instead of a SYN,ACK
//! and starts its 60 s anew. It costs about 10 ms to 1 s for each connect(), and up to minutes where the
//! client's reset is filtered or `tcp_rfc1337 = 1`. Since 2026 Linux clients again use another clock offset
//! for every connection, so one host alone can do it.
//!
//! A few rejects are healthy: segments that overtook each other on the way.
//!
//! ## How to prove it
//!
//! ```sh
//! nstat -n; sleep 10; nstat -z 'TcpExtPAWS*'              # or lastack doctor --for 10s
//! tcpdump -nni any 'src ADDRESS and tcp[13] & 2 != 0'     # "TS val" jumps back and forth between SYNs
//! ```
//!
//! ## What to do
//!
//! Before 4.12: `tcp_tw_recycle = 0`, which is the whole cure. Else at the NAT or load balancer: more
//! source addresses, a port used again only after more than 60 s, timestamps of its own. Keep connections
//! alive. At the server `tcp_rfc1337 = 0`, and let resets through.
//!
//! ## What not to do
//!
//! Do not set `tcp_timestamps = 0` for the host: it removes the protection of PAWS and round-trip
//! measurement from all connections, and `tcp_tw_reuse` has no effect without timestamps.
//!
//! ## Sources
//!
//! RFC 7323 section 5; RFC 6191; net/ipv4/tcp_minisocks.c `tcp_timewait_state_process()`,
//! net/core/secure_seq.c; kernel 4.12 commit 4396e46187ca (removal of `tcp_tw_recycle`). Measured on Linux
//! 6.18 behind an SNAT of one port: 20 to 55 % of connects delayed by 10 to 16 ms, `PAWSTimewait` up by as
//! many.

use crate::myths;
use crate::packets::{self, TrafficLook};
use crate::wording::{count, counted, length};
use crate::{Applicability, Avoid, Confidence, Evidence, Finding, Look, Remedy, Severity, Verdict};
use evidence::Exchange;
use std::time::Duration;
use tcp::profile::linux;

/// Fewer rejects by TIME-WAIT are late segments of closed connections.
const SOME_TIME_WAIT: u64 = 5;
/// Fewer rejects on connections are segments that overtook each other...
const SOME: u64 = 10;
/// ...as are those below one a second...
const PER_SECOND: f64 = 1.0;
/// ...and those below this part of the segments received.
const OF_SEGMENTS: f64 = 0.001;
/// Part of new connections: the trouble is with opening them.
const OF_NEW: f64 = 0.01;

const PASSIVE: &str = "TcpExtPAWSPassive";
const TIME_WAIT: &str = "TcpExtPAWSTimewait";
const ESTABLISHED: &str = "TcpExtPAWSEstab";
const RECYCLE: &str = "net.ipv4.tcp_tw_recycle";
const RFC1337: &str = "net.ipv4.tcp_rfc1337";

pub(super) fn check(look: &Look<'_>) -> Verdict {
    if let Some(unwatched) = look.unwatched() {
        return unwatched;
    }
    let findings: Vec<Finding> =
        [dropped(look), rejected_by_time_wait(look), rejected(look)].into_iter().flatten().collect();
    findings.into()
}

fn at_least(part: u64, share: f64, whole: u64) -> bool {
    part as f64 >= share * whole as f64
}

fn dropped(look: &Look<'_>) -> Option<Finding> {
    let syns = look.rise(PASSIVE);
    (syns > 0).then(|| {
        let claim = format!(
            "{} dropped without an answer in {}, since the same address had sent newer timestamps before",
            were(syns, "SYN", "SYNs"),
            length(look.interval())
        );
        finding(look, PASSIVE, Severity::Error, Confidence::Likely, claim)
    })
}

fn rejected_by_time_wait(look: &Look<'_>) -> Option<Finding> {
    let rejected = look.rise(TIME_WAIT);
    let accepted = look.rise("TcpPassiveOpens");
    (rejected >= SOME_TIME_WAIT && at_least(rejected, OF_NEW, accepted)).then(|| {
        let claim = format!(
            "{} rejected by TIME-WAIT for an old timestamp in {}, beside {} accepted: hosts behind one address, or \
             one host with a clock for each connection",
            were(rejected, "segment", "segments"),
            length(look.interval()),
            counted(accepted, "connection", "connections")
        );
        finding(look, TIME_WAIT, Severity::Warning, Confidence::Possible, claim)
    })
}

fn rejected(look: &Look<'_>) -> Option<Finding> {
    let rejected = look.rise(ESTABLISHED);
    let rate = look.namespace.counters.rate(ESTABLISHED).unwrap_or(0.0);
    let new = look.rise("TcpPassiveOpens").saturating_add(look.rise("TcpActiveOpens"));
    let fires = rejected >= SOME
        && rate >= PER_SECOND
        && at_least(rejected, OF_NEW, new)
        && at_least(rejected, OF_SEGMENTS, look.rise("TcpInSegs"));
    fires.then(|| {
        let where_ = if look.namespace.counters.has(TIME_WAIT) {
            "by connections"
        } else {
            "by connections or by TIME-WAIT (this kernel counts them together)"
        };
        let claim = format!(
            "{} rejected {where_} for an old timestamp in {}, of {} received",
            were(rejected, "segment", "segments"),
            length(look.interval()),
            count(look.rise("TcpInSegs"))
        );
        finding(look, ESTABLISHED, Severity::Warning, Confidence::Possible, claim)
    })
}

/// `1 SYN was`, `7 SYNs were`.
fn were(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", counted(number, one, many), if number == 1 { "was" } else { "were" })
}

fn finding(
    look: &Look<'_>,
    counter: &str,
    severity: Severity,
    confidence: Confidence,
    claim: String,
) -> Finding {
    let mut evidence: Vec<Evidence> = vec![look.risen(counter)];
    for name in ["TcpPassiveOpens", "TcpExtTCPACKSkippedTimeWait", "TcpExtListenDrops"] {
        if look.rise(name) > 0 {
            evidence.push(look.risen(name));
        }
    }
    evidence
        .extend([RECYCLE, RFC1337, "net.ipv4.tcp_timestamps"].into_iter().filter_map(|name| look.set(name)));
    Finding {
        rule: "timestamps-behind-nat",
        severity,
        confidence,
        claim,
        subject: look.subject(),
        evidence,
        remedies: remedies(look),
        avoid: avoid(),
        next: Some(
            look.command("tcpdump -nni any -c 100 'tcp[13] & 2 != 0 or (ip6[6] == 6 and ip6[53] & 2 != 0)'"),
        ),
    }
}

fn remedies(look: &Look<'_>) -> Vec<Remedy> {
    let on = |setting: &str| look.namespace.settings.number(setting).is_some_and(|value| value > 0);
    let time_wait = length(look.namespace.settings.time_wait());
    let mut remedies = Vec::new();
    if on(RECYCLE) {
        let recycle = Remedy::advice(
            "recycle-off",
            format!("Set {RECYCLE} = 0"),
            format!("TIME-WAIT lasts {time_wait} again: memory for each, and ports where this host connects"),
            format!("{PASSIVE} stands still, and no SYN is dropped for its timestamp"),
        );
        let guards = ["TcpExtTCPTimeWaitOverflow"];
        remedies.push(recycle.carried_out(Applicability::Safe, look.change(RECYCLE, 0), &guards));
    }
    if on(RFC1337) {
        let rfc1337 = Remedy::advice(
            "rfc1337-off",
            format!("Let resets end TIME-WAIT again, as by default: {RFC1337} = 0"),
            "a forged or late reset with the exact sequence number may end a TIME-WAIT early",
            "a rejected client gets through with its next SYN",
        );
        let guards = ["TcpExtTCPACKSkippedTimeWait"];
        remedies.push(rfc1337.carried_out(Applicability::Safe, look.change(RFC1337, 0), &guards));
    }
    remedies.extend(elsewhere(&time_wait));
    remedies
}

fn avoid() -> Vec<Avoid> {
    vec![
        Avoid::new(
            "tcp_timestamps = 0 on this host",
            "all connections lose PAWS and round-trip measurement, and tcp_tw_reuse has no effect",
        ),
        myths::ignore_resets(),
    ]
}

/// What can be done at the NAT and by its clients.
fn elsewhere(time_wait: &str) -> Vec<Remedy> {
    vec![
        Remedy::advice(
            "more-source-addresses",
            format!(
                "At the NAT or load balancer use more source addresses, and use a port again only after more than \
             {time_wait}"
            ),
            "none",
            "two hosts no longer follow each other on one address and port",
        ),
        Remedy::advice(
            "keep-alive",
            "Keep connections through the NAT alive and pool them, so that few are opened",
            "the idle timeout of the server, and of the NAT, must be longer than that of the clients",
            "as many fewer rejects as there are fewer connections",
        ),
        Remedy::advice(
            "own-timestamps-at-the-balancer",
            "Let the load balancer end TCP itself (a proxy), or take the timestamp option out of SYNs it passes on",
            "connections without timestamps lose PAWS and good round-trip measurement, through this balancer only",
            "the server sees one clock, or none",
        ),
    ]
}

pub(super) fn check_traffic(look: &TrafficLook<'_>) -> Verdict {
    let hurt = look.traffic.exchanges.iter().filter_map(|exchange| captured(look, exchange));
    look.most(hurt.collect())
}

/// Fewer SYNs without an answer are lost packets.
const UNANSWERED: u64 = 3;

fn captured(look: &TrafficLook<'_>, exchange: &Exchange) -> Option<(u64, Finding)> {
    exchange.client.address?;
    let clocks = look.several_hosts(exchange.client)?;
    let answers = exchange.handshakes.get("complete").is_some_and(|complete| *complete > 0);
    let dropped = Some(exchange.unanswered.count).filter(|syns| answers && *syns >= UNANSWERED).unwrap_or(0);
    let met = exchange.challenged.count;
    if met == 0 && dropped == 0 {
        return None;
    }
    let (client, server) = (packets::client(exchange), packets::server(exchange.server));
    let mut trouble = Vec::new();
    let mut evidence = Vec::new();
    if dropped > 0 {
        trouble.push(format!("{} got no answer", counted(dropped, "SYN", "SYNs")));
        evidence.extend(look.shows(&exchange.unanswered, "SYNs without an answer"));
    }
    if met > 0 {
        trouble.push(format!("{} met an old connection", counted(met, "SYN", "SYNs")));
        evidence.extend(look.shows(&exchange.challenged, "the SYN was answered by an old ACK"));
    }
    for (one, other) in clocks.proof.iter().take(2) {
        let says = format!(
            "one clock cannot have stamped packet {} ({} at {}) and packet {} ({} at {})",
            one.packet,
            one.value,
            length(Duration::from_millis(one.at_ms)),
            other.packet,
            other.value,
            length(Duration::from_millis(other.at_ms))
        );
        evidence.push(look.sums(says));
    }
    let finding = Finding {
        rule: "timestamps-behind-nat",
        severity: if dropped > 0 { Severity::Error } else { Severity::Warning },
        confidence: Confidence::Likely,
        claim: format!(
            "At least {} behind {client} send timestamps of their own clocks, and {} at {server}",
            counted(clocks.hosts, "host", "hosts"),
            trouble.join(" and ")
        ),
        subject: TrafficLook::subject(exchange),
        evidence,
        remedies: elsewhere(&length(linux::TIME_WAIT.value)),
        avoid: avoid(),
        next: look.next(exchange, if met > 0 { &exchange.challenged } else { &exchange.unanswered }),
    };
    Some((met.saturating_add(dropped), finding))
}
