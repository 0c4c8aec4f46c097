//! Proxies: what nginx and HAProxy are known to do with connections to their upstream (docs/scenarios.md).

use super::agenda::Waking;
use super::histogram::Histogram;
use super::host::{Place, Tuple};
use super::ports::FlowKey;
use super::servers::{HEAD_BYTES, ms};
use super::socket::{Hold, Owner, Socket, SocketRef};
use super::transport::Drive;
use super::{Simulation, Upstream};
use crate::scenario::{HaproxyClose, How, Http, Program, Proxy, Reuse};
use std::collections::{BTreeMap, VecDeque};
use tcp::machine::Nanos;

/// `keepalive_timeout` of nginx's upstream block, milliseconds (1.15.3).
const NGINX_IDLE_MS: u64 = 60_000;
/// `keepalive_requests` of nginx's upstream block (1.19.10).
const NGINX_REQUESTS: u32 = 1_000;

/// How far a proxy has come.
#[derive(Debug, Default)]
pub(super) struct Relaying {
    pub(super) host: usize,
    /// Where its upstreams lead.
    pub(super) places: Vec<(usize, Place)>,
    /// Connections made to them,
    pub(super) upstream: u64,
    /// how long connect() took until they were open, and the processor time of all its calls.
    pub(super) connect: Histogram,
    pub(super) cost: Nanos,
    /// Whose turn it is.
    turn: usize,
    next_worker: u32,
    /// Idle connections by worker, the one used last at the end.
    pools: Vec<VecDeque<SocketRef>>,
    pub(super) failed: BTreeMap<(&'static str, &'static str), u64>,
}

impl Relaying {
    pub(super) fn new(config: &Proxy, host: usize, places: Vec<(usize, Place)>) -> Self {
        // HAProxy's threads share what is idle.
        let pools = if config.program == Program::Nginx { config.workers.clamp(1, 1_024) } else { 1 };
        Self { host, places, pools: vec![VecDeque::new(); pools as usize], ..Self::default() }
    }

    /// What its connections took.
    pub(super) fn took(&self) -> Upstream {
        let part = |part| self.connect.quantile(part).map_or(0.0, |nanos| nanos as f64 / 1e3);
        Upstream {
            connections: self.upstream,
            p50_us: part(0.5),
            p99_us: part(0.99),
            cpu_us: self.cost as f64 / 1e3,
        }
    }
}

