//! What TIME-WAIT and an orphan's FIN-WAIT-2 do with a segment, row by row, on the kernel and on the machine.

use crate::bench::with_bench;
use lab::differential::{Sequence, Settings};

const ESTABLISHED: &str = "listen\nSYN seq=next+0{ts}\nACK seq=next+0 ack=next+0{ts}\n";
const FIN_WAIT_2: &str = "close\nACK seq=next+0 ack=next+0{ts}\n";
const TIME_WAIT: &str = "FIN,ACK seq=next+0 ack=next+0{ts}\n";

/// Row, timestamps used, `tcp_rfc1337`, what stands behind the port, the segment.
type Case = (&'static str, bool, bool, &'static str, &'static str);

const A1: &[Case] = &[
    ("1", true, false, "", "SYN seq=next+1 ts=+1"),
    ("1", true, false, "", "SYN seq=next+1 ts=+0"),
    ("2", true, false, "", "SYN seq=next+0 ts=+1"),
    ("2", true, false, "", "SYN seq=next-1 ts=+1"),
    ("2", true, false, "", "SYN seq=next-100000 ts=+1"),
    ("3", true, false, "", "SYN seq=next+0 ts=+0"),
    ("3", true, false, "", "SYN seq=next-1 ts=+0"),
    ("4", true, false, "", "SYN seq=next+1 ts=-1"),
    ("4", true, false, "", "SYN seq=next-1 ts=-100000"),
    ("5", true, false, "", "SYN seq=next+1"),
    ("6", true, false, "", "SYN seq=next+0"),
    ("6", true, false, "", "SYN seq=next-1"),
    ("7", false, false, "", "SYN seq=next+1"),
    ("7", false, false, "", "SYN seq=next+1 ts=-5"),
    ("8", false, false, "", "SYN seq=next+0"),
    ("8", false, false, "", "SYN seq=next-1 ts=+5"),
    ("9", true, false, "unlisten", "SYN seq=next+1 ts=+1"),
    ("9", true, false, "unlisten", "SYN seq=next+0 ts=+1"),
    ("9", true, false, "unlisten", "SYN seq=next+1"),
    ("9", false, false, "unlisten", "SYN seq=next+1"),
    ("10", true, false, "fill", "SYN seq=next+1 ts=+1"),
    ("10", false, false, "fill", "SYN seq=next+1"),
    ("11", true, false, "", "SYN,ACK seq=next+0 ack=next+0 ts=+0"),
    ("11", false, false, "", "SYN,ACK seq=next+5 ack=next+0"),
    ("12", true, false, "", "ACK seq=next+0 ack=next+0 ts=+1"),
    ("12", true, false, "", "ACK seq=next+0 ack=next-7"),
    ("12", false, false, "", "ACK seq=next+0 ack=next+0"),
    ("12a", false, false, "", "none seq=next+0"),
    ("13", true, false, "", "ACK seq=next-1 ack=next+0 ts=+0"),
    ("13", false, false, "", "ACK seq=next+1 ack=next+0"),
    ("13a", false, false, "", "none seq=next+1"),
    ("14", true, false, "", "ACK seq=next+0 ack=next+0 ts=-1"),
    ("15", true, false, "", "FIN,ACK seq=next-1 ack=next+0 ts=+0"),
    ("15", true, false, "", "FIN,ACK seq=next-1 ack=next+0 ts=-1"),
    ("15", false, false, "", "FIN,ACK seq=next-1 ack=next+0"),
    ("15a", false, false, "", "FIN seq=next-1"),
    ("16", true, false, "", "FIN,ACK seq=next+0 ack=next+0 ts=+0"),
    ("16", false, false, "", "FIN,ACK seq=next+0 ack=next+0"),
    ("16", true, false, "", "PSH,ACK seq=next+0 ack=next+0 len=5 ts=+0"),
    ("16", false, false, "", "PSH,ACK seq=next-5 ack=next+0 len=5"),
    ("16a", false, false, "", "PSH seq=next+0 len=5"),
    ("17", true, false, "", "RST seq=next+0 ts=+0"),
    ("17", true, false, "", "RST seq=next+0"),
    ("17", false, false, "", "RST seq=next+0"),
    ("17", false, false, "", "RST,ACK seq=next+0 ack=next+0"),
    ("18", true, true, "", "RST seq=next+0 ts=+0"),
    ("18", false, true, "", "RST seq=next+0"),
    ("19", true, false, "", "RST seq=next+1 ts=+0"),
    ("19", true, false, "", "RST seq=next-1"),
    ("19", false, true, "", "RST seq=next-1"),
    ("20", true, false, "", "RST seq=next+0 ts=-1"),
];

/// FIN-WAIT-2 of an orphan.
const A2: &[Case] = &[
    ("F1", true, false, "", "SYN seq=next+0 ts=+0"),
    ("F1", false, false, "", "SYN seq=next+500"),
    ("F1", false, false, "", "SYN,ACK seq=next+0 ack=next+0"),
    ("F2", true, false, "", "SYN seq=next-1 ts=+0"),
    ("F2", true, false, "", "SYN seq=next+0 ts=-1"),
    ("F2", false, false, "", "SYN seq=edge+0"),
    ("F2", false, false, "", "SYN,ACK seq=edge+1 ack=next+0"),
    ("F3", true, false, "", "FIN,ACK seq=next+0 ack=next+0 ts=+0"),
    ("F3", false, false, "", "FIN,ACK seq=next+0 ack=next+0"),
    ("F4", true, false, "", "PSH,ACK seq=next+0 ack=next+0 len=5 ts=+0"),
    ("F4", false, false, "", "FIN,ACK seq=next+0 ack=next+0 len=5"),
    ("F5", true, false, "", "ACK seq=next-1 ack=next+0 ts=+0"),
    ("F5", false, false, "", "PSH,ACK seq=next-5 ack=next+0 len=5"),
    ("F5", true, false, "", "FIN,ACK seq=next+0 ack=next+0 ts=-1"),
    ("F5", true, false, "", "none seq=next-1"),
    ("F6", true, false, "", "ACK seq=next+0 ack=next+0 ts=+0"),
    ("F6", false, false, "", "ACK seq=next+9 ack=next+0"),
    ("F6", false, false, "", "none seq=next+0"),
    ("F6", false, false, "", "FIN seq=next+0"),
    ("F7", true, false, "", "RST seq=next+0 ts=+0"),
    ("F7", false, true, "", "RST seq=next+9"),
    ("F8", false, false, "", "RST seq=next-1"),
    ("F8", true, false, "", "RST seq=next+0 ts=-1"),
];

fn sequence(case: &Case, half: bool, ratelimit: bool) -> Sequence {
    let (_, ts, rfc1337, behind, segment) = *case;
    let mut text = format!("{ESTABLISHED}{FIN_WAIT_2}{}", if half { "" } else { TIME_WAIT });
    text = text.replace("{ts}", if ts { " ts=+0" } else { "" });
    // Time must pass before a restarted timer differs from one that runs on. Then twice: the second one meets what
    // the first one left behind, and the limit on answers.
    let text = format!("{text}{behind}\nwait 40\n{segment}\nwait 40\n{segment}\n");
    let mut sequence: Sequence = text.parse().expect("a sequence");
    sequence.settings = Settings { rfc1337, ratelimit, ..Settings::default() };
    sequence.isn = u32::MAX - 1;
    sequence.clock = 70_000;
    sequence
}

#[test]
fn every_row_of_time_wait_and_fin_wait_2() {
    with_bench("rows::every_row_of_time_wait_and_fin_wait_2", |mut bench| {
        let mut named = Vec::new();
        for ratelimit in [false, true] {
            named.extend(A1.iter().map(|case| (case, sequence(case, false, ratelimit))));
            named.extend(A2.iter().map(|case| (case, sequence(case, true, ratelimit))));
        }
        let sequences: Vec<Sequence> = named.iter().map(|(_, sequence)| sequence.clone()).collect();
        let outcomes = bench.run(&sequences).expect("the kernel answers");
        let mut wrong = 0;
        for ((case, sequence), outcome) in named.iter().zip(outcomes) {
            let (number, .., segment) = case;
            if let Some(difference) = outcome.difference {
                wrong += 1;
                println!("row {number}, {segment}, {:?}: {difference}", sequence.settings);
            } else {
                let rows: Vec<&str> = outcome.rows.iter().flatten().map(|row| row.source.number).collect();
                assert!(
                    rows[rows.len() - 2..].contains(number),
                    "{segment} is of {rows:?}, not of row {number}"
                );
            }
        }
        assert_eq!(wrong, 0, "of {} cases", named.len());
    });
}
