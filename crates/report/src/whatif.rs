//! The answer of `whatif`: what a load would do under remedies, as a table with ranges and as JSON.

use crate::pen::{Paint, Pen, Style};
use crate::report::thousands;
use comfy_table::{Cell, CellAlignment, Table, presets};
use serde::Serialize;
use std::io::{self, Write};

/// Name and version of the JSON of `whatif`.
pub const WHATIF_SCHEMA: &str = "lastack.whatif/1";

/// From low to high: what is uncertain was tried at both ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Span {
    /// The least that came out.
    pub low: f64,
    /// The most.
    pub high: f64,
}

/// The whole answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WhatIf {
    /// [`WHATIF_SCHEMA`].
    pub schema: &'static str,
    /// What the load was taken from: `case`, `capture`, `look`, `scenario`.
    pub source: &'static str,
    /// Its name: of the host, the file, the scenario.
    pub name: String,
    /// The host in the model that is asked about.
    pub host: String,
    /// What each host of the model stands for.
    pub hosts: Vec<ModelHost>,
    /// The load, the largest part first.
    pub load: Vec<LoadRow>,
    /// True if the load goes on; false if it is played once, as it was seen.
    pub lasts: bool,
    /// Seconds for which connections are begun.
    pub played_s: f64,
    /// What was taken for granted.
    pub assumptions: Vec<Assumed>,
    /// What came out: as it is first, then each remedy alone, then together.
    pub outcomes: Vec<OutcomeRow>,
    /// Remedies that are not in it, and why.
    pub not_simulated: Vec<NotSimulated>,
}

/// A host of the model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ModelHost {
    /// What it is called there; `--set NAME:KEY=VALUE` changes a setting of it.
    pub name: String,
    /// What it stands for.
    pub stands_for: String,
}

/// A part of the load.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LoadRow {
    /// Who connects.
    pub client: String,
    /// To whom, with the port.
    pub server: String,
    /// What they are called in the model, and in `changes`: clients, then servers; empty where a proxy is between.
    pub model: Vec<String>,
    /// The program here, if it is known.
    pub process: Option<String>,
    /// Connections that were seen.
    pub connections: u64,
    /// Connections a second.
    pub per_second: Span,
    /// Most that were open at once.
    pub at_once: u32,
    /// How long one is open, milliseconds.
    pub open_ms: u64,
    /// Requests on each.
    pub requests: u32,
    /// How they end, as a name.
    pub ends: String,
    /// The same as a clause.
    #[serde(skip)]
    pub ends_text: &'static str,
    /// True if it goes on.
    pub lasts: bool,
}

/// Something that was taken for granted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Assumed {
    /// What.
    pub assumed: String,
    /// Why.
    pub because: String,
}

/// A remedy that is not in the table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NotSimulated {
    /// Its name.
    pub remedy: String,
    /// Why.
    pub because: String,
}

/// What came out under some remedies.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OutcomeRow {
    /// `as-it-is`, `alone` or `together`.
    pub kind: &'static str,
    /// The remedies.
    pub remedies: Vec<String>,
    /// What they changed in the model.
    pub changes: Vec<String>,
    /// TIME-WAIT at the host, at the end.
    pub time_wait: Span,
    /// The most at any look.
    pub time_wait_peak: Span,
    /// TIME-WAIT at its peers, at the end.
    pub time_wait_at_peers: Span,
    /// Connections that one side has closed and the other has not, at the end: CLOSE-WAIT at the host or its peers,
    /// FIN-WAIT-2 at the host.
    pub unclosed: Span,
    /// The fewest local ports that were left; null if it does not connect.
    pub ports_left: Option<Span>,
    /// Connects that were tried.
    pub connects: Span,
    /// Connects that failed.
    pub failed: Span,
    /// The same a second.
    pub failed_per_second: Span,
    /// Connections that were lost later.
    pub lost: Span,
    /// Requests that were answered.
    pub answered: Span,
    /// Resets, of all hosts.
    pub resets: Span,
    /// TIME-WAIT sockets that did not fit their table.
    pub overflows: Span,
    /// Half of the connects took at most so long, microseconds.
    pub connect_p50_us: Span,
    /// 99 of 100 took at most so long, microseconds.
    pub connect_p99_us: Span,
    /// What connect() adds to an answered request, microseconds; null where nothing was answered.
    pub latency_us: Option<Span>,
    /// Kernel memory of TIME-WAIT at the host, bytes.
    pub memory_bytes: Span,
    /// Processor time of connect(), as a part of one processor.
    pub connect_cpu: Span,
    /// How it went, with what is uncertain at its most.
    pub over_time: OverTimeRow,
    /// The same at its least, or with another chance; null if one run was enough.
    pub over_time_low: Option<OverTimeRow>,
}

