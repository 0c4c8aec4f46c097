//! What the packets of a connection prove about the states of its two sides.
//!
//! An [`Observer`] never guesses: for each side it keeps the set of states that the side may be in. It may be shown
//! any part of the packets, in any order, by a tap anywhere; what it is not shown widens nothing afterwards, because
//! the sets are at all times closed under all that can happen unseen ([`reach`]). A packet narrows the set of its
//! sender to the states that can send it ([`senders`]) and what those can lead to by now; what it acknowledges
//! proves what the other side had sent, and in which order the FINs passed each other.
//!
//! # What it relies on
//!
//! * The packets are those of the two sides, not forged.
//! * The sets speak of one connection. When a tuple is used again, at least a SYN or SYN,ACK of the new connection is
//!   shown before other segments of it or answers to them; until then a side's set is that of the old one. Late
//!   segments of the old one have numbers that the new one does not use.
//! * A FIN with no data before it is sent when the application closes, if the window has room. (A sender that paces
//!   may hold it for some milliseconds.)
//! * No data is sent before the handshake is complete (TCP Fast Open, RFC 7413).

use crate::machine::{Kind, abort_senders, reach, senders};
use crate::{Flags, Segment, Seq, State, StateSet};

/// One of the two ends of a connection. Which is the client is for the packets to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// One.
    A,
    /// The other.
    B,
}

impl Side {
    /// Both.
    pub const ALL: [Self; 2] = [Self::A, Self::B];

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// 0 or 1.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Remarks on how much of a connection was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Notes(u16);

impl Notes {
    /// The first segment seen was not a SYN.
    pub const BEGAN_LATE: Self = Self(1);
    /// Something was acknowledged, or left out between two segments, that was not seen until then.
    pub const MISSING: Self = Self(1 << 1);
    /// Something came again: sent again, duplicated, or overtaken and late.
    pub const AGAIN: Self = Self(1 << 2);
    /// An acknowledgement went back: segments overtook each other.
    pub const REORDERED: Self = Self(1 << 3);
    /// Only one side was seen.
    pub const ONE_SIDED: Self = Self(1 << 4);
    /// A segment had numbers of another connection: an old one, or the answer of a side that still is in an old one.
    pub const FOREIGN_NUMBERS: Self = Self(1 << 5);
    /// The tuple was used again.
    pub const REOPENED: Self = Self(1 << 6);
    /// A segment that no TCP sends.
    pub const ODD: Self = Self(1 << 7);
    /// What was seen contradicts itself; the sets begin anew from there.
    pub const CONTRADICTION: Self = Self(1 << 8);

    /// True if all of these are set.
    pub const fn has(self, notes: Self) -> bool {
        self.0 & notes.0 == notes.0
    }

    /// These and those.
    #[must_use]
    pub const fn with(self, notes: Self) -> Self {
        Self(self.0 | notes.0)
    }

    /// The names of those that are set, in kebab-case.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        const NAMES: [(Notes, &str); 9] = [
            (Notes::BEGAN_LATE, "began-late"),
            (Notes::MISSING, "missing"),
            (Notes::AGAIN, "again"),
            (Notes::REORDERED, "reordered"),
            (Notes::ONE_SIDED, "one-sided"),
            (Notes::FOREIGN_NUMBERS, "foreign-numbers"),
            (Notes::REOPENED, "reopened"),
            (Notes::ODD, "odd"),
            (Notes::CONTRADICTION, "contradiction"),
        ];
        NAMES.into_iter().filter(move |(note, _)| self.has(*note)).map(|(_, name)| name)
    }
}

/// What is known of one side.
#[derive(Clone, Copy, Debug)]
struct End {
    /// Its initial sequence number.
    isn: Seq,
    /// The furthest number it used, as far as seen or acknowledged.
    nxt: Seq,
    /// The end of the data that surely is data: no FIN lies before.
    data: Seq,
    /// The number of its FIN.
    fin: Seq,
    /// The furthest acknowledgement it sent.
    ack: Seq,
    /// The sequence number of a bare ACK with which it acknowledged the other's FIN.
    held: Seq,
    set: StateSet,
    known: Known,
}

