//! What nginx is told.

use super::{FilePlace, Said};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What the files of nginx say, includes and inheritance resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Nginx {
    /// `worker_processes`. Pools and limits of upstreams are for each worker.
    pub worker_processes: Said<Workers>,
    /// `worker_connections`, for each worker: to clients and to upstreams.
    pub worker_connections: Said<u64>,
    /// Blocks `upstream`, in order.
    pub upstreams: Vec<Upstream>,
    /// Blocks `server`, in order.
    pub servers: Vec<Server>,
    /// Every place that passes requests or connections on, in order.
    pub passes: Vec<Pass>,
}

impl Nginx {
    /// The block `upstream` that a pass goes to.
    pub fn upstream_of(&self, pass: &Pass) -> Option<&Upstream> {
        let Target::Upstream { name } = &pass.target else { return None };
        let stream = pass.protocol == Protocol::Stream;
        self.upstreams
            .iter()
            .find(|upstream| upstream.stream == stream && upstream.name.eq_ignore_ascii_case(name))
    }
}

/// How many workers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Workers {
    /// As many as processors are online.
    Auto,
    /// This many.
    Number(u64),
}

impl fmt::Display for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Number(number) => number.fmt(f),
        }
    }
}

/// A block `upstream`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Upstream {
    /// Its name.
    pub name: String,
    /// True if it is in the block `stream`: no requests, and no pool.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stream: bool,
    /// Where it is.
    pub place: FilePlace,
    /// Its servers, in order.
    pub servers: Vec<UpstreamServer>,
    /// `keepalive`: how many idle connections each worker keeps, to all its servers together; 0 is no pool.
    pub keepalive: Said<u64>,
    /// Where a load balancing method stands behind `keepalive`, which then has no effect, or perhaps: before 1.29.7
    /// the one took the place of the other. `keepalive` is 0 then, or unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keepalive_undone_by: Option<FilePlace>,
    /// `keepalive N local`: each location has a pool of its own (1.29.7).
    pub keepalive_local: Said<bool>,
    /// `keepalive_requests`: after how many requests a connection is closed; none is without limit.
    pub keepalive_requests: Said<Option<u64>>,
    /// `keepalive_timeout`: how long a connection waits in the pool, in milliseconds; none is without limit.
    pub keepalive_timeout_ms: Said<Option<u64>>,
    /// `keepalive_time`: how old a connection gets, in milliseconds; none is without limit.
    pub keepalive_time_ms: Said<Option<u64>>,
}

/// A `server` of an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpstreamServer {
    /// Address and port, a name and port, or `unix:` and a path, as it is written.
    pub address: String,
    /// Where it is.
    pub place: FilePlace,
    /// `backup`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub backup: bool,
    /// `down`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub down: bool,
    /// `resolve`: the name is looked up again while nginx runs.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub resolve: bool,
}

/// A block `server`: the side of the clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Server {
    /// `server_name`: the first ten.
    pub names: Vec<String>,
    /// `listen`: addresses and ports as they are written, the first ten.
    pub listen: Vec<String>,
    /// Where it is.
    pub place: FilePlace,
    /// True if it is in the block `stream`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stream: bool,
    /// `keepalive_timeout`: how long a client's idle connection is kept, in milliseconds; 0 closes after each answer.
    pub keepalive_timeout_ms: Said<u64>,
    /// `keepalive_requests`: after how many requests a client's connection is closed.
    pub keepalive_requests: Said<u64>,
}

/// A directive that passes on: `proxy_pass` and its like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pass {
    /// Which directive it is.
    pub protocol: Protocol,
    /// Where it is. The same place may pass on for several locations that include its file.
    pub place: FilePlace,
    /// `server_name` of the server it is in: the first ten.
    pub server_names: Vec<String>,
    /// The location it is in: `/api`, `~ \.php$`; empty in the block `stream`.
    pub location: String,
    /// Where that location begins; none in the block `stream`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location_place: Option<FilePlace>,
    /// Where it passes to.
    pub target: Target,
    /// What is written there, where variables stand for it that `set` decides, whichever way a request comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_variable: Option<String>,
    /// True if the way there is encrypted: `https://`, `grpcs://`, `suwsgi://`, `proxy_ssl on`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tls: bool,
    /// What only `proxy_pass` in `http` has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpPass>,
    /// `fastcgi_keep_conn`, where it is FastCGI: if not, nginx asks the program to close.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_conn: Option<Said<bool>>,
    /// `proxy_connect_timeout` and its like, in milliseconds.
    pub connect_timeout_ms: Said<u64>,
    /// `proxy_read_timeout` and its like, in milliseconds: between two reads; in `stream`, `proxy_timeout`.
    pub read_timeout_ms: Said<u64>,
    /// `proxy_send_timeout` and its like, in milliseconds: between two writes; in `stream`, `proxy_timeout`.
    pub send_timeout_ms: Said<u64>,
    /// `proxy_bind` and its like: the address that connections come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind: Option<Said<String>>,
    /// What clients of this location have, as in [`Server::keepalive_timeout_ms`].
    pub keepalive_timeout_ms: Said<u64>,
    /// What clients of this location have, as in [`Server::keepalive_requests`].
    pub keepalive_requests: Said<u64>,
}

/// What a `proxy_pass` in `http` sends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpPass {
    /// `proxy_http_version`: `1.0`, `1.1`, `2`.
    pub version: Said<String>,
    /// The `Connection` header of requests that do not ask for an upgrade themselves; empty if it is not sent. A
    /// variable that a `map` of `$http_upgrade` makes is resolved for these; other variables are unknown.
    pub connection: Said<String>,
    /// That `map`, where the header is such a variable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_map: Option<FilePlace>,
    /// The level whose `proxy_set_header` are in force: one such directive hides all of the levels around it. None if
    /// there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers_place: Option<FilePlace>,
}

/// Which protocol a pass speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// `proxy_pass`.
    Http,
    /// `fastcgi_pass`.
    Fastcgi,
    /// `uwsgi_pass`.
    Uwsgi,
    /// `scgi_pass`.
    Scgi,
    /// `grpc_pass`.
    Grpc,
    /// `memcached_pass`.
    Memcached,
    /// `proxy_pass` in the block `stream`.
    Stream,
    /// One that a newer lastack knows.
    #[default]
    #[serde(other)]
    Other,
}

/// Where a pass goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "to")]
pub enum Target {
    /// To a block `upstream`.
    Upstream {
        /// Its name.
        name: String,
    },
    /// To an address or a name, without a block: there is no pool for it.
    Address {
        /// Host and port, or `unix:` and a path, as it is written.
        address: String,
    },
    /// To what variables say when a request comes: an address, or the name of an upstream.
    Variable {
        /// Host and port as they are written.
        text: String,
    },
    /// Something a newer version of lastack knows.
    #[default]
    #[serde(other)]
    Other,
}
