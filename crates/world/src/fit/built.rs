//! The world that talks as the talkers do.

use super::{
    Assumption, Ends, Fit, HARD_LIMIT, Idle, Knowledge, LEAST_LENGTHS, LENGTHS_PLAYED, MOST_A_SECOND,
    MOST_ONCE, Pace, Party, Talker, Unfit, sum,
};
use crate::Costs;
use crate::scenario::{
    Answer, Bind, Client, Close, ClosesWhen, Family, HaproxyClose, Host, How, Http, Kernel, MOST_AT_ONCE,
    Program, Proxy, Reuse, Server, Settings, World,
};
use crate::simulator::settings;
use evidence::{Namespace, System};
use std::collections::BTreeMap;

/// The host that stands for the one that was seen.
const HERE: &str = "here";

/// A host has so many addresses at most.
const MOST_ADDRESSES: u16 = 200;

/// connect() and recv() give up after so long at least, milliseconds: what most programs have.
const TIMEOUT_MS: u64 = 10_000;

/// How long a world goes on behind its last connection, milliseconds.
const SETTLE_MS: u64 = 300;

/// A load that is played once may take so much longer than it did, milliseconds.
const MAY_TAKE_MS: u64 = 60_000;

/// A client that nobody held back has room for so many times what was open at once, and for so many more.
const ROOM: u32 = 4;
const MORE_ROOM: u32 = 64;

/// So many peers are named in one assumption.
const MOST_NAMED: usize = 4;

/// From one address so many connections are made to a peer, of the 28,232 ports that it has by default.
const PORTS_OF_ONE: f64 = 25_000.0;

/// Whether what is uncertain is taken at its least or at its most.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Low,
    High,
}

pub(super) fn fit(
    namespace: &Namespace,
    talkers: Vec<Talker>,
    knowledge: &Knowledge,
    mut assumptions: Vec<Assumption>,
) -> Result<Fit, Unfit> {
    let mut talkers = talkers;
    if knowledge.for_ms.is_some() {
        for talker in talkers.iter_mut().filter(|talker| talker.ends != Ends::StaysOpen) {
            talker.pace = talker.pace.max(Pace::GoesOn);
        }
    }
    scale_down(&mut talkers, &mut assumptions);
    let lasts = talkers.iter().any(Talker::lasts);
    let for_ms = length(namespace, &talkers, knowledge, lasts, &mut assumptions)?;
    let (low, parts) = Builder::new(namespace, for_ms, lasts, End::Low).world(&talkers, &mut assumptions);
    let mut unsaid = Vec::new();
    let builder = Builder::new(namespace, for_ms, lasts, End::High);
    let names = builder.names(&talkers);
    // Of a capture alone nobody knows where it was taken: it is about who connects most.
    let about = if talkers.iter().any(|talker| [talker.client, talker.server].contains(&Party::Here)) {
        Party::Here
    } else {
        talkers.first().map_or(Party::Here, |talker| talker.client)
    };
    let here = names.iter().find(|(_, stands_for)| *stands_for == about.to_string());
    let here = here.map_or_else(|| HERE.to_owned(), |(name, _)| name.clone());
    let (high, _) = builder.world(&talkers, &mut unsaid);
    if about != Party::Here {
        assumptions.push(Assumption::new(
            format!("the answer is about {about}"),
            "it makes the most connections; a capture does not tell where it was taken (--case does)",
        ));
    }
    assumptions.push(peers(&talkers));
    assumptions.push(Assumption::new(
        "connect() and the way between hosts take what they took where they were measured",
        "neither the processor nor the network of this host is known: latency and processor time are right in what a \
         remedy changes, not in what a connection takes at all (docs/scenarios.md has the costs)",
    ));
    for world in [&low, &high] {
        world.check().map_err(|error| Unfit::Unusable(error.to_string()))?;
    }
    let (clients, servers) = parts.into_iter().unzip();
    Ok(Fit { low, high, here, names, talkers, clients, servers, lasts, for_ms, assumptions })
}

