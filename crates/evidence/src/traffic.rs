//! What captures showed: connections, added up by who talked to whom.
//!
//! A capture may hold millions of connections; a case keeps, for each client address and server, how they opened and
//! ended, with the numbers of a few packets as examples, so that Wireshark shows the same place.

use crate::Endpoint;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// So many packets are named as examples of one thing.
pub const MAX_EXAMPLES: usize = 3;

/// So many pairs of client and server are kept apart; the others are folded by server.
pub const MAX_EXCHANGES: usize = 20_000;

/// The connections of one or more captures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// The files, as they were named.
    pub files: Vec<String>,
    /// Time of the first packet: RFC 3339 with nanoseconds.
    pub start: String,
    /// Time from the first packet to the last, in milliseconds.
    pub length_ms: u64,
    /// Frames of the files.
    pub frames: u64,
    /// TCP segments among them.
    pub segments: u64,
    /// Connections.
    pub connections: u64,
    /// The connections by who talked to whom, those with the most first.
    pub exchanges: Vec<Exchange>,
    /// Connections whose client no longer fitted: they are in exchanges with `*` as the client.
    pub folded: u64,
    /// Connections that went into TIME-WAIT, by the second of the capture (from 0) in which they ended.
    pub time_wait_by_second: BTreeMap<u32, Ends>,
    /// Connections by each note that `lastack read --json` has on them: `began-late`, `cut`, …
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<String, u64>,
    /// Clocks that the timestamps of one source address show.
    pub clocks: Vec<Clocks>,
}

/// A number for each side that a thing can be said of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ends {
    /// Of the client.
    pub client: u64,
    /// Of the server.
    pub server: u64,
    /// Of both at once.
    pub both: u64,
}

impl Ends {
    /// All.
    pub fn total(self) -> u64 {
        self.client.saturating_add(self.server).saturating_add(self.both)
    }

    fn is_zero(&self) -> bool {
        self.total() == 0
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// How often something happened, with a few of the packets that show it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counted {
    /// Connections that show it.
    pub count: u64,
    /// Packets that show it, at most [`MAX_EXAMPLES`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Example>,
}

impl Counted {
    /// Counts one more, and keeps its example if there is room.
    pub fn add(&mut self, example: Example) {
        self.count = self.count.saturating_add(1);
        if self.examples.len() < MAX_EXAMPLES {
            self.examples.push(example);
        }
    }

    fn is_zero(&self) -> bool {
        self.count == 0 && self.examples.is_empty()
    }
}

/// A packet that shows something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Example {
    /// The file, as a place in [`Traffic::files`].
    pub file: u16,
    /// Its connection's first packet, as Wireshark counts from 1.
    pub first_packet: u64,
    /// Its connection's last packet.
    pub last_packet: u64,
    /// The client's port.
    pub client_port: u16,
}

/// HTTP/1 between two hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Http {
    /// Connections that spoke it.
    pub connections: u64,
    /// Requests on them.
    pub requests: u64,
    /// Complete responses.
    pub responses: u64,
    /// Connections by their number of requests.
    pub by_requests: BTreeMap<u32, u64>,
    /// Connections by who sent `Connection: close`.
    pub close_by: Ends,
    /// Connections whose client spoke HTTP/1.0 (or 0.9) and did not ask for keep-alive.
    pub old_version: u64,
    /// Connections whose client is a proxy by its own words: requests with `Via`, `Forwarded` or `X-Forwarded-For`.
    #[serde(skip_serializing_if = "is_zero")]
    pub relayed: u64,
    /// Connections on which nobody asked to close, so that both sides would have kept them.
    pub kept: Counted,
    /// Connections of HTTP/1.0 or with `Connection: close` from the client.
    pub client_asks_to_close: Counted,
    /// Connections with `Connection: close` from the server only.
    pub server_asks_to_close: Counted,
}

