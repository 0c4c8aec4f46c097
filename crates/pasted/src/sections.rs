//! A text cut into the outputs that it holds. An output begins where a line looks like no other program's, and ends
//! where the next begins or a command is typed.

use crate::clock::{self, Clock, Moment};
use crate::command::{Command, commands};
use crate::table::{bsd, netstat, proc_tcp, ss, windows};
use crate::text::{Line, lines};
use evidence::System;
use std::time::Duration;

/// So many outputs one text may hold; people paste ten.
pub(crate) const MOST: usize = 10_000;

/// What wrote an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// `ss`: sockets.
    Ss,
    /// `ss -s`.
    SsSummary,
    /// `netstat` of net-tools: sockets.
    Netstat,
    /// `netstat -s` of net-tools: counters in words.
    Statistics,
    /// netstat of Windows: sockets.
    Windows,
    /// `netstat -s` of Windows.
    WindowsStatistics,
    /// `netsh int ipv4 show dynamicport tcp`.
    DynamicPorts,
    /// `reg query`.
    Registry,
    /// netstat of macOS: sockets.
    Bsd,
    /// `nstat`.
    Nstat,
    /// `sysctl`, or a listing of files below /proc/sys with their values.
    Sysctl,
    /// /proc/net/snmp or /proc/net/netstat.
    Counters,
    /// /proc/net/sockstat or sockstat6.
    Sockstat,
    /// /proc/net/tcp or tcp6.
    ProcTcp,
    /// `conntrack -L` or /proc/net/nf_conntrack.
    Conntrack,
    /// `conntrack -S`.
    ConntrackStats,
    /// /proc/net/stat/nf_conntrack.
    ProcConntrackStats,
    /// `uname -a`.
    Uname,
    /// `date`.
    Date,
    /// `hostname`.
    Hostname,
    /// An output that says nothing of TCP.
    Other,
}

impl Kind {
    /// True if its rows are sockets.
    pub(crate) fn is_table(self) -> bool {
        matches!(self, Self::Ss | Self::Netstat | Self::ProcTcp | Self::Windows | Self::Bsd)
    }

    /// The system whose tool it is, if no other has it.
    pub(crate) fn system(self) -> Option<System> {
        match self {
            Self::Windows | Self::WindowsStatistics | Self::DynamicPorts | Self::Registry => {
                Some(System::Windows)
            }
            Self::Bsd => Some(System::Macos),
            Self::Uname | Self::Date | Self::Hostname | Self::Sysctl | Self::Other => None,
            _ => Some(System::Linux),
        }
    }

    /// True if it tells of the host, and of no namespace.
    pub(crate) fn is_of_host(self) -> bool {
        matches!(self, Self::Uname | Self::Date | Self::Hostname | Self::Other)
    }

    /// What people call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ss => "ss",
            Self::SsSummary => "ss -s",
            Self::Netstat | Self::Windows | Self::Bsd => "netstat",
            Self::Statistics | Self::WindowsStatistics => "netstat -s",
            Self::DynamicPorts => "netsh",
            Self::Registry => "reg query",
            Self::Nstat => "nstat",
            Self::Sysctl => "sysctl",
            Self::Counters => "/proc/net/netstat",
            Self::Sockstat => "/proc/net/sockstat",
            Self::ProcTcp => "/proc/net/tcp",
            Self::Conntrack => "conntrack -L",
            Self::ConntrackStats => "conntrack -S",
            Self::ProcConntrackStats => "/proc/net/stat/nf_conntrack",
            Self::Uname => "uname -a",
            Self::Date => "date",
            Self::Hostname => "hostname",
            Self::Other => "another output",
        }
    }

    /// True if a command may have written it.
    fn is_of(self, command: &Command) -> bool {
        let program = command.program.as_str();
        match self {
            Self::Ss | Self::SsSummary => program == "ss",
            Self::Netstat | Self::Statistics | Self::Windows | Self::WindowsStatistics | Self::Bsd => {
                program == "netstat"
            }
            Self::DynamicPorts => program == "netsh",
            Self::Registry => program == "reg",
            Self::Nstat => program == "nstat",
            Self::Sysctl => matches!(program, "sysctl" | "grep" | "head" | "tail"),
            Self::Conntrack | Self::ConntrackStats => matches!(program, "conntrack" | "cat"),
            Self::Uname => program == "uname",
            Self::Date => program == "date",
            Self::Hostname => program == "hostname",
            Self::Counters | Self::Sockstat | Self::ProcTcp | Self::ProcConntrackStats => {
                matches!(program, "cat" | "head" | "tail" | "grep")
            }
            Self::Other => false,
        }
    }
}

/// One output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Section<'a> {
    /// What wrote it.
    pub(crate) kind: Kind,
    /// Which of the texts it is in.
    pub(crate) text: usize,
    /// That text's name.
    pub(crate) name: &'a str,
    /// The byte at which it begins.
    pub(crate) start: usize,
    /// The byte after it.
    pub(crate) end: usize,
    /// The line at which it begins.
    pub(crate) first_line: u32,
    /// The command that wrote it, if that was pasted, too.
    pub(crate) command: Option<Command>,
    /// When it was written, as far as clocks and sleeps around it tell.
    pub(crate) at: Option<Moment>,
    /// For `nstat`: how long before that it ran, in the same line of commands.
    pub(crate) since: Option<Duration>,
}

