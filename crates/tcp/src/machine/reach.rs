//! What follows from the table alone: where a state can lead, and who can have sent a segment.

use super::table::ROWS;
use super::{Kind, Reply};
use crate::{State, StateSet};

/// One step from each state, by whatever can happen.
const STEPS: [StateSet; State::COUNT] = {
    let mut steps = [StateSet::EMPTY; State::COUNT];
    let mut from = 0;
    while from < State::COUNT {
        let state = State::ALL[from];
        let mut at = 0;
        while at < ROWS.len() {
            let row = &ROWS[at];
            if row.from.has(state) {
                // Where another connection begins, this one is no more.
                let to = if row.opens(state) { State::Closed } else { row.after(state) };
                steps[from] = steps[from].with(to);
            }
            at += 1;
        }
        from += 1;
    }
    steps
};

/// Any number of steps from each state, itself included.
const REACH: [StateSet; State::COUNT] = {
    let mut reach = [StateSet::EMPTY; State::COUNT];
    let mut from = 0;
    while from < State::COUNT {
        let mut set = StateSet::one(State::ALL[from]);
        let mut round = 0;
        while round < State::COUNT {
            let mut next = set;
            let mut at = 0;
            while at < State::COUNT {
                if set.has(State::ALL[at]) {
                    next = next.or(STEPS[at]);
                }
                at += 1;
            }
            set = next;
            round += 1;
        }
        reach[from] = set;
        from += 1;
    }
    reach
};

const fn reach_of(from: StateSet) -> StateSet {
    let mut set = StateSet::EMPTY;
    let mut at = 0;
    while at < State::COUNT {
        if from.has(State::ALL[at]) {
            set = set.or(REACH[at]);
        }
        at += 1;
    }
    set
}

/// The answer for every set: an observer asks once a packet.
static REACH_OF: [StateSet; 1 << State::COUNT] = REACHES;

const REACHES: [StateSet; 1 << State::COUNT] = {
    let mut all = [StateSet::EMPTY; 1 << State::COUNT];
    let mut bits = 0;
    while bits < 1 << State::COUNT {
        all[bits as usize] = reach_of(StateSet::from_bits(bits));
        bits += 1;
    }
    all
};

/// Where a connection in one of these states may be after anything that was not seen: calls, timers, segments.
/// Within the same connection: CLOSED is its end.
pub const fn reach(from: StateSet) -> StateSet {
    REACH_OF[from.bits() as usize]
}

/// True if such a segment can be what a reply is on the wire. Data goes on while a FIN waits behind it, and what
/// a FIN's retransmission sends is the oldest that is not acknowledged.
const fn can_be(reply: Reply, kind: Kind) -> bool {
    match reply {
        Reply::Nothing => false,
        Reply::Syn => matches!(kind, Kind::Syn),
        Reply::SynAck => matches!(kind, Kind::SynAck),
        Reply::Ack | Reply::LimitedAck | Reply::ChallengeAck | Reply::Probe => matches!(kind, Kind::Ack),
        Reply::Data => matches!(kind, Kind::Data),
        Reply::WindowProbe => matches!(kind, Kind::Ack | Kind::Data),
        Reply::Fin => matches!(kind, Kind::Fin | Kind::Data),
        Reply::Rst | Reply::Abort => matches!(kind, Kind::Rst),
    }
}

/// The states a side may be in just after it sent a segment of a kind, in whatever row.
pub const fn senders(kind: Kind) -> StateSet {
    SENDERS[kind as usize]
}

const SENDERS: [StateSet; Kind::ALL.len()] = {
    let mut all = [StateSet::EMPTY; Kind::ALL.len()];
    let mut at = 0;
    while at < all.len() {
        all[at] = sent_by(Kind::ALL[at], false);
        at += 1;
    }
    all
};

/// The states a side may be in just after it sent a reset with an ACK: an abort, or the answer to a segment that
/// had none.
pub(crate) const fn abort_senders() -> StateSet {
    sent_by(Kind::Rst, true)
}

