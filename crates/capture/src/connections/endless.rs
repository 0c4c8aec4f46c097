//! What is forgotten on a stream that never ends, and when it is handed out.
//!
//! A connection is handed out once: when it has ended and was quiet for [`Endless::settle_ns`], when another takes
//! its tuple, when it was idle for [`Endless::idle_ns`], or when there are too many. They come in the order in which
//! that happens; of several at once, in the order in which they ended or began.

use super::record::Marks;
use super::{Connection, Connections, Endless, Note};
use std::collections::VecDeque;

/// A connection in a queue. Its place may have been given to another since: then the numbers differ.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    index: u32,
    number: u32,
    due_since_ns: i64,
}

/// Who is to be looked at next. Each connection is in each queue at most once.
#[derive(Debug, Default)]
pub(super) struct Queues {
    /// All of them, by when they were last found active.
    all: VecDeque<Waiting>,
    /// Ended ones that were not handed out.
    ended: VecDeque<Waiting>,
    /// Handed out ones that are still known.
    kept: VecDeque<Waiting>,
    ready: VecDeque<Connection>,
}

/// Going back further than this is no disorder.
const CLOCK_SET_BACK_NS: i64 = 1_000_000_000;

impl Queues {
    pub(super) fn begun(&mut self, index: u32, number: u32, now_ns: i64) {
        self.all.push_back(Waiting { index, number, due_since_ns: now_ns });
    }

    pub(super) fn ended(&mut self, index: u32, number: u32, now_ns: i64) {
        self.ended.push_back(Waiting { index, number, due_since_ns: now_ns });
    }
}

impl Connections {
    /// The next connection of an endless stream that is done with.
    pub fn take_ended(&mut self) -> Option<Connection> {
        self.endless.ready.pop_front()
    }

    /// Connections that are known now.
    pub fn known(&self) -> usize {
        self.records.used()
    }

    /// Looks after those that are due, a few for each packet.
    pub(super) fn forget(&mut self, packet_ns: i64) {
        let Some(limits) = self.options.endless else { return };
        // Packets may be a little out of order; a clock that was set back, or one packet from the future, is followed.
        if packet_ns > self.now_ns || self.now_ns.saturating_sub(packet_ns) > CLOCK_SET_BACK_NS {
            self.now_ns = packet_ns;
        }
        self.settle(limits);
        self.expire(limits);
        self.check_idle(limits);
        self.sweep();
        while self.records.used() > limits.max_connections {
            if !self.make_room() {
                break;
            }
        }
    }

    /// When it was last seen, if the place is still its own.
    fn last_seen(&self, waiting: Waiting) -> Option<i64> {
        let record = self.records.get(waiting.index)?;
        (record.number == waiting.number && !record.marks.has(Marks::FORGOTTEN)).then_some(record.end_ns)
    }

    /// Takes out of the queues what was forgotten otherwise, whenever that may be half of them.
    fn sweep(&mut self) {
        let most = 2 * self.records.used() + 1024;
        let Self { records, endless, .. } = self;
        for queue in [&mut endless.all, &mut endless.ended, &mut endless.kept] {
            if queue.len() > most {
                queue.retain(|waiting| {
                    records.get(waiting.index).is_some_and(|record| {
                        record.number == waiting.number && !record.marks.has(Marks::FORGOTTEN)
                    })
                });
            }
        }
    }

    fn settle(&mut self, limits: Endless) {
        for _ in 0..2 {
            let Some(first) = self.endless.ended.front().copied() else { return };
            if self.now_ns.saturating_sub(first.due_since_ns) < limits.settle_ns {
                return;
            }
            self.endless.ended.pop_front();
            match self.last_seen(first) {
                None => {}
                Some(last) if self.now_ns.saturating_sub(last) < limits.settle_ns => {
                    self.endless.ended.push_back(Waiting { due_since_ns: last, ..first });
                }
                Some(last) => {
                    self.hand_out(first.index, None);
                    self.endless.kept.push_back(Waiting { due_since_ns: last, ..first });
                }
            }
        }
    }

    fn expire(&mut self, limits: Endless) {
        for _ in 0..2 {
            let Some(first) = self.endless.kept.front().copied() else { return };
            if self.now_ns.saturating_sub(first.due_since_ns) < limits.keep_ns {
                return;
            }
            self.endless.kept.pop_front();
            if self.last_seen(first).is_some() {
                self.remove(first.index);
            }
        }
    }

    fn check_idle(&mut self, limits: Endless) {
        for _ in 0..2 {
            let Some(first) = self.endless.all.front().copied() else { return };
            if self.now_ns.saturating_sub(first.due_since_ns) < limits.idle_ns {
                return;
            }
            self.endless.all.pop_front();
            match self.last_seen(first) {
                None => {}
                Some(last) if self.now_ns.saturating_sub(last) < limits.idle_ns => {
                    self.endless.all.push_back(Waiting { due_since_ns: last, ..first });
                }
                Some(_) => {
                    self.hand_out(first.index, Some(Note::Idle));
                    self.remove(first.index);
                }
            }
        }
    }

    /// Too many: those that were handed out go first, then those that ended, then the one that began first.
    fn make_room(&mut self) -> bool {
        let queues = &mut self.endless;
        let next =
            queues.kept.pop_front().or_else(|| queues.ended.pop_front()).or_else(|| queues.all.pop_front());
        let Some(next) = next else { return false };
        if self.last_seen(next).is_some() {
            let over = self.records.get(next.index).is_some_and(super::Record::is_over);
            self.hand_out(next.index, (!over).then_some(Note::Evicted));
            self.remove(next.index);
        }
        true
    }

    /// Hands a connection out, once.
    pub(super) fn hand_out(&mut self, index: u32, why: Option<Note>) {
        self.drop_live(index);
        let Some(record) = self.records.get_mut(index) else { return };
        if record.marks.has(Marks::EMITTED) {
            return;
        }
        record.marks.add(Marks::EMITTED);
        let record = *record;
        let mut connection = self.answer(&record);
        connection.notes.extend(why);
        self.endless.ready.push_back(connection);
    }

    /// Forgets a connection.
    pub(super) fn remove(&mut self, index: u32) {
        self.drop_live(index);
        let Some(record) = self.records.get_mut(index) else { return };
        if record.marks.has(Marks::FORGOTTEN) {
            return;
        }
        record.marks.add(Marks::FORGOTTEN);
        let record = *record;
        let wide = record.marks.has(Marks::WIDE);
        if !record.marks.has(Marks::SUPERSEDED) {
            let hash = self.wide.tuple(&record.key, wide).hash(&self.state);
            if let Ok(entry) = self.table.find_entry(super::spread(hash), |(_, other)| *other == index) {
                entry.remove();
            }
        }
        if wide {
            self.wide.release(&record.key);
        }
        self.records.release(index);
    }

    /// The stream has ended: hands out all that is left, in the order of first packets.
    pub(super) fn hand_out_rest(&mut self) {
        let mut left: Vec<(u32, u32)> = (0..u32::try_from(self.records.places()).unwrap_or(u32::MAX))
            .filter_map(|index| self.records.get(index).map(|record| (record, index)))
            .filter(|(record, _)| !record.marks.has(Marks::FORGOTTEN) && !record.marks.has(Marks::EMITTED))
            .map(|(record, index)| (record.number, index))
            .collect();
        left.sort_unstable();
        for (_, index) in left {
            self.hand_out(index, None);
        }
    }
}
