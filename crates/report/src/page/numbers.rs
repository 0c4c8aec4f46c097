//! The numbers behind the findings: budgets of ports, sockets, who has them, rates, settings.

use super::{counted, has_many, in_netns};
use crate::pen::{Paint, Pen};
use crate::report::{number, thousands};
use crate::talkers::ByState;
use crate::visible::{clip, columns, visible};
use crate::{BudgetRow, GroupRow, OwnerRow, ProcessRow, Report};
use evidence::Role;
use std::fmt::Write as _;
use std::io::{self, Write};
use tcp::State;

/// So many rows of each table.
const BUDGETS: usize = 8;
const TALKERS: usize = 5;
const NAMESPACES: usize = 5;
/// Columns of a bar.
const BAR: usize = 20;

pub(super) fn write<W: Write>(report: &Report, pen: &mut Pen<'_, W>) -> io::Result<()> {
    budgets(report, pen)?;
    states(report, pen)?;
    processes(report, pen)?;
    peers(report, pen)?;
    closes(report, pen)?;
    surroundings(report, pen)
}

/// `[########............]`: text that survives being pasted anywhere.
fn bar(part: u64, whole: u64, length: usize) -> String {
    let exact = u128::from(part) * length as u128 / u128::from(whole.max(1));
    // Something is never drawn as nothing, and not quite full never as full.
    let most = if part < whole { length.saturating_sub(1) } else { length };
    let full = usize::try_from(exact).unwrap_or(length).clamp(usize::from(part > 0), most.max(1));
    format!("{}{}", "#".repeat(full), ".".repeat(length.saturating_sub(full)))
}

fn budgets<W: Write>(report: &Report, pen: &mut Pen<'_, W>) -> io::Result<()> {
    let worth: Vec<&BudgetRow> = report
        .budgets
        .iter()
        .filter(|budget| budget.percent() >= 1 || budget.seconds_left.is_some())
        .collect();
    if worth.is_empty() {
        return Ok(());
    }
    pen.heading("Local ports by destination", "what runs out first, then the fullest")?;
    let bar_length = if pen.is_narrow() { BAR / 2 } else { BAR };
    for budget in worth.iter().take(BUDGETS) {
        let percent = budget.percent();
        let paint = match percent {
            90.. => Paint::Error,
            50.. => Paint::Warning,
            _ => Paint::Plain,
        };
        let whole = u64::from(budget.ports);
        let blocked = u64::from(budget.ports.saturating_sub(budget.left));
        let lead = format!("  [{}] {percent:>3} %  ", bar(blocked, whole.max(1), bar_length));
        let hang = if pen.is_narrow() { 4 } else { columns(&lead) };
        let title = format!("{} -> {}{}", budget.source, budget.destination, in_netns(report, &budget.netns));
        pen.flow(&[(paint, &lead)], hang, (Paint::Strong, &title))?;
        let margin = " ".repeat(hang);
        pen.flow(&[(Paint::Plain, &margin)], hang, (Paint::Plain, &use_of(budget)))?;
    }
    let more = worth.len().saturating_sub(BUDGETS);
    let few = report.budgets.len() - worth.len() + report.not_shown.budgets;
    let mut rest = Vec::new();
    if more > 0 {
        rest.push(format!("{more} more in --json"));
    }
    if few > 0 {
        rest.push(format!("{} with less than 1 % taken", counted(few as u64, "destination", "destinations")));
    }
    if rest.is_empty() { Ok(()) } else { remark(pen, &format!("not shown: {}", rest.join(", "))) }
}

fn remark<W: Write>(pen: &mut Pen<'_, W>, text: &str) -> io::Result<()> {
    pen.flow(&[(Paint::Plain, "  ")], 4, (Paint::Faint, text))
}

