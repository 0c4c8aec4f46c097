//! Clients: so many turns, paced or as fast as they go, by so many workers.

use super::Load;
use super::closing::Closer;
use super::connection::Connection;
use super::pace::Pace;
use super::pool::{Leftover, Pool, Sweeper};
use super::result::{Call, Failure, LoadResult, Times, Why, at_most};
use super::socket::{Connecting, client, connect, pause};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use world::scenario::{ClosesWhen, How};

/// More workers than this make no load.
const MAX_WORKERS: u32 = 512;

/// The most turns of a load: the time of each is kept.
const MAX_TURNS: u32 = 1_000_000;

/// So often a worker that waits in connect() is woken when all are to stop: it may begin to wait just then.
const STOPS: Duration = Duration::from_millis(5);

/// Stack of a worker.
const STACK: usize = 128 << 10;

/// A load that runs, until it is done or ended.
#[derive(Debug)]
pub struct RunningLoad {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<Worker>>,
    sweeper: Option<Sweeper>,
}

#[derive(Debug)]
struct Shared {
    load: Load,
    pool: Arc<Pool>,
    closer: Arc<Closer>,
    stop: AtomicBool,
    next_turn: AtomicU32,
    /// Turns that have begun: others are waited for.
    begun: AtomicU32,
    pace: Pace,
    begin: Instant,
    /// By worker.
    connecting: Vec<Connecting>,
}

impl RunningLoad {
    /// Begins.
    pub fn start(load: Load) -> Result<Self, String> {
        if load.to.is_empty() {
            return Err("a load has nowhere to go".to_owned());
        }
        if load.turns > MAX_TURNS {
            return Err(format!("a load of {}: the kernel stage takes at most {MAX_TURNS}", load.turns));
        }
        if load.per_second.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
            return Err("the rate of a load is a number of turns a second above zero".to_owned());
        }
        let workers = load.concurrency.min(load.turns).clamp(1, MAX_WORKERS);
        let pool = Arc::new(Pool::default());
        let closer = Arc::new(Closer::new(load.close));
        let sweeper = Sweeper::start(&pool, &load, &closer);
        let shared = Arc::new(Shared {
            load,
            pool,
            closer,
            stop: AtomicBool::new(false),
            next_turn: AtomicU32::new(0),
            begun: AtomicU32::new(0),
            pace: Pace::default(),
            begin: Instant::now(),
            connecting: (0..workers).map(|_| Connecting::default()).collect(),
        });
        let mut running = Self { shared, workers: Vec::new(), sweeper };
        for number in 0..running.shared.connecting.len() {
            let shared = Arc::clone(&running.shared);
            let worker = std::thread::Builder::new().stack_size(STACK).spawn(move || {
                let mut worker = Worker { number, ..Worker::default() };
                worker.run(&shared);
                worker
            });
            running.workers.push(worker.map_err(|error| format!("a thread for a load: {error}"))?);
        }
        Ok(running)
    }

    /// True if every turn is over.
    pub fn is_done(&self) -> bool {
        self.workers.iter().all(JoinHandle::is_finished)
    }

    /// Stops it, whatever its workers wait for.
    fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        while !self.is_done() {
            self.shared.connecting.iter().for_each(Connecting::interrupt);
            self.workers.iter().for_each(|worker| self.shared.closer.interrupt(worker));
            std::thread::sleep(STOPS);
        }
    }

    /// Waits until it is done, or stops it now, and says what it came to, and what it leaves open.
    pub fn end(mut self, stop: bool) -> (LoadResult, Leftover) {
        if stop {
            self.stop();
        }
        let mut result = LoadResult::default();
        let (mut first, mut last) = (None, None);
        let (mut connects, mut answers, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for worker in std::mem::take(&mut self.workers) {
            // A worker that panicked has said so; what the others did counts.
            let Ok(worker) = worker.join() else { continue };
            let one = worker.result;
            result.turns += one.turns;
            result.connected += one.connected;
            result.answered += one.answered;
            result.broken += one.broken;
            result.connects_tried += one.connects_tried;
            result.connect_cpu_ns += one.connect_cpu_ns;
            first = first.into_iter().chain(worker.begun).min();
            last = last.max(worker.ended);
            for (what, count) in one.failures {
                *result.failures.entry(what).or_default() += count;
            }
            connects.extend(worker.connects);
            answers.extend(worker.answers);
            kept.extend(worker.kept);
        }
        let lasted =
            first.zip(last).map_or(Duration::ZERO, |(first, last)| last.saturating_duration_since(first));
        result.elapsed_us = u64::try_from(lasted.as_micros()).unwrap_or(u64::MAX);
        result.socket_ns = self.shared.pace.median();
        connects.sort_unstable();
        let mut times: Vec<u32> = connects.iter().map(|(_, time)| *time).collect();
        result.connect_tenths_us = tenths(&times);
        result.connect = Times::of(&mut times);
        result.answer = Times::of(&mut answers);
        let (pool, closer) = (Arc::clone(&self.shared.pool), Arc::clone(&self.shared.closer));
        (result, Leftover { pool, closer, kept, sweeper: self.sweeper.take() })
    }
}

impl Drop for RunningLoad {
    fn drop(&mut self) {
        self.stop();
        for worker in std::mem::take(&mut self.workers) {
            let _ = worker.join();
        }
    }
}

/// The median of each tenth.
fn tenths(times: &[u32]) -> Vec<u32> {
    if times.len() < 10 {
        return Vec::new();
    }
    let part = |tenth: usize| times[times.len() * tenth / 10..times.len() * (tenth + 1) / 10].to_vec();
    let median = |mut times: Vec<u32>| {
        times.sort_unstable();
        at_most(&times, 50)
    };
    (0..10).map(|tenth| median(part(tenth))).collect()
}

