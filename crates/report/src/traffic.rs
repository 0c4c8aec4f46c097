//! What captures showed, added up for people.

use crate::report::{foremost, name};
use evidence::{Counted, Ends, Exchange, Traffic};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// So many peers are reported.
const MAX_PEERS: usize = 100;
/// So many files are named.
const MAX_FILES: usize = 100;
/// Into so many parts the time of a capture is divided.
const MAX_PARTS: u32 = 100;

/// The connections of the captures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TrafficRow {
    /// The files, as they were named: the first hundred.
    pub files: Vec<String>,
    /// How many files there are.
    pub file_count: usize,
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
    /// Connections by how far the opening came.
    pub handshakes: BTreeMap<String, u64>,
    /// Connections by how they ended.
    pub endings: BTreeMap<String, u64>,
    /// Connections by whose FIN came first.
    pub first_closer: Sides,
    /// Connections by who is left in TIME-WAIT.
    pub time_wait_at: Sides,
    /// Connections that went into TIME-WAIT, over the time of the capture.
    pub time_wait_over_time: OverTime,
    /// Connections with a reset, by its cause, the most first.
    pub resets: Vec<Shown>,
    /// Connections that used addresses and ports again, by the outcome.
    pub reuses: Vec<Shown>,
    /// Connections whose SYN was sent again.
    pub syn_again: u64,
    /// HTTP/1; null if none was spoken.
    pub http: Option<HttpRow>,
    /// Who talked to whom, those with the most connections first.
    pub peers: Vec<PeerRow>,
    /// Rows of `peers` that were left out.
    pub peers_not_shown: usize,
    /// Connections by each note that `lastack read --json` has on them.
    pub notes: BTreeMap<String, u64>,
}

/// A count for each side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Sides {
    /// Of the client.
    pub client: u64,
    /// Of the server.
    pub server: u64,
    /// Of both at once.
    pub both: u64,
}

impl Sides {
    fn add(&mut self, ends: Ends) {
        self.client = self.client.saturating_add(ends.client);
        self.server = self.server.saturating_add(ends.server);
        self.both = self.both.saturating_add(ends.both);
    }

    pub(crate) fn total(self) -> u64 {
        self.client.saturating_add(self.server).saturating_add(self.both)
    }
}

/// Counts over time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OverTime {
    /// Seconds that each count is of.
    pub seconds_each: u32,
    /// The counts, the oldest first.
    pub counts: Vec<u64>,
    /// The most in one second.
    pub most_per_second: u64,
}

/// How often something was seen, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Shown {
    /// What.
    pub what: String,
    /// Connections.
    pub count: u64,
    /// First and last packet of some of them, as Wireshark counts.
    pub packets: Vec<(u64, u64)>,
}

/// HTTP/1 on the connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HttpRow {
    /// Connections that spoke it.
    pub connections: u64,
    /// Requests.
    pub requests: u64,
    /// Complete responses.
    pub responses: u64,
    /// Connections by their number of requests: 1, 2, 3 to 9, 10 to 99, 100 and more.
    pub by_requests: Vec<(String, u64)>,
    /// Connections by who sent `Connection: close`.
    pub close_by: Sides,
}

/// The connections of a client address and a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PeerRow {
    /// The client's address.
    pub client: String,
    /// The server's address and port.
    pub server: String,
    /// Connections.
    pub connections: u64,
    /// Most of them that were open at once.
    pub at_once: u32,
    /// By how they ended.
    pub endings: BTreeMap<String, u64>,
    /// By whose FIN came first.
    pub first_closer: Sides,
    /// By who is left in TIME-WAIT.
    pub time_wait_at: Sides,
    /// Requests of HTTP/1; null if it was not spoken.
    pub requests: Option<u64>,
}

const REQUESTS: [(u32, &str); 5] = [(1, "1"), (2, "2"), (9, "3-9"), (99, "10-99"), (u32::MAX, "100+")];

