//! Sysctl settings as the kernel prints them, with typed getters. A setting that is absent was probed for
//! and does not exist in that kernel: no version is ever compared.

use crate::{PortRange, PortSet, System};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use tcp::profile::{linux, macos, windows};

/// The settings that a case holds: a prefix, and the names that follow it.
pub const SETTINGS: [(&str, &[&str]); 3] =
    [("net.ipv4.", IPV4), ("net.core.", &["somaxconn"]), ("net.netfilter.", NETFILTER)];

const IPV4: &[&str] = &[
    "ip_local_port_range",
    "ip_local_reserved_ports",
    "ip_local_port_step_width",
    "ip_autobind_reuse",
    "ip_unprivileged_port_start",
    "tcp_tw_reuse",
    "tcp_tw_reuse_delay",
    "tcp_tw_recycle",
    "tcp_tw_timeout",
    "tcp_max_tw_buckets",
    "tcp_fin_timeout",
    "tcp_timestamps",
    "tcp_rfc1337",
    "tcp_orphan_retries",
    "tcp_max_orphans",
    "tcp_syncookies",
    "tcp_max_syn_backlog",
    "tcp_abort_on_overflow",
    "tcp_invalid_ratelimit",
    "tcp_challenge_ack_limit",
    "tcp_keepalive_time",
    "tcp_keepalive_intvl",
    "tcp_keepalive_probes",
    "tcp_syn_retries",
    "tcp_synack_retries",
    "tcp_retries2",
    "tcp_ehash_entries",
    "tcp_child_ehash_entries",
    "tcp_mem",
];

const NETFILTER: &[&str] = &[
    "nf_conntrack_max",
    "nf_conntrack_count",
    "nf_conntrack_buckets",
    "nf_conntrack_tcp_be_liberal",
    "nf_conntrack_tcp_loose",
    "nf_conntrack_tcp_timeout_close",
    "nf_conntrack_tcp_timeout_close_wait",
    "nf_conntrack_tcp_timeout_established",
    "nf_conntrack_tcp_timeout_fin_wait",
    "nf_conntrack_tcp_timeout_last_ack",
    "nf_conntrack_tcp_timeout_max_retrans",
    "nf_conntrack_tcp_timeout_syn_recv",
    "nf_conntrack_tcp_timeout_syn_sent",
    "nf_conntrack_tcp_timeout_time_wait",
    "nf_conntrack_tcp_timeout_unacknowledged",
];

/// Windows: the first dynamic port of TCP, of `netsh int ipv4 show dynamicport tcp`.
pub const DYNAMIC_PORT_START: &str = "dynamicport.tcp.start";

/// Windows: how many dynamic ports TCP has.
pub const DYNAMIC_PORT_COUNT: &str = "dynamicport.tcp.number";

/// Windows: seconds of TIME-WAIT, in the registry below `Tcpip\Parameters`.
pub const TIMED_WAIT_DELAY: &str = "TcpTimedWaitDelay";

/// macOS: the first port that connect() uses.
pub const PORT_RANGE_FIRST: &str = "net.inet.ip.portrange.first";

/// macOS: the last port that connect() uses.
pub const PORT_RANGE_LAST: &str = "net.inet.ip.portrange.last";

/// macOS: half of the length of TIME-WAIT, in milliseconds.
pub const MSL: &str = "net.inet.tcp.msl";

/// Settings of one network namespace by their full name: `net.ipv4.tcp_tw_reuse` -> `2`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Settings {
    /// Raw values, white space at the ends removed.
    pub values: BTreeMap<String, String>,
    /// The system whose settings these are: that of the case, which keeps it ([`crate::Host::system`]).
    #[serde(skip)]
    pub system: System,
}

