//! `lastack lab run`: each variant on each stage, held against what was expected and against each other.

use super::foretold::{Held, Machine};
use super::found::{self, Found};
use super::progress::Progress;
use super::{kernel, numbers, repair, several, show, simulator};
use crate::arguments::{LabRun, On};
use crate::{Outcome as Exit, screen};
use anyhow::bail;
use report::{ExperimentPage, ScenarioSum, VariantPart};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::process::ExitCode;
use world::repeated::{self, Spread};
use world::scenario::{Scenario, Stage, Variant};
use world::verdict::{self, BrokenRelation, Findings, Outcome, Undecided, Verdict};
use world::{Costs, Measures};

/// How it went on one stage.
pub(super) enum Ran {
    /// To its end.
    Done {
        outcome: Outcome,
        /// What the reader of the numbers should know.
        notes: Vec<String>,
    },
    /// Not here, because of this.
    Skipped(String),
    /// It began and came to no end, because of this.
    Broke(String),
}

/// One line of `--json`: a variant.
#[derive(Serialize)]
struct Line<'a> {
    scenario: &'a str,
    variant: &'a str,
    on: &'static str,
    measured: Option<&'a Measures>,
    predicted: Option<&'a Measures>,
    /// What it was predicted with.
    costs: Option<&'a Costs>,
    /// Each measure that is compared; of several runs the median, with the least and the most.
    compared: &'a [Held],
    /// Names of rules, each once; of the kernel if it ran.
    findings: BTreeSet<&'a str>,
    expected: BTreeSet<&'a str>,
    findings_by_host: &'a Findings,
    expected_by_host: &'a Findings,
    /// Rules that fired on what a host's capture shows of its peers, and that are judged there.
    findings_of_peers_by_host: &'a Findings,
    /// Expected rules that the simulator could not decide.
    undecided: Vec<&'a Undecided>,
    /// What is not as expected, a sentence each.
    wrong: &'a [String],
    notes: &'a [String],
    passed: bool,
    skipped: Option<&'a str>,
}

/// A variant that was tried.
#[derive(Default)]
pub(super) struct Tried {
    pub(super) part: VariantPart,
    pub(super) sum: ScenarioSum,
    pub(super) outcomes: BTreeMap<Stage, Outcome>,
    /// What the simulator took things to cost, if it ran.
    pub(super) costs: Option<Costs>,
    pub(super) skipped: Option<String>,
    /// What `fix` did on it, if that was tried.
    pub(super) repair: Option<repair::Line>,
    pub(super) compared: Vec<Held>,
    /// Expected rules that the simulator could not decide.
    pub(super) undecided: Vec<Undecided>,
}

pub(super) fn run(options: &LabRun) -> Exit {
    if options.keep.is_some() && !options.repair && matches!(options.on, On::Simulator) {
        bail!("--keep is for what the kernel's hosts leave: it needs --on kernel or --on both");
    }
    let found: Vec<Found> = if options.all {
        let all = world::collection::names().map(found::find);
        // `fix` is tried on the kernel; a scenario that is named all the same says so.
        let tried = |found: &Found| !options.repair || found.scenario.on.contains(&Stage::Kernel);
        all.filter(|found| found.as_ref().map_or(true, tried)).collect::<Result<_, _>>()?
    } else {
        options.names.iter().map(|name| found::find(name)).collect::<Result<_, _>>()?
    };
    if let Some(remedy) = &options.remedy
        && let Some(without) = found.iter().find(|found| found.scenario.variant(remedy).is_none())
    {
        let known: Vec<&str> =
            without.scenario.variants.iter().map(|variant| variant.name.as_str()).collect();
        bail!("{} has no variant `{remedy}`; it has {}", without.scenario.name, known.join(", "));
    }
    if let Some(remedy) = &options.remedy
        && let Some(without) = found.iter().find(|found| wanted(options, &found.scenario).is_empty())
    {
        bail!("{}: the variant `{remedy}` has no [[variant.fix]] that could be tried", without.scenario.name);
    }
    // Of all scenarios some have no such stage; one that is named cannot be run at all then.
    let nowhere = |found: &&Found| {
        wanted(options, &found.scenario).iter().all(|(variant, _)| stages(options, variant).is_empty())
    };
    if !options.all
        && !options.repair
        && let Some(found) = found.iter().find(nowhere)
    {
        let there = found.scenario.on.iter().map(|stage| show::name(*stage)).collect::<Vec<_>>().join(" or ");
        bail!("{} does not run on that stage: write --on {there}", found.scenario.name);
    }
    let total = found.iter().map(|found| wanted(options, &found.scenario).len()).sum();
    let progress = Progress::new(total);
    let mut sums = Vec::new();
    let mut passed = true;
    several::in_order(
        &found,
        options.jobs.get(),
        |found| found.scenario.alone,
        |found, goes_on| try_scenario(options, found, &progress, goes_on),
        |found, tried| {
            let (sum, ok) = show_scenario(options, found, tried, &progress)?;
            sums.push(sum);
            passed &= ok;
            Ok(())
        },
    )?;
    progress.end();
    if sums.len() > 1 {
        let mut text = Vec::new();
        report::write_sums(&sums, &mut text, screen::style(options.output.color))?;
        if options.output.json {
            // For the eye, beside the lines; nobody is left to tell if stderr is closed.
            let _ = io::stderr().write_all(&text);
        } else {
            screen::print(&text)?;
        }
    }
    Ok(ExitCode::from(u8::from(!passed)))
}

