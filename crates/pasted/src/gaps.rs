//! What pasted text cannot tell, said as gaps.

use crate::kind::Kind;
use crate::sections::{Section, Strays};
use crate::sockets::{Found, Table};
use crate::table;
use evidence::{DYNAMIC_PORT_START, Gap, MSL, PORT_RANGE_FIRST, Settings, System, Unseen};
use tcp::{State, StateSet};

/// With addresses, or with what stands for them: all of them as `x.x.x.x` would be one.
const HOW_TO_SHOW: &str =
    "add -n: ss -tanpoe; to hide addresses, lastack collect --redact addresses gives each its own stand-in";

/// Where the gaps of one namespace are put.
pub(crate) struct Gaps<'g> {
    pub(crate) netns: Option<String>,
    pub(crate) all: &'g mut Vec<Gap>,
}

impl Gaps<'_> {
    pub(crate) fn add(&mut self, unseen: Unseen, because: impl Into<String>, how_to_see: impl Into<String>) {
        let (because, how_to_see) = (because.into(), how_to_see.into());
        self.all.push(Gap { unseen, netns: self.netns.clone(), because, how_to_see });
    }

    /// Lines of an output that made no sense.
    pub(crate) fn strays(&mut self, unseen: Unseen, section: &Section<'_>, strays: Strays) {
        if strays.count > 0 {
            let what = format!("output of {}", section.kind.name());
            let because = said(strays, section.name, &what, "not understood");
            self.add(unseen, because, "paste the output as it was printed, in English (LC_ALL=C)");
        }
    }

    /// What tables of sockets do not tell.
    pub(crate) fn sockets(&mut self, tables: &[Table<'_>], found: &Found) {
        for table in tables {
            self.table(table);
        }
        if tables.iter().all(Table::is_empty) {
            self.add(Unseen::Sockets, "the text holds no table of sockets", "ss -tanpoe");
            return;
        }
        self.left_out(tables, found);
        // What a table was not asked for is guessed by its rows if its command is not there, and some of these are
        // not read.
        let is_known =
            |table: &Table<'_>| table.seen.named.count == 0 || table::asked(table.section).is_some();
        if tables.iter().all(is_known) {
            self.uncovered(found.uncovered);
        }
        // One table may tell more of TIME-WAIT, and another of the rest.
        let mini = StateSet::one(State::TimeWait);
        let sum_of = |states: StateSet, of: fn(&Table<'_>) -> u64| -> u64 {
            let taken = found.taken.iter().filter(|index| found.takes(**index, states));
            taken.filter_map(|index| tables.get(*index)).map(of).sum()
        };
        let sum = |of| sum_of(StateSet::ALL.minus(mini), of);
        let time_wait = sum_of(mini, |table| table.seen.time_wait);
        let untimed = time_wait - sum_of(mini, |table| table.seen.time_wait_timed);
        if untimed > 0 {
            let because = format!("how old {untimed} sockets in TIME-WAIT are: the table shows no timers");
            self.add(Unseen::Ages, because, "ss -tanpoe");
        }
        let (waiting, idle_known) = (sum(|table| table.seen.waiting), sum(|table| table.seen.idle_known));
        if waiting > idle_known {
            let because = match waiting - idle_known {
                1 => "how long a half-closed socket has waited".to_owned(),
                many => format!("how long {many} half-closed sockets have waited"),
            };
            self.add(Unseen::Ages, because, "ss -tanpoei");
        }
        let (live, owned) = (sum(|table| table.seen.live), sum(|table| table.seen.owned));
        if live > 0 && owned == 0 {
            self.add(Unseen::Owners, "the table shows no processes", "as root: ss -tanpoe");
        } else if live > owned {
            let because = format!("the table shows no process for {} of {live} live sockets", live - owned);
            self.add(Unseen::Owners, because, "as root: ss -tanpoe");
        }
        if time_wait > 0 {
            let because = "who opened the sockets in TIME-WAIT: the kernel forgets it at close";
            self.add(Unseen::Owners, because, "lastack doctor --for 10s, on the host");
        }
        if found.sockets.listeners.iter().any(|listener| listener.backlog.is_none()) {
            let because = "how many connections listeners let wait: only ss shows it";
            self.add(Unseen::Sockets, because, "ss -ltnp");
        }
        self.bounds(found);
        let because = "which ports bind() took before connect(): no table shows it";
        self.add(Unseen::BoundPorts, because, "lastack doctor, on the host");
    }

    fn table(&mut self, table: &Table<'_>) {
        let (seen, section) = (&table.seen, table.section);
        self.strays(Unseen::Sockets, section, seen.odd);
        if seen.named.count > 0 {
            let because =
                said(seen.named, section.name, "sockets", "shown with names of ports, or masked ones");
            self.add(Unseen::Sockets, because, HOW_TO_SHOW);
        }
        if seen.masked.count > 0 {
            let fate = "shown without their addresses (masked, or by name), and counted by their ports only";
            let because = said(seen.masked, section.name, "sockets", fate);
            self.add(Unseen::Sockets, because, HOW_TO_SHOW);
        }
        if seen.stateless.count > 0 {
            let because = said(seen.stateless, section.name, "sockets", "shown without their state");
            self.add(Unseen::Sockets, because, "paste the command with its output, or ss -tanpoe");
        }
        if seen.cut.count > 0 {
            let because = said(seen.cut, section.name, "sockets", "shown with addresses that are cut off");
            self.add(Unseen::Sockets, because, how_to_see_whole(section.kind));
        }
        if seen.left_out.count > 0 {
            let because =
                format!("sockets that were left out of {}, line {}", section.name, seen.left_out.first);
            self.add(Unseen::Sockets, because, "paste all lines");
        }
        if seen.clipped > 0 {
            let because = format!("the addresses of {} sockets may be cut off", seen.clipped);
            self.add(Unseen::Sockets, because, how_to_see_whole(section.kind));
        }
        if seen.of_udp.count > 0 {
            let because =
                said(seen.of_udp, section.name, "sockets", "taken for those of UDP (UNCONN, no listeners)");
            self.add(Unseen::Sockets, because, "ss -tanpoe, pasted with its command");
        }
        if section.command.as_ref().is_some_and(|command| command.filtered) {
            let because = format!("{}: a filter may have left out lines", section.place());
            self.add(Unseen::Sockets, because, "paste all lines");
        }
    }

    fn left_out(&mut self, tables: &[Table<'_>], found: &Found) {
        let mut left_out = tables
            .iter()
            .enumerate()
            .filter(|(index, table)| !found.taken.contains(index) && !table.is_empty())
            .map(|(_, table)| table.section);
        if let Some(first) = left_out.next() {
            let more = match left_out.count() {
                0 => String::new(),
                more => format!(" (and {more} more)"),
            };
            let because = format!(
                "the sockets of {}{more}, are not counted: another table of the same sockets tells more, or is later",
                first.place(),
            );
            self.add(Unseen::Text, because, "paste one table of sockets: ss -tanpoe");
        }
    }

    fn uncovered(&mut self, uncovered: StateSet) {
        if uncovered.is_empty() {
            return;
        }
        let names: Vec<&str> = uncovered.states().map(State::name).collect();
        let because = format!("sockets in {}: the command did not ask for them", names.join(", "));
        self.add(Unseen::Sockets, because, "add -a: ss -tanpoe");
    }

    fn bounds(&mut self, found: &Found) {
        if found.listeners_left_out > 0 {
            let because = format!("{} listeners are more than are kept", found.listeners_left_out);
            self.add(Unseen::Sockets, because, "paste the table of one host");
        }
        if found.live_not_kept > 0 {
            let because = format!(
                "owners of {} live sockets beyond the first {}",
                found.live_not_kept,
                evidence::MAX_LIVE
            );
            self.add(Unseen::Owners, because, "lastack doctor, on the host");
        }
        let too_many = found.sockets.folded.saturating_sub(found.masked);
        if too_many > 0 {
            let because = format!(
                "{too_many} sockets have more different peers than are kept apart ({}): they are counted by port only",
                evidence::MAX_GROUPS
            );
            self.add(Unseen::Sockets, because, "ss -tan");
        }
    }

    /// Which settings were not pasted.
    pub(crate) fn settings(&mut self, settings: &Settings) {
        let needed: &[&str] = match settings.system {
            System::Windows => &[DYNAMIC_PORT_START],
            System::Macos => &[PORT_RANGE_FIRST, MSL],
            System::Linux | System::Other => {
                &["net.ipv4.ip_local_port_range", "net.ipv4.tcp_tw_reuse", "net.ipv4.tcp_max_tw_buckets"]
            }
        };
        if settings.values.is_empty() {
            let because = "the text holds no settings: the system's defaults are assumed";
            self.add(Unseen::Settings, because, "sysctl -a");
        } else if let Some(missing) = needed.iter().find(|name| settings.text(name).is_none()) {
            let because = format!("the text does not have {missing}, and perhaps not others");
            self.add(Unseen::Settings, because, "sysctl -a");
        }
    }
}

/// `12 lines of FILE (output of ss) are not understood; the first is line 17`.
fn said(strays: Strays, name: &str, what: &str, fate: &str) -> String {
    if strays.count == 1 {
        return format!("line {} of {name} ({what}) is {fate}", strays.first);
    }
    format!("{} lines of {name} ({what}) are {fate}; the first is line {}", strays.count, strays.first)
}

/// How addresses are shown that are not cut off.
fn how_to_see_whole(kind: Kind) -> &'static str {
    match kind {
        Kind::PowerShell => "Get-NetTCPConnection | Format-List",
        Kind::Bsd => WHOLE_ON_MACOS,
        _ => "netstat -W, or ss -tanpoe",
    }
}

