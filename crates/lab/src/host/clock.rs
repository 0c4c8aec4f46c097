//! A timestamp clock of a host's own. All namespaces share the kernel's clock; on a host whose clock is ahead, each
//! segment's timestamps are changed on the way between it and the network.

/// The length of a frame's header.
pub(super) const ETHERNET: usize = 14;
const TCP: u8 = 6;

/// Which of the two timestamps of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// TSval, of a segment that goes out.
    Value,
    /// TSecr, of one that comes in.
    Echo,
}

/// Changes the timestamp in a frame, if there is one.
pub(super) fn shift(frame: &mut [u8], which: Which, by: u32) -> Option<()> {
    let ip = match frame.get(12..ETHERNET)? {
        [0x08, 0x00] => {
            let header = usize::from(frame.get(ETHERNET)? & 15) * 4;
            let length = usize::from(u16::from_be_bytes([*frame.get(16)?, *frame.get(17)?]));
            (*frame.get(ETHERNET + 9)? == TCP).then_some((header, length, ETHERNET + 12..ETHERNET + 20))?
        }
        [0x86, 0xdd] => {
            let length = usize::from(u16::from_be_bytes([*frame.get(18)?, *frame.get(19)?]));
            (*frame.get(ETHERNET + 6)? == TCP).then_some((40, 40 + length, ETHERNET + 8..ETHERNET + 40))?
        }
        _ => return None,
    };
    let (header, length, addresses) = ip;
    let mut sum = u32::from(TCP) + u32::try_from(length.checked_sub(header)?).ok()?;
    sum += words(frame.get(addresses)?);
    let tcp = frame.get_mut(ETHERNET + header..ETHERNET + length)?;
    let options = usize::from(tcp.get(12)? >> 4) * 4;
    if which == Which::Echo && tcp.get(13)? & 16 == 0 {
        return None;
    }
    let mut at = 20;
    while at < options {
        match tcp.get(at)? {
            0 => return None,
            1 => at += 1,
            8 if tcp.get(at + 1) == Some(&10) => break,
            _ => at += usize::from(*tcp.get(at + 1)?).max(2),
        }
    }
    if at >= options {
        return None;
    }
    let at = at + if which == Which::Value { 2 } else { 6 };
    let field = tcp.get_mut(at..at + 4)?;
    let value = u32::from_be_bytes(field.try_into().ok()?).wrapping_add(by);
    field.copy_from_slice(&value.to_be_bytes());
    tcp.get_mut(16..18)?.fill(0);
    sum += words(tcp);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let checksum = !u16::try_from(sum).ok()?;
    tcp.get_mut(16..18)?.copy_from_slice(&checksum.to_be_bytes());
    Some(())
}

/// The sum of 16-bit words, the last one filled up.
fn words(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |byte| u32::from(*byte))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::differential::{Tuple, decode, encode};
    use tcp::{Flags, Segment, Seq, Timestamps};

    fn frame(segment: &Segment) -> Vec<u8> {
        let tuple = Tuple { local: "10.1.1.1:80".parse().unwrap(), peer: "10.1.2.1:40000".parse().unwrap() };
        let mut frame = vec![0; 12];
        frame.extend([0x08, 0x00]);
        frame.extend(encode(tuple, segment));
        frame
    }

    fn shifted(segment: &Segment, which: Which, by: u32) -> Segment {
        let mut bytes = frame(segment);
        shift(&mut bytes, which, by);
        let now = decode(&bytes[ETHERNET..]).unwrap().1;
        // The checksum is right if it is the one that the encoder makes of what is there now.
        assert_eq!(bytes, frame(&now));
        now
    }

    #[test]
    fn the_value_of_what_goes_out_and_the_echo_of_what_comes_in_are_moved() {
        let timestamps = Some(Timestamps { value: 100, echo: 50 });
        let data =
            Segment { flags: Flags::ACK, seq: Seq::new(1), length: 7, timestamps, ..Segment::default() };
        let out = shifted(&data, Which::Value, 3_600_000).timestamps.unwrap();
        assert_eq!((out.value, out.echo), (3_600_100, 50));
        let back = shifted(&data, Which::Echo, 60_u32.wrapping_neg()).timestamps.unwrap();
        assert_eq!((back.value, back.echo), (100, 10_u32.wrapping_neg()));
        // A SYN echoes nothing.
        let syn = Segment { flags: Flags::SYN, ..data };
        assert_eq!(shifted(&syn, Which::Echo, 9), syn);
        assert_eq!(shifted(&Segment { timestamps: None, ..data }, Which::Value, 9).timestamps, None);
    }

    #[test]
    fn frames_that_are_cut_or_something_else_stay_as_they_are() {
        let whole = frame(&Segment {
            flags: Flags::ACK,
            timestamps: Some(Timestamps { value: 1, echo: 2 }),
            ..Segment::default()
        });
        for length in 0..whole.len() {
            let mut cut = whole[..length].to_vec();
            shift(&mut cut, Which::Value, 5);
            assert_eq!(cut, whole[..length]);
        }
        let mut arp = whole.clone();
        arp[13] = 6;
        let before = arp.clone();
        shift(&mut arp, Which::Value, 5);
        assert_eq!(arp, before);
    }
}
