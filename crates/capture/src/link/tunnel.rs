//! Tunnels: GRE, MPLS, and those in UDP, which only their ports tell.

use super::{Around, Layers, Piece};

/// Kinds of virtual networks, for their contexts.
const VXLAN: u32 = 1;
const GENEVE: u32 = 2;

impl Layers<'_> {
    pub(super) fn udp(&mut self, piece: Piece<'_>, around: Around) {
        let Some(head) = piece.chunk::<8>(0) else { return };
        let short = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let length = usize::from(short(4));
        let body = if length < 8 { piece } else { piece.limit(length) };
        let Some(body) = body.skip(8) else { return };
        let ports = [short(2), short(0)];
        let Some(port) = ports.into_iter().find(|port| TUNNELS.contains(port)) else { return };
        // <https://www.iana.org/assignments/service-names-port-numbers>
        match port {
            4_789 | 8_472 => self.vxlan(body, around), // the second is Linux's own default
            4_790 => self.vxlan_gpe(body, around),
            6_081 => self.geneve(body, around),
            3_544 => self.teredo(body, around),
            2_152 => self.gtp(body, around),
            3_386 => self.skipped(body, 20, around, Self::ip), // GTP of version 0
            1_701 => self.l2tp(body, around),
            4_754 => self.gre(body, around),
            6_635 => self.mpls(body, around),
            4_341 => self.skipped(body, 8, around, Self::ip), // LISP
            5_247 => self.capwap(body, around),
            5_072 => self.ayiya(body, around),
            37_008 => self.tazmen(body, around),
            _ => {}
        }
    }

    /// RFC 7348.
    fn vxlan(&mut self, piece: Piece<'_>, around: Around) {
        let Some(head) = piece.chunk::<8>(0) else { return };
        if head[0] & 8 != 0 {
            let network = u32::from_be_bytes([0, head[4], head[5], head[6]]);
            let context = around.context.in_network(VXLAN, network);
            self.skipped(piece, 8, Around { context, ..around }, Self::ethernet);
        }
    }

    /// draft-ietf-nvo3-vxlan-gpe.
    fn vxlan_gpe(&mut self, piece: Piece<'_>, around: Around) {
        let Some(head) = piece.chunk::<8>(0) else { return };
        let network = u32::from_be_bytes([0, head[4], head[5], head[6]]);
        let around = Around { context: around.context.in_network(VXLAN, network), ..around };
        match head[3] {
            1 | 2 => self.skipped(piece, 8, around, Self::ip),
            0 | 3 => self.skipped(piece, 8, around, Self::ethernet),
            4 => self.skipped(piece, 8, around, Self::service_header),
            5 => self.skipped(piece, 8, around, Self::mpls),
            _ => {}
        }
    }

    /// RFC 8926.
    fn geneve(&mut self, piece: Piece<'_>, around: Around) {
        let Some(head) = piece.chunk::<8>(0) else { return };
        if head[0] >> 6 != 0 {
            return;
        }
        let options = usize::from(head[0] & 0x3f) * 4;
        let network = u32::from_be_bytes([0, head[4], head[5], head[6]]);
        let context = around.context.in_network(GENEVE, network);
        self.ether_type_at(piece, 2, 8 + options, Around { context, ..around });
    }

    /// RFC 4380 section 5.1.1: authentication and origin may come first.
    fn teredo(&mut self, piece: Piece<'_>, around: Around) {
        let mut piece = piece;
        if let Some([0, 1, identifier, authentication]) = piece.chunk::<4>(0) {
            let Some(rest) = piece.skip(13 + usize::from(identifier) + usize::from(authentication)) else {
                return;
            };
            piece = rest;
        }
        if let Some([0, 0]) = piece.chunk::<2>(0) {
            let Some(rest) = piece.skip(8) else { return };
            piece = rest;
        }
        self.ipv6(piece, around);
    }

    /// 3GPP TS 29.281: user data.
    fn gtp(&mut self, piece: Piece<'_>, around: Around) {
        let Some(head) = piece.chunk::<4>(0) else { return };
        if head[0] >> 4 != 3 || head[1] != 255 {
            return;
        }
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let piece = piece.limit(8 + length);
        let mut behind = 8;
        if head[0] & 7 != 0 {
            // Sequence number, N-PDU number, and the kind of the first extension header.
            behind = 12;
            let mut kind = if head[0] & 4 == 0 { Some(0) } else { piece.u8(11) };
            while let Some(1..) = kind {
                let Some(words @ 1..) = piece.u8(behind) else { return };
                behind += usize::from(words) * 4;
                kind = piece.u8(behind - 1);
            }
        }
        self.skipped(piece, behind, around, Self::ip);
    }

    /// RFC 2661: data messages carry PPP.
    fn l2tp(&mut self, piece: Piece<'_>, around: Around) {
        let Some(flags) = piece.u16(0) else { return };
        if flags & 0x800f != 2 {
            return;
        }
        let mut behind = if flags & 0x4000 == 0 { 6 } else { 8 };
        if flags & 0x0800 != 0 {
            behind += 4;
        }
        if flags & 0x0200 != 0 {
            let Some(offset) = piece.u16(behind) else { return };
            behind += 2 + usize::from(offset);
        }
        self.skipped(piece, behind, around, Self::ppp);
    }

    /// RFC 5415: 802.11 or Ethernet, by a bit.
    fn capwap(&mut self, piece: Piece<'_>, around: Around) {
        let Some(head) = piece.chunk::<4>(0) else { return };
        // Not encrypted, and no fragment.
        if head[0] & 0xf != 0 || head[3] & 0x80 != 0 {
            return;
        }
        let Some(body) = piece.skip(usize::from(head[1] >> 3) * 4) else { return };
        if head[2] & 1 == 0 {
            return self.ethernet(body, around);
        }
        // Many controllers write the control field of 802.11 with its bytes swapped: data has 8 in its low half.
        match body.chunk::<2>(0) {
            Some([flags, control]) if control & 0xf == 8 && flags & 0xf != 8 => {
                let mut frame = body.bytes().to_vec();
                frame.swap(0, 1);
                self.wifi(Piece::new(&frame, body.wire()), around, false);
            }
            _ => self.wifi(body, around, false),
        }
    }

    /// draft-massar-v6ops-ayiya: the lengths of identity and signature stand in the header.
    fn ayiya(&mut self, piece: Piece<'_>, around: Around) {
        let Some(head) = piece.chunk::<4>(0) else { return };
        let identity = 1usize << (head[0] >> 4);
        let signature = usize::from(head[1] >> 4) * 4;
        if let Some(rest) = piece.skip(8 + identity + signature) {
            self.protocol(head[3], rest, around);
        }
    }

    /// Tazmen sniffer protocol: tagged fields up to an end, then what the header says.
    fn tazmen(&mut self, piece: Piece<'_>, around: Around) {
        let Some([1, _, high, low]) = piece.chunk::<4>(0) else { return };
        let mut at = 4;
        loop {
            match piece.chunk::<2>(at) {
                Some([1, _]) => break,
                Some([0, _]) => at += 1,
                Some([_, length]) => at += 2 + usize::from(length),
                None => return,
            }
        }
        let Some(frame) = piece.skip(at + 1) else { return };
        match u16::from_be_bytes([high, low]) {
            1 => self.ethernet(frame, around),
            0x12 => self.wifi(frame, around, false),
            0x77 => self.prism(frame, around),
            0x7f => self.avs(frame, around),
            _ => {}
        }
    }

    /// RFC 2784, 2890 and 1701, and the one of PPTP (RFC 2637).
    pub(super) fn gre(&mut self, piece: Piece<'_>, around: Around) {
        let (Some(around), Some(flags), Some(kind)) = (around.inside(), piece.u16(0), piece.u16(2)) else {
            return;
        };
        let mut behind = 4;
        // Checksum or routing, key, sequence number, and in version 1 an acknowledgement.
        for (bits, version) in [(0xc000, None), (0x2000, None), (0x1000, None), (0x0080, Some(1))] {
            if flags & bits != 0 && version.is_none_or(|version| flags & 7 == version) {
                behind += 4;
            }
        }
        if flags & 0x4000 != 0 {
            // Routes, each with its length in the fourth byte; the last has none.
            loop {
                let Some([high, low, _, length]) = piece.chunk::<4>(behind) else { return };
                behind += 4 + usize::from(length);
                if (high, low, length) == (0, 0, 0) {
                    break;
                }
            }
        }
        let Some(body) = piece.skip(behind) else { return };
        match kind {
            0x88be => self.erspan(body, around, flags & 0x1000 != 0),
            // WCCP may put a header of its own before IP.
            0x883e if body.u8(0).is_some_and(|byte| byte >> 4 != 4) => {
                self.skipped(body, 4, around, Self::ip);
            }
            0x883e => self.ip(body, around),
            // 802.11 of Aruba's access points.
            0x8200..=0x8210 | 0x9000 => self.wifi(body, around, false),
            // Lengths of 802.3 are no types here.
            0..=1_500 => {}
            _ => self.ether_type(kind, body, around),
        }
    }

    /// draft-foschiano-erspan: type I has no header, and no sequence number in GRE either.
    pub(super) fn erspan(&mut self, piece: Piece<'_>, around: Around, with_header: bool) {
        let header = if with_header { 8 } else { 0 };
        self.skipped(piece, header, around, Self::ethernet);
    }

    /// Type III: 12 bytes, or 20 where the last bit says so; Ethernet or IP.
    pub(super) fn erspan3(&mut self, piece: Piece<'_>, around: Around) {
        let Some([kind, options]) = piece.chunk::<2>(10) else { return };
        let header = if options & 1 == 0 { 12 } else { 20 };
        match kind >> 2 & 0x1f {
            0 => self.skipped(piece, header, around, Self::ethernet),
            2 => self.skipped(piece, header, around, Self::ip),
            _ => {}
        }
    }

    /// Labels (RFC 3032). What is behind them nobody says: IP shows itself by its version, a pseudowire with
    /// Ethernet by a control word of zeros (RFC 4448) or by a frame that makes sense.
    pub(super) fn mpls(&mut self, piece: Piece<'_>, around: Around) {
        let Some(around) = around.inside() else { return };
        let mut piece = piece;
        loop {
            let (Some(label), Some(rest)) = (piece.u32(0), piece.skip(4)) else { return };
            piece = rest;
            if label & 0x100 != 0 {
                break;
            }
        }
        match piece.u8(0).map(|byte| byte >> 4) {
            Some(4) if !ethernet_at(piece, 0) || ip_fits(piece) => self.ipv4(piece, around),
            Some(6) if !ethernet_at(piece, 0) || ip_fits(piece) => self.ipv6(piece, around),
            Some(0) if ethernet_at(piece, 4) || !ethernet_at(piece, 0) => {
                self.skipped(piece, 4, around, Self::ethernet);
            }
            // The channel of a pseudowire (RFC 4385), or its control.
            Some(1) if !ethernet_at(piece, 0) => {}
            Some(_) => self.ethernet(piece, around),
            None => {}
        }
    }
}

