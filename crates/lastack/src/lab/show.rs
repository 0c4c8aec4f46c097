//! `lastack lab list` and `lab show`.

use super::found;
use crate::arguments::{LabList, LabShow};
use crate::{Outcome, screen};
use anyhow::Context as _;
use serde::Serialize;
use std::fmt::Write as _;
use std::process::ExitCode;
use world::scenario::{Scenario, Stage};

/// The list as JSON.
#[derive(Serialize)]
struct Scenarios {
    schema: &'static str,
    scenarios: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    scenario: String,
    title: String,
    about: String,
    on: Vec<&'static str>,
    variants: Vec<VariantLine>,
}

#[derive(Serialize)]
struct VariantLine {
    variant: String,
    about: String,
}

impl Line {
    fn of(scenario: &Scenario) -> Self {
        let variants = scenario.variants.iter();
        Self {
            scenario: scenario.name.clone(),
            title: scenario.title.clone(),
            about: scenario.about.trim().to_owned(),
            on: scenario.on.iter().copied().map(name).collect(),
            variants: variants
                .map(|variant| VariantLine { variant: variant.name.clone(), about: variant.about.clone() })
                .collect(),
        }
    }
}

/// A stage as `--on` names it.
pub(super) const fn name(stage: Stage) -> &'static str {
    match stage {
        Stage::Kernel => "kernel",
        Stage::Simulator => "simulator",
    }
}

pub(super) fn list(options: &LabList) -> Outcome {
    let mut scenarios = Vec::new();
    for name in world::collection::names() {
        scenarios.push(found::find(name)?.scenario);
    }
    let mut text = Vec::new();
    if options.output.json {
        let scenarios = scenarios.iter().map(Line::of).collect();
        report::write_json(&Scenarios { schema: "lastack.scenarios/1", scenarios }, &mut text)?;
    } else {
        let lines = scenarios.iter().map(|scenario| (scenario.name.as_str(), scenario.title.as_str()));
        report::markdown::write_list(lines, &mut text, screen::style(options.output.color))?;
    }
    screen::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn show(options: &LabShow) -> Outcome {
    let found = found::find(&options.name)?;
    if options.file {
        screen::print(found.text.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = Vec::new();
    if options.output.json {
        report::write_json(&Line::of(&found.scenario), &mut text)?;
    } else {
        let page = page(&found.scenario).context("cannot lay out the scenario")?;
        report::markdown::write(&page, &mut text, screen::style(options.output.color))?;
    }
    screen::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// What there is to know before it runs.
fn page(scenario: &Scenario) -> Result<String, std::fmt::Error> {
    let mut page = format!("# {}\n\n{}\n\n{}\n\n", scenario.name, scenario.title, scenario.about.trim());
    let on: Vec<&str> = scenario.on.iter().copied().map(name).collect();
    writeln!(page, "Runs on: {}.\n\n## Variants\n", on.join(", "))?;
    for variant in &scenario.variants {
        let about = if variant.about.is_empty() { "as described" } else { &variant.about };
        let mut rules: Vec<String> = Vec::new();
        for (host, fired) in &variant.expect.findings {
            rules.extend(fired.iter().map(|rule| format!("`{rule}` at {host}")));
        }
        let rules = if rules.is_empty() { "no finding".to_owned() } else { rules.join(", ") };
        let fixes = variant.fixes.iter().map(|fix| {
            let remedy = fix.remedy.as_ref().map(|name| format!(" --remedy {name}")).unwrap_or_default();
            format!("; `lastack fix --finding {}{remedy}` at {} makes it so", fix.finding, fix.host)
        });
        let fixes: String = fixes.collect();
        writeln!(page, "- `{}`: {about}; expected: {rules}{fixes}", variant.name)?;
    }
    if !scenario.unfixed.is_empty() {
        page.push_str("\n## What `lastack fix` does not change\n\n");
        for (rule, why) in &scenario.unfixed {
            writeln!(page, "- `{rule}`: {why}")?;
        }
    }
    let run = &scenario.name;
    writeln!(
        page,
        "\n## To run it\n\n    lastack lab run {run}\n    lastack lab show {run} --file > mine.toml\n"
    )?;
    Ok(page)
}
