//! HTTP/1 comes in segments of any size and order, and some were not captured.

use capture::{Connection, Connections, Flow, Options, Packet};
use tcp::{Flags, Segment, Seq};

/// A seed, then either messages to make or bytes to take as they are.
///
/// Messages: however they are cut into segments, sent again and put out of order, they are counted. Bytes as they
/// are, with gaps: read to an end, and segments that were sent again change nothing.
pub(crate) fn http(bytes: &[u8]) {
    let Some(([a, b, c, d], rest)) = bytes.split_first_chunk::<4>() else { return };
    let dice = Dice(u32::from_le_bytes([*a, *b, *c, *d & 0x7f]) | 1);
    let rest = &rest[..rest.len().min(16 << 10)];
    if d & 0x80 == 0 { messages(dice, rest) } else { anything(dice, rest) }
}

/// Numbers that depend on the seed only (xorshift).
#[derive(Clone, Copy)]
struct Dice(u32);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        usize::try_from(self.0).expect("32 bits fit") % sides.max(1)
    }
}

const CLIENT: usize = 0;
const SERVER: usize = 1;

/// A part of the stream of a side.
struct Piece<'a> {
    side: usize,
    at: usize,
    bytes: &'a [u8],
    captured: usize,
}

fn messages(mut dice: Dice, mut rest: &[u8]) {
    let mut texts: Vec<(usize, Vec<u8>)> = Vec::new();
    let (mut count, mut interim, mut asks_to_close) = (0, 0, false);
    let mut until_close = false;
    while let ([kind, length, behind @ ..], false) = (rest, until_close) {
        let body;
        (body, rest) = behind.split_at(usize::from(*length).min(behind.len()));
        texts.push((CLIENT, request(*kind, body)));
        asks_to_close |= kind & 8 != 0;
        if kind & 0x70 == 0x60 {
            texts.push((SERVER, b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()));
            interim += 1;
        }
        until_close = kind & 0xf0 == 0xf0;
        texts.push((SERVER, response(*kind, body)));
        count += 1;
    }
    let whole: Vec<&[u8]> = texts.iter().map(|(_, text)| &text[..]).collect();
    let mut at = [0, 0];
    let mut pieces = Vec::new();
    let (mut first, mut most_of_one) = (0, 0);
    for ((side, _), text) in texts.iter().zip(whole) {
        first = pieces.len();
        let mut left = text;
        while !left.is_empty() {
            let most = [1, 7, 100, 1_448][dice.roll(4)].max(text.len() / 40 + 1);
            let (bytes, behind) = left.split_at((1 + dice.roll(most)).min(left.len()));
            pieces.push(Piece { side: *side, at: at[*side], bytes, captured: bytes.len() });
            at[*side] += bytes.len();
            left = behind;
        }
        most_of_one = most_of_one.max(pieces.len() - first);
        // Out of order within a message, and some of them again.
        for place in first..pieces.len() {
            if dice.roll(4) == 0 {
                let other = first + dice.roll(pieces.len() - first);
                pieces.swap(place, other);
            }
        }
        if dice.roll(4) == 0 && first < pieces.len() {
            let Piece { side, at, bytes, captured } = pieces[first + dice.roll(pieces.len() - first)];
            pieces.push(Piece { side, at, bytes, captured });
        }
    }
    // The last message is the server's: its FIN may overtake some of it.
    let late = if dice.roll(4) == 0 { dice.roll(pieces.len() - first + 1) } else { 0 };
    let found = read(&pieces, at, late);
    if most_of_one > WAITING {
        return;
    }
    let Some(http) = found.http else {
        assert_eq!(count, 0, "{found:?}");
        return;
    };
    assert_eq!((http.requests, http.responses), (count, count + interim), "{found:?}");
    assert_eq!(http.close.client, asks_to_close, "{found:?}");
    assert_eq!(found.notes, [], "nothing is missing");
}

/// So many segments of a side wait for an earlier one; of more, those that come first are read without it.
const WAITING: usize = 64;

/// Material of a header's value: no control characters.
fn value(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| if (b' '..=b'~').contains(byte) { *byte } else { b'-' }).collect()
}

fn request(kind: u8, body: &[u8]) -> Vec<u8> {
    let close = if kind & 8 == 0 { "" } else { "Connection: close\r\n" };
    let method =
        if is_head(kind) { "HEAD" } else { ["GET", "POST", "OPTIONS", "X-Y"][usize::from(kind & 3)] };
    let head = format!("{method} / HTTP/1.1\r\nHost: x\r\n{close}X: ");
    let mut text = [head.as_bytes(), &value(body), b"\r\n"].concat();
    if kind & 4 == 0 || is_head(kind) {
        text.extend(b"\r\n");
    } else if kind & 1 == 0 {
        text.extend(format!("content-length:{}\r\n\r\n", body.len()).as_bytes());
        text.extend(body);
    } else {
        text.extend(b"transfer-encoding: chunked\r\n\r\n");
        chunked(&mut text, body);
    }
    text
}

fn is_head(kind: u8) -> bool {
    kind & 0xf0 == 0x50
}