const TUNNELS: [u16; 14] =
    [4_789, 8_472, 4_790, 6_081, 3_544, 2_152, 3_386, 1_701, 4_754, 6_635, 4_341, 5_247, 5_072, 37_008];

/// True if a frame of Ethernet may begin there: its type is one that is followed here.
fn ethernet_at(piece: Piece<'_>, at: usize) -> bool {
    let Some(kind) = piece.u16(at + 12) else { return false };
    match kind {
        0x0800 => piece.u8(at + 14).is_some_and(|byte| byte >> 4 == 4),
        0x86dd => piece.u8(at + 14).is_some_and(|byte| byte >> 4 == 6),
        0x8100 | 0x88a8 | 0x9100 | 0x8847 | 0x8848 | 0x8864 | 0x0806 => true,
        // A length that fills the frame but for its padding.
        0..=1_500 => {
            let rest = piece.wire().saturating_sub(at + 14);
            usize::from(kind) == rest || (usize::from(kind) < rest && rest <= 46)
        }
        _ => false,
    }
}

/// True if the length in the header of IP is that of what is there, but for padding.
fn ip_fits(piece: Piece<'_>) -> bool {
    let length = match piece.u8(0).map(|byte| byte >> 4) {
        Some(4) => piece.u16(2).map(usize::from),
        Some(6) => piece.u16(4).map(|length| usize::from(length) + 40),
        _ => None,
    };
    length.is_some_and(|length| length <= piece.wire() && piece.wire() - length <= 64)
}
