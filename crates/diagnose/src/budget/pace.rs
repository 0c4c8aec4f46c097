//! How fast connections close, as the timers of TIME-WAIT tell.

use crate::Evidence;
use crate::wording::{count, length};
use evidence::{Group, Namespace};
use std::time::Duration;
use tcp::State;

/// The rate is the mean over so many seconds: long enough to hide a single burst, short enough to be "now".
pub(super) const RATE_S: u32 = 10;

/// A mean over fewer seconds may be one burst: a start, a job.
const LASTING_S: u32 = 5;

/// When so many closes are expected in a second, one without any is no chance (1 in 150 of a random load).
const EXPECTED: f64 = 5.0;

/// The peak is the fullest of so many seconds.
const PEAK_S: usize = 60;

/// Counters and sockets are not read at the same instant: this many sockets more prove nothing.
const RESTART_NOISE: u64 = 100;

/// The closes of one group.
#[derive(Default)]
pub(super) struct Seen {
    /// Closes per second, the latest first, for the length of TIME-WAIT; empty without a TIME-WAIT.
    pub(super) closes: Vec<u32>,
    pub(super) pace: Pace,
    pub(super) peak: u32,
    pub(super) peak_seconds_ago: Option<u32>,
}

impl Seen {
    pub(super) fn new(group: &Group, time_wait: Duration) -> Self {
        let mut seen = Self::default();
        if group.time_wait.is_empty() {
            seen.pace = Pace::without_ages(group.states.of(State::TimeWait), time_wait);
            return seen;
        }
        seen.closes = group.time_wait.closes_by_age(time_wait);
        seen.pace = Pace::of(&seen.closes, group.time_wait.overdue() > 0, RATE_S);
        for (age, closes) in (0..).zip(seen.closes.iter().take(PEAK_S)) {
            if *closes > seen.peak {
                (seen.peak, seen.peak_seconds_ago) = (*closes, Some(age));
            }
        }
        seen
    }
}

/// How fast connections close.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Pace {
    /// Closes a second: the mean over the last [`RATE_S`] seconds, or since the first close.
    pub(crate) per_second: f64,
    /// Over how many seconds; 0 without a close.
    pub(crate) over_s: u32,
    /// How long ago the first close was, in seconds.
    since_first: u32,
    /// True if it came to an end: nothing closed in the last second, though the mean says several should.
    pub(crate) stopped: bool,
    /// True if it was read from ages; false if it is only a mean, and nobody knows whether it goes on.
    pub(super) by_age: bool,
}

impl Pace {
    /// The mean over at most `span` seconds. `older` says that there were closes before those that are counted.
    pub(super) fn of(closes: &[u32], older: bool, span: u32) -> Self {
        let first = (1..).zip(closes).filter(|(_, closes)| **closes > 0).map(|(seconds, _)| seconds).last();
        let since_first: u32 = if older { u32::MAX } else { first.unwrap_or(0) };
        let over_s = since_first.min(span);
        if over_s == 0 {
            return Self::default();
        }
        let sum: u64 = closes.iter().take(over_s as usize).map(|closes| u64::from(*closes)).sum();
        let per_second = sum as f64 / f64::from(over_s);
        let stopped = closes.first() == Some(&0) && (per_second >= EXPECTED || span == 1);
        Self { per_second, over_s, since_first, stopped, by_age: true }
    }

    /// The mean over the length of TIME-WAIT: so many have closed within it, whatever their ages.
    fn without_ages(time_wait: u32, length: Duration) -> Self {
        if time_wait == 0 || length.is_zero() {
            return Self::default();
        }
        let over_s = u32::try_from(length.as_secs()).unwrap_or(u32::MAX).max(1);
        Self { per_second: f64::from(time_wait) / f64::from(over_s), over_s, ..Self::default() }
    }

    /// The pace of several groups together.
    pub(crate) fn of_groups<'g>(groups: impl IntoIterator<Item = &'g Group>, time_wait: Duration) -> Self {
        let (mut closes, mut older, mut without_ages) = (Vec::<u32>::new(), false, 0_u32);
        for group in groups {
            if group.time_wait.is_empty() {
                without_ages = without_ages.saturating_add(group.states.of(State::TimeWait));
                continue;
            }
            older |= group.time_wait.overdue() > 0;
            let more = group.time_wait.closes_by_age(time_wait);
            closes.resize(more.len().max(closes.len()), 0);
            for (sum, more) in closes.iter_mut().zip(more) {
                *sum = sum.saturating_add(more);
            }
        }
        if closes.is_empty() {
            return Self::without_ages(without_ages, time_wait);
        }
        Self::of(&closes, older, RATE_S)
    }

    /// What it was read from, as a source of evidence.
    pub(crate) fn source(self) -> &'static str {
        if self.by_age { "TIME-WAIT timers" } else { "sockets in TIME-WAIT" }
    }

    /// True if it is a rate and not one burst: only then does the next minute follow from it.
    pub(crate) fn lasts(self) -> bool {
        self.since_first >= LASTING_S && !self.stopped
    }
}

/// Says so if stray segments restarted TIME-WAIT timers, which makes old closes look new: whoever uses a rate
/// that was read from timers adds this to its evidence.
pub(crate) fn restarted_timers(namespace: &Namespace) -> Option<Evidence> {
    let counters = &namespace.counters;
    for counter in ["TcpExtPAWSTimewait", "TcpExtTCPACKSkippedTimeWait"] {
        if let Some(rise) = counters.rise(counter).filter(|rise| *rise > 0) {
            let says = format!(
                "rose by {}: stray segments restart TIME-WAIT timers, so a part of these closes is older than \
                 it looks and the true rate lower",
                count(rise)
            );
            return Some(Evidence::new(counter, says));
        }
    }
    // Counted when a mini-socket is made (before 5.19: when it ends, which in a steady load is as often).
    let made = counters.rise("TcpExtTW")?;
    let interval = Duration::from_millis(counters.interval_ms);
    let seconds = usize::try_from(interval.as_secs()).ok().filter(|seconds| *seconds > 0)?;
    let length_s = namespace.settings.time_wait();
    let seen: u64 = (namespace.sockets.groups.iter())
        .filter(|group| !group.time_wait.is_empty())
        .map(|group| {
            group.time_wait.closes_by_age(length_s).iter().take(seconds).copied().map(u64::from).sum::<u64>()
        })
        .sum();
    (seen > made.saturating_mul(2).saturating_add(RESTART_NOISE)).then(|| {
        let says = format!(
            "rose by {} in {}, but {} TIME-WAIT timers say that they were started then: stray segments \
             restart them, so the true rate is lower",
            count(made),
            length(interval),
            count(seen)
        );
        Evidence::new("TcpExtTW", says)
    })
}
