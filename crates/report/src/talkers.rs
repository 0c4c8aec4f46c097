//! Who talks to whom: sockets by state, by peer and by process.

use crate::report::{foremost, name, rounded};
use crate::{NotShown, OwnerRow};
use evidence::{Case, Group, KnownBy, Listener, Namespace, Role, StateCounts};
use schemars::JsonSchema;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use tcp::State;

/// So many groups, processes and listeners are reported each.
const MAX_ROWS: usize = 50;
/// So many owners of one group.
const MAX_OWNERS: usize = 5;

/// How many sockets are in each state, by the state's name in RFC 9293.
pub(crate) type ByState = BTreeMap<&'static str, u64>;

/// The TCP sockets that were seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Sockets {
    /// All of them.
    pub total: u64,
    /// By state, as RFC 9293 writes it: `TIME-WAIT`.
    pub by_state: ByState,
    /// By who talks to whom, the most sockets first.
    pub groups: Vec<GroupRow>,
    /// By program: the processes of one name in one container, the most sockets first.
    pub programs: Vec<ProgramRow>,
    /// By process, the most sockets first.
    pub processes: Vec<ProcessRow>,
    /// Sockets that no process is known for, and for which none listens.
    pub without_process: u64,
    /// Listening sockets, the fullest queue first.
    pub listeners: Vec<ListenerRow>,
    /// Sockets whose group no longer fitted: they are in groups with `*` as an address.
    pub folded: u64,
}

/// Sockets that share everything but the port of the connecting side.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct GroupRow {
    /// Network namespace.
    pub netns: String,
    /// Which end this host is.
    #[schemars(with = "String", extend("enum" = ["client", "server"]))]
    pub role: Role,
    /// This host's end; without a port if it connects.
    pub local: String,
    /// The peer's end; without a port if this host serves.
    pub remote: String,
    /// Sockets.
    pub total: u64,
    /// By state.
    pub by_state: ByState,
    /// Processes, the largest part first; at most 5.
    pub owners: Vec<OwnerRow>,
    /// All of them in words: `php-fpm (24 processes)`; null if none is known.
    pub owned_by: Option<String>,
}

/// The sockets of all processes of one name in one container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ProgramRow {
    /// Network namespace.
    pub netns: String,
    /// The name of its processes.
    pub program: String,
    /// Their container, where that is known.
    pub container: Option<String>,
    /// How many of its processes have sockets.
    pub processes: usize,
    /// The process with the most sockets.
    pub pid: u32,
    /// Sockets, listening ones included.
    pub total: u64,
    /// By state.
    pub by_state: ByState,
}

/// The sockets of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ProcessRow {
    /// Network namespace.
    pub netns: String,
    /// Its name.
    pub process: String,
    /// Its id.
    pub pid: u32,
    /// Its container, where that is known.
    pub container: Option<String>,
    /// Sockets, listening ones included.
    pub total: u64,
    /// By state.
    pub by_state: ByState,
    /// Open files, where they were counted.
    pub open_files: Option<u64>,
    /// Soft limit of open files, where it was read.
    pub open_files_limit: Option<u64>,
}

/// A listening socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ListenerRow {
    /// Network namespace.
    pub netns: String,
    /// Where it listens; `*:80` is every address.
    pub address: String,
    /// Connections that wait for accept().
    pub queue: u32,
    /// How many may wait; the queue is full when it is longer than this. Null if it is not known.
    pub backlog: Option<u32>,
    /// Its process, where that is known.
    pub process: Option<String>,
    /// Its process id.
    pub pid: Option<u32>,
}

