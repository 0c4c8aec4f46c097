//! Frames come from the wire: any bytes, of any link type.

use capture::{Flow, Reader};
use tcp::Segment;

type Seen = (Flow, u32, Segment, Option<u8>, Vec<u8>, u16, u8);

/// A link type in two bytes, then frames: for each its length and how much more there was on the wire, in two bytes
/// each. Every frame is read to an end, and what the short way for Ethernet sees is what the long way sees.
pub(crate) fn frame(bytes: &[u8]) {
    let Some((link, mut rest)) = bytes.split_first_chunk::<2>() else { return };
    let link = u32::from(u16::from_le_bytes(*link)) % 300;
    let (mut plain, mut wrapped) = (file(link), file(PPI));
    let mut count = 0;
    while let Some((head, behind)) = rest.split_first_chunk::<4>() {
        let length = usize::from(u16::from_le_bytes([head[0], head[1]])).min(behind.len());
        let more = usize::from(u16::from_le_bytes([head[2], head[3]]));
        let frame;
        (frame, rest) = behind.split_at(length);
        record(&mut plain, &[], frame, more);
        let header = [&[0, 0, 8, 0][..], &link.to_le_bytes()].concat();
        record(&mut wrapped, &header, frame, more);
        count += 1;
    }
    let seen = segments(&plain, count);
    // Headers have a size, so a frame holds no more segments than it has room for; what is decompressed or put
    // together from fragments is at most a datagram.
    let most = bytes.len() / 16 + usize::try_from(count).expect("small") * 4_096;
    assert!(seen.len() <= most, "{} of {most}", seen.len());
    if link == 1 {
        assert_eq!(seen, segments(&wrapped, count));
    }
}

/// The header of CACE that says what follows it: one more layer, and so no short way.
const PPI: u32 = 192;

fn file(link: u32) -> Vec<u8> {
    let mut bytes = vec![0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0];
    bytes.extend(link.to_le_bytes());
    bytes
}

fn record(file: &mut Vec<u8>, header: &[u8], frame: &[u8], more: usize) {
    let length = header.len() + frame.len();
    for field in [1, 0, length, length + more] {
        file.extend(u32::try_from(field).expect("a small number").to_le_bytes());
    }
    file.extend(header);
    file.extend(frame);
}

fn segments(file: &[u8], frames: u64) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut reader = Reader::new(file).expect("a capture");
    reader.for_each(|packet| {
        assert!(packet.payload.len() as u64 <= u64::from(packet.segment.length), "{packet:?}");
        seen.push((
            packet.flow,
            packet.context,
            packet.segment,
            packet.window_scale,
            packet.payload.to_vec(),
            packet.ip_id,
            packet.ttl,
        ));
    });
    assert_eq!(reader.statistics().frames, frames);
    seen
}
