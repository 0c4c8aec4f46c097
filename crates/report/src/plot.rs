//! A plot over time as SVG: what a load would do under remedies. Light and dark by the reader's own choice.

use crate::whatif::{OutcomeRow, WhatIf};
use std::fmt::{self, Write};

/// So many courses are drawn: as it is, remedies alone, and all of them together.
const MOST_COURSES: usize = 8;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 46.0;
const PANEL: f64 = 150.0;
const GAP: f64 = 46.0;
const LEGEND_LINE: f64 = 20.0;

/// Colours that are told apart by the colour-blind, too (Okabe and Ito), and that show on white and on black.
const COLORS: [&str; MOST_COURSES] =
    ["#8a8a8a", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5cc2"];

/// One quantity of one outcome over time.
type Value = fn(&OutcomeRow, usize) -> Option<f64>;

/// The panels, from the top: title, unit, value.
const PANELS: [(&str, Value); 3] = [
    ("sockets in TIME-WAIT at this host", |row, at| row.over_time.time_wait.get(at).copied()),
    ("local ports left, fullest budget", |row, at| row.over_time.ports_left.get(at).copied().flatten()),
    ("failed connects a second", |row, at| row.over_time.failed_per_second.get(at).copied()),
];

/// Draws an answer.
pub fn write_plot(answer: &WhatIf, out: &mut impl Write) -> fmt::Result {
    let courses = courses(answer);
    let legend = courses.len().div_ceil(3) as f64 * LEGEND_LINE;
    let height = TOP + legend + PANELS.len() as f64 * (PANEL + GAP) + 8.0;
    let end = courses.iter().filter_map(|row| row.over_time.at_s.last().copied()).fold(0.0, f64::max);
    let end = if end > 0.0 { end } else { 1.0 };
    write!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" font-family="system-ui, sans-serif" font-size="12" role="img">
<title>{}</title>
<style>
.back {{ fill: #fff; }} text {{ fill: #333; }} .grid {{ stroke: #ddd; stroke-width: 1; }} .axis {{ fill: none; stroke: #777; stroke-width: 1; }}
.h {{ font-size: 15px; font-weight: 600; }} .p {{ font-weight: 600; }} .c {{ fill: none; stroke-width: 1.8; stroke-linejoin: round; }}
@media (prefers-color-scheme: dark) {{ .back {{ fill: #16181c; }} text {{ fill: #d5d7da; }} .grid {{ stroke: #33373d; }} .axis {{ stroke: #8a8f96; }} }}
</style>
<rect class="back" width="{WIDTH}" height="{height}"/>
<text class="h" x="{LEFT}" y="26">{}</text>
"#,
        escaped(&format!("what if: {}", answer.name)),
        escaped(&format!("what if: the load of {} under remedies", answer.name))
    )?;
    for (place, row) in courses.iter().enumerate() {
        let x = LEFT + (place % 3) as f64 * (WIDTH - LEFT - RIGHT) / 3.0;
        let y = TOP + (place / 3) as f64 * LEGEND_LINE;
        let color = COLORS.get(place).copied().unwrap_or("#888");
        let dash = dash(place);
        writeln!(
            out,
            r#"<path class="c" stroke="{color}"{dash} d="M{x:.0} {:.0}h26"/><text x="{:.0}" y="{:.0}">{}</text>"#,
            y - 4.0,
            x + 32.0,
            y,
            escaped(&clipped(&legend_of(row)))
        )?;
    }
    for (place, (title, value)) in PANELS.into_iter().enumerate() {
        let top = TOP + legend + place as f64 * (PANEL + GAP) + 14.0;
        panel(out, &courses, (title, value), top, end)?;
    }
    out.write_str("</svg>\n")
}

/// As it is, the remedies alone, and the last of those together: what tells most apart.
fn courses(answer: &WhatIf) -> Vec<&OutcomeRow> {
    let last = answer.outcomes.iter().rfind(|row| row.kind == "together");
    let room = MOST_COURSES - usize::from(last.is_some());
    let first = answer.outcomes.iter().filter(|row| row.kind != "together").take(room);
    first.chain(last).collect()
}

fn legend_of(row: &OutcomeRow) -> String {
    if row.kind == "together" { format!("all {} together", row.remedies.len()) } else { row.title() }
}

/// Courses that lie upon each other are told apart by their dashes.
const fn dash(place: usize) -> &'static str {
    match place % 4 {
        0 => "",
        1 => r#" stroke-dasharray="9 3""#,
        2 => r#" stroke-dasharray="3 3""#,
        _ => r#" stroke-dasharray="9 3 2 3""#,
    }
}

fn panel(
    out: &mut impl Write,
    courses: &[&OutcomeRow],
    (title, value): (&str, Value),
    top: f64,
    end: f64,
) -> fmt::Result {
    let bottom = top + PANEL;
    let most = courses.iter().flat_map(|row| (0..row.over_time.at_s.len()).filter_map(|at| value(row, at)));
    let most = most.filter(|value| value.is_finite()).fold(0.0, f64::max);
    let step = step(most.max(1.0) / 4.0).max(1.0);
    let most = ((most / step).ceil() * step).max(step);
    let (x, y) = (
        |seconds: f64| LEFT + (WIDTH - LEFT - RIGHT) * (seconds / end).clamp(0.0, 1.0),
        |value: f64| bottom - PANEL * (value / most).clamp(0.0, 1.0),
    );
    writeln!(out, r#"<text class="p" x="{LEFT}" y="{:.1}">{}</text>"#, top - 8.0, escaped(title))?;
    let mut mark = 0.0;
    while mark <= most + step / 2.0 {
        writeln!(
            out,
            r#"<path class="grid" d="M{LEFT} {0:.1}H{1:.1}"/><text x="{2:.1}" y="{3:.1}" text-anchor="end">{4}</text>"#,
            y(mark),
            WIDTH - RIGHT,
            LEFT - 8.0,
            y(mark) + 4.0,
            number(mark)
        )?;
        mark += step;
    }
    writeln!(out, r#"<path class="axis" d="M{LEFT} {top:.1}V{bottom:.1}H{:.1}"/>"#, WIDTH - RIGHT)?;
    let tick = self::step(end / 8.0);
    let mut mark = 0.0;
    while mark <= end * 1.001 {
        writeln!(
            out,
            r#"<path class="axis" d="M{0:.1} {bottom:.1}v5"/><text x="{0:.1}" y="{1:.1}" text-anchor="middle">{2} s</text>"#,
            x(mark),
            bottom + 18.0,
            number(mark)
        )?;
        mark += tick;
    }
    let mut any = false;
    for (place, row) in courses.iter().enumerate() {
        let mut path = String::new();
        for (at, seconds) in row.over_time.at_s.iter().enumerate() {
            let Some(value) = value(row, at).filter(|value| value.is_finite()) else { continue };
            write!(path, "{}{:.1} {:.1}", if path.is_empty() { "M" } else { "L" }, x(*seconds), y(value))?;
        }
        if !path.is_empty() {
            any = true;
            let color = COLORS.get(place).copied().unwrap_or("#888");
            writeln!(out, r#"<path class="c" stroke="{color}"{} d="{path}"/>"#, dash(place))?;
        }
    }
    if !any {
        writeln!(
            out,
            r#"<text x="{:.1}" y="{:.1}">this host does not connect</text>"#,
            LEFT + 12.0,
            top + 24.0
        )?;
    }
    Ok(())
}

/// A round number at or above this: 1, 2 or 5 times a power of ten.
fn step(least: f64) -> f64 {
    let power = 10_f64.powf(least.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|digit| digit * power)
        .find(|step| *step >= least * 0.999)
        .unwrap_or(power)
}

fn number(value: f64) -> String {
    if value >= 1e6 {
        return format!("{}M", trimmed(value / 1e6));
    }
    if value >= 1e4 {
        return format!("{}k", trimmed(value / 1e3));
    }
    trimmed(value)
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn clipped(text: &str) -> String {
    const MOST: usize = 44;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    text.chars().take(MOST - 3).chain("...".chars()).collect()
}

/// Text that XML takes: what it cannot hold is left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            letter if crate::visible::is_plain(letter) => out.push(letter),
            _ => out.push('?'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::whatif::OverTimeRow;

    #[test]
    fn a_plot_has_a_course_for_each_and_takes_hostile_names() {
        let over_time = OverTimeRow {
            at_s: vec![0.0, 1.0, 2.0],
            time_wait: vec![0.0, 500.0, 1_000.0],
            time_wait_at_peers: vec![0.0; 3],
            ports_left: vec![None, Some(500.0), Some(0.0)],
            failed_per_second: vec![0.0, 0.0, f64::NAN],
        };
        let row = |kind, name: &str| OutcomeRow {
            kind,
            remedies: vec![name.to_owned()],
            over_time: over_time.clone(),
            ..OutcomeRow::default()
        };
        let mut outcomes = vec![OutcomeRow { remedies: Vec::new(), ..row("as-it-is", "") }];
        outcomes.extend((0..12).map(|number| row("alone", &format!("</text><script>{number}"))));
        outcomes.push(row("together", "last"));
        let answer = WhatIf { name: "a<b>&\u{1b}[2J".to_owned(), outcomes, ..WhatIf::default() };
        let mut plot = String::new();
        write_plot(&answer, &mut plot).unwrap();
        assert!(!plot.contains("<script>") && !plot.contains('\u{1b}') && !plot.contains("NaN"), "{plot}");
        // A legend and three panels for each course that has room.
        assert_eq!(plot.matches(r#"<path class="c""#).count(), MOST_COURSES * 4);
        assert!(plot.contains("all 1 together") && plot.ends_with("</svg>\n"));
    }

    #[test]
    fn axes_have_round_steps() {
        assert_eq!([0.3, 7.0, 2_100.0, 1.0].map(|least| number(step(least))), ["0.5", "10", "5000", "1"]);
        assert_eq!([0.0, 2.5, 9_999.0, 28_000.0, 2e6].map(number), ["0", "2.5", "9999", "28k", "2M"]);
    }

    #[test]
    fn an_empty_answer_is_an_empty_plot() {
        let mut plot = String::new();
        write_plot(&WhatIf::default(), &mut plot).unwrap();
        assert!(plot.contains("does not connect"));
    }
}
