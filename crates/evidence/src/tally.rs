//! From a stream of sockets to groups, without keeping the sockets.

mod held;

use crate::sockets::{BoundPorts, Group, KnownBy, Listener, Ownership, Role, Sockets, StateCounts};
use crate::{Endpoint, PortRange, PortSet, Waiting};
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use held::Held;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr};
use tcp::State;

/// So many groups are kept apart; sockets of further ones are folded into groups with `*` as an address, so
/// that a host with a peer for every socket does not need memory for every socket.
pub const MAX_GROUPS: usize = 100_000;

/// Further groups that each step of folding may make: first by local address and port, then by port, and what is
/// left falls into one per role.
const MAX_FOLDED_GROUPS: usize = 4_096;

/// So many live sockets keep their inode until owners are looked up; 16 bytes each.
pub const MAX_LIVE: usize = 1_000_000;

/// So many owners are listed for one group.
const MAX_OWNERS: usize = 256;

/// One socket as it goes by. Addresses are 128 bits, IPv4 mapped into IPv6 (`::ffff:a.b.c.d`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketSeen {
    /// Its state.
    pub state: State,
    /// True for a mini-socket: TIME-WAIT, or FIN-WAIT-2 whose process is gone.
    pub mini: bool,
    /// Local address.
    pub local: u128,
    /// Local port.
    pub local_port: u16,
    /// Remote address.
    pub remote: u128,
    /// Remote port.
    pub remote_port: u16,
    /// Milliseconds until the timer of a mini-socket ends; none if that was not told.
    pub left_ms: Option<u32>,
    /// Retransmissions without an answer.
    pub retransmits: u8,
    /// Bytes to be read; a FIN counts one. For a listener: connections waiting for accept().
    pub receive_queue: u32,
    /// Bytes not acknowledged. For a listener: its backlog; none if that was not told.
    pub send_queue: Option<u32>,
    /// User id; 0 for mini-sockets, none if it was not told.
    pub uid: Option<u32>,
    /// Inode; 0 for sockets without a file, none if it was not told.
    pub inode: Option<u32>,
    /// The kernel's name for this socket, which survives its change into a mini-socket.
    pub cookie: u64,
}

/// What the tally must know before the first socket.
#[derive(Clone, Debug, Default)]
pub struct TallyOptions {
    /// The local port range.
    pub range: PortRange,
    /// Ports never chosen automatically.
    pub reserved: PortSet,
    /// Sockets seen alive earlier in this look, with the index of the process that owned them.
    pub owners_by_cookie: HashMap<u64, u32, FixedState>,
    /// Random, because peers choose the addresses that are hashed.
    pub seed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    local: u128,
    remote: u128,
    port: u16,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    /// To one destination address and port.
    Client,
    /// On one local port, from one address.
    Server,
    /// To one destination port, folded over the addresses.
    ClientFolded,
    /// On one local address and port, folded over the peers.
    ServerFolded,
    /// To one destination port, folded over all addresses.
    ClientPort,
    /// On one local port, folded over all addresses.
    ServerPort,
    /// Folded over everything.
    AllFolded(Role),
}

#[derive(Clone, Copy)]
struct Live {
    inode: u32,
    uid: Option<u32>,
    group: u32,
    state: State,
}

/// Groups sockets as they stream by.
///
/// Feed it the listeners first ([`Tally::add_listener`]): they decide which end of a connection this host is.
/// Then every other socket once ([`Tally::add`]), ages if they were read ([`Tally::add_idle`]), owners
/// ([`Tally::attribute`]), and take the result ([`Tally::finish`]).
pub struct Tally {
    options: TallyOptions,
    hasher: FixedState,
    index: HashTable<u32>,
    keys: Vec<Key>,
    groups: Vec<Group>,
    last: Option<u32>,
    by_state: StateCounts,
    listeners: Vec<Listener>,
    listener_inodes: Vec<u32>,
    listening: PortSet,
    idle_bound: Option<PortSet>,
    named: Option<PortSet>,
    held: Held,
    live: Vec<Live>,
    live_not_kept: u64,
    folded: u64,
}

impl Tally {
    /// An empty tally.
    pub fn new(options: TallyOptions) -> Self {
        Self {
            hasher: FixedState::with_seed(options.seed),
            options,
            index: HashTable::new(),
            keys: Vec::new(),
            groups: Vec::new(),
            last: None,
            by_state: StateCounts::default(),
            listeners: Vec::new(),
            listener_inodes: Vec::new(),
            listening: PortSet::default(),
            idle_bound: None,
            named: None,
            held: Held::default(),
            live: Vec::new(),
            live_not_kept: 0,
            folded: 0,
        }
    }

