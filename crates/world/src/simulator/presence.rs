//! What connections that run in full see of lives that are played, and whether they disturb those.
//!
//! A life is played because nothing that is known when it begins can disturb it. What begins later still may: it takes
//! the port before the last segments have come, or the last place of a queue or a table. Then what was played did not
//! happen, and the run is worth nothing ([`simulate`](super::simulate) begins again and plays none).

use super::Simulation;
use super::clients::Begin;
use super::host::{Listener, StateCounts, Tuple, counts};
use super::lives::{Class, Known, Life};
use super::rehearsal::Template;
use tcp::State;

/// Lives in an accept queue.
#[derive(Clone, Copy, Debug, Default)]
struct Queued {
    /// In it now,
    now: u64,
    /// with those that come or go just now,
    just_now: u64,
    /// and with those that are still to come.
    ever: u64,
}

impl Simulation<'_> {
    fn templates(&self) -> impl Iterator<Item = (&Class, &Template)> {
        self.classes.iter().filter_map(|class| match &class.template {
            Known::Template(template) => Some((class, &**template)),
            Known::NotYet | Known::Never => None,
        })
    }

    fn queued_lives(&self, host: usize, port: u16) -> Queued {
        let mut queued = Queued::default();
        for (class, template) in self.templates().filter(|(class, _)| class.to == host) {
            let [enters, leaves] = template.queued;
            let lives = class.active.iter().rev().take_while(|life| life.syn + leaves >= self.now);
            for life in lives.filter(|life| life.tuple.remote.port == port) {
                let (enters, leaves) = (life.syn + enters, life.syn + leaves);
                queued.now += u64::from(enters < self.now && self.now < leaves);
                queued.just_now += u64::from(enters <= self.now);
                queued.ever += 1;
            }
        }
        queued
    }

    /// True if one more life can be played without meeting a full accept queue.
    pub(super) fn has_room_in_queue(&self, host: usize, port: u16) -> bool {
        let Some(listener) = self.hosts[host].listeners.get(&port) else { return false };
        let (queued, backlog) = (u64::from(listener.queued), u64::from(listener.backlog));
        // Nobody counts where there is room for all.
        queued + self.lives_going_on() <= backlog || queued + self.queued_lives(host, port).ever <= backlog
    }

    /// True if a connection that runs in full finds the accept queue full.
    pub(super) fn is_queue_full(&mut self, host: usize, port: u16) -> bool {
        let Some(listener) = self.hosts[host].listeners.get(&port) else { return false };
        let (queued, backlog) = (u64::from(listener.queued), u64::from(listener.backlog));
        if Listener::is_full(listener) || queued + self.lives_going_on() <= backlog {
            return Listener::is_full(listener);
        }
        let lives = self.queued_lives(host, port);
        let is_full = queued + lives.now > backlog;
        self.disturbed |= is_full != (queued + lives.just_now > backlog);
        is_full
    }

    /// A connection that runs in full has come to the accept queue.
    pub(super) fn queue_grew(&mut self, host: usize, port: u16) {
        let Some(listener) = self.hosts[host].listeners.get(&port) else { return };
        let (queued, backlog) = (u64::from(listener.queued), u64::from(listener.backlog));
        if queued + self.lives_going_on() > backlog + 1 {
            let lives = self.queued_lives(host, port).ever;
            self.disturbed |= lives > 0 && queued + lives > backlog + 1;
        }
    }

    /// A connection that runs in full has taken a place among the mini-sockets or orphans of a host.
    pub(super) fn table_grew(&mut self, host: usize) {
        let at = &self.hosts[host];
        let room = at.tuned.max_time_wait.saturating_sub(at.minis.len());
        let room = room.min(at.tuned.max_orphans.saturating_sub(at.orphans));
        if self.lives_going_on() <= room {
            return;
        }
        let coming = |class: &Class, template: &Template| {
            let sides = template.sides.iter().zip(class.resolved).filter(|(side, _)| side.host == host);
            sides.map(|(_, resolved)| (class.active.len() - resolved) as u64).sum::<u64>()
        };
        let coming: u64 = self.templates().map(|(class, template)| coming(class, template)).sum();
        self.disturbed |= coming > room;
    }

    /// A connection takes this tuple: it must not meet what is still on its way of one that was played.
    pub(super) fn tuple_taken(&mut self, from: usize, tuple: Tuple, takes_over: bool, begin: Begin) {
        let syn = if takes_over { self.now } else { self.now + begin.waits + begin.cost };
        let meets = self.templates().any(|(class, template)| {
            template.sides[0].host == from
                && class
                    .active
                    .iter()
                    .take(class.resolved[0])
                    .any(|life| life.tuple == tuple && life.syn + template.over >= syn)
        });
        self.disturbed |= meets;
    }

    /// Mini-sockets of lives that go on, which are in the table only when their life is over: counted where the
    /// table may be full.
    pub(super) fn minis_of_lives(&self, host: usize) -> u64 {
        let at = &self.hosts[host];
        let active = self.lives_going_on();
        if at.minis.len() >= at.tuned.max_time_wait || at.minis.len() + active < at.tuned.max_time_wait {
            return 0;
        }
        let mut minis = 0;
        for class in &self.classes {
            let Known::Template(template) = &class.template else { continue };
            for (side, what) in template.sides.iter().enumerate().filter(|(_, side)| side.host == host) {
                let is_mini = |life: &&Life| life.syn.saturating_add(what.is_mini) <= self.now;
                // What its SYN will take over is in the table until it is there.
                let took = |life: &&Life| side == 1 && life.took && life.syn + template.latency > self.now;
                let lives = class.active.iter().skip(class.resolved[side]);
                minis += lives.filter(|life| is_mini(life) || took(life)).count() as u64;
            }
        }
        minis
    }

    /// Sockets of lives that go on, by host.
    pub(super) fn states_of_lives(&self, host: usize) -> StateCounts {
        let mut states: StateCounts = [0; State::COUNT];
        for class in &self.classes {
            let Known::Template(template) = &class.template else { continue };
            for (number, life) in class.active.iter().enumerate() {
                let Some(passed) = self.now.checked_sub(life.syn) else {
                    let meets = template.sides[1].host == host && life.took;
                    states[State::TimeWait.index()] += u32::from(meets);
                    continue;
                };
                for (side, what) in template.sides.iter().enumerate() {
                    if what.host != host || number < class.resolved[side] {
                        continue;
                    }
                    let state = what.states.iter().rev().find(|(at, _)| *at <= passed);
                    if let Some((_, state)) = state.filter(|(_, state)| counts(*state)) {
                        states[state.index()] += 1;
                    } else if state.is_none() && side == 1 && life.took {
                        states[State::TimeWait.index()] += 1;
                    }
                }
            }
        }
        states
    }
}
