//! Variants in virtual time.

use super::answer::Ran;
use std::collections::BTreeSet;
use world::scenario::Variant;
use world::verdict::{Findings, Outcome};

/// Runs a variant. A simulated host shows no packets and no process, so rules that need those stay undecided.
pub(super) fn run(variant: &Variant) -> Ran {
    let run = world::simulate(&variant.world);
    let all: BTreeSet<String> = diagnose::rules().iter().map(|rule| rule.name().to_owned()).collect();
    let undecided = variant.world.hosts.iter().map(|host| (host.name.clone(), all.clone())).collect();
    let outcome = Outcome { findings: Findings::new(), undecided, measures: run.measures };
    Ran::Done { outcome, notes: Vec::new() }
}
