//! From connections to what a case keeps of them: added up by who talked to whom.

use crate::connections::{Connection, Connections, Ending, HttpSummary, Note, Options, Who};
use crate::{Merge, Reader};
use evidence::{Clocks, Endpoint, Ends, Example, Exchange, Http, MAX_EXCHANGES, Traffic};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// A side that has not closed after so much more of the capture is said not to close, in nanoseconds.
const NOT_CLOSED_NS: i64 = 5_000_000_000;

/// A close after so long without data is an idle timeout, in milliseconds: think time between the messages of one
/// exchange is shorter.
const IDLE_MS: u32 = 1_000;

/// Connections with more requests are counted with these.
const MOST_REQUESTS: u32 = 1_000;

/// Seconds of a capture that are kept apart; what ends later counts in the last.
const MAX_SECONDS: i64 = 100_000;

/// Ends of connections that are remembered to know how many were open at once.
const MAX_OPEN: usize = 1 << 20;

/// Adds up connections, in the order of their first packets.
#[derive(Debug)]
pub struct TrafficTally {
    places: HashMap<(Endpoint, Endpoint), usize, FixedState>,
    exchanges: Vec<Running>,
    connections: u64,
    folded: u64,
    time_wait: Vec<Ends>,
    notes: BTreeMap<&'static str, u64>,
    start_ns: Option<i64>,
    end_ns: Option<i64>,
}

#[derive(Debug)]
struct Running {
    exchange: Exchange,
    start_ns: i64,
    end_ns: i64,
    open: BinaryHeap<Reverse<i64>>,
}

impl TrafficTally {
    /// Nothing yet. `start_ns` and `end_ns` are the times of the capture's first and last packet, where they are known;
    /// without the last, no side is said not to close. `seed` is random, because peers choose the addresses.
    pub fn new(seed: u64, start_ns: Option<i64>, end_ns: Option<i64>) -> Self {
        Self {
            places: HashMap::with_hasher(FixedState::with_seed(seed)),
            exchanges: Vec::new(),
            connections: 0,
            folded: 0,
            time_wait: Vec::new(),
            notes: BTreeMap::new(),
            start_ns,
            end_ns,
        }
    }

    /// Adds a connection.
    pub fn add(&mut self, connection: &Connection) {
        self.connections += 1;
        let start = *self.start_ns.get_or_insert(connection.start_ns);
        if let Some(who) = connection.time_wait_at {
            let second = (connection.end_ns.saturating_sub(start) / 1_000_000_000).clamp(0, MAX_SECONDS - 1);
            let second = usize::try_from(second).unwrap_or(0);
            if self.time_wait.len() <= second {
                self.time_wait.resize(second + 1, Ends::default());
            }
            count(&mut self.time_wait[second], who);
        }
        for note in &connection.notes {
            *self.notes.entry(note.name()).or_default() += 1;
        }
        let capture_end = self.end_ns;
        let running = self.running(connection);
        running.start_ns = running.start_ns.min(connection.start_ns);
        running.end_ns = running.end_ns.max(connection.end_ns);
        running.open(connection);
        let exchange = &mut running.exchange;
        let example = Example {
            file: connection.file,
            first_packet: connection.first_packet,
            last_packet: connection.last_packet,
            client_port: connection.client.port.unwrap_or(0),
        };
        exchange.connections += 1;
        add_opening(exchange, connection, example);
        add_ending(exchange, connection, example, capture_end);
        if let Some(http) = &connection.http {
            add_http(exchange.http.get_or_insert_default(), http, example);
        }
    }

    fn running(&mut self, connection: &Connection) -> &mut Running {
        let client = Endpoint { address: connection.client.address, port: None };
        let mut key = (client, connection.server);
        if self.exchanges.len() >= MAX_EXCHANGES && !self.places.contains_key(&key) {
            self.folded += 1;
            key.0 = Endpoint::default();
            if self.exchanges.len() >= 2 * MAX_EXCHANGES && !self.places.contains_key(&key) {
                key.1 = Endpoint::default();
            }
        }
        let exchanges = &mut self.exchanges;
        let place = *self.places.entry(key).or_insert_with(|| {
            exchanges.push(Running {
                exchange: Exchange { client: key.0, server: key.1, ..Exchange::default() },
                start_ns: i64::MAX,
                end_ns: i64::MIN,
                open: BinaryHeap::new(),
            });
            exchanges.len() - 1
        });
        &mut self.exchanges[place]
    }

