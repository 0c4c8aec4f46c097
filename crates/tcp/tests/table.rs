//! The table has no silent holes.

use std::fmt::Write as _;
use tcp::machine::{Condition, Event, Kind, Reply, TABLE, rows};
use tcp::{State, StateSet};

/// The states in which each event has no row: a call that fails with an error, a timer that does not run there.
const WITHOUT_A_ROW: &str = "\
connect(): LISTEN SYN-SENT SYN-RECEIVED ESTABLISHED FIN-WAIT-1 FIN-WAIT-2 CLOSE-WAIT CLOSING LAST-ACK
listen(): LISTEN SYN-SENT SYN-RECEIVED ESTABLISHED FIN-WAIT-1 FIN-WAIT-2 CLOSE-WAIT CLOSING LAST-ACK TIME-WAIT
send(): LISTEN FIN-WAIT-1 FIN-WAIT-2 CLOSING LAST-ACK TIME-WAIT CLOSED
shutdown(WR): LISTEN CLOSED
close(): CLOSED
close(), data unread: LISTEN SYN-SENT CLOSED
close(), linger 0: CLOSED
TIME-WAIT is over: LISTEN SYN-SENT SYN-RECEIVED ESTABLISHED FIN-WAIT-1 FIN-WAIT-2 CLOSE-WAIT CLOSING LAST-ACK CLOSED
FIN-WAIT-2 is over: LISTEN SYN-SENT SYN-RECEIVED ESTABLISHED FIN-WAIT-1 CLOSE-WAIT CLOSING LAST-ACK TIME-WAIT CLOSED
retransmission: LISTEN FIN-WAIT-2 TIME-WAIT CLOSED
retransmission given up: LISTEN FIN-WAIT-2 TIME-WAIT CLOSED
keepalive: LISTEN SYN-SENT SYN-RECEIVED TIME-WAIT CLOSED
keepalive given up: LISTEN SYN-SENT SYN-RECEIVED FIN-WAIT-1 CLOSING LAST-ACK TIME-WAIT CLOSED
window probe: LISTEN SYN-SENT SYN-RECEIVED FIN-WAIT-2 TIME-WAIT CLOSED
window probe given up: LISTEN SYN-SENT SYN-RECEIVED FIN-WAIT-2 TIME-WAIT CLOSED
";

#[test]
fn only_these_events_have_no_row() {
    let mut holes = String::new();
    for event in Event::ALL {
        let missing: Vec<_> = State::ALL
            .into_iter()
            .filter(|state| !TABLE.iter().any(|row| row.on == event && row.from.has(*state)))
            .map(State::name)
            .collect();
        if !missing.is_empty() {
            writeln!(holes, "{}: {}", event.name(), missing.join(" ")).unwrap();
        }
    }
    assert_eq!(holes, WITHOUT_A_ROW);
}

#[test]
fn every_segment_is_decided_in_every_state() {
    // What is left when no condition holds: a row without conditions, and it is the last.
    for state in State::ALL {
        for event in Event::ALL {
            let cell: Vec<_> = TABLE.iter().filter(|row| row.on == event && row.from.has(state)).collect();
            for (at, row) in cell.iter().enumerate() {
                let last = at + 1 == cell.len();
                if row.when.is_empty() {
                    assert!(last, "{state}, {}: rows behind one that always holds", event.name());
                } else if matches!(event, Event::Segment(_)) {
                    assert!(!last, "{state}, {}: nothing if {:?} does not hold", event.name(), row.when);
                }
            }
        }
    }
}

#[test]
fn every_condition_decides_somewhere_and_every_row_says_who_says_so() {
    for condition in Condition::ALL {
        assert!(TABLE.iter().any(|row| row.when.contains(&condition)), "{condition:?}");
    }
    for row in &TABLE {
        assert!(!row.from.is_empty());
        assert!(row.source.text.contains("RFC") || row.source.text.contains("net/ipv4/"), "{row:?}");
    }
}

#[test]
fn the_rows_of_time_wait_are_all_there() {
    let numbers: Vec<_> = TABLE.iter().map(|row| row.source.number).collect();
    for number in 1..=20 {
        assert!(numbers.contains(&number.to_string().as_str()), "row {number}");
    }
    for number in 1..=8 {
        assert!(numbers.contains(&format!("F{number}").as_str()), "row F{number}");
    }
}

#[test]
fn who_does_not_know_a_fact_follows_both_ways() {
    let reset = Event::Segment(Kind::Rst);
    let after = |fact: fn(Condition) -> Option<bool>| {
        rows(State::TimeWait, reset, fact).map(|row| row.after(State::TimeWait)).collect::<StateSet>()
    };
    assert_eq!(after(|_| None), StateSet::of(&[State::TimeWait, State::Closed]));
    assert_eq!(after(|_| Some(false)), StateSet::of(&[State::Closed]));
    let protected = |condition| (condition == Condition::Rfc1337).then_some(true);
    assert_eq!(after(protected), StateSet::of(&[State::TimeWait]));
    assert!(TABLE.iter().all(|row| row.on != reset || row.reply != Reply::Abort));
}
