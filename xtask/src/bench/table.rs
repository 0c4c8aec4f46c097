//! Medians with their range, and goals.

use super::race::{Race, Reader, Sample};
use std::fmt::Write as _;

/// Something measured, round by round, and what to hold it to.
pub(super) struct Goal {
    what: String,
    values: Vec<f64>,
    unit: &'static str,
    bound: Option<f64>,
}

impl Goal {
    /// Wall time of one reader in parts of another's, in the same round.
    pub(super) fn ratio(race: &Race<'_>, of: &Reader, to: &Reader, bound: Option<f64>) -> Self {
        let pairs = race.samples(of).into_iter().zip(race.samples(to));
        let values = pairs.map(|(of, to)| of.wall.as_secs_f64() / to.wall.as_secs_f64()).collect();
        Self { what: format!("{} / {}", of.name, to.name), values, unit: "", bound }
    }

    /// The same for time of CPUs: neighbours change it less.
    pub(super) fn cpu_ratio(race: &Race<'_>, of: &Reader, to: &Reader) -> Self {
        let pairs = race.samples(of).into_iter().zip(race.samples(to));
        let values = pairs.map(|(of, to)| of.cpu.as_secs_f64() / to.cpu.as_secs_f64()).collect();
        Self { what: format!("{} / {}, cpu", of.name, to.name), values, unit: "", bound: None }
    }

    /// Peak memory in MiB.
    pub(super) fn peak(race: &Race<'_>, of: &Reader, bound: Option<f64>) -> Self {
        let values = race.samples(of).iter().map(mebibytes).collect();
        Self { what: format!("{}, peak", of.name), values, unit: " MiB", bound }
    }

    /// How much more memory each run of a race took than the smallest of an earlier one, in MiB.
    pub(super) fn growth(race: &Race<'_>, earlier: &Race<'_>, of: &Reader, bound: Option<f64>) -> Self {
        let least = earlier.samples(of).iter().map(mebibytes).fold(f64::INFINITY, f64::min);
        let values = race.samples(of).iter().map(|sample| mebibytes(sample) - least).collect();
        Self {
            what: format!("{}, growth of the peak from one table to the other", of.name),
            values,
            unit: " MiB",
            bound,
        }
    }
}

fn mebibytes(sample: &Sample) -> f64 {
    sample.peak_bytes as f64 / f64::from(1 << 20)
}

/// Median, smallest and largest.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let (least, most) = (*values.first()?, *values.last()?);
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self { median, least, most })
    }

    fn text(self, decimals: usize) -> String {
        format!("{:.decimals$} ({:.decimals$}-{:.decimals$})", self.median, self.least, self.most)
    }
}

/// Prints what was measured, and each goal with PASS or OVER.
pub(super) fn print(title: &str, race: &Race<'_>, goals: &[Goal]) {
    println!("{}", page(title, race, goals));
}

fn page(title: &str, race: &Race<'_>, goals: &[Goal]) -> String {
    let mut page = format!("\n{title}; rounds: {}\n", race.rounds.len());
    let _ = writeln!(page, "  {:33} {:>27} {:>27} {:>9}", "reader", "wall ms", "cpu ms", "peak MiB");
    for reader in &race.readers {
        let samples = race.samples(reader);
        let spread = |of: &dyn Fn(&Sample) -> f64, decimals| {
            Spread::of(samples.iter().map(of).collect())
                .map_or_else(|| "-".to_owned(), |spread| spread.text(decimals))
        };
        let wall = spread(&|sample| sample.wall.as_secs_f64() * 1e3, 1);
        let cpu = spread(&|sample| sample.cpu.as_secs_f64() * 1e3, 1);
        let peak = samples.iter().map(mebibytes).fold(0.0, f64::max);
        let _ = writeln!(page, "  {:33} {wall:>27} {cpu:>27} {peak:>9.1}", reader.name);
    }
    for goal in goals {
        let Some(spread) = Spread::of(goal.values.clone()) else { continue };
        let decimals = if goal.unit.is_empty() { 3 } else { 1 };
        let verdict = match goal.bound {
            None => String::new(),
            Some(bound) if spread.median <= bound => {
                format!("  goal <= {bound:.decimals$}{}: PASS", goal.unit)
            }
            Some(bound) => format!("  goal <= {bound:.decimals$}{}: OVER", goal.unit),
        };
        let _ = writeln!(page, "  {} = {}{}{verdict}", goal.what, spread.text(decimals), goal.unit);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_or_between_the_two_middles() {
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]), Some(Spread { median: 2.0, least: 1.0, most: 3.0 }));
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 3.0]).map(|spread| spread.median), Some(2.5));
        assert_eq!(Spread::of(Vec::new()), None);
    }
}
