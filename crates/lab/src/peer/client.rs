//! Clients: so many turns, paced or as fast as they go, by so many workers.

use super::closing::{await_end, close};
use super::result::{Call, Failure, LoadResult, Times, Why};
use super::server::pause;
use super::socket::{await_readable, client, connect, receive, send};
use super::wire::Answered;
use super::{How, Load, When};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// More workers than this make no load.
const MAX_WORKERS: u32 = 512;

/// The most turns of a load: the time of each is kept.
const MAX_TURNS: u64 = 1_000_000;

/// Stack of a worker.
const STACK: usize = 128 << 10;

/// A load that runs, until it is done or ended.
#[derive(Debug)]
pub struct RunningLoad {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<Worker>>,
    begin: Instant,
}

#[derive(Debug)]
struct Shared {
    load: Load,
    stop: AtomicBool,
    next_turn: AtomicU64,
    failed_in_a_row: AtomicU64,
    begin: Instant,
}

impl RunningLoad {
    /// Begins.
    pub fn start(load: Load) -> Result<Self, String> {
        if load.to.is_empty() {
            return Err("a load has nowhere to go".to_owned());
        }
        if load.count > MAX_TURNS {
            return Err(format!("a load of {} turns: at most {MAX_TURNS}", load.count));
        }
        if load.rate.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
            return Err("the rate of a load is a number of turns a second above zero".to_owned());
        }
        let workers = load.concurrency.clamp(1, MAX_WORKERS);
        let begin = Instant::now();
        let shared = Arc::new(Shared {
            load,
            stop: AtomicBool::new(false),
            next_turn: AtomicU64::new(0),
            failed_in_a_row: AtomicU64::new(0),
            begin,
        });
        let mut running = Self { shared, workers: Vec::new(), begin };
        for _ in 0..workers {
            let shared = Arc::clone(&running.shared);
            let worker = std::thread::Builder::new().stack_size(STACK).spawn(move || {
                let mut worker = Worker::default();
                worker.run(&shared);
                worker
            });
            running.workers.push(worker.map_err(|error| format!("a thread for a load: {error}"))?);
        }
        Ok(running)
    }

    /// Waits until it is done, or stops it now, and says what it came to. Connections that are not to be closed are
    /// given back with it.
    pub fn end(mut self, stop: bool) -> (LoadResult, Vec<OwnedFd>) {
        if stop {
            self.shared.stop.store(true, Ordering::Relaxed);
        }
        let mut result = LoadResult::default();
        let (mut connects, mut answers, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for worker in std::mem::take(&mut self.workers) {
            // A worker that panicked has said so; what the others did counts.
            let Ok(worker) = worker.join() else { continue };
            let one = worker.result;
            result.turns += one.turns;
            result.connected += one.connected;
            result.answered += one.answered;
            result.connect_cpu_us += one.connect_cpu_us;
            for (what, count) in one.failures {
                *result.failures.entry(what).or_default() += count;
            }
            connects.extend(worker.connects);
            answers.extend(worker.answers);
            kept.extend(worker.kept);
        }
        result.elapsed_ms = u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        connects.sort_unstable();
        let mut times: Vec<u32> = connects.iter().map(|(_, time)| *time).collect();
        result.connect_tenths_us = tenths(&times);
        result.connect = Times::of(&mut times);
        result.answer = Times::of(&mut answers);
        (result, kept)
    }
}

impl Drop for RunningLoad {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
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
    let part = |tenth: usize| &times[times.len() * tenth / 10..times.len() * (tenth + 1) / 10];
    (0..10).map(|tenth| Times::of(&mut part(tenth).to_vec()).p50_us).collect()
}

impl Shared {
    /// The next turn, when it is time for it; none when there is none any more.
    fn turn(&self) -> Option<u64> {
        let load = &self.load;
        let turn = self.next_turn.fetch_add(1, Ordering::Relaxed);
        if turn >= load.count {
            return None;
        }
        let end = Duration::from_millis(load.at_most_ms);
        let due = load.rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(turn as f64 / rate));
        if due > end {
            return None;
        }
        loop {
            let now = self.begin.elapsed();
            let failed = self.failed_in_a_row.load(Ordering::Relaxed);
            let gives_up = load.gives_up_after.is_some_and(|most| failed >= most);
            if now > end || gives_up || self.stop.load(Ordering::Relaxed) {
                return None;
            }
            if now >= due {
                return Some(turn);
            }
            std::thread::sleep(due.saturating_sub(now).min(Duration::from_millis(50)));
        }
    }
}

/// What one thread does, and counts.
#[derive(Debug, Default)]
struct Worker {
    result: LoadResult,
    connects: Vec<(u64, u32)>,
    answers: Vec<u32>,
    pooled: Option<Connection>,
    kept: Vec<OwnedFd>,
}

#[derive(Debug)]
struct Connection {
    socket: OwnedFd,
    received: Vec<u8>,
    requests: u32,
    /// The server has said that it, or that the client, is to close now.
    over: bool,
}

