//! What captures showed: openings, endings, who closed first, resets, TIME-WAIT over time, and who talked to whom.

use super::{counted, length_of, moment, numbers, short};
use crate::Report;
use crate::pen::{Paint, Pen};
use crate::report::thousands;
use crate::traffic::{Shown, Sides, TrafficRow};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

/// So many rows of each table.
const PEERS: usize = 8;
const CAUSES: usize = 10;
/// So many files are named.
const FILES: usize = 3;

/// What was read: files, time, packets.
pub(super) fn source<W: Write>(traffic: &TrafficRow, pen: &mut Pen<'_, W>) -> io::Result<()> {
    let mut files: Vec<String> =
        traffic.files.iter().take(FILES).map(|file| short(base_name(file))).collect();
    let more = traffic.file_count.saturating_sub(FILES);
    if more > 0 {
        files.push(format!("{more} more"));
    }
    let mut parts = vec![files.join(", ")];
    if !traffic.start.is_empty() {
        parts.push(moment(&traffic.start));
        parts.push(length_of(traffic.length_ms));
    }
    parts.push(counted(traffic.frames, "packet", "packets"));
    parts.push(format!("{} of TCP", thousands(traffic.segments)));
    parts.push(counted(traffic.connections, "connection", "connections"));
    pen.flow(&[], 0, (Paint::Faint, &parts.join(" · ")))
}

/// What stands behind the last slash.
fn base_name(file: &str) -> &str {
    file.rsplit('/').next().filter(|last| !last.is_empty()).unwrap_or(file)
}

pub(super) fn write<W: Write>(report: &Report, pen: &mut Pen<'_, W>) -> io::Result<()> {
    let Some(traffic) = &report.traffic else { return Ok(()) };
    if traffic.connections == 0 {
        pen.heading("Connections", "")?;
        return line(pen, "", "none");
    }
    pen.heading("Connections in the capture", &thousands(traffic.connections))?;
    line(pen, "opened", &counts(&traffic.handshakes))?;
    line(pen, "ended", &counts(&traffic.endings))?;
    line(pen, "closed first", &sides(traffic.first_closer))?;
    line(pen, "TIME-WAIT at", &sides(traffic.time_wait_at))?;
    if traffic.syn_again > 0 {
        line(pen, "SYN again", &counted(traffic.syn_again, "connection", "connections"))?;
    }
    if !traffic.reuses.is_empty() {
        let said: Vec<String> = traffic.reuses.iter().take(CAUSES).map(shown).collect();
        line(pen, "tuple again", &said.join("; "))?;
    }
    if let Some(http) = &traffic.http {
        let on = counted(http.connections, "connection", "connections");
        let mut said = format!("{} on {on}", counted(http.requests, "request", "requests"));
        if http.close_by.total() > 0 {
            let _ = write!(said, "; asked to close: {}", sides(http.close_by));
        }
        line(pen, "HTTP/1", &said)?;
        let by: Vec<String> = http
            .by_requests
            .iter()
            .map(|(requests, count)| format!("{} with {requests}", thousands(*count)))
            .collect();
        line(pen, "requests", &format!("connections by their number: {}", by.join(", ")))?;
    }
    time_wait(traffic, pen)?;
    resets(traffic, pen)?;
    peers(traffic, pen)?;
    if !traffic.notes.is_empty() {
        pen.heading("Notes on connections", "docs/read.md says what they mean")?;
        line(pen, "", &counts(&traffic.notes))?;
    }
    Ok(())
}

/// A labelled line; nothing if there is nothing to say.
fn line<W: Write>(pen: &mut Pen<'_, W>, label: &str, said: &str) -> io::Result<()> {
    if said.is_empty() {
        return Ok(());
    }
    let (lead, hang) = match (label, pen.is_narrow()) {
        ("", _) => ("  ".to_owned(), 2),
        (label, true) => (format!("  {label}: "), 4),
        (label, false) => (format!("  {label:13} "), 16),
    };
    pen.flow(&[(Paint::Faint, &lead)], hang, (Paint::Plain, said))
}

/// `graceful 1,200, reset 3`, the most first.
fn counts(counts: &BTreeMap<String, u64>) -> String {
    let mut rows: Vec<(&String, &u64)> = counts.iter().filter(|(_, count)| **count > 0).collect();
    rows.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    rows.iter()
        .map(|(what, count)| format!("{} {}", short(what), thousands(**count)))
        .collect::<Vec<_>>()
        .join(", ")
}

