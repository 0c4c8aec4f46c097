//! The table, drawn: as text, row by row, and as an SVG in the layout of RFC 9293 figure 5.
//!
//! Only where things stand is written here; what they say comes from the [table](super::TABLE).

use super::{Condition, Event, Kind, Reply, Row, TABLE, TimerAction};
use crate::{State, StateSet};
use core::fmt::{self, Write};

impl Reply {
    /// A few words for people; empty for nothing.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Syn => "SYN",
            Self::SynAck => "SYN,ACK",
            Self::Ack => "ACK",
            Self::LimitedAck => "ACK (limited)",
            Self::ChallengeAck => "challenge ACK",
            Self::Data => "data",
            Self::Fin => "FIN",
            Self::Probe => "probe",
            Self::Rst => "RST",
            Self::WindowProbe => "window probe",
            Self::Abort => "RST,ACK",
        }
    }
}

const fn timer_name(timer: TimerAction) -> &'static str {
    match timer {
        TimerAction::Keep | TimerAction::Stop => "",
        TimerAction::TimeWait => "TIME-WAIT timer starts",
        TimerAction::FinWait2 => "FIN-WAIT-2 timer starts if orphan",
    }
}

/// Writes every row of every state, in the order in which they are tried.
pub fn text(out: &mut impl Write) -> fmt::Result {
    writeln!(
        out,
        "The close machine: in a state, on an event, the first row whose conditions hold applies."
    )?;
    writeln!(
        out,
        "Numbered rows are those of TIME-WAIT (1 to 20) and of an orphan's FIN-WAIT-2 (F1 to F8)."
    )?;
    for state in State::ALL {
        writeln!(out, "\n{state}")?;
        for row in TABLE.iter().filter(|row| row.from.has(state)) {
            write!(out, "  {:>3} {}", row.source.number, row.on.name())?;
            for (position, condition) in row.when.iter().enumerate() {
                write!(out, "{}{}", if position == 0 { " [" } else { ", " }, condition.name())?;
            }
            if !row.when.is_empty() {
                out.write_str("]")?;
            }
            out.write_str(" -> ")?;
            out.write_str(row.to.map_or("stays", State::name))?;
            for more in [row.reply.name(), timer_name(row.timer)] {
                if !more.is_empty() {
                    write!(out, "; {more}")?;
                }
            }
            writeln!(out, "\n        {}", row.source.text)?;
        }
    }
    Ok(())
}

/// A box: the middle of it.
struct Place {
    state: State,
    x: i32,
    y: i32,
}

const fn place(state: State, x: i32, y: i32) -> Place {
    Place { state, x, y }
}

const PLACES: [Place; 12] = [
    place(State::Closed, 480, 60),
    place(State::Listen, 250, 150),
    place(State::SynReceived, 250, 290),
    place(State::SynSent, 710, 290),
    place(State::Established, 480, 390),
    place(State::FinWait1, 250, 510),
    place(State::CloseWait, 710, 510),
    place(State::FinWait2, 130, 680),
    place(State::Closing, 450, 680),
    place(State::LastAck, 710, 680),
    place(State::TimeWait, 250, 840),
    place(State::Closed, 710, 840),
];

const HALF_WIDTH: i32 = 70;
const HALF_HEIGHT: i32 = 20;

/// An arrow: its way, and where its words stand.
struct Arrow {
    from: State,
    to: State,
    way: &'static [(i32, i32)],
    words: (i32, i32),
    anchor: &'static str,
}

const fn arrow(
    from: State,
    to: State,
    way: &'static [(i32, i32)],
    words: (i32, i32),
    anchor: &'static str,
) -> Arrow {
    Arrow { from, to, way, words, anchor }
}

