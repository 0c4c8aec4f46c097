//! How a world is described: `scenarios/*.toml`, documented in `docs/scenarios.md`.
//!
//! [`Scenario::parse`] reads one file, checks it as a whole, and makes the [`World`] of each variant.
//! A file is input from outside: each error names the place and what to write instead.

mod change;
mod check;
mod expect;
mod file;
mod fix;
mod host;
mod peer;
mod probe;
mod proxy;
mod trouble;

pub use expect::{Bounds, Expect, Relation};
pub use fix::Fix;
pub use host::{Host, Kernel, Nat, NatKind, Settings};
pub use peer::{Answer, Bind, Client, Close, ClosesWhen, How, Http, Server};
pub use probe::{Into, Probe, ProbeSegment};
pub use proxy::{HaproxyClose, Program, Proxy, Reuse};
pub use trouble::{Fault, Harm, Segments, Step};

use crate::Costs;
use file::Written;
use serde::Deserialize;
use std::collections::BTreeMap;
use thiserror::Error;

/// The largest scenario file, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// So many characters of a message are shown. The names of all keys of a client are fewer.
const LONGEST_MESSAGE: usize = 600;

/// The most connections that a client has at once.
pub(crate) const MOST_AT_ONCE: u32 = 100_000;

/// A scenario: a world and its variants.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// What `lab run` calls it.
    pub name: String,
    /// One line.
    pub title: String,
    /// What it shows and why, for `lab show`.
    pub about: String,
    /// Where it can run.
    pub on: Vec<Stage>,
    /// Nothing else may run beside it: what it measures belongs to the machine, not to a namespace.
    pub alone: bool,
    /// The variants in order; each a world of its own. There is at least one.
    pub variants: Vec<Variant>,
    /// What must hold between variants.
    pub relations: Vec<Relation>,
    /// Why `lastack fix` changes nothing against a rule that fires here.
    pub unfixed: BTreeMap<String, String>,
}

/// A world under one remedy, or as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// Its name.
    pub name: String,
    /// What is different, in a sentence.
    pub about: String,
    /// Where it runs, of what the scenario allows.
    pub on: Vec<Stage>,
    /// The world.
    pub world: World,
    /// What is expected of it.
    pub expect: Expect,
    /// What `lastack fix` makes it of, as far as it can.
    pub fixes: Vec<Fix>,
}

/// Where a scenario runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Network namespaces on this machine's kernel.
    Kernel,
    /// Virtual time.
    Simulator,
}

/// The family of all addresses of a world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// IPv4.
    #[default]
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// Hosts, who talks, and what happens to them.
#[derive(Clone, Debug, PartialEq)]
pub struct World {
    /// What they talk over.
    pub family: Family,
    /// Seed of everything that is left to chance.
    pub seed: u64,
    /// How long it goes on after the last client is done before the last look, milliseconds.
    pub settle_ms: u64,
    /// It ends then, whatever still goes on, milliseconds.
    pub limit_ms: u64,
    /// Settings of every host, before the host's own.
    pub settings: Settings,
    /// The hosts. Those that share a network reach each other on it.
    pub hosts: Vec<Host>,
    /// Who listens.
    pub servers: Vec<Server>,
    /// Proxies between clients and servers.
    pub proxies: Vec<Proxy>,
    /// Who connects.
    pub clients: Vec<Client>,
    /// Single segments that meet a socket which is closing.
    pub probes: Vec<Probe>,
    /// What is lost or late on the way.
    pub faults: Vec<Fault>,
    /// What happens at a certain time.
    pub steps: Vec<Step>,
    /// What things cost on the machine it runs on. No scenario says that.
    pub costs: Costs,
}

