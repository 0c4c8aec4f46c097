//! How fast frames become segments, of a capture made in memory: `cargo run --release -p lastack-capture --example
//! decode_speed [FILE]`. Beside it, what a walk over the records alone costs, and one that also adds up the tuples.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "a clock is what this is for")]
#![allow(clippy::print_stdout, reason = "so is a result")]

use capture::Reader;
use std::time::Instant;

/// Packets of the capture, and bytes of data in each second one.
const PACKETS: usize = 2_000_000;
const DATA: usize = 300;

fn main() {
    let bytes = match std::env::args().nth(1) {
        Some(path) => std::fs::read(path).expect("a readable file"),
        None => made(),
    };
    println!("{} MB, from memory", bytes.len() / 1_000_000);
    for _ in 0..5 {
        round(&bytes, 1);
    }
    // The second figure is that of the decoding alone, without the wait for memory.
    let some = &bytes[..bytes.len().min(500_000)];
    println!("{} MB, from the cache", some.len() as f64 / 1e6);
    for _ in 0..5 {
        round(some, 500);
    }
}

fn round(bytes: &[u8], times: u64) {
    let measured = |work: &dyn Fn() -> u64| {
        let begun = Instant::now();
        let count: u64 = (0..times).map(|_| work()).sum();
        (count, begun.elapsed().as_secs_f64())
    };
    let walked = measured(&|| walk(bytes));
    let hashed = measured(&|| walk_and_hash(bytes));
    let decoded = measured(&|| {
        let (mut segments, mut sum) = (0, 0_u128);
        Reader::new(bytes).expect("a capture").for_each(|packet| {
            segments += 1;
            sum = sum.wrapping_add(packet.flow.source ^ u128::from(packet.segment.seq.number()));
            sum ^= u128::from(packet.segment.timestamps.map_or(0, |stamps| stamps.value));
            sum ^= u128::from(packet.time_ns.unsigned_abs()) ^ packet.payload.len() as u128;
        });
        std::hint::black_box(sum);
        segments
    });
    let streamed = measured(&|| {
        let mut segments = 0;
        Reader::from_stream(bytes).expect("a capture").for_each(|_| segments += 1);
        segments
    });
    for (what, (count, seconds)) in
        [("walked", walked), ("hashed", hashed), ("decoded", decoded), ("streamed", streamed)]
    {
        print!("{what} {:6.1} M/s of {count}   ", count as f64 / seconds / 1e6);
    }
    println!();
}

fn records(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = 24;
    std::iter::from_fn(move || {
        let header: &[u8; 16] = bytes.get(at..)?.first_chunk()?;
        let length = u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize;
        let frame = bytes.get(at + 16..at + 16 + length)?;
        at += 16 + length;
        Some(frame)
    })
}

fn walk(bytes: &[u8]) -> u64 {
    records(bytes).fold(0, |count, frame| count + std::hint::black_box(frame.len().min(1)) as u64)
}

fn walk_and_hash(bytes: &[u8]) -> u64 {
    let mut sum = 0_u64;
    let count =
        records(bytes).filter_map(|frame| frame.get(26..38)?.first_chunk::<12>()).fold(0, |count, tuple| {
            let [a @ .., _, _, _, _] = *tuple;
            let [_, _, _, _, b @ ..] = *tuple;
            sum ^= (u64::from_le_bytes(a) ^ u64::from_le_bytes(b)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            count + 1
        });
    std::hint::black_box(sum);
    count
}

/// Ethernet, IPv4 and TCP with timestamps, as short connections of many clients would look.
fn made() -> Vec<u8> {
    let mut bytes = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
    for number in 0..PACKETS {
        let data = if number % 2 == 0 { 0 } else { DATA };
        let length = u32::try_from(66 + data).expect("small");
        let [high, low] = u16::try_from(52 + data).expect("small").to_be_bytes();
        let second = u32::try_from(number / 100_000).expect("small");
        for field in [second, u32::try_from(number % 100_000 * 10).expect("small"), length, length] {
            bytes.extend(field.to_le_bytes());
        }
        bytes.extend([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]);
        bytes.extend([0x45, 0, high, low, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0]);
        bytes.extend(u16::try_from(number / 10 % 251).expect("small").to_be_bytes());
        bytes.extend(u16::try_from(1_024 + number / 10 % 60_000).expect("a port").to_be_bytes());
        bytes.extend([0, 80]);
        bytes.extend(u32::try_from(number).expect("small").to_be_bytes());
        bytes.extend([0, 0, 0, 1, 0x80, 0x10, 1, 0, 0, 0, 0, 0]);
        bytes.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
        bytes.resize(bytes.len() + data, b'x');
    }
    bytes
}
