//! Fragments of IP, put together with bounded memory.

use super::Context;
use std::collections::{BTreeMap, VecDeque};

/// Bytes held for datagrams that are not complete.
const MOST_BYTES: usize = 4 << 20;
/// Such datagrams.
const MOST_DATAGRAMS: usize = 4_096;
/// How long a datagram may wait: linux v6.12 include/net/ip.h `IP_FRAG_TIME`, 30 s; twice that for IPv6
/// (RFC 8200 section 4.5), which is taken for both.
const LIFETIME_NS: i64 = 60_000_000_000;
/// No datagram is longer.
const LARGEST: usize = 65_535;

/// Which datagram a fragment belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Datagram {
    pub(super) context: Context,
    pub(super) source: u128,
    pub(super) destination: u128,
    pub(super) protocol: u8,
    /// 16 bits for IPv4, 32 for IPv6.
    pub(super) id: u32,
}

/// Datagrams that wait for the rest of them.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    waiting: BTreeMap<Datagram, Waiting>,
    /// In order of arrival, with the serial number that each had; those complete by now are passed over.
    order: VecDeque<(u64, Datagram)>,
    bytes: usize,
    serial: u64,
    given_up: u64,
}

#[derive(Debug)]
struct Waiting {
    serial: u64,
    since_ns: i64,
    data: Vec<u8>,
    /// What has arrived, as ranges that neither overlap nor touch, in order.
    have: Vec<(usize, usize)>,
    total: Option<usize>,
}

impl Fragments {
    /// Takes a fragment; gives the datagram that it completes. Where fragments overlap the first bytes stand.
    pub(super) fn add(
        &mut self,
        datagram: Datagram,
        time_ns: i64,
        offset: usize,
        more: bool,
        bytes: &[u8],
    ) -> Option<Vec<u8>> {
        let end = offset + bytes.len();
        if end > LARGEST || (bytes.is_empty() && more) {
            return None;
        }
        let old = self.waiting.get(&datagram).is_some_and(|one| {
            // Times may go back in a capture, but not for long.
            time_ns.saturating_sub(one.since_ns).saturating_abs() > LIFETIME_NS
        });
        if old {
            self.give_up(datagram);
        }
        let one = self.waiting.entry(datagram).or_insert_with(|| {
            self.serial += 1;
            self.order.push_back((self.serial, datagram));
            Waiting {
                serial: self.serial,
                since_ns: time_ns,
                data: Vec::new(),
                have: Vec::new(),
                total: None,
            }
        });
        self.bytes -= one.data.len();
        one.place(offset, bytes);
        self.bytes += one.data.len();
        if !more {
            // A last fragment that comes again with another end changes nothing.
            one.total.get_or_insert(end);
        }
        if let Some(total) = one.total
            && one.have.first().is_some_and(|(start, end)| *start == 0 && *end >= total)
        {
            let mut whole = self.take(datagram)?.data;
            whole.truncate(total);
            return Some(whole);
        }
        self.make_room();
        None
    }

    /// Datagrams that were given up.
    pub(super) fn given_up(&self) -> u64 {
        self.given_up
    }

    /// Datagrams that still wait.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.len() as u64
    }

    fn take(&mut self, datagram: Datagram) -> Option<Waiting> {
        let one = self.waiting.remove(&datagram)?;
        self.bytes -= one.data.len();
        Some(one)
    }

    fn give_up(&mut self, datagram: Datagram) {
        self.given_up += u64::from(self.take(datagram).is_some());
    }

    /// Gives up the oldest until the rest fits.
    fn make_room(&mut self) {
        while self.bytes > MOST_BYTES || self.waiting.len() > MOST_DATAGRAMS {
            let Some((serial, datagram)) = self.order.pop_front() else { break };
            if self.waiting.get(&datagram).is_some_and(|one| one.serial == serial) {
                self.give_up(datagram);
            }
        }
        // Those complete by now must not pile up in the order.
        if self.order.len() > 2 * MOST_DATAGRAMS {
            let waiting = &self.waiting;
            self.order
                .retain(|(serial, datagram)| waiting.get(datagram).is_some_and(|one| one.serial == *serial));
        }
    }
}

