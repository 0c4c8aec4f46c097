//! One conversation in every container, mapped and as a stream: the same packets.

use crate::made::{
    self, BIG, Frame, LITTLE, MICROSECONDS, NANOSECONDS, Seen, all, all_of, conversation, plain,
};
use capture::{FileEnding, Merge, Reader, Refused};
use std::io::{Read, Write as _};
use std::net::Ipv4Addr;

/// The conversation as it must be seen.
fn expected() -> Vec<Seen> {
    let (seen, ending) = all_of(&plain(&conversation()));
    assert_eq!(ending, FileEnding::Complete);
    seen
}

fn same(name: &str, file: &[u8]) {
    let (seen, ending) = all_of(file);
    assert_eq!(seen, expected(), "{name}");
    assert_eq!(ending, FileEnding::Complete, "{name}");
    for piece in [1, 7, 4_096] {
        let (seen, ending) = all(Reader::from_stream(Dribble { rest: file, piece }).expect("a capture"));
        assert_eq!(seen, expected(), "{name}, {piece} bytes at a time");
        assert_eq!(ending, FileEnding::Complete, "{name}, {piece} bytes at a time");
    }
}

/// A stream that gives only so much at once.
struct Dribble<'a> {
    rest: &'a [u8],
    piece: usize,
}

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.piece.min(self.rest.len()).min(buffer.len());
        buffer[..count].copy_from_slice(&self.rest[..count]);
        self.rest = &self.rest[count..];
        Ok(count)
    }
}

