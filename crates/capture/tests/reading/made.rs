//! Captures made by hand: segments, frames around them, files around those.

use capture::{FileEnding, Flow, Packet, Reader};
use tcp::Segment;

/// What a [`Packet`] says, kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) number: u64,
    pub(crate) file: u16,
    pub(crate) time_ns: i64,
    pub(crate) flow: Flow,
    pub(crate) context: u32,
    pub(crate) segment: Segment,
    pub(crate) window_scale: Option<u8>,
    pub(crate) payload: Vec<u8>,
    pub(crate) ip_id: u16,
    pub(crate) ttl: u8,
    pub(crate) cut: bool,
}

impl Seen {
    pub(crate) fn of(packet: &Packet<'_>) -> Self {
        Self {
            number: packet.number,
            file: packet.file,
            time_ns: packet.time_ns,
            flow: packet.flow,
            context: packet.context,
            segment: packet.segment,
            window_scale: packet.window_scale,
            payload: packet.payload.to_vec(),
            ip_id: packet.ip_id,
            ttl: packet.ttl,
            cut: packet.cut,
        }
    }
}

/// Everything a reader gives.
pub(crate) fn all(mut reader: Reader<'_>) -> (Vec<Seen>, FileEnding) {
    let mut seen = Vec::new();
    reader.for_each(|packet| seen.push(Seen::of(packet)));
    let statistics = reader.statistics();
    assert_eq!(statistics.segments, seen.len() as u64);
    assert!(statistics.without_tcp <= statistics.frames);
    (seen, reader.ending().cloned().expect("it was read to its end"))
}

pub(crate) fn all_of(bytes: &[u8]) -> (Vec<Seen>, FileEnding) {
    all(Reader::new(bytes).expect("a capture"))
}

/// A segment with its data: ports 40,000 and 80, sequence number as given, timestamps.
pub(crate) fn tcp(seq: u32, flags: u8, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x9c, 0x40, 0, 80];
    bytes.extend(seq.to_be_bytes());
    bytes.extend([0, 0, 0, 7, 0x80, flags, 0x10, 0, 0, 0, 0, 0]);
    bytes.extend([1, 1, 8, 10, 0, 0, 1, 0, 0, 0, 2, 0]);
    bytes.extend(data);
    bytes
}

/// A packet of IPv4 from 192.0.2.1 to 192.0.2.2.
pub(crate) fn ipv4(protocol: u8, body: &[u8]) -> Vec<u8> {
    ipv4_fragment(protocol, 0x4000, body)
}

/// The same with its field of flags and offset.
pub(crate) fn ipv4_fragment(protocol: u8, place: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x45, 0];
    bytes.extend(u16::try_from(20 + body.len()).unwrap().to_be_bytes());
    bytes.extend([0x12, 0x34]);
    bytes.extend(place.to_be_bytes());
    bytes.extend([63, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
    bytes.extend(body);
    bytes
}

/// A packet of IPv6 from 2001:db8::1 to 2001:db8::2.
pub(crate) fn ipv6(next: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x60, 0, 0, 0];
    bytes.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    bytes.extend([next, 62]);
    for last in [1, 2] {
        bytes.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    bytes.extend(body);
    bytes
}

/// A frame of Ethernet.
pub(crate) fn ethernet(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    bytes.extend(kind.to_be_bytes());
    bytes.extend(body);
    bytes
}

/// A frame in a file.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) time_ns: u64,
    pub(crate) bytes: Vec<u8>,
    /// Bytes on the wire.
    pub(crate) wire: u32,
}

impl Frame {
    pub(crate) fn new(time_ns: u64, bytes: Vec<u8>) -> Self {
        let wire = u32::try_from(bytes.len()).unwrap();
        Self { time_ns, bytes, wire }
    }
}

/// A conversation of a few frames; the fourth is cut by the snap length, the fifth is no TCP.
pub(crate) fn conversation() -> Vec<Frame> {
    let frame = |seq, flags, data: &[u8]| ethernet(0x0800, &ipv4(6, &tcp(seq, flags, data)));
    let bodies = [
        frame(1, 2, b""),
        frame(2, 0x18, b"GET / HTTP/1.1\r\n\r\n"),
        ethernet(0x86dd, &ipv6(6, &tcp(9, 0x10, b"six"))),
        frame(20, 0x18, &[b'x'; 500])[..100].to_vec(),
        ethernet(0x0806, &[0; 46]),
        frame(520, 0x11, b""),
    ];
    let mut frames: Vec<_> = (0..)
        .map(|number| 1_700_000_000_000_000_000 + number * 250_000)
        .zip(bodies)
        .map(|(time, bytes)| Frame::new(time, bytes))
        .collect();
    frames[3].wire = 566;
    frames
}