/// Which of the numbers of an [`End`] are known, and some facts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Known(u16);

impl Known {
    const ISN: Self = Self(1);
    const NXT: Self = Self(1 << 1);
    const DATA: Self = Self(1 << 2);
    const FIN: Self = Self(1 << 3);
    const ACK: Self = Self(1 << 4);
    const HELD: Self = Self(1 << 5);
    /// It announced a window of 0.
    const ZERO_WINDOW: Self = Self(1 << 6);
    /// It sent something with an ACK, in this connection: it is past SYN-SENT.
    const SYNCHRONIZED: Self = Self(1 << 7);
    /// Its SYN had data.
    const EARLY_DATA: Self = Self(1 << 8);
    /// It sent anything at all.
    const SPOKE: Self = Self(1 << 9);
    /// The other side has begun another connection since; what is known of this one may be of the one before.
    const OLD: Self = Self(1 << 10);

    const fn has(self, what: Self) -> bool {
        self.0 & what.0 == what.0
    }

    const fn add(&mut self, what: Self) {
        self.0 |= what.0;
    }

    const fn remove(&mut self, what: Self) {
        self.0 &= !what.0;
    }
}

impl End {
    const UNKNOWN: Self = Self {
        isn: Seq::new(0),
        nxt: Seq::new(0),
        data: Seq::new(0),
        fin: Seq::new(0),
        ack: Seq::new(0),
        held: Seq::new(0),
        set: StateSet::ALL,
        known: Known(0),
    };

    const fn knows(&self, what: Known) -> bool {
        self.known.has(what)
    }

    /// It began a connection of which nothing else is known.
    const fn begins(&mut self, set: StateSet) {
        let spoke = self.knows(Known::SPOKE);
        *self = Self { set, ..Self::UNKNOWN };
        if spoke {
            self.known.add(Known::SPOKE);
        }
    }

    /// What it acknowledged belongs to a connection that is no more.
    const fn forget_acknowledged(&mut self) {
        self.known.remove(Known::ACK);
        self.known.remove(Known::HELD);
    }

    /// True if a number cannot belong to the numbers it uses in this connection.
    const fn is_foreign(&self, number: Seq) -> bool {
        (self.knows(Known::ISN) && number.before(self.isn))
            || (self.knows(Known::NXT) && number.since(self.nxt).unsigned_abs() > FAR)
    }

    /// It used numbers up to here.
    const fn reached(&mut self, end: Seq) {
        self.nxt = if self.knows(Known::NXT) { self.nxt.max(end) } else { end };
        self.known.add(Known::NXT);
    }

    /// Whether an acknowledgement proves that this side's FIN was received, or that it was not.
    const fn fin_received(&self, ack: Seq) -> Option<bool> {
        if self.knows(Known::FIN) {
            Some(self.fin.before(ack))
        } else if self.knows(Known::DATA) && !self.data.before(ack) {
            // No FIN lies before data.
            Some(false)
        } else {
            None
        }
    }
}

/// Numbers further apart belong to different connections: the largest window there is (RFC 7323 section 2.3).
const FAR: u32 = 1 << 30;

const SENT_FIN: StateSet = StateSet::of(&[
    State::FinWait1,
    State::FinWait2,
    State::Closing,
    State::LastAck,
    State::TimeWait,
    State::Closed,
]);
const RECEIVED_FIN: StateSet =
    StateSet::of(&[State::CloseWait, State::Closing, State::LastAck, State::TimeWait, State::Closed]);
