//! The page of an experiment: variant by variant what was measured, what was foretold, and how far that is apart.

use crate::pen::{Paint, Pen, Style};
use crate::report::thousands;
use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};
use std::io::{self, Write};

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
    /// Rules that fired, with their hosts.
    pub findings: Vec<String>,
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
    /// Connections whose requests were answered.
    pub ok: Option<f64>,
    /// Failures by errno.
    pub failed: Vec<(String, f64)>,
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
    /// Other things that are not as expected: measures, relations, predictions.
    pub wrong: usize,
    /// Variants that did not run.
    pub skipped: usize,
}

/// Writes the page of a scenario.
pub fn write_experiment(page: &ExperimentPage, out: &mut impl Write, style: Style) -> io::Result<()> {
    let mut pen = Pen::new(out, style);
    pen.flow(&[(Paint::Strong, &page.name), (Paint::Plain, ": ")], 2, (Paint::Plain, &page.title))?;
    table(page, &mut pen)?;
    for variant in &page.variants {
        remarks(variant, &mut pen)?;
    }
    pen.blank()
}

/// What the columns are called, the name of the variant first.
const HEAD: [&str; 10] =
    ["variant", "on", "TIME-WAIT", "ok", "failed", "resets", "a second", "p50 us", "p99 us", "CPU us"];

fn table<W: Write>(page: &ExperimentPage, pen: &mut Pen<'_, W>) -> io::Result<()> {
    let mut rows: Vec<[String; HEAD.len()]> = Vec::new();
    for variant in &page.variants {
        for (place, row) in variant.rows.iter().enumerate() {
            let name = if place == 0 { variant.name.clone() } else { String::new() };
            rows.push(cells(name, row));
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    // The indentation is the pen's.
    let width = pen.width().saturating_sub(1);
    let Some(columns) = columns(&rows, width) else { return list(&rows, pen) };
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(width).unwrap_or(u16::MAX));
    table.set_header(HEAD);
    table.add_rows(rows.into_iter().map(|row| {
        row.into_iter().enumerate().map(|(column, text)| {
            let text = if column == 0 { at_hyphens(&text, columns[0]) } else { text };
            let right = column == 3 || column > 4;
            Cell::new(text).set_alignment(if right { CellAlignment::Right } else { CellAlignment::Left })
        })
    }));
    for (column, chosen) in table.column_iter_mut().zip(columns) {
        column.set_padding((0, 1));
        let chosen = u16::try_from(chosen + 1).unwrap_or(u16::MAX);
        column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(chosen)));
    }
    for (place, line) in table.lines().enumerate() {
        pen.line(1, &[(if place == 0 { Paint::Faint } else { Paint::Plain }, line.trim_end())])?;
    }
    Ok(())
}

/// How wide each column is, so that no word is broken; names of variants are where they have hyphens. None if there is no
/// room for that.
fn columns(rows: &[[String; HEAD.len()]], width: usize) -> Option<[usize; HEAD.len()]> {
    let longest = |text: &str| text.split_whitespace().map(|word| word.chars().count()).max().unwrap_or(0);
    let mut columns = HEAD.map(longest);
    for row in rows {
        for (column, text) in columns.iter_mut().zip(row).skip(1) {
            *column = longest(text).max(*column);
        }
    }
    let others: usize = columns.iter().skip(1).map(|column| column + 1).sum();
    let room = width.checked_sub(others + 1)?;
    let names = rows.iter().map(|row| row[0].as_str());
    let parts = names.clone().flat_map(|name| name.split_inclusive('-')).map(|part| part.chars().count());
    let whole = names.map(|name| name.chars().count()).max().unwrap_or(0);
    let least = parts.max().unwrap_or(0).max(columns[0]);
    // A third is enough for names, if the others would have to be broken for it.
    columns[0] = whole.min(room.min(width / 3)).max(least);
    let mut left = room.checked_sub(columns[0])?;
    // What is left makes lines whole, those of the first columns first.
    for (place, column) in columns.iter_mut().enumerate() {
        let cells = rows.iter().map(|row| row[place].as_str()).chain([HEAD[place]]);
        let whole = cells.map(|text| text.chars().count()).max().unwrap_or(0);
        let more = whole.saturating_sub(*column).min(left);
        *column += more;
        left -= more;
    }
    Some(columns)
}

/// A name on lines that are at most so wide, broken behind hyphens.
fn at_hyphens(name: &str, width: usize) -> String {
    let mut lines = String::new();
    let mut column = 0;
    for part in name.split_inclusive('-') {
        let long = part.chars().count();
        if column > 0 && column + long > width {
            lines.push('\n');
            column = 0;
        }
        lines.push_str(part);
        column += long;
    }
    lines
}

