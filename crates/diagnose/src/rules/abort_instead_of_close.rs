//! Connections are reset by this host where they should be closed.
//!
//! ## What it sees
//!
//! Two counters, as a part of all connections that ended during the look. `TcpExtTCPAbortOnClose`: a
//! process called `close()` while bytes from the peer lay unread, and the kernel sent a reset instead of a
//! FIN; nothing else moves it (certain). `TcpExtTCPAbortOnData`: `close()` with `SO_LINGER` and a time of
//! 0, or data that came after `close()` (likely the former). It fires from 5 resets that are one a second
//! and 10 % of the endings.
//!
//! The kernel counts no endings. They are taken as the larger of two numbers: mini-sockets made plus
//! established connections reset (this misses connections that the peer closed first); and connections
//! opened, less those that failed and those by which the number of established ones grew.
//!
//! In a capture, resets that their sender began by itself: with data of the peer unread (from 3 and 10 % of the
//! connections on; a warning from one a second, else a note), or with nothing unread (`SO_LINGER` 0; from 5 that are
//! one a second and 10 %). Slower ones of the latter kind are health checks. Where packets do not tell whether the
//! last data was read, as after an answer to the side that resets, the rule is silent.
//!
//! ## Why it hurts
//!
//! A reset throws away what the peer has not read yet, also the answer that was just sent: the peer gets
//! ECONNRESET and may see half an answer. Nothing protects the connection that reuses the ports, since no
//! side has TIME-WAIT. Counters do not tell which process; the one whose peers complain is the first
//! suspect.
//!
//! Known forms that do little harm: HAProxy ends connections to its servers so when it does not need them
//! (a note, if HAProxy runs here and only AbortOnData moves); a TLS client that closes without reading the
//! server's last records (tickets, close_notify); health checks that connect and leave.
//!
//! ## How to prove it
//!
//! ```sh
//! nstat -n; sleep 10; nstat -z 'TcpExtTCPAbort*' TcpOutRsts TcpEstabResets TcpExtTW  # or doctor --for 10s
//! tcpdump -ni any 'tcp[13] & 4 != 0 or (ip6[6] == 6 and ip6[53] & 4 != 0)'   # which port sends resets
//! strace -f -e trace=setsockopt,close -p PID          # SO_LINGER {l_onoff=1, l_linger=0}
//! trace-cmd stream -e tcp:tcp_send_reset              # with a reason from Linux 6.10 on
//! ```
//!
//! ## What to do
//!
//! Unread data: read to the end before `close()`; a server that refuses a request should `shutdown()` its
//! side, then read and drop until 0 or a short timeout (nginx: `lingering_close on`). Linger 0: remove it.
//! It is mostly there to avoid TIME-WAIT; keep-alive and pools avoid it without losing data.
//!
//! ## What not to do
//!
//! Do not use linger 0, or HAProxy's `option nolinger`, against TIME-WAIT. Do not filter outgoing resets:
//! the peers would wait for their timeouts instead.
//!
//! ## Sources
//!
//! RFC 1122 section 4.2.2.13, RFC 2525 section 2.17, RFC 9293 section 3.6.1 (reset when data is lost at
//! close); net/ipv4/tcp.c `__tcp_close()`, net/ipv4/tcp_input.c `tcp_rcv_state_process()`; measured on
//! Linux 6.18: 14 ways to close, and HAProxy 2.6.

use crate::myths;
use crate::packets::{self, TrafficLook, per_second};
use crate::wording::{count, counted, percent, rate, share};
use crate::{Avoid, Confidence, Evidence, Finding, Look, Remedy, Severity, Verdict};
use evidence::{Counted, Exchange};

/// Fewer in a look are one client's doing.
const SOME: u64 = 5;
/// Less than one a second is not a habit.
const PER_SECOND: f64 = 1.0;
/// Below this part of the endings, resets are the odd client that left early.
const SHARE: f64 = 0.1;
/// In a capture each unread byte is proven: fewer are a download that was cancelled.
const SOME_UNREAD: u64 = 3;
/// Of the resets between two hosts: then it is this side's.
const NEARLY_ALL: f64 = 0.9;

const UNREAD: &str = "unread-data";
const LINGER: &str = "abort-by-linger";
const ON_CLOSE: &str = "TcpExtTCPAbortOnClose";
const ON_DATA: &str = "TcpExtTCPAbortOnData";

