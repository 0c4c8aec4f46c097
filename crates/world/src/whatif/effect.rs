//! The effect of a change in a few words, for who is about to make it.

use super::Numbers;
use crate::fit::Range;

/// Less than this part is no difference that one would act on, and neither is
const SEEN: f64 = 0.02;
/// a connection or two.
const FEW: f64 = 2.5;
/// A time that the model does not know for sure must change by this factor to be told.
const TOLD_FACTOR: f64 = 2.0;
/// and so many connects must have taken it: the first ones of a program are slow whatever the load.
const ENOUGH: f64 = 1_000.0;

/// What a change does to a load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effect {
    /// As it is.
    pub before: Numbers,
    /// With the change made.
    pub after: Numbers,
    /// The load goes on: what fails is told by the second.
    pub lasts: bool,
}

impl Effect {
    /// What becomes different, a clause for each number, with both ends where they differ: `failed connects 190..210 ->
    /// 0 a second`.
    pub fn differences(&self) -> Vec<String> {
        let (before, after) = (&self.before, &self.after);
        let mut said = Vec::new();
        let mut say = |what: &str, pair: Option<(Range, Range)>, unit: &str| {
            if let Some((before, after)) = pair.filter(|(before, after)| differ(*before, *after)) {
                said.push(format!("{what} {} -> {}{unit}", text(before), text(after)));
            }
        };
        if self.lasts {
            say("failed connects", Some((before.failed_per_second, after.failed_per_second)), " a second");
        } else {
            say("failed connects", Some((before.failed, after.failed)), "");
        }
        say("connections lost", Some((before.lost, after.lost)), "");
        say("local ports left", before.ports_left.zip(after.ports_left), "");
        say("TIME-WAIT", Some((before.time_wait_peak, after.time_wait_peak)), "");
        say("TIME-WAIT at the peers", Some((before.time_wait_at_peers, after.time_wait_at_peers)), "");
        say("connections that one side never closes", Some((before.unclosed, after.unclosed)), "");
        say("TIME-WAIT that finds no room", Some((before.overflows, after.overflows)), "");
        say("resets", Some((before.resets, after.resets)), "");
        let made = [made(before), made(after)];
        if !self.lasts {
            say("connections made", Some((made[0], made[1])), "");
        }
        let times = [before.connect_p99_us, after.connect_p99_us];
        let [fast, slow] = if times[0].high < times[1].high { times } else { [times[1], times[0]] };
        let enough = made.iter().all(|made| made.low >= ENOUGH);
        if enough && slow.low > fast.high * TOLD_FACTOR {
            say("99 of 100 connects take at most", Some((times[0], times[1])), " us");
        }
        said
    }

    /// The numbers that matter most, for a change that changes none.
    pub fn stays(&self) -> String {
        let of = &self.before;
        let mut said = vec![format!("TIME-WAIT {}", text(of.time_wait_peak))];
        said.extend(of.ports_left.map(|left| format!("local ports left {}", text(left))));
        said.push(if self.lasts {
            format!("failed connects {} a second", text(of.failed_per_second))
        } else {
            format!("failed connects {}", text(of.failed))
        });
        said.join(", ")
    }
}

/// Connections that were made, by all.
fn made(numbers: &Numbers) -> Range {
    Range::of(
        numbers.connects.low - numbers.failed.low.min(numbers.connects.low),
        numbers.connects.high - numbers.failed.high.min(numbers.connects.high),
    )
}

/// Whether one would act on the difference.
fn differ(before: Range, after: Range) -> bool {
    let apart = |one: f64, other: f64| {
        let (difference, larger) = ((one - other).abs(), one.abs().max(other.abs()));
        // A rate below ten is told with a digit behind the point.
        difference > larger * SEEN && (difference > FEW || larger < 10.0 && difference > 0.1)
    };
    apart(before.low, after.low) || apart(before.high, after.high)
}

/// `4,000`, or `17,972..18,021`.
fn text(range: Range) -> String {
    let (low, high) = (short(range.low), short(range.high));
    if low == high { low } else { format!("{low}..{high}") }
}

/// Two digits or so, thousands apart.
fn short(value: f64) -> String {
    let value = if value.is_finite() { value.max(0.0) } else { 0.0 };
    if value > 0.0 && value < 10.0 && (value - value.round()).abs() >= 0.05 {
        return format!("{value:.1}");
    }
    let digits = format!("{:.0}", value.min(1e15));
    let first = digits.len() % 3;
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && place % 3 == first {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_one_would_act_on_is_told_and_with_both_ends() {
        let before = Numbers {
            failed_per_second: Range::of(190.0, 210.4),
            ports_left: Some(Range::exactly(0.0)),
            time_wait_peak: Range::exactly(4_000.0),
            connect_p99_us: Range::exactly(100.0),
            connects: Range::exactly(1_500.0),
            ..Numbers::default()
        };
        let after = Numbers {
            failed_per_second: Range::exactly(0.0),
            ports_left: Some(Range::of(395.0, 12_405.0)),
            time_wait_peak: Range::exactly(4_001.0),
            connect_p99_us: Range::exactly(150.0),
            ..before
        };
        let effect = Effect { before, after, lasts: true };
        assert_eq!(
            effect.differences(),
            ["failed connects 190..210 -> 0 a second", "local ports left 0 -> 395..12,405"]
        );
        assert_eq!(effect.stays(), "TIME-WAIT 4,000, local ports left 0, failed connects 190..210 a second");
        let same = Effect { after: before, ..effect };
        assert!(same.differences().is_empty());
        let slower = Effect { after: Numbers { connect_p99_us: Range::exactly(201.0), ..before }, ..effect };
        assert_eq!(slower.differences(), ["99 of 100 connects take at most 100 -> 201 us"]);
        let rare = Effect { after: Numbers { failed_per_second: Range::exactly(0.3), ..before }, ..effect };
        assert_eq!(rare.differences(), ["failed connects 190..210 -> 0.3 a second"]);
        let pooled = Effect {
            after: Numbers { connects: Range::exactly(8.0), ..slower.after },
            lasts: false,
            ..effect
        };
        assert_eq!(pooled.differences(), ["connections made 1,500 -> 8"]);
    }

    #[test]
    fn thousands_are_apart() {
        for (value, text) in [(0.0, "0"), (-1.0, "0"), (9.96, "10"), (999.0, "999"), (1_000.0, "1,000")] {
            assert_eq!(short(value), text);
        }
        assert_eq!([short(12_345_678.0), short(f64::NAN), short(0.25)], ["12,345,678", "0", "0.2"]);
    }
}
