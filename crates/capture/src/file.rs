//! Containers: the formats of capture files, told apart by their first bytes and never by a name.

mod compressed;
mod netmon;
mod pcap;
mod pcapng;
mod snoop;

use crate::link::Link;
use std::fmt;

pub(crate) use self::compressed::{Compression, decompress, with_head};
pub(crate) use self::netmon::NetMon;
pub(crate) use self::pcap::Pcap;
pub(crate) use self::pcapng::Pcapng;
pub(crate) use self::snoop::Snoop;

/// No packet may be larger, as in libpcap and Wireshark (`MAXIMUM_SNAPLEN`, `WTAP_MAX_PACKET_SIZE_STANDARD`): what
/// says so is a damaged length.
pub(crate) const LARGEST_PACKET: u32 = 262_144;

/// Bytes at the start that tell every format.
pub(crate) const ENOUGH_TO_TELL: usize = 128;

/// One captured frame, as its container describes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    /// Nanoseconds since 1970.
    pub(crate) time_ns: i64,
    pub(crate) link: Link,
    /// Where the captured bytes begin and how many there are.
    pub(crate) start: usize,
    pub(crate) captured: u32,
    /// How many there were on the wire; at least `captured`.
    pub(crate) original: u32,
}

/// What lies at a position of a container.
#[derive(Debug)]
pub(crate) enum Step {
    /// A frame; the next record begins at `next`.
    Frame { record: Record, next: usize },
    /// Nothing of interest up to `next`.
    Skip { next: usize },
    /// So many bytes from the position are needed to say.
    More { need: usize },
    /// The end, said by the format itself.
    End,
    /// No sense can be made of it.
    Broken(Box<str>),
}

/// A container that can be walked. Positions count from the first byte handed in.
#[derive(Debug)]
pub(crate) enum Format {
    Pcap(Pcap),
    Pcapng(Pcapng),
    Snoop(Snoop),
    NetMon(NetMon),
}

impl Format {
    /// What begins so, and where its first record lies. `whole` says that these are all bytes there are.
    pub(crate) fn of(bytes: &[u8], whole: bool) -> Result<(Self, usize), Refused> {
        if bytes.is_empty() {
            return Err(Refused::Empty);
        }
        let Some(magic) = bytes.first_chunk::<4>() else {
            return Err(unknown(bytes));
        };
        if let Some(found) = Pcap::of(bytes, whole) {
            return found.map(|(pcap, first)| (Self::Pcap(pcap), first));
        }
        if *magic == pcapng::SECTION_HEADER {
            return Pcapng::of(bytes).map(|pcapng| (Self::Pcapng(pcapng), 0));
        }
        if bytes.starts_with(snoop::MAGIC) {
            return Snoop::of(bytes).map(|(snoop, first)| (Self::Snoop(snoop), first));
        }
        if bytes.starts_with(netmon::MAGIC) {
            if !whole {
                return Err(Refused::Stream("Microsoft Network Monitor 2"));
            }
            return NetMon::of(bytes).map(|(netmon, first)| (Self::NetMon(netmon), first));
        }
        Err(unknown(bytes))
    }

    #[inline]
    pub(crate) fn step(&mut self, bytes: &[u8], at: usize) -> Step {
        match self {
            Self::Pcap(pcap) => pcap.step(bytes, at),
            Self::Pcapng(pcapng) => pcapng.step(bytes, at),
            Self::Snoop(snoop) => snoop.step(bytes, at),
            Self::NetMon(netmon) => netmon.step(bytes, at),
        }
    }

    /// As [`step`](Self::step), but a frame stays where it is.
    pub(crate) fn peek(&mut self, bytes: &[u8], at: usize) -> Step {
        match self {
            Self::NetMon(netmon) => netmon.clone().step(bytes, at),
            // Of these only the position tells which frame is the next.
            Self::Pcap(_) | Self::Pcapng(_) | Self::Snoop(_) => self.step(bytes, at),
        }
    }

    /// Packets that the capturing program says it lost, where the format can say.
    pub(crate) fn dropped(&self) -> Option<u64> {
        match self {
            Self::Pcapng(pcapng) => pcapng.dropped(),
            Self::Snoop(snoop) => Some(snoop.dropped()),
            Self::Pcap(_) | Self::NetMon(_) => None,
        }
    }
}

