//! All outputs of all texts, put into one case.

use crate::command::{Command, commands};
use crate::conntrack;
use crate::counters::{self, Moments};
use crate::gaps::{self, Gaps};
use crate::host::HostFound;
use crate::kind::Kind;
use crate::sections::{self, Cut, MOST, Section, Strays};
use crate::settings;
use crate::sockets::{self, Table};
use crate::summary;
use crate::text::{Text, characters, lines, quoted};
use crate::windows;
use evidence::{Case, Conntrack, Namespace, Settings, System, Unseen, proc};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// So many namespaces one paste may tell of.
const MOST_NAMESPACES: usize = 256;

/// Why a text gives no case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PastedError {
    /// Nothing in it is an output that is known.
    #[error(
        "{name}: line {line}: \"{shown}\" is no output of ss, netstat, nstat, sysctl, conntrack, netsh or /proc/net; \
         paste what `ss -tanpoe` prints"
    )]
    NothingKnown {
        /// The text.
        name: String,
        /// Its first line that says anything.
        line: u32,
        /// That line's beginning.
        shown: String,
    },
    /// There is a command, and nothing of what it prints.
    #[error(
        "{name}: line {line}: nothing of what `{shown}` prints is there, or another program cut it down; paste all that \
         `ss -tanpoe` (Windows: `netstat -ano`) prints"
    )]
    NothingOfIt {
        /// The text.
        name: String,
        /// The line with the command.
        line: u32,
        /// That command.
        shown: String,
    },
    /// A whole table is one line.
    #[error(
        "{name}: line {line}: the line breaks of this table are lost; paste it as it was printed, or as a file"
    )]
    OneLine {
        /// The text.
        name: String,
        /// That line.
        line: u32,
    },
    /// There are tables of sockets and nothing else, and not a row of them makes sense.
    #[error(
        "{name}: line {line}: \"{shown}\" is no row that can be read, and no other is there; paste the table as it was \
         printed, with numbers (-n), in English (LC_ALL=C)"
    )]
    NoRow {
        /// The text.
        name: String,
        /// The first row.
        line: u32,
        /// That row's beginning.
        shown: String,
    },
    /// There is nothing in it.
    #[error("{name}: it is empty; paste what `ss -tanpoe` prints")]
    Empty {
        /// The text.
        name: String,
    },
    /// It holds more outputs than anybody pastes.
    #[error("{name}: line {line}: more than {MOST} outputs in one text; give a part of it")]
    TooMany {
        /// The text.
        name: String,
        /// Where there was one too many.
        line: u32,
    },
    /// It tells of more namespaces than anybody pastes.
    #[error("{name}: line {line}: more than {MOST_NAMESPACES} network namespaces; give a part of it")]
    TooManyNamespaces {
        /// The text.
        name: String,
        /// Where there was one too many.
        line: u32,
    },
    /// Two outputs are of two systems.
    #[error(
        "{name}: line {line}: this is of {system}, but {other} is of {other_system}: a case is of one host"
    )]
    OtherSystem {
        /// The text.
        name: String,
        /// The line.
        line: u32,
        /// The system there.
        system: &'static str,
        /// Where the other system shows.
        other: String,
        /// That system.
        other_system: &'static str,
    },
    /// Two outputs are of two hosts.
    #[error(
        "{name}: line {line}: this is of host {host}, but {other} is of host {other_host}: a case is of one host"
    )]
    OtherHost {
        /// The text.
        name: String,
        /// The line.
        line: u32,
        /// The host there.
        host: String,
        /// Where the other host is named.
        other: String,
        /// That host.
        other_host: String,
    },
}