    /// Reads captures to their ends on this thread and adds up all their connections. What the files are called is for
    /// the caller to add; how each of them ended is in their readers.
    pub fn of(readers: Vec<Reader<'_>>, seed: u64) -> (Traffic, Merge<'_>) {
        let mut merge = Merge::new(readers);
        let mut connections = Connections::new(Options { seed, ..Options::default() });
        while merge.advance_into(u64::MAX, &mut connections) {}
        connections.finish();
        let span_ns = connections.span_ns();
        let (start, end) = span_ns.unzip();
        let mut tally = Self::new(seed ^ 1, start, end);
        for connection in connections.iter() {
            tally.add(&connection);
        }
        let clocks = connections.clocks(start.unwrap_or(0));
        (tally.finish(&merge, span_ns, clocks), merge)
    }

    /// The result, with the times of the first and the last packet, the clocks, and what the readers counted. What the
    /// files are called is for the caller to add.
    pub fn finish(self, read: &Merge<'_>, span_ns: Option<(i64, i64)>, clocks: Vec<Clocks>) -> Traffic {
        let mut traffic = Traffic { clocks, ..self.sums() };
        if let Some((start, end)) = span_ns {
            traffic.start = moment(start);
            traffic.length_ms = milliseconds(end.saturating_sub(start));
        }
        for statistics in read.readers().iter().map(Reader::statistics) {
            traffic.frames += statistics.frames;
            traffic.segments += statistics.segments;
        }
        traffic
    }

    /// What was added: exchanges with the most connections first.
    fn sums(self) -> Traffic {
        let mut exchanges: Vec<Exchange> = self
            .exchanges
            .into_iter()
            .map(|running| Exchange {
                length_ms: milliseconds(running.end_ns.saturating_sub(running.start_ns)),
                ..running.exchange
            })
            .collect();
        // Stable: equal ones stay in the order of their first packets.
        exchanges.sort_by_key(|exchange| Reverse(exchange.connections));
        let seconds = (0..).zip(self.time_wait).filter(|(_, ends)| ends.total() > 0);
        Traffic {
            connections: self.connections,
            exchanges,
            folded: self.folded,
            time_wait_by_second: seconds.collect(),
            notes: self.notes.into_iter().map(|(note, count)| (note.to_owned(), count)).collect(),
            ..Traffic::default()
        }
    }
}

impl Running {
    /// How many are in use at once: those that began before this one and that nobody has closed; and for how long. What
    /// a side that forgets to close leaves behind is not used.
    fn open(&mut self, connection: &Connection) {
        if matches!(connection.ending, Ending::Refused | Ending::Unanswered) {
            return;
        }
        while self.open.peek().is_some_and(|Reverse(end)| *end <= connection.start_ns) {
            self.open.pop();
        }
        let closed = connection.closed_ns.unwrap_or(connection.end_ns);
        if self.open.len() < MAX_OPEN {
            self.open.push(Reverse(closed));
        }
        let open_us = u64::try_from(closed.saturating_sub(connection.start_ns) / 1_000).unwrap_or(0);
        self.exchange.open_us = self.exchange.open_us.saturating_add(open_us);
        let open = u32::try_from(self.open.len()).unwrap_or(u32::MAX);
        self.exchange.at_once = self.exchange.at_once.max(open);
    }
}

