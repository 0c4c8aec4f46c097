//! The one shape that nearly all frames have.

use super::segment;
use crate::{Flow, Packet};
use tcp::{Flags, Segment, Seq};

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const TCP: usize = 20;

/// `::ffff:0:0`, where IPv4 lies in IPv6.
pub(super) const MAPPED: u128 = 0xffff_0000_0000;

/// The segment of an Ethernet frame with IPv4 without options, not fragmented, with a whole TCP header. `None` for
/// anything else, and for whatever is odd; the layers look at that. Number, file, time and cut are left open.
#[inline]
pub(super) fn ethernet_ipv4_tcp(frame: &[u8], on_wire: usize) -> Option<Packet<'_>> {
    let head: &[u8; ETHERNET + IPV4 + TCP] = frame.first_chunk()?;
    let short = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let long = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    // The type and the version with the header's length; more fragments or an offset; the protocol.
    if long(12) >> 8 != 0x0008_0045 || short(20) & 0x3fff != 0 || head[23] != 6 {
        return None;
    }
    let total = usize::from(short(16)).min(on_wire.wrapping_sub(ETHERNET));
    let header = usize::from(head[46] >> 4) * 4;
    let data = ETHERNET + IPV4 + header;
    let length = total.checked_sub(IPV4 + header)?;
    if header < TCP {
        return None;
    }
    let end = frame.len().min(ETHERNET + total);
    let options = frame.get(ETHERNET + IPV4 + TCP..data.min(end))?;
    let flags = Flags::from_bits(head[47]);
    let (timestamps, window_scale) = segment::options(options, flags);
    Some(Packet {
        flow: Flow {
            source: MAPPED | u128::from(long(26)),
            destination: MAPPED | u128::from(long(30)),
            source_port: short(34),
            destination_port: short(36),
        },
        segment: Segment {
            flags,
            seq: Seq::new(long(38)),
            ack: Seq::new(long(42)),
            #[expect(clippy::cast_possible_truncation, reason = "at most 65,535 by the field of IPv4")]
            length: length as u32,
            window: short(48),
            timestamps,
        },
        window_scale,
        payload: frame.get(data..end).unwrap_or_default(),
        ip_id: short(18),
        ttl: head[22],
        ..Packet::default()
    })
}
