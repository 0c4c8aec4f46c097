//! A recorded frame: Ethernet, IPv4, TCP; and how to make another of it.

use anyhow::{Context as _, ensure};
use std::net::Ipv4Addr;

/// Bytes of an Ethernet header, and of the headers of IPv4 and TCP without options (RFC 791, RFC 9293).
const ETHERNET: usize = 14;
const IP: usize = 20;
const TCP: usize = 20;
/// Option kinds (RFC 9293 section 3.2, RFC 2018, RFC 7323).
const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;
/// Bits of the flags.
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// Where the parts of a frame are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    ip: usize,
    tcp: usize,
    data: usize,
    end: usize,
}

/// What a copy differs by.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shift {
    /// Added to the client's address.
    pub(super) client: u32,
    /// Added to the sequence numbers of both sides.
    pub(super) sequence: u32,
    /// Added to the timestamps of both sides.
    pub(super) timestamps: u32,
}

impl Layout {
    /// Finds the parts. The frame must be whole, and its checksums right: those of the copies follow from them.
    pub(super) fn of(frame: &[u8]) -> anyhow::Result<Self> {
        let head = frame.first_chunk::<{ ETHERNET + IP }>().context("too short")?;
        ensure!(head[12..14] == [8, 0] && head[ETHERNET] >> 4 == 4 && head[23] == 6, "not TCP in IPv4");
        let (ip, tcp) = (ETHERNET, ETHERNET + usize::from(head[ETHERNET] & 15) * 4);
        let end = ip + usize::from(half(frame, ip + 2));
        ensure!(end <= frame.len() && end >= tcp + TCP, "a part of it is missing");
        let data = tcp + usize::from(frame[tcp + 12] >> 4) * 4;
        ensure!((tcp + TCP..=end).contains(&data), "odd lengths");
        ensure!(fold(sum(&frame[ip..tcp])) == 0xffff, "the checksum of IPv4 is wrong");
        let layout = Self { ip, tcp, data, end };
        ensure!(layout.tcp_sum(frame) == 0xffff, "the checksum of TCP is wrong");
        Ok(layout)
    }

    /// RFC 9293 section 3.1: over addresses, protocol, length, and the segment.
    fn tcp_sum(self, frame: &[u8]) -> u16 {
        let length = (self.end - self.tcp) as u64;
        fold(sum(&frame[self.ip + 12..self.ip + 20]) + 6 + length + sum(&frame[self.tcp..self.end]))
    }

    fn flags(self, frame: &[u8]) -> u8 {
        frame[self.tcp + 13]
    }

    /// A client's first segment.
    pub(super) fn opens(self, frame: &[u8]) -> bool {
        self.flags(frame) & (SYN | ACK) == SYN
    }

    pub(super) fn fin(self, frame: &[u8]) -> bool {
        self.flags(frame) & FIN != 0
    }

    pub(super) fn reset(self, frame: &[u8]) -> bool {
        self.flags(frame) & RST != 0
    }

    pub(super) fn sequence(self, frame: &[u8]) -> u32 {
        word(frame, self.tcp + 4)
    }

    /// Addresses and ports as they are, source first.
    pub(super) fn tuple(self, frame: &[u8]) -> [u32; 3] {
        [word(frame, self.ip + 12), word(frame, self.ip + 16), word(frame, self.tcp)]
    }

    /// Makes a frame of a copy out of one of the recording.
    pub(super) fn shift(self, frame: &mut [u8], client: Ipv4Addr, shift: Shift) {
        let client = u32::from(client);
        let mut change = Change::default();
        for at in [self.ip + 12, self.ip + 16] {
            let old = word(frame, at);
            if old == client {
                change.set(frame, at, old.wrapping_add(shift.client));
            }
        }
        change.apply(frame, self.ip + 10);
        let flags = self.flags(frame);
        let sequence = self.sequence(frame);
        // A reset that answers a segment without ACK has the number 0, in every connection (RFC 9293 3.10.7.1).
        if flags & (RST | ACK) != RST | ACK || sequence != 0 {
            change.set(frame, self.tcp + 4, sequence.wrapping_add(shift.sequence));
        }
        if flags & ACK != 0 {
            change.set(frame, self.tcp + 8, word(frame, self.tcp + 8).wrapping_add(shift.sequence));
        }
        self.shift_options(frame, &mut change, flags, shift);
        change.apply(frame, self.tcp + 16);
    }

    fn shift_options(self, frame: &mut [u8], change: &mut Change, flags: u8, shift: Shift) {
        let mut at = self.tcp + TCP;
        while at < self.data && frame[at] != END {
            if frame[at] == NO_OPERATION {
                at += 1;
                continue;
            }
            let length = frame.get(at + 1).map_or(0, |length| usize::from(*length));
            if length < 2 || at + length > self.data {
                return;
            }
            let (first, by) = match frame[at] {
                TIMESTAMPS => (at + 2, shift.timestamps),
                SACK => (at + 2, shift.sequence),
                _ => (at + length, 0),
            };
            for field in (first..at + length).step_by(4).filter(|field| field + 4 <= at + length) {
                let echo_of_nothing = frame[at] == TIMESTAMPS && field > first && flags & ACK == 0;
                if !echo_of_nothing {
                    change.set(frame, field, word(frame, field).wrapping_add(by));
                }
            }
            at += length;
        }
    }
}

/// What changes of a checksum follow from changed words (RFC 1624).
#[derive(Default)]
struct Change(u64);

impl Change {
    /// Sets a word. The headers of IPv4 and TCP both begin at even places of a frame, as their sums do.
    fn set(&mut self, frame: &mut [u8], at: usize, value: u32) {
        for (place, new) in (at..).zip(value.to_be_bytes()) {
            let weight = if place.is_multiple_of(2) { 256 } else { 1 };
            let old = std::mem::replace(&mut frame[place], new);
            self.0 += weight * (255 - u64::from(old) + u64::from(new));
        }
    }