fn add_opening(exchange: &mut Exchange, connection: &Connection, example: Example) {
    with(&mut exchange.handshakes, connection.handshake.name(), |count| *count += 1);
    if connection.syns > 1 {
        exchange.syn_again.add(example);
    }
    if connection.challenged {
        exchange.challenged.add(example);
    }
    if connection.without_timestamps {
        exchange.without_timestamps.add(example);
    }
    if connection.ending == Ending::Unanswered {
        let unanswered =
            if connection.challenged { &mut exchange.shut_out } else { &mut exchange.unanswered };
        unanswered.add(example);
    }
    if let Some(reuse) = &connection.reuses {
        with(&mut exchange.reuses, reuse.outcome.name(), |counted| counted.add(example));
        let shortest = exchange.shortest_reuse_ms.get_or_insert(reuse.after_ms);
        *shortest = (*shortest).min(reuse.after_ms);
    }
}

fn add_ending(
    exchange: &mut Exchange,
    connection: &Connection,
    example: Example,
    capture_end_ns: Option<i64>,
) {
    with(&mut exchange.endings, connection.ending.name(), |count| *count += 1);
    if let Some(who) = connection.first_closer {
        count(&mut exchange.first_closer, who);
        if let Some(idle_ms) = connection.idle_ms.filter(|idle_ms| *idle_ms >= IDLE_MS) {
            count(&mut exchange.closed_idle, who);
            let (least, most) = exchange.idle_ms.get_or_insert((idle_ms, idle_ms));
            (*least, *most) = ((*least).min(idle_ms), (*most).max(idle_ms));
        }
    }
    if let Some(who) = connection.time_wait_at {
        count(&mut exchange.time_wait_at, who);
    }
    if let Some(cause) = connection.reset_cause {
        with(&mut exchange.resets, cause.name(), |counted| counted.add(example));
        if let Some(who) = connection.reset_by {
            with(&mut exchange.resets_by, cause.name(), |ends| count(ends, who));
        }
    }
    if let Some(who) = connection.reset_by {
        count(&mut exchange.reset_by, who);
    }
    if connection.notes.contains(&Note::LastFinUnacknowledged) {
        exchange.last_fin_unacknowledged.add(example);
    } else if connection.fins.client > 1 || connection.fins.server > 1 {
        exchange.fin_again.add(example);
    }
    if connection.ending == Ending::HalfClosed
        && capture_end_ns.is_some_and(|end| end.saturating_sub(connection.end_ns) >= NOT_CLOSED_NS)
    {
        match connection.first_closer {
            Some(Who::Client) => count(&mut exchange.not_closed_by, Who::Server),
            Some(Who::Server) => count(&mut exchange.not_closed_by, Who::Client),
            Some(Who::Both) | None => return,
        }
        exchange.not_closed.add(example);
    }
}

fn add_http(to: &mut Http, http: &HttpSummary, example: Example) {
    to.connections += 1;
    to.requests += u64::from(http.requests);
    to.responses += u64::from(http.responses);
    *to.by_requests.entry(http.requests.min(MOST_REQUESTS)).or_default() += 1;
    if let Some(who) = http.close.who() {
        count(&mut to.close_by, who);
    }
    let old = !http.keep_alive.client && http.versions.client.iter().any(|version| version != "1.1");
    to.old_version += u64::from(old);
    to.relayed += u64::from(http.relayed);
    if old || http.close.client {
        to.client_asks_to_close.add(example);
    } else if http.close.server {
        to.server_asks_to_close.add(example);
    } else if http.requests > 0 {
        to.kept.add(example);
    }
}

/// Changes what stands beside a name. Only a new name is copied: for every connection that would be an allocation.
fn with<T: Default>(map: &mut BTreeMap<String, T>, name: &str, change: impl FnOnce(&mut T)) {
    match map.get_mut(name) {
        Some(value) => change(value),
        None => change(map.entry(name.to_owned()).or_default()),
    }
}

fn count(ends: &mut Ends, who: Who) {
    let end = match who {
        Who::Client => &mut ends.client,
        Who::Server => &mut ends.server,
        Who::Both => &mut ends.both,
    };
    *end += 1;
}

/// RFC 3339 with nanoseconds.
fn moment(time_ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(time_ns.into())
        .map_or_else(|_| String::new(), |time| format!("{time:.9}"))
}

fn milliseconds(nanoseconds: i64) -> u64 {
    u64::try_from(nanoseconds / 1_000_000).unwrap_or(0)
}

#[cfg(test)]
mod tests;
