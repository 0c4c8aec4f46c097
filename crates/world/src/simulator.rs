//! Runs a world in virtual time.
//!
//! Endpoints are those of [`tcp::machine`], run segment by segment; hosts choose ports, keep TIME-WAIT and count as
//! Linux does. All chance comes from the world's seed, and everything has an order: the same world gives the same
//! run, on any machine.

mod absorbed;
mod accounting;
mod acks;
mod agenda;
mod clients;
mod conversation;
mod counters;
mod delivery;
mod histogram;
mod host;
mod linger;
mod lives;
mod measuring;
mod minis;
mod nat;
mod network;
mod ports;
mod presence;
mod probes;
mod processors;
mod proxies;
mod random;
mod rehearsal;
mod round_trip;
pub(crate) mod seen;
mod servers;
pub(crate) mod settings;
mod socket;
mod steps;
mod table;
mod tap;
mod transport;

use crate::scenario::{Bind, World};
use crate::{Measures, Met};
use agenda::{Agenda, Waking, What};
use clients::Running;
use counters::Counter;
use evidence::{Case, Settings};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use host::{Host, Listener, Place, Tuple};
use minis::Minis;
use nat::Tracker;
use network::{LOOPBACK, Network, Packet};
pub(crate) use ports::Walk;
use ports::{ANY, Ports};
use processors::{Demand, Processors};
use proxies::Relaying;
use random::{Random, mix};
use servers::ms;
use settings::Tuned;
use socket::{Owner, SocketRef, Sockets};
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use table::Table;
use tap::Tap;
use tcp::machine::Nanos;
use tcp::{Seq, State};
use transport::Notice;

/// The backlog of nginx and HAProxy, far beyond what waits here.
const PROXY_BACKLOG: u32 = 511;

/// How often peaks are looked at.
const LOOK_EVERY_NS: Nanos = 100_000_000;

/// What a run gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The numbers, under the names of [`crate::measure`].
    pub measures: Measures,
    /// What each probe met.
    pub probes: BTreeMap<String, Met>,
    /// What `doctor` would have seen at its end, by host: those that run Linux.
    pub cases: BTreeMap<String, Case>,
    /// What proxies' connections to their upstreams took, by proxy.
    pub upstream: BTreeMap<String, Upstream>,
    /// The addresses of each host.
    pub addresses: BTreeMap<String, Vec<IpAddr>>,
    /// Captures (pcap) at each host, if it was watched.
    pub captures: BTreeMap<String, Vec<u8>>,
    /// When it ended, milliseconds from its start.
    pub end_ms: u64,
    /// Lives that were played from a template.
    pub played: u64,
    /// A hash over every packet, and every life that was played, with their times: equal runs have equal ones.
    pub trace: u64,
}

/// What a proxy's connections to its upstream took. No program shows that: it is none of the measures.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Upstream {
    /// How many there were.
    pub connections: u64,
    /// How long connect() took until one was open, microseconds: half of them at most so long,
    pub p50_us: f64,
    /// and 99 in 100.
    pub p99_us: f64,
    /// Processor time of connect(), microseconds, all calls together.
    pub cpu_us: f64,
}

/// Runs a world to its end.
///
/// Connections that nothing disturbs are played from a rehearsal of the first; the others run segment by segment. Where
/// one that was played was disturbed after all, all of them do, from the beginning.
pub fn simulate(world: &World) -> Run {
    let mut simulation = Simulation::new(world);
    simulation.run();
    if simulation.disturbed {
        return simulate_in_full(world);
    }
    simulation.result()
}

/// The names of the counters that it gives.
pub fn counters() -> impl Iterator<Item = &'static str> {
    Counter::NAMES.iter().copied()
}

/// The same with every connection segment by segment: slower, and with the same measures.
pub fn simulate_in_full(world: &World) -> Run {
    let mut simulation = Simulation::new(world);
    simulation.rehearses = true;
    simulation.run();
    simulation.result()
}