/// What a budget's ports are used for, how fast they go, and who takes them.
fn use_of(budget: &BudgetRow) -> String {
    let mut said = format!("{} of {} ports taken", thousands(budget.taken), thousands(budget.ports));
    let parts: Vec<String> = [
        (budget.time_wait, "TIME-WAIT"),
        (budget.established, "ESTABLISHED"),
        (budget.other, "in other states"),
        (budget.bound, "held by bind()"),
        (budget.bound_likely, "probably held by bind()"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, by)| format!("{} {by}", thousands(count)))
    .collect();
    if !parts.is_empty() {
        let _ = write!(said, ": {}", parts.join(", "));
    }
    if budget.reusable > 0 {
        let _ = write!(said, "; {} of them may be taken again (tcp_tw_reuse)", thousands(budget.reusable));
    }
    if budget.closes_per_second > 0.0 {
        let _ = write!(said, "; {} closes/s", number(budget.closes_per_second));
    }
    if budget.left == 0 {
        said.push_str("; none left");
    } else if let Some(seconds) = budget.seconds_left {
        let _ = write!(said, "; none left in {}", seconds_text(seconds));
    }
    if budget.past_knee && budget.left > 0 {
        said.push_str("; connect() is slow (half of the range is full)");
    }
    if !budget.owners.is_empty() {
        let _ = write!(said, "; {}", owners(&budget.owners));
    }
    said
}

fn seconds_text(seconds: f64) -> String {
    if seconds < 120.0 {
        format!("{} s", number(seconds))
    } else {
        format!("{} min", number((seconds / 60.0).floor()))
    }
}

/// `curl (pid 12), wget (pid 13) and 2 more`.
fn owners(owners: &[OwnerRow]) -> String {
    let shown: Vec<String> =
        owners.iter().take(2).map(|owner| format!("{} (pid {})", owner.process, owner.pid)).collect();
    match owners.len().saturating_sub(2) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn states<W: Write>(report: &Report, pen: &mut Pen<'_, W>) -> io::Result<()> {
    let sockets = &report.sockets;
    if sockets.total == 0 {
        pen.heading("TCP sockets", "")?;
        return remark(pen, "none");
    }
    let where_ = if has_many(report) {
        let count = report.host.namespaces.len() + report.not_shown.namespaces;
        format!(" in {count} network namespaces")
    } else {
        String::new()
    };
    pen.heading("TCP sockets by state", &format!("{}{where_}", thousands(sockets.total)))?;
    let most = sockets.by_state.values().copied().max().unwrap_or(0);
    let digits = thousands(most).len();
    let bar_length = if pen.is_narrow() { BAR / 2 } else { 2 * BAR };
    for state in State::ALL {
        if let Some(count) = sockets.by_state.get(state.name()) {
            let mut drawn = bar(*count, most, bar_length);
            drawn.retain(|letter| letter == '#');
            let line = format!("  {:12} {:>digits$}  ", state.name(), thousands(*count));
            pen.line(0, &[(Paint::Plain, &line), (state_paint(state), &drawn)])?;
        }
    }
    let waiting = &report.time_wait;
    if waiting.sockets > 0 {
        let bytes = bytes(waiting.bytes);
        let held = match waiting.bytes_known_by {
            "slab" => format!("TIME-WAIT sockets of the whole host hold {bytes} of kernel memory."),
            _ => format!("TIME-WAIT sockets hold about {bytes} of kernel memory."),
        };
        remark(pen, &held)?;
    }
    Ok(())
}

fn state_paint(state: State) -> Paint {
    match state {
        State::Established | State::Listen => Paint::Good,
        State::CloseWait | State::LastAck | State::Closing => Paint::Error,
        _ => Paint::Warning,
    }
}

fn bytes(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{} bytes", thousands(bytes)),
        10_240..10_485_760 => format!("{} KiB", thousands(bytes >> 10)),
        _ => format!("{} MiB", thousands(bytes >> 20)),
    }
}

