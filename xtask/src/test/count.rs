//! How many tests ran, read from what the runner prints.

/// Tests by outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// Those that passed, among them those that announced a skip.
    pub(super) passed: usize,
    /// Those that failed, timed out, or left something behind.
    pub(super) failed: usize,
    /// Names of those that did not run because they are marked `#[ignore]`.
    pub(super) ignored: Vec<String>,
}

impl Count {
    /// `Summary [ 1.2s] 34 tests run: 31 passed (1 slow), 1 failed, 2 timed out, 1 skipped`, and before it one
    /// `SKIP [ ] crate test::name` for each test that is ignored.
    pub(super) fn of_nextest(output: &str) -> Self {
        let mut count = Self::default();
        for line in output.lines() {
            let line = line.trim_start();
            if let Some(skipped) = line.strip_prefix("SKIP [") {
                count.ignored.extend(skipped.split_once(']').map(|(_, test)| test.trim().to_owned()));
            } else if line.starts_with("Summary [")
                && let Some((_, outcomes)) = line.split_once(" run: ")
            {
                // `29 passed (1 slow, 1 flaky), 2 failed`: what stands in brackets is counted already.
                let outcomes = outcomes.split('(').map(|part| part.rsplit(')').next().unwrap_or(part));
                for (number, what) in numbers(outcomes.flat_map(|part| part.split(','))) {
                    match what {
                        _ if what.starts_with("passed") => count.passed += number,
                        _ if what.starts_with("skipped") => {}
                        _ => count.failed += number,
                    }
                }
            }
        }
        count
    }

    /// `test result: ok. 3 passed; 0 failed; 1 ignored; ...` for each binary, and `test NAME ... ignored`.
    pub(super) fn of_libtest(output: &str) -> Self {
        let mut count = Self::default();
        for line in output.lines() {
            if let Some(result) = line.strip_prefix("test result: ") {
                // A test that starts its own binary again, for itself alone, shows that run's result too.
                if !result.contains("; 0 filtered out") {
                    continue;
                }
                for (number, what) in numbers(result.split([';', '.'])) {
                    match what {
                        "passed" => count.passed += number,
                        "failed" => count.failed += number,
                        _ => {}
                    }
                }
            } else if let Some(test) = line.strip_prefix("test ")
                && let Some((name, "ignored")) = test.rsplit_once(" ... ")
            {
                count.ignored.push(name.to_owned());
            }
        }
        count
    }
}

/// The parts that read `NUMBER WORDS`.
fn numbers<'a>(parts: impl Iterator<Item = &'a str>) -> impl Iterator<Item = (usize, &'a str)> {
    parts.filter_map(|part| {
        let (number, what) = part.trim().split_once(' ')?;
        Some((number.parse().ok()?, what))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nextest_counts_every_outcome_that_is_not_a_pass_as_failed() {
        let output = "\
            SKIP [         ] lastack-tcp state::tests::slow_one\n\
            ------------\n     \
            Summary [   1.034s] 34 tests run: 29 passed (1 slow, 1 flaky), 2 failed, 2 timed out, 1 exec failed, 1 skipped\n";
        let count = Count::of_nextest(output);
        assert_eq!((count.passed, count.failed), (29, 5));
        assert_eq!(count.ignored, ["lastack-tcp state::tests::slow_one"]);
        assert_eq!(Count::of_nextest("     Summary [   0.010s] 1 test run: 1 passed, 0 skipped").passed, 1);
        assert_eq!(
            Count::of_nextest("Summary [ 0.1s] 5/9 tests run: 4 passed, 1 failed, 0 skipped").failed,
            1
        );
    }

    #[test]
    fn libtest_counts_are_summed_over_binaries() {
        let output = "\
            test a ... ok\n\
            test crates/tcp/src/lib.rs - (line 7) ... ignored\n\
            test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
            test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 24 filtered out; finished in 0.00s\n\
            test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
        let count = Count::of_libtest(output);
        assert_eq!((count.passed, count.failed), (7, 2));
        assert_eq!(count.ignored, ["crates/tcp/src/lib.rs - (line 7)"]);
    }

    #[test]
    fn no_summary_counts_nothing() {
        assert_eq!(Count::of_nextest("error: could not compile"), Count::default());
        assert_eq!(Count::of_libtest("error: could not compile"), Count::default());
    }
}
