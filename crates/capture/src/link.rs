//! From a frame to the TCP segments in it: link layers, IP, tunnels and fragments.
//!
//! Nearly every frame is Ethernet, IPv4 without options, TCP: [`fast`] takes that apart without a branch too many.
//! Everything else goes layer by layer through [`Layers`].

mod ethernet;
mod fast;
mod fragments;
mod internet;
mod piece;
mod point_to_point;
mod segment;
mod tunnel;
mod wireless;

use self::fragments::Fragments;
use self::piece::Piece;
use crate::file::Record;
use crate::packet::{Packet, Sink};

/// A LINKTYPE of pcap (<https://www.tcpdump.org/linktypes.html>), or what stands for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Link(pub(crate) u32);

impl Link {
    pub(crate) const ETHERNET: Self = Self(1);
    pub(crate) const TOKEN_RING: Self = Self(6);
    pub(crate) const FDDI: Self = Self(10);
    pub(crate) const ATM_RFC1483: Self = Self(100);
    pub(crate) const RAW: Self = Self(101);
    pub(crate) const SUNATM: Self = Self(123);
    pub(crate) const IPNET: Self = Self(226);
    /// What a file of another format has that has no number here.
    pub(crate) const UNKNOWN: Self = Self(u32::MAX);
    /// A record that has a number as packets do, but is none.
    pub(crate) const NOT_A_PACKET: Self = Self(u32::MAX - 1);
}

/// Layers within layers; no frame that anyone meant to send has as many.
const DEEPEST: u8 = 32;

/// What was read of one capture, and what could not be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Frames, of whatever kind.
    pub frames: u64,
    /// TCP segments.
    pub segments: u64,
    /// Frames that gave no segment.
    pub without_tcp: u64,
    /// Frames cut by the snap length.
    pub cut: u64,
    /// Frames whose link type is not known.
    pub unknown_links: u64,
    /// The first such link type, as pcap numbers them.
    pub unknown_link: Option<u32>,
    /// TCP headers cut by the snap length before their flags and window.
    pub headers_cut: u64,
    /// IP fragments.
    pub fragments: u64,
    /// Datagrams put together from fragments.
    pub reassembled: u64,
    /// Datagrams given up before they were complete: too old, too many, or still waiting when the file ended.
    pub fragments_given_up: u64,
    /// Packets that the capturing program says it lost, where the format can say.
    pub dropped: Option<u64>,
    /// The earliest and the latest time of a frame, in nanoseconds since 1970.
    pub times_ns: Option<(i64, i64)>,
}

/// Takes the frames of one capture apart.
#[derive(Debug)]
pub(crate) struct Decoder {
    pub(crate) file: u16,
    fragments: Fragments,
    statistics: Statistics,
    earliest: i64,
    latest: i64,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            file: 0,
            fragments: Fragments::default(),
            statistics: Statistics::default(),
            earliest: i64::MAX,
            latest: i64::MIN,
        }
    }
}

impl Decoder {
    /// Gives the segments of a frame; `bytes` are those that the record's place counts from.
    #[inline]
    pub(crate) fn frame(&mut self, number: u64, record: &Record, bytes: &[u8], sink: &mut impl Sink) {
        let end = record.start + record.captured as usize;
        let frame = bytes.get(record.start..end).unwrap_or_default();
        self.earliest = self.earliest.min(record.time_ns);
        self.latest = self.latest.max(record.time_ns);
        let cut = record.captured < record.original;
        self.statistics.cut += u64::from(cut);
        if record.link == Link::ETHERNET
            && let Some(segment) = fast::ethernet_ipv4_tcp(frame, record.original as usize)
        {
            self.statistics.segments += 1;
            // What is not wanted costs no more than its addresses: of two threads that share the connections of a
            // capture, each saves a third of the time that it would take to decode the other's packets.
            if sink.wants(&segment.head(record.time_ns)) {
                sink.take(&segment.packet(number, self.file, record.time_ns, cut));
            }
            return;
        }
        self.layers(number, record, frame, &mut |packet| {
            if sink.wants(&packet.head()) {
                sink.take(packet);
            }
        });
    }

