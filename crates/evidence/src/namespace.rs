//! One network namespace: the unit that has its own sockets, ports, settings and counters.

use crate::{Conntrack, Counters, Settings, Sockets};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// What was seen in one network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Namespace {
    /// How it is called: `host`, its name under /run/netns, or `pid:N`.
    pub name: String,
    /// Its number, as in `net:[4026531840]`.
    pub inode: u64,
    /// True if the program that looked was in it: commands typed where it ran need no way in.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub here: bool,
    /// Whose it is: containers and processes, `nginx (pid 12, container 4f1c…)`.
    pub holders: Vec<String>,
    /// The addresses of its interfaces, the loopback's among them. Empty where they were not read, as in cases of
    /// versions that did not, and in pasted outputs.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub addresses: BTreeSet<IpAddr>,
    /// Settings that exist here.
    pub settings: Settings,
    /// Counters.
    pub counters: Counters,
    /// /proc/net/sockstat and sockstat6 as `TCP.inuse`, `TCP.tw`. `orphan`, `alloc` and `mem` are host-wide.
    pub sockstat: BTreeMap<String, u64>,
    /// Processes that own sockets here.
    pub processes: Vec<Process>,
    /// The sockets.
    pub sockets: Sockets,
    /// Connection tracking; none where it is not loaded or could not be read (then there is a gap).
    pub conntrack: Option<Conntrack>,
}

/// A process that owns sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    /// Its id in the pid namespace of the observer.
    pub pid: u32,
    /// Its name as the kernel keeps it (`comm`). Not trusted: may hold any bytes but NUL, made valid UTF-8.
    pub name: String,
    /// The container it runs in, where /proc/PID/cgroup tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Open files, where they were counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u64>,
    /// Its soft limit of open files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files_limit: Option<u64>,
}
