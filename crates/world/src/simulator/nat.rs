//! Connection tracking and address translation on hosts that forward.

use super::Simulation;
use super::host::Place;
use super::network::Packet;
use super::settings::Conntrack;
use crate::scenario::{Nat, NatKind};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::collections::BTreeMap;
use tcp::machine::Nanos;
use tcp::profile::linux;
use tcp::{Flags, Segment};

/// Source and destination of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Ends {
    source: Place,
    destination: Place,
}

impl Ends {
    const fn swapped(self) -> Self {
        Self { source: self.destination, destination: self.source }
    }
}

/// The states of net/netfilter/nf_conntrack_proto_tcp.c, as far as their timeouts differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tracked {
    SynSent,
    Established,
    /// One side sent a FIN: `true` if the one that opened.
    FinWait(bool),
    CloseWait(bool),
    LastAck,
    TimeWait,
    Close,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// As the one who opened sends.
    original: Ends,
    /// As it goes on from here.
    translated: Ends,
    state: Tracked,
    until: Nanos,
    /// Direct routing: to this host, whatever the address says. It has no entry in conntrack.
    direct: Option<usize>,
}

/// What one host tracks.
#[derive(Default)]
pub(super) struct Tracker {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    /// By what arrives: the entry, and whether it comes from the one who opened.
    index: HashMap<Ends, (u32, bool), FixedState>,
    /// Whose turn it is, by rule.
    turns: Vec<usize>,
    /// So many entries, and it is looked which of them are over.
    purge_at: usize,
    /// SYNs dropped because no port was free.
    pub(super) insert_failed: u64,
    /// Packets dropped because the table was full, or no port was free.
    pub(super) dropped: u64,
}

/// What becomes of a packet at a host that translates.
pub(super) enum Verdict {
    /// It goes on, to that destination.
    Pass(Packet),
    /// It goes to this host, whatever its destination says.
    Direct(Packet, usize),
    Drop,
}

impl Tracker {
    /// Entries of conntrack that are alive.
    pub(super) fn alive(&self, now: Nanos) -> u64 {
        let alive = |entry: &&Entry| entry.until > now && entry.direct.is_none();
        self.entries.iter().flatten().filter(alive).count() as u64
    }

    /// Entries of conntrack that are alive, by the names conntrack has for their states.
    pub(super) fn by_state(&self, now: Nanos) -> BTreeMap<&'static str, u64> {
        let mut by_state = BTreeMap::new();
        for entry in self.entries.iter().flatten().filter(|entry| entry.until > now && entry.direct.is_none())
        {
            let name = match entry.state {
                Tracked::SynSent => "SYN_SENT",
                Tracked::Established => "ESTABLISHED",
                Tracked::FinWait(_) => "FIN_WAIT",
                Tracked::CloseWait(_) => "CLOSE_WAIT",
                Tracked::LastAck => "LAST_ACK",
                Tracked::TimeWait => "TIME_WAIT",
                Tracked::Close => "CLOSE",
            };
            *by_state.entry(name).or_insert(0) += 1;
        }
        by_state
    }

    /// Lets go what is over.
    pub(super) fn purge(&mut self, now: Nanos) {
        for at in 0..self.entries.len() {
            if self.entries[at].is_some_and(|entry| entry.until <= now) {
                self.remove(at);
            }
        }
    }

    fn remove(&mut self, at: usize) {
        if let Some(entry) = self.entries[at].take() {
            self.index.remove(&entry.original);
            self.index.remove(&entry.translated.swapped());
            self.free.push(u32::try_from(at).unwrap_or(u32::MAX));
        }
    }

    /// The entry that a packet belongs to, and its direction.
    fn find(&mut self, now: Nanos, ends: Ends) -> Option<(usize, bool)> {
        let (at, opens) = self.index.get(&ends).copied()?;
        let at = at as usize;
        if self.entries[at].is_some_and(|entry| entry.until > now) {
            return Some((at, opens));
        }
        self.remove(at);
        None
    }

    fn insert(&mut self, entry: Entry) -> usize {
        let at = if let Some(at) = self.free.pop() {
            self.entries[at as usize] = Some(entry);
            at
        } else {
            self.entries.push(Some(entry));
            u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
        };
        if self.free.is_empty() && self.entries.len() >= self.purge_at {
            // Half of them at least are over before it is looked through again.
            self.purge(entry.until.saturating_sub(1));
            self.purge_at = 2 * (self.entries.len() - self.free.len()).max(1_024);
        }
        self.index.insert(entry.original, (at, true));
        self.index.insert(entry.translated.swapped(), (at, false));
        at as usize
    }

    /// True if a connection that leaves like this could not be told from another by its answers.
    fn clashes(&mut self, now: Nanos, translated: Ends) -> Option<usize> {
        self.find(now, translated.swapped()).map(|(at, _)| at)
    }
}

