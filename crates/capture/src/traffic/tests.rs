use super::*;
use crate::connections::{Handshake, PerSide, ResetCause, Versions};

const SECOND: i64 = 1_000_000_000;

fn connection(client: &str, server: &str, start_s: i64, end_s: i64) -> Connection {
    Connection {
        number: 1,
        file: 0,
        client: client.parse().unwrap(),
        server: server.parse().unwrap(),
        start_ns: start_s * SECOND,
        end_ns: end_s * SECOND,
        closed_ns: Some(end_s * SECOND),
        first_packet: 10,
        last_packet: 19,
        handshake: Handshake::Complete,
        syns: 1,
        first_closer: Some(Who::Client),
        fins: PerSide { client: 1, server: 1 },
        resets: PerSide::default(),
        ending: Ending::Graceful,
        reset_cause: None,
        reset_by: None,
        time_wait_at: Some(Who::Client),
        states: PerSide::default(),
        packets: PerSide { client: 5, server: 5 },
        bytes: PerSide::default(),
        retransmits: PerSide::default(),
        http: None,
        reuses: None,
        challenged: false,
        without_timestamps: false,
        idle_ms: None,
        notes: Vec::new(),
    }
}

fn tally(connections: &[Connection]) -> Traffic {
    let mut tally = TrafficTally::new(0, Some(0), Some(100 * SECOND));
    for connection in connections {
        tally.add(connection);
    }
    tally.sums()
}

#[test]
fn connections_are_added_up_by_client_and_server_the_most_first() {
    let traffic = tally(&[
        connection("10.0.0.9:1000", "10.0.0.2:80", 0, 1),
        connection("10.0.0.1:1000", "10.0.0.2:80", 1, 2),
        connection("10.0.0.1:1001", "10.0.0.2:80", 1, 5),
        connection("10.0.0.1:1002", "10.0.0.2:81", 1, 2),
    ]);
    let seen: Vec<_> = traffic
        .exchanges
        .iter()
        .map(|exchange| (exchange.client.to_string(), exchange.server.to_string(), exchange.connections))
        .collect();
    let expected =
        [("10.0.0.1", "10.0.0.2:80", 2), ("10.0.0.9", "10.0.0.2:80", 1), ("10.0.0.1", "10.0.0.2:81", 1)];
    assert_eq!(seen, expected.map(|(client, server, count)| (client.to_owned(), server.to_owned(), count)));
    let first = &traffic.exchanges[0];
    assert_eq!((first.length_ms, first.at_once), (4_000, 2));
    assert_eq!(first.first_closer, Ends { client: 2, ..Ends::default() });
    let ends: Vec<_> =
        traffic.time_wait_by_second.iter().map(|(second, ends)| (*second, ends.client)).collect();
    assert_eq!(ends, [(1, 1), (2, 2), (5, 1)]);
}

#[test]
fn a_syn_that_met_an_old_connection_was_answered() {
    let unanswered = Connection {
        ending: Ending::Unanswered,
        handshake: Handshake::Unanswered,
        ..connection("10.0.0.1:1000", "10.0.0.2:80", 0, 1)
    };
    let challenged = Connection { challenged: true, ..unanswered.clone() };
    let got_in = Connection { challenged: true, ..connection("10.0.0.1:1000", "10.0.0.2:80", 0, 1) };
    let exchange = &tally(&[unanswered, challenged, got_in]).exchanges[0];
    assert_eq!(
        [&exchange.unanswered, &exchange.shut_out, &exchange.challenged].map(|some| some.count),
        [1, 1, 2]
    );
}

#[test]
fn timestamps_that_a_server_does_not_take_up_are_counted() {
    let with = connection("10.0.0.1:1000", "10.0.0.2:80", 0, 1);
    let without = Connection { without_timestamps: true, ..with.clone() };
    let exchange = &tally(&[without.clone(), with, without]).exchanges[0];
    assert_eq!((exchange.connections, exchange.without_timestamps.count), (3, 2));
    assert_eq!(exchange.without_timestamps.examples.len(), 2);
}

#[test]
fn one_after_the_other_is_one_at_once() {
    let connections: Vec<_> =
        (0..5).map(|second| connection("10.0.0.1:1000", "10.0.0.2:80", second, second + 1)).collect();
    let exchange = &tally(&connections).exchanges[0];
    assert_eq!((exchange.at_once, exchange.open_us), (1, 5_000_000));
}