impl Sockets {
    pub(crate) fn new(case: &Case, not_shown: &mut NotShown) -> Self {
        let mut sockets = Self::default();
        for namespace in &case.namespaces {
            sockets.total += namespace.sockets.by_state.total();
            sockets.folded += namespace.sockets.folded;
            add(&mut sockets.by_state, &namespace.sockets.by_state);
        }
        let groups = case
            .namespaces
            .iter()
            .flat_map(|netns| netns.sockets.groups.iter().map(move |group| (netns, group)));
        let groups: Vec<_> = groups.map(|(netns, group)| (netns, group, group.states.total())).collect();
        sockets.groups = foremost(groups, MAX_ROWS, &mut not_shown.groups, |a, b| {
            let key = |(netns, group, total): &(&Namespace, &Group, u64)| {
                (Reverse(*total), group.role, group.remote, group.local, netns.inode)
            };
            key(a).cmp(&key(b)).then_with(|| a.0.name.cmp(&b.0.name))
        })
        .into_iter()
        .map(|(netns, group, total)| GroupRow::new(netns, group, total))
        .collect();
        let mut processes = Vec::new();
        for namespace in &case.namespaces {
            sockets.without_process += count_processes(namespace, &mut processes);
        }
        sockets.programs = foremost(programs(&processes), MAX_ROWS, &mut not_shown.programs, |a, b| {
            b.total
                .cmp(&a.total)
                .then_with(|| (a.pid, &a.program, &a.netns).cmp(&(b.pid, &b.program, &b.netns)))
        });
        sockets.processes = foremost(processes, MAX_ROWS, &mut not_shown.processes, |a, b| {
            b.total
                .cmp(&a.total)
                .then_with(|| (a.pid, &a.process, &a.netns).cmp(&(b.pid, &b.process, &b.netns)))
        });
        let listeners = case
            .namespaces
            .iter()
            .flat_map(|netns| netns.sockets.listeners.iter().map(move |listener| (netns, listener)));
        sockets.listeners = foremost(listeners.collect(), MAX_ROWS, &mut not_shown.listeners, |a, b| {
            let key = |(netns, listener): &(&Namespace, &Listener)| {
                (Reverse(listener.queue), listener.address, netns.inode, listener.process, listener.backlog)
            };
            key(a).cmp(&key(b)).then_with(|| a.0.name.cmp(&b.0.name))
        })
        .into_iter()
        .map(|(netns, listener)| ListenerRow::new(netns, listener))
        .collect();
        sockets
    }
}

/// Adds a namespace's processes that own a socket; the sockets without a process.
fn count_processes(namespace: &Namespace, rows: &mut Vec<ProcessRow>) -> u64 {
    let mut counts = vec![StateCounts::default(); namespace.processes.len()];
    let mut without = 0_u64;
    for listener in &namespace.sockets.listeners {
        match listener.process.and_then(|index| counts.get_mut(index as usize)) {
            Some(count) => count.add(State::Listen, 1),
            None => without += 1,
        }
    }
    for group in &namespace.sockets.groups {
        let mut owned = 0;
        for owner in &group.owners {
            if let Some(count) = owner.process.and_then(|index| counts.get_mut(index as usize)) {
                count.merge(&owner.states);
                owned += owner.states.total();
            }
        }
        without += group.states.total().saturating_sub(owned);
    }
    let seen = namespace.processes.iter().zip(&counts).filter(|(_, count)| count.total() > 0);
    rows.extend(seen.map(|(process, count)| ProcessRow {
        netns: name(&namespace.name),
        process: name(&process.name),
        pid: process.pid,
        container: process.container.as_deref().map(name),
        total: count.total(),
        by_state: by_state(count),
        open_files: process.open_files,
        open_files_limit: process.open_files_limit,
    }));
    without
}

/// Adds up the processes of one name in one container.
fn programs(processes: &[ProcessRow]) -> Vec<ProgramRow> {
    let mut programs: BTreeMap<(&str, &str, Option<&str>), (u64, ProgramRow)> = BTreeMap::new();
    for process in processes {
        let key = (process.netns.as_str(), process.process.as_str(), process.container.as_deref());
        let (most, row) = programs.entry(key).or_insert_with(|| {
            let row = ProgramRow {
                netns: process.netns.clone(),
                program: process.process.clone(),
                container: process.container.clone(),
                processes: 0,
                pid: process.pid,
                total: 0,
                by_state: ByState::new(),
            };
            (0, row)
        });
        row.processes += 1;
        row.total += process.total;
        for (state, count) in &process.by_state {
            *row.by_state.entry(state).or_default() += count;
        }
        if process.total > *most {
            (*most, row.pid) = (process.total, process.pid);
        }
    }
    programs.into_values().map(|(_, row)| row).collect()
}

