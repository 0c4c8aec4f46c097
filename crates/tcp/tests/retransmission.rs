//! What is sent again, and when.

use tcp::machine::{Call, Endpoint, Nanos};
use tcp::profile::Stack;
use tcp::{Flags, Segment, Seq, State};

#[test]
fn data_goes_again_with_its_timer_and_not_with_close() {
    let mut client = established(&Stack::LINUX);
    assert_eq!(client.state(), State::Established);
    client.handle_send(0, 100);
    let data = client.poll_transmit(0).map(|segment| (segment.seq, segment.length));
    assert_eq!(data, Some((Seq::new(1_001), 100)));
    let due = client.poll_timeout().expect("what is not acknowledged has a timer");
    client.handle_timeout(due);
    assert_eq!(client.poll_transmit(due).map(|segment| (segment.seq, segment.length)), data);
    assert_eq!(client.poll_transmit(due), None);
    // Seen on Linux 6.18: the FIN goes out alone, behind data that is on its way for the second time.
    client.handle_call(due, Call::Close);
    let fin = client.poll_transmit(due).expect("a FIN");
    assert!(fin.flags.has(Flags::FIN));
    assert_eq!((fin.seq, fin.length), (Seq::new(1_101), 0));
    assert_eq!(client.poll_transmit(due), None);
    // Both go again as one when their time has come.
    let due = client.poll_timeout().expect("a FIN has a timer");
    client.handle_timeout(due);
    let again = client.poll_transmit(due).expect("the oldest");
    assert_eq!((again.seq, again.length, again.flags.has(Flags::FIN)), (Seq::new(1_001), 100, true));
}

/// What it does alone from now on: how often something is sent again, and after how many seconds it is gone.
fn until_given_up(mut end: Endpoint) -> (usize, Nanos) {
    let (mut again, mut now) = (0, 0);
    while end.poll_transmit(now).is_some() {}
    while let Some(due) = end.poll_timeout() {
        now = due;
        end.handle_timeout(now);
        while end.poll_transmit(now).is_some() {
            again += 1;
        }
    }
    assert_eq!(end.state(), State::Closed);
    (again, now)
}

fn established(stack: &Stack) -> Endpoint {
    let mut client = Endpoint::new(stack, Seq::new(1_000));
    let mut server = Endpoint::new(stack, Seq::new(9_000));
    server.handle_call(0, Call::Listen);
    client.handle_call(0, Call::Connect);
    while let Some(segment) = client.poll_transmit(0) {
        server.handle_segment(0, &segment);
        while let Some(answer) = server.poll_transmit(0) {
            client.handle_segment(0, &answer);
        }
    }
    client
}

#[track_caller]
fn holds((again, gone): (usize, Nanos), measured: (usize, Nanos)) {
    assert_eq!(again, measured.0);
    // To a fiftieth, and the ticks of a busy machine.
    assert!(
        gone.abs_diff(measured.1 * 1_000_000) < gone / 50 + 60_000_000,
        "{gone} ns, not {} ms",
        measured.1
    );
}

/// Settings, what was sent again on Linux 6.18.44 and when the socket was gone, in milliseconds.
#[test]
fn an_orphan_is_given_up_by_the_time_since_its_first_retransmission() {
    for (orphan_retries, loss_probe, measured) in [
        (1, false, (2, 1_486)),
        (1, true, (3, 1_705)),
        (2, false, (3, 3_151)),
        (2, true, (4, 3_366)),
        (3, false, (4, 6_541)),
        (3, true, (5, 6_799)),
        (4, false, (4, 6_498)),
        (4, true, (5, 6_756)),
        (5, false, (5, 13_163)),
        (5, true, (6, 13_449)),
        (0, false, (8, 106_623)),
        (0, true, (9, 106_582)),
    ] {
        let stack = Stack { orphan_retries, loss_probe, ..Stack::LINUX };
        let mut end = established(&stack);
        end.handle_call(0, Call::Close);
        holds(until_given_up(end), measured);
    }
}

