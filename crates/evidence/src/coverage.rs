//! What could not be seen. Coverage is evidence: a rule that lacks its input says so instead of "all well".

use serde::{Deserialize, Serialize};

/// A kind of evidence that may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unseen {
    /// Sockets, or a part of them.
    Sockets,
    /// Which process owns a socket.
    Owners,
    /// Sysctl settings.
    Settings,
    /// Counters of /proc/net/snmp and /proc/net/netstat, or their movement.
    Counters,
    /// conntrack's table or statistics.
    Conntrack,
    /// How long sockets have waited (`TCP_INFO`).
    Ages,
    /// Ports that bind() took before connect().
    BoundPorts,
    /// Kernel memory by slab.
    Slabs,
    /// A network namespace, or which addresses it has.
    Namespace,
    /// Packets of a capture: it began late, was cut short, or lost some.
    Packets,
    /// Lines of a pasted text.
    Text,
    /// What a program is told by its configuration.
    Configuration,
    /// Which hosts addresses are of: the case has stand-ins.
    Addresses,
    /// Something a newer version of lastack knows about.
    #[serde(other)]
    Other,
}

/// One thing that could not be seen, why, and how to see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// What is missing.
    pub unseen: Unseen,
    /// The namespace it is missing from; none if it concerns the whole host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<String>,
    /// Why, as one clause: `owners of 3 processes: permission denied`.
    pub because: String,
    /// What to do to see it: `run as root`.
    pub how_to_see: String,
}
