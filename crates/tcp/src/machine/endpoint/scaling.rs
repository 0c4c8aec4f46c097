//! Windows in bytes, and by how much they are shifted on the wire (RFC 7323 section 2).

use super::Endpoint;
use crate::{Flags, Segment, State};

/// The largest shift; more is taken for it (RFC 7323 section 2.3).
const LARGEST: u8 = 14;

/// How the windows of a connection are scaled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scaling {
    /// The shift that is offered for the own windows; none: no scaling (`tcp_window_scaling`).
    offers: Option<u8>,
    /// The peer has offered it, too.
    agreed: bool,
    /// Snd.Wind.Shift: of what the peer announces.
    snd: u8,
    /// Rcv.Wind.Shift: of what is announced to the peer.
    rcv: u8,
}

impl Scaling {
    pub(super) const OFF: Self = Self { offers: None, agreed: false, snd: 0, rcv: 0 };

    /// A connection begins with a SYN of this side.
    pub(super) const fn begin(&mut self) {
        *self = Self {
            rcv: match self.offers {
                Some(shift) => shift,
                None => 0,
            },
            ..Self { offers: self.offers, ..Self::OFF }
        };
    }

    /// What the SYN of the peer that is taken carries.
    pub(super) fn hear(&mut self, peer: Option<u8>) {
        if let (Some(shift), Some(_)) = (peer, self.offers) {
            self.agreed = true;
            self.snd = shift.min(LARGEST);
        }
    }

    /// The handshake is over: without the peer nothing is scaled. (Where SYNs cross the kernel does not look back,
    /// and scales what it announces all the same.)
    pub(super) const fn settle(&mut self) {
        if !self.agreed {
            self.snd = 0;
            self.rcv = 0;
        }
    }
}

impl Endpoint {
    /// Offers to scale windows, its own by this shift.
    #[must_use]
    pub fn with_window_scale(mut self, shift: u8) -> Self {
        self.scaling.offers = Some(shift.min(LARGEST));
        self
    }

    /// The window scale option of the SYN or SYN,ACK that it sends now; none: it carries none.
    pub fn window_scale(&self) -> Option<u8> {
        let offered = self.state == State::SynSent || !self.request || self.scaling.agreed;
        self.scaling.offers.filter(|_| offered)
    }

    /// The peer's window as this segment announces it, in bytes: a SYN's is never shifted.
    pub const fn announced(&self, segment: &Segment) -> u32 {
        let shift = if segment.flags.has(Flags::SYN) { 0 } else { self.scaling.snd };
        (segment.window as u32) << shift
    }

    /// Its own window is that of this segment, which has left for it. A full socket's is as large as it says; a
    /// request and a mini-socket keep theirs, and announce it rounded down.
    pub fn set_window(&mut self, sent: &Segment) {
        let is_kept = (self.request || self.is_mini()) && sent.window == self.window_on_wire(sent.flags);
        if !is_kept {
            let shift = if sent.flags.has(Flags::SYN) { 0 } else { self.scaling.rcv };
            self.rcv_window = u32::from(sent.window) << shift;
        }
    }

    /// True if so little beyond the window is nothing but what a shift has rounded.
    pub(super) fn is_rounding(&self, beyond: i32) -> bool {
        self.scaling.agreed && beyond < 1 << self.scaling.rcv
    }

    /// The own window as a segment with these flags announces it.
    pub(super) fn window_on_wire(&self, flags: Flags) -> u16 {
        let shift = if flags.has(Flags::SYN) { 0 } else { self.scaling.rcv };
        u16::try_from(self.rcv_window >> shift).unwrap_or(u16::MAX)
    }
}