/// The course of a run, in columns of equal length.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OverTimeRow {
    /// Seconds from its start.
    pub at_s: Vec<f64>,
    /// TIME-WAIT at the host.
    pub time_wait: Vec<f64>,
    /// TIME-WAIT at its peers.
    pub time_wait_at_peers: Vec<f64>,
    /// Ports left; null while nobody has connected from there.
    pub ports_left: Vec<Option<f64>>,
    /// Connects that failed a second.
    pub failed_per_second: Vec<f64>,
    /// Connections that were lost later, a second.
    pub lost_per_second: Vec<f64>,
}

impl OutcomeRow {
    /// True if connections fail or are lost, or what must be kept does not fit.
    pub fn fails(&self) -> bool {
        self.failed.high > 0.0 || self.lost.high > 0.0 || self.overflows.high > 0.0
    }

    /// What it is called in a table or a legend.
    pub fn title(&self) -> String {
        match (self.kind, self.remedies.as_slice()) {
            ("together", [.., last]) => format!("+ {last}"),
            (_, []) => "as it is".to_owned(),
            (_, all) => all.join(", "),
        }
    }
}

/// So many rows of the load are shown.
const MOST_LOAD_ROWS: usize = 8;

/// So many things that a remedy changes are named.
const MOST_CHANGES: usize = 3;

/// How many columns are about sockets; the others are what they cost.
const OF_SOCKETS: usize = 8;

/// Writes the page.
pub fn write_whatif(answer: &WhatIf, out: &mut impl Write, style: Style) -> io::Result<()> {
    let mut pen = Pen::new(out, style);
    let nothing = if answer.outcomes.len() > 1 { "" } else { "; nothing is changed" };
    let about = about(answer).map_or_else(String::new, |host| format!("; the host is {host}"));
    let played = match (answer.source, answer.lasts) {
        ("scenario", _) => format!("the load of {}; the host is {}{nothing}", answer.name, answer.host),
        (_, true) => {
            format!("the load of {} goes on for {} s{about}{nothing}", answer.name, short(answer.played_s))
        }
        (_, false) => format!("the load of {} once, as it was seen{about}{nothing}", answer.name),
    };
    pen.flow(&[(Paint::Strong, "what if: ")], 2, (Paint::Plain, &played))?;
    load(answer, &mut pen)?;
    outcomes(answer, &mut pen)?;
    for row in answer.outcomes.iter().filter(|row| row.kind == "alone") {
        let lead = format!("  {}: ", row.title());
        let mut said: Vec<String> = row.changes.iter().take(MOST_CHANGES).cloned().collect();
        let more = row.changes.len().saturating_sub(MOST_CHANGES);
        if more > 0 {
            said.push(format!("and {more} more"));
        }
        pen.flow(&[(Paint::Good, &lead)], 4, (Paint::Plain, &said.join("; ")))?;
    }
    if !answer.not_simulated.is_empty() {
        pen.heading("not simulated", "")?;
        for one in &answer.not_simulated {
            let lead = format!("  {}: ", one.remedy);
            pen.flow(&[(Paint::Note, &lead)], 4, (Paint::Plain, &one.because))?;
        }
    }
    if !answer.assumptions.is_empty() {
        pen.heading("assumed", "what the evidence does not say by itself")?;
        for one in &answer.assumptions {
            let text = format!("{}: {}", one.assumed, one.because);
            pen.flow(&[(Paint::Plain, "  - ")], 4, (Paint::Plain, &text))?;
        }
    }
    pen.blank()
}