impl Section<'_> {
    /// Its lines, in the text that it is in.
    pub(crate) fn lines<'t>(&self, text: &'t str) -> impl Iterator<Item = Line<'t>> + use<'t> {
        lines(text.get(..self.end).unwrap_or(text), self.start, self.first_line)
    }

    /// Where it is, for people: `ticket.txt, line 12`.
    pub(crate) fn place(&self) -> String {
        format!("{}, line {}", self.name, self.first_line)
    }

    /// The namespace it is about; none if it is where the shell was.
    pub(crate) fn netns(&self) -> Option<&str> {
        self.command.as_ref()?.netns.as_deref()
    }
}

/// What a text holds.
#[derive(Debug, Default)]
pub(crate) struct Cut<'a> {
    /// Its outputs, in their order.
    pub(crate) sections: Vec<Section<'a>>,
    /// Lines that belong to no output, and the first of them.
    pub(crate) strays: Strays,
    /// The line at which there was one output too many.
    pub(crate) too_many: Option<u32>,
}

/// Lines that are not understood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Strays {
    /// How many.
    pub(crate) count: u32,
    /// The number of the first; 0 without one.
    pub(crate) first: u32,
}

impl Strays {
    /// Counts a line.
    pub(crate) fn add(&mut self, number: u32) {
        if self.count == 0 {
            self.first = number;
        }
        self.count = self.count.saturating_add(1);
    }
}

/// Cuts a text, the `index`-th of all.
pub(crate) fn cut<'a>(text: &str, index: usize, name: &'a str) -> Cut<'a> {
    let mut cut = Cut::default();
    let mut now: Option<Open<'a>> = None;
    let mut pending = Pending::default();
    for line in lines(text, 0, 1) {
        let current = now.as_ref().map(|open| open.section.kind);
        // Nearly every line is a row of the table that it stands in.
        if current == Some(Kind::Ss) && ss::is_row(line.says) {
            continue;
        }
        if let Some(opening) = opens(line.says) {
            let goes_on = now.as_mut().is_some_and(|open| open.goes_on(&opening, line.number));
            if goes_on {
                continue;
            }
            if cut.sections.len() + 1 >= MOST {
                cut.too_many = Some(line.number);
                break;
            }
            close(&mut cut, &mut now, line.start);
            let command = pending.take(opening.kind);
            let since = pending.since_nstat(opening.kind);
            if opening.kind == Kind::Date {
                pending.clock.set(clock::read(line.says));
            }
            let mut open = Open::new(opening, index, name, line, command, pending.clock.now());
            open.section.since = since;
            now = Some(open);
        } else if let Some(typed) = commands(line.says) {
            close(&mut cut, &mut now, line.start);
            pending.set(typed);
            // A host's name looks like anything: only the command tells what the next line is.
            now = pending.take_only("hostname").map(|command| {
                let opening = Opening { kind: Kind::Hostname, anew: true, mark: "" };
                let next = Line { number: line.number + 1, start: line.end, ..line };
                Open::new(opening, index, name, next, Some(command), None)
            });
        } else if now.is_none() && !line.says.trim().is_empty() {
            cut.strays.add(line.number);
        }
    }
    close(&mut cut, &mut now, text.len());
    cut
}

/// An output that is still being read.
struct Open<'a> {
    section: Section<'a>,
    /// Blocks that it has begun: a second one of a name is another output.
    marks: Vec<&'static str>,
}

impl<'a> Open<'a> {
    fn new(
        opening: Opening,
        text: usize,
        name: &'a str,
        line: Line<'_>,
        command: Option<Command>,
        at: Option<Moment>,
    ) -> Self {
        let section = Section {
            kind: opening.kind,
            text,
            name,
            start: line.start,
            end: line.end,
            first_line: line.number,
            command,
            at,
            since: None,
        };
        Self { section, marks: vec![opening.mark] }
    }

    /// True if a line that could begin an output is a part of this one.
    fn goes_on(&mut self, opening: &Opening, line: u32) -> bool {
        if self.section.kind != opening.kind || opening.anew && line > self.section.first_line + 1 {
            return false;
        }
        if opening.mark.is_empty() {
            return true;
        }
        if self.marks.contains(&opening.mark) {
            return false;
        }
        self.marks.push(opening.mark);
        true
    }
}

fn close<'a>(cut: &mut Cut<'a>, now: &mut Option<Open<'a>>, at: usize) {
    if let Some(mut open) = now.take() {
        open.section.end = at;
        cut.sections.push(open.section);
    }
}

/// Commands that were typed and whose output has not come yet.
#[derive(Default)]
struct Pending {
    commands: std::collections::VecDeque<Command>,
    clock: Clock,
    /// When `nstat` last ran.
    history: Option<Moment>,
}

impl Pending {
    fn set(&mut self, typed: Vec<Command>) {
        self.commands = typed.into();
        self.history = None;
        self.clock.typed();
    }

