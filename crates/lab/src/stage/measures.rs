//! Numbers of a run, and the case of each host.

use super::tap;
use crate::host::Host;
use crate::peer::LoadResult;
use evidence::{Case, Configuration, Gap, Namespace, StateCounts};
use kernel::sock_diag::{Query, SockDiag, States as Wanted};
use kernel::{Root, Selection, netns};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tcp::State;
use world::Measures;
use world::scenario::World;

/// Results of loads, by the place of their client in the world.
pub(super) type Loads = BTreeMap<usize, LoadResult>;

/// The most sockets there were in each state.
pub(super) type States = BTreeMap<State, u32>;

/// Slab caches in bytes, each once.
pub(super) type Slabs = BTreeMap<PathBuf, u64>;

/// What a host is remembered by: its name, its case, and its captures with their names.
pub(super) type HostCase = (String, Case, Vec<(String, Vec<u8>)>);

/// Between two counts of sockets.
const ROUND: Duration = Duration::from_millis(100);

/// Counting takes at most this part of the time.
const REST_FACTOR: u32 = 9;

/// The slabs that a TIME-WAIT takes memory from: itself, and at a client its port.
const OF_TIME_WAIT: [&str; 4] = ["tw_sock_TCP", "tw_sock_TCPv6", "tcp_bind_bucket", "tcp_bind2_bucket"];

/// With fewer TIME-WAITs than this, slabs show what else goes on on the machine.
const MANY: u32 = 5_000;

