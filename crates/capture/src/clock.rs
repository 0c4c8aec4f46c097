//! Timestamp clocks: how many hosts are behind one address.
//!
//! A host stamps its segments with a clock (RFC 7323 section 3). Where its offset is one for all connections between
//! two addresses, every reading of it lies on one line over time, and readings of another host on another: two lines
//! that are both in use at the same time are two hosts. What is known of those offsets:
//!
//! * Linux up to 4.9, and `tcp_timestamps=2` on any: the same for all of a host's connections;
//! * Linux 4.10.17 to 6.17: random for each pair of addresses, so one destination shows one line for a host;
//! * Linux from 6.1.192, 6.12.117, 6.18.19 and 7.0 on: random for each connection (net/core/secure_seq.c
//!   `secure_tcp_seq_and_ts_off()`). Then no two ports share a line and nothing can be told, which is what is said.
//!
//! So readings are compared by pair of addresses, and a line counts as a host's only if connections from different
//! ports lie on it. A host that reboots gets another line, but never uses the old one again: lines that follow each
//! other in time are not counted as two.

use evidence::{ClockReading, Clocks, Endpoint};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

/// Ticks a second that clocks are known to have; RFC 7323 section 5.4 asks for 1 to 1000. The microseconds that Linux
/// can be told to use since 6.7 (`features tcp_usec_ts` of a route) are left out: at that rate clocks 100 s apart agree
/// within the [`JITTER_US`] of one reading, and what would be one host or two could not be told.
const RATES: [u32; 5] = [1_000, 250, 300, 100, 10];

/// A line with fewer readings can be a coincidence of two hosts.
const ENOUGH: u32 = 3;

/// A segment may have waited so long before it was captured.
const JITTER_US: i64 = 100_000;
/// Readings further apart than this are compared as if they were not.
const LONGEST_US: i64 = 1 << 43;
/// Clocks drift by so many parts in a million from that of the capture.
const DRIFT_PPM: i64 = 200;

/// Where no two readings of a pair agree, no more are compared than so many in a row, and as many again of each
/// [`ANEW`]: with an offset of its own for each connection nothing would ever agree, and the comparisons cost a third
/// of the time that a capture of short connections takes.
const PATIENCE: u64 = 128;
const ANEW: u64 = 4_096;

/// Pairs of addresses that are compared, and lines of each.
const MAX_PAIRS: usize = 16_384;
const MAX_LINES: usize = 16;

/// A timestamp on the first segment that one side of a connection sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) packet: u64,
    pub(crate) time_ns: i64,
    pub(crate) value: u32,
    /// The port that tells connections between the two addresses apart.
    pub(crate) port: u16,
}

/// Readings that one clock can have stamped.
#[derive(Clone, Copy, Debug)]
struct Line {
    first: Reading,
    last: Reading,
    count: u32,
    /// Not only of one port.
    shared: bool,
    /// The [`RATES`] that fit, a bit each.
    rates: u8,
}

impl Line {
    const fn new(reading: Reading) -> Self {
        Self { first: reading, last: reading, count: 1, shared: false, rates: (1 << RATES.len()) - 1 }
    }

    /// True if it is the line of a host, and not of one connection or of none.
    const fn is_a_hosts(&self) -> bool {
        self.shared && self.count >= ENOUGH
    }

    /// The rates at which this clock can have stamped a reading.
    fn fitting(&self, reading: Reading) -> u8 {
        // Nearly all lines are those of others, and the last reading shows that as well as the first.
        let rates = Self::rates_between(self.last, reading, self.rates);
        if rates == 0 { 0 } else { Self::rates_between(self.first, reading, rates) }
    }

    /// Those of these rates at which one clock can have stamped both.
    fn rates_between(known: Reading, reading: Reading, rates: u8) -> u8 {
        // In microseconds and within some 100 days, so that a million ticks a second fit into 64 bits.
        let elapsed_us = reading.time_ns.saturating_sub(known.time_ns) / 1_000;
        let elapsed_us = elapsed_us.clamp(-LONGEST_US, LONGEST_US);
        let ticks = reading.value.wrapping_sub(known.value);
        let slack_us = JITTER_US + elapsed_us.abs() / 1_000_000 * DRIFT_PPM;
        let fits = |rate: &usize| {
            let per_second = i64::from(RATES[*rate]);
            let due = elapsed_us * per_second / 1_000_000;
            // The value wraps: only the difference within 32 bits is known.
            let off = ticks.wrapping_sub(wrapped(due)).cast_signed();
            i64::from(off).abs() <= slack_us * per_second / 1_000_000 + 2
        };
        (0..RATES.len())
            .filter(|rate| rates >> rate & 1 != 0)
            .filter(fits)
            .fold(0, |bits, rate| bits | 1 << rate)
    }

