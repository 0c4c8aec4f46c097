//! The numbers behind the findings: budgets of ports, sockets, who has them, rates, settings.

use super::{counted, has_many, in_netns, short};
use crate::pen::{Paint, Pen};
use crate::report::{number, thousands};
use crate::talkers::ByState;
use crate::visible::{clip, columns, visible};
use crate::{BudgetRow, Deviation, GroupRow, ProgramRow, Report};
use evidence::{Role, System};
use std::fmt::Write as _;
use std::io::{self, Write};
use tcp::State;

/// So many rows of each table.
const BUDGETS: usize = 8;
const TALKERS: usize = 5;
const NAMESPACES: usize = 5;
/// So many settings and counters.
const MANY: usize = 20;
/// Columns for the programs that own something.
const OWNERS: usize = 100;
/// Columns of a bar.
const BAR: usize = 20;

pub(super) fn write<W: Write>(report: &Report, pen: &mut Pen<'_, W>) -> io::Result<()> {
    if report.is_of_captures() {
        return Ok(());
    }
    budgets(report, pen)?;
    states(report, pen)?;
    namespaces(report, pen)?;
    programs(report, pen)?;
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
        let title = format!("{} -> {}{}", budget.source, budget.destination, in_netns(report, &budget.netns));
        pen.flow(&[(paint, &lead)], 4, (Paint::Strong, &title))?;
        pen.flow(&[(Paint::Plain, "    ")], 4, (Paint::Plain, &use_of(budget)))?;
    }
    let more = worth.len().saturating_sub(BUDGETS);
    let few = report.budgets.len() - worth.len() + report.not_shown.budgets;
    let mut rest = Vec::new();
    if more > 0 {
        rest.push(format!("{more} more in --json"));
    }
    if few > 0 {
        rest.push(counted(few as u64, "destination with fewer ports", "destinations with fewer ports"));
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
        let burst = match (budget.rate_lasts, budget.closes.is_empty()) {
            (true, _) => String::new(),
            (false, false) => " (not steady)".to_owned(),
            (false, true) => format!(" (mean of {} s)", budget.rate_over_s),
        };
        let _ = write!(said, "; {} closes/s{burst}", number(budget.closes_per_second));
    }
    if budget.left == 0 {
        said.push_str("; none left");
    } else if let Some(seconds) = budget.seconds_left {
        let _ = write!(said, "; none left in {}", seconds_text(seconds));
    }
    if budget.past_knee && budget.left > 0 {
        said.push_str("; connect() is slow (half of the range is full)");
    }
    if let Some(by) = &budget.opened_by {
        let _ = write!(said, "; opened by {}", clip(&visible(by), OWNERS));
    }
    said
}

