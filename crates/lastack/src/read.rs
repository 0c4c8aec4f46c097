//! `lastack read`.

use crate::arguments::Read;
use crate::filter::Filter;
use crate::mapped::{Source, is_stdin};
use crate::read_progress::Progress;
use crate::{Outcome, screen};
use anyhow::Context as _;
use capture::{Connection, Connections, Endless, FileEnding, Merge, Note, Options, Reader, TrafficTally};
use evidence::{Case, Gap, Traffic, Unseen};
use report::Report;
use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Frames between two looks for connections of a stream that are done with.
const BATCH: u64 = 256;
/// Frames of files between two looks at the clock.
const LARGE_BATCH: u64 = 1 << 16;
/// Bytes that are written to stdout at once.
const AT_ONCE: usize = 256 << 10;
/// What has no packets, in place of a file that is no capture, so that the others keep their numbers.
const EMPTY: &[u8] = &[0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];

pub(crate) fn run(options: &Read) -> Outcome {
    if let Some(wanted) = options.connection {
        return crate::sequence::run(options, wanted);
    }
    let filter = options.filter.as_deref().map(Filter::parse).transpose()?;
    let sources = Source::open_all(&options.files)?;
    let endless = options.files.iter().any(|file| is_stdin(file));
    let json = options.output.json;
    let mut out = BufWriter::with_capacity(AT_ONCE, io::stdout().lock());
    let mut line = Vec::new();
    let mut gone = false;
    let read = read(&sources, endless, filter.as_ref(), |connection| {
        if !json || gone {
            return Ok(());
        }
        match connection {
            Some(connection) => {
                line.clear();
                connection.write_line(&mut line);
                out.write_all(&line)
            }
            None => out.flush(),
        }
        .or_else(|error| {
            // A reader that has gone is no failure; the exit code is still told.
            gone = error.kind() == ErrorKind::BrokenPipe;
            if gone { Ok(()) } else { Err(error) }
        })
    })?;
    let case = Case { traffic: Some(read.traffic), gaps: read.gaps, ..Case::default() };
    let report = Report::new(&case, &diagnose::diagnose(&case));
    if json {
        if gone {
            // What is left in the buffer has no reader.
            let _ = out.into_parts();
        } else if let Err(error) = out.flush()
            && error.kind() != ErrorKind::BrokenPipe
        {
            return Err(error).context("cannot write to standard output");
        }
    } else {
        drop(out);
        if read.nothing {
            return Ok(ExitCode::from(2));
        }
        let mut text = Vec::new();
        report::page::write(&report, &mut text, screen::style(options.output.color))?;
        screen::print(&text)?;
    }
    Ok(ExitCode::from(if read.nothing { 2 } else { u8::from(report.has_problems()) }))
}

/// What was read of captures.
pub(crate) struct Captured {
    pub(crate) traffic: Traffic,
    pub(crate) gaps: Vec<Gap>,
    /// True if none of them could be read.
    pub(crate) nothing: bool,
}

/// The traffic of these captures, for a case.
pub(crate) fn traffic(files: &[PathBuf]) -> anyhow::Result<Captured> {
    let sources = Source::open_all(files)?;
    let captured = read(&sources, false, None, |_| Ok(()))?;
    if captured.nothing {
        anyhow::bail!("no capture could be read");
    }
    Ok(captured)
}

/// Readers of all that are captures; a line on stderr for each that is none.
pub(crate) fn readers(sources: &[Source]) -> (Vec<Reader<'_>>, u32) {
    let mut refused = 0;
    let readers = sources.iter().filter_map(|source| {
        source
            .reader()
            .or_else(|error| {
                screen::fail(&format!("{error:#}"));
                refused += 1;
                Reader::new(EMPTY)
            })
            .ok()
    });
    let readers = readers.collect();
    (readers, refused)
}

