//! The counters that `netstat -s` of net-tools tells in words (statistics.c), under the names that the kernel has for
//! them.

use crate::sections::Strays;
use crate::text::Line;
use std::collections::BTreeMap;

/// Words of the block `Tcp:`, each number as `%`; and the kernel's name. Several words for one name are those of
/// several releases.
const TCP: [(&str, &str); 13] = [
    ("% active connection openings", "ActiveOpens"),
    ("% active connections openings", "ActiveOpens"),
    ("% passive connection openings", "PassiveOpens"),
    ("% failed connection attempts", "AttemptFails"),
    ("% connection resets received", "EstabResets"),
    ("% connections established", "CurrEstab"),
    ("% segments received", "InSegs"),
    ("% segments sent out", "OutSegs"),
    ("% segments send out", "OutSegs"),
    ("% segments retransmitted", "RetransSegs"),
    ("% segments retransmited", "RetransSegs"),
    ("% bad segments received", "InErrs"),
    ("% resets sent", "OutRsts"),
];

/// The same of the block `TcpExt:`.
const TCP_EXT: [(&str, &str); 73] = [
    ("% SYN cookies sent", "SyncookiesSent"),
    ("% SYN cookies received", "SyncookiesRecv"),
    ("% invalid SYN cookies received", "SyncookiesFailed"),
    ("% resets received for embryonic SYN_RECV sockets", "EmbryonicRsts"),
    ("% packets pruned from receive queue because of socket buffer overrun", "PruneCalled"),
    ("% packets pruned from receive queue", "RcvPruned"),
    ("% packets dropped from out-of-order queue because of socket buffer overrun", "OfoPruned"),
    ("% ICMP packets dropped because they were out-of-window", "OutOfWindowIcmps"),
    ("% ICMP packets dropped because socket was locked", "LockDroppedIcmps"),
    ("% TCP sockets finished time wait in fast timer", "TW"),
    ("% time wait sockets recycled by time stamp", "TWRecycled"),
    ("% TCP sockets finished time wait in slow timer", "TWKilled"),
    ("% passive connections rejected because of time stamp", "PAWSPassive"),
    ("% active connections rejected because of time stamp", "PAWSActive"),
    ("% packets rejected in established connections because of timestamp", "PAWSEstab"),
    ("% packets rejects in established connections because of timestamp", "PAWSEstab"),
    ("% delayed acks sent", "DelayedACKs"),
    ("% delayed acks further delayed because of locked socket", "DelayedACKLocked"),
    ("Quick ack mode was activated % times", "DelayedACKLost"),
    ("% times the listen queue of a socket overflowed", "ListenOverflows"),
    ("% SYNs to LISTEN sockets dropped", "ListenDrops"),
    ("% SYNs to LISTEN sockets ignored", "ListenDrops"),
    ("% packets directly queued to recvmsg prequeue", "TCPPrequeued"),
    ("% bytes directly in process context from backlog", "TCPDirectCopyFromBacklog"),
    ("% bytes directly received in process context from prequeue", "TCPDirectCopyFromPrequeue"),
    ("% packets dropped from prequeue", "TCPPrequeueDropped"),
    ("% packet headers predicted", "TCPHPHits"),
    ("% packet headers predicted and directly queued to user", "TCPHPHitsToUser"),
    ("% acknowledgments not containing data payload received", "TCPPureAcks"),
    ("% acknowledgments not containing data received", "TCPPureAcks"),
    ("% predicted acknowledgments", "TCPHPAcks"),
    ("% times recovered from packet loss due to fast retransmit", "TCPRenoRecovery"),
    ("% times recovered from packet loss by selective acknowledgements", "TCPSackRecovery"),
    ("% times recovered from packet loss due to SACK data", "TCPSackRecovery"),
    ("% bad SACK blocks received", "TCPSACKReneging"),
    ("Detected reordering % times using FACK", "TCPFACKReorder"),
    ("Detected reordering % times using SACK", "TCPSACKReorder"),
    ("Detected reordering % times using reno fast retransmit", "TCPRenoReorder"),
    ("Detected reordering % times using time stamp", "TCPTSReorder"),
    ("% congestion windows fully recovered without slow start", "TCPFullUndo"),
    ("% congestion windows fully recovered", "TCPFullUndo"),
    ("% congestion windows partially recovered using Hoe heuristic", "TCPPartialUndo"),
    ("% congestion window recovered without slow start using DSACK", "TCPDSACKUndo"),
    ("% congestion windows recovered without slow start by DSACK", "TCPDSACKUndo"),
    ("% congestion windows recovered without slow start after partial ack", "TCPLossUndo"),
    ("% congestion windows recovered after partial ack", "TCPLossUndo"),
    ("% TCP data loss events", "TCPLoss"),
    ("% retransmits lost", "TCPLostRetransmit"),
    ("% timeouts after reno fast retransmit", "TCPRenoFailures"),
    ("% timeouts after SACK recovery", "TCPSackFailures"),
    ("% timeouts in loss state", "TCPLossFailures"),
    ("% fast retransmits", "TCPFastRetrans"),
    ("% forward retransmits", "TCPForwardRetrans"),
    ("% retransmits in slow start", "TCPSlowStartRetrans"),
    ("% other TCP timeouts", "TCPTimeouts"),
    ("% reno fast retransmits failed", "TCPRenoRecoveryFail"),
    ("% classic Reno fast retransmits failed", "TCPRenoRecoveryFail"),
    ("% SACK retransmits failed", "TCPSackRecoveryFail"),
    ("% sack retransmits failed", "TCPSackRecoveryFail"),
    ("% times receiver scheduled too late for direct processing", "TCPSchedulerFailed"),
    ("% packets collapsed in receive queue due to low socket buffer", "TCPRcvCollapsed"),
    ("% DSACKs sent for old packets", "TCPDSACKOldSent"),
    ("% DSACKs sent for out of order packets", "TCPDSACKOfoSent"),
    ("% DSACKs received", "TCPDSACKRecv"),
    ("% DSACKs for out of order packets received", "TCPDSACKOfoRecv"),
    ("% connections reset due to unexpected SYN", "TCPAbortOnSyn"),
    ("% connections reset due to unexpected data", "TCPAbortOnData"),
    ("% connections reset due to early user close", "TCPAbortOnClose"),
    ("% connections aborted due to memory pressure", "TCPAbortOnMemory"),
    ("% connections aborted due to timeout", "TCPAbortOnTimeout"),
    ("% connections aborted after user close in linger timeout", "TCPAbortOnLinger"),
    ("% times unable to send RST due to no memory", "TCPAbortFailed"),
    ("TCP ran low on memory % times", "TCPMemoryPressures"),
];