const ARROWS: [Arrow; 19] = [
    arrow(State::Closed, State::Listen, &[(410, 70), (250, 70), (250, 130)], (330, 62), "middle"),
    arrow(State::Closed, State::SynSent, &[(550, 60), (710, 60), (710, 270)], (718, 160), "start"),
    arrow(State::Closed, State::SynReceived, &[(480, 80), (300, 270)], (405, 180), "start"),
    arrow(State::Listen, State::SynReceived, &[(250, 170), (250, 270)], (242, 225), "end"),
    arrow(State::SynSent, State::SynReceived, &[(640, 285), (320, 285)], (480, 278), "middle"),
    arrow(State::SynReceived, State::Established, &[(320, 305), (450, 370)], (408, 308), "start"),
    arrow(State::SynSent, State::Established, &[(660, 310), (540, 370)], (618, 345), "start"),
    arrow(State::SynReceived, State::FinWait1, &[(230, 310), (230, 490)], (222, 400), "end"),
    arrow(
        State::SynReceived,
        State::CloseWait,
        &[(290, 310), (290, 455), (680, 455), (680, 490)],
        (590, 449),
        "middle",
    ),
    arrow(State::Established, State::FinWait1, &[(410, 395), (340, 395), (310, 490)], (346, 424), "start"),
    arrow(State::Established, State::CloseWait, &[(550, 395), (710, 395), (710, 490)], (718, 430), "start"),
    arrow(State::FinWait1, State::FinWait2, &[(210, 530), (140, 660)], (166, 585), "end"),
    arrow(State::FinWait1, State::Closing, &[(300, 530), (430, 660)], (384, 600), "start"),
    arrow(State::FinWait1, State::TimeWait, &[(250, 530), (250, 820)], (258, 655), "start"),
    arrow(State::FinWait2, State::TimeWait, &[(140, 700), (210, 820)], (160, 775), "end"),
    arrow(State::Closing, State::TimeWait, &[(430, 700), (310, 820)], (385, 768), "start"),
    arrow(State::CloseWait, State::LastAck, &[(710, 530), (710, 660)], (718, 590), "start"),
    arrow(
        State::TimeWait,
        State::SynReceived,
        &[(180, 850), (14, 850), (14, 290), (180, 290)],
        (22, 264),
        "start",
    ),
    arrow(
        State::TimeWait,
        State::SynSent,
        &[(300, 860), (300, 900), (850, 900), (850, 290), (780, 290)],
        (480, 893),
        "middle",
    ),
];

/// Arrows to the lower CLOSED: how a connection ends in good order.
const ENDS: [Arrow; 2] = [
    arrow(State::LastAck, State::Closed, &[(710, 700), (710, 820)], (718, 765), "start"),
    arrow(State::TimeWait, State::Closed, &[(320, 840), (640, 840)], (480, 833), "middle"),
];

/// True if a row is an orderly end: an acknowledgement or the timer of TIME-WAIT, not a reset or an abort.
fn is_orderly_end(row: &Row, from: State) -> bool {
    match from {
        State::LastAck => row.when == [Condition::AcksFin],
        State::TimeWait => matches!(row.on, Event::Timer(_)),
        _ => false,
    }
}

fn leads(row: &Row, from: State, to: State) -> bool {
    row.from.has(from) && row.to == Some(to) && (to != State::Closed || is_orderly_end(row, from))
}

/// What an arrow says of a row.
fn words(out: &mut impl Write, row: &Row, from: State) -> fmt::Result {
    out.write_str(row.on.name())?;
    if row.when.contains(&Condition::AcksFin) {
        out.write_str(if row.on == Event::Segment(Kind::Ack) { " of FIN" } else { " + ACK of FIN" })?;
    }
    if matches!(row.on, Event::Segment(_)) && row.opens(from) {
        out.write_str(if from == State::TimeWait { " (acceptable)" } else { " (listener)" })?;
    }
    if row.reply != Reply::Nothing {
        write!(out, " / {}", row.reply.name())?;
    }
    Ok(())
}

/// True if an arrow need not say this row beside those before it: the same words, or data that only carries the ACK.
fn says_nothing_new(at: usize, from: State, to: State) -> bool {
    let row = &TABLE[at];
    let carries = row.on == Event::Segment(Kind::Data)
        && TABLE.iter().any(|other| leads(other, from, to) && other.on == Event::Segment(Kind::Ack));
    let repeats = TABLE[..at].iter().any(|other| {
        leads(other, from, to)
            && other.on == row.on
            && other.reply == row.reply
            && other.when.contains(&Condition::AcksFin) == row.when.contains(&Condition::AcksFin)
    });
    carries || repeats
}

/// Writes the diagram as SVG.
pub fn svg(out: &mut impl Write) -> fmt::Result {
    out.write_str(HEAD)?;
    for arrow in ARROWS.iter().chain(&ENDS) {
        draw(out, arrow)?;
    }
    for place in &PLACES {
        writeln!(
            out,
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"6\"/>",
            place.x - HALF_WIDTH,
            place.y - HALF_HEIGHT,
            2 * HALF_WIDTH,
            2 * HALF_HEIGHT
        )?;
        writeln!(out, "<text class=\"s\" x=\"{}\" y=\"{}\">{}</text>", place.x, place.y + 5, place.state)?;
    }
    ends_at_once(out)?;
    out.write_str("</svg>\n")
}

