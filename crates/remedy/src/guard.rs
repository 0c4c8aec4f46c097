//! Guards: counters that are watched after a change, and the bound that each must keep within.
//!
//! Before the change each counter is watched for a while; that gives its usual rate. From the first step on it may rise
//! twice as fast, and by [`SPARE`] besides, or by one a second if that is more. So what was quiet may stir, a busy
//! host may be twice as busy, and a service that fails on every connection shows within seconds.

use crate::step::Place;
use kernel::netns::{self};
use kernel::{NetnsError, Root, conntrack, counters};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A counter may rise so many times as fast as before.
const TIMES: f64 = 2.0;

/// And by so much besides.
const SPARE: f64 = 10.0;

/// Watched whatever is changed: what moves when connections fail. `docs/fix.md` says what each means.
pub const ALWAYS: [&str; 11] = [
    "TcpAttemptFails",
    "TcpEstabResets",
    "TcpOutRsts",
    "TcpExtListenDrops",
    "TcpExtListenOverflows",
    "TcpExtPAWSActive",
    "TcpExtPAWSEstab",
    "TcpExtTCPAbortOnMemory",
    "TcpExtTCPAbortOnTimeout",
    "TcpExtTCPSynRetrans",
    "TcpExtTCPTimeWaitOverflow",
];

/// The part before the name of a counter of connection tracking in a remedy's guard.
const CONNTRACK: &str = "conntrack ";

/// A counter of a namespace that is watched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Guard {
    /// Where.
    pub netns: Place,
    /// Its name, as `nstat` has it; `conntrack drop` for one of connection tracking.
    pub counter: String,
    /// True if it must keep within its bound; else it is only told.
    pub bounded: bool,
}

/// What a guard measured, as rises a second. None where it was not measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The namespace's name.
    pub netns: String,
    /// The counter.
    pub counter: String,
    /// Before the change.
    pub before_per_second: Option<f64>,
    /// From the first step on, until it was decided.
    pub during_per_second: Option<f64>,
    /// After it was decided.
    pub after_per_second: Option<f64>,
    /// True if it rose faster than its bound.
    pub tripped: bool,
}

/// The guards of a change: those that a remedy names, as far as they are counters, and those of every change.
///
/// A remedy's guard begins with the counter and goes on in words: `TcpExtTWRecycled rises: it is used` is told, the
/// others are bounded. What is no counter (`services restart on their ports`) is for people.
pub(crate) fn guards(netns: &Place, named: &[String]) -> BTreeSet<Guard> {
    let mut guards: BTreeMap<String, bool> = ALWAYS.iter().map(|name| ((*name).to_owned(), true)).collect();
    for text in named {
        if let Some((counter, bounded)) = parse(text) {
            let known = guards.entry(counter).or_insert(bounded);
            *known |= bounded;
        }
    }
    guards.into_iter().map(|(counter, bounded)| Guard { netns: netns.clone(), counter, bounded }).collect()
}

/// The counter that a guard's text begins with, and whether it is bounded.
pub(crate) fn parse(text: &str) -> Option<(String, bool)> {
    let (prefix, rest) = match text.strip_prefix(CONNTRACK) {
        Some(rest) => (CONNTRACK, rest),
        None => ("", text),
    };
    let end =
        rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(rest.len());
    let (name, words) = rest.split_at(end);
    let of_tcp = name.starts_with("Tcp") && name.bytes().any(|byte| byte.is_ascii_uppercase());
    let is_counter = if prefix.is_empty() { of_tcp && !words.starts_with('.') } else { !name.is_empty() };
    is_counter.then(|| (format!("{prefix}{name}"), !words.trim_start().starts_with("rises")))
}

/// Counters at one moment.
pub(crate) struct Glance {
    at: Instant,
    counts: BTreeMap<(u64, String), u64>,
}

impl Glance {
    /// Reads the counters of all guards. A namespace that is gone counts nothing.
    pub(crate) fn take(root: &Root, guards: &BTreeSet<Guard>) -> Result<Self, NetnsError> {
        let places: BTreeSet<&Place> = guards.iter().map(|guard| &guard.netns).collect();
        let mut counts = BTreeMap::new();
        for place in places {
            let Some(found) = place.find(root)? else { continue };
            let tracked =
                guards.iter().any(|guard| guard.netns == *place && guard.counter.starts_with(CONNTRACK));
            let read = netns::enter(&found, || {
                // A counter that cannot be read is one that this kernel does not have: it is not watched.
                let mut counts = counters::read(root).unwrap_or_default();
                if tracked {
                    let stats = conntrack::stats(root);
                    counts
                        .extend(stats.into_iter().map(|(name, count)| (format!("{CONNTRACK}{name}"), count)));
                }
                counts
            })?;
            counts.extend(read.into_iter().map(|(name, count)| ((place.inode, name), count)));
        }
        Ok(Self { at: Instant::now(), counts })
    }

