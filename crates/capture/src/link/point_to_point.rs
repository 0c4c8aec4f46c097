//! PPP, PPPoE, Cisco HDLC and frame relay.

use super::{Around, Layers, Piece};

impl Layers<'_> {
    /// RFC 1661 and 1662: address and control may be there, and the protocol may be one byte.
    pub(super) fn ppp(&mut self, piece: Piece<'_>, around: Around) {
        let Some(around) = around.inside() else { return };
        let piece = match piece.u16(0) {
            Some(0xff03) => piece.skip(2),
            // Cisco HDLC under the same number: unicast or multicast, then a type of Ethernet.
            Some(0x0f00 | 0x8f00) => return self.chdlc(piece, around),
            _ => Some(piece),
        };
        let Some((piece, first)) = piece.and_then(|piece| Some((piece, piece.u8(0)?))) else { return };
        // Numbers are odd, and so is their last byte only (RFC 1661 section 2).
        let (protocol, header) = if first & 1 == 1 {
            (u16::from(first), 1)
        } else {
            let Some(protocol) = piece.u16(0) else { return };
            (protocol, 2)
        };
        match protocol {
            0x0021 => self.skipped(piece, header, around, Self::ipv4),
            0x0057 => self.skipped(piece, header, around, Self::ipv6),
            0x0281 | 0x0283 => self.skipped(piece, header, around, Self::mpls),
            0x0031 => self.bridged(piece, header, around),
            _ => {}
        }
    }

    /// RFC 3518: flags and the kind of network, and for 802.3 a whole frame.
    fn bridged(&mut self, piece: Piece<'_>, header: usize, around: Around) {
        if piece.u8(header + 1) == Some(1) {
            self.skipped(piece, header + 2, around, Self::ethernet);
        }
    }

    /// RFC 2516, behind the type of Ethernet: only sessions carry packets.
    pub(super) fn pppoe(&mut self, piece: Piece<'_>, around: Around) {
        let Some(head) = piece.chunk::<6>(0) else { return };
        if head[0] == 0x11 && head[1] == 0 {
            let length = usize::from(u16::from_be_bytes([head[4], head[5]]));
            self.skipped(piece.limit(6 + length), 6, around, Self::ppp);
        }
    }

    pub(super) fn chdlc(&mut self, piece: Piece<'_>, around: Around) {
        self.ether_type_at(piece, 2, 4, around);
    }

    /// An address of two to four bytes, then RFC 2427 or Cisco's way.
    pub(super) fn frame_relay(&mut self, piece: Piece<'_>, around: Around) {
        let Some(last) = piece.bytes().iter().take(4).position(|byte| byte & 1 == 1) else { return };
        let Some(rest) = piece.skip(last + 1) else { return };
        match rest.chunk::<2>(0) {
            Some([3, 0]) => self.skipped(rest, 2, around, Self::network_layer),
            Some([3, _]) => self.skipped(rest, 1, around, Self::network_layer),
            _ => self.ether_type_at(rest, 0, 2, around),
        }
    }
}
