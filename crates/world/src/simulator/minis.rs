//! The mini-sockets of a host: TIME-WAIT, and an orphan's FIN-WAIT-2.
//!
//! There may be hundreds of thousands, and each is looked at twice: when it begins, and much later when it ends. What
//! that costs is the wait for memory, so each takes one line of a processor's cache.

use super::host::{Place, Tuple};
use super::ports::{Address, FlowId};
use super::socket::Hold;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use tcp::machine::{Nanos, Residue};
use tcp::{Seq, State};

/// A mini-socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mini {
    pub(super) tuple: Tuple,
    /// Its port is the one that the tuple has.
    pub(super) hold: Option<Hold>,
    pub(super) residue: Residue,
}

/// As it is kept. What is not there is 0, and a bit says so.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Kept {
    ends: Nanos,
    entered: Nanos,
    heard_at: Nanos,
    heard: u32,
    timestamps: u32,
    snd_nxt: Seq,
    rcv_nxt: Seq,
    local: Address,
    remote: Address,
    flow: FlowId,
    /// Tells it from another that had the same place.
    turn: u32,
    local_port: u16,
    remote_port: u16,
    bits: u8,
    state: State,
}

const _: () = assert!(size_of::<Kept>() == 64, "it takes one line of a processor's cache");

const ALIVE: u8 = 1;
const HEARD: u8 = 2;
const TIMESTAMPS: u8 = 4;
const HOLD: u8 = 8;
const FLOW: u8 = 16;
const BOUND: u8 = 32;
/// It has sent an ACK to something unacceptable: when, is kept elsewhere, since few do.
const INVALID: u8 = 64;

impl Kept {
    fn of(mini: &Mini, turn: u32) -> Self {
        let Mini { tuple: Tuple { local, remote }, hold, residue } = mini;
        debug_assert!(hold.is_none_or(|hold| (hold.source, hold.port) == (local.address, local.port)));
        let bit = |bit: u8, on: bool| if on { bit } else { 0 };
        let flow = hold.and_then(|hold| hold.flow);
        Self {
            ends: residue.ends,
            entered: residue.entered,
            heard_at: residue.heard.map_or(0, |heard| heard.1),
            heard: residue.heard.map_or(0, |heard| heard.0),
            timestamps: residue.timestamps.unwrap_or(0),
            snd_nxt: residue.snd_nxt,
            rcv_nxt: residue.rcv_nxt,
            local: local.address,
            remote: remote.address,
            flow: flow.unwrap_or(0),
            turn,
            local_port: local.port,
            remote_port: remote.port,
            bits: ALIVE
                | bit(HEARD, residue.heard.is_some())
                | bit(TIMESTAMPS, residue.timestamps.is_some())
                | bit(HOLD, hold.is_some())
                | bit(FLOW, flow.is_some())
                | bit(BOUND, hold.is_some_and(|hold| hold.bound))
                | bit(INVALID, residue.last_invalid.is_some()),
            state: residue.state,
        }
    }

    const fn has(&self, bit: u8) -> bool {
        self.bits & bit != 0
    }

    const fn tuple(&self) -> Tuple {
        Tuple {
            local: Place { address: self.local, port: self.local_port },
            remote: Place { address: self.remote, port: self.remote_port },
        }
    }

    fn mini(&self, last_invalid: Option<Nanos>) -> Mini {
        let hold = Hold {
            flow: self.has(FLOW).then_some(self.flow),
            source: self.local,
            port: self.local_port,
            bound: self.has(BOUND),
        };
        Mini {
            tuple: self.tuple(),
            hold: self.has(HOLD).then_some(hold),
            residue: Residue {
                state: self.state,
                snd_nxt: self.snd_nxt,
                rcv_nxt: self.rcv_nxt,
                heard: self.has(HEARD).then_some((self.heard, self.heard_at)),
                timestamps: self.has(TIMESTAMPS).then_some(self.timestamps),
                entered: self.entered,
                ends: self.ends,
                last_invalid,
            },
        }
    }
}

/// All of a host; a place is used again, with another turn.
#[derive(Default)]
pub(super) struct Minis {
    kept: Vec<Kept>,
    free: Vec<u32>,
    /// By place: when the last ACK to something unacceptable was sent.
    invalid: HashMap<u32, Nanos, FixedState>,
}

impl Minis {
    /// How many there are.
    pub(super) const fn len(&self) -> u64 {
        (self.kept.len() - self.free.len()) as u64
    }

