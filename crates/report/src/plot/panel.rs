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
    /// A rate is added up: a load that is played once has no rate that would mean anything.
    adds_up: bool,
    /// It is about ports, of which the fewest matter.
    of_ports: bool,
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
        let adds_up = !answer.lasts;
        let over = if adds_up { "so far" } else { "a second" };
        // What a title has, its value, whether that is a rate, and what is said instead if there is nothing of it.
        let quantities: [(String, Value, bool, &'static str); 5] = [
            (
                format!("sockets in TIME-WAIT at {here}"),
                |row, at| row.time_wait.get(at).copied(),
                false,
                "none",
            ),
            (
                "sockets in TIME-WAIT at all peers together".to_owned(),
                |row, at| row.time_wait_at_peers.get(at).copied(),
                false,
                "none",
            ),
            (
                format!("local ports left at {here}, of the fullest budget"),
                |row, at| row.ports_left.get(at).copied().flatten(),
                false,
                NO_PORTS,
            ),
            (
                format!("connects that failed, {over}"),
                |row, at| row.failed_per_second.get(at).copied(),
                true,
                "none",
            ),
            (
                format!("requests and connections that were lost, {over}"),
                |row, at| row.lost_per_second.get(at).copied(),
                true,
                "none",
            ),
        ];
        let end = courses.iter().flat_map(Course::ends).filter_map(|row| row.at_s.last().copied());
        let end = end.filter(|end| end.is_finite()).fold(0.0, f64::max);
        let end = if end > 0.0 { end } else { 1.0 };
        let panels = quantities.into_iter().map(|(title, value, is_rate, nothing)| {
            let of_ports = nothing == NO_PORTS;
            let mut panel = Self { title, value, adds_up: is_rate && adds_up, of_ports, empty: None, end };
            let mut values = courses.iter().flat_map(Course::ends).flat_map(|row| panel.points(row));
            // Of ports, none is the most that there is to see.
            if !values.any(|(_, value)| value > 0.0 || of_ports) {
                panel.empty = Some(nothing);
            }
            panel
        });
        panels.collect()
    }

    /// When and how much, as far as it is known.
    fn points(&self, row: &OverTimeRow) -> Vec<(f64, f64)> {
        let known = row.at_s.iter().enumerate();
        let known = known.filter_map(|(at, seconds)| Some((*seconds, (self.value)(row, at)?)));
        let known = known.filter(|(seconds, value)| seconds.is_finite() && value.is_finite());
        if !self.adds_up {
            return known.collect();
        }
        let added = known.scan((0.0, 0.0), |(before, all), (seconds, rate)| {
            *all += rate * (seconds - *before);
            *before = seconds;
            Some((seconds, *all))
        });
        added.collect()
    }

    /// What matters most of a course: no port left, the most of all else.
    fn extreme(&self, points: &[(f64, f64)]) -> f64 {
        let values = points.iter().map(|(_, value)| *value);
        if self.of_ports { values.fold(f64::INFINITY, f64::min) } else { values.fold(0.0, f64::max) }
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
        writeln!(
            out,
            r#"<text class="p" x="{LEFT}" y="{0:.1}">{title}</text><text x="{1:.1}" y="{0:.1}">{2}</text>"#,
            top + 14.0,
            WIDTH - RIGHT + 6.0,
            if self.of_ports { "the fewest" } else { "the most" }
        )?;
        let top = top + 22.0;
        let scale = self.scale(courses, top);
        scale.axes(self.end, out)?;
        for course in courses {
            self.range(course, &scale, out)?;
        }
        let mut ends = Vec::new();
        for course in courses {
            let points = self.points(&course.row.over_time);
            if let Some((_, last)) = points.last() {
                writeln!(out, r#"<path {} d="M{}"/>"#, course.line(), path(&points, &scale))?;
                ends.push(End { y: scale.y(*last), letter: course.letter, value: self.extreme(&points) });
            }
        }
        letters(ends, &scale, out)
    }

    fn scale(&self, courses: &[Course<'_>], top: f64) -> Scale {
        let values = courses.iter().flat_map(Course::ends).flat_map(|row| self.points(row));
        let most = values.map(|(_, value)| value).fold(0.0, f64::max);
        let step = step(most.max(1e-3) / 4.0);
        // Nothing that is counted comes in parts.
        let step = if most >= 1.0 { step.max(1.0) } else { step };
        Scale { top, end: self.end, most: ((most / step).ceil() * step).max(step), step }
    }

    /// What lies between what is uncertain at its least and at its most.
    fn range(&self, course: &Course<'_>, scale: &Scale, out: &mut impl Write) -> fmt::Result {
        let Some(low) = &course.row.over_time_low else { return Ok(()) };
        let high = path(&self.points(&course.row.over_time), scale);
        let mut back = self.points(low);
        back.reverse();
        let low = path(&back, scale);
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

/// The places of points on a path; nothing if there are none.
fn path(points: &[(f64, f64)], scale: &Scale) -> String {
    let each =
        points.iter().map(|(seconds, value)| format!("{:.1} {:.1}", scale.x(*seconds), scale.y(*value)));
    each.collect::<Vec<_>>().join("L")
}

/// Where a course ends, and what is said of it there.
struct End {
    y: f64,
    letter: char,
    value: f64,
}

/// The letters of all courses where they end, with what matters most of them. Those of which the same is said share a
/// line.
fn letters(ends: Vec<End>, scale: &Scale, out: &mut impl Write) -> fmt::Result {
    let mut lines: Vec<(f64, String, String)> = Vec::new();
    for End { y, letter, value } in ends {
        let text = number(value);
        match lines.iter_mut().find(|(at, _, same)| *same == text && (*at - y).abs() < LETTER_LINE) {
            Some((_, letters, _)) => letters.push(letter),
            None => lines.push((y, letter.to_string(), text)),
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
    fn what_is_played_once_adds_up_and_what_goes_on_is_a_rate() {
        let row = OverTimeRow {
            at_s: vec![0.0, 0.5, 1.0, 1.5],
            failed_per_second: vec![0.0, 200.0, 200.0, 0.0],
            ..OverTimeRow::default()
        };
        for (lasts, title) in [(false, "so far"), (true, "a second")] {
            let panels = Panel::all(&WhatIf { lasts, ..WhatIf::default() }, &[]);
            let panel = panels.iter().find(|panel| panel.title.starts_with("connects")).unwrap();
            assert!(panel.title.ends_with(title), "{}", panel.title);
            let (most, last) = (panel.extreme(&panel.points(&row)), panel.points(&row).last().unwrap().1);
            assert_eq!([most, last].map(number), ["200", if lasts { "0" } else { "200" }]);
        }
    }

    #[test]
    fn letters_stand_apart_and_within_their_panel() {
        let scale = Scale { top: 100.0, end: 1.0, most: 1_000.0, step: 250.0 };
        let ends = [1_000.0, 999.0, 998.0, 3.0, 2.0, 1.0, 0.0, 0.0];
        let ends = ends.into_iter().zip(super::super::LETTERS);
        let ends = ends.map(|(value, letter)| End { y: scale.y(value), letter, value }).collect();
        let mut text = String::new();
        letters(ends, &scale, &mut text).unwrap();
        let places: Vec<f64> = text
            .lines()
            .map(|line| line.split("y=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(places.len(), 7, "the last two share a line: {text}");
        assert!(text.contains("GH</tspan> 0"), "{text}");
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= LETTER_LINE - 0.1), "{places:?}");
        assert!(places.iter().all(|y| (100.0..=255.0).contains(y)), "{places:?}");
    }
}
