//! Variants in virtual time.

use super::answer::Ran;
use std::collections::BTreeSet;
use world::scenario::{Variant, World};
use world::verdict::{Findings, Outcome};

/// More connections than these are not followed packet by packet: that takes longer than their kernel does.
const MOST_WATCHED: u32 = 2_500;
/// The same for the bytes of a request.
const MOST_BYTES: u32 = 1_000_000;

/// Runs a variant, and judges each simulated host by the rules for real ones. Where packets are not shown, a rule that
/// reads them and is silent is not decided; nor is anything at a host whose kernel the rules do not know.
pub(super) fn run(variant: &Variant) -> Ran {
    let watched = is_watched(&variant.world);
    let run = if watched { world::simulate_watched(&variant.world) } else { world::simulate(&variant.world) };
    let (mut findings, mut undecided) = (Findings::new(), Findings::new());
    for host in &variant.world.hosts {
        let diagnosis = run.cases.get(&host.name).map(diagnose::diagnose);
        let own = run.addresses.get(&host.name).map_or(&[][..], Vec::as_slice);
        let fired: BTreeSet<String> = diagnosis
            .iter()
            .flat_map(|diagnosis| &diagnosis.findings)
            .filter(|finding| finding.concerns(own))
            .map(|finding| finding.rule.to_owned())
            .collect();
        let undecidable = diagnose::rules().iter().filter(|rule| {
            let unknown = diagnosis.iter().flat_map(|diagnosis| &diagnosis.unknown);
            diagnosis.is_none()
                || (rule.reads_packets() && !watched)
                || unknown.into_iter().any(|one| one.rule == rule.name())
        });
        undecided.insert(host.name.clone(), undecidable.map(|rule| rule.name().to_owned()).collect());
        findings.insert(host.name.clone(), fired);
    }
    findings.retain(|_, fired| !fired.is_empty());
    let counters = world::counters().map(str::to_owned).collect();
    let outcome = Outcome { findings, undecided, measures: run.measures, probes: run.probes, counters };
    Ran::Done { outcome, notes: Vec::new() }
}

/// Probes send no packets in virtual time: each meets an endpoint of its own.
fn is_watched(world: &World) -> bool {
    let large = |connections, bytes| connections > MOST_WATCHED || bytes > MOST_BYTES;
    world.probes.is_empty()
        && !world.clients.iter().any(|client| large(client.connections, client.request_bytes))
}
