//! The findings: claim, evidence, what to do in order, what not to do, and the command to run next.

use super::counted;
use crate::Report;
use crate::pen::{Paint, Pen};
use crate::visible::shell_quoted;
use diagnose::{Applicability, Avoid, Change, Confidence, Finding, Remedy, Severity, in_namespace};
use std::fmt::Write as _;
use std::io::{self, Write};

/// So many findings are told in full, and so many of one rule; the others in a line each, as many as this, and
/// after those they are counted.
const IN_FULL: usize = 10;
const OF_ONE_RULE: usize = 3;
const IN_A_LINE: usize = 20;
/// So much of one finding.
const EVIDENCE: usize = 6;
const REMEDIES: usize = 8;
/// So many remedies are told with what they do; after them, those that change a setting.
const EXPLAINED: usize = 2;
const AVOIDS: usize = 3;

pub(super) fn write<W: Write>(report: &Report, pen: &mut Pen<'_, W>) -> io::Result<()> {
    let mut told: Vec<&Finding> = Vec::new();
    let (mut lines, mut counted_only) = (0, report.not_shown.findings);
    let mut after_line = false;
    for finding in &report.findings {
        let of_rule = told.iter().filter(|other| other.rule == finding.rule).count();
        if told.len() < IN_FULL && of_rule < OF_ONE_RULE {
            pen.blank()?;
            let before = told.iter().find(|other| same_advice(other, finding));
            full(report, pen, finding, before.copied(), &told)?;
            told.push(finding);
            after_line = false;
        } else if lines < IN_A_LINE {
            if !after_line {
                pen.blank()?;
            }
            claim(pen, finding, &super::of_netns(report, &finding.subject.netns))?;
            lines += 1;
            after_line = true;
        } else {
            counted_only += 1;
        }
    }
    if counted_only > 0 {
        let more = counted(counted_only as u64, "more finding is", "more findings are");
        pen.flow(&[], 0, (Paint::Faint, &format!("{more} not shown here; --json has up to 200.")))?;
    }
    Ok(())
}

/// Two findings of one rule that ask for the same: it is said once.
fn same_advice(one: &Finding, other: &Finding) -> bool {
    one.rule == other.rule
        && one.remedies == other.remedies
        && one.avoid == other.avoid
        && !one.remedies.is_empty()
}

fn mark(severity: Severity) -> (Paint, &'static str) {
    match severity {
        Severity::Error => (Paint::Error, "ERROR"),
        Severity::Warning => (Paint::Warning, "WARNING"),
        Severity::Note => (Paint::Note, "NOTE"),
    }
}

/// Where the text after a label begins.
fn gutter<W: Write>(pen: &Pen<'_, W>) -> usize {
    if pen.is_narrow() { 2 } else { 9 }
}

fn claim<W: Write>(pen: &mut Pen<'_, W>, finding: &Finding, place: &str) -> io::Result<()> {
    let (paint, word) = mark(finding.severity);
    let lead = if pen.is_narrow() { format!("{word} ") } else { format!("{word:9}") };
    pen.flow(&[(paint, &lead)], gutter(pen), (Paint::Strong, &format!("{place}{}", finding.claim)))
}

/// A labelled paragraph: `seen     sock_diag: ...`.
fn labelled<W: Write>(pen: &mut Pen<'_, W>, label: &str, text: &str) -> io::Result<()> {
    let lead = lead(pen, label);
    let hang = if pen.is_narrow() { 4 } else { gutter(pen) };
    pen.flow(&[(Paint::Faint, &lead)], hang, (Paint::Plain, text))
}

fn lead<W: Write>(pen: &Pen<'_, W>, label: &str) -> String {
    match (pen.is_narrow(), label) {
        (true, "") => "    ".to_owned(),
        (true, label) => format!("  {label}: "),
        (false, label) => format!("  {label:7}"),
    }
}