    /// Counts a listening socket. `autobound` is whether the kernel chose its port.
    pub fn add_listener(&mut self, socket: &SocketSeen, autobound: Option<bool>) {
        self.by_state.add(State::Listen, 1);
        self.listening.insert(socket.local_port);
        let any = socket.local == 0 || address(socket.local).is_unspecified();
        self.listeners.push(Listener {
            address: Endpoint {
                address: (!any).then(|| address(socket.local)),
                port: Some(socket.local_port),
            },
            queue: socket.receive_queue,
            backlog: socket.send_queue,
            autobound,
            uid: socket.uid,
            process: None,
        });
        self.listener_inodes.push(socket.inode.unwrap_or(0));
    }

    /// Records a port that a bound socket holds which neither listens nor is connected.
    pub fn add_idle_bound(&mut self, local_port: u16) {
        self.by_state.add(State::Closed, 1);
        self.idle_bound.get_or_insert_default().insert(local_port);
    }

    /// Records the local port of a connection whose process named it in bind().
    pub fn add_named_port(&mut self, local_port: u16) {
        self.named.get_or_insert_default().insert(local_port);
    }

    /// Says that the kernel was asked for named ports, even if there were none.
    pub fn asked_for_named_ports(&mut self) {
        self.named.get_or_insert_default();
    }

    /// Counts a socket that does not listen.
    #[inline]
    pub fn add(&mut self, socket: &SocketSeen) {
        let role = self.role(socket);
        let place = self.group(role, socket);
        self.add_to(place, role, socket, true);
    }

    /// Counts a socket that does not listen, and whose peer's address is not known; `local_known` tells whether its
    /// own is. It is counted by its ports, with all others whose addresses are not known.
    pub fn add_masked(&mut self, socket: &SocketSeen, local_known: bool) {
        let role = self.role(socket);
        let (port, kinds) = match role {
            Role::Client => (socket.remote_port, [Kind::ClientPort, Kind::ClientFolded]),
            Role::Server => (socket.local_port, [Kind::ServerPort, Kind::ServerFolded]),
        };
        let [without, with] = kinds;
        let local = if local_known { socket.local } else { 0 };
        let kind = if local_known { with } else { without };
        let all = Key { local: 0, remote: 0, port: 0, kind: Kind::AllFolded(role) };
        let key = Key { local, remote: 0, port, kind };
        let most = MAX_GROUPS + 2 * MAX_FOLDED_GROUPS;
        let key = if self.find(key).is_none() && self.keys.len() >= most { all } else { key };
        let place = self.find(key).unwrap_or_else(|| self.insert_new(role, key));
        self.folded += 1;
        self.add_to(place, role, socket, local_known);
    }

    /// Counts a socket in its group. The local ports of one whose address is not known are not known to be held there.
    #[inline]
    fn add_to(&mut self, place: u32, role: Role, socket: &SocketSeen, local_known: bool) {
        self.by_state.add(socket.state, 1);
        let preferred = self.options.range.is_preferred(socket.local_port);
        let chosen = role == Role::Client
            && self.options.range.contains(socket.local_port)
            && !self.options.reserved.contains(socket.local_port);
        let group = &mut self.groups[place as usize];
        group.states.add(socket.state, 1);
        if chosen {
            if local_known {
                self.held.add(socket.local, socket.local_port);
            }
            let halves = match socket.state {
                State::TimeWait => &mut group.ports.time_wait,
                State::Established => &mut group.ports.established,
                _ => &mut group.ports.other,
            };
            halves.add(preferred);
        }
        if socket.mini {
            let countdown =
                if socket.state == State::TimeWait { &mut group.time_wait } else { &mut group.fin_wait_2 };
            if let Some(left_ms) = socket.left_ms {
                countdown.add(left_ms);
            }
            if !self.options.owners_by_cookie.is_empty()
                && let Some(process) = self.options.owners_by_cookie.get(&socket.cookie)
            {
                own(group, Some(*process), None, KnownBy::Cookie, socket.state);
            }
        } else {
            self.add_full(place, socket);
        }
    }