/// What is taken for granted of the hosts that were not looked at.
fn peers(talkers: &[Talker]) -> Assumption {
    let mut without: Vec<String> = talkers
        .iter()
        .filter(|talker| talker.without_timestamps && talker.server != Party::Here)
        .map(|talker| talker.server.to_string())
        .collect();
    without.sort();
    without.dedup();
    if without.is_empty() {
        Assumption::new("peers are Linux with timestamps and default settings", "they were not looked at")
    } else {
        let more = without.len().saturating_sub(MOST_NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        without.truncate(MOST_NAMED);
        Assumption::new(
            format!(
                "peers are Linux with default settings, and with timestamps but for {}{more}",
                without.join(", ")
            ),
            "they were not looked at; the capture shows which answer SYNs without timestamps",
        )
    }
}

/// Fewer connections where a case has more than can be played. The largest talkers are made smaller first: where
/// ports are short it is not for want of these.
fn scale_down(talkers: &mut [Talker], assumptions: &mut Vec<Assumption>) {
    let counts = |talkers: &[Talker]| -> Vec<f64> {
        talkers.iter().filter(|talker| !talker.lasts()).map(|talker| talker.connections as f64).collect()
    };
    let once: f64 = counts(talkers).iter().sum();
    if once > MOST_ONCE {
        let level = level(counts(talkers), MOST_ONCE);
        for talker in talkers.iter_mut().filter(|talker| !talker.lasts()) {
            let connections = talker.connections as f64;
            if connections > level {
                talker.scale(level / connections);
                talker.at_once = talker.at_once.min(u32::try_from(talker.connections).unwrap_or(u32::MAX));
            }
        }
        let played: f64 = counts(talkers).iter().sum();
        assumptions.push(Assumption::new(
            format!("{played:.0} connections stand for {once:.0}: the answer is a part of what it would be"),
            "no more are played of a load that is played once; ports and tables are not made smaller, so that they fill later",
        ));
    }
    let rate = |talkers: &[Talker]| -> f64 {
        talkers.iter().filter(|talker| talker.lasts()).map(|talker| talker.per_second.high).sum()
    };
    let wanted = rate(talkers);
    if wanted > MOST_A_SECOND {
        for talker in talkers.iter_mut().filter(|talker| talker.lasts()) {
            talker.scale(MOST_A_SECOND / wanted);
        }
        assumptions.push(Assumption::new(
            format!("{MOST_A_SECOND:.0} connections a second stand for {wanted:.0}: the answer is a part of what it would be"),
            "no more can be played; ports and tables are not made smaller, so that they fill later",
        ));
    }
}

/// What each of some numbers may be at most so that they are no more than `most` together.
fn level(mut numbers: Vec<f64>, most: f64) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let (mut left, mut rest) = (most, numbers.len() as f64);
    for number in numbers {
        if number * rest > left {
            break;
        }
        left -= number;
        rest -= 1.0;
    }
    left / rest.max(1.0)
}

