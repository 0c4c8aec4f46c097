//! The page for the engineer on call: what is wrong, what to do, the numbers behind it, and what was not seen.

use crate::pen::{Paint, Pen};
use crate::report::thousands;
use crate::visible::{clip, visible};
use crate::{Report, Style};
use diagnose::{Finding, Severity};
use evidence::{System, Unseen};
use std::fmt::Write as _;
use std::io::{self, Write};

mod advice;
mod exchanges;
mod numbers;
mod unseen;

/// Writes the page.
///
/// Every line keeps within `style.width` columns, if those are 40 or more, except a command whose single word
/// is longer: commands are broken only where a shell reads on.
pub fn write(report: &Report, out: &mut impl Write, style: Style) -> io::Result<()> {
    let mut pen = Pen::new(out, style);
    headline(report, &mut pen)?;
    host(report, &mut pen)?;
    advice::write(report, &mut pen)?;
    exchanges::write(report, &mut pen)?;
    numbers::write(report, &mut pen)?;
    unseen::write(report, &mut pen)
}

/// The verdict in words.
fn headline<W: Write>(report: &Report, pen: &mut Pen<'_, W>) -> io::Result<()> {
    let summary = &report.summary;
    let problems = summary.errors + summary.warnings;
    if problems > 0 {
        let paint = if summary.errors > 0 { Paint::Error } else { Paint::Warning };
        let count = counted(problems as u64, "problem", "problems");
        if problems == 1 {
            let place = if report.host.name.is_empty() {
                String::new()
            } else {
                format!(" on {}", short(&report.host.name))
            };
            return pen.flow(&[], 0, (paint, &format!("{count}{place}.")));
        }
        let gists: Vec<String> = report
            .findings
            .iter()
            .filter(|finding| finding.severity > Severity::Note)
            .take(GISTS)
            .map(|finding| format!("{}{}", of_netns(report, &finding.subject.netns), gist(finding)))
            .collect();
        let mut said = gists.join(". ");
        if problems > GISTS {
            let _ = write!(said, ". And {} more", problems - GISTS);
        }
        said.push('.');
        return pen.flow(&[(paint, &format!("{count}: "))], 0, (Paint::Strong, &said));
    }
    let notes = match summary.notes {
        0 => String::new(),
        notes => format!(" {} below.", counted(notes as u64, "note", "notes")),
    };
    let (paint, said) = if report.is_of_captures()
        && report.traffic.as_ref().is_some_and(|row| row.connections == 0)
    {
        (Paint::Warning, "There is no TCP connection in this capture.".to_owned())
    } else if report.is_of_captures() {
        let limit = if report.summary.undecided > 0 || !report.coverage.is_empty() {
            ", as far as it shows"
        } else {
            ""
        };
        of_captures(report.traffic.as_ref(), limit)
    } else if report.host.namespaces.is_empty() {
        (Paint::Warning, "Nothing was seen: this case holds no network namespace.".to_owned())
    } else if report.sockets.total == 0 && report.coverage.iter().any(|gap| gap.unseen == Unseen::Sockets) {
        (Paint::Warning, "No socket was seen: nothing can be said of how connections end here.".to_owned())
    } else if summary.undecided > 0 || !report.coverage.is_empty() {
        (Paint::Good, "Nothing wrong with how connections end here, as far as could be seen.".to_owned())
    } else {
        (Paint::Good, "Nothing wrong with how connections end here.".to_owned())
    };
    pen.flow(&[], 0, (paint, &format!("{said}{notes}")))
}

/// A capture without a problem. SYNs that nobody answers are no rule's business: what dropped them is not in the
/// capture. All the same those connections did not end well.
fn of_captures(traffic: Option<&crate::TrafficRow>, limit: &str) -> (Paint, String) {
    let unanswered = traffic.and_then(|row| row.endings.get("unanswered")).copied().unwrap_or(0);
    let connections = traffic.map_or(0, |row| row.connections);
    let fine = "Nothing wrong with how connections end in this capture";
    match unanswered {
        0 => (Paint::Good, format!("{fine}{limit}.")),
        1 if connections == 1 => {
            (Paint::Warning, "The connection in this capture was not answered.".to_owned())
        }
        all if all >= connections => {
            let connections = counted(all, "connection", "connections");
            (Paint::Warning, format!("None of the {connections} in this capture was answered."))
        }
        some => {
            let was = if some == 1 { "was" } else { "were" };
            let some = counted(some, "connection", "connections");
            (Paint::Good, format!("{fine}{limit}; {some} {was} not answered."))
        }
    }
}

