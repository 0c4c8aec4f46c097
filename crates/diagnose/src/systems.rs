//! Findings about hosts that are not Linux.
//!
//! Rules are written for Linux, which lastack looks at itself; what people paste may be of Windows or macOS. What a
//! socket's state means is the same there, but what can be done is not. So rules about mechanisms of Linux are not
//! applied, whatever names such a mechanism is taken out of a finding, and the system's own means are put in. That is
//! done here for all rules, so that no rule can forget it.

use crate::wording::{count, length};
use crate::{Avoid, Finding, Look, Remedy, Rule, Verdict};
use evidence::{DYNAMIC_PORT_COUNT, DYNAMIC_PORT_START, MSL, PORT_RANGE_FIRST, System, TIMED_WAIT_DELAY};

/// Rules about what only Linux has.
const OF_LINUX: [&str; 7] = [
    "conntrack-full",
    "fin-timeout-misread",
    "reuse-without-effect",
    "setting-not-durable",
    "time-wait-recycle",
    "time-wait-table-full",
    "time-wait-table-small",
];

/// Rules that tell by Linux's counters or settings, and elsewhere by packets only.
const BY_COUNTERS: [&str; 4] =
    ["abort-instead-of-close", "accept-queue-full", "syn-meets-time-wait", "timestamps-behind-nat"];

/// What names a mechanism, a program or a setting of Linux.
const WORDS_OF_LINUX: [&str; 32] = [
    "/proc",
    "/sys/",
    "IP_BIND_ADDRESS_NO_PORT",
    "IP_LOCAL_PORT_RANGE",
    "Linux",
    "SO_REUSEPORT",
    "TCP_LINGER2",
    "TCP_USER_TIMEOUT",
    "TcpExt",
    "bpftrace",
    "conntrack",
    "ehash",
    "ip netns",
    "ip_local",
    "iptables",
    "kernel",
    "lastack doctor",
    "net.core",
    "net.ipv4",
    "net.netfilter",
    "nft",
    "nstat",
    "nsenter",
    "orphan",
    "sock_diag",
    "somaxconn",
    "ss -",
    "strace",
    "systemctl",
    "tcp_",
    "the half of the ports",
    "walks",
];

/// The first port of the wider range that is proposed: most services listen below.
const WIDE_FIRST: u16 = 10_000;

/// True if a rule judges what this system has.
pub(crate) fn has(system: System, rule: &Rule) -> bool {
    system.is_linux() || !OF_LINUX.contains(&rule.name())
}

/// True if it can judge it without packets.
pub(crate) fn shows(system: System, rule: &Rule) -> bool {
    has(system, rule) && (system.is_linux() || !BY_COUNTERS.contains(&rule.name()))
}

/// True if a text names nothing that only Linux has.
fn fits(text: &str) -> bool {
    !WORDS_OF_LINUX.iter().any(|word| text.contains(word))
}

/// A verdict as it is true for a host of this system.
pub(crate) fn adapted(system: System, look: Option<&Look<'_>>, verdict: Verdict) -> Verdict {
    match verdict {
        _ if system.is_linux() => verdict,
        Verdict::Quiet => Verdict::Quiet,
        Verdict::Found(findings) => {
            findings.into_iter().map(|finding| of_system(system, look, finding)).collect::<Vec<_>>().into()
        }
        Verdict::Unknown { because, how_to_see } => {
            let because = if fits(&because) {
                because
            } else {
                format!("{} does not count it, or not for each connection", system.name())
            };
            let how_to_see = if fits(&how_to_see) {
                how_to_see
            } else {
                format!("capture packets ({}), and lastack read FILE", capturing(system))
            };
            Verdict::Unknown { because, how_to_see }
        }
    }
}

fn of_system(system: System, look: Option<&Look<'_>>, mut finding: Finding) -> Finding {
    for evidence in &mut finding.evidence {
        if evidence.source == "sock_diag" {
            "netstat".clone_into(&mut evidence.source);
        }
    }
    in_its_words(system, &mut finding);
    finding.evidence.retain(|evidence| fits(&evidence.source) && fits(&evidence.says));
    finding.remedies.retain(|remedy| {
        remedy.changes.is_empty() && fits(&remedy.summary) && fits(&remedy.risk) && fits(&remedy.expected)
    });
    finding.avoid.retain(|avoid| fits(&avoid.what) && fits(&avoid.because));
    if let Some(look) = look {
        let (remedies, avoid) = own(system, look, finding.rule);
        // The range that is proposed for Linux is not that of the system's own command.
        if !remedies.is_empty() {
            finding.remedies.retain(|remedy| remedy.name != "wider-port-range");
        }
        finding.remedies.extend(remedies);
        finding.avoid.extend(avoid);
    }
    finding.next = finding.next.filter(|next| fits(next)).or_else(|| seeing(system).map(str::to_owned));
    finding
}

/// Linux's name for the error of a connect() without a port, as Winsock has it.
fn in_its_words(system: System, finding: &mut Finding) {
    const ERROR: (&str, &str) = ("EADDRNOTAVAIL", "WSAENOBUFS or WSAEADDRINUSE");
    if system != System::Windows {
        return;
    }
    let of_evidence = finding.evidence.iter_mut().map(|evidence| &mut evidence.says);
    let of_remedies = finding
        .remedies
        .iter_mut()
        .flat_map(|remedy| [&mut remedy.summary, &mut remedy.risk, &mut remedy.expected]);
    for text in of_evidence.chain(of_remedies).chain([&mut finding.claim]) {
        *text = text.replace(ERROR.0, ERROR.1);
    }
}

