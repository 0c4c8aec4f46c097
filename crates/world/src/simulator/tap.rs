//! Packets as a capture at each host would show them, with the heads of HTTP messages.

use super::Simulation;
use super::network::{Packet, is_loopback, written};
use super::servers::HEAD_BYTES;
use super::socket::{Owner, Socket};
use crate::scenario::{Family, Http, Program};
use std::collections::BTreeMap;
use std::net::IpAddr;
use tcp::Flags;
use tcp::machine::Nanos;

/// So many packets are kept in all; the rest of the run is not seen.
const MOST_PACKETS: u32 = 700_000;
/// So much of each is kept: all headers, and the head of a message.
const SNAP: usize = 60 + 24 + HEAD_BYTES as usize;

/// The magic of a pcap file with nanoseconds, its version, zone, accuracy, snap length, and raw IP.
const FILE_HEAD: [u32; 6] = [0xa1b2_3c4d, 0x0004_0002, 0, 0, 65_535, 101];

/// What is in the data of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    /// The head of its message, by number; 0: nobody looks.
    pub(super) head: u16,
    /// Where in the message the segment begins.
    pub(super) offset: u32,
}

/// Captures of a run.
pub(super) struct Tap {
    family: Family,
    files: Vec<Vec<u8>>,
    heads: Vec<String>,
    numbers: BTreeMap<String, u16>,
    left: u32,
    /// When the last packet was kept that fitted.
    pub(super) cut_at: Option<Nanos>,
}

impl Tap {
    pub(super) fn new(family: Family, hosts: usize) -> Self {
        let head: Vec<u8> = FILE_HEAD.iter().flat_map(|number| number.to_le_bytes()).collect();
        Self {
            family,
            files: vec![head; hosts],
            heads: vec![String::new()],
            numbers: BTreeMap::new(),
            left: MOST_PACKETS,
            cut_at: None,
        }
    }

    pub(super) fn into_files(self) -> Vec<Vec<u8>> {
        self.files
    }

    /// The number of a head.
    fn number(&mut self, head: String) -> u16 {
        let next = u16::try_from(self.heads.len()).unwrap_or(0);
        *self.numbers.entry(head).or_insert_with_key(|head| {
            self.heads.push(head.clone());
            next
        })
    }

    fn keep(&mut self, host: usize, now: Nanos, packet: &Packet) {
        let Some(left) = self.left.checked_sub(1) else {
            self.cut_at.get_or_insert(now);
            return;
        };
        self.left = left;
        let segment = &packet.segment;
        let is_syn = segment.flags.has(Flags::SYN);
        let options = if is_syn { 4 } else { 0 } + if segment.timestamps.is_some() { 12 } else { 0 };
        let tcp = 20 + options + segment.length as usize;
        let length = tcp + if self.family == Family::Ipv4 { 20 } else { 40 };
        let kept = length.min(SNAP);
        let file = &mut self.files[host];
        let word = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let seconds = u32::try_from(now / 1_000_000_000).unwrap_or(u32::MAX);
        let nanos = u32::try_from(now % 1_000_000_000).unwrap_or(0);
        for number in [seconds, nanos, word(kept), word(length)] {
            file.extend(number.to_le_bytes());
        }
        let begin = file.len();
        let field = |length: usize| u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
        match self.family {
            Family::Ipv4 => {
                file.extend([0x45, 0]);
                file.extend(field(length));
                // The identification tells a segment that was sent again from a copy.
                let number = u16::try_from(left & 0xffff).unwrap_or(0);
                file.extend(number.to_be_bytes());
                file.extend([0x40, 0, 64, 6, 0, 0]);
            }
            Family::Ipv6 => {
                file.extend([0x60, 0, 0, 0]);
                file.extend(field(tcp));
                file.extend([6, 64]);
            }
        }
        for place in [packet.source, packet.destination] {
            match written(self.family, place.address) {
                IpAddr::V4(address) => file.extend(address.octets()),
                IpAddr::V6(address) => file.extend(address.octets()),
            }
        }
        file.extend(packet.source.port.to_be_bytes());
        file.extend(packet.destination.port.to_be_bytes());
        file.extend(segment.seq.number().to_be_bytes());
        file.extend(segment.ack.number().to_be_bytes());
        file.extend([u8::try_from((20 + options) / 4).unwrap_or(5) << 4, segment.flags.bits()]);
        file.extend(segment.window.to_be_bytes());
        file.extend([0; 4]);
        if is_syn {
            // A segment of 1,460 bytes at most, and the longer header of IPv6 is 20 bytes less for it.
            file.extend([2, 4, 0x05, if self.family == Family::Ipv4 { 0xb4 } else { 0xa0 }]);
        }
        if let Some(timestamps) = segment.timestamps {
            file.extend([1, 1, 8, 10]);
            file.extend(timestamps.value.to_be_bytes());
            file.extend(timestamps.echo.to_be_bytes());
        }
        let head = self.heads.get(usize::from(packet.content.head)).map_or(&[][..], String::as_bytes);
        let head = head.get(packet.content.offset as usize..).unwrap_or_default();
        let data = segment.length as usize;
        file.extend(head.iter().take(data));
        file.resize(begin + kept.max(file.len() - begin).min(length), b'A');
        file.truncate(begin + kept);
    }
}

