//! Options of a TCP header come from the wire: kinds, lengths and numbers that lie.

use capture::Reader;
use tcp::{Flags, Timestamps};

/// Flags, the header's length field, how many bytes of the segment the snap length left, then what stands behind the
/// first 20 bytes of the header: read, it is what a walk from the first option on finds.
pub(crate) fn tcp_options(bytes: &[u8]) {
    let Some(([flags, offset, snap], behind)) = bytes.split_first_chunk::<3>() else { return };
    let behind = &behind[..behind.len().min(200)];
    let mut segment = vec![0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 7];
    segment.extend([offset & 0xf0, *flags, 0x10, 0, 0, 0, 0, 0]);
    segment.extend(behind);
    let captured = segment.len().min(usize::from(*snap).max(20));

    let Some(header) = Some(usize::from(offset >> 4) * 4).filter(|header| *header >= 20) else {
        assert_eq!(read(&segment, captured), None, "a header is 20 bytes at least");
        return;
    };
    let options = &segment[20..header.min(captured).max(20)];
    let (stamps, scale) = walk(options, Flags::from_bits(*flags).has(Flags::SYN));
    let length = segment.len().saturating_sub(header);
    let payload = segment[..captured].get(header..).unwrap_or_default();
    assert_eq!(read(&segment, captured), Some((stamps, scale, length, payload.to_vec())));
}

type Seen = (Option<Timestamps>, Option<u8>, usize, Vec<u8>);

/// RFC 9293 section 3.1, one option after the other: the first of each kind that has its right length counts.
fn walk(options: &[u8], is_syn: bool) -> (Option<Timestamps>, Option<u8>) {
    let (mut stamps, mut scale) = (None, None);
    let mut at = 0;
    while at < options.len() {
        let kind = options[at];
        if kind == 0 {
            break;
        }
        if kind == 1 {
            at += 1;
            continue;
        }
        let Some(&length) = options.get(at + 1) else { break };
        let end = at + usize::from(length);
        if length < 2 || end > options.len() {
            break;
        }
        if kind == 8 && length == 10 && stamps.is_none() {
            let number = |from: usize| {
                options[from..from + 4].iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
            };
            stamps = Some(Timestamps { value: number(at + 2), echo: number(at + 6) });
        }
        if kind == 3 && length == 3 && is_syn && scale.is_none() {
            scale = Some(options[at + 2]);
        }
        at = end;
    }
    (stamps, scale)
}

/// The segment in a packet, in a frame, in a file: both ways to read it.
fn read(segment: &[u8], captured: usize) -> Option<Seen> {
    let total = u16::try_from(20 + segment.len()).expect("a small segment").to_be_bytes();
    let mut packet = vec![0x45, 0, total[0], total[1], 0, 7, 0x40, 0, 64, 6, 0, 0];
    packet.extend([192, 0, 2, 1, 192, 0, 2, 2]);
    packet.extend(&segment[..captured]);
    let wire = 20 + segment.len();
    let raw = one(101, &packet, wire);
    let frame = [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0][..], &packet].concat();
    assert_eq!(one(1, &frame, wire + 14), raw, "the way of Ethernet and the other");
    raw
}

fn one(link: u32, frame: &[u8], wire: usize) -> Option<Seen> {
    let mut file = vec![0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0];
    file.extend(link.to_le_bytes());
    for field in [1, 0, frame.len(), wire] {
        file.extend(u32::try_from(field).expect("a small number").to_le_bytes());
    }
    file.extend(frame);
    let mut seen = None;
    let mut reader = Reader::new(&file).expect("a capture");
    reader.for_each(|packet| {
        let length = usize::try_from(packet.segment.length).expect("a small segment");
        seen = Some((packet.segment.timestamps, packet.window_scale, length, packet.payload.to_vec()));
    });
    seen
}
