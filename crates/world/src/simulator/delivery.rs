//! What becomes of a packet that was sent: its way from host to host, and what it meets where it arrives.

use super::Simulation;
use super::accounting::account;
use super::agenda::What;
use super::counters::Counter;
use super::host::Tuple;
use super::minis::Mini;
use super::nat::Verdict;
use super::network::{Packet, is_loopback};
use super::socket::{Hold, Notes, Owner, Socket, SocketRef};
use super::table::{self, Entry};
use super::tap::Content;
use super::transport::{Drive, Surroundings};
use crate::scenario::Program;
use tcp::machine::{Condition, Endpoint, Nanos};
use tcp::{Flags, State};

/// The most hosts on a way: a packet that is still going is lost, as by its time to live.
const MOST_HOPS: usize = 64;

impl Simulation<'_> {
    /// Sends a packet on its way.
    pub(super) fn transmit(&mut self, from: usize, packet: Packet) {
        let host = &mut self.hosts[from];
        // net/ipv4/tcp_output.c __tcp_transmit_skb(): what goes again is in RetransSegs alone.
        for _ in 0..if packet.again { 0 } else { packet.count } {
            host.count(Counter::OutSegs);
        }
        if packet.segment.flags.has(Flags::RST) {
            host.count(Counter::OutRsts);
        }
        self.note(from as u64, &packet);
        if self.network.loses(self.now, from, false, &packet) {
            return;
        }
        if !is_loopback(packet.destination.address) {
            self.see(from, &packet);
        }
        if is_loopback(packet.destination.address) {
            self.agenda.send(self.now + self.network.link, from, packet);
            return;
        }
        let held = self.network.holds(self.now, from, false, &packet);
        if held > 0 {
            self.agenda.hold(self.now + held, from, false, packet);
            return;
        }
        self.go_on(from, false, packet);
    }

    /// A packet leaves a host or, `incoming`, reaches one that forwards it.
    pub(super) fn go_on(&mut self, host: usize, incoming: bool, packet: Packet) {
        if let Some((to, packet, took)) = self.route(host, incoming.then_some(host), packet) {
            self.agenda.send(self.now + took, to, packet);
        }
    }

    /// Leads a packet from host to host, through what translates: where it arrives, as what, and when. None: it is
    /// lost, or held back on the way. `reached`: the host before which it was held back.
    fn route(
        &mut self,
        from: usize,
        mut reached: Option<usize>,
        mut packet: Packet,
    ) -> Option<(usize, Packet, Nanos)> {
        let (mut at, mut took) = (from, 0);
        for _ in 0..MOST_HOPS {
            let next = if let Some(next) = reached.take() {
                next
            } else {
                let path = self.network.path(at, packet.destination.address)?;
                let next = path.through.first().copied().unwrap_or(path.to);
                if next == at {
                    return Some((next, packet, took + self.network.link));
                }
                took += self.network.link;
                let held = self.network.holds(self.now + took, next, true, &packet);
                let forwards = !self.world.hosts[next].nat.is_empty()
                    || self.network.owner(packet.destination.address) != Some(next);
                if held > 0 && forwards {
                    self.agenda.hold(self.now + took + held, next, true, packet);
                    return None;
                }
                took += held;
                next
            };
            let mut direct = None;
            let has_rules = !self.world.hosts[next].nat.is_empty();
            if has_rules {
                let here = self.network.owner(packet.destination.address) == Some(next);
                self.see(next, &packet);
                match self.translate(next, packet) {
                    Verdict::Pass(translated) => packet = translated,
                    Verdict::Direct(same, host) => {
                        packet = same;
                        direct = Some(host);
                    }
                    Verdict::Drop => return None,
                }
                let stays = self.network.owner(packet.destination.address) == Some(next);
                if !(here && stays) || direct.is_some() {
                    self.see(next, &packet);
                }
            }
            if let Some(host) = direct {
                took += self.network.hop + self.network.link;
                let held = self.network.holds(self.now + took, host, true, &packet);
                return Some((host, packet, took + held));
            }
            if self.network.owner(packet.destination.address) == Some(next) {
                return Some((next, packet, took));
            }
            let lost = |incoming| self.network.loses(self.now, next, incoming, &packet);
            if lost(true) || lost(false) {
                return None;
            }
            let held = self.network.holds(self.now + took, next, false, &packet);
            if held > 0 {
                self.agenda.hold(self.now + took + held, next, false, packet);
                return None;
            }
            took += self.network.hop;
            at = next;
        }
        None
    }

    /// A packet reaches the host it is for.
    pub(super) fn arrive(&mut self, number: usize, packet: &Packet) {
        self.see(number, packet);
        if self.network.loses(self.now, number, true, packet) {
            return;
        }
        let host = &mut self.hosts[number];
        host.count(Counter::InSegs);
        let tuple = Tuple { local: packet.destination, remote: packet.source };
        match host.who_has(&tuple) {
            // Its SYN is still to come, and Linux hashes a socket in connect(): what comes now is for the connection
            // before.
            Some(Entry::Socket(slot)) if host.socket(slot).is_some_and(Socket::is_closed) => {
                self.meet_nobody(number, tuple, packet);
            }
            Some(Entry::Socket(slot)) => {
                self.drive(SocketRef { host: number, slot }, Drive::Segment(packet));
            }
            Some(Entry::Mini(slot)) => self.meet_mini(number, slot, packet),
            None => self.meet_nobody(number, tuple, packet),
        }
    }

    fn meet_nobody(&mut self, number: usize, tuple: Tuple, packet: &Packet) {
        let mut endpoint = self.endpoint(number, tuple);
        self.meet(number, &mut endpoint, packet);
        if endpoint.state() == State::SynReceived {
            self.embryo(number, tuple, endpoint);
        }
    }

    fn meet_mini(&mut self, number: usize, slot: u32, packet: &Packet) {
        let host = &self.hosts[number];
        let mini = host.minis.get(slot);
        let before = mini.residue.state;
        let mut endpoint = Endpoint::of_residue(&host.tuned.stack, &mini.residue);
        // A SYN that takes it over meets the listener, whose settings are those of today (tcp_v4_rcv(), TCP_TW_SYN).
        endpoint.set_next_timestamps(self.clock(number, mini.tuple));
        self.meet(number, &mut endpoint, packet);
        let host = &mut self.hosts[number];
        if let Some(residue) = endpoint.residue() {
            host.minis.set_residue(slot, residue);
            host.moved(before, residue.state);
            if residue.ends != mini.residue.ends {
                self.enqueue(number, slot, &Mini { residue, ..mini }, table::hash(&mini.tuple));
            }
            return;
        }
        host.remove_mini(slot);
        host.moved(before, State::Closed);
        host.release(mini.hold);
        if endpoint.state() == State::SynReceived {
            self.embryo(number, mini.tuple, endpoint);
        }
    }

    /// A segment meets what is no full socket: what follows is sent, the state is not counted.
    fn meet(&mut self, number: usize, endpoint: &mut Endpoint, packet: &Packet) {
        let now = self.now;
        let minis = self.minis_of_lives(number);
        let port = packet.destination.port;
        endpoint.set(Condition::QueueFull, self.is_queue_full(number, port));
        let host = &mut self.hosts[number];
        endpoint.set(Condition::Listener, host.listeners.contains_key(&port));
        Surroundings::of(host, now, minis, Some(packet)).set(endpoint);
        let before = endpoint.state();
        endpoint.handle_segment(now, &packet.segment);
        let mut out = std::mem::take(&mut self.out);
        let local = packet.destination;
        while let Some(segment) = endpoint.poll_transmit(now) {
            out.push(Packet {
                source: local,
                destination: packet.source,
                segment,
                count: 1,
                again: false,
                messages: 0,
                notes: Notes::default(),
                content: Content::default(),
            });
        }
        if let Some(row) = endpoint.take_row() {
            account(host, row, before, endpoint.state(), Some(&packet.segment), !out.is_empty());
        }
        for packet in out.drain(..) {
            self.transmit(number, packet);
        }
        self.out = out;
    }

    /// A connection begins at a listener.
    fn embryo(&mut self, number: usize, tuple: Tuple, endpoint: Endpoint) {
        let host = &mut self.hosts[number];
        let Some(listener) = host.listeners.get(&tuple.local.port) else { return };
        let owner = self.listening[listener.server];
        host.moved(State::Closed, State::SynReceived);
        let slot = host.insert_socket(Socket::new(endpoint, tuple, owner, None));
        let track = Hold { flow: None, source: tuple.local.address, port: tuple.local.port, bound: false };
        let at = SocketRef { host: number, slot };
        if let Some(socket) = host.sockets.get_mut(slot) {
            // The listener's bind bucket is shared: the port itself is not taken once more.
            socket.hold = Some(track);
            socket.acks.begins(socket.endpoint.rcv_nxt());
            socket.round_trip.sent(self.now, socket.endpoint.snd_nxt(), false);
            if let Owner::Front(proxy) = owner {
                // HAProxy's tcp-smart-accept, on by default for HTTP: TCP_QUICKACK off at its listener.
                socket.acks.set_answers(self.world.proxies[proxy].program == Program::Haproxy);
            }
            host.ports.hold(track.source, track.port, false);
            if let Some(due) = socket.endpoint.poll_timeout() {
                socket.timeout = Some(due);
                self.agenda.add(due, What::Timeout(at));
            }
        }
    }
}
