//! Connection tracking: a table of its own, with its own `TIME_WAIT`.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// conntrack's states of a TCP connection, by number (include/uapi/linux/netfilter/nf_conntrack_tcp.h
/// `enum tcp_conntrack`).
pub const CONNTRACK_STATES: [&str; 10] = [
    "NONE",
    "SYN_SENT",
    "SYN_RECV",
    "ESTABLISHED",
    "FIN_WAIT",
    "CLOSE_WAIT",
    "LAST_ACK",
    "TIME_WAIT",
    "CLOSE",
    "SYN_SENT2",
];

/// conntrack in one network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Conntrack {
    /// Entries in this namespace (`net.netfilter.nf_conntrack_count`).
    pub entries: u64,
    /// Largest number of entries (`net.netfilter.nf_conntrack_max`); 0 if it could not be read.
    pub max: u64,
    /// TCP entries by conntrack's own state names (`TIME_WAIT`, `CLOSE_WAIT`), over IPv4 and IPv6.
    pub tcp_by_state: BTreeMap<String, u64>,
    /// Entries of other protocols.
    pub other_protocols: u64,
    /// True if the table was too large to read to its end: `tcp_by_state` then counts a part.
    pub partial: bool,
    /// Statistics at the start of the look (`drop`, `early_drop`, `insert_failed`), summed over CPUs.
    /// Empty for a single glance.
    pub stats_start: BTreeMap<String, u64>,
    /// The same at its end.
    pub stats_end: BTreeMap<String, u64>,
}

impl Conntrack {
    /// How much a statistic rose during the look; none for a single glance or an unknown name.
    pub fn rise(&self, name: &str) -> Option<u64> {
        let start = self.stats_start.get(name)?;
        self.stats_end.get(name)?.checked_sub(*start)
    }
}