/// `TIME-WAIT 28,100, ESTABLISHED 132`, the most first.
fn breakdown(by_state: &ByState) -> String {
    let mut counts: Vec<(&str, u64)> = State::ALL
        .into_iter()
        .filter_map(|state| Some((state.name(), *by_state.get(state.name())?)))
        .collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
        .iter()
        .map(|(state, count)| format!("{state} {}", thousands(*count)))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Rows of a count, a name and a text; the names are as wide as the widest of them, up to a third of the page.
fn rows<W: Write>(pen: &mut Pen<'_, W>, rows: &[(u64, String, String)]) -> io::Result<()> {
    let digits = rows.iter().map(|(count, ..)| thousands(*count).len()).max().unwrap_or(0);
    let widest =
        rows.iter().map(|(_, name, _)| columns(&visible(name))).max().unwrap_or(0).min(pen.width() * 2 / 5);
    for (count, name, text) in rows {
        let count = format!("  {:>digits$}  ", thousands(*count));
        let shown = visible(name);
        let indent = if pen.is_narrow() { 4 } else { columns(&count) };
        if pen.is_narrow() || columns(&shown) > widest {
            pen.flow(&[(Paint::Plain, &count)], indent, (Paint::Strong, name))?;
            pen.flow(&[(Paint::Plain, &" ".repeat(indent))], indent, (Paint::Plain, text))?;
        } else {
            let padding = " ".repeat(widest - columns(&shown) + 2);
            let hang = columns(&count) + widest + 2;
            pen.flow(
                &[(Paint::Plain, &count), (Paint::Strong, name), (Paint::Plain, &padding)],
                hang,
                (Paint::Plain, text),
            )?;
        }
    }
    Ok(())
}

fn processes<W: Write>(report: &Report, pen: &mut Pen<'_, W>) -> io::Result<()> {
    let sockets = &report.sockets;
    if sockets.processes.is_empty() {
        return Ok(());
    }
    pen.heading("By process", "")?;
    let name = |row: &ProcessRow| {
        let place = match &row.container {
            Some(container) => format!(", container {}", clip(container, 12)),
            None => in_netns(report, &row.netns),
        };
        format!("{} (pid {}{place})", row.process, row.pid)
    };
    let mut shown: Vec<(u64, String, String)> = sockets
        .processes
        .iter()
        .take(TALKERS)
        .map(|row| (row.total, name(row), breakdown(&row.by_state)))
        .collect();
    if sockets.without_process > 0 {
        shown.push((sockets.without_process, "no process known".to_owned(), String::new()));
    }
    rows(pen, &shown)?;
    more(
        pen,
        sockets.processes.len().saturating_sub(TALKERS) + report.not_shown.processes,
        "process",
        "processes",
    )
}

fn peers<W: Write>(report: &Report, pen: &mut Pen<'_, W>) -> io::Result<()> {
    let sockets = &report.sockets;
    if sockets.groups.is_empty() {
        return Ok(());
    }
    pen.heading("By peer", "")?;
    let name = |row: &GroupRow| {
        let netns = in_netns(report, &row.netns);
        match row.role {
            Role::Client => format!("{} -> {}{netns}", row.local, row.remote),
            Role::Server => format!("{} <- {}{netns}", row.local, row.remote),
        }
    };
    let shown: Vec<(u64, String, String)> = sockets
        .groups
        .iter()
        .take(TALKERS)
        .map(|row| {
            let mut text = breakdown(&row.by_state);
            if !row.owners.is_empty() {
                let _ = write!(text, "; {}", owners(&row.owners));
            }
            (row.total, name(row), text)
        })
        .collect();
    rows(pen, &shown)?;
    more(pen, sockets.groups.len().saturating_sub(TALKERS) + report.not_shown.groups, "pair", "pairs")
}

fn more<W: Write>(pen: &mut Pen<'_, W>, more: usize, one: &str, many: &str) -> io::Result<()> {
    if more == 0 {
        return Ok(());
    }
    remark(pen, &format!("and {} with fewer sockets", counted(more as u64, one, many)))
}

/// Closes a second as a line of eight heights, the oldest left.
fn closes<W: Write>(report: &Report, pen: &mut Pen<'_, W>) -> io::Result<()> {
    if report.closes.is_empty() {
        return Ok(());
    }
    pen.heading(
        "Connections closed first by this host",
        "a second, from the time its TIME-WAIT sockets have left",
    )?;
    for row in report.closes.iter().take(NAMESPACES) {
        let most = counted(row.most_per_second, "at most in one second", "at most in one second");
        let said =
            format!("{} closes/s now, {most}{}", number(row.recent_per_second), in_netns(report, &row.netns));
        pen.flow(&[(Paint::Plain, "  ")], 4, (Paint::Plain, &said))?;
        let room = pen.width().saturating_sub(4).max(1);
        let line = sparkline(&row.by_second, row.most_per_second, room);
        pen.line(2, &[(Paint::Note, &line)])?;
    }
    let shown = report.closes.iter().map(|row| row.by_second.len()).max().unwrap_or(0);
    let room = pen.width().saturating_sub(4).max(1);
    remark(pen, &format!("the last {} s, the latest at the right end", shown.min(room)))?;
    let rest = report.closes.len().saturating_sub(NAMESPACES) + report.not_shown.closes;
    if rest > 0 {
        remark(pen, &format!("and {} with fewer", counted(rest as u64, "namespace", "namespaces")))?;
    }
    Ok(())
}

fn sparkline(by_second: &[u64], most: u64, room: usize) -> String {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let height = |count: u64| {
        let step = (u128::from(count) * 7).div_ceil(u128::from(most.max(1)));
        HEIGHTS[usize::try_from(step).unwrap_or(7).min(7)]
    };
    by_second.iter().take(room).rev().map(|count| height(*count)).collect()
}

/// Counters that rose, conntrack, changed settings: one paragraph each.
fn surroundings<W: Write>(report: &Report, pen: &mut Pen<'_, W>) -> io::Result<()> {
    if !report.counters.is_empty() {
        let length = super::length_of(report.look.length_ms);
        pen.heading("Counters that rose", &format!("in {length}"))?;
        let said: Vec<String> = report
            .counters
            .iter()
            .take(NAMESPACES * 4)
            .map(|row| format!("{} +{}{}", row.name, thousands(row.rise), in_netns(report, &row.netns)))
            .collect();
        listed(pen, &said, report.counters.len() + report.not_shown.counters)?;
    }
    if !report.conntrack.is_empty() {
        pen.heading("conntrack", "")?;
        for row in report.conntrack.iter().take(NAMESPACES) {
            let mut said = match row.max {
                Some(max) => format!("{} of {} entries", thousands(row.entries), thousands(max)),
                None => counted(row.entries, "entry", "entries"),
            };
            if let Some(waiting) = row.tcp_by_state.get("TIME_WAIT") {
                let _ = write!(said, ", {} TIME_WAIT", thousands(*waiting));
            }
            for (statistic, rise) in row.rises.iter().take(NAMESPACES) {
                let _ = write!(said, ", {statistic} +{}", thousands(*rise));
            }
            said.push_str(&in_netns(report, &row.netns));
            pen.flow(&[(Paint::Plain, "  ")], 4, (Paint::Plain, &said))?;
        }
    }
    if !report.settings.is_empty() {
        pen.heading("Settings that differ from the kernel's defaults", "")?;
        let said: Vec<String> = report
            .settings
            .iter()
            .take(NAMESPACES * 4)
            .map(|row| {
                let words: Vec<&str> = row.value.split_whitespace().collect();
                let default: Vec<&str> = row.default.split_whitespace().collect();
                let default = if default.is_empty() { "empty".to_owned() } else { default.join(" ") };
                format!(
                    "{} = {} (default {default}){}",
                    row.name,
                    words.join(" "),
                    in_netns(report, &row.netns)
                )
            })
            .collect();
        for line in &said {
            pen.flow(&[(Paint::Plain, "  ")], 4, (Paint::Plain, line))?;
        }
        let rest = report.settings.len() + report.not_shown.settings - said.len();
        if rest > 0 {
            remark(pen, &format!("and {rest} more in --json"))?;
        }
    }
    Ok(())
}

fn listed<W: Write>(pen: &mut Pen<'_, W>, said: &[String], all: usize) -> io::Result<()> {
    let rest = match all.saturating_sub(said.len()) {
        0 => String::new(),
        rest => format!(", and {rest} more in --json"),
    };
    pen.flow(&[(Paint::Plain, "  ")], 4, (Paint::Plain, &format!("{}{rest}", said.join(", "))))
}
