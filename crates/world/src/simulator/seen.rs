//! What there is to see on a host when the run ends.

use super::Simulation;
use super::counters::Counter;
use super::host::{Place, Tuple, counts};
use super::network::written;
use super::socket::{Hold, Owner};
use crate::scenario::{Family, Host, NatKind};
use evidence::PortRange;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use tcp::State;

/// A host as a look would find it.
pub(crate) struct HostSeen<'a> {
    pub(crate) config: &'a Host,
    pub(crate) length_ms: u64,
    /// Those of its networks, those it shares with balancers, and the loopback's.
    pub(crate) addresses: BTreeSet<IpAddr>,
    /// Settings that somebody set.
    pub(crate) set: BTreeMap<String, String>,
    /// The ports that connect() chooses from, and how long TIME-WAIT lasts.
    pub(crate) range: PortRange,
    pub(crate) time_wait: Duration,
    pub(crate) max_time_wait: u64,
    pub(crate) max_orphans: u64,
    /// Port, connections that wait, backlog, whose.
    pub(crate) listeners: Vec<(u16, u32, u32, Owned)>,
    pub(crate) sockets: Box<dyn Iterator<Item = Seen> + 'a>,
    pub(crate) minis: u64,
    pub(crate) orphans: u64,
    /// Names as `nstat` has them, and by how much they rose.
    pub(crate) counters: Vec<(String, u64)>,
    pub(crate) conntrack: Option<Tracked>,
}

/// A socket.
pub(crate) struct Seen {
    pub(crate) state: State,
    pub(crate) mini: bool,
    /// Local and remote address and port.
    pub(crate) tuple: ((IpAddr, u16), (IpAddr, u16)),
    pub(crate) owner: Option<Owned>,
    /// Its process has a descriptor of it.
    pub(crate) held: bool,
    pub(crate) left_ms: u32,
    pub(crate) retransmits: u8,
    pub(crate) unread: u32,
    pub(crate) idle_ms: Option<u32>,
}

/// Whose it is: a place among the world's clients, servers or proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owned {
    Client(usize),
    Server(usize),
    Proxy(usize),
}

/// Connection tracking.
pub(crate) struct Tracked {
    pub(crate) by_state: BTreeMap<&'static str, u64>,
    pub(crate) max: u64,
    pub(crate) insert_failed: u64,
    pub(crate) dropped: u64,
}