    #[cold]
    #[inline(never)]
    fn layers(&mut self, number: u64, record: &Record, frame: &[u8], sink: &mut dyn FnMut(&Packet<'_>)) {
        let before = self.statistics.segments;
        let mut layers = Layers {
            number,
            time_ns: record.time_ns,
            file: self.file,
            cut: record.captured < record.original,
            inflated: false,
            fragments: &mut self.fragments,
            statistics: &mut self.statistics,
            sink,
        };
        if record.link != Link::NOT_A_PACKET {
            layers.link(record.link, Piece::new(frame, record.original as usize), Around::default());
        }
        self.statistics.without_tcp += u64::from(self.statistics.segments == before);
    }

    pub(crate) fn statistics(&self) -> Statistics {
        let mut statistics = self.statistics.clone();
        statistics.fragments_given_up = self.fragments.given_up() + self.fragments.waiting();
        statistics.times_ns = (self.earliest <= self.latest).then_some((self.earliest, self.latest));
        statistics
    }
}

/// A frame on its way through its layers.
struct Layers<'f> {
    number: u64,
    time_ns: i64,
    file: u16,
    cut: bool,
    /// Something in it has been decompressed: once is enough for honest frames.
    inflated: bool,
    fragments: &'f mut Fragments,
    statistics: &'f mut Statistics,
    sink: &'f mut dyn FnMut(&Packet<'_>),
}

/// What the layers around a piece said.
#[derive(Clone, Copy, Debug, Default)]
struct Around {
    /// How many there are.
    depth: u8,
    context: Context,
    source: u128,
    destination: u128,
    ip_id: u16,
    ttl: u8,
}

impl Around {
    /// One layer further in; `None` if there are too many.
    fn inside(self) -> Option<Self> {
        (self.depth < DEEPEST).then(|| Self { depth: self.depth + 1, ..self })
    }
}

/// The network a frame belongs to, by the tags and tunnels it is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Context(u32);

impl Context {
    /// In a VLAN besides; VLAN 0 only carries a priority (802.1Q).
    fn in_vlan(self, tag: u16) -> Self {
        match (self.0, u32::from(tag & 0xfff)) {
            (_, 0) => self,
            (0, vlan) => Self(vlan),
            (_, vlan) => self.mixed(vlan),
        }
    }

    /// In a virtual network of a tunnel besides. A kind keeps the numbers of different tunnels apart.
    fn in_network(self, kind: u32, number: u32) -> Self {
        self.mixed(kind << 24 | number & 0xff_ffff)
    }

    fn mixed(self, number: u32) -> Self {
        // FNV-1a by words, and a last mix so that near numbers do not stay near; never one of a plain VLAN.
        let mut hash = (u64::from(self.0) ^ 0xcbf2_9ce4_8422_2325).wrapping_mul(0x0100_0000_01b3);
        hash = (hash ^ u64::from(number)).wrapping_mul(0x0100_0000_01b3);
        hash ^= hash >> 29;
        hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let [.., a, b, c, d] = (hash >> 32).to_be_bytes();
        Self(u32::from_be_bytes([a, b, c, d]) | 0x1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_tells_networks_apart() {
        let none = Context::default();
        assert_eq!(none.in_vlan(0x2000), none, "only a priority");
        assert_eq!(none.in_vlan(0xe00a), Context(10));
        let inner = none.in_vlan(10).in_vlan(20);
        assert_ne!(inner, none.in_vlan(20).in_vlan(10));
        assert!(inner.0 > 4_095);
        assert_ne!(none.in_network(1, 7), none.in_network(2, 7));
        let all: std::collections::BTreeSet<_> = (0..100_000).map(|vni| none.in_network(1, vni).0).collect();
        assert!(all.len() > 99_990, "{}", all.len());
    }
}
