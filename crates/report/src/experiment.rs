//! The page of an experiment: variant by variant what was measured, what was foretold, and how far that is apart.

mod table;

use crate::pen::{Paint, Pen, Style};
use crate::report::thousands;
use comfy_table::{Cell, CellAlignment, Table, presets};
use std::io::{self, Write};
use table::{at_hyphens, whole};

/// A scenario that ran.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExperimentPage {
    /// Its name.
    pub name: String,
    /// What it is about.
    pub title: String,
    /// Its variants.
    pub variants: Vec<VariantPart>,
}

/// A variant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VariantPart {
    /// Its name.
    pub name: String,
    /// What is different in it.
    pub about: String,
    /// A row for each stage.
    pub rows: Vec<StageRow>,
    /// How far the simulator is from the kernel, where both ran.
    pub apart: Option<ApartRow>,
    /// Rules that fired, with their hosts.
    pub findings: Vec<String>,
    /// Expected rules that no stage could decide, a sentence each.
    pub undecided: Vec<String>,
    /// What is not as expected, a sentence each.
    pub wrong: Vec<String>,
    /// What the reader of the numbers should know, a sentence each.
    pub notes: Vec<String>,
    /// How the simulator compares with the kernel, if both ran.
    pub compared: Option<String>,
    /// Why it did not run.
    pub skipped: Option<String>,
}

/// The numbers of one stage.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StageRow {
    /// The stage: `kernel`, `simulator`.
    pub on: String,
    /// TIME-WAIT by host, in the order of the scenario.
    pub time_wait: Vec<(String, f64)>,
    /// Sockets in other states of a close, by host and state: `server LAST-ACK`.
    pub closing: Vec<(String, f64)>,
    /// Connections whose requests were answered.
    pub ok: Option<f64>,
    /// Calls that failed.
    pub failed: Vec<Failed>,
    /// Resets sent, all hosts together.
    pub resets: Option<f64>,
    /// Connections a second.
    pub per_second: Option<f64>,
    /// Half of the connects took at most so long, microseconds.
    pub p50_us: Option<f64>,
    /// 99 of 100 took at most so long, microseconds.
    pub p99_us: Option<f64>,
    /// Processor time of a connect, microseconds.
    pub cpu_us: Option<f64>,
    /// Memory of TIME-WAIT by host: bytes in all and for each, where it was measured.
    pub memory: Vec<(String, f64, f64)>,
    /// Crafted segments, if there are any.
    pub probes: Option<Probes>,
}

/// Calls that failed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Failed {
    /// The call.
    pub call: String,
    /// What it gave.
    pub errno: String,
    /// So often.
    pub count: f64,
}

/// Crafted segments that met a socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probes {
    /// So many got what was expected,
    pub as_expected: usize,
    /// of so many.
    pub of: usize,
}

/// How far two stages are apart, in the columns of [`StageRow`]; what is not compared is left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ApartRow {
    /// TIME-WAIT by host.
    pub time_wait: Vec<Apart>,
    /// Other states by host.
    pub closing: Vec<Apart>,
    /// The client that is the farthest off, as in the other columns with one of them.
    pub ok: Option<Apart>,
    /// Failures.
    pub failed: Option<Apart>,
    /// Resets.
    pub resets: Option<Apart>,
    /// Connections a second.
    pub per_second: Option<Apart>,
    /// The median of connect().
    pub p50_us: Option<Apart>,
    /// Processor time of a connect.
    pub cpu_us: Option<Apart>,
}

/// The simulator less the kernel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Apart {
    /// Of what, where the column has several: the name of a host.
    pub of: String,
    /// In per cent of the larger one, or how many; nothing if they are equal.
    pub by: Option<String>,
    /// Farther than a prediction may be off.
    pub far: bool,
}

/// The sums of one scenario, for the table at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScenarioSum {
    /// Its name.
    pub name: String,
    /// Where the rules were tried.
    pub on: String,
    /// Variants that ran.
    pub variants: usize,
    /// Rules that fired as expected.
    pub right: usize,
    /// Rules that were expected and did not fire.
    pub missed: usize,
    /// Rules that fired and were not expected.
    pub false_alarms: usize,
    /// Rules that were expected and that no stage could decide.
    pub undecided: usize,
    /// Other things that are not as expected: measures, relations, predictions.
    pub wrong: usize,
    /// Variants that did not run.
    pub skipped: usize,
}

