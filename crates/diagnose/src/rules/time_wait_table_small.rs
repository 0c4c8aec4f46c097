//! The table of TIME-WAIT sockets is smaller than what the rate of closes needs.
//!
//! ## What it sees
//!
//! `tcp_max_tw_buckets` is not reached yet, but either the closes of the last ten seconds, going on for one
//! TIME-WAIT (60 s), need more places than it has (a warning), or four fifths of it are taken (a note). When it
//! overflows already, `time-wait-table-full` speaks instead.
//!
//! The rate is read from the time that TIME-WAIT sockets have left. It is believed from five seconds of closes
//! on, and if they have not stopped: a single burst is no rate.
//!
//! `lastack lint` notes a line of a sysctl file that sets 10,000 or fewer: that is 166 closes a second.
//!
//! ## Why it hurts
//!
//! Not yet. When the table is full, connections that close get no TIME-WAIT: late FINs meet a reset, and last
//! data of peers that close later is lost (see `lastack explain time-wait-table-full`). It happens silently,
//! and under the highest load.
//!
//! The usual reasons: somebody lowered the limit "against TIME-WAIT" (5,000 and 10,000 are in many tuning
//! guides), or a machine with little memory, whose default is half of its table of connections.
//!
//! ## How to prove it
//!
//! ```sh
//! sysctl net.ipv4.tcp_max_tw_buckets
//! grep ^TCP: /proc/net/sockstat                  # tw: what the limit counts
//! nstat -az TcpExtTCPTimeWaitOverflow TcpExtTW
//! ```
//!
//! ## What to do
//!
//! Raise it to closes a second x 60 s with a margin, in the namespace that it concerns. A place that is not
//! used costs nothing; a used one 256 bytes at a server and 512 at a client.
//!
//! ## What not to do
//!
//! Do not shorten TIME-WAIT by other means: `tcp_fin_timeout` does not, `tcp_tw_recycle` breaks NAT, and
//! vendors' `tcp_tw_timeout` weakens what TIME-WAIT is for.
//!
//! ## Sources
//!
//! net/ipv4/tcp_ipv4.c `tcp_sk_init()` (default: half of the entries of the hash of connections, in each
//! namespace since 4.12); net/ipv4/inet_timewait_sock.c `inet_twsk_alloc()`; measured on Linux 6.18.

use super::time_wait_table_full::{in_table, is_full, larger_table};
use crate::budget::{Pace, restarted_timers};
use crate::configured::ConfigurationLook;
use crate::value::number_taken;
use crate::wording::{count, length, percent, rate, share};
use crate::{Confidence, Evidence, Finding, Look, Remedy, Severity, Subject, Verdict, myths};
use evidence::Unseen;
use tcp::profile::linux;

const SETTING: &str = "net.ipv4.tcp_max_tw_buckets";
/// What is left then is a matter of one burst.
const NEARLY_FULL: f64 = 0.8;

/// What tuning guides set, and less; a default is seldom below 32,768.
const FOLKLORE: u64 = 10_000;

/// What a file sets, by itself: with a live host, its table is judged.
pub(super) fn check_configuration(look: &ConfigurationLook<'_>) -> Verdict {
    let Some((written, at)) = look.written(SETTING).filter(|_| look.alone) else { return Verdict::Quiet };
    let limit = number_taken(&written.value).and_then(|limit| u64::try_from(limit).ok());
    let Some(limit) = limit.filter(|limit| *limit <= FOLKLORE) else {
        return Verdict::Quiet;
    };
    let time_wait = linux::TIME_WAIT.value;
    let claim = format!(
        "tcp_max_tw_buckets = {limit} is full at {} closes a second: then closing connections skip TIME-WAIT",
        count(limit / time_wait.as_secs())
    );
    Verdict::Found(vec![Finding {
        rule: "time-wait-table-small",
        severity: Severity::Note,
        confidence: Confidence::Possible,
        claim,
        subject: Subject { setting: Some(SETTING.to_owned()), ..Subject::default() },
        evidence: vec![Evidence::new(at.clone(), format!("sets it to {limit}"))],
        remedies: vec![Remedy::advice(
            "default-table",
            format!("Take the line at {at} out: the default grows with the machine's memory"),
            "none: a place that is not used costs nothing, a used one 256 to 512 B",
            "closes have their TIME-WAIT at any rate that the machine can do",
        )],
        avoid: vec![myths::smaller_table(), myths::recycle(), myths::lower_fin_timeout(time_wait)],
        next: None,
    }])
}

pub(super) fn check(look: &Look<'_>) -> Verdict {
    let needed = [Unseen::Sockets, Unseen::Settings];
    let limit = look.namespace.settings.number(SETTING).filter(|limit| *limit > 0);
    let Some(limit) = limit.filter(|_| !is_full(look)) else {
        return look.quiet_unless_unseen(&needed);
    };
    let held = in_table(look);
    let time_wait = look.namespace.settings.time_wait();
    let pace = Pace::of_groups(&look.namespace.sockets.groups, time_wait);
    let (speed, over_s) = (pace.per_second, pace.over_s);
    let needs = speed * time_wait.as_secs_f64();
    let too_fast = pace.lasts() && needs > limit as f64;
    if !too_fast && share(held, limit) < NEARLY_FULL {
        return look.quiet_unless_unseen(&needed);
    }
    let mut evidence = vec![Evidence::new(
        "sockstat TCP.tw",
        format!("{} of {} ({})", count(held), count(limit), percent(held, limit)),
    )];
    evidence.extend(look.set(SETTING));
    if over_s > 0 {
        let says = format!("{} closes a second over {over_s} s", rate(speed));
        evidence.push(Evidence::new(pace.source(), says));
        evidence.extend(restarted_timers(look.namespace));
    }
    let claim = if too_fast {
        format!(
            "{} closes a second need {} places in the TIME-WAIT table over {}, and it has {}: it will overflow, and \
             closes will skip TIME-WAIT",
            rate(speed),
            rate(needs),
            length(time_wait),
            count(limit)
        )
    } else {
        format!(
            "The TIME-WAIT table holds {} of {} ({}): it has little room for more",
            count(held),
            count(limit),
            percent(held, limit)
        )
    };
    Verdict::Found(vec![Finding {
        rule: "time-wait-table-small",
        severity: if too_fast { Severity::Warning } else { Severity::Note },
        confidence: if too_fast { Confidence::Likely } else { Confidence::Certain },
        claim,
        subject: Subject { setting: Some(SETTING.to_owned()), ..look.subject() },
        evidence,
        remedies: vec![larger_table(look)],
        avoid: vec![myths::smaller_table(), myths::recycle(), myths::lower_fin_timeout(time_wait)],
        next: Some(look.command("nstat -az TcpExtTCPTimeWaitOverflow TcpExtTW")),
    }])
}
