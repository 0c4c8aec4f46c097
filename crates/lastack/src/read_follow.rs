//! Captures to connections, on as many threads as help.
//!
//! Each thread reads the same mapped bytes from their beginning to their end and follows a part of the connections, by
//! tuple; what is another's costs it little. Nothing is handed from thread to thread.

use crate::mapped::Source;
use crate::read_progress::Progress;
use anyhow::Context as _;
use capture::{Connections, Merge, Options, Reader};
use std::num::NonZero;
use std::thread;

/// Frames of files between two looks at the clock.
const BATCH: u64 = 1 << 16;
/// Bytes of captures for which a thread more is worth its start: some milliseconds of reading.
const LARGE: u64 = 8 << 20;
/// Every thread looks at every packet: with more of them there is not much left to share.
const MOST_THREADS: usize = 8;
/// Packets are counted in 32 bits to put the parts in order; none takes fewer bytes of a file.
const LARGEST: u64 = (1 << 32) * 32;

/// All connections of some captures.
pub(crate) struct Followed<'a> {
    /// Parts of them, which were shown the same packets.
    pub(crate) parts: Vec<Connections>,
    /// The readers, at their ends.
    pub(crate) merge: Merge<'a>,
}

/// As many threads as help with these captures.
pub(crate) fn threads(sources: &[Source]) -> usize {
    let length: Option<u64> = sources.iter().map(Source::length).sum();
    match length {
        Some(LARGE..=LARGEST) => thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS),
        _ => 1,
    }
}

/// Follows every connection to the ends of these readers, on so many threads if their bytes are at hand.
pub(crate) fn follow<'a>(
    readers: Vec<Reader<'a>>,
    threads: usize,
    seed: u64,
    mut progress: Progress,
) -> anyhow::Result<Followed<'a>> {
    let another = || readers.iter().map(Reader::another).collect::<Option<Vec<_>>>().map(Merge::new);
    let others: Vec<Merge<'a>> = (1..threads).map_while(|_| another()).collect();
    let shards = 1 + u32::try_from(others.len())?;
    let options = Options::default();
    let max_live = options.max_live / shards as usize;
    let mut parts: Vec<Connections> = (0..shards)
        .map(|shard| Connections::new(Options { seed, max_live, shard: (shard, shards), ..options }))
        .collect();
    let mut merge = Merge::new(readers);
    thread::scope(|scope| {
        let (first, rest) = parts.split_first_mut().context("there is always one part")?;
        for (part, mut merge) in rest.iter_mut().zip(others) {
            thread::Builder::new()
                .spawn_scoped(scope, move || {
                    while merge.advance_into(BATCH, part) {}
                    part.finish();
                })
                .context("cannot start a thread")?;
        }
        while merge.advance_into(BATCH, first) {
            let frames = merge.readers().iter().map(|reader| reader.statistics().frames).sum();
            progress.reached(merge.readers().iter().map(Reader::consumed).sum(), frames);
        }
        first.finish();
        anyhow::Ok(())
    })?;
    progress.end();
    Ok(Followed { parts, merge })
}
