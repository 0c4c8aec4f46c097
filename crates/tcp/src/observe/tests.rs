use super::*;
use State::{
    CloseWait, Closed, Closing, Established, FinWait1, FinWait2, LastAck, SynReceived, SynSent, TimeWait,
};

const SYN: u8 = 2;
const SYN_ACK: u8 = 2 | 16;
const ACK: u8 = 16;
const DATA: u8 = 16 | 8;
const FIN: u8 = 1 | 16;
const RST: u8 = 4;
const RST_ACK: u8 = 4 | 16;

/// (side, flags, seq, ack, length); A begins at 100, B at 300.
type Shown = (Side, u8, u32, u32, u32);

fn observe(packets: &[Shown]) -> Observer {
    let mut observer = Observer::new();
    show(&mut observer, packets);
    observer
}

fn show(observer: &mut Observer, packets: &[Shown]) {
    for &(side, flags, seq, ack, length) in packets {
        let segment = Segment {
            flags: Flags::from_bits(flags),
            seq: Seq::new(seq),
            ack: Seq::new(ack),
            length,
            window: 502,
            timestamps: None,
        };
        observer.observe(side, &segment);
    }
}

#[track_caller]
fn assert_states(observer: &Observer, a: &[State], b: &[State]) {
    assert_eq!(observer.states(Side::A), StateSet::of(a), "A");
    assert_eq!(observer.states(Side::B), StateSet::of(b), "B");
}

use Side::{A, B};

const OPENING: [Shown; 3] = [(A, SYN, 100, 0, 0), (B, SYN_ACK, 300, 101, 0), (A, ACK, 101, 301, 0)];
const TALK: [Shown; 3] = [(A, DATA, 101, 301, 10), (B, DATA, 301, 111, 20), (A, ACK, 111, 321, 0)];

fn opened() -> Observer {
    observe(&[&OPENING[..], &TALK[..]].concat())
}

const OPEN: [State; 8] = [Established, FinWait1, FinWait2, CloseWait, Closing, LastAck, TimeWait, Closed];

#[test]
fn an_observer_is_small() {
    assert!(size_of::<Observer>() < 64, "{}", size_of::<Observer>());
}

#[test]
fn nothing_seen_is_nothing_known() {
    let observer = Observer::new();
    assert_states(&observer, &State::ALL, &State::ALL);
    assert_eq!(observer.notes(), Notes::default());
}

#[test]
fn a_handshake() {
    let mut observer = observe(&OPENING[..1]);
    assert_eq!(observer.states(A), StateSet::ALL.without(State::Listen));
    show(&mut observer, &OPENING[1..]);
    let after = StateSet::of(&OPEN).with(SynReceived);
    assert_eq!((observer.states(A), observer.states(B)), (after, after));
    show(&mut observer, &TALK);
    assert_states(&observer, &OPEN, &OPEN);
    assert_eq!(observer.notes(), Notes::default());
    assert!(!observer.states(A).has(SynSent));
}

#[test]
fn a_graceful_close_of_four() {
    let mut observer = opened();
    show(&mut observer, &[(A, FIN, 111, 321, 0)]);
    assert_states(&observer, &[FinWait1, FinWait2, Closing, TimeWait, Closed], &OPEN);
    show(&mut observer, &[(B, ACK, 321, 112, 0)]);
    assert_states(
        &observer,
        &[FinWait1, FinWait2, Closing, TimeWait, Closed],
        &[CloseWait, Closing, LastAck, TimeWait, Closed],
    );
    show(&mut observer, &[(B, FIN, 321, 112, 0)]);
    assert_states(&observer, &[FinWait1, FinWait2, Closing, TimeWait, Closed], &[LastAck, Closed]);
    show(&mut observer, &[(A, ACK, 112, 322, 0)]);
    assert_states(&observer, &[TimeWait, Closed], &[LastAck, Closed]);
    assert_eq!(observer.notes(), Notes::default());
}

#[test]
fn a_close_of_three_does_not_tell_who_was_second() {
    // B may have sent a FIN before A's came, and lost it: then it is in CLOSING.
    let mut observer = opened();
    show(&mut observer, &[(A, FIN, 111, 321, 0), (B, FIN, 321, 112, 0), (A, ACK, 112, 322, 0)]);
    assert_states(&observer, &[Closing, TimeWait, Closed], &[Closing, LastAck, TimeWait, Closed]);
}

#[test]
fn a_simultaneous_close() {
    let mut observer = opened();
    show(&mut observer, &[(A, FIN, 111, 321, 0), (B, FIN, 321, 111, 0)]);
    let crossing = [FinWait1, FinWait2, Closing, TimeWait, Closed];
    assert_states(&observer, &crossing, &crossing);
    show(&mut observer, &[(A, ACK, 112, 322, 0), (B, ACK, 322, 112, 0)]);
    assert_states(&observer, &[Closing, TimeWait, Closed], &[Closing, TimeWait, Closed]);
}

