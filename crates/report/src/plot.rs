//! A plot over time as SVG: what a load would do under remedies. Light and dark by the reader's own choice.

mod panel;

use crate::visible::{clip, columns, visible};
use crate::whatif::{OutcomeRow, OverTimeRow, WhatIf};
use panel::Panel;
use std::fmt::{self, Write};

/// So many courses are drawn: as it is, remedies alone, and all of them together.
const MOST_COURSES: usize = 8;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 76.0;
/// Room for the letters of the courses that end there.
const RIGHT: f64 = 128.0;
const TOP: f64 = 64.0;
const LEGEND_LINE: f64 = 20.0;

/// So many columns of the title have room, and of a name in the legend, where three or two stand in a line.
const TITLE_COLUMNS: usize = 72;
const NAME_COLUMNS: [(usize, usize); 2] = [(3, 34), (2, 54)];

/// Colours that are told apart by the colour-blind, too (Okabe and Ito), and that show on white and on black.
const COLORS: [&str; MOST_COURSES] =
    ["#8a8a8a", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5cc2"];

/// Courses that lie upon each other are told apart by these.
const LETTERS: [char; MOST_COURSES] = ['A', 'B', 'C', 'D', 'E', 'F', 'G', 'H'];

/// And, as far as they go, by their dashes.
const DASHES: [&str; 4] = [
    r#"class="c""#,
    r#"class="c" stroke-dasharray="9 3""#,
    r#"class="c" stroke-dasharray="3 3""#,
    r#"class="c" stroke-dasharray="9 3 2 3""#,
];

/// An outcome that is drawn.
struct Course<'a> {
    row: &'a OutcomeRow,
    letter: char,
    color: &'static str,
    /// How its line is drawn, besides.
    line: &'static str,
}

