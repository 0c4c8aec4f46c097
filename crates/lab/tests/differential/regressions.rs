//! Sequences that once showed a difference, in tests/regressions/: shrunk, one a file, with what it was about.

use crate::bench::with_bench;
use lab::differential::Sequence;
use std::fs;
use std::path::Path;

#[test]
fn every_regression_stays_without_a_difference() {
    with_bench("regressions::every_regression_stays_without_a_difference", |mut bench| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/regressions");
        let mut files: Vec<_> = fs::read_dir(folder)
            .expect("the folder of regressions")
            .map(|entry| entry.expect("a file").path())
            .collect();
        files.sort();
        let read =
            |path| -> Sequence { fs::read_to_string(path).expect("a file of steps").parse().expect("steps") };
        let sequences: Vec<Sequence> = files.iter().map(read).collect();
        assert!(sequences.len() >= 20);
        let outcomes = bench.run(&sequences).expect("the kernel answers");
        let mut wrong = 0;
        for ((file, sequence), outcome) in files.iter().zip(&sequences).zip(outcomes) {
            if let Some(difference) = outcome.difference {
                wrong += 1;
                println!("{}: {difference}", file.display());
            } else if outcome.exception.is_none() {
                assert_eq!(outcome.rows.len(), sequence.steps.len());
            }
        }
        assert_eq!(wrong, 0, "of {} regressions", sequences.len());
    });
}
