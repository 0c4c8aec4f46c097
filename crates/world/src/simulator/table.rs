//! Which socket of a host has a tuple.
//!
//! The table has numbers of sockets, four bytes each; what tuple one has is asked of the socket itself. Hundreds of
//! thousands in TIME-WAIT come and go in no order that a cache could know: the smaller the table, the less it waits
//! for memory.

use super::host::Tuple;
use super::minis::Minis;
use super::socket::{Slot, Sockets};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher as _;

/// What has a tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Socket(Slot),
    Mini(u32),
}

/// A place among the sockets, or with the highest bit among the mini-sockets.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Number(u32);

const IS_MINI: u32 = 1 << 31;

impl From<Entry> for Number {
    fn from(entry: Entry) -> Self {
        match entry {
            Entry::Socket(slot) => Self(slot.place()),
            Entry::Mini(slot) => Self(slot | IS_MINI),
        }
    }
}

/// The sockets of a host, which know their tuples.
#[derive(Clone, Copy)]
pub(super) struct All<'a> {
    pub(super) sockets: &'a Sockets,
    pub(super) minis: &'a Minis,
}

impl All<'_> {
    fn tuple(self, number: Number) -> Option<Tuple> {
        if number.0 & IS_MINI == 0 {
            self.sockets.at_place(number.0).map(|(_, socket)| socket.tuple)
        } else {
            self.minis.tuple(number.0 & !IS_MINI)
        }
    }
}

#[derive(Default)]
pub(super) struct Table {
    numbers: HashTable<Number>,
    /// Those that came last, with the hashes of their tuples.
    new: Vec<(u64, Number)>,
}

/// So many are put into the large table at a time: where each belongs is far away in memory, and a processor waits
/// for many such places as long as for one, if it is asked for all of them at once.
const NEW: usize = 16;

/// By which the table finds a tuple.
pub(super) fn hash(tuple: &Tuple) -> u64 {
    FixedState::default().hash_one(tuple)
}

impl Table {
    pub(super) fn get(&self, tuple: &Tuple, all: All<'_>) -> Option<Entry> {
        let hash = hash(tuple);
        let has_it = |number: &Number| all.tuple(*number) == Some(*tuple);
        let new =
            || self.new.iter().find(|(of, number)| *of == hash && has_it(number)).map(|(_, number)| number);
        let number = *self.numbers.find(hash, has_it).or_else(new)?;
        if number.0 & IS_MINI == 0 {
            all.sockets.at_place(number.0).map(|(slot, _)| Entry::Socket(slot))
        } else {
            Some(Entry::Mini(number.0 & !IS_MINI))
        }
    }

    /// This has the tuple now, whoever had it before.
    pub(super) fn insert(&mut self, tuple: &Tuple, entry: Entry, all: All<'_>) {
        let hash = hash(tuple);
        let own = Number::from(entry);
        let same = |number: &Number| *number != own && all.tuple(*number) == Some(*tuple);
        let new = self.new.iter_mut().find(|(of, number)| *of == hash && same(number));
        match self.numbers.find_mut(hash, same).or(new.map(|(_, number)| number)) {
            Some(number) => *number = own,
            None => self.insert_new(hash, entry, all),
        }
    }

    /// This has a tuple of this hash, which nobody had.
    pub(super) fn insert_new(&mut self, hash: u64, entry: Entry, all: All<'_>) {
        self.new.push((hash, entry.into()));
        if self.new.len() < NEW {
            return;
        }
        let places =
            self.new.iter().filter(|(hash, own)| self.numbers.find(*hash, |number| number == own).is_some());
        std::hint::black_box(places.count());
        let rehash = |number: &Number| all.tuple(*number).map_or(0, |tuple| self::hash(&tuple));
        for (hash, number) in self.new.drain(..) {
            self.numbers.insert_unique(hash, number, rehash);
        }
    }

    /// True if this has a tuple of this hash.
    pub(super) fn has(&self, hash: u64, entry: Entry) -> bool {
        let own = Number::from(entry);
        self.numbers.find(hash, |number| *number == own).is_some()
    }

    /// This has its tuple no more.
    pub(super) fn remove(&mut self, hash: u64, entry: Entry) {
        let own = Number::from(entry);
        if let Ok(found) = self.numbers.find_entry(hash, |number| *number == own) {
            found.remove();
        } else if let Some(place) = self.new.iter().position(|(_, number)| *number == own) {
            self.new.swap_remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::host::Place;
    use crate::simulator::minis::Mini;
    use crate::simulator::random::Random;
    use std::collections::BTreeMap;
    use tcp::machine::Residue;
    use tcp::{Seq, State};

    fn mini(number: u32) -> Mini {
        #[expect(clippy::cast_possible_truncation, reason = "a few thousand")]
        let place = |address, port: u32| Place { address, port: port as u16 };
        Mini {
            tuple: Tuple { local: place(1, number), remote: place(2 + number % 3, 80) },
            hold: None,
            residue: Residue {
                state: State::TimeWait,
                snd_nxt: Seq::default(),
                rcv_nxt: Seq::default(),
                heard: None,
                timestamps: None,
                entered: 0,
                ends: 0,
                last_invalid: None,
            },
        }
    }

    #[test]
    fn who_has_a_tuple_is_known_from_the_beginning_to_the_end_however_many_there_are() {
        let (sockets, mut minis, mut table) = (Sockets::default(), Minis::default(), Table::default());
        let mut known: BTreeMap<u32, u32> = BTreeMap::new();
        let mut random = Random::new(11);
        for turn in 0..20_000 {
            // First more and more of them, then fewer and fewer.
            let number = random.below(3_000);
            let one = mini(number);
            let begins = random.below(3) < if turn < 10_000 { 2 } else { 1 };
            match known.get(&number).copied() {
                None if begins => {
                    let slot = minis.insert(&one);
                    table.insert_new(
                        hash(&one.tuple),
                        Entry::Mini(slot),
                        All { sockets: &sockets, minis: &minis },
                    );
                    known.insert(number, slot);
                }
                Some(slot) if !begins => {
                    table.remove(hash(&one.tuple), Entry::Mini(slot));
                    minis.remove(slot);
                    known.remove(&number);
                }
                _ => {}
            }
            for number in [number, random.below(3_000)] {
                let (tuple, slot) = (mini(number).tuple, known.get(&number));
                let entry = slot.map(|slot| Entry::Mini(*slot));
                assert_eq!(table.get(&tuple, All { sockets: &sockets, minis: &minis }), entry, "turn {turn}");
                assert!(
                    slot.is_none_or(
                        |slot| table.has(hash(&tuple), Entry::Mini(*slot)) || table.new.len() < NEW
                    )
                );
            }
        }
        assert!(known.len() > 100 && table.numbers.len() + table.new.len() == known.len());
        // Whoever comes takes the tuple over; who had it before does not take it away.
        let (one, other) = (mini(5_000), mini(5_000));
        let places = [minis.insert(&one), minis.insert(&other)];
        for place in places {
            table.insert(&one.tuple, Entry::Mini(place), All { sockets: &sockets, minis: &minis });
        }
        table.remove(hash(&one.tuple), Entry::Mini(places[0]));
        let all = All { sockets: &sockets, minis: &minis };
        assert_eq!(table.get(&one.tuple, all), Some(Entry::Mini(places[1])));
    }
}
