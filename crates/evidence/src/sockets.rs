//! The sockets of a namespace, grouped.

use crate::{Countdown, Endpoint, Halves, PortUse, Waiting};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use tcp::State;

/// Every TCP socket of a network namespace, counted, and grouped by who talks to whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sockets {
    /// All of them by state.
    pub by_state: StateCounts,
    /// The listening sockets.
    pub listeners: Vec<Listener>,
    /// The others, in the order in which the first socket of each was seen.
    pub groups: Vec<Group>,
    /// Ports that connect() skips for every destination because bind() took them.
    pub bound: BoundPorts,
    /// Ports that connections hold, by local address: where they are half of the range or more, and of the first
    /// local addresses only. Older cases do not have it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<HeldPorts>,
    /// Sockets whose group no longer fitted: they are in groups with `*` as an address.
    #[serde(skip_serializing_if = "is_zero")]
    pub folded: u64,
}

/// How many sockets are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateCounts([u32; State::COUNT]);

impl StateCounts {
    /// How many are in this state.
    #[inline]
    pub fn of(&self, state: State) -> u32 {
        self.0[state.index()]
    }

    /// Adds sockets in a state.
    #[inline]
    pub fn add(&mut self, state: State, count: u32) {
        let slot = &mut self.0[state.index()];
        *slot = slot.saturating_add(count);
    }

    /// All sockets.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|count| u64::from(*count)).sum()
    }

    /// Sockets that are neither in TIME-WAIT nor listening: connections that still live.
    pub fn live(&self) -> u64 {
        self.total() - u64::from(self.of(State::TimeWait)) - u64::from(self.of(State::Listen))
    }

    /// The states that occur, with their counts, in the order of a connection's life.
    pub fn iter(&self) -> impl Iterator<Item = (State, u32)> + '_ {
        State::ALL.into_iter().zip(self.0).filter(|(_, count)| *count > 0)
    }

    /// Adds all of another count.
    pub fn merge(&mut self, other: &Self) {
        other.iter().for_each(|(state, count)| self.add(state, count));
    }
}

impl FromIterator<(State, u32)> for StateCounts {
    fn from_iter<I: IntoIterator<Item = (State, u32)>>(counts: I) -> Self {
        let mut all = Self::default();
        counts.into_iter().for_each(|(state, count)| all.add(state, count));
        all
    }
}

impl Serialize for StateCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(state, count)| (state.name(), count)))
    }
}

impl<'de> Deserialize<'de> for StateCounts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::<String, u32>::deserialize(deserializer)?
            .into_iter()
            .map(|(name, count)| Ok((name.parse::<State>().map_err(D::Error::custom)?, count)))
            .collect()
    }
}

/// A state as RFC 9293 writes it.
pub(crate) mod state_name {
    use super::{Deserialize, Deserializer, Serializer, State};
    use serde::de::Error as _;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(crate) fn serialize<S: Serializer>(state: &State, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(state.name())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<State, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A listening socket. Several may share an address (`SO_REUSEPORT`); each has its own queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Listener {
    /// Where it listens; `*:80` is every address.
    pub address: Endpoint,
    /// Connections that wait for accept().
    pub queue: u32,
    /// How many may wait (listen()'s backlog, capped by `net.core.somaxconn`). The queue is full when it is
    /// *longer* than this (include/net/sock.h `sk_acceptq_is_full()`). None if it is not known: netstat does not
    /// show it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backlog: Option<u32>,
    /// True if the kernel chose the port (`bind()` to port 0, or none), false if the program named it; none if
    /// the kernel was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autobound: Option<bool>,
    /// Owner's user id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Owner, as an index into the namespace's processes; none if it could not be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<u32>,
}

/// Which end of its connections this host is, as far as ports tell: packets alone would show the first SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It connects: the local ports are drawn from the range, one for each connection.
    Client,
    /// It serves: the local port is one that is (or was) listened on.
    Server,
}

/// Sockets that share everything but the port of the connecting side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Which end this host is.
    pub role: Role,
    /// This host's end; without a port if this host connects.
    pub local: Endpoint,
    /// The peer's end; without a port if this host serves.
    pub remote: Endpoint,
    /// How many sockets, by state. FIN-WAIT-2 counts full sockets and mini-sockets.
    pub states: StateCounts,
    /// TIME-WAIT sockets by the time they have left.
    #[serde(default, skip_serializing_if = "Countdown::is_empty")]
    pub time_wait: Countdown,
    /// FIN-WAIT-2 mini-sockets (closed by their process, waiting for the peer's FIN) by the time left.
    #[serde(default, skip_serializing_if = "Countdown::is_empty")]
    pub fin_wait_2: Countdown,
    /// Local ports held, if this host connects.
    #[serde(default, skip_serializing_if = "PortUse::is_zero")]
    pub ports: PortUse,
    /// Full sockets in the middle of opening or closing, one entry a state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<Waiting>,
    /// Who owns how many, as far as it is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<Ownership>,
}

