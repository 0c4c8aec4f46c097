//! What `lastack fix` says: plans, progress and outcomes, for people and as JSON.

use diagnose::Applicability;
use remedy::{Change, Event, Measured, Outcome, Plan, Planned};
use report::{DiffPart, MeasuredRow, OutcomePage, PlanPage, PlanPart};
use serde::Serialize;
use std::path::Path;

/// A plan as JSON.
#[derive(Serialize)]
pub(super) struct PlanJson<'a> {
    schema: &'static str,
    #[serde(flatten)]
    plan: &'a Plan,
    #[serde(skip_serializing_if = "Option::is_none")]
    when_kept: Option<FileJson<'a>>,
    notes: &'a [String],
}

/// A file before and after.
#[derive(Serialize)]
struct FileJson<'a> {
    file: &'static str,
    from: &'a str,
    to: &'a str,
}

/// What our file of sysctl.d holds, before and after.
pub(super) type Lasting = (String, String);

impl<'a> PlanJson<'a> {
    pub(super) fn new(plan: &'a Plan, lasting: Option<&'a Lasting>, notes: &'a [String]) -> Self {
        let when_kept = lasting.map(|(from, to)| FileJson { file: remedy::DURABLE_FILE, from, to });
        Self { schema: remedy::SCHEMA, plan, when_kept, notes }
    }
}

/// An outcome as JSON.
#[derive(Serialize)]
pub(super) struct OutcomeJson<'a> {
    schema: &'static str,
    id: Option<&'a str>,
    outcome: &'static str,
    because: &'a str,
    failed: &'a [String],
    left: &'a [String],
    notes: &'a [String],
    measured: &'a [Measured],
}

impl<'a> OutcomeJson<'a> {
    pub(super) fn new(outcome: &'a Outcome) -> Self {
        Self {
            schema: "lastack.fix/1",
            id: outcome.id.as_deref(),
            outcome: match outcome.kept {
                Some(true) => "kept",
                Some(false) => "rolled-back",
                None => "nothing-to-do",
            },
            because: &outcome.because,
            failed: &outcome.failed,
            left: &outcome.left,
            notes: &outcome.notes,
            measured: &outcome.measured,
        }
    }
}

/// What a second watch saw, as JSON.
#[derive(Serialize)]
pub(super) struct WatchJson<'a> {
    schema: &'static str,
    id: &'a str,
    holds: bool,
    tripped: &'a [String],
}

impl<'a> WatchJson<'a> {
    pub(super) fn new(id: &'a str, tripped: &'a [String]) -> Self {
        Self { schema: "lastack.fix-watch/1", id, holds: tripped.is_empty(), tripped }
    }
}

/// A plan for people. `lasting` is what is written when it is kept, `file` where it is, `asked` what was looked at, if it
/// may be applied next.
pub(super) fn plan(
    plan: &Plan,
    lasting: Option<&Lasting>,
    notes: Vec<String>,
    file: Option<&Path>,
    asked: Option<Vec<String>>,
) -> PlanPage {
    let (all, chosen) = (plan.remedies.len(), plan.chosen().count());
    let on = if plan.host.is_empty() { String::new() } else { format!(" on {}", plan.host) };
    let headline = match (all, chosen) {
        (0, _) => format!("Nothing to do{on}: no finding asks for anything."),
        (_, 0) => format!("Nothing is to be applied{on}; {all} remedies are offered."),
        (1, 1) => format!("1 remedy is to be applied{on}."),
        _ => format!(
            "{chosen} of {all} remedies {} to be applied{on}.",
            if chosen == 1 { "is" } else { "are" }
        ),
    };
    let next = asked.filter(|_| chosen > 0).map(|asked| {
        let what = match file {
            Some(file) => {
                vec!["--plan".to_owned(), report::shell_quoted(&file.display().to_string()).into_owned()]
            }
            None => {
                names(plan.chosen()).iter().flat_map(|name| ["--remedy", *name].map(str::to_owned)).collect()
            }
        };
        let words = ["lastack", "fix"].map(str::to_owned).into_iter().chain(asked);
        let words = words.chain(what).chain(["--apply".to_owned()]);
        words.collect::<Vec<_>>().join(" ")
    });
    let next = next.into_iter().collect();
    let remedies = plan.remedies.iter().map(|remedy| part(remedy, lasting)).collect();
    let when_kept = lasting.map(|(from, to)| DiffPart {
        what: format!("{}, for the next boot", remedy::DURABLE_FILE),
        lines: file_diff(from, to),
        inverse: "these lines go again, and what they took the place of comes back".to_owned(),
    });
    PlanPage { headline, remedies, when_kept: when_kept.into_iter().collect(), notes, next }
}