/// The variants that are to run, with the place of the fix that is to be tried.
fn wanted<'a>(options: &LabRun, scenario: &'a Scenario) -> Vec<(&'a Variant, Option<usize>)> {
    if options.repair {
        return repair::wanted(options, scenario);
    }
    let named = |variant: &Variant| options.remedy.as_ref().is_none_or(|remedy| variant.name == *remedy);
    let taken = scenario.variants.iter().enumerate();
    taken
        .filter(|(place, variant)| *place == 0 || named(variant))
        .map(|(_, variant)| (variant, None))
        .collect()
}

/// The stages that were asked for and that the variant has.
fn stages(options: &LabRun, variant: &Variant) -> Vec<Stage> {
    let asked: &[Stage] = match options.on {
        On::Kernel => &[Stage::Kernel],
        On::Simulator => &[Stage::Simulator],
        On::Both => &[Stage::Kernel, Stage::Simulator],
    };
    asked.iter().copied().filter(|stage| variant.on.contains(stage)).collect()
}

/// Its variants, one after the other, as long as it shall go on.
fn try_scenario<'a>(
    options: &LabRun,
    found: &'a Found,
    progress: &Progress,
    goes_on: &dyn Fn() -> bool,
) -> anyhow::Result<Vec<(&'a Variant, Tried)>> {
    let scenario = &found.scenario;
    let mut tried = Vec::new();
    let mut machine = Machine::default();
    for (variant, fix) in wanted(options, scenario).into_iter().take_while(|_| goes_on()) {
        progress.at(&scenario.name, &variant.name);
        let one = if options.repair {
            repair::try_variant(options, found, variant, fix)?
        } else {
            try_variant(options, found, variant, &mut machine)?
        };
        tried.push((variant, one));
        progress.done();
    }
    hold_to_relations(scenario, &mut tried);
    Ok(tried)
}

fn show_scenario(
    options: &LabRun,
    found: &Found,
    tried: Vec<(&Variant, Tried)>,
    progress: &Progress,
) -> anyhow::Result<(ScenarioSum, bool)> {
    let scenario = &found.scenario;
    // In the words of --on.
    let on = if let [one] = scenario.on[..] { show::name(one) } else { "both" };
    let mut sum = ScenarioSum { name: scenario.name.clone(), on: on.to_owned(), ..ScenarioSum::default() };
    for (_, tried) in &tried {
        sum.variants += tried.sum.variants;
        sum.right += tried.sum.right;
        sum.missed += tried.sum.missed;
        sum.false_alarms += tried.sum.false_alarms;
        sum.undecided += tried.sum.undecided;
        sum.wrong += tried.sum.wrong;
        sum.skipped += tried.sum.skipped;
    }
    let passed = sum.missed + sum.false_alarms + sum.wrong == 0;
    progress.aside(|| {
        if options.output.json {
            return tried.iter().try_for_each(|(variant, tried)| print_line(scenario, variant, tried));
        }
        let page = ExperimentPage {
            name: scenario.name.clone(),
            title: scenario.title.clone(),
            variants: tried.into_iter().map(|(_, tried)| tried.part).collect(),
        };
        let mut text = Vec::new();
        report::write_experiment(&page, &mut text, screen::style(options.output.color))?;
        screen::print(&text)
    })?;
    Ok((sum, passed))
}