    fn count(&self, guard: &Guard) -> Option<u64> {
        self.counts.get(&(guard.netns.inode, guard.counter.clone())).copied()
    }

    /// How much a counter rose since an earlier glance. One that went back was begun anew.
    fn rise(&self, since: &Self, guard: &Guard) -> Option<u64> {
        self.count(guard)?.checked_sub(since.count(guard)?)
    }

    fn seconds(&self, since: &Self) -> f64 {
        self.at.saturating_duration_since(since.at).max(Duration::from_millis(1)).as_secs_f64()
    }

    fn rate(&self, since: &Self, guard: &Guard) -> Option<f64> {
        self.rise(since, guard).map(|rise| (rise as f64 / self.seconds(since) * 1_000.0).round() / 1_000.0)
    }
}

/// What was measured so far.
pub(crate) struct Measuring<'a> {
    pub(crate) guards: &'a BTreeSet<Guard>,
    /// Before the change: begin and end.
    pub(crate) before: Option<(Glance, Glance)>,
    /// From before the first step on: begin, and the last glance.
    pub(crate) during: Option<(Glance, Glance)>,
}

impl Measuring<'_> {
    /// The guards that rose faster than they may.
    pub(crate) fn tripped(&self) -> Vec<Tripped<'_>> {
        let (Some((first, last)), Some((begin, now))) = (&self.before, &self.during) else {
            return Vec::new();
        };
        let usual = |guard: &Guard| Some(last.rise(first, guard)? as f64 / last.seconds(first));
        tripped(self.guards, usual, begin, now)
    }

    /// Whether guards could trip at all: what to say of them, as a sentence without its end.
    pub(crate) fn watched(&self) -> Watched {
        let (Some((first, last)), Some((begin, now))) = (&self.before, &self.during) else {
            return if self.guards.is_empty() { Watched::NextBoot } else { Watched::None };
        };
        let usual = |guard: &Guard| last.rise(first, guard).is_some();
        match unwatched(self.guards, usual, begin, now) {
            places if places.is_empty() => Watched::All,
            places
                if places.len()
                    == self.guards.iter().map(|guard| &guard.netns).collect::<BTreeSet<_>>().len() =>
            {
                Watched::None
            }
            places => Watched::NotIn(places),
        }
    }

    /// A row for each guard.
    pub(crate) fn rows(&self, after: Option<&(Glance, Glance)>) -> Vec<Measured> {
        let tripped: BTreeSet<&Guard> = self.tripped().into_iter().map(|tripped| tripped.guard).collect();
        let rate = |glances: Option<&(Glance, Glance)>, guard: &Guard| {
            glances.and_then(|(first, last)| last.rate(first, guard))
        };
        let rows = self.guards.iter().map(|guard| Measured {
            netns: guard.netns.name.clone(),
            counter: guard.counter.clone(),
            before_per_second: rate(self.before.as_ref(), guard),
            during_per_second: rate(self.during.as_ref(), guard),
            after_per_second: rate(after, guard),
            tripped: tripped.contains(guard),
        });
        rows.filter(|row| row.before_per_second.or(row.during_per_second).is_some()).collect()
    }
}

/// The guards that rose faster between two glances than they may, by their usual rates a second.
pub(crate) fn tripped<'a>(
    guards: &'a BTreeSet<Guard>,
    usual: impl Fn(&Guard) -> Option<f64>,
    begin: &Glance,
    now: &Glance,
) -> Vec<Tripped<'a>> {
    let bounded = guards.iter().filter(|guard| guard.bounded);
    let tripped = bounded.filter_map(|guard| {
        let usual = usual(guard)?;
        let (rose, seconds) = (now.rise(begin, guard)?, now.seconds(begin));
        let allowed = allowed(usual, seconds);
        (rose as f64 > allowed).then_some(Tripped { guard, rose, allowed, seconds })
    });
    tripped.collect()
}

/// The network namespaces in which no guard could trip: they have gone, or their counters cannot be read.
pub(crate) fn unwatched(
    guards: &BTreeSet<Guard>,
    is_usual_known: impl Fn(&Guard) -> bool,
    begin: &Glance,
    now: &Glance,
) -> Vec<String> {
    let mut places: BTreeMap<&Place, bool> = BTreeMap::new();
    for guard in guards {
        let watched = guard.bounded
            && is_usual_known(guard)
            && now.count(guard).is_some()
            && begin.count(guard).is_some();
        *places.entry(&guard.netns).or_default() |= watched;
    }
    places.into_iter().filter(|(_, watched)| !watched).map(|(place, _)| place.name.clone()).collect()
}

/// Where guards were watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Watched {
    /// Wherever something was changed.
    All,
    /// Not in these network namespaces.
    NotIn(Vec<String>),
    /// Nowhere.
    None,
    /// Nothing changes now that could move a counter.
    NextBoot,
}