    fn add_full(&mut self, place: u32, socket: &SocketSeen) {
        let group = &mut self.groups[place as usize];
        if socket.state.is_transient() {
            let waiting = waiting(group, socket.state);
            waiting.sockets = waiting.sockets.saturating_add(1);
            waiting.orphans += u32::from(socket.inode == Some(0));
            // The kernel counts the peer's FIN as one byte to be read.
            let fin = u32::from(matches!(socket.state, State::CloseWait | State::Closing | State::LastAck));
            waiting.unread += u32::from(socket.receive_queue > fin);
            waiting.retransmitting += u32::from(socket.retransmits >= 2);
        }
        match socket.inode {
            Some(0) => {
                if let Some(process) = self.options.owners_by_cookie.get(&socket.cookie) {
                    own(group, Some(*process), None, KnownBy::Cookie, socket.state);
                }
            }
            Some(inode) if self.live.len() < MAX_LIVE => {
                self.live.push(Live { inode, uid: socket.uid, group: place, state: socket.state });
            }
            Some(_) => self.live_not_kept += 1,
            // Not an orphan: nobody asked whose it is.
            None => {}
        }
    }

    /// Adds how long a socket has been idle. The socket was counted by [`Tally::add`] before, or has opened
    /// since; only sockets of groups that wait for something are asked for.
    pub fn add_idle(&mut self, socket: &SocketSeen, idle_ms: u32) {
        let role = self.role(socket);
        let place = self.group(role, socket);
        waiting(&mut self.groups[place as usize], socket.state).idle.add(idle_ms);
    }

    /// How many sockets are in a state so far.
    pub fn count(&self, state: State) -> u32 {
        self.by_state.of(state)
    }

    /// The groups so far.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The inodes whose owners are wanted: listeners and live sockets.
    pub fn inodes(&self) -> impl Iterator<Item = u32> + '_ {
        self.listener_inodes.iter().copied().chain(self.live.iter().map(|live| live.inode))
    }

    /// Live sockets beyond [`MAX_LIVE`], whose owners will not be known.
    pub fn live_not_kept(&self) -> u64 {
        self.live_not_kept
    }

    /// Gives sockets their owners: `process_of` maps an inode to an index into the namespace's processes.
    /// What has no inode is given to the listener on its local port.
    pub fn attribute(&mut self, process_of: impl Fn(u32) -> Option<u32>) {
        for (listener, inode) in self.listeners.iter_mut().zip(&self.listener_inodes) {
            listener.process = process_of(*inode);
        }
        for live in std::mem::take(&mut self.live) {
            let group = &mut self.groups[live.group as usize];
            match process_of(live.inode) {
                Some(process) => own(group, Some(process), None, KnownBy::Inode, live.state),
                None if live.uid.is_some() => own(group, None, live.uid, KnownBy::Uid, live.state),
                None => {}
            }
        }
        for group in &mut self.groups {
            if group.role == Role::Server
                && let Some(port) = group.local.port
                && let Some(process) = listener_process(&self.listeners, group.local.address, port)
            {
                for state in
                    [State::TimeWait, State::FinWait1, State::FinWait2, State::Closing, State::LastAck]
                {
                    let unowned = group.unowned(state);
                    if unowned > 0
                        && let Some(owner) = owner(group, Some(process), None, KnownBy::Listener)
                    {
                        owner.states.add(state, unowned);
                    }
                }
            }
        }
    }

    /// The result.
    pub fn finish(self) -> Sockets {
        let TallyOptions { range, reserved, .. } = &self.options;
        let within = |ports: &PortSet| range.halves_of(&ports.without(reserved));
        let mut all = self.listening.clone();
        for ports in [&self.idle_bound, &self.named].into_iter().flatten() {
            all.extend(ports.iter());
        }
        Sockets {
            bound: BoundPorts {
                listening: within(&self.listening),
                idle: self.idle_bound.as_ref().map(within),
                named: self.named.as_ref().map(within),
                all: within(&all),
            },
            held: self.held.finish(*range, reserved),
            by_state: self.by_state,
            listeners: self.listeners,
            groups: self.groups,
            folded: self.folded,
        }
    }

    /// A local port that is listened on serves. Without a listener (the server is gone) the port tells: what
    /// lies in the range was chosen for a connect(), what lies outside was not; between two outside ports
    /// the lower is the service.
    #[inline]
    fn role(&self, socket: &SocketSeen) -> Role {
        if self.listening.contains(socket.local_port) {
            return Role::Server;
        }
        let range = self.options.range;
        if range.contains(socket.local_port) {
            Role::Client
        } else if range.contains(socket.remote_port) || socket.local_port < socket.remote_port {
            Role::Server
        } else {
            Role::Client
        }
    }

    #[inline]
    fn group(&mut self, role: Role, socket: &SocketSeen) -> u32 {
        let key = match role {
            Role::Client => Key {
                local: socket.local,
                remote: socket.remote,
                port: socket.remote_port,
                kind: Kind::Client,
            },
            Role::Server => Key {
                local: socket.local,
                remote: socket.remote,
                port: socket.local_port,
                kind: Kind::Server,
            },
        };
        // Sockets of one group often follow each other; then no hash is needed.
        if let Some(last) = self.last
            && self.keys[last as usize] == key
        {
            return last;
        }
        let place = self.find(key).unwrap_or_else(|| self.insert(role, key));
        self.last = Some(place);
        place
    }

    #[inline]
    fn find(&self, key: Key) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        self.index.find(hash, |place| self.keys[*place as usize] == key).copied()
    }

    #[cold]
    fn insert(&mut self, role: Role, key: Key) -> u32 {
        if self.keys.len() < MAX_GROUPS {
            return self.insert_new(role, key);
        }
        self.folded += 1;
        let by_port = Key {
            remote: 0,
            kind: if role == Role::Client { Kind::ClientFolded } else { Kind::ServerFolded },
            ..key
        };
        if let Some(place) = self.find(by_port) {
            return place;
        }
        if self.keys.len() < MAX_GROUPS + MAX_FOLDED_GROUPS {
            return self.insert_new(role, by_port);
        }
        // A host that is reached under every address of a network has as many local addresses.
        let port_only = Key {
            local: 0,
            kind: if role == Role::Client { Kind::ClientPort } else { Kind::ServerPort },
            ..by_port
        };
        if let Some(place) = self.find(port_only) {
            return place;
        }
        if self.keys.len() < MAX_GROUPS + 2 * MAX_FOLDED_GROUPS {
            return self.insert_new(role, port_only);
        }
        let all = Key { local: 0, remote: 0, port: 0, kind: Kind::AllFolded(role) };
        self.find(all).unwrap_or_else(|| self.insert_new(role, all))
    }

    fn insert_new(&mut self, role: Role, key: Key) -> u32 {
        let place = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        let (local, remote) = match key.kind {
            Kind::Client => {
                (Endpoint::any_port(address(key.local)), Endpoint::new(address(key.remote), key.port))
            }
            Kind::Server => {
                (Endpoint::new(address(key.local), key.port), Endpoint::any_port(address(key.remote)))
            }
            Kind::ClientFolded => {
                (Endpoint::any_port(address(key.local)), Endpoint { address: None, port: Some(key.port) })
            }
            Kind::ServerFolded => (Endpoint::new(address(key.local), key.port), Endpoint::default()),
            Kind::ClientPort => (Endpoint::default(), Endpoint { address: None, port: Some(key.port) }),
            Kind::ServerPort => (Endpoint { address: None, port: Some(key.port) }, Endpoint::default()),
            Kind::AllFolded(_) => (Endpoint::default(), Endpoint::default()),
        };
        self.groups.push(Group::new(role, local, remote));
        self.keys.push(key);
        let (keys, hasher) = (&self.keys, &self.hasher);
        self.index.insert_unique(hasher.hash_one(key), place, |place| hasher.hash_one(keys[*place as usize]));
        place
    }
}