impl Simulation<'_> {
    /// What there is to see on a host now.
    pub(super) fn seen(&self, number: usize) -> HostSeen<'_> {
        let (config, host) = (&self.world.hosts[number], &self.hosts[number]);
        let family = self.world.family;
        let set = self.world.settings.iter().chain(config.settings.iter());
        let mut set: BTreeMap<String, String> =
            set.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        set.extend(host.changed.values.clone());
        let listeners = host.listeners.iter().map(|(port, listener)| {
            (*port, listener.queued, listener.backlog, owned(self.listening[listener.server]))
        });
        let full = host.sockets.iter().filter(|(_, socket)| socket.in_table);
        let full = full.filter(|(_, socket)| counts(socket.endpoint.state())).map(move |(_, socket)| {
            let state = socket.endpoint.state();
            let fin = u32::from(matches!(state, State::CloseWait | State::Closing | State::LastAck));
            let waiting = u32::from(socket.talk.unread > 0);
            let idle = (self.now - socket.talk.heard) / 1_000_000;
            Seen {
                state,
                mini: false,
                tuple: places(family, socket.tuple),
                owner: Some(owned(socket.owner)),
                held: !socket.talk.closed,
                left_ms: 0,
                retransmits: u8::try_from(socket.endpoint.retransmits()).unwrap_or(u8::MAX),
                unread: fin + waiting * super::servers::HEAD_BYTES,
                idle_ms: state.is_transient().then(|| u32::try_from(idle).unwrap_or(u32::MAX)),
            }
        });
        let minis = host.minis.iter().map(move |(_, mini)| Seen {
            state: mini.residue.state,
            mini: true,
            tuple: places(family, mini.tuple),
            owner: self.owner_of(number, mini.tuple, mini.hold),
            held: false,
            left_ms: u32::try_from((mini.residue.ends - self.now) / 1_000_000).unwrap_or(u32::MAX),
            retransmits: 0,
            unread: 0,
            idle_ms: None,
        });
        let has = |counter: usize| counter != Counter::PawsPassive as usize || host.tuned.stack.has_recycle;
        let counters = Counter::NAMES.iter().zip(host.counters).enumerate().filter(|(at, _)| has(*at));
        let tracker = &self.trackers[number];
        let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        HostSeen {
            config,
            length_ms: (self.now / 1_000_000).max(1),
            addresses: self
                .own_addresses(number)
                .chain(self.shared_addresses(number))
                .chain(loopback)
                .collect(),
            set,
            range: host.tuned.range,
            time_wait: host.tuned.stack.time_wait,
            max_time_wait: host.tuned.max_time_wait,
            max_orphans: host.tuned.max_orphans,
            listeners: listeners.collect(),
            sockets: Box::new(full.chain(minis)),
            minis: host.minis.len(),
            orphans: host.orphans,
            counters: counters
                .map(|(at, (name, rise))| {
                    let table = if at <= Counter::RetransSegs as usize { "Tcp" } else { "TcpExt" };
                    (format!("{table}{name}"), rise)
                })
                .collect(),
            conntrack: (!config.nat.is_empty()).then(|| Tracked {
                by_state: tracker.by_state(self.now),
                max: host.tuned.conntrack.max,
                insert_failed: tracker.insert_failed,
                dropped: tracker.dropped,
            }),
        }
    }

    /// The addresses of a host on all its networks.
    pub(super) fn own_addresses(&self, number: usize) -> impl Iterator<Item = IpAddr> {
        let (host, more) = (&self.hosts[number], u32::from(self.world.hosts[number].addresses));
        let all = host.addresses.iter().flat_map(move |(_, first)| *first..first.saturating_add(more));
        all.map(|address| written(self.world.family, address))
    }

    /// The addresses of balancers with direct routing that a host answers for, on the networks that both are on.
    fn shared_addresses(&self, number: usize) -> impl Iterator<Item = IpAddr> {
        let name = &self.world.hosts[number].name;
        let own = &self.hosts[number].addresses;
        let serves = move |to: &String| {
            self.world.servers.iter().any(|server| server.name == *to && server.host == *name)
        };
        let balancers = self.world.hosts.iter().zip(&self.hosts).filter(move |(config, _)| {
            let mut rules = config.nat.iter().filter(|rule| rule.kind == NatKind::DirectRouting);
            rules.any(|rule| rule.to.iter().any(serves))
        });
        let shared = balancers.flat_map(|(_, balancer)| &balancer.addresses);
        let shared = shared.filter(|(network, _)| own.iter().any(|(own, _)| own == network));
        shared.map(|(_, address)| written(self.world.family, *address))
    }

    /// Whose a TIME-WAIT was: of a port that was connected, the first who connects there.
    fn owner_of(&self, host: usize, tuple: Tuple, hold: Option<Hold>) -> Option<Owned> {
        hold?.flow?;
        let connects = |client: &usize| {
            self.client_hosts[*client] == host
                && self.destinations[*client].iter().any(|(_, place)| *place == tuple.remote)
        };
        let client = (0..self.clients.len()).find(connects).map(Owned::Client);
        let relays = |proxy: &usize| {
            let relaying = &self.proxies[*proxy];
            relaying.host == host && relaying.places.iter().any(|(_, place)| *place == tuple.remote)
        };
        client.or_else(|| (0..self.proxies.len()).find(relays).map(Owned::Proxy))
    }
}

const fn owned(owner: Owner) -> Owned {
    match owner {
        Owner::Client(client) => Owned::Client(client),
        Owner::Server(server) => Owned::Server(server),
        Owner::Front(proxy) | Owner::Back(proxy) => Owned::Proxy(proxy),
    }
}

fn places(family: Family, tuple: Tuple) -> ((IpAddr, u16), (IpAddr, u16)) {
    let place = |place: Place| (written(family, place.address), place.port);
    (place(tuple.local), place(tuple.remote))
}
