//! From the hosts of a world to addresses, links, routes and translation.

use crate::host::PROBE;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use world::scenario::{Family, Host, NatKind, World};

/// A network's hosts share 10.N.0.0/16 or fd10:N::/32; this is never the number of a host.
const SHARED: u8 = 250;

/// And this is that of clients which are played, segment by segment.
const PLAYED: u8 = 251;

/// With a number, what interfaces are called whose network has a name that means something else.
const NUMBERED: &str = "net";

/// The most networks: each is one byte of an address.
pub(super) const MAX_NETWORKS: usize = 200;

/// Where everything is.
#[derive(Debug)]
pub(super) struct Network<'a> {
    world: &'a World,
    /// In the order in which hosts name them.
    names: Vec<&'a str>,
}

/// How a host is set up.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setup {
    /// Lines for `ip -batch`.
    pub(super) batch: String,
    /// Settings that its place in the network asks for.
    pub(super) settings: Vec<(String, String)>,
    /// Rules for `nft -f`.
    pub(super) rules: Option<String>,
}

impl<'a> Network<'a> {
    pub(super) fn new(world: &'a World) -> Self {
        let mut names: Vec<&str> = Vec::new();
        for name in world.hosts.iter().flat_map(|host| &host.networks) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        Self { world, names }
    }

    pub(super) fn names(&self) -> &[&'a str] {
        &self.names
    }

