//! IEEE 802.11, and the headers that drivers put before it.

use super::{Around, Layers, Link, Piece};

impl Layers<'_> {
    /// A frame of 802.11. Some drivers pad its header to four bytes.
    pub(super) fn wifi(&mut self, piece: Piece<'_>, around: Around, padded: bool) {
        let (Some(around), Some([control, flags])) = (around.inside(), piece.chunk::<2>(0)) else { return };
        let (kind, subtype) = (control >> 2 & 3, control >> 4);
        // Only data; not the kinds that carry none, nothing encrypted, and no later fragment.
        let sequence = piece.chunk::<2>(22).map(u16::from_le_bytes);
        if control & 3 != 0 || kind != 2 || subtype & 4 != 0 || flags & 0x40 != 0 || sequence.is_none() {
            return;
        }
        let fragment = sequence.is_some_and(|number| number & 0xf != 0) || flags & 4 != 0;
        let mut header = if flags & 3 == 3 { 30 } else { 24 };
        let mut several = false;
        if subtype & 8 != 0 {
            several = piece.u8(header).is_some_and(|quality| quality & 0x80 != 0);
            // Quality of service, and high-throughput control where the order bit stands.
            header += if flags & 0x80 == 0 { 2 } else { 6 };
        }
        if padded {
            header = header.next_multiple_of(4);
        }
        let Some(body) = piece.skip(header).filter(|_| !fragment) else { return };
        if several { self.aggregate(body, around) } else { self.llc(body, around) }
    }

    /// An A-MSDU: several frames with addresses and a length each, all but the last padded to four bytes.
    fn aggregate(&mut self, mut piece: Piece<'_>, around: Around) {
        while let (Some(length), Some(body)) = (piece.u16(12), piece.skip(14)) {
            let length = usize::from(length);
            self.llc(body.limit(length), around);
            let Some(rest) = piece.skip((14 + length).next_multiple_of(4)) else { return };
            piece = rest;
        }
    }

    /// <https://www.radiotap.org>: numbers are little-endian.
    pub(super) fn radiotap(&mut self, piece: Piece<'_>, around: Around) {
        let Some(length) = piece.chunk(2).map(u16::from_le_bytes) else { return };
        let Some(frame) = piece.skip(length.into()) else { return };
        // Words that say what is present: bit 31 says that another follows, bit 0 a clock of 8 bytes, bit 1 flags.
        let mut words = 1;
        let mut first = None;
        while let Some(present) = piece.chunk(words * 4).map(u32::from_le_bytes) {
            first.get_or_insert(present);
            words += 1;
            if present & 1 << 31 == 0 {
                break;
            }
        }
        let first = first.unwrap_or(0);
        let clock = if first & 1 == 0 { words * 4 } else { (words * 4).next_multiple_of(8) + 8 };
        let flags = if first & 2 == 0 { 0 } else { piece.u8(clock).unwrap_or(0) };
        self.wifi(frame, around, flags & 0x20 != 0);
    }

    /// 144 bytes of a Prism card, unless it is the header of AVS that replaced it.
    pub(super) fn prism(&mut self, piece: Piece<'_>, around: Around) {
        match (piece.u32(0), piece.chunk(4).map(u32::from_le_bytes)) {
            (Some(0x8021_1001 | 0x8021_1002), _) => self.avs(piece, around),
            // The machine's own byte order.
            (Some(0x44), _) => self.headed(piece, piece.u32(4), around),
            (_, length) => self.headed(piece, length, around),
        }
    }

    pub(super) fn avs(&mut self, piece: Piece<'_>, around: Around) {
        self.headed(piece, piece.u32(4), around);
    }

    fn headed(&mut self, piece: Piece<'_>, header: Option<u32>, around: Around) {
        if let Some(frame) = header.and_then(|header| piece.skip(usize::try_from(header).ok()?)) {
            self.wifi(frame, around, false);
        }
    }

    /// CACE's header says itself what follows it.
    pub(super) fn per_packet_information(&mut self, piece: Piece<'_>, around: Around) {
        let length = piece.chunk(2).map(u16::from_le_bytes);
        let link = piece.chunk(4).map(u32::from_le_bytes);
        if let (Some(length), Some(link)) = (length, link)
            && length >= 8
            && let Some(frame) = piece.skip(length.into())
        {
            self.link(Link(link), frame, around);
        }
    }
}