/// How long connections are begun, milliseconds.
fn length(
    namespace: &Namespace,
    talkers: &[Talker],
    knowledge: &Knowledge,
    lasts: bool,
    assumptions: &mut Vec<Assumption>,
) -> Result<u64, Unfit> {
    if !lasts {
        return Ok(talkers.iter().map(|talker| talker.over_ms).max().unwrap_or(1_000));
    }
    let time_wait = namespace.settings.time_wait().as_secs_f64();
    let rate: f64 = talkers.iter().filter(|talker| talker.lasts()).map(|talker| talker.per_second.high).sum();
    let wanted = knowledge.for_ms.map_or(time_wait * LENGTHS_PLAYED as f64, |ms| ms as f64 / 1e3);
    if knowledge.for_ms.is_some() && wanted * rate > HARD_LIMIT {
        return Err(Unfit::Unusable(format!(
            "--lasting {wanted:.0} s at {rate:.0} connections a second is more than {HARD_LIMIT:.0} connections: ask for less"
        )));
    }
    let least = (time_wait * LEAST_LENGTHS).min(wanted);
    let affordable = (knowledge.played / rate.max(1e-9)).max(least).min(HARD_LIMIT / rate.max(1e-9));
    let seconds = if knowledge.for_ms.is_some() { wanted } else { wanted.min(affordable) };
    assumptions.push(Assumption::new(
        format!("the load is played for {seconds:.0} s"),
        if seconds + 0.5 < least {
            format!("at {rate:.0} connections a second longer takes too long: TIME-WAIT is not full by then")
        } else if knowledge.for_ms.is_some() {
            "it was asked for".to_owned()
        } else {
            format!("TIME-WAIT lasts {time_wait:.0} s, and is full from then on")
        },
    ));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some minutes")]
    let ms = (seconds * 1e3) as u64;
    Ok(ms.max(1))
}

/// What a talker became: clients, and the server they go to.
type Parts = (Vec<String>, Option<String>);

struct Builder<'n> {
    namespace: &'n Namespace,
    for_ms: u64,
    lasts: bool,
    end: End,
    hosts: BTreeMap<Party, Host>,
    servers: Vec<(Party, Server)>,
    clients: Vec<Client>,
    proxies: Vec<Proxy>,
}

impl<'n> Builder<'n> {
    fn new(namespace: &'n Namespace, for_ms: u64, lasts: bool, end: End) -> Self {
        Self {
            namespace,
            for_ms,
            lasts,
            end,
            hosts: BTreeMap::new(),
            servers: Vec::new(),
            clients: Vec::new(),
            proxies: Vec::new(),
        }
    }

    /// What hosts stand for.
    fn names(&self, talkers: &[Talker]) -> Vec<(String, String)> {
        let mut builder = Self::new(self.namespace, self.for_ms, self.lasts, self.end);
        for talker in talkers {
            builder.host(talker.client);
            builder.host(talker.server);
        }
        builder.hosts.iter().map(|(party, host)| (host.name.clone(), party.to_string())).collect()
    }

    fn world(mut self, talkers: &[Talker], assumptions: &mut Vec<Assumption>) -> (World, Vec<Parts>) {
        for talker in talkers {
            self.host(talker.client);
            self.host(talker.server);
            if let Some(host) = self.hosts.get_mut(&talker.server).filter(|_| talker.without_timestamps) {
                host.settings.set("net.ipv4.tcp_timestamps", "0");
            }
        }
        let proxied = self.proxy(talkers, assumptions);
        let mut became = Vec::new();
        for (place, talker) in talkers.iter().enumerate() {
            let before = self.clients.len();
            let server = (!proxied.contains(&place)).then(|| self.talk(talker));
            let own = self.clients.iter().skip(before);
            became.push((own.map(|client| client.name.clone()).collect(), server));
        }
        // What is open in the end is closed when it has been idle for long enough.
        let idle = talkers.iter().filter(|talker| !talker.lasts()).filter_map(|talker| talker.idle);
        let settle_ms = idle.map(|idle| idle.server_ms.min(MAY_TAKE_MS)).max().unwrap_or(0) + SETTLE_MS;
        let limit_ms = if self.lasts {
            self.for_ms.saturating_add(settle_ms)
        } else {
            self.for_ms.saturating_mul(4).saturating_add(MAY_TAKE_MS)
        };
        let world = World {
            // What a change does is the same over both: one function of the kernel serves them.
            family: Family::Ipv4,
            seed: if self.end == End::Low { 1 } else { 2 },
            settle_ms,
            limit_ms,
            settings: Settings::default(),
            costs: Costs::of_separate_machines(),
            hosts: self.hosts.into_values().collect(),
            servers: self.servers.into_iter().map(|(_, server)| server).collect(),
            proxies: self.proxies,
            clients: self.clients,
            probes: Vec::new(),
            faults: Vec::new(),
            steps: Vec::new(),
        };
        (world, became)
    }

