//! Who talks to whom, and how.

use super::{Idle, Range};
use crate::scenario::Http;
use serde::Serialize;
use std::net::IpAddr;

/// An end of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// The host that was looked at.
    Here,
    /// A peer.
    At(IpAddr),
    /// Several peers that were not kept apart.
    Others,
}

impl std::fmt::Display for Party {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Here => f.write_str("this host"),
            Self::At(address) => address.fmt(f),
            Self::Others => f.write_str("other hosts"),
        }
    }
}

impl Serialize for Party {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How connections of a talker end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ends {
    /// The client's FIN comes first.
    ClientCloses,
    /// The server's FIN comes first.
    ServerCloses,
    /// The client aborts: SO_LINGER with zero seconds, or unread data.
    ClientResets,
    /// The server aborts.
    ServerResets,
    /// The client closes, and the server never does.
    ServerNeverCloses,
    /// The server closes, and the client never does.
    ClientNeverCloses,
    /// Nobody has closed.
    StaysOpen,
    /// The server closes what is idle, and the client's next request may meet that.
    ServerClosesIdle,
}

/// Whether connections go on to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pace {
    /// Not known: they are played once, as they were.
    Once,
    /// They do.
    GoesOn,
    /// They would, but find no local port any more.
    Starves,
}

/// Connections from one party to a port of another that go the same way.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Talker {
    /// Who connects.
    pub client: Party,
    /// Who serves.
    pub server: Party,
    /// Where.
    pub port: u16,
    /// Connections that were seen, times the load that was asked for.
    pub connections: u64,
    /// In this time, milliseconds.
    pub over_ms: u64,
    /// Connections a second.
    pub per_second: Range,
    /// So many are begun together at most.
    pub burst: u32,
    /// Whether it goes on.
    pub pace: Pace,
    /// Most that were open at once.
    pub at_once: u32,
    /// How long one is open, milliseconds.
    pub open_ms: u64,
    /// Requests on each.
    pub requests: u32,
    /// HTTP that the client speaks.
    #[serde(skip)]
    pub http: Http,
    /// HTTP was seen on it.
    pub is_http: bool,
    /// How they end.
    pub ends: Ends,
    /// The client calls bind() before connect().
    pub binds: bool,
    /// Local addresses that the client uses.
    pub sources: u16,
    /// Local ports that it holds, if the client is this host.
    pub ports_held: u64,
    /// The server answers without timestamps.
    pub without_timestamps: bool,
    /// What is known of connections that their server closes when they are idle.
    pub idle: Option<Idle>,
    /// The program here, if it is known.
    pub process: Option<String>,
}

impl Talker {
    /// One of which nothing more is known.
    pub(super) const fn new(client: Party, server: Party, port: u16, ends: Ends) -> Self {
        Self {
            client,
            server,
            port,
            connections: 0,
            over_ms: 1_000,
            per_second: Range::exactly(0.0),
            burst: 1,
            pace: Pace::Once,
            at_once: 1,
            open_ms: 0,
            requests: 1,
            http: Http::V1_1,
            is_http: false,
            ends,
            binds: false,
            sources: 1,
            ports_held: 0,
            without_timestamps: false,
            idle: None,
            process: None,
        }
    }

    /// True if it goes on, or would if there were ports.
    pub const fn lasts(&self) -> bool {
        !matches!(self.pace, Pace::Once)
    }

    /// True if it finds no local port any more.
    pub const fn starves(&self) -> bool {
        matches!(self.pace, Pace::Starves)
    }

    /// Where it goes, in words.
    pub fn destination(&self) -> String {
        match self.server {
            Party::At(IpAddr::V6(address)) => format!("[{address}]:{}", self.port),
            party => format!("{party}, port {}", self.port),
        }
    }

    /// True if each of its connections leaves its port in TIME-WAIT, or keeps it for long.
    pub(super) const fn holds_ports(&self) -> bool {
        matches!(
            self.ends,
            Ends::ClientCloses | Ends::ServerNeverCloses | Ends::StaysOpen | Ends::ClientNeverCloses
        )
    }

    /// So many times as much.
    pub(super) fn scale(&mut self, factor: f64) {
        let scaled = |count: f64| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a count, times at most 1000"
            )]
            let count = (count * factor).round() as u64;
            count
        };
        self.connections = scaled(self.connections as f64).max(1);
        self.per_second = self.per_second.times(factor);
        if let Some(idle) = &mut self.idle {
            for count in [&mut idle.requests, &mut idle.asked_after, &mut idle.met, &mut idle.seen] {
                *count = scaled(*count as f64);
            }
        }
        if self.lasts() {
            self.at_once = u32::try_from(scaled(f64::from(self.at_once)).max(1)).unwrap_or(u32::MAX);
            self.burst = u32::try_from(scaled(f64::from(self.burst)).max(1)).unwrap_or(u32::MAX);
        }
    }
}