/// How numbers are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(crate) big: bool,
}

impl Order {
    pub(crate) fn u16(self, number: u16) -> [u8; 2] {
        if self.big { number.to_be_bytes() } else { number.to_le_bytes() }
    }

    pub(crate) fn u32(self, number: u32) -> [u8; 4] {
        if self.big { number.to_be_bytes() } else { number.to_le_bytes() }
    }

    pub(crate) fn u64(self, number: u64) -> [u8; 8] {
        if self.big { number.to_be_bytes() } else { number.to_le_bytes() }
    }
}

pub(crate) const LITTLE: Order = Order { big: false };
pub(crate) const BIG: Order = Order { big: true };

/// A classic file. `extra` bytes stand behind the header of each record.
pub(crate) fn pcap(order: Order, magic: u32, extra: usize, link: u32, frames: &[Frame]) -> Vec<u8> {
    let unit = if magic == 0xa1b2_3c4d { 1 } else { 1_000 };
    let mut file = order.u32(magic).to_vec();
    file.extend([order.u16(2), order.u16(4)].concat());
    file.extend([order.u32(0), order.u32(0), order.u32(262_144), order.u32(link)].concat());
    for frame in frames {
        for field in
            [frame.time_ns / 1_000_000_000, frame.time_ns % 1_000_000_000 / unit, frame.bytes.len() as u64]
        {
            file.extend(order.u32(u32::try_from(field).unwrap()));
        }
        file.extend(order.u32(frame.wire));
        file.extend(vec![0xee; extra]);
        file.extend(&frame.bytes);
    }
    file
}

pub(crate) const MICROSECONDS: u32 = 0xa1b2_c3d4;
pub(crate) const NANOSECONDS: u32 = 0xa1b2_3c4d;

/// The plain file that the others are compared with.
pub(crate) fn plain(frames: &[Frame]) -> Vec<u8> {
    pcap(LITTLE, MICROSECONDS, 0, 1, frames)
}

/// A block of pcapng.
pub(crate) fn block(order: Order, kind: u32, body: &[u8]) -> Vec<u8> {
    let mut padded = body.to_vec();
    padded.resize(body.len().next_multiple_of(4), 0);
    let length = order.u32(u32::try_from(12 + padded.len()).unwrap());
    [&order.u32(kind)[..], &length, &padded, &length].concat()
}

pub(crate) fn option(order: Order, code: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = [order.u16(code), order.u16(u16::try_from(value.len()).unwrap())].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

pub(crate) fn section(order: Order) -> Vec<u8> {
    let comment = option(order, 1, b"a comment");
    let fields = [&order.u32(0x1a2b_3c4d)[..], &order.u16(1), &order.u16(0), &[0xff; 8], &comment, &[0; 4]];
    block(order, 0x0a0d_0d0a, &fields.concat())
}

pub(crate) fn interface(order: Order, link: u16, snap: u32, options: &[u8]) -> Vec<u8> {
    let fields = [&order.u16(link)[..], &[0; 2], &order.u32(snap), options];
    block(order, 1, &fields.concat())
}

/// An enhanced packet block; the time in units of its interface.
pub(crate) fn packet(order: Order, interface: u32, time: u64, frame: &Frame) -> Vec<u8> {
    let (high, low) = (u32::try_from(time >> 32).unwrap(), u32::try_from(time & 0xffff_ffff).unwrap());
    let captured = u32::try_from(frame.bytes.len()).unwrap();
    let mut body = [interface, high, low, captured, frame.wire].map(|field| order.u32(field)).concat();
    body.extend(&frame.bytes);
    body.resize(body.len().next_multiple_of(4), 0);
    body.extend(option(order, 1, b"odd"));
    body.extend([0; 4]);
    block(order, 6, &body)
}

/// A file of one section and one interface, in microseconds.
pub(crate) fn pcapng(order: Order, frames: &[Frame]) -> Vec<u8> {
    let mut file = [section(order), interface(order, 1, 0, &[])].concat();
    for frame in frames {
        file.extend(packet(order, 0, frame.time_ns / 1_000, frame));
    }
    file
}
