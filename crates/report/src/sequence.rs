//! One connection, packet by packet: who sent what, and the states of both sides as they change.

use crate::Style;
use crate::pen::{Paint, Pen};
use crate::report::{number, thousands};
use crate::visible::{clip, columns, visible, wrap};
use serde::Serialize;
use std::io::{self, Write};
use tcp::machine::reach;
use tcp::{State, StateSet};

/// One packet of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Its number in its file, as Wireshark counts.
    pub packet: u64,
    /// Which of several files it is from, from 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub file: u16,
    /// Time since the connection's first packet, in nanoseconds.
    pub after_ns: i64,
    /// `client` or `server`.
    pub from: &'static str,
    /// Its flags: `SYN,ACK`.
    pub flags: String,
    /// Its sequence number, relative to the sender's first; null if it is not one of this connection.
    pub seq: Option<i64>,
    /// Its acknowledgement, relative to the other side's first number; null if it has none, or not one of this
    /// connection.
    pub ack: Option<i64>,
    /// Bytes of data.
    pub length: u32,
    /// Its window as on the wire, not scaled.
    pub window: u16,
    /// What it is the first to acknowledge: `SYN`, `FIN`, `168 bytes`.
    pub acknowledges: Vec<String>,
    /// The first line of a message of HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// What is remarkable about it.
    pub remarks: Vec<String>,
    /// The states that the client may be in after it; all of them if nothing is known.
    pub client: Vec<&'static str>,
    /// The states that the server may be in after it.
    pub server: Vec<&'static str>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
const fn is_zero(file: &u16) -> bool {
    *file == 0
}

impl Step {
    /// True if it is remarkable for nothing: only data, or an acknowledgement of data.
    pub fn is_plain(&self) -> bool {
        let only_data = self.acknowledges.iter().all(|what| what != "FIN" && what != "SYN");
        self.remarks.is_empty()
            && self.http.is_none()
            && only_data
            && matches!(&*self.flags, "ACK" | "PSH,ACK")
    }

    /// What is sent, in at most so many columns.
    fn said(&self, room: usize) -> String {
        let mut what: Vec<String> =
            self.flags.split(',').filter(|flag| !matches!(*flag, "PSH" | "ACK")).map(str::to_owned).collect();
        if self.length > 0 {
            what.push(match self.length {
                1 => "1 byte".to_owned(),
                length => format!("{} bytes", thousands(length)),
            });
        }
        let bare = what.is_empty();
        let acks = self.flags.split(',').any(|flag| flag == "ACK");
        if acks && (bare || self.flags.contains("SYN")) {
            what.push("ACK".to_owned());
        }
        let what = what.join(" ");
        let seq = self.seq.map_or(String::new(), |seq| format!("  seq {seq}"));
        let ack = self.ack.map_or(String::new(), |ack| format!("  ack {ack}"));
        let only_ack = self.ack.map_or(String::new(), |ack| format!(" {ack}"));
        let choices = if bare {
            [format!("{what}{only_ack}"), what.clone(), what.clone()]
        } else {
            [format!("{what}{seq}{ack}"), format!("{what}{seq}"), what.clone()]
        };
        let fitting = choices.iter().find(|choice| columns(choice) <= room);
        clip(fitting.unwrap_or(&what), room).into_owned()
    }

    fn remark(&self) -> String {
        let mut said: Vec<String> =
            self.http.iter().map(|line| clip(&visible(line), 100).into_owned()).collect();
        let acknowledged: Vec<&str> =
            self.acknowledges.iter().map(String::as_str).filter(|what| *what == "FIN").collect();
        if !acknowledged.is_empty() {
            said.push("acknowledges the FIN".to_owned());
        }
        said.extend(self.remarks.iter().cloned());
        said.join("; ")
    }
}

/// Packets that are not shown one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// How many.
    pub packets: u64,
    /// Bytes of data in those of the client.
    pub client_bytes: u64,
    /// Bytes of data in those of the server.
    pub server_bytes: u64,
}

