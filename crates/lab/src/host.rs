//! A host of the lab: a process in a network namespace of its own, which does what it is told.
//!
//! Orders come as JSON, one on a line, on standard input; each is answered by one line on standard output. What an
//! order starts goes on in a thread or a child of the host until it is waited for, stopped, or the host ends with
//! its standard input.

mod clock;
mod controller;
mod hop;
mod prober;
mod programs;
mod serving;

pub use controller::{Host, HostError};
pub use serving::serve;

pub(crate) use prober::DEVICE as PROBE;
pub(crate) use programs::run;

use crate::peer::{Load, LoadResult, Server, ServerResult};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use world::scenario::Segments;

/// What its words begin with where a setting cannot be written.
pub(crate) const SETTING: &str = "setting";

/// What a host is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    /// Run the lines of a batch with `ip -batch`, in order.
    Ip {
        /// As for `ip`, one command a line: `link set lo up`.
        batch: String,
    },
    /// Make an interface whose other end is a port in the stage's network. On the way the timestamps of segments are
    /// changed, so that this host's clock is ahead, and segments are held back.
    Hop {
        /// The interface.
        interface: String,
        /// The port.
        port: String,
        /// By so many milliseconds; behind, if negative.
        ahead_ms: i64,
    },
    /// Hold segments back on all hops of this host, from now on.
    HoldBack {
        /// To end it by.
        number: u32,
        /// Which, and for how long.
        delay: Delay,
    },
    /// Hold what comes from now on back no more.
    LetGo {
        /// The number that it began with.
        number: u32,
    },
    /// Load a rule set with `nft -f`.
    Nft {
        /// Its text.
        script: String,
    },
    /// Write settings, in order.
    Set {
        /// Name, with dots, and value.
        settings: Vec<(String, String)>,
    },
    /// Run a program to its end, at most for ten seconds, and give what it printed.
    Run {
        /// The program and its arguments.
        command: Vec<String>,
    },
    /// Start a server.
    Serve {
        /// What it does.
        server: Server,
    },
    /// Start a client, or many.
    Load {
        /// What it does.
        load: Load,
    },
    /// Play the client of a connection whose server closes first, up to a state of the server's socket.
    Approach {
        /// The played end.
        client: SocketAddr,
        /// The server.
        server: SocketAddr,
        /// Negotiate timestamps.
        timestamps: bool,
        /// Close, too, so that the server is in TIME-WAIT; else it stays in FIN-WAIT-2.
        closes: bool,
    },
    /// Send one segment on such a connection, and see what comes back.
    Craft {
        /// The played end.
        client: SocketAddr,
        /// The bits of its flags.
        flags: u8,
        /// Its sequence number, from the one that the server expects next.
        seq: u32,
        /// Its timestamp, from the last one that the server heard; none: without the option.
        timestamp: Option<u32>,
        /// Bytes of data.
        bytes: u32,
    },
    /// Start a program that goes on until it is stopped.
    Start {
        /// Which, and how one knows that it is ready.
        program: Program,
    },
    /// Say whether a load is done.
    IsDone {
        /// The number that its start was answered with.
        id: u32,
    },
    /// Wait until what was started has ended, and give its result.
    Wait {
        /// The number that its start was answered with.
        id: u32,
    },
    /// Stop what was started, and give its result.
    Stop {
        /// The number that its start was answered with.
        id: u32,
    },
}

/// Segments that a host holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delay {
    /// Those it receives; else those it sends.
    pub incoming: bool,
    /// Which of them.
    pub segments: Segments,
    /// With this port at either end; none: all.
    pub port: Option<u16>,
    /// For so many milliseconds.
    pub ms: u64,
}

/// A program that runs beside the peers: a proxy, a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// It is ready when this text stands on its standard error; when it was started, if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<String>,
    /// It is ready when somebody listens on this port. No connection is made: it would be counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listens: Option<u16>,
}

/// What a host answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// It is done.
    Done,
    /// Whether a load is done.
    IsDone {
        /// True if every turn is over.
        done: bool,
    },
    /// It runs.
    Started {
        /// The number to wait for it, or to stop it.
        id: u32,
    },
    /// What came back to a crafted segment.
    Replied {
        /// The flags of the first answer; none: there was none.
        flags: Option<u8>,
    },
    /// What a program printed.
    Printed {
        /// On standard output, the first 256 KiB.
        output: String,
        /// On standard error, the first 64 KiB.
        errors: String,
    },
    /// What a load came to.
    Load {
        /// Counts and times.
        result: LoadResult,
    },
    /// What a server saw.
    Served {
        /// Counts.
        result: ServerResult,
    },
    /// It could not be done.
    Failed {
        /// Which step, and why.
        error: String,
    },
}
