//! The table of an experiment: a row for each stage, and one for how far they are apart.

use super::{Apart, ApartRow, ExperimentPage, Failed, StageRow};
use crate::pen::{Paint, Pen};
use crate::report::thousands;
use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

/// What the columns are called, the name of the variant first.
const HEAD: [&str; 11] = [
    "variant",
    "on",
    "TIME-WAIT",
    "closing",
    "ok",
    "failed",
    "resets",
    "a second",
    "p50 us",
    "p99 us",
    "CPU us",
];

/// Is there only where a scenario has something to show in it.
const CLOSING: usize = 3;

/// Columns of words; the others are of numbers, which are to the right.
const WORDS: [usize; 5] = [0, 1, 2, CLOSING, 5];

/// What the row is called that says how far stages are apart.
const APART: &str = "apart";

/// A line of the table, before it has a width.
struct Row {
    cells: [String; HEAD.len()],
    paint: Paint,
}

pub(super) fn write<W: Write>(page: &ExperimentPage, pen: &mut Pen<'_, W>) -> io::Result<()> {
    let stages = || page.variants.iter().flat_map(|variant| &variant.rows);
    let calls: BTreeSet<&str> =
        stages().flat_map(|row| &row.failed).map(|failed| failed.call.as_str()).collect();
    let mut rows = Vec::new();
    for variant in &page.variants {
        for (place, row) in variant.rows.iter().enumerate() {
            let name = if place == 0 { variant.name.clone() } else { String::new() };
            rows.push(Row { cells: cells(name, row, calls.len() > 1), paint: Paint::Plain });
        }
        rows.extend(variant.apart.as_ref().map(apart));
    }
    if rows.is_empty() {
        return Ok(());
    }
    // The indentation is the pen's.
    let width = pen.width().saturating_sub(1);
    let Some(columns) = columns(&rows, width) else { return list(&rows, pen) };
    let head = Row { cells: HEAD.map(str::to_owned), paint: Paint::Faint };
    for Row { cells, paint } in std::iter::once(&head).chain(&rows) {
        for line in lines(cells, &columns) {
            pen.line(1, &[(*paint, line.trim_end())])?;
        }
    }
    Ok(())
}

/// A row in columns that are so wide; none for one of width 0.
fn lines(row: &[String; HEAD.len()], columns: &[usize; HEAD.len()]) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    let wide = || columns.iter().enumerate().filter(|(_, width)| **width > 0);
    table.set_width(u16::try_from(wide().map(|(_, width)| width + 1).sum::<usize>()).unwrap_or(u16::MAX));
    table.add_row(wide().map(|(column, width)| {
        let text = if column == 0 { at_hyphens(&row[0], *width) } else { row[column].clone() };
        let words = WORDS.contains(&column);
        Cell::new(text).set_alignment(if words { CellAlignment::Left } else { CellAlignment::Right })
    }));
    for (column, (_, width)) in table.column_iter_mut().zip(wide()) {
        column.set_padding((0, 1));
        let width = u16::try_from(width + 1).unwrap_or(u16::MAX);
        column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width)));
    }
    table.lines().collect()
}

/// How wide each column is, so that no word is broken; names of variants are where they have hyphens. None if there is no
/// room for that. One without anything to show has no width.
fn columns(rows: &[Row], width: usize) -> Option<[usize; HEAD.len()]> {
    let longest = |text: &str| text.split_whitespace().map(|word| word.chars().count()).max().unwrap_or(0);
    let mut columns = HEAD.map(longest);
    for row in rows {
        for (column, text) in columns.iter_mut().zip(&row.cells).skip(1) {
            *column = longest(text).max(*column);
        }
    }
    if rows.iter().all(|row| row.cells[CLOSING].is_empty()) {
        columns[CLOSING] = 0;
    }
    let others: usize = columns.iter().skip(1).filter(|column| **column > 0).map(|column| column + 1).sum();
    let room = width.checked_sub(others + 1)?;
    let names = rows.iter().map(|row| row.cells[0].as_str());
    let parts = names.clone().flat_map(|name| name.split_inclusive('-')).map(|part| part.chars().count());
    let whole = names.map(|name| name.chars().count()).max().unwrap_or(0);
    let least = parts.max().unwrap_or(0).max(columns[0]);
    // A third is enough for names, if the others would have to be broken for it.
    columns[0] = whole.min(room.min(width / 3)).max(least);
    let mut left = room.checked_sub(columns[0])?;
    // What is left makes lines whole, those of the first columns first.
    for (place, column) in columns.iter_mut().enumerate().filter(|(_, column)| **column > 0) {
        let cells = rows.iter().map(|row| row.cells[place].as_str()).chain([HEAD[place]]);
        let whole = cells.map(|text| text.chars().count()).max().unwrap_or(0);
        let more = whole.saturating_sub(*column).min(left);
        *column += more;
        left -= more;
    }
    Some(columns)
}

