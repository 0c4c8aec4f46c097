//! Packets in, connections out.
//!
//! A connection is what has one tuple from one opening SYN to the next: a SYN with another initial sequence number
//! begins a new one, and so does one with the same number long after both sides have closed. Any other packet
//! belongs to the newest connection of its tuple. Equal tuples in two VLANs are told apart when both open.

mod answer;
mod endless;
mod holes;
mod key;
mod line;
mod live;
mod order;
mod pages;
mod record;
mod resets;
mod twice;

pub use answer::{Connection, Ending, Handshake, HttpSummary, Note, PerSide, Reuse, Versions, Who};
pub use order::InOrder;
pub use resets::{Outcome, ResetCause};

use crate::clock::{ClockTally, Reading};
use crate::packet::{Flow, Head, Packet, Sink};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use key::{Side, Tuple, Wide};
use live::Live;
use pages::Pages;
use record::{Marks, NONE, Record, Seen};
use resets::Before;
use std::collections::VecDeque;
use tcp::{Flags, Seq};
use twice::Twice;

/// How connections are followed.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Seed of the hash of the flow table. Without a secret one, a sender of packets can choose tuples that collide.
    pub seed: u64,
    /// Connections with running state (HTTP, gaps, windows: some 400 bytes each). Beyond, those that were quiet
    /// longest lose it, and say so in a note.
    pub max_live: usize,
    /// What is forgotten, for a stream that never ends; none for files, where every connection is kept.
    pub endless: Option<Endless>,
    /// The part of the connections that is followed: this one of so many, by tuple. `(0, 1)` is all of them. Each part
    /// has the same seed and is shown every packet; [`InOrder`] puts them together again. Not for
    /// endless streams.
    pub shard: (u32, u32),
}

impl Default for Options {
    fn default() -> Self {
        Self { seed: 0, max_live: 1 << 17, endless: None, shard: (0, 1) }
    }
}

/// What is forgotten on a stream that never ends.
#[derive(Clone, Copy, Debug)]
pub struct Endless {
    /// Connections kept in all.
    pub max_connections: usize,
    /// An ended connection is handed out when it was quiet for so long, in nanoseconds.
    pub settle_ns: i64,
    /// It is forgotten when it was quiet for so long: until then a new one on its tuple is known as a reuse.
    pub keep_ns: i64,
    /// One that has not ended is handed out and forgotten when it was quiet for so long.
    pub idle_ns: i64,
}

impl Default for Endless {
    fn default() -> Self {
        use tcp::profile::linux::{TIME_WAIT, TIMER_SLACK};
        const SECOND: i64 = 1_000_000_000;
        let keep = TIME_WAIT.value + TIMER_SLACK.value;
        Self {
            max_connections: 1 << 20,
            settle_ns: 5 * SECOND,
            keep_ns: i64::try_from(keep.as_nanos()).unwrap_or(i64::MAX),
            idle_ns: 600 * SECOND,
        }
    }
}

/// Both ends of a connection may linger and speak up again: an ended one keeps its running state for so many more
/// packets. They are counted over all shards, so that an answer does not depend on how many there are.
const LINGERING: u32 = 4_096;

/// A SYN with the number of the one before opens a new connection only if the old was closed and quiet for so long.
const SAME_ISN_QUIET_NS: i64 = 1_000_000_000;

/// Connections by tuple.
// Two shards that share a line of cache, or the pair of lines that is fetched at once, slow each other down by a third.
#[repr(align(128))]
#[derive(Debug)]
pub struct Connections {
    options: Options,
    state: FixedState,
    /// Hash and index of the newest connection of each tuple.
    table: HashTable<(u32, u32)>,
    records: Pages<Record>,
    wide: Wide,
    lives: Pages<Live>,
    /// Ended connections that still have running state, in the order in which they ended, and the count of packets
    /// shown by then.
    lingering: VecDeque<(u32, u32)>,
    /// Where the search for one to give up goes on.
    hand: u32,
    twice: Twice,
    clocks: ClockTally,
    count: u32,
    packets: u64,
    /// Packets that were shown, with those of other shards: the order between shards.
    shown: u32,
    refused: u64,
    now_ns: i64,
    /// The earliest and the latest time of a packet that was shown.
    earliest_ns: i64,
    latest_ns: i64,
    /// Hash of the tuple that was asked about last, where that needed one.
    asked: u32,
    endless: endless::Queues,
}

