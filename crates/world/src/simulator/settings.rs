//! A host's settings, as numbers.

use super::ports::Choice;
use crate::scenario::{Host, Kernel, World};
use evidence::{PortRange, PortSet, Settings};
use std::time::Duration;
use tcp::profile::{Stack, freebsd, linux, macos, windows};

/// The longest timeout of connection tracking that is taken, in seconds.
const LONGEST_TIMEOUT_S: u64 = 10_000_000;

/// What a host's settings come to.
#[derive(Clone, Debug)]
pub(super) struct Tuned {
    pub(super) stack: Stack,
    pub(super) range: PortRange,
    pub(super) reserved: PortSet,
    pub(super) choice: Choice,
    /// `tcp_tw_reuse`.
    pub(super) reuse: Reuse,
    pub(super) reuse_delay_ns: u64,
    pub(super) timestamps: Timestamps,
    pub(super) max_time_wait: u64,
    pub(super) max_orphans: u64,
    pub(super) rfc1337: bool,
    pub(super) recycle: bool,
    pub(super) abort_on_overflow: bool,
    pub(super) somaxconn: u64,
    pub(super) conntrack: Conntrack,
}

/// `tcp_tw_reuse`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reuse {
    Off,
    On,
    Loopback,
}

/// Timestamps, and where their clock begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timestamps {
    Off,
    /// The host's uptime.
    Uptime,
    /// By source and destination address.
    ByAddresses,
    /// By source and destination address and port.
    ByTuple,
}

/// Settings of connection tracking.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conntrack {
    /// 0: no limit.
    pub(super) max: u64,
    pub(super) syn_sent_ns: u64,
    pub(super) established_ns: u64,
    pub(super) fin_wait_ns: u64,
    pub(super) close_wait_ns: u64,
    pub(super) last_ack_ns: u64,
    pub(super) time_wait_ns: u64,
    pub(super) close_ns: u64,
}

/// Settings that must be one whole number.
const NUMBERS: [&str; 27] = [
    "net.core.somaxconn",
    "net.ipv4.tcp_abort_on_overflow",
    "net.ipv4.tcp_early_retrans",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_invalid_ratelimit",
    "net.ipv4.tcp_max_orphans",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_orphan_retries",
    "net.ipv4.tcp_retries2",
    "net.ipv4.tcp_rfc1337",
    "net.ipv4.tcp_syn_linear_timeouts",
    "net.ipv4.tcp_syn_retries",
    "net.ipv4.tcp_timestamps",
    "net.ipv4.tcp_tw_recycle",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_tw_reuse_delay",
    "net.ipv4.tcp_tw_timeout",
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_tcp_timeout_close",
    "net.netfilter.nf_conntrack_tcp_timeout_close_wait",
    "net.netfilter.nf_conntrack_tcp_timeout_established",
    "net.netfilter.nf_conntrack_tcp_timeout_fin_wait",
    "net.netfilter.nf_conntrack_tcp_timeout_last_ack",
    "net.netfilter.nf_conntrack_tcp_timeout_syn_sent",
    "net.netfilter.nf_conntrack_tcp_timeout_time_wait",
    "TcpTimedWaitDelay",
    "MaxUserPort",
];

/// The kernel chooses no ports below the one that this setting names.
const PRIVILEGED: &str = "net.ipv4.ip_unprivileged_port_start";

/// The settings that the simulator reads and that are no whole numbers.
const TEXTS: [&str; 2] = ["net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports"];

/// True if the simulator does something with a setting.
pub(crate) fn reads(name: &str) -> bool {
    NUMBERS.contains(&name) || TEXTS.contains(&name)
}

/// All the settings that the simulator reads.
pub(crate) fn read() -> impl Iterator<Item = &'static str> {
    TEXTS.into_iter().chain(NUMBERS)
}

