//! Openings, endings and resets.

use super::*;

#[test]
fn the_server_closes_and_keeps_time_wait() {
    let found = answered().say("< FA\n> A\n> FA\n< A").only();
    assert_eq!(
        (found.client.to_string(), found.server.to_string()),
        ("10.0.0.1:40000".into(), "10.0.0.2:80".into())
    );
    assert_eq!((found.handshake, found.syns), (Handshake::Complete, 1));
    assert_eq!((found.ending, found.first_closer), (Ending::Graceful, Some(Who::Server)));
    assert_eq!((found.time_wait_at, found.reset_cause), (Some(Who::Server), None));
    assert_eq!(
        (found.fins, found.packets),
        (PerSide { client: 1, server: 1 }, PerSide { client: 6, server: 4 })
    );
    assert_eq!(found.bytes, PerSide { client: 27, server: 43 });
    let closers = tcp::StateSet::of(&[tcp::State::TimeWait, tcp::State::Closed]);
    assert_eq!(found.states.server, closers);
    assert!(found.states.client.has(tcp::State::Closed) && !found.states.client.has(tcp::State::TimeWait));
    assert_eq!((found.first_packet, found.last_packet), (1, 10));
    assert_eq!((found.retransmits, found.notes), (PerSide::default(), vec![]));
    let http = found.http.unwrap();
    assert_eq!((http.requests, http.responses, http.close.who()), (1, 1, None));
}

#[test]
fn fins_that_cross_leave_time_wait_at_both() {
    let found = opened().say("< FA\n> FA ack=1\n< A\n> A").only();
    assert_eq!((found.ending, found.first_closer), (Ending::Simultaneous, Some(Who::Both)));
    assert_eq!(found.time_wait_at, Some(Who::Both));
    let unfinished = opened().say("< FA\n> FA ack=1\n< A").only();
    assert_eq!(unfinished.time_wait_at, Some(Who::Client));
}

#[test]
fn the_first_fin_or_the_reset_that_ends_it_closes_it() {
    for (said, at_ms) in [
        ("> FA at=100\n< A at=101\n< FA at=900\n> A", Some(100)),
        ("< FA at=100\n< FA at=300 seq=1", Some(100)),
        ("> FA at=100\n< R at=200", Some(100)),
        ("< R at=200 seq=1", Some(200)),
        ("< R at=200 seq=4000000000\n> A", None),
        ("> A at=100 \"x\"\n< A", None),
        // A packet from before the first one moves the start, not the close.
        ("> FA at=100\n< A at=0 ack=1", Some(100)),
        ("> A at=5000000\n> FA", None),
    ] {
        let found = opened().say(said).only();
        assert_eq!(found.closed_ns, at_ms.map(|at_ms| at_ms * MS), "{said}");
    }
}

#[test]
fn a_server_that_takes_up_no_timestamps_is_told() {
    for (said, without) in [
        ("> S ts=7\n< SA\n> A", true),
        ("> S ts=7\n< SA ts=9\n> A ts=8", false),
        ("> S\n< SA\n> A", false),
        // Sent again without, as some do to a server that does not answer.
        ("> S ts=7\n> S seq=0\n< SA\n> A", false),
        ("> S ts=7", false),
        ("> S ts=7\n< RA", false),
        ("< SA\n> A", false),
    ] {
        assert_eq!(Script::new().say(said).only().without_timestamps, without, "{said}");
    }
    let mut cut = Script::new().say("> S ts=7\n< SA len=9\n> A");
    assert!(!cut.only().without_timestamps, "an option may be in what was cut off");
    cut.packets[1].segment.length = 0;
    assert!(cut.only().without_timestamps);
}

#[test]
fn a_last_ack_that_is_missing_is_said() {
    let found = opened().say("> FA\n< FA\n< FA seq=1").only();
    assert_eq!((found.ending, found.time_wait_at), (Ending::Graceful, Some(Who::Client)));
    assert_eq!((found.fins.server, found.retransmits.server), (2, 1));
    assert!(has(&found, Note::LastFinUnacknowledged));
    assert!(!has(&opened().say("> FA\n< FA\n> A").only(), Note::LastFinUnacknowledged));
}

