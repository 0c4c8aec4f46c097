//! Sequences by chance, the same for the same seed: a way into some state, then segments and calls around the
//! boundaries that decide.

use super::step::{AckFrom, Probe, SeqFrom, Sequence, Settings, Step};
use tcp::Flags;

/// A stream of numbers (SplitMix64: a counter, mixed).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `limit`.
    fn below(&mut self, limit: u32) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "less than a u32")]
        {
            (self.next() % u64::from(limit)) as u32
        }
    }

    fn percent(&mut self, chance: u32) -> bool {
        self.below(100) < chance
    }

    /// One of these, each as likely as its weight says.
    fn weighted<T: Copy>(&mut self, choices: &[(u32, T)]) -> T {
        let total = choices.iter().map(|(weight, _)| weight).sum();
        let mut at = self.below(total);
        for (weight, choice) in choices {
            if at < *weight {
                return *choice;
            }
            at -= weight;
        }
        choices[0].1
    }
}

const SYN: u8 = 2;
const ACK: u8 = 16;
const FIN: u8 = 1;
const RST: u8 = 4;
const PSH: u8 = 8;

/// The sequence of a seed.
pub fn random(seed: u64) -> Sequence {
    let mut dice = Dice(seed);
    // Neighbouring seeds begin far apart.
    dice.0 = dice.next();
    let settings = Settings {
        rfc1337: dice.percent(30),
        ratelimit: dice.percent(30),
        abort_on_overflow: dice.percent(20),
        table_full: dice.percent(10),
        timers: false,
        ipv6: false,
        scaling: dice.percent(30),
    };
    let timestamps = dice.percent(60);
    let isn = dice.weighted(&[(3, 0), (1, u32::MAX - 5), (1, (1 << 31) - 5)]);
    let isn = if isn == 0 { dice.below(u32::MAX) } else { isn };
    let clock = 1 + dice.below(u32::MAX - 1);
    let mut steps = opening(&mut dice, timestamps);
    let longest = dice.weighted(&[(2, 4), (3, 8), (1, 14)]);
    for _ in 0..=dice.below(longest) {
        steps.push(step(&mut dice, timestamps));
    }
    // A peer offers it or not, whether the kernel does or not.
    let offers = dice.percent(if settings.scaling { 70 } else { 15 });
    for step in &mut steps {
        if let Step::Segment(probe) = step
            && probe.flags.has(Flags::SYN)
            && offers != dice.percent(10)
        {
            probe.scale = Some(dice.weighted(&[(6, 7), (2, 0), (2, 1), (1, 14), (1, 15)]));
        }
    }
    Sequence { settings, isn, clock, steps }
}

/// The sequence of a seed, with what [`random`] leaves out: windows that close and shrink, IPv6, TCP_LINGER2,
/// connect() onto TIME-WAIT.
pub fn random_beyond(seed: u64) -> Sequence {
    let mut sequence = random(seed);
    let mut dice = Dice(!seed);
    dice.0 = dice.next();
    sequence.settings.ipv6 = dice.percent(35);
    let narrow = dice.percent(70);
    let mut steps = Vec::with_capacity(sequence.steps.len() + 4);
    let mut segments = 0;
    for step in sequence.steps {
        segments += u32::from(matches!(step, Step::Segment(_)));
        // A peer whose first windows are small is another matter (docs/exceptions.md).
        let open = segments > 2;
        if dice.percent(4) {
            steps.push(Step::NoLinger2);
        }
        if narrow && dice.percent(8) {
            steps.push(Step::Send(dice.weighted(&[(2, 5), (2, 100), (2, 1_460), (1, 4_000)])));
        }
        steps.push(match step {
            Step::Segment(probe) if narrow && open && !probe.flags.has(Flags::SYN) && dice.percent(60) => {
                Step::Segment(Probe { window: Some(window(&mut dice)), ..probe })
            }
            other => other,
        });
        if dice.percent(3) {
            steps.push(Step::Unlisten);
            steps.push(Step::Connect);
        }
    }
    sequence.steps = steps;
    sequence
}