/// At most three programs in words, the largest part first: `curl (pid 812)`, `php-fpm (24 processes)`.
pub(crate) fn in_words<'a>(owners: impl Iterator<Item = (&'a str, u32, f64)>) -> Option<String> {
    let mut programs: BTreeMap<&str, (BTreeSet<u32>, f64)> = BTreeMap::new();
    for (name, pid, share) in owners {
        let (pids, sum) = programs.entry(name).or_default();
        pids.insert(pid);
        *sum += share;
    }
    let mut programs: Vec<_> = programs.into_iter().collect();
    // Stable: equal shares keep the order of their names.
    programs.sort_by(|a, b| b.1.1.total_cmp(&a.1.1));
    let named: Vec<String> = programs
        .iter()
        .take(3)
        .map(|(program, (pids, _))| match pids.first() {
            Some(pid) if pids.len() == 1 => format!("{} (pid {pid})", name(program)),
            _ => format!("{} ({} processes)", name(program), pids.len()),
        })
        .collect();
    match (named.is_empty(), programs.len() - named.len()) {
        (true, _) => None,
        (_, 0) => Some(named.join(", ")),
        (_, more) => Some(format!("{} and {more} more", named.join(", "))),
    }
}

impl GroupRow {
    fn new(namespace: &Namespace, group: &Group, total: u64) -> Self {
        let mut owners: BTreeMap<u32, (u64, u64, KnownBy)> = BTreeMap::new();
        for owner in &group.owners {
            if let Some(process) = owner.process {
                let count = owner.states.total();
                // A process is known in the way that most of its sockets are known by.
                let (sum, most, known_by) = owners.entry(process).or_insert((0, 0, owner.known_by));
                *sum += count;
                if count > *most {
                    (*most, *known_by) = (count, owner.known_by);
                }
            }
        }
        let mut owners: Vec<OwnerRow> = owners
            .into_iter()
            .filter_map(|(index, (count, _, known_by))| {
                let process = namespace.processes.get(index as usize)?;
                let share = rounded(count as f64 / total.max(1) as f64);
                Some(OwnerRow { process: name(&process.name), pid: process.pid, share, known_by })
            })
            .collect();
        owners.sort_by(|a, b| b.share.total_cmp(&a.share).then_with(|| a.pid.cmp(&b.pid)));
        let owned_by = in_words(owners.iter().map(|owner| (owner.process.as_str(), owner.pid, owner.share)));
        owners.truncate(MAX_OWNERS);
        Self {
            netns: name(&namespace.name),
            role: group.role,
            local: group.local.to_string(),
            remote: group.remote.to_string(),
            total,
            by_state: by_state(&group.states),
            owners,
            owned_by,
        }
    }
}

impl ListenerRow {
    fn new(namespace: &Namespace, listener: &Listener) -> Self {
        let process = listener.process.and_then(|index| namespace.processes.get(index as usize));
        Self {
            netns: name(&namespace.name),
            address: listener.address.to_string(),
            queue: listener.queue,
            backlog: listener.backlog,
            process: process.map(|process| name(&process.name)),
            pid: process.map(|process| process.pid),
        }
    }
}

pub(crate) fn by_state(counts: &StateCounts) -> ByState {
    let mut map = ByState::new();
    add(&mut map, counts);
    map
}

fn add(map: &mut ByState, counts: &StateCounts) {
    for (state, count) in counts.iter() {
        *map.entry(state.name()).or_default() += u64::from(count);
    }
}