    /// The command that wrote an output of this kind, if it is among those typed.
    fn take(&mut self, kind: Kind) -> Option<Command> {
        // `nstat -n` prints nothing: it begins a rise.
        let writes = |command: &Command| kind.is_of(command) && !(kind == Kind::Nstat && command.has('n'));
        let at = self.commands.iter().position(writes)?;
        for command in self.commands.drain(..at) {
            self.clock.slept(command.sleeps());
            if command.program == "nstat" {
                self.history = self.clock.now();
            }
        }
        self.commands.pop_front()
    }

    /// How long ago `nstat` ran before, if this is its output.
    fn since_nstat(&mut self, kind: Kind) -> Option<Duration> {
        if kind != Kind::Nstat {
            return None;
        }
        let now = self.clock.now();
        let before = std::mem::replace(&mut self.history, now);
        now?.since(before?)
    }

    /// The command, if it is the only one and this program without arguments.
    fn take_only(&mut self, program: &str) -> Option<Command> {
        let only = self.commands.len() == 1
            && self
                .commands
                .front()
                .is_some_and(|first| first.program == program && first.arguments.is_empty());
        if only { self.commands.pop_front() } else { None }
    }
}

/// The line that begins an output.
#[derive(Clone, Copy)]
struct Opening {
    kind: Kind,
    /// True for a title, of which an output has one.
    anew: bool,
    /// The block that the line begins; an output has one of each name.
    mark: &'static str,
}

/// What a line begins, if it cannot be anything else.
fn opens(line: &str) -> Option<Opening> {
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
    if windows::is_row(line) {
        return row(Kind::Windows);
    }
    if line.starts_with("Active Connections")
        || first == "Proto" && !line.contains("Recv-Q") && !line.contains("RefCnt")
    {
        return row(Kind::Windows);
    }
    if trimmed.starts_with("TCP Statistics for IPv") {
        return row(Kind::WindowsStatistics);
    }
    if is_dynamic_ports(trimmed) {
        return title(Kind::DynamicPorts);
    }
    if trimmed.starts_with("HKEY_LOCAL_MACHINE\\") {
        return row(Kind::Registry);
    }
    if bsd::is_row(line) || bsd_title(line) {
        return row(Kind::Bsd);
    }
    if is_conntrack(trimmed) {
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

/// `Protocol tcp Dynamic Port Range`, in whatever language.
fn is_dynamic_ports(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    lower.starts_with("proto") && lower.contains(" tcp ") && lower.contains("dyn") && lower.contains("port")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(Kind, u32)> {
        cut(text, 0, "x").sections.iter().map(|section| (section.kind, section.first_line)).collect()
    }

    #[test]
    fn outputs_are_told_apart_with_and_without_commands() {
        let text = "\
Hello, we see errors:
State Recv-Q Send-Q Local Address:Port Peer Address:Port
ESTAB 0 0 10.0.0.1:80 10.0.0.2:5000
$ netstat -ant
Active Internet connections (servers and established)
Proto Recv-Q Send-Q Local Address           Foreign Address         State
tcp 0 0 10.0.0.1:80 10.0.0.2:5000 ESTABLISHED
$ netstat -s
Ip:
    Forwarding: 2
Tcp:
    7 active connection openings
TcpExt:
    TCPDelivered: 14
Ip:
    Forwarding: 2
net.ipv4.tcp_tw_reuse = 2
net.ipv4.tcp_mem = 1 2 3
#kernel
TcpActiveOpens                  7                  0.0
Tcp: RtoAlgorithm RtoMin
Tcp: 1 200
TcpExt: SyncookiesSent
TcpExt: 0
Tcp: RtoAlgorithm RtoMin
Tcp: 1 200
";
        let cut = cut(text, 0, "x");
        let kinds: Vec<_> = cut.sections.iter().map(|section| (section.kind, section.first_line)).collect();
        assert_eq!(
            kinds,
            [
                (Kind::Ss, 2),
                (Kind::Netstat, 5),
                (Kind::Statistics, 9),
                (Kind::Statistics, 15),
                (Kind::Sysctl, 17),
                (Kind::Nstat, 19),
                (Kind::Counters, 21),
                (Kind::Counters, 25),
            ]
        );
        assert_eq!(cut.strays, Strays { count: 1, first: 1 });
        assert!(cut.sections[1].command.as_ref().is_some_and(|command| command.has('a')));
        assert!(cut.sections[0].command.is_none());
    }

    #[test]
    fn two_titles_are_two_tables() {
        let title = "State Recv-Q Send-Q Local Address:Port Peer Address:Port\n";
        let row = "ESTAB 0 0 10.0.0.1:80 10.0.0.2:5000\n";
        assert_eq!(kinds(&format!("{title}{row}{row}{title}{row}")), [(Kind::Ss, 1), (Kind::Ss, 4)]);
    }

    #[test]
    fn a_flood_of_outputs_ends() {
        let text = "#kernel\nTotal: 1\n".repeat(MOST);
        let cut = cut(&text, 0, "x");
        assert!(cut.sections.len() <= MOST && cut.too_many.is_some());
    }
}