    fn apply(&self, frame: &mut [u8], checksum: usize) {
        let sum = fold(u64::from(!half(frame, checksum)) + self.0);
        frame[checksum..checksum + 2].copy_from_slice(&(!sum).to_be_bytes());
    }
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn sum(bytes: &[u8]) -> u64 {
    let (pairs, last) = bytes.as_chunks::<2>();
    let all = pairs.iter().map(|pair| u64::from(u16::from_be_bytes(*pair))).sum::<u64>();
    all + last.first().map_or(0, |last| u64::from(*last) << 8)
}

fn fold(mut sum: u64) -> u16 {
    loop {
        match u16::try_from(sum) {
            Ok(sum) => return sum,
            Err(_) => sum = (sum & 0xffff) + (sum >> 16),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);

    /// A frame from the client, or to it, with right checksums.
    pub(in super::super) fn made(
        from_client: bool,
        flags: u8,
        sequence: u32,
        options: &[u8],
        data: &[u8],
    ) -> Vec<u8> {
        let (client, server) = ([10, 1, 0, 1, 0x9c, 0x40], [10, 2, 0, 1, 0, 80]);
        let (source, destination) = if from_client { (client, server) } else { (server, client) };
        let mut frame = vec![0; ETHERNET + IP + TCP];
        frame[12..14].copy_from_slice(&[8, 0]);
        let length = u16::try_from(IP + TCP + options.len() + data.len()).unwrap();
        frame[14] = 0x45;
        frame[16..18].copy_from_slice(&length.to_be_bytes());
        frame[22..24].copy_from_slice(&[64, 6]);
        frame[26..30].copy_from_slice(&source[..4]);
        frame[30..34].copy_from_slice(&destination[..4]);
        frame[34..36].copy_from_slice(&source[4..]);
        frame[36..38].copy_from_slice(&destination[4..]);
        frame[38..42].copy_from_slice(&sequence.to_be_bytes());
        frame[42..46].copy_from_slice(&7_u32.to_be_bytes());
        frame[46] = u8::try_from((TCP + options.len()) / 4 * 16).unwrap();
        frame[47] = flags;
        frame.extend(options);
        frame.extend(data);
        let layout = Layout { ip: 14, tcp: 34, data: 54 + options.len(), end: frame.len() };
        let ip = !fold(sum(&frame[14..34]));
        frame[24..26].copy_from_slice(&ip.to_be_bytes());
        let tcp = !layout.tcp_sum(&frame);
        frame[50..52].copy_from_slice(&tcp.to_be_bytes());
        frame
    }

    const STAMPS: [u8; 12] = [1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 5];
    const SHIFT: Shift = Shift { client: 0x103, sequence: 0x0101_ffff, timestamps: 0xffff };

    #[test]
    fn the_checksums_of_a_copy_are_right() {
        let odd = [8, 10, 0, 0, 0, 9, 0, 0, 0, 5, 1, 1];
        let unaligned = [1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 5, 1];
        let sack = [1, 1, 5, 10, 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 1];
        for from_client in [true, false] {
            for flags in [SYN, SYN | ACK, ACK, ACK | FIN, RST, RST | ACK] {
                for options in [&[][..], &STAMPS, &odd, &unaligned, &sack] {
                    for data in [&b""[..], b"odd", b"even"] {
                        for sequence in [0, 1, 0xffff_ffff] {
                            let mut frame = made(from_client, flags, sequence, options, data);
                            let layout = Layout::of(&frame).unwrap();
                            layout.shift(&mut frame, CLIENT, SHIFT);
                            Layout::of(&frame).unwrap();
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_copy_differs_in_address_numbers_and_timestamps_only() {
        let mut frame = made(true, ACK, 100, &STAMPS, b"data");
        let layout = Layout::of(&frame).unwrap();
        layout.shift(&mut frame, CLIENT, Shift { client: 2, sequence: 1_000, timestamps: 30 });
        let stamps = [1, 1, 8, 10, 0, 0, 0, 39, 0, 0, 0, 35];
        let mut expected = made(true, ACK, 1_100, &stamps, b"data");
        expected[29] = 3;
        expected[45] = 0;
        expected[42..46].copy_from_slice(&1_007_u32.to_be_bytes());
        for checksum in [24, 25, 50, 51] {
            expected[checksum] = frame[checksum];
        }
        assert_eq!(frame, expected);
    }

    #[test]
    fn what_means_nothing_stays_zero() {
        let mut refusal = made(false, RST | ACK, 0, &[], b"");
        let layout = Layout::of(&refusal).unwrap();
        layout.shift(&mut refusal, CLIENT, SHIFT);
        assert_eq!(layout.sequence(&refusal), 0);
        let mut syn = made(true, SYN, 5, &[1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0], b"");
        let layout = Layout::of(&syn).unwrap();
        layout.shift(&mut syn, CLIENT, SHIFT);
        assert_eq!((word(&syn, 42), word(&syn, 62)), (7, 0), "acknowledgment and echo of a SYN");
    }

    #[test]
    fn a_wrong_checksum_is_refused() {
        let mut frame = made(true, ACK, 100, &[], b"data");
        *frame.last_mut().unwrap() ^= 1;
        assert!(Layout::of(&frame).unwrap_err().to_string().contains("TCP"));
        let mut frame = made(true, ACK, 100, &[], b"data");
        frame[22] ^= 1;
        assert!(Layout::of(&frame).unwrap_err().to_string().contains("IPv4"));
    }
}
