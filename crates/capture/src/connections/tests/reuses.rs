//! One tuple, again and again.

use super::*;

#[test]
fn a_syn_with_another_number_opens_another_connection() {
    let both = answered().say("< FA\n> FA\n< A").anew(40_000, [90_000, 95_000], 21_421).say(OPEN).read();
    assert_eq!(both.len(), 2);
    assert_eq!((both[0].ending, both[0].reuses), (Ending::Graceful, None));
    let reuse = both[1].reuses.unwrap();
    assert_eq!((reuse.previous, reuse.after_ms, reuse.outcome), (1, 21_413, Outcome::Accepted));
    assert_eq!((both[1].number, both[1].first_packet), (2, 10));
}

#[test]
fn the_same_syn_again_is_the_same_connection_unless_the_old_one_is_long_closed() {
    let again = Script::new().say("> S\n< RA raw_seq=0\n> S seq=0 at=500\n< RA raw_seq=0").only();
    assert_eq!((again.syns, again.resets.server), (2, 2));
    let closed = opened().say("> FA\n< FA\n> A").anew(40_000, [1_000, 5_000], 9_000).say(OPEN).read();
    assert_eq!(closed.len(), 2);
}

/// SYN, old ACK, RST, SYN: the classic.
#[test]
fn a_syn_that_meets_time_wait_is_challenged_and_comes_again() {
    let script = answered().say("< FA\n> FA\n< A").anew(40_000, [900, 77_000], 30_000).say(
        "> S
         < A raw_seq=5045 raw_ack=1029
         > R raw_seq=1029
         > S seq=0 at=31000
         < SA
         > A
         > FA\n< FA\n> A",
    );
    let both = script.read();
    assert_eq!(both.len(), 2);
    let found = &both[1];
    assert_eq!((found.syns, found.resets.client, found.challenged), (2, 1, true));
    assert_eq!(found.reset_cause, Some(ResetCause::TimeWaitChallenge));
    assert_eq!((found.ending, found.reset_by), (Ending::Graceful, None));
    assert_eq!(found.reuses.unwrap().outcome, Outcome::Challenged);
    assert!(!has(found, Note::EarlierNotCaptured));
    // Without the first connection the pattern stays, and what it means is less sure.
    let alone = Script { packets: script.packets[9..].to_vec(), ..script }.only();
    assert_eq!(alone.reset_cause, Some(ResetCause::TimeWaitChallenge));
    assert!(has(&alone, Note::EarlierNotCaptured) && alone.reuses.is_none());
}

#[test]
fn a_syn_that_meets_an_open_connection_finds_it_half_open() {
    let both = answered()
        .anew(40_000, [90_000, 5_000], 60_000)
        .say("> S\n< A raw_seq=5044 raw_ack=1028\n> R raw_seq=1028\n> S seq=0 at=61000\n< SA raw_seq=70000 ack=1")
        .read();
    assert_eq!(both[1].reset_cause, Some(ResetCause::HalfOpen));
}

#[test]
fn a_challenge_that_nothing_follows_is_unanswered() {
    let found = Script::new().say("> S\n< A seq=77 ack=4000\n> R seq=4000").only();
    assert_eq!((found.ending, found.handshake), (Ending::Unanswered, Handshake::Unanswered));
}

#[test]
fn what_becomes_of_a_reused_tuple_is_told() {
    let closed = || opened().say("> FA\n< FA\n> A").anew(40_000, [90_000, 95_000], 5_000);
    let outcome = |script: Script| script.read()[1].reuses.unwrap().outcome;
    assert_eq!(outcome(closed().say("> S")), Outcome::Dropped);
    assert_eq!(outcome(closed().say("> S\n< RA raw_seq=0")), Outcome::Reset);
}

#[test]
fn a_syn_ack_of_strange_numbers_after_the_end_is_another_connection() {
    let both = opened()
        .say("> FA\n< FA\n> A")
        .anew(40_000, [90_000, 95_000], 5_000)
        .say("< SA ack=1\n> A seq=1")
        .read();
    assert_eq!(both.len(), 2);
    assert_eq!((both[1].syns, both[1].client.port), (0, Some(40_000)));
}

#[test]
fn equal_tuples_in_two_vlans_are_two_connections() {
    let both = Script::new()
        .say("> S vlan=10\n< SA vlan=10\n> A vlan=10")
        .anew(40_000, [700_000, 800_000], 50)
        .say("> S vlan=20\n< SA vlan=20\n> A vlan=20\n> FA vlan=20")
        .anew(40_000, [1_000, 5_000], 70)
        .say("> A vlan=10 seq=1 ack=1 \"x\"")
        .read();
    assert_eq!(both.len(), 2);
    assert_eq!((both[0].packets.client, both[1].packets.client), (3, 3));
    assert_eq!((both[0].fins.client, both[1].fins.client), (0, 1));
    // One connection whose directions bear different tags stays one.
    let one = Script::new()
        .say("> S vlan=10\n< SA vlan=20\n> A vlan=10\n> FA vlan=10\n< FA vlan=20\n> A vlan=10")
        .only();
    assert_eq!(one.ending, Ending::Graceful);
    assert!(has(&one, Note::SeveralNetworks));
}

#[test]
fn a_tuple_used_100_000_times_is_that_many_connections() {
    let mut connections = Connections::new(Options::default());
    let mut number = 0;
    for round in 0..100_000_u32 {
        let script = Script::new()
            .anew(40_000, [round.wrapping_mul(64_000).wrapping_add(7), round], i64::from(round) * 20)
            .say("> S\n< SA\n> A\n> FA\n< FA\n> A");
        for sent in &script.packets {
            number += 1;
            push(&mut connections, number, sent);
        }
    }
    connections.finish();
    assert_eq!((connections.count(), connections.packets()), (100_000, 600_000));
    let accepted =
        connections.iter().filter_map(|found| found.reuses).all(|reuse| reuse.outcome == Outcome::Accepted);
    assert!(accepted && connections.iter().all(|found| found.ending == Ending::Graceful));
    assert_eq!(connections.iter().last().unwrap().reuses.unwrap().previous, 99_999);
}