    fn host(&mut self, party: Party) -> String {
        let peers = self.hosts.keys().filter(|known| **known != Party::Here).count();
        let namespace = self.namespace;
        let host = self.hosts.entry(party).or_insert_with(|| {
            let mut host = Host::named(if party == Party::Here {
                HERE.to_owned()
            } else {
                format!("peer-{}", peers + 1)
            });
            if party == Party::Here {
                let values = namespace.settings.values.iter();
                for (name, value) in values.filter(|(name, _)| settings::reads(name)) {
                    host.settings.set(name, value);
                }
                let of_another = match namespace.settings.system {
                    System::Windows => Some(Kernel::Windows),
                    System::Macos => Some(Kernel::Macos),
                    System::Linux | System::Other => None,
                };
                if let Some(kernel) = of_another {
                    host.kernel = kernel;
                    let range = namespace.settings.local_port_range();
                    let written = format!("{} {}", range.first, range.last);
                    host.settings.set("net.ipv4.ip_local_port_range", &written);
                    let time_wait = namespace.settings.time_wait().as_millis();
                    host.time_wait_ms = u64::try_from(time_wait).ok();
                } else if namespace.settings.values.contains_key("net.ipv4.tcp_tw_recycle") {
                    host.kernel = Kernel::Linux4_4;
                }
            }
            host
        });
        host.name.clone()
    }

    /// More addresses for a host.
    fn widen(&mut self, party: Party, addresses: u16) -> u16 {
        let addresses = addresses.clamp(1, MOST_ADDRESSES);
        if let Some(host) = self.hosts.get_mut(&party) {
            host.addresses = host.addresses.max(addresses);
        }
        addresses
    }

    fn rate(&self, talker: &Talker) -> f64 {
        let rate = match self.end {
            _ if !talker.lasts() => talker.connections as f64 * 1e3 / talker.over_ms.max(1) as f64,
            End::Low => talker.per_second.low,
            End::High => talker.per_second.high,
        };
        rate.clamp(1e-6, 1e7)
    }

    /// Addresses that a client has. Peers have shown that they find ports for what they do, and several of them may
    /// be one host of the model.
    fn sources(&self, talker: &Talker, rate: f64) -> u16 {
        if talker.client == Party::Here {
            return talker.sources;
        }
        let lasts = self.namespace.settings.time_wait().as_secs_f64();
        let kept = if talker.lasts() { rate * lasts } else { talker.connections as f64 };
        let held = kept.max(f64::from(talker.at_once));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
        let needed = (held / PORTS_OF_ONE).ceil() as u16;
        talker.sources.max(needed)
    }

