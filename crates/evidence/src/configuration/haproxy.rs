//! What HAProxy is told.

use super::{FilePlace, Said};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// First words that begin a section, wherever they stand (configuration manual, sections 2.1, 3 and 4; up to 3.2, and
/// `dynamic-update` of the Enterprise edition).
pub const SECTIONS: [&str; 21] = [
    "acme",
    "backend",
    "cache",
    "crt-store",
    "defaults",
    "dynamic-update",
    "fcgi-app",
    "frontend",
    "global",
    "http-errors",
    "listen",
    "log-forward",
    "log-profile",
    "mailers",
    "namespace_list",
    "peers",
    "program",
    "resolvers",
    "ring",
    "traces",
    "userlist",
];

/// What the files of HAProxy say, `defaults` resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Haproxy {
    /// `nbthread`: how many threads share the pools of a server.
    pub threads: Said<u64>,
    /// Sections `frontend`, `backend` and `listen`, in order.
    pub proxies: Vec<Proxy>,
}

/// A section `frontend`, `backend` or `listen`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Proxy {
    /// Which section it is.
    pub kind: ProxyKind,
    /// Its name.
    pub name: String,
    /// Where it is.
    pub place: FilePlace,
    /// The section `defaults` that is in force here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub defaults: Option<FilePlace>,
    /// True if it stands between `.if` and `.endif`, and whether that is read cannot be told.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub conditional: bool,
    /// `mode`: `http` or `tcp`.
    pub mode: Said<String>,
    /// What is done with connections after an answer: `keep-alive`; `server-close`, the server's is closed; `close`,
    /// both are. Where a frontend and its backend differ, the one that closes more holds.
    pub connection: Said<String>,
    /// What an earlier line of the same section says otherwise of that, in vain: the last one holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_in_vain: Option<Said<String>>,
    /// `http-reuse`: `never`, `safe`, `aggressive`, `always`.
    pub http_reuse: Said<String>,
    /// `timeout NAME`, in milliseconds, by name: `connect`, `server`, `http-keep-alive`. One that is not set is not
    /// here: then there is no such limit, or another one takes its place.
    pub timeouts_ms: BTreeMap<String, Said<u64>>,
    /// `option NAME` in force, by name, where it was set; those about closing are in `connection`.
    pub options: BTreeMap<String, FilePlace>,
    /// `retries`.
    pub retries: Said<u64>,
    /// `retry-on`: for what a request is sent again.
    pub retry_on: Said<Vec<String>>,
    /// `bind` addresses.
    pub binds: Vec<Bind>,
    /// Servers; those of templates once.
    pub servers: Vec<Server>,
    /// `use_backend` in order, and `default_backend`, which `defaults` may say. A name with a variable is left as it
    /// is.
    pub backends: Vec<BackendUse>,
}

impl Proxy {
    /// How long an idle connection of a client is kept, in milliseconds: the first that is set of those that HAProxy
    /// goes by (configuration manual, `timeout http-keep-alive`). None is for as long as the client likes.
    pub fn keep_alive_ms(&self) -> Option<&Said<u64>> {
        ["http-keep-alive", "http-request", "client"].into_iter().find_map(|name| self.timeouts_ms.get(name))
    }
}

/// Which section a proxy is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyKind {
    /// Clients come here.
    Frontend,
    /// Servers are here.
    Backend,
    /// Both.
    Listen,
    /// One that a newer lastack knows.
    #[default]
    #[serde(other)]
    Other,
}

/// A `bind`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bind {
    /// Address and port, as it is written.
    pub address: String,
    /// Where it is.
    pub place: FilePlace,
}

/// A `server`, or a `server-template`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Server {
    /// Its name.
    pub name: String,
    /// Address and port, as it is written.
    pub address: String,
    /// Where it is.
    pub place: FilePlace,
    /// How many a `server-template` makes, as it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// `pool-max-conn`: how many idle connections are kept; -1 is without limit, 0 is none.
    pub pool_max_conn: Said<i64>,
    /// `pool-low-conn`: below how many idle connections a thread opens its own instead of taking another's.
    pub pool_low_conn: Said<i64>,
    /// `pool-purge-delay`: how often half of the idle connections are closed, in milliseconds.
    pub pool_purge_delay_ms: Said<u64>,
    /// `max-reuse`: after how many requests more a connection is closed; -1 is without limit.
    pub max_reuse: Said<i64>,
    /// `maxconn`: how many connections it gets at once; 0 is without limit.
    pub maxconn: Said<u64>,
    /// `source`: the address, and perhaps the ports, that connections come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Said<String>>,
    /// True if it is spoken to in another protocol than HTTP/1, or may be (`proto h2`, `alpn h2`): options that close
    /// after an answer do not close these connections.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub other_protocol: bool,
    /// True if it stands between `.if` and `.endif`, and its section does not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub conditional: bool,
}

/// A `use_backend` or `default_backend`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BackendUse {
    /// The backend.
    pub name: String,
    /// Where it is.
    pub place: FilePlace,
    /// True for `default_backend`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
    /// True if it stands between `.if` and `.endif`, and its section does not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub conditional: bool,
}