/// The host that is asked about, where it is not the one that was looked at.
fn about(answer: &WhatIf) -> Option<&str> {
    let here = answer.hosts.iter().find(|host| host.name == answer.host)?;
    Some(here.stands_for.as_str()).filter(|stands_for| *stands_for != "this host")
}

fn load<W: Write>(answer: &WhatIf, pen: &mut Pen<'_, W>) -> io::Result<()> {
    if answer.load.is_empty() {
        return Ok(());
    }
    pen.heading("load", "fitted to the evidence")?;
    for row in answer.load.iter().take(MOST_LOAD_ROWS) {
        let who = row.process.as_ref().map_or_else(String::new, |process| format!(" ({process})"));
        let lead = format!("  {} -> {}{who}: ", row.client, row.server);
        let pace = if row.lasts {
            format!("{} connections a second", span(row.per_second))
        } else {
            let ending = if row.connections == 1 { "" } else { "s" };
            format!("{} connection{ending}", thousands(row.connections))
        };
        let mut said = vec![pace];
        if row.at_once > 1 {
            said.push(format!("{} at once", thousands(row.at_once)));
        }
        if row.open_ms > 0 {
            said.push(format!("open for {} ms", thousands(row.open_ms)));
        }
        if row.requests > 1 {
            said.push(format!("{} requests on each", thousands(row.requests)));
        }
        said.push(row.ends_text.to_owned());
        if answer.load.len() > 1 && !row.model.is_empty() {
            said.push(format!("below {}", row.model.join(", ")));
        }
        pen.flow(&[(Paint::Plain, &lead)], 4, (Paint::Plain, &said.join(", ")))?;
    }
    let more = answer.load.len().saturating_sub(MOST_LOAD_ROWS);
    if more > 0 {
        pen.flow(&[], 2, (Paint::Faint, &format!("  and {more} more; --json has them")))?;
    }
    Ok(())
}

fn outcomes<W: Write>(answer: &WhatIf, pen: &mut Pen<'_, W>) -> io::Result<()> {
    let failed = if answer.lasts { "failed /s" } else { "failed" };
    let lost = if answer.lasts { "lost /s" } else { "lost" };
    let sockets = ["TIME-WAIT", "no room", "at peers", "unclosed", "ports left", failed, lost, "resets"];
    let costs = ["+us a request", "p99 us", "memory", "CPU"];
    let heads: Vec<&str> = sockets.into_iter().chain(costs).collect();
    // What there is none of needs no column.
    let any = |of: fn(&OutcomeRow) -> Span| answer.outcomes.iter().any(|row| of(row).high > 0.0);
    let is_wanted = |place: usize| match heads.get(place).copied() {
        Some("no room") => any(|row| row.overflows),
        Some("unclosed") => any(|row| row.unclosed),
        Some(head) if head == lost => any(|row| row.lost),
        _ => true,
    };
    let whole: Vec<usize> = (0..heads.len()).filter(|place| is_wanted(*place)).collect();
    // All in one table where there is room for it, else two, else a list.
    let (first, second) = whole.split_at(whole.partition_point(|place| *place < OF_SOCKETS));
    for parts in [vec![whole.as_slice()], vec![first, second]] {
        let tables: Vec<(Table, Vec<Paint>)> = parts.iter().map(|part| table(answer, &heads, part)).collect();
        if !pen.is_narrow() && tables.iter().all(|(table, _)| widest(table) <= pen.width()) {
            for (table, paints) in tables {
                pen.blank()?;
                for (place, line) in table.lines().enumerate() {
                    pen.line(1, &[(paints.get(place).copied().unwrap_or(Paint::Plain), line.trim_end())])?;
                }
            }
            return pen.blank();
        }
    }
    pen.blank()?;
    list(answer, pen)
}