impl Entry {
    /// A segment passes: state and timeout follow.
    fn pass(&mut self, now: Nanos, opens: bool, segment: &Segment, timeouts: &Conntrack) {
        let flags = segment.flags;
        let (fin, ack) = (flags.has(Flags::FIN), flags.has(Flags::ACK));
        self.state = match self.state {
            _ if flags.has(Flags::RST) => Tracked::Close,
            Tracked::SynSent if flags.has(Flags::SYN) => Tracked::SynSent,
            Tracked::SynSent | Tracked::Established if fin => Tracked::FinWait(opens),
            Tracked::SynSent if ack => Tracked::Established,
            Tracked::FinWait(first) | Tracked::CloseWait(first) if fin && opens != first => Tracked::LastAck,
            Tracked::FinWait(first) if ack && opens != first => Tracked::CloseWait(first),
            Tracked::LastAck if ack => Tracked::TimeWait,
            state => state,
        };
        self.until = now.saturating_add(match self.state {
            Tracked::SynSent => timeouts.syn_sent_ns,
            Tracked::Established => timeouts.established_ns,
            Tracked::FinWait(_) => timeouts.fin_wait_ns,
            Tracked::CloseWait(_) => timeouts.close_wait_ns,
            Tracked::LastAck => timeouts.last_ack_ns,
            Tracked::TimeWait => timeouts.time_wait_ns,
            Tracked::Close => timeouts.close_ns,
        });
    }
}

