//! Counters that `netstat -s` of macOS tells in words (network_cmds inet.c, `tcp_stats()`); FreeBSD has most of them.

use crate::sections::Strays;
use crate::text::Line;
use std::collections::BTreeMap;

/// Its words without numbers, brackets and the `s` of the plural, and the name that RFC 4022 or Linux has.
const NAMES: [(&str, &str); 8] = [
    ("packet sent", "TcpOutSegs"),
    ("data packet retransmitted", "TcpRetransSegs"),
    ("packet received", "TcpInSegs"),
    ("connection request", "TcpActiveOpens"),
    ("connection accept", "TcpPassiveOpens"),
    ("embryonic connection dropped", "TcpAttemptFails"),
    ("listen queue overflow", "TcpExtListenOverflows"),
    ("connection dropped by rexmit timeout", "TcpExtTCPAbortOnTimeout"),
];

/// The blocks of `netstat -s`.
const BLOCKS: [&str; 9] = ["tcp:", "udp:", "ip:", "icmp:", "igmp:", "ip6:", "icmp6:", "ipsec:", "mptcp:"];

/// The line over a block.
pub(crate) fn is_block(line: &str) -> bool {
    BLOCKS.contains(&line.trim_end())
}

/// The line that the block of TCP begins with.
pub(crate) fn begins(line: &str) -> bool {
    counter(line).is_some_and(|(words, _)| words == "packet sent")
}

/// `8 data packets (910 bytes) retransmitted`: `data packet retransmitted`, 8.
fn counter(line: &str) -> Option<(String, u64)> {
    let (number, rest) = line.trim().split_once(' ')?;
    let number = number.parse().ok()?;
    let mut words = String::new();
    let mut in_brackets = false;
    for word in rest.split_whitespace() {
        in_brackets |= word.starts_with('(');
        if !in_brackets {
            let gap = if words.is_empty() { "" } else { " " };
            words.push_str(gap);
            words.push_str(word.strip_suffix('s').unwrap_or(word));
        }
        in_brackets &= !word.ends_with(')');
    }
    Some((words, number))
}

/// The counters of TCP, as far as they have names.
pub(crate) fn statistics<'a>(
    lines: impl Iterator<Item = Line<'a>>,
    strays: &mut Strays,
) -> BTreeMap<String, u64> {
    let mut counters = BTreeMap::new();
    for Line { number, says, .. } in lines.take_while(|line| !is_block(line.says)) {
        if says.trim().is_empty() {
            continue;
        }
        let Some((words, value)) = counter(says) else {
            strays.add(number);
            continue;
        };
        if let Some((_, name)) = NAMES.iter().find(|(known, _)| *known == words) {
            counters.insert((*name).to_owned(), value);
        }
    }
    counters
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::lines;

    #[test]
    fn the_block_of_tcp_is_read() {
        let text = "\t1234 packets sent\n\t\t567 data packets (12345 bytes)\n\t\t1 data packet (910 bytes) retransmitted\n\
                    \t2345 packets received\n\t10 connection requests\n\t1 connection accept\n\t2 listen queue overflows\n\
                    \t14 connections closed (including 2 drops)\n\t3 embryonic connections dropped\n\tangels\n\
                    udp:\n\t77 packets sent\n";
        let mut strays = Strays::default();
        let counters = statistics(lines(text, 0, 1), &mut strays);
        let counters: Vec<(&str, u64)> =
            counters.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        assert_eq!(
            counters,
            [
                ("TcpActiveOpens", 10),
                ("TcpAttemptFails", 3),
                ("TcpExtListenOverflows", 2),
                ("TcpInSegs", 2_345),
                ("TcpOutSegs", 1_234),
                ("TcpPassiveOpens", 1),
                ("TcpRetransSegs", 1),
            ]
        );
        assert_eq!(strays, Strays { count: 1, first: 10 });
    }
}