fn seconds_text(seconds: f64) -> String {
    match seconds {
        ..1.0 => "less than 1 s".to_owned(),
        1.0..120.0 => format!("{} s", number(seconds.floor())),
        _ => format!("{} min", number((seconds / 60.0).floor())),
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
    // The indent, the longest name of a state, the count, and gaps.
    let bar_length = pen.width().saturating_sub(18 + digits).min(2 * BAR);
    for state in State::ALL {
        if let Some(count) = sockets.by_state.get(state.name()) {
            let mut drawn = bar(*count, most, bar_length);
            drawn.retain(|letter| letter == '#');
            let line = format!("  {:12} {:>digits$}  ", state.name(), thousands(*count));
            pen.line(0, &[(Paint::Plain, &line), (state_paint(state), &drawn)])?;
        }
    }
    let waiting = &report.time_wait;
    // The size of one is known of Linux only.
    if waiting.sockets > 0 && report.host.system == System::Linux.name() {
        let bytes = bytes(waiting.bytes);
        let held = match waiting.bytes_known_by {
            "slab" => format!("TIME-WAIT sockets of the whole host hold {bytes} of kernel memory."),
            _ => format!("TIME-WAIT sockets hold about {bytes} of kernel memory."),
        };
        remark(pen, &held)?;
    }
    if let Some(fullest) = sockets.listeners.first().filter(|listener| listener.queue > 0) {
        let by = fullest.process.as_ref().map_or(String::new(), |process| format!(" ({})", short(process)));
        let netns = in_netns(report, &fullest.netns);
        let queue = thousands(fullest.queue);
        let of = fullest.backlog.map_or(String::new(), |backlog| format!(" of {}", thousands(backlog)));
        remark(pen, &format!("Fullest accept queue: {queue}{of} at {}{by}{netns}.", fullest.address))?;
    }
    Ok(())
}

fn state_paint(state: State) -> Paint {
    match state {
        State::Established => Paint::Good,
        State::CloseWait => Paint::Warning,
        _ => Paint::Plain,
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

/// Rows of a count, a name and a text. The names are as wide as the widest of them; one that would take more
/// than half of the page has its text on the next line.
pub(super) fn rows<W: Write>(pen: &mut Pen<'_, W>, rows: &[(u64, String, String)]) -> io::Result<()> {
    let digits = rows.iter().map(|(count, ..)| thousands(*count).len()).max().unwrap_or(0);
    let room = (pen.width() / 2).saturating_sub(digits + 6);
    let widest = rows
        .iter()
        .map(|(_, name, _)| columns(&visible(name)))
        .filter(|width| *width <= room)
        .max()
        .unwrap_or(0);
    for (count, name, text) in rows {
        let count = format!("  {:>digits$}  ", thousands(*count));
        let width = columns(&visible(name));
        if pen.is_narrow() || width > widest {
            let indent = if pen.is_narrow() { 4 } else { columns(&count) };
            pen.flow(&[(Paint::Plain, &count)], indent, (Paint::Strong, name))?;
            if !text.is_empty() {
                pen.flow(&[(Paint::Plain, &" ".repeat(indent))], indent, (Paint::Plain, text))?;
            }
        } else {
            let padding = " ".repeat(widest - width + 2);
            let lead = [(Paint::Plain, count.as_str()), (Paint::Strong, name), (Paint::Plain, &padding)];
            pen.flow(&lead, columns(&count) + widest + 2, (Paint::Plain, text))?;
        }
    }
    Ok(())
}

fn programs<W: Write>(report: &Report, pen: &mut Pen<'_, W>) -> io::Result<()> {
    let sockets = &report.sockets;
    if sockets.programs.is_empty() && sockets.without_process == 0 {
        return Ok(());
    }
    pen.heading("By program", "")?;
    let name = |row: &ProgramRow| {
        let place = match &row.container {
            Some(container) => format!(", container {}", container_name(container)),
            None => in_netns(report, &row.netns),
        };
        match row.processes {
            1 => format!("{} (pid {}{place})", short(&row.program), row.pid),
            processes => format!("{} ({processes} processes{place})", short(&row.program)),
        }
    };
    let mut shown: Vec<(u64, String, String)> = sockets
        .programs
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
        sockets.programs.len().saturating_sub(TALKERS) + report.not_shown.programs,
        "program",
        "programs",
        "sockets",
    )
}

/// The usual 12 digits of a container's number; another name as it is.
fn container_name(container: &str) -> String {
    let number = container.len() > 12 && container.bytes().all(|byte| byte.is_ascii_hexdigit());
    if number { container.chars().take(12).collect() } else { short(container) }
}

fn namespaces<W: Write>(report: &Report, pen: &mut Pen<'_, W>) -> io::Result<()> {
    if !has_many(report) {
        return Ok(());
    }
    pen.heading("By network namespace", "")?;
    let mut namespaces: Vec<_> = report.host.namespaces.iter().collect();
    namespaces.sort_by_key(|row| std::cmp::Reverse(row.sockets));
    let shown: Vec<(u64, String, String)> = namespaces
        .iter()
        .take(TALKERS)
        .map(|row| {
            let mut holders = row.holders.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
            if let more @ 1.. = row.holders.len().saturating_sub(3) {
                let _ = write!(holders, " and {more} more");
            }
            (row.sockets, short(&row.name), holders)
        })
        .collect();
    rows(pen, &shown)?;
    let rest = namespaces.len().saturating_sub(TALKERS) + report.not_shown.namespaces;
    more(pen, rest, "namespace", "namespaces", "sockets")
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
            if let Some(by) = &row.owned_by {
                let _ = write!(text, "; {}", clip(&visible(by), OWNERS));
            }
            (row.total, name(row), text)
        })
        .collect();
    rows(pen, &shown)?;
    let rest = sockets.groups.len().saturating_sub(TALKERS) + report.not_shown.groups;
    more(pen, rest, "pair", "pairs", "sockets")
}

pub(super) fn more<W: Write>(
    pen: &mut Pen<'_, W>,
    more: usize,
    one: &str,
    many: &str,
    fewer: &str,
) -> io::Result<()> {
    if more == 0 {
        return Ok(());
    }
    remark(pen, &format!("and {} with fewer {fewer}", counted(more as u64, one, many)))
}

