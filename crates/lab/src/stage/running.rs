//! A variant while it runs.

use super::measures::{self, HostCase, Loads};
use super::network::{MAX_NETWORKS, Network};
use super::tap::{self, Tap};
use super::timeline::{self, Deed};
use super::{Ran, StageError, proxy};
use crate::host::{Host, HostError, Order, run};
use crate::peer;
use crate::sandbox;
use evidence::{Case, Gap};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use world::scenario::{Bind, Client, Family, Fault, Harm, Kernel, Server, Step, World};
use world::{Measures, Met};

/// The most hosts of a stage: each is a process with captures.
const MAX_HOSTS: usize = 64;

/// How often it is looked whether loads are done.
const LOOKS: Duration = Duration::from_millis(10);

/// What makes TUN and TAP devices.
const TUN: &str = "/dev/net/tun";

/// Is there where the kernel has IPv6.
const IPV6: &str = "/proc/self/net/if_inet6";

/// The largest capture that is read.
const MAX_CAPTURE: u64 = 256 << 20;

/// Why a world cannot be on a stage of this machine, if so.
pub(super) fn impossible(world: &World) -> Option<String> {
    for host in &world.hosts {
        if host.kernel != Kernel::Linux {
            return Some(format!("host {} has another kernel than this machine", host.name));
        }
        if host.time_wait_ms.is_some() {
            return Some(format!(
                "host {} has a TIME-WAIT of its own length: no kernel setting does that",
                host.name
            ));
        }
    }
    if world.family == Family::Ipv6 && !Path::new(IPV6).exists() {
        return Some(format!("this kernel has no IPv6: there is no {IPV6}"));
    }
    if let Some(client) = world.clients.iter().find(|client| client.ports.is_some())
        && !peer::has_own_ports()
    {
        return Some(format!(
            "this kernel has no IP_LOCAL_PORT_RANGE, which the ports of client {} need: Linux 6.3 and later have it",
            client.name
        ));
    }
    let needs_tun = !world.probes.is_empty() || world.hosts.iter().any(|host| is_hop(world, host));
    let tun = std::fs::OpenOptions::new().read(true).write(true).open(TUN);
    if let (true, Err(error)) = (needs_tun, tun) {
        return Some(format!("{TUN}: {error}: crafted segments, clocks of their own and delays need it"));
    }
    let missing = ["ip", "tcpdump"].into_iter().chain(world.proxies.iter().map(proxy::program)).chain(
        (world.hosts.iter().any(|host| !host.nat.is_empty())
            || world.faults.iter().any(|fault| fault.harm == Harm::Drop))
        .then_some("nft"),
    );
    let missing: Vec<&str> = missing.filter(|program| sandbox::program(program).is_none()).collect();
    if !missing.is_empty() {
        return Some(format!("not installed: {}", missing.join(", ")));
    }
    None
}

/// True for a host whose links its own process carries: what passes is changed, or held back.
fn is_hop(world: &World, host: &world::scenario::Host) -> bool {
    let delays = |fault: &Fault| fault.host == host.name && matches!(fault.harm, Harm::Delay(_));
    host.clock_ahead_ms != 0 || world.faults.iter().any(delays)
}

/// Hosts, linked and serving; nobody connects yet.
pub(super) struct Running<'a> {
    pub(super) world: &'a World,
    pub(super) network: Network<'a>,
    folder: PathBuf,
    /// In the order of the world.
    pub(super) hosts: Vec<Host>,
    /// Servers that run, by name: the place of their host, and their number there.
    servers: BTreeMap<String, (usize, u32)>,
    /// Proxies that run.
    proxies: BTreeMap<&'a str, (usize, u32)>,
    /// Captures, with the place of their host.
    taps: Vec<(usize, Tap)>,
    /// Faults that go on, by their place in the world.
    faults: BTreeSet<usize>,
    /// Loads that run, by the place of their client.
    loads: BTreeMap<usize, (usize, u32)>,
    results: Loads,
    pub(super) measures: Measures,
    pub(super) probes: BTreeMap<String, Met>,
    pub(super) notes: Vec<String>,
}

