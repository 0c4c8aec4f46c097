//! Tables of sockets: one row a socket, whoever printed it.

pub(crate) mod bsd;
pub(crate) mod netstat;
pub(crate) mod powershell;
pub(crate) mod proc_tcp;
pub(crate) mod selected;
pub(crate) mod ss;
pub(crate) mod windows;

use crate::address::{Before, End, NoEnd, end};
use crate::kind::Kind;
use crate::sections::Section;
use crate::text::Line;
use evidence::SocketSeen;
use tcp::{State, StateSet};

/// A process whose name a table does not show.
const UNNAMED: &str = "unnamed";

/// A row that was broken into lines is put together up to so many bytes.
const LONGEST_ROW: usize = 64 << 10;

/// One TCP socket as a table shows it. What the table does not show is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row<'a> {
    /// Its state.
    pub(crate) state: State,
    /// This host's end.
    pub(crate) local: End,
    /// The peer's.
    pub(crate) remote: End,
    /// Bytes to be read, or connections that wait for `accept()`.
    pub(crate) receive_queue: Option<u32>,
    /// Bytes not acknowledged, or the backlog of a listener.
    pub(crate) send_queue: Option<u32>,
    /// What its timer says.
    pub(crate) timer: Option<Timer>,
    /// Owner's user.
    pub(crate) uid: Option<u32>,
    /// Inode.
    pub(crate) inode: Option<u32>,
    /// Owner.
    pub(crate) process: Option<(u32, &'a str)>,
    /// Milliseconds since the last ACK of the peer.
    pub(crate) idle_ms: Option<u32>,
    /// True if the address may be cut off.
    pub(crate) clipped: bool,
}

/// A timer that runs, or that none does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timer {
    /// True for the timer of a mini-socket.
    pub(crate) time_wait: bool,
    /// Milliseconds until it ends.
    pub(crate) left_ms: u32,
    /// Retransmissions without an answer.
    pub(crate) retransmits: u8,
}

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read<'a> {
    /// A TCP socket.
    Socket(Row<'a>),
    /// A socket of another protocol, a title, a remark of the tool.
    Aside,
    /// A TCP socket with names where the numbers of ports would be.
    Named,
    /// A TCP socket whose state the table does not show.
    Stateless,
    /// A TCP socket whose address is cut off.
    Cut,
    /// Somebody left out rows here.
    LeftOut,
    /// Not understood.
    Odd,
}

#[cfg(test)]
impl<'a> Read<'a> {
    /// The socket that it must be.
    #[track_caller]
    fn socket(self) -> Row<'a> {
        match self {
            Self::Socket(row) => row,
            other => panic!("{other:?}"),
        }
    }
}

impl From<NoEnd> for Read<'_> {
    fn from(no: NoEnd) -> Self {
        match no {
            NoEnd::Named => Self::Named,
            NoEnd::Odd => Self::Odd,
        }
    }
}

impl Row<'_> {
    /// A socket of which no more is known.
    pub(crate) fn new(state: State, local: End, remote: End) -> Self {
        Self {
            state,
            local,
            remote,
            receive_queue: None,
            send_queue: None,
            timer: None,
            uid: None,
            inode: None,
            process: None,
            idle_ms: None,
            clipped: false,
        }
    }

    /// True for a mini-socket, as far as the table tells. A FIN-WAIT-2 whose table shows neither timer nor owner
    /// counts as one: most are, and without its time no rule builds on it.
    pub(crate) fn is_mini(&self) -> bool {
        match self.state {
            State::TimeWait => true,
            State::FinWait2 => match self.timer {
                Some(timer) => timer.time_wait,
                None => self.process.is_none() && self.inode.is_none_or(|inode| inode == 0),
            },
            _ => false,
        }
    }

    /// The socket for the tally. `owner` is its process' place among the namespace's processes: inodes of pasted
    /// tables are these places plus one, because a table may show the process and not the inode.
    pub(crate) fn seen(&self, owner: Option<u32>) -> SocketSeen {
        let is_mini = self.is_mini();
        let inode = match (owner, self.inode) {
            (Some(owner), _) => Some(owner.saturating_add(1)),
            (None, Some(0)) => Some(0),
            (None, Some(_)) => Some(u32::MAX),
            (None, None) if is_mini => Some(0),
            (None, None) => None,
        };
        SocketSeen {
            state: self.state,
            mini: is_mini,
            local: self.local.address,
            local_port: self.local.port,
            remote: self.remote.address,
            remote_port: self.remote.port,
            left_ms: self.timer.filter(|timer| timer.time_wait).map(|timer| timer.left_ms),
            retransmits: self.timer.map_or(0, |timer| timer.retransmits),
            receive_queue: self.receive_queue.unwrap_or(0),
            send_queue: self.send_queue,
            uid: self.uid,
            inode,
            cookie: 0,
        }
    }

    /// True for a full socket in the middle of closing.
    pub(crate) fn is_closing(&self) -> bool {
        let closing = matches!(
            self.state,
            State::FinWait1 | State::FinWait2 | State::CloseWait | State::Closing | State::LastAck
        );
        closing && !self.is_mini()
    }

    /// True if somebody hid one of its addresses, or a name stands there.
    pub(crate) fn is_masked(&self) -> bool {
        self.local.masked || self.remote.masked
    }

    /// True if the socket is written as one of IPv6.
    pub(crate) fn is_wide(&self) -> bool {
        self.local.wide || self.local.masked && self.remote.wide
    }
}

