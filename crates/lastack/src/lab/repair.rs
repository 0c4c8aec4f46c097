//! `lastack lab run --repair`: what `lastack fix` does on a stage, held against what the variant expects of it.

use super::answer::{Tried, fired, wrong};
use super::found::Found;
use super::kernel;
use super::numbers::row;
use crate::arguments::LabRun;
use lab::stage::{Ended, Offer, Ran, Repaired, Restored};
use report::{ScenarioSum, StageRow, VariantPart};
use serde::Serialize;
use std::collections::BTreeSet;
use world::Measures;
use world::scenario::{Fix, Scenario, Stage, Variant};
use world::verdict::{Findings, Outcome, Verdict};

/// One line of `--json`: a variant that `fix` was tried on.
#[derive(Serialize)]
pub(super) struct Line {
    scenario: String,
    variant: String,
    on: &'static str,
    host: Option<String>,
    finding: Option<String>,
    remedy: Option<String>,
    /// What it changed.
    changes: Vec<String>,
    before: Played,
    repaired: Option<Played>,
    restored: Option<Restored>,
    /// What it can change against all that is found before.
    offered: Vec<Offer>,
    wrong: Vec<String>,
    notes: Vec<String>,
    passed: bool,
    skipped: Option<String>,
}

#[derive(Default, Serialize)]
struct Played {
    measures: Measures,
    findings: Findings,
}

impl Played {
    fn of(ran: &Ran) -> Self {
        Self { measures: ran.measures.clone(), findings: ran.findings.clone() }
    }
}

/// What is to be tried: the fixes of all variants, or of the one that is named. Of a scenario without any, the first
/// variant shows what is offered there.
pub(super) fn wanted<'a>(options: &LabRun, scenario: &'a Scenario) -> Vec<(&'a Variant, Option<usize>)> {
    if scenario.variants.iter().all(|variant| variant.fixes.is_empty()) {
        return scenario.variants.iter().take(1).map(|variant| (variant, None)).collect();
    }
    let named = |variant: &&Variant| options.remedy.as_ref().is_none_or(|name| variant.name == *name);
    let fixes = |variant: &'a Variant| (0..variant.fixes.len()).map(move |place| (variant, Some(place)));
    scenario.variants.iter().filter(named).flat_map(fixes).collect()
}

/// Tries one of them.
pub(super) fn try_variant(
    options: &LabRun,
    found: &Found,
    variant: &Variant,
    place: Option<usize>,
) -> anyhow::Result<Tried> {
    let scenario = &found.scenario;
    let fix = place.and_then(|place| variant.fixes.get(place));
    let ended = if variant.on.contains(&Stage::Kernel) {
        kernel::repair(found, variant, place, options.keep.as_deref())?
    } else {
        Ended::Skipped("`fix` is tried on the kernel stage only, and this does not run there".to_owned())
    };
    let mut part = VariantPart { name: variant.name.clone(), ..VariantPart::default() };
    let mut sum = ScenarioSum::default();
    let (repaired, skipped, broke) = match ended {
        Ended::Ran(repaired) => (repaired, None, None),
        Ended::Skipped(reason) => (Repaired::default(), Some(reason), None),
        Ended::Broke(error) => (Repaired::default(), None, Some(error)),
    };
    part.skipped.clone_from(&skipped);
    if skipped.is_none() {
        match (broke, fix) {
            (Some(error), _) => part.wrong.push(format!("it came to no end: {error}")),
            (None, Some(fix)) => judge(variant, fix, &repaired, &mut part, &mut sum),
            (None, None) => show_offers(variant, &repaired, &mut part),
        }
        part.wrong.extend(uncovered(scenario, &repaired.offered));
        // Once for a scenario.
        if wanted(options, scenario)
            .first()
            .is_some_and(|(first, at)| (&first.name, *at) == (&variant.name, place))
        {
            part.notes.extend(reasons(scenario));
        }
        sum.variants = 1;
        sum.wrong = part.wrong.len().saturating_sub(sum.missed + sum.false_alarms);
    } else {
        sum.skipped = 1;
    }
    let line = Line {
        scenario: scenario.name.clone(),
        variant: variant.name.clone(),
        on: if skipped.is_none() { "kernel" } else { "none" },
        host: fix.map(|fix| fix.host.clone()),
        finding: fix.map(|fix| fix.finding.clone()),
        remedy: fix.and_then(|fix| fix.remedy.clone()),
        before: Played::of(&repaired.before),
        repaired: repaired.after.as_ref().map(Played::of),
        restored: repaired.restored,
        changes: repaired.changes,
        offered: repaired.offered,
        wrong: part.wrong.clone(),
        notes: part.notes.clone(),
        passed: part.wrong.is_empty() && skipped.is_none(),
        skipped: skipped.clone(),
    };
    Ok(Tried { part, sum, skipped, repair: Some(line), ..Tried::default() })
}

