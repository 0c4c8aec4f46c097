//! Addresses, ways between hosts, and what is lost or late on them.

use super::host::Place;
use super::ports::Address;
use super::socket::Notes;
use super::tap::Content;
use crate::scenario::{Family, Fault, Harm, World};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tcp::Segment;
use tcp::machine::Nanos;

/// 127.0.0.1
pub(super) const LOOPBACK: Address = 0x7f00_0001;

/// True for all of 127.0.0.0/8: a host that talks to itself from several addresses has them there.
pub(super) const fn is_loopback(address: Address) -> bool {
    address >> 24 == LOOPBACK >> 24
}

/// A segment on its way, with what a reader would find in its data.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    pub(super) source: Place,
    pub(super) destination: Place,
    pub(super) segment: Segment,
    /// So many segments on the wire: the hosts hand on what was written as one.
    pub(super) count: u16,
    /// It was sent before.
    pub(super) again: bool,
    /// How many messages of its sender are complete when it has come.
    pub(super) messages: u32,
    pub(super) notes: Notes,
    pub(super) content: Content,
}

/// A way from a host to an address.
#[derive(Clone, Debug)]
pub(super) struct Path {
    /// The hosts on it that forward.
    pub(super) through: Vec<usize>,
    pub(super) to: usize,
    /// The network it leaves on.
    pub(super) first: usize,
}

/// A fault of the scenario.
struct Trouble {
    host: usize,
    fault: Fault,
    from: Nanos,
    until: Nanos,
}

impl Trouble {
    fn means(&self, now: Nanos, host: usize, incoming: bool, packet: &Packet) -> bool {
        let fault = &self.fault;
        self.host == host
            && fault.incoming == incoming
            && (self.from..self.until).contains(&now)
            && fault.port.is_none_or(|port| port == packet.source.port || port == packet.destination.port)
            && fault.segments.include(&packet.segment)
    }

    /// How long it holds segments back.
    const fn delay(&self) -> Nanos {
        match self.fault.harm {
            Harm::Drop => 0,
            Harm::Delay(ms) => ms.saturating_mul(1_000_000),
        }
    }
}

/// Who has which address, and who reaches whom.
pub(super) struct Network {
    owners: BTreeMap<Address, usize>,
    names: BTreeMap<String, usize>,
    /// By host: its networks, in the order they were written.
    networks: Vec<Vec<usize>>,
    paths: BTreeMap<(usize, Address), Option<Path>>,
    troubles: Vec<Trouble>,
    /// How long a segment takes over a link, and what a host that forwards it adds.
    pub(super) link: Nanos,
    pub(super) hop: Nanos,
}

impl Network {
    pub(super) fn new(world: &World) -> Self {
        let mut names = BTreeMap::new();
        let mut networks = Vec::new();
        let mut owners = BTreeMap::new();
        for (number, host) in world.hosts.iter().enumerate() {
            let on: Vec<usize> = host
                .networks
                .iter()
                .map(|name| {
                    let next = names.len();
                    *names.entry(name.clone()).or_insert(next)
                })
                .collect();
            for network in &on {
                let first = address(*network, number);
                for more in 0..u32::from(host.addresses) {
                    owners.insert(first + more, number);
                }
            }
            networks.push(on);
        }
        let ms = |ms: u64| ms.saturating_mul(1_000_000);
        let troubles = world.faults.iter().filter_map(|fault| {
            let from = ms(fault.from_ms);
            Some(Trouble {
                host: world.hosts.iter().position(|host| host.name == fault.host)?,
                from,
                until: fault.for_ms.map_or(Nanos::MAX, |length| from.saturating_add(ms(length))),
                fault: fault.clone(),
            })
        });
        let troubles = troubles.collect();
        let (link, hop) = (world.costs.link, world.costs.hop);
        Self { owners, names, networks, paths: BTreeMap::new(), troubles, link, hop }
    }

    /// The networks of a host with its first address on each.
    pub(super) fn addresses(&self, host: usize) -> Vec<(usize, Address)> {
        self.networks[host].iter().map(|network| (*network, address(*network, host))).collect()
    }

