//! conntrack's table and statistics, as `conntrack -L`, `conntrack -S` and the files below /proc/net show them.

use crate::sections::Strays;
use crate::text::Line;
use evidence::{CONNTRACK_STATES, Conntrack};

/// A state that older kernels have.
const LISTEN: &str = "LISTEN";

/// How many entries the tool says that it has shown:
/// `conntrack v1.4.7 (conntrack-tools): 0 flow entries have been shown.`
pub(crate) fn shown(line: &str) -> Option<u64> {
    let count = line
        .strip_prefix("conntrack v")?
        .split_once("): ")?
        .1
        .strip_suffix("flow entries have been shown.")?;
    count.trim().parse().ok()
}

/// How far a dump has come, of which the tool says how many entries it has: before them or behind them, because that
/// goes another way than the entries do.
#[derive(Default)]
struct Dump {
    rows: u64,
    said: Option<u64>,
    /// Nothing of it comes any more: what follows is the next.
    ended: bool,
}

impl Dump {
    /// True if this count is that of another dump than the rows before it.
    fn says(&mut self, count: u64) -> bool {
        let is_next = self.said.is_some() && self.rows > 0;
        if is_next {
            *self = Self::default();
        }
        self.said = Some(count);
        self.ended = self.rows > 0;
        is_next
    }

    /// True if this row is that of another dump than those before it.
    fn row(&mut self) -> bool {
        let is_next = std::mem::take(&mut self.ended);
        if is_next {
            *self = Self::default();
        }
        self.rows += 1;
        is_next
    }
}

/// Counts the entries of a table: of several dumps, one after the other, those of the last. Where rows were left out of
/// it, the table is partial.
pub(crate) fn table<'a>(
    lines: impl Iterator<Item = Line<'a>>,
    conntrack: &mut Conntrack,
    strays: &mut Strays,
) {
    let mut dump = Dump::default();
    for Line { number, says, .. } in lines {
        if let Some(count) = shown(says.trim()) {
            if dump.says(count) {
                *conntrack = Conntrack::default();
            }
            continue;
        }
        let mut words = says.split_ascii_whitespace().peekable();
        if words.next_if(|word| matches!(*word, "ipv4" | "ipv6")).is_some() {
            words.next();
        }
        let (Some(protocol), Some(is_number)) =
            (words.next(), words.next().map(|number| number.parse::<u8>().is_ok()))
        else {
            continue;
        };
        if says.starts_with("conntrack v") {
            continue;
        }
        if !is_number || !says.contains(" src=") {
            strays.add(number);
            continue;
        }
        if dump.row() {
            *conntrack = Conntrack::default();
        }
        if protocol != "tcp" {
            conntrack.other_protocols += 1;
            conntrack.entries += 1;
            continue;
        }
        let state = words.find(|word| CONNTRACK_STATES.contains(word) || *word == LISTEN);
        match state {
            Some(state) => {
                *conntrack.tcp_by_state.entry(state.to_owned()).or_default() += 1;
                conntrack.entries += 1;
            }
            None => strays.add(number),
        }
    }
    if let Some(said) = dump.said.filter(|said| *said > conntrack.entries.saturating_add(strays.count.into()))
    {
        conntrack.entries = said;
        conntrack.partial = true;
    }
}

