//! Local ports of a host: how connect() and bind() choose one, and who holds it.
//!
//! Sets of ports are bitmaps, so that a search costs a few words, whatever it would cost the kernel: that is
//! returned as the number of ports walked.

use super::random::Random;
use evidence::{PortRange, PortSet};
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// An address: IPv4, as a number.
pub(super) type Address = u32;

/// All addresses of a host, as a server listens on them.
pub(super) const ANY: Address = 0;

const WORDS: usize = 1_024;
type Bits = Box<[u64; WORDS]>;

fn none() -> Bits {
    Box::new([0; WORDS])
}

const EVEN: u64 = 0x5555_5555_5555_5555;

/// Who shares ports: source address, destination address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FlowKey {
    pub(super) source: Address,
    pub(super) destination: Address,
    pub(super) port: u16,
}

/// A place in [`Ports`].
pub(super) type FlowId = u32;

struct Flow {
    taken: Bits,
    /// Those of `taken` that are in a TIME-WAIT which connect() may take over.
    aged: Option<Bits>,
    /// `table_perturb` of `__inet_hash_connect()`: where the next search begins.
    perturb: u32,
    /// What the last search looked at in vain, and when in the life of the host's sets. Until something comes free, the
    /// next one would look at the same.
    vain: Option<(u64, Walk)>,
}

/// Ports looked at in vain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Walk {
    /// Those that the destination's own connections have: each is looked up among all connections.
    pub(crate) taken: u32,
    /// Those that bind() took: their bucket says so. Reserved ones cost nothing that could be measured.
    pub(crate) bound: u32,
}

impl Walk {
    fn and(self, other: Self) -> Self {
        Self { taken: self.taken + other.taken, bound: self.bound + other.bound }
    }
}

/// A port and what it cost to find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) port: u16,
    /// How far it is from where the search began, counted in places of its half of the range.
    pub(super) steps: u32,
    /// What was looked at on the way.
    pub(super) walked: Walk,
    /// A TIME-WAIT has it, which must be taken over.
    pub(super) again: bool,
}

/// How a system chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// Ports of the parity of the first one, then the others, for each destination by itself (Linux).
    Parity,
    /// One after the other, for each destination by itself.
    Sequential,
    /// One after the other, each port once for all destinations (Windows without an auto-reuse range).
    Exclusive,
}

/// The ports of one host.
pub(super) struct Ports {
    choice: Choice,
    range: PortRange,
    usable: Bits,
    flows: Vec<Flow>,
    index: HashMap<FlowKey, FlowId, FixedState>,
    /// Ports whose bind bucket bind() made: connect() does not choose them.
    bound: Bits,
    bound_counts: HashMap<u16, u32, FixedState>,
    /// Counts the changes of what all flows share: the range, bound ports, ages.
    changes: u64,
    /// For each address, the ports that sockets have there; 0 are all addresses. Kept only where somebody asks.
    held: Option<HashMap<Address, Held, FixedState>>,
}

/// Ports of an address.
struct Held {
    ports: Bits,
    /// How many sockets have a port, less one, where several do.
    more: HashMap<u16, u32, FixedState>,
}

impl Held {
    fn none() -> Self {
        Self { ports: none(), more: HashMap::with_hasher(FixedState::default()) }
    }

    fn add(&mut self, port: u16) {
        if has(&self.ports, port) {
            *self.more.entry(port).or_insert(0) += 1;
        }
        set(&mut self.ports, port, true);
    }

    fn remove(&mut self, port: u16) {
        match self.more.get_mut(&port) {
            None => set(&mut self.ports, port, false),
            Some(1) => {
                self.more.remove(&port);
            }
            Some(more) => *more -= 1,
        }
    }
}

fn set(bits: &mut Bits, port: u16, on: bool) {
    let (word, bit) = (usize::from(port >> 6), 1_u64 << (port & 63));
    if on {
        bits[word] |= bit;
    } else {
        bits[word] &= !bit;
    }
}

fn has(bits: &Bits, port: u16) -> bool {
    bits[usize::from(port >> 6)] >> (port & 63) & 1 == 1
}

