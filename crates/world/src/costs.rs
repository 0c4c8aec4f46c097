//! What things cost on a machine: what the simulator foretells rates and latencies from.

mod fit;
mod pace;

use crate::simulator::Walk;
use serde::{Deserialize, Serialize};
use tcp::machine::Nanos;

/// A process that did nothing for so long finds its caches cold,
const COLD_AFTER: Nanos = 1_000_000;
/// and after so long so much colder.
const COLDER_AFTER: Nanos = 50_000_000;
const COLDER: Nanos = 5;

/// So many ports of one walk are found in the caches that a processor has for itself (2 MiB), beside what else is
/// done on it. Measured in a range of 28,232 ports where nothing else goes on: 50 to 55 ns for each of up to 20,000
/// ports, 75 ns with all of them; where two clients connect: 61 ns for each of 14,116.
const CACHED_PORTS: u32 = 8_000;

/// What forwards a short connection handles so many times a [`hop`](Costs::hop) for it, each way: five segments, which
/// are captured, too.
const HOPS_EACH_WAY: Nanos = 8;

/// What a machine takes for what hosts do on it, in nanoseconds.
///
/// Two kinds of time are told apart. Some pass for whoever waits: `connect` to
/// `proxy_turn`. The others are processor time that is taken from all:
/// `connection` to `proxied`, all that client, server and what captures
/// on the way do, wherever they run. A load that is faster than [`processors`](field@Self::processors) can bear is
/// slowed down to what they can.
///
/// [`Costs::default`] are medians of a machine with two processors (Linux 6.18, a virtual machine, captures at each
/// interface, 2026-11).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Costs {
    /// Processors that all hosts share; none: every process has one of its own.
    pub processors: Option<u32>,
    /// connect() by itself: without its segments' time on the way, and ports that are walked.
    pub connect: Nanos,
    /// What connect() takes more where its process has slept for more than a millisecond, and its answer again; five
    /// times that where it is new, or has slept for long.
    pub cold: Nanos,
    /// A thousand ports that connect() looks at in vain, each of which a connection to the same destination has: it is
    /// looked up among all connections.
    pub thousand_ports: Nanos,
    /// The same for those of one walk behind the first 8,000: their connections are not in the caches.
    pub thousand_far_ports: Nanos,
    /// The same where bind() took them: their bucket alone says so.
    pub thousand_bound_ports: Nanos,
    /// A thousand ports that bind() looks at in vain.
    pub thousand_binds: Nanos,
    /// A segment's time over a link.
    pub link: Nanos,
    /// What a host adds that forwards it.
    pub hop: Nanos,
    /// A process runs so long after something came for it.
    pub wake: Nanos,
    /// The same for a server that must accept the connection first, and hand it to a thread.
    pub accept: Nanos,
    /// From one call of a process to its next.
    pub call: Nanos,
    /// From the end of a client's connection to connect() for the next: close(), socket(), its options.
    pub turn: Nanos,
    /// A proxy runs so long after something came for it.
    pub proxy_turn: Nanos,
    /// Processor time of a connection, without connect() and without requests.
    pub connection: Nanos,
    /// What it takes more where the client closes first, and the server is woken by that.
    pub close: Nanos,
    /// Of a thread for each that a client has at once, and one at the server.
    pub threads: Nanos,
    /// Of a request and its answer.
    pub request: Nanos,
    /// What a proxy takes for a request, besides what client and upstream take.
    pub proxied: Nanos,
}

impl Default for Costs {
    fn default() -> Self {
        Self {
            processors: Some(2),
            connect: 6_000,
            cold: 13_000,
            thousand_ports: 50_000,
            thousand_far_ports: 75_000,
            thousand_bound_ports: 7_500,
            thousand_binds: 70_000,
            link: 3_000,
            hop: 4_200,
            wake: 5_000,
            accept: 20_000,
            call: 7_000,
            turn: 18_000,
            proxy_turn: 15_000,
            connection: 48_000,
            close: 17_000,
            threads: 55_000,
            request: 13_500,
            proxied: 32_000,
        }
    }
}

/// Costs of one kind go up and down together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// What the kernel does for a connection.
    Connect,
    /// Ports that are looked at in vain.
    Walk,
    /// What passes for a segment on the way, and between calls.
    Way,
    /// What processes do.
    Process,
}

/// The nearest number of nanoseconds.
fn rounded(cost: f64) -> Nanos {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts of floats saturate")]
    {
        cost.round() as Nanos
    }
}

fn walk(ports: u32, thousand: Nanos) -> Nanos {
    Nanos::from(ports).saturating_mul(thousand) / 1_000
}

impl Costs {
    /// Hosts that have their processors for themselves.
    pub fn of_separate_machines() -> Self {
        Self { processors: None, ..Self::default() }
    }

    /// Costs each of which is made from where it is in others, and its kind.
    fn made(processors: Option<u32>, make: impl Fn(fn(&Self) -> Nanos, Kind) -> Nanos) -> Self {
        Self {
            processors,
            connect: make(|costs| costs.connect, Kind::Connect),
            cold: make(|costs| costs.cold, Kind::Connect),
            thousand_ports: make(|costs| costs.thousand_ports, Kind::Walk),
            thousand_far_ports: make(|costs| costs.thousand_far_ports, Kind::Walk),
            thousand_bound_ports: make(|costs| costs.thousand_bound_ports, Kind::Walk),
            thousand_binds: make(|costs| costs.thousand_binds, Kind::Walk),
            link: make(|costs| costs.link, Kind::Way),
            hop: make(|costs| costs.hop, Kind::Connect),
            wake: make(|costs| costs.wake, Kind::Process),
            accept: make(|costs| costs.accept, Kind::Process),
            call: make(|costs| costs.call, Kind::Way),
            turn: make(|costs| costs.turn, Kind::Process),
            proxy_turn: make(|costs| costs.proxy_turn, Kind::Process),
            connection: make(|costs| costs.connection, Kind::Process),
            close: make(|costs| costs.close, Kind::Process),
            threads: make(|costs| costs.threads, Kind::Process),
            request: make(|costs| costs.request, Kind::Process),
            proxied: make(|costs| costs.proxied, Kind::Process),
        }
    }

    /// connect() that looks at so many ports in vain.
    pub(crate) fn connect(&self, walked: Walk) -> Nanos {
        let near = walked.taken.min(CACHED_PORTS);
        let parts = [
            (near, self.thousand_ports),
            (walked.taken - near, self.thousand_far_ports),
            (walked.bound, self.thousand_bound_ports),
        ];
        parts.into_iter().fold(self.connect, |sum, (ports, cost)| sum.saturating_add(walk(ports, cost)))
    }

    /// What bind() takes for ports that it looks at in vain.
    pub(crate) fn bind(&self, walked: u32) -> Nanos {
        walk(walked, self.thousand_binds)
    }

    /// What connect() takes more behind so long a rest; none: it is the process' first.
    pub(crate) const fn cold(&self, rested: Option<Nanos>) -> Nanos {
        match rested {
            Some(rested) if rested < COLD_AFTER => 0,
            Some(rested) if rested < COLDER_AFTER => self.cold,
            _ => self.cold.saturating_mul(COLDER),
        }
    }

    /// Processor time of forwarding a connection's segments, over so many hops there and back together.
    pub(crate) fn forwarding(&self, hops: u64) -> Nanos {
        hops.saturating_mul(HOPS_EACH_WAY).saturating_mul(self.hop)
    }
}
