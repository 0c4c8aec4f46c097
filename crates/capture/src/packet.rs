//! One TCP segment of a capture, with what the file and the layers below say of it.

use tcp::{Flags, Segment};

/// The two ends of a segment as it travels. Addresses are 128 bits, IPv4 mapped into IPv6 (`::ffff:a.b.c.d`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Source address.
    pub source: u128,
    /// Destination address.
    pub destination: u128,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
}

/// A TCP segment as it was captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Number of the packet in its file, from 1, as Wireshark counts.
    pub number: u64,
    /// Which of several files it is from: the number its [`Reader`](crate::Reader) was given.
    pub file: u16,
    /// Time, in nanoseconds since 1970.
    pub time_ns: i64,
    /// Who sends to whom: the innermost addresses of a tunnel.
    pub flow: Flow,
    /// The network that the addresses belong to, where the frame says so: 0 without a tag, the number of its VLAN,
    /// or above 4,095 a hash of the tags and tunnels it is in (VXLAN, Geneve). The two directions of a connection
    /// may differ, where a router or a card stands between.
    pub context: u32,
    /// The segment; its `length` is that of the data on the wire, even if fewer bytes were captured.
    pub segment: Segment,
    /// Window scale of a SYN.
    pub window_scale: Option<u8>,
    /// The data, as far as captured.
    pub payload: &'a [u8],
    /// IPv4 identification; 0 also for IPv6.
    pub ip_id: u16,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// True if the packet was cut by the snap length.
    pub cut: bool,
}

/// What is known of a segment before its options and data are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Time, in nanoseconds since 1970.
    pub time_ns: i64,
    /// Who sends to whom.
    pub flow: Flow,
    /// The network that the addresses belong to, as in [`Packet::context`].
    pub context: u32,
    /// Flags.
    pub flags: Flags,
}

impl Packet<'_> {
    /// Its head.
    pub const fn head(&self) -> Head {
        Head { time_ns: self.time_ns, flow: self.flow, context: self.context, flags: self.segment.flags }
    }
}

/// What takes the segments of a capture, and need not take all of them.
pub trait Sink {
    /// Asked once for every segment, in their order. What it does not want is not decoded any further.
    fn wants(&mut self, head: &Head) -> bool;

    /// Takes the segment that it was asked about last.
    fn take(&mut self, packet: &Packet<'_>);
}

/// Gives every segment to a function.
pub(crate) struct Each<F>(pub(crate) F);

impl<F: FnMut(&Packet<'_>)> Sink for Each<F> {
    #[inline]
    fn wants(&mut self, _: &Head) -> bool {
        true
    }

    #[inline]
    fn take(&mut self, packet: &Packet<'_>) {
        self.0(packet);
    }
}
