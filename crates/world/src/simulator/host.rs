//! A simulated host: its sockets, its table of TIME-WAIT, its listeners and counters.

use super::counters::{Counter, Counts};
use super::ports::{Address, Ports};
use super::rehearsal::Record;
use super::settings::Tuned;
use super::socket::{Hold, Slot, Socket, Sockets};
use evidence::Settings;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::collections::{BTreeMap, VecDeque};
use tcp::State;
use tcp::machine::{Nanos, Residue};

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

/// What has a tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Socket(Slot),
    Mini(u32),
}

/// A mini-socket: TIME-WAIT, or an orphan's FIN-WAIT-2.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mini {
    pub(super) tuple: Tuple,
    pub(super) hold: Option<Hold>,
    pub(super) residue: Residue,
    /// Tells it from another that had the same place.
    pub(super) turn: u32,
    pub(super) alive: bool,
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
    pub(super) minis: Vec<Mini>,
    pub(super) free_minis: Vec<u32>,
    pub(super) mini_count: u64,
    pub(super) table: HashMap<Tuple, Entry, FixedState>,
    /// Mini-sockets by the time they end: each queue is in order.
    pub(super) ending: Vec<VecDeque<(Nanos, u32, u32)>>,
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

    /// Adds a mini-socket to the table. Its state is counted by the caller.
    pub(super) fn insert_mini(&mut self, tuple: Tuple, hold: Option<Hold>, residue: Residue) -> u32 {
        if let Some(record) = &mut self.record {
            record.made_mini();
        }
        let slot = if let Some(slot) = self.free_minis.pop() {
            let mini = &mut self.minis[slot as usize];
            *mini = Mini { tuple, hold, residue, turn: mini.turn.wrapping_add(1), alive: true };
            slot
        } else {
            self.minis.push(Mini { tuple, hold, residue, turn: 0, alive: true });
            u32::try_from(self.minis.len() - 1).unwrap_or(u32::MAX)
        };
        self.mini_count += 1;
        self.table.insert(tuple, Entry::Mini(slot));
        slot
    }

    /// Takes one out; its port stays taken.
    pub(super) fn remove_mini(&mut self, slot: u32) -> Mini {
        let mini = self.minis[slot as usize];
        self.minis[slot as usize].alive = false;
        self.free_minis.push(slot);
        self.mini_count -= 1;
        self.table.remove(&mini.tuple);
        mini
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
        let fits = |queue: &VecDeque<(Nanos, u32, u32)>| queue.back().is_none_or(|back| back.0 <= ends);
        self.ending.iter().position(fits).unwrap_or_else(|| {
            self.ending.push(VecDeque::new());
            self.ending.len() - 1
        })
    }

    /// Lets the TIME-WAIT sockets that are old enough be taken over.
    pub(super) fn age(&mut self, now: Nanos) {
        while let Some((at, slot, turn)) = self.aging.front().copied()
            && at <= now
        {
            self.aging.pop_front();
            let mini = &self.minis[slot as usize];
            if mini.alive
                && mini.turn == turn
                && let Some(Hold { flow: Some(flow), port, .. }) = mini.hold
            {
                self.ports.age(flow, port);
            }
        }
    }

    pub(super) fn socket(&self, slot: Slot) -> Option<&Socket> {
        self.sockets.get(slot)
    }

    pub(super) fn socket_mut(&mut self, slot: Slot) -> Option<&mut Socket> {
        self.sockets.get_mut(slot)
    }

    /// The mini-sockets there are, by their places.
    pub(super) fn minis(&self) -> impl Iterator<Item = (u32, &Mini)> {
        (0..).zip(&self.minis).filter(|(_, mini)| mini.alive)
    }
}

/// What is no connection is not counted.
pub(super) const fn counts(state: State) -> bool {
    !matches!(state, State::Closed | State::Listen)
}