    fn take(&mut self, reading: Reading, rates: u8) {
        self.count = self.count.saturating_add(1);
        self.shared |= reading.port != self.first.port;
        self.rates = rates;
        if reading.time_ns < self.first.time_ns {
            self.first = reading;
        }
        if reading.time_ns > self.last.time_ns {
            self.last = reading;
        }
    }
}

/// The lines between two addresses, the last used first.
#[derive(Debug, Default)]
struct Pair {
    lines: Vec<Line>,
    readings: u64,
    /// Readings that were not compared, and those on lines that were forgotten.
    alone: u64,
    /// Readings of two ports lay on one line.
    agree: bool,
    /// Packet of the first reading, as they were shown.
    begun: u32,
    /// Port and value of the last reading.
    last: Option<(u16, u32)>,
}

impl Pair {
    fn take(&mut self, reading: Reading) {
        // The same packet, captured twice.
        if self.last.replace((reading.port, reading.value)) == Some((reading.port, reading.value)) {
            return;
        }
        self.readings += 1;
        if !self.agree && self.readings % ANEW > PATIENCE {
            self.alone += 1;
            return;
        }
        for at in 0..self.lines.len() {
            let rates = self.lines[at].fitting(reading);
            if rates != 0 {
                self.lines[at].take(reading, rates);
                self.agree |= self.lines[at].shared;
                self.lines[..=at].rotate_right(1);
                return;
            }
        }
        self.insert(Line::new(reading));
    }

    fn insert(&mut self, line: Line) {
        if self.lines.len() >= MAX_LINES {
            // The one that is longest unused and was never shared; shared ones are what is looked for.
            let victim = self.lines.iter().rposition(|line| !line.shared).unwrap_or(self.lines.len() - 1);
            self.alone += u64::from(self.lines.remove(victim).count);
        }
        self.lines.insert(0, line);
    }

    /// The lines of different hosts: of those that were in use at one time, as many as there are.
    fn hosts(&self) -> Vec<Line> {
        let shared: Vec<Line> = self.lines.iter().filter(|line| line.is_a_hosts()).copied().collect();
        let in_use_at = |time: i64| {
            let used =
                shared.iter().filter(move |line| line.first.time_ns <= time && time <= line.last.time_ns);
            used.copied().collect::<Vec<_>>()
        };
        let mut hosts =
            shared.iter().map(|line| in_use_at(line.first.time_ns)).max_by_key(Vec::len).unwrap_or_default();
        hosts.sort_by_key(|line| line.first.packet);
        hosts
    }

    /// Readings that nothing else agrees with.
    fn unmatched(&self) -> u64 {
        let on_lines = self.lines.iter().filter(|line| !line.is_a_hosts()).map(|line| u64::from(line.count));
        self.alone + on_lines.sum::<u64>()
    }
}

/// Reads clocks off the first segments of connections.
#[derive(Debug)]
pub(crate) struct ClockTally {
    /// By source and destination address.
    pairs: HashMap<(u128, u128), Pair, FixedState>,
}

impl ClockTally {
    pub(crate) fn new(state: FixedState) -> Self {
        Self { pairs: HashMap::with_hasher(state) }
    }

    /// Takes a reading, of the packet that was shown as this one. Pairs beyond the limit are left out.
    pub(crate) fn take(&mut self, source: u128, destination: u128, shown: u32, reading: Reading) {
        let key = (source, destination);
        if let Some(pair) = self.pairs.get_mut(&key) {
            pair.take(reading);
        } else if self.pairs.len() < MAX_PAIRS {
            self.pairs.entry(key).or_insert(Pair { begun: shown, ..Pair::default() }).take(reading);
        }
    }

    /// Takes what another has read of other pairs.
    pub(crate) fn absorb(&mut self, other: &mut Self) {
        self.pairs.extend(other.pairs.drain());
        // As if one had read them all: the limit leaves the first.
        if self.pairs.len() > MAX_PAIRS {
            let mut begun: Vec<u32> = self.pairs.values().map(|pair| pair.begun).collect();
            let (_, limit, _) = begun.select_nth_unstable(MAX_PAIRS);
            let limit = *limit;
            self.pairs.retain(|_, pair| pair.begun < limit);
        }
    }