impl Ports {
    /// With `exclusive`, it is known of each address which ports are taken there at all.
    pub(super) fn new(choice: Choice, range: PortRange, reserved: &PortSet, exclusive: bool) -> Self {
        let mut ports = Self {
            choice,
            range,
            usable: none(),
            flows: Vec::new(),
            index: HashMap::with_hasher(FixedState::default()),
            bound: none(),
            bound_counts: HashMap::with_hasher(FixedState::default()),
            changes: 0,
            held: (exclusive || choice == Choice::Exclusive)
                .then(|| HashMap::with_hasher(FixedState::default())),
        };
        ports.set_range(range, reserved);
        ports
    }

    /// Changes `ip_local_port_range` and `ip_local_reserved_ports`.
    pub(super) fn set_range(&mut self, range: PortRange, reserved: &PortSet) {
        self.changes += 1;
        self.range = range;
        self.usable = none();
        for port in (range.first..=range.last).filter(|port| !reserved.contains(*port)) {
            set(&mut self.usable, port, true);
        }
    }

    pub(super) fn flow(&mut self, key: FlowKey, random: &mut Random) -> FlowId {
        *self.index.entry(key).or_insert_with(|| {
            self.flows.push(Flow { taken: none(), aged: None, perturb: random.below(1 << 30), vain: None });
            #[expect(clippy::cast_possible_truncation, reason = "bounded by addresses and servers")]
            {
                self.flows.len() as FlowId - 1
            }
        })
    }

    /// The port that connect() takes.
    pub(super) fn search(
        &mut self,
        flow: FlowId,
        source: Address,
        random: &mut Random,
    ) -> Result<Found, Walk> {
        if let Some((changes, walk)) = self.flows[flow as usize].vain
            && changes == self.changes
        {
            return Err(walk);
        }
        let length = self.length();
        let start = self.flows[flow as usize].perturb % length;
        let found = match self.choice {
            Choice::Parity => {
                let start = start & !1;
                self.half(flow, start, length).or_else(|walked| {
                    self.half(flow, start + 1, length)
                        .map(|found| Found { walked: found.walked.and(walked), ..found })
                        .map_err(|more| more.and(walked))
                })
            }
            Choice::Sequential => self.every(length, start, |ports, word| ports.free(flow, word)),
            Choice::Exclusive => self.every(length, start, |ports, word| {
                ports.usable[word] & !ports.bound[word] & !ports.held_word(source, word)
            }),
        };
        if let Ok(found) = found {
            // net/ipv4/inet_hashtables.c __inet_hash_connect(): i = max(i, (prandom_u32() & 7) * 2). The walk through
            // the other half in vain does not count.
            let steps = found.steps * 2;
            let step = if self.choice == Choice::Parity { steps.max(random.below(8) * 2) + 2 } else { 1 };
            let flow = &mut self.flows[flow as usize];
            flow.perturb = flow.perturb.wrapping_add(step);
            let again = has(&flow.taken, found.port);
            return Ok(Found { again, ..found });
        }
        // Which ports others hold at an address is not among the changes that are counted.
        if self.choice != Choice::Exclusive {
            self.flows[flow as usize].vain = found.as_ref().err().map(|walk| (self.changes, *walk));
        }
        found
    }

    /// How many ports of the range are looked at: an even number of them, but for a single one.
    fn length(&self) -> u32 {
        match (self.choice, self.range.ports()) {
            (Choice::Parity, ports) if ports > 1 => ports & !1,
            (_, ports) => ports,
        }
    }

    fn free(&self, flow: FlowId, word: usize) -> u64 {
        let flow = &self.flows[flow as usize];
        let aged = flow.aged.as_ref().map_or(0, |aged| aged[word]);
        self.usable[word] & !self.bound[word] & (!flow.taken[word] | aged)
    }

    /// The fewest ports that connect() can still have, of all who share them; none if nobody has connected yet.
    pub(super) fn fewest_left(&self) -> Option<u32> {
        let left = |flow| (0..WORDS).map(|word| self.free(flow, word).count_ones()).sum();
        (0..).zip(&self.flows).map(|(flow, _)| left(flow)).min()
    }