fn response(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut text = match kind >> 4 {
        0 => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        1 => b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n".to_vec(),
        2 | 3 => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\nContent-Length: 3\r\n\r\n".to_vec(),
        15 => b"HTTP/1.0 200 OK\r\n\r\n".to_vec(),
        _ => format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nX: y\r\n\r\n").into_bytes(),
    };
    match kind >> 4 {
        0 | 1 | 5 => {}
        2 | 3 => chunked(&mut text, body),
        _ => text.extend(body),
    }
    text
}

fn chunked(text: &mut Vec<u8>, body: &[u8]) {
    let mut rest = body;
    while let Some(first) = rest.first() {
        let (chunk, behind) = rest.split_at((1 + usize::from(*first)).min(rest.len()));
        text.extend(format!("{:X};x=y\r\n", chunk.len()).as_bytes());
        text.extend(chunk);
        text.extend(b"\r\n");
        rest = behind;
    }
    text.extend(b"0\r\nTrailer: 1\r\n\r\n");
}

fn anything(mut dice: Dice, mut rest: &[u8]) {
    let mut pieces = Vec::new();
    let mut at = [0, 0];
    while let [head, length, behind @ ..] = rest {
        let bytes;
        (bytes, rest) = behind.split_at(usize::from(*length).min(behind.len()));
        let side = usize::from(head & 1);
        let gap = if head & 2 == 0 { 0 } else { dice.roll(1 << (head >> 4)) };
        let captured = if head & 4 == 0 { bytes.len() } else { dice.roll(bytes.len() + 1) };
        at[side] += gap;
        if !bytes.is_empty() {
            pieces.push(Piece { side, at: at[side], bytes, captured });
        }
        at[side] += bytes.len();
    }
    let once = read(&pieces, at, 0);
    let again: Vec<Piece<'_>> = pieces
        .iter()
        .flat_map(|Piece { side, at, bytes, captured }| {
            [0, 1].map(|_| Piece { side: *side, at: *at, bytes, captured: *captured })
        })
        .collect();
    assert_eq!(read(&again, at, 0).http, once.http, "segments that are sent again change nothing");
    if let Some(http) = once.http {
        let sent: usize = pieces.iter().map(|piece| piece.bytes.len()).sum();
        let heads = u64::from(http.requests) + u64::from(http.responses);
        // The shortest message that counts is a line of HTTP/0.9 with its answer.
        assert!(heads <= u64::try_from(sent).expect("bytes"), "{heads} messages in {sent} bytes");
    }
}

/// A connection with a handshake, these pieces, and an orderly end. The server's FIN comes before the last of them that
/// are `late`.
fn read(pieces: &[Piece<'_>], ends: [usize; 2], late: usize) -> Connection {
    let mut connections = Connections::new(Options::default());
    let mut number = 0;
    let mut push = |side: usize, flags: Flags, at: usize, peer: usize, bytes: &[u8], captured: usize| {
        number += 1;
        let ports = [40_000, 80];
        let seq =
            |side: usize, at: usize| Seq::new(ISN[side]).plus(u32::try_from(at).expect("a small stream"));
        let ack = if flags.has(Flags::ACK) { seq(1 - side, peer) } else { Seq::default() };
        connections.push(&Packet {
            number,
            file: 0,
            time_ns: i64::try_from(number).expect("few packets") * 1_000_000,
            flow: Flow {
                source: 1 + side as u128,
                destination: 2 - side as u128,
                source_port: ports[side],
                destination_port: ports[1 - side],
            },
            context: 0,
            segment: Segment {
                flags,
                seq: seq(side, at),
                ack,
                length: u32::try_from(bytes.len()).expect("a small piece"),
                window: 1_000,
                timestamps: None,
            },
            window_scale: None,
            payload: &bytes[..captured],
            ip_id: u16::try_from(number % 65_536).expect("a remainder"),
            ttl: 64,
            cut: captured < bytes.len(),
        });
    };
    let syn_ack = Flags::from_bits(0x12);
    push(CLIENT, Flags::SYN, 0, 0, &[], 0);
    push(SERVER, syn_ack, 0, 1, &[], 0);
    push(CLIENT, Flags::ACK, 1, 1, &[], 0);
    let fin_ack = Flags::from_bits(0x11);
    let [client, server] = ends.map(|end| end + 1);
    let mut heard = [1, 1];
    for (left, piece) in (0..pieces.len()).rev().zip(pieces) {
        if left + 1 == late {
            push(SERVER, fin_ack, server, client, &[], 0);
        }
        let (at, peer) = (1 + piece.at, 1 - piece.side);
        push(piece.side, Flags::ACK, at, heard[peer], piece.bytes, piece.captured);
        heard[piece.side] = heard[piece.side].max(at + piece.bytes.len());
    }
    if late == 0 {
        push(SERVER, fin_ack, server, client, &[], 0);
    }
    push(CLIENT, fin_ack, client, server + 1, &[], 0);
    push(SERVER, Flags::ACK, server + 1, client + 1, &[], 0);
    connections.finish();
    let mut all: Vec<Connection> = connections.iter().collect();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

/// The client's numbers wrap around soon.
const ISN: [u32; 2] = [u32::MAX - 100, 7];