/// Some columns of the outcomes, and how each line is painted.
fn table(answer: &WhatIf, heads: &[&str], columns: &[usize]) -> (Table, Vec<Paint>) {
    let right = |text: &str| Cell::new(text).set_alignment(CellAlignment::Right);
    let pick = |texts: &[String]| -> Vec<Cell> {
        columns.iter().filter_map(|column| texts.get(*column)).map(|text| right(text)).collect()
    };
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let heads: Vec<String> = heads.iter().map(|text| (*text).to_owned()).collect();
    table.set_header(std::iter::once(Cell::new("")).chain(pick(&heads)));
    let mut paints = vec![Paint::Faint];
    let mut kind = "";
    for row in &answer.outcomes {
        if row.kind != kind && row.kind != "as-it-is" {
            table.add_row([if row.kind == "alone" { "each alone" } else { "one after the other" }]);
            paints.push(Paint::Faint);
        }
        kind = row.kind;
        let title = if row.kind == "as-it-is" { row.title() } else { format!("  {}", row.title()) };
        table.add_row(std::iter::once(Cell::new(title)).chain(pick(&numbers(row, lasting(answer)))));
        paints.push(if row.fails() { Paint::Warning } else { Paint::Plain });
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    (table, paints)
}

/// How long a load that goes on was played, seconds.
fn lasting(answer: &WhatIf) -> Option<f64> {
    answer.lasts.then_some(answer.played_s)
}

fn widest(table: &Table) -> usize {
    table.lines().map(|line| line.trim_end().chars().count() + 1).max().unwrap_or(0)
}

fn numbers(row: &OutcomeRow, played_s: Option<f64>) -> [String; 12] {
    let scaled = |of: Span, factor: f64| Span { low: of.low * factor, high: of.high * factor };
    [
        span(row.time_wait_peak),
        span(row.overflows),
        span(row.time_wait_at_peers),
        span(row.unclosed),
        row.ports_left.map_or_else(|| "-".to_owned(), span),
        span(if played_s.is_some() { row.failed_per_second } else { row.failed }),
        span(played_s.map_or(row.lost, |seconds| scaled(row.lost, 1.0 / seconds.max(1e-3)))),
        span(row.resets),
        row.latency_us.map_or_else(String::new, span),
        span(row.connect_p99_us),
        bytes(row.memory_bytes),
        format!("{}%", span(scaled(row.connect_cpu, 100.0))),
    ]
}

/// The table where there is no room for one.
fn list<W: Write>(answer: &WhatIf, pen: &mut Pen<'_, W>) -> io::Result<()> {
    for row in &answer.outcomes {
        let [peak, no_room, peers, unclosed, ports, failed, lost, resets, latency, p99, memory, cpu] =
            numbers(row, lasting(answer));
        let each = if answer.lasts { " a second" } else { "" };
        let adds =
            if latency.is_empty() { String::new() } else { format!("connect adds {latency} us a request, ") };
        let text = format!(
            "TIME-WAIT {peak}, no room for {no_room}, at peers {peers}, unclosed {unclosed}, ports left {ports}, \
             failed {failed}{each}, lost {lost}{each}, resets {resets}, {adds}p99 {p99} us, memory {memory}, CPU of connect {cpu}"
        );
        let lead = format!("{}: ", row.title());
        let paint = if row.fails() { Paint::Warning } else { Paint::Strong };
        pen.flow(&[(paint, &lead)], 2, (Paint::Plain, &text))?;
    }
    pen.blank()
}

/// `1,000`, or `980..1,020`.
fn span(of: Span) -> String {
    let (low, high) = (short(of.low), short(of.high));
    if low == high { low } else { format!("{low}..{high}") }
}

/// Two digits or so.
fn short(value: f64) -> String {
    let value = if value.is_finite() { value.max(0.0) } else { 0.0 };
    if value > 0.0 && value < 10.0 && (value - value.round()).abs() >= 0.05 {
        return format!("{value:.1}");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
    let count = value.round().min(1e15) as u64;
    thousands(count)
}

fn bytes(of: Span) -> String {
    let (scale, unit) = match of.high {
        ..1e4 => (1.0, "B"),
        ..1e7 => (1e3, "kB"),
        _ => (1e6, "MB"),
    };
    format!("{} {unit}", span(Span { low: of.low / scale, high: of.high / scale }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> WhatIf {
        let row = |kind, remedies: &[&str], failed: f64| OutcomeRow {
            kind,
            remedies: remedies.iter().map(|name| (*name).to_owned()).collect(),
            changes: vec!["client-1 keeps its connections".to_owned()],
            time_wait_peak: Span { low: 27_900.0, high: 28_232.0 },
            ports_left: Some(Span::default()),
            failed_per_second: Span { low: failed / 2.0, high: failed },
            failed: Span { low: failed, high: failed },
            memory_bytes: Span { low: 1.4e7, high: 1.45e7 },
            connect_cpu: Span { low: 0.011, high: 0.012 },
            ..OutcomeRow::default()
        };
        WhatIf {
            schema: WHATIF_SCHEMA,
            source: "case",
            name: "web1".to_owned(),
            played_s: 180.0,
            lasts: true,
            outcomes: vec![
                row("as-it-is", &[], 120.0),
                row("alone", &["keep-connections"], 0.0),
                row("together", &["keep-connections", "tw-reuse"], 0.0),
            ],
            not_simulated: vec![NotSimulated {
                remedy: "wait".to_owned(),
                because: "nothing changes".to_owned(),
            }],
            assumptions: vec![Assumed {
                assumed: "peers are Linux".to_owned(),
                because: "unseen".to_owned(),
            }],
            ..WhatIf::default()
        }
    }

    fn page(width: usize) -> String {
        let mut out = Vec::new();
        write_whatif(&answer(), &mut out, Style { width, color: false }).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_table_has_ranges_and_says_what_it_assumed() {
        let page = page(120);
        for none in ["lost", "no room", "unclosed"] {
            assert!(!page.contains(none), "nothing is {none}: {page}");
        }
        for text in [
            "as it is",
            "27,900..28,232",
            "60..120",
            "14..15 MB",
            "1.1..1.2%",
            "+ tw-reuse",
            "not simulated",
            "wait: nothing changes",
            "peers are Linux: unseen",
        ] {
            assert!(page.contains(text), "{text}\n{page}");
        }
        for width in [40, 60, 80, 100, 120] {
            let page = self::page(width);
            assert!(page.lines().all(|line| line.chars().count() <= width), "{width}\n{page}");
            assert!(page.contains("27,900..28,232"), "{width}\n{page}");
        }
    }

    #[test]
    fn what_makes_a_row_red_or_leaks_has_a_column() {
        let mut answer = answer();
        answer.outcomes[0].overflows = Span { low: 0.0, high: 7_001.0 };
        answer.outcomes[1].unclosed = Span { low: 50.0, high: 50.0 };
        for width in [40, 80, 160] {
            let mut out = Vec::new();
            write_whatif(&answer, &mut out, Style { width, color: false }).unwrap();
            let page = String::from_utf8(out).unwrap();
            for text in ["no room", "0..7,001", "unclosed", "50"] {
                assert!(page.contains(text), "{width}: {text}\n{page}");
            }
        }
    }

    #[test]
    fn what_fails_is_told_by_any_of_its_ends() {
        let row = |high| OutcomeRow { failed: Span { low: 0.0, high }, ..OutcomeRow::default() };
        assert_eq!((row(0.0).fails(), row(1.0).fails()), (false, true));
    }
}