impl Connections {
    /// None yet.
    pub fn new(options: Options) -> Self {
        let state = FixedState::with_seed(options.seed);
        Self {
            options,
            state,
            table: HashTable::new(),
            records: Pages::default(),
            wide: Wide::default(),
            lives: Pages::default(),
            lingering: VecDeque::new(),
            hand: 0,
            twice: Twice::new(FixedState::with_seed(options.seed), options.shard.1),
            clocks: ClockTally::new(FixedState::with_seed(options.seed)),
            count: 0,
            packets: 0,
            shown: 0,
            refused: 0,
            now_ns: i64::MIN,
            earliest_ns: i64::MAX,
            latest_ns: i64::MIN,
            asked: 0,
            endless: endless::Queues::default(),
        }
    }

    /// Packets that were taken.
    pub const fn packets(&self) -> u64 {
        self.packets
    }

    /// Packets beyond the four billionth connection, which found no place.
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// Connections that were begun.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The times of the earliest and the latest packet that was shown, in nanoseconds since 1970.
    pub fn span_ns(&self) -> Option<(i64, i64)> {
        (self.earliest_ns <= self.latest_ns).then_some((self.earliest_ns, self.latest_ns))
    }

    /// Takes a packet.
    pub fn push(&mut self, packet: &Packet<'_>) {
        if self.wants(&packet.head()) {
            self.take(packet);
        }
    }

    /// True if what has this hash is for another shard.
    #[inline]
    fn is_foreign(&self, hash: u32) -> bool {
        let (shard, shards) = self.options.shard;
        // Mixed again: a bit of the hash that is the same for all would leave half of the table's places unused.
        let mixed = u64::from(hash.wrapping_mul(0x9e37_79b9));
        // The upper half of a product is as even as the rest of a division, and is there many cycles earlier.
        shards > 1 && (mixed * u64::from(shards)) >> 32 != u64::from(shard)
    }

    fn take_own(&mut self, hash: u32, tuple: &Tuple, side: Side, packet: &Packet<'_>) {
        self.packets += 1;
        while let Some((index, since)) = self.lingering.front().copied()
            && self.shown.wrapping_sub(since) > LINGERING
        {
            self.lingering.pop_front();
            self.drop_live(index);
        }
        let found = self.find(hash, tuple);
        let index = match found {
            Some(index) if !self.begins_anew(index, side, packet) => index,
            _ => {
                let Some(index) = self.begin(hash, tuple, side, packet, found) else {
                    self.refused += 1;
                    return;
                };
                index
            }
        };
        self.follow(index, side, packet);
        if self.options.endless.is_some() {
            self.forget(packet.time_ns);
        }
    }

    /// Takes the reading off a SYN. All readings between two addresses are of one shard: what they amount to does not
    /// depend on how many shards there are.
    fn read_clock(&mut self, packet: &Packet<'_>) {
        let Some(timestamps) = packet.segment.timestamps else { return };
        let flow = &packet.flow;
        let of_addresses = Flow { source_port: 0, destination_port: 0, ..*flow };
        if self.options.shard.1 > 1 && self.is_foreign(Tuple::of(&of_addresses, 0).0.hash(&self.state)) {
            return;
        }
        let is_answer = packet.segment.flags.has(Flags::ACK);
        let port = if is_answer { flow.destination_port } else { flow.source_port };
        let (packet, time_ns, value) = (packet.number, packet.time_ns, timestamps.value);
        let reading = Reading { packet, time_ns, value, port };
        self.clocks.take(flow.source, flow.destination, self.shown, reading);
    }

    fn find(&self, hash: u32, tuple: &Tuple) -> Option<u32> {
        let is = |index: u32| {
            self.records
                .get(index)
                .is_some_and(|record| self.wide.is(&record.key, record.marks.has(Marks::WIDE), tuple))
        };
        let (_, index) = self.table.find(spread(hash), |(other, index)| *other == hash && is(*index))?;
        let record = self.records.get(*index)?;
        if record.key.context() == tuple.context {
            return Some(*index);
        }
        // In another context: one of its own, or else the newest.
        let all = self.table.iter_hash(spread(hash)).filter(|(other, index)| *other == hash && is(*index));
        let rank = |index: u32| {
            self.records.get(index).map(|record| (record.key.context() == tuple.context, record.number))
        };
        all.map(|(_, index)| *index).max_by_key(|index| rank(*index))
    }

