//! What several runs of one variant gave: what one run owes to chance is seen in how far they lie apart.

use crate::Measures;
use std::collections::{BTreeMap, BTreeSet};

/// A measure in several runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The smallest.
    pub least: f64,
    /// The median.
    pub middle: f64,
    /// The largest.
    pub most: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let (low, high) = (values.get((values.len() - 1) / 2)?, values.get(values.len() / 2)?);
        Some(Self { least, middle: f64::midpoint(*low, *high), most })
    }

    /// The largest less the smallest, as a part of the largest; 0 if they are equal.
    pub fn part(self) -> f64 {
        if self.most > 0.0 { (self.most - self.least) / self.most } else { 0.0 }
    }
}

/// Each measure that one of the runs has. A count that a run does not have was 0 there; of a rate or a latency there is
/// none.
pub fn spreads(runs: &[Measures]) -> BTreeMap<String, Spread> {
    let names: BTreeSet<&String> = runs.iter().flat_map(|run| run.0.keys()).collect();
    let of = |name: &String| Spread::of(runs.iter().filter_map(|run| run.value(name)).collect());
    names.into_iter().filter_map(|name| Some((name.clone(), of(name)?))).collect()
}

/// The median of each measure.
pub fn medians(runs: &[Measures]) -> Measures {
    Measures(spreads(runs).into_iter().map(|(name, spread)| (name, spread.middle)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_a_run_lacks_was_zero_and_a_rate_was_not() {
        let run = |values: &[(&str, f64)]| {
            Measures(values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect())
        };
        let runs = [
            run(&[("a.sockets.TIME-WAIT", 10.0), ("load.per_second", 100.0)]),
            run(&[("load.per_second", 80.0)]),
            run(&[("a.sockets.TIME-WAIT", 12.0)]),
        ];
        let all = spreads(&runs);
        let time_wait = all["a.sockets.TIME-WAIT"];
        assert_eq!((time_wait.least, time_wait.middle, time_wait.most), (0.0, 10.0, 12.0));
        assert!((all["load.per_second"].middle - 90.0).abs() < 1e-9);
        assert!((all["load.per_second"].part() - 0.2).abs() < 1e-9);
        assert!((Spread { least: 0.0, middle: 0.0, most: 0.0 }.part()).abs() < 1e-9);
        assert_eq!(medians(&runs[..1]), runs[0]);
        assert!(medians(&[]).0.is_empty());
    }
}