const HEAD: &str = "\
<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1320 930\" width=\"1320\" height=\"930\" font-family=\"sans-serif\" font-size=\"12\">
<style>
svg { background: #fff; }
rect { fill: #eef3fb; stroke: #2b4a7f; stroke-width: 1.5; }
path { fill: none; stroke: #555; stroke-width: 1.3; }
text { fill: #222; paint-order: stroke; stroke: #fff; stroke-width: 4px; stroke-linejoin: round; }
.s { text-anchor: middle; font-size: 14px; font-weight: bold; stroke: none; }
.h { font-size: 14px; font-weight: bold; }
.e { fill: #7a1f1f; }
</style>
<defs><marker id=\"a\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto-start-reverse\"><path d=\"M0 0L10 5L0 10z\" style=\"fill:#555\"/></marker></defs>
<rect x=\"0\" y=\"0\" width=\"1320\" height=\"930\" style=\"fill:#fff;stroke:none\"/>
";

fn draw(out: &mut impl Write, arrow: &Arrow) -> fmt::Result {
    out.write_str("<path marker-end=\"url(#a)\" d=\"")?;
    for (position, (x, y)) in arrow.way.iter().enumerate() {
        write!(out, "{}{x} {y}", if position == 0 { "M" } else { "L" })?;
    }
    out.write_str("\"/>\n")?;
    let mut y = arrow.words.1;
    for (at, row) in TABLE.iter().enumerate() {
        if leads(row, arrow.from, arrow.to) && !says_nothing_new(at, arrow.from, arrow.to) {
            write!(out, "<text x=\"{}\" y=\"{y}\" text-anchor=\"{}\">", arrow.words.0, arrow.anchor)?;
            words(out, row, arrow.from)?;
            out.write_str("</text>\n")?;
            y += 15;
        }
    }
    Ok(())
}

/// The list beside the picture: what ends a connection at once, and in which states.
fn ends_at_once(out: &mut impl Write) -> fmt::Result {
    const X: i32 = 890;
    let mut y = 40;
    writeln!(out, "<text class=\"h\" x=\"{X}\" y=\"{y}\">To CLOSED at once</text>")?;
    for event in Event::ALL {
        for reply in [Reply::Nothing, Reply::Rst, Reply::Abort, Reply::Ack] {
            let states = TABLE
                .iter()
                .filter(|row| row.on == event && row.reply == reply && row.to == Some(State::Closed))
                .flat_map(|row| row.from.states().filter(move |from| !is_orderly_end(row, *from)))
                .collect::<StateSet>();
            if states.is_empty() {
                continue;
            }
            y += 22;
            write!(out, "<text class=\"e\" x=\"{X}\" y=\"{y}\">{}", event.name())?;
            if reply != Reply::Nothing {
                write!(out, " / {}", reply.name())?;
            }
            out.write_str("</text>\n")?;
            // Five names to a line.
            for (position, state) in states.states().enumerate() {
                if position % 4 == 0 {
                    if position > 0 {
                        out.write_str("</text>\n")?;
                    }
                    y += 15;
                    write!(out, "<text x=\"{}\" y=\"{y}\">", X + 14)?;
                } else {
                    out.write_str(", ")?;
                }
                out.write_str(state.name())?;
            }
            out.write_str("</text>\n")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;
    use std::{vec, vec::Vec};

    #[test]
    fn every_way_of_the_table_is_drawn() {
        let mut ways: Vec<(State, State)> = vec![];
        for from in State::ALL {
            for to in State::ALL {
                let leads = from != to && TABLE.iter().any(|row| leads(row, from, to));
                if leads {
                    ways.push((from, to));
                }
            }
        }
        let mut drawn: Vec<_> = ARROWS.iter().chain(&ENDS).map(|arrow| (arrow.from, arrow.to)).collect();
        drawn.sort_unstable();
        assert_eq!(drawn, ways);
    }

    #[test]
    fn every_arrow_begins_and_ends_at_a_box() {
        for arrow in ARROWS.iter().chain(&ENDS) {
            for ((x, y), state) in [(arrow.way[0], arrow.from), (arrow.way[arrow.way.len() - 1], arrow.to)] {
                let touches = |place: &&Place| {
                    place.state == state
                        && (place.x - x).abs() <= HALF_WIDTH
                        && (place.y - y).abs() <= HALF_HEIGHT
                        && ((place.x - x).abs() == HALF_WIDTH || (place.y - y).abs() == HALF_HEIGHT)
                };
                assert!(PLACES.iter().find(touches).is_some(), "{x} {y} of {state}");
            }
        }
    }

    #[test]
    fn the_documents_are_what_the_table_says() {
        let (mut drawn, mut written) = (String::new(), String::new());
        svg(&mut drawn).unwrap();
        text(&mut written).unwrap();
        assert!(
            drawn == include_str!("../../../../docs/close-machine.svg"),
            "docs/close-machine.svg is not what the table draws: cargo run -p lastack-tcp --example close_machine -- svg"
        );
        assert!(
            written == include_str!("../../../../docs/close-machine.txt"),
            "docs/close-machine.txt is not what the table says: cargo run -p lastack-tcp --example close_machine -- text"
        );
    }
}