pub(super) fn check(look: &Look<'_>) -> Verdict {
    if let Some(unwatched) = look.unwatched() {
        return unwatched;
    }
    let endings = endings(look);
    let findings: Vec<Finding> =
        [unread(look, endings), linger(look, endings)].into_iter().flatten().collect();
    findings.into()
}

/// How many connections ended during the look, about.
fn endings(look: &Look<'_>) -> u64 {
    let rise = |name: &str| look.rise(name);
    let minis = rise("TcpExtTW").saturating_add(rise("TcpExtTWKilled"));
    let closed_here = minis.saturating_add(rise("TcpEstabResets"));
    let active = rise("TcpActiveOpens");
    let opened = active.saturating_sub(rise("TcpAttemptFails")).saturating_add(rise("TcpPassiveOpens"));
    // A gauge: it may fall, and rises only hide endings.
    let established = |values: &std::collections::BTreeMap<String, u64>| {
        i128::from(values.get("TcpCurrEstab").copied().unwrap_or(0))
    };
    let counters = &look.namespace.counters;
    let grown = established(&counters.end) - established(&counters.start);
    let left = u64::try_from(i128::from(opened) - grown).unwrap_or(0);
    closed_here.max(left).max(rise(ON_CLOSE).saturating_add(rise(ON_DATA)))
}

fn fires(look: &Look<'_>, counter: &str, endings: u64) -> bool {
    let rate = look.namespace.counters.rate(counter).unwrap_or(0.0);
    look.rise(counter) >= SOME && rate >= PER_SECOND && share(look.rise(counter), endings) >= SHARE
}

fn unread(look: &Look<'_>, endings: u64) -> Option<Finding> {
    let finding = || {
        finding(
            look,
            ON_CLOSE,
            endings,
            Confidence::Certain,
            Severity::Warning,
            "a process here closed them with data unread",
            unread_remedies(format!("{ON_CLOSE} stands still, and peers get the whole answer")),
        )
    };
    fires(look, ON_CLOSE, endings).then(finding)
}

/// Resets that captures beside the sockets explain as requests that met a closing connection: data after close(),
/// which the same counter counts. `idle-timeout-race` speaks of those.
fn raced(look: &Look<'_>) -> u64 {
    let exchanges = look.case.traffic.iter().flat_map(|traffic| &traffic.exchanges);
    let races = exchanges.filter_map(|exchange| exchange.resets.get("idle-timeout-race"));
    races.fold(0, |sum, race| sum.saturating_add(race.count))
}

fn unread_remedies(expected: String) -> Vec<Remedy> {
    vec![
        Remedy::advice(
            "read-before-close",
            "Let the program read to the end (or shutdown(), then read and drop for a short time) before close()",
            "none, with a limit for the time and the bytes it reads",
            expected,
        ),
        Remedy::advice(
            "lingering-close",
            "In nginx let `lingering_close on` (the default) stand where request bodies are refused",
            "connections stay open for up to `lingering_timeout` longer",
            "clients see the refusal instead of a reset",
        ),
    ]
}

fn linger(look: &Look<'_>, endings: u64) -> Option<Finding> {
    if !fires(look, ON_DATA, endings) || raced(look) >= look.rise(ON_DATA) {
        return None;
    }
    let proxy = look.namespace.processes.iter().find(|process| process.name == "haproxy");
    let benign = proxy.is_some() && !fires(look, ON_CLOSE, endings);
    let mut finding = finding(
        look,
        ON_DATA,
        endings,
        Confidence::Likely,
        if benign { Severity::Note } else { Severity::Warning },
        "a process here closes with linger 0, or data came after it had closed",
        vec![
            without_linger(format!("{ON_DATA} stands still, and peers get FIN instead of ECONNRESET")),
            Remedy::advice(
                "let-the-peer-finish",
                "Where data comes after close(): let the program stop reading only after the peer has closed",
                "none, with a limit for the time it waits",
                "no reset in answer to late data",
            ),
        ],
    );
    if let Some(proxy) = proxy {
        let says = format!(
            "haproxy (pid {}) runs here: it ends connections to its servers by a reset on purpose, which harms nobody",
            proxy.pid
        );
        finding.evidence.push(Evidence::new("/proc", says));
    }
    Some(finding)
}