fn sides(sides: Sides) -> String {
    let named = [(sides.client, "client"), (sides.server, "server"), (sides.both, "both at once")];
    let mut rows: Vec<_> = named.into_iter().filter(|(count, _)| *count > 0).collect();
    rows.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    rows.iter().map(|(count, who)| format!("{who} {}", thousands(*count))).collect::<Vec<_>>().join(", ")
}

/// `challenged 3 (packets 8-17, 20-31)`.
fn shown(row: &Shown) -> String {
    let counted = format!("{} {}", short(&row.what), thousands(row.count));
    if row.packets.is_empty() { counted } else { format!("{counted} (packets {})", spans(&row.packets)) }
}

fn spans(packets: &[(u64, u64)]) -> String {
    let span = |(first, last): &(u64, u64)| match last.cmp(first) {
        Ordering::Greater => format!("{first}-{last}"),
        Ordering::Equal => first.to_string(),
        // The end is in another file.
        Ordering::Less => format!("from {first} on"),
    };
    packets.iter().map(span).collect::<Vec<_>>().join(", ")
}

fn time_wait<W: Write>(traffic: &TrafficRow, pen: &mut Pen<'_, W>) -> io::Result<()> {
    let over_time = &traffic.time_wait_over_time;
    let room = pen.width().saturating_sub(4).max(1);
    if over_time.counts.len() < 2 {
        return Ok(());
    }
    // Parts are joined until they fit.
    let joined = over_time.counts.len().div_ceil(room);
    let counts: Vec<u64> = over_time
        .counts
        .chunks(joined)
        .map(|part| part.iter().fold(0, |sum: u64, count| sum.saturating_add(*count)))
        .collect();
    let seconds = u64::from(over_time.seconds_each).saturating_mul(joined as u64);
    let each = if seconds == 1 { "a second".to_owned() } else { format!("{} s", thousands(seconds)) };
    let remark =
        format!("each mark is {each}; at most {} in one second", thousands(over_time.most_per_second));
    pen.heading("Into TIME-WAIT, over the capture", &remark)?;
    let most = counts.iter().copied().max().unwrap_or(0);
    let newest_first: Vec<u64> = counts.into_iter().rev().collect();
    pen.line(2, &[(Paint::Note, &numbers::sparkline(&newest_first, most, room))])
}

fn resets<W: Write>(traffic: &TrafficRow, pen: &mut Pen<'_, W>) -> io::Result<()> {
    if traffic.resets.is_empty() {
        return Ok(());
    }
    pen.heading("Resets by cause", "lastack read FILE --connection N shows one")?;
    let rows: Vec<(u64, String, String)> = traffic
        .resets
        .iter()
        .take(CAUSES)
        .map(|row| {
            let said = if row.packets.is_empty() {
                String::new()
            } else {
                format!("packets {}", spans(&row.packets))
            };
            (row.count, short(&row.what), said)
        })
        .collect();
    numbers::rows(pen, &rows)
}

fn peers<W: Write>(traffic: &TrafficRow, pen: &mut Pen<'_, W>) -> io::Result<()> {
    pen.heading("By peer", "client -> server: endings; who closed first")?;
    let rows: Vec<(u64, String, String)> = traffic
        .peers
        .iter()
        .take(PEERS)
        .map(|peer| {
            let mut said = counts(&peer.endings);
            if peer.first_closer.total() > 0 {
                let _ = write!(said, "; first {}", sides(peer.first_closer));
            }
            if peer.time_wait_at.total() > 0 {
                let _ = write!(said, "; TIME-WAIT {}", sides(peer.time_wait_at));
            }
            if let Some(requests) = peer.requests {
                let _ = write!(said, "; {}", counted(requests, "request", "requests"));
            }
            (peer.connections, format!("{} -> {}", peer.client, peer.server), said)
        })
        .collect();
    numbers::rows(pen, &rows)?;
    numbers::more(
        pen,
        traffic.peers.len().saturating_sub(PEERS) + traffic.peers_not_shown,
        "pair",
        "pairs",
        "connections",
    )
}
