//! What is kept of every connection: 152 bytes.

use super::key::{Key, Side};
use crate::http::Messages;
use tcp::{State, StateSet};

/// No index.
pub(crate) const NONE: u32 = u32::MAX;

/// What one side did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct End {
    /// Bytes of data, each once as far as sequence numbers tell.
    pub(crate) bytes: u64,
    pub(crate) packets: u32,
    /// Segments with a SYN, data or a FIN that were sent before.
    pub(crate) retransmits: u32,
    pub(crate) resets: u32,
    pub(crate) fins: u16,
    /// Half of the bits of [`Record::used_us`].
    used: u16,
    /// Initial sequence number: its SYN's, or one before the first number seen of it.
    pub(crate) isn: u32,
    /// Window scale of its SYN; [`NO_SCALE`] without.
    pub(crate) scale: u8,
    /// Time to live of its first packet.
    pub(crate) ttl: u8,
    pub(crate) seen: Seen,
}

/// Window scale of a SYN without that option.
pub(crate) const NO_SCALE: u8 = u8::MAX;

/// What was seen of one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen(u16);

impl Seen {
    /// `isn` is known, if only from the other side's acknowledgement.
    pub(crate) const ISN: Self = Self(1);
    /// A SYN without ACK.
    pub(crate) const SYN: Self = Self(2);
    /// A SYN with ACK.
    pub(crate) const SYN_ACK: Self = Self(4);
    /// Its first FIN was acknowledged.
    pub(crate) const FIN_ACKED: Self = Self(8);
    /// An ACK that completes a handshake.
    pub(crate) const OPENED: Self = Self(16);
    /// It sent a SYN that nothing has answered yet.
    pub(crate) const CALLING: Self = Self(32);
    /// Bytes of it that the other side acknowledged were not captured, or a gap was never filled.
    pub(crate) const MISSING: Self = Self(64);
    /// A packet was cut by the snap length.
    pub(crate) const CUT: Self = Self(128);
    /// A segment with ACK, other than a reset.
    pub(crate) const ACK: Self = Self(256);
    /// Data that answers the other side's data.
    pub(crate) const ANSWERED: Self = Self(512);
    /// Its latest SYN has timestamps.
    pub(crate) const TIMESTAMPS: Self = Self(1024);
    /// Its latest SYN was captured whole and has no timestamps.
    pub(crate) const NO_TIMESTAMPS: Self = Self(2048);

    pub(crate) const fn has(self, what: Self) -> bool {
        self.0 & what.0 == what.0
    }

    pub(crate) const fn add(&mut self, what: Self) {
        self.0 |= what.0;
    }

    pub(crate) const fn remove(&mut self, what: Self) {
        self.0 &= !what.0;
    }
}

/// What happened to the connection as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks(u32);

impl Marks {
    /// The key's addresses lie elsewhere.
    pub(crate) const WIDE: Self = Self(1);
    /// Side 1 is the client, if [`Self::ROLES_BY_SYN`] or [`Self::ROLES_BY_SYN_ACK`].
    pub(crate) const CLIENT_IS_HIGH: Self = Self(1 << 1);
    pub(crate) const ROLES_BY_SYN: Self = Self(1 << 2);
    pub(crate) const ROLES_BY_SYN_ACK: Self = Self(1 << 3);
    /// The first packet was sent by side 1.
    pub(crate) const BEGUN_BY_HIGH: Self = Self(1 << 4);
    /// The first FIN was sent by side 1.
    pub(crate) const FIRST_FIN_IS_HIGH: Self = Self(1 << 5);
    /// The FINs crossed.
    pub(crate) const CROSSED: Self = Self(1 << 6);
    /// A reset that the peer takes ended it.
    pub(crate) const RESET: Self = Self(1 << 7);
    /// That reset was sent by side 1.
    pub(crate) const RESET_BY_HIGH: Self = Self(1 << 8);
    /// That reset came after both FINs were acknowledged.
    pub(crate) const RESET_AFTER_END: Self = Self(1 << 9);
    /// A SYN was answered by an old ACK.
    pub(crate) const CHALLENGED: Self = Self(1 << 10);
    /// Packets were captured twice.
    pub(crate) const TWICE: Self = Self(1 << 11);
    /// A packet is earlier than the one before.
    pub(crate) const TIME_BACK: Self = Self(1 << 12);
    /// A reset that the peer must ignore.
    pub(crate) const BAD_RESET: Self = Self(1 << 13);
    /// Its running state was given up for want of memory.
    pub(crate) const GIVEN_UP: Self = Self(1 << 14);
    /// Both sides sent a SYN.
    pub(crate) const BOTH_CALLED: Self = Self(1 << 15);
    /// A reset bore a time to live that its side did not use before.
    pub(crate) const FOREIGN_RESET: Self = Self(1 << 16);
    /// Packets of both sides came after the reset that ended it.
    pub(crate) const WENT_ON: Self = Self(1 << 17);
    /// Its tuple was used by a connection before.
    pub(crate) const REUSES: Self = Self(1 << 18);
    /// It was handed out already.
    pub(crate) const EMITTED: Self = Self(1 << 19);
    /// Data came after the sender of the first FIN had none left.
    pub(crate) const DATA_AFTER_FIN: Self = Self(1 << 20);
    /// The reset killed the TIME-WAIT that was left.
    pub(crate) const TIME_WAIT_KILLED: Self = Self(1 << 21);
    /// It belongs to no tuple any more: another connection has it.
    pub(crate) const SUPERSEDED: Self = Self(1 << 22);
    /// So many gaps were open at once that it is not known whether all were filled.
    pub(crate) const GAPS_UNTOLD: Self = Self(1 << 24);
    /// The two sides bear different contexts, or one changed.
    pub(crate) const SEVERAL_CONTEXTS: Self = Self(1 << 25);
    /// Its place is in the queue of ended connections.
    pub(crate) const QUEUED: Self = Self(1 << 26);
    /// The peer of its first sender had not closed the connection that had the tuple before.
    pub(crate) const AFTER_OPEN: Self = Self(1 << 28);
    /// The reset that ended it has ACK: it answers nothing.
    pub(crate) const ACTIVE_RESET: Self = Self(1 << 23);
    /// Its place is free.
    pub(crate) const FORGOTTEN: Self = Self(1 << 29);
    /// A FIN was sent with another sequence number than the first.
    pub(crate) const FIN_MOVED: Self = Self(1 << 27);