#[test]
fn unfinished_ones_are_open_half_closed_or_unanswered() {
    assert_eq!(opened().only().ending, Ending::Open);
    let half = opened().say("> FA\n< A").only();
    assert_eq!(
        (half.ending, half.first_closer, half.time_wait_at),
        (Ending::HalfClosed, Some(Who::Client), None)
    );
    let silent = Script::new().say("> S\n> S seq=0 at=1000\n> S seq=0 at=3000").only();
    assert_eq!(
        (silent.ending, silent.handshake, silent.syns),
        (Ending::Unanswered, Handshake::Unanswered, 3)
    );
    assert_eq!(silent.retransmits.client, 2);
    let half_open = Script::new().say("> S\n< SA").only();
    assert_eq!((half_open.ending, half_open.handshake), (Ending::Open, Handshake::Half));
}

#[test]
fn a_refusal_has_no_listener_and_a_forged_one_is_ignored() {
    let refused = Script::new().say("> S\n< RA raw_seq=0").only();
    assert_eq!((refused.ending, refused.handshake), (Ending::Refused, Handshake::Refused));
    assert_eq!(refused.reset_cause, Some(ResetCause::NoListener));
    // Wrong acknowledgement, or none: the client must ignore it.
    for forged in ["< RA raw_seq=0 ack=77", "< R raw_seq=0"] {
        let found = Script::new().say("> S").say(forged).say("< SA\n> A").only();
        assert_eq!((found.ending, found.resets.server), (Ending::Open, 1), "{forged}");
        assert!(has(&found, Note::IgnoredReset) && found.handshake == Handshake::Complete);
    }
}

#[test]
fn resets_outside_the_window_do_not_end_it() {
    let found = answered().say("< RA seq=9999999\n> R seq=0\n> FA\n< FA\n> A").only();
    assert_eq!((found.ending, found.resets), (Ending::Graceful, PerSide { client: 1, server: 1 }));
    assert!(has(&found, Note::IgnoredReset));
}

#[test]
fn an_abort_is_told_from_the_answer_of_a_host_that_knows_nothing() {
    let linger = opened().say("< A \"hello\"\n> A\n< RA").only();
    assert_eq!((linger.ending, linger.reset_cause), (Ending::Reset, Some(ResetCause::AbortByLinger)));
    assert!(has(&linger, Note::ActiveReset) && linger.reset_by == Some(Who::Server));
    // Its window was closing and no update came.
    let unread = opened().say("> A len=200 \n< A win=400\n> A len=200\n< A win=100\n< RA").only();
    assert_eq!(unread.reset_cause, Some(ResetCause::UnreadData));
    let read = opened().say("> A len=200 \n< A win=400\n> A len=200\n< A win=100\n< A win=500\n< RA").only();
    assert_eq!(read.reset_cause, Some(ResetCause::Unknown));
    let unknown_there = answered().say("> A at=9000 \"more\"\n< R").only();
    assert_eq!(unknown_there.reset_cause, Some(ResetCause::HalfOpen));
}

