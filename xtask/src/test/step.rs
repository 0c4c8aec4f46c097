//! One step: a name, what it did, how long it took.

use super::count::Count;
use super::skips::{Skip, Skips};
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How a step ended.
pub(super) enum Outcome {
    /// It found nothing wrong.
    Passed,
    /// It found something; why, in one line.
    Failed(String),
    /// It could not run; why, in one line.
    Skipped(String),
    /// It ran tests, which count one by one, and the runner said whether all was well.
    Tests { count: Count, ok: bool },
}

/// Runs a command whose exit code says it all.
pub(super) fn check(command: impl std::borrow::BorrowMut<Command>) -> anyhow::Result<Outcome> {
    let mut command = command;
    let status = command.borrow_mut().status()?;
    Ok(if status.success() { Outcome::Passed } else { Outcome::Failed(status.to_string()) })
}

/// Runs a command that runs tests; what it prints is shown and counted.
pub(super) fn tests(
    command: impl std::borrow::BorrowMut<Command>,
    count: fn(&str) -> Count,
) -> anyhow::Result<Outcome> {
    let mut command = command;
    let mut child = command.borrow_mut().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let printed = std::thread::scope(|scope| {
        let err = scope.spawn(|| err.map(|err| tee(err, std::io::stderr())).unwrap_or_default());
        let mut printed = out.map(|out| tee(out, std::io::stdout())).unwrap_or_default();
        printed.extend(err.join().unwrap_or_default());
        printed
    });
    let ok = child.wait()?.success();
    Ok(Outcome::Tests { count: count(&String::from_utf8_lossy(&printed)), ok })
}

/// Passes everything on and keeps a copy.
fn tee(mut from: impl Read, mut to: impl Write) -> Vec<u8> {
    let mut copy = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        match from.read(&mut buffer) {
            Ok(0) | Err(_) => return copy,
            Ok(length) => {
                copy.extend_from_slice(&buffer[..length]);
                // A reader of our own output that went away must not stop the tests.
                let _ = to.write_all(&buffer[..length]).and_then(|()| to.flush());
            }
        }
    }
}

/// What all steps came to.
pub(super) struct Report {
    only: Option<String>,
    rows: Vec<(&'static str, Duration, String)>,
    passed: usize,
    failed: usize,
    /// What did not run.
    pub(super) skips: Skips,
}

impl Report {
    pub(super) fn new(only: Option<String>, skips: Skips) -> Self {
        Self { only, rows: Vec::new(), passed: 0, failed: 0, skips }
    }

    /// Runs one step and counts it. A step of tests counts as its tests, and as one failure more if the
    /// runner failed without a failed test: it did not compile, or crashed.
    pub(super) fn step(&mut self, name: &'static str, run: impl FnOnce() -> anyhow::Result<Outcome>) {
        if self.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            return;
        }
        println!("== {name}");
        let start = Instant::now();
        let outcome = run().unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
        let took = start.elapsed();
        let said = match outcome {
            Outcome::Passed => {
                self.passed += 1;
                "passed".to_owned()
            }
            Outcome::Failed(why) => {
                self.failed += 1;
                format!("FAILED: {why}")
            }
            Outcome::Skipped(reason) => {
                let said = format!("skipped: {reason}");
                self.skips.push(Skip { name: name.to_owned(), reason, passed_anyway: false });
                said
            }
            Outcome::Tests { count, ok } => {
                let broken = usize::from(!ok && count.failed == 0);
                let said = match (ok, broken) {
                    (true, _) => format!("{} passed", count.passed),
                    (false, 0) => format!("FAILED: {} passed, {} failed", count.passed, count.failed),
                    (false, _) => "FAILED: the tests could not be built or run".to_owned(),
                };
                self.passed += count.passed;
                self.failed += count.failed + broken;
                for name in count.ignored {
                    let reason = "marked #[ignore]".to_owned();
                    self.skips.push(Skip { name, reason, passed_anyway: false });
                }
                said
            }
        };
        println!("== {name}: {said} ({:.1} s)", took.as_secs_f64());
        self.rows.push((name, took, said));
    }

    /// Prints the steps, the skips and the count; true if nothing failed.
    pub(super) fn print(mut self) -> bool {
        println!();
        for (name, took, said) in &self.rows {
            println!("{:>7.1} s  {name}: {said}", took.as_secs_f64());
        }
        // A test that announces a skip still ends well for its runner.
        self.passed = self.passed.saturating_sub(self.skips.passed_anyway());
        for skip in self.skips.all() {
            let note =
                if self.skips.expected(skip) { "" } else { "  [NOT EXPECTED: see xtask/expected-skips.txt]" };
            println!("skipped: {}: {}{note}", skip.name, skip.reason);
        }
        self.failed += self.skips.unexpected();
        println!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skips.all().len());
        self.failed == 0
    }
}