fn finding(
    look: &Look<'_>,
    counter: &str,
    endings: u64,
    confidence: Confidence,
    severity: Severity,
    because: &str,
    remedies: Vec<Remedy>,
) -> Finding {
    let mut evidence = vec![look.risen(counter)];
    for name in ["TcpOutRsts", "TcpEstabResets", "TcpExtTW", "TcpActiveOpens", "TcpPassiveOpens"] {
        if look.rise(name) > 0 {
            evidence.push(look.risen(name));
        }
    }
    Finding {
        rule: "abort-instead-of-close",
        severity,
        confidence,
        claim: format!(
            "{} connections a second end by a reset from this host, {} of about {} endings ({}): {because}",
            rate(look.namespace.counters.rate(counter).unwrap_or(0.0)),
            count(look.rise(counter)),
            count(endings),
            percent(look.rise(counter), endings)
        ),
        subject: look.subject(),
        evidence,
        remedies,
        avoid: avoid(),
        // Counters do not name the process: the ports of the resets do.
        next: Some(
            look.command("tcpdump -nni any -c 20 'tcp[13] & 4 != 0 or (ip6[6] == 6 and ip6[53] & 4 != 0)'"),
        ),
    }
}

fn without_linger(expected: String) -> Remedy {
    Remedy::advice(
        "remove-linger-zero",
        "Remove SO_LINGER with a time of 0 from the program (HAProxy: `option nolinger`)",
        "the side that closes first has TIME-WAIT again: use keep-alive and a pool, so that there are few",
        expected,
    )
}

fn avoid() -> Vec<Avoid> {
    vec![myths::linger_zero(), Avoid::new("filter outgoing resets", "the peers then wait for their timeouts")]
}

pub(super) fn check_traffic(look: &TrafficLook<'_>) -> Verdict {
    let aborted = look.traffic.exchanges.iter().flat_map(|exchange| {
        let unread = exchange.resets.get(UNREAD);
        let linger = exchange.resets.get(LINGER);
        let fires = |some: &&Counted, least: u64| {
            some.count >= least && share(some.count, exchange.connections) >= SHARE
        };
        let unread = unread.filter(|some| fires(some, SOME_UNREAD));
        let linger = linger
            .filter(|some| fires(some, SOME) && per_second(some.count, exchange.length_ms) >= PER_SECOND);
        let unread = unread.map(|some| (some.count, captured(look, exchange, some, true)));
        let linger = linger.map(|some| (some.count, captured(look, exchange, some, false)));
        [unread, linger].into_iter().flatten()
    });
    look.most(aborted.collect())
}

fn captured(look: &TrafficLook<'_>, exchange: &Exchange, some: &Counted, unread: bool) -> Finding {
    let speed = per_second(some.count, exchange.length_ms);
    let (client, server) = (packets::client(exchange), packets::server(exchange.server));
    let cause = if unread { UNREAD } else { LINGER };
    // Old cases have resets by sender and by cause, but not by both.
    let by = exchange.resets_by.get(cause).copied().unwrap_or(exchange.reset_by);
    let resets = by.total();
    let who = if share(by.client, resets) >= NEARLY_ALL {
        client.clone()
    } else if share(by.server, resets) >= NEARLY_ALL {
        server.clone()
    } else {
        format!(
            "one of the two (resets by the client {}, by the server {})",
            count(by.client),
            count(by.server)
        )
    };
    let because = if unread { "with data unread" } else { "at once, as with linger 0" };
    let expected = "the peer gets the whole answer, and a FIN instead of ECONNRESET".to_owned();
    let says = if unread {
        "the sender of the reset had data of its peer unread"
    } else {
        "the sender of the reset gave up by itself, and its peer had sent nothing that was not read"
    };
    Finding {
        rule: "abort-instead-of-close",
        severity: if speed >= PER_SECOND { Severity::Warning } else { Severity::Note },
        confidence: Confidence::Likely,
        claim: format!(
            "{} of {} from {client} to {server} end by a reset, {} a second: {who} closes {because}",
            count(some.count),
            counted(exchange.connections, "connection", "connections"),
            rate(speed)
        ),
        subject: TrafficLook::subject(exchange),
        evidence: look.shows(some, says),
        remedies: if unread { unread_remedies(expected) } else { vec![without_linger(expected)] },
        avoid: avoid(),
        next: look.next(exchange, some),
    }
}
