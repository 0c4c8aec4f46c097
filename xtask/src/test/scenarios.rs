//! The scenarios, on the kernel and in the simulator, as their user runs them; and what `lastack fix` does there.

use super::count::Count;
use super::step::Outcome;
use anyhow::Context as _;
use serde::Deserialize;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

/// A line of `lastack lab run --json`, as far as it is counted.
#[derive(Deserialize)]
struct Line {
    scenario: String,
    variant: String,
    on: String,
    /// What a fix is tried against.
    #[serde(default)]
    finding: Option<String>,
    wrong: Vec<String>,
    passed: bool,
    skipped: Option<String>,
}

/// So many at a time: they wait more than they work.
const JOBS: &str = "3";

/// Runs all of them; a variant is a test. Skips go to the log that the tests use.
pub(super) fn play(command: Command, skip_log: &Path) -> anyhow::Result<Outcome> {
    run(command, &[], "", skip_log)
}

/// Tries `lastack fix` on all of them; a fix is a test.
pub(super) fn repair(command: Command, skip_log: &Path) -> anyhow::Result<Outcome> {
    run(command, &["--repair"], "repair::", skip_log)
}

fn run(mut command: Command, how: &[&str], prefix: &str, skip_log: &Path) -> anyhow::Result<Outcome> {
    command
        .args(["lab", "run", "--all", "--json", "--jobs", JOBS])
        .args(how)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = command.spawn().context("lastack does not run")?;
    let mut count = Count::default();
    let mut log = std::fs::OpenOptions::new().append(true).create(true).open(skip_log)?;
    for line in child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()) {
        let line: Line = serde_json::from_str(&line?).context("a line of `lab run --json`")?;
        let finding = line.finding.map(|rule| format!("::{rule}")).unwrap_or_default();
        let name = format!("{prefix}{}::{}{finding}", line.scenario, line.variant);
        let said = if line.passed {
            count.passed += 1;
            "passed"
        } else if line.wrong.is_empty() && line.skipped.is_some() {
            // As with a test that returns early: counted as passed here, and taken off with the log.
            count.passed += 1;
            "skipped"
        } else {
            count.failed += 1;
            "FAILED"
        };
        println!("{said} {name} ({})", line.on);
        for wrong in &line.wrong {
            println!("    {wrong}");
        }
        if let Some(reason) = &line.skipped {
            writeln!(log, "{name}\t{reason}")?;
        }
    }
    let ok = child.wait()?.success();
    Ok(Outcome::Tests { count, ok })
}
