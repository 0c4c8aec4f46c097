//! `lastack read --connection`: one connection, packet by packet.

use crate::arguments::{Read, Wanted};
use crate::mapped::Source;
use crate::{Outcome, read, screen};
use anyhow::{Context as _, bail};
use capture::{Connection, Connections, Merge, Options, Packet, Who};
use evidence::Endpoint;
use report::{Folded, SequencePage, Step, length_text};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::net::{IpAddr, Ipv6Addr};
use std::process::ExitCode;

mod follow;

use follow::Follow;

pub(crate) fn run(options: &Read, wanted: Wanted) -> Outcome {
    let sources = Source::open_all(&options.files)?;
    let sources = sources.into_iter().map(Source::rewindable).collect::<anyhow::Result<Vec<_>>>()?;
    let (readers, refused) = read::readers(&sources);
    if refused as usize == sources.len() {
        return Ok(ExitCode::from(2));
    }
    let mut merge = Merge::new(readers);
    let mut connections =
        Connections::new(Options { seed: RandomState::new().hash_one(0), ..Options::default() });
    merge.for_each(|packet| connections.push(packet));
    connections.finish();
    let Some(connection) = connections.iter().find(|connection| match wanted {
        Wanted::Number(number) => connection.number == number,
        Wanted::Client(client) => connection.client == client,
    }) else {
        match wanted {
            Wanted::Number(number) => {
                bail!("there is no connection {number}; the last one is {}", connections.count())
            }
            Wanted::Client(client) => bail!("no connection has the client {client}; --json lists them"),
        }
    };
    // Its packets are those of its tuple from its first one to the first one of the next connection on it.
    let ends = [connection.client, connection.server];
    let next = connections.iter().find(|other| {
        other.number > connection.number
            && (ends == [other.client, other.server] || ends == [other.server, other.client])
    });
    let span = Span {
        first: (connection.file, connection.first_packet),
        next: next.as_ref().map(|next| (next.file, next.first_packet)),
    };
    drop(connections);
    let (readers, _) = read::readers(&sources);
    let mut merge = Merge::new(readers);
    let mut text = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    let written = if options.output.json {
        each(&mut merge, &connection, span, |step| report::write_json(&step, &mut text))
            .and_then(|()| text.flush())
    } else {
        page(&mut merge, &connection, span, options, next.as_ref(), &mut text).and_then(|()| text.flush())
    };
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Where the packets of a connection lie among those of its tuple: file and number.
#[derive(Clone, Copy)]
struct Span {
    first: (u16, u64),
    next: Option<(u16, u64)>,
}

/// Gives every packet of a connection.
fn each(
    merge: &mut Merge<'_>,
    connection: &Connection,
    span: Span,
    mut give: impl FnMut(Step) -> io::Result<()>,
) -> io::Result<()> {
    let mut follow = Follow::new(connection);
    let (mut begun, mut over) = (false, false);
    let mut result = Ok(());
    while !over
        && result.is_ok()
        && merge.advance(1 << 12, |packet| {
            if over || result.is_err() {
                return;
            }
            let Some(side) = side_of(packet, connection) else { return };
            let place = (packet.file, packet.number);
            begun |= place == span.first;
            over |= begun && span.next == Some(place);
            if begun && !over {
                result = give(follow.step(side, packet));
            }
        })
    {}
    result
}

/// Who of a connection sent a packet, if it is one of its tuple.
fn side_of(packet: &Packet<'_>, connection: &Connection) -> Option<Who> {
    let end = |address, port| Endpoint::new(IpAddr::V6(Ipv6Addr::from_bits(address)), port);
    let source = end(packet.flow.source, packet.flow.source_port);
    let destination = end(packet.flow.destination, packet.flow.destination_port);
    if (source, destination) == (connection.client, connection.server) {
        Some(Who::Client)
    } else if (source, destination) == (connection.server, connection.client) {
        Some(Who::Server)
    } else {
        None
    }
}

/// Packets of a run that are shown at its beginning and at its end; a shorter run is not folded.
const SHOWN: usize = 2;
const SHORT_RUN: u64 = 7;

fn page(
    merge: &mut Merge<'_>,
    connection: &Connection,
    span: Span,
    options: &Read,
    next: Option<&Connection>,
    out: &mut impl Write,
) -> io::Result<()> {
    let (client, server) = (connection.client.to_string(), connection.server.to_string());
    let title = format!("Connection {}: {client} -> {server}", connection.number);
    let style = screen::style(options.output.color);
    let mut page = SequencePage::begin(out, style, &title, &sentences(connection))?;
    let mut run = Run::default();
    let mut states = (Vec::new(), Vec::new());
    each(merge, connection, span, |step| {
        let same = states == (step.client.clone(), step.server.clone());
        states = (step.client.clone(), step.server.clone());
        if options.all_packets || !same || !step.is_plain() {
            run.end(&mut page)?;
            return page.step(&step);
        }
        run.add(step, &mut page)
    })?;
    run.end(&mut page)?;
    let after = match next {
        Some(next) => format!(
            "The same addresses and ports are used again by connection {}, {} later.",
            next.number,
            length_text(next.start_ns.saturating_sub(connection.end_ns))
        ),
        None => String::new(),
    };
    page.end(&after)
}

/// Plain packets one after the other.
#[derive(Default)]
struct Run {
    count: u64,
    /// Of a run that may turn out to be short all that were not shown, else the last few.
    kept: VecDeque<Step>,
    folded: Folded,
}

impl Run {
    fn add<W: Write>(&mut self, step: Step, page: &mut SequencePage<'_, W>) -> io::Result<()> {
        self.count += 1;
        if self.count <= SHOWN as u64 {
            return page.step(&step);
        }
        self.kept.push_back(step);
        if self.count > SHORT_RUN {
            while self.kept.len() > SHOWN {
                let Some(step) = self.kept.pop_front() else { break };
                self.folded.packets += 1;
                let bytes = if step.from == "client" {
                    &mut self.folded.client_bytes
                } else {
                    &mut self.folded.server_bytes
                };
                *bytes += u64::from(step.length);
            }
        }
        Ok(())
    }

    fn end<W: Write>(&mut self, page: &mut SequencePage<'_, W>) -> io::Result<()> {
        let Self { kept, folded, .. } = std::mem::take(self);
        if folded.packets > 0 {
            page.folded(folded)?;
        }
        kept.iter().try_for_each(|step| page.step(step))
    }
}

/// What is said of it before its packets.
fn sentences(connection: &Connection) -> Vec<String> {
    let mut said = Vec::new();
    let side = |who: Who| match who {
        Who::Client => "the client",
        Who::Server => "the server",
        Who::Both => "both sides",
    };
    let mut ending = format!("Handshake {}, ending {}", connection.handshake, connection.ending);
    if let Some(who) = connection.first_closer {
        ending.push_str(match who {
            Who::Client => "; the client closed first",
            Who::Server => "; the server closed first",
            Who::Both => "; both closed at once",
        });
    }
    if let Some(who) = connection.time_wait_at {
        let _ = write!(ending, "; TIME-WAIT stays with {}", side(who));
    }
    said.push(format!("{ending}."));
    if let Some(cause) = connection.reset_cause {
        let by = connection.reset_by.map_or(String::new(), |who| format!(" by {}", side(who)));
        said.push(format!("Reset{by}, cause {cause}: {}.", follow::cause_in_words(cause)));
    }
    if let Some(reuse) = connection.reuses {
        said.push(format!(
            "Uses the addresses and ports of connection {} again after {}: {}.",
            reuse.previous,
            length_text(i64::from(reuse.after_ms) * 1_000_000),
            reuse.outcome
        ));
    }
    if let Some(http) = &connection.http {
        let close = http.close.who().map_or(String::new(), |who| format!("; {} asked to close", side(who)));
        let counted = |count: u32, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let (requests, responses) = (counted(http.requests, "request"), counted(http.responses, "response"));
        said.push(format!("HTTP: {requests}, {responses}{close}."));
    }
    let notes: Vec<&str> = connection.notes.iter().map(|note| note.name()).collect();
    if !notes.is_empty() {
        said.push(format!("Notes: {}.", notes.join(", ")));
    }
    said
}