fn part(remedy: &Planned, lasting: Option<&Lasting>) -> PlanPart {
    let tag = match remedy.applicability {
        Applicability::Safe => "safe, can be taken back".to_owned(),
        Applicability::Unsafe if remedy.apply => "has a price, was named; can be taken back".to_owned(),
        Applicability::Unsafe => {
            format!("has a price: only with --remedy {}; can be taken back", remedy.name)
        }
        Applicability::DisplayOnly => "for a person".to_owned(),
    };
    let diff = |change: &Change| {
        let shown = |value: &str| if value.is_empty() { "(empty)".to_owned() } else { value.to_owned() };
        let inside = |what: String| {
            if remedy.netns == "host" { what } else { format!("{what} in {}", remedy.netns) }
        };
        let lasts = |setting: &str, to: &str| {
            let line = format!("{setting} = {to}");
            remedy.apply && lasting.is_some_and(|(_, file)| file.lines().any(|other| other == line))
        };
        match change {
            Change::Setting { setting, from, to } => DiffPart {
                what: inside(setting.clone()),
                lines: vec![('-', shown(from)), ('+', shown(to))],
                inverse: if lasts(setting, to) {
                    format!("{setting} = {}, and its line out of {}", shown(from), remedy::DURABLE_FILE)
                } else {
                    format!("{setting} = {}", shown(from))
                },
            },
            Change::AtBoot { from, to, .. } => DiffPart {
                what: format!("{}, by {}", inside(change.what()), remedy::DURABLE_FILE),
                lines: vec![('-', shown(from)), ('+', shown(to))],
                inverse: "the line out of that file".to_owned(),
            },
            Change::File { file, program, from, to } => DiffPart {
                what: format!("{}, tested and taken by {}", file.display(), program.name()),
                lines: file_diff(from, to),
                inverse: "the file as it was; the journal keeps it".to_owned(),
            },
        }
    };
    let mut guards = remedy.guards.clone();
    if !guards.is_empty() {
        guards.push("and those of every change (docs/fix.md)".to_owned());
    }
    PlanPart {
        apply: remedy.apply,
        name: remedy.name.clone(),
        tag,
        summary: remedy.summary.clone(),
        why: remedy.why.clone(),
        changes: remedy.changes.iter().map(diff).collect(),
        expected: remedy.expected.clone(),
        predicted: foretold(remedy),
        risk: remedy.risk.clone(),
        guards,
    }
}

/// What is foretold. Why it is not matters where the change can be made at once; of advice it is known by its nature.
fn foretold(remedy: &Planned) -> Option<String> {
    let predicted = remedy.predicted.as_ref();
    predicted.filter(|said| !remedy.changes.is_empty() || !said.starts_with(super::foretold::NOT)).cloned()
}

/// How a tab is shown: as it stands, a terminal would move its cursor.
const TAB: &str = "    ";

/// The lines of a file that change, with three around them.
fn file_diff(from: &str, to: &str) -> Vec<(char, String)> {
    let diff = similar::TextDiff::from_lines(from, to);
    let mut lines = Vec::new();
    for group in diff.grouped_ops(3) {
        let first = group.first().map_or(0, |op| op.old_range().start).saturating_add(1);
        lines.push((' ', format!("line {first}:")));
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let mark = match change.tag() {
                similar::ChangeTag::Delete => '-',
                similar::ChangeTag::Insert => '+',
                similar::ChangeTag::Equal => ' ',
            };
            lines.push((mark, change.value().trim_end_matches('\n').replace('\t', TAB)));
        }
    }
    lines
}

/// What remedies are called. Several may have one name, one for each program that they are about.
fn names<'a>(remedies: impl Iterator<Item = &'a Planned>) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for remedy in remedies {
        if !names.contains(&remedy.name.as_str()) {
            names.push(&remedy.name);
        }
    }
    names
}

/// What to say where nothing is chosen. `file` is where the plan is.
pub(super) fn nothing(plan: &Plan, file: Option<&Path>) -> Vec<String> {
    let with_price = names(plan.remedies.iter().filter(|remedy| !remedy.changes.is_empty()));
    if with_price.is_empty() {
        return vec!["no finding offers a remedy that can be applied".to_owned()];
    }
    if let Some(file) = file {
        return vec![format!(
            "nothing in the plan is chosen: set `apply = true` in {} for {}",
            file.display(),
            with_price.join(", ")
        )];
    }
    vec![format!(
        "what is offered must be named, it has a price: --remedy {}",
        with_price.join(", --remedy ")
    )]
}