    /// True if this packet opens another connection than the one that has its tuple.
    fn begins_anew(&self, index: u32, side: Side, packet: &Packet<'_>) -> bool {
        let flags = packet.segment.flags;
        if !flags.has(Flags::SYN) {
            return false;
        }
        let Some(record) = self.records.get(index) else { return true };
        let (mine, peers) = (&record.ends[side], &record.ends[1 - side]);
        if !mine.seen.has(Seen::ISN) {
            return false;
        }
        let differs = packet.segment.seq != Seq::new(mine.isn);
        if !flags.has(Flags::ACK) {
            let long_closed =
                record.is_closed() && packet.time_ns.saturating_sub(record.end_ns) >= SAME_ISN_QUIET_NS;
            return differs || long_closed;
        }
        // A SYN-ACK to a SYN that was not captured.
        differs
            && record.is_over()
            && peers.seen.has(Seen::ISN)
            && packet.segment.ack != Seq::new(peers.isn).plus(1)
    }

    /// Begins a connection; `found` is the one that has the tuple now.
    fn begin(
        &mut self,
        hash: u32,
        tuple: &Tuple,
        side: Side,
        packet: &Packet<'_>,
        found: Option<u32>,
    ) -> Option<u32> {
        let count = self.count.checked_add(1)?;
        let is_shard = self.options.shard.1 > 1;
        // Shards are put in order by their first packets; what is the number of a connection is known then.
        let number = if is_shard { self.shown } else { count };
        let (key, wide) = self.wide.keep(tuple);
        let mut record = Record::new(key, wide, side, packet, number);
        let old = found.and_then(|found| self.records.get(found)).copied();
        let beside = old.is_some_and(|old| old.key.context() != tuple.context && !old.is_over());
        if let (Some(old), false) = (old, beside) {
            record.previous = if is_shard { found.unwrap_or_default() + 1 } else { old.number };
            record.after_ms = live::milliseconds(old.end_ns, packet.time_ns);
            record.marks.add(Marks::REUSES);
            let left_open = !old.is_over() && old.ends[1 - side].fins == 0;
            record.marks.add_if(left_open, Marks::AFTER_OPEN);
        }
        let index = self.records.add(record)?;
        self.count = count;
        match found {
            Some(found) if !beside => {
                self.supersede(found);
                let entry = self.table.find_mut(spread(hash), |(_, index)| *index == found);
                if let Some(entry) = entry {
                    entry.1 = index;
                }
            }
            _ => {
                self.table.insert_unique(spread(hash), (hash, index), |(hash, _)| spread(*hash));
            }
        }
        if self.options.endless.is_some() {
            self.endless.begun(index, number, packet.time_ns);
        }
        Some(index)
    }

    /// Another connection takes the tuple.
    fn supersede(&mut self, index: u32) {
        self.drop_live(index);
        if let Some(record) = self.records.get_mut(index) {
            record.marks.add(Marks::SUPERSEDED);
        }
        if self.options.endless.is_some() {
            self.hand_out(index, None);
            self.remove(index);
        }
    }

    fn follow(&mut self, index: u32, side: Side, packet: &Packet<'_>) {
        let Self { records, lives, twice, .. } = self;
        let Some(record) = records.get_mut(index) else { return };
        let segment = &packet.segment;
        note_packet(record, side, packet);
        let news = match lives.get(record.live) {
            Some(live) => live.is_news(side, segment),
            None => !record.is_over() && !record.ends[side].seen.has(Seen::SYN),
        };
        let place = twice.place(packet, record.number, side);
        if !news && twice.seen(packet, place) {
            record.marks.add(Marks::TWICE);
            return;
        }
        note_opening(record, side, packet);
        let lone_syn = segment.flags == Flags::SYN && segment.length == 0;
        if record.live == NONE {
            if record.is_over() && record.marks.has(Marks::QUEUED) {
                after_the_end(record, side, packet);
                return twice.remember(place);
            }
            if lone_syn && !record.marks.has(Marks::GIVEN_UP) {
                lone(record, side);
                return twice.remember(place);
            }
            let Some(live) = lives.add(Live::new(index, record)) else { return };
            record.live = live;
        }
        let Some(live) = lives.get_mut(record.live) else { return };
        live.touched = true;
        let over = record.is_over();
        if segment.flags.has(Flags::RST) {
            let before = match (record.marks.has(Marks::REUSES), record.marks.has(Marks::AFTER_OPEN)) {
                (false, _) => Before::Unknown,
                (true, false) => Before::Over,
                (true, true) => Before::OpenAtPeer,
            };
            resets::take(record, live, side, packet, before);
        } else {
            if over && record.marks.has(Marks::RESET) && !segment.flags.has(Flags::SYN) {
                let by = usize::from(record.marks.has(Marks::RESET_BY_HIGH));
                record.marks.add_if(by == side, Marks::WENT_ON);
            }
            live.segment(record, side, packet);
        }
        let ends_now = record.is_over() && !record.marks.has(Marks::QUEUED);
        if ends_now {
            record.marks.add(Marks::QUEUED);
            self.lingering.push_back((index, self.shown));
            if self.options.endless.is_some()
                && let Some(record) = self.records.get(index)
            {
                self.endless.ended(index, record.number, packet.time_ns);
            }
        }
        if self.lives.used() > self.options.max_live {
            self.give_one_up();
        }
        self.twice.remember(place);
    }