    pub(crate) const fn has(self, what: Self) -> bool {
        self.0 & what.0 == what.0
    }

    pub(crate) const fn add(&mut self, what: Self) {
        self.0 |= what.0;
    }

    pub(crate) const fn add_if(&mut self, condition: bool, what: Self) {
        if condition {
            self.0 |= what.0;
        }
    }

    pub(crate) const fn remove(&mut self, what: Self) {
        self.0 &= !what.0;
    }
}

/// The states that its sides may be in (11 bits each), what made its reset (4), and the answer to its SYN (3).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Verdict(u32);

impl Verdict {
    const STATES: u32 = (1 << State::COUNT) - 1;
    const CAUSE_AT: usize = 2 * State::COUNT;
    const OUTCOME_AT: usize = Self::CAUSE_AT + 4;

    /// The states of a side; none if they were not written down.
    pub(crate) fn states(self, side: Side) -> Option<StateSet> {
        let bits = self.0 >> (side * State::COUNT) & Self::STATES;
        let states = State::ALL.into_iter().filter(|state| bits >> state.index() & 1 != 0);
        (bits != 0).then(|| states.collect())
    }

    pub(crate) const fn set_states(&mut self, side: Side, states: StateSet) {
        let at = side * State::COUNT;
        self.0 = self.0 & !(Self::STATES << at) | (states.bits() as u32) << at;
    }

    /// What made the reset: 0 for none.
    pub(crate) const fn cause(self) -> usize {
        (self.0 >> Self::CAUSE_AT & 15) as usize
    }

    pub(crate) const fn set_cause(&mut self, cause: u8) {
        self.0 = self.0 & !(15 << Self::CAUSE_AT) | (cause as u32) << Self::CAUSE_AT;
    }

    /// The answer to the SYN: 0 for none.
    pub(crate) const fn outcome(self) -> usize {
        (self.0 >> Self::OUTCOME_AT & 7) as usize
    }

    pub(crate) const fn set_outcome(&mut self, outcome: u8) {
        self.0 = self.0 & !(7 << Self::OUTCOME_AT) | (outcome as u32) << Self::OUTCOME_AT;
    }
}

/// A connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    /// Numbers of the first and the last packet: 40 bits each.
    first: u32,
    last: u32,
    pub(crate) start_ns: i64,
    pub(crate) end_ns: i64,
    pub(crate) ends: [End; 2],
    pub(crate) key: Key,
    /// Index of its running state, or [`NONE`].
    pub(crate) live: u32,
    /// Its number, from 1 in the order of first packets.
    pub(crate) number: u32,
    /// Number of the connection that had the tuple before; 0 for none.
    pub(crate) previous: u32,
    /// How long that one had been quiet.
    pub(crate) after_ms: u32,
    /// Quiet time before the first FIN or reset; [`NONE`] if there was no data.
    pub(crate) idle_ms: u32,
    pub(crate) syns: u32,
    pub(crate) marks: Marks,
    pub(crate) http: Messages,
    pub(crate) verdict: Verdict,
    /// Which of several files the first packet is from.
    pub(crate) file: u16,
    upper: [u8; 2],
}