const fn sent_by(kind: Kind, resets_have_ack: bool) -> StateSet {
    let mut set = StateSet::EMPTY;
    let mut at = 0;
    while at < ROWS.len() {
        let row = &ROWS[at];
        if can_be(row.reply, kind) && !(resets_have_ack && answers_with_bare_rst(at)) {
            let mut from = 0;
            while from < State::COUNT {
                let state = State::ALL[from];
                if row.from.has(state) {
                    set = set.with(row.after(state));
                }
                from += 1;
            }
        }
        at += 1;
    }
    set
}

/// True if the reset of this row answers a segment that has an ACK, so that the reset has none.
const fn answers_with_bare_rst(at: usize) -> bool {
    use super::{Condition, Event};
    let row = &ROWS[at];
    if !matches!(row.reply, Reply::Rst) {
        return false;
    }
    if matches!(row.on, Event::Segment(Kind::Ack | Kind::SynAck)) {
        return true;
    }
    let mut index = 0;
    while index < row.when.len() {
        if matches!(row.when[index], Condition::AckRefused | Condition::AcksFin) {
            return true;
        }
        index += 1;
    }
    // Rows above this one of the same state took the segments without ACK.
    let mut above = 0;
    while above < at {
        let other = &ROWS[above];
        if same_event(other.on, row.on)
            && other.when.len() == 1
            && matches!(other.when[0], Condition::NoAck)
            && row.from.is_within(other.from)
        {
            return true;
        }
        above += 1;
    }
    false
}

const fn same_event(one: super::Event, other: super::Event) -> bool {
    use super::Event;
    match (one, other) {
        (Event::Segment(one), Event::Segment(other)) => one as u8 == other as u8,
        (Event::Call(one), Event::Call(other)) => one as u8 == other as u8,
        (Event::Timer(one), Event::Timer(other)) => one as u8 == other as u8,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use State::{
        CloseWait, Closed, Closing, Established, FinWait1, FinWait2, LastAck, Listen, SynReceived, SynSent,
        TimeWait,
    };

    #[test]
    fn where_a_state_leads_is_read_from_the_table() {
        let leads = |from| reach(StateSet::one(from));
        assert_eq!(leads(Closed), StateSet::of(&[Closed]));
        assert_eq!(leads(TimeWait), StateSet::of(&[TimeWait, Closed]));
        assert_eq!(leads(LastAck), StateSet::of(&[LastAck, Closed]));
        assert_eq!(leads(CloseWait), StateSet::of(&[CloseWait, LastAck, Closed]));
        assert_eq!(leads(Closing), StateSet::of(&[Closing, TimeWait, Closed]));
        assert_eq!(leads(FinWait2), StateSet::of(&[FinWait2, TimeWait, Closed]));
        assert_eq!(leads(FinWait1), StateSet::of(&[FinWait1, FinWait2, Closing, TimeWait, Closed]));
        let open = StateSet::ALL.without(Listen).without(SynSent).without(SynReceived);
        assert_eq!(leads(Established), open);
        assert_eq!(leads(SynReceived), open.with(SynReceived));
        assert_eq!(leads(SynSent), StateSet::ALL.without(Listen));
        assert_eq!(leads(Listen), StateSet::ALL.without(SynSent));
    }

    #[test]
    fn who_sends_what_is_read_from_the_table() {
        let closing = StateSet::of(&[FinWait1, Closing, LastAck]);
        assert_eq!(senders(Kind::Syn), StateSet::of(&[SynSent]));
        assert_eq!(senders(Kind::SynAck), StateSet::of(&[SynReceived]));
        assert_eq!(senders(Kind::Fin), closing);
        assert_eq!(senders(Kind::Data), closing.with(Established).with(CloseWait));
        assert_eq!(senders(Kind::Ack), StateSet::ALL.without(Listen).without(SynSent));
        assert_eq!(senders(Kind::Rst), StateSet::of(&[Listen, SynSent, SynReceived, Closed]));
        assert_eq!(abort_senders(), StateSet::of(&[Closed]));
        assert_eq!(senders(Kind::NoFlags), StateSet::EMPTY);
    }
}
