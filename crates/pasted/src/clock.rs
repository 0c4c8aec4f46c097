//! When outputs were written, as far as the text around them tells: `date`, and `sleep` between two commands of a line.

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// A time on a clock. Only times of the same clock can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// None is what `date` shows; any other is a command line of a text, which begins at 0.
    clock: Option<(usize, u32)>,
    /// Milliseconds.
    at_ms: i64,
}

impl Moment {
    /// The time from an earlier moment to this one; none if they cannot be compared.
    pub(crate) fn since(self, earlier: Self) -> Option<Duration> {
        let ms = self.at_ms.checked_sub(earlier.at_ms).filter(|_| self.clock == earlier.clock)?;
        u64::try_from(ms).ok().filter(|ms| *ms > 0).map(Duration::from_millis)
    }
}

/// The clock of a text, while it is read.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    text: usize,
    lines: u32,
    dated: Option<i64>,
    slept_ms: Option<i64>,
}

impl Clock {
    /// The clock of the `text`-th text.
    pub(crate) fn of(text: usize) -> Self {
        Self { text, ..Self::default() }
    }

    /// A line of commands was typed: how long that took is not known.
    pub(crate) fn typed(&mut self) {
        self.lines = self.lines.saturating_add(1);
        self.slept_ms = Some(0);
    }

    /// A command before the next output slept.
    pub(crate) fn slept(&mut self, length: Option<Duration>) {
        if let Some(length) = length {
            let ms = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
            self.slept_ms = self.slept_ms.map(|slept| slept.saturating_add(ms));
        }
    }

    /// `date` was shown.
    pub(crate) fn set(&mut self, date: Option<DateTime>) {
        let Some(date) = date else { return };
        let utc = date.to_zoned(jiff::tz::TimeZone::UTC);
        self.dated = utc.ok().map(|zoned| zoned.timestamp().as_millisecond());
        self.slept_ms = Some(0);
    }

    /// The moment it is.
    pub(crate) fn now(&self) -> Option<Moment> {
        let slept = self.slept_ms?;
        Some(match self.dated {
            Some(dated) => Moment { clock: None, at_ms: dated.saturating_add(slept) },
            None => Moment { clock: Some((self.text, self.lines)), at_ms: slept },
        })
    }
}

/// Reads what `date` prints: `Sat Nov 21 06:29:23 UTC 2026`, `Sat 21 Nov 2026 06:29:23 AM UTC`,
/// `2026-11-21T06:29:23+00:00`, `Sat, 21 Nov 2026 06:29:23 +0000`. The zone is left out: it is the same in one text.
pub(crate) fn read(line: &str) -> Option<DateTime> {
    let line = line.trim();
    // Nothing else is tried on the millions of lines that are no dates.
    if line.len() > 48 || line.len() < 19 || line.bytes().filter(|byte| *byte == b':').count() < 2 {
        return None;
    }
    if line.starts_with(|c: char| c.is_ascii_digit()) {
        let (day, time) = line.split_at_checked(10)?;
        let time = time.get(1..)?.trim_start();
        let time = time.split(['+', '-', 'Z', ' ', ',']).next()?;
        return format!("{day}T{time}").parse().ok();
    }
    let words: Vec<&str> = line.split([' ', ',']).filter(|word| !word.is_empty()).take(8).collect();
    let is = |word: &&&str, names: &[&str]| names.contains(&word.get(..3).unwrap_or_default());
    let month = |word: &str| MONTHS.iter().position(|name| word.get(..3) == Some(name));
    words.first().filter(|first| is(first, &DAYS))?;
    let month = words.iter().find_map(|word| month(word))?;
    let time = words.iter().find(|word| word.matches(':').count() == 2)?;
    let year = words.iter().find(|word| word.len() == 4 && word.bytes().all(|b| b.is_ascii_digit()))?;
    let day = words.iter().find(|word| word.len() <= 2 && word.bytes().all(|b| b.is_ascii_digit()))?;
    let mut date: DateTime = format!("{year}-{:02}-{:0>2}T{time:0>8}", month + 1, day).parse().ok()?;
    if words.contains(&"PM") && date.hour() < 12 {
        date = date.with().hour(date.hour() + 12).build().ok()?;
    } else if words.contains(&"AM") && date.hour() == 12 {
        date = date.with().hour(0).build().ok()?;
    }
    Some(date)
}

/// The moment that `date` shows, where its zone tells how far that is from UTC.
pub(crate) fn instant(line: &str) -> Option<Timestamp> {
    let at = read(line)?;
    let offset_s = line.split([' ', ',']).filter(|word| !word.is_empty()).find_map(offset_s)?;
    let utc = at.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    utc.checked_sub(SignedDuration::from_secs(offset_s)).ok()
}

