//! What a run is measured by.

use super::counters::Counter;
use super::host::counts;
use super::socket::Hold;
use super::tap::Tap;
use super::{HostSample, OPENING, Run, Sample, Simulation, probes};
use crate::case::{self, Owners};
use crate::measure::{LONGEST, Measures, PARTS};
use crate::traffic;
use evidence::{Case, PortSet};
use std::collections::BTreeMap;
use tcp::State;
use tcp::profile::linux;

impl Simulation<'_> {
    /// Looks at what there is in each state.
    pub(super) fn look(&mut self) {
        for number in 0..self.hosts.len() {
            let lives = self.states_of_lives(number);
            let host = &mut self.hosts[number];
            for ((peak, now), lives) in host.peaks.iter_mut().zip(host.states).zip(lives) {
                *peak = (*peak).max(now + lives);
            }
        }
    }

    /// Writes down how all are now.
    pub(super) fn sample(&mut self) {
        if self.sampling.is_none() {
            return;
        }
        let now = self.now;
        let mut hosts = Vec::with_capacity(self.hosts.len());
        for number in 0..self.hosts.len() {
            let lives = self.states_of_lives(number);
            let host = &mut self.hosts[number];
            host.age(now);
            let place = State::TimeWait.index();
            hosts.push(HostSample {
                time_wait: u64::from(host.states[place]) + u64::from(lives[place]),
                ports_left: host.ports.fewest_left(),
            });
        }
        let clients = self.clients.iter().flat_map(|client| &client.failed);
        let proxies = self.proxies.iter().flat_map(|proxy| &proxy.failed);
        let (mut failed, mut lost) = (0, 0);
        for ((call, _), count) in clients.chain(proxies) {
            *(if OPENING.contains(call) { &mut failed } else { &mut lost }) += count;
        }
        let sample = Sample { at_ms: now / 1_000_000, hosts, failed, lost };
        if let Some(sampling) = &mut self.sampling {
            sampling.samples.push(sample);
        }
    }

    /// The run as it is now.
    pub(super) fn result(mut self) -> Run {
        self.look();
        self.sum_lives(true);
        for number in 0..self.hosts.len() {
            let lives = self.states_of_lives(number);
            for (state, lives) in self.hosts[number].states.iter_mut().zip(lives) {
                *state += lives;
            }
        }
        let mut measures = Measures::default();
        for ((config, host), tracker) in self.world.hosts.iter().zip(&self.hosts).zip(&self.trackers) {
            let name = &config.name;
            for state in State::ALL.into_iter().filter(|state| counts(*state)) {
                for (what, count) in [("sockets", &host.states), ("peak", &host.peaks)] {
                    let count = count[state.index()];
                    if count > 0 {
                        measures.set(format!("{name}.{what}.{state}"), f64::from(count));
                    }
                }
            }
            for (counter, rise) in Counter::NAMES.iter().zip(host.counters).filter(|(_, rise)| *rise > 0) {
                measures.set(format!("{name}.counters.{counter}"), rise as f64);
            }
            if host.minis.len() > 0 {
                let holds = host.minis.iter().filter_map(|(_, mini)| mini.hold);
                let bytes = host.minis.len() * linux::TIME_WAIT_BYTES.value + bytes_of_buckets(holds);
                measures.set(format!("{name}.bytes.time_wait"), bytes as f64);
                measures.set(format!("{name}.bytes.a_time_wait"), bytes as f64 / host.minis.len() as f64);
            }
            let tracked = tracker.alive(self.now);
            if tracked > 0 {
                measures.set(format!("{name}.conntrack"), tracked as f64);
            }
        }
        self.of_clients(&mut measures);
        for (name, count) in &self.server_failures {
            measures.set(name.clone(), *count as f64);
        }
        let probes = probes::run(self.world, &mut measures);
        let owners = Owners {
            clients: &self.world.clients,
            servers: &self.world.servers,
            proxies: &self.world.proxies,
        };
        let tap = self.tap.take();
        let cut = tap.as_ref().and_then(|tap| tap.cut_at);
        let files = tap.map_or_else(Vec::new, Tap::into_files);
        // Who samples wants numbers: a case of each of a million sockets would take longer than the run.
        let judged = if self.sampling.is_some() { 0 } else { self.hosts.len() };
        let cases = (0..judged).filter_map(|number| {
            Some((self.world.hosts[number].name.clone(), case::of_host(self.seen(number), &owners)?))
        });
        let mut cases: BTreeMap<String, Case> = cases.collect();
        let mut captures = BTreeMap::new();
        for (config, file) in self.world.hosts.iter().zip(files) {
            if let Some(case) = cases.get_mut(&config.name) {
                traffic::add(case, &config.name, &file, self.world.seed);
                case.gaps.extend(cut.map(|at| traffic::cut(at / 1_000_000)));
            }
            captures.insert(config.name.clone(), file);
        }
        let proxies = self.world.proxies.iter().zip(&self.proxies);
        let upstream = proxies.map(|(config, proxy)| (config.name.clone(), proxy.took()));
        let upstream = upstream.collect();
        let addresses = self.world.hosts.iter().enumerate();
        let addresses =
            addresses.map(|(number, host)| (host.name.clone(), self.own_addresses(number).collect()));
        Run {
            upstream,
            addresses: addresses.collect(),
            cases,
            captures,
            measures,
            probes,
            end_ms: self.now / 1_000_000,
            played: self.played,
            trace: self.trace,
        }
    }

    /// What clients and proxies counted.
    fn of_clients(&self, measures: &mut Measures) {
        for (config, client) in self.world.clients.iter().zip(&self.clients) {
            let name = &config.name;
            measures.set(format!("{name}.ok"), client.ok as f64);
            measures.set(format!("{name}.connected"), client.connected as f64);
            measures.set(format!("{name}.requests"), client.requests as f64);
            for ((call, error), count) in &client.failed {
                measures.set(format!("{name}.failed.{call}.{error}"), *count as f64);
            }
            if let Some(first) = client.first {
                // Turns that go on are cut short.
                let last = if client.active > 0 { self.now } else { client.last_end };
                let seconds = last.saturating_sub(first).max(1) as f64 / 1e9;
                measures.set(format!("{name}.per_second"), client.connected as f64 / seconds);
            }
            for (what, times) in [("connect_us", &client.connect), ("answer_us", &client.answer)] {
                let quantile = |(percent, part)| (part, times.quantile(f64::from(percent) / 100.0));
                for (part, nanos) in PARTS.into_iter().map(quantile).chain([(LONGEST, times.max())]) {
                    if let Some(nanos) = nanos {
                        measures.set(format!("{name}.{what}.{part}"), nanos as f64 / 1e3);
                    }
                }
            }
            if client.calls > 0 {
                measures.set(format!("{name}.cpu_us"), client.cost as f64 / 1e3 / client.calls as f64);
            }
        }
        for (config, proxy) in self.world.proxies.iter().zip(&self.proxies) {
            let name = &config.name;
            measures.set(format!("{name}.upstream"), proxy.upstream as f64);
            for ((call, error), count) in &proxy.failed {
                measures.set(format!("{name}.failed.{call}.{error}"), *count as f64);
            }
        }
    }
}

/// Bind buckets that clients' ports pin: one of a pair for each port, the other for each address and port; connections
/// to other destinations share both (net/ipv4/inet_hashtables.c `__inet_hash_connect()`).
fn bytes_of_buckets(holds: impl Iterator<Item = Hold>) -> u64 {
    let mut pairs: Vec<_> =
        holds.filter(|hold| hold.flow.is_some()).map(|hold| (hold.source, hold.port)).collect();
    pairs.sort_unstable();
    pairs.dedup();
    let mut ports = PortSet::default();
    ports.extend(pairs.iter().map(|(_, port)| *port));
    (pairs.len() as u64 + u64::from(ports.len())) * linux::BIND_BUCKETS_BYTES.value / 2
}
