//! The sockets that netstat of net-tools lists, with `-e`, `-p`, `-o` or without.

use super::{Read, Row, Timer, ends, number, queues, state_of, word};
use crate::address::Before;
use crate::command::Command;
use tcp::{State, StateSet};

/// Its words for states (net-tools netstat.c `tcp_state`).
const STATES: [(&str, State); 13] = [
    ("ESTABLISHED", State::Established),
    // In German; the other states have the same names there.
    ("VERBUNDEN", State::Established),
    ("SYN_SENT", State::SynSent),
    ("SYN_RECV", State::SynReceived),
    ("FIN_WAIT1", State::FinWait1),
    ("FIN_WAIT2", State::FinWait2),
    ("TIME_WAIT", State::TimeWait),
    ("CLOSE", State::Closed),
    ("CLOSED", State::Closed),
    ("CLOSE_WAIT", State::CloseWait),
    ("LAST_ACK", State::LastAck),
    ("LISTEN", State::Listen),
    ("CLOSING", State::Closing),
];

/// What the column Proto may say.
const PROTOCOLS: [&str; 13] = [
    "tcp", "tcp6", "udp", "udp6", "udplite", "udplite6", "udpl", "udpl6", "raw", "raw6", "unix", "sctp",
    "sctp6",
];

/// An end of this length was cut off to fit, unless it happens to be as long (net-tools netstat.c `addr_do_one()`:
/// 22 characters and the colon).
const CUT_AT: usize = 23;

/// The states that a command asks for.
pub(super) fn asked(command: &Command) -> StateSet {
    let all = StateSet::of(&State::ALL);
    if command.has('a') || command.says("--all") {
        all
    } else if command.has('l') || command.says("--listening") {
        StateSet::one(State::Listen)
    } else {
        all.without(State::Listen)
    }
}

/// True for the first line of a row.
pub(super) fn begins(line: &str) -> bool {
    let mut rest = line;
    word(&mut rest).is_some_and(|first| PROTOCOLS.contains(&first))
}

/// True for a row as netstat prints it: two numbers behind the protocol, then an address with a colon.
pub(crate) fn is_row(line: &str) -> bool {
    let mut rest = line;
    let first = word(&mut rest).unwrap_or_default();
    PROTOCOLS.contains(&first)
        && first != "unix"
        && queues(&mut rest).is_some()
        && word(&mut rest).is_some_and(|local| local.contains(':'))
}

/// Reads a row.
pub(super) fn row(line: &str) -> Read<'_> {
    let mut rest = line;
    let protocol = word(&mut rest).unwrap_or_default();
    if !matches!(protocol, "tcp" | "tcp6") {
        return Read::Aside;
    }
    let Some((receive_queue, send_queue)) = queues(&mut rest) else { return Read::Odd };
    let mut as_shown = rest;
    let (mut local, remote) = match ends(&mut rest, Before::Colon) {
        Ok(ends) => ends,
        Err(no) => return no.into(),
    };
    local.wide = protocol == "tcp6";
    let Some(state) = state_of(&mut rest, &STATES) else { return Read::Odd };
    let is_as_wide = (0..2).any(|_| word(&mut as_shown).is_some_and(|end| end.len() == CUT_AT));
    let mut row = Row {
        receive_queue: Some(receive_queue),
        // The kernel does not show the backlog in /proc/net/tcp, from which this comes.
        send_queue: (state != State::Listen).then_some(send_queue),
        clipped: protocol == "tcp6" && is_as_wide,
        ..Row::new(state, local, remote)
    };
    details(&mut row, rest);
    Read::Socket(row)
}

