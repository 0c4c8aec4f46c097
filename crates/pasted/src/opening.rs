//! The line that begins an output: what no other program's line looks like.

use crate::kind::Kind;
use crate::table::{bsd, netstat, powershell, proc_tcp, ss, windows};
use crate::{clock, conntrack, macos};

/// The line that begins an output.
#[derive(Clone, Copy)]
pub(crate) struct Opening {
    pub(crate) kind: Kind,
    /// True for a title, of which an output has one.
    pub(crate) anew: bool,
    /// The block that the line begins; an output has one of each name.
    pub(crate) mark: &'static str,
}

/// What a line begins, if it cannot be anything else.
pub(crate) fn opens(line: &str) -> Option<Opening> {
    let row = |kind| Some(Opening { kind, anew: false, mark: "" });
    let title = |kind| Some(Opening { kind, anew: true, mark: "" });
    let trimmed = line.trim_start();
    let mut words = trimmed.split_whitespace();
    let (first, second) = (words.next()?, words.next().unwrap_or_default());
    if ss::is_title(line) {
        return title(Kind::Ss);
    }
    if ss::is_row(line) {
        return row(Kind::Ss);
    }
    if line.starts_with("Active Internet connections (") && !bsd_title(line) || netstat_title(line) {
        return title(Kind::Netstat);
    }
    if line.starts_with("Active UNIX domain sockets") {
        return title(Kind::Other);
    }
    if ansible_host(trimmed).is_some() {
        return title(Kind::Ansible);
    }
    if let Some(opening) = of_windows(line, trimmed, first, second) {
        return Some(opening);
    }
    if bsd_title(line) {
        return Some(Opening { kind: Kind::Bsd, anew: false, mark: heading(first) });
    }
    if bsd::is_row(line) {
        return row(Kind::Bsd);
    }
    if macos::begins(line) {
        return Some(Opening { kind: Kind::BsdStatistics, anew: false, mark: "tcp:" });
    }
    if is_conntrack(trimmed) || conntrack::shown(trimmed.trim_end()).is_some() {
        return row(Kind::Conntrack);
    }
    if netstat::is_row(line) {
        return row(Kind::Netstat);
    }
    if proc_tcp::is_row(line) {
        return if first == "sl" { title(Kind::ProcTcp) } else { row(Kind::ProcTcp) };
    }
    if first == "#kernel" || first.starts_with('#') && second.starts_with("sampling_interval=") {
        return title(Kind::Nstat);
    }
    if is_nstat(trimmed) {
        return row(Kind::Nstat);
    }
    if matches!(first, "sockets:" | "TCP:" | "TCP6:") && matches!(second, "used" | "inuse") {
        return row(Kind::Sockstat);
    }
    if first == "Total:" && second.starts_with(|c: char| c.is_ascii_digit())
        || first == "TCP:" && line.contains("(estab ")
    {
        return row(Kind::SsSummary);
    }
    if let Some(mark) = BLOCKS.into_iter().find(|block| line.starts_with(block) && first == *block) {
        return if second.is_empty() {
            Some(Opening { kind: Kind::Statistics, anew: false, mark })
        } else if second.starts_with(|c: char| c.is_ascii_alphabetic()) {
            Some(Opening { kind: Kind::Counters, anew: false, mark })
        } else {
            row(Kind::Counters)
        };
    }
    if first.starts_with("cpu=") && line.contains("insert_failed=") {
        let mark = if first == "cpu=0" { "cpu=0" } else { "" };
        return Some(Opening { kind: Kind::ConntrackStats, anew: false, mark });
    }
    if first == "entries" && line.contains("insert_failed") {
        return title(Kind::ProcConntrackStats);
    }
    if is_sysctl(first, second) {
        return row(Kind::Sysctl);
    }
    if matches!(first, "Linux" | "Darwin")
        && line
            .split_whitespace()
            .nth(2)
            .is_some_and(|release| release.starts_with(|c: char| c.is_ascii_digit()))
    {
        return title(Kind::Uname);
    }
    clock::read(line)?;
    title(Kind::Date)
}

/// What only the tools of Windows print.
fn of_windows(line: &str, trimmed: &str, first: &str, second: &str) -> Option<Opening> {
    let row = |kind| Some(Opening { kind, anew: false, mark: "" });
    let title = |kind| Some(Opening { kind, anew: true, mark: "" });
    if windows::is_row(line) {
        return row(Kind::Windows);
    }
    if line.starts_with("Active Connections")
        || first == "Proto" && !line.contains("Recv-Q") && !line.contains("RefCnt")
    {
        return Some(Opening { kind: Kind::Windows, anew: false, mark: heading(first) });
    }
    if powershell::is_title(trimmed) {
        return title(Kind::PowerShell);
    }
    if powershell::is_property(trimmed) {
        return row(Kind::PowerShell);
    }
    if first == "SettingName" && second == ":" {
        return row(Kind::NetTcpSetting);
    }
    if trimmed.starts_with("TCP Statistics for IPv") {
        let mark = if line.contains("IPv6") { "IPv6" } else { "IPv4" };
        return Some(Opening { kind: Kind::WindowsStatistics, anew: false, mark });
    }
    if is_dynamic_ports(trimmed) {
        return title(Kind::DynamicPorts);
    }
    if trimmed.starts_with("HKEY_LOCAL_MACHINE\\") {
        return row(Kind::Registry);
    }
    None
}

