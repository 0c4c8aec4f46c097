//! Sequences that once showed a difference, in tests/regressions/: shrunk, one a file, with what it was about. A run
//! of random ones that shows one leaves it there.

use crate::bench::with_bench;
use lab::differential::{Difference, Sequence};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Where they are.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/regressions")
}

/// Keeps a sequence, with the difference that it shows, in a file of that name.
pub(crate) fn keep(
    folder: &Path,
    name: &str,
    sequence: &Sequence,
    difference: &Difference,
) -> io::Result<PathBuf> {
    let mut text = String::new();
    for line in difference.to_string().lines() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "# {line}");
    }
    let _ = write!(text, "{sequence}");
    let file = folder.join(format!("{name}.txt"));
    fs::write(&file, text)?;
    Ok(file)
}

#[test]
fn what_is_kept_is_the_sequence() {
    let sequence: Sequence =
        "with rfc1337=1 isn=7 clock=9\nlisten\nSYN seq=next+0 ts=+0\n".parse().expect("steps");
    let difference = Difference { step: 1, what: "no answer".to_owned(), trace: "listen\n".to_owned() };
    let folder = std::env::temp_dir();
    let name = format!("lastack-regression-{}", std::process::id());
    let file = keep(&folder, &name, &sequence, &difference).expect("a file");
    let text = fs::read_to_string(&file).expect("what was written");
    fs::remove_file(&file).expect("it goes");
    assert!(text.starts_with("# "), "{text}");
    assert_eq!(text.parse::<Sequence>().expect("steps").to_string(), sequence.to_string());
}

#[test]
fn every_regression_stays_without_a_difference() {
    with_bench("regressions::every_regression_stays_without_a_difference", |mut bench| {
        let mut files: Vec<_> = fs::read_dir(folder())
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