/// Splits a packet's number into 32 and 8 bits. A file of more than 2^40 packets would have 60 TiB at least.
#[expect(clippy::cast_possible_truncation, reason = "split in two on purpose")]
const fn split(number: u64) -> (u32, u8) {
    (number as u32, (number >> 32) as u8)
}

/// From one time to a later one; 0 if it is earlier.
fn microseconds(from_ns: i64, to_ns: i64) -> u32 {
    u32::try_from((to_ns.saturating_sub(from_ns) / 1_000).max(0)).unwrap_or(u32::MAX)
}

impl Record {
    pub(crate) fn new(key: Key, wide: bool, side: Side, packet: &crate::Packet<'_>, number: u32) -> Self {
        let mut marks = Marks::default();
        marks.add_if(wide, Marks::WIDE);
        marks.add_if(side == 1, Marks::BEGUN_BY_HIGH);
        let (first, upper) = split(packet.number);
        Self {
            first,
            last: first,
            upper: [upper; 2],
            file: packet.file,
            start_ns: packet.time_ns,
            end_ns: packet.time_ns,
            ends: [End { scale: NO_SCALE, ..End::default() }; 2],
            key,
            live: NONE,
            number,
            previous: 0,
            after_ms: 0,
            idle_ms: NONE,
            syns: 0,
            marks,
            http: Messages::default(),
            verdict: Verdict::default(),
        }
    }

    /// Number of the first packet.
    pub(crate) const fn first_packet(&self) -> u64 {
        (self.upper[0] as u64) << 32 | self.first as u64
    }

    /// Number of the last packet.
    pub(crate) const fn last_packet(&self) -> u64 {
        (self.upper[1] as u64) << 32 | self.last as u64
    }

    /// Microseconds from its first packet to the first FIN, or to the reset that ended it: 0 if neither came, and no
    /// more than [`u32::MAX`], 71 minutes.
    fn used_us(&self) -> u32 {
        let [low, high] = self.ends.map(|end| u32::from(end.used));
        high << 16 | low
    }

    #[expect(clippy::cast_possible_truncation, reason = "split in two on purpose")]
    const fn set_used_us(&mut self, used: u32) {
        (self.ends[0].used, self.ends[1].used) = (used as u16, (used >> 16) as u16);
    }

    /// When a side first closed it, or ended it with a reset; none if that is not known.
    pub(crate) fn closed_ns(&self) -> Option<i64> {
        let used = Some(self.used_us()).filter(|used| *used != 0 && *used != u32::MAX)?;
        Some(self.start_ns.saturating_add(i64::from(used) * 1_000))
    }

    /// It has a packet of this time.
    pub(crate) fn span(&mut self, time_ns: i64) {
        let used = self.used_us();
        if time_ns < self.start_ns && used != 0 {
            self.set_used_us(used.saturating_add(microseconds(time_ns, self.start_ns)));
        }
        self.start_ns = self.start_ns.min(time_ns);
        self.end_ns = self.end_ns.max(time_ns);
    }

    /// A side closes it, or ends it with a reset.
    pub(crate) fn close_at(&mut self, time_ns: i64) {
        if self.used_us() == 0 {
            self.set_used_us(microseconds(self.start_ns, time_ns).max(1));
        }
    }

    /// A packet with this number belongs to it.
    pub(crate) const fn extend(&mut self, number: u64) {
        (self.last, self.upper[1]) = split(number);
    }

    /// The side that sent the first FIN, if there was one.
    pub(crate) const fn first_fin(&self) -> Option<Side> {
        if self.ends[0].fins == 0 && self.ends[1].fins == 0 {
            return None;
        }
        Some(if self.marks.has(Marks::FIRST_FIN_IS_HIGH) { 1 } else { 0 })
    }

    /// True if both sides sent a FIN and both were acknowledged.
    pub(crate) const fn is_closed(&self) -> bool {
        self.ends[0].seen.has(Seen::FIN_ACKED) && self.ends[1].seen.has(Seen::FIN_ACKED)
    }

    /// True if nothing more is expected of it.
    pub(crate) const fn is_over(&self) -> bool {
        self.is_closed() || self.marks.has(Marks::RESET)
    }

    /// The side that opened the connection, and false if that is only guessed from the ports.
    pub(crate) const fn client(&self, ports: [u16; 2]) -> (Side, bool) {
        if self.marks.has(Marks::ROLES_BY_SYN) || self.marks.has(Marks::ROLES_BY_SYN_ACK) {
            return (self.marks.has(Marks::CLIENT_IS_HIGH) as Side, true);
        }
        // Servers live on low ports; of equal ports the first sender is taken for the client.
        let first = self.marks.has(Marks::BEGUN_BY_HIGH) as Side;
        (if ports[1 - first] <= ports[first] { first } else { 1 - first }, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_stays_small() {
        assert!(size_of::<Record>() <= 152, "{}", size_of::<Record>());
    }
}
