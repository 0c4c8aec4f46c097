//! The sockets that `ss` lists (iproute2 misc/ss.c), with whatever options.

use super::{Read, Row, Timer, ends, number, queues, selected, word};
use crate::address::Before;
use crate::command::Command;
use tcp::{State, StateSet};

/// Its words for states, and those of its filter `state`.
const STATES: [(&str, &str, State); 12] = [
    ("ESTAB", "established", State::Established),
    ("SYN-SENT", "syn-sent", State::SynSent),
    ("SYN-RECV", "syn-recv", State::SynReceived),
    ("FIN-WAIT-1", "fin-wait-1", State::FinWait1),
    ("FIN-WAIT-2", "fin-wait-2", State::FinWait2),
    ("TIME-WAIT", "time-wait", State::TimeWait),
    ("UNCONN", "closed", State::Closed),
    ("CLOSE-WAIT", "close-wait", State::CloseWait),
    ("LAST-ACK", "last-ack", State::LastAck),
    ("LISTEN", "listening", State::Listen),
    ("CLOSING", "closing", State::Closing),
    ("BOUND", "bound-inactive", State::Closed),
];

/// What the column Netid may say.
const NETIDS: [&str; 22] = [
    "tcp", "udp", "raw", "u_str", "u_dgr", "u_seq", "nl", "p_raw", "p_dgr", "icmp6", "mptcp", "sctp", "dccp",
    "v_str", "v_dgr", "tipc", "ti_st", "ti_rd", "ti_sq", "ti_dg", "xdp", "???",
];

/// Every state.
const ALL: StateSet = StateSet::of(&State::ALL);

/// What `ss` shows without `-a` and `-l`: `SS_CONN` of misc/ss.c.
const CONNECTED: StateSet =
    ALL.without(State::Listen).without(State::Closed).without(State::TimeWait).without(State::SynReceived);

/// The states that a command asks for.
pub(crate) fn asked(command: &Command) -> StateSet {
    let words = || command.arguments.iter().map(|argument| argument.to_ascii_lowercase());
    let mut named = StateSet::EMPTY;
    let mut words_left = words();
    while let Some(word) = words_left.next() {
        let states = |name: &str| match name {
            "all" => ALL,
            "connected" => ALL.without(State::Listen).without(State::Closed),
            "synchronized" => ALL.without(State::Listen).without(State::Closed).without(State::SynSent),
            "bucket" => StateSet::of(&[State::SynReceived, State::TimeWait]),
            "big" => ALL.without(State::SynReceived).without(State::TimeWait),
            name => state_asked(name).map_or(StateSet::EMPTY, StateSet::one),
        };
        match word.as_str() {
            "state" => named = named.or(words_left.next().map_or(StateSet::EMPTY, |name| states(&name))),
            "exclude" => {
                let from = if named.is_empty() { ALL } else { named };
                named = from.minus(words_left.next().map_or(StateSet::EMPTY, |name| states(&name)));
            }
            _ => {}
        }
    }
    let listening = StateSet::of(&[State::Listen, State::Closed]);
    if !named.is_empty() {
        named
    } else if command.has('a') || command.says("--all") {
        ALL
    } else if command.has('l') || command.says("--listening") {
        listening
    } else {
        CONNECTED
    }
}

/// The one state of a command without which the table does not show it.
fn state_asked(name: &str) -> Option<State> {
    let name = name.trim_matches(['(', ')', '{', '}']).replace('_', "-");
    let name = if name == "listen" { "listening" } else { &name };
    STATES.iter().find(|(_, filter, _)| *filter == name).map(|(_, _, state)| *state)
}

fn state(word: &str) -> Option<State> {
    STATES.iter().find(|(shown, _, _)| *shown == word).map(|(_, _, state)| *state)
}

/// True for the first line of a row.
pub(super) fn begins(line: &str) -> bool {
    let mut rest = line;
    let Some(first) = word(&mut rest) else { return false };
    if first == "Netid" || first == "State" || first == "Recv-Q" {
        return false;
    }
    NETIDS.contains(&first) || state(first).is_some() || number(first).is_some() && is_stateless(line)
}

/// True for a row as `ss` prints it, with its two numbers: what tells it from other text.
pub(crate) fn is_row(line: &str) -> bool {
    let mut rest = line;
    let Some(mut first) = word(&mut rest) else { return false };
    if NETIDS.contains(&first) {
        first = word(&mut rest).unwrap_or_default();
    }
    state(first).is_some() && queues(&mut rest).is_some()
}