/// The same, looked at from time to time: how each host and each client did until then. No cases are made, and what
/// would only go on as before is not played. None: more than so many events happen in it, each a microsecond's work or
/// so.
///
/// There is a first sample at the beginning and a last one at the end.
pub fn simulate_sampled(world: &World, every_ms: u64, most_events: u64) -> Option<(Run, Vec<Sample>)> {
    let attempt = |in_full, most_events| {
        let mut simulation = Simulation::new(world);
        simulation.rehearses = in_full;
        simulation.sampling = Some(Sampling { every_ms: every_ms.max(1), samples: Vec::new() });
        simulation.events_left = most_events;
        simulation.agenda.add(0, What::Sample);
        simulation.run();
        simulation
    };
    let mut simulation = attempt(false, most_events);
    if simulation.disturbed {
        simulation = attempt(true, simulation.events_left);
    }
    if simulation.events_left == 0 {
        return None;
    }
    simulation.sample();
    let samples = simulation.sampling.as_ref().map(|sampling| sampling.samples.clone());
    Some((simulation.result(), samples.unwrap_or_default()))
}

/// The same with captures at each host, read into its case: rules that need packets can judge it.
///
/// Connections run segment by segment for as long as packets are kept; a gap in the cases says where that ended.
pub fn simulate_watched(world: &World) -> Run {
    let mut simulation = Simulation::new(world);
    simulation.rehearses = true;
    simulation.tap = Some(Tap::new(world.family, world.hosts.len()));
    simulation.run();
    simulation.result()
}

/// The calls that open a connection: where one of these fails there was none, where another does it was lost.
pub(crate) const OPENING: [&str; 2] = ["connect", "bind"];

/// How a world was at one time of its run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// When, milliseconds from the start.
    pub at_ms: u64,
    /// Each host, in the order of the world.
    pub hosts: Vec<HostSample>,
    /// Connects (and binds before them) that failed until then, of all clients and proxies.
    pub failed: u64,
    /// Calls that failed later: connections that were lost.
    pub lost: u64,
}

/// A host at that time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostSample {
    /// Its sockets in TIME-WAIT.
    pub time_wait: u64,
    /// The fewest ports that are left to any source address for any destination; none while it has not connected.
    pub ports_left: Option<u32>,
}

/// Samples that are being taken.
struct Sampling {
    every_ms: u64,
    samples: Vec<Sample>,
}

struct Simulation<'w> {
    world: &'w World,
    now: Nanos,
    agenda: Agenda,
    random: Random,
    network: Network,
    processors: Processors,
    hosts: Vec<Host>,
    /// By host: its connection tracking.
    trackers: Vec<Tracker>,
    clients: Vec<Running>,
    proxies: Vec<Relaying>,
    client_hosts: Vec<usize>,
    /// By client: what its connections take of the machine.
    demands: Vec<Demand>,
    /// By client: the host and the place each of its `to` leads to.
    destinations: Vec<Vec<(usize, Place)>>,
    /// By number in [`Listener::server`]: who listens, and where.
    listening: Vec<Owner>,
    server_failures: BTreeMap<String, u64>,
    /// Lives that are played from templates.
    classes: Vec<lives::Class>,
    /// It runs one life, to see how it goes; or all of them in full.
    rehearses: bool,
    /// Something has met a life that is played: the run is worth nothing.
    disturbed: bool,
    /// Clients name their ports: whoever has one must be found in the table.
    fixed_ports: bool,
    /// When something is done to the world next.
    next_step: Option<Nanos>,
    tap: Option<Tap>,
    sampling: Option<Sampling>,
    calm: absorbed::Calm,
    /// So many events more happen at most.
    events_left: u64,
    out: Vec<Packet>,
    played: u64,
    trace: u64,
    /// Nothing may begin any more; the run ends then.
    ends: Option<Nanos>,
}