/// What of these settings the simulator could not understand, or the kernel would not take: the name, and what to write.
/// `known` are those that hold with them.
pub(crate) fn mistake<'a>(
    known: impl Fn(&str) -> Option<&'a str>,
    settings: impl Iterator<Item = (&'a str, &'a str)>,
) -> Option<String> {
    let usual = linux::UNPRIVILEGED_PORT_START.value;
    let least = known(PRIVILEGED).and_then(|port| port.trim().parse().ok()).unwrap_or(usual).max(1);
    for (name, value) in settings {
        let bounds = linux::SETTING_BOUNDS.value.iter().find(|(bounded, ..)| *bounded == name);
        if let (Some(&(_, least, most)), Ok(number)) = (bounds, value.trim().parse::<i64>())
            && !(least..=most).contains(&number)
        {
            return Some(format!("{name} = {value:?}: {least} to {most}"));
        }
        if NUMBERS.contains(&name) && value.trim().parse::<u64>().is_err() {
            return Some(format!("{name} = {value:?}: a whole number is needed"));
        }
        if name == "net.ipv4.ip_local_port_range"
            && PortRange::parse(value).is_none_or(|range| range.first < least)
        {
            return Some(format!(
                "{name} = {value:?}: first and last port are needed, such as \"32768 60999\", from {least} on \
                 ({PRIVILEGED})"
            ));
        }
        if name == "net.ipv4.ip_local_reserved_ports" && PortSet::parse(value).is_none() {
            return Some(format!("{name} = {value:?}: ports are needed, such as \"8080,9000-9100\""));
        }
    }
    None
}

impl Tuned {
    /// The settings of a host of a world; those of `changed` go before its own.
    pub(super) fn new(world: &World, host: &Host, changed: &Settings) -> Self {
        let all = world.settings.iter().chain(host.settings.iter());
        let mut settings: Settings = all.collect();
        settings.values.extend(changed.values.clone());
        let number = |name: &str, default: u64| settings.number(name).unwrap_or(default);
        let ipv4 = |name: &str, default: u64| number(&format!("net.ipv4.{name}"), default);
        let track = |state: &str| {
            let default = linux::CONNTRACK_TIMEOUTS_S.value.iter().find(|(name, _)| *name == state);
            let name = format!("net.netfilter.nf_conntrack_tcp_timeout_{state}");
            number(&name, default.map_or(0, |(_, seconds)| *seconds)).min(LONGEST_TIMEOUT_S) * 1_000_000_000
        };
        let stack = stack(host, &settings);
        let is_linux = stack.mini_fin_wait_2;
        Self {
            range: range(host, &settings),
            reserved: settings.reserved_ports(),
            choice: match host.kernel {
                Kernel::Windows | Kernel::WindowsXp if number("AutoReusePortRangeNumberOfPorts", 0) == 0 => {
                    Choice::Exclusive
                }
                _ if is_linux => Choice::Parity,
                _ => Choice::Sequential,
            },
            reuse: match ipv4("tcp_tw_reuse", default_reuse(host.kernel)) {
                _ if !is_linux => Reuse::Off,
                0 => Reuse::Off,
                linux if linux == linux::TW_REUSE_LOOPBACK.value => Reuse::Loopback,
                _ => Reuse::On,
            },
            reuse_delay_ns: nanos(settings.tw_reuse_delay()),
            timestamps: match (ipv4("tcp_timestamps", 1), host.kernel) {
                (0, _) | (_, Kernel::Windows | Kernel::WindowsXp) => Timestamps::Off,
                // Who sets clocks wants to know what they show.
                _ if world.hosts.iter().any(|host| host.clock_ahead_ms != 0) => Timestamps::Uptime,
                // net/core/secure_seq.c secure_tcp_ts_off(): only 1 has offsets.
                (2.., _) | (_, Kernel::Linux4_4 | Kernel::Linux3_10 | Kernel::Linux2_6_32) => {
                    Timestamps::Uptime
                }
                (_, Kernel::Linux4_12 | Kernel::Linux5_6) => Timestamps::ByAddresses,
                _ => Timestamps::ByTuple,
            },
            max_time_wait: if is_linux {
                ipv4("tcp_max_tw_buckets", linux::MAX_TIME_WAIT.value)
            } else {
                u64::MAX
            },
            max_orphans: ipv4("tcp_max_orphans", linux::MAX_TIME_WAIT.value),
            rfc1337: ipv4("tcp_rfc1337", 0) != 0,
            recycle: stack.has_recycle && ipv4("tcp_tw_recycle", 0) != 0,
            abort_on_overflow: ipv4("tcp_abort_on_overflow", 0) != 0,
            somaxconn: number("net.core.somaxconn", linux::SOMAXCONN.value),
            conntrack: Conntrack {
                max: number("net.netfilter.nf_conntrack_max", linux::CONNTRACK_MAX.value),
                syn_sent_ns: track("syn_sent"),
                established_ns: track("established"),
                fin_wait_ns: track("fin_wait"),
                close_wait_ns: track("close_wait"),
                last_ack_ns: track("last_ack"),
                time_wait_ns: track("time_wait"),
                close_ns: track("close"),
            },
            stack,
        }
    }
}

