//! Counters of the kernel, as a difference over the look. An absolute number since boot says nothing.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Counters of /proc/net/snmp and /proc/net/netstat, named as `nstat` names them: `TcpOutRsts`,
/// `TcpExtTCPTimeWaitOverflow`. They are kept per network namespace by the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Length of the look in milliseconds; 0 is a single glance, which has no `start`.
    pub interval_ms: u64,
    /// Values at the start of the look.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub start: BTreeMap<String, u64>,
    /// Values at its end.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub end: BTreeMap<String, u64>,
}

impl Counters {
    /// True if rises are known: the look had a length and both ends were read.
    pub fn watched(&self) -> bool {
        self.interval_ms > 0 && !self.start.is_empty() && !self.end.is_empty()
    }

    /// How much a counter rose during the look. None for a single glance, for a counter this kernel does not
    /// have, and for one that went back (the namespace was replaced).
    pub fn rise(&self, name: &str) -> Option<u64> {
        if self.interval_ms == 0 {
            return None;
        }
        self.end.get(name)?.checked_sub(*self.start.get(name)?)
    }

    /// The rise as a rate per second.
    pub fn rate(&self, name: &str) -> Option<f64> {
        self.rise(name).map(|rise| rise as f64 * 1_000.0 / self.interval_ms as f64)
    }

    /// True if this kernel has the counter: a probe, where a version string would lie.
    pub fn has(&self, name: &str) -> bool {
        self.end.contains_key(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(interval_ms: u64, start: u64, end: u64) -> Counters {
        let map = |value| BTreeMap::from([("TcpOutRsts".to_owned(), value)]);
        Counters { interval_ms, start: map(start), end: map(end) }
    }

    #[test]
    fn a_rise_needs_a_look_and_never_wraps() {
        assert_eq!(counters(2_000, 10, 14).rise("TcpOutRsts"), Some(4));
        assert_eq!(counters(2_000, 10, 14).rate("TcpOutRsts"), Some(2.0));
        assert_eq!(counters(0, 10, 14).rise("TcpOutRsts"), None);
        assert_eq!(counters(1_000, 14, 10).rise("TcpOutRsts"), None);
        assert_eq!(counters(1_000, 1, 2).rise("TcpInSegs"), None);
    }
}