/// The connections of one client address to one server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exchange {
    /// The client's address; `*` for all that did not fit.
    pub client: Endpoint,
    /// The server's address and port.
    pub server: Endpoint,
    /// Connections.
    pub connections: u64,
    /// Most of them that were in use at once: from the first SYN to the first FIN or reset.
    pub at_once: u32,
    /// How long they were in use, all together, microseconds; 0 where that is not known.
    pub open_us: u64,
    /// Milliseconds from the first packet to the last of them all.
    pub length_ms: u64,
    /// By how far the opening came: `complete`, `refused`, `unanswered`, `half`, `unseen`.
    pub handshakes: BTreeMap<String, u64>,
    /// By how they ended: `graceful`, `simultaneous`, `half-closed`, `reset`, `refused`, `unanswered`, `open`.
    pub endings: BTreeMap<String, u64>,
    /// By whose FIN came first.
    #[serde(skip_serializing_if = "Ends::is_zero")]
    pub first_closer: Ends,
    /// By who is left in TIME-WAIT.
    #[serde(skip_serializing_if = "Ends::is_zero")]
    pub time_wait_at: Ends,
    /// Connections that a reset ended, by its cause: `abort-by-linger`, `unread-data`, …
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub resets: BTreeMap<String, Counted>,
    /// By who sent that reset.
    #[serde(skip_serializing_if = "Ends::is_zero")]
    pub reset_by: Ends,
    /// By cause, and by who sent it. Older cases do not have it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub resets_by: BTreeMap<String, Ends>,
    /// Connections that used the addresses and ports of an earlier one, by the outcome: `accepted`, `challenged`,
    /// `dropped`, `reset`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub reuses: BTreeMap<String, Counted>,
    /// The shortest time after which addresses and ports were used again, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shortest_reuse_ms: Option<u32>,
    /// Connections whose SYN was answered by an old ACK: by TIME-WAIT, or by a connection half open.
    #[serde(skip_serializing_if = "Counted::is_zero")]
    pub challenged: Counted,
    /// Those of them that got no further.
    #[serde(skip_serializing_if = "Counted::is_zero")]
    pub shut_out: Counted,
    /// Connections whose SYN was sent again.
    #[serde(skip_serializing_if = "Counted::is_zero")]
    pub syn_again: Counted,
    /// Connections whose SYN nobody answered, not even by an old ACK.
    #[serde(skip_serializing_if = "Counted::is_zero")]
    pub unanswered: Counted,
    /// Connections whose SYN offered timestamps and was answered by a SYN-ACK that has none. Older cases do not have
    /// it.
    #[serde(skip_serializing_if = "Counted::is_zero")]
    pub without_timestamps: Counted,
    /// Connections whose last FIN was not acknowledged.
    #[serde(skip_serializing_if = "Counted::is_zero")]
    pub last_fin_unacknowledged: Counted,
    /// Connections on which a FIN was sent again though it was not lost on its way to the capture: no ACK of it came
    /// in time.
    #[serde(skip_serializing_if = "Counted::is_zero")]
    pub fin_again: Counted,
    /// Connections that one side closed and the other had not, after at least 5 s more of the capture: by the side
    /// that did not close.
    #[serde(skip_serializing_if = "Ends::is_zero")]
    pub not_closed_by: Ends,
    /// Examples of those.
    #[serde(skip_serializing_if = "Counted::is_zero")]
    pub not_closed: Counted,
    /// Connections whose closer had been idle for at least 1 s: an idle timeout, by the side that closed.
    #[serde(skip_serializing_if = "Ends::is_zero")]
    pub closed_idle: Ends,
    /// The shortest and the longest such idle time, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_ms: Option<(u32, u32)>,
    /// HTTP/1, where it was spoken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<Http>,
}

/// Clocks behind one source address, as far as timestamps show them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Clocks {
    /// The address.
    pub address: Endpoint,
    /// At least so many hosts: clocks that connections of several ports agree with, and that were in use at one time.
    /// 0 if no two connections agree, as where each has an offset of its own: then the number cannot be told.
    pub hosts: u32,
    /// Ticks a second of the clocks.
    pub ticks_per_second: u32,
    /// Connections that were compared.
    pub connections: u64,
    /// Connections whose clock no connection of another port agrees with.
    pub unmatched: u64,
    /// Two packets that one clock cannot have stamped, for each further host.
    pub proof: Vec<(ClockReading, ClockReading)>,
}

/// A timestamp on a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClockReading {
    /// Packet number.
    pub packet: u64,
    /// Milliseconds after the first packet of the capture.
    pub at_ms: u64,
    /// TSval.
    pub value: u32,
}