impl Simulation<'_> {
    /// A packet comes to a host with rules of translation, from another.
    pub(super) fn translate(&mut self, number: usize, packet: Packet) -> Verdict {
        let now = self.now;
        let ends = Ends { source: packet.source, destination: packet.destination };
        let timeouts = self.hosts[number].tuned.conntrack;
        let tracker = &mut self.trackers[number];
        let is_syn = packet.segment.flags.has(Flags::SYN) && !packet.segment.flags.has(Flags::ACK);
        let mut found = tracker.find(now, ends);
        if let Some((at, true)) = found
            && is_syn
            && tracker.entries[at]
                .is_some_and(|entry| matches!(entry.state, Tracked::TimeWait | Tracked::Close))
            && tracker.entries[at].is_some_and(|entry| entry.direct.is_none())
        {
            // A new connection on the tuple of an old one.
            tracker.remove(at);
            found = None;
        }
        let (at, opens) = match found {
            Some(found) => found,
            None if packet.segment.flags.has(Flags::RST) => return Verdict::Pass(packet),
            None => match self.begin_tracking(number, ends, is_syn) {
                Ok(Some(at)) => (at, true),
                Ok(None) => return Verdict::Pass(packet),
                Err(()) => return Verdict::Drop,
            },
        };
        let Some(entry) = self.trackers[number].entries[at].as_mut() else { return Verdict::Drop };
        entry.pass(now, opens, &packet.segment, &timeouts);
        if let (Some(host), true) = (entry.direct, opens) {
            return Verdict::Direct(packet, host);
        }
        let ends = if opens { entry.translated } else { entry.original.swapped() };
        Verdict::Pass(Packet { source: ends.source, destination: ends.destination, ..packet })
    }

    /// A connection that is not known yet: where the rules lead it. `Ok(None)`: no rule is for it.
    fn begin_tracking(&mut self, number: usize, original: Ends, is_syn: bool) -> Result<Option<usize>, ()> {
        let world = self.world;
        let rules = &world.hosts[number].nat;
        let now = self.now;
        let here = self.network.owner(original.destination.address) == Some(number);
        let mut translated = original;
        let mut direct = None;
        let mut ports = None;
        let aimed =
            |rule: &Nat| here && rule.kind != NatKind::Snat && rule.port == Some(original.destination.port);
        if let Some(at) = rules.iter().position(aimed) {
            let rule = &rules[at];
            let tracker = &mut self.trackers[number];
            tracker.turns.resize(rules.len(), 0);
            let to = &rule.to[tracker.turns[at] % rule.to.len()];
            tracker.turns[at] += 1;
            let (host, place) = self.places(number, to, 1).first().copied().ok_or(())?;
            match rule.kind {
                NatKind::DirectRouting => direct = Some(host),
                _ => translated.destination = place,
            }
        } else if here {
            return Ok(None);
        }
        let leaves = self.network.path(number, translated.destination.address).map(|path| path.first);
        let out = |rule: &Nat| {
            let network = rule.out.as_deref().and_then(|out| self.network.number(out));
            rule.kind == NatKind::Snat && !here && network == leaves
                || rule.kind == NatKind::Full && aimed(rule)
        };
        if let Some(rule) = rules.iter().find(|rule| out(rule)) {
            let own = self.hosts[number].addresses.iter().find(|(network, _)| Some(*network) == leaves);
            let (_, address) = own.ok_or(())?;
            translated.source.address = *address;
            ports = Some(rule.ports);
        }
        if translated == original && direct.is_none() && rules.iter().all(|rule| rule.kind != NatKind::Snat) {
            return Ok(None);
        }
        let state = if is_syn { Tracked::SynSent } else { Tracked::Established };
        let max = self.hosts[number].tuned.conntrack.max;
        let tracker = &mut self.trackers[number];
        // net/netfilter/nf_conntrack_core.c __nf_conntrack_alloc(): 0 is no limit.
        let is_full = |tracker: &Tracker| max > 0 && tracker.index.len() as u64 / 2 >= max;
        if direct.is_none() && is_full(tracker) {
            tracker.purge(now);
            if is_full(tracker) {
                tracker.dropped += 1;
                return Err(());
            }
        }
        if let Some(range) = ports {
            translated = self.free_port(number, translated, range).ok_or(())?;
        }
        let entry = Entry { original, translated, state, until: now + 1, direct };
        Ok(Some(self.trackers[number].insert(entry)))
    }

    /// The source port that SNAT takes: the client's own where it may, else one that is free.
    fn free_port(&mut self, number: usize, wanted: Ends, range: Option<(u16, u16)>) -> Option<Ends> {
        let now = self.now;
        let tracker = &mut self.trackers[number];
        let with = |port| Ends { source: Place { port, ..wanted.source }, ..wanted };
        let own = wanted.source.port;
        let fits = range.is_none_or(|(first, last)| (first..=last).contains(&own));
        if fits && tracker.clashes(now, wanted).is_none() {
            return Some(wanted);
        }
        // net/netfilter/nf_nat_core.c nf_nat_l4proto_unique_tuple(): without a range, above the reserved ports.
        let (first, last) = range.unwrap_or((1_024, u16::MAX));
        let size = u32::from(last - first) + 1;
        let mut attempts = size.min(linux::NAT_ATTEMPTS.value.0);
        let mut closing = None;
        loop {
            let start = self.random.below(size);
            for more in 0..attempts {
                let port = u32::from(first) + (start + more) % size;
                let ends = with(u16::try_from(port).unwrap_or(last));
                match tracker.clashes(now, ends) {
                    None => return Some(ends),
                    Some(at) => {
                        let state = tracker.entries[at].map(|entry| entry.state);
                        if matches!(state, Some(Tracked::TimeWait | Tracked::Close)) {
                            closing.get_or_insert(at);
                        }
                    }
                }
            }
            if attempts >= size || attempts < linux::NAT_ATTEMPTS.value.1 {
                break;
            }
            attempts /= 2;
        }
        // nf_nat_used_tuple_harder(): what is closing is thrown out, but this SYN is lost all the same.
        if let Some(at) = closing {
            tracker.remove(at);
        }
        tracker.insert_failed += 1;
        tracker.dropped += 1;
        None
    }
}