/// What `fix` offers where no variant tries it.
fn show_offers(variant: &Variant, repaired: &Repaired, part: &mut VariantPart) {
    let before = outcome(&repaired.before);
    part.rows.push(StageRow { on: "before".to_owned(), ..row(Stage::Kernel, &variant.world, &before) });
    if repaired.offered.is_empty() {
        "`fix` has nothing to change".clone_into(&mut part.about);
    }
    part.findings = fired(&before);
    part.notes.extend(repaired.before.notes.iter().cloned());
    part.wrong.extend(repaired.wrong.iter().cloned());
}

/// Holds what came of a fix against what its variant expects.
fn judge(variant: &Variant, fix: &Fix, repaired: &Repaired, part: &mut VariantPart, sum: &mut ScenarioSum) {
    let mut shown = |when: &str, ran: &Ran| {
        let outcome = outcome(ran);
        let row = row(Stage::Kernel, &variant.world, &outcome);
        part.rows.push(StageRow { on: when.to_owned(), ..row });
        part.notes.extend(ran.notes.iter().map(|note| format!("{when}: {note}")));
        let verdict = Verdict::new(variant, &outcome);
        let said = wrong(when, &verdict);
        (outcome, verdict, said)
    };
    let (_, broken, not_as_expected) = shown("before", &repaired.before);
    let after = repaired.after.as_ref().map(|after| shown("repaired", after));
    part.about = called(fix, &repaired.changes);
    part.notes.extend(not_as_expected);
    part.wrong.extend(repaired.wrong.iter().cloned());
    if broken.passed() {
        part.wrong.push("before the fix all is as after it: there is nothing to repair".to_owned());
    }
    if let Some((outcome, verdict, said)) = after {
        part.findings = fired(&outcome);
        part.wrong.extend(said);
        (sum.right, sum.missed) = (verdict.right.len(), verdict.missed.len());
        sum.false_alarms = verdict.false_alarms.len();
    }
    part.compared = repaired.restored.map(restored);
}

fn outcome(ran: &Ran) -> Outcome {
    Outcome {
        findings: ran.findings.clone(),
        measures: ran.measures.clone(),
        counters: ran.counters.clone(),
        ..Outcome::default()
    }
}

/// What was done, in the words of the command line.
fn called(fix: &Fix, changes: &[String]) -> String {
    let remedy = fix.remedy.as_ref().map(|name| format!(" --remedy {name}")).unwrap_or_default();
    let changes = if changes.is_empty() { "nothing".to_owned() } else { changes.join(", ") };
    format!("`fix --finding {}{remedy}` at {}: {changes}", fix.finding, fix.host)
}

fn restored(restored: Restored) -> String {
    let Restored { settings, files, programs } = restored;
    let counted = |count: usize, one: &str, more: &str| {
        format!("{} {}", report::thousands(count as u64), if count == 1 { one } else { more })
    };
    let mut parts = vec![counted(settings, "setting", "settings")];
    parts.extend((files > 0).then(|| counted(files, "file", "files")));
    parts.extend((programs > 0).then(|| counted(programs, "program", "programs")));
    format!("taken back: {} as before", parts.join(", "))
}

/// What `fix` does nothing against, and why.
fn reasons(scenario: &Scenario) -> impl Iterator<Item = String> {
    scenario.unfixed.iter().map(|(rule, why)| format!("`fix` changes nothing against {rule}: {why}"))
}

/// What `fix` offers, and no variant tries.
fn uncovered(scenario: &Scenario, offered: &[Offer]) -> BTreeSet<String> {
    let tried = |offer: &&Offer| {
        scenario.variants.iter().flat_map(|variant| &variant.fixes).any(|fix| match &fix.remedy {
            Some(name) => *name == offer.remedy,
            None => fix.finding == offer.rule,
        })
    };
    let without = offered.iter().filter(|offer| !tried(offer));
    without
        .map(|Offer { host, rule, remedy }| {
            format!("`fix` offers {remedy} against {rule} at {host}: no variant has a [variant.fix] for it")
        })
        .collect()
}