impl Worker {
    fn run(&mut self, shared: &Shared) {
        while let Some(turn) = shared.turn() {
            self.result.turns += 1;
            let done =
                if shared.load.pooled { self.request(turn, shared) } else { self.connection(turn, shared) };
            if let Err(failure) = done
                && failure.why != Why::Stopped
            {
                *self.result.failures.entry(failure.name()).or_default() += 1;
            }
        }
        if let Some(connection) = self.pooled.take() {
            let _ = self.finish(connection, shared);
        }
    }

    /// A turn without a pool: a connection from its beginning to its end.
    fn connection(&mut self, turn: u64, shared: &Shared) -> Result<(), Failure> {
        let load = &shared.load;
        let mut connection = self.connect(turn, shared)?;
        while connection.requests < load.requests && !connection.over {
            if connection.requests > 0 {
                pause(load.pause_ms);
            }
            self.ask(&mut connection, shared)?;
        }
        self.finish(connection, shared)
    }

    /// A turn with a pool: a request on the connection that there is, or on a new one.
    fn request(&mut self, turn: u64, shared: &Shared) -> Result<(), Failure> {
        let mut connection = match self.pooled.take() {
            Some(connection) => connection,
            None => self.connect(turn, shared)?,
        };
        self.ask(&mut connection, shared)?;
        if connection.over || connection.requests >= shared.load.requests {
            return self.finish(connection, shared);
        }
        pause(shared.load.pause_ms);
        self.pooled = Some(connection);
        Ok(())
    }

    fn connect(&mut self, turn: u64, shared: &Shared) -> Result<Connection, Failure> {
        let load = &shared.load;
        let targets = load.to.len() as u64;
        let to = load.to[usize::try_from(turn % targets).unwrap_or(0)];
        let milliseconds = |of: u32| Duration::from_millis(of.max(1).into());
        let timeouts = (milliseconds(load.connect_timeout_ms), milliseconds(load.answer_timeout_ms));
        let connected = client(&to, load.bind.as_ref(), turn, timeouts).and_then(|socket| {
            let (connected, time, cpu) = connect(&socket, &to);
            self.result.connect_cpu_us += u64::from(microseconds(cpu));
            connected.map(|()| (socket, time))
        });
        match connected {
            Ok((socket, time)) => {
                shared.failed_in_a_row.store(0, Ordering::Relaxed);
                self.result.connected += 1;
                self.connects.push((turn, microseconds(time)));
                Ok(Connection { socket, received: Vec::new(), requests: 0, over: false })
            }
            Err(failure) => {
                shared.failed_in_a_row.fetch_add(1, Ordering::Relaxed);
                Err(failure)
            }
        }
    }

    /// A request and its answer.
    fn ask(&mut self, connection: &mut Connection, shared: &Shared) -> Result<(), Failure> {
        let load = &shared.load;
        connection.requests += 1;
        let last = connection.requests >= load.requests;
        let begin = Instant::now();
        send(&connection.socket, &load.wire.request(last && load.closes.when == When::Done), false)?;
        if last && load.closes.how == How::Unread {
            // The answer comes, and is what nobody reads.
            return Ok(());
        }
        loop {
            let garbled = |_| Call::Recv.because(Why::Garbled);
            match load.wire.answered(&connection.received).map_err(garbled)? {
                Some(Answered::Answer { close, bytes }) => {
                    connection.received.drain(..bytes);
                    connection.over |= close;
                    break;
                }
                Some(Answered::Goodbye) => {
                    connection.over = true;
                    return Ok(());
                }
                Some(Answered::UntilEnd) => {
                    while receive(&connection.socket, &mut connection.received)? > 0 {}
                    connection.over = true;
                    break;
                }
                None if receive(&connection.socket, &mut connection.received)? == 0 => {
                    return Err(Call::Recv.because(Why::End));
                }
                None => {}
            }
        }
        self.result.answered += 1;
        self.answers.push(microseconds(begin.elapsed()));
        Ok(())
    }

    /// Closes, or waits until it is time to.
    fn finish(&mut self, mut connection: Connection, shared: &Shared) -> Result<(), Failure> {
        let load = &shared.load;
        let patience = Duration::from_millis(load.answer_timeout_ms.max(1).into());
        match load.closes.when {
            When::First => {}
            When::Second => {
                if !await_end(&connection.socket, patience, &shared.stop) {
                    return Err(Call::Recv.because(Why::Timeout));
                }
            }
            When::Done | When::Goodbye => {
                if load.closes.when == When::Done
                    && !connection.over
                    && let Some(done) = load.wire.done()
                {
                    send(&connection.socket, done, false)?;
                }
                while !connection.over {
                    let garbled = |_| Call::Recv.because(Why::Garbled);
                    if load.wire.answered(&connection.received).map_err(garbled)? == Some(Answered::Goodbye) {
                        break;
                    }
                    await_readable(&connection.socket, Some(patience), &shared.stop)?;
                    if receive(&connection.socket, &mut connection.received)? == 0 {
                        return Err(Call::Recv.because(Why::End));
                    }
                }
            }
            When::Never => {
                self.kept.push(connection.socket);
                return Ok(());
            }
        }
        pause(load.closes.delay_ms);
        close(connection.socket, load.closes.how, &shared.stop);
        Ok(())
    }
}

fn microseconds(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}