    /// A client, without where it goes.
    fn client(&mut self, talker: &Talker) -> Client {
        let host = self.host(talker.client);
        let rate = self.rate(talker);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below the limit of all")]
        let connections = if talker.lasts() {
            (rate * self.for_ms as f64 / 1e3).ceil().min(HARD_LIMIT * 2.0) as u32
        } else {
            u32::try_from(talker.connections).unwrap_or(u32::MAX).min(HARD_LIMIT as u32)
        };
        let together = talker.at_once.max(1);
        let concurrency = if talker.lasts() {
            together.max(talker.burst).saturating_mul(ROOM).saturating_add(MORE_ROOM)
        } else {
            together
        };
        let all_at_once = !talker.lasts() && u64::from(talker.at_once) >= talker.connections;
        let burst = match self.end {
            _ if all_at_once => together,
            End::High if talker.lasts() => talker.burst.max(1),
            End::High | End::Low => 1,
        };
        let number = self.clients.len() + 1;
        let requests = talker.requests.max(1);
        let stays = matches!(talker.ends, Ends::StaysOpen | Ends::ClientNeverCloses);
        let (when, how) = match talker.ends {
            Ends::ClientCloses | Ends::ServerNeverCloses => (ClosesWhen::Requests, How::Fin),
            Ends::ClientResets => (ClosesWhen::Requests, How::Reset),
            Ends::ServerCloses | Ends::ServerResets | Ends::ServerClosesIdle => (ClosesWhen::Peer, How::Fin),
            Ends::ClientNeverCloses | Ends::StaysOpen => (ClosesWhen::Never, How::Fin),
        };
        let sources = self.widen(talker.client, self.sources(talker, rate));
        let think_ms = if requests > 1 && !stays { talker.open_ms / u64::from(requests) } else { 0 };
        Client {
            name: format!("client-{number}"),
            host,
            to: Vec::new(),
            connections: connections.max(1),
            per_second: (!all_at_once).then_some(rate),
            burst: if all_at_once { 1 } else { burst },
            concurrency: concurrency.clamp(1, MOST_AT_ONCE),
            start_ms: 0,
            for_ms: None,
            requests,
            request_bytes: 0,
            think_ms,
            http: talker.http,
            pool: None,
            pool_idle_ms: None,
            misses_close: 0.0,
            bind: match (talker.binds, sources) {
                (true, _) => Bind::Address,
                (false, 1) => Bind::None,
                (false, _) => Bind::AddressNoPort,
            },
            port: None,
            ports: None,
            sources,
            destinations: 1,
            // Nobody was seen to give up: what takes longer was waited for.
            timeout_ms: TIMEOUT_MS.max(talker.open_ms.saturating_mul(2)),
            close: Close { requests, ..Close::new(when, how) },
        }
    }

    /// A server that ends connections as this talker's do; shared by all that go there and end so.
    fn server(&mut self, talker: &Talker, behind_proxy: bool) -> String {
        let host = self.host(talker.server);
        let requests = talker.requests.max(1);
        let (when, how) = match talker.ends {
            Ends::ServerCloses | Ends::ClientNeverCloses => (ClosesWhen::Requests, How::Fin),
            Ends::ServerResets => (ClosesWhen::Requests, How::Reset),
            Ends::ServerNeverCloses => (ClosesWhen::Never, How::Fin),
            Ends::ClientCloses | Ends::ClientResets | Ends::StaysOpen | Ends::ServerClosesIdle => {
                (ClosesWhen::Peer, How::Fin)
            }
        };
        let requests_before = if when == ClosesWhen::Requests { requests } else { 1 };
        let close = Close { requests: requests_before, ..Close::new(when, how) };
        let close = talker.idle.map_or(close, Idle::close);
        let is_brief = requests == 1 && !matches!(talker.ends, Ends::StaysOpen | Ends::ServerClosesIdle);
        let after_ms = if is_brief { talker.open_ms } else { 0 };
        let with_fin = behind_proxy && when == ClosesWhen::Requests && how == How::Fin;
        let answer = Answer { after_ms, with_fin, ..Answer::default() };
        let at = self.servers.iter().filter(|(party, _)| *party == talker.server);
        if let Some((_, same)) = at.clone().find(|(_, server)| {
            server.close == close
                && server.answer == answer
                && server.port >= talker.port
                && server.port - talker.port < 8
        }) {
            return same.name.clone();
        }
        // Who ends otherwise stands on a port of its own.
        let taken: Vec<u16> = at.map(|(_, server)| server.port).collect();
        let wanted = talker.port.max(1);
        let port = (wanted..=u16::MAX).chain(1..wanted).find(|port| !taken.contains(port)).unwrap_or(wanted);
        let name = format!("server-{}", self.servers.len() + 1);
        self.servers.push((
            talker.server,
            Server {
                name: name.clone(),
                host,
                port,
                ports: 1,
                backlog: 4_096,
                reuse_address: true,
                accepts: true,
                workers: None,
                keepalive_s: None,
                answer,
                close,
            },
        ));
        name
    }