impl Simulation<'_> {
    /// A client's connection: requests go on to the upstream.
    pub(super) fn front_reads(&mut self, at: SocketRef, proxy: usize) {
        if !self.accept(at) {
            return;
        }
        let pools = self.proxies[proxy].pools.len();
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        socket.talk.woken = false;
        if socket.talk.asked == 0 {
            let relaying = &mut self.proxies[proxy];
            socket.talk.worker = relaying.next_worker % u32::try_from(pools).unwrap_or(1);
            relaying.next_worker += 1;
        }
        let talk = &mut socket.talk;
        if talk.unread > 0 && talk.asked == talk.answered && !talk.eof {
            talk.asked += 1;
            talk.unread = 0;
            let bytes = socket.take_bytes();
            self.relay(at, proxy, bytes, true);
        } else if talk.eof {
            self.front_ends(at, proxy);
        }
    }

    /// The client has closed, or is gone.
    pub(super) fn front_ends(&mut self, at: SocketRef, proxy: usize) {
        let config = &self.world.proxies[proxy];
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        let waits = socket.talk.waits();
        let says_close = socket.talk.says_close;
        let back = socket.talk.partner.take();
        self.shut(at, How::Fin);
        let Some(back) = back else { return };
        if let Some(socket) = self.hosts[back.host].socket_mut(back.slot) {
            socket.talk.partner = None;
        }
        match config.program {
            // proxy_ignore_client_abort off
            Program::Nginx => self.shut(back, How::Fin),
            Program::Haproxy if waits => self.shut(back, How::Reset),
            Program::Haproxy => self.leave(back, proxy, says_close),
        }
    }

    /// HAProxy: a connection whose client is gone. It is kept where others may use it, else reset, as it is where
    /// the client asked for the close.
    fn leave(&mut self, back: SocketRef, proxy: usize, says_close: bool) {
        let config = &self.world.proxies[proxy];
        let Some(socket) = self.hosts[back.host].socket_mut(back.slot) else { return };
        let keeps = match config.reuse {
            Reuse::Never => false,
            Reuse::Safe => !says_close,
            Reuse::Aggressive => !says_close || socket.talk.asked > 1,
            Reuse::Always => true,
        };
        if keeps && config.mode == HaproxyClose::KeepAlive && !socket.talk.eof {
            self.proxies[proxy].pools[0].push_back(back);
        } else if socket.talk.eof {
            self.shut(back, How::Fin);
        } else {
            // Seen on HAProxy 2.6: SO_LINGER 0, TCPAbortOnData.
            self.shut(back, How::Reset);
        }
    }

    /// Finds a connection to the upstream for a request.
    fn relay(&mut self, front: SocketRef, proxy: usize, bytes: u32, may_reuse: bool) {
        let Some(socket) = self.hosts[front.host].socket_mut(front.slot) else { return };
        let (worker, own) = (socket.talk.worker as usize, socket.talk.partner);
        let config = &self.world.proxies[proxy];
        // The first request of a client has nobody else's connection, unless that has proved itself.
        let may_share = |used: u32| {
            let first = socket.talk.asked <= 1;
            config.program == Program::Nginx
                || match config.reuse {
                    Reuse::Never => false,
                    Reuse::Safe => !first,
                    Reuse::Aggressive => !first || used > 1,
                    Reuse::Always => true,
                }
        };
        let may_share = [may_share(1), may_share(2)];
        let alive = |simulation: &Self, at: SocketRef| {
            let socket = simulation.hosts[at.host].socket(at.slot);
            socket.is_some_and(|socket| socket.in_table && !socket.talk.eof && !socket.talk.closed)
        };
        if let Some(back) = own.filter(|back| alive(self, *back)) {
            self.pass_on(front, back, bytes);
            return;
        }
        let used = |simulation: &Self, at: SocketRef| {
            simulation.hosts[at.host].socket(at.slot).map_or(0, |socket| socket.talk.asked)
        };
        while may_reuse && let Some(back) = self.proxies[proxy].pools[worker].back().copied() {
            let fits = may_share[usize::from(used(self, back) > 1)];
            if alive(self, back) && !fits {
                break;
            }
            self.proxies[proxy].pools[worker].pop_back();
            if alive(self, back) {
                self.pass_on(front, back, bytes);
                return;
            }
        }
        match self.connect_upstream(proxy) {
            Ok(back) => self.pass_on(front, back, bytes),
            Err(error) => {
                *self.proxies[proxy].failed.entry(("connect", error)).or_insert(0) += 1;
                self.answer_front(front, proxy, HEAD_BYTES);
            }
        }
    }

    /// Gives a request to a connection, which may still be opening.
    fn pass_on(&mut self, front: SocketRef, back: SocketRef, bytes: u32) {
        if let Some(socket) = self.hosts[front.host].socket_mut(front.slot) {
            socket.talk.partner = Some(back);
        }
        let Some(socket) = self.hosts[back.host].socket_mut(back.slot) else { return };
        socket.talk.partner = Some(front);
        socket.talk.asked += 1;
        socket.talk.request_bytes = bytes;
        if socket.endpoint.state() == tcp::State::Established {
            // Where there are too few processors, the connection is taken while its request waits.
            let wait = self.take_for_request(0);
            self.later(back, wait, Waking::Ask);
        }
    }

    /// Takes processor time for a request, and what is beside it; gives how long that waits.
    fn take_for_request(&mut self, beside: Nanos) -> Nanos {
        let costs = &self.world.costs;
        self.processors.take(self.now, 2 * costs.request + costs.proxied + beside)
    }

    /// The request goes to the upstream.
    pub(super) fn back_asks(&mut self, at: SocketRef) {
        let Some(socket) = self.hosts[at.host].socket(at.slot) else { return };
        if socket.talk.partner.is_some() && !socket.talk.closed && socket.in_table {
            let bytes = socket.talk.request_bytes;
            self.drive(at, Drive::Send(bytes));
        }
    }

    fn connect_upstream(&mut self, proxy: usize) -> Result<SocketRef, &'static str> {
        let relaying = &mut self.proxies[proxy];
        let from = relaying.host;
        let places = &relaying.places;
        let ways = places.len().max(1);
        let (to, remote) = *places.get(relaying.turn % ways).ok_or("ENETUNREACH")?;
        let turn = relaying.turn;
        relaying.turn += 1;
        let sources = u32::from(self.world.proxies[proxy].sources.max(1));
        let first = self.source(from, to, remote.address).ok_or("ENETUNREACH")?;
        // Each of them goes to each of its upstreams.
        let round = u32::try_from(turn / ways).unwrap_or(0);
        let source = first + round % sources;
        let now = self.now;
        let host = &mut self.hosts[from];
        host.age(now);
        let key = FlowKey { source, destination: remote.address, port: remote.port };
        let flow = host.ports.flow(key, &mut self.random);
        let found = host.ports.search(flow, source, None, &mut self.random);
        let costs = &self.world.costs;
        let cost = costs.connect(match &found {
            Ok(found) => found.walked,
            Err(walked) => *walked,
        });
        self.proxies[proxy].cost += cost;
        let found = found.map_err(|_| "EADDRNOTAVAIL")?;
        let tuple = Tuple { local: Place { address: source, port: found.port }, remote };
        let endpoint = self.claim(from, tuple)?;
        let hold = Hold { flow: Some(flow), source, port: found.port, bound: false };
        self.hosts[from].ports.take(flow, source, found.port, false);
        // It closes first, or is woken by the upstream's close.
        let beside = cost + 2 * costs.link + costs.connection + costs.close;
        let wait = self.take_for_request(beside);
        let hops = self.network.path(from, remote.address).map_or(0, |path| path.through.len() as u64);
        // Between hosts the segments of a handshake are handled within the call.
        self.proxies[proxy].cost += 2 * self.network.latency(hops);
        let mut socket = Socket::new(endpoint, tuple, Owner::Back(proxy), Some(hold));
        socket.talk.begun = now + wait;
        let slot = self.hosts[from].insert_socket(socket);
        self.proxies[proxy].upstream += 1;
        let at = SocketRef { host: from, slot };
        self.later(at, wait + cost, Waking::Connect);
        Ok(at)
    }

    /// The connection to the upstream is open.
    pub(super) fn back_connected(&mut self, at: SocketRef, proxy: usize) {
        let now = self.now;
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        socket.talk.heard = now;
        self.proxies[proxy].connect.add(now.saturating_sub(socket.talk.begun));
        socket.take_bytes();
        let bytes = socket.talk.request_bytes;
        if socket.talk.partner.is_some() {
            self.drive(at, Drive::Send(bytes));
        } else {
            self.shut(at, How::Fin);
        }
    }

    /// Something came from the upstream.
    pub(super) fn back_reads(&mut self, at: SocketRef, proxy: usize) {
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        socket.talk.woken = false;
        let talk = &mut socket.talk;
        let waits = talk.waits();
        if talk.takes_answer() {
            let front = talk.partner;
            let bytes = socket.take_bytes();
            self.settle_back(at, proxy);
            if let Some(front) = front {
                self.answer_front(front, proxy, bytes);
            }
        } else if talk.eof {
            if waits {
                self.back_broken(at, proxy, "recv", "EOF");
            } else {
                self.forget(at, proxy);
                self.shut(at, How::Fin);
            }
        }
    }

    /// What becomes of a connection to the upstream after an answer.
    fn settle_back(&mut self, at: SocketRef, proxy: usize) {
        let config = &self.world.proxies[proxy];
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        let (talk, owner) = (socket.talk, socket.talk.partner);
        let unpaired = |simulation: &mut Self| {
            if let Some(socket) = simulation.hosts[at.host].socket_mut(at.slot) {
                socket.talk.partner = None;
            }
            if let Some(front) = owner
                && let Some(socket) = simulation.hosts[front.host].socket_mut(front.slot)
            {
                socket.talk.partner = None;
            }
        };
        if config.program == Program::Haproxy {
            match (config.mode, config.reuse) {
                (HaproxyClose::KeepAlive, Reuse::Always) if !talk.eof => {
                    unpaired(self);
                    self.proxies[proxy].pools[0].push_back(at);
                }
                (HaproxyClose::KeepAlive, _) if !talk.eof => {}
                _ => {
                    unpaired(self);
                    self.shut(at, if talk.eof { How::Fin } else { How::Reset });
                }
            }
            return;
        }
        unpaired(self);
        let most = config.keepalive.filter(|most| *most > 0 && config.http == Http::V1_1);
        let requests = config.keepalive_requests.unwrap_or(NGINX_REQUESTS);
        match most {
            Some(most) if !talk.eof && talk.asked < requests => {
                let front = owner.and_then(|front| self.hosts[front.host].socket(front.slot));
                let worker = front.map_or(0, |front| front.talk.worker as usize);
                self.proxies[proxy].pools[worker].push_back(at);
                let idle = config.keepalive_idle_ms.unwrap_or(NGINX_IDLE_MS);
                self.later(at, ms(idle), Waking::Idle);
                if self.proxies[proxy].pools[worker].len() > most as usize
                    && let Some(oldest) = self.proxies[proxy].pools[worker].pop_front()
                {
                    self.shut(oldest, How::Fin);
                }
            }
            _ => self.shut(at, How::Fin),
        }
    }

    fn forget(&mut self, at: SocketRef, proxy: usize) {
        for pool in &mut self.proxies[proxy].pools {
            pool.retain(|idle| *idle != at);
        }
    }

    /// An idle connection to the upstream has been kept for long, perhaps.
    pub(super) fn back_idle(&mut self, at: SocketRef, proxy: usize) {
        let idle = ms(self.world.proxies[proxy].keepalive_idle_ms.unwrap_or(NGINX_IDLE_MS));
        let Some(socket) = self.hosts[at.host].socket(at.slot) else { return };
        let until = socket.talk.heard.saturating_add(idle);
        if socket.talk.partner.is_none() && until <= self.now {
            self.forget(at, proxy);
            self.shut(at, How::Fin);
        }
    }

    /// The upstream is gone before its answer: once more on a new connection if this one was used before.
    pub(super) fn back_broken(
        &mut self,
        at: SocketRef,
        proxy: usize,
        call: &'static str,
        error: &'static str,
    ) {
        self.forget(at, proxy);
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        let talk = socket.talk;
        self.shut(at, How::Fin);
        let Some(front) = talk.partner else { return };
        if let Some(socket) = self.hosts[front.host].socket_mut(front.slot) {
            socket.talk.partner = None;
        }
        if talk.asked == talk.answered {
            return;
        }
        *self.proxies[proxy].failed.entry((call, error)).or_insert(0) += 1;
        if talk.answered > 0 {
            self.relay(front, proxy, talk.request_bytes, false);
        } else {
            self.answer_front(front, proxy, HEAD_BYTES);
        }
    }

    /// The answer goes to the client.
    fn answer_front(&mut self, at: SocketRef, proxy: usize, bytes: u32) {
        let config = &self.world.proxies[proxy];
        let closes = config.program == Program::Haproxy && config.mode == HaproxyClose::Close;
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        if socket.talk.closed {
            return;
        }
        socket.talk.answered += 1;
        let closes = closes || socket.talk.says_close;
        self.drive(at, Drive::Send(bytes));
        if closes {
            self.later(at, self.world.costs.call, Waking::Close);
        }
    }

    /// After the answer to a request that said `Connection: close`.
    pub(super) fn front_closes(&mut self, at: SocketRef, proxy: usize) {
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        if !socket.talk.closed {
            self.front_ends(at, proxy);
        }
    }
}