/// Its FIN was sent and acknowledged, and it knows.
const FIN_ACKNOWLEDGED: StateSet = StateSet::of(&[State::FinWait2, State::TimeWait, State::Closed]);
const CALLING: StateSet = reach(senders(Kind::Syn));
const ANSWERING: StateSet = reach(senders(Kind::SynAck));
const ABORTED: StateSet = reach(abort_senders());
const RESETTING: StateSet = reach(senders(Kind::Rst));
const TALKING: StateSet = reach(senders(Kind::Data).or(senders(Kind::Fin)));
const PASSIVE: StateSet = reach(StateSet::one(State::CloseWait));

/// Follows one connection, or the connections of one tuple one after the other, from its packets.
///
/// ```
/// use tcp::{Flags, Observer, Segment, Seq, Side, State, StateSet};
/// let mut observer = Observer::new();
/// let (fin, ack) = (Flags::FIN.with(Flags::ACK), Flags::ACK);
/// let segment = |flags, seq, ack| {
///     Segment { flags, seq: Seq::new(seq), ack: Seq::new(ack), window: 502, ..Segment::default() }
/// };
/// observer.observe(Side::A, &segment(fin, 100, 300));
/// observer.observe(Side::B, &segment(ack, 300, 101));
/// observer.observe(Side::B, &segment(fin, 300, 101));
/// observer.observe(Side::A, &segment(ack, 101, 301));
/// assert_eq!(observer.states(Side::A), StateSet::of(&[State::TimeWait, State::Closed]));
/// assert_eq!(observer.states(Side::B), StateSet::of(&[State::LastAck, State::Closed]));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Observer {
    ends: [End; 2],
    notes: Notes,
}

impl Default for Observer {
    fn default() -> Self {
        Self::new()
    }
}

impl Observer {
    /// Nothing seen, nothing known.
    pub const fn new() -> Self {
        Self { ends: [End::UNKNOWN; 2], notes: Notes(0) }
    }

    /// The states that a side may be in.
    pub const fn states(&self, side: Side) -> StateSet {
        self.ends[side.index()].set
    }

    /// Remarks on what was seen.
    pub const fn notes(&self) -> Notes {
        let [a, b] = &self.ends;
        if a.knows(Known::SPOKE) == b.knows(Known::SPOKE) {
            self.notes
        } else {
            self.notes.with(Notes::ONE_SIDED)
        }
    }

    /// Takes a packet that a side sent.
    pub fn observe(&mut self, side: Side, segment: &Segment) {
        let kind = Kind::of(segment);
        let [a, b] = &mut self.ends;
        let (from, to) = match side {
            Side::A => (a, b),
            Side::B => (b, a),
        };
        if !from.knows(Known::SPOKE) {
            if !to.knows(Known::SPOKE) && kind != Kind::Syn {
                self.notes = self.notes.with(Notes::BEGAN_LATE);
            }
            from.known.add(Known::SPOKE);
        }
        let notes = match kind {
            Kind::Syn => call(from, to, segment),
            Kind::SynAck => answer(from, to, segment),
            Kind::Rst => reset(from, to, segment),
            Kind::Fin | Kind::Data | Kind::Ack if segment.flags.has(Flags::ACK) => {
                talk(from, to, segment, kind)
            }
            // No TCP sends these: a scanner, or a broken packet.
            Kind::Fin | Kind::Data | Kind::Ack | Kind::NoFlags => Notes::ODD,
        };
        conclude(from, to);
        conclude(to, from);
        self.notes = self.notes.with(notes);
        if from.set.is_empty() || to.set.is_empty() {
            self.notes = self.notes.with(Notes::CONTRADICTION);
            let narrowest = reach(senders(kind));
            from.begins(if narrowest.is_empty() { StateSet::ALL } else { narrowest });
            to.begins(StateSet::ALL);
        }
    }
}

/// A SYN without ACK.
fn call(from: &mut End, to: &mut End, segment: &Segment) -> Notes {
    if from.knows(Known::ISN) && from.isn == segment.seq {
        from.set = from.set.and(CALLING);
        return Notes::AGAIN;
    }
    let notes = if from.knows(Known::NXT) { Notes::REOPENED } else { Notes(0) };
    from.begins(CALLING);
    opened(from, segment);
    to.forget_acknowledged();
    to.known.add(Known::OLD);
    notes
}

