//! Sequences by chance, each on the kernel and on the machine.

use crate::bench::with_bench;
use crate::regressions::{folder, keep};
use lab::differential::{Difference, Sequence, random, random_beyond, random_closed_window, shrink};
use std::collections::BTreeMap;
use std::env;
use std::time::Instant;
use tcp::machine::TABLE;

/// Sequences that run side by side.
const BATCH: u64 = 500;
/// One of so many may be disturbed: five times as many as where another process did nothing but look at the sockets
/// of this one.
const DISTURBED: u64 = 500;
/// So many differences are shrunk and shown.
const SHOWN: usize = 25;

fn number(name: &str, default: u64) -> u64 {
    let text = env::var(name).unwrap_or_default();
    if text.is_empty() { default } else { text.parse().unwrap_or_else(|_| panic!("{name} is a number")) }
}

/// `LASTACK_SEQUENCES` of them, from the seed `LASTACK_SEED` on.
#[test]
fn random_sequences() {
    // The other rows are of other systems, of long timers, of keepalive and of memory that ran out.
    hold("random::random_sequences", random, 10_000, 220);
}

/// The same for windows that close and shrink, IPv6, TCP_LINGER2, connect() onto TIME-WAIT.
#[test]
fn random_sequences_beyond_those() {
    hold("random::random_sequences_beyond_those", random_beyond, 5_000, 215);
}

/// Windows that close, and the timers that ask for them.
#[test]
fn random_sequences_of_closed_windows() {
    hold("random::random_sequences_of_closed_windows", random_closed_window, 1_000, 85);
}

/// At least so many rows of the table apply in so many sequences, or these go too few ways.
fn hold(name: &str, of_seed: fn(u64) -> Sequence, usual: u64, rows: usize) {
    with_bench(name, |mut bench| {
        let (count, first) = (number("LASTACK_SEQUENCES", usual), number("LASTACK_SEED", 1));
        let start = Instant::now();
        let mut applied = BTreeMap::new();
        let (mut steps, mut wrong, mut exceptions) = (0, Vec::new(), BTreeMap::new());
        let mut disturbed = Vec::new();
        for begin in (first..first + count).step_by(usize::try_from(BATCH).expect("small")) {
            let seeds = begin..(begin + BATCH).min(first + count);
            let sequences: Vec<Sequence> = seeds.clone().map(of_seed).collect();
            let outcomes = bench.run(&sequences).expect("the kernel answers");
            for ((seed, sequence), outcome) in seeds.zip(sequences).zip(outcomes) {
                steps += outcome.rows.len();
                disturbed.extend(outcome.disturbed.map(|first| (seed, first)));
                for row in outcome.rows.iter().flatten() {
                    if let Some(at) = TABLE.iter().position(|other| std::ptr::eq(other, *row)) {
                        *applied.entry(at).or_insert(0_u64) += 1;
                    }
                }
                if let Some(exception) = outcome.exception {
                    *exceptions.entry(exception).or_insert(0_u64) += 1;
                }
                if let Some(difference) = outcome.difference {
                    wrong.push((seed, sequence, difference));
                }
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{count} sequences, {steps} steps, {seconds:.1} s: {:.0} sequences a second",
            count as f64 / seconds
        );
        println!("{} of the {} rows of the table applied", applied.len(), TABLE.len());
        assert!(count < usual || applied.len() >= rows, "the sequences go too few ways");
        println!(
            "ended early: {exceptions:?}; different once, and not again when alone: {}",
            disturbed.len()
        );
        for (seed, first) in disturbed.iter().take(SHOWN) {
            println!("seed {seed}, once: {first}");
        }
        let most = (count / DISTURBED).max(1);
        assert!(disturbed.len() as u64 <= most, "{} of {count} differed once", disturbed.len());
        for (seed, sequence, first) in wrong.iter().take(SHOWN) {
            let kept = |sequence: &Sequence, difference: &Difference| {
                let called = format!("{}-{seed}", name.rsplit("::").next().unwrap_or(name).replace('_', "-"));
                match keep(&folder(), &called, sequence, difference) {
                    Ok(file) => println!("kept as {}", file.display()),
                    Err(error) => println!("not kept: {error}"),
                }
            };
            // Each try would wait for timers again.
            if sequence.waits_for_timers() {
                println!("seed {seed}:\n{sequence}{first}");
                kept(sequence, first);
                continue;
            }
            let small = shrink(&mut bench, sequence).expect("the kernel answers");
            let outcome = bench.run(std::slice::from_ref(&small)).expect("the kernel answers").remove(0);
            match outcome.difference {
                Some(difference) => {
                    println!("seed {seed}, shrunk:\n{small}{difference}");
                    kept(&small, &difference);
                }
                None => println!("seed {seed}: not again when alone\n{sequence}{first}"),
            }
        }
        assert_eq!(wrong.len(), 0, "differences in {count} sequences");
    });
}