/// The statistics of `conntrack -S`, summed over CPUs: `cpu=0 found=0 invalid=0 insert_failed=0 drop=0`.
pub(crate) fn statistics<'a>(
    lines: impl Iterator<Item = Line<'a>>,
    strays: &mut Strays,
) -> std::collections::BTreeMap<String, u64> {
    const MOST: usize = 64;
    let mut sums = std::collections::BTreeMap::<String, u64>::new();
    for Line { number, says, .. } in lines {
        if says.is_empty() {
            continue;
        }
        let mut read = false;
        for (name, value) in says.split_ascii_whitespace().filter_map(|word| word.split_once('=')).skip(1) {
            let Ok(value) = value.parse::<u64>() else { continue };
            read = true;
            if sums.len() < MOST || sums.contains_key(name) {
                let sum = sums.entry(name.chars().take(64).collect()).or_default();
                *sum = sum.saturating_add(value);
            }
        }
        if !read {
            strays.add(number);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::lines;

    #[test]
    fn entries_are_counted_by_state() {
        let text = "\
tcp      6 117 TIME_WAIT src=10.0.0.1 dst=10.0.0.2 sport=5000 dport=80 src=10.0.0.2 dst=10.0.0.1 sport=80 dport=5000 [ASSURED] mark=0 use=1
ipv4     2 tcp      6 431999 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=5001 dport=80 src=10.0.0.2 dst=10.0.0.1 sport=80 dport=5001 [ASSURED]
udp      17 29 src=10.0.0.1 dst=10.0.0.53 sport=5000 dport=53 [UNREPLIED] src=10.0.0.53 dst=10.0.0.1 sport=53 dport=5000
tcp      6 117 DANCING src=10.0.0.1 dst=10.0.0.2 sport=5000 dport=80
conntrack v1.4.7 (conntrack-tools): 3 flow entries have been shown.
";
        let (mut conntrack, mut strays) = <(Conntrack, Strays)>::default();
        table(lines(text, 0, 1), &mut conntrack, &mut strays);
        assert_eq!((conntrack.entries, conntrack.other_protocols), (3, 1));
        assert_eq!(conntrack.tcp_by_state.get("TIME_WAIT"), Some(&1));
        assert_eq!(strays, Strays { count: 1, first: 4 });
    }

    #[test]
    fn entries_that_the_tool_has_shown_and_nobody_pasted_are_missing() {
        let row = "udp 17 29 src=10.0.0.1 dst=10.0.0.53 sport=5000 dport=53 src=10.0.0.53 dst=10.0.0.1 sport=53 dport=5000\n";
        for (text, entries, partial) in [
            (
                format!("conntrack v1.4.7 (conntrack-tools): 812 flow entries have been shown.\n{row}"),
                812,
                true,
            ),
            (format!("{row}conntrack v1.4.7 (conntrack-tools): 1 flow entries have been shown.\n"), 1, false),
            ("conntrack v1.4.7 (conntrack-tools): 0 flow entries have been shown.\n".to_owned(), 0, false),
        ] {
            let (mut conntrack, mut strays) = <(Conntrack, Strays)>::default();
            table(lines(&text, 0, 1), &mut conntrack, &mut strays);
            assert_eq!((conntrack.entries, conntrack.partial, strays.count), (entries, partial, 0), "{text}");
        }
    }

    #[test]
    fn of_several_dumps_the_last_counts() {
        let row = "udp 17 29 src=10.0.0.1 dst=10.0.0.53 sport=5000 dport=53 src=10.0.0.53 dst=10.0.0.1 sport=53 dport=5000\n";
        let said = |count: u32| {
            format!("conntrack v1.4.7 (conntrack-tools): {count} flow entries have been shown.\n")
        };
        for (text, entries) in [
            (format!("{}{row}{row}{row}{row}{}", row.repeat(3) + &said(3), said(4)), 4),
            (format!("{}{}{}{row}", said(3), row.repeat(3), said(1)), 1),
            (format!("{}{}{}{}", row.repeat(3), said(3), row.repeat(2), said(2)), 2),
            (format!("{}{}{}", row.repeat(3), said(3), said(0)), 0),
        ] {
            let (mut conntrack, mut strays) = <(Conntrack, Strays)>::default();
            table(lines(&text, 0, 1), &mut conntrack, &mut strays);
            assert_eq!((conntrack.entries, conntrack.partial), (entries, false), "{text}");
        }
    }

    #[test]
    fn statistics_are_summed_over_cpus() {
        let text =
            "cpu=0   \tfound=0 insert_failed=2 drop=1 \ncpu=1   \tfound=0 insert_failed=3 drop=x \nhello\n";
        let mut strays = Strays::default();
        let sums = statistics(lines(text, 0, 1), &mut strays);
        assert_eq!(
            (sums.get("insert_failed"), sums.get("drop"), sums.get("cpu")),
            (Some(&5), Some(&1), None)
        );
        assert_eq!(strays, Strays { count: 1, first: 3 });
    }
}
