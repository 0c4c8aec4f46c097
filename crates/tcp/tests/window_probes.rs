//! A window that stays closed: what asks for it, and when that is given up.

use core::time::Duration;
use tcp::machine::{Call, Endpoint, Nanos};
use tcp::profile::Stack;
use tcp::{Flags, Segment, Seq, State};

const SECOND: Nanos = 1_000_000_000;

/// The client's end of a connection of which the server's window is this.
fn with_window_of(stack: &Stack, window: u16) -> Endpoint {
    let mut client = Endpoint::new(stack, Seq::new(1_000));
    client.handle_call(0, Call::Connect);
    assert!(client.poll_transmit(0).is_some());
    let answer = Segment {
        flags: Flags::SYN.with(Flags::ACK),
        seq: Seq::new(9_000),
        ack: Seq::new(1_001),
        window,
        ..Segment::default()
    };
    client.handle_segment(0, &answer);
    assert!(client.poll_transmit(0).is_some());
    assert_eq!((client.state(), client.poll_transmit(0)), (State::Established, None));
    client
}

fn acknowledgement(ack: Seq, window: u16) -> Segment {
    Segment { flags: Flags::ACK, seq: Seq::new(9_001), ack, window, ..Segment::default() }
}

/// The probes until it is gone or 2 hours have passed, and when that was. Each is answered, or none is.
fn probed(mut end: Endpoint, answered: bool) -> (usize, Nanos) {
    let (mut probes, mut now) = (0, 0);
    assert_eq!(end.poll_transmit(now), None);
    while let Some(due) = end.poll_timeout().filter(|due| *due < 7_200 * SECOND) {
        now = due;
        end.handle_timeout(now);
        while let Some(probe) = end.poll_transmit(now) {
            assert_eq!((probe.flags, probe.length), (Flags::ACK, 0));
            assert_eq!(probe.seq.plus(1), end.snd_una());
            probes += 1;
            if answered {
                end.handle_segment(now, &acknowledgement(end.snd_una(), 0));
            }
        }
    }
    (probes, now)
}

/// Settings of Linux 6.18.44, probes that it sent, and seconds until the orphan was gone; its timeout was 216 ms, the
/// machine's is 204.
#[test]
fn a_fin_behind_a_closed_window_is_given_up() {
    for (orphan_retries, answered, probes, seconds) in [
        (1, false, 1, 0.6),
        (2, false, 2, 1.5),
        (3, false, 3, 3.2),
        (5, false, 5, 13.6),
        (0, false, 8, 111.1),
        // The longest interval ends it, whatever the peer says.
        (0, true, 10, 343.0),
        (1, true, 10, 342.7),
    ] {
        let stack = Stack { orphan_retries, ..Stack::LINUX };
        let mut end = with_window_of(&stack, 0);
        end.handle_call(0, Call::Close);
        assert_eq!(end.state(), State::FinWait1);
        let (sent, gone) = probed(end, answered);
        assert_eq!(sent, probes, "{orphan_retries}, {answered}");
        let gone = Duration::from_nanos(gone).as_secs_f64();
        assert!((gone - seconds).abs() < 0.1 + seconds / 15.0, "{orphan_retries}, {answered}: {gone} s");
    }
}

/// What is sent again until it is gone, and when that is. The peer acknowledged a part of it and took its window
/// back, and says so again until then.
fn taken_back(stack: &Stack, closes: bool, answers_until: Nanos) -> (usize, Nanos, Option<Nanos>) {
    let mut end = with_window_of(stack, 1_000);
    end.handle_send(0, 100);
    if closes {
        end.handle_call(0, Call::Close);
    }
    while end.poll_transmit(0).is_some() {}
    let acknowledged = Seq::new(1_061);
    end.handle_segment(0, &acknowledgement(acknowledged, 0));
    assert_eq!((end.snd_una(), end.snd_wnd()), (acknowledged, 0));
    let (mut sent, mut now, mut answered) = (0, 0, None);
    while let Some(due) = end.poll_timeout().filter(|due| *due < 7_200 * SECOND) {
        now = due;
        end.handle_timeout(now);
        while let Some(again) = end.poll_transmit(now) {
            assert_eq!((again.seq, again.length > 0), (acknowledged, true));
            sent += 1;
            if now < answers_until {
                end.handle_segment(now, &acknowledgement(acknowledged, 0));
                answered = Some(now);
            }
        }
    }
    (sent, now, answered)
}

