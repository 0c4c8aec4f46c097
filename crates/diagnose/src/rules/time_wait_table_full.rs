//! The table of TIME-WAIT sockets is full: connections that close here skip TIME-WAIT.
//!
//! ## What it sees
//!
//! `TcpExtTCPTimeWaitOverflow` rose during the look (certain), or the table holds `tcp_max_tw_buckets` sockets
//! now (likely). The counter also rises when the kernel has no memory for a mini-socket; then the table is not
//! near its limit. Old TIME-WAIT sockets are never pushed out: the connection that closes *now* gets none. A limit
//! of 0 is a table that is always full.
//!
//! The table counts FIN-WAIT-2 mini-sockets of closed processes, too, and is one for each network namespace.
//!
//! ## Why it hurts
//!
//! Without TIME-WAIT a retransmitted FIN is answered by a reset, and the peer, which still waits for its ACK,
//! sees an error instead of a close. A peer that closes later than we do gets a reset for its FIN, and its last
//! data is lost. An old segment may meet a new connection on the same ports. It is silent: no log line since
//! Linux 2.6.38, only the counter.
//!
//! ## How to prove it
//!
//! ```sh
//! nstat -az TcpExtTCPTimeWaitOverflow; sleep 10; nstat -az TcpExtTCPTimeWaitOverflow
//! grep ^TCP: /proc/net/sockstat; sysctl net.ipv4.tcp_max_tw_buckets
//! lastack doctor --for 10s
//! ```
//!
//! ## What to do
//!
//! Raise `tcp_max_tw_buckets` in the namespace it happens in (a container has its own) to what the closes of
//! one TIME-WAIT need, with a margin: closes a second x 60 s, and at least to what it is where nobody changed it:
//! half of `tcp_ehash_entries`. Each costs 256 bytes at a server, 512 at a client. Then close less: keep-alive and
//! pools.
//!
//! ## What not to do
//!
//! Do not lower it "to be rid of TIME-WAIT": that is this finding. `tcp_tw_recycle` and `tcp_fin_timeout` do
//! not help; `SO_LINGER` with 0 s sends the resets on purpose.
//!
//! ## Sources
//!
//! net/ipv4/tcp_minisocks.c `tcp_time_wait()`; net/ipv4/inet_timewait_sock.c `inet_twsk_alloc()`; measured on
//! Linux 6.18: 300 closes with a limit of 100 gave 100 TIME-WAIT, +200 on the counter, and resets for every peer
//! that closed 0.3 s later. A namespace of its own since 4.12.

use crate::budget::{Pace, restarted_timers};
use crate::wording::{count, length, memory, percent, rate, share};
use crate::{Applicability, Confidence, Evidence, Finding, Look, Remedy, Severity, Subject, Verdict, myths};
use evidence::Unseen;
use tcp::State;
use tcp::profile::linux;

const SETTING: &str = "net.ipv4.tcp_max_tw_buckets";
const COUNTER: &str = "TcpExtTCPTimeWaitOverflow";
/// Room for a load half as high again.
const MARGIN: f64 = 1.5;
/// A table is never made smaller than this: 1 MB when full.
const LEAST: u64 = 4_096;
/// Below this part, a table is not said to be possibly full.
const HALF: f64 = 0.5;
/// An overflow with the table emptier than this had another cause: no memory.
const NEAR: f64 = 0.9;

/// How many sockets are in the table: /proc/net/sockstat counts what the limit counts.
pub(super) fn in_table(look: &Look<'_>) -> u64 {
    let seen = u64::from(look.namespace.sockets.by_state.of(State::TimeWait));
    look.namespace.sockstat.get("TCP.tw").copied().unwrap_or(seen)
}

/// Closes a second that want a place, refused ones included.
pub(super) fn wanted_per_second(look: &Look<'_>) -> f64 {
    let namespace = look.namespace;
    let from_timers = Pace::of_groups(&namespace.sockets.groups, namespace.settings.time_wait()).per_second;
    let made = namespace.counters.rate("TcpExtTW").unwrap_or(0.0);
    from_timers.max(made) + namespace.counters.rate(COUNTER).unwrap_or(0.0)
}

/// The remedy for a table that is too small for its rate.
pub(super) fn larger_table(look: &Look<'_>) -> Remedy {
    let now = look.namespace.settings.number(SETTING).unwrap_or(0);
    let time_wait = look.namespace.settings.time_wait();
    let need = wanted_per_second(look) * time_wait.as_secs_f64() * MARGIN;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float saturates")]
    let need = (need.ceil() as u64).max(in_table(look)).max(now.saturating_mul(2)).max(LEAST);
    // The setting is a C int.
    let need = need.checked_next_power_of_two().unwrap_or(u64::MAX).min(1 << 30);
    let default = look.namespace.settings.default_tw_buckets().unwrap_or(0);
    let to = need.max(default);
    let by_default = if to == default { ", which is its default here" } else { "" };
    let (small, large) =
        (linux::TIME_WAIT_BYTES.value, linux::TIME_WAIT_BYTES.value + linux::BIND_BUCKETS_BYTES.value);
    Remedy::advice(
        "larger-table",
        format!("Raise tcp_max_tw_buckets to {}{by_default}", count(to)),
        format!(
            "kernel memory: a full table takes {} at a server, {} at a client",
            memory(to * small),
            memory(to * large)
        ),
        format!(
            "room for {} closes a second over {}",
            rate(to as f64 / time_wait.as_secs_f64()),
            length(time_wait)
        ),
    )
    .carried_out(
        Applicability::Safe,
        look.change(SETTING, to),
        &["TcpExtTCPTimeWaitOverflow stops rising", "slab tw_sock_TCP stays below the memory named here"],
    )
}

