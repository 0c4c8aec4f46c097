//! The numbers of a run that a change is judged by.

use crate::fit::Range;
use crate::scenario::World;
use crate::simulator::{OPENING, Run, Sample, Upstream};
use serde::Serialize;
use tcp::State;
use tcp::profile::linux;

/// What one run, or several of the same, came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Numbers {
    /// Sockets in TIME-WAIT at the host that is asked about, at the end,
    pub time_wait: Range,
    /// and the most at any look.
    pub time_wait_peak: Range,
    /// The same at its peers, all together, at the end.
    pub time_wait_at_peers: Range,
    /// Connections that one side has closed and the other has not, at the end: CLOSE-WAIT at the host or its peers,
    /// FIN-WAIT-2 at the host.
    pub unclosed: Range,
    /// The fewest local ports that were left at any look, of the fullest budget; none if nobody connected from there.
    pub ports_left: Option<Range>,
    /// Connects that were tried, by all clients and proxies.
    pub connects: Range,
    /// Connects (and binds before them) that failed.
    pub failed: Range,
    /// The same a second.
    pub failed_per_second: Range,
    /// Connections that were lost later: reset, timed out, ended early.
    pub lost: Range,
    /// Requests that were answered.
    pub answered: Range,
    /// Resets that were sent, by all hosts.
    pub resets: Range,
    /// TIME-WAIT sockets that did not fit their table, at all hosts.
    pub overflows: Range,
    /// Half of connects took at most so long, microseconds: of the client or proxy with the longest.
    pub connect_p50_us: Range,
    /// 99 of 100 connects took at most so long, microseconds, of the client or proxy with the longest.
    pub connect_p99_us: Range,
    /// Microseconds that connect() adds to each answered request, by its median; none if nothing was answered.
    pub latency_us: Option<Range>,
    /// Kernel memory of TIME-WAIT at the host, bytes, at the end.
    pub memory_bytes: Range,
    /// Processor time of connect(), as a part of one processor, 0 to 1.
    pub connect_cpu: Range,
}

/// A look at a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Point {
    /// Seconds from its start.
    pub at_s: f64,
    /// TIME-WAIT at the host.
    pub time_wait: f64,
    /// The same at its peers.
    pub time_wait_at_peers: f64,
    /// Ports left at the host; none while nobody has connected from there.
    pub ports_left: Option<f64>,
    /// Connects (and binds before them) that failed a second, since the look before.
    pub failed_per_second: f64,
    /// Connections that were lost later, a second.
    pub lost_per_second: f64,
}

impl Numbers {
    /// The ranges that hold both.
    #[must_use]
    pub fn with(self, other: &Self) -> Self {
        let both = |one: Range, other: Range| one.with(other.low).with(other.high);
        let where_known = |one: Option<Range>, other: Option<Range>| match (one, other) {
            (Some(one), Some(other)) => Some(both(one, other)),
            (one, other) => one.or(other),
        };
        Self {
            time_wait: both(self.time_wait, other.time_wait),
            time_wait_peak: both(self.time_wait_peak, other.time_wait_peak),
            time_wait_at_peers: both(self.time_wait_at_peers, other.time_wait_at_peers),
            unclosed: both(self.unclosed, other.unclosed),
            ports_left: where_known(self.ports_left, other.ports_left),
            connects: both(self.connects, other.connects),
            failed: both(self.failed, other.failed),
            failed_per_second: both(self.failed_per_second, other.failed_per_second),
            lost: both(self.lost, other.lost),
            answered: both(self.answered, other.answered),
            resets: both(self.resets, other.resets),
            overflows: both(self.overflows, other.overflows),
            connect_p50_us: both(self.connect_p50_us, other.connect_p50_us),
            connect_p99_us: both(self.connect_p99_us, other.connect_p99_us),
            latency_us: where_known(self.latency_us, other.latency_us),
            memory_bytes: both(self.memory_bytes, other.memory_bytes),
            connect_cpu: both(self.connect_cpu, other.connect_cpu),
        }
    }

