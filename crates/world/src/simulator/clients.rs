//! Clients: when they begin a connection, and how.

use super::Simulation;
use super::agenda::{Waking, What};
use super::counters::Counter;
use super::histogram::Histogram;
use super::host::{Place, Tuple};
use super::network::LOOPBACK;
use super::ports::{Address, FlowKey, Walk};
use super::random::mix;
use super::servers::ms;
use super::socket::{Hold, Owner, Socket, SocketRef};
use super::table::Entry;
use super::transport::Drive;
use crate::scenario::{Bind, Client, How, Http};
use std::collections::{BTreeMap, VecDeque};
use tcp::State;
use tcp::machine::{Call, Endpoint, Nanos, Residue};
use tcp::profile::linux;

/// How far a client has come.
#[derive(Debug, Default)]
pub(super) struct Running {
    /// Connections begun; with a pool, requests.
    pub(super) begun: u32,
    /// Those that are not done.
    pub(super) active: u32,
    /// The next one is on the agenda.
    pub(super) planned: bool,
    pub(super) ended: bool,
    pub(super) ok: u64,
    pub(super) connected: u64,
    pub(super) requests: u64,
    pub(super) failed: BTreeMap<(&'static str, &'static str), u64>,
    pub(super) connect: Histogram,
    /// connect() calls and their processor time.
    pub(super) calls: u64,
    pub(super) cost: Nanos,
    /// How long answers took.
    pub(super) answer: Histogram,
    /// How long the last of them took.
    pub(super) answered_in: Nanos,
    /// When its first turn began, when one began last, and when one ended last.
    pub(super) first: Option<Nanos>,
    pub(super) last_begin: Nanos,
    pub(super) last_end: Nanos,
    pub(super) pool: VecDeque<SocketRef>,
    /// Connections that it took out of the pool and that the server had closed.
    closed: u32,
}

/// What a connection that begins costs, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begin {
    /// How long it waits for a processor, and until its client has come to connect().
    pub(super) waits: Nanos,
    /// Of that: for a processor, and for whoever is woken from a long sleep.
    pub(super) queued: Nanos,
    /// connect(), until its SYN leaves.
    pub(super) cost: Nanos,
}

