//! Bytes that were never meant to be read: nothing panics, nothing runs without end, and what stands before the
//! damage is read.

use crate::made::{
    self, BIG, Frame, LITTLE, MICROSECONDS, Seen, all, all_of, conversation, ethernet, ipv4_fragment, tcp,
};
use capture::{FileEnding, Reader};
use proptest::prelude::*;

/// Reads bytes both ways to their ends, which must be the same; gives the segments and the frames.
fn survives(bytes: &[u8]) -> (Vec<Seen>, u64) {
    let mapped = Reader::new(bytes).ok().map(all);
    let streamed = Reader::from_stream(bytes).ok().map(all);
    if let (Some(mapped), Some(streamed)) = (&mapped, &streamed) {
        // A stream cannot be looked ahead in, which tells rare variants of the classic format.
        if mapped.0.len() == streamed.0.len() {
            assert_eq!(mapped, streamed);
        }
    }
    let mut frames = 0;
    if let Ok(mut reader) = Reader::new(bytes) {
        while reader.advance(1, |_| {}) {
            assert!(reader.consumed() <= bytes.len() as u64);
        }
        frames = reader.statistics().frames;
    }
    (mapped.map(|(seen, _)| seen).unwrap_or_default(), frames)
}

fn beginnings() -> Vec<Vec<u8>> {
    let frames = conversation();
    vec![
        made::plain(&frames),
        made::pcap(BIG, MICROSECONDS, 0, 1, &frames),
        made::pcapng(LITTLE, &frames),
        made::pcapng(BIG, &frames),
    ]
}

proptest! {
    #[test]
    fn any_bytes_behind_any_magic(
        which in 0_usize..12,
        bytes in proptest::collection::vec(any::<u8>(), 0..2_000),
    ) {
        let netmon = [b"GMBU\x03\x02\x01\0", &[1; 16][..], b"\x20\0\0\0\xff\0\0\0"].concat();
        let starts: [&[u8]; 12] = [
            b"", b"\xd4\xc3\xb2\xa1\x02\0\x04\0", b"\xa1\xb2\x3c\x4d\0\x02\0\x04", b"\x34\xcd\xb2\xa1\x02\0\x04\0",
            b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x4d\x3c\x2b\x1a\x01\0\0\0", b"\x0a\x0d\x0d\x0a\0\0\0\x1c\x1a\x2b\x3c\x4d\0\x01\0\0",
            b"snoop\0\0\0\0\0\0\x02\0\0\0\x04", &netmon, b"\x1f\x8b\x08\0\0\0\0\0\0\0", b"\x28\xb5\x2f\xfd",
            b"\x5a\x2a\x4d\x18\x01\0\0\0x\x28\xb5\x2f\xfd\x04\x48", b"\xd4\xc3\xb2\xa1\x02\0\x03\0",
        ];
        survives(&[starts[which], &bytes].concat());
    }

    #[test]
    fn any_frame_of_any_link(
        link in 0_u32..300,
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        wire in 0_u32..70_000,
    ) {
        let frame = Frame { time_ns: 0, wire, bytes };
        let (_, frames) = survives(&made::pcap(LITTLE, MICROSECONDS, 0, link, &[frame]));
        prop_assert_eq!(frames, 1);
    }

    #[test]
    fn a_frame_with_any_few_bytes_changed(
        changes in proptest::collection::vec((0_usize..200, any::<u8>()), 1..6),
        which in 0_usize..6,
    ) {
        let mut frame = conversation()[which].clone();
        for (place, byte) in changes {
            let place = place % frame.bytes.len();
            frame.bytes[place] = byte;
        }
        let (seen, frames) = survives(&made::plain(&[frame]));
        prop_assert_eq!(frames, 1);
        prop_assert!(seen.iter().all(|one| one.payload.len() as u64 <= u64::from(one.segment.length)));
    }

    #[test]
    fn what_stands_before_the_damage_is_read(
        which in 0_usize..4,
        share in 0_usize..1_000,
        damage in proptest::collection::vec(any::<u8>(), 1..20),
        cut in any::<bool>(),
    ) {
        let mut bytes = beginnings().swap_remove(which);
        let whole = all_of(&bytes).0;
        // Headers of the file must stand; how far each record reaches is known from a file that ends there.
        let header = if which < 2 { 24 } else { 28 + 20 + 32 };
        let place = header + share * (bytes.len() - header) / 1_000;
        let before = all_of(&bytes[..place]).0;
        prop_assert_eq!(&before[..], &whole[..before.len()]);
        bytes.truncate(if cut { place } else { bytes.len() });
        let end = (place + damage.len()).min(bytes.len());
        bytes[place..end].copy_from_slice(&damage[..end - place]);
        let (seen, _) = survives(&bytes);
        prop_assert!(seen.len() >= before.len());
        // The record that the damage is in may read differently; those before it not.
        let certain = before.len();
        prop_assert_eq!(&seen[..certain], &whole[..certain]);
    }
}