/// The same where a table has no room.
fn list<W: Write>(rows: &[[String; HEAD.len()]], pen: &mut Pen<'_, W>) -> io::Result<()> {
    for [name, on, numbers @ ..] in rows {
        if !name.is_empty() {
            pen.line(1, &[(Paint::Strong, name)])?;
        }
        let said = HEAD.iter().skip(2).zip(numbers).filter(|(_, number)| !number.is_empty());
        let said: Vec<String> = said.map(|(head, number)| format!("{head} {number}")).collect();
        pen.flow(&[(Paint::Faint, &format!("   {on}: "))], 5, (Paint::Plain, &said.join("; ")))?;
    }
    Ok(())
}

fn cells(name: String, row: &StageRow) -> [String; HEAD.len()] {
    let number = |value: Option<f64>| value.map_or_else(String::new, whole);
    let named = |pairs: &[(String, f64)]| {
        let parts: Vec<String> =
            pairs.iter().map(|(name, count)| format!("{name} {}", whole(*count))).collect();
        parts.join(", ")
    };
    [
        name,
        row.on.clone(),
        named(&row.time_wait),
        number(row.ok),
        named(&row.failed),
        number(row.resets),
        number(row.per_second),
        number(row.p50_us),
        number(row.p99_us),
        number(row.cpu_us),
    ]
}

/// A number that is a count or is as good as one.
fn whole(value: f64) -> String {
    if value > 0.0 && value < 10.0 && value.fract() != 0.0 {
        return format!("{value:.1}");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
    let count = value.round().clamp(0.0, 1e15) as u64;
    thousands(count)
}

fn remarks<W: Write>(variant: &VariantPart, pen: &mut Pen<'_, W>) -> io::Result<()> {
    let lead = format!("  {}: ", variant.name);
    if let Some(reason) = &variant.skipped {
        pen.flow(&[(Paint::Warning, &lead)], 4, (Paint::Plain, &format!("skipped: {reason}")))?;
    }
    if variant.rows.is_empty() {
        return Ok(());
    }
    let found =
        if variant.findings.is_empty() { "no finding".to_owned() } else { variant.findings.join(", ") };
    let mut said = Vec::new();
    if !variant.about.is_empty() {
        said.push(variant.about.trim().to_owned());
    }
    said.push(found);
    said.extend(variant.compared.clone());
    let paint = if variant.wrong.is_empty() { Paint::Good } else { Paint::Error };
    pen.flow(&[(paint, &lead)], 4, (Paint::Plain, &said.join("; ")))?;
    for wrong in &variant.wrong {
        pen.flow(&[(Paint::Error, "    wrong: ")], 6, (Paint::Plain, wrong))?;
    }
    for note in &variant.notes {
        pen.flow(&[(Paint::Note, "    note: ")], 6, (Paint::Plain, note))?;
    }
    Ok(())
}

/// What the columns of the sums are called, the name of the scenario first.
const SUMS: [&str; 8] = ["scenario", "on", "variants", "right", "missed", "false", "wrong", "skipped"];

/// Writes the table of right, missed and false.
pub fn write_sums(sums: &[ScenarioSum], out: &mut impl Write, style: Style) -> io::Result<()> {
    let mut pen = Pen::new(out, style);
    let of =
        |sum: &ScenarioSum| [sum.variants, sum.right, sum.missed, sum.false_alarms, sum.wrong, sum.skipped];
    let total = sums.iter().map(of).fold([0; 6], |total, sum| std::array::from_fn(|at| total[at] + sum[at]));
    let row = |name: &str, on: &str, counts: [usize; 6]| {
        let mut row = [name, on, "", "", "", "", "", ""].map(str::to_owned);
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

    fn page() -> ExperimentPage {
        let kernel = StageRow {
            on: "kernel".to_owned(),
            time_wait: vec![("client".to_owned(), 1_000.0), ("server".to_owned(), 0.0)],
            ok: Some(1_000.0),
            failed: vec![("EADDRNOTAVAIL".to_owned(), 200.0)],
            resets: Some(0.0),
            per_second: Some(8_123.4),
            p50_us: Some(61.0),
            p99_us: Some(240.0),
            cpu_us: Some(7.25),
        };
        let simulator = StageRow { on: "simulator".to_owned(), per_second: Some(9_000.0), ..kernel.clone() };
        ExperimentPage {
            name: "port-exhaustion".to_owned(),
            title: "connect() fails with EADDRNOTAVAIL, and what helps".to_owned(),
            variants: vec![
                VariantPart {
                    name: "default".to_owned(),
                    about: "one source, one destination, 1,000 ports".to_owned(),
                    rows: vec![kernel.clone(), simulator],
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