impl<'a> Running<'a> {
    /// Sets everything up.
    pub(super) fn set_up(
        world: &'a World,
        folder: &Path,
        executable: &Path,
        arguments: &[&str],
    ) -> Result<Self, StageError> {
        let network = Network::new(world);
        if world.hosts.len() > MAX_HOSTS || network.names().len() > MAX_NETWORKS {
            let error = format!("a stage has at most {MAX_HOSTS} hosts and {MAX_NETWORKS} networks");
            return Err(StageError::Failed(error));
        }
        let hosts = world.hosts.iter().map(|host| Host::start(&host.name, executable, arguments));
        let mut running = Self {
            world,
            network,
            folder: folder.to_owned(),
            hosts: hosts.collect::<Result<_, _>>()?,
            servers: BTreeMap::new(),
            proxies: BTreeMap::new(),
            taps: Vec::new(),
            faults: BTreeSet::new(),
            loads: BTreeMap::new(),
            results: Loads::new(),
            measures: Measures::default(),
            probes: BTreeMap::new(),
            notes: Vec::new(),
        };
        running.link()?;
        for place in 0..world.hosts.len() {
            running.set_up_host(place)?;
        }
        for server in &world.servers {
            running.serve(server)?;
        }
        for place in 0..world.proxies.len() {
            running.start_proxy(place)?;
        }
        Ok(running)
    }

    pub(super) fn place(&self, host: &str) -> usize {
        self.world.hosts.iter().position(|known| known.name == host).unwrap_or(0)
    }

    /// Two hosts share a cable, more a bridge, which is the stage's own. A host on whose links something is changed or
    /// held back carries them itself.
    fn link(&mut self) -> Result<(), StageError> {
        let ip = |batch: &str| run("ip", &["-batch", "-"], batch).map(|_| ()).map_err(StageError::Failed);
        for (number, network) in self.network.names().to_vec().into_iter().enumerate() {
            let interface = self.network.interface(network);
            let members: Vec<usize> =
                self.network.members(network).map(|host| self.place(&host.name)).collect();
            let is_hop = |place: &usize| is_hop(self.world, &self.world.hosts[*place]);
            if let [one, other] = members[..]
                && !members.iter().any(is_hop)
            {
                let (one, other) = (self.hosts[one].pid(), self.hosts[other].pid());
                ip(&format!(
                    "link add name {interface} netns {one} type veth peer name {interface} netns {other}\n"
                ))?;
                continue;
            }
            ip(&format!("link add name bridge{number} type bridge\nlink set dev bridge{number} up\n"))?;
            for place in members {
                let pid = self.hosts[place].pid();
                // Pids are the stage's own and small.
                let port = format!("p{number}-{pid}");
                if is_hop(&place) {
                    let ahead_ms = self.world.hosts[place].clock_ahead_ms;
                    let (interface, port) = (interface.clone(), port.clone());
                    self.hosts[place].make(&Order::Hop { interface, port, ahead_ms })?;
                } else {
                    ip(&format!("link add name {port} type veth peer name {interface} netns {pid}\n"))?;
                }
                ip(&format!("link set dev {port} master bridge{number} up\n"))?;
            }
        }
        Ok(())
    }