    /// Takes the running state of a connection away, after what it still has to say.
    fn drop_live(&mut self, index: u32) {
        let Some(record) = self.records.get_mut(index) else { return };
        let Some(live) = self.lives.get_mut(record.live) else { return };
        if live.record != index {
            return;
        }
        live.finish(record);
        live.vacate();
        self.lives.release(record.live);
        record.live = NONE;
    }

    /// The hand goes round, and whoever was quiet since it came by last loses the running state.
    fn give_one_up(&mut self) {
        let places = u32::try_from(self.lives.places()).unwrap_or(u32::MAX);
        for _ in 0..2 * places {
            self.hand = if self.hand + 1 < places { self.hand + 1 } else { 0 };
            let Some(live) = self.lives.get_mut(self.hand) else { return };
            if live.record == NONE || std::mem::take(&mut live.touched) {
                continue;
            }
            let index = live.record;
            if let Some(record) = self.records.get_mut(index) {
                record.marks.add_if(!record.is_over(), Marks::GIVEN_UP);
            }
            self.drop_live(index);
            return;
        }
    }

    /// No more packets will come: every connection that is left is ready to be read.
    pub fn finish(&mut self) {
        for place in 0..u32::try_from(self.lives.places()).unwrap_or(u32::MAX) {
            if let Some(index) = self.lives.get(place).map(|live| live.record) {
                self.drop_live(index);
            }
        }
        self.lingering = VecDeque::new();
        if self.options.endless.is_some() {
            self.hand_out_rest();
        }
    }

    /// All connections, in the order of their first packets. Call [`Self::finish`] before. For shards see
    /// [`InOrder`](crate::InOrder).
    pub fn iter(&self) -> impl Iterator<Item = Connection> + '_ {
        (0..u32::try_from(self.records.places()).unwrap_or(u32::MAX))
            .filter_map(|index| self.records.get(index))
            .map(|record| self.answer(record))
    }

    /// The clocks behind each address that sent SYNs or SYN-ACKs with timestamps. Times are counted from `start_ns`.
    pub fn clocks(&self, start_ns: i64) -> Vec<evidence::Clocks> {
        self.clocks.clocks(start_ns)
    }

    /// Takes the clocks of another shard, for [`Self::clocks`].
    pub fn absorb_clocks(&mut self, other: &mut Self) {
        self.clocks.absorb(&mut other.clocks);
    }

    fn answer(&self, record: &Record) -> Connection {
        Connection::of(record, &self.wide.tuple(&record.key, record.marks.has(Marks::WIDE)))
    }
}

impl Sink for Connections {
    #[inline]
    fn wants(&mut self, head: &Head) -> bool {
        self.shown = self.shown.wrapping_add(1);
        self.earliest_ns = self.earliest_ns.min(head.time_ns);
        self.latest_ns = self.latest_ns.max(head.time_ns);
        // Which shard reads a clock depends on other things than who follows a connection.
        if self.options.shard.1 == 1 || head.flags.has(Flags::SYN) {
            return true;
        }
        let (tuple, _) = Tuple::of(&head.flow, head.context);
        self.asked = tuple.hash(&self.state);
        !self.is_foreign(self.asked)
    }

    fn take(&mut self, packet: &Packet<'_>) {
        if packet.segment.flags.has(Flags::SYN) {
            self.read_clock(packet);
        }
        let (tuple, side) = Tuple::of(&packet.flow, packet.context);
        if self.options.shard.1 > 1 && !packet.segment.flags.has(Flags::SYN) {
            return self.take_own(self.asked, &tuple, side, packet);
        }
        let hash = tuple.hash(&self.state);
        if !self.is_foreign(hash) {
            self.take_own(hash, &tuple, side, packet);
        }
    }
}

