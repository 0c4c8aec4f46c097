//! What a command leaves out of its table: other sockets than a filter names, another family, all of TCP.

use crate::command::Command;
use crate::kind::Kind;

/// Long options of `ss` that another word belongs to; of the short ones, a group ends with it.
const WITH_WORD: [&str; 6] = ["--family", "--query", "--socket", "--net", "--diag", "--filter"];

/// True if the command names the sockets or entries that it shows, or the lines: `ss -tan dst 10.0.0.2`,
/// `Get-NetTCPConnection -RemotePort 443`, `conntrack -L -p tcp`, `grep 06 /proc/net/tcp`. States are no such filter.
pub(crate) fn filters(command: &Command) -> bool {
    let words = || command.arguments.iter().map(String::as_str);
    match command.program.as_str() {
        "ss" => of_ss(words()),
        "get-nettcpconnection" => words().any(|word| {
            let named = ["-local", "-remote", "-owningprocess", "-appliedsetting", "-creationtime"];
            named.iter().any(|name| word.to_ascii_lowercase().starts_with(name))
        }),
        "conntrack" => words().any(|word| {
            let listing = ["-L", "--dump", "-o", "--output", "-n"];
            word.starts_with('-') && !listing.contains(&word) && !word.starts_with("--output=")
        }),
        // `grep . FILES` shows them with their names, and all that is in them.
        "grep" | "egrep" => words().find(|word| !word.starts_with('-')).is_some_and(|word| word != "."),
        "head" | "tail" | "awk" => true,
        _ => false,
    }
}

fn of_ss<'a>(mut words: impl Iterator<Item = &'a str>) -> bool {
    while let Some(word) = words.next() {
        if word.contains('>') {
            // `2>/dev/null`, or `> FILE`.
            if word.ends_with('>') {
                words.next();
            }
        } else if word == "--filter" || is_group(word) && word.ends_with('F') {
            return true;
        } else if matches!(word, "state" | "exclude")
            || WITH_WORD.contains(&word)
            || is_group(word) && word.ends_with(['f', 'A', 'N', 'D'])
        {
            words.next();
        } else if !word.starts_with('-') && word != "&" {
            return true;
        }
    }
    false
}

/// `-tan`.
fn is_group(word: &str) -> bool {
    word.starts_with('-') && !word.starts_with("--")
}

/// The word that belongs to an option: `inet6` of `-tanf inet6`, or of `--family=inet6`.
fn value<'a>(command: &'a Command, short: char, long: &[&str]) -> Option<&'a str> {
    let words = &command.arguments;
    let joined = words.iter().find_map(|word| {
        let (option, value) = word.split_once('=')?;
        long.contains(&option).then_some(value)
    });
    let apart = || {
        let is_it = |word: &String| is_group(word) && word.ends_with(short) || long.contains(&word.as_str());
        words.get(words.iter().position(is_it)? + 1).map(String::as_str)
    };
    joined.or_else(apart)
}

/// The families that a command asks for: IPv4, IPv6.
pub(crate) fn families(kind: Kind, command: &Command) -> [bool; 2] {
    let family = match kind {
        Kind::Ss | Kind::Bsd => value(command, 'f', &["--family"]),
        Kind::Netstat => value(command, 'A', &["--protocol"]),
        // On macOS `-p tcp` is both.
        Kind::Windows => value(command, 'p', &[]),
        _ => None,
    };
    let family = family.unwrap_or_default().to_ascii_lowercase();
    let says = |words: [&str; 2]| words.iter().any(|word| command.says(word));
    let narrow = command.has('4') || says(["--ipv4", "--inet"]) || matches!(&*family, "inet" | "tcp");
    let wide = command.has('6') || says(["--ipv6", "--inet6"]) || matches!(&*family, "inet6" | "tcpv6");
    if narrow == wide { [true; 2] } else { [narrow, wide] }
}

/// True if `ss` was asked for sockets of other protocols only: it then prints no column that says so.
pub(crate) fn is_without_tcp(command: &Command) -> bool {
    const OTHERS: [&str; 8] =
        ["--udp", "--raw", "--unix", "--sctp", "--dccp", "--mptcp", "--packet", "--vsock"];
    let queried = value(command, 'A', &["--query", "--socket"]);
    let tcp = |query: &str| query.split(',').any(|table| matches!(table, "tcp" | "inet" | "all"));
    let others = command.arguments.iter().any(|word| OTHERS.contains(&word.as_str()))
        || ['u', 'w', 'x', 'S', 'd', 'M', '0'].into_iter().any(|letter| command.has(letter));
    let asked = command.has('t') || command.says("--tcp") || queried.is_some_and(tcp);
    !asked && (others || queried.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::commands;

    fn command(line: &str) -> Command {
        commands(line).unwrap().remove(0)
    }

    #[test]
    fn filters_are_told_from_options_and_states() {
        for line in [
            "$ ss -tan",
            "$ ss -tanpoe state time-wait exclude syn-sent",
            "$ ss -tanf inet6 2>/dev/null",
            "$ ss -tan --family=inet > /tmp/x",
            "$ ss -tan -N blue",
            "$ netstat -ano -p tcp",
            "$ conntrack -L -o extended",
            "$ cat /proc/net/tcp",
            "$ grep . /proc/sys/net/ipv4/tcp_tw_reuse",
            "PS C:\\> Get-NetTCPConnection -State TimeWait",
        ] {
            assert!(!command(line).filtered, "{line}");
        }
        for line in [
            "$ ss -tan dport = :3306",
            "$ ss -tan state established dst 10.0.0.2",
            "$ ss -tan '( sport = :443 )'",
            "$ ss -taF filters",
            "$ ss -tan | fgrep x",
            "$ ss -tan | cut -c1-40",
            "$ conntrack -L -p tcp --state TIME_WAIT",
            "$ head -20 /proc/net/tcp",
            "$ grep ' 06 ' /proc/net/tcp",
            "PS C:\\> Get-NetTCPConnection -RemotePort 443",
        ] {
            assert!(command(line).filtered, "{line}");
        }
    }

    #[test]
    fn families_are_asked_for_in_many_ways() {
        for (kind, line, asked) in [
            (Kind::Ss, "$ ss -tan", [true, true]),
            (Kind::Ss, "$ ss -4tan", [true, false]),
            (Kind::Ss, "$ ss -tan -4 -6", [true, true]),
            (Kind::Ss, "$ ss -tanf inet6", [false, true]),
            (Kind::Ss, "$ ss --family=inet -tan", [true, false]),
            (Kind::Netstat, "$ netstat -ant --inet6", [false, true]),
            (Kind::Netstat, "$ netstat -antA inet", [true, false]),
            (Kind::Bsd, "% netstat -an -f inet", [true, false]),
            (Kind::Bsd, "% netstat -an -p tcp", [true, true]),
            (Kind::Windows, "C:\\>netstat -ano -p TCP", [true, false]),
            (Kind::Windows, "C:\\>netstat -ano -p tcpv6", [false, true]),
        ] {
            assert_eq!(families(kind, &command(line)), asked, "{line}");
        }
    }

    #[test]
    fn other_protocols_alone_are_known() {
        for line in ["$ ss -uanp", "$ ss --udp -a", "$ ss -xp", "$ ss -A udp,raw", "$ ss -lw"] {
            assert!(is_without_tcp(&command(line)), "{line}");
        }
        for line in ["$ ss -an", "$ ss -tuln", "$ ss -A tcp,udp", "$ ss -s", "$ ss --udp --tcp"] {
            assert!(!is_without_tcp(&command(line)), "{line}");
        }
    }
}
