//! Servers and clients, and how each closes.

use evidence::PortRange;
use serde::{Deserialize, Serialize};

/// How a side closes its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Close {
    /// When.
    pub when: ClosesWhen,
    /// After so many requests, with `when = "requests"`.
    #[serde(default = "one")]
    pub requests: u32,
    /// So long after what `when` names; with `idle`, how long nothing came. Milliseconds.
    #[serde(default)]
    pub after_ms: u64,
    /// How.
    #[serde(default)]
    pub how: How,
    /// With `how = "linger"`: so long close() waits at most, seconds.
    pub linger_s: Option<u16>,
}

impl Close {
    /// After one request, and at once.
    pub const fn new(when: ClosesWhen, how: How) -> Self {
        Self { when, requests: 1, after_ms: 0, how, linger_s: None }
    }
}

const fn one() -> u32 {
    1
}

/// When a side closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClosesWhen {
    /// After so many requests were answered: first, if the other side waits.
    Requests,
    /// When the other side has closed: second.
    Peer,
    /// When nothing came for a time.
    Idle,
    /// Never: it leaks the socket, whatever the other side does.
    Never,
}

/// How a side closes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// close(): a FIN.
    #[default]
    Fin,
    /// shutdown(SHUT_WR), and close() when the other side has closed.
    Shutdown,
    /// close() with SO_LINGER on and zero seconds: a reset.
    Reset,
    /// close() with SO_LINGER on and more seconds: a FIN, and it waits until that is acknowledged.
    Linger,
    /// close() with unread data in the receive buffer: a reset.
    Unread,
    /// A last message (GOODBYE) that asks the other side to close first; then as `peer`. Who waits in vain for
    /// `after_ms` resets.
    Goodbye,
}

impl How {
    /// How a connection is closed on which nothing more is to be said or read.
    #[must_use]
    pub const fn bare(self) -> Self {
        match self {
            Self::Reset | Self::Linger => self,
            Self::Fin | Self::Shutdown | Self::Unread | Self::Goodbye => Self::Fin,
        }
    }
}

/// The version of HTTP a side speaks, and what it says of keep-alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Http {
    /// HTTP/1.0 without a word on keep-alive.
    #[serde(rename = "1.0")]
    V1_0,
    /// HTTP/1.1, which keeps alive.
    #[default]
    #[serde(rename = "1.1")]
    V1_1,
    /// HTTP/1.1 with `Connection: close`.
    #[serde(rename = "1.1-close")]
    V1_1Close,
}

/// Who listens and answers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Its name, for `to`, `upstream`, steps.
    pub name: String,
    /// The host it runs on.
    pub host: String,
    /// The port it listens on.
    pub port: u16,
    /// On how many ports from there it listens: more destinations.
    #[serde(default = "one_port")]
    pub ports: u16,
    /// The backlog given to listen().
    #[serde(default = "backlog")]
    pub backlog: u32,
    /// SO_REUSEADDR before bind().
    #[serde(default = "yes")]
    pub reuse_address: bool,
    /// It calls accept().
    #[serde(default = "yes")]
    pub accepts: bool,
    /// It serves so many connections at once, and accepts no more meanwhile; none: as many as come. The simulator has
    /// no such limit.
    pub workers: Option<u32>,
    /// SO_KEEPALIVE on what it accepts: idle seconds before the first probe, seconds between, probes.
    pub keepalive_s: Option<(u32, u32, u32)>,
    /// What it answers to a request.
    #[serde(default)]
    pub answer: Answer,
    /// How it closes.
    pub close: Close,
}

const fn one_port() -> u16 {
    1
}

const fn backlog() -> u32 {
    4_096
}

const fn yes() -> bool {
    true
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Answer {
    /// Bytes of its body.
    pub bytes: u32,
    /// How long it takes, milliseconds.
    pub after_ms: u64,
    /// It says its length; if not, its end is the end of the connection.
    pub length: bool,
    /// Its last bytes and the FIN go in one segment, where it closes right behind.
    pub with_fin: bool,
    /// It does not read what came before it answers.
    pub unread: bool,
}

impl Default for Answer {
    fn default() -> Self {
        Self { bytes: 100, after_ms: 0, length: true, with_fin: false, unread: false }
    }
}

/// Who connects.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// Its name; also in the names of measures.
    pub name: String,
    /// The host it runs on.
    pub host: String,
    /// The servers, proxies or load balancers it connects to, in turn.
    pub to: Vec<String>,
    /// Connections in all, those that fail included. With a pool: requests in all.
    pub connections: u32,
    /// Connections begun a second, evenly; none: each when the one before is done.
    pub per_second: Option<f64>,
    /// With `per_second`: so many are begun together, at the same mean rate.
    #[serde(default = "one")]
    pub burst: u32,
    /// How many at once, at most.
    #[serde(default = "one")]
    pub concurrency: u32,
    /// It begins then, milliseconds from the start.
    #[serde(default)]
    pub start_ms: u64,
    /// It begins no connection later than so long after its start, milliseconds.
    pub for_ms: Option<u64>,
    /// Requests on each connection.
    #[serde(default = "one")]
    pub requests: u32,
    /// Bytes of a request's body.
    #[serde(default)]
    pub request_bytes: u32,
    /// Time between an answer and the next request on a connection, milliseconds.
    #[serde(default)]
    pub think_ms: u64,
    /// HTTP it speaks.
    #[serde(default)]
    pub http: Http,
    /// It keeps so many connections open for the next request; none: no pool.
    pub pool: Option<u32>,
    /// A connection of the pool that is idle so long is closed, milliseconds.
    pub pool_idle_ms: Option<u64>,
    /// Of the connections of its pool that the server has closed, so large a part is asked all the same, 0 to 1: the
    /// FIN is under way, or the client does not look. Only a fitted model knows it: in a scenario faults make it
    /// happen.
    #[serde(skip)]
    pub misses_close: f64,
    /// What it does before connect().
    #[serde(default)]
    pub bind: Bind,
    /// With `bind = "port"`: the port.
    pub port: Option<u16>,
    /// Its own range of source ports, `IP_LOCAL_PORT_RANGE`: the first and the last; none: its host's.
    pub ports: Option<(u16, u16)>,
    /// It uses so many of its host's addresses in turn as source (with `bind` other than `none`).
    #[serde(default = "one_port")]
    pub sources: u16,
    /// It goes to so many addresses of each destination's host in turn: more destinations.
    #[serde(default = "one_port")]
    pub destinations: u16,
    /// connect() and recv() give up after so long, milliseconds.
    #[serde(default = "timeout")]
    pub timeout_ms: u64,
    /// How it closes.
    pub close: Close,
}

const fn timeout() -> u64 {
    10_000
}

impl Client {
    /// Its own range of source ports.
    pub fn own_ports(&self) -> Option<PortRange> {
        self.ports.map(|(first, last)| PortRange { first, last })
    }
}

/// What a client does before connect().
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bind {
    /// Nothing: the kernel picks address and port in connect().
    #[default]
    None,
    /// bind(address, 0): the kernel picks the port at once, for all destinations.
    Address,
    /// IP_BIND_ADDRESS_NO_PORT, then bind(address, 0).
    AddressNoPort,
    /// SO_REUSEADDR and bind(address, port).
    Port,
}
