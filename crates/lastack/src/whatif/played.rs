//! Plays all columns, on all processors, with a bar if it takes long.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use world::scenario::World;
use world::whatif::{Column, Played, play_within};

/// What takes less needs no sign of life.
const PATIENCE: Duration = Duration::from_secs(1);

/// More threads than this only take memory.
const MOST_THREADS: usize = 8;

/// So many events happen in all worlds together: some minutes of one processor.
const MOST_EVENTS: u64 = 120_000_000;
/// So many each may have, however many they are.
const LEAST_EACH: u64 = 8_000_000;

/// Plays every world of every column. None for a column in which more happens than anybody would wait for.
pub(super) fn all(columns: &[Column], here: &str) -> Vec<Option<Played>> {
    let worlds: usize = columns.iter().map(|column| column.worlds.len()).sum();
    let each = MOST_EVENTS / u64::try_from(worlds).unwrap_or(u64::MAX).max(1);
    within(columns, here, each.max(LEAST_EACH))
}

/// The same: a column is given up if more than so many events happen in one of its worlds, and all if it is the first,
/// without which the others say nothing.
pub(crate) fn within(columns: &[Column], here: &str, most_events: u64) -> Vec<Option<Played>> {
    let tasks: Vec<(usize, &World)> = columns
        .iter()
        .enumerate()
        .flat_map(|(place, column)| column.worlds.iter().map(move |world| (place, world)))
        .collect();
    let threads =
        std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS).min(tasks.len());
    let next = AtomicUsize::new(0);
    let done: Mutex<BTreeMap<usize, Option<Played>>> = Mutex::new(BTreeMap::new());
    let given_up: Mutex<BTreeSet<usize>> = Mutex::new(BTreeSet::new());
    let progress = Mutex::new(Progress::new(tasks.len()));
    let work = || {
        loop {
            let task = next.fetch_add(1, Ordering::Relaxed);
            let Some((column, world)) = tasks.get(task) else { return };
            let hopeless =
                given_up.lock().is_ok_and(|given_up| given_up.contains(&0) || given_up.contains(column));
            let played = if hopeless { None } else { play_within(world, here, most_events) };
            if played.is_none()
                && let Ok(mut given_up) = given_up.lock()
            {
                given_up.insert(*column);
            }
            if let Ok(mut done) = done.lock() {
                done.insert(task, played);
                if let Ok(mut progress) = progress.lock() {
                    progress.reached(done.len());
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    if let Ok(mut progress) = progress.lock() {
        progress.end();
    }
    let done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let of = |column: usize| -> Option<Played> {
        let own = tasks.iter().enumerate().filter(|(_, (place, _))| *place == column);
        let each: Option<Vec<Played>> = own.map(|(task, _)| done.get(&task).cloned().flatten()).collect();
        Some(Played::joined(&each?))
    };
    (0..columns.len()).map(of).collect()
}

/// A bar on stderr that appears if it takes long, and leaves nothing behind.
struct Progress {
    start: Instant,
    tasks: usize,
    wanted: bool,
    bar: Option<ProgressBar>,
}

impl Progress {
    fn new(tasks: usize) -> Self {
        Self { start: Instant::now(), tasks, wanted: io::stderr().is_terminal(), bar: None }
    }

    fn reached(&mut self, done: usize) {
        if !self.wanted || (self.bar.is_none() && self.start.elapsed() < PATIENCE) {
            return;
        }
        let length = u64::try_from(self.tasks).unwrap_or(u64::MAX);
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr_with_hz(5));
            match ProgressStyle::with_template("playing: {pos} of {len} worlds [{bar:30}] {eta} left") {
                Ok(style) => bar.with_style(style.progress_chars("##.")),
                Err(_) => bar,
            }
        });
        bar.set_position(u64::try_from(done).unwrap_or(u64::MAX));
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
