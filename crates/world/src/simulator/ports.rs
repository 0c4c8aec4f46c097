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
    /// The last search, if it was in vain. Until something comes free, the same would be again.
    vain: Option<Vain>,
    /// Ranges of their own that were searched (none: the host's).
    owns: Vec<Option<PortRange>>,
}

/// A search that found nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Vain {
    /// When, in the life of the host's sets.
    changes: u64,
    range: PortRange,
    start: u32,
    walk: Walk,
}

/// Ports that are walked round: behind the last comes the first.
#[derive(Clone, Copy, Debug)]
struct Ring {
    first: u32,
    length: u32,
}

impl Ring {
    /// All ports of a range.
    fn whole(range: PortRange) -> Self {
        Self { first: range.first.into(), length: range.ports() }
    }

    /// Those that are looked at from a place of a range on in steps of two, an even number. Of an odd range one is left
    /// out: who comes to the last port goes on with the third (`port -= remaining`), and who begins with the first
    /// does not come to the last.
    fn half(range: PortRange, start: u32) -> Self {
        let Self { first, length } = Self::whole(range);
        let later = length & 1 == 1 && length > 1 && start > 0 && start & 1 == 0;
        Self { first: if later { first + 2 } else { first }, length: even(length) }
    }

    /// Behind its last port.
    fn end(self) -> u32 {
        // Behind the last port of an odd range lies none that is looked at.
        (self.first + self.length).min(1 << 16)
    }

    /// How far a port is from another, on the way round.
    const fn distance(self, from: u32, to: u32) -> u32 {
        (to + self.length - from) % self.length
    }
}