impl Shared {
    /// The next turn, when it is time for it; none when there is none any more.
    fn turn(&self) -> Option<u32> {
        let load = &self.load;
        let turn = self.next_turn.fetch_add(1, Ordering::Relaxed);
        if turn >= load.turns {
            return None;
        }
        let end = Duration::from_millis(load.for_ms);
        let burst = load.burst.max(1);
        let together = turn / burst * burst;
        let due = load
            .per_second
            .map_or(Duration::ZERO, |rate| Duration::from_secs_f64(f64::from(together) / rate));
        if due > end {
            return None;
        }
        loop {
            let now = self.begin.elapsed();
            if now > end || self.stop.load(Ordering::Relaxed) {
                return None;
            }
            if now >= due {
                self.begun.fetch_add(1, Ordering::Relaxed);
                return Some(turn);
            }
            std::thread::sleep(due.saturating_sub(now).min(Duration::from_millis(50)));
        }
    }

    /// True while turns are to begin: whoever thinks about the next request has one.
    fn goes_on(&self) -> bool {
        self.begun.load(Ordering::Relaxed) < self.load.turns && !self.stop.load(Ordering::Relaxed)
    }
}

/// What one thread does, and counts.
#[derive(Debug, Default)]
struct Worker {
    /// Its place among all.
    number: usize,
    result: LoadResult,
    connects: Vec<(u32, u32)>,
    answers: Vec<u32>,
    kept: Vec<OwnedFd>,
    /// When its first turn began, and when its last one ended.
    begun: Option<Instant>,
    ended: Option<Instant>,
}

impl Worker {
    fn run(&mut self, shared: &Shared) {
        while let Some(turn) = shared.turn() {
            self.result.turns += 1;
            self.begun.get_or_insert_with(Instant::now);
            let done = match shared.load.pool {
                None => self.connection(turn, shared),
                Some(most) => self.request(turn, most, shared),
            };
            if let Err(failure) = done
                && failure.why != Why::Stopped
            {
                *self.result.failures.entry(failure.name()).or_default() += 1;
            }
            self.ended = Some(Instant::now());
            shared.pace.look(shared.begin);
        }
    }

    /// A turn without a pool: a connection from its beginning to its end.
    fn connection(&mut self, turn: u32, shared: &Shared) -> Result<(), Failure> {
        let load = &shared.load;
        let mut connection = self.connect(turn, shared)?;
        while connection.answered < load.requests && !connection.over {
            if connection.answered > 0
                && let Err(stopped) = pause(load.think_ms, &shared.stop)
            {
                self.result.broken += 1;
                return Err(stopped);
            }
            let last = connection.answered + 1 >= load.requests;
            self.ask(&mut connection, last, shared)?;
        }
        if connection.answered < load.requests {
            self.result.broken += 1;
        }
        self.finish(connection, shared)
    }

    /// A turn with a pool: a request on a connection that there is, or on a new one.
    fn request(&mut self, turn: u32, most: u32, shared: &Shared) -> Result<(), Failure> {
        let mut connection = match shared.pool.take() {
            Some(connection) => connection,
            None => self.connect(turn, shared)?,
        };
        self.ask(&mut connection, false, shared)?;
        let close = shared.load.close;
        let useless = if connection.over {
            if close.when == ClosesWhen::Peer {
                return self.finish(connection, shared);
            }
            Some(connection)
        } else {
            if shared.goes_on() {
                let _ = pause(shared.load.think_ms, &shared.stop);
            }
            shared.pool.put(connection, most)
        };
        match useless {
            None => {}
            Some(useless) if close.when == ClosesWhen::Never => self.kept.push(useless.socket),
            Some(useless) => shared.closer.close(useless.socket, close.how.bare(), &shared.stop),
        }
        Ok(())
    }

    fn connect(&mut self, turn: u32, shared: &Shared) -> Result<Connection, Failure> {
        let load = &shared.load;
        let to = load.to[turn as usize % load.to.len()];
        let socket = client(&to, load, turn)?;
        let (socket, connecting) = (Arc::new(socket), &shared.connecting[self.number]);
        connecting.begin(&socket);
        let (connected, time, cpu) = connect(&socket, &to);
        connecting.end();
        self.result.connects_tried += 1;
        self.result.connect_cpu_ns += u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX);
        let stopped = Call::Connect.because(Why::Stopped);
        // Who stops it has ended the call, too.
        connected.map_err(|failure| if shared.stop.load(Ordering::Relaxed) { stopped } else { failure })?;
        self.result.connected += 1;
        self.connects.push((turn, microseconds(time)));
        Arc::into_inner(socket).map(Connection::new).ok_or(stopped)
    }

    /// A request and its answer. The connection is broken if that fails.
    fn ask(&mut self, connection: &mut Connection, last: bool, shared: &Shared) -> Result<(), Failure> {
        let begin = Instant::now();
        if let Err(failure) = connection.ask(&shared.load, last, &shared.stop) {
            self.result.broken += 1;
            return Err(failure);
        }
        if !(last && shared.load.close.how == How::Unread) {
            self.answers.push(microseconds(begin.elapsed()));
            self.result.answered += 1;
        }
        Ok(())
    }

    fn finish(&mut self, connection: Connection, shared: &Shared) -> Result<(), Failure> {
        self.kept.extend(connection.finish(&shared.load, &shared.closer, &shared.stop)?);
        Ok(())
    }
}

/// The nearest number of microseconds: what is cut off would be a tenth of a fast connect().
fn microseconds(time: Duration) -> u32 {
    u32::try_from(time.saturating_add(Duration::from_nanos(500)).as_micros()).unwrap_or(u32::MAX)
}
