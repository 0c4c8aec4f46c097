//! How long sockets have left, and how long they have waited.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::time::Duration;
use tcp::State;

/// Mini-sockets by the whole seconds they have left.
///
/// Because a TIME-WAIT timer starts when the connection closes, this is the record of closes per second over
/// the last minute ([`Countdown::closes_by_age`]), except for sockets whose timer a stray segment restarted.
/// Most groups have few sockets and need no allocation.
#[derive(Clone, Debug)]
pub struct Countdown {
    overdue: u32,
    left: Left,
}

#[derive(Clone, Debug)]
enum Left {
    Few { used: u8, seconds: [u16; 10] },
    Many(Vec<u32>),
}

/// No mini-socket of any kernel is known to live longer than this many seconds (a vendor's
/// `tcp_tw_timeout` goes to 600; `TCP_LINGER2` and `tcp_fin_timeout` mini-sockets to 120). What says more
/// is counted here, so that a lying record cannot make the table grow.
const LONGEST_S: u32 = 3_600;

impl Default for Countdown {
    fn default() -> Self {
        Self { overdue: 0, left: Left::Few { used: 0, seconds: [0; 10] } }
    }
}

impl Countdown {
    /// Adds a socket with so many milliseconds left. 0 means that its time is over and the timer wheel has
    /// not come round yet.
    #[inline]
    pub fn add(&mut self, left_ms: u32) {
        if left_ms == 0 {
            self.overdue = self.overdue.saturating_add(1);
        } else {
            self.add_seconds((left_ms / 1_000).min(LONGEST_S), 1);
        }
    }

    fn add_seconds(&mut self, second: u32, count: u32) {
        if let Left::Few { used, seconds } = &mut self.left {
            if count == 1 && usize::from(*used) < seconds.len() {
                #[expect(clippy::cast_possible_truncation, reason = "LONGEST_S fits u16")]
                let second = second as u16;
                seconds[usize::from(*used)] = second;
                *used += 1;
                return;
            }
            let few: Vec<u16> = seconds[..usize::from(*used)].to_vec();
            self.left = Left::Many(Vec::new());
            for second in few {
                self.add_seconds(u32::from(second), 1);
            }
        }
        if let Left::Many(counts) = &mut self.left {
            let second = second as usize;
            if counts.len() <= second {
                counts.resize(second + 1, 0);
            }
            counts[second] = counts[second].saturating_add(count);
        }
    }

    /// Sockets whose time is over.
    pub fn overdue(&self) -> u32 {
        self.overdue
    }

    /// True if there are no sockets.
    pub fn is_empty(&self) -> bool {
        self.overdue == 0
            && match &self.left {
                Left::Few { used, .. } => *used == 0,
                Left::Many(counts) => counts.iter().all(|count| *count == 0),
            }
    }

    /// How many sockets, overdue ones included.
    pub fn total(&self) -> u32 {
        self.counts().fold(self.overdue, |sum, (_, count)| sum.saturating_add(count))
    }

    /// Whole seconds left with their sockets, in no order; a second may come more than once.
    pub fn counts(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let (few, many): (&[u16], &[u32]) = match &self.left {
            Left::Few { used, seconds } => (&seconds[..usize::from(*used)], &[]),
            Left::Many(counts) => (&[], counts),
        };
        few.iter().map(|second| (u32::from(*second), 1)).chain((0..).zip(many.iter().copied()))
    }

    /// Sockets by whole seconds left (59 stands for 59.000 to 59.999 s).
    pub fn by_second(&self) -> BTreeMap<u32, u32> {
        let mut map = BTreeMap::new();
        for (second, count) in self.counts().filter(|(_, count)| *count > 0) {
            *map.entry(second).or_default() += count;
        }
        map
    }

    /// Closes per second for each of the last `length` seconds, the latest first: index 0 is the second
    /// that just passed. Overdue sockets closed before that and are not in it.
    pub fn closes_by_age(&self, length: Duration) -> Vec<u32> {
        let seconds = u32::try_from(length.as_secs()).unwrap_or(LONGEST_S).clamp(1, LONGEST_S);
        let mut closes = vec![0_u32; seconds as usize];
        for (left, count) in self.counts() {
            // A timer that was just set says exactly `length`: that belongs to the latest second.
            let age = (seconds - 1).saturating_sub(left) as usize;
            closes[age] = closes[age].saturating_add(count);
        }
        closes
    }
}

impl PartialEq for Countdown {
    fn eq(&self, other: &Self) -> bool {
        self.overdue == other.overdue && self.by_second() == other.by_second()
    }
}

impl Eq for Countdown {}