/// As captured on Linux 6.18 for each way to close; the resets are the same to the bit.
#[test]
fn an_abort_after_an_exchange_is_one_by_linger_where_the_exchange_shows_that_all_was_read() {
    let cause = |script: Script| {
        let found = script.only();
        assert!(has(&found, Note::ActiveReset), "{found:#?}");
        found.reset_cause.unwrap()
    };
    let again = || answered().say(REQUEST);
    let post = |length| format!(r#"> A "POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\nname=value""#);
    let (linger, unknown) = (ResetCause::AbortByLinger, ResetCause::Unknown);

    // The server answered what it had read; the client may have read its answer or not.
    assert_eq!(cause(answered().say("< RA")), linger);
    assert_eq!(cause(again().say(RESPONSE).say("> A\n< RA at=500")), linger);
    assert_eq!(cause(answered().say("> RA")), unknown);
    // It read the first answer before it asked again, and got no other.
    assert_eq!(cause(again().say("< A\n> RA at=500")), linger);
    assert_eq!(cause(again().say("< A \"HTTP\"\n> RA")), unknown);
    // Not answered, or not all: read or not.
    assert_eq!(cause(opened().say(REQUEST).say("< A\n< RA")), unknown);
    assert_eq!(cause(again().say("< A\n< RA")), unknown);
    assert_eq!(cause(opened().say(REQUEST).say(REQUEST).say(RESPONSE).say("< RA")), unknown);
    assert_eq!(cause(answered().say("> A \"GET /2 HT\"\n< RA")), unknown);
    // A refusal may come before the body was read.
    assert_eq!(cause(opened().say(&post(10)).say(RESPONSE).say("< RA")), unknown);
    assert_eq!(cause(opened().say(&post(99)).say(RESPONSE).say("< RA")), unknown);
    // Data that came later than the reset's sender knew, or a reset that another machine may have sent.
    assert_eq!(cause(answered().say("< RA ack=20")), unknown);
    assert_eq!(cause(answered().say("< RA ttl=40")), unknown);
    // What is no HTTP says nothing.
    assert_eq!(cause(opened().say("> A \"PING\"\n< A \"PONG\"\n< RA")), unknown);
    // The beginning was not captured.
    assert_eq!(cause(Script::new().say(REQUEST).say(RESPONSE).say("> A\n< RA")), unknown);
}

#[test]
fn data_that_comes_after_the_close_is_answered_by_a_reset() {
    let found = answered().say("> FA\n< A\n< A \"late\"\n> R").only();
    assert_eq!((found.ending, found.reset_cause), (Ending::Reset, Some(ResetCause::AfterClose)));
    assert!(has(&found, Note::DataAfterFin));
}

#[test]
fn a_request_that_passes_the_servers_fin_is_a_race() {
    let close_at_server = answered().say("< FA at=5000");
    // Captured at the server: the request comes after the FIN, and does not know of it.
    let found = close_at_server.say(r#"> A ack=44 "GET /2 HTTP/1.1\r\n\r\n""#).say("< R seq=44").only();
    assert_eq!((found.ending, found.reset_cause), (Ending::Reset, Some(ResetCause::IdleTimeoutRace)));
    assert_eq!((found.idle_ms, found.reset_by), (Some(4_995), Some(Who::Server)));
    // Captured at the client: the FIN comes after the request, and does not know of it.
    let found =
        answered().say(r#"> A at=5000 "GET /2 HTTP/1.1\r\n\r\n""#).say("< FA ack=28\n< R seq=44").only();
    assert_eq!(found.reset_cause, Some(ResetCause::IdleTimeoutRace));
    // A server that said it would close is not raced, but misunderstood.
    let found = opened()
        .say(REQUEST)
        .say(r#"< A "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n""#)
        .say("< FA at=50")
        .say(r#"> A ack=58 "GET /2 HTTP/1.1\r\n\r\n""#)
        .say("< R seq=58")
        .only();
    assert_eq!(found.reset_cause, Some(ResetCause::AfterClose));
}

#[test]
fn a_reset_after_the_end_takes_time_wait_away() {
    let found = opened().say("> FA\n< FA\n> A\n< R").only();
    assert_eq!((found.ending, found.reset_cause), (Ending::Graceful, Some(ResetCause::AfterClose)));
    assert_eq!(found.time_wait_at, None);
    assert!(has(&found, Note::TimeWaitKilled));
}

#[test]
fn a_forged_reset_that_both_sides_survive_ends_nothing() {
    let found = answered().say("< RA ttl=99\n< A seq=44 \"more\"\n> FA\n< FA\n> A").only();
    assert_eq!((found.ending, found.time_wait_at), (Ending::Graceful, Some(Who::Client)));
    assert!(has(&found, Note::WentOnAfterReset) && has(&found, Note::ForeignReset));
}

#[test]
fn copies_count_as_packets_and_nothing_else() {
    let mut script = Script::new();
    for line in answered().say("< FA\n> FA\n< A").packets {
        script.packets.push(line.clone());
        script.packets.push(Sent { ttl: 63, ..line });
    }
    let found = script.only();
    assert_eq!((found.syns, found.fins), (1, PerSide { client: 1, server: 1 }));
    assert_eq!(found.packets, PerSide { client: 10, server: 8 });
    assert_eq!((found.retransmits, found.bytes.server), (PerSide::default(), 43));
    assert!(has(&found, Note::CapturedTwice));
    // The same a second later is a retransmission, and so is another identification.
    let later = opened().say("> A id=7 \"xy\"\n> A id=7 seq=1 at=2000 \"xy\"\n> A id=8 seq=1 \"xy\"").only();
    assert_eq!((later.retransmits.client, later.bytes.client), (2, 2));
}

#[test]
fn two_captures_of_the_same_one_after_the_other_are_one() {
    let mut script = Script::new();
    for port in 0..500_u16 {
        script = script
            .anew(port, [u32::from(port) * 7, 1], i64::from(port) / 10)
            .say(OPEN)
            .say("> FA\n< FA\n> A");
    }
    script.packets.extend(script.packets.clone());
    let all = script.read();
    let once = |found: &&Connection| (found.syns, found.fins) == (1, PerSide { client: 1, server: 1 });
    assert_eq!(all.len(), 500);
    // Those of a set that overflowed are not known any more; of 6,000 packets that is hardly one.
    assert!(all.iter().filter(once).count() >= 490);
}

#[test]
fn what_was_not_captured_is_said() {
    let late = Script::new().say("> A seq=100 ack=50 \"x\"\n< A seq=50\n> FA\n< FA\n> A").only();
    assert_eq!((late.handshake, late.ending, late.syns), (Handshake::Unseen, Ending::Graceful, 0));
    assert!(has(&late, Note::BeganLate) && has(&late, Note::RolesGuessed));
    assert_eq!(late.client.port, Some(40_000), "the higher port is the client's");
    let one_way = Script::new().say("> S\n> A ack=1 \"x\"\n> FA").only();
    assert_eq!((one_way.handshake, one_way.ending), (Handshake::Unseen, Ending::HalfClosed));
    assert!(has(&one_way, Note::OneDirection));
    let gap = opened().say("> A seq=11 \"x\"\n< A\n> FA\n< FA\n> A").only();
    assert!(has(&gap, Note::MissingSegments));
    let late_fill = opened().say("> A seq=11 \"x\"\n> A seq=1 \"0123456789\"\n< A").only();
    assert!(!has(&late_fill, Note::MissingSegments));
    assert_eq!((late_fill.bytes.client, late_fill.retransmits.client), (11, 0));
    let acked_unseen = opened().say("> A \"x\"\n< A ack=500").only();
    assert!(has(&acked_unseen, Note::MissingSegments));
}

/// The server's answer up to the close, with every other byte of its body late, and who closes then.
fn late_by_halves(bytes: usize) -> Script {
    let head = r#"< A "HTTP/1.0 200 OK\r\n\r\n""#;
    let behind = 1 + "HTTP/1.0 200 OK\r\n\r\n".len();
    let send = |script: Script, at: usize| script.say(&format!("< A seq={} \"x\"", behind + at));
    let script = opened().say(REQUEST).say(head);
    let script = (1..bytes).step_by(2).fold(script, send);
    let script = script.say(&format!("< FA seq={}", behind + bytes));
    let script = (0..bytes).rev().skip(1).step_by(2).fold(script, send);
    script.say("> A\n> FA\n< A")
}

#[test]
fn a_body_is_complete_when_the_last_gap_before_the_fin_is_filled() {
    for bytes in [2, 8, 100, 500] {
        let found = late_by_halves(bytes).only();
        assert_eq!(found.http.unwrap().responses, 1, "{bytes}: {found:?}");
        assert_eq!(found.bytes.server, 19 + bytes as u64);
        assert_eq!(found.notes, [], "{bytes}");
    }
}

#[test]
fn more_gaps_than_are_kept_apart_are_neither_missing_nor_filled() {
    let found = late_by_halves(1_000).only();
    assert_eq!(found.http.unwrap().responses, 0);
    assert_eq!(found.notes, [Note::HttpUnsure, Note::GivenUp]);
    assert_eq!(found.ending, Ending::Graceful);
}

#[test]
fn a_keep_alive_probe_is_no_retransmission() {
    let found = opened().say("> A \"x\"\n< A\n> A seq=1 len=1 at=60000\n< A\n> A seq=1\n< A").only();
    assert_eq!((found.retransmits.client, found.bytes.client), (0, 1));
}

#[test]
fn times_that_go_back_are_said() {
    let found = opened().say("> A at=1 \"x\"").only();
    assert!(has(&found, Note::TimeGoesBack));
    assert_eq!((found.start_ns, found.end_ns), (MS, 3 * MS));
}