#[test]
fn half_closed() {
    let mut observer = opened();
    show(&mut observer, &[(A, FIN, 111, 321, 0), (B, ACK, 321, 112, 0), (B, DATA, 321, 112, 50)]);
    show(&mut observer, &[(A, ACK, 112, 371, 0)]);
    assert_states(&observer, &[FinWait2, TimeWait, Closed], &[CloseWait, Closing, LastAck, TimeWait, Closed]);
}

#[test]
fn an_abort_closes_its_sender() {
    let mut observer = opened();
    show(&mut observer, &[(B, RST_ACK, 321, 111, 0)]);
    assert_states(&observer, &OPEN, &[Closed]);
    // Without an ACK, at the number that comes next.
    let mut observer = opened();
    show(&mut observer, &[(B, RST, 321, 0, 0)]);
    assert_states(&observer, &OPEN, &[Closed]);
}

#[test]
fn a_refused_connection() {
    let observer = observe(&[(A, SYN, 100, 0, 0), (B, RST_ACK, 0, 101, 0)]);
    assert_eq!(observer.states(A), StateSet::ALL.without(State::Listen));
    assert_eq!(observer.states(B), StateSet::one(Closed));
}

#[test]
fn a_syn_meets_time_wait() {
    let mut observer = opened();
    let close = [(B, FIN, 321, 111, 0), (A, ACK, 111, 322, 0), (A, FIN, 111, 322, 0), (B, ACK, 322, 112, 0)];
    show(&mut observer, &close);
    assert_states(&observer, &[LastAck, Closed], &[TimeWait, Closed]);
    // Row 8: the SYN comes with a lower number, and gets the old ACK.
    show(&mut observer, &[(A, SYN, 50, 0, 0)]);
    assert_eq!(observer.states(A), StateSet::ALL.without(State::Listen));
    show(&mut observer, &[(B, ACK, 322, 112, 0)]);
    assert_eq!(observer.states(B), StateSet::of(&[TimeWait, Closed]));
    assert!(observer.notes().has(Notes::FOREIGN_NUMBERS) && observer.notes().has(Notes::REOPENED));
    // Its reset leaves it in SYN-SENT; the next try is answered.
    show(&mut observer, &[(A, RST, 112, 0, 0)]);
    assert!(observer.states(A).has(SynSent) && observer.states(A).has(Established));
    show(&mut observer, &[(A, SYN, 50, 0, 0), (B, SYN_ACK, 65_859, 51, 0), (A, DATA, 51, 65_860, 7)]);
    assert_eq!(observer.states(A), StateSet::of(&OPEN));
    assert_eq!(observer.states(B), StateSet::of(&OPEN).with(SynReceived));
}

#[test]
fn one_direction_is_enough_for_some() {
    let mut observer = observe(&[(A, SYN, 100, 0, 0), (A, ACK, 101, 301, 0), (A, DATA, 101, 301, 10)]);
    assert_eq!(observer.states(A), StateSet::of(&OPEN));
    show(&mut observer, &[(A, FIN, 111, 401, 0), (A, ACK, 112, 402, 0)]);
    // B's FIN was not seen: it may lie in what A acknowledges.
    assert_eq!(observer.states(A), StateSet::of(&OPEN).without(Established).without(CloseWait));
    assert!(observer.notes().has(Notes::ONE_SIDED));
}

#[test]
fn what_is_odd_is_said() {
    let mut observer = observe(&[(A, 0, 5, 0, 0)]);
    assert!(observer.notes().has(Notes::ODD) && observer.notes().has(Notes::BEGAN_LATE));
    assert_states(&observer, &State::ALL, &State::ALL);
    show(&mut observer, &[(A, DATA, 100, 300, 10), (A, DATA, 100, 300, 10)]);
    assert!(observer.notes().has(Notes::AGAIN));
    show(&mut observer, &[(A, DATA, 120, 400, 10)]);
    assert!(observer.notes().has(Notes::MISSING) && !observer.notes().has(Notes::REORDERED));
    show(&mut observer, &[(A, DATA, 110, 380, 10)]);
    assert!(observer.notes().has(Notes::REORDERED) && !observer.notes().has(Notes::CONTRADICTION));
    assert_eq!(
        observer.notes().names().collect::<std::vec::Vec<_>>(),
        ["began-late", "missing", "again", "reordered", "one-sided", "odd"]
    );
}

#[test]
fn a_closed_side_that_goes_on_contradicts_itself() {
    let mut observer = opened();
    show(&mut observer, &[(B, RST_ACK, 321, 111, 0)]);
    assert_eq!(observer.states(B), StateSet::one(Closed));
    show(&mut observer, &[(B, DATA, 321, 111, 5)]);
    assert!(!observer.notes().has(Notes::CONTRADICTION), "an older segment may come late");
    assert_eq!(observer.states(B), StateSet::one(Closed));
}