/// A SYN with ACK.
fn answer(from: &mut End, to: &mut End, segment: &Segment) -> Notes {
    let mut notes = Notes(0);
    if from.knows(Known::ISN) && from.isn == segment.seq {
        from.set = from.set.and(ANSWERING);
        from.known.remove(Known::OLD);
        if from.knows(Known::SYNCHRONIZED) {
            notes = Notes::AGAIN;
        }
    } else {
        if from.knows(Known::NXT) {
            notes = Notes::REOPENED;
        }
        from.begins(ANSWERING);
        opened(from, segment);
        to.forget_acknowledged();
    }
    let of_this_syn = to.knows(Known::ISN) && to.isn.before(segment.ack) && !to.nxt.before(segment.ack);
    if !of_this_syn {
        // The SYN that this answers was not seen; whatever was known of that side is of an older connection.
        notes = notes.with(if to.knows(Known::NXT) { Notes::REOPENED } else { Notes::MISSING });
        to.begins(CALLING);
        to.isn = segment.ack.plus(u32::MAX);
        to.known.add(Known::ISN);
        to.reached(segment.ack);
    }
    from.known.add(Known::SYNCHRONIZED);
    from.known.add(Known::ACK);
    from.ack = segment.ack;
    notes
}

fn opened(end: &mut End, segment: &Segment) {
    end.isn = segment.seq;
    end.known.add(Known::ISN);
    end.reached(segment.end());
    if segment.length > 0 {
        end.known.add(Known::EARLY_DATA);
    }
}

/// A reset.
fn reset(from: &mut End, to: &End, segment: &Segment) -> Notes {
    let has_ack = segment.flags.has(Flags::ACK);
    if has_ack && !to.knows(Known::OLD) && to.is_foreign(segment.ack) {
        return Notes::FOREIGN_NUMBERS;
    }
    // The answer to a segment without ACK has SEQ=0 (RFC 9293 section 3.10.7.1).
    let answers = has_ack && segment.seq == Seq::new(0);
    if !answers && from.is_foreign(segment.seq) {
        return Notes::FOREIGN_NUMBERS;
    }
    let ended = if has_ack {
        ABORTED
    } else if from.knows(Known::SYNCHRONIZED) && from.knows(Known::NXT) && segment.seq == from.nxt {
        // It takes the number that the other side expects now. In SYN-SENT and LISTEN too a side sends resets
        // without ending; those take a number of an older connection.
        ABORTED
    } else {
        RESETTING
    };
    from.set = from.set.and(ended);
    Notes(0)
}

