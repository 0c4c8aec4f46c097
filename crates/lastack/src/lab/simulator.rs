//! Variants in virtual time.

use super::answer::Ran;
use std::collections::BTreeSet;
use world::scenario::Variant;
use world::verdict::Outcome;

/// Runs a variant, and judges what each simulated host shows with the same rules as a real one.
pub(super) fn run(variant: &Variant) -> Ran {
    let run = world::simulate(&variant.world);
    let cases = std::collections::BTreeMap::<String, evidence::Case>::new();
    let findings = cases.iter().map(|(host, case)| {
        let fired: BTreeSet<String> =
            diagnose::diagnose(case).findings.iter().map(|finding| finding.rule.to_owned()).collect();
        (host.clone(), fired)
    });
    let findings = findings.filter(|(_, fired)| !fired.is_empty()).collect();
    Ran::Done { outcome: Outcome { findings, measures: run.measures }, notes: Vec::new() }
}
