//! What TIME-WAIT and an orphan's FIN-WAIT-2 do with a segment: the rows measured on Linux 6.18, one by one.

use core::time::Duration;
use tcp::machine::{Call, Condition, Endpoint, Nanos};
use tcp::profile::Stack;
use tcp::{Flags, Segment, Seq, State, Timestamps};

const S: Nanos = 1_000_000_000;
/// A timer of a second comes some ticks late.
const SYN_TIMER: Nanos = S + 16_000_000;
const OURS: u32 = 1_000;
/// RCV.NXT of the endpoint under test once the peer's FIN is in.
const RCV: u32 = 5_002;
const SND: u32 = OURS + 2;
const TS: u32 = 70_000;

const SYN: u8 = 2;
const ACK: u8 = 16;
const FIN: u8 = 1 | 16;
const RST: u8 = 4;

fn segment(flags: u8, seq: u32, length: u32, ts: Option<u32>) -> Segment {
    Segment {
        flags: Flags::from_bits(flags),
        seq: Seq::new(seq),
        ack: if flags & ACK == 0 { Seq::new(0) } else { Seq::new(SND) },
        length,
        window: 502,
        timestamps: ts.map(|value| Timestamps { value, echo: 0 }),
    }
}

/// A server that closed first, at 1 s, and is an orphan in FIN-WAIT-2; the peer's numbers begin at 5000.
fn fin_wait_2(stack: &'static Stack, ts: bool) -> Endpoint {
    let ts = ts.then_some(TS);
    let mut end = Endpoint::new(stack, Seq::new(OURS)).with_window(1_000);
    if ts.is_some() {
        end = end.with_timestamps(9);
    }
    end.handle_call(0, Call::Listen);
    end.handle_segment(0, &segment(SYN, 5_000, 0, ts));
    let handshake = Segment { ack: Seq::new(OURS + 1), ..segment(ACK, 5_001, 0, ts) };
    end.handle_segment(0, &handshake);
    assert_eq!(end.state(), State::Established);
    end.handle_call(S, Call::Close);
    while end.poll_transmit(S).is_some() {}
    end.handle_segment(S, &segment(ACK, 5_001, 0, ts));
    assert_eq!(end.state(), State::FinWait2);
    end
}

fn time_wait(stack: &'static Stack, ts: bool) -> Endpoint {
    let mut end = fin_wait_2(stack, ts);
    end.handle_segment(S, &segment(FIN, 5_001, 0, ts.then_some(TS)));
    assert_eq!(
        (end.state(), end.rcv_nxt(), end.poll_timeout()),
        (State::TimeWait, Seq::new(RCV), Some(61 * S))
    );
    assert_eq!(end.poll_transmit(S).map(|last| last.ack), Some(Seq::new(RCV)));
    end
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Nothing,
    /// SEQ = SND.NXT, ACK = RCV.NXT.
    Ack,
    /// SEQ = SND.NXT + 65537, ACK = SEG.SEQ + 1.
    SynAck,
    Rst,
}
use Answer::{Ack, Nothing, Rst, SynAck};

#[derive(Clone, Copy, Debug, PartialEq)]
enum After {
    Keeps,
    Restarts,
    Closed,
    SynReceived,
}
use After::{Closed, Keeps, Restarts, SynReceived};

fn answer(end: &mut Endpoint, now: Nanos, to: &Segment) -> Answer {
    let Some(reply) = end.poll_transmit(now) else { return Nothing };
    assert_eq!(end.poll_transmit(now), None, "one answer");
    let flags = reply.flags.bits();
    if flags & RST != 0 {
        let has_ack = to.flags.has(Flags::ACK);
        assert_eq!(reply.flags.has(Flags::ACK), !has_ack);
        assert_eq!(
            (reply.seq, reply.ack),
            if has_ack { (to.ack, Seq::new(0)) } else { (Seq::new(0), to.end()) }
        );
        Rst
    } else if flags == ACK {
        assert_eq!((reply.seq, reply.ack), (end.snd_nxt(), end.rcv_nxt()));
        Ack
    } else {
        assert_eq!((flags, reply.seq, reply.ack), (SYN | ACK, Seq::new(SND + 65_537), to.seq.plus(1)));
        SynAck
    }
}

