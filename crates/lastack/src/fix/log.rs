//! `lastack fix --log`: what was done, after settling what was not finished.

use crate::arguments::Fix;
use crate::{Outcome, screen};
use anyhow::bail;
use remedy::{Entry, Measured, Recovered, Store, StoreError, Undone};
use report::{LogPage, LogPart};
use serde::Serialize;
use std::process::ExitCode;
use std::time::Duration;

/// An apply that has just lost its terminal is done within this time.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Serialize)]
struct Log<'a> {
    schema: &'static str,
    settled: Vec<&'a str>,
    applies: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    at: &'a str,
    ended_at: Option<&'a str>,
    outcome: &'static str,
    because: &'a str,
    about: &'a [String],
    takes_back: Option<&'a str>,
    left: Vec<String>,
    measured: &'a [Measured],
}

pub(super) fn run(options: &Fix) -> Outcome {
    let store = super::store(options)?;
    let recovered = settle(&store)?;
    let entries = store.entries()?;
    let mut text = Vec::new();
    if options.output.json {
        let log = Log {
            schema: "lastack.fix-log/1",
            settled: recovered.iter().map(|one| one.id.as_str()).collect(),
            applies: entries.iter().filter_map(line).collect(),
        };
        report::write_json(&log, &mut text)?;
    } else {
        report::write_log(&page(&recovered, &entries), &mut text, screen::style(options.output.color))?;
    }
    screen::print(&text)?;
    let failed = recovered.iter().find_map(|one| Some((&one.id, one.settled.failed.first()?)));
    if let Some((id, failed)) = failed {
        bail!("the apply {id} is not settled: {failed}; mend that, then run `lastack fix --log` again");
    }
    Ok(ExitCode::SUCCESS)
}

/// Settles what was not finished, unless somebody is at it.
fn settle(store: &Store) -> anyhow::Result<Vec<Recovered>> {
    if !store.is_used() {
        return Ok(Vec::new());
    }
    let open = store.entries()?.iter().any(|entry| entry.story.ended().is_none());
    if !open {
        return Ok(Vec::new());
    }
    match remedy::wait_for_lock(store, PATIENCE) {
        Ok(lock) => Ok(remedy::recover(&kernel::Root::default(), store, &lock)?),
        Err(StoreError::Busy) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

fn word(entry: &Entry) -> &'static str {
    match entry.story.ended() {
        Some(true) => "kept",
        Some(false) => "rolled-back",
        None => "unfinished",
    }
}

fn left(entry: &Entry) -> Vec<String> {
    let Some(begin) = entry.story.begin() else { return Vec::new() };
    let left = entry.story.undone().filter_map(|(number, outcome)| match outcome {
        Undone::Left { now } => {
            let what = begin.steps.get(number)?.subject();
            Some(format!("{what} was left: somebody else has made it {now}"))
        }
        _ => None,
    });
    left.collect()
}

fn line(entry: &Entry) -> Option<Line<'_>> {
    let begin = entry.story.begin()?;
    Some(Line {
        id: &entry.id,
        at: &begin.at,
        ended_at: entry.story.ended_at(),
        outcome: word(entry),
        because: entry.story.decision().map_or("", |(_, because)| because),
        about: &begin.about,
        takes_back: begin.takes_back.as_deref(),
        left: left(entry),
        measured: entry.story.measured(),
    })
}

fn page(recovered: &[Recovered], entries: &[Entry]) -> LogPage {
    let settled = recovered.iter().flat_map(|one| {
        let how = if one.settled.kept { "its changes stay" } else { "taken back" };
        let first = format!("The apply {} was not finished: {how}.", one.id);
        [first].into_iter().chain(one.settled.left.iter().cloned())
    });
    let applies = entries.iter().filter_map(|entry| {
        let begin = entry.story.begin()?;
        let because = entry.story.decision().map_or("", |(_, because)| because);
        let outcome = match (entry.story.ended(), &begin.takes_back) {
            (Some(true), Some(id)) => format!("takes {id} back"),
            (Some(true), None) => format!("kept: {because}"),
            (Some(false), _) => format!("taken back: {because}"),
            (None, _) => format!("not finished; process {} is or was at it", begin.pid),
        };
        let kept = entry.story.ended() == Some(true);
        let mut notes = left(entry);
        notes.extend(entry.story.damaged.map(|line| format!("the journal is damaged at line {line}")));
        Some(LogPart { id: entry.id.clone(), kept, outcome, about: begin.about.clone(), notes })
    });
    LogPage { settled: settled.collect(), applies: applies.collect() }
}