impl TrafficRow {
    pub(crate) fn new(traffic: &Traffic) -> Self {
        let mut row = Self {
            files: traffic.files.iter().take(MAX_FILES).map(|file| name(file)).collect(),
            file_count: traffic.files.len(),
            start: name(&traffic.start),
            length_ms: traffic.length_ms,
            frames: traffic.frames,
            segments: traffic.segments,
            connections: traffic.connections,
            time_wait_over_time: OverTime::new(traffic),
            notes: bounded(&traffic.notes),
            ..Self::default()
        };
        let (mut resets, mut reuses) = (BTreeMap::new(), BTreeMap::new());
        let mut by_requests = [0_u64; REQUESTS.len()];
        for exchange in &traffic.exchanges {
            add(&mut row.handshakes, &exchange.handshakes);
            add(&mut row.endings, &exchange.endings);
            row.first_closer.add(exchange.first_closer);
            row.time_wait_at.add(exchange.time_wait_at);
            add_shown(&mut resets, &exchange.resets);
            add_shown(&mut reuses, &exchange.reuses);
            row.syn_again = row.syn_again.saturating_add(exchange.syn_again.count);
            if let Some(http) = &exchange.http {
                let sum = row.http.get_or_insert_default();
                sum.connections = sum.connections.saturating_add(http.connections);
                sum.requests = sum.requests.saturating_add(http.requests);
                sum.responses = sum.responses.saturating_add(http.responses);
                sum.close_by.add(http.close_by);
                for (requests, count) in &http.by_requests {
                    let place = REQUESTS.iter().position(|(most, _)| requests <= most).unwrap_or(0);
                    by_requests[place] = by_requests[place].saturating_add(*count);
                }
            }
        }
        if let Some(http) = &mut row.http {
            let named = REQUESTS.iter().zip(by_requests).filter(|(_, count)| *count > 0);
            http.by_requests = named.map(|((_, name), count)| ((*name).to_owned(), count)).collect();
        }
        row.resets = sorted(resets);
        row.reuses = sorted(reuses);
        let exchanges: Vec<&Exchange> = traffic.exchanges.iter().collect();
        let order = |one: &&Exchange, other: &&Exchange| {
            (other.connections.cmp(&one.connections))
                .then_with(|| (one.client, one.server).cmp(&(other.client, other.server)))
        };
        let peers = foremost(exchanges, MAX_PEERS, &mut row.peers_not_shown, order);
        row.peers = peers.into_iter().map(PeerRow::new).collect();
        row
    }
}

impl PeerRow {
    fn new(exchange: &Exchange) -> Self {
        let sides = |ends| {
            let mut sides = Sides::default();
            sides.add(ends);
            sides
        };
        Self {
            client: exchange.client.to_string(),
            server: exchange.server.to_string(),
            connections: exchange.connections,
            at_once: exchange.at_once,
            endings: bounded(&exchange.endings),
            first_closer: sides(exchange.first_closer),
            time_wait_at: sides(exchange.time_wait_at),
            requests: exchange.http.as_ref().map(|http| http.requests),
        }
    }
}

impl OverTime {
    fn new(traffic: &Traffic) -> Self {
        let Some((last, _)) = traffic.time_wait_by_second.last_key_value() else { return Self::default() };
        let whole = u32::try_from(traffic.length_ms / 1_000).unwrap_or(u32::MAX).max(*last);
        let seconds_each = (whole / MAX_PARTS).saturating_add(1);
        let mut counts = vec![0_u64; (whole / seconds_each) as usize + 1];
        for (second, ends) in &traffic.time_wait_by_second {
            let count = &mut counts[(second / seconds_each) as usize];
            *count = count.saturating_add(ends.total());
        }
        let most_per_second =
            traffic.time_wait_by_second.values().map(|ends| ends.total()).max().unwrap_or(0);
        Self { seconds_each, counts, most_per_second }
    }
}

/// A case may have been edited by anyone: so many names, and no longer than names are.
const MAX_NAMES: usize = 40;

fn bounded(counts: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    counts.iter().take(MAX_NAMES).map(|(what, count)| (name(what), *count)).collect()
}

fn add(sums: &mut BTreeMap<String, u64>, counts: &BTreeMap<String, u64>) {
    for (what, count) in counts {
        if sums.len() < MAX_NAMES || sums.contains_key(&name(what)) {
            let sum = sums.entry(name(what)).or_default();
            *sum = sum.saturating_add(*count);
        }
    }
}

fn add_shown(sums: &mut BTreeMap<String, Shown>, counts: &BTreeMap<String, Counted>) {
    for (what, counted) in counts {
        if sums.len() >= MAX_NAMES && !sums.contains_key(what) {
            continue;
        }
        let sum = sums.entry(what.clone()).or_insert_with(|| Shown { what: name(what), ..Shown::default() });
        sum.count = sum.count.saturating_add(counted.count);
        let room = evidence::MAX_EXAMPLES.saturating_sub(sum.packets.len());
        sum.packets.extend(
            counted.examples.iter().take(room).map(|example| (example.first_packet, example.last_packet)),
        );
    }
}

fn sorted(sums: BTreeMap<String, Shown>) -> Vec<Shown> {
    let mut rows: Vec<Shown> = sums.into_values().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.count));
    rows
}