/// Holds variants to what should be between them; the one that should have less answers for it.
fn hold_to_relations(scenario: &Scenario, tried: &mut [(&Variant, Tried)]) {
    let mut untold = vec![BTreeSet::new(); scenario.relations.len()];
    for stage in [Stage::Kernel, Stage::Simulator] {
        let outcomes = tried
            .iter()
            .filter_map(|(variant, tried)| Some((variant.name.clone(), tried.outcomes.get(&stage)?.clone())));
        let outcomes = outcomes.collect();
        for (relation, untold) in scenario.relations.iter().zip(&mut untold) {
            if verdict::is_untold(relation, stage, &outcomes) {
                untold.insert(stage);
            }
        }
        let broken = verdict::broken_relations(&scenario.relations, stage, &outcomes);
        for BrokenRelation { relation, less, more } in broken {
            let named = tried.iter_mut().find(|(variant, _)| variant.name == relation.less);
            let Some((_, tried)) = named else { continue };
            tried.sum.wrong += 1;
            tried.part.wrong.push(format!(
                "{}: {} is {less}, and {more} with {}: at most {} of that was expected",
                show::name(stage),
                relation.measure,
                relation.more,
                relation.factor
            ));
        }
    }
    for (relation, untold) in scenario.relations.iter().zip(&untold).filter(|(_, untold)| !untold.is_empty())
    {
        let runs_on = |stage: Stage| {
            let both = [&relation.less, &relation.more].map(|name| scenario.variant(name));
            relation.on.is_none_or(|on| on == stage)
                && both.iter().flatten().all(|variant| variant.on.contains(&stage))
        };
        let could: Vec<Stage> =
            [Stage::Kernel, Stage::Simulator].into_iter().filter(|stage| runs_on(*stage)).collect();
        let named = tried.iter_mut().find(|(variant, _)| variant.name == relation.less);
        if let Some((_, tried)) = named {
            tell_absent(&relation.measure, &could, untold, &mut tried.part, &mut tried.sum);
        }
    }
}

/// Says that stages that ran did not give a measure: a note, but wrong if none could give it.
fn tell_absent(
    measure: &str,
    could: &[Stage],
    absent: &BTreeSet<Stage>,
    part: &mut VariantPart,
    sum: &mut ScenarioSum,
) {
    if verdict::is_nowhere(measure, could, absent) {
        sum.wrong += 1;
        part.wrong.push(format!("{measure} is expected, and measured on no stage"));
        return;
    }
    part.notes
        .extend(absent.iter().map(|stage| format!("{}: {measure} is not measured", show::name(*stage))));
}