#[test]
fn data_is_given_up_the_same_way() {
    for (retries, measured) in [(2, (4, 3_357)), (3, (5, 6_831)), (5, (6, 13_398))] {
        let mut end = established(&Stack { retries, ..Stack::LINUX });
        end.handle_send(0, 10);
        holds(until_given_up(end), measured);
    }
}

#[test]
fn a_syn_is_given_up_by_number_or_by_time() {
    for (syn_retries, syn_linear_timeouts, measured) in [
        (1, 0, (1, 3_051)),
        (2, 0, (2, 7_077)),
        (3, 0, (3, 15_431)),
        (1, 4, (2, 3_101)),
        (2, 4, (5, 7_139)),
        (3, 4, (7, 19_340)),
    ] {
        let stack = Stack { syn_retries, syn_linear_timeouts, ..Stack::LINUX };
        let mut end = Endpoint::new(&stack, Seq::new(1_000));
        end.handle_call(0, Call::Connect);
        holds(until_given_up(end), measured);
    }
}

#[test]
fn others_count() {
    for (retries, sent) in [(2, 2), (15, 15)] {
        let mut end = established(&Stack { retries, ..Stack::FREEBSD });
        end.handle_send(0, 10);
        assert_eq!(until_given_up(end).0, sent);
    }
}

#[test]
fn an_orphan_whose_timeout_is_the_longest_is_given_up_at_once_unless_a_number_is_set() {
    for (orphan_retries, gone) in [(0, true), (15, false)] {
        let mut end = established(&Stack { orphan_retries, ..Stack::LINUX });
        end.handle_send(0, 10);
        let mut due = 0;
        while end.retransmits() < 11 {
            while end.poll_transmit(due).is_some() {}
            due = end.poll_timeout().expect("data is in flight");
            end.handle_timeout(due);
        }
        end.handle_call(due, Call::Close);
        let due = end.poll_timeout().expect("it waits");
        end.handle_timeout(due);
        assert_eq!(end.state() == State::Closed, gone);
    }
}

/// Seen on Linux 6.18 with SO_LINGER: while close() waits the socket is no orphan, yet it takes no data any more.
#[test]
fn a_close_that_waits_is_given_up_as_an_owner_s_and_hears_nothing() {
    let stack = Stack { orphan_retries: 1, ..Stack::LINUX };
    let mut end = established(&stack);
    end.begin_lingering_close(0);
    let fin = end.poll_transmit(0).expect("a FIN");
    assert!(fin.flags.has(Flags::FIN));
    let mut now = 0;
    while let Some(due) = end.poll_timeout().filter(|due| *due < 4_000_000_000) {
        now = due;
        end.handle_timeout(now);
        while end.poll_transmit(now).is_some() {}
    }
    // An orphan would be gone since 1.5 s.
    assert_eq!((end.state(), end.is_orphan()), (State::FinWait1, false));
    let waits = end.clone();

    end.handle_call(4_000_000_000, Call::Close);
    assert_eq!((end.state(), end.is_orphan()), (State::FinWait1, true));
    let due = end.poll_timeout().expect("a FIN has a timer");
    end.handle_timeout(due);
    assert_eq!(end.state(), State::Closed, "what it was sent again before counts");

    let data = Segment {
        flags: Flags::ACK.with(Flags::PSH),
        seq: Seq::new(9_001),
        ack: Seq::new(1_001),
        length: 5,
        window: u16::MAX,
        ..Segment::default()
    };
    let mut reset = waits.clone();
    reset.handle_segment(now, &data);
    assert_eq!(reset.state(), State::Closed);
    assert!(reset.poll_transmit(now).is_some_and(|answer| answer.flags.has(Flags::RST)));

    // Acknowledged, it waits for the other FIN; its time begins when it becomes an orphan.
    let mut acknowledged = waits;
    acknowledged.handle_segment(now, &Segment { flags: Flags::ACK, ack: Seq::new(1_002), length: 0, ..data });
    assert_eq!((acknowledged.state(), acknowledged.poll_timeout()), (State::FinWait2, None));
    acknowledged.handle_call(now, Call::Close);
    assert!(acknowledged.is_mini() && acknowledged.poll_timeout().is_some());
}
