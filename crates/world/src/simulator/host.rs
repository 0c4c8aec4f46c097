//! A simulated host: its sockets, its table of TIME-WAIT, its listeners and counters.

use super::counters::{Counter, Counts};
use super::minis::{Mini, Minis};
use super::ports::{Address, Ports};
use super::rehearsal::Record;
use super::settings::Tuned;
use super::socket::{Hold, Slot, Socket, Sockets};
use super::table::{self, All, Entry, Table};
use evidence::Settings;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::collections::{BTreeMap, VecDeque};
use tcp::State;
use tcp::machine::Nanos;

/// An address and a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) address: Address,
    pub(super) port: u16,
}

/// A connection as one host sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Tuple {
    pub(super) local: Place,
    pub(super) remote: Place,
}

/// Mini-sockets in the order in which they end.
#[derive(Debug, Default)]
pub(super) struct EndingQueue {
    pub(super) all: VecDeque<Ending>,
    /// How many from the front on have been fetched.
    fetched: usize,
}

/// So many that end soon are fetched at a time.
const FETCHED: usize = 16;

/// When a mini-socket ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    pub(super) at: Nanos,
    pub(super) slot: u32,
    pub(super) turn: u32,
    /// Of its tuple: the table is asked while the mini-socket itself is still on its way from memory.
    pub(super) hash: u64,
}

/// Who waits for connections on a port.
#[derive(Clone, Debug)]
pub(super) struct Listener {
    pub(super) server: usize,
    /// Connections that wait for accept().
    pub(super) queued: u32,
    pub(super) backlog: u32,
}

impl Listener {
    /// include/net/sock.h sk_acceptq_is_full(): one more than the backlog fits.
    pub(super) const fn is_full(&self) -> bool {
        self.queued > self.backlog
    }
}

/// Sockets in each state.
pub(super) type StateCounts = [u32; State::COUNT];

pub(super) struct Host {
    /// One for each network, the first of the block.
    pub(super) addresses: Vec<(usize, Address)>,
    pub(super) tuned: Tuned,
    pub(super) changed: Settings,
    pub(super) ports: Ports,
    pub(super) sockets: Sockets,
    pub(super) minis: Minis,
    pub(super) table: Table,
    /// Mini-sockets by the time they end: each queue is in order.
    pub(super) ending: Vec<EndingQueue>,
    /// TIME-WAIT sockets that connect() may take over from a time on, in order.
    pub(super) aging: VecDeque<(Nanos, u32, u32)>,
    pub(super) listeners: BTreeMap<u16, Listener>,
    pub(super) orphans: u64,
    pub(super) states: StateCounts,
    pub(super) peaks: StateCounts,
    pub(super) counters: Counts,
    /// What `tcp_tw_recycle` remembers of each address: timestamp and time.
    pub(super) proven: HashMap<Address, (u32, Nanos), FixedState>,
    /// What happens is written down.
    pub(super) record: Option<Box<Record>>,
}

impl Host {
    pub(super) fn count(&mut self, counter: Counter) {
        if let Some(record) = &mut self.record {
            record.count(counter);
        }
        self.counters[counter as usize] += 1;
    }

    pub(super) fn moved(&mut self, before: State, after: State) {
        if let Some(record) = &mut self.record
            && before != after
        {
            record.moved(before, after);
        }
        if counts(before) {
            self.states[before.index()] -= 1;
        }
        if counts(after) {
            self.states[after.index()] += 1;
        }
    }

    /// Adds a mini-socket, whose tuple has this hash. Its state is counted by the caller.
    pub(super) fn insert_mini(&mut self, mini: &Mini, hash: u64) -> u32 {
        if let Some(record) = &mut self.record {
            record.made_mini();
        }
        let slot = self.minis.insert(mini);
        let all = All { sockets: &self.sockets, minis: &self.minis };
        self.table.insert_new(hash, Entry::Mini(slot), all);
        slot
    }

    /// Takes one out; its port stays taken.
    pub(super) fn remove_mini(&mut self, slot: u32) -> Mini {
        self.remove_mini_of(slot, table::hash(&self.minis.get(slot).tuple))
    }

    /// The same, for a tuple of this hash.
    pub(super) fn remove_mini_of(&mut self, slot: u32, hash: u64) -> Mini {
        self.table.remove(hash, Entry::Mini(slot));
        self.minis.remove(slot)
    }

    /// Gives the port of something that ended back.
    pub(super) fn release(&mut self, hold: Option<Hold>) {
        match hold {
            Some(Hold { flow: Some(flow), source, port, bound }) => {
                self.ports.release(flow, source, port, bound);
            }
            Some(Hold { flow: None, source, port, bound }) => self.ports.let_go(source, port, bound),
            None => {}
        }
    }

    /// The queue in which something that ends then stands in order.
    pub(super) fn queue_for(&mut self, ends: Nanos) -> usize {
        let fits = |queue: &EndingQueue| queue.all.back().is_none_or(|back| back.at <= ends);
        self.ending.iter().position(fits).unwrap_or_else(|| {
            self.ending.push(EndingQueue::default());
            self.ending.len() - 1
        })
    }

    /// Takes the first that has ended out of its queue, if one has.
    pub(super) fn pop_ended(&mut self, queue: usize, now: Nanos) -> Option<Ending> {
        let EndingQueue { all, fetched } = &mut self.ending[queue];
        let first = all.front().copied().filter(|first| first.at <= now)?;
        if *fetched == 0 {
            // They began a minute ago, and no cache has them any more. A processor waits for many as long as for one,
            // if it is asked for all of them at once.
            let fetch = |next: &Ending| {
                self.minis.is_there(next.slot, next.turn) & self.table.has(next.hash, Entry::Mini(next.slot))
            };
            std::hint::black_box(all.iter().take(FETCHED).filter(|next| fetch(next)).count());
            *fetched = FETCHED;
        }
        all.pop_front();
        *fetched -= 1;
        Some(first)
    }

    /// Lets the TIME-WAIT sockets that are old enough be taken over.
    pub(super) fn age(&mut self, now: Nanos) {
        while let Some((at, slot, turn)) = self.aging.front().copied()
            && at <= now
        {
            self.aging.pop_front();
            if self.minis.is_there(slot, turn)
                && let Some(Hold { flow: Some(flow), port, .. }) = self.minis.get(slot).hold
            {
                self.ports.age(flow, port);
            }
        }
    }

    /// Who has a tuple.
    pub(super) fn who_has(&self, tuple: &Tuple) -> Option<Entry> {
        self.table.get(tuple, All { sockets: &self.sockets, minis: &self.minis })
    }

    /// A socket that has its tuple from now on.
    pub(super) fn insert_socket(&mut self, socket: Socket) -> Slot {
        let tuple = socket.tuple;
        let slot = self.sockets.insert(socket);
        let all = All { sockets: &self.sockets, minis: &self.minis };
        self.table.insert(&tuple, Entry::Socket(slot), all);
        slot
    }

    pub(super) fn socket(&self, slot: Slot) -> Option<&Socket> {
        self.sockets.get(slot)
    }

    pub(super) fn socket_mut(&mut self, slot: Slot) -> Option<&mut Socket> {
        self.sockets.get_mut(slot)
    }
}

/// What is no connection is not counted.
pub(super) const fn counts(state: State) -> bool {
    !matches!(state, State::Closed | State::Listen)
}
