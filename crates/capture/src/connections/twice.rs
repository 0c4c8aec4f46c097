//! Packets that were captured twice: by a mirror port, by the `any` device, on both ends of a bridge.
//!
//! A copy has the IP identification and the TCP header of an earlier packet and comes within 100 ms; a SYN without
//! an identification (Linux sends SYN-ACKs so) must come within 5 ms. A retransmission has another identification.
//! Other packets without one (IPv6, atomic fragments) are never taken for copies.

use crate::Packet;
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

/// Packets remembered in all: 512 KiB. A packet is forgotten when another takes its place, so of copies that come with
/// 10,000 packets in between one in seven is not known for what it is.
const PLACES: usize = 1 << 16;

/// The packets of the last moments: a fingerprint of 40 bits and the time in ticks in 24, each.
#[derive(Debug)]
pub(crate) struct Twice {
    places: Vec<u64>,
    state: FixedState,
}

impl Twice {
    pub(crate) fn new(state: FixedState) -> Self {
        Self { places: vec![0; PLACES], state }
    }

    /// True if this packet of a connection was captured before. Only asked if `may_be`: a packet that brings
    /// something new is only remembered, and that never waits for memory.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "parts of a hash and of a clock"
    )]
    pub(crate) fn seen(&mut self, packet: &Packet<'_>, connection: u32, side: usize, may_be: bool) -> bool {
        let segment = &packet.segment;
        let is_syn = segment.flags.has(Flags::SYN);
        if packet.ip_id == 0 && !is_syn {
            return false;
        }
        let mut hasher = self.state.build_hasher();
        hasher.write_u64(u64::from(connection) << 32 | u64::from(segment.seq.number()));
        hasher.write_u64(u64::from(segment.ack.number()) << 32 | u64::from(segment.length));
        let value = segment.timestamps.map_or(0, |timestamps| u64::from(timestamps.value) << 1 | 1);
        hasher.write_u64(value ^ u64::from(packet.ip_id) << 48);
        hasher.write_u64(u64::from(segment.flags.bits()) << 1 | side as u64);
        let hash = hasher.finish();
        let now = (packet.time_ns >> TICK_BITS) as u32 & CLOCK;
        let fingerprint = hash & !u64::from(CLOCK);
        let place = &mut self.places[hash as usize % PLACES];
        if may_be && *place & !u64::from(CLOCK) == fingerprint {
            let apart = now.wrapping_sub(*place as u32) & CLOCK;
            // Files may be out of order: the copy may bear the earlier time.
            let apart = apart.min((CLOCK + 1).wrapping_sub(apart) & CLOCK);
            if apart <= if packet.ip_id == 0 { NEAR_SYN } else { NEAR } {
                return true;
            }
        }
        *place = fingerprint | u64::from(now);
        false
    }
}
