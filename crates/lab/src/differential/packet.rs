//! Segments as IP packets, and back.

use std::net::{IpAddr, SocketAddr};
use tcp::{Flags, Segment, Seq, Timestamps};

/// A connection as the kernel sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple {
    /// Address and port of the kernel's socket.
    pub local: SocketAddr,
    /// Address and port that are played here.
    pub peer: SocketAddr,
}

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const TCP_HEADER: usize = 20;
/// NOP, NOP, timestamps.
const TIMESTAMPS: usize = 12;
/// NOP, window scale.
const SCALE: [u8; 3] = [1, 3, 3];
const MSS: [u8; 4] = [2, 4, 0x05, 0xb4];
const PROTOCOL: u8 = 6;

/// The packet that carries a segment from the peer to the kernel, its checksums filled in. A SYN offers an MSS of
/// 1460 bytes; data is zeros. Both ends are of one family.
pub fn encode(tuple: Tuple, segment: &Segment) -> Vec<u8> {
    encode_with(tuple, segment, None, &[])
}

/// The same; a SYN offers to scale windows by this, and the data begins with these bytes, as far as they fit.
pub fn encode_with(tuple: Tuple, segment: &Segment, scale: Option<u8>, data: &[u8]) -> Vec<u8> {
    let mut options = Vec::with_capacity(MSS.len() + SCALE.len() + 1 + TIMESTAMPS);
    if segment.flags.has(Flags::SYN) {
        options.extend(MSS);
        if let Some(shift) = scale {
            options.extend(SCALE);
            options.push(shift);
        }
    }
    if let Some(timestamps) = segment.timestamps {
        options.extend([1, 1, 8, 10]);
        options.extend(timestamps.value.to_be_bytes());
        options.extend(timestamps.echo.to_be_bytes());
    }
    let header = TCP_HEADER + options.len();
    let tcp = header + segment.length as usize;
    let mut packet = Vec::with_capacity(IPV6_HEADER + tcp);
    let addresses = match (tuple.peer.ip(), tuple.local.ip()) {
        (IpAddr::V4(peer), IpAddr::V4(local)) => {
            packet.extend([0x45, 0]);
            packet.extend(length_field(IPV4_HEADER + tcp));
            packet.extend([0, 0, 0x40, 0, 64, PROTOCOL, 0, 0]);
            packet.extend(peer.octets());
            packet.extend(local.octets());
            let sum = checksum(0, &packet);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
            12
        }
        (peer, local) => {
            packet.extend([0x60, 0, 0, 0]);
            packet.extend(length_field(tcp));
            packet.extend([PROTOCOL, 64]);
            for address in [peer, local] {
                packet.extend(wide(address));
            }
            8
        }
    };
    let start = packet.len();
    packet.extend(tuple.peer.port().to_be_bytes());
    packet.extend(tuple.local.port().to_be_bytes());
    packet.extend(segment.seq.number().to_be_bytes());
    packet.extend(segment.ack.number().to_be_bytes());
    #[expect(clippy::cast_possible_truncation, reason = "at most 40 bytes")]
    packet.push((header as u8 / 4) << 4);
    packet.push(segment.flags.bits());
    packet.extend(segment.window.to_be_bytes());
    packet.extend([0; 4]);
    packet.extend(options);
    packet.extend(&data[..data.len().min(segment.length as usize)]);
    packet.resize(start + tcp, 0);
    let tcp_length = u32::try_from(tcp).unwrap_or(u32::MAX);
    let sum = checksum(u32::from(PROTOCOL) + tcp_length, &packet[addresses..]);
    let at = start + 16;
    packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    packet
}

