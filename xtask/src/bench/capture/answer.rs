//! What lastack answers, held against what the maker of the capture knows; and the memory it takes.

use super::super::race::Reader;
use crate::capture_maker::Made;
use anyhow::Context as _;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{ChildStdout, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Between two looks at the memory of the process.
const LOOK: Duration = Duration::from_millis(1);
/// Bytes of memory a connection, beside the file if that is mapped.
const GOAL: f64 = 200.0;

/// The fields of a line that the maker knows the sums of.
#[derive(Deserialize)]
struct Line {
    syns: u64,
    fins: Sides,
    resets: Sides,
    packets: Sides,
    ending: String,
    reuses: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Sides {
    client: u64,
    server: u64,
}

impl Sides {
    fn both(&self) -> u64 {
        self.client + self.server
    }
}

/// Sums over all lines.
#[derive(Default)]
pub(super) struct Answer {
    connections: u64,
    syns: u64,
    fins: u64,
    resets: u64,
    packets: u64,
    tuples_again: u64,
    endings: BTreeMap<String, u64>,
    /// Most anonymous memory that was seen, and the largest resident set as the kernel counts it.
    anonymous: u64,
    resident: u64,
}

impl Answer {
    /// Runs it once, reads every line, and looks at its memory meanwhile.
    pub(super) fn of(reader: &Reader) -> anyhow::Result<Self> {
        let start = Instant::now();
        let mut child = reader.command().stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take().context("no pipe")?;
        let status = format!("/proc/{}/status", child.id());
        let done = AtomicBool::new(false);
        let (answer, anonymous) = std::thread::scope(|scope| {
            let watch = scope.spawn(|| {
                let mut most = 0;
                while !done.load(Ordering::Relaxed) {
                    most = most.max(anonymous(&status).unwrap_or(0));
                    std::thread::sleep(LOOK);
                }
                most
            });
            let answer = Self::read(out);
            done.store(true, Ordering::Relaxed);
            (answer, watch.join().unwrap_or(0))
        });
        let end = reader.wait(child, start);
        let mut answer = answer?;
        (answer.anonymous, answer.resident) = (anonymous, end?.peak_bytes);
        Ok(answer)
    }

    fn read(out: ChildStdout) -> anyhow::Result<Self> {
        let mut answer = Self::default();
        let mut lines = BufReader::with_capacity(1 << 20, out);
        let mut line = String::new();
        while lines.read_line(&mut line)? > 0 {
            let one: Line =
                serde_json::from_str(&line).with_context(|| format!("not the line agreed on: {line}"))?;
            answer.connections += 1;
            answer.syns += one.syns;
            answer.fins += one.fins.both();
            answer.resets += one.resets.both();
            answer.packets += one.packets.both();
            answer.tuples_again += u64::from(one.reuses.is_some());
            *answer.endings.entry(one.ending).or_default() += 1;
            line.clear();
        }
        Ok(answer)
    }

    pub(super) fn print(&self, made: &Made) {
        let truth = &made.truth;
        println!("\nlastack read --json, every line read");
        for (what, counted, true_count) in [
            ("connections, to opening SYNs", self.connections, truth.opening_syns),
            ("packets", self.packets, truth.packets),
            ("SYNs", self.syns, truth.syns),
            ("FINs", self.fins, truth.fins),
            ("resets", self.resets, truth.resets),
            ("tuples used again", self.tuples_again, truth.tuples_again),
        ] {
            let verdict = if counted == true_count { "EXACT" } else { "OFF" };
            println!("  {what:33} {counted:>12} of {true_count:>12}  {verdict}");
        }
        let endings: Vec<_> =
            self.endings.iter().map(|(ending, count)| format!("{count} {ending}")).collect();
        println!("  endings: {}", endings.join(", "));
        let each = self.anonymous as f64 / truth.opening_syns.max(1) as f64;
        println!(
            "  peak memory (RssAnon, seen every ms, largest) {:.1} MiB = {each:.0} bytes a connection  goal <= {GOAL}: {}; \
             resident with mapped files {:.1} MiB",
            mebibytes(self.anonymous),
            if each <= GOAL { "PASS" } else { "OVER" },
            mebibytes(self.resident),
        );
    }
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// proc_pid_status(5): the resident memory that no file is behind.
fn anonymous(status: &str) -> Option<u64> {
    let text = std::fs::read_to_string(status).ok()?;
    let field = text.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    field.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}