/// The command that shows sockets with their owners.
fn seeing(system: System) -> Option<&'static str> {
    match system {
        System::Windows => Some("netstat -ano -p tcp"),
        System::Macos => Some("netstat -anv -p tcp"),
        System::Linux | System::Other => None,
    }
}

fn capturing(system: System) -> &'static str {
    match system {
        System::Windows => "pktmon, or Wireshark",
        _ => "tcpdump, or Wireshark",
    }
}

/// What the system itself offers against what a rule found.
fn own(system: System, look: &Look<'_>, rule: &str) -> (Vec<Remedy>, Vec<Avoid>) {
    let exhausted = matches!(rule, "ephemeral-ports-exhausted" | "time-wait-at-client");
    let in_range = matches!(rule, "listener-in-ephemeral-range" | "bind-without-reuseaddr");
    match system {
        System::Windows if exhausted => (
            vec![windows_ports(look), windows_reuse(), windows_delay(look)],
            vec![Avoid::new(
                "MaxUserPort",
                "only releases before Vista and Server 2008 read it; the dynamic range replaced it",
            )],
        ),
        System::Windows if in_range => (
            vec![Remedy::advice(
                "exclude-the-port",
                "Keep the port out of the dynamic range: netsh int ipv4 add excludedportrange protocol=tcp \
                 startport=PORT numberofports=1",
                "none: the port can still be bound by a program that names it",
                "no connection takes the port, and the service can always start",
            )],
            vec![Avoid::new(
                "SO_REUSEADDR",
                "on Windows it lets any program take over the port; a service sets SO_EXCLUSIVEADDRUSE",
            )],
        ),
        System::Macos if exhausted => (vec![macos_ports(look), macos_msl(look)], Vec::new()),
        _ => (Vec::new(), Vec::new()),
    }
}

fn windows_ports(look: &Look<'_>) -> Remedy {
    let range = look.namespace.settings.local_port_range();
    let first = WIDE_FIRST.min(range.first);
    let number = u32::from(u16::MAX) - u32::from(first) + 1;
    let how = if look.namespace.settings.text(DYNAMIC_PORT_START).is_some()
        && look.namespace.settings.text(DYNAMIC_PORT_COUNT).is_some()
    {
        "now"
    } else {
        "by default"
    };
    Remedy::advice(
        "wider-dynamic-range",
        format!(
            "Widen the range of dynamic ports: netsh int ipv4 set dynamicport tcp start={first} num={number} ({how} \
             start={} num={})",
            range.first,
            range.ports()
        ),
        "a service whose port lies in the new range may fail to start: exclude its port first (netsh int ipv4 add \
         excludedportrange)",
        format!("{} ports instead of {}", count(number), count(range.ports())),
    )
}

fn windows_reuse() -> Remedy {
    Remedy::advice(
        "share-ports",
        "Let connect() share ports between destinations: SO_REUSE_UNICASTPORT in the program, or a range with \
         Set-NetTCPSetting -AutoReusePortRangeStartPort -AutoReusePortRangeNumberOfPorts",
        "a program that binds its port itself gains nothing",
        "a port is taken for one destination only, and not for all",
    )
}

fn windows_delay(look: &Look<'_>) -> Remedy {
    let settings = &look.namespace.settings;
    let known = settings.text(TIMED_WAIT_DELAY).is_some();
    let now = if known { "now" } else { "by default, or twice that: measure it" };
    Remedy::advice(
        "shorter-time-wait",
        format!(
            "Shorten TIME-WAIT: reg add HKLM\\SYSTEM\\CurrentControlSet\\Services\\Tcpip\\Parameters /v {TIMED_WAIT_DELAY} \
             /t REG_DWORD /d 30, then restart the host ({} {now}; 30 to 300 s)",
            length(settings.time_wait())
        ),
        "segments that are late by more than 30 s may reach a new connection on the same ports",
        format!("ports come back after 30 s instead of {}", length(settings.time_wait())),
    )
}

fn macos_ports(look: &Look<'_>) -> Remedy {
    let range = look.namespace.settings.local_port_range();
    let first = WIDE_FIRST.min(range.first);
    let number = u32::from(range.last) - u32::from(first) + 1;
    Remedy::advice(
        "wider-port-range",
        format!("Widen the range of local ports: sysctl -w {PORT_RANGE_FIRST}={first} (now {})", range.first),
        "a service whose port lies in the new range may fail to start",
        format!("{} ports instead of {}", count(number), count(range.ports())),
    )
}

fn macos_msl(look: &Look<'_>) -> Remedy {
    let now = look.namespace.settings.time_wait();
    Remedy::advice(
        "shorter-time-wait",
        format!("Shorten TIME-WAIT, for a test: sysctl -w {MSL}=5000 (now {} ms)", now.as_millis() / 2),
        "segments that are late may reach a new connection on the same ports",
        format!("ports come back after 10 s instead of {}", length(now)),
    )
}