/// A connection whose peer closes its window, and what waits for it: timers come, the window is opened a bit or stays
/// closed, the peer closes.
pub fn random_closed_window(seed: u64) -> Sequence {
    let mut dice = Dice(seed ^ 0x5eed);
    dice.0 = dice.next();
    let settings = Settings {
        timers: true,
        table_full: dice.percent(5),
        scaling: dice.percent(30),
        ..Settings::default()
    };
    let ts = dice.percent(50);
    let scale = dice.percent(60).then(|| dice.weighted(&[(3, 7), (1, 1), (1, 0)]));
    let active = dice.percent(35);
    let syn = if active { probe(SYN | ACK, 0, ts) } else { probe(SYN, 0, ts) };
    let syn = with(syn, |probe| probe.scale = scale);
    let open = probe(ACK, 0, ts);
    let closed = with(open, |probe| probe.window = Some(0));
    let mut steps = if active { vec![Step::Connect, syn] } else { vec![Step::Listen, syn, open] };
    // Something was acknowledged, or nothing was ever sent.
    if dice.percent(50) {
        steps.extend([Step::Send(10), open]);
    }
    match dice.below(4) {
        // What is in flight is acknowledged while the window closes, or is not.
        0 => steps.extend([Step::Send(dice.weighted(&[(1, 10), (1, 1_000)])), closed]),
        1 => {
            steps.push(Step::Send(100));
            steps.push(with(closed, |probe| probe.ack = dice.weighted(&[(1, -100), (1, -40)])));
        }
        _ => steps.push(closed),
    }
    if dice.percent(25) {
        steps.push(with(probe(FIN | ACK, 0, ts), |probe| probe.window = Some(0)));
    }
    if dice.percent(60) {
        steps.push(Step::Send(dice.weighted(&[(2, 1), (2, 100), (2, 1_460), (1, 4_000)])));
    }
    steps.push(dice.weighted(&[(5, Step::Close), (3, Step::Shutdown), (2, Step::Send(20))]));
    // Side by side all wait at the same steps.
    steps.splice(0..0, std::iter::repeat_n(Step::Wait(0), 8_usize.saturating_sub(steps.len())));
    for at in 0..3 + dice.below(8) {
        let next = match dice.below(75) {
            _ if matches!(at, 1 | 4 | 7 | 8) => Step::Timer,
            0..53 => with(open, |probe| {
                probe.flags = Flags::from_bits(dice.weighted(&[(8, ACK), (1, FIN | ACK), (1, PSH | ACK)]));
                probe.length = u16::from(probe.flags.has(Flags::PSH)) * 5;
                let some = window(&mut dice);
                probe.window = dice.weighted(&[(6, Some(0)), (5, Some(some)), (1, None)]);
                (probe.ack_from, probe.ack) = dice.weighted(&[
                    (8, (AckFrom::Next, 0)),
                    (2, (AckFrom::Unacknowledged, 0)),
                    (1, (AckFrom::Unacknowledged, 1)),
                    (1, (AckFrom::Next, -1)),
                ]);
            }),
            53..63 => Step::Segment(segment(&mut dice, ts)),
            63..67 => Step::Send(dice.weighted(&[(1, 1), (1, 100), (1, 2_000)])),
            67..70 => Step::Shutdown,
            70..73 => Step::Close,
            _ => dice.weighted(&[(1, Step::Abort), (1, Step::CloseUnread)]),
        };
        steps.push(next);
    }
    Sequence { settings, isn: dice.below(u32::MAX), clock: 1 + dice.below(u32::MAX - 1), steps }
}

/// A segment with something changed.
fn with(step: Step, change: impl FnOnce(&mut Probe)) -> Step {
    let Step::Segment(mut probe) = step else { return step };
    change(&mut probe);
    Step::Segment(probe)
}

fn window(dice: &mut Dice) -> u16 {
    dice.weighted(&[
        (4, 0),
        (2, 1),
        (2, 5),
        (2, 6),
        (2, 100),
        (2, 101),
        (2, 1_000),
        (2, 1_460),
        (1, 1_461),
        (1, u16::MAX),
    ])
}

fn probe(flags: u8, ack: i32, timestamps: bool) -> Step {
    Step::Segment(Probe {
        flags: Flags::from_bits(flags),
        seq_from: SeqFrom::Next,
        seq: 0,
        ack_from: AckFrom::Next,
        ack,
        length: 0,
        ts: timestamps.then_some(0),
        window: None,
        scale: None,
    })
}

/// The way into a state, chosen evenly.
fn opening(dice: &mut Dice, ts: bool) -> Vec<Step> {
    let (ack, fin) = (probe(ACK, 0, ts), probe(FIN | ACK, 0, ts));
    let active = dice.percent(35);
    let mut steps = if active { vec![Step::Connect] } else { vec![Step::Listen, probe(SYN, 0, ts)] };
    let way = dice.below(13);
    match way {
        // CLOSED or LISTEN.
        0 => {
            steps.truncate(usize::from(!active && dice.percent(70)));
            if active {
                steps.clear();
            }
            return steps;
        }
        // SYN-SENT or SYN-RECEIVED.
        1 => {
            if dice.percent(15) {
                steps.push(Step::Fill);
            }
            return steps;
        }
        // Crossed SYNs.
        2 => {
            if active {
                steps.push(probe(SYN, 0, ts));
            }
            return steps;
        }
        _ => {}
    }
    steps.push(if active { probe(SYN | ACK, 0, ts) } else { ack });
    if active {
        if dice.percent(40) {
            steps.push(Step::Listen);
        }
    } else {
        match dice.below(10) {
            0..3 => steps.push(Step::Unlisten),
            3 => steps.push(Step::Fill),
            _ => {}
        }
    }
    if dice.percent(20) {
        steps.extend([Step::Send(10), ack]);
    }
    let stop = dice.weighted(&[(3, Step::Close), (2, Step::Shutdown)]);
    match way {
        // FIN-WAIT-1.
        4 => steps.push(stop),
        // FIN-WAIT-2.
        5 => steps.extend([Step::Shutdown, ack]),
        6 => steps.extend([Step::Close, ack]),
        // CLOSING.
        7 => steps.extend([stop, probe(FIN | ACK, -1, ts)]),
        // TIME-WAIT.
        8 | 9 => steps.extend([stop, ack, fin]),
        10 => steps.extend([stop, probe(FIN | ACK, -1, ts), ack]),
        // CLOSE-WAIT.
        11 => steps.push(fin),
        // LAST-ACK.
        12 => steps.extend([fin, stop]),
        _ => {}
    }
    steps
}

