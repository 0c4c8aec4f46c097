//! Proxies.

use super::Http;
use serde::Deserialize;

/// A proxy, which ends the client's connection and has its own to the upstream.
///
/// The kernel stage writes the program's configuration from this and runs the real program; the simulator does
/// what the program is known to do (FACTS of nginx and HAProxy in `docs/scenarios.md`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proxy {
    /// Its name, for `to`.
    pub name: String,
    /// The host it runs on.
    pub host: String,
    /// The program.
    pub program: Program,
    /// The port it listens on.
    pub port: u16,
    /// The servers behind it, in turn.
    pub upstream: Vec<String>,
    /// Worker processes (nginx) or threads (HAProxy).
    #[serde(default = "one")]
    pub workers: u32,
    /// `proxy_http_version` and `Connection` of the requests upstream (nginx): `1.0` is nginx's default before
    /// 1.29.7, `1.1` is version 1.1 with an empty `Connection`.
    #[serde(default = "http_1_0")]
    pub http: Http,
    /// `keepalive N` of the upstream block (nginx): idle connections kept by each worker; none: no pool.
    pub keepalive: Option<u32>,
    /// `keepalive_timeout` of the upstream block (nginx), milliseconds: how long an idle one is kept.
    pub keepalive_idle_ms: Option<u64>,
    /// `keepalive_requests` of the upstream block (nginx): requests after which a connection is closed.
    pub keepalive_requests: Option<u32>,
    /// How HAProxy treats connections after an answer.
    #[serde(default)]
    pub mode: HaproxyClose,
    /// `http-reuse` (HAProxy).
    #[serde(default)]
    pub reuse: Reuse,
    /// From how many addresses of its host it connects, in turn (`proxy_bind`, `source`): for remedies that are played;
    /// no scenario says it.
    #[serde(skip, default = "one_source")]
    pub sources: u16,
    /// Lines added to the upstream block (nginx) or the backend (HAProxy): kernel stage only.
    #[serde(default)]
    pub lines: Vec<String>,
}

const fn one() -> u32 {
    1
}

const fn one_source() -> u16 {
    1
}

const fn http_1_0() -> Http {
    Http::V1_0
}

/// A proxy's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Program {
    /// nginx.
    Nginx,
    /// HAProxy.
    Haproxy,
}

/// HAProxy's mode of closing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HaproxyClose {
    /// Keep-alive on both sides, its default.
    #[default]
    KeepAlive,
    /// `option http-server-close`: `Connection: close` to the upstream.
    ServerClose,
    /// `option httpclose`: to both.
    Close,
}

/// HAProxy's `http-reuse`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reuse {
    /// A server connection serves its own client only.
    Never,
    /// Its default: the first request of a client opens a connection of its own.
    #[default]
    Safe,
    /// Others' connections as soon as they have proved to be reusable.
    Aggressive,
    /// Any idle one.
    Always,
}
