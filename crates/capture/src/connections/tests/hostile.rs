//! Too many, too odd, without end.

use super::*;

fn syn(number: u64, time_ns: i64, source: u128) -> Packet<'static> {
    Packet {
        number,
        time_ns,
        flow: Flow {
            source: 0xffff_0000_0000 | source,
            destination: SERVER,
            source_port: 7,
            destination_port: 80,
        },
        segment: Segment { flags: Flags::SYN, ..Segment::default() },
        ..Packet::default()
    }
}

#[test]
fn half_open_connections_need_no_running_state() {
    let mut connections = Connections::new(Options::default());
    for number in 0..200_000_u32 {
        connections.push(&syn(u64::from(number) + 1, i64::from(number), u128::from(number)));
    }
    assert_eq!((connections.count(), connections.lives.places()), (200_000, 0));
    connections.finish();
    assert!(connections.iter().all(|found| found.ending == Ending::Unanswered));
}

#[test]
fn running_state_is_bounded_and_who_loses_it_says_so() {
    let mut connections = Connections::new(Options { max_live: 1_000, ..Options::default() });
    for number in 0..20_000_u32 {
        let first = syn(u64::from(number) + 1, i64::from(number), u128::from(number));
        connections.push(&first);
        connections.push(&Packet {
            segment: Segment { flags: Flags::SYN.with(Flags::ACK), ack: Seq::new(1), ..Segment::default() },
            flow: Flow {
                source: first.flow.destination,
                destination: first.flow.source,
                source_port: 80,
                destination_port: 7,
            },
            ..first
        });
    }
    assert!(connections.lives.places() <= 1_001, "{}", connections.lives.places());
    connections.finish();
    let given_up = connections.iter().filter(|found| has(found, Note::GivenUp)).count();
    assert_eq!(given_up, 19_000);
    assert!(connections.iter().all(|found| found.handshake == Handshake::Half));
}

#[test]
fn an_endless_stream_keeps_no_more_than_it_may() {
    let endless = Endless { max_connections: 500, ..Endless::default() };
    let mut connections = Connections::new(Options { endless: Some(endless), ..Options::default() });
    let mut ended = Vec::new();
    for number in 0..50_000_u32 {
        connections.push(&syn(u64::from(number) + 1, i64::from(number), u128::from(number)));
        ended.extend(std::iter::from_fn(|| connections.take_ended()));
        assert!(connections.known() <= 500);
    }
    assert_eq!(ended.len(), 49_500);
    assert!(ended.iter().all(|found| has(found, Note::Evicted)));
    assert!(ended.is_sorted_by_key(|found| found.number));
    connections.finish();
    assert_eq!(std::iter::from_fn(|| connections.take_ended()).count(), 500);
}

