//! The end of every page: what this look could not see, and how to see it.

use super::has_many;
use crate::Report;
use crate::pen::{Paint, Pen};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write};

/// So many reasons are told.
const REASONS: usize = 12;
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
    if reasons.is_empty() {
        pen.blank()?;
        return pen.flow(&[], 0, (Paint::Faint, "This look saw everything that its rules ask for."));
    }
    pen.heading("What this look could not see", "")?;
    for reason in reasons.iter().take(REASONS) {
        let mut said = reason.because.trim_end_matches('.').to_owned();
        if has_many(report) && !reason.namespaces.is_empty() {
            let _ = write!(said, " (in {})", listed(&reason.namespaces));
        }
        if !reason.rules.is_empty() {
            let _ = write!(said, "; undecided: {}", listed(&reason.rules));
        }
        pen.flow(&[(Paint::Plain, "  - ")], 4, (Paint::Plain, &said))?;
        if !reason.how_to_see.is_empty() {
            pen.flow(
                &[(Paint::Plain, "    "), (Paint::Faint, "to see it: ")],
                6,
                (Paint::Command, reason.how_to_see),
            )?;
        }
    }
    let more = reasons.len().saturating_sub(REASONS);
    let unlisted = report.not_shown.coverage + report.not_shown.unknown;
    if more + unlisted > 0 {
        let said = format!("    and {} more reasons; --json has up to 200", more + unlisted);
        pen.flow(&[(Paint::Plain, "  ")], 4, (Paint::Faint, said.trim_start()))?;
    }
    Ok(())
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
    let shown: Vec<&str> = names.iter().copied().take(NAMES).collect();
    match names.len().saturating_sub(NAMES) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