    /// Looks at every second port from the one `start` behind the first, once round.
    fn half(&self, flow: FlowId, start: u32, length: u32) -> Result<Found, Walk> {
        let first = u32::from(self.range.first);
        let parity = if (first + start) & 1 == 0 { EVEN } else { !EVEN };
        let free = |word| self.free(flow, word) & parity;
        let port = next(first + start, first + length, free);
        let port = port.or_else(|| next(first + (start & 1), first + start, free));
        let steps = |port: u16| (u32::from(port) + length - first - start) % length / 2;
        match port {
            Some(port) => {
                let steps = steps(port);
                let walked = self.looked_at(parity, first + start, u32::from(port), length, steps);
                Ok(Found { port, steps, walked, again: false })
            }
            None => Err(self.looked_at(parity, first + start, first + start, length, length / 2)),
        }
    }

    /// Of so many places from one port to another, round the end of the range, those that bind() took and the others.
    /// Reserved ones are not looked at.
    fn looked_at(&self, parity: u64, from: u32, to: u32, length: u32, steps: u32) -> Walk {
        if steps == 0 {
            return Walk::default();
        }
        let (first, end) = (u32::from(self.range.first), u32::from(self.range.first) + length);
        let mut walk = Walk::default();
        let mut add = |from: u32, to: u32| {
            let usable = |word: usize| self.usable[word] & parity;
            walk.bound += ones(from, to, |word| usable(word) & self.bound[word]);
            walk.taken += ones(from, to, |word| usable(word) & !self.bound[word]);
        };
        if from < to {
            add(from, to);
        } else {
            add(from, end);
            add(first, to);
        }
        walk
    }

    fn every(&self, length: u32, start: u32, free: impl Fn(&Self, usize) -> u64) -> Result<Found, Walk> {
        let first = u32::from(self.range.first);
        let port = next(first + start, first + length, |word| free(self, word));
        let port = port.or_else(|| next(first, first + start, |word| free(self, word)));
        let walk = |taken| Walk { taken, bound: 0 };
        let steps = |port: u16| (u32::from(port) + length - first - start) % length;
        port.map(|port| Found { port, steps: steps(port), walked: walk(steps(port)), again: false })
            .ok_or(walk(length))
    }

    /// The port that bind() with port 0 takes, and how many it looked at in vain: one that no socket has at that
    /// address; the other half first.
    pub(super) fn search_bound(&self, address: Address, random: &mut Random) -> Result<(u16, u32), u32> {
        let length = self.length();
        let start = random.below(length.max(2)) | 1;
        let first = u32::from(self.range.first);
        let half = |start: u32| {
            let parity = if (first + start) & 1 == 0 { EVEN } else { !EVEN };
            let free = |word: usize| self.usable[word] & !self.held_word(address, word) & parity;
            let port =
                next(first + start, first + length, free).or_else(|| next(first, first + start, free))?;
            Some((port, (u32::from(port) + length - first - start) % length.max(1) / 2))
        };
        let other = || half(start & !1).map(|(port, walked)| (port, walked + length / 2));
        half(start).or_else(other).ok_or(length)
    }

    /// Ports that a socket of the address has, or one of all addresses (net/ipv4/inet_connection_sock.c
    /// inet_rcv_saddr_equal()).
    fn held_word(&self, address: Address, word: usize) -> u64 {
        let held = |address| {
            let held = self.held.as_ref().and_then(|held| held.get(&address));
            held.map_or(0, |held| held.ports[word])
        };
        held(address) | held(ANY)
    }

    /// A socket of this flow has the port; `bound`: bind() chose or named it.
    pub(super) fn take(&mut self, flow: FlowId, source: Address, port: u16, bound: bool) {
        let at = &mut self.flows[flow as usize];
        set(&mut at.taken, port, true);
        if let Some(aged) = &mut at.aged {
            set(aged, port, false);
        }
        self.hold(source, port, bound);
    }

    /// It has it no more.
    pub(super) fn release(&mut self, flow: FlowId, source: Address, port: u16, bound: bool) {
        let at = &mut self.flows[flow as usize];
        at.vain = None;
        set(&mut at.taken, port, false);
        if let Some(aged) = &mut at.aged {
            set(aged, port, false);
        }
        self.let_go(source, port, bound);
    }