/// User and inode, process, timer: each there or not.
fn details<'a>(row: &mut Row<'a>, mut rest: &'a str) {
    let mut ahead = rest;
    if let (Some(user), Some(inode)) = (word(&mut ahead), word(&mut ahead).and_then(number))
        && user != "-"
        && process(user).is_none()
    {
        (row.uid, row.inode, rest) = (number(user), Some(inode), ahead);
    }
    // Names have spaces, so that the timer is looked for from the end: `off (0.00/0/0)`.
    if let Some(open) = rest.rfind(" (")
        && let Some(numbers) = rest.get(open + 2..)
    {
        let (before, numbers) =
            (rest.get(..open).unwrap_or_default(), numbers.trim_end().trim_end_matches(')'));
        let before = before.trim_end();
        let name_at = before.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        if let Some(timer) = timer(before.get(name_at..).unwrap_or_default(), numbers) {
            row.timer = Some(timer);
            rest = before.get(..name_at).unwrap_or_default();
        }
    }
    row.process = process(rest.trim());
}

/// `656/nginx: master`.
fn process(text: &str) -> Option<(u32, &str)> {
    let (pid, name) = text.split_once('/')?;
    Some((number(pid)?, name.trim()))
}

/// `timewait (59.98/0/0)`: seconds left, retransmissions, probes.
fn timer(name: &str, numbers: &str) -> Option<Timer> {
    let known = ["off", "on", "keepalive", "timewait", "probe"].contains(&name)
        || name.starts_with("on")
        || name.starts_with("unkn-");
    let mut numbers = numbers.split('/');
    let seconds: f64 = numbers.next()?.parse().ok()?;
    let retransmits = number(numbers.next()?)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float saturates")]
    let left_ms = (seconds * 1_000.0).round() as u32;
    known.then_some(Timer {
        time_wait: name == "timewait",
        left_ms,
        retransmits: u8::try_from(retransmits).unwrap_or(u8::MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(line: &str) -> Row<'_> {
        row(line).socket()
    }

    #[test]
    fn columns_are_found_whichever_there_are() {
        let ends = "tcp 0 0 127.0.0.1:39038 127.0.0.1:8080";
        let full = format!("{ends} TIME_WAIT   0  0  -  timewait (59.98/0/0)");
        let row = socket(&full);
        assert_eq!((row.uid, row.inode, row.process), (Some(0), Some(0), None));
        assert_eq!(row.timer, Some(Timer { time_wait: true, left_ms: 59_980, retransmits: 0 }));
        let full = format!("{ends} ESTABLISHED 33 42403363 656/nginx: worker on (0.20/3/0)");
        let row = socket(&full);
        assert_eq!((row.inode, row.process), (Some(42_403_363), Some((656, "nginx: worker"))));
        assert_eq!(row.timer.map(|timer| timer.retransmits), Some(3));
        let process_only = format!("{ends} ESTABLISHED 656/python3");
        assert_eq!(socket(&process_only).process, Some((656, "python3")));
        let none = format!("{ends} CLOSE_WAIT -");
        assert_eq!((socket(&none).process, socket(&none).inode), (None, None));
        let bare = format!("{ends} CLOSE_WAIT");
        assert_eq!((socket(&bare).timer, socket(&bare).uid), (None, None));
    }

    #[test]
    fn a_listeners_backlog_is_not_known_here() {
        let row = socket("tcp6 1 0 :::8081 :::* LISTEN");
        assert_eq!((row.receive_queue, row.send_queue, row.is_wide()), (Some(1), None, true));
        assert!(socket("tcp6 0 0 2001:db8:85a3::8a2e:443 ::1:8081 ESTABLISHED").clipped);
        assert!(!socket("tcp 0 0 192.168.100.100:51034 ::1:8081 ESTABLISHED").clipped);
    }

    #[test]
    fn what_makes_no_sense_is_told_apart() {
        assert_eq!(super::row("tcp 0 0 web1:ssh 10.0.0.2:51034 ESTABLISHED"), Read::Named);
        assert_eq!(super::row("udp 0 0 0.0.0.0:68 0.0.0.0:*"), Read::Aside);
        assert_eq!(super::row("tcp 0 0 10.0.0.1:22 10.0.0.2:51034 CONECTADO"), Read::Odd);
        assert_eq!(super::row("tcp 0 0 10.0.0.1:22"), Read::Odd);
    }
}