impl<'w> Simulation<'w> {
    fn new(world: &'w World) -> Self {
        let network = Network::new(world);
        let hosts = world.hosts.iter().enumerate().map(|(number, host)| {
            let tuned = Tuned::new(world, host, &Settings::default());
            let binds = |bind| matches!(bind, Bind::Address | Bind::Port);
            let exclusive = world.clients.iter().any(|client| client.host == host.name && binds(client.bind));
            Host {
                addresses: network.addresses(number),
                ports: Ports::new(tuned.choice, tuned.range, &tuned.reserved, exclusive),
                tuned,
                changed: Settings::default(),
                sockets: Sockets::default(),
                minis: Minis::default(),
                table: Table::default(),
                ending: Vec::new(),
                aging: VecDeque::new(),
                listeners: BTreeMap::new(),
                orphans: 0,
                states: [0; State::COUNT],
                peaks: [0; State::COUNT],
                counters: [0; Counter::COUNT],
                proven: HashMap::with_hasher(FixedState::default()),
                record: None,
            }
        });
        let hosts = hosts.collect();
        let number = |name: &str| world.hosts.iter().position(|host| host.name == name).unwrap_or(0);
        let client_hosts: Vec<usize> = world.clients.iter().map(|client| number(&client.host)).collect();
        let mut simulation = Self {
            world,
            now: 0,
            agenda: Agenda::default(),
            random: Random::new(world.seed),
            network,
            processors: Processors::new(world.costs.processors),
            hosts,
            trackers: world.hosts.iter().map(|_| Tracker::default()).collect(),
            clients: world.clients.iter().map(|_| Running::default()).collect(),
            client_hosts,
            demands: Vec::new(),
            proxies: Vec::new(),
            destinations: Vec::new(),
            listening: Vec::new(),
            server_failures: BTreeMap::new(),
            classes: Vec::new(),
            rehearses: false,
            disturbed: false,
            fixed_ports: world.clients.iter().any(|client| client.bind == Bind::Port),
            next_step: world.steps.iter().map(|step| ms(step.at_ms)).min(),
            tap: None,
            sampling: None,
            calm: absorbed::Calm::default(),
            events_left: u64::MAX,
            out: Vec::new(),
            played: 0,
            trace: 0,
            ends: None,
        };
        for server in 0..world.servers.len() {
            simulation.listening.push(Owner::Server(server));
            simulation.listen(server);
        }
        for (proxy, config) in world.proxies.iter().enumerate() {
            let host = number(&config.host);
            let places = config.upstream.iter().flat_map(|name| simulation.places(host, name, 1));
            let relaying = Relaying::new(config, host, places.collect());
            simulation.proxies.push(relaying);
            let number = simulation.listening.len();
            simulation.listening.push(Owner::Front(proxy));
            simulation.listen_at(host, config.port, number, PROXY_BACKLOG);
        }
        let destinations = world.clients.iter().zip(&simulation.client_hosts);
        let destinations = destinations
            .map(|(client, from)| {
                let places = |to: &String| simulation.places(*from, to, client.destinations);
                client.to.iter().flat_map(places).collect::<Vec<_>>()
            })
            .collect();
        simulation.destinations = destinations;
        simulation.demands = (0..world.clients.len()).map(|client| simulation.demand(client)).collect();
        simulation
    }

    /// Where a name leads from a host: every port of a server, on so many addresses of its host.
    fn places(&self, from: usize, name: &str, addresses: u16) -> Vec<(usize, Place)> {
        let Some((host, port)) = self.world.destination(name) else { return Vec::new() };
        let Some(to) = self.world.hosts.iter().position(|at| at.name == host) else { return Vec::new() };
        let ports =
            self.world.servers.iter().find(|server| server.name == name).map_or(1, |server| server.ports);
        let own = &self.hosts[from].addresses;
        let shared = self.hosts[to].addresses.iter().find(|at| own.iter().any(|own| own.0 == at.0));
        let Some((_, first)) = shared.or_else(|| self.hosts[to].addresses.first()) else { return Vec::new() };
        let first = if from == to { LOOPBACK } else { *first };
        let addresses = (0..u32::from(addresses)).map(move |more| first + more);
        let places = addresses.flat_map(|address| {
            (0..ports).map(move |more| (to, Place { address, port: port.saturating_add(more) }))
        });
        places.collect()
    }

