//! What `doctor` would have seen on a simulated host: a [`Case`] of each.
//!
//! Rules judge it as they judge a look at a real host, so that what fires can be tried without one. It holds sockets,
//! settings, counters and connection tracking; packets are not in it.

use crate::scenario::{Client, Kernel, Proxy, Server};
use crate::simulator::seen::{HostSeen, Owned};
use evidence::{
    Case, Conntrack, Counters, DYNAMIC_PORT_COUNT, DYNAMIC_PORT_START, Gap, Host, Namespace, Process,
    Settings, SocketSeen, System, TIMED_WAIT_DELAY, Tally, TallyOptions, Unseen,
};
use std::collections::BTreeMap;
use std::net::IpAddr;
use tcp::State;
use tcp::profile::linux;

/// The first process id that is given out, and how far servers and proxies are from clients.
const FIRST_PID: u32 = 1_000;

/// Those whose sockets are told apart.
pub(crate) struct Owners<'a> {
    pub(crate) clients: &'a [Client],
    pub(crate) servers: &'a [Server],
    pub(crate) proxies: &'a [Proxy],
}

impl Owners<'_> {
    /// The processes of a host, and for each owner its place among them.
    fn processes(&self, host: &str) -> (Vec<Process>, BTreeMap<Owned, u32>) {
        let clients =
            self.clients.iter().enumerate().map(|(at, one)| (Owned::Client(at), &one.host, &*one.name));
        let servers =
            self.servers.iter().enumerate().map(|(at, one)| (Owned::Server(at), &one.host, &*one.name));
        let program = |one: &Proxy| match one.program {
            crate::scenario::Program::Nginx => "nginx",
            crate::scenario::Program::Haproxy => "haproxy",
        };
        let proxies =
            self.proxies.iter().enumerate().map(|(at, one)| (Owned::Proxy(at), &one.host, program(one)));
        let mut processes = Vec::new();
        let mut places = BTreeMap::new();
        for (owner, _, name) in clients.chain(servers).chain(proxies).filter(|(_, at, _)| *at == host) {
            let place = u32::try_from(processes.len()).unwrap_or(u32::MAX);
            let pid = FIRST_PID + place;
            processes.push(Process { pid, name: name.to_owned(), ..Process::default() });
            places.insert(owner, place);
        }
        (processes, places)
    }
}

/// What was seen of a host, as a case; none for a system whose tables nobody can paste. That of Windows has what
/// `netstat -ano` and `netsh` show: no timers, no counters, nothing of how long a socket has waited.
pub(crate) fn of_host(seen: HostSeen<'_>, owners: &Owners<'_>) -> Option<Case> {
    let system = match seen.config.kernel {
        Kernel::Macos | Kernel::Freebsd => return None,
        Kernel::Windows | Kernel::WindowsXp => System::Windows,
        _ => System::Linux,
    };
    let linux = system.is_linux();
    let name = &seen.config.name;
    let settings = if linux { settings(&seen) } else { windows_settings(&seen) };
    let (processes, places) = owners.processes(name);
    let cookies = places.values().map(|place| (u64::from(*place) + 1, *place)).collect();
    let mut tally = Tally::new(TallyOptions {
        range: settings.local_port_range(),
        reserved: settings.reserved_ports(),
        owners_by_cookie: cookies,
        seed: 0,
    });
    let place_of = |owner: Option<Owned>| owner.and_then(|owner| places.get(&owner).copied());
    for (port, queue, backlog, owner) in &seen.listeners {
        let inode = place_of(Some(*owner)).map_or(0, |place| place + 1);
        let socket = SocketSeen { receive_queue: *queue, send_queue: Some(*backlog), ..socket(*port, inode) };
        tally.add_listener(&socket, Some(false));
    }
    tally.asked_for_named_ports();
    let mut idle = Vec::new();
    for one in seen.sockets {
        let place = place_of(one.owner).map_or(0, |place| place + 1);
        let socket = SocketSeen {
            state: one.state,
            mini: one.mini,
            local: wide(one.tuple.0.0),
            local_port: one.tuple.0.1,
            remote: wide(one.tuple.1.0),
            remote_port: one.tuple.1.1,
            left_ms: linux.then_some(one.left_ms),
            retransmits: one.retransmits,
            receive_queue: one.unread,
            send_queue: Some(0),
            uid: Some(0),
            inode: Some(if one.held { place } else { 0 }),
            cookie: u64::from(place),
        };
        tally.add(&socket);
        if let Some(idle_ms) = one.idle_ms.filter(|_| linux) {
            idle.push((socket, idle_ms));
        }
    }
    for (socket, idle_ms) in idle {
        tally.add_idle(&socket, idle_ms);
    }
    tally.attribute(|inode| inode.checked_sub(1));
    let stats = |insert_failed: u64, drop: u64| {
        BTreeMap::from([("insert_failed".to_owned(), insert_failed), ("drop".to_owned(), drop)])
    };
    let conntrack = seen.conntrack.as_ref().filter(|_| linux).map(|tracked| Conntrack {
        entries: tracked.by_state.values().sum(),
        max: tracked.max,
        tcp_by_state: tracked.by_state.iter().map(|(state, count)| ((*state).to_owned(), *count)).collect(),
        stats_start: stats(0, 0),
        stats_end: stats(tracked.insert_failed, tracked.dropped),
        ..Conntrack::default()
    });
    let sockstat =
        BTreeMap::from([("TCP.tw".to_owned(), seen.minis), ("TCP.orphan".to_owned(), seen.orphans)]);
    let counted = if linux { seen.counters } else { Vec::new() };
    let start = counted.iter().map(|(name, _)| (name.clone(), 0)).collect();
    let namespace = Namespace {
        name: name.clone(),
        here: true,
        addresses: seen.addresses,
        settings,
        counters: Counters { interval_ms: seen.length_ms, start, end: counted.into_iter().collect() },
        sockstat: if linux { sockstat } else { BTreeMap::new() },
        processes,
        sockets: tally.finish(),
        conntrack,
        ..Namespace::default()
    };
    let host = Host {
        name: name.clone(),
        system,
        kernel: "simulated".to_owned(),
        taken_at: taken_at(seen.length_ms),
        ..Host::default()
    };
    let mut case = Case { host, namespaces: vec![namespace], ..Case::default() };
    if !linux {
        let how_to_see = "capture packets, and lastack read FILE";
        let unseen = |unseen, because: &str| Gap {
            unseen,
            netns: None,
            because: because.to_owned(),
            how_to_see: how_to_see.to_owned(),
        };
        case.gaps = vec![
            unseen(Unseen::Ages, "how old sockets are: netstat shows no timers"),
            unseen(Unseen::Counters, "netstat -s counts no closes"),
        ];
    }
    Some(case)
}