/// True if the table is full, as far as that can be seen.
pub(super) fn is_full(look: &Look<'_>) -> bool {
    let limit = look.namespace.settings.number(SETTING);
    look.rise(COUNTER) > 0 || limit.is_some_and(|limit| in_table(look) >= limit)
}

pub(super) fn check(look: &Look<'_>) -> Verdict {
    let limit = look.namespace.settings.number(SETTING);
    let held = in_table(look);
    if is_full(look) {
        return Verdict::Found(vec![finding(look, limit, held)]);
    }
    let half_full = limit.is_none_or(|limit| share(held, limit) >= HALF);
    match look.unwatched() {
        Some(unwatched) if half_full && held > 0 => unwatched,
        _ => look.quiet_unless_unseen(&[Unseen::Sockets, Unseen::Settings]),
    }
}

fn finding(look: &Look<'_>, limit: Option<u64>, held: u64) -> Finding {
    let refused = look.rise(COUNTER);
    let full = limit.is_some_and(|limit| share(held, limit) >= NEAR || held >= limit);
    let limit_text = limit.map_or("an unknown limit".to_owned(), count);
    let claim = if refused > 0 && !full {
        format!(
            "{} closes got no TIME-WAIT in {}, though the table holds {} of {limit_text}: it was full for a moment, or \
             the kernel had no memory for them",
            count(refused),
            length(look.interval()),
            count(held)
        )
    } else if limit == Some(0) {
        let skipped = match refused {
            0 => String::new(),
            _ => format!(" ({} in {})", count(refused), length(look.interval())),
        };
        format!(
            "tcp_max_tw_buckets is 0: what closes first here gets no TIME-WAIT{skipped}, and late FINs of its peer \
             meet a reset"
        )
    } else if refused > 0 {
        format!(
            "The TIME-WAIT table is full ({} of {limit_text}): {} closes skipped TIME-WAIT in {}, and late FINs of \
             their peers meet a reset",
            count(held),
            count(refused),
            length(look.interval())
        )
    } else {
        format!(
            "The TIME-WAIT table is full ({} of {limit_text}): what closes now skips TIME-WAIT, and late FINs of \
             its peer meet a reset",
            count(held)
        )
    };
    let mut evidence = Vec::new();
    if look.namespace.counters.watched() {
        evidence.push(look.risen(COUNTER));
    }
    let of =
        limit.map(|limit| format!(" of {} ({})", count(limit), percent(held, limit))).unwrap_or_default();
    evidence.push(Evidence::new("sockstat TCP.tw", format!("{}{of}", count(held))));
    evidence.extend(look.set(SETTING));
    let wanted = wanted_per_second(look);
    if wanted > 0.0 {
        let needs = wanted * look.namespace.settings.time_wait().as_secs_f64();
        let says = format!("{} closes a second need {} places", rate(wanted), rate(needs));
        evidence.push(Evidence::new("TIME-WAIT timers", says));
        evidence.extend(restarted_timers(look.namespace));
    }
    Finding {
        rule: "time-wait-table-full",
        severity: Severity::Warning,
        confidence: if (refused > 0 && full) || limit == Some(0) {
            Confidence::Certain
        } else {
            Confidence::Likely
        },
        claim,
        subject: Subject { setting: Some(SETTING.to_owned()), ..look.subject() },
        evidence,
        remedies: remedies(look, limit.filter(|_| !full)),
        avoid: vec![
            myths::smaller_table(),
            myths::recycle(),
            myths::lower_fin_timeout(look.namespace.settings.time_wait()),
            myths::linger_zero(),
        ],
        next: Some(look.command("nstat -az TcpExtTCPTimeWaitOverflow TcpExtTW")),
    }
}

/// `emptier` is the limit of a table that is not near it.
fn remedies(look: &Look<'_>, emptier: Option<u64>) -> Vec<Remedy> {
    let needs = wanted_per_second(look) * look.namespace.settings.time_wait().as_secs_f64() * MARGIN;
    let mut all = Vec::new();
    if emptier.is_some_and(|limit| needs < limit as f64) {
        all.push(Remedy::advice(
            "find-memory",
            "Look for failed allocations: `dmesg | grep -i 'allocation failure'`, the container's memory limit",
            "none",
            "mini-sockets are made again; a larger table would not help",
        ));
    } else {
        all.push(larger_table(look));
    }
    all.push(Remedy::advice(
        "keep-connections",
        "Close less: keep-alive at the server, a pool at the client",
        "idle connections cost memory, too",
        "fewer places are needed",
    ));
    all
}