/// Counts sockets again and again until it is over.
pub(super) fn peaks(namespaces: &[String], over: &AtomicBool) -> Vec<States> {
    let mut peaks = vec![States::new(); namespaces.len()];
    let selection = Selection::These(namespaces.to_vec());
    let Ok(found) = netns::find(&Root::default(), &selection, &mut Vec::new()) else { return peaks };
    while !over.load(Ordering::Relaxed) {
        let begin = Instant::now();
        for (found, peaks) in found.iter().zip(&mut peaks) {
            let counted = netns::enter(found, || {
                let mut counts = StateCounts::default();
                let dumped = SockDiag::open().and_then(|mut diag| {
                    diag.dump(Query::all(Wanted::CONNECTED), |seen, _| counts.add(seen.state, 1))
                });
                dumped.map(|_| counts)
            });
            // A count that fails is no peak; the last look says what keeps it from counting.
            let Ok(Ok(counts)) = counted else { continue };
            for (state, count) in counts.iter() {
                let peak = peaks.entry(state).or_default();
                *peak = count.max(*peak);
            }
        }
        let rested = Instant::now() + (begin.elapsed() * REST_FACTOR).max(ROUND);
        while Instant::now() < rested && !over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    peaks
}

/// The memory of TIME-WAITs, as far as this user may see it. Host-wide: there is one kernel.
pub(super) fn slabs() -> Slabs {
    let read = |name: &str| {
        // Caches of a size are merged, and then one directory has several names.
        let folder = std::fs::canonicalize(format!("/sys/kernel/slab/{name}")).ok()?;
        let number = |file: &str| -> Option<u64> {
            let text = std::fs::read_to_string(folder.join(file)).ok()?;
            text.split_ascii_whitespace().next()?.parse().ok()
        };
        let bytes = number("objects")?.checked_mul(number("slab_size")?)?;
        Some((folder, bytes))
    };
    OF_TIME_WAIT.into_iter().filter_map(read).collect()
}

/// What clients counted.
pub(super) fn of_loads(world: &World, loads: &Loads, measures: &mut Measures) {
    for (client, load) in loads {
        let Some(client) = world.clients.get(*client) else { continue };
        let name = &client.name;
        let mut set = |what: &str, value: f64| measures.set(format!("{name}.{what}"), value);
        set("ok", load.ok() as f64);
        set("connected", load.connected as f64);
        set("requests", load.answered as f64);
        set("per_second", load.connects_per_second());
        for (what, times) in [("connect_us", &load.connect), ("answer_us", &load.answer)] {
            for (part, time) in times.named() {
                set(&format!("{what}.{part}"), f64::from(time));
            }
        }
        for (tenth, time) in load.connect_tenths_us.iter().enumerate() {
            set(&format!("connect_us.tenth{}", tenth + 1), f64::from(*time));
        }
        if load.connects_tried > 0 {
            set("cpu_us", load.connect_cpu_ns as f64 / 1e3 / load.connects_tried as f64);
        }
        if let Some(socket_ns) = load.socket_ns {
            set("socket_us", f64::from(socket_ns) / 1e3);
        }
        for (failure, count) in &load.failures {
            set(&format!("failed.{failure}"), *count as f64);
        }
    }
}

/// The last look is one of them, and the only one if all was over before the first count.
fn with_last(peaks: &States, last: &StateCounts) -> States {
    let mut peaks = peaks.clone();
    for (state, count) in last.iter().filter(|(state, count)| *state != State::Listen && *count > 0) {
        let peak = peaks.entry(state).or_default();
        *peak = count.max(*peak);
    }
    peaks
}

/// What the last look shows of each host.
pub(super) fn of_hosts(
    world: &World,
    case: &Case,
    peaks: &[States],
    before: &Slabs,
    measures: &mut Measures,
) {
    let mut most = None;
    for ((host, namespace), peaks) in world.hosts.iter().zip(&case.namespaces).zip(peaks) {
        let name = &host.name;
        let mut set = |what: String, value: f64| measures.set(format!("{name}.{what}"), value);
        for (state, count) in namespace.sockets.by_state.iter().filter(|(state, _)| *state != State::Listen) {
            set(format!("sockets.{}", state.name()), f64::from(count));
        }
        for (state, count) in with_last(peaks, &namespace.sockets.by_state) {
            set(format!("peak.{}", state.name()), f64::from(count));
        }
        for counter in namespace.counters.end.keys() {
            if let Some(rise @ 1..) = namespace.counters.rise(counter) {
                set(format!("counters.{}", short(counter)), rise as f64);
            }
        }
        if let Some(conntrack) = namespace.conntrack.as_ref().filter(|conntrack| conntrack.entries > 0) {
            set("conntrack".to_owned(), conntrack.entries as f64);
        }
        let time_wait = namespace.sockets.by_state.of(State::TimeWait);
        if time_wait >= MANY && most.is_none_or(|(_, count)| time_wait > count) {
            most = Some((name, time_wait));
        }
    }
    let after = slabs();
    if let Some((host, count)) = most.filter(|_| !after.is_empty()) {
        let more = after.iter().map(|(slab, bytes)| {
            let before = before.get(slab).copied().unwrap_or(0);
            bytes.saturating_sub(before)
        });
        let bytes = more.sum::<u64>() as f64;
        measures.set(format!("{host}.bytes.time_wait"), bytes);
        measures.set(format!("{host}.bytes.a_time_wait"), bytes / f64::from(count));
    }
    for proxy in &world.proxies {
        // Whatever else connects from that host would be counted, too.
        let alone = world.proxies.iter().filter(|other| other.host == proxy.host).count() == 1
            && world.clients.iter().all(|client| client.host != proxy.host);
        let place = world.hosts.iter().position(|host| host.name == proxy.host);
        let namespace = place.and_then(|place| case.namespaces.get(place)).filter(|_| alone);
        if let Some(connections) = namespace.and_then(|namespace| namespace.counters.rise("TcpActiveOpens")) {
            measures.set(format!("{}.upstream", proxy.name), connections as f64);
        }
    }
}

/// The name of a counter without that of its table.
fn short(counter: &str) -> &str {
    counter.strip_prefix("TcpExt").or_else(|| counter.strip_prefix("Tcp")).unwrap_or(counter)
}

/// The names of all counters that were read.
pub(super) fn counters(hosts: &[HostCase]) -> BTreeSet<String> {
    let namespaces = hosts.iter().flat_map(|(_, case, _)| &case.namespaces);
    namespaces
        .flat_map(|namespace| namespace.counters.end.keys())
        .map(|name| short(name).to_owned())
        .collect()
}

/// The case of each host, as it would be seen there: its namespace, and what its captures show.
pub(super) fn cases(
    world: &World,
    case: Case,
    hosts: &[Host],
    captures: Vec<Vec<(String, Vec<u8>)>>,
    mut lost: Vec<Vec<Gap>>,
) -> Vec<HostCase> {
    let Case { host: machine, namespaces, gaps, configurations, .. } = case;
    let mut namespaces: BTreeMap<String, Namespace> =
        namespaces.into_iter().map(|namespace| (namespace.name.clone(), namespace)).collect();
    let mut cases = Vec::new();
    for (place, (host, captures)) in world.hosts.iter().zip(captures).enumerate() {
        let found = format!("pid:{}", hosts[place].pid());
        let namespace = namespaces.remove(&found).unwrap_or_default();
        let mut its_own: Vec<Gap> =
            gaps.iter().filter(|gap| gap.netns.as_ref().is_none_or(|name| *name == found)).cloned().collect();
        let files: Vec<(&str, &[u8])> =
            captures.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
        let (traffic, unread) = tap::traffic(&files, world.seed);
        its_own.extend(unread);
        its_own.append(&mut lost[place]);
        let of_host = |configuration: &&Configuration| {
            configuration.running.as_ref().is_some_and(|running| running.netns == found)
        };
        let configurations = configurations.iter().filter(of_host).cloned().collect();
        let case = Case {
            host: machine.clone(),
            namespaces: vec![namespace],
            traffic: Some(traffic),
            configurations,
            gaps: its_own,
            ..Case::default()
        };
        cases.push((host.name.clone(), case, captures));
    }
    cases
}

/// The case of a host, which is called by its name in the scenario.
pub(super) fn named(mut case: Case, host: &str) -> Case {
    let called = |name: &mut String| host.clone_into(name);
    called(&mut case.host.name);
    case.namespaces.iter_mut().for_each(|namespace| called(&mut namespace.name));
    case.gaps.iter_mut().filter_map(|gap| gap.netns.as_mut()).for_each(called);
    let running = case.configurations.iter_mut().filter_map(|configuration| configuration.running.as_mut());
    running.for_each(|running| called(&mut running.netns));
    case
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_shorter_than_the_time_between_two_counts_has_a_peak() {
        let mut last = StateCounts::default();
        last.add(State::TimeWait, 100);
        last.add(State::Listen, 1);
        let with = |peaks: &[(State, u32)]| with_last(&peaks.iter().copied().collect(), &last);
        assert_eq!(with(&[]), States::from([(State::TimeWait, 100)]));
        let all = States::from([(State::TimeWait, 120), (State::SynSent, 3)]);
        assert_eq!(with(&[(State::TimeWait, 120), (State::SynSent, 3)]), all);
    }
}
