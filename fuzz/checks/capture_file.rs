//! A capture may come from anyone, and be damaged anywhere.

use capture::{FileEnding, Packet, Reader, Statistics};
use std::io::Read;

/// What of a packet must be the same each time.
#[derive(Debug, PartialEq)]
struct Seen {
    number: u64,
    time_ns: i64,
    flow: capture::Flow,
    context: u32,
    segment: tcp::Segment,
    payload: Vec<u8>,
}

/// Any bytes are refused in one line, or are read to an end: mapped and as a stream alike, each packet within its
/// bounds, and the part before a break is a whole file.
pub(crate) fn capture_file(bytes: &[u8]) {
    let mapped = match Reader::new(bytes) {
        Ok(reader) => read(reader, bytes),
        Err(refused) => {
            let said = refused.to_string();
            assert!(!said.is_empty() && said.len() < 300 && !said.chars().any(char::is_control), "{said:?}");
            return;
        }
    };
    // Some variants of the classic format show only in the first two records: a stream does not wait for those
    // where nothing says that there may be variants, and a file that is cut there may be another.
    if matches!(bytes, [0xd4, 0xc3, 0xb2, 0xa1, ..] | [0xa1, 0xb2, 0xc3, 0xd4, ..]) {
        return;
    }
    let variants = matches!(bytes, [0x34, 0xcd, 0xb2, 0xa1, ..] | [0xa1, 0xb2, 0xcd, 0x34, ..]);
    // The index of NetMon's files is at the end.
    if bytes.starts_with(b"GMBU") {
        return;
    }
    let piece = 1 + bytes.len() / 3;
    let streamed = Reader::from_stream(Pieces { rest: bytes, piece }).expect("it is one if it is mapped");
    assert_eq!(read(streamed, bytes), mapped);

    let compressed =
        matches!(bytes, [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] | [_, 0x2a, 0x4d, 0x18, ..]);
    if let (FileEnding::Broken(place), false) = (&mapped.2, compressed || variants) {
        let at = usize::try_from(place.at).expect("a place in these bytes");
        // The first section is told from its header; a break there leaves nothing.
        if at >= 28 {
            let (seen, _, ending) =
                read(Reader::new(&bytes[..at]).expect("it begins in the same way"), bytes);
            assert_eq!((&seen, ending), (&mapped.0, FileEnding::Complete));
        }
    }
}

fn read(mut reader: Reader<'_>, bytes: &[u8]) -> (Vec<Seen>, Statistics, FileEnding) {
    let mut seen = Vec::new();
    reader.for_each(|packet| seen.push(of(packet)));
    let statistics = reader.statistics();
    assert_eq!(statistics.segments, seen.len() as u64);
    assert!(statistics.without_tcp <= statistics.frames && statistics.cut <= statistics.frames);
    assert!(seen.is_sorted_by_key(|one| one.number));
    assert!(reader.consumed() <= bytes.len() as u64);
    let ending = reader.ending().cloned().expect("it was read to its end");
    if let FileEnding::Broken(place) = &ending {
        assert_eq!(place.packet, statistics.frames + 1);
        assert!(!place.to_string().contains('\n'));
    }
    (seen, statistics, ending)
}

fn of(packet: &Packet<'_>) -> Seen {
    assert!(packet.payload.len() as u64 <= u64::from(packet.segment.length), "{packet:?}");
    Seen {
        number: packet.number,
        time_ns: packet.time_ns,
        flow: packet.flow,
        context: packet.context,
        segment: packet.segment,
        payload: packet.payload.to_vec(),
    }
}

/// A stream that gives so much at once.
struct Pieces<'a> {
    rest: &'a [u8],
    piece: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.piece.min(self.rest.len()).min(buffer.len());
        buffer[..count].copy_from_slice(&self.rest[..count]);
        self.rest = &self.rest[count..];
        Ok(count)
    }
}
