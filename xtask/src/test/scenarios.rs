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

impl Line {
    fn name(&self, prefix: &str) -> String {
        let finding = self.finding.as_ref().map(|rule| format!("::{rule}")).unwrap_or_default();
        format!("{prefix}{}::{}{finding}", self.scenario, self.variant)
    }

    /// A skip with something wrong beside it is no skip.
    fn failed(&self) -> bool {
        !self.passed && (!self.wrong.is_empty() || self.skipped.is_none())
    }
}

/// So many at a time: they wait more than they work.
const JOBS: &str = "3";

/// Runs all of them; a variant is a test. Skips go to the log that the tests use.
pub(super) fn play(command: &dyn Fn() -> Command, skip_log: &Path) -> anyhow::Result<Outcome> {
    run(command, &[], "", skip_log)
}

/// Tries `lastack fix` on all of them; a fix is a test.
pub(super) fn repair(command: &dyn Fn() -> Command, skip_log: &Path) -> anyhow::Result<Outcome> {
    run(command, &["--repair"], "repair::", skip_log)
}

/// A scenario with something wrong runs once more, alone, and that is what counts: beside others, or on a machine
/// that others use, a kernel may be late where virtual time is not. What was wrong at first stays on the screen.
fn run(
    command: &dyn Fn() -> Command,
    how: &[&str],
    prefix: &str,
    skip_log: &Path,
) -> anyhow::Result<Outcome> {
    let mut tried = lab_run(command(), &[how, &["--all", "--jobs", JOBS]].concat(), prefix, "not right yet")?;
    let mut wrong: Vec<String> = Vec::new();
    for line in tried.iter().filter(|line| line.failed()) {
        if !wrong.contains(&line.scenario) {
            wrong.push(line.scenario.clone());
        }
    }
    for scenario in wrong {
        println!("{scenario} again, alone");
        let alone = lab_run(command(), &[how, &[&scenario]].concat(), prefix, "FAILED")?;
        tried.retain(|line| line.scenario != scenario);
        tried.extend(alone);
    }
    let mut count = Count::default();
    let mut log = std::fs::OpenOptions::new().append(true).create(true).open(skip_log)?;
    for line in &tried {
        // A skip counts as passed here, as with a test that returns early, and is taken off with the log.
        *(if line.failed() { &mut count.failed } else { &mut count.passed }) += 1;
        if let Some(reason) = &line.skipped {
            writeln!(log, "{}\t{reason}", line.name(prefix))?;
        }
    }
    Ok(Outcome::Tests { ok: count.failed == 0, count })
}

/// Each line of a `lab run`, shown as it comes; one that failed by the word `failed`.
fn lab_run(mut command: Command, what: &[&str], prefix: &str, failed: &str) -> anyhow::Result<Vec<Line>> {
    command.args(["lab", "run", "--json"]).args(what).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().context("lastack does not run")?;
    let mut lines = Vec::new();
    for line in child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()) {
        let line: Line = serde_json::from_str(&line?).context("a line of `lab run --json`")?;
        let said = match (line.passed, line.failed()) {
            (true, _) => "passed",
            (false, false) => "skipped",
            (false, true) => failed,
        };
        println!("{said} {} ({})", line.name(prefix), line.on);
        for wrong in &line.wrong {
            println!("    {wrong}");
        }
        lines.push(line);
    }
    let status = child.wait()?;
    // 0: all was as expected, 1: something was not, and its line says so. All else is not told by the lines.
    let told = match status.code() {
        Some(0) => true,
        Some(1) => lines.iter().any(Line::failed),
        _ => false,
    };
    anyhow::ensure!(told, "`lastack lab run {}` ended with {status}", what.join(" "));
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stands in for `lastack`: what it prints and how it ends with `--all`, and with the scenario alone.
    fn lastack(together: (&str, u8), alone: (&str, u8)) -> impl Fn() -> Command {
        let ends = |(lines, code): (&str, u8)| format!("printf '{lines}'; exit {code}");
        let script = format!(
            r#"case "$*" in *--all*) {};; "lab run --json one") {};; *) exit 9;; esac"#,
            ends(together),
            ends(alone)
        );
        move || {
            let mut command = Command::new("sh");
            command.args(["-c", &script, "lastack"]);
            command
        }
    }

    fn line(scenario: &str, variant: &str, wrong: &str, skipped: &str) -> String {
        let passed = wrong == "[]" && skipped == "null";
        format!(
            r#"{{"scenario":"{scenario}","variant":"{variant}","on":"both","wrong":{wrong},"passed":{passed},"skipped":{skipped}}}\n"#
        )
    }

    #[test]
    fn what_is_wrong_beside_others_counts_as_it_is_alone() {
        let right = |variant: &str| line("one", variant, "[]", "null");
        let wrong = |variant: &str| line("one", variant, r#"["late"]"#, "null");
        let other = line("two", "as-is", "[]", r#""no nginx""#);
        let dir = crate::target_dir().join(format!("xtask-scenarios-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let log = dir.join("skips");
        let counts = |together: (&str, u8), alone: (&str, u8)| match play(&lastack(together, alone), &log) {
            Ok(Outcome::Tests { count, ok }) => Some((count.passed, count.failed, ok)),
            _ => None,
        };
        let first = format!("{}{}{other}", wrong("a"), right("b"));
        let second = |a: String, b: String| format!("{a}{b}");
        assert_eq!(counts((&first, 1), (&second(right("a"), right("b")), 0)), Some((3, 0, true)));
        assert_eq!(counts((&first, 1), (&second(wrong("a"), right("b")), 1)), Some((2, 1, false)));
        assert_eq!(counts((&first, 1), (&second(right("a"), wrong("b")), 1)), Some((2, 1, false)));
        // What no line tells is not made good by another run.
        assert_eq!(counts((&first, 2), (&second(right("a"), right("b")), 0)), None);
        assert_eq!(counts((&right("a"), 1), (&right("a"), 0)), None);
        assert_eq!(counts((&first, 1), ("", 9)), None);
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "two::as-is\tno nginx\n".repeat(3));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
