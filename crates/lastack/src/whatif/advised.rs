//! The remedies that rules advise, in the order in which they do.

use super::source::{Of, Source};
use diagnose::{Change, Diagnosis, Finding};
use std::collections::BTreeSet;
use world::cure::Cure;
use world::fit::Fit;
use world::whatif::{Only, Remedy, only_to};

/// More are not tried: each is a world of its own, twice.
const MOST_ADVISED: usize = 12;

/// Larger worlds are judged without their packets.
const MOST_WATCHED: u32 = 2_500;

/// Remedies, and those that cannot be tried.
#[derive(Default)]
pub(super) struct Advised {
    pub(super) remedies: Vec<Remedy>,
    pub(super) left_out: Vec<(String, String)>,
}

/// What rules advise for a load.
pub(super) fn remedies(source: &Source) -> Advised {
    let mut advised = Advised::default();
    let mut known = BTreeSet::new();
    match &source.of {
        Of::Case(case, fit) => {
            let Diagnosis { findings, .. } = diagnose::diagnose(case);
            advised.take(&findings, None, Some(fit), &mut known);
        }
        Of::Scenario(scenario) => {
            let Some(first) = scenario.variants.first() else { return advised };
            let is_small = first.world.clients.iter().all(|client| client.connections <= MOST_WATCHED);
            let run = if is_small && first.world.probes.is_empty() {
                world::simulate_watched(&first.world)
            } else {
                world::simulate(&first.world)
            };
            // The host that is asked about comes first.
            let here = &source.worlds.here;
            let mut hosts: Vec<&String> = run.cases.keys().collect();
            hosts.sort_by_key(|host| *host != here);
            for host in hosts {
                let Some(case) = run.cases.get(host) else { continue };
                let Diagnosis { mut findings, .. } = diagnose::diagnose(case);
                findings.retain(|finding| finding.concerns(case));
                advised.take(&findings, Some(host), None, &mut known);
            }
        }
    }
    advised
}

impl Advised {
    fn take(
        &mut self,
        findings: &[Finding],
        host: Option<&String>,
        fit: Option<&Fit>,
        known: &mut BTreeSet<&'static str>,
    ) {
        for remedy in findings.iter().flat_map(|finding| &finding.remedies) {
            if !known.insert(remedy.name) {
                continue;
            }
            if let Some(because) = world::cure::because(remedy.name) {
                self.left_out.push((remedy.name.to_owned(), because.to_owned()));
                continue;
            }
            if self.remedies.len() >= MOST_ADVISED {
                let because = format!("{MOST_ADVISED} are tried at most; --remedy {} tries it", remedy.name);
                self.left_out.push((remedy.name.to_owned(), because));
                continue;
            }
            match cures(remedy) {
                Ok(cures) => {
                    let asking =
                        || findings.iter().filter(|one| one.remedies.iter().any(|it| it.name == remedy.name));
                    let only = fit.and_then(|fit| only(fit, &cures, asking()));
                    self.remedies.push(Remedy {
                        name: remedy.name.to_owned(),
                        host: host.cloned(),
                        cures,
                        only,
                    });
                }
                Err(because) => self.left_out.push((remedy.name.to_owned(), because)),
            }
        }
    }
}

/// The connections that a remedy is about, if all findings that ask for it name a destination. A setting is for all.
pub(crate) fn only<'f>(
    fit: &Fit,
    cures: &[Cure],
    findings: impl Iterator<Item = &'f Finding>,
) -> Option<Only> {
    if cures.iter().any(|cure| matches!(cure, Cure::Set { .. })) {
        return None;
    }
    let named: Option<BTreeSet<&str>> =
        findings.map(|finding| finding.subject.destination.as_deref()).collect();
    only_to(fit, named?)
}

/// What a remedy changes: its settings, or what it is known to do.
fn cures(remedy: &diagnose::Remedy) -> Result<Vec<Cure>, String> {
    let settings = remedy.changes.iter().filter_map(|change| match change {
        Change::Setting { setting, to, .. } => Some((setting, to)),
        Change::AtBoot { .. } | Change::Program(_) => None,
    });
    // What a program is told is known by the remedy's name.
    if settings.clone().next().is_none() {
        return remedy
            .name
            .parse()
            .map(|cure| vec![cure])
            .map_err(|error: world::cure::CureError| error.to_string());
    }
    let cures = settings.map(|(setting, to)| Cure::set(None, setting, to));
    cures.collect::<Result<_, _>>().map_err(|error| error.to_string())
}