    /// What is known of each source address: of its destinations, the one that shows most hosts. Those with most
    /// hosts come first. Times are counted from `start_ns`.
    pub(crate) fn clocks(&self, start_ns: i64) -> Vec<Clocks> {
        let mut pairs: Vec<_> = self.pairs.iter().collect();
        pairs.sort_unstable_by_key(|(key, _)| **key);
        let mut by_source: BTreeMap<u128, (Clocks, Vec<Line>)> = BTreeMap::new();
        for ((source, _), pair) in pairs {
            let hosts = pair.hosts();
            let (clocks, best) = by_source.entry(*source).or_default();
            clocks.connections += pair.readings;
            clocks.unmatched += pair.unmatched();
            if hosts.len() > best.len() {
                *best = hosts;
            }
        }
        let mut all: Vec<Clocks> = by_source
            .into_iter()
            .map(|(source, (clocks, hosts))| Clocks {
                address: Endpoint::any_port(IpAddr::V6(Ipv6Addr::from_bits(source))),
                hosts: u32::try_from(hosts.len()).unwrap_or(u32::MAX),
                ticks_per_second: hosts.first().map_or(0, |line| rate(line.rates)),
                proof: proof(&hosts, start_ns),
                ..clocks
            })
            .collect();
        all.sort_by_key(|clocks| Reverse(clocks.hosts));
        all
    }
}

/// The lower 32 bits.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "arithmetic of a clock that wraps"
)]
const fn wrapped(ticks: i64) -> u32 {
    ticks as u32
}

/// The rate, if only one fits; of several the usual one is taken.
fn rate(rates: u8) -> u32 {
    RATES.into_iter().enumerate().find(|(at, _)| rates >> at & 1 != 0).map_or(0, |(_, rate)| rate)
}