impl Waiting {
    /// Fills the gaps between what is there already.
    fn place(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if self.data.len() < end {
            self.data.resize(end, 0);
        }
        let mut from = offset;
        for (start, stop) in &self.have {
            if from < *start && from < end {
                let to = end.min(*start);
                self.data[from..to].copy_from_slice(&bytes[from - offset..to - offset]);
            }
            from = from.max(*stop);
        }
        if from < end {
            self.data[from..end].copy_from_slice(&bytes[from - offset..]);
        }
        // The new range takes in all that it touches.
        let first = self.have.partition_point(|(_, stop)| *stop < offset);
        let last = self.have.partition_point(|(start, _)| *start <= end);
        let touched = &self.have[first..last];
        let start = touched.first().map_or(offset, |(start, _)| offset.min(*start));
        let stop = touched.last().map_or(end, |(_, stop)| end.max(*stop));
        self.have.splice(first..last, [(start, stop)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn datagram(id: u32) -> Datagram {
        Datagram { context: Context::default(), source: 1, destination: 2, protocol: 6, id }
    }

    #[test]
    fn a_datagram_is_complete_in_any_order() {
        let mut fragments = Fragments::default();
        assert_eq!(fragments.add(datagram(1), 0, 16, false, &[3; 4]), None);
        assert_eq!(fragments.add(datagram(1), 0, 0, true, &[1; 8]), None);
        assert_eq!(fragments.add(datagram(2), 0, 8, true, &[9; 8]), None, "another datagram");
        let whole = fragments.add(datagram(1), 0, 8, true, &[2; 8]).unwrap();
        assert_eq!(whole, [1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3]);
        assert_eq!((fragments.waiting(), fragments.bytes), (1, 16));
    }

    #[test]
    fn the_first_bytes_stand_where_fragments_overlap() {
        let mut fragments = Fragments::default();
        assert_eq!(fragments.add(datagram(1), 0, 8, true, &[2; 8]), None);
        assert_eq!(fragments.add(datagram(1), 0, 24, false, &[4; 8]), None);
        assert_eq!(fragments.add(datagram(1), 0, 0, true, &[7; 32]).unwrap()[4..26], {
            let mut expected = [7; 22];
            expected[4..12].fill(2);
            expected[20..].fill(4);
            expected
        });
    }

    #[test]
    fn old_fragments_are_not_joined_to_new_ones() {
        let mut fragments = Fragments::default();
        assert_eq!(fragments.add(datagram(1), 0, 0, true, &[1; 8]), None);
        assert_eq!(fragments.add(datagram(1), LIFETIME_NS + 1, 8, false, &[2; 8]), None);
        assert_eq!((fragments.given_up(), fragments.waiting()), (1, 1));
    }

    #[test]
    fn memory_is_bounded() {
        let mut fragments = Fragments::default();
        let newest = 6_000 - u32::try_from(MOST_DATAGRAMS).unwrap();
        for id in 0..6_000 {
            // Each asks for the largest buffer there is.
            assert_eq!(fragments.add(datagram(id), 0, 65_520, false, &[0; 8]), None);
            assert!(fragments.bytes <= MOST_BYTES + LARGEST && fragments.waiting.len() <= MOST_DATAGRAMS);
        }
        for id in 0..6_000 {
            assert_eq!(fragments.add(datagram(id), 0, 0, true, &[0; 8]), None);
            let end = fragments.add(datagram(id), 0, 8, false, &[0; 8]);
            assert!(end.is_some() || id >= newest, "{id}");
        }
        assert!(fragments.order.len() <= 3 * MOST_DATAGRAMS, "{}", fragments.order.len());
    }

    proptest! {
        #[test]
        fn whatever_arrives_ranges_stay_apart_and_in_order(
            pieces in proptest::collection::vec((0usize..64, 1usize..64, any::<bool>()), 1..40)
        ) {
            let mut fragments = Fragments::default();
            let mut covered = [None; 128];
            for (serial, (offset, length, more)) in pieces.into_iter().enumerate() {
                let mark = u8::try_from(serial).unwrap();
                let whole = fragments.add(datagram(1), 0, offset, more, &vec![mark; length]);
                for place in &mut covered[offset..offset + length] {
                    place.get_or_insert(mark);
                }
                if let Some(whole) = whole {
                    let expected: Vec<_> = covered.iter().map_while(|mark| *mark).take(whole.len()).collect();
                    prop_assert_eq!(whole, expected);
                    covered = [None; 128];
                } else {
                    let one = &fragments.waiting[&datagram(1)];
                    prop_assert!(one.have.windows(2).all(|pair| pair[0].1 < pair[1].0), "{:?}", one.have);
                    for (place, mark) in covered.iter().enumerate() {
                        let there = one.have.iter().any(|(start, stop)| (*start..*stop).contains(&place));
                        prop_assert_eq!(there, mark.is_some());
                    }
                }
            }
        }
    }
}