impl Settings {
    /// The raw text of a setting.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// A setting that is one whole number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.trim().parse().ok()
    }

    /// The local ports that the kernel chooses from; the system's default if it could not be read.
    pub fn local_port_range(&self) -> PortRange {
        let port = |name: &str| self.number(name).and_then(|port| u16::try_from(port).ok());
        match self.system {
            System::Linux | System::Other => {}
            System::Windows => {
                let (mut first, mut last) = windows::DYNAMIC_PORTS.value;
                if let (Some(start), Some(count @ 1..)) = (port(DYNAMIC_PORT_START), port(DYNAMIC_PORT_COUNT))
                {
                    (first, last) = (start, start.saturating_add(count - 1));
                }
                return PortRange { first, last };
            }
            System::Macos => {
                let (first, last) = macos::PORTS.value;
                let (first, last) =
                    (port(PORT_RANGE_FIRST).unwrap_or(first), port(PORT_RANGE_LAST).unwrap_or(last));
                return PortRange { first: first.min(last), last: last.max(first) };
            }
        }
        self.text("net.ipv4.ip_local_port_range").and_then(PortRange::parse).unwrap_or_default()
    }

    /// Ports that are never chosen automatically.
    pub fn reserved_ports(&self) -> PortSet {
        self.text("net.ipv4.ip_local_reserved_ports").and_then(PortSet::parse).unwrap_or_default()
    }

    /// How long TIME-WAIT lasts here: 60 s, or what a vendor's `tcp_tw_timeout` says; on other systems what theirs say.
    pub fn time_wait(&self) -> Duration {
        match self.system {
            System::Linux | System::Other => {}
            System::Windows => {
                let delay = self.number(TIMED_WAIT_DELAY).filter(|delay| *delay > 0);
                return delay.map_or(windows::TIME_WAIT.value, Duration::from_secs);
            }
            System::Macos => {
                let msl = self.number(MSL).filter(|msl| *msl > 0);
                return msl
                    .map_or(macos::TIME_WAIT.value, |msl| Duration::from_millis(msl.saturating_mul(2)));
            }
        }
        self.number("net.ipv4.tcp_tw_timeout")
            .filter(|seconds| *seconds > 0)
            .map_or(linux::TIME_WAIT.value, Duration::from_secs)
    }

    /// `tcp_fin_timeout`.
    pub fn fin_timeout(&self) -> Duration {
        self.number("net.ipv4.tcp_fin_timeout").map_or(linux::FIN_TIMEOUT.value, Duration::from_secs)
    }

    /// How old a TIME-WAIT must be for `tcp_tw_reuse`.
    pub fn tw_reuse_delay(&self) -> Duration {
        self.number("net.ipv4.tcp_tw_reuse_delay").map_or(linux::TW_REUSE_DELAY.value, Duration::from_millis)
    }

    /// What `tcp_max_tw_buckets` is where nobody changed it: half the table of connections. That is the host's
    /// where `tcp_ehash_entries` has a minus sign. None before 6.1, which do not tell.
    pub fn default_tw_buckets(&self) -> Option<u64> {
        let entries: i64 = self.text("net.ipv4.tcp_ehash_entries")?.trim().parse().ok()?;
        Some(entries.unsigned_abs() / linux::HASH_ENTRIES_PER_TIME_WAIT.value)
    }

    /// True if timestamps are on, which `tcp_tw_reuse` needs; they are unless the setting says 0.
    pub fn timestamps(&self) -> bool {
        self.number("net.ipv4.tcp_timestamps") != Some(0)
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Settings {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(settings: I) -> Self {
        let values = settings.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { values, system: System::Linux }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_of_the_time_wait_table_follows_from_the_hash() {
        let of = |entries: &str| {
            Settings::from_iter([("net.ipv4.tcp_ehash_entries", entries)]).default_tw_buckets()
        };
        assert_eq!([of("262144"), of("-262144"), of("junk")], [Some(131_072), Some(131_072), None]);
        assert_eq!(Settings::default().default_tw_buckets(), None);
    }

    #[test]
    fn each_system_has_its_own_settings_and_defaults() {
        let of = |system, settings: &[(&str, &str)]| {
            let settings = Settings { system, ..settings.iter().copied().collect() };
            let range = settings.local_port_range();
            (range.first, range.last, settings.time_wait().as_secs())
        };
        assert_eq!(of(System::Windows, &[]), (49_152, 65_535, 120));
        let narrow = [(DYNAMIC_PORT_START, "1025"), (DYNAMIC_PORT_COUNT, "3976"), (TIMED_WAIT_DELAY, "30")];
        assert_eq!(of(System::Windows, &narrow), (1_025, 5_000, 30));
        assert_eq!(
            of(System::Windows, &[(DYNAMIC_PORT_START, "65000"), (DYNAMIC_PORT_COUNT, "9999")]).1,
            65_535
        );
        assert_eq!(of(System::Macos, &[]), (49_152, 65_535, 30));
        assert_eq!(of(System::Macos, &[(PORT_RANGE_FIRST, "16384"), (MSL, "1000")]), (16_384, 65_535, 2));
        assert_eq!(of(System::Linux, &narrow), (32_768, 60_999, 60));
    }

    #[test]
    fn a_vendors_time_wait_length_replaces_the_constant() {
        let of =
            |value: &str| Settings::from_iter([("net.ipv4.tcp_tw_timeout", value)]).time_wait().as_secs();
        assert_eq!((of("5"), of("0"), of("junk")), (5, 60, 60));
        assert_eq!(Settings::default().time_wait().as_secs(), 60);
    }
}