/// A sign of life, one line; none for what is told at the end. `back` if an apply is taken back.
pub(super) fn progress(event: &Event, back: bool) -> Option<String> {
    let seconds =
        |ms: &u64| report::length_text(i64::try_from(ms.saturating_mul(1_000_000)).unwrap_or(i64::MAX));
    Some(match event {
        Event::Recovered { id, kept, left } => {
            let how = if *kept { "its changes stay" } else { "taken back" };
            let how: Vec<&str> = [how].into_iter().chain(left.iter().map(String::as_str)).collect();
            format!("The apply {id} was not finished: {}", how.join("; "))
        }
        Event::Began { id, .. } => format!("Apply {id}: the journal is on disk"),
        Event::Measuring { for_ms } => format!("Counters before the change: {}", seconds(for_ms)),
        Event::Taken { what } => format!("Done: {what}"),
        Event::Watching { for_ms } => format!("Guards: watched for {}", seconds(for_ms)),
        Event::Asking { for_ms, guards } => {
            format!("{guards}. Keep it? [y/N] (taken back in {} without an answer) ", seconds(for_ms))
        }
        Event::Decided { keep: true, .. } if back => "Taking it back".to_owned(),
        Event::Decided { keep: true, because } => format!("Kept: {because}"),
        Event::Decided { keep: false, because } => format!("Taking back: {because}"),
        Event::Refused { .. } | Event::Nothing { .. } | Event::Ended { .. } | Event::After { .. } => {
            return None;
        }
    })
}

/// An outcome for people. `state_dir` is where its journal is, if it was said where.
pub(super) fn outcome(outcome: &Outcome, back: bool, state_dir: Option<&Path>) -> OutcomePage {
    let id = outcome.id.as_deref().unwrap_or_default();
    let (good, headline) = match outcome.kept {
        _ if !outcome.failed.is_empty() => (false, format!("Not finished ({id}): {}", outcome.because)),
        Some(true) if back && outcome.left.is_empty() => (true, format!("Taken back, as apply {id}.")),
        Some(true) if back => (false, format!("Taken back as far as it was still ours, as apply {id}.")),
        Some(true) => (true, format!("Kept, as apply {id}: {}.", outcome.because)),
        Some(false) => (false, format!("Taken back ({id}): {}.", outcome.because)),
        None => (outcome.left.is_empty(), "Nothing to do.".to_owned()),
    };
    let first = outcome.measured.first().map(|row| &row.netns);
    let one_netns = outcome.measured.iter().all(|row| Some(&row.netns) == first);
    let rows = outcome.measured.iter().map(|row| MeasuredRow {
        counter: if one_netns { row.counter.clone() } else { format!("{} in {}", row.counter, row.netns) },
        per_second: [row.before_per_second, row.during_per_second, row.after_per_second],
        tripped: row.tripped,
    });
    let at = state_dir.map_or_else(String::new, |folder| {
        format!(" --state-dir {}", report::shell_quoted(&folder.to_string_lossy()))
    });
    let next = match outcome.kept {
        _ if !outcome.failed.is_empty() => vec![format!("lastack fix{at} --log")],
        Some(true) if !back => vec![format!("lastack fix{at} --rollback {id}")],
        _ => Vec::new(),
    };
    let failed = outcome.failed.iter().map(|failed| format!("could not be done: {failed}"));
    let notes = failed.chain(outcome.left.iter().cloned()).chain(outcome.notes.iter().cloned());
    OutcomePage { good, headline, notes: notes.collect(), measured: rows.collect(), next }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_several_remedies_have_is_said_once() {
        let one = |apply: bool, setting: &str| {
            format!(
                "[[remedy]]\napply = {apply}\nname = \"larger-pool\"\nrule = \"upstream-keepalive-small\"\nnetns = \"host\"\n\
                 applicability = \"unsafe\"\nsummary = \"Try\"\n[[remedy.change]]\nsetting = \"{setting}\"\n\
                 from = \"1\"\nto = \"2\"\n"
            )
        };
        let of = |apply| {
            let both = ["net.ipv4.tcp_tw_reuse", "net.core.somaxconn"].map(|setting| one(apply, setting));
            Plan::from_text(&format!("schema = \"{}\"\nhost = \"\"\n{}", remedy::SCHEMA, both.concat()))
                .unwrap()
        };
        let said = nothing(&of(false), None);
        assert_eq!(said, ["what is offered must be named, it has a price: --remedy larger-pool"]);
        let said = nothing(&of(false), Some(Path::new("plan.toml")));
        assert_eq!(said, ["nothing in the plan is chosen: set `apply = true` in plan.toml for larger-pool"]);
        let page = plan(&of(true), None, Vec::new(), None, Some(Vec::new()));
        assert_eq!(page.next, ["lastack fix --remedy larger-pool --apply"]);
    }
}
