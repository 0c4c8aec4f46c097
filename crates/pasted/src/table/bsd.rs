//! The sockets that netstat of macOS lists, with `-v` or without; that of FreeBSD prints the same.

use super::{Read, Row, number, queues, state_of, word};
use crate::address::{Before, NoEnd, end};
use tcp::State;

/// Its words for states (netinet/tcp_fsm.h `tcpstates`).
const STATES: [(&str, State); 11] = [
    ("LISTEN", State::Listen),
    ("ESTABLISHED", State::Established),
    ("SYN_SENT", State::SynSent),
    ("SYN_RCVD", State::SynReceived),
    ("FIN_WAIT_1", State::FinWait1),
    ("FIN_WAIT_2", State::FinWait2),
    ("CLOSE_WAIT", State::CloseWait),
    ("CLOSING", State::Closing),
    ("LAST_ACK", State::LastAck),
    ("TIME_WAIT", State::TimeWait),
    ("CLOSED", State::Closed),
];

/// True for the first line of a row.
pub(super) fn begins(line: &str) -> bool {
    is_row(line)
}

/// True for a row: a protocol, two numbers, and an address whose port stands behind a dot.
pub(crate) fn is_row(line: &str) -> bool {
    let mut rest = line;
    let protocol = word(&mut rest).unwrap_or_default();
    (protocol.starts_with("tcp") || protocol.starts_with("udp"))
        && queues(&mut rest).is_some()
        && word(&mut rest).is_some_and(|local| {
            local
                .rfind([':', '.'])
                .is_some_and(|at| local.get(at..).is_some_and(|port| port.starts_with('.')))
        })
}

/// Reads a row.
pub(super) fn row(line: &str) -> Read<'_> {
    let mut rest = line;
    let protocol = word(&mut rest).unwrap_or_default();
    if !protocol.starts_with("tcp") {
        return Read::Aside;
    }
    let Some((receive_queue, send_queue)) = queues(&mut rest) else { return Read::Odd };
    let Some((local, remote)) = word(&mut rest).zip(word(&mut rest)) else { return Read::Odd };
    let clipped = protocol != "tcp4" && [local, remote].into_iter().any(is_as_wide);
    let (mut local, remote) = match (end(local, Before::Dot), end(remote, Before::Dot)) {
        (Ok(local), Ok(remote)) if clipped && (local.masked || remote.masked) => return Read::Cut,
        (Ok(local), Ok(remote)) => (local, remote),
        (Err(NoEnd::Odd), _) | (_, Err(NoEnd::Odd)) if clipped => return Read::Cut,
        (Err(no), _) | (_, Err(no)) => return no.into(),
    };
    local.wide = protocol != "tcp4";
    let Some(state) = state_of(&mut rest, &STATES) else { return Read::Odd };
    // With -v: received, sent, two buffers, the process; releases before 14 show fewer numbers before it.
    let process = rest.split_whitespace().find_map(|word| {
        let (name, pid) = word.rsplit_once(':')?;
        Some((number(pid)?, name))
    });
    Read::Socket(Row {
        receive_queue: Some(receive_queue),
        send_queue: (state != State::Listen).then_some(send_queue),
        process,
        clipped,
        ..Row::new(state, local, remote)
    })
}

/// True if an address of IPv6 is as long as the column: without `-l` or `-W` the rest is cut off (network_cmds
/// inet6.c, `inet6print()`).
fn is_as_wide(end: &str) -> bool {
    end.rsplit_once('.').is_some_and(|(address, _)| address.len() == CUT_AT && address.contains(':'))
}

/// Of an address of IPv6 so many characters are shown.
const CUT_AT: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_both_families_are_read() {
        let line = "tcp4       0      0  192.168.1.5.54321      17.57.12.11.443        TIME_WAIT  ";
        assert!(is_row(line));
        let Read::Socket(row) = row(line) else { panic!("{line}") };
        assert_eq!((row.state, row.local.port, row.remote.port), (State::TimeWait, 54_321, 443));
        let line = "tcp46      0      0  *.8080   *.*   LISTEN   0  0  131072  131072  nginx:77  0 00180";
        let Read::Socket(row) = super::row(line) else { panic!("{line}") };
        assert_eq!((row.state, row.process, row.send_queue), (State::Listen, Some((77, "nginx")), None));
        assert!(is_row("tcp6       0      0  ::1.631                *.*                    LISTEN"));
        assert!(!is_row("tcp6       0      0  ::1:631                :::*                    LISTEN"));
        assert_eq!(super::row("tcp4 0 0 host.http 10.0.0.1.5 ESTABLISHED"), Read::Named);
        assert_eq!(super::row("udp4 0 0 *.5353 *.*"), Read::Aside);
        assert_eq!(super::row("tcp6 0 0 2601:647:4d00:d0.62093 2607:f8b0:4005:8.443 ESTABLISHED"), Read::Cut);
        let may_be_cut = super::row("tcp6 0 0 2001:db8::17:ab1.62093 2001:db8::1.443 ESTABLISHED").socket();
        assert!(may_be_cut.clipped);
        let whole = super::row("tcp6 0 0 2001:db8::17:ab12:1.62093 2001:db8::1.443 ESTABLISHED").socket();
        assert!(!whole.clipped, "shown with -l");
    }
}