/// The states that a table can show: those that its command asked for.
pub(crate) fn asked(section: &Section<'_>) -> Option<StateSet> {
    let command = section.command.as_ref()?;
    match section.kind {
        Kind::Ss => Some(ss::asked(command)),
        Kind::Netstat | Kind::Windows | Kind::Bsd => Some(netstat::asked(command)),
        Kind::PowerShell => Some(powershell::asked(command)),
        _ => None,
    }
}

/// True if a table of `ss` has a column for the protocol.
pub(crate) fn has_protocol(text: &str, section: &Section<'_>) -> bool {
    section.lines(text).any(|line| ss::has_protocol(line.says))
}

/// Gives each row of a table to `take`, with the line at which it begins.
pub(crate) fn rows(text: &str, section: &Section<'_>, mut take: impl FnMut(u32, Read<'_>)) {
    let begins = match section.kind {
        Kind::PowerShell => return powershell::rows(section.lines(text), take),
        Kind::Ss => ss::begins,
        Kind::Netstat => netstat::begins,
        Kind::Windows => windows::begins,
        Kind::Bsd => bsd::begins,
        _ => proc_tcp::begins,
    };
    let mut whole = String::new();
    let mut first = 0_u32;
    let flush = |whole: &mut String, first: u32, take: &mut dyn FnMut(u32, Read<'_>)| {
        if !whole.is_empty() {
            take(first, parse(whole, section));
            whole.clear();
        }
    };
    for Line { number, says, .. } in section.lines(text) {
        if is_left_out(says) {
            take(number, Read::LeftOut);
        } else if begins(says) {
            flush(&mut whole, first, &mut take);
            whole.push_str(says);
            first = number;
        } else if says.is_empty() {
            flush(&mut whole, first, &mut take);
        } else if whole.is_empty() {
            take(number, if is_aside(says) { Read::Aside } else { Read::Odd });
        } else if whole.len() + says.len() < LONGEST_ROW {
            whole.push(' ');
            whole.push_str(says);
        }
    }
    flush(&mut whole, first, &mut take);
}

fn parse<'a>(row: &'a str, section: &Section<'_>) -> Read<'a> {
    match section.kind {
        Kind::Ss => ss::row(row, section.command.as_ref()),
        Kind::Netstat => netstat::row(row),
        Kind::Windows => windows::row(row),
        Kind::Bsd => bsd::row(row),
        _ => proc_tcp::row(row),
    }
}

/// True for what people write where they left out lines: `...`, `[...]`, `<snip>`.
fn is_left_out(line: &str) -> bool {
    const MARKS: [&str; 4] = ["snip", "snipped", "truncated", "cut"];
    let line = line.trim();
    let bare = line.trim_matches(['.', '…', '[', ']', '(', ')', '<', '>', '-', '*', ' ']);
    !line.is_empty()
        && line.len() < 40
        && (bare.is_empty() && (line.contains("...") || line.contains('…'))
            || bare.len() + 2 <= line.len() && MARKS.contains(&bare.to_ascii_lowercase().as_str()))
}

/// A table's title, or what a tool remarks about it.
fn is_aside(line: &str) -> bool {
    const TITLES: [&str; 11] = [
        "Active Connections",
        "Aktive Verbindungen",
        "Proto ",
        "Local Address",
        "local_address",
        "Active Internet connections",
        "(Not all processes could be identified",
        "will not be shown, you would have to be root",
        "(No info could be read for",
        "(servers and established)",
        "(w/o servers)",
    ];
    TITLES.iter().any(|title| line.contains(title))
}

/// The two queues that the next words are.
fn queues(rest: &mut &str) -> Option<(u32, u32)> {
    word(rest).and_then(number).zip(word(rest).and_then(number))
}

/// The two ends that the next words are.
fn ends(rest: &mut &str, before: Before) -> Result<(End, End), NoEnd> {
    let (local, remote) = word(rest).zip(word(rest)).ok_or(NoEnd::Odd)?;
    Ok((end(local, before)?, end(remote, before)?))
}

/// The state that the next word is.
fn state_of(rest: &mut &str, states: &[(&str, State)]) -> Option<State> {
    let word = word(rest)?;
    states.iter().find(|(shown, _)| *shown == word).map(|(_, state)| *state)
}

/// The next word of a text, which then begins behind it.
pub(crate) fn word<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let text = rest.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (word, behind) = text.split_at(end);
    *rest = behind;
    (!word.is_empty()).then_some(word)
}

/// A whole number; one that is too large is the largest.
pub(crate) fn number(word: &str) -> Option<u32> {
    let digits = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| word.parse().unwrap_or(u32::MAX))
}