/// One of the two lines that stand over a table, of which each table has one: the next is that of another table, as
/// `netstat -ano 5` prints it.
fn heading(first: &str) -> &'static str {
    if first == "Proto" { "Proto" } else { "Active" }
}

/// The tables of counters: lines of /proc/net/snmp and netstat begin so, and blocks of `netstat -s`.
const BLOCKS: [&str; 13] = [
    "Ip:",
    "Icmp:",
    "IcmpMsg:",
    "Tcp:",
    "Udp:",
    "UdpLite:",
    "TcpExt:",
    "IpExt:",
    "MPTcpExt:",
    "Sctp:",
    "Ip6:",
    "Icmp6:",
    "Udp6:",
];

/// The host whose output follows: `web1 | CHANGED | rc=0 >>`.
pub(crate) fn ansible_host(line: &str) -> Option<&str> {
    let mut parts = line.strip_suffix(">>")?.split('|').map(str::trim);
    let (host, outcome, code) = (parts.next()?, parts.next()?, parts.next()?);
    let is_outcome = ["CHANGED", "SUCCESS", "FAILED"].contains(&outcome) && code.starts_with("rc=");
    (is_outcome && !host.is_empty() && !host.contains(char::is_whitespace)).then_some(host)
}

/// `Protocol tcp Dynamic Port Range`, `Plage de ports dynamique du protocole tcp`: in languages that have these roots.
fn is_dynamic_ports(line: &str) -> bool {
    const ROOTS: [&[&str]; 3] = [&["proto"], &["dyn", "din"], &["port", "puerto"]];
    if line.len() > 100 || line.contains([':', '.', '=']) {
        return false;
    }
    let lower = line.to_lowercase();
    lower.split_whitespace().any(|word| word == "tcp")
        && ROOTS.iter().all(|roots| roots.iter().any(|root| lower.contains(root)))
}

/// The title of the table of macOS, which has brackets around the state.
fn bsd_title(line: &str) -> bool {
    line.starts_with("Active Internet connections (including servers)")
        || line == "Active Internet connections"
        || line.starts_with("Proto") && line.contains("(state)")
}

fn netstat_title(line: &str) -> bool {
    line.starts_with("Proto")
        && line.contains("Recv-Q")
        && line.contains("Foreign Address")
        && !line.contains("(state)")
}

/// An entry of conntrack: its protocol by name and number, and where it goes.
fn is_conntrack(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace();
    let mut first = words.next().unwrap_or_default();
    if matches!(first, "ipv4" | "ipv6") {
        words.next();
        first = words.next().unwrap_or_default();
    }
    first.starts_with(|c: char| c.is_ascii_lowercase())
        && words.next().is_some_and(|number| number.parse::<u8>().is_ok())
        && line.contains(" src=")
        && line.contains(" dst=")
}

/// A row of `nstat`: a counter, its value, its rate.
fn is_nstat(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace();
    let name = words.next().unwrap_or_default();
    let tables = ["Tcp", "Ip", "Icmp", "Udp", "MPTcp", "Sctp"];
    tables.iter().any(|table| name.starts_with(table))
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && words.next().is_some_and(|value| value.bytes().all(|byte| byte.is_ascii_digit()))
        && words.next().is_some_and(|rate| rate.parse::<f64>().is_ok())
        && words.next().is_none()
}

/// `net.ipv4.tcp_tw_reuse = 2`, `net.inet.tcp.msl: 15000`, `/proc/sys/net/ipv4/tcp_tw_reuse:2`, or a complaint.
fn is_sysctl(first: &str, second: &str) -> bool {
    const TREES: [&str; 12] = [
        "abi.", "crypto.", "debug.", "dev.", "fs.", "hw.", "kern.", "kernel.", "net.", "sunrpc.", "user.",
        "vm.",
    ];
    let in_tree = TREES.iter().any(|tree| first.starts_with(tree));
    in_tree && (second.starts_with('=') || first.contains('=') || first.ends_with(':'))
        || first.starts_with("/proc/sys/") && first.contains(':')
        || first == "sysctl:"
}