static LINUX_3_10: Stack = Stack::LINUX_3_10;
static LINUX_4_12: Stack = Stack::LINUX_4_12;
static WINDOWS: Stack = Stack::WINDOWS;
static FIN_TIMEOUT_65: Stack = Stack { fin_timeout: Some(Duration::from_secs(65)), ..Stack::LINUX };

/// Row, timestamps used, segment, answer, what becomes of it.
type Case = (&'static str, bool, Segment, Answer, After);

#[test]
fn time_wait_row_by_row() {
    let newer = Some(TS + 1);
    let older = Some(TS - 1);
    let equal = Some(TS);
    let (above, at, below) = (RCV + 1, RCV, RCV - 1);
    let cases: &[Case] = &[
        ("1", true, segment(SYN, above, 0, newer), SynAck, SynReceived),
        ("1", true, segment(SYN, above, 0, equal), SynAck, SynReceived),
        ("2", true, segment(SYN, at, 0, newer), SynAck, SynReceived),
        ("2", true, segment(SYN, below, 0, newer), SynAck, SynReceived),
        ("3", true, segment(SYN, at, 0, equal), Ack, Keeps),
        ("3", true, segment(SYN, below, 0, equal), Ack, Keeps),
        ("4", true, segment(SYN, above, 0, older), Ack, Restarts),
        ("4", true, segment(SYN, below, 0, older), Ack, Restarts),
        ("5", true, segment(SYN, above, 0, None), SynAck, SynReceived),
        ("6", true, segment(SYN, at, 0, None), Ack, Keeps),
        ("6", true, segment(SYN, below, 0, None), Ack, Keeps),
        ("7", false, segment(SYN, above, 0, older), SynAck, SynReceived),
        ("7", false, segment(SYN, above, 0, None), SynAck, SynReceived),
        ("8", false, segment(SYN, at, 0, newer), Ack, Keeps),
        ("8", false, segment(SYN, below, 0, None), Ack, Keeps),
        ("11", true, segment(SYN | ACK, above, 0, newer), Ack, Restarts),
        ("11", false, segment(SYN | ACK, below, 0, None), Ack, Restarts),
        ("12", true, segment(ACK, at, 0, equal), Nothing, Restarts),
        ("12", false, segment(ACK, at, 0, None), Nothing, Restarts),
        ("13", true, segment(ACK, below, 0, equal), Ack, Restarts),
        ("13", false, segment(ACK, above, 0, None), Ack, Restarts),
        ("14", true, segment(ACK, at, 0, older), Ack, Restarts),
        ("15", true, segment(FIN, below, 0, equal), Ack, Restarts),
        ("15", true, segment(FIN, below, 0, older), Ack, Restarts),
        ("16", true, segment(FIN, at, 0, newer), Ack, Restarts),
        ("16", false, segment(ACK, at, 10, None), Ack, Restarts),
        ("16", true, segment(ACK, above, 10, older), Ack, Restarts),
        ("17", true, segment(RST, at, 0, equal), Nothing, Closed),
        ("17", false, segment(RST | ACK, at, 0, None), Nothing, Closed),
        ("19", false, segment(RST, below, 0, None), Nothing, Keeps),
        ("19", true, segment(RST, above, 0, newer), Nothing, Keeps),
        ("20", true, segment(RST, at, 0, older), Nothing, Keeps),
        ("no flags", false, segment(0, at, 0, None), Nothing, Restarts),
        ("no flags", false, segment(0, above, 0, None), Ack, Keeps),
    ];
    for (row, ts, segment, expected, after) in cases {
        let mut end = time_wait(&Stack::LINUX, *ts);
        end.handle_segment(11 * S, segment);
        let what = format!("row {row}: {segment:?}");
        assert_eq!(answer(&mut end, 11 * S, segment), *expected, "{what}");
        let (state, timer) = match after {
            Keeps => (State::TimeWait, Some(61 * S)),
            Restarts => (State::TimeWait, Some(71 * S)),
            Closed => (State::Closed, None),
            SynReceived => (State::SynReceived, Some(11 * S + SYN_TIMER)),
        };
        assert_eq!((end.state(), end.poll_timeout()), (state, timer), "{what}");
    }
}

#[test]
fn rows_9_and_10_without_listener_and_with_a_full_queue() {
    let syn = segment(SYN, RCV + 1, 0, None);
    let mut end = time_wait(&Stack::LINUX, false);
    end.set(Condition::Listener, false);
    end.handle_segment(2 * S, &syn);
    assert_eq!((answer(&mut end, 2 * S, &syn), end.state()), (Ack, State::TimeWait));
    let mut end = time_wait(&Stack::LINUX, false);
    end.set(Condition::QueueFull, true);
    end.handle_segment(2 * S, &syn);
    assert_eq!((answer(&mut end, 2 * S, &syn), end.state()), (Nothing, State::Closed));
}

#[test]
fn row_18_rfc1337_ignores_the_reset_and_restarted_the_timer_once() {
    for (stack, ends) in [(&Stack::LINUX, 61 * S), (&LINUX_3_10, 71 * S)] {
        let mut end = time_wait(stack, false);
        end.set(Condition::Rfc1337, true);
        end.handle_segment(11 * S, &segment(RST, RCV, 0, None));
        assert_eq!((end.state(), end.poll_timeout()), (State::TimeWait, Some(ends)), "{}", stack.name);
    }
}

#[test]
fn row_20_spares_a_reset_when_the_last_timestamp_is_a_minute_old() {
    let mut end = time_wait(&Stack::LINUX, true);
    // The timer is restarted without a new timestamp.
    end.handle_segment(50 * S, &segment(FIN, RCV - 1, 0, Some(TS)));
    end.handle_segment(61 * S, &segment(RST, RCV, 0, Some(TS - 1)));
    assert_eq!(end.state(), State::Closed);
}

#[test]
fn answers_are_limited_but_not_those_to_data_and_fin() {
    let mut end = time_wait(&Stack::LINUX, false);
    let (syn, fin) = (segment(SYN, RCV - 1, 0, None), segment(FIN, RCV - 1, 0, None));
    let mut at = |ms: Nanos, segment: &Segment| {
        let now = 2 * S + ms * 1_000_000;
        end.handle_segment(now, segment);
        answer(&mut end, now, segment)
    };
    assert_eq!(at(0, &syn), Ack);
    assert_eq!(at(499, &syn), Nothing);
    assert_eq!((at(499, &fin), at(499, &fin)), (Ack, Ack));
    assert_eq!(at(500, &syn), Ack);
    let mut end = time_wait(&LINUX_3_10, false);
    for _ in 0..2 {
        end.handle_segment(2 * S, &syn);
        assert_eq!(answer(&mut end, 2 * S, &syn), Ack);
    }
}

#[test]
fn windows_looks_at_the_sequence_number_alone() {
    let mut end = fin_wait_2(&WINDOWS, true);
    end.handle_segment(S, &segment(FIN, 5_001, 0, Some(TS)));
    while end.poll_transmit(S).is_some() {}
    assert_eq!(end.poll_timeout(), Some(121 * S));
    let syn = segment(SYN, RCV + 1, 0, Some(TS - 1));
    end.handle_segment(2 * S, &syn);
    assert_eq!(answer(&mut end, 2 * S, &syn), SynAck);
}

#[test]
fn an_orphans_fin_wait_2_row_by_row() {
    let next = RCV - 1;
    let (inside, outside, before) = (next + 500, next + 1_001, next - 1);
    let older = Some(TS - 1);
    let same = Some(TS);
    let cases: &[Case] = &[
        ("F1", false, segment(SYN, next, 0, None), Rst, Closed),
        ("F1", true, segment(SYN, inside, 0, same), Rst, Closed),
        ("F2", false, segment(SYN, outside, 0, None), Ack, Keeps),
        ("F2", false, segment(SYN, before, 0, None), Ack, Keeps),
        ("F2", true, segment(SYN, inside, 0, older), Ack, Keeps),
        ("F3", true, segment(FIN, next, 0, same), Ack, Restarts),
        ("F4", false, segment(ACK, next, 10, None), Rst, Closed),
        ("F4", false, segment(FIN, next, 10, None), Rst, Closed),
        ("F5", false, segment(ACK, before, 0, None), Ack, Keeps),
        ("F5", false, segment(ACK, before - 9, 10, None), Ack, Keeps),
        ("F6", false, segment(ACK, next, 0, None), Nothing, Keeps),
        ("F6", false, segment(ACK, inside, 0, None), Nothing, Keeps),
        ("F7", false, segment(RST, next, 0, None), Nothing, Closed),
        ("F7", true, segment(RST, inside, 0, same), Nothing, Closed),
        ("F8", false, segment(RST, before, 0, None), Ack, Keeps),
        ("F8", true, segment(RST, next, 0, older), Ack, Keeps),
    ];
    for rfc1337 in [false, true] {
        for (row, ts, segment, expected, after) in cases {
            let mut end = fin_wait_2(&Stack::LINUX, *ts);
            end.set(Condition::Rfc1337, rfc1337);
            assert!(end.is_mini());
            end.handle_segment(11 * S, segment);
            let what = format!("row {row}: {segment:?}");
            assert_eq!(answer(&mut end, 11 * S, segment), *expected, "{what}");
            let (state, timer) = match after {
                Keeps => (State::FinWait2, Some(61 * S)),
                Restarts => (State::TimeWait, Some(71 * S)),
                Closed | SynReceived => (State::Closed, None),
            };
            assert_eq!((end.state(), end.poll_timeout()), (state, timer), "{what}");
        }
    }
}

#[test]
fn a_syn_that_meets_an_open_connection_is_challenged() {
    // docs: FIN-WAIT-2 with an owner is a full socket.
    let mut end = Endpoint::new(&Stack::LINUX, Seq::new(OURS));
    end.handle_call(0, Call::Listen);
    end.handle_segment(0, &segment(SYN, 5_000, 0, None));
    end.handle_segment(0, &Segment { ack: Seq::new(OURS + 1), ..segment(ACK, 5_001, 0, None) });
    while end.poll_transmit(0).is_some() {}
    for seq in [0, 5_001, 5_500, 900_000] {
        let (now, syn) = (S * (1 + Nanos::from(seq)), segment(SYN, seq, 0, None));
        end.handle_segment(now, &syn);
        assert_eq!((answer(&mut end, now, &syn), end.state()), (Ack, State::Established), "{seq}");
    }
    // The reset with which the other side answers that.
    end.handle_segment(2 * S, &segment(RST, 5_001, 0, None));
    assert_eq!(end.state(), State::Closed);
}

#[test]
fn the_client_whose_syn_met_time_wait_resets_and_tries_again() {
    for (stack, again, then) in
        [(&Stack::LINUX, 8_000_000, SYN_TIMER), (&LINUX_4_12, SYN_TIMER, 2 * S + 16_000_000)]
    {
        let mut client = Endpoint::new(stack, Seq::new(RCV - 100));
        client.handle_call(0, Call::Connect);
        let syn = client.poll_transmit(0).unwrap();
        let mut server = time_wait(&Stack::LINUX, false);
        server.handle_segment(2 * S, &syn);
        let challenge = server.poll_transmit(2 * S).unwrap();
        client.handle_segment(0, &challenge);
        let reset = client.poll_transmit(0).unwrap();
        assert_eq!((reset.flags, reset.seq, client.state()), (Flags::RST, Seq::new(RCV), State::SynSent));
        server.handle_segment(2 * S, &reset);
        assert_eq!(server.state(), State::Closed);
        assert_eq!(client.poll_timeout(), Some(again), "{}", stack.name);
        client.handle_timeout(again);
        let syn = client.poll_transmit(again).unwrap();
        assert_eq!(client.poll_timeout(), Some(again + then));
        server.handle_segment(3 * S, &syn);
        assert_eq!(server.state(), State::SynReceived);
    }
}

#[test]
fn the_timers_end_what_waits() {
    let mut end = time_wait(&Stack::LINUX, false);
    end.handle_timeout(61 * S - 1);
    assert_eq!(end.state(), State::TimeWait);
    end.handle_timeout(61 * S);
    assert_eq!((end.state(), end.poll_timeout()), (State::Closed, None));
    // tcp_fin_timeout of 65 s: 5 s as a full socket, 5 s as a mini-socket.
    let mut end = fin_wait_2(&FIN_TIMEOUT_65, false);
    assert!(!end.is_mini());
    end.handle_timeout(6 * S);
    assert!(end.is_mini() && end.state() == State::FinWait2);
    end.handle_timeout(11 * S);
    assert_eq!(end.state(), State::Closed);
}
