//! Counters that were pasted once or several times. Only a rise says something, and only if the time it took is known.

use crate::clock::Moment;
use crate::kind::Kind;
use crate::macos;
use crate::sections::{Section, Strays};
use crate::statistics;
use crate::text::Line;
use crate::windows;
use evidence::{Counters, proc};
use std::collections::BTreeMap;
use std::time::Duration;

/// So many counters of one output are kept; Linux 6.18 has 158.
const MOST: usize = 2_000;

/// What one output says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    values: BTreeMap<String, u64>,
    at: Option<Moment>,
    /// For `nstat` without `-a`: these are rises since it ran before.
    since: Option<Duration>,
    /// True if they count from the boot on; false if nobody can tell.
    absolute: bool,
    /// True if counters that are zero are left out.
    zeros_left_out: bool,
}

/// Reads the counters of an output; none if it holds none.
pub(crate) fn read(text: &str, section: &Section<'_>, strays: &mut Strays) -> Option<Snapshot> {
    let part = text.get(section.start..section.end)?;
    let mut all = section.lines(text);
    let mut values = match section.kind {
        Kind::Statistics => statistics::read(all, strays),
        Kind::WindowsStatistics => windows::statistics(all, strays),
        Kind::BsdStatistics => macos::statistics(all, strays),
        Kind::Counters => proc::counters(part.as_bytes()),
        Kind::Nstat => nstat(&mut all, strays),
        _ => return None,
    };
    while values.len() > MOST {
        values.pop_last();
    }
    let all_of_nstat = section.command.as_ref().is_some_and(|command| command.has('a'));
    let is_nstat = section.kind == Kind::Nstat;
    (!values.is_empty()).then_some(Snapshot {
        values,
        at: section.at,
        since: section.since.filter(|_| is_nstat && !all_of_nstat),
        absolute: !is_nstat || all_of_nstat,
        zeros_left_out: section.kind != Kind::Counters,
    })
}

/// The rows of `nstat`.
fn nstat<'a>(lines: &mut impl Iterator<Item = Line<'a>>, strays: &mut Strays) -> BTreeMap<String, u64> {
    let mut values = BTreeMap::new();
    for Line { number, says, .. } in lines {
        let mut words = says.split_ascii_whitespace();
        let Some(name) = words.next().filter(|name| !name.starts_with('#')) else { continue };
        match words.next().and_then(|value| value.parse().ok()) {
            Some(value) if name.starts_with("Tcp") => {
                values.insert(name.chars().take(64).collect(), value);
            }
            Some(_) => {}
            None => strays.add(number),
        }
    }
    values
}

/// What all outputs together say, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Moments {
    current: Option<Snapshot>,
    first: Option<Snapshot>,
    last: Option<Snapshot>,
    /// The one with the most counters, if no two can be compared.
    fullest: Option<Snapshot>,
    /// A rise that `nstat` itself tells.
    told: Option<Snapshot>,
    absolute: u32,
    unclear: u32,
}

impl Moments {
    /// Adds an output.
    pub(crate) fn add(&mut self, snapshot: Snapshot) {
        if snapshot.since.is_some() {
            self.told = Some(snapshot);
            return;
        }
        if !snapshot.absolute {
            self.unclear = self.unclear.saturating_add(1);
            return;
        }
        // /proc/net/snmp and /proc/net/netstat are two halves of one.
        if let Some(current) = &mut self.current
            && snapshot.at.zip(current.at).and_then(|(now, before)| now.since(before)).is_none()
            && !snapshot.values.keys().any(|name| current.values.contains_key(name))
        {
            current.values.extend(snapshot.values);
            return;
        }
        self.turn();
        self.absolute = self.absolute.saturating_add(1);
        self.current = Some(snapshot);
    }

    fn turn(&mut self) {
        let Some(done) = self.current.take() else { return };
        let elapsed = |from: &Snapshot| done.at?.since(from.at?);
        match &self.first {
            Some(first) if elapsed(first).is_some() => self.last = Some(done.clone()),
            _ if self.last.is_none() => self.first = Some(done.clone()),
            _ => {}
        }
        if self.fullest.as_ref().is_none_or(|fullest| done.values.len() >= fullest.values.len()) {
            self.fullest = Some(done);
        }
    }