/// Reads texts of one host into a case. `seed` should be random: peers choose the addresses that are hashed.
pub fn read(texts: &[Text<'_>], seed: u64) -> Result<Case, PastedError> {
    let whole: Vec<Cow<'_, str>> = texts.iter().map(|text| characters(text.bytes)).collect();
    let mut case = Case::default();
    let mut all = Vec::new();
    for (index, (text, whole)) in texts.iter().zip(&whole).enumerate() {
        let Cut { sections, strays, too_many } = sections::cut(whole, index, text.name, text.command);
        if let Some(line) = too_many {
            return Err(PastedError::TooMany { name: text.name.to_owned(), line });
        }
        if sections.is_empty() && text.command.is_none() {
            return Err(nothing_known(text.name, whole));
        }
        gaps::outside(strays, text.name, &mut case.gaps);
        all.extend(sections);
    }
    let mut host = HostFound::default();
    let mut places: BTreeMap<Option<&str>, Vec<&Section<'_>>> = BTreeMap::new();
    for section in &all {
        host.take(section, text_of(&whole, section))?;
        host.is_of(section, text_of(&whole, section))?;
        if !section.kind.is_of_host() {
            places.entry(section.netns()).or_default().push(section);
        }
        if places.len() > MOST_NAMESPACES {
            let (name, line) = (section.name.to_owned(), section.first_line);
            return Err(PastedError::TooManyNamespaces { name, line });
        }
    }
    let several = places.len() > 1;
    for (netns, sections) in &places {
        let name = netns.unwrap_or("host").to_owned();
        let mut gaps = Gaps { netns: several.then(|| name.clone()), all: &mut case.gaps };
        let namespace = namespace(name, host.system(), sections, &whole, seed, &mut gaps);
        case.namespaces.push(namespace);
    }
    let system = host.system();
    case.host = host.finish();
    case.set_system(system);
    gaps::of_system(system, &mut case.gaps);
    if let Some(error) = no_row(&all, &whole) {
        return Err(error);
    }
    // A command is there, and nothing of what it prints.
    if let (true, Some(first), Some(whole)) = (says_nothing(&case), texts.first(), whole.first()) {
        return Err(nothing_known(first.name, whole));
    }
    Ok(case)
}

/// Where all is tables of sockets of which no row can be read: a clean report would be about nothing.
fn no_row(sections: &[Section<'_>], whole: &[Cow<'_, str>]) -> Option<PastedError> {
    let mut outputs = sections.iter().filter(|section| !section.kind.is_of_host()).peekable();
    outputs.peek()?;
    let mut first = None;
    for section in outputs {
        if !section.kind.is_table() {
            return None;
        }
        let text = text_of(whole, section);
        let table = Table::new(text, section);
        if !table.is_empty() {
            return None;
        }
        let seen = &table.seen;
        let unread = [seen.odd, seen.named, seen.stateless, seen.cut];
        let line = unread.iter().filter(|strays| strays.count > 0).map(|strays| strays.first).min();
        first = first.or_else(|| {
            let row = section.lines(text).find(|row| Some(row.number) == line)?;
            Some(PastedError::NoRow {
                name: section.name.to_owned(),
                line: row.number,
                shown: quoted(row.says.trim()),
            })
        });
    }
    first
}

fn says_nothing(case: &Case) -> bool {
    case.namespaces.is_empty() && case.gaps.is_empty() && case.host == evidence::Host::default()
}

fn text_of<'w>(whole: &'w [Cow<'_, str>], section: &Section<'_>) -> &'w str {
    whole.get(section.text).map_or("", |whole| whole)
}

fn nothing_known(name: &str, text: &str) -> PastedError {
    let name = name.to_owned();
    match lines(text, 0, 1).find(|line| !line.says.trim().is_empty()) {
        Some(line) if is_command(line.says) => {
            PastedError::NothingOfIt { name, line: line.number, shown: quoted(line.says) }
        }
        Some(line) if crate::table::ss::is_title_and_more(line.says) => {
            PastedError::OneLine { name, line: line.number }
        }
        Some(line) => PastedError::NothingKnown { name, line: line.number, shown: quoted(line.says) },
        None => PastedError::Empty { name },
    }
}

fn is_command(line: &str) -> bool {
    commands(line).is_some_and(|commands| commands.iter().any(Command::is_known))
}