#[test]
fn what_is_written_is_read() {
    let seen = expected();
    assert_eq!(seen.iter().map(|one| one.number).collect::<Vec<_>>(), [1, 2, 3, 4, 6]);
    let request = &seen[1];
    assert_eq!(request.time_ns, 1_700_000_000_000_250_000);
    assert_eq!(request.flow.source, Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().into());
    assert_eq!((request.flow.source_port, request.flow.destination_port), (40_000, 80));
    assert_eq!(request.payload, b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(
        (request.segment.seq.number(), request.segment.ack.number(), request.segment.length),
        (2, 7, 18)
    );
    assert_eq!((request.segment.window, request.ip_id, request.ttl), (4_096, 0x1234, 63));
    assert_eq!(request.segment.timestamps.map(|both| (both.value, both.echo)), Some((256, 512)));
    assert_eq!((seen[2].flow.destination & 0xff, seen[2].ttl), (2, 62));
    let cut = &seen[3];
    assert!(cut.cut && cut.segment.length == 500 && cut.payload.len() == 34, "{cut:?}");
    assert!(!request.cut);
}

#[test]
fn classic_files_of_both_byte_orders_and_units() {
    let frames = conversation();
    for order in [LITTLE, BIG] {
        for magic in [MICROSECONDS, NANOSECONDS] {
            same(&format!("{order:?} {magic:x}"), &made::pcap(order, magic, 0, 1, &frames));
        }
        // The bits above the link type tell of check sequences.
        same("with check sequences", &made::pcap(order, MICROSECONDS, 0, 0x5400_0001, &frames));
    }
}

#[test]
fn patched_classic_files_are_told_by_their_records() {
    for order in [LITTLE, BIG] {
        for extra in [8, 12] {
            same("a magic of its own", &made::pcap(order, 0xa1b2_cd34, extra, 1, &conversation()));
        }
        // The plain magic on such records: told only where the file is there as a whole.
        for extra in [8, 4] {
            let file = made::pcap(order, MICROSECONDS, extra, 1, &conversation());
            assert_eq!(all_of(&file), (expected(), FileEnding::Complete), "{extra} more");
        }
    }
}

#[test]
fn pcapng_of_both_byte_orders() {
    for order in [LITTLE, BIG] {
        same("pcapng", &made::pcapng(order, &conversation()));
    }
}

#[test]
fn sections_interfaces_and_resolutions() {
    let frames = conversation();
    let mut file = Vec::new();
    for (order, frames) in [(BIG, &frames[..2]), (LITTLE, &frames[2..])] {
        file.extend(made::section(order));
        // Interface 0 is not used; 1 counts in nanoseconds and began a million seconds before 1970; 2 in halves
        // of a second to the power of 20.
        file.extend(made::interface(order, 113, 0, &[]));
        let resolution = made::option(order, 9, &[9]);
        let offset = made::option(order, 14, &order.u64((-1_000_000_i64).cast_unsigned()));
        file.extend(made::interface(order, 1, 0, &[resolution, offset].concat()));
        file.extend(made::interface(order, 1, 0, &made::option(order, 9, &[0x80 | 0x14])));
        file.extend(made::block(order, 0x0000_7777, b"unknown"));
        for (place, frame) in frames.iter().enumerate() {
            if place % 2 == 0 {
                file.extend(made::packet(order, 1, frame.time_ns + 1_000_000_000_000_000, frame));
            } else {
                // Rounded up, so that it comes out as the same microsecond.
                let units = (u128::from(frame.time_ns) << 20).div_ceil(1_000_000_000);
                file.extend(made::packet(order, 2, u64::try_from(units).unwrap(), frame));
            }
        }
        file.extend(made::block(order, 5, &order.u32(1)));
    }
    let (mut seen, ending) = all_of(&file);
    for one in &mut seen {
        one.time_ns -= one.time_ns % 1_000;
    }
    assert_eq!((seen, ending), (expected(), FileEnding::Complete));
}

#[test]
fn simple_and_obsolete_packets() {
    let frames = conversation();
    for order in [LITTLE, BIG] {
        let mut file = [made::section(order), made::interface(order, 1, 100, &[])].concat();
        let times = frames[1].time_ns / 1_000;
        let old = [
            &order.u16(0)[..],
            &order.u16(0xffff),
            &order.u32(u32::try_from(times >> 32).unwrap()),
            &order.u32(u32::try_from(times & 0xffff_ffff).unwrap()),
            &order.u32(u32::try_from(frames[1].bytes.len()).unwrap()),
            &order.u32(frames[1].wire),
            &frames[1].bytes,
        ];
        file.extend(made::block(order, 2, &old.concat()));
        file.extend(made::block(order, 3, &[&order.u32(frames[3].wire)[..], &frames[3].bytes].concat()));
        let (seen, ending) = all_of(&file);
        assert_eq!(ending, FileEnding::Complete);
        let mut second = Seen { number: 1, ..expected()[1].clone() };
        assert_eq!(seen[0], second);
        // Without a time of its own it gets that of the packet before.
        second = Seen { number: 2, time_ns: second.time_ns, ..expected()[3].clone() };
        assert_eq!(seen[1], second);
    }
}

#[test]
fn lost_packets_are_known_where_the_file_says_so() {
    let statistics = |lost: u64| {
        let options =
            [made::option(LITTLE, 5, &lost.to_le_bytes()), made::option(LITTLE, 7, &2_u64.to_le_bytes())];
        made::block(LITTLE, 5, &[&[0; 12][..], &options.concat()].concat())
    };
    let file = [made::pcapng(LITTLE, &conversation()), statistics(1), statistics(5)].concat();
    let mut reader = Reader::new(&file).unwrap();
    reader.for_each(|_| {});
    assert_eq!(reader.statistics().dropped, Some(7), "the last count stands");
    let plain = plain(&conversation());
    let mut reader = Reader::new(&plain).unwrap();
    reader.for_each(|_| {});
    assert_eq!(reader.statistics().dropped, None);
}

#[test]
fn snoop() {
    let mut file = b"snoop\0\0\0\0\0\0\x02\0\0\0\x04".to_vec();
    for frame in conversation() {
        let captured = u32::try_from(frame.bytes.len()).unwrap();
        let padding = captured.next_multiple_of(4) - captured;
        let (second, fraction) = (frame.time_ns / 1_000_000_000, frame.time_ns % 1_000_000_000 / 1_000);
        for field in
            [frame.wire.into(), captured.into(), u64::from(captured + padding + 24), 0, second, fraction]
        {
            file.extend(u32::try_from(field).unwrap().to_be_bytes());
        }
        file.extend(&frame.bytes);
        file.extend(vec![0; padding as usize]);
    }
    same("snoop", &file);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

/// So many segments with data that an encoder finds little in.
fn segments(count: u32) -> Vec<Frame> {
    let frames = (0..count).map(|number| {
        let body = made::tcp(number, 0x10, &number.wrapping_mul(0x9e37_79b9).to_be_bytes());
        Frame::new(u64::from(number) * 1_000, made::ethernet(0x0800, &made::ipv4(6, &body)))
    });
    frames.collect()
}

#[test]
fn compressed_files() {
    for file in [plain(&conversation()), made::pcapng(BIG, &conversation())] {
        let (first, second) = file.split_at(file.len() / 3);
        same("gzip", &gzip(&file));
        same("two members and padding", &[gzip(first), gzip(second), vec![0; 100]].concat());
        same("zstd", &zstd(&file));
        let skipped = [0x5e, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        same(
            "two frames and one to be skipped",
            &[&skipped[..], &zstd(first), &skipped, &zstd(second)].concat(),
        );
    }
}

#[test]
fn a_compressed_file_that_is_cut_gives_what_comes_before() {
    // More than the windows of the decoders, so that they must give what they hold back.
    let file = plain(&segments(20_000));
    let whole = all_of(&file).0;
    for compressed in [gzip(&file), zstd(&file)] {
        for share in [2, 3, 10] {
            let cut = &compressed[..compressed.len() - compressed.len() / share];
            let (seen, ending) = all_of(cut);
            let FileEnding::Broken(place) = ending else { panic!("{ending:?}") };
            assert!(place.why.contains("cut short"), "{place}");
            assert_eq!(place.packet, seen.len() as u64 + 1);
            assert_eq!(seen, whole[..seen.len()]);
            // Blocks of the encoders hold 128 KiB; no more may be missing.
            let least = whole.len() - whole.len() / share - 5_000;
            assert!(seen.len() >= least, "{} of {least}", seen.len());
        }
    }
}

#[test]
fn a_damaged_compressed_file_gives_what_comes_before_and_says_so() {
    let file = plain(&segments(2_000));
    let whole = all_of(&file).0;
    // A wrong checksum behind all the data: everything is there, and it is said.
    let mut sum = gzip(&file);
    let at = sum.len() - 8;
    sum[at] ^= 1;
    let (seen, ending) = all_of(&sum);
    assert_eq!(seen, whole);
    let FileEnding::Broken(place) = ending else { panic!("{ending:?}") };
    assert!(place.why.contains("checksum"), "{place}");
    assert_eq!((place.at, place.packet), (file.len() as u64, 2_001));
    // Damage in the middle of one: at least a good part of what is before.
    let mut damaged = gzip(&file);
    let middle = damaged.len() / 2;
    damaged[middle..middle + 4].copy_from_slice(&[0xff; 4]);
    let (seen, ending) = all_of(&damaged);
    assert!(matches!(ending, FileEnding::Broken(_)));
    assert!(seen.len() > 800 && seen[..800] == whole[..800], "{}", seen.len());
    // Names, comments and more in the header, and what is no member behind the last.
    let mut header = vec![0x1f, 0x8b, 8, 0x1e, 0, 0, 0, 0, 0, 3, 2, 0, 1, 2];
    header.extend(b"name\0comment\0\x11\x22");
    let named = [&header[..], &gzip(&file)[10..]].concat();
    assert_eq!(all_of(&named), (whole.clone(), FileEnding::Complete));
    let FileEnding::Broken(place) = all_of(&[&named[..], b"garbage that is no member"].concat()).1 else {
        panic!("garbage is no padding");
    };
    assert!(place.why.contains("no gzip member"), "{place}");
}

#[test]
fn a_stream_gives_each_packet_as_soon_as_it_is_there() {
    /// Gives one piece after the other, and counts those of which it has given the last byte.
    struct Watched<'a> {
        pieces: std::collections::VecDeque<Vec<u8>>,
        given: &'a std::sync::atomic::AtomicU64,
    }
    impl Read for Watched<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let Some(piece) = self.pieces.front_mut() else { return Ok(0) };
            let count = piece.len().min(buffer.len());
            buffer[..count].copy_from_slice(&piece[..count]);
            piece.drain(..count);
            if piece.is_empty() {
                self.pieces.pop_front();
                self.given.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            Ok(count)
        }
    }
    let frames: Vec<_> =
        conversation().into_iter().filter(|frame| frame.bytes[12] == 8 && frame.bytes[13] == 0).collect();
    let header = made::plain(&[]);
    let mut pieces = vec![header.clone()];
    pieces.extend(frames.iter().map(|frame| plain(std::slice::from_ref(frame))[header.len()..].to_vec()));
    let given = std::sync::atomic::AtomicU64::new(0);
    let mut reader = Reader::from_stream(Watched { pieces: pieces.into(), given: &given }).unwrap();
    let mut seen = 0;
    while reader.advance(u64::MAX, |_| {
        seen += 1;
        // The header was the first piece.
        assert_eq!(given.load(std::sync::atomic::Ordering::Relaxed), seen + 1, "packet {seen} came late");
    }) {}
    assert_eq!(seen, frames.len() as u64);
}

#[test]
fn what_is_no_capture_is_refused_in_one_line() {
    let refused = |bytes: &[u8]| {
        let mapped = Reader::new(bytes).unwrap_err().to_string();
        let streamed = Reader::from_stream(bytes).unwrap_err().to_string();
        assert!(!mapped.contains('\n') && mapped.len() < 200, "{mapped:?}");
        assert_eq!(mapped, streamed);
        mapped
    };
    assert_eq!(refused(b""), "the file is empty");
    assert_eq!(refused(&plain(&[])[..23]), "pcap file that ends within its header");
    assert_eq!(
        refused(b"12:00:01.5 IP 192.0.2.1 > 192.0.2.2: [S]\n"),
        "no capture file: it begins with the text \"12:00:01.5 IP 192.0.2.1 \""
    );
    assert_eq!(refused(&[1, 2, 3, 4, 5]), "no capture file: it begins with the bytes 01 02 03 04");
    assert!(refused(b"\xfd7zXZ\0more").contains("xz"));
    assert!(refused(b"RTSS and so on").contains("Network Monitor 1"));
    // One record of Endace's cards: time, Ethernet, lengths.
    let mut erf = [0; 8 + 8 + 18].to_vec();
    erf[4..8].copy_from_slice(&1_700_000_000_u32.to_le_bytes());
    (erf[8], erf[11], erf[15]) = (2, 34, 16);
    assert!(refused(&erf).contains("ERF"), "{}", refused(&erf));
    let mut version = plain(&[]);
    version[4] = 9;
    assert!(refused(&version).contains("version 9.4"));
    let netmon = [&b"GMBU\x03\x02"[..], &[0; 100]].concat();
    assert!(matches!(Reader::from_stream(&netmon[..]), Err(Refused::Stream(_))));
}

#[test]
fn several_files_are_merged_by_time() {
    let frames = conversation();
    let (even, odd): (Vec<_>, Vec<_>) = (0..).zip(frames).partition(|(place, _)| place % 2 == 0);
    let strip = |list: Vec<(i32, Frame)>| list.into_iter().map(|(_, frame)| frame).collect::<Vec<_>>();
    let (even, odd) = (plain(&strip(even)), made::pcapng(BIG, &strip(odd)));
    let compressed = gzip(&even);
    for first in [&even, &compressed] {
        let readers = vec![Reader::new(first).unwrap(), Reader::from_stream(&odd[..]).unwrap()];
        let mut merge = Merge::new(readers);
        let mut seen = Vec::new();
        merge.for_each(|packet| seen.push(Seen::of(packet)));
        assert!(merge.readers().iter().all(|reader| reader.ending() == Some(&FileEnding::Complete)));
        let places: Vec<_> = seen.iter().map(|one| (one.file, one.number)).collect();
        assert_eq!(places, [(0, 1), (1, 1), (0, 2), (1, 2), (1, 3)]);
        for one in &mut seen {
            one.number = one.number * 2 - 1 + u64::from(one.file);
            one.file = 0;
        }
        assert_eq!(seen, expected());
    }
}

#[test]
fn of_equal_times_the_file_named_first_comes_first() {
    let frames = conversation();
    let file = plain(&frames[..2]);
    let mut merge = Merge::new((0..3).map(|_| Reader::new(&file).unwrap()).collect());
    let mut order = Vec::new();
    while merge.advance(1, |packet| order.push((packet.number, packet.file))) {}
    assert_eq!(order, [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)]);
}