/// Linux 6.18.44, times and retransmissions, with a peer that offered SACK and with one that did not, without which
/// there is no probe of the tail's loss: an owner's socket goes when the first timer comes that finds the last answer
/// 240 s ago, whether there never was one or the last came after 53.6 s. An orphan's goes by tcp_orphan_retries,
/// answered or not. The machine's first timeout is 204 ms, that of the kernel was up to 230.
#[test]
fn a_window_that_was_taken_back_is_given_up_240_s_after_the_last_answer() {
    for (loss_probe, closes, answers_until, sent, seconds) in [
        (false, false, 0, 10, 334.3),
        (false, false, 100 * SECOND, 10, 334.3),
        (false, true, 0, 8, 107.0),
        (false, true, 7_200 * SECOND, 8, 107.0),
        (true, false, 0, 11, 333.7),
        (true, false, 100 * SECOND, 11, 333.7),
        (true, true, 0, 9, 106.4),
        (true, true, 7_200 * SECOND, 9, 106.4),
    ] {
        let stack = Stack { loss_probe, ..Stack::LINUX };
        let (again, gone, _) = taken_back(&stack, closes, answers_until);
        let gone = Duration::from_nanos(gone).as_secs_f64();
        assert_eq!(again, sent, "{loss_probe}, closes: {closes}, answers until {answers_until}: {gone} s");
        assert!((gone - seconds).abs() < seconds / 15.0, "{loss_probe}, {closes}, {answers_until}: {gone} s");
    }
    let stack = Stack::LINUX;
    // As long as it is heard of it stays.
    let (again, _, answered) = taken_back(&stack, false, 7_200 * SECOND);
    assert!(again > 60 && answered.is_some_and(|at| at > 7_000 * SECOND), "{again}, {answered:?}");
    // An answer more, and a timer more.
    let (_, gone, answered) = taken_back(&stack, false, 150 * SECOND);
    let (gone, answered) = (gone / SECOND, answered.map(|at| at / SECOND));
    assert!(answered.is_some_and(|at| gone > at + 240), "{gone}, {answered:?}");
}

#[test]
fn with_an_owner_answers_keep_it_for_ever() {
    let stack = Stack { retries: 3, ..Stack::LINUX };
    let mut end = with_window_of(&stack, 0);
    end.handle_send(0, 10);
    end.handle_call(0, Call::ShutdownWrite);
    assert_eq!(probed(end.clone(), false).0, 3);
    assert!(probed(end, true).0 > 1_000);
}

#[test]
fn what_there_is_room_for_goes_out_with_the_timer() {
    let mut end = with_window_of(&Stack::LINUX, 4);
    end.handle_send(0, 10);
    end.handle_call(0, Call::Close);
    assert_eq!(end.poll_transmit(0), None);
    let due = end.poll_timeout().expect("something waits");
    end.handle_timeout(due);
    let piece = end.poll_transmit(due).expect("a piece");
    assert_eq!((piece.seq, piece.length, piece.flags.has(Flags::FIN)), (Seq::new(1_001), 4, false));
    assert_eq!(end.poll_transmit(due), None);
    // All of it is as large as the window now.
    end.handle_segment(due, &acknowledgement(piece.end(), 7));
    let rest = end.poll_transmit(due).expect("the rest");
    assert_eq!((rest.length, rest.flags.has(Flags::FIN)), (6, true));
}

#[test]
fn a_window_is_scaled_if_both_offer_it() {
    for (offers, peer, edge, window) in
        [(Some(7), Some(3), 64_000, 80), (Some(7), None, 65_535, 10), (None, Some(3), 65_535, 10)]
    {
        let mut end = Endpoint::new(&Stack::LINUX, Seq::new(1_000));
        if let Some(shift) = offers {
            end = end.with_window_scale(shift);
        }
        end.handle_call(0, Call::Connect);
        assert_eq!(end.window_scale(), offers);
        assert!(end.poll_transmit(0).is_some());
        let answer = Segment {
            flags: Flags::SYN.with(Flags::ACK),
            seq: Seq::new(9_000),
            ack: Seq::new(1_001),
            window: 10,
            ..Segment::default()
        };
        end.handle_scaled(0, &answer, peer);
        // A SYN's own window is never scaled.
        assert_eq!(end.snd_wnd(), 10);
        let sent = end.poll_transmit(0).expect("an acknowledgement");
        end.set_window(&Segment { window: if edge == 65_535 { u16::MAX } else { 500 }, ..sent });
        assert_eq!(end.rcv_edge().since(Seq::new(9_001)), edge);
        let more = Segment { seq: Seq::new(9_001), length: 1, ..acknowledgement(Seq::new(1_001), 10) };
        end.handle_segment(0, &more);
        assert_eq!(end.snd_wnd(), window);
    }
}