fn address(bits: u128) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from_bits(bits)).to_canonical()
}

fn waiting(group: &mut Group, state: State) -> &mut Waiting {
    let place = group.waiting.iter().position(|waiting| waiting.state == state).unwrap_or_else(|| {
        group.waiting.push(Waiting::new(state));
        group.waiting.len() - 1
    });
    &mut group.waiting[place]
}

fn owner(
    group: &mut Group,
    process: Option<u32>,
    uid: Option<u32>,
    known_by: KnownBy,
) -> Option<&mut Ownership> {
    let same = |owner: &Ownership| (owner.process, owner.uid, owner.known_by) == (process, uid, known_by);
    if let Some(place) = group.owners.iter().position(same) {
        return group.owners.get_mut(place);
    }
    if group.owners.len() >= MAX_OWNERS {
        return None;
    }
    group.owners.push(Ownership::new(process, uid, known_by));
    group.owners.last_mut()
}

fn own(group: &mut Group, process: Option<u32>, uid: Option<u32>, known_by: KnownBy, state: State) {
    if let Some(owner) = owner(group, process, uid, known_by) {
        owner.states.add(state, 1);
    }
}

/// The process that listens on a port: the exact address before every address.
fn listener_process(listeners: &[Listener], local: Option<IpAddr>, port: u16) -> Option<u32> {
    let on_port = || listeners.iter().filter(|listener| listener.address.port == Some(port));
    on_port()
        .find(|listener| listener.address.address == local && local.is_some())
        .or_else(|| on_port().find(|listener| listener.address.address.is_none()))
        .and_then(|listener| listener.process)
}

#[cfg(test)]
mod tests;