/// Writes the page of one connection, while its packets come.
pub struct SequencePage<'a, W> {
    pen: Pen<'a, W>,
    client: Vec<&'static str>,
    server: Vec<&'static str>,
    /// A state was written with a `+`.
    later: bool,
}

/// Columns of a packet's number, of its time and of a state.
const NUMBER: usize = 6;
const TIME: usize = 11;
const STATE: usize = 13;

impl<'a, W: Write> SequencePage<'a, W> {
    /// Begins the page: who talks to whom, and what is to be said before.
    pub fn begin(out: &'a mut W, style: Style, title: &str, sentences: &[String]) -> io::Result<Self> {
        let mut pen = Pen::new(out, style);
        pen.flow(&[], 0, (Paint::Strong, title))?;
        for sentence in sentences {
            pen.flow(&[(Paint::Plain, "  ")], 4, (Paint::Plain, sentence))?;
        }
        pen.blank()?;
        let mut page = Self { pen, client: Vec::new(), server: Vec::new(), later: false };
        if !page.pen.is_narrow() {
            let line = format!(
                "{:>NUMBER$} {:>TIME$}  {:STATE$} {:lane$} server",
                "packet",
                "seconds",
                "client",
                "",
                lane = page.lane()
            );
            page.pen.line(0, &[(Paint::Faint, &line)])?;
        }
        Ok(page)
    }

    fn lane(&self) -> usize {
        self.pen.width().saturating_sub(NUMBER + TIME + 2 * STATE + 5)
    }

    /// Writes a packet.
    pub fn step(&mut self, step: &Step) -> io::Result<()> {
        let seconds = format!(
            "{}{}.{:06}",
            if step.after_ns < 0 { "-" } else { "" },
            step.after_ns.unsigned_abs() / 1_000_000_000,
            step.after_ns.unsigned_abs() / 1_000 % 1_000_000
        );
        let changes = |old: &mut Vec<&'static str>, new: &Vec<&'static str>| {
            let changed = old != new;
            old.clone_from(new);
            if changed { lines_of(new) } else { Vec::new() }
        };
        let client = changes(&mut self.client, &step.client);
        let server = changes(&mut self.server, &step.server);
        self.later |= client.iter().chain(&server).any(|line| line.ends_with('+'));
        let is_reset = step.flags.contains("RST");
        let paint = if is_reset {
            Paint::Error
        } else if step.flags.contains("FIN") || step.flags.contains("SYN") {
            Paint::Strong
        } else {
            Paint::Plain
        };
        let from_client = step.from == "client";
        if self.pen.is_narrow() {
            let arrow = if from_client { "->" } else { "<-" };
            let lead = format!("{} {seconds} {arrow} ", step.packet);
            self.pen.flow(&[(Paint::Faint, &lead)], 4, (paint, &step.said(60)))?;
            let remark = step.remark();
            if !remark.is_empty() {
                self.pen.flow(&[(Paint::Plain, "    ")], 4, (Paint::Note, &remark))?;
            }
            for (name, lines) in [("client", client), ("server", server)] {
                if !lines.is_empty() {
                    let said = format!("{name} {}", lines.join(" "));
                    self.pen.flow(&[(Paint::Plain, "    ")], 4, (Paint::Faint, &said))?;
                }
            }
            return Ok(());
        }
        let lane = self.lane();
        let said = step.said(lane.saturating_sub(5));
        let dashes = "-".repeat(lane.saturating_sub(columns(&said) + 2));
        let remark = step.remark();
        let beside = if remark.is_empty() { Vec::new() } else { wrap(&remark, lane - 2, lane - 2) };
        let start = format!("{:>NUMBER$} {seconds:>TIME$}  ", step.packet);
        for place in 0..client.len().max(server.len()).max(1 + beside.len()) {
            let start = if place == 0 { start.clone() } else { " ".repeat(NUMBER + TIME + 3) };
            let left = format!("{:STATE$} ", client.get(place).map_or("", String::as_str));
            let right = server.get(place).map_or("", String::as_str);
            let right_paint = Paint::Note;
            if place == 0 {
                let arrow = if from_client { format!(" {dashes}>") } else { format!("<{dashes} ") };
                let (a, b) = ((paint, said.as_str()), (Paint::Faint, arrow.as_str()));
                let pieces = if from_client { [a, b] } else { [b, a] };
                let all = [
                    (Paint::Faint, start.as_str()),
                    (Paint::Note, &left),
                    pieces[0],
                    pieces[1],
                    (Paint::Plain, " "),
                    (right_paint, right),
                ];
                self.pen.line(0, &all)?;
            } else {
                let text = beside.get(place - 1).map_or("", String::as_str);
                let gap = lane.saturating_sub(columns(text) + 2);
                let text_paint = if is_reset { Paint::Warning } else { Paint::Faint };
                let (before, after) = if from_client { (2, gap) } else { (gap, 2) };
                let all = [
                    (Paint::Plain, start.as_str()),
                    (Paint::Note, &left),
                    (Paint::Plain, &" ".repeat(before)),
                    (text_paint, text),
                    (Paint::Plain, &" ".repeat(after)),
                    (Paint::Plain, " "),
                    (right_paint, right),
                ];
                self.pen.line(0, &all)?;
            }
        }
        Ok(())
    }