    /// The counters of the case, and why their rises are not known if they are not.
    pub(crate) fn finish(mut self) -> (Counters, Option<String>) {
        self.turn();
        if let (Some(first), Some(last)) = (&self.first, self.last.take())
            && let Some(elapsed) = last.at.zip(first.at).and_then(|(last, first)| last.since(first))
        {
            let mut start = first.values.clone();
            if first.zeros_left_out {
                for name in last.values.keys().filter(|name| !first.values.contains_key(*name)) {
                    start.insert(name.clone(), 0);
                }
            }
            return (Counters { interval_ms: milliseconds(elapsed), start, end: last.values }, None);
        }
        if let Some(told) = self.told
            && let Some(elapsed) = told.since
        {
            let start = told.values.keys().map(|name| (name.clone(), 0)).collect();
            return (Counters { interval_ms: milliseconds(elapsed), start, end: told.values }, None);
        }
        let because = match (self.absolute, self.unclear) {
            (0, 0) => "the text holds no counters".to_owned(),
            (0, _) => "nstat shows rises since it last ran, and when that was is not in the text".to_owned(),
            (1, _) => "counters were pasted once; an absolute number since boot says nothing".to_owned(),
            (many, _) => {
                format!("counters were pasted {many} times, and the time between them is not in the text")
            }
        };
        let end = self.fullest.map(|fullest| fullest.values).unwrap_or_default();
        (Counters { interval_ms: 0, start: BTreeMap::new(), end }, Some(because))
    }
}

fn milliseconds(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sections::cut;

    fn moments(text: &str) -> (Counters, Option<String>) {
        let mut moments = Moments::default();
        for section in &cut(text, 0, "x", None).sections {
            if let Some(snapshot) = read(text, section, &mut Strays::default()) {
                moments.add(snapshot);
            }
        }
        moments.finish()
    }

    fn nstat(resets: u32) -> String {
        format!("#kernel\nIpInReceives 5 0.0\nTcpOutRsts {resets} 0.0\n")
    }

    #[test]
    fn a_rise_needs_a_time() {
        let (five, nine) = (nstat(5), nstat(9));
        let (counters, because) = moments(&format!("$ nstat -az; sleep 10; nstat -az\n{five}{nine}"));
        assert_eq!((counters.rise("TcpOutRsts"), counters.interval_ms), (Some(4), 10_000));
        assert_eq!(because, None);
        let (counters, because) = moments(&format!("$ nstat -az\n{five}$ nstat -az\n{nine}"));
        assert_eq!((counters.watched(), counters.has("TcpOutRsts")), (false, true));
        assert!(because.is_some_and(|because| because.contains("2 times")));
        let (counters, _) = moments(
            &format!("2026-11-21 06:29:23\n{five}2026-11-21 06:29:53\n{nine}")
                .replace("#kernel", "$ nstat -a\n#kernel"),
        );
        assert_eq!(counters.interval_ms, 30_000);
    }

    #[test]
    fn nstat_tells_rises_itself_if_it_ran_before() {
        let (counters, _) = moments(&format!("$ nstat -n; sleep 10; nstat -z\n{}", nstat(7)));
        assert_eq!((counters.rise("TcpOutRsts"), counters.interval_ms), (Some(7), 10_000));
        let (counters, because) = moments(&format!("$ nstat\n{}", nstat(7)));
        assert_eq!(counters, Counters::default());
        assert!(because.is_some());
    }

    #[test]
    fn what_netstat_leaves_out_was_zero() {
        let text = "$ netstat -s; sleep 5; netstat -s\nTcp:\n    5 resets sent\nTcpExt:\n    TCPDelivered: 1\n\
                    Tcp:\n    5 resets sent\nTcpExt:\n    TCPDelivered: 1\n    TCPTimeWaitOverflow: 3\n";
        let (counters, _) = moments(text);
        assert_eq!(counters.rise("TcpExtTCPTimeWaitOverflow"), Some(3));
        assert_eq!(counters.rise("TcpOutRsts"), Some(0));
    }

    #[test]
    fn the_two_files_of_proc_are_one_moment() {
        let look = |rsts: u32| {
            format!("Tcp: OutRsts\nTcp: {rsts}\n$ cat /proc/net/netstat\nTcpExt: TW\nTcpExt: 3\n")
        };
        let (counters, _) = moments(&look(1));
        assert_eq!(counters.end.len(), 2);
    }
}