/// Writes the page of a scenario.
pub fn write_experiment(page: &ExperimentPage, out: &mut impl Write, style: Style) -> io::Result<()> {
    let mut pen = Pen::new(out, style);
    pen.flow(&[(Paint::Strong, &page.name), (Paint::Plain, ": ")], 2, (Paint::Plain, &page.title))?;
    table::write(page, &mut pen)?;
    for variant in &page.variants {
        remarks(variant, &mut pen)?;
    }
    pen.blank()
}

fn remarks<W: Write>(variant: &VariantPart, pen: &mut Pen<'_, W>) -> io::Result<()> {
    let lead = format!("  {}: ", variant.name);
    if let Some(reason) = &variant.skipped {
        pen.flow(&[(Paint::Warning, &lead)], 4, (Paint::Plain, &format!("skipped: {reason}")))?;
    }
    if variant.rows.is_empty() && variant.wrong.is_empty() {
        return Ok(());
    }
    // Silence of a rule that nobody could ask is no answer.
    let found = match (variant.findings.is_empty(), variant.undecided.is_empty()) {
        _ if variant.rows.is_empty() => "nothing was measured".to_owned(),
        (false, _) => variant.findings.join(", "),
        (true, true) => "no finding".to_owned(),
        (true, false) => "no finding of the rules that can be decided".to_owned(),
    };
    let mut said = Vec::new();
    if !variant.about.is_empty() {
        said.push(variant.about.trim().to_owned());
    }
    said.push(found);
    said.extend(variant.compared.clone());
    let paint = if variant.wrong.is_empty() { Paint::Good } else { Paint::Error };
    pen.flow(&[(paint, &lead)], 4, (Paint::Plain, &said.join("; ")))?;
    for row in &variant.rows {
        let lead = format!("    {}: ", row.on);
        for (host, bytes, each) in &row.memory {
            let said =
                format!("TIME-WAIT at {host} takes {} bytes, {} bytes a socket", whole(*bytes), whole(*each));
            pen.flow(&[(Paint::Faint, &lead)], 6, (Paint::Plain, &said))?;
        }
        if let Some(Probes { as_expected, of }) = &row.probes {
            let said = format!("{as_expected} of {of} probes as expected");
            let paint = if as_expected == of { Paint::Plain } else { Paint::Warning };
            pen.flow(&[(Paint::Faint, &lead)], 6, (paint, &said))?;
        }
    }
    for wrong in &variant.wrong {
        pen.flow(&[(Paint::Error, "    wrong: ")], 6, (Paint::Plain, wrong))?;
    }
    for undecided in &variant.undecided {
        pen.flow(&[(Paint::Warning, "    unknown: ")], 6, (Paint::Plain, undecided))?;
    }
    for note in &variant.notes {
        pen.flow(&[(Paint::Note, "    note: ")], 6, (Paint::Plain, note))?;
    }
    Ok(())
}

/// What the columns of the sums are called, the name of the scenario first.
const SUMS: [&str; 9] =
    ["scenario", "on", "variants", "right", "missed", "false", "unknown", "wrong", "skipped"];

/// Writes the table of right, missed and false.
pub fn write_sums(sums: &[ScenarioSum], out: &mut impl Write, style: Style) -> io::Result<()> {
    let mut pen = Pen::new(out, style);
    let of = |sum: &ScenarioSum| {
        let &ScenarioSum { variants, right, missed, false_alarms, undecided, wrong, skipped, .. } = sum;
        [variants, right, missed, false_alarms, undecided, wrong, skipped]
    };
    let total = sums.iter().map(of).fold([0; 7], |total, sum| std::array::from_fn(|at| total[at] + sum[at]));
    let row = |name: &str, on: &str, counts: [usize; 7]| {
        let mut row = [name, on, "", "", "", "", "", "", ""].map(str::to_owned);
        for (cell, count) in row.iter_mut().skip(2).zip(counts) {
            *cell = thousands(count as u64);
        }
        row
    };
    let bad = |sum: &ScenarioSum| sum.missed + sum.false_alarms + sum.wrong > 0;
    let paint = |sum: &ScenarioSum| if bad(sum) { Paint::Error } else { Paint::Plain };
    let mut rows: Vec<_> = sums.iter().map(|sum| (paint(sum), row(&sum.name, &sum.on, of(sum)))).collect();
    rows.push((Paint::Strong, row("all", "", total)));
    // The indentation is the pen's.
    let Some(names) = room_for_names(&rows, pen.width().saturating_sub(1)) else {
        return rows.iter().try_for_each(|(paint, row)| sum_in_words(*paint, row, &mut pen));
    };
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(SUMS);
    let mut paints = vec![Paint::Faint];
    for (paint, mut row) in rows {
        row[0] = at_hyphens(&row[0], names);
        paints.extend(row[0].lines().map(|_| paint));
        table.add_row(row.into_iter().enumerate().map(|(column, text)| {
            let right = column > 1;
            Cell::new(text).set_alignment(if right { CellAlignment::Right } else { CellAlignment::Left })
        }));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
    }
    for (line, paint) in table.lines().zip(paints) {
        pen.line(1, &[(paint, line.trim_end())])?;
    }
    Ok(())
}