/// True for a title or a row that says the protocol.
pub(super) fn has_protocol(line: &str) -> bool {
    line.split_whitespace().next().is_some_and(|first| first == "Netid" || NETIDS.contains(&first))
}

/// True for a row of a table without states: `0 0 10.0.0.1:80 10.0.0.2:51034`.
pub(crate) fn is_stateless(line: &str) -> bool {
    let mut rest = line;
    let queues = queues(&mut rest).is_some();
    queues && (0..2).all(|_| word(&mut rest).is_some_and(|word| word.contains(':')))
}

/// True for the title of a table: `State Recv-Q Send-Q Local Address:Port Peer Address:Port`.
pub(crate) fn is_title(line: &str) -> bool {
    is_title_and_more(line) && line.split_whitespace().count() <= MOST_IN_TITLE
}

/// So many words a title has at most.
const MOST_IN_TITLE: usize = 14;

/// The same, perhaps with rows behind it in the same line.
pub(crate) fn is_title_and_more(line: &str) -> bool {
    line.contains("Recv-Q") && line.contains("Local Address:Port")
}

/// Reads a row.
pub(super) fn row<'a>(line: &'a str, command: Option<&Command>) -> Read<'a> {
    let mut rest = line;
    let Some(mut first) = word(&mut rest) else { return Read::Odd };
    if NETIDS.contains(&first) {
        if first != "tcp" {
            return Read::Aside;
        }
        first = word(&mut rest).unwrap_or_default();
    } else if command.is_some_and(selected::is_without_tcp) {
        return Read::Aside;
    }
    let (state, receive_queue) = match state(first) {
        Some(state) => (Some(state), word(&mut rest).and_then(number)),
        None => (command.and_then(|command| asked(command).only()), number(first)),
    };
    let (Some(receive_queue), Some(send_queue)) = (receive_queue, word(&mut rest).and_then(number)) else {
        return Read::Odd;
    };
    let (local, remote) = match ends(&mut rest, Before::Colon) {
        Ok(ends) => ends,
        Err(no) => return no.into(),
    };
    let Some(state) = state else { return Read::Stateless };
    let mut row = Row {
        receive_queue: Some(receive_queue),
        send_queue: Some(send_queue),
        ..Row::new(state, local, remote)
    };
    details(&mut row, rest);
    Read::Socket(row)
}

/// What options add behind the addresses: `timer:(..)`, `users:((..))`, `uid:`, `ino:`, and `lastack:` of `-i`.
fn details<'a>(row: &mut Row<'a>, mut rest: &'a str) {
    loop {
        rest = rest.trim_start();
        // A process may be called anything: its name is stepped over before anything else is looked for.
        if let Some(users) = rest.strip_prefix("users:((") {
            let (process, behind) = users_of(users);
            row.process = process;
            rest = behind;
            continue;
        }
        let Some(detail) = word(&mut rest) else { break };
        if let Some(text) = detail.strip_prefix("timer:(") {
            row.timer = timer(text.trim_end_matches(')'));
        } else if let Some(uid) = detail.strip_prefix("uid:") {
            row.uid = number(uid);
        } else if let Some(inode) = detail.strip_prefix("ino:") {
            row.inode = number(inode);
            // Users but root are shown with -e, so that none means root.
            row.uid = row.uid.or(Some(0));
        } else if let Some(idle) = detail.strip_prefix("lastack:") {
            row.idle_ms = number(idle);
        }
    }
}

/// The first process of `"nginx",pid=12,fd=3),("nginx",pid=13,fd=3))`, or of the older `"nginx",12,3))`, and what
/// follows all of them.
fn users_of(users: &str) -> (Option<(u32, &str)>, &str) {
    let end = users.find("))").map_or(users.len(), |at| at + 2);
    let (inside, behind) = users.split_at(end);
    let process = inside.strip_prefix('"').and_then(|inside| {
        let (name, rest) = inside.split_once("\",")?;
        let rest = rest.strip_prefix("pid=").unwrap_or(rest);
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        Some((number(rest.get(..digits)?)?, name))
    });
    (process, behind)
}

/// `timewait,59sec,0`: its name, the time left, the retransmissions.
fn timer(text: &str) -> Option<Timer> {
    let mut parts = text.split(',');
    let (name, left, retransmits) = (parts.next()?, parts.next()?, parts.next().unwrap_or("0"));
    Some(Timer {
        time_wait: name == "timewait",
        left_ms: left_ms(left)?,
        retransmits: u8::try_from(number(retransmits)?).unwrap_or(u8::MAX),
    })
}

