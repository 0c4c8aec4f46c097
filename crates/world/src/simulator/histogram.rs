//! Durations, counted so that quantiles can be read: 128 steps for each doubling, less than 1 % apart.

const STEPS: u32 = 128;
const STEP_BITS: u32 = 7;

/// Counts of nanoseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Histogram {
    pub(super) fn add(&mut self, nanos: u64) {
        self.add_many(nanos, 1);
    }

    pub(super) fn add_many(&mut self, nanos: u64, times: u64) {
        let bucket = bucket(nanos);
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += times;
        self.total += times;
        self.max = self.max.max(nanos);
    }

    /// The first duration behind so large a part of all in their order, to within 1 %; none: there is none. Half of
    /// four are two: the third is their median, as the kernel stage has it.
    pub(super) fn quantile(&self, part: f64) -> Option<u64> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of the total")]
        let rank = ((self.total as f64 * part) as u64 + 1).min(self.total.max(1));
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(middle(bucket).min(self.max))
    }

    pub(super) fn max(&self) -> Option<u64> {
        (self.total > 0).then_some(self.max)
    }
}

fn bucket(nanos: u64) -> usize {
    let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(STEP_BITS + 1);
    #[expect(clippy::cast_possible_truncation, reason = "at most 58 * 128 + 255")]
    {
        (u64::from(shift * STEPS) + (nanos >> shift)) as usize
    }
}

fn middle(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket / u64::from(STEPS)).saturating_sub(1);
    let step = bucket - shift * u64::from(STEPS);
    (step << shift) + (1_u64 << shift) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_a_percent() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.quantile(0.5), histogram.max()), (None, None));
        for nanos in 1..=1_000_000 {
            histogram.add(nanos);
        }
        for (part, expected) in [(0.5, 500_000.0), (0.9, 900_000.0), (0.99, 990_000.0), (1.0, 1_000_000.0)] {
            let quantile = histogram.quantile(part).unwrap() as f64;
            assert!((quantile / expected - 1.0).abs() < 0.01, "{part}: {quantile}");
        }
        histogram.add(u64::MAX);
        assert_eq!(histogram.max(), Some(u64::MAX));
    }
}