    /// bind() and listen() of a server, on all of its ports.
    fn listen(&mut self, server: usize) {
        let config = &self.world.servers[server];
        let Some(number) = self.world.hosts.iter().position(|host| host.name == config.host) else { return };
        let backlog = u64::from(config.backlog).min(self.hosts[number].tuned.somaxconn);
        let backlog = u32::try_from(backlog).unwrap_or(u32::MAX);
        for port in config.port..=config.port.saturating_add(config.ports - 1) {
            self.listen_at(number, port, server, backlog);
        }
    }

    fn listen_at(&mut self, host: usize, port: u16, server: usize, backlog: u32) {
        let host = &mut self.hosts[host];
        host.listeners.insert(port, Listener { server, queued: 0, backlog });
        host.ports.hold(ANY, port, true);
    }

    fn run(&mut self) {
        for (number, step) in self.world.steps.iter().enumerate() {
            self.agenda.add(ms(step.at_ms), What::Step(number));
        }
        for client in 0..self.clients.len() {
            self.plan(client, 0);
        }
        self.agenda.add(LOOK_EVERY_NS, What::Look);
        let limit = ms(self.world.limit_ms);
        loop {
            if self.ends.is_none() && (0..self.clients.len()).all(|client| self.is_done(client)) {
                let steps = self.world.steps.iter().map(|step| ms(step.at_ms)).max().unwrap_or(0);
                self.ends = Some(self.now.max(steps).saturating_add(ms(self.world.settle_ms)).min(limit));
            }
            let end = self.ends.unwrap_or(limit);
            let Some((at, what)) = self.agenda.take_until(end) else {
                self.now = end;
                self.settle_lives(end);
                return;
            };
            self.events_left = self.events_left.saturating_sub(self.work(what));
            if self.events_left == 0 {
                return;
            }
            self.now = at;
            self.settle_lives(at);
            self.happen(what);
            if self.disturbed {
                return;
            }
            if matches!(what, What::Sample) && self.is_absorbed() {
                self.absorb();
                return;
            }
        }
    }