/// The longest raw name that is taken.
const MAX_NAME: usize = 64;

/// The TCP counters of `netstat -s`, named as `nstat` names them; lines of its blocks Tcp and TcpExt that are not
/// understood are counted.
pub(crate) fn read<'a>(lines: impl Iterator<Item = Line<'a>>, strays: &mut Strays) -> BTreeMap<String, u64> {
    let mut counters = BTreeMap::new();
    let mut block = "";
    for Line { number, says, .. } in lines {
        if says.is_empty() {
            continue;
        }
        if !says.starts_with([' ', '\t']) {
            block = says.trim_end_matches(':');
            continue;
        }
        let (prefix, words): (&str, &[(&str, &str)]) = match block {
            "Tcp" => ("Tcp", &TCP),
            "TcpExt" => ("TcpExt", &TCP_EXT),
            _ => continue,
        };
        match counter(says.trim(), words) {
            Some((name, value)) => {
                counters.insert(format!("{prefix}{name}"), value);
            }
            None => strays.add(number),
        }
    }
    counters
}

/// A line's counter: in words, or raw (`TCPDelivered: 14`).
fn counter<'a>(line: &'a str, words: &[(&str, &'a str)]) -> Option<(&'a str, u64)> {
    let line = line.trim_end_matches('.');
    if let Some((name, value)) = line.split_once(": ") {
        let is_name = name.len() <= MAX_NAME && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        return is_name.then_some((name, value.trim().parse().ok()?));
    }
    words.iter().find_map(|(template, name)| Some((*name, value_in(line, template)?)))
}

/// The number in the place of a template's `%`.
fn value_in(line: &str, template: &str) -> Option<u64> {
    let (before, after) = template.split_once('%')?;
    let digits = line.strip_prefix(before)?.strip_suffix(after)?;
    let digits = Some(digits).filter(|digits| digits.starts_with(|c: char| c.is_ascii_digit()))?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::lines;

    fn counters(text: &str) -> (BTreeMap<String, u64>, Strays) {
        let mut strays = Strays::default();
        (read(lines(text, 0, 1), &mut strays), strays)
    }

    /// Written by net-tools 2.10 from the files beside it, in which each counter has a number of its own.
    #[test]
    fn every_counters_words_mean_what_the_kernel_counts() {
        let (counters, strays) = counters(include_str!("../tests/fixtures/every-counter/netstat-s.txt"));
        let proc = evidence::proc::counters(include_bytes!("../tests/fixtures/every-counter/proc-net.txt"));
        assert_eq!(strays, Strays::default());
        assert!(counters.len() > 150, "{}", counters.len());
        for (name, value) in &counters {
            assert_eq!(proc.get(name), Some(value), "{name}");
        }
        // netstat leaves these out.
        let missing: Vec<_> = proc.keys().filter(|name| !counters.contains_key(*name)).collect();
        assert_eq!(missing, ["TcpMaxConn", "TcpRtoAlgorithm", "TcpRtoMax", "TcpRtoMin"]);
    }

    #[test]
    fn no_words_stand_for_two_counters() {
        for table in [&TCP[..], &TCP_EXT] {
            for (at, (words, _)) in table.iter().enumerate() {
                assert!(table.iter().skip(at + 1).all(|(other, _)| other != words), "{words}");
            }
        }
    }

    #[test]
    fn words_that_are_not_known_are_counted() {
        let (counters, strays) =
            counters("Tcp:\n    5 resets sent\n    6 angels seen\n    x\nUdp:\n    7 angels\n");
        assert_eq!(counters, BTreeMap::from([("TcpOutRsts".to_owned(), 5)]));
        assert_eq!(strays, Strays { count: 2, first: 3 });
    }
}