/// Reads captures to their ends, gives each connection that is taken, and none where what was given is to be passed
/// on at once.
fn read(
    sources: &[Source],
    endless: bool,
    filter: Option<&Filter>,
    mut give: impl FnMut(Option<&Connection>) -> io::Result<()>,
) -> anyhow::Result<Captured> {
    let seed = RandomState::new();
    let (readers, refused) = readers(sources);
    let mut merge = Merge::new(readers);
    let keep = endless.then(Endless::default);
    let mut connections =
        Connections::new(Options { seed: seed.hash_one(0), endless: keep, ..Options::default() });
    let mut progress = Progress::new(sources.iter().map(Source::length).sum());
    let mut span = (i64::MAX, i64::MIN);
    let mut sums = Sums::default();
    let mut tally = endless.then(|| TrafficTally::new(seed.hash_one(1), None, None));
    let written = "cannot write to standard output";
    let batch = if endless { BATCH } else { LARGE_BATCH };
    loop {
        let more = merge.advance(batch, |packet| {
            span = (span.0.min(packet.time_ns), span.1.max(packet.time_ns));
            connections.push(packet);
        });
        let frames = merge.readers().iter().map(|reader| reader.statistics().frames).sum();
        progress.reached(merge.readers().iter().map(Reader::consumed).sum(), frames);
        if let (Some(tally), true) = (&mut tally, more) {
            let mut any = false;
            while let Some(connection) = connections.take_ended() {
                any |= sums.add(&connection, filter, tally, &mut give).context(written)?;
            }
            if any {
                give(None).context(written)?;
            }
        }
        if !more {
            break;
        }
    }
    progress.end();
    connections.finish();
    let (start, end) = if span.0 <= span.1 { (Some(span.0), Some(span.1)) } else { (None, None) };
    let mut tally = tally.unwrap_or_else(|| TrafficTally::new(seed.hash_one(1), start, end));
    if endless {
        while let Some(connection) = connections.take_ended() {
            sums.add(&connection, filter, &mut tally, &mut give).context(written)?;
        }
    } else {
        for connection in connections.iter() {
            sums.add(&connection, filter, &mut tally, &mut give).context(written)?;
        }
    }
    let mut traffic = tally.finish();
    traffic.files = sources.iter().map(|source| source.name().to_owned()).collect();
    if let (Some(start), Some(end)) = (start, end) {
        traffic.start = moment(start);
        traffic.length_ms = u64::try_from(end.saturating_sub(start)).unwrap_or(0) / 1_000_000;
    }
    traffic.notes = sums.notes;
    let mut gaps = Vec::new();
    let mut nothing = sources.len() == refused as usize;
    let mut broken = 0;
    for (source, reader) in sources.iter().zip(merge.readers()) {
        let statistics = reader.statistics();
        traffic.frames += statistics.frames;
        traffic.segments += statistics.segments;
        if let Some(FileEnding::Broken(why)) = reader.ending() {
            let said = format!("{}: {why}", source.name());
            screen::fail(&said);
            gaps.push(gap(said, "copy the file again; what comes before the break was read"));
            broken += u32::from(statistics.frames == 0);
        }
        if let Some(dropped @ 1..) = statistics.dropped {
            let because = format!("{}: the capture itself lost {dropped} packets", source.name());
            gaps.push(gap(because, "capture less (tcpdump -s 128, a filter) or with a larger buffer (-B)"));
        }
    }
    nothing |= traffic.frames == 0 && broken + refused == u32::try_from(sources.len()).unwrap_or(u32::MAX);
    gaps.extend(of_notes(&traffic.notes));
    Ok(Captured { traffic, gaps, nothing })
}

/// What is added up beside the tally.
#[derive(Default)]
struct Sums {
    notes: BTreeMap<String, u64>,
}

impl Sums {
    /// Adds a connection and gives it away, if the filter takes it.
    fn add(
        &mut self,
        connection: &Connection,
        filter: Option<&Filter>,
        tally: &mut TrafficTally,
        give: &mut impl FnMut(Option<&Connection>) -> io::Result<()>,
    ) -> io::Result<bool> {
        if filter.is_some_and(|filter| !filter.takes(connection)) {
            return Ok(false);
        }
        tally.add(connection);
        for note in &connection.notes {
            match self.notes.get_mut(note.name()) {
                Some(count) => *count += 1,
                None => {
                    self.notes.insert(note.name().to_owned(), 1);
                }
            }
        }
        give(Some(connection)).map(|()| true)
    }
}

fn gap(because: String, how_to_see: &str) -> Gap {
    Gap { unseen: Unseen::Packets, netns: None, because, how_to_see: how_to_see.to_owned() }
}

/// Notes that say what a capture does not show.
fn of_notes(notes: &BTreeMap<String, u64>) -> Vec<Gap> {
    let all = [
        (
            Note::BeganLate,
            "began before the capture: their opening was not seen",
            "begin the capture earlier",
        ),
        (Note::OneDirection, "were seen in one direction only", "capture where both directions pass"),
        (Note::Cut, "had packets cut by the snap length", "capture whole packets: tcpdump -s 0"),
        (
            Note::MissingSegments,
            "have segments that are not in the capture",
            "capture with a larger buffer: tcpdump -B 65536",
        ),
        (
            Note::HttpHidden,
            "may have carried HTTP in what was not captured",
            "capture whole packets: tcpdump -s 0",
        ),
        (
            Note::GivenUp,
            "were too many at once to be followed closely",
            "read a part of the capture, or less at once",
        ),
        (Note::Evicted, "were dropped from a full table", "read a part of the capture, or less at once"),
    ];
    let seen = all.iter().filter_map(|(note, because, how)| {
        let count = *notes.get(note.name())?;
        let connections = if count == 1 { "connection" } else { "connections" };
        Some(gap(format!("{count} {connections}: {because} ({note})"), how))
    });
    seen.collect()
}

/// RFC 3339 with nanoseconds.
fn moment(time_ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(time_ns.into())
        .map_or_else(|_| String::new(), |time| format!("{time:.9}"))
}