#[test]
fn every_cut_gives_the_packets_before_it_and_says_where() {
    for bytes in beginnings() {
        let whole = all_of(&bytes).0;
        for length in 84..bytes.len() {
            let cut = &bytes[..length];
            let (seen, ending) = all_of(cut);
            assert_eq!(seen, whole[..seen.len()]);
            if let FileEnding::Broken(place) = ending {
                assert!(place.at < length as u64 && place.packet > seen.len() as u64, "{place}");
                assert!(place.to_string().contains("ends within a record"), "{place}");
                // Up to there the file is whole.
                let at = usize::try_from(place.at).unwrap();
                assert_eq!(all_of(&bytes[..at]), (seen, FileEnding::Complete));
            }
        }
    }
}

#[test]
fn lengths_that_lie_cost_no_memory_and_no_time() {
    let huge = |at: usize, length: u32| {
        let mut bytes = made::plain(&conversation());
        bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
        bytes
    };
    // The captured length of the first record.
    for length in [262_145, u32::MAX, 0x7fff_ffff] {
        let (seen, ending) = all(Reader::from_stream(&huge(32, length)[..]).unwrap());
        assert!(seen.is_empty());
        let FileEnding::Broken(place) = ending else { panic!("{ending:?}") };
        assert_eq!((place.at, place.packet), (24, 1));
        assert!(place.why.contains("more than the 262144"), "{place}");
    }
    // Blocks of no length, and of none that can be.
    for length in [0_u32, 4, 8, 13, u32::MAX, 0x0fff_fff0] {
        let mut bytes = made::pcapng(LITTLE, &conversation());
        let first = bytes.len();
        bytes.extend(made::block(LITTLE, 9_999, &[0; 64]));
        bytes[first + 4..first + 8].copy_from_slice(&length.to_le_bytes());
        let (seen, ending) = all(Reader::from_stream(&bytes[..]).unwrap());
        assert_eq!(seen.len(), 5);
        let FileEnding::Broken(place) = ending else { panic!("{length}: {ending:?}") };
        assert_eq!((place.at, place.packet), (first as u64, 7), "{place}");
    }
}

#[test]
fn records_without_bytes_are_frames() {
    let mut frames = vec![Frame::new(5, Vec::new()); 1_000];
    frames.extend(conversation());
    let (seen, frames) = survives(&made::plain(&frames));
    assert_eq!((seen.len(), seen[0].number, frames), (5, 1_001, 1_006));
}

#[test]
fn interfaces_without_end_are_refused() {
    let mut bytes = made::section(LITTLE);
    let one = made::interface(LITTLE, 1, 0, &[]);
    for _ in 0..70_000 {
        bytes.extend(&one);
    }
    let FileEnding::Broken(place) = all_of(&bytes).1 else { panic!("all were taken") };
    assert!(place.why.contains("interfaces"), "{place}");
}

#[test]
fn fragments_without_end_are_given_up() {
    let segment = tcp(1, 2, b"");
    let frames: Vec<_> = (0..30_000_u16)
        .map(|id| {
            let mut packet = ipv4_fragment(6, 0x2000, &segment[..8]);
            packet[4..6].copy_from_slice(&id.to_be_bytes());
            Frame::new(0, ethernet(0x800, &packet))
        })
        .collect();
    let bytes = made::plain(&frames);
    let mut reader = Reader::new(&bytes).unwrap();
    reader.for_each(|_| panic!("none is whole"));
    let statistics = reader.statistics();
    assert_eq!(
        (statistics.fragments, statistics.reassembled, statistics.fragments_given_up),
        (30_000, 0, 30_000)
    );
}

#[test]
fn times_may_go_back_and_be_out_of_range() {
    let mut frames = conversation();
    frames[2].time_ns = 0;
    let file = made::plain(&frames);
    let mut reader = Reader::new(&file).unwrap();
    reader.for_each(|_| {});
    assert_eq!(reader.statistics().times_ns, Some((0, 1_700_000_000_001_250_000)));
    let mut far = [made::section(LITTLE), made::interface(LITTLE, 1, 0, &[])].concat();
    far.extend(made::packet(LITTLE, 0, u64::MAX, &frames[0]));
    assert_eq!(all_of(&far).0[0].time_ns, i64::MAX);
}
