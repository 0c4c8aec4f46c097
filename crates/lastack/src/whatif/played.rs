//! Plays all columns, on all processors, with a bar if it takes long.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use world::scenario::{Client, ClosesWhen, World};
use world::whatif::{Column, Played, play_within};

/// What takes less needs no sign of life.
const PATIENCE: Duration = Duration::from_secs(1);

/// More threads than this only take memory.
const MOST_THREADS: usize = 8;

/// Worlds that are played at the same time keep no more connections than this together: each that stays open takes some
/// kilobytes,
const MOST_AT_A_TIME: u64 = 400_000;
/// and what becomes of one that ends takes this part of it.
const ENDED: u64 = 8;

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
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = threads(processors, tasks.iter().map(|(_, world)| *world));
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

/// How many worlds are played at the same time: as many as there is memory for the largest of them.
fn threads<'w>(processors: usize, worlds: impl ExactSizeIterator<Item = &'w World>) -> usize {
    let tasks = worlds.len();
    let largest = worlds.map(kept).max().unwrap_or(0);
    let fit = usize::try_from(MOST_AT_A_TIME / largest.max(1)).unwrap_or(usize::MAX);
    processors.min(MOST_THREADS).min(tasks).min(fit).max(1)
}

/// How many connections a world keeps, in what they take.
fn kept(world: &World) -> u64 {
    let never = |client: &Client| {
        let servers = world.servers.iter().filter(|server| client.to.contains(&server.name));
        servers
            .map(|server| &server.close)
            .chain([&client.close])
            .any(|close| close.when == ClosesWhen::Never)
    };
    let each = world.clients.iter().map(|client| {
        let connections = u64::from(client.connections);
        if never(client) { connections } else { connections / ENDED }
    });
    each.fold(0, u64::saturating_add)
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

#[cfg(test)]
mod tests {
    use super::*;
    use evidence::Case;
    use world::fit::{Knowledge, fit};

    fn fitted(close_wait: u64) -> World {
        let case = serde_json::json!({
            "schema": "lastack.case/1",
            "host": {"name": "h"},
            "namespaces": [{"name": "", "sockets": {"groups": [
                {"role": "server", "local": "10.0.0.1:8080", "remote": "*", "states": {"CLOSE-WAIT": close_wait}},
            ]}}],
        });
        fit(&Case::from_bytes(case.to_string().as_bytes()).unwrap(), &Knowledge::default()).unwrap().high
    }

    /// What stays open takes memory for as long as a world is played: however many a case has, and on however many
    /// processors, no more of it is there at a time.
    #[test]
    fn worlds_that_are_played_at_the_same_time_have_so_many_connections_together() {
        for close_wait in [100, 100_000, 10_000_000, u64::from(u32::MAX)] {
            let worlds = vec![fitted(close_wait); 20];
            let each: u64 = worlds[0].clients.iter().map(|client| u64::from(client.connections)).sum();
            for processors in [1, 2, 64] {
                let threads = threads(processors, worlds.iter());
                assert!((1..=processors.min(MOST_THREADS)).contains(&threads));
                let together = each * u64::try_from(threads).unwrap();
                assert!(together <= MOST_AT_A_TIME, "{threads} threads, {each} connections each");
            }
        }
        assert_eq!(threads(64, vec![fitted(100); 20].iter()), MOST_THREADS);
        assert_eq!(threads(64, vec![fitted(100); 3].iter()), 3);
        assert_eq!(threads(64, [].iter()), 1);
    }
}
