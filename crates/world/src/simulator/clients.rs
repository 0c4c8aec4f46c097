//! Clients: how they connect, ask and close.

use super::Simulation;
use super::agenda::{Waking, What};
use super::counters::Counter;
use super::histogram::Histogram;
use super::host::{Place, Tuple};
use super::network::LOOPBACK;
use super::ports::{Address, FlowKey, Walk};
use super::random::mix;
use super::servers::{HEAD_BYTES, ms};
use super::socket::{Hold, Owner, Socket, SocketRef, Talk};
use super::table::Entry;
use super::transport::Drive;
use crate::scenario::{Bind, Client, Close, ClosesWhen, How, Http};
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

    /// connect() is back.
    pub(super) fn client_connected(&mut self, at: SocketRef, client: usize) {
        let now = self.now;
        let config = &self.world.clients[client];
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        socket.talk.heard = now;
        let took = now - socket.talk.begun;
        let running = &mut self.clients[client];
        running.connected += 1;
        running.connect.add(took);
        if config.close.when == ClosesWhen::Requests && config.close.requests == 0 && config.pool.is_none() {
            socket.talk.deadline = 0;
            self.later(at, ms(config.close.after_ms).max(self.world.costs.call), Waking::Close);
        } else {
            self.ask(at, client);
        }
    }

    /// The next request.
    pub(super) fn ask(&mut self, at: SocketRef, client: usize) {
        let config = &self.world.clients[client];
        let now = self.now;
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        if socket.talk.closed || socket.talk.closing {
            return;
        }
        socket.talk.asked += 1;
        socket.talk.asked_at = now;
        let deadline = now.saturating_add(ms(config.timeout_ms));
        if socket.talk.deadline == 0 {
            self.later(at, deadline - now, Waking::Deadline);
        }
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        socket.talk.deadline = deadline;
        let ended = socket.talk.eof;
        let last = socket.talk.asked >= config.requests && config.pool.is_none();
        socket.notes.goodbye = last && config.close.how == How::Goodbye;
        let gone = !socket.in_table;
        if gone {
            let error = socket.talk.broken.unwrap_or("EPIPE");
            self.lose(at, client, "send", error);
            return;
        }
        self.drive(at, Drive::Send(HEAD_BYTES.saturating_add(config.request_bytes)));
        if let Some(socket) = self.hosts[at.host].socket_mut(at.slot)
            && ended
        {
            // Its next call finds the end. On a short way a reset has come by then.
            socket.talk.woken = true;
            self.later(at, self.world.costs.call, Waking::Read);
        }
    }

    /// The client looks at what came.
    pub(super) fn client_reads(&mut self, at: SocketRef, client: usize) {
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        socket.talk.woken = false;
        let talk = &mut socket.talk;
        let waits = talk.waits();
        // What nobody reads need not come in full.
        talk.until_eof &= !leaves_answer(&self.world.clients[client], talk);
        if talk.takes_answer() {
            talk.deadline = 0;
            self.answered(at, client);
        } else if waits && talk.eof {
            self.lose(at, client, "recv", "EOF");
            return;
        }
        let config = &self.world.clients[client];
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        if socket.talk.eof || socket.talk.goodbye {
            // What is idle in a pool is looked at when it is taken out, and who thinks about the next request, or rests
            // before it closes, does not look.
            let talk = socket.talk;
            let has_shut_down =
                config.close.how == How::Shutdown && socket.endpoint.state() != State::CloseWait;
            if config.pool.is_some() && !talk.says_close
                || talk.eof && !has_shut_down && !self.reads_on(&talk, client)
            {
                return;
            }
            self.peer_closed(at, config.close);
            self.finish_if_closed(at, client, talk.done);
        }
    }

    /// An answer is complete.
    fn answered(&mut self, at: SocketRef, client: usize) {
        let config = &self.world.clients[client];
        let running = &mut self.clients[client];
        let now = self.now;
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        let talk = &mut socket.talk;
        if !leaves_answer(config, talk) {
            running.requests += 1;
            running.answered_in = now - talk.asked_at;
            // Where there are too few processors, it is answers that come late.
            running.answer.add(running.answered_in + std::mem::take(&mut talk.queued_for));
        }
        let answered = talk.answered;
        if !talk.ok && (answered >= config.requests || config.pool.is_some()) {
            talk.ok = true;
            running.ok += 1;
        }
        let talk = *talk;
        if let Some(error) = talk.broken
            && self.awaits_end(&talk, client)
        {
            self.lose(at, client, "recv", error);
            return;
        }
        if config.pool.is_some() && talk.says_close {
            match config.close.when {
                ClosesWhen::Peer => {}
                ClosesWhen::Never => self.finish(at, client),
                ClosesWhen::Requests | ClosesWhen::Idle => {
                    let was_done = talk.done;
                    self.shut(at, config.close.how.bare());
                    self.finish_if_closed(at, client, was_done);
                }
            }
            return;
        }
        if config.pool.is_some() {
            if config.think_ms > 0 && self.clients[client].begun < config.connections {
                self.later(at, ms(config.think_ms), Waking::Keep);
            } else {
                self.keep(at, client);
            }
            return;
        }
        // Who was told that nothing more will be answered asks no more.
        let is_over = answered >= config.requests || talk.says_close;
        if config.close.when == ClosesWhen::Requests && is_over {
            let after = config.close.after_ms;
            if after == 0 || config.close.how == How::Goodbye {
                let was_done = talk.done;
                let after_ms = if after == 0 { config.timeout_ms } else { after };
                self.close(at, Close { after_ms, ..config.close });
                self.finish_if_closed(at, client, was_done);
            } else {
                self.later(at, ms(after), Waking::Close);
            }
        } else if !is_over && !talk.eof {
            if config.think_ms == 0 {
                self.ask(at, client);
            } else {
                self.later(at, ms(config.think_ms), Waking::Ask);
            }
        } else {
            match config.close.when {
                ClosesWhen::Idle => self.later(at, ms(config.close.after_ms), Waking::Idle),
                ClosesWhen::Never => self.finish(at, client),
                ClosesWhen::Peer => {
                    if let Some(socket) = self.hosts[at.host].socket_mut(at.slot) {
                        socket.talk.deadline = now.saturating_add(ms(config.timeout_ms));
                    }
                    self.later(at, ms(config.timeout_ms), Waking::Deadline);
                }
                ClosesWhen::Requests => {}
            }
        }
    }

    /// A connection goes back to the pool, if there is room.
    pub(super) fn keep(&mut self, at: SocketRef, client: usize) {
        let config = &self.world.clients[client];
        let now = self.now;
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        socket.talk.waits_since = now;
        let room = self.clients[client].pool.len() < config.pool.unwrap_or(0) as usize;
        let room = room && socket.talk.broken.is_none();
        if room {
            self.clients[client].pool.push_back(at);
            if let Some(idle) = config.pool_idle_ms {
                self.later(at, ms(idle), Waking::Idle);
            }
        } else if config.close.when != ClosesWhen::Never {
            self.shut(at, config.close.how.bare());
        }
        self.finish(at, client);
    }

    /// The connection's place is free for the next.
    pub(super) fn finish(&mut self, at: SocketRef, client: usize) {
        if let Some(socket) = self.hosts[at.host].socket_mut(at.slot) {
            if socket.talk.done {
                return;
            }
            socket.talk.done = true;
        }
        debug_assert!(self.clients[client].active > 0, "each connection is done once");
        self.turn_ends(client);
    }

    /// The same after a close that may have taken the socket away, and with it whether it was done before.
    pub(super) fn finish_if_closed(&mut self, at: SocketRef, client: usize, was_done: bool) {
        if self.lingers(at) {
            return;
        }
        // Who has shut down its side waits for the other without holding up the next connection.
        let open = self.hosts[at.host]
            .socket(at.slot)
            .is_some_and(|socket| !socket.talk.closed && !has_shut_down(socket.endpoint.state()));
        if !open && !was_done {
            self.finish(at, client);
        }
    }

    /// A call failed: the connection is given up.
    pub(super) fn lose(&mut self, at: SocketRef, client: usize, call: &'static str, error: &'static str) {
        self.fail(client, call, error);
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        if socket.talk.ok && socket.talk.answered < socket.talk.asked {
            self.clients[client].ok -= 1;
        }
        self.finish(at, client);
        self.shut(at, How::Fin);
    }

    /// The connection is gone without a close.
    pub(super) fn client_broken(&mut self, at: SocketRef, client: usize, error: &'static str) {
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        // Behind the end of the stream recv() finds only that, and send() EPIPE (net/ipv4/tcp.c tcp_recvmsg_locked(),
        // tcp_input.c tcp_reset()).
        let (of_send, of_recv) = if socket.talk.eof { ("EPIPE", "EOF") } else { (error, error) };
        socket.talk.broken = Some(of_send);
        if !socket.talk.done && socket.talk.takes_answer() {
            // What came before the reset is still read (net/ipv4/tcp.c tcp_recvmsg_locked()).
            socket.talk.deadline = 0;
            self.answered(at, client);
            return;
        }
        let talk = socket.talk;
        if socket.endpoint.life() == 1 && self.clients[client].pool.contains(&at) {
            self.clients[client].pool.retain(|pooled| *pooled != at);
            self.shut(at, How::Fin);
            return;
        }
        if talk.asked == 0 && talk.heard == 0 {
            self.lose(at, client, "connect", error);
        } else if talk.done {
            self.shut(at, How::Fin);
        } else if talk.waits() || self.awaits_end(&talk, client) {
            self.lose(at, client, "recv", of_recv);
        }
        // Else it thinks about its next request, or waits to close: its next call says it (net/ipv4/tcp.c
        // tcp_sendmsg_locked()).
    }

    /// All is answered, and it reads on until the other side has closed.
    fn reads_on(&self, talk: &Talk, client: usize) -> bool {
        let Client { requests, pool, close, .. } = &self.world.clients[client];
        (talk.says_close || talk.answered >= *requests && pool.is_none())
            && (close.when == ClosesWhen::Peer
                || close.when == ClosesWhen::Requests && close.how == How::Goodbye)
    }

    /// The same, and it has not; who was asked to close does not wait for that.
    fn awaits_end(&self, talk: &Talk, client: usize) -> bool {
        let is_asked = talk.goodbye && self.world.clients[client].close.how != How::Goodbye;
        !talk.eof && !is_asked && self.reads_on(talk, client)
    }

    /// Perhaps it waits too long.
    pub(super) fn deadline(&mut self, at: SocketRef, client: usize) {
        let now = self.now;
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        let talk = socket.talk;
        if talk.deadline == 0 || talk.closed || talk.done {
            return;
        }
        if talk.deadline > now {
            self.later(at, talk.deadline - now, Waking::Deadline);
            return;
        }
        let call = if socket.endpoint.state() == State::SynSent { "connect" } else { "recv" };
        self.lose(at, client, call, "ETIMEDOUT");
    }

    /// A connection of the pool was idle for long, perhaps.
    pub(super) fn pool_idle(&mut self, at: SocketRef, client: usize, idle_ms: u64) {
        if !self.clients[client].pool.contains(&at) {
            return;
        }
        let Some(socket) = self.hosts[at.host].socket(at.slot) else { return };
        let until = socket.talk.idle_since().saturating_add(ms(idle_ms));
        if until > self.now {
            self.later(at, until - self.now, Waking::Idle);
        } else {
            self.clients[client].pool.retain(|pooled| *pooled != at);
            self.shut(at, self.world.clients[client].close.how.bare());
        }
    }

    /// connect() sends its SYN.
    pub(super) fn send_syn(&mut self, at: SocketRef) {
        self.drive(at, Drive::Call(Call::Connect));
    }
}

/// True if what a client has asked for last is not read, so that its close() is a reset.
pub(super) fn leaves_answer(config: &Client, talk: &Talk) -> bool {
    config.close.how == How::Unread && talk.asked >= config.requests
}

/// True if a client asks on a connection that its server has closed: of so many the part that it is said to miss,
/// spread evenly.
fn misses_close(config: &Client, closed: &mut u32) -> bool {
    let missed = |closed: u32| (f64::from(closed) * config.misses_close + 1e-9).floor();
    *closed += 1;
    missed(*closed) > missed(*closed - 1)
}

/// True if nothing more will be sent from here, and the other side has not closed.
const fn has_shut_down(state: State) -> bool {
    matches!(state, State::FinWait1 | State::FinWait2)
}
