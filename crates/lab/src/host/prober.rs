//! Clients that are played segment by segment, behind a TUN device: the host's own TCP knows nothing of them.

use super::programs::run;
use crate::differential::{Tuple, decode, encode, encode_with};
use crate::tun::Tun;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tcp::{Flags, Segment, Seq, Timestamps};

/// The device.
pub(crate) const DEVICE: &str = "probe";

/// What the server is asked.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n";

/// The server answers within this time, or not at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is not answered is sent again each time so long has passed, as any TCP would.
const AGAIN: Duration = Duration::from_millis(500);

/// What has not come back by then does not come: the server answers segments at once.
const SILENCE: Duration = Duration::from_millis(150);

/// Between two looks at the device.
const LOOK: Duration = Duration::from_micros(200);

/// Where the played clients begin: sequence numbers, and the clock of their timestamps.
const FIRST_SEQ: u32 = 4_000_000;
const FIRST_CLOCK: u32 = 50_000;

pub(super) struct Prober {
    tun: Tun,
    played: BTreeMap<SocketAddr, Played>,
    /// What was sent last on the way to a state.
    last: Vec<u8>,
}

/// One connection, from the client's side.
#[derive(Clone, Copy)]
struct Played {
    tuple: Tuple,
    timestamps: bool,
    next: Seq,
    clock: u32,
    /// What the server sends next.
    expected: Seq,
    /// The server's last timestamp.
    heard: u32,
    /// The server has closed.
    ended: bool,
}

impl Prober {
    pub(super) fn new() -> Result<Self, String> {
        let tun = Tun::create(DEVICE).map_err(|error| format!("a TUN device: {error}"))?;
        run("ip", &["link", "set", DEVICE, "up"], "")?;
        // Without a queue an answer is there when the segment is in (net/core/dev.c __dev_xmit_skb()); with one it may come
        // a moment later.
        let _ = run("tc", &["qdisc", "replace", "dev", DEVICE, "root", "noqueue"], "");
        Ok(Self { tun, played: BTreeMap::new(), last: Vec::new() })
    }

    /// A connection from its beginning to the state of the server that is wanted.
    pub(super) fn approach(
        &mut self,
        client: SocketAddr,
        server: SocketAddr,
        timestamps: bool,
        closes: bool,
    ) -> Result<(), String> {
        run("ip", &["route", "replace", &client.ip().to_string(), "dev", DEVICE], "")?;
        let mut played = Played {
            tuple: Tuple { local: server, peer: client },
            timestamps,
            next: Seq::new(FIRST_SEQ),
            clock: FIRST_CLOCK,
            expected: Seq::new(0),
            heard: 0,
            ended: false,
        };
        self.send(&mut played, Flags::SYN, &[])?;
        self.hear(&mut played, |played, segment| {
            let opened = segment.flags.has(Flags::SYN.with(Flags::ACK));
            if opened {
                played.expected = segment.end();
            }
            opened
        })?;
        self.send(&mut played, Flags::ACK, &[])?;
        self.send(&mut played, Flags::ACK.with(Flags::PSH), REQUEST)?;
        while !played.ended {
            self.hear(&mut played, |played, segment| {
                let new = segment.seq == played.expected && segment.span() > 0;
                if new {
                    played.expected = segment.end();
                    played.ended = segment.flags.has(Flags::FIN);
                }
                new
            })?;
            self.send(&mut played, Flags::ACK, &[])?;
        }
        if closes {
            self.send(&mut played, Flags::FIN.with(Flags::ACK), &[])?;
            let next = played.next;
            self.hear(&mut played, |_, segment| segment.flags.has(Flags::ACK) && segment.ack == next)?;
        }
        self.played.insert(client, played);
        Ok(())
    }

    /// One segment; gives the flags of the first answer.
    pub(super) fn craft(
        &mut self,
        client: SocketAddr,
        flags: Flags,
        seq: u32,
        timestamp: Option<u32>,
        bytes: u32,
    ) -> Result<Option<Flags>, String> {
        let played = *self.played.get(&client).ok_or_else(|| format!("{client} is not played"))?;
        // What is on the way already is no answer.
        while self.tun.next_packet().map_err(|error| failed(&error))?.is_some() {}
        let segment = Segment {
            flags,
            seq: played.next.plus(seq),
            ack: if flags.has(Flags::ACK) { played.expected } else { Seq::new(0) },
            length: bytes,
            window: u16::MAX,
            timestamps: timestamp.map(|timestamp| Timestamps {
                // The clock counts on after each segment; the last one is what the server has heard.
                value: played.clock.wrapping_sub(1).wrapping_add(timestamp),
                echo: if flags.has(Flags::ACK) { played.heard } else { 0 },
            }),
        };
        self.tun.inject(&encode(played.tuple, &segment)).map_err(|error| failed(&error))?;
        let end = Instant::now() + SILENCE;
        while Instant::now() < end {
            let Some(answer) = self.next_of(played.tuple)? else {
                std::thread::sleep(LOOK);
                continue;
            };
            return Ok(Some(answer.flags));
        }
        Ok(None)
    }

    fn send(&mut self, played: &mut Played, flags: Flags, data: &[u8]) -> Result<(), String> {
        let segment = Segment {
            flags,
            seq: played.next,
            ack: if flags.has(Flags::ACK) { played.expected } else { Seq::new(0) },
            length: u32::try_from(data.len()).unwrap_or(0),
            window: u16::MAX,
            timestamps: played.timestamps.then_some(Timestamps { value: played.clock, echo: played.heard }),
        };
        played.next = segment.end();
        played.clock = played.clock.wrapping_add(1);
        self.last = encode_with(played.tuple, &segment, None, data);
        self.tun.inject(&self.last).map_err(|error| failed(&error))
    }

    /// Waits for a segment that is what is wanted.
    fn hear(
        &mut self,
        played: &mut Played,
        mut wanted: impl FnMut(&mut Played, &Segment) -> bool,
    ) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        let mut again = Instant::now() + AGAIN;
        while Instant::now() < end {
            let Some(segment) = self.next_of(played.tuple)? else {
                if Instant::now() >= again {
                    again = Instant::now() + AGAIN;
                    self.tun.inject(&self.last).map_err(|error| failed(&error))?;
                }
                std::thread::sleep(LOOK);
                continue;
            };
            if let Some(timestamps) = segment.timestamps {
                played.heard = timestamps.value;
            }
            if segment.flags.has(Flags::RST) {
                return Err(format!("{} was reset", played.tuple.peer));
            }
            if wanted(played, &segment) {
                return Ok(());
            }
        }
        Err(format!("{} does not answer {} as expected", played.tuple.local, played.tuple.peer))
    }

    fn next_of(&mut self, tuple: Tuple) -> Result<Option<Segment>, String> {
        while let Some(packet) = self.tun.next_packet().map_err(|error| failed(&error))? {
            if let Some((found, segment)) = decode(packet)
                && found == tuple
            {
                return Ok(Some(segment));
            }
        }
        Ok(None)
    }
}

fn failed(error: &std::io::Error) -> String {
    format!("the TUN device: {error}")
}
