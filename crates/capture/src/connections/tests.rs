//! Scenarios, a segment a word.

use super::*;
use crate::Flow;
use proptest::prelude::*;
use tcp::{Segment, Timestamps};

const CLIENT: u128 = 0xffff_0a00_0001;
const SERVER: u128 = 0xffff_0a00_0002;
const MS: i64 = 1_000_000;

/// A packet that owns its data.
#[derive(Clone, Debug)]
struct Sent {
    time_ns: i64,
    from_client: bool,
    segment: Segment,
    data: Vec<u8>,
    ip_id: u16,
    ttl: u8,
    port: u16,
    context: u32,
}

/// A connection as it is spoken, with relative numbers: `> S`, `< SA`, `> A "GET / ..."`.
///
/// Each line: who (`>` client, `<` server), flags (S A F R), then `seq=`, `ack=` (relative to the two initial
/// numbers), `at=` in milliseconds, `win=`, `ttl=`, `ts=`, `cut`, and data in quotes. What is left out follows from
/// what was said before.
#[derive(Debug)]
struct Script {
    isn: [u32; 2],
    next: [u32; 2],
    at_ms: i64,
    port: u16,
    ip_id: u16,
    packets: Vec<Sent>,
}

impl Script {
    fn new() -> Self {
        Self { isn: [1_000, 5_000], next: [0, 0], at_ms: 0, port: 40_000, ip_id: 0, packets: Vec::new() }
    }

    /// Another connection, from this port and with these initial numbers.
    fn anew(mut self, port: u16, isn: [u32; 2], at_ms: i64) -> Self {
        (self.port, self.isn, self.next, self.at_ms) = (port, isn, [0, 0], at_ms);
        self
    }

    fn say(mut self, lines: &str) -> Self {
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            self.line(line);
        }
        self
    }

    fn line(&mut self, line: &str) {
        let (words, data) = match line.split_once('"') {
            Some((words, data)) => (words, data.strip_suffix('"').unwrap()),
            None => (line, ""),
        };
        let data = data.replace("\\r", "\r").replace("\\n", "\n").into_bytes();
        let mut words = words.split_whitespace();
        let from_client = words.next() == Some(">");
        let (me, peer) = if from_client { (0, 1) } else { (1, 0) };
        let flags = words.next().unwrap().chars().fold(Flags::NONE, |flags, letter| {
            flags.with(match letter {
                'S' => Flags::SYN,
                'A' => Flags::ACK,
                'F' => Flags::FIN,
                'R' => Flags::RST,
                _ => Flags::NONE,
            })
        });
        let mut segment = Segment {
            flags,
            length: u32::try_from(data.len()).unwrap(),
            window: 500,
            seq: Seq::new(self.isn[me]).plus(self.next[me]),
            ack: if flags.has(Flags::ACK) {
                Seq::new(self.isn[peer]).plus(self.next[peer])
            } else {
                Seq::default()
            },
            timestamps: None,
        };
        self.at_ms += 1;
        self.ip_id += 1;
        let (mut ttl, mut context, mut sent) = (64, 0, data.clone());
        for word in words {
            let (name, value) = word.split_once('=').unwrap_or((word, "0"));
            let number: u32 = value.parse().unwrap();
            match name {
                "seq" => segment.seq = Seq::new(self.isn[me]).plus(number),
                "ack" => segment.ack = Seq::new(self.isn[peer]).plus(number),
                "raw_seq" => segment.seq = Seq::new(number),
                "raw_ack" => segment.ack = Seq::new(number),
                "at" => self.at_ms = i64::from(number),
                "win" => segment.window = u16::try_from(number).unwrap(),
                "ttl" => ttl = u8::try_from(number).unwrap(),
                "ts" => segment.timestamps = Some(Timestamps { value: number, echo: 0 }),
                "id" => self.ip_id = u16::try_from(number).unwrap(),
                "vlan" => context = number,
                "len" => segment.length = number,
                "cut" => sent.truncate(number as usize),
                other => panic!("{other}"),
            }
        }
        if !flags.has(Flags::RST) {
            let behind = segment.end().since(Seq::new(self.isn[me])).unsigned_abs();
            self.next[me] = self.next[me].max(behind);
        }
        self.packets.push(Sent {
            time_ns: self.at_ms * MS,
            from_client,
            segment,
            data: sent,
            ip_id: self.ip_id,
            ttl,
            port: self.port,
            context,
        });
    }

    fn read(&self) -> Vec<Connection> {
        self.read_with(Options::default()).1
    }

    fn read_with(&self, options: Options) -> (Connections, Vec<Connection>) {
        let mut connections = Connections::new(options);
        let mut ended = Vec::new();
        for (number, sent) in (1..).zip(&self.packets) {
            push(&mut connections, number, sent);
            ended.extend(std::iter::from_fn(|| connections.take_ended()));
        }
        connections.finish();
        ended.extend(std::iter::from_fn(|| connections.take_ended()));
        if options.endless.is_none() {
            ended = connections.iter().collect();
        }
        (connections, ended)
    }

    fn only(&self) -> Connection {
        let all = self.read();
        assert_eq!(all.len(), 1, "{all:#?}");
        all.into_iter().next().unwrap()
    }
}

fn push(connections: &mut Connections, number: u64, sent: &Sent) {
    let (client, server) = ((CLIENT, sent.port), (SERVER, 80));
    let (from, to) = if sent.from_client { (client, server) } else { (server, client) };
    connections.push(&Packet {
        number,
        time_ns: sent.time_ns,
        flow: Flow { source: from.0, destination: to.0, source_port: from.1, destination_port: to.1 },
        segment: sent.segment,
        payload: &sent.data,
        ip_id: sent.ip_id,
        ttl: sent.ttl,
        context: sent.context,
        cut: sent.data.len() < sent.segment.length as usize,
        ..Packet::default()
    });
}

const OPEN: &str = "> S\n< SA\n> A";
const REQUEST: &str = r#"> A "GET / HTTP/1.1\r\nHost: x\r\n\r\n""#;
const RESPONSE: &str = r#"< A "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello""#;

fn opened() -> Script {
    Script::new().say(OPEN)
}

fn answered() -> Script {
    opened().say(REQUEST).say(RESPONSE).say("> A")
}

fn has(connection: &Connection, note: Note) -> bool {
    connection.notes.contains(&note)
}

mod endings;
mod hostile;
mod reuses;
