//! The next-generation format (<https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-03.html>).

use super::{LARGEST_PACKET, Order, Record, Refused, Step, nanoseconds, too_large};
use crate::link::Link;

/// The type of a section header block is the same in both byte orders.
pub(crate) const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const INTERFACE_DESCRIPTION: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;
/// Wireshark pcapng.c, `MAX_BLOCK_SIZE`.
const LARGEST_BLOCK: u32 = 16 << 20;
/// Interfaces of one section; no machine has as many, a hostile file might.
const MOST_INTERFACES: usize = 65_536;

/// A file of pcapng, at some block.
#[derive(Debug)]
pub(crate) struct Pcapng {
    order: Order,
    interfaces: Vec<Interface>,
    /// Simple packet blocks have no time: they get that of the packet before.
    last_time: i64,
    /// Of the sections before this one.
    dropped_before: Option<u64>,
}

/// An interface of a section.
#[derive(Clone, Copy, Debug)]
struct Interface {
    link: Link,
    snap_length: u32,
    units: Units,
    /// Seconds to add to each time.
    offset: i64,
    dropped: Option<u64>,
}

/// How fine its times are: units in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Units {
    Microseconds,
    Nanoseconds,
    PerSecond(u64),
    /// 10 to so many minus, or 2: finer than 64 bits can say.
    TooFine,
}

impl Pcapng {
    /// The bytes must begin with a section header block.
    pub(crate) fn of(bytes: &[u8]) -> Result<Self, Refused> {
        let Some(header) = bytes.first_chunk::<28>() else {
            return Err(Refused::Short("pcapng"));
        };
        match section(header) {
            Ok(order) => Ok(Self { order, interfaces: Vec::new(), last_time: 0, dropped_before: None }),
            Err(why) => Err(Refused::Variant(format!("pcapng file with {why}"))),
        }
    }

    pub(crate) fn dropped(&self) -> Option<u64> {
        let here = self.interfaces.iter().filter_map(|interface| interface.dropped);
        here.fold(self.dropped_before, |sum, count| Some(sum.unwrap_or(0).saturating_add(count)))
    }