fn length_field(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

/// An address as IPv6 writes it.
fn wide(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// The segment in a packet that the kernel sent, and its connection. None if it is not TCP right behind an IP header.
pub fn decode(packet: &[u8]) -> Option<(Tuple, Segment)> {
    decode_scaled(packet).map(|(tuple, segment, _)| (tuple, segment))
}

/// The same, with its window scale option if it has one.
pub(super) fn decode_scaled(packet: &[u8]) -> Option<(Tuple, Segment, Option<u8>)> {
    let (addresses, tcp) = match packet.first()? >> 4 {
        4 => {
            let ip: &[u8; IPV4_HEADER] = packet.first_chunk()?;
            let address = |at: usize| IpAddr::from([ip[at], ip[at + 1], ip[at + 2], ip[at + 3]]);
            let total = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
            let tcp = packet.get(usize::from(ip[0] & 15) * 4..total).filter(|_| ip[9] == PROTOCOL)?;
            ([address(12), address(16)], tcp)
        }
        6 => {
            let ip: &[u8; IPV6_HEADER] = packet.first_chunk()?;
            let address = |at: usize| Some(IpAddr::from(*ip.get(at..)?.first_chunk::<16>()?));
            let total = IPV6_HEADER + usize::from(u16::from_be_bytes([ip[4], ip[5]]));
            let tcp = packet.get(IPV6_HEADER..total).filter(|_| ip[6] == PROTOCOL)?;
            ([address(8)?, address(24)?], tcp)
        }
        _ => return None,
    };
    let fixed: &[u8; TCP_HEADER] = tcp.first_chunk()?;
    let header = usize::from(fixed[12] >> 4) * 4;
    let data = tcp.len().checked_sub(header)?;
    let number = |at: usize| u32::from_be_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
    let port = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
    let tuple =
        Tuple { local: SocketAddr::new(addresses[0], port(0)), peer: SocketAddr::new(addresses[1], port(2)) };
    let options = tcp.get(TCP_HEADER..header)?;
    let segment = Segment {
        flags: Flags::from_bits(fixed[13]),
        seq: Seq::new(number(4)),
        ack: Seq::new(number(8)),
        length: u32::try_from(data).ok()?,
        window: port(14),
        timestamps: timestamps(options),
    };
    Some((tuple, segment, option(options, 3).map(|[shift]| *shift)))
}

/// What follows the kind and the length of an option.
fn option<const LENGTH: usize>(mut options: &[u8], wanted: u8) -> Option<&[u8; LENGTH]> {
    loop {
        match *options {
            [1, ref rest @ ..] => options = rest,
            [kind, length, ref rest @ ..] if kind == wanted && usize::from(length) == 2 + LENGTH => {
                return rest.first_chunk();
            }
            [kind, length, ..] if kind > 1 && length >= 2 => options = options.get(usize::from(length)..)?,
            _ => return None,
        }
    }
}

fn timestamps(options: &[u8]) -> Option<Timestamps> {
    let [a, b, c, d, echo @ ..] = *option::<8>(options, 8)?;
    Some(Timestamps { value: u32::from_be_bytes([a, b, c, d]), echo: u32::from_be_bytes(echo) })
}

/// The Internet checksum (RFC 1071) of some bytes and a number.
fn checksum(start: u32, bytes: &[u8]) -> u16 {
    let mut sum = start;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    #[expect(clippy::cast_possible_truncation, reason = "folded above")]
    let folded = sum as u16;
    !folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_survives_the_wire() {
        let segment = Segment {
            flags: Flags::SYN.with(Flags::ACK),
            seq: Seq::new(u32::MAX),
            ack: Seq::new(7),
            length: 3,
            window: 502,
            timestamps: Some(Timestamps { value: 1 << 31, echo: 9 }),
        };
        for (local, peer, header, addresses) in [
            ("10.77.0.1:80", "10.78.1.2:40000", IPV4_HEADER, 12),
            ("[fd10:1::2:1]:80", "[fd10:1::1:1]:40000", IPV6_HEADER, 8),
        ] {
            let tuple = Tuple { local: local.parse().unwrap(), peer: peer.parse().unwrap() };
            let packet = encode_with(tuple, &segment, Some(7), &[]);
            if header == IPV4_HEADER {
                assert_eq!(checksum(0, &packet[..IPV4_HEADER]), 0);
            }
            let tcp_length = u32::try_from(packet.len() - header).expect("short");
            assert_eq!(checksum(u32::from(PROTOCOL) + tcp_length, &packet[addresses..]), 0);
            let (back, decoded, scale) = decode_scaled(&packet).expect("decodes");
            assert_eq!((back.local, back.peer, decoded), (tuple.peer, tuple.local, segment));
            assert_eq!(scale, Some(7));
            assert_eq!(decode_scaled(&encode(tuple, &segment)).expect("decodes").2, None);
            for cut in 0..packet.len() {
                assert_eq!(decode(&packet[..cut]), None, "{cut}");
            }
        }
    }
}
