//! Hosts, their settings, and address translation on them.

use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;

/// A host: a network namespace of its own, or a simulated one.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Its name; also in the names of measures.
    pub name: String,
    /// The networks it is on. Hosts on several forward between them.
    #[serde(default = "lan")]
    pub networks: Vec<String>,
    /// How many addresses it has on each network: more sources, or more destinations.
    #[serde(default = "one")]
    pub addresses: u16,
    /// Its settings (sysctls), by full name.
    #[serde(default)]
    pub settings: Settings,
    /// The kernel it has. The kernel stage has one kernel and runs a variant only if this is `linux`.
    #[serde(default)]
    pub kernel: Kernel,
    /// How far its timestamp clock is ahead of the others', milliseconds.
    #[serde(default)]
    pub clock_ahead_ms: i64,
    /// Length of TIME-WAIT in place of the kernel's, milliseconds: simulator only.
    pub time_wait_ms: Option<u64>,
    /// Address translation for what passes through.
    #[serde(default)]
    pub nat: Vec<Nat>,
}

fn lan() -> Vec<String> {
    vec!["lan".to_owned()]
}

const fn one() -> u16 {
    1
}

/// What a host runs; see `tcp::profile::Stack`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kernel {
    /// The newest Linux that is known; in the kernel stage, this machine's.
    #[default]
    Linux,
    /// Linux 5.6 to 6.6.
    #[serde(rename = "linux-5.6")]
    Linux5_6,
    /// Linux 4.12 to 5.5.
    #[serde(rename = "linux-4.12")]
    Linux4_12,
    /// Linux 4.0 to 4.11: `tcp_tw_recycle` exists.
    #[serde(rename = "linux-4.4")]
    Linux4_4,
    /// Linux 3.x.
    #[serde(rename = "linux-3.10")]
    Linux3_10,
    /// Linux 2.6.32.
    #[serde(rename = "linux-2.6.32")]
    Linux2_6_32,
    /// Windows since Vista.
    Windows,
    /// Windows before: ports 1025 to 5000.
    WindowsXp,
    /// macOS.
    Macos,
    /// FreeBSD.
    Freebsd,
}

/// Settings by full name. Values are kept as the kernel takes them; numbers may be written as such.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings(BTreeMap<String, String>);

impl Host {
    /// A host with everything as it is by default.
    pub(crate) fn named(name: String) -> Self {
        Self {
            name,
            networks: lan(),
            addresses: one(),
            settings: Settings::default(),
            kernel: Kernel::default(),
            clock_ahead_ms: 0,
            time_wait_ms: None,
            nat: Vec::new(),
        }
    }
}

impl Settings {
    /// Sets one.
    pub fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    /// The value of a setting.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a setting is a number or a string")]
        enum Value {
            Number(i64),
            Text(String),
        }
        impl fmt::Display for Value {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    Self::Number(number) => number.fmt(f),
                    Self::Text(text) => text.fmt(f),
                }
            }
        }
        let written = BTreeMap::<String, Value>::deserialize(deserializer)?;
        Ok(Self(written.into_iter().map(|(name, value)| (name, value.to_string())).collect()))
    }
}

/// One rule of address translation on a host that forwards, or what a load balancer without its own TCP does.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nat {
    /// What clients name in `to`, if connections come to this host's address.
    pub name: Option<String>,
    /// What it does.
    pub kind: NatKind,
    /// The port that is translated (`dnat`, `full`, `direct-routing`).
    pub port: Option<u16>,
    /// The servers that connections go to, in turn (`dnat`, `full`, `direct-routing`).
    #[serde(default)]
    pub to: Vec<String>,
    /// The network whose connections get this host's address there (`snat`, `full`).
    pub out: Option<String>,
    /// The source ports it may use: `[first, last]`; none: it keeps the client's where it can (`snat`, `full`).
    pub ports: Option<(u16, u16)>,
}

/// A kind of address translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NatKind {
    /// The source becomes this host's: clients behind one address.
    Snat,
    /// The destination becomes the server's (LVS-NAT).
    Dnat,
    /// Both: the server sees this host only (LVS FULLNAT).
    Full,
    /// Neither: the server has the address too and answers past this host (LVS direct routing).
    DirectRouting,
}