/// A name on lines that are at most so wide, broken behind hyphens.
pub(super) fn at_hyphens(name: &str, width: usize) -> String {
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
fn list<W: Write>(rows: &[Row], pen: &mut Pen<'_, W>) -> io::Result<()> {
    for Row { cells: [name, on, numbers @ ..], paint } in rows {
        if !name.is_empty() {
            pen.line(1, &[(Paint::Strong, name)])?;
        }
        let said = HEAD.iter().skip(2).zip(numbers).filter(|(_, number)| !number.is_empty());
        let said: Vec<String> = said.map(|(head, number)| format!("{head} {number}")).collect();
        pen.flow(&[(Paint::Faint, &format!("   {on}: "))], 5, (*paint, &said.join("; ")))?;
    }
    Ok(())
}

fn cells(name: String, row: &StageRow, by_call: bool) -> [String; HEAD.len()] {
    let number = |value: Option<f64>| value.map_or_else(String::new, whole);
    let named = |pairs: &[(String, f64)]| {
        let parts: Vec<String> =
            pairs.iter().map(|(name, count)| format!("{name} {}", whole(*count))).collect();
        parts.join(", ")
    };
    let mut failed = BTreeMap::<String, f64>::new();
    for Failed { call, errno, count } in &row.failed {
        let name = if by_call { format!("{call} {errno}") } else { errno.clone() };
        *failed.entry(name).or_default() += count;
    }
    let failed: Vec<_> = failed.into_iter().collect();
    [
        name,
        row.on.clone(),
        named(&row.time_wait),
        named(&row.closing),
        number(row.ok),
        named(&failed),
        number(row.resets),
        number(row.per_second),
        number(row.p50_us),
        number(row.p99_us),
        number(row.cpu_us),
    ]
}

/// How far the stages are apart; what is too far has a mark for those who see no colors.
fn apart(row: &ApartRow) -> Row {
    let one = |apart: &Apart| {
        let by = apart.by.as_deref().unwrap_or("=");
        format!("{by}{}", if apart.far { "!" } else { "" })
    };
    let cell = |apart: &Option<Apart>| apart.as_ref().map_or_else(String::new, one);
    // Of several only those that differ.
    let several = |parts: &[Apart]| {
        let off: Vec<String> = parts
            .iter()
            .filter(|apart| apart.by.is_some())
            .map(|apart| format!("{} {}", apart.of, one(apart)))
            .collect();
        if off.is_empty() && !parts.is_empty() { "=".to_owned() } else { off.join(", ") }
    };
    let singles = [&row.ok, &row.failed, &row.resets, &row.per_second, &row.p50_us, &row.cpu_us];
    let mut all = row.time_wait.iter().chain(&row.closing).chain(singles.into_iter().flatten());
    let paint = if all.any(|apart| apart.far) { Paint::Warning } else { Paint::Faint };
    let cells = [
        String::new(),
        APART.to_owned(),
        several(&row.time_wait),
        several(&row.closing),
        cell(&row.ok),
        cell(&row.failed),
        cell(&row.resets),
        cell(&row.per_second),
        cell(&row.p50_us),
        String::new(),
        cell(&row.cpu_us),
    ];
    Row { cells, paint }
}

/// A number that is a count or is as good as one.
pub(super) fn whole(value: f64) -> String {
    if value > 0.0 && value < 10.0 && value.fract() != 0.0 {
        return format!("{value:.1}");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
    let count = value.round().clamp(0.0, 1e15) as u64;
    thousands(count)
}