    #[inline]
    pub(crate) fn step(&mut self, bytes: &[u8], at: usize) -> Step {
        let Some(head) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) else {
            return Step::More { need: 12 };
        };
        let [kind @ .., _, _, _, _] = *head;
        if kind == SECTION_HEADER {
            return self.section_header(bytes, at);
        }
        let kind = self.order.u32(kind);
        let length = self.order.u32([head[4], head[5], head[6], head[7]]);
        let block = match whole_block(bytes, at, length, self.order) {
            Ok(block) => block,
            Err(step) => return step,
        };
        let next = at + length as usize;
        match kind {
            ENHANCED_PACKET => self.enhanced_packet(block, at, next),
            SIMPLE_PACKET => self.simple_packet(block, at, next),
            OBSOLETE_PACKET => self.obsolete_packet(block, at, next),
            INTERFACE_DESCRIPTION => self.interface_description(block, next),
            INTERFACE_STATISTICS => self.interface_statistics(block, next),
            // Wireshark numbers these too: systemd's journal, system calls of Sysdig, and what vendors add.
            0x9 | 0x204 | 0x208 | 0x216 | 0x217 | 0x221 | 0xbad | 0x4000_0bad => {
                let (time_ns, link) = (self.last_time, Link::NOT_A_PACKET);
                Step::Frame { record: Record { time_ns, link, start: at, captured: 0, original: 0 }, next }
            }
            _ => Step::Skip { next },
        }
    }

    #[cold]
    fn section_header(&mut self, bytes: &[u8], at: usize) -> Step {
        let Some(header) = bytes.get(at..).and_then(|rest| rest.first_chunk::<28>()) else {
            return Step::More { need: 28 };
        };
        let order = match section(header) {
            Ok(order) => order,
            Err(why) => return Step::Broken(why.into()),
        };
        let length = order.u32([header[4], header[5], header[6], header[7]]);
        let block = match whole_block(bytes, at, length, order) {
            Ok(block) => block,
            Err(step) => return step,
        };
        if !options_fit(block.get(24..block.len() - 4).unwrap_or_default(), order) {
            return Step::Broken("a section header whose options are longer than it".into());
        }
        self.dropped_before = self.dropped();
        self.interfaces.clear();
        self.order = order;
        Step::Skip { next: at + length as usize }
    }

    #[inline]
    fn enhanced_packet(&mut self, block: &[u8], at: usize, next: usize) -> Step {
        let Some(header) = block.first_chunk::<28>() else {
            return Step::Broken("a packet block too short for its header".into());
        };
        let number = |at: usize| self.order.u32([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let time = u64::from(number(12)) << 32 | u64::from(number(16));
        self.packet(number(8) as usize, time, (number(20), number(24)), (block.len(), 28), at, next)
    }

    fn obsolete_packet(&mut self, block: &[u8], at: usize, next: usize) -> Step {
        let Some(header) = block.first_chunk::<28>() else {
            return Step::Broken("a packet block too short for its header".into());
        };
        let number = |at: usize| self.order.u32([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let interface = usize::from(self.order.u16([header[8], header[9]]));
        let time = u64::from(number(12)) << 32 | u64::from(number(16));
        self.packet(interface, time, (number(20), number(24)), (block.len(), 28), at, next)
    }

    /// `lengths` captured and on the wire, `shape` the bytes of the block and those before the packet.
    #[inline]
    fn packet(
        &mut self,
        interface: usize,
        time: u64,
        lengths: (u32, u32),
        shape: (usize, usize),
        at: usize,
        next: usize,
    ) -> Step {
        let (captured, original) = lengths;
        let Some(interface) = self.interfaces.get(interface) else {
            let known = self.interfaces.len();
            return Step::Broken(format!("a packet of interface {interface}, of {known} described").into());
        };
        if captured > LARGEST_PACKET {
            return too_large(captured);
        }
        if captured as usize + shape.1 + 4 > shape.0 {
            return Step::Broken(format!("a packet of {captured} bytes in a block of {}", shape.0).into());
        }
        let time_ns = interface.nanoseconds(time);
        self.last_time = time_ns;
        let original = original.max(captured);
        let record = Record { time_ns, link: interface.link, start: at + shape.1, captured, original };
        Step::Frame { record, next }
    }

    #[cold]
    fn simple_packet(&mut self, block: &[u8], at: usize, next: usize) -> Step {
        let Some(original) = self.order.u32_at(block, 8).filter(|_| block.len() >= 16) else {
            return Step::Broken("a packet block too short for its header".into());
        };
        let Some(interface) = self.interfaces.first() else {
            return Step::Broken("a packet before any interface is described".into());
        };
        // The captured length is not written: the smaller of the snap length and that on the wire.
        let snap = if interface.snap_length == 0 { u32::MAX } else { interface.snap_length };
        let captured = original.min(snap);
        if captured > LARGEST_PACKET {
            return too_large(captured);
        }
        if captured as usize + 16 > block.len() {
            return Step::Broken(
                format!("a packet of {captured} bytes in a block of {}", block.len()).into(),
            );
        }
        let record =
            Record { time_ns: self.last_time, link: interface.link, start: at + 12, captured, original };
        Step::Frame { record, next }
    }

    #[cold]
    fn interface_description(&mut self, block: &[u8], next: usize) -> Step {
        let (Some(link), Some(snap_length)) = (self.order.u16_at(block, 8), self.order.u32_at(block, 12))
        else {
            return Step::Broken("an interface description too short for its header".into());
        };
        if block.len() < 20 {
            return Step::Broken("an interface description too short for its header".into());
        }
        if self.interfaces.len() == MOST_INTERFACES {
            return Step::Broken(format!("more than {MOST_INTERFACES} interfaces in one section").into());
        }
        let mut interface = Interface {
            link: Link(link.into()),
            snap_length,
            units: Units::Microseconds,
            offset: 0,
            dropped: None,
        };
        for (code, value) in options(&block[16..block.len() - 4], self.order) {
            match (code, value) {
                (IF_TSRESOL, [resolution, ..]) => interface.units = Units::of(*resolution),
                (IF_TSOFFSET, value) => {
                    if let Some(seconds) = self.u64_of(value) {
                        interface.offset = seconds.cast_signed();
                    }
                }
                _ => {}
            }
        }
        self.interfaces.push(interface);
        Step::Skip { next }
    }

    #[cold]
    fn interface_statistics(&mut self, block: &[u8], next: usize) -> Step {
        if let Some(interface) = self.order.u32_at(block, 8)
            && block.len() >= 24
            && let Some(place) = self.interfaces.get(interface as usize)
        {
            // Of the interface (before its buffer) and of the operating system (because the buffer was full).
            let lost = options(&block[20..block.len() - 4], self.order)
                .filter(|(code, _)| matches!(*code, ISB_IFDROP | ISB_OSDROP))
                .filter_map(|(_, value)| self.u64_of(value))
                .reduce(u64::saturating_add);
            // Counts are those since the capture began: the last ones stand.
            let lost = lost.or(place.dropped);
            self.interfaces[interface as usize].dropped = lost;
        }
        Step::Skip { next }
    }

    fn u64_of(&self, value: &[u8]) -> Option<u64> {
        let (first, second) = (self.order.u32_at(value, 0)?, self.order.u32_at(value, 4)?);
        let (high, low) = if self.order == Order::Big { (first, second) } else { (second, first) };
        Some(u64::from(high) << 32 | u64::from(low))
    }
}

const IF_TSRESOL: u16 = 9;
const IF_TSOFFSET: u16 = 14;
const ISB_IFDROP: u16 = 5;
const ISB_OSDROP: u16 = 7;

impl Units {
    /// Of the option `if_tsresol`: a negative power of 10, or of 2 if the top bit is set.
    fn of(resolution: u8) -> Self {
        let exponent = u32::from(resolution & 0x7f);
        let base: u64 = if resolution & 0x80 == 0 { 10 } else { 2 };
        match base.checked_pow(exponent) {
            Some(1_000_000) => Self::Microseconds,
            Some(1_000_000_000) => Self::Nanoseconds,
            Some(units) => Self::PerSecond(units),
            None => Self::TooFine,
        }
    }
}

impl Interface {
    #[inline]
    fn nanoseconds(&self, time: u64) -> i64 {
        let since = match self.units {
            Units::Microseconds => i64::try_from(time).unwrap_or(i64::MAX).saturating_mul(1_000),
            Units::Nanoseconds => i64::try_from(time).unwrap_or(i64::MAX),
            Units::PerSecond(units) => {
                let fraction = u128::from(time % units) * 1_000_000_000 / u128::from(units);
                let seconds = i64::try_from(time / units).unwrap_or(i64::MAX);
                nanoseconds(seconds, i64::try_from(fraction).unwrap_or(0))
            }
            Units::TooFine => 0,
        };
        since.saturating_add(self.offset.saturating_mul(1_000_000_000))
    }
}

/// The byte order of a section, or what is wrong with its header.
fn section(header: &[u8; 28]) -> Result<Order, &'static str> {
    let magic = [header[8], header[9], header[10], header[11]];
    let order = [Order::Little, Order::Big].into_iter().find(|order| order.u32(magic) == BYTE_ORDER_MAGIC);
    let order = order.ok_or("a section header without its byte-order magic")?;
    // 1.0, and 1.2 which some write and which is the same (draft, section 4.1).
    match (order.u16([header[12], header[13]]), order.u16([header[14], header[15]])) {
        (1, 0 | 2) => Ok(order),
        _ => Err("a section of an unknown version"),
    }
}

/// The whole block of such a length at this place, or what to do instead.
#[inline]
fn whole_block(bytes: &[u8], at: usize, length: u32, order: Order) -> Result<&[u8], Step> {
    if length < 12 || !length.is_multiple_of(4) {
        return Err(Step::Broken(format!("a block of {length} bytes").into()));
    }
    if length > LARGEST_BLOCK {
        let why = format!("a block of {length} bytes, more than the {LARGEST_BLOCK} that are read");
        return Err(Step::Broken(why.into()));
    }
    let size = length as usize;
    let Some(block) = bytes[at..].get(..size) else {
        return Err(Step::More { need: size });
    };
    // The length stands at the end too, for reading backwards.
    match order.u32_at(block, size - 4) {
        Some(again) if again == length => Ok(block),
        again => {
            let why = format!("a block of {length} bytes that ends as one of {}", again.unwrap_or(0));
            Err(Step::Broken(why.into()))
        }
    }
}

/// The options in such bytes, up to the end or to the first that does not fit.
fn options(bytes: &[u8], order: Order) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let head = rest.first_chunk::<4>()?;
        let code = order.u16([head[0], head[1]]);
        let length = usize::from(order.u16([head[2], head[3]]));
        let value = rest.get(4..4 + length)?;
        rest = rest.get(4 + length.next_multiple_of(4)..).unwrap_or_default();
        (code != 0).then_some((code, value))
    })
}