    /// The port's TIME-WAIT may be taken over.
    pub(super) fn age(&mut self, flow: FlowId, port: u16) {
        let at = &mut self.flows[flow as usize];
        at.vain = None;
        set(at.aged.get_or_insert_with(none), port, true);
    }

    /// No TIME-WAIT may be taken over any more.
    pub(super) fn forget_age(&mut self) {
        self.changes += 1;
        for flow in &mut self.flows {
            flow.aged = None;
        }
    }

    /// A socket has a port of an address, for whatever destination.
    pub(super) fn hold(&mut self, address: Address, port: u16, bound: bool) {
        if let Some(held) = &mut self.held {
            held.entry(address).or_insert_with(Held::none).add(port);
        }
        if bound {
            *self.bound_counts.entry(port).or_insert(0) += 1;
            set(&mut self.bound, port, true);
            self.changes += 1;
        }
    }

    /// It has it no more.
    pub(super) fn let_go(&mut self, address: Address, port: u16, bound: bool) {
        if let Some(held) = self.held.as_mut().and_then(|held| held.get_mut(&address)) {
            held.remove(port);
        }
        if bound && let Some(count) = self.bound_counts.get_mut(&port) {
            *count -= 1;
            if *count == 0 {
                self.bound_counts.remove(&port);
                set(&mut self.bound, port, false);
                self.changes += 1;
            }
        }
    }
}

/// The first port from `from` on, before `end`, whose bit is set.
fn next(from: u32, end: u32, free: impl Fn(usize) -> u64) -> Option<u16> {
    if from >= end {
        return None;
    }
    let mut word = from / 64;
    let mut bits = free(word as usize) & (u64::MAX << (from % 64));
    while bits == 0 {
        word += 1;
        if word * 64 >= end {
            return None;
        }
        bits = free(word as usize);
    }
    let port = word * 64 + bits.trailing_zeros();
    u16::try_from(port).ok().filter(|_| port < end)
}

