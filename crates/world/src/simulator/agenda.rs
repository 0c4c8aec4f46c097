//! What happens next: events by time, and by the order they were made in.

use super::network::Packet;
use super::socket::SocketRef;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use tcp::machine::Nanos;

/// Something that happens.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    /// A packet reaches its host.
    Arrive { host: usize, packet: u32 },
    /// A packet that was held back on a link of this host goes on.
    GoOn { host: usize, incoming: bool, packet: u32 },
    /// A timer of an endpoint.
    Timeout(SocketRef),
    /// A mini-socket of this queue of the host ends.
    Ending { host: usize, queue: usize },
    /// A process does something with a socket.
    Wake(SocketRef, Waking),
    /// A connection that is played from its template is done, as far as its client goes, or has failed to begin.
    Done { client: usize },
    /// A client may begin the next connection.
    Next { client: usize },
    /// A step of the scenario.
    Step(usize),
    /// Peaks are looked at.
    Look,
    /// Everything is looked at, and written down.
    Sample,
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waking {
    /// connect() has found a port and sends its SYN.
    Connect,
    /// It looks at what came.
    Read,
    /// The next request.
    Ask,
    /// The answer.
    Answer,
    /// It has thought about the next request: the connection goes back to the pool.
    Keep,
    /// It closes.
    Close,
    /// It looks whether nothing came for long.
    Idle,
    /// It looks whether it waits too long.
    Deadline,
    /// It waited for the other side's close in vain.
    Abort,
    /// Keepalive.
    Keepalive,
    /// An acknowledgement has waited for long.
    DelayedAck,
}

struct Event {
    at: Nanos,
    order: u64,
    what: What,
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

#[derive(Default)]
pub(super) struct Agenda {
    events: BinaryHeap<Reverse<Event>>,
    made: u64,
    /// Packets on their way.
    packets: Vec<Packet>,
    free: Vec<u32>,
}

impl Agenda {
    /// A packet that reaches a host then.
    pub(super) fn send(&mut self, at: Nanos, host: usize, packet: Packet) {
        let packet = self.keep(packet);
        self.add(at, What::Arrive { host, packet });
    }

    /// A packet that is held back until then, before a host that does not have its address, or behind any.
    pub(super) fn hold(&mut self, until: Nanos, host: usize, incoming: bool, packet: Packet) {
        let packet = self.keep(packet);
        self.add(until, What::GoOn { host, incoming, packet });
    }

    fn keep(&mut self, packet: Packet) -> u32 {
        if let Some(number) = self.free.pop() {
            self.packets[number as usize] = packet;
            number
        } else {
            self.packets.push(packet);
            u32::try_from(self.packets.len() - 1).unwrap_or(u32::MAX)
        }
    }

    /// The packet that arrives, or goes on.
    pub(super) fn receive(&mut self, number: u32) -> Packet {
        self.free.push(number);
        self.packets[number as usize]
    }

    /// True if packets are on their way.
    pub(super) fn has_packets(&self) -> bool {
        self.packets.len() > self.free.len()
    }

    pub(super) fn add(&mut self, at: Nanos, what: What) {
        self.made += 1;
        self.events.push(Reverse(Event { at, order: self.made, what }));
    }

    pub(super) fn next_at(&self) -> Option<Nanos> {
        self.events.peek().map(|event| event.0.at)
    }

    pub(super) fn take(&mut self) -> Option<(Nanos, What)> {
        self.events.pop().map(|Reverse(event)| (event.at, event.what))
    }
}
