//! The format of Solaris' snoop (RFC 1761).

use super::{LARGEST_PACKET, Order, Record, Refused, Step, nanoseconds, too_large};
use crate::link::Link;

pub(crate) const MAGIC: &[u8] = b"snoop\0\0\0";
const FILE_HEADER: usize = 16;
const RECORD_HEADER: usize = 24;
/// Padding that a record may have; RFC 1761 asks for a multiple of 4.
const MOST_PADDING: u32 = 8_192;

/// A file of snoop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Snoop {
    link: Link,
    dropped: u32,
}

impl Snoop {
    pub(crate) fn of(bytes: &[u8]) -> Result<(Self, usize), Refused> {
        let (Some(version), Some(kind)) = (Order::Big.u32_at(bytes, 8), Order::Big.u32_at(bytes, 12)) else {
            return Err(Refused::Short("snoop"));
        };
        if version != 2 {
            return Err(Refused::Variant(format!("snoop file of version {version}; version 2 is known")));
        }
        // RFC 1761 section 3, and <https://www.iana.org/assignments/snoop-datalink-types>.
        let link = match kind {
            0 | 4 => Link::ETHERNET,
            2 => Link::TOKEN_RING,
            8 => Link::FDDI,
            18 => Link::SUNATM,
            26 => Link::IPNET,
            _ => Link::UNKNOWN,
        };
        Ok((Self { link, dropped: 0 }, FILE_HEADER))
    }

    pub(crate) fn dropped(self) -> u64 {
        self.dropped.into()
    }

    pub(crate) fn step(&mut self, bytes: &[u8], at: usize) -> Step {
        let Some(header) = bytes.get(at..).and_then(|rest| rest.first_chunk::<RECORD_HEADER>()) else {
            return Step::More { need: RECORD_HEADER };
        };
        let number =
            |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (original, captured, length) = (number(0), number(4), number(8));
        if captured > LARGEST_PACKET {
            return too_large(captured);
        }
        let smallest = captured + 24;
        if !(smallest..=smallest + MOST_PADDING).contains(&length) {
            return Step::Broken(format!("a record of {length} bytes for {captured} of a packet").into());
        }
        let next = at + length as usize;
        if next > bytes.len() {
            return Step::More { need: next - at };
        }
        // The count is that since the capture began.
        self.dropped = number(12);
        let time_ns = nanoseconds(i64::from(number(16)), i64::from(number(20)) * 1_000);
        let start = at + RECORD_HEADER;
        let original = original.max(captured);
        Step::Frame { record: Record { time_ns, link: self.link, start, captured, original }, next }
    }
}
