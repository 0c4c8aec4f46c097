//! What goes wrong, and what is done while it runs.

use super::Settings;
use serde::Deserialize;

/// Segments that are lost or late at a host.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The host whose packets are meant.
    pub host: String,
    /// Those it receives; else those it sends.
    #[serde(default)]
    pub incoming: bool,
    /// What is dropped.
    pub drop: Drops,
    /// The port it concerns, at either end; none: all.
    pub port: Option<u16>,
    /// From then, milliseconds from the start,
    #[serde(default)]
    pub from_ms: u64,
    /// for so long; none: to the end.
    pub for_ms: Option<u64>,
}

/// What a fault drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Drops {
    /// ACKs without data or another flag.
    PureAcks,
    /// Segments with FIN.
    Fins,
    /// Segments with RST.
    Resets,
    /// SYNs without ACK.
    Syns,
    /// Segments with data.
    Data,
    /// All.
    Everything,
}

/// Something done at a time.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Milliseconds from the start.
    pub at_ms: u64,
    /// The host whose settings change.
    pub host: Option<String>,
    /// Its new settings.
    #[serde(default)]
    pub set: Settings,
    /// A server that ends (all its sockets close as the kernel closes them) and starts again.
    pub restart: Option<String>,
    /// A server or client that ends, and does not start again.
    pub end: Option<String>,
    /// Kills the sockets of this host that are in a state (as `ss -K` does), without a packet for TIME-WAIT.
    pub destroy: Option<String>,
}