fn try_variant(
    options: &LabRun,
    found: &Found,
    variant: &Variant,
    machine: &mut Machine,
) -> anyhow::Result<Tried> {
    let mut part =
        VariantPart { name: variant.name.clone(), about: variant.about.clone(), ..VariantPart::default() };
    let mut sum = ScenarioSum::default();
    let mut outcomes = BTreeMap::new();
    let mut costs = None;
    let mut spreads = BTreeMap::new();
    let mut compared = Vec::new();
    let mut undecided = Vec::new();
    let mut skipped = None;
    let mut absent = BTreeMap::new();
    let stages = stages(options, variant);
    if stages.is_empty() {
        skipped = Some("it does not run on the stage that was asked for".to_owned());
    }
    for stage in stages {
        let ran = match stage {
            Stage::Kernel => on_kernel(options, found, variant)?,
            Stage::Simulator => {
                let known = machine.foretells(variant, outcomes.get(&Stage::Kernel));
                let mut variant = variant.clone();
                variant.world.costs = known.clone();
                costs = Some(known);
                vec![simulator::run(&variant)]
            }
        };
        let mut runs = Vec::new();
        for ran in ran {
            match ran {
                Ran::Skipped(reason) => skipped = Some(reason),
                Ran::Broke(error) => {
                    sum.wrong += 1;
                    part.wrong.push(format!("{}: it came to no end: {error}", show::name(stage)));
                }
                Ran::Done { outcome, notes } => {
                    part.notes.extend(notes);
                    runs.push(outcome);
                }
            }
        }
        let verdict = Verdict::of_all(runs.iter().map(|outcome| Verdict::new(variant, outcome)).collect());
        add_up(&mut sum, &verdict);
        part.wrong.extend(wrong(show::name(stage), &verdict));
        for name in verdict.unmeasured {
            absent.entry(name).or_insert_with(BTreeSet::new).insert(stage);
        }
        undecided.extend(verdict.undecided);
        let measures: Vec<Measures> = runs.iter().map(|outcome| outcome.measures.clone()).collect();
        let Some(mut outcome) = runs.pop() else { continue };
        if !runs.is_empty() {
            spreads = repeated::spreads(&measures);
            outcome.measures = repeated::medians(&measures);
        }
        part.rows.push(numbers::row(stage, &variant.world, &outcome));
        outcomes.insert(stage, outcome);
    }
    for (name, absent) in &absent {
        tell_absent(name, &variant.on, absent, &mut part, &mut sum);
    }
    part.notes = once(std::mem::take(&mut part.notes));
    if let (Some(simulated), Some(real)) = (outcomes.get(&Stage::Simulator), outcomes.get(&Stage::Kernel)) {
        compared = hold(variant, simulated, real, &spreads, &mut part, &mut sum);
    }
    let shown = outcomes.get(&Stage::Kernel).or_else(|| outcomes.get(&Stage::Simulator));
    if shown.is_some() || skipped.is_none() {
        sum.variants = 1;
    }
    if let Some(outcome) = shown {
        part.findings = fired(outcome);
        part.notes.extend(of_peers(outcome));
    }
    // The kernel shows everything that rules ask for.
    if !outcomes.contains_key(&Stage::Kernel) {
        sum.undecided = undecided.len();
        part.undecided = undecided.iter().map(ToString::to_string).collect();
    }
    if skipped.is_some() {
        sum.skipped = 1;
        part.skipped.clone_from(&skipped);
    }
    Ok(Tried { part, sum, outcomes, costs, compared, undecided, skipped, repair: None })
}

/// Holds what the simulator foretold to what the kernel gave.
fn hold(
    variant: &Variant,
    simulated: &Outcome,
    real: &Outcome,
    spreads: &BTreeMap<String, Spread>,
    part: &mut VariantPart,
    sum: &mut ScenarioSum,
) -> Vec<Held> {
    let all = verdict::compare(variant, &simulated.measures, &real.measures);
    let off: Vec<_> = all.iter().filter(|compared| compared.counts()).collect();
    sum.wrong += off.len();
    part.wrong.extend(off.iter().map(|compared| {
        let percent = compared.apart * 100.0;
        format!(
            "{}: predicted {}, measured {}: {percent:.0} % apart",
            compared.name, compared.predicted, compared.measured
        )
    }));
    let held = |timing: bool| {
        let of_kind = || all.iter().filter(|one| Measures::is_timing(&one.name) == timing);
        format!("{} of {}", of_kind().filter(|one| one.within).count(), of_kind().count())
    };
    part.compared = Some(format!(
        "foretold: {} counts within 5 %, {} rates and latencies within 20 %",
        held(false),
        held(true)
    ));
    part.apart = Some(numbers::apart(&variant.world, &all));
    let compared: Vec<Held> = all.into_iter().map(|one| Held::new(one, spreads)).collect();
    let far = compared.iter().filter(|one| !one.within && Measures::is_timing(&one.name));
    part.notes.extend(far.map(Held::shown));
    compared
}

fn add_up(sum: &mut ScenarioSum, verdict: &Verdict) {
    sum.right += verdict.right.len();
    sum.missed += verdict.missed.len();
    sum.false_alarms += verdict.false_alarms.len();
    sum.wrong += verdict.outside.len() + verdict.astray.len();
}