/// Why a file is not read at all.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// No bytes.
    #[error("the file is empty")]
    Empty,
    /// Shorter than its own header.
    #[error("{0} file that ends within its header")]
    Short(&'static str),
    /// A capture of another kind.
    #[error("{0} file: convert it, e.g. with `editcap -F pcapng`")]
    Format(&'static str),
    /// Compressed in a way that is not read.
    #[error("compressed with {0}: decompress it first")]
    Compression(&'static str),
    /// Readable only as a whole.
    #[error("{0} file: it keeps its index at the end and cannot be read from a stream; give it as a file")]
    Stream(&'static str),
    /// A version or variant that is not known.
    #[error("{0}")]
    Variant(String),
    /// Anything else.
    #[error("no capture file: it begins with {0}")]
    Unknown(String),
    /// The stream failed before a format could be told.
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
}

/// How the reading of a file ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileEnding {
    /// At the end of the file, after a whole packet.
    Complete,
    /// Earlier: what came before was read.
    Broken(Break),
}

/// Where and why the reading of a file stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Break {
    /// Bytes from the start of the file, decompressed, to the record that cannot be read.
    pub at: u64,
    /// Number of the packet that this would have been.
    pub packet: u64,
    /// Why, in a few words.
    pub why: String,
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stopped before packet {}, at byte {}: {}", self.packet, self.at, self.why)
    }
}

/// Names what is not read, as far as its first bytes tell.
fn unknown(bytes: &[u8]) -> Refused {
    const FORMATS: [(&[u8], &str); 14] = [
        (b"RTSS", "Microsoft Network Monitor 1"),
        (b"XCP\0", "Network Associates Sniffer (Windows)"),
        (b"TRSNIFF data    \x1a", "Network General Sniffer"),
        (b"\x01\x10\x4c\x00", "Novell LANalyzer"),
        (b"btsnoop\0", "Bluetooth btsnoop"),
        (b"5Vw\0", "WildPackets iNetTest"),
        (b"\x7fver\x00\x00\x00", "WildPackets EtherPeek"),
        (b"\x7fver", "WildPackets EtherPeek"),
        (b"\xc0\xde\xca\xfe", "3GPP log"),
        (b"#!bin Visual Networks", "Visual Networks traffic"),
        (b"NetScout", "Network Instruments Observer"),
        (b"ObserverPktBuffe", "Network Instruments Observer"),
        (b"\x1c\x00\x01\xac", "Ixia lcap"),
        (b"\xac\x01\x00\x1c", "Ixia lcap"),
    ];
    const COMPRESSIONS: [(&[u8], &str); 5] = [
        (b"\xfd7zXZ\0", "xz"),
        (b"BZh", "bzip2"),
        (b"\x04\x22\x4d\x18", "lz4"),
        (b"PK\x03\x04", "zip"),
        (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    ];
    if let Some((_, name)) = FORMATS.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Refused::Format(name);
    }
    if let Some((_, name)) = COMPRESSIONS.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Refused::Compression(name);
    }
    if looks_like_erf(bytes) {
        return Refused::Format("Endace ERF");
    }
    let head = &bytes[..bytes.len().min(64)];
    if head.iter().all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~')) {
        let line = head.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
        let line = String::from_utf8_lossy(&line[..line.len().min(24)]).replace('\t', " ");
        return Refused::Unknown(format!("the text \"{line}\""));
    }
    let digits: Vec<_> = head.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    Refused::Unknown(format!("the bytes {}", digits.join(" ")))
}

/// ERF has no magic: two records in a row with a known type, lengths that agree and times that do not go back
/// (<https://wiki.wireshark.org/ERF>).
fn looks_like_erf(bytes: &[u8]) -> bool {
    let record = |at: usize| {
        let header: &[u8; 16] = bytes.get(at..)?.first_chunk()?;
        let time = u64::from_le_bytes(*header.first_chunk()?) >> 32;
        let kind = header[8] & 0x7f;
        let length = usize::from(u16::from_be_bytes([header[10], header[11]]));
        // Seconds since 1970, from 1990 on; types 1 to 27 and 48 are defined.
        ((1..=27).contains(&kind) || kind == 48).then_some(())?;
        (length >= 16 && time > 631_152_000).then_some((time, at + length))
    };
    match record(0) {
        Some((_, next)) if next >= bytes.len() => next == bytes.len(),
        Some((first, next)) => {
            record(next).is_some_and(|(second, _)| second >= first && second - first < 86_400)
        }
        None => false,
    }
}

/// A number of either byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Little,
    Big,
}

impl Order {
    #[inline]
    pub(crate) fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    #[inline]
    pub(crate) fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    /// The number at a place that must lie within.
    #[inline]
    pub(crate) fn u32_at(self, bytes: &[u8], at: usize) -> Option<u32> {
        Some(self.u32(*bytes.get(at..)?.first_chunk()?))
    }

    #[inline]
    pub(crate) fn u16_at(self, bytes: &[u8], at: usize) -> Option<u16> {
        Some(self.u16(*bytes.get(at..)?.first_chunk()?))
    }
}

/// Nanoseconds since 1970 of seconds and a fraction; what does not fit ends at the last one that does.
#[inline]
pub(crate) fn nanoseconds(seconds: i64, fraction_ns: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(fraction_ns)
}

/// The same text wherever a length is too large.
pub(crate) fn too_large(length: u32) -> Step {
    Step::Broken(format!("a packet of {length} bytes, more than the {LARGEST_PACKET} that can be").into())
}