    /// The hosts on a network, in order.
    pub(super) fn members(&self, network: &str) -> impl Iterator<Item = &'a Host> {
        self.world.hosts.iter().filter(move |host| host.networks.iter().any(|name| name == network))
    }

    /// What a host's interface on a network is called: as the network, if the kernel and all programs take that name.
    pub(super) fn interface(&self, network: &str) -> String {
        // "all" and "default" are settings of all interfaces, and "any" is all of them for tcpdump, which takes a
        // number for a place in its list.
        let meant = ["lo", "all", "default", "any", PROBE].contains(&network);
        let ours = network.strip_prefix(NUMBERED).is_some_and(|rest| rest.parse::<u8>().is_ok());
        let begins = network.starts_with(|c: char| c.is_ascii_lowercase());
        if network.len() <= 15 && begins && !meant && !ours {
            return network.to_owned();
        }
        format!("{NUMBERED}{}", self.number(network))
    }

    fn number(&self, network: &str) -> u8 {
        let place = self.names.iter().position(|name| *name == network).unwrap_or(0);
        u8::try_from(place + 1).unwrap_or(u8::MAX)
    }

    /// The number of a host, which is a part of its addresses.
    fn host_number(&self, host: &Host) -> u8 {
        let place = self.world.hosts.iter().position(|other| other.name == host.name).unwrap_or(0);
        u8::try_from(place + 1).unwrap_or(u8::MAX).min(SHARED - 1)
    }

    /// `10.NETWORK.HOST.LAST`, or `fd10:NETWORK::HOST:LAST`.
    fn address_of(&self, network: &str, host: u8, last: u8) -> IpAddr {
        let network = self.number(network);
        match self.world.family {
            Family::Ipv4 => IpAddr::V4(Ipv4Addr::new(10, network, host, last)),
            Family::Ipv6 => {
                let (network, host, last) = (network.into(), host.into(), last.into());
                IpAddr::V6(Ipv6Addr::new(0xfd10, network, 0, 0, 0, 0, host, last))
            }
        }
    }

    /// All addresses of a network.
    fn range(&self, network: &str) -> String {
        match self.world.family {
            Family::Ipv4 => format!("10.{}.0.0/16", self.number(network)),
            Family::Ipv6 => format!("fd10:{:x}::/32", self.number(network)),
        }
    }

    /// The addresses of a host on a network.
    pub(super) fn addresses(&self, host: &Host, network: &str) -> Vec<IpAddr> {
        let number = self.host_number(host);
        let last = u8::try_from(host.addresses).unwrap_or(u8::MAX).min(254);
        (1..=last).map(|last| self.address_of(network, number, last)).collect()
    }

    fn address(&self, host: &Host, network: &str) -> Option<IpAddr> {
        self.addresses(host, network).into_iter().next()
    }

    /// The address that the servers of a direct-routing rule share.
    fn shared_address(&self, host: &Host, network: &str) -> IpAddr {
        self.address_of(network, SHARED, self.host_number(host))
    }

    /// The address of the clients that a host plays. It is behind a TUN device: the host's own TCP knows nothing of it.
    pub(super) fn played(&self, host: &Host) -> IpAddr {
        let network = host.networks.first().map_or("", String::as_str);
        self.address_of(network, PLAYED, self.host_number(host))
    }

    /// Where a client or proxy on a host finds what a scenario names: so many of its addresses, and each port it
    /// listens on. On its own host it goes by loopback.
    pub(super) fn destinations(&self, from: &Host, name: &str, addresses: u16) -> Vec<SocketAddr> {
        let Some((host, _)) = self.world.destination(name) else { return Vec::new() };
        if host == from.name {
            return self.each_port(name, &self.loopback(addresses));
        }
        self.outside(from, name, addresses)
    }

    /// The same for what comes from without the host's own TCP.
    pub(super) fn outside(&self, from: &Host, name: &str, addresses: u16) -> Vec<SocketAddr> {
        let Some((host, _)) = self.world.destination(name) else { return Vec::new() };
        let Some(host) = self.world.host(host) else { return Vec::new() };
        let shared = host.networks.iter().find(|network| from.networks.contains(network));
        let Some(network) = shared.or(host.networks.first()) else { return Vec::new() };
        let direct = host
            .nat
            .iter()
            .any(|nat| nat.name.as_deref() == Some(name) && nat.kind == NatKind::DirectRouting);
        let mut own =
            if direct { vec![self.shared_address(host, network)] } else { self.addresses(host, network) };
        own.truncate(addresses.into());
        self.each_port(name, &own)
    }

    /// All ports of what is named, each at all of these addresses.
    fn each_port(&self, name: &str, addresses: &[IpAddr]) -> Vec<SocketAddr> {
        let Some((_, port)) = self.world.destination(name) else { return Vec::new() };
        let ports =
            self.world.servers.iter().find(|server| server.name == name).map_or(1, |server| server.ports);
        let ports = (0..ports).filter_map(|next| port.checked_add(next));
        ports.flat_map(|port| addresses.iter().map(move |address| SocketAddr::new(*address, port))).collect()
    }

    /// So many of a host's own: 127.0.0.1 and those behind it, or the one that IPv6 has.
    fn loopback(&self, addresses: u16) -> Vec<IpAddr> {
        match self.world.family {
            Family::Ipv4 => {
                let last = u8::try_from(addresses).unwrap_or(u8::MAX).min(254);
                (1..=last).map(|last| Ipv4Addr::new(127, 0, 0, last).into()).collect()
            }
            Family::Ipv6 => vec![Ipv6Addr::LOCALHOST.into()],
        }
    }

    /// The addresses that a client on `from` may bind to, to reach these destinations: so many on a network, and so
    /// many of loopback if one is on its own host.
    pub(super) fn sources(&self, from: &Host, to: &[SocketAddr], addresses: u16) -> Vec<IpAddr> {
        let here = to.iter().any(|to| to.ip().is_loopback());
        let away = to.iter().map(SocketAddr::ip).find(|to| !to.is_loopback());
        let towards = from.networks.iter().find(|network| away.is_some_and(|to| self.is_on(to, network)));
        let network = towards.or(from.networks.first()).filter(|_| away.is_some());
        let away = network.map_or_else(Vec::new, |network| self.addresses(from, network));
        let here = if here { self.loopback(addresses) } else { Vec::new() };
        away.into_iter().take(addresses.into()).chain(here).collect()
    }

    fn is_on(&self, address: IpAddr, network: &str) -> bool {
        let number = u16::from(self.number(network));
        match address {
            IpAddr::V4(address) => u16::from(address.octets()[1]) == number,
            IpAddr::V6(address) => address.segments()[1] == number,
        }
    }

    /// Over which neighbour a host reaches a network that it is not on.
    fn way(&self, from: &Host, network: &str) -> Option<IpAddr> {
        // Breadth first over hosts; what is remembered is the first hop.
        let mut seen: BTreeMap<&str, Option<IpAddr>> = BTreeMap::new();
        let mut queue = VecDeque::from([(from, None)]);
        seen.insert(&from.name, None);
        while let Some((at, first)) = queue.pop_front() {
            if first.is_some() && at.networks.iter().any(|name| name == network) {
                return first;
            }
            if first.is_some() && at.networks.len() < 2 {
                continue;
            }
            for via in &at.networks {
                for next in self.members(via) {
                    if seen.contains_key(next.name.as_str()) {
                        continue;
                    }
                    let hop = first.or_else(|| self.address(next, via));
                    seen.insert(&next.name, hop);
                    queue.push_back((next, hop));
                }
            }
        }
        None
    }

    /// How a host is set up, once its links are there.
    pub(super) fn setup(&self, host: &Host) -> Setup {
        let mut batch = String::from("link set lo up\n");
        let mut settings = Vec::new();
        let mut rules = String::new();
        // Nobody else has these addresses: IPv6 need not ask before it uses them.
        let (length, how) = match self.world.family {
            Family::Ipv4 => (16, ""),
            Family::Ipv6 => (32, " nodad"),
        };
        // Writing to a string does not fail.
        for network in &host.networks {
            let interface = self.interface(network);
            if self.world.family == Family::Ipv6 {
                let _ = writeln!(batch, "link set dev {interface} address {}", self.station(host, network));
            }
            for address in self.addresses(host, network) {
                let _ = writeln!(batch, "addr add {address}/{length} dev {interface}{how}");
            }
            let _ = writeln!(batch, "link set dev {interface} up");
            self.neighbours(host, network, &mut batch);
        }
        for network in &self.names {
            if !host.networks.iter().any(|own| own == network)
                && let Some(way) = self.way(host, network)
            {
                let _ = writeln!(batch, "route add {} via {way}", self.range(network));
            }
        }
        let mut forwards = host.networks.len() > 1 || !host.nat.is_empty();
        for prober in &self.world.hosts {
            if !self.world.probes.iter().any(|probe| probe.host == prober.name) {
                continue;
            }
            let Some(network) = prober.networks.first() else { continue };
            if prober.name == host.name {
                forwards = true;
            } else if host.networks.contains(network)
                && let Some(way) = self.address(prober, network)
            {
                let _ = writeln!(batch, "route add {} via {way}", self.played(prober));
            }
        }
        if forwards {
            settings.push(match self.world.family {
                Family::Ipv4 => ("net.ipv4.ip_forward".to_owned(), "1".to_owned()),
                Family::Ipv6 => ("net.ipv6.conf.all.forwarding".to_owned(), "1".to_owned()),
            });
            settings.push(("net.ipv4.conf.all.send_redirects".to_owned(), "0".to_owned()));
        }
        for interface in ["all", "default"] {
            settings.push((format!("net.ipv4.conf.{interface}.rp_filter"), "0".to_owned()));
        }
        if self.world.family == Family::Ipv6 {
            // A balancer that answers pass by would tell its clients to do without it.
            settings.extend(host.networks.iter().map(|network| {
                let interface = self.interface(network);
                (format!("net/ipv6/conf/{interface}/accept_redirects"), "0".to_owned())
            }));
        }
        self.shared_addresses(host, &mut batch, &mut settings);
        self.translation(host, &mut rules);
        Setup { batch, settings, rules: (!rules.is_empty()).then(|| self.nat_table(&rules)) }
    }

    /// What a host's interface is called on the link.
    fn station(&self, host: &Host, network: &str) -> String {
        // The second bit: given out by nobody but us.
        format!("02:00:00:00:{:02x}:{:02x}", self.number(network), self.host_number(host))
    }

    /// With IPv6 hosts know their neighbours from the start: while a link is young, a first question goes unanswered
    /// now and then, and is asked again after a second only.
    fn neighbours(&self, host: &Host, network: &str, batch: &mut String) {
        if self.world.family != Family::Ipv6 {
            return;
        }
        let interface = self.interface(network);
        for other in self.members(network).filter(|other| other.name != host.name) {
            let station = self.station(other, network);
            for address in self.addresses(other, network) {
                // Writing to a string does not fail.
                let _ =
                    writeln!(batch, "neigh replace {address} lladdr {station} dev {interface} nud permanent");
            }
        }
    }

    /// Direct routing: the servers have the address on `lo` and keep silent about it; the balancer sends what comes
    /// for it to one of them, and the others know that it is the way.
    fn shared_addresses(&self, host: &Host, batch: &mut String, settings: &mut Vec<(String, String)>) {
        for balancer in &self.world.hosts {
            for nat in balancer.nat.iter().filter(|nat| nat.kind == NatKind::DirectRouting) {
                let Some(network) = balancer.networks.first() else { continue };
                let shared = self.shared_address(balancer, network);
                let behind: Vec<&Host> = nat.to.iter().filter_map(|to| self.host_of(to)).collect();
                if behind.iter().any(|server| server.name == host.name) {
                    let length = if shared.is_ipv4() { 32 } else { 128 };
                    let _ = writeln!(batch, "addr add {shared}/{length} dev lo");
                    settings.push(("net.ipv4.conf.all.arp_ignore".to_owned(), "1".to_owned()));
                    settings.push(("net.ipv4.conf.all.arp_announce".to_owned(), "2".to_owned()));
                } else if host.name == balancer.name {
                    let ways = behind.iter().filter_map(|server| {
                        let on = server.networks.iter().find(|name| balancer.networks.contains(name))?;
                        Some(format!(" nexthop via {}", self.address(server, on)?))
                    });
                    let _ = writeln!(batch, "route add {shared}{}", ways.collect::<String>());
                    // By addresses and ports: a connection stays with its server.
                    let family = if shared.is_ipv4() { "ipv4" } else { "ipv6" };
                    settings.push((format!("net.{family}.fib_multipath_hash_policy"), "1".to_owned()));
                } else if let Some(way) = self.address(balancer, network)
                    && host.networks.contains(network)
                {
                    let _ = writeln!(batch, "route add {shared} via {way}");
                }
            }
        }
    }

    fn host_of(&self, server: &str) -> Option<&'a Host> {
        let server = self.world.servers.iter().find(|known| known.name == server)?;
        self.world.host(&server.host)
    }

    /// Source and destination translation, as lines of chains.
    fn translation(&self, host: &Host, rules: &mut String) {
        let ip = self.nft_family();
        for nat in &host.nat {
            if matches!(nat.kind, NatKind::Dnat | NatKind::Full)
                && let Some(port) = nat.port
            {
                let servers: Vec<String> = nat
                    .to
                    .iter()
                    .filter_map(|to| self.destinations(host, to, 1).first().copied())
                    .enumerate()
                    .map(|(place, to)| format!("{place} : {} . {}", to.ip(), to.port()))
                    .collect();
                let _ = writeln!(
                    rules,
                    "add rule {ip} lab before tcp dport {port} fib daddr type local dnat {ip} to numgen inc mod {} map {{ {} }}",
                    servers.len(),
                    servers.join(", ")
                );
            }
            if matches!(nat.kind, NatKind::Snat | NatKind::Full)
                && let Some(out) = &nat.out
                && let Some(address) = self.address(host, out)
            {
                let ports = nat.ports.map_or_else(String::new, |(first, last)| format!(":{first}-{last}"));
                // Brackets only where ports follow.
                let address = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
                let interface = self.interface(out);
                // Not the host's own connections.
                let _ = writeln!(
                    rules,
                    "add rule {ip} lab after oifname \"{interface}\" meta l4proto tcp fib saddr type != local snat {ip} to {address}{ports}"
                );
            }
        }
    }

    /// What nft calls the family.
    const fn nft_family(&self) -> &'static str {
        match self.world.family {
            Family::Ipv4 => "ip",
            Family::Ipv6 => "ip6",
        }
    }

    fn nat_table(&self, rules: &str) -> String {
        let ip = self.nft_family();
        format!(
            "add table {ip} lab\n\
             add chain {ip} lab before {{ type nat hook prerouting priority dstnat; }}\n\
             add chain {ip} lab after {{ type nat hook postrouting priority srcnat; }}\n\
             {rules}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use world::Scenario;

    fn world(hosts: &str) -> World {
        let text = format!("name = \"n\"\ntitle = \"t\"\n{hosts}");
        let scenario = Scenario::parse(&text).unwrap_or_else(|error| panic!("{error}"));
        scenario.variants[0].world.clone()
    }

    const ROUTED: &str = r#"
        [[host]]
        name = "client"
        networks = ["outside"]
        addresses = 2
        [[host]]
        name = "router"
        networks = ["outside", "inside"]
        [[host.nat]]
        kind = "snat"
        out = "inside"
        ports = [40001, 40002]
        [[host.nat]]
        name = "vip"
        kind = "dnat"
        port = 80
        to = ["app"]
        [[host]]
        name = "app"
        networks = ["inside"]
        [[server]]
        name = "app-server"
        host = "app"
        port = 8080
        ports = 2
        close = { when = "peer" }
    "#;

    #[test]
    fn hosts_reach_networks_they_are_not_on_through_those_on_several() {
        let world = world(&ROUTED.replace("to = [\"app\"]", "to = [\"app-server\"]"));
        let network = Network::new(&world);
        let setup = |name: &str| network.setup(world.host(name).unwrap());
        assert_eq!(
            setup("client").batch,
            "link set lo up\naddr add 10.1.1.1/16 dev outside\naddr add 10.1.1.2/16 dev outside\nlink set dev \
             outside up\nroute add 10.2.0.0/16 via 10.1.2.1\n"
        );
        assert!(setup("app").batch.ends_with("route add 10.1.0.0/16 via 10.2.2.1\n"));
        let router = setup("router");
        assert!(router.settings.contains(&("net.ipv4.ip_forward".to_owned(), "1".to_owned())));
        let rules = router.rules.unwrap();
        assert!(rules.contains("snat ip to 10.2.2.1:40001-40002"), "{rules}");
        assert!(rules.contains("map { 0 : 10.2.3.1 . 8080 }"), "{rules}");
    }

    #[test]
    fn a_world_of_ipv6_has_no_other_addresses() {
        let text = ROUTED.replace("to = [\"app\"]", "to = [\"app-server\"]");
        let world = world(&format!("family = \"ipv6\"\n{text}"));
        let network = Network::new(&world);
        let from = world.host("client").unwrap();
        assert_eq!(
            network.setup(from).batch,
            "link set lo up\nlink set dev outside address 02:00:00:00:01:01\naddr add fd10:1::1:1/32 dev outside \
             nodad\naddr add fd10:1::1:2/32 dev outside nodad\nlink set dev outside up\nneigh replace fd10:1::2:1 \
             lladdr 02:00:00:00:01:02 dev outside nud permanent\nroute add fd10:2::/32 via fd10:1::2:1\n"
        );
        let router = network.setup(world.host("router").unwrap());
        assert!(router.settings.contains(&("net.ipv6.conf.all.forwarding".to_owned(), "1".to_owned())));
        let rules = router.rules.unwrap();
        assert!(rules.contains("snat ip6 to [fd10:2::2:1]:40001-40002"), "{rules}");
        assert!(rules.contains("map { 0 : fd10:2::3:1 . 8080 }"), "{rules}");
        let to = network.destinations(from, "app-server", 1);
        assert_eq!(to[0].to_string(), "[fd10:2::3:1]:8080");
        assert_eq!(network.sources(from, &network.destinations(from, "vip", 1), 9).len(), 2);
        assert_eq!(network.played(from).to_string(), "fd10:1::fb:1");
    }

    #[test]
    fn an_interface_has_a_name_that_means_nothing_else() {
        let text = ROUTED.replace("to = [\"app\"]", "to = [\"app-server\"]");
        let text = text.replacen(
            "networks = [\"outside\"]",
            "networks = [\"outside\", \"any\", \"net2\", \"7\", \"probe\", \"netns\", \"-x\"]",
            1,
        );
        let world = world(&text);
        let network = Network::new(&world);
        let shown = |name| network.interface(name);
        assert_eq!(
            ["outside", "any", "net2", "7", "probe", "netns", "-x"].map(shown),
            ["outside", "net2", "net3", "net4", "net5", "netns", "net7"]
        );
    }

    #[test]
    fn names_lead_to_addresses_that_can_be_reached() {
        let world = world(&ROUTED.replace("to = [\"app\"]", "to = [\"app-server\"]"));
        let network = Network::new(&world);
        let from = world.host("client").unwrap();
        let shown = |name: &str| -> Vec<String> {
            network.destinations(from, name, 1).iter().map(ToString::to_string).collect()
        };
        assert_eq!(shown("app-server"), ["10.2.3.1:8080", "10.2.3.1:8081"]);
        assert_eq!(shown("vip"), ["10.1.2.1:80"]);
        assert_eq!(shown("nobody"), [""; 0]);
        let sources = network.sources(from, &network.destinations(from, "vip", 1), 9);
        assert_eq!(sources.len(), 2);
    }

    #[test]
    fn who_is_on_the_same_host_is_reached_by_loopback() {
        let text = ROUTED.replace("to = [\"app\"]", "to = [\"app-server\"]");
        for (family, expected) in [
            ("ipv4", vec!["127.0.0.1:8080", "127.0.0.2:8080", "127.0.0.1:8081", "127.0.0.2:8081"]),
            ("ipv6", vec!["[::1]:8080", "[::1]:8081"]),
        ] {
            let world = world(&format!("family = \"{family}\"\n{text}"));
            let network = Network::new(&world);
            let app = world.host("app").unwrap();
            let to = network.destinations(app, "app-server", 2);
            assert_eq!(to.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
            let sources = network.sources(app, &to, 1);
            assert!(sources.len() == 1 && sources[0].is_loopback(), "{sources:?}");
            let away = network.destinations(app, "vip", 1);
            assert_eq!(network.sources(app, &[to, away].concat(), 1).len(), 2);
            assert!(!network.outside(app, "app-server", 1)[0].ip().is_loopback());
        }
    }
}
