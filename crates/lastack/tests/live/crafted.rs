//! Segments of one's own making, for what a well-behaved client never sends.

use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

/// A raw socket for TCP over IPv4; needs `CAP_NET_RAW` in this namespace, which its maker has.
pub(crate) struct Crafter(OwnedFd);

impl Crafter {
    pub(crate) fn new() -> Self {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::TCP));
        Self(socket.expect("a raw socket"))
    }

    /// Sends a SYN on loopback with this timestamp.
    pub(crate) fn syn(&self, source_port: u16, destination_port: u16, sequence: u32, timestamp: u32) {
        let mut segment = Vec::with_capacity(32);
        segment.extend_from_slice(&source_port.to_be_bytes());
        segment.extend_from_slice(&destination_port.to_be_bytes());
        segment.extend_from_slice(&sequence.to_be_bytes());
        segment.extend_from_slice(&[0; 4]);
        // Eight words of header, SYN, a window, room for the checksum, no urgent data.
        segment.extend_from_slice(&[0x80, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
        segment.extend_from_slice(&[1, 1, 8, 10]);
        segment.extend_from_slice(&timestamp.to_be_bytes());
        segment.extend_from_slice(&[0; 4]);
        let checksum = checksum(&segment);
        segment[16..18].copy_from_slice(&checksum.to_be_bytes());
        let destination = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
        rustix::net::sendto(&self.0, &segment, SendFlags::empty(), &destination).expect("is sent");
    }
}

/// The checksum of RFC 9293 section 3.1 over the pseudo header of 127.0.0.1 to 127.0.0.1 and the segment.
fn checksum(segment: &[u8]) -> u16 {
    let length = u16::try_from(segment.len()).expect("a short segment").to_be_bytes();
    let pseudo = [127, 0, 0, 1, 127, 0, 0, 1, 0, 6, length[0], length[1]];
    let words = pseudo.iter().chain(segment).copied().collect::<Vec<u8>>();
    let mut sum: u32 = words.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded")
}