/// Milliseconds of `1min59sec`, `59sec`, `1.200ms` (which is 1.2 s), `200ms`: misc/ss.c `print_ms_timer()`.
fn left_ms(text: &str) -> Option<u32> {
    let (minutes, rest) = match text.split_once("min") {
        Some((minutes, rest)) => (number(minutes)?, rest),
        None => (0, text),
    };
    let rest_ms = if rest.is_empty() {
        0
    } else if let Some(seconds) = rest.strip_suffix("sec") {
        number(seconds)?.checked_mul(1_000)?
    } else {
        let milliseconds = rest.strip_suffix("ms")?;
        match milliseconds.split_once('.') {
            Some((seconds, milliseconds)) => {
                number(seconds)?.checked_mul(1_000)?.checked_add(number(milliseconds)?)?
            }
            None => number(milliseconds)?,
        }
    };
    minutes.checked_mul(60_000)?.checked_add(rest_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::commands;

    fn socket(line: &str) -> Row<'_> {
        row(line, None).socket()
    }

    #[test]
    fn a_row_with_every_option_is_read() {
        let row = socket(
            "CLOSE-WAIT 1 0 127.0.0.1:8080 127.0.0.1:39062 timer:(keepalive,119min,2) \
             users:((\"a\",b) c\",pid=656,fd=6),(\"x\",pid=7,fd=1)) uid:33 ino:42403358 sk:12 cgroup:/ --> lastack:44",
        );
        assert_eq!((row.state, row.receive_queue, row.local.port), (State::CloseWait, Some(1), 8080));
        assert_eq!((row.uid, row.inode, row.idle_ms), (Some(33), Some(42_403_358), Some(44)));
        assert_eq!(row.process, None, "a name with a quote and a comma is not guessed");
        let timer = row.timer.unwrap();
        assert_eq!((timer.time_wait, timer.left_ms, timer.retransmits), (false, 7_140_000, 2));
        let row = socket("ESTAB 0 0 [::1]:8081 [::1]:45060 users:((\"sshd: x\",pid=656,fd=7))");
        assert_eq!((row.process, row.uid, row.inode), (Some((656, "sshd: x")), None, None));
        assert_eq!(socket("ESTAB 0 0 *:81 *:82 users:((\"a\",12,3))").process, Some((12, "a")));
    }

    #[test]
    fn timers_are_read_as_they_are_printed() {
        let left = |text: &str| timer(text).map(|timer| timer.left_ms);
        for (text, ms) in [
            ("timewait,59sec,0", 59_000),
            ("timewait,1min,0", 60_000),
            ("on,200ms,3", 200),
            ("on,1.200ms,3", 1_200),
            ("keepalive,1min59sec,0", 119_000),
            ("keepalive,119min,0", 7_140_000),
        ] {
            assert_eq!(left(text), Some(ms), "{text}");
        }
        assert_eq!(left("timewait,x,0"), None);
        assert_eq!(left("timewait,4294967295min,0"), None);
    }

    #[test]
    fn the_state_may_be_known_from_the_command_only() {
        let command = |line: &str| commands(line).unwrap().remove(0);
        let line = "0 0 10.0.0.1:39038 10.0.0.2:8080";
        assert_eq!(row(line, None), Read::Stateless);
        let time_wait = command("$ ss -tan state time-wait");
        assert!(matches!(row(line, Some(&time_wait)), Read::Socket(row) if row.state == State::TimeWait));
        assert_eq!(row(line, Some(&command("$ ss -tan"))), Read::Stateless);
        assert_eq!(asked(&command("$ ss -tn")), CONNECTED);
        assert_eq!(asked(&command("$ ss -tanp")), ALL);
        assert_eq!(asked(&command("$ ss -ltn")).len(), 2);
        assert_eq!(asked(&command("$ ss -tn state established state close-wait")).len(), 2);
        assert!(!asked(&command("$ ss -tan exclude time-wait")).has(State::TimeWait));
    }

    #[test]
    fn names_and_other_protocols_are_told_apart() {
        assert_eq!(row("ESTAB 0 0 web1:ssh 10.0.0.2:51034", None), Read::Named);
        assert_eq!(row("udp UNCONN 0 0 0.0.0.0:68 0.0.0.0:*", None), Read::Aside);
        assert_eq!(row("ESTAB 0 0 10.0.0.1:22", None), Read::Odd);
        assert!(is_row("tcp ESTAB 0 0 a b") && !is_row("LISTEN carefully 0 0"));
    }
}