    pub(super) fn of(world: &World, here: &str, run: &Run, samples: &[Sample]) -> Self {
        let measures = &run.measures;
        let get = |name: String| measures.get(&name).unwrap_or(0.0);
        let hosts = || world.hosts.iter().map(|host| host.name.as_str());
        let peers = || hosts().filter(|host| *host != here);
        let clients = || world.clients.iter().map(|client| client.name.as_str());
        let failures = |calls: &[&str], wanted: bool| -> f64 {
            let failed = measures.0.iter().filter_map(|(name, count)| {
                let mut words = name.split('.');
                let owner = words.next()?;
                let is_call = words.next()? == "failed" && calls.contains(&words.next()?) == wanted;
                (is_call && !world.servers.iter().any(|server| server.name == owner)).then_some(*count)
            });
            failed.sum()
        };
        let failed = failures(&OPENING, true);
        let made: f64 = clients().map(|client| get(format!("{client}.connected"))).sum();
        let upstream: f64 = world.proxies.iter().map(|proxy| get(format!("{}.upstream", proxy.name))).sum();
        let connects = made + upstream + failed;
        let answered: f64 = clients().map(|client| get(format!("{client}.requests"))).sum();
        let most = |what: &str| clients().map(|client| get(format!("{client}.{what}"))).fold(0.0, f64::max);
        let seconds = (run.end_ms.saturating_sub(world.settle_ms).max(1)) as f64 / 1e3;
        let of_clients = |took: &dyn Fn(&str) -> f64| clients().map(took).sum::<f64>();
        let of_proxies = |took: fn(&Upstream) -> f64| run.upstream.values().map(took);
        let cpu_us = of_clients(&|client| {
            let failed = get(format!("{client}.failed.connect.EADDRNOTAVAIL"));
            get(format!("{client}.cpu_us")) * (get(format!("{client}.connected")) + failed)
        });
        let cpu_us = cpu_us + of_proxies(|proxy| proxy.cpu_us).sum::<f64>();
        let latency = of_clients(&|client| {
            get(format!("{client}.connect_us.p50")) * get(format!("{client}.connected"))
        });
        let latency = latency + of_proxies(|proxy| proxy.p50_us * proxy.connections as f64).sum::<f64>();
        let place = world.hosts.iter().position(|host| host.name == here).unwrap_or(0);
        let left = samples.iter().filter_map(|sample| sample.hosts.get(place)?.ports_left).min();
        let time_wait = get(format!("{here}.sockets.TIME-WAIT"));
        // Where the end was looked at as memory, bind buckets are in it; else it is the sockets alone.
        let memory = measures.get(&format!("{here}.bytes.time_wait"));
        let memory = memory.unwrap_or(time_wait * linux::TIME_WAIT_BYTES.value as f64);
        // Of what this host has closed, the peer is in CLOSE-WAIT; and stays there when this host has forgotten it.
        let leaked_there: f64 = peers().map(|host| get(format!("{host}.sockets.{}", State::CloseWait))).sum();
        let closed_here = get(format!("{here}.sockets.{}", State::FinWait2));
        let unclosed = get(format!("{here}.sockets.{}", State::CloseWait)) + closed_here.max(leaked_there);
        // An empty sum of floats is -0.
        let exactly = |value: f64| Range::exactly(value + 0.0);
        Self {
            time_wait: exactly(time_wait),
            time_wait_peak: exactly(get(format!("{here}.peak.TIME-WAIT"))),
            time_wait_at_peers: exactly(peers().map(|host| get(format!("{host}.sockets.TIME-WAIT"))).sum()),
            unclosed: exactly(unclosed),
            ports_left: left.map(|left| exactly(f64::from(left))),
            connects: exactly(connects),
            failed: exactly(failed),
            failed_per_second: exactly(failed / seconds),
            lost: exactly(failures(&OPENING, false)),
            answered: exactly(answered),
            resets: exactly(hosts().map(|host| get(format!("{host}.counters.OutRsts"))).sum()),
            overflows: exactly(hosts().map(|host| get(format!("{host}.counters.TCPTimeWaitOverflow"))).sum()),
            connect_p50_us: exactly(of_proxies(|proxy| proxy.p50_us).fold(most("connect_us.p50"), f64::max)),
            connect_p99_us: exactly(of_proxies(|proxy| proxy.p99_us).fold(most("connect_us.p99"), f64::max)),
            latency_us: (answered > 0.0).then(|| exactly(latency / answered)),
            memory_bytes: exactly(memory),
            connect_cpu: exactly(cpu_us / 1e6 / seconds),
        }
    }
}

/// The looks at a run, for a plot.
pub(super) fn over_time(world: &World, here: &str, samples: &[Sample]) -> Vec<Point> {
    let place = world.hosts.iter().position(|host| host.name == here).unwrap_or(0);
    let mut before: Option<(u64, u64, u64)> = None;
    // The last look is at the end, wherever that is: a rate over a fragment of the time between two would jump.
    let samples = match samples {
        [looks @ .., one, last]
            if last.at_ms.saturating_sub(one.at_ms) * 2
                < one.at_ms.saturating_sub(looks.last().map_or(0, |look| look.at_ms)) =>
        {
            samples.get(..samples.len() - 1).unwrap_or(samples)
        }
        _ => samples,
    };
    let points = samples.iter().map(|sample| {
        let now = (sample.at_ms, sample.failed, sample.lost);
        let (at, failed, lost) = before.replace(now).unwrap_or(now);
        let seconds = sample.at_ms.saturating_sub(at) as f64 / 1e3;
        let rate = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        let own = sample.hosts.get(place).copied().unwrap_or_default();
        let everywhere: u64 = sample.hosts.iter().map(|host| host.time_wait).sum();
        Point {
            at_s: sample.at_ms as f64 / 1e3,
            time_wait: own.time_wait as f64,
            time_wait_at_peers: everywhere.saturating_sub(own.time_wait) as f64,
            ports_left: own.ports_left.map(f64::from),
            failed_per_second: rate(sample.failed.saturating_sub(failed)),
            lost_per_second: rate(sample.lost.saturating_sub(lost)),
        }
    });
    points.collect()
}
