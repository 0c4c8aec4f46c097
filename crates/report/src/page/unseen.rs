//! The end of every page: what this look could not see, and how to see it.

use super::has_many;
use crate::Report;
use crate::pen::{Paint, Pen};
use diagnose::{Rule, Verdict};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write};

/// So many ways to see more are told, and so many reasons for each.
const WAYS: usize = 8;
const REASONS: usize = 4;
/// So many rules or namespaces are named for each.
const NAMES: usize = 4;

/// Everything that is missing for one reason and can be had in one way.
struct Reason<'a> {
    because: &'a str,
    how_to_see: &'a str,
    rules: BTreeSet<&'a str>,
    namespaces: BTreeSet<&'a str>,
}

pub(super) fn write<W: Write>(report: &Report, pen: &mut Pen<'_, W>) -> io::Result<()> {
    let reasons = reasons(report);
    let nothing = report.host.namespaces.is_empty() && report.traffic.is_none();
    if reasons.is_empty() && !nothing {
        pen.blank()?;
        return pen.flow(&[], 0, (Paint::Faint, "This look saw everything that its rules ask for."));
    }
    pen.heading("What this look could not see", "")?;
    if nothing {
        pen.flow(
            &[(Paint::Plain, "  - ")],
            4,
            (Paint::Plain, "anything: the case holds no network namespace"),
        )?;
        remedy(pen, "lastack doctor --save FILE, on the host in question")?;
    }
    let mut ways: Vec<&str> = Vec::new();
    for reason in &reasons {
        if !ways.contains(&reason.how_to_see) {
            ways.push(reason.how_to_see);
        }
    }
    let mut more = report.not_shown.coverage + report.not_shown.unknown;
    for (place, way) in ways.iter().enumerate() {
        let same = || reasons.iter().filter(|reason| reason.how_to_see == *way);
        if place >= WAYS {
            more += same().count();
            continue;
        }
        for reason in same().take(REASONS) {
            pen.flow(&[(Paint::Plain, "  - ")], 4, (Paint::Plain, &in_words(report, reason)))?;
        }
        let rest = same().count().saturating_sub(REASONS);
        if rest > 0 {
            let said =
                format!("and {} of this kind", super::counted(rest as u64, "more reason", "more reasons"));
            pen.flow(&[(Paint::Plain, "  - ")], 4, (Paint::Plain, &said))?;
        }
        if !way.is_empty() {
            remedy(pen, way)?;
        }
    }
    if more > 0 {
        let said = format!(
            "and {}; --json has up to 200",
            super::counted(more as u64, "more reason", "more reasons")
        );
        pen.flow(&[(Paint::Plain, "  - ")], 4, (Paint::Faint, &said))?;
    }
    Ok(())
}

fn remedy<W: Write>(pen: &mut Pen<'_, W>, way: &str) -> io::Result<()> {
    pen.flow(&[(Paint::Plain, "    "), (Paint::Faint, "to see it: ")], 6, (Paint::Command, way))
}

fn in_words(report: &Report, reason: &Reason<'_>) -> String {
    let mut said = reason.because.trim_end_matches('.').to_owned();
    if has_many(report) && !reason.namespaces.is_empty() {
        let _ = write!(said, " (in {})", listed(&reason.namespaces));
    }
    if is_packets(reason) {
        // Nothing failed, and the rules are always the same: how many is enough.
        let rules = super::counted(reason.rules.len() as u64, "rule", "rules");
        let _ = write!(said, "; undecided: {rules}");
    } else if !reason.rules.is_empty() {
        let _ = write!(said, "; undecided: {}", listed(&reason.rules));
    }
    said
}

/// True if rules are undecided only because nobody gave this look a capture.
fn is_packets(reason: &Reason<'_>) -> bool {
    matches!(Rule::without_packets(), Verdict::Unknown { because, .. } if because == reason.because)
}

fn reasons(report: &Report) -> Vec<Reason<'_>> {
    let mut reasons: Vec<Reason<'_>> = Vec::new();
    let gaps = report.coverage.iter().map(|gap| (&gap.because, &gap.how_to_see, None, gap.netns.as_deref()));
    let unknown = report.unknown.iter().map(|row| (&row.because, &row.how_to_see, Some(row.rule), None));
    for (because, how_to_see, rule, netns) in gaps.chain(unknown) {
        let same = |reason: &Reason<'_>| reason.because == because && reason.how_to_see == how_to_see;
        let place = reasons.iter().position(same).unwrap_or_else(|| {
            reasons.push(Reason { because, how_to_see, rules: BTreeSet::new(), namespaces: BTreeSet::new() });
            reasons.len() - 1
        });
        reasons[place].rules.extend(rule);
        reasons[place].namespaces.extend(netns);
    }
    reasons
}

/// `a, b, c and 7 more`.
fn listed(names: &BTreeSet<&str>) -> String {
    let shown: Vec<String> = names.iter().take(NAMES).map(|name| super::short(name)).collect();
    match names.len().saturating_sub(NAMES) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
