//! `lastack explain`.

use crate::arguments::Explain;
use crate::{Outcome, screen};
use anyhow::Context as _;
use diagnose::Rule;
use serde::Serialize;
use std::process::ExitCode;

/// The list of rules as JSON.
#[derive(Serialize)]
struct Rules {
    schema: &'static str,
    rules: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    rule: &'static str,
    summary: &'static str,
}

/// A rule as JSON.
#[derive(Serialize)]
struct RulePage {
    schema: &'static str,
    rule: &'static str,
    summary: &'static str,
    /// Markdown.
    page: String,
}

pub(crate) fn run(options: &Explain) -> Outcome {
    let mut text = Vec::new();
    let style = screen::style(options.output.color);
    match &options.rule {
        None if options.output.json => {
            let line = |rule: &Rule| Line { rule: rule.name(), summary: rule.summary() };
            let rules = diagnose::rules().iter().map(line).collect();
            report::write_json(&Rules { schema: "lastack.rules/1", rules }, &mut text)?;
        }
        None => {
            let lines = diagnose::rules().iter().map(|rule| (rule.name(), rule.summary()));
            report::markdown::write_list(lines, &mut text, style)?;
        }
        Some(name) => {
            // The arguments were checked against the registry; this is for the day they are not.
            let rule = diagnose::rule(name)
                .with_context(|| format!("there is no rule `{name}`; `lastack explain` lists them"))?;
            if options.output.json {
                let (rule, summary, page) = (rule.name(), rule.summary(), rule.page());
                report::write_json(&RulePage { schema: "lastack.rule/1", rule, summary, page }, &mut text)?;
            } else {
                report::markdown::write(&format!("# {}\n\n{}", rule.name(), rule.page()), &mut text, style)?;
            }
        }
    }
    screen::print(&text)?;
    Ok(ExitCode::SUCCESS)
}
