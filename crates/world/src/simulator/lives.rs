//! Lives of connections that nothing disturbs, replayed.
//!
//! Undisturbed connections of one client to one server are all alike, but for when they begin, their port and their
//! numbers. The first is therefore rehearsed: the simulator itself runs it, segment by segment, in a world of
//! its own, and what happens to both hosts is written down as a [`Template`]. Others are played from it, moved in
//! time. Whatever might disturb a connection lets it run in full instead; what comes out is the same.

use super::Simulation;
use super::agenda::What;
use super::clients::Begin;
use super::host::{Host, Listener, Place, Tuple};
use super::minis::Mini;
use super::ports::FlowId;
use super::rehearsal::{Side, Template};
use super::socket::Hold;
use super::table::Entry;
use std::collections::VecDeque;
use tcp::machine::{Event, Kind, Nanos, Residue};
use tcp::profile::linux;
use tcp::{Flags, Segment, Seq, State, Timestamps};

/// Lives of one client at one server.
pub(super) struct Class {
    pub(super) client: usize,
    pub(super) to: usize,
    server: usize,
    pub(super) template: Known,
    pub(super) active: VecDeque<Life>,
    /// How many of `active`, from the front, the client's host has seen the end of, and the server's.
    pub(super) resolved: [usize; 2],
    /// Lives that are over and not yet in the sums.
    complete: u64,
}

pub(super) enum Known {
    NotYet,
    /// Each of its lives runs in full.
    Never,
    Template(Box<Template>),
}

/// A life that goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    /// When its SYN goes out.
    pub(super) syn: Nanos,
    /// What connect() cost before, and how long it waited for a processor before that.
    cost: Nanos,
    queued: Nanos,
    pub(super) tuple: Tuple,
    flow: FlowId,
    bound: bool,
    /// The initial numbers of client and server.
    client: Seq,
    server: Seq,
    /// Its SYN took a TIME-WAIT of the server's over.
    pub(super) took: bool,
}