#[test]
fn what_one_side_closed_is_in_use_no_more() {
    let leaked = |closed_ns| {
        let of = |second| Connection {
            ending: Ending::HalfClosed,
            closed_ns,
            ..connection("10.0.0.1:1000", "10.0.0.2:80", second, 90)
        };
        let exchange = &tally(&[of(0), of(2), of(4)]).exchanges[0];
        (exchange.at_once, exchange.open_us / 1_000_000)
    };
    // A close before the opening, as a hostile clock has it, is no time.
    assert_eq!(leaked(Some(SECOND)), (1, 1), "CLOSE-WAIT at the server is no work of the client");
    assert_eq!(leaked(None), (3, 90 + 88 + 86));
}

#[test]
fn a_fin_that_was_sent_again_is_told_from_one_that_nobody_acknowledged() {
    let mut again = connection("10.0.0.7:40001", "10.0.2.2:80", 0, 1);
    again.fins.server = 3;
    let mut never = again.clone();
    never.notes.push(Note::LastFinUnacknowledged);
    let once = connection("10.0.0.7:40002", "10.0.2.2:80", 0, 1);
    let traffic = tally(&[again, never, once]);
    let exchange = &traffic.exchanges[0];
    assert_eq!((exchange.fin_again.count, exchange.last_fin_unacknowledged.count), (1, 1));
}

#[test]
fn who_does_not_close_needs_the_rest_of_the_capture() {
    let half = |end_s| Connection {
        ending: Ending::HalfClosed,
        time_wait_at: None,
        ..connection("10.0.0.1:1000", "10.0.0.2:80", 0, end_s)
    };
    let exchange = tally(&[half(94), half(96)]).exchanges.remove(0);
    assert_eq!(exchange.not_closed_by, Ends { server: 1, ..Ends::default() });
    assert_eq!(exchange.not_closed.examples[0].first_packet, 10);
    let mut stream = TrafficTally::new(0, None, None);
    stream.add(&half(0));
    assert_eq!(stream.sums().exchanges[0].not_closed_by.total(), 0);
}

#[test]
fn who_asks_to_close_is_told_by_header_and_version() {
    let with = |http| Connection { http: Some(http), ..connection("10.0.0.1:1", "10.0.0.2:80", 0, 1) };
    let one = HttpSummary { requests: 1, responses: 1, ..HttpSummary::default() };
    let relayed = HttpSummary { relayed: true, ..one };
    let closes = HttpSummary { close: PerSide { client: true, server: true }, ..one };
    let server_closes = HttpSummary { close: PerSide { client: false, server: true }, ..one };
    let many = HttpSummary { requests: 5_000, ..one };
    let traffic = tally(&[with(relayed), with(closes), with(server_closes), with(many)]);
    let http = traffic.exchanges[0].http.clone().unwrap();
    assert_eq!(
        (http.kept.count, http.client_asks_to_close.count, http.server_asks_to_close.count),
        (2, 1, 1)
    );
    assert_eq!(http.by_requests.into_iter().collect::<Vec<_>>(), [(1, 3), (MOST_REQUESTS, 1)]);
    assert_eq!(http.close_by, Ends { client: 0, server: 1, both: 1 });
    assert_eq!(http.relayed, 1);
    assert_eq!(Versions::default().iter().count(), 0);
}

#[test]
fn examples_are_few_and_counts_are_whole() {
    let reset = Connection {
        reset_cause: Some(ResetCause::AbortByLinger),
        reset_by: Some(Who::Server),
        ..connection("10.0.0.1:1000", "10.0.0.2:80", 0, 1)
    };
    let exchange = tally(&vec![reset; 50]).exchanges.remove(0);
    let counted = &exchange.resets["abort-by-linger"];
    assert_eq!((counted.count, counted.examples.len()), (50, evidence::MAX_EXAMPLES));
    assert_eq!(exchange.reset_by.server, 50);
    assert_eq!(exchange.resets_by["abort-by-linger"], Ends { server: 50, ..Ends::default() });
}

#[test]
fn a_client_for_every_connection_is_folded_and_nothing_is_lost() {
    let mut tally = TrafficTally::new(0, Some(0), None);
    let clients = MAX_EXCHANGES as u64 * 3;
    for number in 0..clients {
        let bits = u32::try_from(number).unwrap() + 0x0b00_0000;
        let server = format!("10.0.0.2:{}", number % 50_000);
        let client = format!("{}:1000", std::net::Ipv4Addr::from_bits(bits));
        tally.add(&connection(&client, &server, 0, 1));
    }
    let traffic = tally.sums();
    assert!(traffic.exchanges.len() <= 2 * MAX_EXCHANGES + 1, "{}", traffic.exchanges.len());
    assert_eq!(traffic.exchanges.iter().map(|exchange| exchange.connections).sum::<u64>(), clients);
    assert_eq!(traffic.folded, clients - MAX_EXCHANGES as u64);
}
