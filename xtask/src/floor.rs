//! The floor of every reader of captures: walk over the records, look each tuple up in a table, and count. One
//! thread; it knows Ethernet and IPv4 only, and answers nothing that anybody asks.

use anyhow::{Context as _, ensure};
use std::fs::File;
use std::io::Read;
use std::process::ExitCode;

/// Bytes of a pcap file before its records, and of a record before its frame (draft-ietf-opsawg-pcap).
const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;
/// No frame is longer: the largest snap length that libpcap takes.
const LONGEST: usize = 262_144;
/// As much is read at once as stays in the cache of a core.
const BLOCK: usize = 1 << 20;

/// Counts and prints.
pub(crate) fn run(path: &str) -> anyhow::Result<ExitCode> {
    let mut tuples = Tuples::new();
    let (mut packets, mut others) = (0_u64, 0_u64);
    walk(File::open(path).with_context(|| path.to_owned())?, |frame| {
        packets += 1;
        if !tuples.count(frame) {
            others += 1;
        }
    })?;
    println!(
        "{packets} packets, {others} not of TCP, {} tuples, {} SYNs of clients, {} FINs, {} resets",
        tuples.taken, tuples.syns, tuples.fins, tuples.resets
    );
    Ok(ExitCode::SUCCESS)
}

/// Gives each frame of a pcap file of this machine's byte order.
fn walk(mut file: impl Read, mut each: impl FnMut(&[u8])) -> anyhow::Result<()> {
    let mut buffer = vec![0; BLOCK + LONGEST];
    file.read_exact(&mut buffer[..FILE_HEADER])?;
    ensure!(
        matches!(word(&buffer, 0), Some(0xa1b2_c3d4 | 0xa1b2_3c4d)),
        "not a pcap file of this byte order"
    );
    let (mut start, mut end) = (0, 0);
    loop {
        while let Some(length) = word(&buffer[..end], start + 8) {
            let length = length as usize;
            ensure!(length <= LONGEST, "a frame of {length} bytes");
            let Some(frame) = buffer[..end].get(start + RECORD_HEADER..start + RECORD_HEADER + length) else {
                break;
            };
            each(frame);
            start += RECORD_HEADER + length;
        }
        buffer.copy_within(start..end, 0);
        end -= start;
        start = 0;
        let more = file.read(&mut buffer[end..])?;
        if more == 0 {
            ensure!(end == 0, "the file ends within a record");
            return Ok(());
        }
        end += more;
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// A tuple and what was counted of it: half a line of cache. A free slot has no packets.
#[derive(Clone, Copy, Default)]
struct Slot {
    addresses: u64,
    ports: u32,
    packets: u32,
    bytes: u64,
    flags: u8,
    first_closer: u8,
}

/// A table of tuples, both directions in one, with open addressing.
struct Tuples {
    slots: Vec<Slot>,
    taken: usize,
    syns: u64,
    fins: u64,
    resets: u64,
}

impl Tuples {
    fn new() -> Self {
        Self { slots: vec![Slot::default(); 1 << 16], taken: 0, syns: 0, fins: 0, resets: 0 }
    }

    /// Counts a frame of TCP in IPv4 in Ethernet; false for any other.
    fn count(&mut self, frame: &[u8]) -> bool {
        // Up to the flags of TCP, where IPv4 has no options.
        let Some(head) = frame.first_chunk::<48>() else { return false };
        if head[12..14] != [8, 0] || head[14] != 0x45 || head[23] != 6 {
            return false;
        }
        let address = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let port = |at: usize| u32::from(u16::from_be_bytes([head[at], head[at + 1]]));
        let (source, destination) = ((address(26), port(34)), (address(30), port(36)));
        let (low, high) = if source < destination { (source, destination) } else { (destination, source) };
        let flags = head[47];
        self.syns += u64::from(flags & 0x12 == 0x02);
        self.fins += u64::from(flags & 0x01);
        self.resets += u64::from(flags >> 2 & 1);
        let slot = self.slot(u64::from(low.0) << 32 | u64::from(high.0), low.1 << 16 | high.1);
        slot.packets += 1;
        slot.bytes += frame.len() as u64;
        if flags & 0x01 != 0 && slot.flags & 0x01 == 0 {
            slot.first_closer = 1 + u8::from(source < destination);
        }
        slot.flags |= flags;
        true
    }

    fn slot(&mut self, addresses: u64, ports: u32) -> &mut Slot {
        if self.taken * 2 > self.slots.len() {
            self.grow();
        }
        let at = self.find(addresses, ports);
        let slot = &mut self.slots[at];
        if slot.packets == 0 {
            self.taken += 1;
            *slot = Slot { addresses, ports, ..Slot::default() };
        }
        slot
    }

    /// Where a tuple is, or is to be.
    fn find(&self, addresses: u64, ports: u32) -> usize {
        let mask = self.slots.len() - 1;
        let hash = (addresses ^ u64::from(ports).wrapping_mul(0xff51_afd7_ed55_8ccd))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut at = (hash >> 32) as usize & mask;
        loop {
            let slot = &self.slots[at];
            if slot.packets == 0 || (slot.addresses == addresses && slot.ports == ports) {
                return at;
            }
            at = (at + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let twice = self.slots.len() * 2;
        let old = std::mem::replace(&mut self.slots, vec![Slot::default(); twice]);
        for slot in old.into_iter().filter(|slot| slot.packets > 0) {
            let at = self.find(slot.addresses, slot.ports);
            self.slots[at] = slot;
        }
    }
}