/// Anything with an ACK that is neither SYN nor RST.
fn talk(from: &mut End, to: &mut End, segment: &Segment, kind: Kind) -> Notes {
    let (seq, ack) = (segment.seq, segment.ack);
    if from.knows(Known::OLD) {
        // A TIME-WAIT or a half-open connection answers a SYN with the numbers of its own.
        if from.is_foreign(seq) || !to.isn.before(ack) || to.nxt.before(ack) {
            return Notes::FOREIGN_NUMBERS;
        }
        from.begins(ANSWERING);
    }
    // An acknowledgement of the SYN's own number is of something older.
    let foreign = to.is_foreign(ack) || to.knows(Known::ISN) && ack == to.isn;
    if from.is_foreign(seq) || foreign && !to.knows(Known::OLD) {
        return Notes::FOREIGN_NUMBERS;
    }
    let mut notes = Notes(0);
    let mut states = senders(kind);
    let fin_at = seq.plus(segment.length);
    if kind == Kind::Fin {
        if !from.knows(Known::FIN) {
            from.fin = fin_at;
            from.known.add(Known::FIN);
        } else if from.fin != fin_at {
            notes = notes.with(Notes::ODD);
        }
    }
    if kind == Kind::Fin || kind == Kind::Ack && from.knows(Known::FIN) && from.fin.before(seq) {
        states = states.and(SENT_FIN);
    }
    match if to.knows(Known::OLD) { None } else { to.fin_received(ack) } {
        Some(true) => states = states.and(RECEIVED_FIN),
        Some(false) => states = states.minus(RECEIVED_FIN),
        None => {}
    }
    from.set = from.set.and(reach(states));

    // What the acknowledgement proves of the other side.
    if to.knows(Known::OLD) {
        if to.knows(Known::ISN) && to.isn.before(ack) && !to.nxt.before(ack) {
            // Both had called.
            to.known.remove(Known::OLD);
        } else {
            to.begins(CALLING);
        }
    }
    if to.knows(Known::ISN) && !to.knows(Known::EARLY_DATA) && to.isn.plus(1).before(ack) {
        to.set = to.set.and(TALKING);
    }
    if to.knows(Known::NXT) && to.nxt.before(ack) {
        notes = notes.with(Notes::MISSING);
    }
    to.reached(ack);
    if from.knows(Known::ACK) {
        if ack.before(from.ack) {
            notes = notes.with(Notes::REORDERED);
        }
        from.ack = from.ack.max(ack);
    } else {
        from.ack = ack;
    }
    from.known.add(Known::ACK);
    from.known.add(Known::SYNCHRONIZED);
    if segment.window == 0 {
        from.known.add(Known::ZERO_WINDOW);
    }

    // A bare ACK has the number that is sent next: it says how much was sent when the other's FIN had come. Only
    // if nothing is in flight: else a FIN could be waiting for room in the window.
    if kind == Kind::Ack
        && to.knows(Known::FIN)
        && to.fin.before(ack)
        && !(from.knows(Known::FIN) && from.fin.before(seq))
        && to.knows(Known::ACK)
        && !to.ack.before(seq)
    {
        from.held = if from.knows(Known::HELD) { from.held.max(seq) } else { seq };
        from.known.add(Known::HELD);
    }
    if from.knows(Known::NXT) {
        if from.nxt.before(seq) {
            notes = notes.with(Notes::MISSING);
        } else if segment.span() > 0 && !from.nxt.before(segment.end()) {
            notes = notes.with(Notes::AGAIN);
        }
    }
    from.reached(segment.end());
    // One byte without PSH can be a keepalive probe with garbage, sent after the FIN (RFC 9293 section 3.8.4).
    if segment.length > 1 || segment.length == 1 && segment.flags.has(Flags::PSH) {
        from.data = if from.knows(Known::DATA) { from.data.max(fin_at) } else { fin_at };
        from.known.add(Known::DATA);
    }
    notes
}

/// What the numbers of both sides prove together, whichever came to light last.
fn conclude(one: &mut End, other: &mut End) {
    if one.knows(Known::FIN) && other.knows(Known::ACK) && one.fin.before(other.ack) {
        other.set = other.set.and(RECEIVED_FIN);
    }
    if !one.knows(Known::HELD) {
        return;
    }
    // `one` had the other's FIN when it had sent no more than this. All it sent since acknowledges that FIN; who
    // took something of it knows. (One number further: a keepalive probe goes back by one. A FIN in flight admits
    // no probe.)
    let passive = one.knows(Known::FIN) && !one.fin.before(one.held);
    let took_more = other.knows(Known::ACK)
        && (one.held.plus(1).before(other.ack) || passive && one.fin.before(other.ack));
    if took_more {
        other.set = other.set.and(FIN_ACKNOWLEDGED);
    }
    // Its own FIN came next: nothing was waiting to be sent, so it had not closed before.
    if passive && one.fin == one.held && !other.knows(Known::ZERO_WINDOW) {
        one.set = one.set.and(PASSIVE);
    }
}

#[cfg(test)]
mod tests;
