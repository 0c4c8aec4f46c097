//! A text cut into the outputs that it holds. An output begins where a line looks like no other program's, and ends
//! where the next begins or a command is typed.

use crate::clock::{self, Clock, Moment};
use crate::command::{Command, commands};
use crate::kind::Kind;
use crate::lead::is_fence;
use crate::macos;
use crate::opening::{Opening, opens};
use crate::table::ss;
use crate::text::{Line, lines};
use std::time::Duration;

/// So many outputs one text may hold; people paste ten.
pub(crate) const MOST: usize = 10_000;

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

/// Cuts a text, the `index`-th of all. `command` is what wrote all of it, if that is known.
pub(crate) fn cut<'a>(text: &str, index: usize, name: &'a str, command: Option<&str>) -> Cut<'a> {
    let mut cut = Cut::default();
    let mut pending = Pending { clock: Clock::of(index), ..Pending::default() };
    pending.set(command.and_then(commands).unwrap_or_default());
    let first = Line { number: 1, start: 0, end: text.len(), says: "" };
    let mut now = pending.alone(first, index, name);
    for line in lines(text, 0, 1) {
        let current = now.as_ref().map(|open| open.section.kind);
        // Nearly every line is a row of the table that it stands in.
        if current == Some(Kind::Ss) && ss::is_row(line.says) {
            continue;
        }
        if is_fence(line.says) {
            close(&mut cut, &mut now, line.start);
            continue;
        }
        if let Some(opening) =
            opens(line.says).or_else(|| pending.begins(line.says).filter(|_| now.is_none()))
        {
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
            let next = Line { number: line.number + 1, start: line.end, ..line };
            now = pending.alone(next, index, name);
        } else if now.is_none() && !line.says.trim().is_empty() && !macos::is_block(line.says) {
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

    /// What a row without its state begins: of which one it is only the command tells, `ss -Htan state time-wait`.
    fn begins(&self, line: &str) -> Option<Opening> {
        let command = self.commands.iter().find(|command| Kind::Ss.is_of(command))?;
        let row = Opening { kind: Kind::Ss, anew: false, mark: "" };
        (ss::asked(command).only().is_some() && ss::is_stateless(line)).then_some(row)
    }

    /// The output that begins behind a command that was typed alone, where nothing but the command tells what it is:
    /// a host's name looks like anything, and netsh speaks every language.
    fn alone<'a>(&mut self, next: Line<'_>, text: usize, name: &'a str) -> Option<Open<'a>> {
        let [only] = self.commands.make_contiguous() else { return None };
        let kind = match only.program.as_str() {
            "hostname" if only.arguments.is_empty() => Kind::Hostname,
            "netsh" if only.says("tcp") && only.arguments.iter().any(|word| word.starts_with("dynamic")) => {
                Kind::DynamicPorts
            }
            _ => return None,
        };
        let command = self.commands.pop_front();
        Some(Open::new(Opening { kind, anew: true, mark: "" }, text, name, next, command, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(Kind, u32)> {
        cut(text, 0, "x", None).sections.iter().map(|section| (section.kind, section.first_line)).collect()
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
        let cut = cut(text, 0, "x", None);
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
        let cut = cut(&text, 0, "x", None);
        assert!(cut.sections.len() <= MOST && cut.too_many.is_some());
    }
}
