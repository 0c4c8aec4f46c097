//! The sockets that netstat of Windows lists: `netstat -an`, `-ano`, `-anob`, `-anoq`.

use super::{Read, Row, UNNAMED, ends, number, state_of, word};
use crate::address::{Before, end};
use tcp::State;

/// Its words for states; German ones, as a German Windows prints them.
const STATES: [(&str, State); 19] = [
    ("LISTENING", State::Listen),
    ("ESTABLISHED", State::Established),
    ("SYN_SENT", State::SynSent),
    ("SYN_RECEIVED", State::SynReceived),
    ("FIN_WAIT_1", State::FinWait1),
    ("FIN_WAIT_2", State::FinWait2),
    ("CLOSE_WAIT", State::CloseWait),
    ("CLOSING", State::Closing),
    ("LAST_ACK", State::LastAck),
    ("TIME_WAIT", State::TimeWait),
    ("CLOSED", State::Closed),
    ("BOUND", State::Closed),
    ("ABHÖREN", State::Listen),
    // As it comes out of the console's code page.
    ("ABH\u{fffd}REN", State::Listen),
    ("HERGESTELLT", State::Established),
    ("WARTEND", State::TimeWait),
    ("SCHLIESSEN_WARTEN", State::CloseWait),
    ("FIN_WARTEN_1", State::FinWait1),
    ("FIN_WARTEN_2", State::FinWait2),
];

/// True for the first line of a row.
pub(super) fn begins(line: &str) -> bool {
    is_row(line)
}

/// True for a row: a protocol in capitals, then two ends.
pub(crate) fn is_row(line: &str) -> bool {
    let mut rest = line;
    let protocol = word(&mut rest).unwrap_or_default();
    let ends = (word(&mut rest).unwrap_or_default(), word(&mut rest).unwrap_or_default());
    match protocol {
        "TCP" => end(ends.0, Before::Colon).is_ok() && ends.1.contains(':'),
        "UDP" => ends.0.contains(':') && ends.1 == "*:*",
        _ => false,
    }
}

/// Reads a row, with the program's name of `-b` behind it.
pub(super) fn row(line: &str) -> Read<'_> {
    let mut rest = line;
    if word(&mut rest) != Some("TCP") {
        return Read::Aside;
    }
    let (local, remote) = match ends(&mut rest, Before::Colon) {
        Ok(ends) => ends,
        Err(no) => return no.into(),
    };
    let Some(state) = state_of(&mut rest, &STATES) else { return Read::Odd };
    let mut ahead = rest;
    let pid = word(&mut ahead).and_then(number);
    let name =
        rest.rsplit_once('[').and_then(|(_, name)| name.split(']').next()).filter(|name| !name.is_empty());
    Read::Socket(Row {
        // Process 0 is nobody's: a socket in TIME-WAIT.
        inode: pid.filter(|pid| *pid == 0).map(|_| 0),
        process: pid.filter(|pid| *pid != 0).map(|pid| (pid, name.unwrap_or(UNNAMED))),
        ..Row::new(state, local, remote)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(line: &str) -> Row<'_> {
        row(line).socket()
    }

    #[test]
    fn rows_with_and_without_processes_are_read() {
        let row = socket("  TCP    10.0.0.5:49720         10.0.0.9:443           TIME_WAIT       0");
        assert_eq!((row.state, row.process, row.inode), (State::TimeWait, None, Some(0)));
        let row = socket(
            "  TCP    [::]:135               [::]:0                 LISTENING       1012   RpcSs  [svchost.exe]",
        );
        assert_eq!(
            (row.state, row.process, row.local.port),
            (State::Listen, Some((1_012, "svchost.exe")), 135)
        );
        let row = socket("  TCP    [fe80::1%12]:50000    [fe80::2%12]:445   CLOSE_WAIT   77");
        assert_eq!(row.process, Some((77, UNNAMED)));
        assert_eq!(socket("  TCP    10.0.0.5:1  10.0.0.9:2  HERGESTELLT").process, None);
        assert_eq!(
            super::row("  UDP    0.0.0.0:500            *:*                                    4321"),
            Read::Aside
        );
        assert_eq!(super::row("  TCP    10.0.0.5:1  10.0.0.9:2  PODŁĄCZONY"), Read::Odd);
        assert_eq!(super::row("  TCP    host:https  10.0.0.9:2  ESTABLISHED"), Read::Named);
    }
}