/// A listening socket on every address.
fn socket(port: u16, inode: u32) -> SocketSeen {
    SocketSeen {
        state: State::Listen,
        mini: false,
        local: 0,
        local_port: port,
        remote: 0,
        remote_port: 0,
        left_ms: None,
        retransmits: 0,
        receive_queue: 0,
        send_queue: Some(0),
        uid: Some(0),
        inode: Some(inode),
        cookie: 0,
    }
}

/// As IPv6 writes it.
fn wide(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// What `netsh int ipv4 show dynamicport tcp` and the registry say; before Vista, what the registry means.
fn windows_settings(seen: &HostSeen<'_>) -> Settings {
    let mut settings = Settings { system: System::Windows, ..Settings::default() };
    let range = seen.range;
    let values = [
        (DYNAMIC_PORT_START, u64::from(range.first)),
        (DYNAMIC_PORT_COUNT, u64::from(range.ports())),
        (TIMED_WAIT_DELAY, seen.time_wait.as_secs()),
    ];
    settings.values.extend(values.map(|(name, value)| (name.to_owned(), value.to_string())));
    settings
}

/// The settings that such a kernel has, and what they are.
fn settings(seen: &HostSeen<'_>) -> Settings {
    let mut settings = Settings::default();
    let kernel = seen.config.kernel;
    let tracks = seen.conntrack.is_some();
    let recycles = matches!(kernel, Kernel::Linux4_4 | Kernel::Linux3_10 | Kernel::Linux2_6_32);
    let has = |name: &str| match name {
        "net.ipv4.tcp_tw_recycle" => recycles,
        "net.ipv4.tcp_tw_reuse_delay" => kernel == Kernel::Linux,
        // A vendor's: only where the scenario sets it.
        "net.ipv4.tcp_tw_timeout" => false,
        _ => tracks || !name.starts_with("net.netfilter."),
    };
    for (name, defaults) in linux::DEFAULT_SETTINGS.value.iter().filter(|(name, _)| has(name)) {
        if let Some(default) = defaults.first() {
            settings.values.insert((*name).to_owned(), (*default).to_owned());
        }
    }
    if recycles || kernel == Kernel::Linux4_12 {
        settings.values.insert("net.ipv4.tcp_tw_reuse".to_owned(), "0".to_owned());
    }
    let max = seen.max_time_wait.to_string();
    settings.values.insert("net.ipv4.tcp_max_tw_buckets".to_owned(), max);
    settings.values.insert("net.ipv4.tcp_max_orphans".to_owned(), seen.max_orphans.to_string());
    for (name, value) in &seen.set {
        if name == "net.ipv4.tcp_tw_timeout" || has(name) {
            settings.values.insert(name.clone(), value.trim().to_owned());
        }
    }
    settings
}

/// The end of the run, counted from the beginning of 1970; no run is longer than a week.
fn taken_at(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or_else(String::new, |time| format!("{time:.9}"))
}
