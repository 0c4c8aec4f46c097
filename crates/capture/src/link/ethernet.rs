//! Link layers by their number in the file, Ethernet with its tags, and LLC.

use super::{Around, Layers, Link, Piece};

impl Layers<'_> {
    /// A whole frame (<https://www.tcpdump.org/linktypes.html>).
    pub(super) fn link(&mut self, link: Link, piece: Piece<'_>, around: Around) {
        let Some(around) = around.inside() else { return };
        match link.0 {
            1 => self.ethernet(piece, around),
            0 | 108 => self.loopback(piece, around),
            // Raw IP. 12 and 14 are what some systems write for their DLT_RAW.
            12 | 14 | 101 | 228 | 229 => self.ip(piece, around),
            113 => self.cooked(piece, around),
            276 => self.cooked_v2(piece, around),
            9 | 50 => self.ppp(piece, around),
            166 | 204 => self.skipped(piece, 1, around, Self::ppp), // a byte of direction first
            51 => self.pppoe(piece, around),
            104 => self.chdlc(piece, around),
            205 => self.skipped(piece, 1, around, Self::chdlc),
            107 => self.frame_relay(piece, around),
            206 => self.skipped(piece, 1, around, Self::frame_relay),
            8 | 15 => self.skipped(piece, 16, around, Self::ip), // SLIP and PPP of old BSD/OS
            105 => self.wifi(piece, around, false),
            119 => self.prism(piece, around),
            127 => self.radiotap(piece, around),
            163 => self.avs(piece, around),
            192 => self.per_packet_information(piece, around),
            239 => self.nflog(piece, around),
            6 => self.token_ring(piece, around),
            10 => self.skipped(piece, 13, around, Self::llc), // FDDI: frame control and two addresses
            11 | 100 => self.llc(piece, around),              // ATM
            123 => self.sunatm(piece, around),
            122 => self.skipped(piece, 16, around, Self::llc), // IP over Fibre Channel (RFC 2625)
            138 => self.ether_type_at(piece, 16, 18, around),  // Apple's IP over IEEE 1394
            109 => self.skipped(piece, 12, around, Self::ip),  // OpenBSD enc
            117 => self.pflog(piece, around),
            219 => self.mpls(piece, around),
            226 => self.skipped(piece, 24, around, Self::ip), // Solaris ipnet
            197 => self.erf(piece, around),
            143 => self.docsis(piece, around),
            240 => self.skipped(piece, 4, around, Self::ethernet), // Hilscher netANALYZER
            241 => self.skipped(piece, 12, around, Self::ethernet), // the same with preamble
            274 => self.skipped(piece, 8, around, Self::ethernet), // mPackets with their preamble
            _ => {
                self.statistics.unknown_links += 1;
                self.statistics.unknown_link.get_or_insert(link.0);
            }
        }
    }

    pub(super) fn ethernet(&mut self, piece: Piece<'_>, around: Around) {
        let Some(around) = around.inside() else { return };
        // Cisco ISL stands before a whole frame: by its destination, and SNAP at a place where no type is.
        if let Some([1 | 3, 0, 0x0c, 0, 0, ..]) = piece.chunk::<26>(0)
            && let (Some([0xaa, 0xaa, 3]), Some(tag)) = (piece.chunk::<3>(14), piece.u16(20))
        {
            let context = around.context.in_vlan(tag >> 1);
            return self.skipped(piece, 26, Around { context, ..around }, Self::ethernet);
        }
        self.ether_type_at(piece, 12, 14, around);
    }

    /// A type at one place, and what it says at another.
    pub(super) fn ether_type_at(&mut self, piece: Piece<'_>, at: usize, behind: usize, around: Around) {
        if let (Some(kind), Some(rest)) = (piece.u16(at), piece.skip(behind)) {
            self.ether_type(kind, rest, around);
        }
    }

    /// What follows a type of Ethernet (<https://www.iana.org/assignments/ieee-802-numbers>).
    pub(super) fn ether_type(&mut self, kind: u16, piece: Piece<'_>, around: Around) {
        let Some(around) = around.inside() else { return };
        match kind {
            0x0800 => self.ipv4(piece, around),
            0x86dd => self.ipv6(piece, around),
            // 802.1Q, 802.1ad, and what was used before 802.1ad.
            0x8100 | 0x88a8 | 0x9100 | 0x9200 | 0x9300 => {
                if let Some(tag) = piece.u16(0) {
                    let context = around.context.in_vlan(tag);
                    self.ether_type_at(piece, 2, 4, Around { context, ..around });
                }
            }
            0x8847 | 0x8848 => self.mpls(piece, around),
            0x8864 => self.pppoe(piece, around),
            0x880b => self.ppp(piece, around),
            0x6558 => self.ethernet(piece, around),
            0x88e7 => self.backbone(piece, around),
            0x8926 | 0x892f => self.ether_type_at(piece, 4, 6, around), // VN-Tag; HSR (IEC 62439-3)
            0x893f => self.ether_type_at(piece, 6, 8, around),          // E-Tag (802.1BR)
            0x8903 => self.skipped(piece, 2, around, Self::ethernet),   // FabricPath
            0x8909 => self.cisco_metadata(piece, around),
            0x894f => self.service_header(piece, around),
            0x22f3 => self.trill(piece, around),
            0x88e5 => self.macsec(piece, around),
            0x8870 => self.llc(piece, around), // long LLC frames
            0x88be => self.erspan(piece, around, true),
            0x22eb => self.erspan3(piece, around),
            // No type, but a length (802.3).
            0..=1_500 => self.llc(piece.limit(kind.into()), around),
            _ => {}
        }
    }

    /// IEEE 802.2, with or without SNAP.
    pub(super) fn llc(&mut self, piece: Piece<'_>, around: Around) {
        let Some(around) = around.inside() else { return };
        match piece.chunk::<3>(0) {
            // SNAP: Ethernet's types, 802.1H's, and Cisco's own that mean the same; bridged Ethernet with and
            // without its check sequence (RFC 2684).
            Some([0xaa, 0xaa, 3]) => match piece.chunk::<5>(3) {
                Some([0, 0, 0 | 0xf8, high, low]) => {
                    if let Some(rest) = piece.skip(8) {
                        self.ether_type(u16::from_be_bytes([high, low]), rest, around);
                    }
                }
                Some([0, 0x80, 0xc2, 0, 1 | 7]) => {
                    // Over ATM two bytes of padding come first, which are 0; no address begins so.
                    let padding = if piece.u16(8) == Some(0) { 2 } else { 0 };
                    self.skipped(piece, 8 + padding, around, Self::ethernet);
                }
                _ => {}
            },
            Some([6, 6, 3]) => self.skipped(piece, 3, around, Self::ip),
            Some([0xfe, 0xfe, 3]) => self.skipped(piece, 3, around, Self::network_layer),
            _ => {}
        }
    }

    /// By the identifiers of ISO/IEC TR 9577.
    pub(super) fn network_layer(&mut self, piece: Piece<'_>, around: Around) {
        match piece.u8(0) {
            Some(0xcc | 0x8e) => self.skipped(piece, 1, around, Self::ip),
            // SNAP without LLC; a pad may stand before it (RFC 2427).
            Some(0x80) => match piece.chunk::<6>(0) {
                Some([_, 0, 0, 0, high, low]) => {
                    if let Some(rest) = piece.skip(6) {
                        self.ether_type(u16::from_be_bytes([high, low]), rest, around);
                    }
                }
                Some([_, 0, 0x80, 0xc2, 0, 1 | 7]) => self.skipped(piece, 6, around, Self::ethernet),
                _ => {}
            },
            _ => {}
        }
    }

    /// 802.1ah: a tag with the number of the service, then the customer's frame.
    fn backbone(&mut self, piece: Piece<'_>, around: Around) {
        let Some(tag) = piece.u32(0) else { return };
        let context = around.context.in_network(3, tag);
        self.skipped(piece, 4, Around { context, ..around }, Self::ethernet);
    }

    /// Cisco's own tag: version, length in words of 4 bytes, that many, then the type.
    fn cisco_metadata(&mut self, piece: Piece<'_>, around: Around) {
        let Some(length) = piece.u8(1) else { return };
        let behind = 2 + usize::from(length) * 4;
        self.ether_type_at(piece, behind, behind + 2, around);
    }

    /// RFC 8300.
    pub(super) fn service_header(&mut self, piece: Piece<'_>, around: Around) {
        let Some(head) = piece.chunk::<4>(0) else { return };
        let length = usize::from(head[1] & 0x3f) * 4;
        match head[3] {
            1 | 2 => self.skipped(piece, length, around, Self::ip),
            3 => self.skipped(piece, length, around, Self::ethernet),
            5 => self.skipped(piece, length, around, Self::mpls),
            _ => {}
        }
    }

    /// RFC 6325: options of so many words of 4 bytes behind 6 bytes, then a whole frame.
    fn trill(&mut self, piece: Piece<'_>, around: Around) {
        let Some(head) = piece.u16(0) else { return };
        let options = usize::from(head >> 6 & 0x1f) * 4;
        self.skipped(piece, 6 + options, around, Self::ethernet);
    }

    /// 802.1AE, where it only signs: neither encrypted nor changed.
    fn macsec(&mut self, piece: Piece<'_>, around: Around) {
        let Some(control) = piece.u8(0) else { return };
        if control & 0x0c == 0 {
            let tag = if control & 0x20 == 0 { 6 } else { 14 };
            self.ether_type_at(piece, tag, tag + 2, around);
        }
    }

    /// Linux's "any": what it is at byte 14; the kind of the interface before it.
    fn cooked(&mut self, piece: Piece<'_>, around: Around) {
        if let (Some(kind), Some(hardware), Some(rest)) = (piece.u16(14), piece.u16(2), piece.skip(16)) {
            self.cooked_payload(kind, hardware, rest, around);
        }
    }

    fn cooked_v2(&mut self, piece: Piece<'_>, around: Around) {
        if let (Some(kind), Some(hardware), Some(rest)) = (piece.u16(0), piece.u16(8), piece.skip(20)) {
            self.cooked_payload(kind, hardware, rest, around);
        }
    }

    /// Hardware is one of linux include/uapi/linux/if_arp.h, and the kind one of if_ether.h, types of Ethernet
    /// included.
    fn cooked_payload(&mut self, kind: u16, hardware: u16, piece: Piece<'_>, around: Around) {
        match (hardware, kind) {
            (801, _) => self.wifi(piece, around, false),
            (802, _) => self.prism(piece, around),
            (803, _) => self.radiotap(piece, around),
            (778, _) => self.gre(piece, around),
            (_, 4) => self.llc(piece, around),
            (_, 0..=1_500) => {}
            _ => self.ether_type(kind, piece, around),
        }
    }

    /// BSD: four bytes with the address family, of either byte order; the families of IPv6 differ by system, so the
    /// version decides.
    fn loopback(&mut self, piece: Piece<'_>, around: Around) {
        let Some(head) = piece.chunk::<4>(0) else { return };
        match (u32::from_be_bytes(head), u32::from_le_bytes(head)) {
            // Some write PPP, others an EtherType instead.
            (number, _) if number >> 16 == 0xff03 => self.ppp(piece, around),
            (2 | 10 | 23 | 24 | 28 | 30 | 0x0800 | 0x86dd, _)
            | (_, 2 | 10 | 23 | 24 | 28 | 30 | 0x0800 | 0x86dd) => self.skipped(piece, 4, around, Self::ip),
            _ => {}
        }
    }

    /// Netfilter's log: attributes, one of which is the packet. Their numbers are of the byte order of the machine.
    fn nflog(&mut self, piece: Piece<'_>, around: Around) {
        const PAYLOAD: u16 = 9;
        for number in [u16::from_le_bytes, u16::from_be_bytes] {
            let mut rest = piece.skip(4);
            while let Some((here, Some(length), Some(kind))) =
                rest.map(|here| (here, here.chunk(0).map(number), here.chunk(2).map(number)))
            {
                let length = usize::from(length);
                if length < 4 || length > here.wire() {
                    break;
                }
                if kind & 0x7fff == PAYLOAD {
                    return self.skipped(here.limit(length), 4, around, Self::ip);
                }
                rest = here.skip(length.next_multiple_of(4));
            }
        }
    }

    /// 802.5: two bytes of control and two addresses, and a route if the top bit of the source says so.
    fn token_ring(&mut self, piece: Piece<'_>, around: Around) {
        let (Some(source), Some(route)) = (piece.u8(8), piece.u8(14)) else { return };
        let route = if source & 0x80 == 0 { 0 } else { usize::from(route & 0x1f) };
        self.skipped(piece, 14 + route, around, Self::llc);
    }

    fn sunatm(&mut self, piece: Piece<'_>, around: Around) {
        // The low half of the first byte says what is carried: 2 is LLC.
        if piece.u8(0).is_some_and(|flags| flags & 0xf == 2) {
            self.skipped(piece, 4, around, Self::llc);
        }
    }

    /// OpenBSD's packet filter: a header that says how long it is, padded to 4 bytes.
    fn pflog(&mut self, piece: Piece<'_>, around: Around) {
        let Some(length) = piece.u8(0) else { return };
        self.skipped(piece, usize::from(length).next_multiple_of(4), around, Self::ip);
    }

    /// A record of Endace's cards within another file: header, extension headers, then what its type says.
    fn erf(&mut self, piece: Piece<'_>, around: Around) {
        let (Some(mut kind), Some(wire)) = (piece.u8(8), piece.u16(14)) else { return };
        let Some(mut rest) = piece.skip(16) else { return };
        let which = kind & 0x7f;
        while kind & 0x80 != 0 {
            let (Some(next), Some(behind)) = (rest.u8(0), rest.skip(8)) else { return };
            (kind, rest) = (next, behind);
        }
        match which {
            // Ethernet of several kinds, with two bytes of padding.
            2 | 11 | 16 | 20 => {
                if let Some(rest) = rest.skip(2) {
                    self.ethernet(Piece::new(rest.bytes(), wire.into()), around);
                }
            }
            22 | 23 => self.ip(rest, around),
            1 => self.chdlc(rest, around),
            _ => {}
        }
    }

    /// Cable modems: a header with its own extension, then Ethernet.
    fn docsis(&mut self, piece: Piece<'_>, around: Around) {
        let Some(head) = piece.chunk::<2>(0) else { return };
        // Frame type 0 carries data; the lowest bit says that an extended header is there, of such a length.
        if head[0] >> 6 == 0 {
            let extension = if head[0] & 1 == 0 { 0 } else { usize::from(head[1]) };
            self.skipped(piece, 6 + extension, around, Self::ethernet);
        }
    }
}
