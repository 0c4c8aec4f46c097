//! What happens next: events by time, and of one time by the order they were made in, but for what begins or looks.
//!
//! Most that is far away is a deadline that nobody will miss, one for each connection or request, and all of the same
//! length: they are made in the order in which they come. Such stand in queues, so that the heap has only what is near,
//! which is little.

use super::host::Tuple;
use super::network::Packet;
use super::socket::SocketRef;
use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};
use tcp::machine::Nanos;

/// What is at least so far away stands in a queue, if there is one in which it is the last.
const FAR_NS: Nanos = 50_000_000;
/// More lengths than that are seldom at work at once, and each queue is looked at for each event.
const MOST_QUEUES: usize = 4;

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
    /// close() has waited for as long as it may.
    Lingered,
    /// Keepalive.
    Keepalive,
    /// An acknowledgement has waited for long.
    DelayedAck,
}

impl What {
    /// What happens at the same time is ordered by this first: what begins then finds everything done that ends then,
    /// and who looks sees all of it, however it came about.
    const fn rank(&self) -> u64 {
        match self {
            Self::Look | Self::Sample => 2,
            Self::Next { .. } => 1,
            _ => 0,
        }
    }
}

struct Event {
    at: Nanos,
    /// The rank, and the number.
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
    /// Events that are far away, in each in order.
    far: Vec<VecDeque<Event>>,
    /// When the last happened.
    now: Nanos,
    made: u64,
    /// Packets on their way.
    packets: Vec<Option<Packet>>,
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
            self.packets[number as usize] = Some(packet);
            number
        } else {
            self.packets.push(Some(packet));
            u32::try_from(self.packets.len() - 1).unwrap_or(u32::MAX)
        }
    }

    /// The packet that arrives, or goes on.
    pub(super) fn receive(&mut self, number: u32) -> Option<Packet> {
        let packet = self.packets.get_mut(number as usize)?.take();
        self.free.extend(packet.map(|_| number));
        packet
    }

    /// True if a packet between these places is on its way.
    pub(super) fn carries(&self, tuple: Tuple) -> bool {
        let ends = [(tuple.local, tuple.remote), (tuple.remote, tuple.local)];
        self.has_packets()
            && self.packets.iter().flatten().any(|packet| ends.contains(&(packet.source, packet.destination)))
    }

    /// True if packets are on their way.
    pub(super) fn has_packets(&self) -> bool {
        self.packets.len() > self.free.len()
    }

    pub(super) fn add(&mut self, at: Nanos, what: What) {
        self.made += 1;
        let event = Event { at, order: what.rank() << 62 | self.made, what };
        if at.saturating_sub(self.now) < FAR_NS {
            self.events.push(Reverse(event));
            return;
        }
        // Of those in which it may be the last, the one that is nearest: the others stay open for what comes sooner.
        let fits = self.far.iter_mut().filter(|queue| queue.back().is_none_or(|back| back.at <= at));
        if let Some(queue) = fits.max_by_key(|queue| queue.back().map_or(0, |back| back.at)) {
            queue.push_back(event);
        } else if self.far.len() < MOST_QUEUES {
            self.far.push(VecDeque::from([event]));
        } else {
            self.events.push(Reverse(event));
        }
    }

    /// The next event, and the queue that has it; none: the heap.
    fn next(&self) -> Option<(Option<usize>, &Event)> {
        let near = self.events.peek().map(|event| (None, &event.0));
        let far = self.far.iter().enumerate();
        let far = far.filter_map(|(number, queue)| Some((Some(number), queue.front()?)));
        near.into_iter().chain(far).min_by(|one, other| one.1.cmp(other.1))
    }

    /// The next event, if it happens by then.
    pub(super) fn take_until(&mut self, end: Nanos) -> Option<(Nanos, What)> {
        let (queue, _) = self.next().filter(|(_, event)| event.at <= end)?;
        let event = match queue {
            Some(number) => self.far[number].pop_front(),
            None => self.events.pop().map(|event| event.0),
        };
        let event = event?;
        self.now = event.at;
        Some((event.at, event.what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::random::Random;
    use std::collections::BTreeSet;

    #[test]
    fn whatever_is_added_when_all_happens_by_time_and_then_by_order() {
        let mut random = Random::new(3);
        let (mut agenda, mut known) = (Agenda::default(), BTreeSet::new());
        let (mut made, mut now) = (0, 0);
        for turn in 0..20_000 {
            if turn < 10_000 || random.below(2) == 0 {
                let delays = [0, 1_000, FAR_NS - 1, FAR_NS, 7 * FAR_NS, 7 * FAR_NS, 9 * FAR_NS, 1 << 60];
                let delay = delays[random.below(8) as usize] + Nanos::from(random.below(3));
                agenda.add(now + delay, What::Step(made));
                known.insert((now + delay, made));
                made += 1;
            }
            if turn % 3 > 0 {
                let next = known.pop_first();
                if let Some((at, _)) = next {
                    assert!(at == 0 || agenda.take_until(at - 1).is_none());
                }
                let taken = agenda.take_until(Nanos::MAX);
                let taken = taken.map(|(at, what)| match what {
                    What::Step(number) => (at, number),
                    what => panic!("{what:?}"),
                });
                assert_eq!(taken, next);
                now = next.map_or(now, |next| next.0);
            }
        }
        assert!(agenda.far.len() <= MOST_QUEUES && agenda.events.len() < known.len());
        while let Some((at, _)) = agenda.take_until(Nanos::MAX) {
            assert_eq!(known.pop_first().map(|next| next.0), Some(at));
        }
        assert!(known.is_empty());
    }
}