impl std::fmt::Display for Watched {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => to.write_str("the guards hold"),
            Self::NotIn(places) => {
                write!(to, "the guards hold, but no guard was watched in {}", places.join(", "))
            }
            Self::None => to.write_str("no guard was watched"),
            Self::NextBoot => to.write_str("it is about the next boot"),
        }
    }
}

/// How much a counter may rise in so many seconds whose usual rate is this.
fn allowed(usual_per_second: f64, seconds: f64) -> f64 {
    TIMES * usual_per_second * seconds + SPARE.max(seconds)
}

/// A guard that rose faster than it may.
pub(crate) struct Tripped<'a> {
    guard: &'a Guard,
    rose: u64,
    allowed: f64,
    seconds: f64,
}

impl std::fmt::Display for Tripped<'_> {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { guard, rose, allowed, seconds } = self;
        write!(to, "{} rose by {rose} in {seconds:.1} s; its bound was {allowed:.0}", guard.counter)?;
        if guard.netns.name == "host" { Ok(()) } else { write!(to, " (in {})", guard.netns.name) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guards_text_begins_with_its_counter() {
        let bounded = |text: &str| parse(text);
        assert_eq!(bounded("TcpExtTCPTimeWaitOverflow"), Some(("TcpExtTCPTimeWaitOverflow".into(), true)));
        assert_eq!(bounded("TcpExtTWRecycled rises: it is used"), Some(("TcpExtTWRecycled".into(), false)));
        assert_eq!(
            bounded("TcpAttemptFails does not rise faster than before"),
            Some(("TcpAttemptFails".into(), true))
        );
        assert_eq!(bounded("TcpExtPAWSPassive stops rising"), Some(("TcpExtPAWSPassive".into(), true)));
        assert_eq!(bounded("conntrack insert_failed"), Some(("conntrack insert_failed".into(), true)));
        for text in [
            "services restart on their ports without EADDRINUSE",
            "slab tw_sock_TCP stays below the memory named here",
            "TCP.orphan in /proc/net/sockstat stays below net.ipv4.tcp_max_orphans",
            "ephemeral-ports-exhausted does not fire",
            "",
            "conntrack ",
        ] {
            assert_eq!(bounded(text), None, "{text}");
        }
    }

    fn glance(at: Instant, place: &Place, count: u64) -> Glance {
        Glance { at, counts: BTreeMap::from([((place.inode, "TcpOutRsts".to_owned()), count)]) }
    }

    #[test]
    fn a_counter_may_rise_twice_as_fast_and_a_little_besides() {
        let place = Place { name: "host".into(), inode: 1, started: None };
        let guards = guards(&place, &[]);
        let start = Instant::now();
        let second = |number| start + Duration::from_secs(number);
        let trips = |before: u64, during: u64| {
            let measuring = Measuring {
                guards: &guards,
                before: Some((glance(second(0), &place, 0), glance(second(10), &place, before))),
                during: Some((
                    glance(second(10), &place, before),
                    glance(second(30), &place, before + during),
                )),
            };
            measuring.tripped().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(trips(0, 20), [""; 0]);
        assert_eq!(trips(0, 21), ["TcpOutRsts rose by 21 in 20.0 s; its bound was 20"]);
        assert_eq!(trips(1_000, 4_020), [""; 0]);
        assert_eq!(trips(1_000, 4_021).len(), 1);
    }

    #[test]
    fn what_was_not_measured_before_trips_nothing() {
        let place = Place { name: "host".into(), inode: 1, started: None };
        let guards = guards(&place, &[]);
        let during = Some((glance(Instant::now(), &place, 0), glance(Instant::now(), &place, 1_000_000)));
        let measuring = Measuring { guards: &guards, before: None, during };
        assert_eq!(measuring.tripped().len(), 0);
        assert_eq!(measuring.watched().to_string(), "no guard was watched");
        assert_eq!(measuring.rows(None).len(), 1);
    }

    #[test]
    fn what_could_not_trip_is_not_said_to_hold() {
        let (here, gone) = (
            Place { name: "host".into(), inode: 1, started: None },
            Place { name: "web".into(), inode: 2, started: None },
        );
        let both: BTreeSet<Guard> = guards(&here, &[]).into_iter().chain(guards(&gone, &[])).collect();
        let glances = || (glance(Instant::now(), &here, 0), glance(Instant::now(), &here, 0));
        let none = || Glance { at: Instant::now(), counts: BTreeMap::new() };
        let said = |guards, before, during| Measuring { guards, before, during }.watched().to_string();
        let one = guards(&here, &[]);
        assert_eq!(said(&one, Some(glances()), Some(glances())), "the guards hold");
        assert_eq!(
            said(&both, Some(glances()), Some(glances())),
            "the guards hold, but no guard was watched in web"
        );
        assert_eq!(said(&one, Some((none(), none())), Some((none(), none()))), "no guard was watched");
        assert_eq!(said(&one, None, Some(glances())), "no guard was watched");
        assert_eq!(said(&BTreeSet::new(), None, None), "it is about the next boot");
    }
}
