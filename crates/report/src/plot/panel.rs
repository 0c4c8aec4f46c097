//! One quantity over time, for all courses; or one line, where there is nothing to draw.

use super::{Course, LEFT, RIGHT, WIDTH, escaped};
use crate::report::thousands;
use crate::visible::{clip, visible};
use crate::whatif::{OverTimeRow, WhatIf};
use std::fmt::{self, Write};

const HEIGHT: f64 = 150.0;
/// What a panel takes besides: its title, the marks of time, and a gap.
const AROUND: f64 = 54.0;
/// A title alone.
const LINE: f64 = 26.0;

/// The letters of two ends that are nearer than this stand one below the other.
const LETTER_LINE: f64 = 14.0;

/// So many columns of a host's name have room in a title.
const HOST_COLUMNS: usize = 60;

/// Said instead of ports, where none are known.
const NO_PORTS: &str = "it does not connect";

/// One quantity at one look.
type Value = fn(&OverTimeRow, usize) -> Option<f64>;

pub(super) struct Panel {
    title: String,
    value: Value,
    /// Why there is nothing to draw.
    empty: Option<&'static str>,
    /// Where time ends, seconds.
    end: f64,
}

impl Panel {
    /// All of them, from the top.
    pub(super) fn all(answer: &WhatIf, courses: &[Course<'_>]) -> Vec<Self> {
        let here = answer.hosts.iter().find(|host| host.name == answer.host);
        let here = match here {
            Some(host) if answer.source != "scenario" => host.stands_for.as_str(),
            _ => answer.host.as_str(),
        };
        let here = clip(&visible(here), HOST_COLUMNS).into_owned();
        // What a title has, its value, and what is said instead if there is nothing of it.
        let quantities: [(String, Value, &'static str); 5] = [
            (format!("sockets in TIME-WAIT at {here}"), |row, at| row.time_wait.get(at).copied(), "none"),
            (
                "sockets in TIME-WAIT at all peers together".to_owned(),
                |row, at| row.time_wait_at_peers.get(at).copied(),
                "none",
            ),
            (
                format!("local ports left at {here}, of the fullest budget"),
                |row, at| row.ports_left.get(at).copied().flatten(),
                NO_PORTS,
            ),
            (
                "connects that fail, a second".to_owned(),
                |row, at| row.failed_per_second.get(at).copied(),
                "none",
            ),
            (
                "requests and connections that are lost, a second".to_owned(),
                |row, at| row.lost_per_second.get(at).copied(),
                "none",
            ),
        ];
        let end = courses.iter().flat_map(Course::ends).filter_map(|row| row.at_s.last().copied());
        let end = end.filter(|end| end.is_finite()).fold(0.0, f64::max);
        let end = if end > 0.0 { end } else { 1.0 };
        let panels = quantities.into_iter().map(|(title, value, nothing)| {
            let mut values = courses.iter().flat_map(Course::ends).flat_map(|row| points(row, value));
            // Of ports, none is the most that there is to see.
            let any = values.any(|(_, value)| value > 0.0 || nothing == NO_PORTS);
            Self { title, value, empty: (!any).then_some(nothing), end }
        });
        panels.collect()
    }

    pub(super) fn height(&self) -> f64 {
        if self.empty.is_some() { LINE } else { HEIGHT + AROUND }
    }

    pub(super) fn write(&self, courses: &[Course<'_>], top: f64, out: &mut impl Write) -> fmt::Result {
        let title = escaped(&self.title);
        if let Some(nothing) = self.empty {
            return writeln!(
                out,
                r#"<text x="{LEFT}" y="{:.1}"><tspan class="p">{title}:</tspan> {nothing}</text>"#,
                top + 14.0
            );
        }
        writeln!(out, r#"<text class="p" x="{LEFT}" y="{:.1}">{title}</text>"#, top + 14.0)?;
        let top = top + 22.0;
        let scale = self.scale(courses, top);
        scale.axes(self.end, out)?;
        for course in courses {
            self.range(course, &scale, out)?;
        }
        let mut ends = Vec::new();
        for course in courses {
            let path = path(points(&course.row.over_time, self.value), &scale);
            if let Some((_, last)) = points(&course.row.over_time, self.value).last() {
                writeln!(out, r#"<path {} d="M{path}"/>"#, course.line())?;
                ends.push((last, course.letter));
            }
        }
        letters(ends, &scale, out)
    }

    fn scale(&self, courses: &[Course<'_>], top: f64) -> Scale {
        let values = courses.iter().flat_map(Course::ends).flat_map(|row| points(row, self.value));
        let most = values.map(|(_, value)| value).fold(0.0, f64::max);
        let step = step(most.max(1e-3) / 4.0);
        // Nothing that is counted comes in parts.
        let step = if most >= 1.0 { step.max(1.0) } else { step };
        Scale { top, end: self.end, most: ((most / step).ceil() * step).max(step), step }
    }

    /// What lies between what is uncertain at its least and at its most.
    fn range(&self, course: &Course<'_>, scale: &Scale, out: &mut impl Write) -> fmt::Result {
        let Some(low) = &course.row.over_time_low else { return Ok(()) };
        let high = path(points(&course.row.over_time, self.value), scale);
        let mut back: Vec<(f64, f64)> = points(low, self.value).collect();
        back.reverse();
        let low = path(back.into_iter(), scale);
        if high.is_empty() || low.is_empty() {
            return Ok(());
        }
        writeln!(out, r#"<path class="range" fill="{}" d="M{high}L{low}Z"/>"#, course.color)
    }
}

/// Where values stand.
struct Scale {
    top: f64,
    /// Where time ends, seconds.
    end: f64,
    most: f64,
    step: f64,
}

impl Scale {
    fn x(&self, seconds: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * (seconds / self.end).clamp(0.0, 1.0)
    }

    fn y(&self, value: f64) -> f64 {
        self.bottom() - HEIGHT * (value / self.most).clamp(0.0, 1.0)
    }

    fn bottom(&self) -> f64 {
        self.top + HEIGHT
    }

    fn axes(&self, end: f64, out: &mut impl Write) -> fmt::Result {
        let (bottom, right) = (self.bottom(), WIDTH - RIGHT);
        let mut mark = 0.0;
        while mark <= self.most + self.step / 2.0 {
            writeln!(
                out,
                r#"<path class="grid" d="M{LEFT} {0:.1}H{right:.1}"/><text x="{1:.1}" y="{2:.1}" text-anchor="end">{3}</text>"#,
                self.y(mark),
                LEFT - 8.0,
                self.y(mark) + 4.0,
                number(mark)
            )?;
            mark += self.step;
        }
        writeln!(out, r#"<path class="axis" d="M{LEFT} {:.1}V{bottom:.1}H{right:.1}"/>"#, self.top)?;
        let tick = step(end / 8.0);
        let mut mark = 0.0;
        while mark <= end * 1.001 {
            writeln!(
                out,
                r#"<path class="axis" d="M{0:.1} {bottom:.1}v5"/><text x="{0:.1}" y="{1:.1}" text-anchor="middle">{2} s</text>"#,
                self.x(mark),
                bottom + 18.0,
                number(mark)
            )?;
            mark += tick;
        }
        Ok(())
    }
}

/// When and how much, as far as it is known.
fn points(row: &OverTimeRow, value: Value) -> impl Iterator<Item = (f64, f64)> {
    let known = row.at_s.iter().enumerate();
    let known = known.filter_map(move |(at, seconds)| Some((*seconds, value(row, at)?)));
    known.filter(|(seconds, value)| seconds.is_finite() && value.is_finite())
}

/// The places of points on a path; nothing if there are none.
fn path(points: impl Iterator<Item = (f64, f64)>, scale: &Scale) -> String {
    let each = points.map(|(seconds, value)| format!("{:.1} {:.1}", scale.x(seconds), scale.y(value)));
    each.collect::<Vec<_>>().join("L")
}

/// The letters of all courses where they end, with what they end at. Those that end together share a line.
fn letters(ends: Vec<(f64, char)>, scale: &Scale, out: &mut impl Write) -> fmt::Result {
    let mut lines: Vec<(f64, String, String)> = Vec::new();
    for (value, letter) in ends {
        let text = number(value);
        match lines.iter_mut().find(|(_, _, same)| *same == text) {
            Some((_, letters, _)) => letters.push(letter),
            None => lines.push((scale.y(value), letter.to_string(), text)),
        }
    }
    lines.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut free = f64::NEG_INFINITY;
    for (y, ..) in &mut lines {
        *y = y.max(free);
        free = *y + LETTER_LINE;
    }
    // What has gone below the axis pushes the others up again.
    let mut free = scale.bottom();
    for (y, ..) in lines.iter_mut().rev() {
        *y = y.min(free);
        free = *y - LETTER_LINE;
    }
    for (y, letters, text) in lines {
        writeln!(
            out,
            r#"<text x="{:.1}" y="{:.1}"><tspan class="p">{letters}</tspan> {text}</text>"#,
            WIDTH - RIGHT + 6.0,
            y + 4.0
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

/// `28,232`, `2.5`, `12M`.
pub(super) fn number(value: f64) -> String {
    if value >= 1e7 {
        return format!("{}M", trimmed(value / 1e6));
    }
    if value >= 100.0 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below ten millions")]
        let whole = value.round() as u64;
        return thousands(whole);
    }
    trimmed(value)
}

fn trimmed(value: f64) -> String {
    let text = format!("{:.2}", value.max(0.0) + 0.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_steps() {
        assert_eq!([0.3, 7.0, 2_100.0, 1.0].map(|least| number(step(least))), ["0.5", "10", "5,000", "1"]);
        let shown = [0.0, -0.0, 2.5, 9_999.0, 28_232.4, 2e6, 1.2e7].map(number);
        assert_eq!(shown, ["0", "0", "2.5", "9,999", "28,232", "2,000,000", "12M"]);
    }

    #[test]
    fn letters_stand_apart_and_within_their_panel() {
        let scale = Scale { top: 100.0, end: 1.0, most: 1_000.0, step: 250.0 };
        let ends = [1_000.0, 999.0, 998.0, 3.0, 2.0, 1.0, 0.0, 0.0];
        let ends = ends.into_iter().zip(super::super::LETTERS).collect();
        let mut text = String::new();
        letters(ends, &scale, &mut text).unwrap();
        let places: Vec<f64> = text
            .lines()
            .map(|line| line.split("y=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(places.len(), 7, "the last two share a line: {text}");
        assert!(text.contains(r#"GH</tspan> 0"#), "{text}");
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= LETTER_LINE - 0.1), "{places:?}");
        assert!(places.iter().all(|y| (100.0..=255.0).contains(y)), "{places:?}");
    }
}