/// For each further host, a packet of the first and one of its own.
fn proof(hosts: &[Line], start_ns: i64) -> Vec<(ClockReading, ClockReading)> {
    let shown = |reading: Reading| ClockReading {
        packet: reading.packet,
        at_ms: u64::try_from(reading.time_ns.saturating_sub(start_ns) / 1_000_000).unwrap_or(0),
        value: reading.value,
    };
    let Some((first, further)) = hosts.split_first() else { return Vec::new() };
    further.iter().map(|line| (shown(first.first), shown(line.first))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: i64 = 1_000_000_000;

    /// Readings of hosts behind one address: (host, port, at in ms); a host is an offset and a rate.
    fn clocks(hosts: &[(u32, u32)], readings: &[(usize, u16, i64)]) -> Clocks {
        let mut tally = ClockTally::new(FixedState::with_seed(1));
        for (packet, (host, port, at_ms)) in (1..).zip(readings) {
            tally.take(7, 9, 0, reading(packet, hosts[*host], *port, *at_ms));
        }
        tally.clocks(0).remove(0)
    }

    fn reading(packet: u64, (offset, rate): (u32, u32), port: u16, at_ms: i64) -> Reading {
        let ticks = at_ms * i64::from(rate) / 1_000;
        let value = offset.wrapping_add(u32::try_from(ticks & 0xffff_ffff).unwrap());
        Reading { packet, time_ns: at_ms * SECOND / 1_000, value, port }
    }

    #[test]
    fn one_host_is_one_line_whatever_its_rate() {
        for rate in [1_000, 100, 250, 300, 10] {
            let readings: Vec<_> = (0..50).map(|at| (0, 40_000 + at, i64::from(at) * 777)).collect();
            let found = clocks(&[(u32::MAX - 500, rate)], &readings);
            assert_eq!((found.hosts, found.ticks_per_second, found.unmatched), (1, rate, 0), "{rate}");
            assert_eq!((found.connections, found.proof.len()), (50, 0));
        }
    }

    #[test]
    fn hosts_that_take_turns_are_told_apart_and_proven() {
        let readings: Vec<_> =
            (0..60_u16).map(|at| (usize::from(at) % 3, 40_000 + at, i64::from(at) * 500)).collect();
        let found = clocks(&[(5, 1_000), (900_000, 1_000), (5_000_000, 250)], &readings);
        assert_eq!((found.hosts, found.unmatched), (3, 0));
        let (first, other) = found.proof[0];
        assert_eq!((first.packet, other.packet, other.at_ms, other.value), (1, 2, 500, 900_500));
    }

    #[test]
    fn a_reboot_is_no_second_host() {
        let readings: Vec<_> =
            (0..40_u16).map(|at| (usize::from(at >= 20), 40_000 + at, i64::from(at) * 500)).collect();
        assert_eq!(clocks(&[(5, 1_000), (900_000, 1_000)], &readings).hosts, 1);
    }

    #[test]
    fn offsets_of_each_connection_tell_nothing() {
        let mut hosts: Vec<(u32, u32)> = Vec::new();
        for port in 0..200_u32 {
            hosts.push((port.wrapping_mul(2_654_435_761), 1_000));
        }
        let readings: Vec<_> =
            (0..200_u16).map(|at| (usize::from(at), 40_000 + at, i64::from(at) * 50)).collect();
        let found = clocks(&hosts, &readings);
        assert_eq!((found.hosts, found.unmatched, found.connections), (0, 200, 200));
        // The same ports again have the same offsets: still no host's line.
        let again: Vec<_> =
            (0..10_u16).map(|at| (usize::from(at % 2), 40_000 + at % 2, i64::from(at) * 50)).collect();
        assert_eq!(clocks(&hosts, &again).hosts, 0);
    }

    #[test]
    fn a_host_is_found_behind_many_connections_that_tell_nothing() {
        let mut tally = ClockTally::new(FixedState::with_seed(1));
        for port in 0..9_000_u16 {
            let alone = u32::from(port).wrapping_mul(2_654_435_761);
            tally.take(7, 9, 0, reading(u64::from(port), (alone, 1_000), port, i64::from(port) * 10));
        }
        assert_eq!(tally.clocks(0)[0].hosts, 0);
        for port in 9_000..18_000_u16 {
            tally.take(7, 9, 0, reading(u64::from(port), (5, 1_000), port, i64::from(port) * 10));
        }
        let found = tally.clocks(0).remove(0);
        assert_eq!((found.hosts, found.connections), (1, 18_000));
        assert!((9_000..9_000 + ANEW).contains(&found.unmatched), "{}", found.unmatched);
    }

    #[test]
    fn a_packet_that_was_captured_twice_is_one_reading() {
        let mut tally = ClockTally::new(FixedState::with_seed(1));
        for port in [1, 1, 2, 2] {
            tally.take(7, 9, 0, reading(1, (5, 1_000), port, 10));
        }
        let found = tally.clocks(0).remove(0);
        assert_eq!((found.hosts, found.connections), (0, 2));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut tally = ClockTally::new(FixedState::with_seed(1));
        for pair in 0..40_000_u32 {
            tally.take(u128::from(pair), 9, pair, reading(1, (pair, 1_000), 1, 1));
        }
        for value in 0..10_000_u32 {
            tally.take(0, 9, 0, reading(1, (value.wrapping_mul(2_654_435_761), 1_000), 1, 1));
        }
        assert_eq!(tally.pairs.len(), MAX_PAIRS);
        assert!(tally.pairs[&(0, 9)].lines.len() <= MAX_LINES);
        // Of two that were full, the pairs that came first are left.
        let mut other = ClockTally::new(FixedState::with_seed(1));
        for pair in 0..40_000_u32 {
            other.take(u128::from(pair), 10, pair, reading(1, (pair, 1_000), 1, 1));
        }
        other.absorb(&mut tally);
        assert_eq!(other.pairs.len(), MAX_PAIRS);
        assert!(other.pairs.values().all(|pair| pair.begun as usize <= MAX_PAIRS / 2));
    }

    proptest! {
        /// Never more hosts than there are, however far apart their clocks; and two that take the pairs of one in turn
        /// know what one does that takes all.
        #[test]
        fn hosts_are_never_made_up(
            hosts in prop::collection::vec((any::<u32>(), prop::sample::select(RATES.to_vec())), 1..5),
            readings in prop::collection::vec((any::<prop::sample::Index>(), any::<u16>(), 0_i64..10_000_000), 0..80),
        ) {
            let mut whole = ClockTally::new(FixedState::with_seed(1));
            let mut halves = [ClockTally::new(FixedState::with_seed(1)), ClockTally::new(FixedState::with_seed(2))];
            let mut alone = ClockTally::new(FixedState::with_seed(1));
            for (packet, (host, port, at_ms)) in (1..).zip(&readings) {
                let reading = reading(packet, hosts[host.index(hosts.len())], *port, *at_ms);
                let shown = u32::try_from(packet).unwrap();
                alone.take(1, 2, shown, reading);
                let server = u128::from(port % 4);
                whole.take(1, server, shown, reading);
                halves[usize::from(port % 2)].take(1, server, shown, reading);
            }
            let [mut one, mut other] = halves;
            one.absorb(&mut other);
            prop_assert_eq!(one.clocks(0), whole.clocks(0));
            for tally in [whole, alone] {
                for found in tally.clocks(0) {
                    prop_assert!(found.hosts as usize <= hosts.len(), "{found:?}");
                    prop_assert!(found.connections <= readings.len() as u64);
                }
            }
        }
    }
}