    /// The number of a network.
    pub(super) fn number(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// Whose address it is.
    pub(super) fn owner(&self, address: Address) -> Option<usize> {
        self.owners.get(&address).copied()
    }

    /// The way from a host to an address.
    pub(super) fn path(&mut self, from: usize, to: Address) -> Option<&Path> {
        if !self.paths.contains_key(&(from, to)) {
            let path = self.find(from, to);
            self.paths.insert((from, to), path);
        }
        self.paths.get(&(from, to)).and_then(Option::as_ref)
    }

    /// The same, if it was asked for before.
    pub(super) fn known_path(&self, from: usize, to: Address) -> Option<&Path> {
        self.paths.get(&(from, to)).and_then(Option::as_ref)
    }

    /// How long a segment is on its way, through so many hosts.
    pub(super) const fn latency(&self, through: u64) -> Nanos {
        self.link + through * (self.link + self.hop)
    }

    /// True if a fault is at work at any time between these, or what it holds back is still on its way.
    pub(super) fn is_disturbed(&self, from: Nanos, to: Nanos) -> bool {
        self.troubles
            .iter()
            .any(|trouble| trouble.from <= to && from < trouble.until.saturating_add(trouble.delay()))
    }

    /// The shortest way, by breadth first over networks, hosts in their order.
    fn find(&self, from: usize, to: Address) -> Option<Path> {
        let target = self.owner(to)?;
        let last = network_of(to);
        let mut came: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        let mut open = self.networks[from].iter().copied().collect::<VecDeque<_>>();
        let mut seen: Vec<usize> = open.iter().copied().collect();
        while let Some(network) = open.pop_front() {
            if network == last {
                let (mut through, mut at) = (Vec::new(), network);
                while let Some((before, host)) = came.get(&at) {
                    through.push(*host);
                    at = *before;
                }
                through.reverse();
                return Some(Path { through, to: target, first: at });
            }
            for (host, networks) in self.networks.iter().enumerate() {
                if host == from || !networks.contains(&network) {
                    continue;
                }
                for next in networks {
                    if !seen.contains(next) {
                        seen.push(*next);
                        came.insert(*next, (network, host));
                        open.push_back(*next);
                    }
                }
            }
        }
        None
    }

    /// True if a fault at this host drops the packet.
    pub(super) fn loses(&self, now: Nanos, host: usize, incoming: bool, packet: &Packet) -> bool {
        self.troubles
            .iter()
            .any(|trouble| trouble.fault.harm == Harm::Drop && trouble.means(now, host, incoming, packet))
    }

    /// How long the packet is held back on the link of this host; 0: not at all.
    pub(super) fn holds(&self, now: Nanos, host: usize, incoming: bool, packet: &Packet) -> Nanos {
        let meant = self.troubles.iter().filter(|trouble| trouble.means(now, host, incoming, packet));
        meant.map(Trouble::delay).max().unwrap_or(0)
    }
}

/// The first address of a host on a network: `10.NETWORK.HOST.1`.
fn address(network: usize, host: usize) -> Address {
    let network = u32::try_from(network).unwrap_or(0);
    let host = u32::try_from(host).unwrap_or(0);
    ((10 + (network >> 8)) << 24) | ((network & 255) << 16) | ((host & 255) << 8) | 1
}

/// An address as others write it. In IPv6 `fd10:NETWORK::HOST:LAST`.
pub(crate) fn written(family: Family, address: Address) -> IpAddr {
    match family {
        Family::Ipv4 => IpAddr::V4(Ipv4Addr::from(address)),
        Family::Ipv6 if is_loopback(address) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        Family::Ipv6 => {
            let network = u16::try_from(network_of(address)).unwrap_or(u16::MAX);
            let [_, _, host, last] = address.to_be_bytes();
            IpAddr::V6(Ipv6Addr::new(0xfd10, network, 0, 0, 0, 0, host.into(), last.into()))
        }
    }
}

fn network_of(address: Address) -> usize {
    ((((address >> 24) - 10) << 8) | (address >> 16 & 255)) as usize
}