    /// The clients of a talker are added. Returns the name of the server that they go to.
    fn talk(&mut self, talker: &Talker) -> String {
        let server = self.server(talker, false);
        let mut client = self.client(talker);
        client.to = vec![server.clone()];
        if let Some(idle) = talker.idle {
            let met = idle.met_range(talker.lasts());
            let met = if self.end == End::Low { met.low } else { met.high };
            self.clients.extend(idle.clients(talker, &client, talker.lasts().then_some(self.for_ms), met));
        } else {
            self.clients.push(client);
        }
        server
    }

    /// A proxy here, if one is known by its name and requests go through it. Returns the talkers that it takes part in.
    fn proxy(&mut self, talkers: &[Talker], assumptions: &mut Vec<Assumption>) -> Vec<usize> {
        let listeners = self.namespace.sockets.listeners.iter();
        let owners = listeners.filter_map(|listener| {
            let process = self.namespace.processes.get(listener.process? as usize)?;
            let program = match process.name.as_str() {
                "nginx" => Program::Nginx,
                "haproxy" => Program::Haproxy,
                _ => return None,
            };
            Some((program, listener.address.port?))
        });
        let Some((program, port)) = owners.into_iter().next() else { return Vec::new() };
        let places = |wanted: &dyn Fn(&Talker) -> bool| -> Vec<usize> {
            let fitting = talkers.iter().enumerate().filter(|(_, talker)| talker.is_http && wanted(talker));
            fitting.map(|(place, _)| place).collect()
        };
        let front = places(&|talker| talker.server == Party::Here && talker.port == port);
        // Whose requests meet a close is fitted as a client with a pool.
        let back = places(&|talker| talker.client == Party::Here && talker.idle.is_none());
        let requests = |places: &[usize]| -> f64 {
            let each = places.iter().filter_map(|place| talkers.get(*place));
            each.map(|talker| talker.connections as f64 * f64::from(talker.requests)).sum()
        };
        let (asked, passed) = (requests(&front), requests(&back));
        if front.is_empty() || back.is_empty() || passed < asked / 2.0 || passed > asked * 2.0 {
            return Vec::new();
        }
        let backs = || back.iter().filter_map(|place| talkers.get(*place));
        let at_once: u32 = backs().map(|talker| talker.at_once).fold(0, u32::saturating_add);
        let connections = sum(backs().map(|talker| talker.connections));
        let is_pooled = passed > connections as f64 * 1.5;
        let speaks = |http: Http| backs().filter(|talker| talker.http == http).count() * 2 > back.len();
        let name = if program == Program::Nginx { "nginx" } else { "haproxy" };
        assumptions.push(Assumption::new(
            format!("requests to port {port} here are passed on by {name}"),
            format!("{asked:.0} requests came, {passed:.0} went out, and {name} listens there"),
        ));
        let mut upstream: Vec<String> =
            backs().cloned().collect::<Vec<_>>().iter().map(|talker| self.server(talker, true)).collect();
        upstream.dedup();
        let host = self.host(Party::Here);
        let proxy = Proxy {
            sources: 1,
            name: name.to_owned(),
            host,
            program,
            port,
            upstream,
            workers: 1,
            http: if speaks(Http::V1_0) { Http::V1_0 } else { Http::V1_1 },
            keepalive: (program == Program::Nginx && is_pooled).then_some(at_once.max(1)),
            keepalive_idle_ms: None,
            keepalive_requests: None,
            mode: if program == Program::Haproxy && speaks(Http::V1_1Close) {
                HaproxyClose::ServerClose
            } else {
                HaproxyClose::KeepAlive
            },
            reuse: Reuse::Safe,
            lines: Vec::new(),
        };
        self.proxies.push(proxy);
        for talker in front.iter().filter_map(|place| talkers.get(*place)) {
            let mut client = self.client(talker);
            client.to = vec![name.to_owned()];
            self.clients.push(client);
        }
        front.into_iter().chain(back).collect()
    }
}
