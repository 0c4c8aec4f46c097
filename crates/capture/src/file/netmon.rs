//! The format of Microsoft's Network Monitor 2 and 3. A table of offsets lies anywhere in the file, mostly at its end.

use super::{LARGEST_PACKET, Order, Record, Refused, Step, nanoseconds, too_large};
use crate::link::Link;

pub(crate) const MAGIC: &[u8] = b"GMBU";
const FILE_HEADER: usize = 32;
const RECORD_HEADER: usize = 16;

/// A file of Network Monitor; its records are found through its table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NetMon {
    minor: u8,
    network: u16,
    /// Nanoseconds since 1970 at which the capture began; its clock is the local one of that machine.
    started: i64,
    /// Where in the file the next offset lies, and how many are left.
    table: usize,
    left: usize,
}

impl NetMon {
    pub(crate) fn of(bytes: &[u8]) -> Result<(Self, usize), Refused> {
        let Some(header) = bytes.first_chunk::<FILE_HEADER>() else {
            return Err(Refused::Short("Microsoft Network Monitor 2"));
        };
        let short = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let long =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (minor, major) = (header[4], header[5]);
        if major != 2 {
            let text =
                format!("Microsoft Network Monitor file of version {major}.{minor}; version 2 is known");
            return Err(Refused::Variant(text));
        }
        let (year, month, day) = (short(8), short(10), short(14));
        let of_day = i64::from(short(16)) * 3_600 + i64::from(short(18)) * 60 + i64::from(short(20));
        let seconds = days_since_1970(year.into(), month.into(), day.into()) * 86_400 + of_day;
        let started = nanoseconds(seconds, i64::from(short(22)) * 1_000_000);
        let left = long(28) as usize / 4;
        Ok((Self { minor, network: short(6), started, table: long(24) as usize, left }, FILE_HEADER))
    }

    /// `bytes` must be the whole file.
    pub(crate) fn step(&mut self, bytes: &[u8], at: usize) -> Step {
        if self.left == 0 {
            return Step::End;
        }
        let Some(at_record) = Order::Little.u32_at(bytes, self.table) else {
            return Step::Broken("the table of its packets is cut short".into());
        };
        let offset = at_record as usize;
        let Some(header) = bytes.get(offset..).and_then(|rest| rest.first_chunk::<RECORD_HEADER>()) else {
            return Step::Broken("a packet that begins beyond the end of the file".into());
        };
        let number =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (original, captured) = (number(8), number(12));
        if captured > LARGEST_PACKET {
            return too_large(captured);
        }
        let start = offset + RECORD_HEADER;
        let end = start + captured as usize;
        if end > bytes.len() {
            return Step::Broken("a packet that reaches beyond the end of the file".into());
        }
        self.table += 4;
        self.left -= 1;
        // From 2.1 on each packet says behind its bytes what it is, and from 2.3 on also when, in 100 ns since 1601.
        let network = match self.minor {
            0 => Some(self.network),
            _ => Order::Little.u16_at(bytes, end),
        };
        let micros = i64::from(number(4)) << 32 | i64::from(number(0));
        let relative = self.started.saturating_add(micros.saturating_mul(1_000));
        let stamp =
            bytes.get(end + 6..).and_then(|rest| rest.first_chunk()).map(|eight| i64::from_le_bytes(*eight));
        let time_ns = match stamp {
            Some(since_1601) if self.minor >= 3 => since_1601.saturating_sub(EPOCH_1601).saturating_mul(100),
            _ => relative,
        };
        let record =
            Record { time_ns, link: link(network), start, captured, original: original.max(captured) };
        // The position only ever grows; it tells how far one is, no more.
        Step::Frame { record, next: at.max(end) }
    }
}

/// 1970 in units of 100 ns since 1601.
const EPOCH_1601: i64 = 116_444_736_000_000_000;

/// Wireshark netmon.c, `netmon_encap`.
fn link(network: Option<u16>) -> Link {
    match network {
        Some(1) => Link::ETHERNET,
        Some(2) => Link::TOKEN_RING,
        Some(3) => Link::FDDI,
        Some(4) => Link::ATM_RFC1483,
        // Native 802.11 has a header of its own before the frame; it is left alone.
        Some(8) => Link::RAW,
        // Made by pcap, by LINKTYPE (0xE000 and up).
        Some(number @ 0xe000..=0xefff) => Link(u32::from(number & 0xfff)),
        _ => Link::UNKNOWN,
    }
}

/// Of a date of the Gregorian calendar.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Howard Hinnant, days_from_civil: years begin in March.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_count_from_1970() {
        assert_eq!(days_since_1970(1970, 1, 1), 0);
        assert_eq!(days_since_1970(2000, 3, 1), 11_017);
        assert_eq!(days_since_1970(2010, 2, 9), 14_649);
        assert_eq!(days_since_1970(1969, 12, 31), -1);
    }
}