/// False if an option reaches beyond these bytes.
fn options_fit(bytes: &[u8], order: Order) -> bool {
    let used: usize = options(bytes, order).map(|(_, value)| 4 + value.len().next_multiple_of(4)).sum();
    let rest = bytes.get(used..).unwrap_or_default();
    // What is left is nothing, the end-of-options mark, or one that does not fit.
    rest.len() < 4 || order.u16_at(rest, 0) == Some(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(units: Units, offset: i64) -> Interface {
        Interface { link: Link::ETHERNET, snap_length: 0, units, offset, dropped: None }
    }

    #[test]
    fn resolutions_are_powers_of_ten_or_two() {
        assert_eq!(Units::of(6), Units::Microseconds);
        assert_eq!(Units::of(9), Units::Nanoseconds);
        assert_eq!(Units::of(0), Units::PerSecond(1));
        assert_eq!(Units::of(0x8a), Units::PerSecond(1_024));
        assert_eq!(Units::of(20), Units::TooFine);
        assert_eq!(Units::of(0xc0), Units::TooFine);
    }

    #[test]
    fn times_are_nanoseconds_whatever_the_resolution() {
        let time = |units, offset, time| interface(units, offset).nanoseconds(time);
        assert_eq!(time(Units::Microseconds, 0, 1_500_000), 1_500_000_000);
        assert_eq!(time(Units::of(0x8a), 0, 1_536), 1_500_000_000);
        assert_eq!(time(Units::of(3), -1, 1_500), 500_000_000);
        assert_eq!(time(Units::of(12), 0, 1_500_000_000_000), 1_500_000_000);
        assert_eq!(time(Units::Microseconds, i64::MAX, u64::MAX), i64::MAX);
    }
}