/// So many problems are named in the headline.
const GISTS: usize = 3;

/// The first clause of a claim.
fn gist(finding: &Finding) -> String {
    let claim = finding.claim.trim();
    let cut = |stops: &[&str], least: usize| {
        stops
            .iter()
            .flat_map(|stop| claim.match_indices(stop))
            .map(|(end, _)| end)
            .filter(|end| *end >= least)
            .min()
    };
    let mut end = cut(&[": ", "; ", ". "], 20).unwrap_or(claim.len());
    if end > 80 {
        end = cut(&[", "], 40).unwrap_or(end).min(end);
    }
    claim[..end].trim_end_matches('.').to_owned()
}

/// Whose sockets these are, and when and for how long they were looked at.
fn host<W: Write>(report: &Report, pen: &mut Pen<'_, W>) -> io::Result<()> {
    if let Some(traffic) = &report.traffic {
        exchanges::source(traffic, pen)?;
    }
    if report.is_of_captures() {
        return Ok(());
    }
    let mut parts = Vec::new();
    let host = &report.host;
    if !host.name.is_empty() {
        parts.push(host.name.clone());
    }
    if !host.kernel.is_empty() {
        parts.push(format!("{} {}", host.system, host.kernel));
    } else if host.system != System::Linux.name() {
        parts.push(host.system.to_owned());
    }
    if !host.taken_at.is_empty() {
        parts.push(moment(&host.taken_at));
    }
    parts.push(match report.look.length_ms {
        0 => "one glance".to_owned(),
        length => format!("looked for {}", length_of(length)),
    });
    let count = host.namespaces.len() + report.not_shown.namespaces;
    match (count, host.namespaces.first()) {
        (0, _) | (_, None) => {}
        (1, Some(only)) if only.name == "host" => {}
        (1, Some(only)) => parts.push(format!("namespace {}", only.name)),
        _ => parts.push(format!("{count} network namespaces")),
    }
    pen.flow(&[], 0, (Paint::Faint, &parts.join(" · ")))
}

/// `2026-11-20T12:29:03.5Z` as people write it, to the second; another text as it is.
fn moment(taken_at: &str) -> String {
    let plain = taken_at.is_ascii() && taken_at.len() >= 20 && taken_at.as_bytes().get(10) == Some(&b'T');
    match taken_at.strip_suffix('Z') {
        Some(_) if plain => format!("{} {} UTC", &taken_at[..10], &taken_at[11..19]),
        _ => taken_at.to_owned(),
    }
}

/// A length in milliseconds with its unit.
fn length_of(milliseconds: u64) -> String {
    match milliseconds {
        0..1_000 => format!("{milliseconds} ms"),
        1_000..120_000 => format!("{} s", crate::report::number(milliseconds as f64 / 1_000.0)),
        _ => format!("{} min", milliseconds / 60_000),
    }
}

/// `1 rule`, `2,000 rules`.
fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", thousands(count), if count == 1 { one } else { many })
}

/// True if lastack ran in the namespace of this name.
fn is_here(report: &Report, netns: &str) -> bool {
    report.host.namespaces.iter().any(|namespace| namespace.here && namespace.name == netns)
}

/// ` in namespace web`, where there is more than one to confuse it with.
fn in_netns(report: &Report, netns: &str) -> String {
    if has_many(report) && !netns.is_empty() { format!(" in {}", short(netns)) } else { String::new() }
}

/// `web: `, where there is more than one namespace.
fn of_netns(report: &Report, netns: &str) -> String {
    if has_many(report) && !netns.is_empty() { format!("{}: ", short(netns)) } else { String::new() }
}

/// A name from a host, no wider than a name should be on a page.
fn short(name: &str) -> String {
    clip(&visible(name), 32).into_owned()
}

fn has_many(report: &Report) -> bool {
    report.host.namespaces.len() > 1
}