/// The rules that fired, with their hosts.
pub(super) fn fired(outcome: &Outcome) -> Vec<String> {
    let fired = outcome.findings.iter();
    fired.flat_map(|(host, rules)| rules.iter().map(move |rule| format!("{rule} at {host}"))).collect()
}

/// What hosts' captures show of others, for whom it counts: `doctor` says it at those hosts all the same.
fn of_peers(outcome: &Outcome) -> Option<String> {
    let (rules, hosts) =
        (outcome.of_peers.values().map(BTreeSet::len).sum::<usize>(), outcome.of_peers.iter());
    let said: Vec<String> = hosts
        .map(|(host, rules)| {
            format!("{} at {host}", rules.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
        })
        .collect();
    let findings = if rules == 1 { "1 finding is".to_owned() } else { format!("{rules} findings are") };
    (rules > 0).then(|| {
        format!("{findings} of what a capture shows of the other side, and judged there: {}", said.join("; "))
    })
}

/// So many runs as were asked for; the files of the first are kept. One that is skipped is the last.
fn on_kernel(options: &LabRun, found: &Found, variant: &Variant) -> anyhow::Result<Vec<Ran>> {
    let mut runs = Vec::new();
    for run in 0..options.repeat.get() {
        let keep = options.keep.as_deref().filter(|_| run == 0);
        let ran = kernel::run(found, variant, keep)?;
        let over = !matches!(ran, Ran::Done { .. });
        runs.push(ran);
        if over {
            break;
        }
    }
    Ok(runs)
}

/// Each of them the first time that it is said.
fn once(notes: Vec<String>) -> Vec<String> {
    let mut said = BTreeSet::new();
    notes.into_iter().filter(|note| said.insert(note.clone())).collect()
}

/// What is not as expected, in sentences.
pub(super) fn wrong(on: &str, verdict: &Verdict) -> Vec<String> {
    let missed = verdict.missed.iter().map(|fired| format!("{on}: {fired} was expected and did not fire"));
    let alarms = verdict.false_alarms.iter().map(|fired| format!("{on}: {fired} was not expected"));
    let outside = verdict.outside.iter().map(|outside| {
        let (min, max) = (outside.min, outside.max);
        let expected = if min >= max { min.to_string() } else { format!("{min} to {max}") };
        format!("{on}: {} is {}, expected {expected}", outside.name, outside.value)
    });
    let astray = verdict.astray.iter().map(|astray| format!("{on}: {astray}"));
    missed.chain(alarms).chain(outside).chain(astray).collect()
}

fn print_line(scenario: &Scenario, variant: &Variant, tried: &Tried) -> anyhow::Result<()> {
    let mut text = Vec::new();
    if let Some(line) = &tried.repair {
        report::write_json(line, &mut text)?;
        return screen::print(&text);
    }
    let (real, simulated) = (tried.outcomes.get(&Stage::Kernel), tried.outcomes.get(&Stage::Simulator));
    let none = Outcome::default();
    let Outcome { findings, of_peers, .. } = real.or(simulated).unwrap_or(&none);
    let expected = &variant.expect.findings;
    let line = Line {
        scenario: &scenario.name,
        variant: &variant.name,
        on: match (real, simulated) {
            (Some(_), Some(_)) => "both",
            (Some(_), None) => "kernel",
            (None, Some(_)) => "simulator",
            (None, None) => "none",
        },
        measured: real.map(|outcome| &outcome.measures),
        predicted: simulated.map(|outcome| &outcome.measures),
        costs: tried.costs.as_ref(),
        compared: &tried.compared,
        findings: findings.values().flatten().map(String::as_str).collect(),
        expected: expected.values().flatten().map(String::as_str).collect(),
        findings_by_host: findings,
        expected_by_host: expected,
        findings_of_peers_by_host: of_peers,
        undecided: tried.undecided.iter().collect(),
        wrong: &tried.part.wrong,
        notes: &tried.part.notes,
        passed: tried.part.wrong.is_empty() && !tried.part.rows.is_empty(),
        skipped: tried.skipped.as_deref(),
    };
    report::write_json(&line, &mut text)?;
    screen::print(&text)
}
