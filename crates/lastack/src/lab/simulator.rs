//! Variants in virtual time.

use super::answer::Ran;
use std::collections::BTreeMap;
use world::scenario::{Variant, World};
use world::verdict::Outcome;

/// More connections than these are not followed packet by packet: that takes longer than their kernel does.
const MOST_WATCHED: u32 = 2_500;
/// The same for the bytes of a request.
const MOST_BYTES: u32 = 1_000_000;

/// Runs a variant, and judges each simulated host by the rules for real ones. Where packets are not shown, a rule that
/// reads them and is silent is not decided; nor is anything at a host whose kernel the rules do not know.
pub(super) fn run(variant: &Variant) -> Ran {
    let world = &variant.world;
    let unwatched = unwatched(world);
    let run = if unwatched.is_none() { world::simulate_watched(world) } else { world::simulate(world) };
    let mut outcome = Outcome { measures: run.measures, probes: run.probes, ..Outcome::default() };
    for host in &world.hosts {
        let case = run.cases.get(&host.name);
        let diagnosis = case.map(diagnose::diagnose).unwrap_or_default();
        let mut undecided = BTreeMap::new();
        for rule in diagnose::rules() {
            let unknown = diagnosis.unknown.iter().find(|one| one.rule == rule.name());
            let because = match (case, unwatched, unknown) {
                (None, ..) => Some("the rules do not know this kernel".to_owned()),
                (_, Some(why), _) if rule.reads_packets() => Some(format!("it reads packets, and {why}")),
                (.., Some(unknown)) => Some(unknown.because.clone()),
                _ => None,
            };
            undecided.extend(because.map(|because| (rule.name().to_owned(), because)));
        }
        outcome.undecided.insert(host.name.clone(), undecided);
        for finding in &diagnosis.findings {
            let here = case.is_none_or(|case| finding.concerns(case));
            let fired = if here { &mut outcome.findings } else { &mut outcome.of_peers };
            fired.entry(host.name.clone()).or_default().insert(finding.rule.to_owned());
        }
    }
    outcome.counters = world::counters().map(str::to_owned).collect();
    Ran::Done { outcome, notes: Vec::new() }
}

/// Why it is not followed packet by packet, if it is not.
fn unwatched(world: &World) -> Option<&'static str> {
    let large = |connections, bytes| connections > MOST_WATCHED || bytes > MOST_BYTES;
    if !world.probes.is_empty() {
        Some("probes send none in virtual time")
    } else if world.clients.iter().any(|client| large(client.connections, client.request_bytes)) {
        Some("so many are not followed in virtual time")
    } else {
        None
    }
}