    fn set_up_host(&mut self, place: usize) -> Result<(), StageError> {
        let host = &self.world.hosts[place];
        let setup = self.network.setup(host);
        let at = &mut self.hosts[place];
        at.make(&Order::Ip { batch: setup.batch })?;
        if let Some(rules) = setup.rules {
            at.make(&Order::Nft { script: rules })?;
        }
        let mut settings = setup.settings;
        if self.world.hosts.iter().any(|host| host.clock_ahead_ms != 0) {
            // Without the offset that the kernel adds for each connection: clocks differ by what they are told.
            settings.push(("net.ipv4.tcp_timestamps".to_owned(), "2".to_owned()));
        }
        for of in [&self.world.settings, &host.settings] {
            settings.extend(of.iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
        at.make(&Order::Set { settings })?;
        Ok(())
    }

    /// Starts a server; what keeps it from listening is a failure of the stage.
    pub(super) fn serve(&mut self, server: &Server) -> Result<(), HostError> {
        let place = self.place(&server.host);
        let any: IpAddr = match self.world.family {
            Family::Ipv4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::Ipv6 => Ipv6Addr::UNSPECIFIED.into(),
        };
        let listen = |next: u16| SocketAddr::new(any, server.port.saturating_add(next));
        let started = self.hosts[place].serve(peer::Server {
            listen: (0..server.ports).map(listen).collect(),
            backlog: server.backlog,
            accepts: server.accepts,
            workers: server.workers,
            reuse_address: server.reuse_address,
            keepalive_s: server.keepalive_s,
            answer: server.answer,
            close: server.close,
        })?;
        self.servers.insert(server.name.clone(), (place, started));
        Ok(())
    }

    fn start_proxy(&mut self, number: usize) -> Result<(), StageError> {
        let proxy = &self.world.proxies[number];
        let place = self.place(&proxy.host);
        let host = &self.world.hosts[place];
        let upstream: Vec<SocketAddr> =
            proxy.upstream.iter().flat_map(|name| self.network.destinations(host, name, 1)).collect();
        // `nginx -v` speaks on standard error.
        let version = run(proxy::program(proxy), &["-v"], "").map(|(_, errors)| errors).unwrap_or_default();
        let configured = proxy::configure(proxy, self.world.family, &upstream, &self.folder, &version);
        std::fs::write(self.folder.join(&configured.file), &configured.text)
            .map_err(StageError::io("the configuration of a proxy"))?;
        let id = self.hosts[place].begin(&Order::Start { program: configured.program })?;
        self.proxies.insert(&proxy.name, (place, id));
        Ok(())
    }

    /// Captures every link at both ends.
    fn tap(&mut self) -> Result<(), StageError> {
        for (place, host) in self.world.hosts.iter().enumerate() {
            for network in &host.networks {
                let interface = self.network.interface(network);
                let name = format!("{}-{interface}.pcap", host.name);
                let file = self.folder.join(&name);
                let program = tap::program(&interface, &file);
                let id = self.hosts[place].begin(&Order::Start { program })?;
                self.taps.push((place, Tap { id, file, name }));
            }
        }
        Ok(())
    }

    /// Plays it from the first deed to the last look, which starts and ends the captures. What runs goes on: it may be
    /// played again.
    pub(super) fn play(&mut self) -> Result<Played, StageError> {
        self.tap()?;
        let begun = AtomicBool::new(false);
        let over = AtomicBool::new(false);
        let namespaces: Vec<String> = self.hosts.iter().map(|host| format!("pid:{}", host.pid())).collect();
        let limit = Duration::from_millis(self.world.limit_ms.saturating_add(self.world.settle_ms));
        let options = kernel::Options {
            selection: kernel::Selection::These(namespaces.clone()),
            duration: limit.saturating_add(Duration::from_secs(60)),
            ..kernel::Options::default()
        };
        let slabs = measures::slabs();
        if slabs.is_empty() {
            self.notes
                .push("bytes.time_wait is not measured: the sizes of slabs are for root only".to_owned());
        }
        let (case, peaks) = std::thread::scope(|scope| {
            let look = scope.spawn(|| {
                kernel::look_while(&options, || {
                    begun.store(true, Ordering::Relaxed);
                    !over.load(Ordering::Relaxed)
                })
            });
            let peaks = scope.spawn(|| measures::peaks(&namespaces, &over));
            while !begun.load(Ordering::Relaxed) && !look.is_finished() {
                std::thread::sleep(Duration::from_millis(1));
            }
            let played = self.perform();
            over.store(true, Ordering::Relaxed);
            let case = look.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let peaks = peaks.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            played?;
            Ok::<_, StageError>((case?, peaks))
        })?;
        self.finish(case, &peaks, &slabs)
    }

    /// From the first deed until all clients are done and the world has settled.
    fn perform(&mut self) -> Result<(), StageError> {
        self.probe()?;
        let world = self.world;
        let limit = Duration::from_millis(world.limit_ms);
        let settle = Duration::from_millis(world.settle_ms);
        let mut deeds = timeline::deeds(world).into_iter().peekable();
        // nft waits while the kernel takes another namespace apart. What is wrong from the beginning is so when time begins,
        // or it would end too early for a load that begins late.
        while let Some((_, deed)) = deeds.next_if(|(at, deed)| *at == 0 && matches!(deed, Deed::Fault(_))) {
            self.act(&deed)?;
        }
        let begin = Instant::now();
        let mut last_done = None;
        loop {
            let now = begin.elapsed();
            while let Some((_, deed)) = deeds.next_if(|(at, _)| Duration::from_millis(*at) <= begin.elapsed())
            {
                self.act(&deed)?;
                if settles_after(&deed) {
                    last_done = None;
                }
            }
            let waits = deeds.clone().any(|(_, deed)| settles_after(&deed));
            self.gather(now > limit)?;
            if self.loads.is_empty() && !waits {
                let done = *last_done.get_or_insert_with(Instant::now);
                if done.elapsed() >= settle {
                    return Ok(());
                }
            }
            if now > limit + settle {
                return Ok(());
            }
            let due = deeds
                .peek()
                .map_or(LOOKS, |(at, _)| Duration::from_millis(*at).saturating_sub(begin.elapsed()));
            std::thread::sleep(due.min(LOOKS));
        }
    }

    /// Takes the results of loads that are done, or of all of them if the time is over.
    fn gather(&mut self, time_is_over: bool) -> Result<(), HostError> {
        let running: Vec<(usize, (usize, u32))> =
            self.loads.iter().map(|(client, load)| (*client, *load)).collect();
        for (client, (place, id)) in running {
            let host = &mut self.hosts[place];
            if !time_is_over && !host.is_done(id)? {
                continue;
            }
            let result = if time_is_over {
                self.notes.push(format!("{}: cut short by limit_ms", self.world.clients[client].name));
                host.cut_short(id)?
            } else {
                host.loaded(id)?
            };
            self.loads.remove(&client);
            self.results.insert(client, result);
        }
        Ok(())
    }

    fn act(&mut self, deed: &Deed) -> Result<(), StageError> {
        let world = self.world;
        match *deed {
            Deed::Begin(client) => self.begin(client)?,
            Deed::Fault(place) => {
                let fault = &world.faults[place];
                let host = self.place(&fault.host);
                self.hosts[host].make(&timeline::begin(place, fault))?;
                self.faults.insert(place);
            }
            Deed::Mend(place) => self.mend(place)?,
            Deed::Step(place) => self.step(&world.steps[place])?,
        }
        Ok(())
    }

    fn mend(&mut self, place: usize) -> Result<(), HostError> {
        let fault = &self.world.faults[place];
        let host = self.place(&fault.host);
        self.hosts[host].make(&timeline::mend(place, fault))?;
        self.faults.remove(&place);
        Ok(())
    }

    /// Ends the faults that still go on.
    pub(super) fn mend_all(&mut self) -> Result<(), HostError> {
        std::mem::take(&mut self.faults).into_iter().try_for_each(|place| self.mend(place))
    }

    fn begin(&mut self, number: usize) -> Result<(), HostError> {
        let client = &self.world.clients[number];
        let place = self.place(&client.host);
        let load = self.load(client, &self.world.hosts[place]);
        let id = self.hosts[place].begin(&Order::Load { load })?;
        self.loads.insert(number, (place, id));
        Ok(())
    }

    fn load(&self, client: &Client, host: &world::scenario::Host) -> peer::Load {
        let destinations = |name: &String| self.network.destinations(host, name, client.destinations);
        let to: Vec<SocketAddr> = client.to.iter().flat_map(destinations).collect();
        let bind = (client.bind != Bind::None).then(|| peer::Bind {
            addresses: self.network.sources(host, &to, client.sources),
            port: client.port.unwrap_or(0),
            without_port: client.bind == Bind::AddressNoPort,
            reuse_address: client.bind == Bind::Port,
        });
        peer::Load {
            to,
            turns: client.connections,
            per_second: client.per_second,
            burst: client.burst,
            concurrency: client.concurrency,
            for_ms: client.for_ms.unwrap_or(self.world.limit_ms).min(self.world.limit_ms),
            requests: client.requests,
            request_bytes: client.request_bytes,
            think_ms: client.think_ms,
            http: client.http,
            pool: client.pool,
            pool_idle_ms: client.pool_idle_ms,
            bind,
            ports: client.ports,
            timeout_ms: client.timeout_ms,
            close: client.close,
        }
    }

    fn step(&mut self, step: &'a Step) -> Result<(), StageError> {
        if let Some(host) = &step.host {
            let place = self.place(host);
            let settings: Vec<(String, String)> =
                step.set.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            if !settings.is_empty() {
                self.hosts[place].make(&Order::Set { settings })?;
            }
            if let Some(state) = &step.destroy {
                self.hosts[place].run(&["ss", "-tK", "state", &timeline::ss_name(state)])?;
            }
        }
        for name in step.end.iter().chain(&step.restart) {
            self.end(name)?;
        }
        if let Some(name) = &step.restart {
            if let Some(server) = self.world.servers.iter().find(|server| server.name == *name) {
                match self.serve(server) {
                    Ok(()) => {}
                    // `0.0.0.0:8080: bind.EADDRINUSE`: that is what the scenario wants to know.
                    Err(HostError::Failed { error, .. }) if error.contains(": bind.") => {
                        let failure = error.rsplit(": ").next().unwrap_or_default();
                        self.measures.add(format!("{name}.failed.{failure}"), 1.0);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            if let Some(number) = self.world.proxies.iter().position(|proxy| proxy.name == *name) {
                self.start_proxy(number)?;
            }
        }
        Ok(())
    }

    /// Ends a server, a proxy or a client.
    pub(super) fn end(&mut self, name: &str) -> Result<(), HostError> {
        if let Some((place, id)) = self.servers.remove(name) {
            self.hosts[place].served(id)?;
        }
        if let Some((place, id)) = self.proxies.remove(name) {
            self.hosts[place].stopped(id)?;
        }
        let client = self.world.clients.iter().position(|client| client.name == name);
        if let Some((client, (place, id))) =
            client.and_then(|client| Some((client, self.loads.remove(&client)?)))
        {
            let result = self.hosts[place].cut_short(id)?;
            self.results.insert(client, result);
        }
        Ok(())
    }

    /// After the last look: captures are read, and numbers taken.
    fn finish(
        &mut self,
        case: Case,
        peaks: &[measures::States],
        slabs: &measures::Slabs,
    ) -> Result<Played, StageError> {
        let mut captures: Vec<Vec<(String, Vec<u8>)>> = vec![Vec::new(); self.hosts.len()];
        let mut gaps: Vec<Vec<Gap>> = vec![Vec::new(); self.hosts.len()];
        for (place, tap) in std::mem::take(&mut self.taps) {
            let words = self.hosts[place].stopped(tap.id)?;
            let lost = match tap::lost(&words) {
                Some(0) => None,
                Some(lost) => Some(format!("{}: the capture lost {lost} packets", tap.name)),
                None => Some(format!("{}: the capture ended early: {}", tap.name, words.trim())),
            };
            if let Some(lost) = lost {
                gaps[place].push(tap::unseen(lost.clone()));
                self.notes.push(lost);
            }
            let length = std::fs::metadata(&tap.file).map_or(0, |file| file.len());
            if length > MAX_CAPTURE {
                let unread = format!("{}: {length} bytes are too many to be read", tap.name);
                gaps[place].push(tap::unseen(unread.clone()));
                self.notes.push(unread);
                continue;
            }
            let bytes = std::fs::read(&tap.file).map_err(StageError::io(tap.name.clone()))?;
            captures[place].push((tap.name, bytes));
        }
        let mut measures = std::mem::take(&mut self.measures);
        measures::of_loads(self.world, &std::mem::take(&mut self.results), &mut measures);
        measures::of_hosts(self.world, &case, peaks, slabs, &mut measures);
        Ok(Played {
            hosts: measures::cases(self.world, case, &self.hosts, captures, gaps),
            measures,
            probes: std::mem::take(&mut self.probes),
            notes: std::mem::take(&mut self.notes),
        })
    }

    /// What a play showed, with the rules applied to it.
    pub(super) fn judge(played: &Played) -> Ran {
        let (mut findings, mut of_peers) = (BTreeMap::new(), BTreeMap::new());
        for (host, case, _) in &played.hosts {
            let found = diagnose::diagnose(case).findings;
            let (here, there): (Vec<_>, Vec<_>) = found.iter().partition(|finding| finding.concerns(case));
            let rules = |of: Vec<&diagnose::Finding>| of.iter().map(|one| one.rule.to_owned()).collect();
            findings.insert(host.clone(), rules(here));
            of_peers.insert(host.clone(), rules(there));
        }
        of_peers.retain(|_, rules: &mut BTreeSet<String>| !rules.is_empty());
        Ran {
            findings,
            of_peers,
            measures: played.measures.clone(),
            probes: played.probes.clone(),
            counters: measures::counters(&played.hosts),
            notes: played.notes.clone(),
        }
    }
}

/// True for what the world must settle after; a fault may go on behind the last look.
const fn settles_after(deed: &Deed) -> bool {
    matches!(deed, Deed::Begin(_) | Deed::Step(_))
}

/// A timeline that was played to its end, before anybody judges it.
pub(super) struct Played {
    /// The hosts in the order of the world, in cases as `doctor` would save them there.
    pub(super) hosts: Vec<HostCase>,
    measures: Measures,
    probes: BTreeMap<String, Met>,
    notes: Vec<String>,
}
