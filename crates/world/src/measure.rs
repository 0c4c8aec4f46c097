//! What a run gives, under names that both stages use.

pub(crate) mod names;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The parts of all times, in per cent, that are at most as long as what is measured, and what that is called.
pub const PARTS: [(u32, &str); 5] = [(40, "p40"), (50, "p50"), (60, "p60"), (90, "p90"), (99, "p99")];

/// The longest of all.
pub const LONGEST: &str = "max";

/// Numbers of one run of one variant, by name.
///
/// | name | what |
/// |---|---|
/// | `HOST.sockets.STATE` | sockets in that state (`TIME-WAIT`) when the look ends, as RFC 9293 names it |
/// | `HOST.peak.STATE` | the most there were at any of the looks in between |
/// | `HOST.counters.NAME` | by how much a counter of `Tcp:` or `TcpExt:` rose over the run; zero is left out |
/// | `HOST.conntrack` | entries of its conntrack table when the look ends |
/// | `HOST.bytes.NAME` | slab memory: `time_wait`, and `a_time_wait` for each |
/// | `CLIENT.ok` | connections whose requests were all answered |
/// | `CLIENT.connected` | connections that connect() made |
/// | `CLIENT.requests` | requests that were answered in full |
/// | `CLIENT.failed.CALL.ERRNO` | calls that failed: `load.failed.connect.EADDRNOTAVAIL`; `EOF` where an answer ended early |
/// | `CLIENT.per_second` | connections made a second, from the begin of the client's first turn to the end of its last |
/// | `CLIENT.connect_us.p40`, `.p50`, `.p60`, `.p90`, `.p99`, `.max` | how long connect() took, microseconds |
/// | `CLIENT.connect_us.tenth1` to `.tenth10` | the median of connect() in each tenth of them, in the order in which they began |
/// | `CLIENT.answer_us.p40`, `.p50`, `.p60`, `.p90`, `.p99`, `.max` | from a request to the end of its answer, microseconds |
/// | `CLIENT.cpu_us` | processor time of one connect(), microseconds, on average |
/// | `CLIENT.socket_us` | processor time of a socket() and its close() between its turns, microseconds, the median: how fast the machine was meanwhile ([`Costs::pace`](crate::Costs::pace)). A simulator has none |
/// | `SERVER.failed.bind.ERRNO` | a restart that failed |
/// | `PROXY.upstream` | connections a proxy made to its upstream |
/// | `PROXY.failed.CALL.ERRNO`, `SERVER.failed.bind.EADDRINUSE` | calls that failed there |
/// | `PROBE.reply`, `PROBE.after`, `PROBE.timer` | see [`Probe`](crate::scenario::Probe): 1 if it was as expected, 0 if not |
///
/// What is left out of these is 0, but for rates, latencies and memory: those were not measured then.
///
/// Counts are compared within 5 %, names that end in `_us` or `per_second` (or lie below such) within 20 %, as far as
/// they are compared at all: see [`verdict::compare`](crate::verdict::compare).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Measures(pub BTreeMap<String, f64>);

impl Measures {
    /// The number under a name; what was not counted is none.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// Sets a number.
    pub fn set(&mut self, name: impl Into<String>, value: f64) {
        self.0.insert(name.into(), value);
    }

    /// Adds to a number.
    pub fn add(&mut self, name: impl Into<String>, value: f64) {
        *self.0.entry(name.into()).or_insert(0.0) += value;
    }

    /// The number under a name, or 0 if it is a count: what was not seen did not happen. None if it was not measured.
    pub fn value(&self, name: &str) -> Option<f64> {
        let counted = !Self::is_timing(name) && !Self::is_memory(name);
        self.get(name).or_else(|| counted.then_some(0.0))
    }

    /// True for memory, which not everybody may see.
    pub fn is_memory(name: &str) -> bool {
        name.split('.').nth(1) == Some("bytes")
    }

    /// True for a rate or a latency, which a busy machine moves.
    pub fn is_timing(name: &str) -> bool {
        name.split('.').any(|part| part.ends_with("_us") || part == "per_second")
    }
}
