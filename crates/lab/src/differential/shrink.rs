//! Makes a failing sequence shorter and plainer, as long as it fails.

use super::bench::Bench;
use super::step::{Sequence, Step};
use std::io;

/// How often a sequence is tried again with something left out.
const ROUNDS: usize = 8;

/// The shortest sequence found that still shows a difference.
pub fn shrink(bench: &mut Bench, sequence: &Sequence) -> io::Result<Sequence> {
    let mut best = sequence.clone();
    for _ in 0..ROUNDS {
        let mut tries = without_some(&best);
        tries.extend(plainer(&best));
        let outcomes = bench.run(&tries)?;
        // The first that fails is the shortest.
        let Some(at) = outcomes.iter().position(|outcome| outcome.difference.is_some()) else { break };
        best = tries.swap_remove(at);
        if let Some(difference) = &outcomes[at].difference {
            best.steps.truncate(difference.step + 1);
        }
    }
    Ok(best)
}

/// With a run of steps left out, longest runs first.
fn without_some(sequence: &Sequence) -> Vec<Sequence> {
    let count = sequence.steps.len();
    let mut tries = Vec::new();
    for length in (1..count).rev() {
        for start in 0..=count - length {
            let mut shorter = sequence.clone();
            shorter.steps.drain(start..start + length);
            tries.push(shorter);
        }
    }
    tries
}

/// With a number at its plainest.
fn plainer(sequence: &Sequence) -> Vec<Sequence> {
    let mut tries = Vec::new();
    for (at, step) in sequence.steps.iter().enumerate() {
        let Step::Segment(probe) = step else { continue };
        let mut plain = Vec::new();
        if probe.length > 1 {
            plain.push(super::Probe { length: 1, ..*probe });
        }
        if probe.window.is_some() {
            plain.push(super::Probe { window: None, ..*probe });
        }
        if probe.scale.is_some() {
            plain.push(super::Probe { scale: None, ..*probe });
        }
        if probe.ts.is_some() {
            plain.push(super::Probe { ts: None, ..*probe });
        }
        if probe.ts.is_some_and(|ts| ts != 0) {
            plain.push(super::Probe { ts: Some(0), ..*probe });
        }
        if probe.seq != 0 {
            plain.push(super::Probe { seq: 0, seq_from: super::SeqFrom::Next, ..*probe });
        }
        if probe.ack != 0 {
            plain.push(super::Probe { ack: 0, ack_from: super::AckFrom::Next, ..*probe });
        }
        for probe in plain {
            let mut plainer = sequence.clone();
            plainer.steps[at] = Step::Segment(probe);
            tries.push(plainer);
        }
    }
    let mut settings = sequence.clone();
    settings.settings = super::Settings::default();
    if settings != *sequence {
        tries.push(settings);
    }
    tries
}
