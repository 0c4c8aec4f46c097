//! `lastack whatif`: what a load would do under remedies, played in virtual time.

pub(crate) mod advised;
mod answer;
pub(crate) mod played;
mod source;

use crate::arguments::WhatIf as Options;
use crate::case_file::said;
use crate::{Outcome, screen};
use anyhow::{Context as _, anyhow, bail};
use source::Source;
use std::path::Path;
use std::process::ExitCode;
use world::cure::{self, Cure};
use world::whatif::{Column, Kind, Plan, Played, Remedy, Worlds, plan};

/// More changes at once than anyone looks at.
const MOST_CHANGES: usize = 32;

pub(crate) fn run(options: &Options) -> Outcome {
    if options.remedy.iter().any(|name| name == "list") {
        return list(options);
    }
    let source = Source::find(options)?;
    let asked = asked(options, &source)?;
    let advised = if asked.is_empty() && source.variants_asked(options).is_empty() {
        advised::remedies(&source)
    } else {
        advised::Advised::default()
    };
    let remedies: Vec<Remedy> = asked.into_iter().chain(advised.remedies).collect();
    let mut plan = plan(&source.worlds, &remedies);
    plan.left_out.extend(advised.left_out);
    let variants = source.variants_asked(options);
    if plan.whole > 0 || !variants.is_empty() {
        plan.whole += variants.len();
    }
    for (place, variant) in (1..).zip(variants) {
        let worlds = Worlds::exactly(variant.world.clone(), &source.worlds.here);
        let about = if variant.about.is_empty() { "as the scenario says" } else { &variant.about };
        let column = Column {
            kind: Kind::Alone,
            remedies: vec![variant.name.clone()],
            changes: vec![about.to_owned()],
            worlds: worlds.worlds,
        };
        plan.columns.insert(place, column);
    }
    let played = played::all(&plan.columns, &source.worlds.here);
    let (played, whole) = kept(&mut plan, played)?;
    let answer = answer::answer(&source, &plan, played);
    if let Some(file) = &options.plot {
        draw(&answer, file)?;
    }
    let mut text = Vec::new();
    if options.output.json {
        report::write_json(&answer, &mut text)?;
    } else {
        report::write_whatif(&answer, &mut text, screen::style(options.output.color))?;
    }
    screen::print(&text)?;
    // Of all that was asked for, together.
    let outcome = whole.and_then(|whole| answer.outcomes.get(whole));
    Ok(ExitCode::from(outcome.map_or(2, |outcome| u8::from(outcome.fails()))))
}

/// Leaves out the columns that were given up. Gives where the one is now that has everything, if it is not one of them.
fn kept(plan: &mut Plan, played: Vec<Option<Played>>) -> anyhow::Result<(Vec<Played>, Option<usize>)> {
    if let Some(None) = played.first() {
        bail!("so much happens in this load that to play it takes too long: --load 0.1 plays a tenth of it");
    }
    let (mut all, mut whole) = (Vec::new(), None);
    for (place, (column, played)) in std::mem::take(&mut plan.columns).into_iter().zip(played).enumerate() {
        if let Some(played) = played {
            if place == plan.whole {
                whole = Some(plan.columns.len());
            }
            plan.columns.push(column);
            all.push(played);
        } else {
            let together = if column.kind == Kind::Together { " together" } else { "" };
            plan.left_out.push((
                column.remedies.join(", "),
                format!("so much happens then{together} that to play it takes too long"),
            ));
        }
    }
    Ok((all, whole))
}

/// What was asked for by name: settings first, then remedies.
fn asked(options: &Options, source: &Source) -> anyhow::Result<Vec<Remedy>> {
    let (sets, names) = (options.set.len(), options.remedy.len());
    if sets.saturating_add(names) > MOST_CHANGES {
        bail!("{} changes at once: at most {MOST_CHANGES}", sets.saturating_add(names));
    }
    let mut remedies = Vec::new();
    for text in &options.set {
        remedies.push(setting(text, source)?);
    }
    for name in options.remedy.iter().filter(|name| source.variant(name).is_none()) {
        let cure: Cure = name.parse().map_err(|error| anyhow!("--remedy {name}: {error}"))?;
        remedies.push(Remedy::named(cure));
    }
    Ok(remedies)
}

/// `[HOST:]KEY=VALUE`. In a scenario a setting without a host is that of all hosts.
fn setting(text: &str, source: &Source) -> anyhow::Result<Remedy> {
    let wrong = || anyhow!("--set {text}: KEY=VALUE is needed, such as net.ipv4.tcp_tw_reuse=1");
    let (name, value) = text.split_once('=').ok_or_else(wrong)?;
    let (host, name) = match name.split_once(':') {
        Some((host, name)) => (Some(host.trim()), name.trim()),
        None => (None, name.trim()),
    };
    let hosts: Vec<&str> = source.hosts().collect();
    if let Some(host) = host.filter(|host| !hosts.contains(host)) {
        bail!("--set {text}: there is no host {host:?} in the model: there are {}", hosts.join(", "));
    }
    let cure = Cure::set(host, name, value).map_err(|error| anyhow!("--set {text}: {error}"))?;
    let mut remedy = Remedy::named(cure);
    if host.is_none() && source.is_scenario() {
        remedy.cures = hosts
            .iter()
            .map(|host| Cure::set(Some(host), name, value))
            .collect::<Result<_, _>>()
            .map_err(|error| anyhow!("--set {text}: {error}"))?;
    }
    Ok(remedy)
}

fn list(options: &Options) -> Outcome {
    let mut text = Vec::new();
    let names: Vec<&str> = cure::names().collect();
    if options.output.json {
        report::write_json(&names, &mut text)?;
    } else {
        text = (names.join("\n") + "\n").into_bytes();
    }
    screen::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn draw(answer: &report::WhatIf, file: &Path) -> anyhow::Result<()> {
    let mut plot = String::new();
    report::write_plot(answer, &mut plot).context("cannot draw the plot")?;
    let name = file.display();
    std::fs::write(file, plot).map_err(|error| anyhow!("--plot {name}: {}", said(&error)))
}
