//! How fast connections close here, what their remains cost, and what the counters and conntrack say.

use crate::NotShown;
use crate::report::{first, foremost, name, rounded};
use evidence::{Case, Namespace};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use tcp::profile::linux;

/// So many namespaces are reported each.
const MAX_ROWS: usize = 50;

/// The seconds over which the present rate is taken.
const RECENT_S: usize = 10;

/// A history is no longer than this many seconds, whatever a vendor's `tcp_tw_timeout` says.
const MAX_HISTORY_S: u64 = 600;

/// TIME-WAIT sockets, and FIN-WAIT-2 sockets without a process, which are of the same kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TimeWait {
    /// TIME-WAIT sockets in the namespaces that were looked at.
    pub sockets: u64,
    /// Kernel memory in bytes.
    pub bytes: u64,
    /// `slab`: read from the kernel's slabs, for all namespaces of the host. `estimate`: reckoned from the
    /// number of sockets.
    #[schemars(extend("enum" = ["slab", "estimate"]))]
    pub bytes_known_by: &'static str,
    /// The most TIME-WAIT sockets that any one namespace here may keep (`tcp_max_tw_buckets`); null if unknown.
    pub limit: Option<u64>,
}

impl TimeWait {
    pub(crate) fn new(case: &Case) -> Self {
        let sum = |of: fn(&Namespace) -> u64| case.namespaces.iter().map(of).fold(0, u64::saturating_add);
        let sockets = sum(|netns| u64::from(netns.sockets.by_state.of(tcp::State::TimeWait)));
        // `tw_sock_TCP` and `tw_sock_TCPv6`: net/ipv4/tcp_ipv4.c and net/ipv6/tcp_ipv6.c, `tcp_timewait_sock_ops`.
        let slabs: Vec<u64> = case
            .host
            .slabs
            .iter()
            .filter(|(slab, _)| slab.starts_with("tw_sock_TCP"))
            .map(|(_, slab)| slab.total_bytes)
            .collect();
        Self {
            sockets,
            bytes: if slabs.is_empty() {
                sockets.saturating_mul(linux::TIME_WAIT_BYTES.value)
            } else {
                slabs.into_iter().fold(0, u64::saturating_add)
            },
            bytes_known_by: if case.host.slabs.keys().any(|slab| slab.starts_with("tw_sock_TCP")) {
                "slab"
            } else {
                "estimate"
            },
            limit: case
                .namespaces
                .iter()
                .filter_map(|netns| netns.settings.number("net.ipv4.tcp_max_tw_buckets"))
                .max(),
        }
    }
}

/// Closes a second in one namespace, read from the time that its TIME-WAIT sockets have left. A stray segment
/// restarts that timer, so a socket may count later than it closed; one that was taken again (`tcp_tw_reuse`)
/// or killed by a reset no longer counts.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Closes {
    /// Network namespace.
    pub netns: String,
    /// Closes in each of the last seconds, the latest first.
    pub by_second: Vec<u64>,
    /// A second, over the last 10 seconds.
    pub recent_per_second: f64,
    /// The most in one second.
    pub most_per_second: u64,
}

impl Closes {
    pub(crate) fn of(case: &Case, not_shown: &mut NotShown) -> Vec<Self> {
        let rows = case.namespaces.iter().filter_map(Self::new).collect();
        foremost(rows, MAX_ROWS, &mut not_shown.closes, |a, b| {
            b.recent_per_second
                .total_cmp(&a.recent_per_second)
                .then_with(|| b.most_per_second.cmp(&a.most_per_second))
                .then_with(|| a.netns.cmp(&b.netns))
        })
    }

    fn new(namespace: &Namespace) -> Option<Self> {
        let seconds = namespace.settings.time_wait().as_secs().clamp(1, MAX_HISTORY_S);
        let mut by_second = vec![0_u64; usize::try_from(seconds).unwrap_or(1)];
        let newest = by_second.len() - 1;
        for group in namespace.sockets.groups.iter().filter(|group| !group.time_wait.is_empty()) {
            for (left, count) in group.time_wait.counts() {
                // As `evidence::Countdown::closes_by_age`, without a table for each group.
                by_second[newest.saturating_sub(left as usize)] += u64::from(count);
            }
        }
        let most_per_second = by_second.iter().copied().max().filter(|most| *most > 0)?;
        let recent = by_second.len().min(RECENT_S);
        let sum: u64 = by_second.iter().take(recent).sum();
        Some(Self {
            netns: name(&namespace.name),
            recent_per_second: rounded(sum as f64 / recent as f64),
            by_second,
            most_per_second,
        })
    }
}

/// A counter that rose during the look.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Movement {
    /// Network namespace.
    pub netns: String,
    /// Its name as `nstat` prints it.
    pub name: &'static str,
    /// By how much it rose.
    pub rise: u64,
    /// The same, a second.
    pub per_second: f64,
}