/// How wide names may be beside the other columns; none if a part of one, as they are broken behind hyphens, has no room.
fn room_for_names(rows: &[(Paint, [String; SUMS.len()])], width: usize) -> Option<usize> {
    let longest = |column: usize| {
        let texts = rows.iter().map(|(_, row)| row[column].as_str()).chain([SUMS[column]]);
        texts.flat_map(|text| text.split_inclusive('-')).map(|part| part.chars().count()).max().unwrap_or(0)
    };
    let others: usize = (1..SUMS.len()).map(|column| longest(column) + 1).sum();
    // A space behind the names, none behind the last column.
    width.checked_sub(others).filter(|room| longest(0) <= *room)
}

/// The same where a table has no room.
fn sum_in_words<W: Write>(
    paint: Paint,
    [name, on, counts @ ..]: &[String; SUMS.len()],
    pen: &mut Pen<'_, W>,
) -> io::Result<()> {
    pen.line(1, &[(paint, name)])?;
    let said = SUMS.iter().skip(2).zip(counts).filter(|(_, count)| *count != "0");
    let said: Vec<String> = said.map(|(head, count)| format!("{head} {count}")).collect();
    let lead = if on.is_empty() { "   ".to_owned() } else { format!("   {on}: ") };
    pen.flow(&[(Paint::Faint, &lead)], 5, (Paint::Plain, &said.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(call: &str, errno: &str, count: f64) -> Failed {
        Failed { call: call.to_owned(), errno: errno.to_owned(), count }
    }

    fn apart(of: &str, by: Option<&str>, far: bool) -> Apart {
        Apart { of: of.to_owned(), by: by.map(str::to_owned), far }
    }

    fn page() -> ExperimentPage {
        let kernel = StageRow {
            on: "kernel".to_owned(),
            time_wait: vec![("client".to_owned(), 1_000.0), ("server".to_owned(), 0.0)],
            closing: Vec::new(),
            ok: Some(1_000.0),
            failed: vec![failed("connect", "EADDRNOTAVAIL", 200.0)],
            resets: Some(0.0),
            per_second: Some(8_123.4),
            p50_us: Some(61.0),
            p99_us: Some(240.0),
            cpu_us: Some(7.25),
            memory: vec![("client".to_owned(), 512_000.0, 512.0)],
            probes: None,
        };
        let simulator = StageRow {
            on: "simulator".to_owned(),
            per_second: Some(9_000.0),
            memory: Vec::new(),
            ..kernel.clone()
        };
        ExperimentPage {
            name: "port-exhaustion".to_owned(),
            title: "connect() fails with EADDRNOTAVAIL, and what helps".to_owned(),
            variants: vec![
                VariantPart {
                    name: "default".to_owned(),
                    about: "one source, one destination, 1,000 ports".to_owned(),
                    rows: vec![kernel.clone(), simulator],
                    apart: Some(ApartRow {
                        time_wait: vec![apart("client", None, false), apart("server", Some("+2"), false)],
                        ok: Some(apart("", None, false)),
                        failed: Some(apart("", Some("-0.4%"), false)),
                        per_second: Some(apart("", Some("+21%"), true)),
                        ..ApartRow::default()
                    }),
                    findings: vec!["ephemeral-ports-exhausted at client".to_owned()],
                    compared: Some("14 counts within 5 %".to_owned()),
                    ..VariantPart::default()
                },
                VariantPart {
                    name: "pool".to_owned(),
                    rows: vec![StageRow { ok: Some(8.0), failed: Vec::new(), ..kernel }],
                    wrong: vec!["client-without-pool fired at client\u{1b}[2J".to_owned()],
                    ..VariantPart::default()
                },
                VariantPart {
                    name: "hangs".to_owned(),
                    wrong: vec!["kernel: it came to no end: host server is gone".to_owned()],
                    ..VariantPart::default()
                },
                VariantPart {
                    name: "haproxy".to_owned(),
                    skipped: Some("haproxy is not installed".to_owned()),
                    ..VariantPart::default()
                },
            ],
        }
    }

    fn at(width: usize) -> String {
        let mut out = Vec::new();
        write_experiment(&page(), &mut out, Style { width, color: false }).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_experiment_is_a_table_with_remarks() {
        insta::assert_snapshot!(at(110));
    }

    #[test]
    fn no_line_is_wider_than_the_page_and_nothing_reaches_the_terminal_raw() {
        for width in [60, 80, 100, 120] {
            for line in at(width).lines() {
                assert!(line.chars().count() <= width, "{width}: {line}");
                assert!(!line.contains('\u{1b}'));
            }
        }
    }

    #[test]
    fn what_only_some_scenarios_have_is_shown_where_it_is() {
        let mut page = page();
        page.variants.truncate(2);
        page.variants[1].wrong.clear();
        page.variants[1].undecided = vec!["client-without-pool at client: it reads packets".to_owned()];
        let rows = &mut page.variants[0].rows;
        rows[0].closing =
            vec![("client FIN-WAIT-2".to_owned(), 50.0), ("server CLOSE-WAIT".to_owned(), 50.0)];
        rows[0].failed = vec![failed("connect", "ETIMEDOUT", 31.0), failed("answer", "ETIMEDOUT", 9.0)];
        rows[1].failed = vec![failed("connect", "ETIMEDOUT", 40.0)];
        rows[0].probes = Some(Probes { as_expected: 20, of: 20 });
        rows[1].probes = Some(Probes { as_expected: 19, of: 20 });
        let far = vec![apart("client FIN-WAIT-2", Some("-100%"), true)];
        page.variants[0].apart = Some(ApartRow { closing: far, ..ApartRow::default() });
        let mut text = Vec::new();
        write_experiment(&page, &mut text, Style { width: 100, color: false }).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        insta::assert_snapshot!(text);
        let mut colored = Vec::new();
        write_experiment(&page, &mut colored, Style { width: 100, color: true }).unwrap();
        let colored = String::from_utf8(colored).unwrap();
        let warned = colored.lines().find(|line| line.contains("apart")).unwrap();
        assert!(warned.contains("\u{1b}[1m\u{1b}[33m"), "{warned:?}");
    }

    #[test]
    fn no_word_is_broken_and_where_a_table_has_no_room_it_is_a_list() {
        for width in 40..120 {
            let text = at(width);
            let words = ["EADDRNOTAVAIL", "simulator", "kernel", "TIME-WAIT", "1,000", "default", "200"];
            for word in words {
                assert!(text.contains(word), "{width}: {word}:\n{text}");
            }
        }
        insta::assert_snapshot!(at(60));
    }

    #[test]
    fn names_are_broken_behind_hyphens() {
        assert_eq!(at_hyphens("peer-closes-first", 20), "peer-closes-first");
        assert_eq!(at_hyphens("peer-closes-first", 12), "peer-closes-\nfirst");
        assert_eq!(at_hyphens("peer-closes-first", 3), "peer-\ncloses-\nfirst");
        assert_eq!(at_hyphens("", 3), "");
    }

    fn sums(width: usize) -> String {
        let sums = [
            ScenarioSum {
                name: "listener-in-ephemeral-range".to_owned(),
                on: "both".to_owned(),
                variants: 3,
                right: 5,
                ..ScenarioSum::default()
            },
            ScenarioSum {
                name: "b".to_owned(),
                on: "simulator".to_owned(),
                variants: 1,
                missed: 1,
                skipped: 2,
                ..ScenarioSum::default()
            },
        ];
        let mut out = Vec::new();
        write_sums(&sums, &mut out, Style { width, color: false }).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_sums_end_with_their_total() {
        insta::assert_snapshot!(sums(80));
    }

    #[test]
    fn sums_are_never_wider_than_the_page_and_no_word_of_them_is_broken() {
        for width in 40..120 {
            let text = sums(width);
            assert!(text.lines().all(|line| line.chars().count() <= width), "{width}:\n{text}");
            let words = ["listener-", "in-", "ephemeral-", "range", "simulator", "both", "missed", "skipped"];
            for word in words {
                assert!(text.contains(word), "{width}: {word}:\n{text}");
            }
        }
        insta::assert_snapshot!(sums(70));
        insta::assert_snapshot!(sums(40));
    }
}
