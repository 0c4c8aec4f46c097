//! A server: one thread accepts, others serve a connection each.

use super::closing::{await_end, close};
use super::result::{Call, Failure, ServerResult, Why};
use super::socket::{accept, await_readable, listen, receive, send};
use super::wire::Asked;
use super::{How, Server};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

/// More threads than this serve nobody.
const MAX_WORKERS: u32 = 512;

/// Stack of a thread that serves.
const STACK: usize = 128 << 10;

/// A server that runs, until it is ended or dropped.
#[derive(Debug)]
pub struct RunningServer {
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
    /// Listens even if nobody accepts.
    _listener: Arc<OwnedFd>,
}

#[derive(Debug)]
struct Shared {
    server: Server,
    stop: AtomicBool,
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    result: ServerResult,
    forgotten: Vec<OwnedFd>,
    waiting: Option<OwnedFd>,
    idle: u32,
    workers: Vec<JoinHandle<()>>,
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic while it is held is a defect that its own thread reports; what is counted stays counted.
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl RunningServer {
    /// Listens, and begins to accept.
    pub fn start(server: Server) -> Result<Self, String> {
        let listener = listen(&server).map_err(|failure| format!("{}: {}", server.listen, failure.name()))?;
        let listener = Arc::new(listener);
        let accepts = server.accepts;
        let shared = Arc::new(Shared {
            server,
            stop: AtomicBool::new(false),
            inner: Mutex::default(),
            changed: Condvar::new(),
        });
        let acceptor = accepts.then(|| {
            let (shared, listener) = (Arc::clone(&shared), Arc::clone(&listener));
            std::thread::spawn(move || accept_all(&shared, &listener))
        });
        Ok(Self { shared, acceptor, _listener: listener })
    }

    /// Stops, closes what was forgotten, and says what was seen.
    pub fn end(mut self) -> Result<ServerResult, String> {
        self.stop();
        let mut inner = self.shared.inner();
        inner.result.forgotten = inner.forgotten.len() as u64;
        inner.forgotten.clear();
        Ok(std::mem::take(&mut inner.result))
    }

    fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.changed.notify_all();
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        let workers = std::mem::take(&mut self.shared.inner().workers);
        self.shared.changed.notify_all();
        for worker in workers {
            let _ = worker.join();
        }
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Takes a connection only when a worker is free for it: the others wait in the kernel's queue.
fn accept_all(shared: &Arc<Shared>, listener: &OwnedFd) {
    let most = shared.server.workers.clamp(1, MAX_WORKERS) as usize;
    loop {
        let mut inner = shared.inner();
        while inner.waiting.is_some() || (inner.idle == 0 && inner.workers.len() >= most) {
            if shared.stop.load(Ordering::Relaxed) {
                return;
            }
            inner = shared
                .changed
                .wait_timeout(inner, Duration::from_millis(50))
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .0;
        }
        drop(inner);
        match accept(listener, &shared.stop) {
            Ok(Some(connection)) => {
                let mut inner = shared.inner();
                inner.result.accepted += 1;
                inner.waiting = Some(connection);
                if inner.idle == 0 {
                    let shared = Arc::clone(shared);
                    let worker = std::thread::Builder::new().stack_size(STACK).spawn(move || work(&shared));
                    match worker {
                        Ok(worker) => inner.workers.push(worker),
                        Err(_) => inner.waiting = None,
                    }
                } else {
                    shared.changed.notify_all();
                }
            }
            Ok(None) => return,
            Err(error) => {
                let name = Call::Recv.failed(error).name().replace("recv", "accept");
                *shared.inner().result.failures.entry(name).or_default() += 1;
                // Out of files, perhaps: they are not back at once.
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

fn work(shared: &Shared) {
    loop {
        let mut inner = shared.inner();
        inner.idle += 1;
        let connection = loop {
            if let Some(connection) = inner.waiting.take() {
                break connection;
            }
            if shared.stop.load(Ordering::Relaxed) {
                return;
            }
            inner = shared.changed.wait(inner).unwrap_or_else(std::sync::PoisonError::into_inner);
        };
        inner.idle -= 1;
        drop(inner);
        shared.changed.notify_all();
        let mut served = Connection { shared, received: Vec::new(), answered: 0 };
        let end = served.serve(&connection);
        let answered = u64::from(served.answered);
        let mut inner = shared.inner();
        inner.result.answered += answered;
        match end {
            End::Client if shared.server.closes.forgets => {
                inner.result.closed_by_client += 1;
                inner.forgotten.push(connection);
            }
            End::Client => {
                inner.result.closed_by_client += 1;
                drop(inner);
                close(connection, shared.server.closes.how, &shared.stop);
            }
            End::Server => {
                drop(inner);
                close(connection, shared.server.closes.how, &shared.stop);
            }
            End::Failed(failure) => {
                if failure.why != Why::Stopped {
                    *inner.result.failures.entry(failure.name()).or_default() += 1;
                }
                drop(inner);
                drop(connection);
            }
        }
    }
}

/// Why serving a connection is over.
enum End {
    /// The client has closed.
    Client,
    /// It is for the server to close now.
    Server,
    /// There is nothing to close any more.
    Failed(Failure),
}

struct Connection<'a> {
    shared: &'a Shared,
    received: Vec<u8>,
    answered: u32,
}

impl Connection<'_> {
    fn serve(&mut self, socket: &OwnedFd) -> End {
        match self.talk(socket) {
            Ok(end) => end,
            Err(failure) => End::Failed(failure),
        }
    }

    fn talk(&mut self, socket: &OwnedFd) -> Result<End, Failure> {
        let Server { wire, delay_ms, closes, .. } = &self.shared.server;
        loop {
            if closes.after == Some(self.answered) {
                return self.last_word(socket);
            }
            match self.request(socket) {
                Ok(Some(Asked::Request { close, .. })) => {
                    let asked = close && closes.when_asked;
                    let last = asked || closes.after == Some(self.answered + 1);
                    pause(*delay_ms);
                    // The FIN is to follow at once, but with these calls none does.
                    let more = last && closes.with_answer && closes.how == How::Close;
                    send(socket, &wire.answer(last), more)?;
                    self.answered += 1;
                    if asked {
                        return self.last_word(socket);
                    }
                }
                Ok(Some(Asked::Done)) => return self.last_word(socket),
                Ok(None) => return Ok(End::Client),
                Err(Failure { call: Call::Recv, why: Why::Timeout }) => return Ok(End::Server),
                Err(failure) => return Err(failure),
            }
        }
    }

    /// The next request; none if the client has closed.
    fn request(&mut self, socket: &OwnedFd) -> Result<Option<Asked>, Failure> {
        let Server { wire, closes, .. } = &self.shared.server;
        let idle = closes.idle_ms.map(|idle| Duration::from_millis(idle.into()));
        loop {
            let garbled = |_| Call::Recv.because(Why::Garbled);
            if let Some(asked) = wire.asked(&self.received).map_err(garbled)? {
                if let Asked::Request { bytes, .. } = asked {
                    self.received.drain(..bytes);
                }
                return Ok(Some(asked));
            }
            await_readable(socket, idle, &self.shared.stop)?;
            if receive(socket, &mut self.received)? == 0 {
                return Ok(None);
            }
        }
    }

    /// The end of the conversation: a goodbye and the client closes, or the server does.
    fn last_word(&self, socket: &OwnedFd) -> Result<End, Failure> {
        let Server { wire, closes, .. } = &self.shared.server;
        if let Some(patience) = closes.goodbye_ms {
            if let Some(goodbye) = wire.goodbye() {
                send(socket, goodbye, false)?;
            }
            let patience = Duration::from_millis(patience.into());
            return Ok(if await_end(socket, patience, &self.shared.stop) {
                End::Client
            } else {
                End::Server
            });
        }
        pause(closes.delay_ms);
        Ok(End::Server)
    }
}

/// Waits for as many milliseconds.
pub(super) fn pause(milliseconds: u32) {
    if milliseconds > 0 {
        std::thread::sleep(Duration::from_millis(milliseconds.into()));
    }
}