/// Why a scenario cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ScenarioError {
    /// The file is too large to be one.
    #[error("a scenario of {0} bytes or more: the limit is {MAX_BYTES}")]
    TooLarge(usize),
    /// It is not TOML, or a name or value is not known. The text has the place.
    #[error("{0}")]
    Toml(String),
    /// A variant's change names nothing, or leaves no valid world.
    #[error("variant {variant:?}, change {path:?}: {why}")]
    Change {
        /// The variant.
        variant: String,
        /// The key in `change`.
        path: String,
        /// What is wrong, and what to write.
        why: String,
    },
    /// The world contradicts itself.
    #[error("{place}: {why}")]
    World {
        /// The table, by name: `client "load"`.
        place: String,
        /// What is wrong, and what to write.
        why: String,
    },
}

/// One line that names the place: its number, and the key if the line has one.
fn in_line(text: &str, error: &toml::de::Error) -> ScenarioError {
    let message = in_words(error.message());
    let Some(start) = error.span().map(|span| span.start) else { return ScenarioError::Toml(message) };
    let Some(before) = text.get(..start) else { return ScenarioError::Toml(message) };
    let number = before.matches('\n').count() + 1;
    let written = before.rsplit('\n').next().unwrap_or_default();
    // What stands before the value that is wrong; a table in one line has several.
    let key = written.trim_end().strip_suffix('=').map(|rest| rest.rsplit(['{', ',']).next().unwrap_or(rest));
    let key = key.map_or_else(String::new, |key| format!("{}: ", key.trim()));
    ScenarioError::Toml(format!("line {number}: {key}{message}"))
}

/// What the reader of TOML says, in one line and without the names of Rust's types.
fn in_words(message: &str) -> String {
    let words: Vec<&str> = message.split_whitespace().collect();
    let types = [
        ("expected u16", "expected a whole number from 0 to 65535"),
        ("expected u32", "expected a whole number from 0 to 4294967295"),
        ("expected u64", "expected a whole number, 0 or more"),
        ("expected i64", "expected a whole number"),
        ("expected f64", "expected a number"),
        ("u64 value was too large", "the number is too large"),
    ];
    let line = types.iter().fold(words.join(" "), |line, (of_rust, plain)| line.replace(of_rust, plain));
    // A number with hundreds of digits says no more than its beginning.
    match line.char_indices().nth(LONGEST_MESSAGE) {
        Some((end, _)) => format!("{}...", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    ///
    /// If it is no TOML, has a name that is not known or a value out of bounds, or names what is not there.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        if text.len() > MAX_BYTES {
            return Err(ScenarioError::TooLarge(text.len()));
        }
        let written: Written = toml::from_str(text).map_err(|error| in_line(text, &error))?;
        let document = toml::from_str(text).map_err(|error| in_line(text, &error))?;
        let scenario = written.scenario(&document)?;
        check::scenario(&scenario)?;
        Ok(scenario)
    }

    /// The variant of a name.
    pub fn variant(&self, name: &str) -> Option<&Variant> {
        self.variants.iter().find(|variant| variant.name == name)
    }
}

impl World {
    /// The host of a name.
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name == name)
    }

    /// Where a client's `to` or a proxy's `upstream` leads: the host and port that listen there.
    pub fn destination(&self, name: &str) -> Option<(&str, u16)> {
        let server = self.servers.iter().find(|server| server.name == name);
        let proxy = self.proxies.iter().find(|proxy| proxy.name == name);
        let nat = self.hosts.iter().flat_map(|host| host.nat.iter().map(move |nat| (host, nat)));
        let nat = nat.filter_map(|(host, nat)| Some((host, nat.name.as_deref()?, nat.port?)));
        server
            .map(|server| (server.host.as_str(), server.port))
            .or_else(|| proxy.map(|proxy| (proxy.host.as_str(), proxy.port)))
            .or_else(|| {
                nat.clone().find(|(_, at, _)| *at == name).map(|(host, _, port)| (host.name.as_str(), port))
            })
    }

    /// Looks whether it contradicts itself, as it is looked at when it is read.
    pub fn check(&self) -> Result<(), ScenarioError> {
        check::world(self)
    }

    /// A setting of a host: its own, else that of all hosts; none: the kernel's default.
    pub fn setting(&self, host: &str, name: &str) -> Option<&str> {
        let own = self.host(host).and_then(|host| host.settings.get(name));
        own.or_else(|| self.settings.get(name))
    }
}