#[test]
fn ended_ones_are_handed_out_when_they_are_quiet_and_remembered_for_a_minute() {
    let options = Options { endless: Some(Endless::default()), ..Options::default() };
    let script = answered()
        .say("> FA\n< FA\n> A")
        .anew(40_001, [1, 1], 4_000)
        .say("> S")
        .anew(40_002, [1, 1], 7_000)
        .say("> S")
        .anew(40_000, [900_000, 900_000], 50_000)
        .say("> S\n< SA");
    let mut connections = Connections::new(options);
    let mut ended = Vec::new();
    for (number, sent) in (1..).zip(&script.packets) {
        push(&mut connections, number, sent);
        ended.extend(std::iter::from_fn(|| connections.take_ended()).map(|found| (number, found.number)));
    }
    // Not yet at 4 s; at 7 s.
    assert_eq!(ended, [(11, 1)]);
    connections.finish();
    let rest: Vec<_> = std::iter::from_fn(|| connections.take_ended()).collect();
    assert_eq!(rest.iter().map(|found| found.number).collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(rest[2].reuses.map(|reuse| (reuse.previous, reuse.outcome)), Some((1, Outcome::Accepted)));
}

#[test]
fn idle_ones_are_forgotten_and_a_clock_that_was_set_back_stops_nothing() {
    let options = Options { endless: Some(Endless::default()), ..Options::default() };
    let (connections, ended) = Script::new()
        .say("> S at=1000000000")
        .anew(40_001, [1, 1], 0)
        .say("> S at=5")
        .anew(40_002, [1, 1], 0)
        .say("> S at=700000")
        .anew(40_003, [1, 1], 0)
        .say("> S at=1400000\n> S seq=0 at=1400001")
        .read_with(options);
    assert_eq!(ended.len(), 4);
    assert_eq!(connections.packets(), 5);
    assert_eq!(ended.iter().map(|found| found.syns).sum::<u32>(), 5);
}

fn any_sent() -> impl Strategy<Value = Sent> {
    let header = (0_u8..64, 0_u32..40, 0_u32..40, any::<u16>(), prop::option::of(any::<u32>()));
    let rest = (any::<bool>(), 40_000_u16..40_003, -20_i64..200_000, 0_u16..4, 0_u32..3);
    let data = prop_oneof![
        Just(b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        Just(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc".to_vec()),
        Just(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n".to_vec()),
        prop::collection::vec(any::<u8>(), 0..20),
    ];
    (header, rest, data, 0_usize..60, 0_u32..70).prop_map(|(header, rest, mut data, cut, length)| {
        let (flags, seq, ack, window, value) = header;
        let (from_client, port, at_ms, ip_id, context) = rest;
        let length = if length < 60 { u32::try_from(data.len()).unwrap() } else { length };
        data.truncate(cut);
        Sent {
            time_ns: at_ms.saturating_mul(MS),
            from_client,
            segment: Segment {
                flags: Flags::from_bits(flags),
                seq: Seq::new(seq.wrapping_sub(20)),
                ack: Seq::new(ack.wrapping_sub(20)),
                length,
                window,
                timestamps: value.map(|value| Timestamps { value, echo: 0 }),
            },
            data,
            ip_id,
            ttl: 64,
            port,
            context,
        }
    })
}

proptest! {
    /// Whatever comes: every packet is in one connection, counts add up, and both ways to write a line agree.
    #[test]
    fn counts_add_up(sent in prop::collection::vec(any_sent(), 0..80), max_live in 1_usize..4, endless: bool) {
        let endless = endless.then(|| Endless { max_connections: 2, ..Endless::default() });
        let script = Script { packets: sent, ..Script::new() };
        let (connections, all) = script.read_with(Options { max_live, endless, ..Options::default() });
        let packets: u64 = all.iter().map(|found| u64::from(found.packets.client) + u64::from(found.packets.server)).sum();
        if endless.is_none() {
            prop_assert_eq!(packets, script.packets.len() as u64);
        } else {
            // One that was handed out may get a straggler before it is forgotten.
            prop_assert!(packets <= script.packets.len() as u64);
        }
        prop_assert_eq!(all.len(), connections.count() as usize);
        for found in &all {
            prop_assert!(found.syns + found.fins.client + found.resets.client <= 3 * found.packets.client);
            prop_assert!(found.fins.server + found.resets.server <= 2 * found.packets.server);
            prop_assert_eq!(found.first_closer.is_some(), found.fins.client + found.fins.server > 0);
            prop_assert_eq!(found.reset_cause.is_some(), found.resets.client + found.resets.server > 0);
            prop_assert!(found.start_ns <= found.end_ns);
            prop_assert!(found.time_wait_at.is_none() || found.fins.client > 0 && found.fins.server > 0);
            // The line that is written by hand is what serde writes, in the first file and in another.
            for file in [0, 7] {
                let found = Connection { file, ..found.clone() };
                let mut line = Vec::new();
                found.write_line(&mut line);
                prop_assert_eq!(String::from_utf8(line).unwrap(), serde_json::to_string(&found).unwrap() + "\n");
            }
        }
    }

    /// Three parts, each followed alone, are the whole.
    #[test]
    fn shards_are_a_partition(sent in prop::collection::vec(any_sent(), 0..80)) {
        let script = Script { packets: sent, ..Script::new() };
        let part = |shard| script.read_with(Options { shard: (shard, 3), ..Options::default() }).0;
        let parts = [part(0), part(1), part(2)];
        prop_assert_eq!(InOrder::of(&parts).iter().collect::<Vec<_>>(), script.read());
    }
}
