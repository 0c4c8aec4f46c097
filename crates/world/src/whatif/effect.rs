//! The effect of a change in a few words, for who is about to make it.

use super::{Numbers, Remedy, Worlds, carry_out, play};
use crate::cure::Cure;
use crate::fit::{Assumption, Knowledge, Range, Unfit, fit};
use evidence::Case;

/// What changes would do.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect {
    /// The load as it is.
    pub before: Numbers,
    /// The load with all changes made.
    pub after: Numbers,
    /// Changes that could not be simulated, and why; they are not in `after`.
    pub left_out: Vec<(String, String)>,
    /// What was taken for granted.
    pub assumptions: Vec<Assumption>,
}

/// Fits a model to a case, and plays it as it is and with changes made, one after the other, at the host of the case.
///
/// # Errors
///
/// If the case shows no load.
pub fn effect(case: &Case, knowledge: &Knowledge, changes: &[Cure]) -> Result<Effect, Unfit> {
    let fit = fit(case, knowledge)?;
    let mut worlds = Worlds::from(&fit);
    let played = |worlds: &Worlds| {
        let numbers = worlds.worlds.iter().map(|world| play(world, &worlds.here).numbers);
        numbers.reduce(|all, one| all.with(&one)).unwrap_or_default()
    };
    let before = played(&worlds);
    let mut left_out = Vec::new();
    for change in changes {
        let remedy = Remedy::named(change.clone());
        if let Err(why) = carry_out(&mut worlds, &remedy) {
            left_out.push((remedy.name, why));
        }
    }
    let after = if left_out.len() == changes.len() { before } else { played(&worlds) };
    Ok(Effect { before, after, left_out, assumptions: fit.assumptions })
}

impl Effect {
    /// What becomes different, a clause for each number: `failed connects a second: 190 to 210 -> 0`.
    pub fn differences(&self) -> Vec<String> {
        let (before, after) = (&self.before, &self.after);
        let mut said = Vec::new();
        let mut say = |what: &str, before: Range, after: Range, scale: f64| {
            let (before, after) = (before.times(scale), after.times(scale));
            if text(before) != text(after) {
                said.push(format!("{what}: {} -> {}", text(before), text(after)));
            }
        };
        say("failed connects a second", before.failed_per_second, after.failed_per_second, 1.0);
        if let (Some(before), Some(after)) = (before.ports_left, after.ports_left) {
            say("local ports left", before, after, 1.0);
        }
        say("TIME-WAIT here", before.time_wait, after.time_wait, 1.0);
        say("TIME-WAIT at the peers", before.time_wait_at_peers, after.time_wait_at_peers, 1.0);
        say("TIME-WAIT that does not fit its table", before.overflows, after.overflows, 1.0);
        say("resets", before.resets, after.resets, 1.0);
        say("connect p99, us", before.connect_p99_us, after.connect_p99_us, 1.0);
        said
    }
}

/// `120`, or `100 to 120`.
fn text(range: Range) -> String {
    let number = |value: f64| {
        if value.abs() < 10.0 { format!("{value:.1}").replace(".0", "") } else { format!("{value:.0}") }
    };
    let (low, high) = (number(range.low), number(range.high));
    if low == high { low } else { format!("{low} to {high}") }
}