fn step(dice: &mut Dice, timestamps: bool) -> Step {
    let kind = dice.below(100);
    match kind {
        0..80 => Step::Segment(segment(dice, timestamps)),
        80..84 => Step::Shutdown,
        84..88 => Step::Close,
        88..90 => Step::CloseUnread,
        90..92 => Step::Abort,
        92..97 => Step::Send(dice.weighted(&[(2, 1), (2, 100), (1, 1_000)])),
        97 => Step::Listen,
        98 => dice.weighted(&[(2, Step::Unlisten), (1, Step::Fill)]),
        _ => dice.weighted(&[(2, Step::Connect), (1, Step::Kill)]),
    }
}

fn segment(dice: &mut Dice, timestamps: bool) -> Probe {
    let flags = dice.weighted(&[
        (26, ACK),
        (16, FIN | ACK),
        (12, SYN),
        (10, RST),
        (4, RST | ACK),
        (6, SYN | ACK),
        (16, PSH | ACK),
        (1, 0),
        (1, FIN),
        (1, PSH),
        (1, SYN | FIN),
        (1, SYN | RST),
        (1, FIN | SYN | ACK),
    ]);
    let carries = flags & PSH != 0 || flags & FIN != 0 && dice.percent(20) || dice.percent(2);
    let length = if carries { dice.weighted(&[(2, 1), (2, 5), (1, 100), (1, 1_000)]) } else { 0 };
    let far = dice.weighted(&[(1, 1 << 30), (1, -(1 << 30)), (1, i32::MAX), (1, i32::MIN)]);
    let (seq_from, seq) = dice.weighted(&[
        (56, (SeqFrom::Next, 0)),
        (8, (SeqFrom::Next, -1)),
        (6, (SeqFrom::Next, 1)),
        (4, (SeqFrom::Next, -i32::from(length))),
        (3, (SeqFrom::Next, -2)),
        (4, (SeqFrom::Next, -100)),
        (4, (SeqFrom::Next, 100)),
        (2, (SeqFrom::Edge, 0)),
        (2, (SeqFrom::Edge, -1)),
        (2, (SeqFrom::Edge, 1)),
        (3, (SeqFrom::Initial, 0)),
        (1, (SeqFrom::Initial, 1)),
        (3, (SeqFrom::Next, 100_000)),
        (3, (SeqFrom::Next, -100_000)),
        (1, (SeqFrom::Next, far)),
    ]);
    let (ack_from, ack) = dice.weighted(&[
        (60, (AckFrom::Next, 0)),
        (6, (AckFrom::Next, -1)),
        (6, (AckFrom::Next, 1)),
        (8, (AckFrom::Unacknowledged, 0)),
        (4, (AckFrom::Unacknowledged, -1)),
        (2, (AckFrom::Unacknowledged, 1)),
        (2, (AckFrom::Initial, 0)),
        (2, (AckFrom::Initial, 1)),
        (3, (AckFrom::Next, 100_000)),
        (3, (AckFrom::Next, -100_000)),
        (1, (AckFrom::Next, far)),
    ]);
    let (ack_from, ack) = if flags & ACK == 0 { (AckFrom::Next, 0) } else { (ack_from, ack) };
    // A peer that changes its mind about timestamps is rare, and matters.
    let ts = (timestamps != dice.percent(6)).then(|| {
        dice.weighted(&[
            (50, 0),
            (15, 1),
            (8, -1),
            (6, -2),
            (4, 1_000),
            (4, -1_000),
            (2, 100_000),
            (3, -100_000),
            (1, i32::MIN),
        ])
    });
    Probe {
        flags: Flags::from_bits(flags),
        seq_from,
        seq,
        ack_from,
        ack,
        length,
        ts,
        window: None,
        scale: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_its_sequence_again_and_its_text_is_that_sequence() {
        for seed in 0..2_000 {
            let sequence = random(seed);
            assert_eq!(random(seed), sequence);
            assert_eq!(sequence.to_string().parse(), Ok(sequence));
            let beyond = random_beyond(seed);
            assert_eq!(random_beyond(seed), beyond);
            assert_eq!(beyond.to_string().parse(), Ok(beyond));
            let closed = random_closed_window(seed);
            assert_eq!(random_closed_window(seed), closed);
            assert_eq!(closed.to_string().parse(), Ok(closed));
        }
    }
}
