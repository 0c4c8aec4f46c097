//! A recording, again and again with other clients and later times, until there are enough packets.

use super::Truth;
use super::frame::{Layout, Shift};
use super::network::CLIENT;
use anyhow::{Context as _, ensure};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::Ipv4Addr;
use std::path::Path;

/// Bytes of a pcap file before its records, and of a record before its frame.
const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;
/// Times in this format count microseconds.
const MAGIC: u32 = 0xa1b2_c3d4;
const SECOND: u64 = 1_000_000;
/// Between two copies, in microseconds.
const PAUSE: u64 = SECOND;
/// Between the sequence numbers of two copies: more than a connection sends, so that a later connection of the same
/// tuple has later numbers, as Linux gives them.
const APART: u32 = 1 << 24;
/// In so many copies one has the clients of the copy before it.
const AGAIN_EVERY: u32 = 4;

/// Writes the capture and counts what is in it. The recording must have as many connections as were made.
pub(super) fn write(recording: &Path, connections: u64, file: &Path, packets: u64) -> anyhow::Result<Truth> {
    let bytes = std::fs::read(recording).with_context(|| recording.display().to_string())?;
    let recording = Recording::of(&bytes)?;
    let recorded = recording.count().opening_syns;
    ensure!(recorded == connections, "{recorded} connections were recorded, {connections} made");
    let out = File::create(file).with_context(|| file.display().to_string())?;
    let mut out = BufWriter::with_capacity(1 << 20, out);
    let mut count = Count::default();
    recording.copy(CLIENT, packets, &mut out, &mut count)?;
    out.flush()?;
    Ok(count.truth)
}

struct Record<'a> {
    /// Microseconds since 1970.
    time: u64,
    frame: &'a [u8],
    layout: Layout,
}

struct Recording<'a> {
    header: &'a [u8],
    records: Vec<Record<'a>>,
}

impl<'a> Recording<'a> {
    fn of(bytes: &'a [u8]) -> anyhow::Result<Self> {
        let word = |at: usize| bytes.get(at..)?.first_chunk().map(|word| u32::from_ne_bytes(*word));
        ensure!(word(0) == Some(MAGIC), "not a recording of this machine's tcpdump");
        let mut records = Vec::new();
        let mut at = FILE_HEADER;
        while at < bytes.len() {
            let number = records.len() + 1;
            let field = |n: usize| word(at + 4 * n).map(u64::from).context("the recording breaks off");
            let (time, length) = (field(0)? * SECOND + field(1)?, usize::try_from(field(2)?)?);
            let frame = bytes.get(at + RECORD_HEADER..at + RECORD_HEADER + length);
            let frame = frame.context("the recording breaks off")?;
            let layout = Layout::of(frame).with_context(|| format!("packet {number} of the recording"))?;
            records.push(Record { time, frame, layout });
            at += RECORD_HEADER + length;
        }
        ensure!(!records.is_empty(), "nothing was recorded");
        Ok(Self { header: &bytes[..FILE_HEADER], records })
    }

    fn count(&self) -> Truth {
        let mut count = Count::default();
        self.records.iter().for_each(|record| count.add(record.layout, record.frame));
        count.truth
    }

    fn copy(
        &self,
        client: Ipv4Addr,
        packets: u64,
        out: &mut impl Write,
        count: &mut Count,
    ) -> anyhow::Result<()> {
        let (first, last) = self
            .records
            .iter()
            .fold((u64::MAX, 0), |(first, last), record| (record.time.min(first), record.time.max(last)));
        let later = last - first + PAUSE;
        out.write_all(self.header)?;
        let mut frame = Vec::new();
        for copy in 0.. {
            let shift = Shift {
                client: clients(copy),
                sequence: copy.wrapping_mul(APART),
                // Linux counts milliseconds (`TCP_TS_HZ`).
                timestamps: u32::try_from((u64::from(copy) * later / 1_000) & u64::from(u32::MAX))?,
            };
            for record in &self.records {
                if count.truth.packets == packets {
                    return Ok(());
                }
                frame.clear();
                frame.extend_from_slice(record.frame);
                record.layout.shift(&mut frame, client, shift);
                count.add(record.layout, &frame);
                let time = record.time + u64::from(copy) * later;
                let (second, rest) = (u32::try_from(time / SECOND)?, u32::try_from(time % SECOND)?);
                let length = u32::try_from(frame.len())?;
                for field in [second, rest, length, length] {
                    out.write_all(&field.to_ne_bytes())?;
                }
                out.write_all(&frame)?;
            }
        }
        Ok(())
    }
}

/// What a copy adds to the client's address.
fn clients(copy: u32) -> u32 {
    copy - (copy + 1) / AGAIN_EVERY
}

#[derive(Default)]
struct Count {
    truth: Truth,
    /// The first sequence number of each tuple's last connection.
    opened: HashMap<[u32; 3], u32>,
}

impl Count {
    fn add(&mut self, layout: Layout, frame: &[u8]) {
        let truth = &mut self.truth;
        truth.packets += 1;
        truth.fins += u64::from(layout.fin(frame));
        truth.resets += u64::from(layout.reset(frame));
        if layout.opens(frame) {
            truth.syns += 1;
            let sequence = layout.sequence(frame);
            match self.opened.insert(layout.tuple(frame), sequence) {
                None => truth.opening_syns += 1,
                Some(earlier) if earlier != sequence => {
                    truth.opening_syns += 1;
                    truth.tuples_again += 1;
                }
                Some(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::tests::{CLIENT, made};
    use super::*;

    fn recording(frames: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0]);
        for (n, frame) in (0_u32..).zip(frames) {
            let length = u32::try_from(frame.len()).unwrap();
            for field in [1_000, n * 100, length, length] {
                bytes.extend(field.to_ne_bytes());
            }
            bytes.extend(frame);
        }
        bytes
    }

    /// A connection whose SYN was sent twice, and reset.
    fn small() -> Vec<u8> {
        let syn = made(true, 2, 100, &[], b"");
        let reset = made(false, 4, 900, &[], b"");
        recording(&[
            syn.clone(),
            syn,
            made(false, 0x12, 500, &[], b""),
            made(true, 0x11, 101, &[], b""),
            reset,
        ])
    }

    #[test]
    fn copies_are_counted_as_they_are_written() {
        let bytes = small();
        let mut out = Vec::new();
        let mut count = Count::default();
        Recording::of(&bytes).unwrap().copy(CLIENT, 22, &mut out, &mut count).unwrap();
        // Four whole copies, the fourth with the clients of the third, and a SYN with its repetition.
        let expected = Truth { packets: 22, opening_syns: 5, syns: 10, tuples_again: 1, fins: 4, resets: 4 };
        assert_eq!(count.truth, expected);
        let again = Recording::of(&out).unwrap();
        assert_eq!(again.records.len(), 22);
        assert!(again.records.is_sorted_by_key(|record| record.time));
        assert_eq!(again.count(), expected);
    }

    #[test]
    fn every_fourth_copy_has_the_clients_of_the_one_before() {
        assert_eq!((0..9).map(clients).collect::<Vec<_>>(), [0, 1, 2, 2, 3, 4, 5, 5, 6]);
    }

    #[test]
    fn a_recording_that_breaks_off_is_refused() {
        let bytes = small();
        assert!(Recording::of(&bytes[..bytes.len() - 1]).is_err());
        assert!(Recording::of(&bytes[..FILE_HEADER]).is_err());
    }
}