    /// Says how many packets are not shown here.
    pub fn folded(&mut self, folded: Folded) -> io::Result<()> {
        let mut said = match folded.packets {
            1 => "... 1 packet".to_owned(),
            packets => format!("... {} packets", thousands(packets)),
        };
        let parts: Vec<String> = [(folded.client_bytes, "client"), (folded.server_bytes, "server")]
            .into_iter()
            .filter(|(bytes, _)| *bytes > 0)
            .map(|(bytes, who)| format!("{} bytes from the {who}", thousands(bytes)))
            .collect();
        if parts.is_empty() {
            said.push_str(" ...");
        } else {
            said = format!("{said}: {} ...", parts.join(", "));
        }
        let indent = if self.pen.is_narrow() { 4 } else { NUMBER + TIME + STATE + 4 };
        self.pen.flow(&[(Paint::Plain, &" ".repeat(indent))], indent, (Paint::Faint, &said))
    }

    /// Ends the page with a remark, if there is one.
    pub fn end(mut self, remark: &str) -> io::Result<()> {
        if !remark.is_empty() {
            self.pen.blank()?;
            self.pen.flow(&[], 0, (Paint::Plain, remark))?;
        }
        if self.later {
            self.pen.blank()?;
            let legend = "States are those that the packets prove after each packet. +: or one that follows from it \
                without a packet that was captured.";
            self.pen.flow(&[], 0, (Paint::Faint, legend))?;
        }
        Ok(())
    }
}

/// A set of states as the lines of a column: `TIME-WAIT`, `/CLOSED`; of a larger set the state that the others follow
/// from, `ESTABLISHED+`.
fn lines_of(names: &[&'static str]) -> Vec<String> {
    let set: StateSet = names.iter().filter_map(|name| name.parse::<State>().ok()).collect();
    if set == StateSet::ALL {
        return vec!["?".to_owned()];
    }
    let leads = |state: &State| set.is_within(reach(StateSet::one(*state)));
    if names.len() > 2
        && let Some(first) = set.states().filter(leads).min_by_key(|state| reach(StateSet::one(*state)).len())
    {
        return vec![format!("{first}+")];
    }
    match names {
        [] => Vec::new(),
        [one] => vec![(*one).to_owned()],
        [one, other] => vec![(*one).to_owned(), format!("/{other}")],
        [first, others @ ..] => vec![(*first).to_owned(), format!("/{} others", others.len())],
    }
}

/// `1.5 s`, `20 ms`, of nanoseconds.
pub fn length_text(nanoseconds: i64) -> String {
    let seconds = nanoseconds as f64 / 1e9;
    match seconds {
        ..1.0 => format!("{} ms", number(seconds * 1e3)),
        ..7_200.0 => format!("{} s", number(seconds)),
        _ => format!("{} h", number(seconds / 3_600.0)),
    }
}
