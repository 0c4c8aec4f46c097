//! IPv4 and IPv6, and what is in them.

use super::fast::MAPPED;
use super::fragments::Datagram;
use super::{Around, Layers, Piece};

const IPV6_HEADER: usize = 40;
/// What a length of 16 bits can say.
const LARGEST_DATAGRAM: usize = 65_535;

impl Layers<'_> {
    /// IP of the version that it says.
    pub(super) fn ip(&mut self, piece: Piece<'_>, around: Around) {
        match piece.u8(0).map(|byte| byte >> 4) {
            Some(4) => self.ipv4(piece, around),
            Some(6) => self.ipv6(piece, around),
            _ => {}
        }
    }

    pub(super) fn ipv4(&mut self, piece: Piece<'_>, around: Around) {
        let (Some(around), Some(head)) = (around.inside(), piece.chunk::<20>(0)) else { return };
        let header = usize::from(head[0] & 0xf) * 4;
        if head[0] >> 4 != 4 || header < 20 {
            return;
        }
        // A length of 0 is that of a packet which the card was to cut into pieces (TSO): what there is.
        let total = match usize::from(u16::from_be_bytes([head[2], head[3]])) {
            0 => piece.wire(),
            total if total < header => return,
            total => total,
        };
        let Some(body) = piece.limit(total).skip(header) else {
            return;
        };
        let ip_id = u16::from_be_bytes([head[4], head[5]]);
        let address = |at: usize| {
            MAPPED | u128::from(u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]))
        };
        let around = Around { source: address(12), destination: address(16), ip_id, ttl: head[8], ..around };
        let place = u16::from_be_bytes([head[6], head[7]]);
        let (offset, more) = (usize::from(place & 0x1fff) * 8, place & 0x2000 != 0);
        if offset == 0 && !more {
            return self.protocol(head[9], body, around);
        }
        let all = body.bytes().len() >= total - header;
        self.fragment(head[9], u32::from(ip_id), (offset, more, all), body, around);
    }

    pub(super) fn ipv6(&mut self, piece: Piece<'_>, around: Around) {
        let (Some(around), Some(head)) = (around.inside(), piece.chunk::<IPV6_HEADER>(0)) else { return };
        let Some(body) = piece.skip(IPV6_HEADER) else { return };
        if head[0] >> 4 != 6 {
            return;
        }
        // 0 stands for a jumbogram (RFC 2675), or for TSO as above.
        let body = match usize::from(u16::from_be_bytes([head[4], head[5]])) {
            0 => body,
            length => body.limit(length),
        };
        let address = |at: usize| {
            let bytes: [u8; 16] = std::array::from_fn(|place| head[at + place]);
            u128::from_be_bytes(bytes)
        };
        let around =
            Around { source: address(8), destination: address(24), ip_id: 0, ttl: head[7], ..around };
        self.protocol(head[6], body, around);
    }

    /// What IP carries, by its number (<https://www.iana.org/assignments/protocol-numbers>). ICMP quotes headers of
    /// TCP, but no segment is in it.
    pub(super) fn protocol(&mut self, protocol: u8, piece: Piece<'_>, around: Around) {
        let Some(around) = around.inside() else { return };
        match protocol {
            6 => self.tcp(piece, around),
            17 => self.udp(piece, around),
            4 => self.ipv4(piece, around),
            41 => self.ipv6(piece, around),
            47 => self.gre(piece, around),
            97 => self.skipped(piece, 2, around, Self::ethernet), // EtherIP (RFC 3378)
            137 => self.mpls(piece, around),
            143 => self.ethernet(piece, around), // in segment routing (RFC 8986)
            // IPv6: hop-by-hop, routing, destination options, mobility, HIP, shim6 (RFC 7045).
            0 | 43 | 60 | 135 | 139 | 140 => self.extension(piece, 8, 8, around),
            51 => self.extension(piece, 8, 4, around), // AH counts in words of 4 bytes, less 2 (RFC 4302)
            44 => self.ipv6_fragment(piece, around),
            108 => self.compressed(piece, around),
            _ => {}
        }
    }

    /// A header that says what follows it and how long it is: so many bytes, and a unit for each of its length.
    fn extension(&mut self, piece: Piece<'_>, least: usize, unit: usize, around: Around) {
        let Some([next, length]) = piece.chunk::<2>(0) else { return };
        if let Some(rest) = piece.skip(least + usize::from(length) * unit) {
            self.protocol(next, rest, around);
        }
    }

    /// IPComp (RFC 3173) with DEFLATE (RFC 2394), which is all that is used.
    fn compressed(&mut self, piece: Piece<'_>, around: Around) {
        let (Some(next), Some(body)) = (piece.u8(0), piece.skip(4)) else { return };
        if std::mem::replace(&mut self.inflated, true) {
            return;
        }
        let mut whole = Vec::with_capacity(LARGEST_DATAGRAM);
        let mut inflate = flate2::Decompress::new(false);
        let done = inflate.decompress_vec(body.bytes(), &mut whole, flate2::FlushDecompress::Finish);
        if matches!(done, Ok(flate2::Status::StreamEnd)) {
            self.protocol(next, Piece::new(&whole, whole.len()), around);
        }
    }

    fn ipv6_fragment(&mut self, piece: Piece<'_>, around: Around) {
        let (Some(head), Some(body)) = (piece.chunk::<8>(0), piece.skip(8)) else { return };
        let place = u16::from_be_bytes([head[2], head[3]]);
        let (offset, more) = (usize::from(place & !7), place & 1 != 0);
        if offset == 0 && !more {
            // An atomic fragment (RFC 6946).
            return self.protocol(head[0], body, around);
        }
        let id = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        let all = body.bytes().len() >= body.wire();
        self.fragment(head[0], id, (offset, more, all), body, around);
    }

    /// A fragment at an offset, with more behind it or not, captured as a whole or not.
    fn fragment(
        &mut self,
        protocol: u8,
        id: u32,
        (offset, more, all): (usize, bool, bool),
        body: Piece<'_>,
        around: Around,
    ) {
        self.statistics.fragments += 1;
        if !all {
            // What was cut cannot be put together; but the header is in the first, and says what the rest is.
            if offset == 0 {
                self.protocol(protocol, body, around);
            }
            return;
        }
        let datagram = Datagram {
            context: around.context,
            source: around.source,
            destination: around.destination,
            protocol,
            id,
        };
        if let Some(whole) = self.fragments.add(datagram, self.time_ns, offset, more, body.bytes()) {
            self.statistics.reassembled += 1;
            self.protocol(protocol, Piece::new(&whole, whole.len()), around);
        }
    }

    /// Goes on behind a header of so many bytes.
    pub(super) fn skipped(
        &mut self,
        piece: Piece<'_>,
        header: usize,
        around: Around,
        next: fn(&mut Self, Piece<'_>, Around),
    ) {
        if let Some(rest) = piece.skip(header) {
            next(self, rest, around);
        }
    }
}
