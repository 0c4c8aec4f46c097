//! `lastack read`.

use crate::arguments::Read;
use crate::filter::Filter;
use crate::mapped::{Source, is_stdin};
use crate::read_follow::{Followed, follow, threads};
use crate::read_lines::{Output, Told};
use crate::read_progress::Progress;
use crate::{Outcome, screen};
use anyhow::Context as _;
use capture::{Connections, Endless, FileEnding, InOrder, Merge, Note, Options, Reader, TrafficTally};
use evidence::{Case, Clocks, Gap, Traffic, Unseen};
use report::Report;
use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

/// Frames between two looks for connections of a stream that are done with.
const BATCH: u64 = 256;
/// Bytes of lines that are kept before they are written.
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
    let mut output = options.output.json.then(Output::standard);
    let read = read(&sources, endless, filter.as_ref(), output.as_mut())?;
    let case = Case { traffic: Some(read.traffic), gaps: read.gaps, ..Case::default() };
    let report = Report::new(&case, &diagnose::diagnose(&case));
    if output.is_none() {
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
    let captured = read(&sources, false, None, None)?;
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

/// Reads captures to their ends, adds up the connections that are taken, and writes a line for each if there is an
/// output.
fn read(
    sources: &[Source],
    endless: bool,
    filter: Option<&Filter>,
    output: Option<&mut Output>,
) -> anyhow::Result<Captured> {
    let seeds = RandomState::new();
    let seeds = [seeds.hash_one(0), seeds.hash_one(1)];
    let (readers, refused) = readers(sources);
    let progress = Progress::new(sources.iter().map(Source::length).sum());
    let added = if endless {
        stream(Merge::new(readers), filter, output, seeds, progress)?
    } else {
        whole(readers, threads(sources), filter, output, seeds, progress)?
    };
    Ok(captured(sources, refused, added))
}

/// What the connections of captures add up to.
struct Added<'a> {
    /// Readers at their ends.
    merge: Merge<'a>,
    tally: TrafficTally,
    /// Times of the first and the last packet.
    span_ns: Option<(i64, i64)>,
    clocks: Vec<Clocks>,
}

/// A stream: every connection is told and forgotten when it is done with.
fn stream<'a>(
    mut merge: Merge<'a>,
    filter: Option<&Filter>,
    mut output: Option<&mut Output>,
    [seed, tally_seed]: [u64; 2],
    mut progress: Progress,
) -> anyhow::Result<Added<'a>> {
    let endless = Some(Endless::default());
    let mut connections = Connections::new(Options { seed, endless, ..Options::default() });
    let mut tally = TrafficTally::new(tally_seed, None, None);
    let mut lines = Vec::new();
    let mut more = true;
    while more {
        more = merge.advance_into(BATCH, &mut connections);
        let frames = merge.readers().iter().map(|reader| reader.statistics().frames).sum();
        progress.reached(merge.readers().iter().map(Reader::consumed).sum(), frames);
        if !more {
            progress.end();
            connections.finish();
        }
        while let Some(connection) = connections.take_ended() {
            if filter.is_some_and(|filter| !filter.takes(&connection)) {
                continue;
            }
            tally.add(&connection);
            let Some(output) = &mut output else { continue };
            connection.write_line(&mut lines);
            if lines.len() >= AT_ONCE {
                output.write(&lines)?;
                lines.clear();
            }
        }
        if let (Some(output), false) = (&mut output, lines.is_empty()) {
            output.write(&lines)?;
            lines.clear();
        }
    }
    let span_ns = connections.span_ns();
    let clocks = connections.clocks(span_ns.map_or(0, |(start, _)| start));
    Ok(Added { merge, tally, span_ns, clocks })
}

/// Files: every connection is kept to their ends, and then told in the order of first packets.
fn whole<'a>(
    readers: Vec<Reader<'a>>,
    threads: usize,
    filter: Option<&Filter>,
    output: Option<&mut Output>,
    [seed, tally_seed]: [u64; 2],
    progress: Progress,
) -> anyhow::Result<Added<'a>> {
    let Followed { mut parts, merge } = follow(readers, threads, seed, progress)?;
    // Every part was shown every packet.
    let span_ns = parts.first().and_then(Connections::span_ns);
    let mut clocks = Vec::new();
    if let Some((first, others)) = parts.split_first_mut() {
        for other in others {
            first.absorb_clocks(other);
        }
        clocks = first.clocks(span_ns.map_or(0, |(start, _)| start));
    }
    let (start, end) = span_ns.unzip();
    let mut tally = TrafficTally::new(tally_seed, start, end);
    let connections = InOrder::of(&parts);
    let told = Told::new(&connections, filter, &mut tally, output);
    thread::scope(|scope| {
        for _ in 1..threads {
            thread::Builder::new().spawn_scoped(scope, || told.tell()).context("cannot start a thread")?;
        }
        told.tell();
        anyhow::Ok(())
    })?;
    told.end()?;
    Ok(Added { merge, tally, span_ns, clocks })
}

/// What is kept of all that, and a line on stderr for each file that is broken.
fn captured(sources: &[Source], refused: u32, added: Added<'_>) -> Captured {
    let Added { merge, tally, span_ns, clocks } = added;
    let mut traffic = tally.finish(&merge, span_ns, clocks);
    traffic.files = sources.iter().map(|source| source.name().to_owned()).collect();
    let mut gaps = Vec::new();
    let mut nothing = sources.len() == refused as usize;
    let mut broken = 0;
    for (source, reader) in sources.iter().zip(merge.readers()) {
        let statistics = reader.statistics();
        if let Some(FileEnding::Broken(why)) = reader.ending() {
            let said = format!("{}: {why}", source.name());
            screen::fail(&said);
            gaps.push(gap(said, "copy the file again; what comes before the break was read"));
            broken += u32::from(statistics.frames == 0);
        }
        if let Some(dropped @ 1..) = statistics.dropped {
            let because =
                format!("{}: the capture itself lost {} packets", source.name(), report::thousands(dropped));
            gaps.push(gap(because, "capture less (tcpdump -s 128, a filter) or with a larger buffer (-B)"));
        }
    }
    nothing |= traffic.frames == 0 && broken + refused == u32::try_from(sources.len()).unwrap_or(u32::MAX);
    gaps.extend(of_notes(&traffic.notes));
    Captured { traffic, gaps, nothing }
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
            "could not be followed closely: too many at once, or too many gaps at once in one",
            "read a part of the capture, or less at once",
        ),
        (Note::Evicted, "were dropped from a full table", "read a part of the capture, or less at once"),
    ];
    let seen = all.iter().filter_map(|(note, because, how)| {
        let count = *notes.get(note.name())?;
        let connections = if count == 1 { "connection" } else { "connections" };
        let count = report::thousands(count);
        Some(gap(format!("{count} {connections}: {because} ({note})"), how))
    });
    seen.collect()
}

#[cfg(test)]
mod tests;