/// How many bits of the ports from `from` on, before `end`, are set.
fn ones(from: u32, end: u32, bits: impl Fn(usize) -> u64) -> u32 {
    if from >= end {
        return 0;
    }
    let (first, last) = (from / 64, (end - 1) / 64);
    let of = |word: u32| {
        let mut mask = u64::MAX;
        if word == first {
            mask &= u64::MAX << (from % 64);
        }
        if word == last {
            mask &= u64::MAX >> (63 - (end - 1) % 64);
        }
        (bits(word as usize) & mask).count_ones()
    };
    (first..=last).map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: FlowKey = FlowKey { source: 1, destination: 2, port: 80 };

    fn ports(first: u16, last: u16) -> Ports {
        Ports::new(Choice::Parity, PortRange { first, last }, &PortSet::default(), true)
    }

    #[test]
    fn each_port_is_found_once_and_those_of_the_first_parity_come_first() {
        let (mut ports, mut random) = (ports(40_000, 40_999), Random::new(7));
        let flow = ports.flow(KEY, &mut random);
        let mut seen = PortSet::default();
        for turn in 0..1_000 {
            let found = ports.search(flow, 1, &mut random).unwrap();
            assert!(!seen.contains(found.port));
            assert_eq!(found.port % 2 == 0, turn < 500, "turn {turn}: {found:?}");
            if turn >= 500 {
                assert!(found.walked.taken >= 500, "all of the first half is walked before");
            }
            assert_eq!(found.walked.bound, 0);
            seen.insert(found.port);
            ports.take(flow, 1, found.port, false);
        }
        assert_eq!(seen.len(), 1_000);
        assert_eq!(ports.search(flow, 1, &mut random), Err(Walk { taken: 1_000, bound: 0 }));
        ports.release(flow, 1, 40_321, false);
        assert_eq!(ports.search(flow, 1, &mut random).unwrap().port, 40_321);
        ports.take(flow, 1, 40_321, false);
        assert_eq!(ports.search(flow, 1, &mut random), Err(Walk { taken: 1_000, bound: 0 }));
        ports.age(flow, 40_777);
        assert_eq!(ports.search(flow, 1, &mut random).unwrap().port, 40_777);
    }

    #[test]
    fn an_odd_range_loses_its_last_port() {
        let (mut ports, mut random) = (ports(50_000, 50_010), Random::new(1));
        let flow = ports.flow(KEY, &mut random);
        for _ in 0..10 {
            let found = ports.search(flow, 1, &mut random).unwrap();
            assert_ne!(found.port, 50_010);
            ports.take(flow, 1, found.port, false);
        }
        assert!(ports.search(flow, 1, &mut random).is_err());
    }

    #[test]
    fn bind_takes_the_other_half_first_and_poisons_the_port_for_connect() {
        let (mut ports, mut random) = (ports(50_000, 50_009), Random::new(3));
        for turn in 0..10 {
            let (port, walked) = ports.search_bound(1, &mut random).unwrap();
            assert_eq!(walked >= 5, turn >= 5, "the first half is walked before the second");
            assert_eq!(port % 2 == 1, turn < 5);
            ports.hold(1, port, true);
        }
        assert_eq!(ports.search_bound(1, &mut random), Err(10));
        assert!(ports.search_bound(9, &mut random).is_ok(), "another address has its own ports");
        let flow = ports.flow(FlowKey { destination: 3, ..KEY }, &mut random);
        assert_eq!(ports.search(flow, 1, &mut random), Err(Walk { taken: 0, bound: 10 }));
        ports.let_go(1, 50_004, true);
        assert_eq!(ports.search(flow, 1, &mut random).unwrap().port, 50_004);
    }

    #[test]
    fn bind_passes_by_what_listens_on_all_addresses() {
        let (mut ports, mut random) = (ports(50_000, 50_003), Random::new(3));
        ports.hold(ANY, 50_001, true);
        // A connection of the listener's has the port, too, and goes.
        ports.hold(1, 50_001, false);
        ports.hold(1, 50_001, false);
        ports.let_go(1, 50_001, false);
        let mut found = std::iter::from_fn(|| {
            let (port, _) = ports.search_bound(1, &mut random).ok()?;
            ports.hold(1, port, true);
            Some(port)
        });
        assert_eq!(found.next(), Some(50_003));
        let mut rest: Vec<u16> = found.collect();
        rest.sort_unstable();
        assert_eq!(rest, [50_000, 50_002]);
        ports.let_go(1, 50_001, false);
        assert!(ports.search_bound(1, &mut random).is_err());
        ports.let_go(ANY, 50_001, true);
        assert_eq!(ports.search_bound(1, &mut random).map(|(port, _)| port), Ok(50_001));
    }

    #[test]
    fn a_walk_tells_bound_ports_from_taken_ones_and_skips_reserved_ones() {
        let reserved = PortSet::parse("50004-50007").unwrap();
        let range = PortRange { first: 50_000, last: 50_199 };
        let mut ports = Ports::new(Choice::Parity, range, &reserved, true);
        let mut random = Random::new(5);
        let flow = ports.flow(KEY, &mut random);
        // Of the first half 25 are bound and 2 reserved; all others are taken one by one.
        for port in (50_100..50_150).step_by(2) {
            ports.hold(1, port, true);
        }
        for turn in 0..100 - 25 - 2 {
            let found = ports.search(flow, 1, &mut random).unwrap();
            assert!(found.walked.taken <= turn && found.walked.bound <= 25, "turn {turn}: {found:?}");
            assert!(found.walked.taken + found.walked.bound <= found.steps);
            ports.take(flow, 1, found.port, false);
        }
        let beyond = ports.search(flow, 1, &mut random).unwrap();
        assert_eq!((beyond.port & 1, beyond.walked.bound), (1, 25));
        assert!(beyond.walked.taken >= 73, "{beyond:?}");
    }

    #[test]
    fn the_ends_of_all_ports_are_in_reach() {
        let (mut ports, mut random) = (ports(1, 65_535), Random::new(3));
        let flow = ports.flow(KEY, &mut random);
        let mut found = 0;
        while let Ok(port) = ports.search(flow, 1, &mut random) {
            ports.take(flow, 1, port.port, false);
            found += 1;
        }
        assert_eq!(found, 65_534);
    }
}