/// The counters that tell of opening and closing, in the order of a connection's life.
const COUNTERS: [&str; 40] = [
    "TcpActiveOpens",
    "TcpPassiveOpens",
    "TcpAttemptFails",
    "TcpExtListenOverflows",
    "TcpExtListenDrops",
    "TcpExtTCPReqQFullDrop",
    "TcpExtTCPReqQFullDoCookies",
    "TcpExtSyncookiesSent",
    "TcpExtTCPSynRetrans",
    "TcpRetransSegs",
    "TcpExtTCPTimeouts",
    "TcpEstabResets",
    "TcpOutRsts",
    "TcpExtTW",
    "TcpExtTWRecycled",
    "TcpExtTWKilled",
    "TcpExtTCPTimeWaitOverflow",
    "TcpExtPAWSPassive",
    "TcpExtPAWSActive",
    "TcpExtPAWSEstab",
    "TcpExtPAWSTimewait",
    "TcpExtTSEcrRejected",
    "TcpExtTCPACKSkippedTimeWait",
    "TcpExtTCPACKSkippedFinWait2",
    "TcpExtTCPACKSkippedPAWS",
    "TcpExtTCPACKSkippedSynRecv",
    "TcpExtTCPChallengeACK",
    "TcpExtTCPSYNChallenge",
    "TcpExtEmbryonicRsts",
    "TcpExtTCPAbortOnData",
    "TcpExtTCPAbortOnClose",
    "TcpExtTCPAbortOnMemory",
    "TcpExtTCPAbortOnTimeout",
    "TcpExtTCPAbortOnLinger",
    "TcpExtTCPAbortFailed",
    "TcpExtTCPMemoryPressures",
    "TcpExtTCPRcvQDrop",
    "TcpExtTCPZeroWindowDrop",
    "TcpExtTCPMigrateReqFailure",
    "TcpExtOfoPruned",
];

impl Movement {
    pub(crate) fn of(case: &Case, not_shown: &mut NotShown) -> Vec<Self> {
        let mut rows = Vec::new();
        for namespace in &case.namespaces {
            for counter in COUNTERS {
                if let Some(rise) = namespace.counters.rise(counter).filter(|rise| *rise > 0) {
                    rows.push(Self {
                        netns: name(&namespace.name),
                        name: counter,
                        rise,
                        per_second: rounded(namespace.counters.rate(counter).unwrap_or(0.0)),
                    });
                }
            }
        }
        first(&rows, MAX_ROWS * 4, &mut not_shown.counters).to_vec()
    }
}

/// Connection tracking in one namespace.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Tracking {
    /// Network namespace.
    pub netns: String,
    /// Entries.
    pub entries: u64,
    /// The most there may be; null if it could not be read.
    pub max: Option<u64>,
    /// Part of the table in use, 0 to 1; null if `max` is.
    pub share: Option<f64>,
    /// TCP entries by conntrack's own state names (`TIME_WAIT`).
    pub tcp_by_state: BTreeMap<String, u64>,
    /// Entries of other protocols.
    pub other_protocols: u64,
    /// True if the table was too large to read to its end: `tcp_by_state` then counts a part.
    pub partial: bool,
    /// Statistics that rose during the look: `drop`, `early_drop`, `insert_failed`.
    pub rises: BTreeMap<String, u64>,
}

impl Tracking {
    pub(crate) fn of(case: &Case, not_shown: &mut NotShown) -> Vec<Self> {
        let rows: Vec<Self> = case.namespaces.iter().filter_map(Self::new).collect();
        foremost(rows, MAX_ROWS, &mut not_shown.conntrack, |a, b| {
            b.share
                .unwrap_or(0.0)
                .total_cmp(&a.share.unwrap_or(0.0))
                .then_with(|| b.entries.cmp(&a.entries))
                .then_with(|| a.netns.cmp(&b.netns))
        })
    }

    fn new(namespace: &Namespace) -> Option<Self> {
        let conntrack = namespace.conntrack.as_ref()?;
        let max = (conntrack.max > 0).then_some(conntrack.max);
        let rises = conntrack.stats_end.keys().take(MAX_ROWS).filter_map(|statistic| {
            let rise = conntrack.rise(statistic).filter(|rise| *rise > 0)?;
            Some((name(statistic), rise))
        });
        Some(Self {
            netns: name(&namespace.name),
            entries: conntrack.entries,
            max,
            share: max.map(|max| rounded(conntrack.entries as f64 / max as f64)),
            tcp_by_state: conntrack
                .tcp_by_state
                .iter()
                .take(MAX_ROWS)
                .map(|(state, count)| (name(state), *count))
                .collect(),
            other_protocols: conntrack.other_protocols,
            partial: conntrack.partial,
            rises: rises.collect(),
        })
    }
}