/// What the outputs of one namespace say.
fn namespace(
    name: String,
    system: System,
    sections: &[&Section<'_>],
    whole: &[Cow<'_, str>],
    seed: u64,
    gaps: &mut Gaps<'_>,
) -> Namespace {
    let mut namespace = Namespace { name, ..Namespace::default() };
    namespace.settings.system = system;
    let mut moments = Moments::default();
    let mut tracked = Tracked::default();
    for section in sections {
        let text = text_of(whole, section);
        let all = || section.lines(text);
        let bytes = || text.get(section.start..section.end).unwrap_or_default().as_bytes();
        let mut strays = Strays::default();
        let mut unseen = Unseen::Text;
        match section.kind {
            Kind::Sysctl => {
                // A setting that is missing for it is told by its name, below.
                settings::read(all(), &mut namespace.settings, &mut strays);
            }
            Kind::NetTcpSetting => windows::tcp_setting(all(), &mut namespace.settings),
            Kind::DynamicPorts => windows::dynamic_ports(all(), &mut namespace.settings),
            Kind::Registry => {
                windows::registry(all(), &mut namespace.settings, &mut strays);
                unseen = Unseen::Settings;
            }
            Kind::Statistics
            | Kind::WindowsStatistics
            | Kind::BsdStatistics
            | Kind::Nstat
            | Kind::Counters => {
                if let Some(snapshot) = counters::read(text, section, &mut strays) {
                    moments.add(snapshot);
                }
                unseen = Unseen::Counters;
            }
            Kind::Sockstat => namespace.sockstat.append(&mut proc::sockstat(bytes())),
            Kind::SsSummary => {
                for (name, sum) in summary::read(all()) {
                    namespace.sockstat.entry(name).or_insert(sum);
                }
            }
            Kind::Conntrack => {
                let mut table = Conntrack::default();
                conntrack::table(all(), &mut table, &mut strays);
                table.partial |= section.command.as_ref().is_some_and(|command| command.filtered);
                tracked.table = Some(table);
                unseen = Unseen::Conntrack;
            }
            Kind::ConntrackStats => {
                tracked.stats = Some(conntrack::statistics(all(), &mut strays));
                unseen = Unseen::Conntrack;
            }
            Kind::ProcConntrackStats => tracked.stats = Some(proc::conntrack_stats(bytes())),
            _ => {}
        }
        gaps.strays(unseen, section, strays);
    }
    gaps.settings(&namespace.settings);
    let (counters, because) = moments.finish();
    namespace.counters = counters;
    if let Some(because) = because {
        let how_to_see = "nstat -az; sleep 10; nstat -az, typed and pasted as one line";
        gaps.add(Unseen::Counters, because, how_to_see);
    }
    namespace.conntrack = tracked.finish(&namespace.settings, gaps);
    let tables: Vec<Table<'_>> = sections
        .iter()
        .filter(|section| section.kind.is_table())
        .map(|section| Table::new(text_of(whole, section), section))
        .collect();
    let found = sockets::merge(&tables, &namespace.settings, seed);
    gaps.sockets(&tables, &found);
    (namespace.sockets, namespace.processes) = (found.sockets, found.processes);
    namespace
}

/// What was pasted of conntrack. Its statistics since the boot say nothing, so that the last ones are kept and no rise.
#[derive(Default)]
struct Tracked {
    table: Option<Conntrack>,
    stats: Option<BTreeMap<String, u64>>,
}

impl Tracked {
    fn finish(self, settings: &Settings, gaps: &mut Gaps<'_>) -> Option<Conntrack> {
        let count = settings.number("net.netfilter.nf_conntrack_count");
        if self.table.is_none() && self.stats.is_none() && count.is_none() {
            let because = "the text holds nothing of conntrack";
            gaps.add(Unseen::Conntrack, because, "conntrack -L; conntrack -S; sysctl net.netfilter");
            return None;
        }
        let has_table = self.table.is_some();
        let mut conntrack = self.table.unwrap_or_default();
        conntrack.max = settings.number("net.netfilter.nf_conntrack_max").unwrap_or(0);
        conntrack.entries = conntrack.entries.max(count.unwrap_or(0));
        // Of no entries, none has a state.
        if !has_table && count != Some(0) {
            conntrack.partial = true;
            gaps.add(Unseen::Conntrack, "conntrack's entries by state", "conntrack -L");
        } else if conntrack.partial {
            let because = "conntrack's entries by state: the text has not all that were shown";
            gaps.add(Unseen::Conntrack, because, "conntrack -L, all lines");
        }
        conntrack.stats_end = self.stats.unwrap_or_default();
        Some(conntrack)
    }
}