impl Simulation<'_> {
    /// A packet passes the interface of a host.
    pub(super) fn see(&mut self, host: usize, packet: &Packet) {
        // Links are captured, as on the kernel stage: `lo` is none.
        if is_loopback(packet.source.address) {
            return;
        }
        if let Some(tap) = &mut self.tap {
            tap.keep(host, self.now, packet);
            // What nobody looks at need not run in full.
            self.rehearses &= tap.cut_at.is_none();
        }
    }

    /// The head of a message that this socket writes, if anybody looks.
    pub(super) fn head_of(&mut self, socket: &Socket, bytes: u32) -> u16 {
        if self.tap.is_none() {
            return 0;
        }
        let world = self.world;
        let body = bytes.saturating_sub(HEAD_BYTES);
        let length =
            |is_known: bool| if is_known { format!("Content-Length: {body}\r\n") } else { String::new() };
        let connection = |closes: bool| if closes { "Connection: close\r\n" } else { "" };
        let request = |http: Http, closes: bool| {
            let version = if http == Http::V1_0 { "1.0" } else { "1.1" };
            let method = if body > 0 { "POST" } else { "GET" };
            format!("{method} / HTTP/{version}\r\nHost: a\r\n{}{}", length(body > 0), connection(closes))
        };
        let answer = |is_known: bool, closes: bool| {
            format!("HTTP/1.1 200 OK\r\n{}{}", length(is_known), connection(closes))
        };
        let start = match socket.owner {
            Owner::Client(client) => {
                let http = world.clients[client].http;
                request(http, http == Http::V1_1Close)
            }
            Owner::Back(proxy) => {
                let config = &world.proxies[proxy];
                if config.program == Program::Nginx {
                    request(config.http, config.http != Http::V1_1)
                } else {
                    request(Http::V1_1, config.mode != crate::scenario::HaproxyClose::KeepAlive)
                }
            }
            Owner::Server(server) => {
                let known = world.servers[server].answer.length;
                answer(known, !known || socket.notes.close)
            }
            Owner::Front(_) => answer(true, socket.talk.says_close),
        };
        // The head fills its bytes: what is missing is a line of its own.
        let missing = (HEAD_BYTES as usize).saturating_sub(start.len() + "X: \r\n\r\n".len());
        let head = format!("{start}X: {}\r\n\r\n", "x".repeat(missing));
        self.tap.as_mut().map_or(0, |tap| tap.number(head))
    }
}
