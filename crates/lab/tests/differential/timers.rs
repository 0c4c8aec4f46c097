//! Timers that are short: what is sent again and when, and how long an orphan's FIN-WAIT-2 lasts.

use crate::bench::with_bench;
use lab::differential::{Sequence, Settings, Step};

/// What it is about, the way there, and how it goes on: waits in milliseconds, far from where a timer ends.
type Case = (&'static str, &'static [&'static str], [u16; 2]);

const OPEN: [&str; 3] = ["listen", "SYN seq=next+0", "ACK seq=next+0 ack=next+0"];

const CLOSED_WINDOW: [&str; 5] = [OPEN[0], OPEN[1], OPEN[2], "ACK seq=next+0 ack=next+0 win=0", "send 10"];

const CASES: &[Case] = &[
    ("SYN: after 1 s, then each second", &["connect"], [1_400, 2_200]),
    ("SYN,ACK: after 1 s, then 2 s", &["listen", "SYN seq=next+0"], [1_400, 2_200]),
    ("SYN,ACK of crossed SYNs", &["connect", "SYN seq=next+0"], [1_400, 2_200]),
    ("FIN-WAIT-2 ends", &[OPEN[0], OPEN[1], OPEN[2], "close", "ACK seq=next+0 ack=next+0"], [600, 900]),
    (
        "FIN-WAIT-2 with an owner does not",
        &[OPEN[0], OPEN[1], OPEN[2], "shutdown", "ACK seq=next+0 ack=next+0"],
        [1_400, 2_200],
    ),
    ("data: after 200 ms, then 400 ms", &[OPEN[0], OPEN[1], OPEN[2], "send 10"], [300, 450]),
    ("FIN-WAIT-1", &[OPEN[0], OPEN[1], OPEN[2], "close"], [300, 450]),
    (
        "FIN with data",
        &[OPEN[0], OPEN[1], OPEN[2], "send 10", "ACK seq=next+0 ack=next+0", "shutdown"],
        [300, 450],
    ),
    ("CLOSING", &[OPEN[0], OPEN[1], OPEN[2], "close", "FIN,ACK seq=next+0 ack=next-1"], [300, 450]),
    ("LAST-ACK", &[OPEN[0], OPEN[1], OPEN[2], "FIN,ACK seq=next+0 ack=next+0", "close"], [300, 450]),
    ("SYN: given up after 3 s", &["connect"], [2_600, 1_000]),
    ("crossed SYNs: the same", &["connect", "SYN seq=next+0"], [2_600, 1_000]),
    ("data: given up after 1.5 s, sent again twice", &[OPEN[0], OPEN[1], OPEN[2], "send 10"], [1_000, 1_000]),
    ("an orphan's FIN: the same", &[OPEN[0], OPEN[1], OPEN[2], "close"], [1_000, 1_000]),
    ("a FIN with an owner: the same", &[OPEN[0], OPEN[1], OPEN[2], "shutdown"], [1_000, 1_000]),
    (
        "in CLOSING: the same",
        &[OPEN[0], OPEN[1], OPEN[2], "close", "FIN,ACK seq=next+0 ack=next-1"],
        [1_000, 1_000],
    ),
    (
        "in LAST-ACK: the same",
        &[OPEN[0], OPEN[1], OPEN[2], "FIN,ACK seq=next+0 ack=next+0", "close"],
        [1_000, 1_000],
    ),
    (
        "what was acknowledged begins anew",
        &[OPEN[0], OPEN[1], OPEN[2], "send 10", "ACK seq=next+0 ack=next+0", "close"],
        [1_000, 1_000],
    ),
    ("ESTABLISHED: probed twice, then reset", &[OPEN[0], OPEN[1], OPEN[2], "keepalive"], [1_500, 2_000]),
    (
        "CLOSE-WAIT: the same",
        &[OPEN[0], OPEN[1], OPEN[2], "FIN,ACK seq=next+0 ack=next+0", "keepalive"],
        [1_500, 2_000],
    ),
    (
        "FIN-WAIT-2 with an owner: the same",
        &[OPEN[0], OPEN[1], OPEN[2], "shutdown", "ACK seq=next+0 ack=next+0", "keepalive"],
        [1_500, 2_000],
    ),
    (
        "FIN-WAIT-1: what is in flight puts it off",
        &[OPEN[0], OPEN[1], OPEN[2], "keepalive", "shutdown"],
        [1_200, 1_000],
    ),
    ("data in flight: the same", &[OPEN[0], OPEN[1], OPEN[2], "keepalive", "send 10"], [1_200, 1_000]),
    ("a closed window: probed after 200 ms, then 400 ms", &CLOSED_WINDOW, [300, 200]),
    ("not asked any more after 600 ms", &CLOSED_WINDOW, [300, 600]),
    (
        "an orphan's FIN behind it: the same",
        &[OPEN[0], OPEN[1], OPEN[2], "ACK seq=next+0 ack=next+0 win=0", "close"],
        [300, 600],
    ),
    (
        "a window taken back: what is in flight goes again, and is not given up",
        &[OPEN[0], OPEN[1], OPEN[2], "send 100", "ACK seq=next+0 ack=next-40 win=0"],
        [1_000, 1_000],
    ),
    ("a SYN that met a bad ACK: 2 ticks", &["connect", "ACK seq=next+0 ack=una+0"], [60, 300]),
];

#[test]
fn what_is_sent_again_and_when() {
    with_bench("timers::what_is_sent_again_and_when", |mut bench| {
        let mut sequences: Vec<(&str, Sequence)> = Vec::new();
        for (about, way, waits) in CASES {
            let text = way.join("\n");
            let mut sequence: Sequence = text.parse().expect("steps");
            sequence.settings = Settings { timers: true, ..Settings::default() };
            // Side by side all wait at the same step.
            sequence.steps.splice(0..0, std::iter::repeat_n(Step::Wait(0), 6 - way.len()));
            sequence.steps.extend(waits.map(Step::Wait));
            sequences.push((about, sequence));
        }
        let mut wrong = 0;
        let by_wait =
            |(_, one): &(&str, Sequence), (_, other): &(&str, Sequence)| one.steps[6..] == other.steps[6..];
        sequences.sort_by_key(|(_, sequence)| format!("{:?}", &sequence.steps[6..]));
        for group in sequences.chunk_by(by_wait) {
            let together: Vec<Sequence> = group.iter().map(|(_, sequence)| sequence.clone()).collect();
            for ((about, _), outcome) in group.iter().zip(bench.run(&together).expect("the kernel answers")) {
                if let Some(difference) = outcome.difference {
                    wrong += 1;
                    println!("{about}: {difference}");
                }
            }
        }
        assert_eq!(wrong, 0, "of {} timers", CASES.len());
    });
}
