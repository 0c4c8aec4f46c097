//! Connection tracking: how full its table is, what is in it by state, and what it dropped.

use crate::netlink::{self, DUMP, Netlink, Progress, attributes, records};
use crate::root::{self, Root, why};
use evidence::{CONNTRACK_STATES, Conntrack, Gap, Settings, Unseen, proc};
use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

/// The largest /proc/net/stat/nf_conntrack that is read: a line of 160 bytes for each CPU.
const MAX_FILE: usize = 4 << 20;

/// The table is read for so long; what comes later is not counted, and the counts are called partial.
const PATIENCE: Duration = Duration::from_secs(2);

// include/uapi/linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h
const CTNETLINK: u16 = 1 << 8;
const CT_NEW: u16 = CTNETLINK;
const CT_GET: u16 = CTNETLINK | 1;
const CT_GET_STATS_CPU: u16 = CTNETLINK | 4;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTOINFO: u16 = 4;
const CTA_PROTOINFO_TCP: u16 = 1;
const CTA_PROTOINFO_TCP_STATE: u16 = 1;
/// Bytes of `struct nfgenmsg`: family, version, and a resource number.
const NFGENMSG: usize = 4;

const TCP: u8 = 6;

/// The statistics of ctnetlink by attribute, named as in /proc/net/stat/nf_conntrack (`enum ctattr_stats_cpu`).
const STATISTICS: [(u16, &str); 14] = [
    (1, "searched"),
    (2, "found"),
    (3, "new"),
    (4, "invalid"),
    (5, "ignore"),
    (6, "delete"),
    (8, "insert"),
    (9, "insert_failed"),
    (10, "drop"),
    (11, "early_drop"),
    (12, "icmp_error"),
    (13, "search_restart"),
    (14, "clashres"),
    (15, "chainlength"),
];

/// Reads conntrack in the calling thread's network namespace; none where it is not loaded.
///
/// `settings` has the number of entries and its bound. The entries are counted by state unless there are none;
/// that needs `CAP_NET_ADMIN`, without it there is a gap. The statistics are put into `stats_end`.
pub fn read(root: &Root, settings: &Settings, gaps: &mut Vec<Gap>) -> Option<Conntrack> {
    let entries = settings.number("net.netfilter.nf_conntrack_count")?;
    let mut conntrack = Conntrack {
        entries,
        max: settings.number("net.netfilter.nf_conntrack_max").unwrap_or(0),
        stats_end: stats(root),
        ..Conntrack::default()
    };
    if entries > 0 {
        let mut count = Count::default();
        let ended = dump(&request(CT_GET), PATIENCE, |datagram| count.add(datagram));
        match ended {
            Ok(complete) => conntrack.partial = !complete,
            Err(error) => {
                conntrack.partial = true;
                let how_to_see = match error.kind() {
                    io::ErrorKind::PermissionDenied => "run as root, with CAP_NET_ADMIN",
                    io::ErrorKind::TimedOut => "look again when the host is less busy",
                    io::ErrorKind::InvalidData => "conntrack -L",
                    _ => "modprobe nf_conntrack_netlink",
                };
                gaps.push(Gap {
                    unseen: Unseen::Conntrack,
                    netns: None,
                    because: format!("conntrack's {entries} entries by state: {}", why(&error)),
                    how_to_see: how_to_see.to_owned(),
                });
            }
        }
        conntrack.tcp_by_state = count.by_state();
        conntrack.other_protocols = count.other;
    }
    Some(conntrack)
}

/// Reads the statistics of the calling thread's network namespace, summed over CPUs: `drop`, `early_drop`,
/// `insert_failed`, `invalid`. Empty where conntrack is not loaded or they cannot be read.
pub fn stats(root: &Root) -> BTreeMap<String, u64> {
    let file = root.thread_net().and_then(|net| root::read(&net.join("stat/nf_conntrack"), MAX_FILE));
    match file {
        Ok(text) => proc::conntrack_stats(&text),
        // A kernel without CONFIG_NF_CONNTRACK_PROCFS. Asking for conntrack would load it, so first see
        // whether it is there.
        Err(_) if root.proc.join("sys/net/netfilter/nf_conntrack_count").exists() => {
            let mut sums = BTreeMap::new();
            let complete =
                dump(&request(CT_GET_STATS_CPU), PATIENCE, |datagram| add_stats(datagram, &mut sums));
            // Sums over a part of the CPUs would seem to go back.
            if complete.is_ok_and(|complete| complete) { sums } else { BTreeMap::new() }
        }
        Err(_) => BTreeMap::new(),
    }
}

