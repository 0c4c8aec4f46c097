//! Variants in virtual time.

use super::answer::Ran;
use std::collections::BTreeSet;
use world::scenario::Variant;
use world::verdict::{Findings, Outcome};

/// Runs a variant, and judges each simulated host by the rules for real ones. Packets are not shown, so a rule that
/// reads them and is silent is not decided; nor is anything at a host whose kernel the rules do not know.
pub(super) fn run(variant: &Variant) -> Ran {
    let run = world::simulate(&variant.world);
    let (mut findings, mut undecided) = (Findings::new(), Findings::new());
    for host in &variant.world.hosts {
        let diagnosis = run.cases.get(&host.name).map(diagnose::diagnose);
        let fired: BTreeSet<String> = diagnosis
            .iter()
            .flat_map(|diagnosis| &diagnosis.findings)
            .map(|finding| finding.rule.to_owned())
            .collect();
        let undecidable = diagnose::rules().iter().filter(|rule| {
            let unknown = diagnosis.iter().flat_map(|diagnosis| &diagnosis.unknown);
            diagnosis.is_none()
                || rule.reads_packets()
                || unknown.into_iter().any(|one| one.rule == rule.name())
        });
        undecided.insert(host.name.clone(), undecidable.map(|rule| rule.name().to_owned()).collect());
        findings.insert(host.name.clone(), fired);
    }
    findings.retain(|_, fired| !fired.is_empty());
    Ran::Done { outcome: Outcome { findings, undecided, measures: run.measures }, notes: Vec::new() }
}
