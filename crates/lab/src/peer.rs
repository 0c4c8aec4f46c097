//! Servers and clients that open and close exactly as they are told.
//!
//! The programs of the world close as they please, and often two ways race. These do one thing: the side that shall
//! close first does, with the call it is told, at the moment it is told. They speak HTTP/1, so that a proxy can stand
//! between them, and run as threads of a [host](crate::host).

mod client;
mod closing;
mod connection;
mod http;
mod pace;
mod pool;
mod result;
mod server;
mod socket;

pub use client::RunningLoad;
pub use pool::Leftover;
pub use result::{LoadResult, ServerResult, Times};
pub use server::RunningServer;
pub(crate) use socket::has_own_ports;

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use world::scenario::{Answer, Close, Http};

/// A server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
    /// listen()'s backlog.
    pub backlog: u32,
    /// False: it never accepts, so the queue fills.
    pub accepts: bool,
    /// So many connections are served at once; the others wait in the kernel's queue. None: as many as there are
    /// threads.
    pub workers: Option<u32>,
    /// True: `SO_REUSEADDR` before bind().
    pub reuse_address: bool,
    /// `SO_KEEPALIVE` on what it accepts: idle seconds before the first probe, seconds between, probes.
    pub keepalive_s: Option<(u32, u32, u32)>,
    /// What it answers.
    pub answer: Answer,
    /// When and how it closes.
    pub close: Close,
}

/// A client, or many that do the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// Where to, in turn.
    pub to: Vec<SocketAddr>,
    /// Turns: connections, or requests with a pool.
    pub turns: u32,
    /// Turns that begin in a second; each when the one before is done, if none.
    pub per_second: Option<f64>,
    /// With `per_second`: so many are begun together, at the same mean rate.
    #[serde(default)]
    pub burst: u32,
    /// Turns that go on at once, at most.
    pub concurrency: u32,
    /// No turn begins later than so many milliseconds after the first.
    pub for_ms: u64,
    /// Requests of a turn without a pool.
    pub requests: u32,
    /// Bytes of a request's body.
    pub request_bytes: u32,
    /// Milliseconds between an answer and the next request on a connection.
    pub think_ms: u64,
    /// The HTTP it speaks.
    pub http: Http,
    /// So many connections are kept for the next turn; none: no pool.
    pub pool: Option<u32>,
    /// A connection of the pool that is idle for so many milliseconds is closed.
    pub pool_idle_ms: Option<u64>,
    /// Which end it binds to before connect(); the kernel chooses if none.
    pub bind: Option<Bind>,
    /// `IP_LOCAL_PORT_RANGE`: the first and the last port that the kernel may choose for it; its host's if none.
    #[serde(default)]
    pub ports: Option<(u16, u16)>,
    /// connect() and recv() give up after so many milliseconds.
    pub timeout_ms: u64,
    /// When and how it closes.
    pub close: Close,
}

/// What a client binds to before connect().
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bind {
    /// Source addresses, in turn.
    pub addresses: Vec<IpAddr>,
    /// The source port; 0: the kernel chooses one.
    pub port: u16,
    /// `IP_BIND_ADDRESS_NO_PORT`: bind() takes no port, connect() does.
    pub without_port: bool,
    /// `SO_REUSEADDR`.
    pub reuse_address: bool,
}
