//! Servers and clients that open and close exactly as they are told.
//!
//! The programs of the world close as they please, and often two ways race. These do one thing: the side that shall
//! close first does, with the call it is told, at the moment it is told. They run as threads of a
//! [host](crate::host).

mod client;
mod closing;
mod result;
mod server;
mod socket;
mod wire;

pub use client::RunningLoad;
pub use result::{LoadResult, ServerResult, Times};
pub use server::RunningServer;

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// What goes over a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Wire {
    /// A request of so many bytes is answered by so many.
    Bytes {
        /// Bytes of a request, at least one.
        request: u32,
        /// Bytes of an answer, at least one.
        answer: u32,
    },
    /// HTTP/1: a GET and its answer.
    Http {
        /// True for HTTP/1.1, false for 1.0; the client's and, in its answers, the server's.
        http11: bool,
        /// The client's `Connection` header.
        connection: ConnectionHeader,
        /// Bytes of a body.
        body: u32,
        /// True if answers say how long they are; false: they end with the connection.
        content_length: bool,
    },
}

/// What a client says about keeping the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionHeader {
    /// Nothing: HTTP/1.1 keeps it, HTTP/1.0 does not.
    #[default]
    None,
    /// `Connection: keep-alive`.
    KeepAlive,
    /// `Connection: close`.
    Close,
}

/// With which call a side closes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// close(): a FIN, and the kernel sees to the rest.
    #[default]
    Close,
    /// shutdown(WR): a FIN; then it reads until the peer has closed, too, and only then close().
    Shutdown,
    /// close() with `SO_LINGER` at zero seconds: a reset.
    Reset,
    /// close() while something was received that nobody read: a reset.
    Unread,
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Where it listens.
    pub listen: SocketAddr,
    /// listen()'s backlog.
    pub backlog: u32,
    /// False: it never accepts, so the queue fills.
    pub accepts: bool,
    /// True: `SO_REUSEADDR` before bind().
    pub reuse_address: bool,
    /// What it answers.
    pub wire: Wire,
    /// How long it takes for an answer, in milliseconds.
    pub delay_ms: u32,
    /// When and how it closes.
    pub closes: ServerCloses,
    /// The most connections that are served at once; others wait in the queue.
    pub workers: u32,
}

/// When a server closes, whatever comes first, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerCloses {
    /// After so many answers on a connection; never for that reason, if none.
    #[serde(default)]
    pub after: Option<u32>,
    /// When the request asks for it: HTTP/1.0 without keep-alive, or `Connection: close`.
    #[serde(default)]
    pub when_asked: bool,
    /// After so many milliseconds without a request; never for that reason, if none.
    #[serde(default)]
    pub idle_ms: Option<u32>,
    /// It never closes after the client did: it forgets the socket, which stays in CLOSE-WAIT.
    #[serde(default)]
    pub forgets: bool,
    /// It says goodbye instead of closing, after `after` answers or when the client says that it is done; the client
    /// closes. If that takes longer than so many milliseconds, it closes after all.
    #[serde(default)]
    pub goodbye_ms: Option<u32>,
    /// The call it closes with.
    #[serde(default)]
    pub how: How,
    /// So many milliseconds pass between the last answer and the close.
    #[serde(default)]
    pub delay_ms: u32,
    /// The FIN goes out in one segment with the end of the answer (`MSG_MORE`, then close).
    #[serde(default)]
    pub with_answer: bool,
}

/// A client, or many that do the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// Where to, in turn.
    pub to: Vec<SocketAddr>,
    /// Turns: connections, or requests if they are pooled.
    pub count: u64,
    /// Turns that begin in a second; as many as possible if none. A turn that is late does not delay the next ones.
    #[serde(default)]
    pub rate: Option<f64>,
    /// It ends after so many milliseconds, whatever is left.
    pub at_most_ms: u64,
    /// Turns that go on at once.
    pub concurrency: u32,
    /// What is asked and answered.
    pub wire: Wire,
    /// True: a connection is kept for the next turns of the same worker, and made again if the server closed it.
    #[serde(default)]
    pub pooled: bool,
    /// Requests on a connection. Without a pool all of them in one turn; with it, the connection is closed then.
    pub requests: u32,
    /// Milliseconds between two requests of a turn.
    #[serde(default)]
    pub pause_ms: u32,
    /// Which end it binds to before connect(); the kernel chooses if none.
    #[serde(default)]
    pub bind: Option<Bind>,
    /// connect() may take so many milliseconds.
    pub connect_timeout_ms: u32,
    /// An answer may take so many milliseconds.
    pub answer_timeout_ms: u32,
    /// How it closes.
    pub closes: ClientCloses,
    /// It stops after so many failures of bind() or connect() in a row; never if none.
    #[serde(default)]
    pub gives_up_after: Option<u64>,
}

/// How a client closes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientCloses {
    /// When.
    #[serde(default)]
    pub when: When,
    /// The call it closes with.
    #[serde(default)]
    pub how: How,
    /// So many milliseconds pass between the last answer (or the server's FIN) and the close.
    #[serde(default)]
    pub delay_ms: u32,
}

/// When a client closes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// After the last answer: first.
    #[default]
    First,
    /// When the server has closed: second.
    Second,
    /// When the server says goodbye, which it awaits.
    Goodbye,
    /// It says that it is done, and closes when the server says goodbye.
    Done,
    /// Not before the load is stopped or its host ends.
    Never,
}

/// What a client binds to before connect().
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bind {
    /// Source addresses, in turn.
    pub addresses: Vec<IpAddr>,
    /// First and last source port, in turn; the kernel chooses if none.
    #[serde(default)]
    pub ports: Option<(u16, u16)>,
    /// `IP_BIND_ADDRESS_NO_PORT`: bind() takes no port, connect() does.
    #[serde(default)]
    pub without_port: bool,
    /// `SO_REUSEADDR`.
    #[serde(default)]
    pub reuse_address: bool,
}