impl Simulation<'_> {
    /// True if a client will begin no more and waits for nothing.
    pub(super) fn is_done(&self, client: usize) -> bool {
        let running = &self.clients[client];
        running.active == 0 && !running.planned && (running.ended || !self.may_begin(client, self.now))
    }

    fn may_begin(&self, client: usize, at: Nanos) -> bool {
        let (config, running) = (&self.world.clients[client], &self.clients[client]);
        let length = config.for_ms.map_or(Nanos::MAX, ms);
        !running.ended
            && running.begun < config.connections
            && at < ms(config.start_ms).saturating_add(length)
    }

    /// Puts the next connection on the agenda, if there is room for it.
    pub(super) fn plan(&mut self, client: usize, earliest: Nanos) {
        let (config, running) = (&self.world.clients[client], &self.clients[client]);
        if running.planned || running.active >= config.concurrency {
            return;
        }
        let together = running.begun / config.burst.max(1) * config.burst.max(1);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within a week")]
        let due = config.per_second.map_or(0, |rate| (f64::from(together) / rate * 1e9) as Nanos);
        let at = earliest.max(ms(config.start_ms).saturating_add(due));
        if self.may_begin(client, at) {
            self.clients[client].planned = true;
            self.agenda.add(at, What::Next { client });
        }
    }

    /// Begins a connection, or a request on one of the pool.
    pub(super) fn begin(&mut self, client: usize) {
        let config = &self.world.clients[client];
        let running = &mut self.clients[client];
        running.planned = false;
        if running.ended {
            return;
        }
        let number = running.begun;
        running.begun += 1;
        running.active += 1;
        let rested = self.now - running.last_begin.max(running.last_end);
        let cold = self.world.costs.cold(running.first.map(|_| rested));
        // What else ran on its processor meanwhile decides: sometimes nothing, at most twice the mean.
        let chance = mix(mix(self.world.seed ^ client as u64) ^ u64::from(number)) % 2_001;
        let cold = cold.saturating_mul(chance) / 1_000;
        running.first.get_or_insert(self.now);
        running.last_begin = self.now;
        while let Some(at) = self.clients[client].pool.pop_back() {
            let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { continue };
            if socket.talk.broken.is_some() {
                self.shut(at, How::Fin);
                continue;
            }
            socket.talk.done = false;
            if socket.talk.eof && misses_close(config, &mut self.clients[client].closed) {
                socket.talk.eof = false;
            } else if socket.talk.eof {
                socket.talk.done = true;
                self.shut(at, How::Fin);
                continue;
            }
            let queued = self.processors.take(self.now, self.demands[client].request);
            if let Some(socket) = self.hosts[at.host].socket_mut(at.slot) {
                socket.talk.queued_for = queued;
            }
            // Nothing is to be called before, as for the next request of a connection that is not shared.
            self.later(at, queued, Waking::Ask);
            self.plan(client, self.now);
            return;
        }
        if let Err((call, error, took)) = self.connect(client, config, number, cold) {
            self.fail(client, call, error);
            // Its thread was busy with that until then.
            let cost = self.world.costs.turn + took + cold;
            let queued = self.processors.take(self.now, cost);
            self.agenda.add(self.now + queued + cost, What::Done { client });
        }
        self.plan(client, self.now);
    }

    /// A turn of a client is over.
    pub(super) fn turn_ends(&mut self, client: usize) {
        let running = &mut self.clients[client];
        running.active = running.active.saturating_sub(1);
        running.last_end = self.now;
        self.plan(client, self.now);
    }

    pub(super) fn fail(&mut self, client: usize, call: &'static str, error: &'static str) {
        *self.clients[client].failed.entry((call, error)).or_insert(0) += 1;
    }

    /// bind() and connect(), as far as the choice of a port. Where one fails: which, how, and what it took.
    fn connect(
        &mut self,
        client: usize,
        config: &Client,
        number: u32,
        cold: Nanos,
    ) -> Result<(), (&'static str, &'static str, Nanos)> {
        let from = self.client_hosts[client];
        let sources = u32::from(config.sources);
        let at_once = self.world.costs.connect;
        let places = &self.destinations[client];
        let Some((to, destination)) = places.get(number as usize % places.len().max(1)).copied() else {
            return Err(("connect", "ENETUNREACH", at_once));
        };
        let Some(source) = self.source(from, to, destination.address) else {
            return Err(("connect", "ENETUNREACH", at_once));
        };
        let source = if config.bind == Bind::None { source } else { source + number % sources };
        let now = self.now;
        let host = &mut self.hosts[from];
        host.age(now);
        let flow = host.ports.flow(
            FlowKey { source, destination: destination.address, port: destination.port },
            &mut self.random,
        );
        let place = |port| Tuple { local: Place { address: source, port }, remote: destination };
        let running = &mut self.clients[client];
        let mut bound_past = 0;
        let (port, walked, bound, taken) = match config.bind {
            Bind::None | Bind::AddressNoPort => {
                running.calls += 1;
                match host.ports.search(flow, source, config.own_ports(), &mut self.random) {
                    Ok(found) => (found.port, found.walked, false, found.again),
                    Err(walked) => {
                        let took = self.world.costs.connect(walked);
                        running.cost += took + cold;
                        return Err(("connect", "EADDRNOTAVAIL", took));
                    }
                }
            }
            Bind::Address => match host.ports.search_bound(source, config.own_ports(), &mut self.random) {
                Ok((port, walked)) => {
                    bound_past = walked;
                    running.calls += 1;
                    (port, Walk::default(), true, false)
                }
                Err(walked) => return Err(("bind", "EADDRINUSE", self.world.costs.bind(walked))),
            },
            Bind::Port => {
                let port = config.port.unwrap_or(0);
                if host.listeners.contains_key(&port) {
                    return Err(("bind", "EADDRINUSE", at_once));
                }
                running.calls += 1;
                (port, Walk::default(), true, true)
            }
        };
        let tuple = place(port);
        let again = if taken {
            self.take_over(from, tuple).map_err(|error| ("connect", error, at_once))?
        } else {
            None
        };
        let host = &mut self.hosts[from];
        host.ports.take(flow, source, port, bound);
        let hold = Hold { flow: Some(flow), source, port, bound };
        let costs = &self.world.costs;
        let cost = costs.connect(walked) + cold;
        let bind = costs.bind(bound_past);
        let threads = if number < config.concurrency { costs.threads } else { 0 };
        let taken = cost + bind + threads + self.demands[client].connection;
        let queued = self.queue(client, taken, cost + bind - costs.connect);
        let begin = Begin { waits: queued + cold + costs.turn + bind, queued: queued + cold, cost };
        // Between hosts the segments of a handshake are handled within the call.
        self.clients[client].cost += begin.cost + self.demands[client].round_trip;
        self.tuple_taken(from, tuple, again.is_some(), begin);
        if !self.rehearses
            && config.pool.is_none()
            && !self.fixed_ports
            && let Some(class) = self.class_of(client, to, destination)
            && self.replay(class, tuple, hold, again, begin)
        {
            return Ok(());
        }
        let endpoint = self.continued(from, tuple, again);
        self.open(client, from, tuple, hold, endpoint, begin);
        Ok(())
    }

    /// An endpoint for a tuple, which nobody may have; a TIME-WAIT that had timestamps is taken over.
    pub(super) fn claim(&mut self, from: usize, tuple: Tuple) -> Result<Endpoint, &'static str> {
        let again = self.take_over(from, tuple)?;
        Ok(self.continued(from, tuple, again))
    }

    /// Makes sure that nobody has a tuple, by taking over its TIME-WAIT if need be.
    fn take_over(&mut self, from: usize, tuple: Tuple) -> Result<Option<Residue>, &'static str> {
        let host = &mut self.hosts[from];
        let slot = match host.who_has(&tuple) {
            None => return Ok(None),
            Some(Entry::Socket(_)) => return Err("EADDRNOTAVAIL"),
            Some(Entry::Mini(slot)) => slot,
        };
        let residue = host.minis.get(slot).residue;
        if residue.state != State::TimeWait || residue.heard.is_none() {
            return Err("EADDRNOTAVAIL");
        }
        let mini = host.remove_mini(slot);
        host.moved(State::TimeWait, State::Closed);
        host.release(mini.hold);
        host.count(Counter::TimeWaitRecycled);
        Ok(Some(residue))
    }

    fn continued(&self, from: usize, tuple: Tuple, again: Option<Residue>) -> Endpoint {
        let mut endpoint = self.endpoint(from, tuple);
        if let Some(residue) = again {
            // net/ipv4/tcp_ipv4.c tcp_twsk_unique()
            endpoint.set_next_iss(residue.snd_nxt.plus(linux::TIME_WAIT_ISN_STEP.value));
        }
        endpoint
    }

    fn open(
        &mut self,
        client: usize,
        from: usize,
        tuple: Tuple,
        hold: Hold,
        endpoint: Endpoint,
        begin: Begin,
    ) {
        let mut socket = Socket::new(endpoint, tuple, Owner::Client(client), Some(hold));
        socket.talk.begun = self.now + begin.waits;
        socket.talk.queued_for = begin.queued;
        let config = &self.world.clients[client];
        let timeout = ms(config.timeout_ms);
        let timeout = timeout.saturating_add(timeout / linux::WAIT_SLACK_PART.value);
        socket.notes.close = config.http != Http::V1_1;
        let timeout = timeout.saturating_add(begin.waits);
        socket.talk.deadline = self.now.saturating_add(timeout);
        let slot = self.hosts[from].insert_socket(socket);
        let at = SocketRef { host: from, slot };
        self.later(at, begin.waits + begin.cost, Waking::Connect);
        self.later(at, timeout, Waking::Deadline);
    }

    /// The address that packets to a destination come from.
    pub(super) fn source(&mut self, from: usize, to: usize, destination: Address) -> Option<Address> {
        if from == to {
            return Some(LOOPBACK);
        }
        let first = self.network.path(from, destination)?.first;
        self.hosts[from].addresses.iter().find(|(network, _)| *network == first).map(|(_, address)| *address)
    }

    /// connect() sends its SYN.
    pub(super) fn send_syn(&mut self, at: SocketRef) {
        self.drive(at, Drive::Call(Call::Connect));
    }
}

/// True if a client asks on a connection that its server has closed: of so many the part that it is said to miss,
/// spread evenly.
fn misses_close(config: &Client, closed: &mut u32) -> bool {
    let missed = |closed: u32| (f64::from(closed) * config.misses_close + 1e-9).floor();
    *closed += 1;
    missed(*closed) > missed(*closed - 1)
}