/// Closes a second as a line of eight heights, the oldest left.
fn closes<W: Write>(report: &Report, pen: &mut Pen<'_, W>) -> io::Result<()> {
    let room = pen.width().saturating_sub(4).max(1);
    let Some(seconds) = report.closes.iter().map(|row| row.by_second.len()).max() else { return Ok(()) };
    pen.heading(
        "Closed first by this host",
        &format!("last {} s, now at the right; from TIME-WAIT timers", seconds.min(room)),
    )?;
    let rows: Vec<(String, String)> = report
        .closes
        .iter()
        .take(NAMESPACES)
        .map(|row| {
            let (now, most) = (number(row.recent_per_second), thousands(row.most_per_second));
            let netns = in_netns(report, &row.netns);
            let line = sparkline(&row.by_second, row.most_per_second, room);
            (format!("  {line}  "), format!("{now} a second now, at most {most}{netns}"))
        })
        .collect();
    let beside = rows.iter().all(|(line, said)| columns(line) + columns(said) <= pen.width());
    for (line, said) in &rows {
        if beside {
            pen.flow(&[(Paint::Note, line)], 4, (Paint::Plain, said))?;
        } else {
            pen.line(0, &[(Paint::Note, line)])?;
            pen.flow(&[(Paint::Plain, "  ")], 4, (Paint::Plain, said))?;
        }
    }
    let rest = report.closes.len().saturating_sub(NAMESPACES) + report.not_shown.closes;
    if rest > 0 {
        remark(pen, &format!("and {} with fewer", counted(rest as u64, "namespace", "namespaces")))?;
    }
    Ok(())
}

pub(super) fn sparkline(by_second: &[u64], most: u64, room: usize) -> String {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let height = |count: u64| {
        let step = (u128::from(count) * 7).div_ceil(u128::from(most.max(1)));
        HEIGHTS[usize::try_from(step).unwrap_or(7).min(7)]
    };
    by_second.iter().take(room).rev().map(|count| height(*count)).collect()
}

/// Counters that rose, conntrack, changed settings.
fn surroundings<W: Write>(report: &Report, pen: &mut Pen<'_, W>) -> io::Result<()> {
    counters(report, pen)?;
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
                let _ = write!(said, ", {} +{}", short(statistic), thousands(*rise));
            }
            said.push_str(&in_netns(report, &row.netns));
            pen.flow(&[(Paint::Plain, "  ")], 4, (Paint::Plain, &said))?;
        }
        let rest = report.conntrack.len().saturating_sub(NAMESPACES) + report.not_shown.conntrack;
        if rest > 0 {
            remark(
                pen,
                &format!("and {} in --json", counted(rest as u64, "more namespace", "more namespaces")),
            )?;
        }
    }
    settings(report, pen)
}

/// The counters of each namespace in one paragraph.
fn counters<W: Write>(report: &Report, pen: &mut Pen<'_, W>) -> io::Result<()> {
    if report.counters.is_empty() {
        return Ok(());
    }
    pen.heading("Counters that rose", &format!("in {}", super::length_of(report.look.length_ms)))?;
    let mut shown = 0;
    for rows in report.counters.chunk_by(|a, b| a.netns == b.netns).take(NAMESPACES) {
        let said: Vec<String> =
            rows.iter().take(MANY).map(|row| format!("{} +{}", row.name, thousands(row.rise))).collect();
        shown += said.len();
        let netns = rows.first().map_or("", |row| row.netns.as_str());
        let lead = if has_many(report) { format!("  {}: ", short(netns)) } else { "  ".to_owned() };
        pen.flow(&[(Paint::Plain, &lead)], 4, (Paint::Plain, &said.join(", ")))?;
    }
    let rest = report.counters.len() + report.not_shown.counters - shown;
    if rest > 0 { remark(pen, &format!("and {rest} more in --json")) } else { Ok(()) }
}

/// Each changed setting once, with the namespaces that have it so.
fn settings<W: Write>(report: &Report, pen: &mut Pen<'_, W>) -> io::Result<()> {
    if report.settings.is_empty() {
        return Ok(());
    }
    pen.heading("Settings that differ from the kernel's defaults", "")?;
    let mut alike: Vec<Vec<&Deviation>> = Vec::new();
    for row in &report.settings {
        match alike.iter_mut().find(|rows| rows[0].name == row.name && rows[0].value == row.value) {
            Some(rows) => rows.push(row),
            None => alike.push(vec![row]),
        }
    }
    alike.sort_by_key(|rows| rows[0].name);
    for rows in alike.iter().take(MANY) {
        let row = rows[0];
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let default = if row.default.is_empty() { "empty".to_owned() } else { words(row.default) };
        let mut said = format!("{} = {} (default {default})", row.name, words(&row.value));
        said.push_str(&in_netns(report, &row.netns));
        if rows.len() > 1 {
            let _ = write!(said, " and {} more", rows.len() - 1);
        }
        pen.flow(&[(Paint::Plain, "  ")], 4, (Paint::Plain, &said))?;
    }
    let rest = alike.iter().skip(MANY).map(Vec::len).sum::<usize>() + report.not_shown.settings;
    if rest > 0 { remark(pen, &format!("and {rest} more in --json")) } else { Ok(()) }
}