/// So many places has a walk through both halves.
const fn even(ports: u32) -> u32 {
    if ports > 1 { ports & !1 } else { ports }
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
    /// How far it is from where the search began, counted in places of what was walked: half of the host's range, or all
    /// of the socket's own.
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
            self.flows.push(Flow {
                taken: none(),
                aged: None,
                perturb: random.below(1 << 30),
                vain: None,
                owns: Vec::new(),
            });
            #[expect(clippy::cast_possible_truncation, reason = "bounded by addresses and servers")]
            {
                self.flows.len() as FlowId - 1
            }
        })
    }

    /// The port that connect() takes. `own`: the socket's own range (`IP_LOCAL_PORT_RANGE`).
    pub(super) fn search(
        &mut self,
        flow: FlowId,
        source: Address,
        own: Option<PortRange>,
        random: &mut Random,
    ) -> Result<Found, Walk> {
        let range = self.range_of(own);
        let at = &mut self.flows[flow as usize];
        if !at.owns.contains(&own) {
            at.owns.push(own);
        }
        let by_halves = self.choice == Choice::Parity && own.is_none();
        let length = if by_halves { even(range.ports()) } else { range.ports() };
        let start = at.perturb % length;
        if let Some(vain) = at.vain
            && (vain.changes, vain.range, vain.start) == (self.changes, range, start)
        {
            return Err(vain.walk);
        }
        let found = match self.choice {
            Choice::Parity if by_halves => {
                let start = start & !1;
                self.half(flow, range, start).or_else(|walked| {
                    self.half(flow, range, start + 1)
                        .map(|found| Found { walked: found.walked.and(walked), ..found })
                        .map_err(|more| more.and(walked))
                })
            }
            Choice::Parity => {
                self.round(flow, Ring::whole(range), u32::from(range.first) + start, Step::Each)
            }
            Choice::Sequential => every(range, start, |word| self.free(flow, word)),
            Choice::Exclusive => every(range, start, |word| {
                self.usable[word] & !self.bound[word] & !self.held_word(source, word)
            }),
        };
        if let Ok(found) = found {
            // net/ipv4/inet_hashtables.c __inet_hash_connect(): i = max(i, get_random_u32_below(8) * step), and one
            // step more. The walk through the other half in vain does not count.
            let step = if by_halves { 2 } else { 1 };
            let walked = found.steps * step;
            let step =
                if self.choice == Choice::Parity { walked.max(random.below(8) * step) + step } else { 1 };
            let flow = &mut self.flows[flow as usize];
            flow.perturb = flow.perturb.wrapping_add(step);
            let again = has(&flow.taken, found.port);
            return Ok(Found { again, ..found });
        }
        // Which ports others hold at an address is not among the changes that are counted.
        if self.choice != Choice::Exclusive {
            let changes = self.changes;
            self.flows[flow as usize].vain =
                found.as_ref().err().map(|walk| Vain { changes, range, start, walk: *walk });
        }
        found
    }

    /// The range that a socket has, with or without one of its own.
    fn range_of(&self, own: Option<PortRange>) -> PortRange {
        own.map_or(self.range, |own| self.range.narrowed(own))
    }

    fn free(&self, flow: FlowId, word: usize) -> u64 {
        let flow = &self.flows[flow as usize];
        let aged = flow.aged.as_ref().map_or(0, |aged| aged[word]);
        self.usable[word] & !self.bound[word] & (!flow.taken[word] | aged)
    }

    /// The fewest ports that connect() can still have, of all who share them; none if nobody has connected yet.
    pub(super) fn fewest_left(&self) -> Option<u32> {
        let left = |(id, flow): (FlowId, &Flow)| {
            let of = |own: Option<PortRange>| {
                let PortRange { first, last } = self.range_of(own);
                ones(first.into(), u32::from(last) + 1, |word| self.free(id, word))
            };
            flow.owns.iter().map(|own| of(*own)).min().unwrap_or_else(|| of(None))
        };
        (0..).zip(&self.flows).map(left).min()
    }

    /// Looks at every second port from the one `start` behind the first, once round.
    fn half(&self, flow: FlowId, range: PortRange, start: u32) -> Result<Found, Walk> {
        self.round(flow, Ring::half(range, start), u32::from(range.first) + start, Step::Second)
    }

    /// Looks at ports from one on, once round.
    fn round(&self, flow: FlowId, ring: Ring, from: u32, step: Step) -> Result<Found, Walk> {
        let mask = step.mask(from);
        let free = |word| self.free(flow, word) & mask;
        let port = next(from, ring.end(), free).or_else(|| next(ring.first, from, free));
        match port {
            Some(port) => {
                let walked = self.looked_at(ring, mask, from, u32::from(port), false);
                let steps = ring.distance(from, u32::from(port)) / step.ports();
                Ok(Found { port, steps, walked, again: false })
            }
            None => Err(self.looked_at(ring, mask, from, from, true)),
        }
    }

    /// Of the places from one port to another, or once round, those that bind() took and the others. Reserved ones are
    /// not looked at.
    fn looked_at(&self, ring: Ring, mask: u64, from: u32, to: u32, round: bool) -> Walk {
        if from == to && !round {
            return Walk::default();
        }
        let mut walk = Walk::default();
        let mut add = |from: u32, to: u32| {
            let usable = |word: usize| self.usable[word] & mask;
            walk.bound += ones(from, to, |word| usable(word) & self.bound[word]);
            walk.taken += ones(from, to, |word| usable(word) & !self.bound[word]);
        };
        if from < to {
            add(from, to);
        } else {
            add(from, ring.end());
            add(ring.first, to);
        }
        walk
    }

    /// The port that bind() with port 0 takes, and how many it looked at in vain: one that no socket has at that
    /// address; the other half first, in a range of the socket's own as well
    /// (net/ipv4/inet_connection_sock.c `inet_csk_find_open_port()`; seen on 6.18).
    pub(super) fn search_bound(
        &self,
        address: Address,
        own: Option<PortRange>,
        random: &mut Random,
    ) -> Result<(u16, u32), u32> {
        let range = self.range_of(own);
        let length = even(range.ports());
        let start = random.below(length.max(2)) | 1;
        let half = |start: u32| {
            let ring = Ring::half(range, start);
            let from = u32::from(range.first) + start;
            let mask = Step::Second.mask(from);
            let free = |word: usize| self.usable[word] & !self.held_word(address, word) & mask;
            let port = next(from, ring.end(), free).or_else(|| next(ring.first, from, free))?;
            Some((port, ring.distance(from, u32::from(port)) / 2))
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

/// Which ports a walk looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Each,
    /// Every second one: those of one parity.
    Second,
}

impl Step {
    /// Of a word's ports, those that a walk from this one looks at.
    const fn mask(self, from: u32) -> u64 {
        match self {
            Self::Each => u64::MAX,
            Self::Second if from & 1 == 0 => EVEN,
            Self::Second => !EVEN,
        }
    }

    const fn ports(self) -> u32 {
        match self {
            Self::Each => 1,
            Self::Second => 2,
        }
    }
}

/// The first free port of a range, from the one `start` behind its first, once round.
fn every(range: PortRange, start: u32, free: impl Fn(usize) -> u64) -> Result<Found, Walk> {
    let ring = Ring::whole(range);
    let from = ring.first + start;
    let walk = |taken| Walk { taken, bound: 0 };
    let port =
        next(from, ring.end(), &free).or_else(|| next(ring.first, from, &free)).ok_or(walk(ring.length))?;
    let steps = ring.distance(from, u32::from(port));
    Ok(Found { port, steps, walked: walk(steps), again: false })
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
mod tests;