/// Draws an answer.
pub fn write_plot(answer: &WhatIf, out: &mut impl Write) -> fmt::Result {
    let (courses, left_out) = courses(answer);
    let names: Vec<String> =
        courses.iter().map(|course| visible(&legend_of(course.row)).into_owned()).collect();
    let widest = names.iter().map(|name| columns(name)).max().unwrap_or(0);
    let [three, two] = NAME_COLUMNS;
    let (in_line, room) = if widest <= three.1 { three } else { two };
    let lines = courses.len().div_ceil(in_line) + usize::from(left_out > 0);
    let panels = Panel::all(answer, &courses);
    let top = TOP + lines as f64 * LEGEND_LINE;
    let height = panels.iter().map(Panel::height).sum::<f64>() + top + 8.0;
    write!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" font-family="system-ui, sans-serif" font-size="12" role="img">
<title>{}</title>
<style>
.back {{ fill: #fff; }} text {{ fill: #333; }} .grid {{ stroke: #ddd; stroke-width: 1; }} .axis {{ fill: none; stroke: #777; stroke-width: 1; }}
.h {{ font-size: 15px; font-weight: 600; }} .p {{ font-weight: 600; }} .c {{ fill: none; stroke-width: 1.8; stroke-linejoin: round; }}
.first {{ stroke-width: 4.5; }} .range {{ stroke: none; fill-opacity: 0.16; }}
@media (prefers-color-scheme: dark) {{ .back {{ fill: #16181c; }} text {{ fill: #d5d7da; }} .grid {{ stroke: #33373d; }} .axis {{ stroke: #8a8f96; }} }}
</style>
<rect class="back" width="{WIDTH}" height="{height}"/>
<text class="h" x="{LEFT}" y="24">{}</text>
<text x="{LEFT}" y="42">{}</text>
"#,
        escaped(&clip(&visible(&format!("what if: {}", answer.name)), TITLE_COLUMNS)),
        escaped(&clip(&visible(&format!("what if: the load of {}", answer.name)), TITLE_COLUMNS)),
        escaped(&what_is_drawn(answer, &courses)),
    )?;
    for (place, (course, name)) in courses.iter().zip(&names).enumerate() {
        let x = LEFT + (place % in_line) as f64 * (WIDTH - LEFT - 24.0) / in_line as f64;
        let y = TOP + (place / in_line) as f64 * LEGEND_LINE;
        writeln!(
            out,
            r#"<path {} d="M{x:.0} {:.0}h26"/><text x="{:.0}" y="{y:.0}"><tspan class="p">{}</tspan> {}</text>"#,
            course.line(),
            y - 4.0,
            x + 32.0,
            course.letter,
            escaped(&clip(name, room))
        )?;
    }
    if left_out > 0 {
        writeln!(
            out,
            r#"<text x="{LEFT}" y="{:.0}">not drawn: {left_out} more that the table has</text>"#,
            TOP + (lines - 1) as f64 * LEGEND_LINE
        )?;
    }
    let mut at = top;
    for panel in &panels {
        panel.write(&courses, at, out)?;
        at += panel.height();
    }
    out.write_str("</svg>\n")
}

impl Course<'_> {
    fn line(&self) -> String {
        format!(r#"stroke="{}" {}"#, self.color, self.line)
    }

    /// Its ends: what is uncertain at its most, and, if that was tried, at its least.
    fn ends(&self) -> impl Iterator<Item = &OverTimeRow> {
        std::iter::once(&self.row.over_time).chain(&self.row.over_time_low)
    }
}

/// As it is, the remedies alone, and the last of those together: what tells most apart. And how many of them have no
/// room.
fn courses(answer: &WhatIf) -> (Vec<Course<'_>>, usize) {
    let last = answer.outcomes.iter().rfind(|row| row.kind == "together");
    let room = MOST_COURSES - usize::from(last.is_some());
    let apart = || answer.outcomes.iter().filter(|row| row.kind != "together");
    let looks = LETTERS.into_iter().zip(COLORS).enumerate();
    let drawn = apart().take(room).chain(last).zip(looks).map(|(row, (place, (letter, color)))| {
        // The first is seen below those that lie upon it.
        let line = match place {
            0 => r#"class="c first""#,
            place => DASHES.get(place % DASHES.len()).copied().unwrap_or_default(),
        };
        Course { row, letter, color, line }
    });
    (drawn.collect(), apart().count().saturating_sub(room))
}

fn legend_of(row: &OutcomeRow) -> String {
    if row.kind == "together" { row.remedies.join(" + ") } else { row.title() }
}

fn what_is_drawn(answer: &WhatIf, courses: &[Course<'_>]) -> String {
    let played = match (answer.source, answer.lasts) {
        ("scenario", _) => "as the scenario says".to_owned(),
        (_, true) => format!("begun anew at 0 s, it goes on for {} s", panel::number(answer.played_s)),
        (_, false) => "begun anew at 0 s, played once, as it was seen".to_owned(),
    };
    if courses.iter().all(|course| course.row.over_time_low.is_none()) {
        return played;
    }
    let ends = if answer.source == "scenario" {
        "shaded: as far as another chance goes"
    } else {
        "lines: what is uncertain at its most; shaded: to its least"
    };
    format!("{played}; {ends}")
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
            // These two are no characters of XML.
            '\u{fffe}' | '\u{ffff}' => out.push('?'),
            letter if crate::visible::is_plain(letter) => out.push(letter),
            _ => out.push('?'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::whatif::ModelHost;

    fn course(values: &[f64]) -> OverTimeRow {
        OverTimeRow {
            at_s: (0..values.len()).map(|at| at as f64).collect(),
            time_wait: values.to_vec(),
            time_wait_at_peers: vec![0.0; values.len()],
            ports_left: values.iter().map(|value| (*value > 0.0).then_some(1_000.0 - value)).collect(),
            failed_per_second: vec![0.0; values.len()],
            lost_per_second: vec![0.0; values.len()],
        }
    }

    fn outcome(kind: &'static str, remedies: &[&str], values: &[f64]) -> OutcomeRow {
        OutcomeRow {
            kind,
            remedies: remedies.iter().map(|name| (*name).to_owned()).collect(),
            over_time: course(values),
            ..OutcomeRow::default()
        }
    }

    fn answer(outcomes: Vec<OutcomeRow>) -> WhatIf {
        WhatIf {
            name: "web1".to_owned(),
            host: "here".to_owned(),
            hosts: vec![ModelHost { name: "here".to_owned(), stands_for: "this host".to_owned() }],
            outcomes,
            ..WhatIf::default()
        }
    }

    fn plot(answer: &WhatIf) -> String {
        let mut plot = String::new();
        write_plot(answer, &mut plot).unwrap();
        assert!(!plot.contains("NaN") && !plot.contains("inf"), "{plot}");
        plot
    }

    #[test]
    fn a_plot_has_a_course_for_each_and_takes_hostile_names() {
        let values = [0.0, 500.0, 1_000.0];
        let mut outcomes = vec![outcome("as-it-is", &[], &values)];
        for number in 0..12 {
            outcomes.push(outcome("alone", &[&format!("</text><script>{number}\u{fffe}")], &values));
        }
        outcomes.push(outcome("together", &["first", "last"], &[5.0, f64::NAN, 5.0]));
        let mut answer = answer(outcomes);
        answer.name = format!("a<b>&\u{1b}[2J{}", "/long".repeat(1_000));
        answer.hosts[0].stands_for = "\u{202e}<i>".to_owned();
        let plot = plot(&answer);
        for bad in ["<script>", "<b>", "<i>", "\u{1b}", "\u{202e}", "\u{fffe}"] {
            assert!(!plot.contains(bad), "{bad:?}: {plot}");
        }
        // A legend and two panels for each course that has room; the others are said to be elsewhere.
        assert_eq!(plot.matches(r#"class="c"#).count(), MOST_COURSES * 3);
        assert!(plot.contains("first + last") && plot.contains("not drawn: 6 more"), "{plot}");
        assert!(plot.lines().all(|line| line.chars().count() < 300), "a long name is cut: {plot}");
        assert!(plot.ends_with("</svg>\n"));
    }

    #[test]
    fn what_fails_and_what_is_lost_are_two_panels_and_nothing_takes_none() {
        let mut row = outcome("as-it-is", &[], &[10.0, 20.0]);
        let calm = plot(&answer(vec![row.clone()]));
        for said in ["connects that failed, so far:</tspan> none", "were lost, so far:</tspan> none"] {
            assert!(calm.contains(said), "{said}: {calm}");
        }
        row.over_time.lost_per_second = vec![0.0, 3.0];
        let lossy = plot(&answer(vec![row]));
        assert!(lossy.contains("connects that failed, so far:</tspan> none"), "{lossy}");
        assert!(lossy.contains("were lost, so far</text>"), "{lossy}");
    }

    #[test]
    fn ranges_are_shaded_and_it_is_said_what_the_shade_is() {
        let mut row = outcome("as-it-is", &[], &[10.0, 20.0]);
        let exact = plot(&answer(vec![row.clone()]));
        row.over_time_low = Some(course(&[5.0, 10.0]));
        let range = plot(&answer(vec![row]));
        assert!(!exact.contains(r#"class="range""#) && !exact.contains("shaded"), "{exact}");
        assert!(range.contains(r#"class="range""#) && range.contains("shaded: to its least"), "{range}");
    }

    #[test]
    fn an_empty_answer_is_an_empty_plot() {
        let plot = plot(&WhatIf::default());
        assert!(plot.contains("it does not connect") && !plot.contains(r#"class="axis""#), "{plot}");
    }
}