impl Simulation<'_> {
    /// The class of connections of a client to one of its destinations.
    pub(super) fn class_of(&mut self, client: usize, to: usize, destination: Place) -> Option<usize> {
        let Listener { server, .. } = *self.hosts[to].listeners.get(&destination.port)?;
        let known = self
            .classes
            .iter()
            .position(|class| (class.client, class.to, class.server) == (client, to, server));
        Some(known.unwrap_or_else(|| {
            let template = Known::NotYet;
            let active = VecDeque::new();
            self.classes.push(Class { client, to, server, template, active, resolved: [0; 2], complete: 0 });
            self.classes.len() - 1
        }))
    }

    /// Plays a life from its template, if nothing can disturb it. False: it must run in full.
    pub(super) fn replay(
        &mut self,
        class: usize,
        tuple: Tuple,
        hold: Hold,
        again: Option<Residue>,
        begin: Begin,
    ) -> bool {
        if matches!(self.classes[class].template, Known::NotYet) {
            let Class { client, to, .. } = self.classes[class];
            let rehearsed = self.rehearse(client, to, tuple.remote);
            self.classes[class].template =
                rehearsed.map_or(Known::Never, |template| Known::Template(Box::new(template)));
        }
        let Class { client, to, .. } = self.classes[class];
        let Known::Template(template) = &self.classes[class].template else { return false };
        let from = self.client_hosts[client];
        let syn = self.now + begin.waits + begin.cost;
        let ends = syn + template.over;
        let (latency, finished) = (template.latency, template.finished);
        let active = self.lives_going_on();
        let step = self.next_step.is_some_and(|step| step <= ends);
        // What goes on may all become mini-sockets, and as many as can begin meanwhile.
        let most: u64 = self.world.clients.iter().map(|client| u64::from(client.concurrency)).sum();
        let room = |host: &Host| {
            let sockets = active + host.sockets.len() + most + 1;
            host.minis.len() + sockets < host.tuned.max_time_wait
                && host.orphans + sockets < host.tuned.max_orphans
        };
        if step
            || !self.has_room_in_queue(to, tuple.remote.port)
            || !room(&self.hosts[from])
            || !room(&self.hosts[to])
            || self.network.is_disturbed(self.now, ends)
            // What is left of the connection that had the tuple before.
            || self.agenda.carries(tuple)
        {
            return false;
        }
        let mirrored = Tuple { local: tuple.remote, remote: tuple.local };
        let number = match again {
            // net/ipv4/tcp_ipv4.c tcp_twsk_unique()
            Some(residue) => residue.snd_nxt.plus(linux::TIME_WAIT_ISN_STEP.value),
            None => self.initial_number_at(tuple, self.now),
        };
        let mut life = Life {
            syn,
            cost: begin.cost,
            queued: begin.queued,
            tuple,
            flow: hold.flow.unwrap_or(0),
            bound: hold.bound,
            client: number,
            server: self.initial_number_at(mirrored, syn + latency),
            took: false,
        };
        match self.hosts[to].who_has(&mirrored) {
            None => {}
            Some(Entry::Socket(_)) => return false,
            Some(Entry::Mini(slot)) => match self.takes_over(to, slot, from, &life, latency) {
                Some(server) => {
                    let mini = self.hosts[to].remove_mini(slot);
                    self.hosts[to].moved(mini.residue.state, State::Closed);
                    self.hosts[to].release(mini.hold);
                    life.server = server;
                    life.took = true;
                }
                None => return false,
            },
        }
        self.trace_life(syn, tuple, number);
        // One that waited less for a processor may overtake another: lives end in the order of their SYNs.
        let active = &mut self.classes[class].active;
        let place = active.iter().rposition(|other| other.syn <= syn).map_or(0, |before| before + 1);
        active.insert(place, life);
        self.agenda.add(syn + finished, What::Done { client });
        true
    }

    /// The initial number of a server whose TIME-WAIT this SYN takes over; none: it does not, or time may tell.
    fn takes_over(&self, to: usize, slot: u32, from: usize, life: &Life, latency: Nanos) -> Option<Seq> {
        let mini = self.hosts[to].minis.get(slot);
        let arrives = life.syn + latency;
        if mini.residue.ends <= arrives {
            return None;
        }
        let ticks = |clock: u32| Timestamps { value: clock.wrapping_add(millis(life.syn)), echo: 0 };
        let segment = Segment {
            flags: Flags::SYN,
            seq: life.client,
            window: u16::MAX,
            timestamps: self.clock(from, life.tuple).map(ticks),
            ..Segment::default()
        };
        let mut endpoint = tcp::machine::Endpoint::of_residue(&self.hosts[to].tuned.stack, &mini.residue);
        endpoint.set(tcp::machine::Condition::Listener, true);
        let row = endpoint.row(arrives, Event::Segment(Kind::Syn), Some(&segment))?;
        (row.to == Some(State::SynReceived))
            .then(|| mini.residue.snd_nxt.plus(linux::TIME_WAIT_ISN_STEP.value))
    }

    /// How many of them go on.
    pub(super) fn lives_going_on(&self) -> u64 {
        self.classes.iter().map(|class| class.active.len() as u64).sum()
    }

    /// Lets lives end whose time has come: ports come free, TIME-WAIT begins.
    pub(super) fn settle_lives(&mut self, until: Nanos) {
        for class in 0..self.classes.len() {
            self.settle_class(class, until);
        }
    }

    fn settle_class(&mut self, class: usize, until: Nanos) {
        for side in 0..2 {
            while let Class { active, template: Known::Template(template), resolved, .. } =
                &self.classes[class]
                && let Some(life) = active.get(resolved[side]).copied()
                && life.syn + template.sides[side].resolved <= until
            {
                self.classes[class].resolved[side] += 1;
                self.resolve(class, &life, side);
            }
        }
        let Class { active, template: Known::Template(template), resolved, complete, .. } =
            &mut self.classes[class]
        else {
            return;
        };
        while resolved.iter().all(|resolved| *resolved > 0)
            && active.front().is_some_and(|life| life.syn + template.over <= until)
        {
            active.pop_front();
            resolved[0] -= 1;
            resolved[1] -= 1;
            *complete += 1;
        }
    }

    /// One side of a life is over: a mini-socket, or nothing.
    fn resolve(&mut self, class: usize, life: &Life, side: usize) {
        let Class { client, template, .. } = &self.classes[class];
        let Known::Template(template) = template else { return };
        let Side { host, mini, .. } = template.sides[side];
        let connected = template.connected;
        let tuple =
            if side == 0 { life.tuple } else { Tuple { local: life.tuple.remote, remote: life.tuple.local } };
        let (own, peer) = if side == 0 { (life.client, life.server) } else { (life.server, life.client) };
        let hold = Hold {
            flow: (side == 0).then_some(life.flow),
            source: tuple.local.address,
            port: tuple.local.port,
            bound: side == 0 && life.bound,
        };
        if side == 0 {
            let running = &mut self.clients[*client];
            running.connect.add(life.cost + connected);
            for (place, (_, took)) in template.answers.iter().enumerate() {
                running.answer.add(took + if place == 0 { life.queued } else { 0 });
            }
        }
        let Some(shape) = mini else {
            if side == 0 {
                self.hosts[host].release(Some(hold));
            }
            return;
        };
        let peer_host = template.sides[1 - side].host;
        let mirrored = Tuple { local: tuple.remote, remote: tuple.local };
        let heard = shape.heard.map(|(sent, heard)| {
            let clock = self.clock(peer_host, mirrored).unwrap_or(0);
            (clock.wrapping_add(millis(life.syn + sent)), life.syn + heard)
        });
        let residue = Residue {
            state: shape.state,
            snd_nxt: own.plus(shape.sent),
            rcv_nxt: peer.plus(shape.received),
            heard,
            timestamps: self.clock(host, tuple),
            entered: life.syn + shape.entered,
            ends: life.syn.saturating_add(shape.ends),
            last_invalid: None,
        };
        let at = &mut self.hosts[host];
        if side == 1 {
            at.ports.hold(hold.source, hold.port, false);
        }
        at.moved(State::Closed, shape.state);
        self.add_mini(host, &Mini { tuple, hold: Some(hold), residue });
    }

    /// Adds the lives that are over to the sums, and with `all` what happened so far in those that go on.
    pub(super) fn sum_lives(&mut self, all: bool) {
        let now = self.now;
        for class in &mut self.classes {
            let Known::Template(template) = &class.template else { continue };
            let complete = std::mem::take(&mut class.complete);
            let running = &mut self.clients[class.client];
            running.connected += complete;
            running.requests += complete * template.answers.len() as u64;
            running.ok += complete * u64::from(template.ok.is_some());
            for side in &template.sides {
                for (sum, each) in self.hosts[side.host].counters.iter_mut().zip(side.total) {
                    *sum += complete * each;
                }
            }
            if !all {
                continue;
            }
            for (number, life) in class.active.iter().enumerate() {
                let Some(passed) = now.checked_sub(life.syn) else { continue };
                let yes = |at: Nanos| u64::from(at <= passed);
                running.connected += yes(template.connected);
                running.requests += template.answers.iter().map(|(at, _)| yes(*at)).sum::<u64>();
                running.ok += template.ok.map_or(0, yes);
                if template.connected <= passed && number >= class.resolved[0] {
                    running.connect.add(life.cost + template.connected);
                    for (place, (at, took)) in template.answers.iter().enumerate() {
                        if *at <= passed {
                            running.answer.add(took + if place == 0 { life.queued } else { 0 });
                        }
                    }
                }
                for side in &template.sides {
                    for (_, counter) in side.counted.iter().filter(|(at, _)| *at <= passed) {
                        self.hosts[side.host].counters[*counter as usize] += 1;
                    }
                }
            }
        }
    }

    /// Settings have changed: what was rehearsed holds no more.
    pub(super) fn forget_lives(&mut self) {
        self.sum_lives(false);
        for class in &mut self.classes {
            // None goes on: lives that would have met the change run in full.
            if class.active.is_empty() {
                class.template = Known::NotYet;
                class.resolved = [0; 2];
            }
        }
    }
}

/// Ticks of a timestamp clock.
fn millis(at: Nanos) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "a timestamp wraps (RFC 7323 section 5.4)")]
    {
        (at / 1_000_000) as u32
    }
}