/// Sends a request for a dump and gives each datagram to `take`, until that has seen the end. True if the dump
/// was complete, false if it took longer than `patience`.
fn dump(
    request: &[u8],
    patience: Duration,
    mut take: impl FnMut(&[u8]) -> io::Result<Progress>,
) -> io::Result<bool> {
    let mut socket = Netlink::open(rustix::net::netlink::NETFILTER)?;
    socket.send(request)?;
    let end = Instant::now() + patience;
    loop {
        if take(socket.receive()?)? == Progress::End {
            return Ok(true);
        }
        if Instant::now() > end {
            return Ok(false);
        }
    }
}

fn request(kind: u16) -> Vec<u8> {
    // Family 0 (AF_UNSPEC) is IPv4 and IPv6; version NFNETLINK_V0; no resource.
    netlink::request(kind, DUMP, &[0; NFGENMSG])
}

/// Entries by protocol and state, counted while they stream by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    tcp: [u64; CONNTRACK_STATES.len()],
    other: u64,
}

impl Count {
    /// Counts the entries of one datagram of a dump.
    pub fn add(&mut self, datagram: &[u8]) -> io::Result<Progress> {
        walk(datagram, CT_NEW, |attributes| self.add_entry(attributes))
    }

    fn add_entry(&mut self, entry: &[u8]) {
        let protocol = find(entry, CTA_TUPLE_ORIG)
            .and_then(|tuple| find(tuple, CTA_TUPLE_PROTO))
            .and_then(|protocol| find(protocol, CTA_PROTO_NUM))
            .and_then(|number| number.first());
        if protocol != Some(&TCP) {
            self.other += 1;
            return;
        }
        let state = find(entry, CTA_PROTOINFO)
            .and_then(|info| find(info, CTA_PROTOINFO_TCP))
            .and_then(|tcp| find(tcp, CTA_PROTOINFO_TCP_STATE))
            .and_then(|state| state.first());
        // An entry without a state that we know counts as one without a state.
        let state = state.map_or(0, |state| usize::from(*state));
        self.tcp[if state < CONNTRACK_STATES.len() { state } else { 0 }] += 1;
    }

    /// TCP entries by conntrack's own state names; states without entries are left out.
    pub fn by_state(&self) -> BTreeMap<String, u64> {
        let named = CONNTRACK_STATES.iter().zip(self.tcp).filter(|(_, count)| *count > 0);
        named.map(|(name, count)| ((*name).to_owned(), count)).collect()
    }

    /// Entries of other protocols.
    pub fn other(&self) -> u64 {
        self.other
    }
}

/// Adds the statistics in one datagram: one message for each CPU.
pub fn add_stats(datagram: &[u8], sums: &mut BTreeMap<String, u64>) -> io::Result<Progress> {
    walk(datagram, CT_GET_STATS_CPU, |cpu| {
        for (kind, value) in attributes(cpu) {
            if let Some((_, name)) = STATISTICS.iter().find(|(number, _)| *number == kind)
                && let Ok(value) = value.try_into().map(u32::from_be_bytes)
            {
                let sum = sums.entry((*name).to_owned()).or_insert(0_u64);
                *sum = sum.saturating_add(u64::from(value));
            }
        }
    })
}

/// Gives the attributes of each record of one kind to `take`.
fn walk(datagram: &[u8], wanted: u16, mut take: impl FnMut(&[u8])) -> io::Result<Progress> {
    records(datagram, wanted, |body, _| take(body.get(NFGENMSG..).unwrap_or_default()))
}

fn find(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(kind, value)| (kind == wanted).then_some(value))
}

#[cfg(test)]
mod tests;
