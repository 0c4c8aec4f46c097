//! Who talks to whom, with the lower end first: both directions of a connection have the same key.

use crate::Flow;
use foldhash::fast::FixedState;
use std::hash::{BuildHasher as _, Hasher as _};

/// Which of the two ends of a key: 0 is the lower (address, port), 1 the higher.
pub(crate) type Side = usize;

/// The normalised tuple of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tuple {
    pub(crate) addresses: [u128; 2],
    pub(crate) ports: [u16; 2],
    /// Where the packet was seen, if equal tuples can be different connections there.
    pub(crate) context: u32,
}

const V4_MAPPED: u128 = 0xffff;

const fn is_v4(address: u128) -> bool {
    address >> 32 == V4_MAPPED
}

impl Tuple {
    /// The tuple of a flow, and the side that sends.
    pub(crate) fn of(flow: &Flow, context: u32) -> (Self, Side) {
        let forward = (flow.source, flow.source_port) <= (flow.destination, flow.destination_port);
        let (addresses, ports) = if forward {
            ([flow.source, flow.destination], [flow.source_port, flow.destination_port])
        } else {
            ([flow.destination, flow.source], [flow.destination_port, flow.source_port])
        };
        (Self { addresses, ports, context }, Side::from(!forward))
    }

    /// Both addresses in 32 bits each, if both are IPv4.
    #[expect(clippy::cast_possible_truncation, reason = "the upper bits are those of a mapped address")]
    pub(crate) const fn narrow(&self) -> Option<[u32; 2]> {
        let [low, high] = self.addresses;
        if is_v4(low) && is_v4(high) { Some([low as u32, high as u32]) } else { None }
    }

    /// A hash of 32 bits, the same for both directions.
    #[expect(clippy::cast_possible_truncation, reason = "half of a hash is a hash")]
    pub(crate) fn hash(&self, state: &FixedState) -> u32 {
        let mut hasher = state.build_hasher();
        if let Some([low, high]) = self.narrow() {
            hasher.write_u64(u64::from(low) << 32 | u64::from(high));
        } else {
            hasher.write_u128(self.addresses[0]);
            hasher.write_u128(self.addresses[1]);
        }
        let [low, high] = self.ports;
        // Without the context: the two directions of a connection may bear different ones.
        hasher.write_u32(u32::from(low) << 16 | u32::from(high));
        let hash = hasher.finish();
        (hash ^ hash >> 32) as u32
    }
}

/// The key as it is kept: 16 bytes for IPv4; for IPv6 the addresses lie in [`Wide`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// IPv4 addresses, or the index into [`Wide`] and 0.
    addresses: [u32; 2],
    ports: [u16; 2],
    context: u32,
}

impl Key {
    /// Where its first packet was seen.
    pub(crate) const fn context(&self) -> u32 {
        self.context
    }
}

/// Addresses that do not fit into 32 bits each.
#[derive(Debug, Default)]
pub(crate) struct Wide {
    pairs: Vec<[u128; 2]>,
    free: Vec<u32>,
}

impl Wide {
    /// Keeps a tuple; true beside the key if it is wide.
    pub(crate) fn keep(&mut self, tuple: &Tuple) -> (Key, bool) {
        let (ports, context) = (tuple.ports, tuple.context);
        if let Some(addresses) = tuple.narrow() {
            return (Key { addresses, ports, context }, false);
        }
        let index = if let Some(index) = self.free.pop() {
            self.pairs[index as usize] = tuple.addresses;
            index
        } else {
            self.pairs.push(tuple.addresses);
            // There are fewer pairs than connections, and those are counted in 32 bits.
            u32::try_from(self.pairs.len() - 1).unwrap_or(u32::MAX)
        };
        (Key { addresses: [index, 0], ports, context }, true)
    }

    /// Gives the place of a wide key back.
    pub(crate) fn release(&mut self, key: &Key) {
        self.free.push(key.addresses[0]);
    }

    /// The tuple of a kept key.
    pub(crate) fn tuple(&self, key: &Key, wide: bool) -> Tuple {
        let addresses = if wide {
            self.pairs.get(key.addresses[0] as usize).copied().unwrap_or_default()
        } else {
            key.addresses.map(|address| V4_MAPPED << 32 | u128::from(address))
        };
        Tuple { addresses, ports: key.ports, context: key.context }
    }

    /// True if a kept key is that tuple, in whatever context.
    #[inline]
    pub(crate) fn is(&self, key: &Key, wide: bool, tuple: &Tuple) -> bool {
        if key.ports != tuple.ports {
            return false;
        }
        match tuple.narrow() {
            Some(addresses) => !wide && key.addresses == addresses,
            None => wide && self.pairs.get(key.addresses[0] as usize) == Some(&tuple.addresses),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn flow(source: u128, destination: u128, ports: (u16, u16)) -> Flow {
        Flow { source, destination, source_port: ports.0, destination_port: ports.1 }
    }

    proptest! {
        #[test]
        fn both_directions_have_one_key(a: u128, b: u128, v4 in any::<[bool; 2]>(), ports: (u16, u16), context: u32) {
            let squeeze = |address: u128, v4: bool| if v4 { 0xffff_0000_0000 | address & 0xffff_ffff } else { address };
            let (a, b) = (squeeze(a, v4[0]), squeeze(b, v4[1]));
            let (there, sender) = Tuple::of(&flow(a, b, ports), context);
            let (back, answerer) = Tuple::of(&flow(b, a, (ports.1, ports.0)), context);
            prop_assert_eq!(there, back);
            prop_assert!(sender != answerer || (a, ports.0) == (b, ports.1));
            let state = FixedState::with_seed(7);
            prop_assert_eq!(there.hash(&state), back.hash(&state));
            let mut kept = Wide::default();
            let (key, wide) = kept.keep(&there);
            prop_assert_eq!(kept.tuple(&key, wide), there);
            prop_assert!(kept.is(&key, wide, &back));
            let (other, _) = Tuple::of(&flow(a, b, (ports.0, ports.1.wrapping_add(1))), context);
            prop_assert!(!kept.is(&key, wide, &other) || other == there);
            prop_assert_eq!(key.context(), context);
        }
    }
}
