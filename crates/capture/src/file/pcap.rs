//! The classic format of libpcap, with its relatives
//! (<https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-05.html>).

use super::{LARGEST_PACKET, Order, Record, Refused, Step, nanoseconds, too_large};
use crate::link::Link;

/// Bytes of the header of a file.
const FILE_HEADER: usize = 24;
const MAGIC_MICROSECONDS: u32 = 0xa1b2_c3d4;
const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
/// Alexey Kuznetsov's patches of 1999: records carry interface, protocol and packet type besides.
const MAGIC_MODIFIED: u32 = 0xa1b2_cd34;

/// Whether the two lengths of a record are in the wrong order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lengths {
    AsWritten,
    Swapped,
    /// Swapped if the captured one would be the larger.
    Perhaps,
}

/// What the first two records of a file look like if their headers have a certain size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// They make sense, or the file ends behind one of them.
    Fits,
    /// The file ends within one of them.
    Cut,
    /// They make no sense.
    Odd,
}

/// How the records of a file are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pcap {
    order: Order,
    /// Nanoseconds of one unit of the fraction.
    unit: i64,
    lengths: Lengths,
    /// Bytes of a record's header.
    header: usize,
    link: Link,
}

impl Pcap {
    /// Bytes from the start that tell which variant a file is. A plain one needs no more than its header, so that
    /// a stream of it, which may be a capture that goes on, is not waited for.
    pub(crate) fn enough(start: &[u8]) -> usize {
        let modified =
            |magic| [Order::Little, Order::Big].iter().any(|order| order.u32(magic) == MAGIC_MODIFIED);
        match start.first_chunk() {
            Some(magic) if modified(*magic) => FILE_HEADER + 2 * (28 + LARGEST_PACKET as usize),
            _ => FILE_HEADER,
        }
    }

    /// `None` if this is no such file.
    pub(crate) fn of(bytes: &[u8], whole: bool) -> Option<Result<(Self, usize), Refused>> {
        let magic: [u8; 4] = *bytes.first_chunk()?;
        let known = |magic| matches!(magic, MAGIC_MICROSECONDS | MAGIC_NANOSECONDS | MAGIC_MODIFIED);
        let order = [Order::Little, Order::Big].into_iter().find(|order| known(order.u32(magic)))?;
        let Some(header) = bytes.first_chunk::<FILE_HEADER>() else {
            return Some(Err(Refused::Short("pcap")));
        };
        let magic = order.u32(magic);
        let (major, minor) = (order.u16([header[4], header[5]]), order.u16([header[6], header[7]]));
        // libpcap sf-pcap.c, pcap_check_header(): before 2.3, and in 2.543 of DG/UX, lengths were swapped; in 2.3 some.
        let lengths = match (major, minor) {
            (2, 0..=2 | 543) => Lengths::Swapped,
            (2, 3) => Lengths::Perhaps,
            (2, _) => Lengths::AsWritten,
            _ => {
                return Some(Err(Refused::Variant(format!(
                    "pcap file of version {major}.{minor}; version 2 is known"
                ))));
            }
        };
        // The upper bits tell of frame check sequences (draft, section 4).
        let link = order.u32([header[20], header[21], header[22], header[23]]) & 0x03ff_ffff;
        let unit = if magic == MAGIC_NANOSECONDS { 1 } else { 1_000 };
        let mut pcap = Self { order, unit, lengths, header: 16, link: Link(link) };
        // Wireshark libpcap.c, libpcap_open(): the same magics stand for records with other headers, which only
        // the records can tell. 24 and 28 are Kuznetsov's, 20 is Nokia's.
        let headers: &[usize] = match magic {
            MAGIC_MODIFIED => &[24, 28],
            MAGIC_MICROSECONDS if whole => &[16, 24, 20],
            _ => &[16],
        };
        pcap.header = headers[0];
        if pcap.shape(bytes) == Shape::Odd {
            let fits = |size: &&usize| Self { header: **size, ..pcap }.shape(bytes) == Shape::Fits;
            pcap.header = *headers.iter().find(fits).unwrap_or(&headers[0]);
        }
        Some(Ok((pcap, FILE_HEADER)))
    }

    /// What the first two records look like.
    fn shape(&self, bytes: &[u8]) -> Shape {
        const YEAR_NS: u64 = 366 * 86_400 * 1_000_000_000;
        let mut at = FILE_HEADER;
        let mut time = None;
        for _ in 0..2 {
            let number = |place: usize| self.order.u32_at(bytes, at + place).map_or(0, i64::from);
            match self.step(bytes, at) {
                Step::Frame { record, next } => {
                    // More bytes than were on the wire, or than any wire carries at once, are no lengths; and
                    // fractions of a second are below a second, and packets in a row not years apart.
                    let apart = record.time_ns.abs_diff(*time.get_or_insert(record.time_ns));
                    let odd = record.original > 64 * LARGEST_PACKET
                        || (self.lengths == Lengths::AsWritten && number(8) > number(12))
                        || number(4) * self.unit >= 1_000_000_000
                        || apart > YEAR_NS;
                    if odd {
                        return Shape::Odd;
                    }
                    at = next;
                }
                Step::More { .. } if at == bytes.len() => break,
                Step::More { .. } => return Shape::Cut,
                _ => return Shape::Odd,
            }
        }
        Shape::Fits
    }

    #[inline]
    pub(crate) fn step(&self, bytes: &[u8], at: usize) -> Step {
        let Some(header) = bytes.get(at..).and_then(|rest| rest.first_chunk::<16>()) else {
            return Step::More { need: self.header };
        };
        let number = |at: usize| self.order.u32([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (mut captured, mut original) = (number(8), number(12));
        if self.lengths != Lengths::AsWritten && (self.lengths == Lengths::Swapped || captured > original) {
            std::mem::swap(&mut captured, &mut original);
        }
        if captured > LARGEST_PACKET {
            return too_large(captured);
        }
        let start = at + self.header;
        let next = start + captured as usize;
        if next > bytes.len() {
            return Step::More { need: next - at };
        }
        let time_ns = nanoseconds(i64::from(number(0)), i64::from(number(4)) * self.unit);
        let original = original.max(captured);
        Step::Frame { record: Record { time_ns, link: self.link, start, captured, original }, next }
    }
}