    pub(super) fn insert(&mut self, mini: &Mini) -> u32 {
        let place = if let Some(place) = self.free.pop() {
            let kept = &mut self.kept[place as usize];
            *kept = Kept::of(mini, kept.turn.wrapping_add(1));
            place
        } else {
            self.kept.push(Kept::of(mini, 0));
            u32::try_from(self.kept.len() - 1).unwrap_or(u32::MAX)
        };
        if let Some(at) = mini.residue.last_invalid {
            self.invalid.insert(place, at);
        }
        place
    }

    /// What is at a place, where one is.
    pub(super) fn get(&self, place: u32) -> Mini {
        let kept = &self.kept[place as usize];
        kept.mini(if kept.has(INVALID) { self.invalid.get(&place).copied() } else { None })
    }

    pub(super) fn tuple(&self, place: u32) -> Option<Tuple> {
        self.kept.get(place as usize).map(Kept::tuple)
    }

    pub(super) fn turn(&self, place: u32) -> u32 {
        self.kept[place as usize].turn
    }

    pub(super) fn ends(&self, place: u32) -> Nanos {
        self.kept[place as usize].ends
    }

    /// True if it is still there.
    pub(super) fn is_there(&self, place: u32, turn: u32) -> bool {
        let kept = &self.kept[place as usize];
        kept.has(ALIVE) && kept.turn == turn
    }

    /// Another rest of the same connection.
    pub(super) fn set_residue(&mut self, place: u32, residue: Residue) {
        let mini = Mini { residue, ..self.get(place) };
        self.kept[place as usize] = Kept::of(&mini, self.turn(place));
        match residue.last_invalid {
            Some(at) => self.invalid.insert(place, at),
            None => self.invalid.remove(&place),
        };
    }

    pub(super) fn remove(&mut self, place: u32) -> Mini {
        let mini = self.get(place);
        let kept = &mut self.kept[place as usize];
        if kept.has(INVALID) {
            self.invalid.remove(&place);
        }
        kept.bits = 0;
        self.free.push(place);
        mini
    }

    /// Those there are, with their places.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, Mini)> {
        let alive = (0..).zip(&self.kept).filter(|(_, kept)| kept.has(ALIVE));
        alive.map(|(place, _)| (place, self.get(place)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn minis() -> impl Strategy<Value = Mini> {
        let place = || (any::<u32>(), any::<u16>()).prop_map(|(address, port)| Place { address, port });
        let hold = proptest::option::of((any::<Option<FlowId>>(), any::<bool>()));
        let residue = (
            proptest::sample::select(State::ALL.to_vec()),
            (any::<u32>(), any::<u32>()),
            any::<Option<(u32, Nanos)>>(),
            any::<Option<u32>>(),
            (any::<Nanos>(), any::<Nanos>()),
            any::<Option<Nanos>>(),
        );
        (place(), place(), hold, residue).prop_map(|(local, remote, held, residue)| {
            let (state, (sent, received), heard, timestamps, (entered, ends), last_invalid) = residue;
            let hold = |(flow, bound)| Hold { flow, source: local.address, port: local.port, bound };
            Mini {
                tuple: Tuple { local, remote },
                hold: held.map(hold),
                residue: Residue {
                    state,
                    snd_nxt: Seq::new(sent),
                    rcv_nxt: Seq::new(received),
                    heard,
                    timestamps,
                    entered,
                    ends,
                    last_invalid,
                },
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_put_in_comes_out(one in minis(), other in minis(), third in minis()) {
            let mut all = Minis::default();
            let places = [all.insert(&one), all.insert(&other)];
            let turn = all.turn(places[0]);
            prop_assert_eq!((all.get(places[0]), all.get(places[1]), all.len()), (one, other, 2));
            prop_assert_eq!((all.tuple(places[1]), all.ends(places[1])), (Some(other.tuple), other.residue.ends));
            all.set_residue(places[1], third.residue);
            let changed = Mini { residue: third.residue, ..other };
            prop_assert_eq!(all.iter().collect::<Vec<_>>(), [(places[0], one), (places[1], changed)]);
            prop_assert_eq!(all.remove(places[0]), one);
            prop_assert!(!all.is_there(places[0], turn) && all.is_there(places[1], all.turn(places[1])));
            // Another at the same place is not taken for it.
            prop_assert_eq!(all.insert(&third), places[0]);
            prop_assert!(!all.is_there(places[0], turn));
            prop_assert_eq!((all.remove(places[0]), all.remove(places[1])), (third, changed));
            prop_assert_eq!((all.len(), all.invalid.len()), (0, 0));
        }
    }
}