/// The table wants its hashes in 64 bits: places from the low ones, tags from the high ones.
const fn spread(hash: u32) -> u64 {
    (hash as u64) << 32 | hash as u64
}

/// What counts for every packet, also for copies.
fn note_packet(record: &mut Record, side: Side, packet: &Packet<'_>) {
    // The last packet was not necessarily the latest, so this compares with the latest so far.
    record.marks.add_if(packet.time_ns < record.end_ns, Marks::TIME_BACK);
    record.span(packet.time_ns);
    record.extend(packet.number);
    record.marks.add_if(packet.context != record.key.context(), Marks::SEVERAL_CONTEXTS);
    let end = &mut record.ends[side];
    if end.packets == 0 {
        end.ttl = packet.ttl;
    }
    end.packets = end.packets.saturating_add(1);
    if packet.cut {
        end.seen.add(Seen::CUT);
    }
}

/// Initial sequence numbers, and who opened the connection.
fn note_opening(record: &mut Record, side: Side, packet: &Packet<'_>) {
    let segment = &packet.segment;
    let is_syn = segment.flags.has(Flags::SYN);
    let peer = 1 - side;
    if !record.ends[side].seen.has(Seen::ISN) {
        record.ends[side].seen.add(Seen::ISN);
        record.ends[side].isn = segment.seq.number().wrapping_sub(u32::from(!is_syn));
    }
    if segment.flags.has(Flags::ACK) && !record.ends[peer].seen.has(Seen::ISN) {
        record.ends[peer].seen.add(Seen::ISN);
        record.ends[peer].isn = segment.ack.number().wrapping_sub(1);
    }
    if !is_syn {
        return;
    }
    record.ends[side].scale = packet.window_scale.unwrap_or(record::NO_SCALE);
    let seen = &mut record.ends[side].seen;
    // A SYN that nobody answers may be sent again without.
    seen.remove(Seen::TIMESTAMPS);
    seen.remove(Seen::NO_TIMESTAMPS);
    if segment.timestamps.is_some() {
        seen.add(Seen::TIMESTAMPS);
    } else if !packet.cut {
        seen.add(Seen::NO_TIMESTAMPS);
    }
    let high = side == 1;
    if !segment.flags.has(Flags::ACK) {
        if !record.marks.has(Marks::ROLES_BY_SYN) {
            record.marks.add(Marks::ROLES_BY_SYN);
            record.marks.remove(Marks::CLIENT_IS_HIGH);
            record.marks.add_if(high, Marks::CLIENT_IS_HIGH);
        }
        if record.marks.has(Marks::CLIENT_IS_HIGH) == high {
            record.syns = record.syns.saturating_add(1);
        } else {
            record.marks.add(Marks::BOTH_CALLED);
        }
    } else if !record.marks.has(Marks::ROLES_BY_SYN) && !record.marks.has(Marks::ROLES_BY_SYN_ACK) {
        record.marks.add(Marks::ROLES_BY_SYN_ACK);
        record.marks.add_if(!high, Marks::CLIENT_IS_HIGH);
    }
}

/// A SYN and nothing else, on a connection of which only SYNs were seen: it needs no running state.
fn lone(record: &mut Record, side: Side) {
    let end = &mut record.ends[side];
    if end.seen.has(Seen::SYN) {
        end.retransmits = end.retransmits.saturating_add(1);
    }
    end.seen.add(Seen::SYN);
    end.seen.add(Seen::CALLING);
}

/// A packet of a connection that ended long before: it is counted, and changes little.
fn after_the_end(record: &mut Record, side: Side, packet: &Packet<'_>) {
    let segment = &packet.segment;
    let end = &mut record.ends[side];
    if segment.flags.has(Flags::RST) {
        end.resets = end.resets.saturating_add(1);
        resets::after_the_end(record, side);
        return;
    }
    if segment.span() > 0 {
        end.retransmits = end.retransmits.saturating_add(1);
    }
    if segment.flags.has(Flags::FIN) {
        let is_first = record.first_fin().is_none();
        record.close_at(packet.time_ns);
        record.marks.add_if(is_first && side == 1, Marks::FIRST_FIN_IS_HIGH);
        let fins = &mut record.ends[side].fins;
        *fins = fins.saturating_add(1);
    }
}

#[cfg(test)]
mod tests;