#[derive(Serialize, Deserialize)]
struct CountdownText {
    #[serde(default)]
    by_second: BTreeMap<u32, u32>,
    #[serde(default, skip_serializing_if = "is_zero")]
    overdue: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Serialize for Countdown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        CountdownText { by_second: self.by_second(), overdue: self.overdue }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Countdown {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = CountdownText::deserialize(deserializer)?;
        let mut countdown = Self { overdue: text.overdue, ..Self::default() };
        for (second, count) in text.by_second {
            countdown.add_seconds(second.min(LONGEST_S), count);
        }
        Ok(countdown)
    }
}

/// The steps, in seconds, by which [`Idle`] sorts.
pub const IDLE_EDGES_S: [u32; 9] = [1, 5, 10, 30, 60, 300, 3_600, 21_600, 86_400];

/// Sockets by how long nothing has come from the peer (`tcpi_last_ack_recv` of `TCP_INFO`): for CLOSE-WAIT,
/// the least time since the peer's FIN.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Idle {
    /// Sockets whose age was read.
    pub known: u32,
    /// Sockets idle for at least so many seconds; the keys are [`IDLE_EDGES_S`].
    pub at_least: BTreeMap<u32, u32>,
    /// The longest, in milliseconds.
    pub longest_ms: u32,
}

impl Idle {
    /// Adds a socket.
    pub fn add(&mut self, idle_ms: u32) {
        self.known = self.known.saturating_add(1);
        self.longest_ms = self.longest_ms.max(idle_ms);
        for edge in IDLE_EDGES_S.into_iter().filter(|edge| idle_ms / 1_000 >= *edge) {
            let count = self.at_least.entry(edge).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// How many were idle for at least so many seconds; the nearest edge above if it is none of them.
    pub fn at_least(&self, seconds: u32) -> u32 {
        let edge = IDLE_EDGES_S.into_iter().find(|edge| *edge >= seconds).unwrap_or(86_400);
        self.at_least.get(&edge).copied().unwrap_or(0)
    }
}

/// Full sockets of one group that are in the middle of opening or closing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// SYN-SENT, FIN-WAIT-1, FIN-WAIT-2, CLOSE-WAIT, CLOSING or LAST-ACK.
    #[serde(with = "crate::sockets::state_name")]
    pub state: State,
    /// How many.
    pub sockets: u32,
    /// Of them: closed by their process, so that only the kernel knows them.
    #[serde(default)]
    pub orphans: u32,
    /// Of them: with bytes from the peer that the process has not read (the peer's FIN not counted).
    #[serde(default)]
    pub unread: u32,
    /// Of them: retransmitted at least twice without an answer.
    #[serde(default)]
    pub retransmitting: u32,
    /// How long they have been idle, where that was read.
    #[serde(default)]
    pub idle: Idle,
}

impl Waiting {
    /// No socket yet.
    pub fn new(state: State) -> Self {
        Self { state, sockets: 0, orphans: 0, unread: 0, retransmitting: 0, idle: Idle::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closes_per_second_are_read_from_the_time_left() {
        let mut countdown = Countdown::default();
        for left_ms in [60_000, 59_999, 59_000, 58_999, 1, 999, 0] {
            countdown.add(left_ms);
        }
        let closes = countdown.closes_by_age(Duration::from_secs(60));
        assert_eq!(closes.len(), 60);
        assert_eq!((closes[0], closes[1], closes[59]), (3, 1, 2));
        assert_eq!((countdown.overdue(), countdown.total()), (1, 7));
    }

    #[test]
    fn few_and_many_say_the_same() {
        let mut countdown = Countdown::default();
        for second in 0..50 {
            countdown.add(second * 1_000 + 1);
        }
        assert_eq!(countdown.total(), 50);
        assert!(countdown.by_second().values().all(|count| *count == 1));
        let text = serde_json::to_string(&countdown).unwrap();
        assert_eq!(serde_json::from_str::<Countdown>(&text).unwrap(), countdown);
    }

    #[test]
    fn a_lying_timer_does_not_grow_the_table() {
        let mut countdown = Countdown::default();
        for _ in 0..10 {
            countdown.add(u32::MAX);
        }
        assert_eq!(countdown.by_second().keys().copied().collect::<Vec<_>>(), [LONGEST_S]);
        assert_eq!(countdown.closes_by_age(Duration::from_secs(60))[0], 10);
    }

    #[test]
    fn idle_edges_are_inclusive() {
        let mut idle = Idle::default();
        idle.add(59_999);
        idle.add(60_000);
        assert_eq!((idle.at_least(30), idle.at_least(60), idle.at_least(61)), (2, 1, 0));
    }
}