    /// How much work an event is, in events of a small world: each looks at all classes of lives, a look at all lives.
    fn work(&self, what: What) -> u64 {
        const CLASSES: u64 = 16;
        const LIVES: u64 = 64;
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        match what {
            What::Look | What::Sample => {
                1 + self.lives_going_on().saturating_mul(count(self.hosts.len())) / LIVES
            }
            _ => 1 + count(self.classes.len()) / CLASSES,
        }
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Arrive { host, packet } => {
                if let Some(packet) = self.agenda.receive(packet) {
                    self.arrive(host, &packet);
                }
            }
            What::GoOn { host, incoming, packet } => {
                if let Some(packet) = self.agenda.receive(packet) {
                    self.go_on(host, incoming, packet);
                }
            }
            What::Timeout(at) => self.timeout(at),
            What::Ending { host, queue } => self.ending(host, queue),
            What::Wake(at, waking) => self.process(at, waking),
            What::Done { client } => self.turn_ends(client),
            What::Next { client } => self.begin(client),
            What::Step(step) => {
                let world = self.world;
                self.step(&world.steps[step]);
            }
            What::Look => {
                self.look();
                self.agenda.add(self.now + LOOK_EVERY_NS, What::Look);
            }
            What::Sample => {
                self.sample();
                if let Some(sampling) = &self.sampling {
                    self.agenda.add(self.now.saturating_add(ms(sampling.every_ms)), What::Sample);
                }
            }
        }
    }

    /// A process runs.
    fn process(&mut self, at: SocketRef, waking: Waking) {
        let Some(socket) = self.hosts[at.host].socket(at.slot) else { return };
        let (owner, talk) = (socket.owner, socket.talk);
        let world = self.world;
        if waking == Waking::DelayedAck {
            self.delayed_ack(at);
            return;
        }
        if waking == Waking::Lingered {
            if talk.lingers {
                self.linger_ends(at, owner, talk.done);
            }
            return;
        }
        let close = match owner {
            Owner::Client(client) => world.clients[client].close,
            Owner::Server(server) => world.servers[server].close,
            Owner::Front(proxy) => {
                match waking {
                    Waking::Read => self.front_reads(at, proxy),
                    Waking::Close => self.front_closes(at, proxy),
                    _ => {}
                }
                return;
            }
            Owner::Back(proxy) => {
                match waking {
                    Waking::Connect => self.send_syn(at),
                    Waking::Ask => self.back_asks(at),
                    Waking::Read => self.back_reads(at, proxy),
                    Waking::Idle => self.back_idle(at, proxy),
                    _ => {}
                }
                return;
            }
        };
        match (waking, owner) {
            (Waking::Connect, _) => self.send_syn(at),
            (Waking::Read, Owner::Client(client)) => self.client_reads(at, client),
            (Waking::Read, Owner::Server(server)) => self.server_reads(at, server),
            (Waking::Ask, Owner::Client(client)) => self.ask(at, client),
            (Waking::Keep, Owner::Client(client)) => self.keep(at, client),
            (Waking::Answer, Owner::Server(server)) => self.server_answers(at, server),
            (Waking::Close, Owner::Client(client)) => {
                self.close(at, close);
                self.finish_if_closed(at, client, talk.done);
            }
            (Waking::Close, Owner::Server(_)) => self.close(at, close),
            (Waking::Idle, Owner::Client(client)) => {
                if let Some(idle) = world.clients[client].pool_idle_ms {
                    self.pool_idle(at, client, idle);
                } else {
                    self.idle(at, close);
                    self.finish_if_closed(at, client, talk.done);
                }
            }
            (Waking::Idle, _) => self.idle(at, close),
            (Waking::Deadline, Owner::Client(client)) => self.deadline(at, client),
            (Waking::Abort, _) if !talk.closed => {
                self.shut(at, crate::scenario::How::Reset);
                if let Owner::Client(client) = owner {
                    self.finish_if_closed(at, client, talk.done);
                }
            }
            (Waking::Keepalive, Owner::Server(server)) => {
                if let Some(keepalive) = world.servers[server].keepalive_s {
                    self.keepalive(at, keepalive);
                }
            }
            _ => {}
        }
    }

    /// The kernel tells a socket's owner.
    fn notice(&mut self, at: SocketRef, notice: Notice) {
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        let owner = socket.owner;
        match notice {
            Notice::Connected => match owner {
                Owner::Client(client) => self.client_connected(at, client),
                Owner::Back(proxy) => self.back_connected(at, proxy),
                _ => {}
            },
            Notice::Accepted => self.accepted(at),
            Notice::Heard => self.wake(at),
            Notice::Ended => {
                socket.talk.eof = true;
                self.wake(at);
            }
            Notice::Broken(error) => match owner {
                Owner::Client(client) => self.client_broken(at, client, error),
                Owner::Front(proxy) => self.front_ends(at, proxy),
                Owner::Back(proxy) => self.back_broken(at, proxy, "recv", error),
                // A process that leaks does not look at errors either; its socket is gone for the kernel.
                Owner::Server(_) => self.shut(at, crate::scenario::How::Fin),
            },
        }
    }

    /// Adds a life to the hash of everything.
    fn trace_life(&mut self, syn: Nanos, tuple: Tuple, first: Seq) {
        let ports = u64::from(tuple.local.port) << 16 | u64::from(tuple.remote.port);
        self.played += 1;
        self.trace = mix(self.trace ^ syn ^ mix(ports << 32 | u64::from(first.number())));
    }

    /// Adds a packet to the hash of everything.
    fn note(&mut self, host: u64, packet: &Packet) {
        let segment = &packet.segment;
        let what = u64::from(segment.seq.number()) << 32 | u64::from(segment.ack.number());
        let where_from = u64::from(packet.source.port) << 16 | u64::from(packet.destination.port);
        let more = u64::from(segment.flags.bits()) << 48 | u64::from(segment.length) << 16 | host;
        self.trace = mix(self.trace ^ self.now ^ mix(what ^ mix(where_from ^ mix(more))));
    }
}
