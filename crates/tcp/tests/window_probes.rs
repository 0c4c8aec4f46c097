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

/// Settings of Linux 6.18.44, probes that it sent, and seconds until the orphan was gone; its timeout was 216 ms, the machine's
/// is 204.
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