/// How far a zone is east of UTC, in seconds: `UTC`, `+0100`, `+01:00`, or behind a time: `06:29:23Z`. Of names only
/// those that mean one zone (RFC 5322, section 4.3, and Europe's): CST is China's, too.
fn offset_s(word: &str) -> Option<i64> {
    const NAMES: [(&str, i64); 18] = [
        ("UTC", 0),
        ("GMT", 0),
        ("UT", 0),
        ("Z", 0),
        ("WET", 0),
        ("WEST", 1),
        ("CET", 1),
        ("CEST", 2),
        ("EET", 2),
        ("EEST", 3),
        ("MSK", 3),
        ("JST", 9),
        ("EST", -5),
        ("EDT", -4),
        ("MST", -7),
        ("MDT", -6),
        ("PST", -8),
        ("PDT", -7),
    ];
    if let Some((_, hours)) = NAMES.iter().find(|(name, _)| *name == word) {
        return Some(hours * 3_600);
    }
    // Behind a time, or alone.
    let (_, behind) = word.split_once(':').unwrap_or(("", word));
    if behind.len() > 5 && behind.ends_with('Z') {
        return Some(0);
    }
    let at = if word.starts_with(['+', '-']) {
        0
    } else {
        word.rfind(['+', '-']).filter(|at| word.contains(':') && *at >= 9)?
    };
    let digits: String = word.get(at + 1..)?.chars().filter(|sign| *sign != ':').collect();
    let number: i64 = digits.parse().ok().filter(|_| digits.len() == 4)?;
    let seconds = (number / 100 * 60 + number % 100) * 60;
    Some(if word.get(at..)?.starts_with('-') { -seconds } else { seconds })
}

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_all_locales_that_matter_are_read() {
        for line in [
            "Sat Nov 21 06:29:23 UTC 2026",
            "Sat Nov 21 06:29:23 AM UTC 2026",
            "Sat 21 Nov 2026 06:29:23 AM UTC",
            "2026-11-21T06:29:23+00:00",
            "2026-11-21 06:29:23",
            "Sat, 21 Nov 2026 06:29:23 +0000",
        ] {
            assert_eq!(read(line).map(|date| date.to_string()), Some("2026-11-21T06:29:23".into()), "{line}");
        }
        let noon = read("Sat 21 Nov 2026 06:29:23 PM UTC").unwrap();
        assert_eq!(noon.hour(), 18);
        for line in [
            "Saturday was a good day for us: x:y:z",
            "ESTAB 0 0 a:1 b:2 10:20:30",
            "",
            "Sat Nov 99 06:29:23 UTC 2026",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }

    #[test]
    fn a_zone_that_means_one_offset_makes_an_instant() {
        for line in [
            "Sat Nov 21 06:29:23 UTC 2026",
            "Sat Nov 21 07:29:23 CET 2026",
            "Sat 21 Nov 2026 01:29:23 AM EST",
            "2026-11-21T06:29:23+00:00",
            "2026-11-21T06:29:23Z",
            "2026-11-21T11:59:23,000000000+05:30",
            "Sat, 21 Nov 2026 05:29:23 -0100",
        ] {
            let at = instant(line).map(|at| at.to_string());
            assert_eq!(at.as_deref(), Some("2026-11-21T06:29:23Z"), "{line}");
        }
        for line in [
            "2026-11-21 06:29:23",
            "Sat Nov 21 06:29:23 2026",
            "Sat Nov 21 06:29:23 IST 2026",
            "Sat Nov 21 06:29:23 CST 2026",
            "x",
        ] {
            assert_eq!(instant(line), None, "{line}");
        }
    }

    #[test]
    fn only_times_of_one_clock_are_compared() {
        let mut clock = Clock::default();
        assert_eq!(clock.now(), None);
        clock.typed();
        let first = clock.now().unwrap();
        clock.slept(Some(Duration::from_secs(10)));
        assert_eq!(clock.now().unwrap().since(first), Some(Duration::from_secs(10)));
        clock.typed();
        assert_eq!(clock.now().unwrap().since(first), None);
        clock.set(read("2026-11-21 06:29:23"));
        let dated = clock.now().unwrap();
        clock.typed();
        clock.set(read("2026-11-21 06:29:53"));
        assert_eq!(clock.now().unwrap().since(dated), Some(Duration::from_secs(30)));
        assert_eq!(dated.since(clock.now().unwrap()), None, "time does not go back");
    }
}