fn full<W: Write>(
    report: &Report,
    pen: &mut Pen<'_, W>,
    finding: &Finding,
    like: Option<&Finding>,
    told: &[&Finding],
) -> io::Result<()> {
    claim(pen, finding, "")?;
    let sure = match finding.confidence {
        Confidence::Certain => "certain",
        Confidence::Likely => "likely",
        Confidence::Possible => "possible: the evidence fits other causes too",
    };
    let netns = super::in_netns(report, &finding.subject.netns);
    let indent = " ".repeat(gutter(pen));
    pen.flow(
        &[(Paint::Plain, &indent)],
        gutter(pen),
        (Paint::Faint, &format!("{}{netns}, {sure}", finding.rule)),
    )?;
    for (place, evidence) in finding.evidence.iter().take(EVIDENCE).enumerate() {
        let said = format!("{}: {}", evidence.source, evidence.says);
        labelled(pen, if place == 0 { "seen" } else { "" }, &said)?;
    }
    if let Some(like) = like {
        let elsewhere = like.subject.netns != finding.subject.netns;
        let changes: Vec<&Change> = finding.remedies.iter().flat_map(|remedy| &remedy.changes).collect();
        let here = if elsewhere && !changes.is_empty() { "; here the commands are" } else { "" };
        labelled(pen, "do", &format!("as above, for \"{}\"{here}", super::gist(like)))?;
        for change in changes.iter().filter(|_| elsewhere) {
            exact(report, pen, &finding.subject.netns, change, gutter(pen))?;
        }
    } else {
        remedies(report, pen, finding)?;
        // The same warning is given once a page.
        let said = |avoid: &Avoid| {
            told.iter().any(|other| other.avoid.iter().take(AVOIDS).any(|known| known == avoid))
        };
        for avoid in finding.avoid.iter().take(AVOIDS).filter(|avoid| !said(avoid)) {
            labelled(pen, "don't", &format!("{}: {}", avoid.what, avoid.because))?;
        }
    }
    if let Some(next) = &finding.next {
        let lead = lead(pen, "next");
        pen.command(&[(Paint::Faint, &lead)], gutter(pen), next)?;
    }
    Ok(())
}

fn remedies<W: Write>(report: &Report, pen: &mut Pen<'_, W>, finding: &Finding) -> io::Result<()> {
    for (place, remedy) in finding.remedies.iter().take(REMEDIES).enumerate() {
        let number = format!("{}. ", place + 1);
        let label = lead(pen, if place == 0 { "do" } else { "" });
        let hang = if pen.is_narrow() { 4 } else { gutter(pen) + number.len() };
        let tag = match remedy.applicability {
            Applicability::Safe => " [safe, can be taken back]",
            Applicability::Unsafe => " [can be taken back, has a price]",
            Applicability::DisplayOnly => "",
        };
        let summary = format!("{}{tag}", remedy.summary);
        pen.flow(&[(Paint::Faint, &label), (Paint::Strong, &number)], hang, (Paint::Plain, &summary))?;
        for change in &remedy.changes {
            exact(report, pen, &finding.subject.netns, change, hang)?;
        }
        let explained = place < EXPLAINED || !remedy.changes.is_empty();
        if explained && finding.severity > Severity::Note {
            outcome(pen, remedy, hang)?;
        }
    }
    let more = finding.remedies.len().saturating_sub(REMEDIES);
    if more > 0 {
        let said = format!("{more} more: lastack explain {}", finding.rule);
        labelled(pen, "", &said)?;
    }
    Ok(())
}

/// A change as the command that makes it, and what to go back to.
fn exact<W: Write>(
    report: &Report,
    pen: &mut Pen<'_, W>,
    netns: &str,
    change: &Change,
    indent: usize,
) -> io::Result<()> {
    let margin = " ".repeat(indent);
    let (setting, from, to) = match change {
        Change::Setting { setting, from, to } => (setting, from, to),
        Change::AtBoot { setting, from, to } => {
            let said = format!("in /etc/sysctl.d: {setting} = {to}");
            pen.flow(&[(Paint::Plain, &margin)], indent, (Paint::Command, &said))?;
            let now = format!("(at boot {from} so far)");
            return pen.flow(&[(Paint::Plain, &margin)], indent, (Paint::Faint, &now));
        }
        Change::Program(change) => {
            let said = format!("{}:{}: {}", change.file, change.line, change.what);
            return pen.flow(&[(Paint::Plain, &margin)], indent, (Paint::Command, &said));
        }
    };
    if setting.starts_with("net.") {
        let words = |value: &str| value.split_whitespace().collect::<Vec<_>>().join(" ");
        let assignment = format!("{setting}={}", words(to));
        let command = in_namespace(
            netns,
            super::is_here(report, netns),
            &format!("sysctl -w {}", shell_quoted(&assignment)),
        );
        pen.command(&[], indent, &command)?;
        let now = if from.is_empty() { "empty".to_owned() } else { words(from) };
        return pen.flow(&[(Paint::Plain, &margin)], indent, (Paint::Faint, &format!("(now {now})")));
    }
    let said = format!("{setting}: {from} -> {to}");
    pen.flow(&[(Paint::Plain, &margin)], indent, (Paint::Command, &said))
}

/// What a remedy does, and what it may cost; a risk that is none is not worth a line.
fn outcome<W: Write>(pen: &mut Pen<'_, W>, remedy: &Remedy, indent: usize) -> io::Result<()> {
    let margin = " ".repeat(indent);
    let mut said = remedy.expected.trim_end_matches('.').to_owned();
    if !remedy.risk.is_empty() && !remedy.risk.starts_with("none") {
        let gap = if said.is_empty() { "" } else { "; " };
        let _ = write!(said, "{gap}risk: {}", remedy.risk);
    }
    if said.is_empty() {
        return Ok(());
    }
    pen.flow(&[(Paint::Plain, &margin), (Paint::Faint, "=> ")], indent + 3, (Paint::Faint, &said))
}
