//! The one shape that nearly all frames have.

use super::segment;
use crate::{Flow, Head, Packet};
use tcp::{Flags, Segment, Seq};

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const TCP: usize = 20;

/// `::ffff:0:0`, where IPv4 lies in IPv6.
pub(super) const MAPPED: u128 = 0xffff_0000_0000;

/// A frame of that shape, and the places in it.
#[derive(Clone, Copy)]
pub(super) struct Found<'f> {
    frame: &'f [u8],
    head: &'f [u8; ETHERNET + IPV4 + TCP],
    /// Where the data begin, how many there are, and where what was captured of them ends.
    data: usize,
    length: u32,
    end: usize,
}

/// Finds an Ethernet frame with IPv4 without options, not fragmented, with a whole TCP header. `None` for anything
/// else, and for whatever is odd; the layers look at that.
#[inline]
pub(super) fn ethernet_ipv4_tcp(frame: &[u8], on_wire: usize) -> Option<Found<'_>> {
    let head: &[u8; ETHERNET + IPV4 + TCP] = frame.first_chunk()?;
    // The type and the version with the header's length; more fragments or an offset; the protocol.
    let shape = u32::from_be_bytes([0, head[12], head[13], head[14]]);
    let fragment = u16::from_be_bytes([head[20], head[21]]) & 0x3fff;
    if shape != 0x0008_0045 || fragment != 0 || head[23] != 6 {
        return None;
    }
    let total = usize::from(u16::from_be_bytes([head[16], head[17]])).min(on_wire.checked_sub(ETHERNET)?);
    let header = usize::from(head[46] >> 4) * 4;
    let length = total.checked_sub(IPV4 + header)?;
    if header < TCP {
        return None;
    }
    let length = u32::try_from(length).ok()?;
    Some(Found {
        frame,
        head,
        data: ETHERNET + IPV4 + header,
        length,
        end: frame.len().min(ETHERNET + total),
    })
}

impl<'f> Found<'f> {
    /// Who sends to whom, and what kind of segment.
    #[inline]
    pub(super) fn head(&self, time_ns: i64) -> Head {
        Head { time_ns, flow: self.flow(), context: 0, flags: Flags::from_bits(self.head[47]) }
    }

    #[inline]
    fn flow(&self) -> Flow {
        let head = self.head;
        let short = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let long = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        Flow {
            source: MAPPED | u128::from(long(26)),
            destination: MAPPED | u128::from(long(30)),
            source_port: short(34),
            destination_port: short(36),
        }
    }

    /// As the layers would give it.
    #[inline]
    pub(super) fn packet(self, number: u64, file: u16, time_ns: i64, cut: bool) -> Packet<'f> {
        let Self { frame, head, data, length, end } = self;
        let short = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let long = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let flags = Flags::from_bits(head[47]);
        let options = frame.get(ETHERNET + IPV4 + TCP..data.min(end)).unwrap_or_default();
        let options = segment::options(options, flags);
        Packet {
            number,
            file,
            time_ns,
            flow: self.flow(),
            context: 0,
            segment: Segment {
                flags,
                seq: Seq::new(long(38)),
                ack: Seq::new(long(42)),
                length,
                window: short(48),
                timestamps: options.timestamps(),
            },
            window_scale: options.window_scale(),
            payload: frame.get(data..end).unwrap_or_default(),
            ip_id: short(18),
            ttl: head[22],
            cut,
        }
    }
}
