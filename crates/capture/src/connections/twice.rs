//! Packets that were captured twice: by a mirror port, by the `any` device, on both ends of a bridge.
//!
//! A copy has the IP identification and the TCP header of an earlier packet and comes within 100 ms; a SYN without
//! an identification (Linux sends SYN-ACKs so) must come within 5 ms. A retransmission has another identification.
//! Bare ACKs need not be told apart. Other packets without an identification (IPv6, atomic fragments) are never taken
//! for copies.

use crate::Packet;
use crate::prefetch::prefetch;
use foldhash::fast::FixedState;
use std::hash::{BuildHasher as _, Hasher as _};
use tcp::Flags;

/// How much later a copy may come, in ticks.
const NEAR: u32 = (100_000_000 >> TICK_BITS) + 1;
/// The same for a SYN without an IP identification.
const NEAR_SYN: u32 = (5_000_000 >> TICK_BITS) + 1;
/// A tick is 2^16 ns.
const TICK_BITS: u32 = 16;
const CLOCK_BITS: u32 = 24;
const CLOCK: u32 = (1 << CLOCK_BITS) - 1;

/// Packets remembered in all, four to a set: 512 KiB, divided among shards, since each sees its part of the packets and
/// what is small stays in the cache. Captures of two ports may be one after the other in a file, so
/// copies can be far behind: with 10,000 packets in between, one in 300 is not known for what it is.
const SETS: usize = 1 << 14;
const WAYS: usize = 4;

/// Where a packet is remembered, and as what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    set: usize,
    entry: u64,
}

/// The packets of the last moments: a fingerprint of 40 bits and the time in ticks in 24, each; in a set the newest
/// first.
#[derive(Debug)]
pub(crate) struct Twice {
    sets: Vec<[u64; WAYS]>,
    state: FixedState,
}

impl Twice {
    /// For one of so many shards.
    pub(crate) fn new(state: FixedState, shards: u32) -> Self {
        Self { sets: vec![[0; WAYS]; (SETS / shards.max(1) as usize).max(1)], state }
    }

    /// The place of a packet of a connection; none if copies of it cannot be told. Best asked for well before it is
    /// needed: what lies there is seldom in the cache, and comes meanwhile. Measured: 3 % of a large capture.
    #[inline]
    pub(crate) fn place(&self, packet: &Packet<'_>, connection: u32, side: usize) -> Option<Place> {
        let place = self.place_of(packet, connection, side)?;
        prefetch(self.sets.get(place.set)?);
        Some(place)
    }

    /// True if the packet with this place was captured before. Needs to be asked only where it brings nothing new.
    pub(crate) fn seen(&self, packet: &Packet<'_>, place: Option<Place>) -> bool {
        let Some(Place { set, entry }) = place else { return false };
        let near = if packet.ip_id == 0 { NEAR_SYN } else { NEAR };
        self.sets[set].iter().any(|known| {
            let apart = ticks(entry).wrapping_sub(ticks(*known)) & CLOCK;
            // Files may be out of order: the copy may bear the earlier time.
            let apart = apart.min((CLOCK + 1).wrapping_sub(apart) & CLOCK);
            (known ^ entry) & !u64::from(CLOCK) == 0 && apart <= near
        })
    }

    /// Remembers the packet with this place. It is best the last thing that is done with it: this writes to memory that
    /// is far away, and whatever is written later waits for it.
    #[inline]
    pub(crate) fn remember(&mut self, place: Option<Place>) {
        if let Some(Place { set, entry }) = place {
            let [first, second, third, _] = self.sets[set];
            self.sets[set] = [entry, first, second, third];
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "parts of a hash and of a clock"
    )]
    fn place_of(&self, packet: &Packet<'_>, connection: u32, side: usize) -> Option<Place> {
        let segment = &packet.segment;
        // A copy of a bare ACK changes nothing that is counted.
        let counts = segment.span() > 0 || segment.flags.has(Flags::RST);
        if !counts || packet.ip_id == 0 && !segment.flags.has(Flags::SYN) {
            return None;
        }
        let mut hasher = self.state.build_hasher();
        hasher.write_u64(u64::from(connection) << 32 | u64::from(segment.seq.number()));
        hasher.write_u64(u64::from(segment.ack.number()) << 32 | u64::from(segment.length));
        let value = segment.timestamps.map_or(0, |timestamps| u64::from(timestamps.value) << 1 | 1);
        hasher.write_u64(value ^ u64::from(packet.ip_id) << 48);
        hasher.write_u64(u64::from(segment.flags.bits()) << 1 | side as u64);
        let hash = hasher.finish();
        let now = (packet.time_ns >> TICK_BITS) as u32 & CLOCK;
        // By the bits that the fingerprint leaves out; as even as the rest of a division by their number, and quicker.
        let set = ((hash & u64::from(CLOCK)) * self.sets.len() as u64) >> CLOCK_BITS;
        Some(Place { set: set as usize, entry: hash & !u64::from(CLOCK) | u64::from(now) })
    }
}

/// The time of an entry.
#[expect(clippy::cast_possible_truncation, reason = "the lower part")]
const fn ticks(entry: u64) -> u32 {
    entry as u32 & CLOCK
}