/// Before 4.18 it was off.
const fn default_reuse(kernel: Kernel) -> u64 {
    match kernel {
        Kernel::Linux4_12 | Kernel::Linux4_4 | Kernel::Linux3_10 | Kernel::Linux2_6_32 => 0,
        _ => linux::TW_REUSE_LOOPBACK.value,
    }
}

fn stack(host: &Host, settings: &Settings) -> Stack {
    let base = match host.kernel {
        Kernel::Linux => Stack::LINUX,
        Kernel::Linux5_6 => Stack::LINUX_5_6,
        Kernel::Linux4_12 => Stack::LINUX_4_12,
        Kernel::Linux4_4 => Stack::LINUX_4_4,
        Kernel::Linux3_10 => Stack::LINUX_3_10,
        Kernel::Linux2_6_32 => Stack::LINUX_2_6_32,
        Kernel::Windows | Kernel::WindowsXp => Stack::WINDOWS,
        Kernel::Macos => Stack::MACOS,
        Kernel::Freebsd => Stack::FREEBSD,
    };
    let mut stack = base;
    let small = |name: &str| settings.number(name).map(|number| u32::try_from(number).unwrap_or(u32::MAX));
    if base.mini_fin_wait_2 {
        stack.time_wait = settings.time_wait();
        stack.fin_timeout = Some(settings.fin_timeout());
        stack.reuse_delay = Some(settings.tw_reuse_delay());
        if let Some(limit) = settings.number("net.ipv4.tcp_invalid_ratelimit")
            && base.invalid_ratelimit.is_some()
        {
            stack.invalid_ratelimit = Some(Duration::from_millis(limit));
        }
        stack.syn_retries = small("net.ipv4.tcp_syn_retries").unwrap_or(stack.syn_retries);
        if base.syn_linear_timeouts > 0 {
            stack.syn_linear_timeouts =
                small("net.ipv4.tcp_syn_linear_timeouts").unwrap_or(stack.syn_linear_timeouts);
        }
        stack.retries = small("net.ipv4.tcp_retries2").unwrap_or(stack.retries);
        stack.orphan_retries = small("net.ipv4.tcp_orphan_retries").unwrap_or(stack.orphan_retries);
        stack.loss_probe &= settings.number("net.ipv4.tcp_early_retrans") != Some(0);
    } else if let Some(seconds) = settings.number("TcpTimedWaitDelay") {
        stack.time_wait = Duration::from_secs(seconds);
    } else if host.kernel == Kernel::WindowsXp {
        stack.time_wait = windows::TIME_WAIT_BEFORE_VISTA.value;
    }
    if let Some(ms) = host.time_wait_ms {
        stack.time_wait = Duration::from_millis(ms);
    }
    stack
}

fn range(host: &Host, settings: &Settings) -> PortRange {
    let (first, last) = match host.kernel {
        Kernel::Linux | Kernel::Linux5_6 | Kernel::Linux4_12 | Kernel::Linux4_4 => {
            linux::LOCAL_PORT_RANGE.value
        }
        Kernel::Linux3_10 | Kernel::Linux2_6_32 => linux::LOCAL_PORT_RANGE_BEFORE_4_4.value,
        Kernel::Windows => windows::DYNAMIC_PORTS.value,
        Kernel::Macos => macos::PORTS.value,
        Kernel::WindowsXp => {
            let last = settings.number("MaxUserPort").and_then(|port| u16::try_from(port).ok());
            let (first, usual) = windows::DYNAMIC_PORTS_BEFORE_VISTA.value;
            (first, last.unwrap_or(usual).max(first))
        }
        Kernel::Freebsd => freebsd::PORTS.value,
    };
    let written = settings.text("net.ipv4.ip_local_port_range").and_then(PortRange::parse);
    written.unwrap_or(PortRange { first, last })
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