impl Group {
    /// The waiting sockets in a state, if there are any.
    pub fn waiting_in(&self, state: State) -> Option<&Waiting> {
        self.waiting.iter().find(|waiting| waiting.state == state)
    }
}

/// How an owner was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KnownBy {
    /// A file descriptor of the process is the socket.
    Inode,
    /// The socket was that process's when it still lived, earlier in this look.
    Cookie,
    /// The process listens on the local port.
    Listener,
    /// Only the user id is known.
    Uid,
}

/// A part of a group's sockets that belongs to one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ownership {
    /// Index into the namespace's processes; none if only the user is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<u32>,
    /// User id, if that is all that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// How it is known.
    pub known_by: KnownBy,
    /// How many sockets, by state.
    pub states: StateCounts,
}

/// Distinct ports of the local range that bind() took. connect() does not choose them for *any* destination
/// (net/ipv4/inet_hashtables.c `__inet_hash_connect()`: a bucket with `fastreuse >= 0` is passed over).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BoundPorts {
    /// Held by listening sockets.
    pub listening: Halves,
    /// Held by sockets that are bound and do nothing yet; none if there are none, if the kernel cannot list them
    /// (before 6.8), or if it was not asked because they cannot be a quarter of the range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<Halves>,
    /// Held by connections whose process named the port in bind(); none if the kernel was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub named: Option<Halves>,
    /// All of the above, each port once.
    pub all: Halves,
}

/// Ports of the local range that connections from one local address hold, whatever their destination. connect()
/// gives one port to several destinations; a port that bind() took goes to one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HeldPorts {
    /// The local address.
    pub local: Endpoint,
    /// Ports that are held, each once.
    pub distinct: Halves,
    /// Of them, those that are held to two destinations or more.
    pub shared: Halves,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Ownership {
    pub(crate) fn new(process: Option<u32>, uid: Option<u32>, known_by: KnownBy) -> Self {
        Self { process, uid, known_by, states: StateCounts::default() }
    }
}

impl Group {
    /// A group without sockets.
    pub fn new(role: Role, local: Endpoint, remote: Endpoint) -> Self {
        Self {
            role,
            local,
            remote,
            states: StateCounts::default(),
            time_wait: Countdown::default(),
            fin_wait_2: Countdown::default(),
            ports: PortUse::default(),
            waiting: Vec::new(),
            owners: Vec::new(),
        }
    }

    /// Sockets in a state that no owner was found for.
    pub fn unowned(&self, state: State) -> u32 {
        let owned = self.owners.iter().fold(0_u32, |sum, owner| sum.saturating_add(owner.states.of(state)));
        self.states.of(state).saturating_sub(owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_written_as_the_rfc_writes_them() {
        let counts: StateCounts = [(State::TimeWait, 2), (State::Established, 1)].into_iter().collect();
        let text = serde_json::to_string(&counts).unwrap();
        assert_eq!(text, r#"{"ESTABLISHED":1,"TIME-WAIT":2}"#);
        assert_eq!(serde_json::from_str::<StateCounts>(&text).unwrap(), counts);
        assert!(serde_json::from_str::<StateCounts>(r#"{"TIME_WAIT":2}"#).is_err());
        assert_eq!((counts.total(), counts.live()), (3, 1));
    }
}