/// `-l` shows addresses of IPv6 whole, on releases that have no `-W`.
const WHOLE_ON_MACOS: &str = "sudo netstat -anlvW -p tcp";

/// Lines of a text that belong to no output.
pub(crate) fn outside(strays: Strays, name: &str, all: &mut Vec<Gap>) {
    if strays.count > 0 {
        let because = said(strays, name, "of no output that is known", "passed over");
        let how_to_see = "docs/pasted.md has the outputs that are read".to_owned();
        all.push(Gap { unseen: Unseen::Text, netns: None, because, how_to_see });
    }
}

/// Gaps of a system that is not Linux: what it does not have is none, and how to see a thing is said in its commands.
pub(crate) fn of_system(system: System, all: &mut Vec<Gap>) {
    if system.is_linux() {
        return;
    }
    all.retain(|gap| gap.unseen != Unseen::Conntrack && !gap.because.contains("only ss shows it"));
    for gap in all {
        let how_to_see = match (system, gap.unseen) {
            (System::Windows, Unseen::Sockets) => "netstat -ano",
            (System::Windows, Unseen::Owners) => "as administrator: netstat -anob",
            (System::Windows, Unseen::BoundPorts) => "netstat -anoq",
            (System::Windows, Unseen::Settings) => "netsh int ipv4 show dynamicport tcp",
            (System::Macos, Unseen::Sockets | Unseen::Owners) => WHOLE_ON_MACOS,
            (System::Macos, Unseen::Settings) => "sysctl net.inet.tcp.msl net.inet.ip.portrange",
            (_, Unseen::Ages | Unseen::Counters | Unseen::BoundPorts) => {
                "capture packets, and lastack read FILE"
            }
            (System::Windows, Unseen::Text) if gap.how_to_see.contains("ss -") => {
                "paste one table: netstat -ano"
            }
            (System::Macos, Unseen::Text) if gap.how_to_see.contains("ss -") => {
                "paste one table: netstat -anv"
            }
            _ => continue,
        };
        how_to_see.clone_into(&mut gap.how_to_see);
        gap.because = gap.because.replace("the kernel", "the system");
    }
}
