//! What a server or a load came to.

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use world::measure::{LONGEST, PARTS};

/// What a server saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerResult {
    /// Connections that were accepted.
    pub accepted: u64,
    /// Requests that were answered.
    pub answered: u64,
    /// Connections that the client closed before the server did.
    pub closed_by_client: u64,
    /// Connections that were kept after the client had closed.
    pub forgotten: u64,
    /// What failed, by call and error: `recv.ECONNRESET`.
    pub failures: BTreeMap<String, u64>,
}

/// What a load came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoadResult {
    /// Connections that were made.
    pub connected: u64,
    /// Those on which a request was not answered.
    pub broken: u64,
    /// Calls of connect(), succeeding or not.
    pub connects_tried: u64,
    /// Requests that were answered in full.
    pub answered: u64,
    /// Turns that were begun.
    pub turns: u64,
    /// What failed, by call and error: `connect.EADDRNOTAVAIL`, `recv.EOF`.
    pub failures: BTreeMap<String, u64>,
    /// How long connect() took where it succeeded.
    pub connect: Times,
    /// The median of that in each tenth of the connections, in the order in which they began, in microseconds.
    pub connect_tenths_us: Vec<u32>,
    /// CPU time of the calling thread in connect(), succeeding or not, in nanoseconds.
    pub connect_cpu_ns: u64,
    /// What socket() and close() took the calling thread between turns, the median, in nanoseconds: how fast the machine
    /// was meanwhile.
    pub socket_ns: Option<u32>,
    /// From a request to the end of its answer.
    pub answer: Times,
    /// From the begin of the first turn to the end of the last, in microseconds.
    pub elapsed_us: u64,
}

impl LoadResult {
    /// Connections on which every request was answered.
    pub fn ok(&self) -> u64 {
        self.connected.saturating_sub(self.broken)
    }

    /// How often this failed: `connect.EADDRNOTAVAIL`.
    pub fn failed(&self, what: &str) -> u64 {
        self.failures.get(what).copied().unwrap_or(0)
    }

    /// Connections a second, over the time from the begin of the first turn to the end of the last.
    pub fn connects_per_second(&self) -> f64 {
        self.connected as f64 * 1e6 / self.elapsed_us.max(1) as f64
    }
}

/// A distribution of times, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Times {
    /// How many.
    pub count: u64,
    /// Those that [`PARTS`] are at most as long as.
    pub parts_us: [u32; PARTS.len()],
    /// The longest.
    pub max_us: u32,
}

impl Times {
    /// Of these, which are put in order.
    pub(super) fn of(times: &mut [u32]) -> Self {
        times.sort_unstable();
        Self {
            count: times.len() as u64,
            parts_us: PARTS.map(|(percent, _)| at_most(times, percent)),
            max_us: times.last().copied().unwrap_or(0),
        }
    }

    /// What is measured, by its name, in microseconds; nothing where there were no times.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let parts = PARTS.into_iter().map(|(_, part)| part).zip(self.parts_us);
        parts.chain([(LONGEST, self.max_us)]).filter(|_| self.count > 0)
    }
}

/// So many per cent of these, which are in order, are at most this.
pub(super) fn at_most(times: &[u32], percent: u32) -> u32 {
    let place = times.len() * percent as usize / 100;
    times.get(place).or(times.last()).copied().unwrap_or(0)
}

/// What a call failed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) call: Call,
    pub(super) why: Why,
}

/// A call that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Socket,
    Bind,
    Connect,
    Accept,
    Send,
    Recv,
}

/// Why it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The kernel said so.
    Error(Errno),
    /// The time that the caller allows was over.
    Timeout,
    /// The peer closed in the middle.
    End,
    /// What came was not understood.
    Garbled,
    /// The server or load is being stopped.
    Stopped,
}

impl Call {
    pub(super) fn failed(self, error: Errno) -> Failure {
        let timeout = matches!(error, Errno::AGAIN | Errno::INPROGRESS);
        Failure { call: self, why: if timeout { Why::Timeout } else { Why::Error(error) } }
    }

    pub(super) const fn because(self, why: Why) -> Failure {
        Failure { call: self, why }
    }
}

impl Failure {
    /// `connect.EADDRNOTAVAIL`.
    pub(super) fn name(self) -> String {
        let call = match self.call {
            Call::Socket => "socket",
            Call::Bind => "bind",
            Call::Connect => "connect",
            Call::Accept => "accept",
            Call::Send => "send",
            Call::Recv => "recv",
        };
        let why = match self.why {
            Why::Error(error) => errno_name(error),
            // The peer's patience was over, not the kernel's; whoever waits sees the same.
            Why::Timeout => "ETIMEDOUT".to_owned(),
            Why::End => "EOF".to_owned(),
            Why::Garbled => "garbled".to_owned(),
            Why::Stopped => "stopped".to_owned(),
        };
        format!("{call}.{why}")
    }
}

/// The name of an error that sockets give (errno(3)), else its number.
fn errno_name(error: Errno) -> String {
    let name = match error {
        Errno::ADDRNOTAVAIL => "EADDRNOTAVAIL",
        Errno::ADDRINUSE => "EADDRINUSE",
        Errno::CONNREFUSED => "ECONNREFUSED",
        Errno::CONNRESET => "ECONNRESET",
        Errno::CONNABORTED => "ECONNABORTED",
        Errno::TIMEDOUT => "ETIMEDOUT",
        Errno::PIPE => "EPIPE",
        Errno::NETUNREACH => "ENETUNREACH",
        Errno::HOSTUNREACH => "EHOSTUNREACH",
        Errno::INVAL => "EINVAL",
        Errno::MFILE => "EMFILE",
        Errno::NFILE => "ENFILE",
        Errno::NOBUFS => "ENOBUFS",
        Errno::NOMEM => "ENOMEM",
        Errno::ACCESS => "EACCES",
        Errno::PERM => "EPERM",
        Errno::NOTCONN => "ENOTCONN",
        Errno::ISCONN => "EISCONN",
        Errno::INTR => "EINTR",
        other => return format!("errno{}", other.raw_os_error()),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_sorted_times() {
        let mut times: Vec<u32> = (1..=1000).rev().collect();
        let quantiles = Times::of(&mut times);
        assert_eq!(quantiles, Times { count: 1000, parts_us: [401, 501, 601, 901, 991], max_us: 1000 });
        let named: Vec<_> = quantiles.named().collect();
        assert_eq!((named[1], named[5]), (("p50", 501), ("max", 1000)));
        assert_eq!(Times::default().named().count(), 0);
        assert_eq!(Times::of(&mut []), Times::default());
    }

    #[test]
    fn failures_are_named_by_call_and_error() {
        assert_eq!(Call::Connect.failed(Errno::ADDRNOTAVAIL).name(), "connect.EADDRNOTAVAIL");
        assert_eq!(Call::Connect.failed(Errno::INPROGRESS).name(), "connect.ETIMEDOUT");
        assert_eq!(Call::Recv.because(Why::End).name(), "recv.EOF");
        assert_eq!(Call::Send.failed(Errno::from_raw_os_error(95)).name(), "send.errno95");
    }
}
