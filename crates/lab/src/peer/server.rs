//! A server: one thread accepts, others serve a connection each.

use super::Server;
use super::closing::{Closer, await_end};
use super::http::{self, Head, Then};
use super::result::{Call, Failure, ServerResult, Why};
use super::socket::{Patience, accept, await_readable, keep_alive, listen, pause, receive, send, send_body};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;
use world::scenario::{ClosesWhen, How};

/// More threads than this serve nobody.
const MAX_WORKERS: usize = 512;

/// So often a thread that may wait in close() is woken when all are to stop.
const STOPS: Duration = Duration::from_millis(5);

/// Stack of a thread that serves.
const STACK: usize = 128 << 10;

/// A server that runs, until it is ended or dropped.
#[derive(Debug)]
pub struct RunningServer {
    shared: Arc<Shared>,
    acceptors: Vec<JoinHandle<()>>,
    /// They listen even if nobody accepts.
    listeners: Vec<Arc<OwnedFd>>,
}

#[derive(Debug)]
struct Shared {
    server: Server,
    stop: AtomicBool,
    inner: Mutex<Inner>,
    changed: Condvar,
    closer: Closer,
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
        let mut listeners = Vec::new();
        for at in &server.listen {
            let listener = listen(&server, at).map_err(|failure| format!("{at}: {}", failure.name()))?;
            listeners.push(Arc::new(listener));
        }
        let accepts = server.accepts;
        let shared = Arc::new(Shared {
            closer: Closer::new(server.close),
            server,
            stop: AtomicBool::new(false),
            inner: Mutex::default(),
            changed: Condvar::new(),
        });
        // Dropped, it stops: those that began before one that cannot.
        let mut running = Self { shared, acceptors: Vec::new(), listeners };
        for listener in running.listeners.iter().filter(|_| accepts) {
            let (shared, listener) = (Arc::clone(&running.shared), Arc::clone(listener));
            let acceptor =
                std::thread::Builder::new().stack_size(STACK).spawn(move || accept_all(&shared, &listener));
            let acceptor = acceptor.map_err(|error| format!("a thread for a listener: {error}"))?;
            running.acceptors.push(acceptor);
        }
        Ok(running)
    }

    /// Stops, closes what was forgotten, and says what was seen.
    pub fn end(mut self) -> ServerResult {
        self.stop();
        let mut inner = self.shared.inner();
        inner.result.forgotten = inner.forgotten.len() as u64;
        inner.forgotten.clear();
        std::mem::take(&mut inner.result)
    }

    fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.changed.notify_all();
        for acceptor in self.acceptors.drain(..) {
            let _ = acceptor.join();
        }
        self.listeners.clear();
        let workers = std::mem::take(&mut self.shared.inner().workers);
        self.shared.changed.notify_all();
        for worker in workers {
            while !worker.is_finished() && self.shared.closer.lingers() {
                self.shared.closer.interrupt(&worker);
                std::thread::sleep(STOPS);
            }
            let _ = worker.join();
        }
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// Waits until a worker is free for a connection; none if it is to stop.
    fn place(&self) -> Option<MutexGuard<'_, Inner>> {
        let most =
            self.server.workers.and_then(|workers| usize::try_from(workers).ok()).unwrap_or(MAX_WORKERS);
        let most = most.clamp(1, MAX_WORKERS);
        let mut inner = self.inner();
        while inner.waiting.is_some() || (inner.idle == 0 && inner.workers.len() >= most) {
            if self.stop.load(Ordering::Relaxed) {
                return None;
            }
            inner = self
                .changed
                .wait_timeout(inner, Duration::from_millis(50))
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .0;
        }
        Some(inner)
    }
}

/// Takes a connection only when a worker is free for it: the others wait in the kernel's queue.
fn accept_all(shared: &Arc<Shared>, listener: &OwnedFd) {
    loop {
        if shared.place().is_none() {
            return;
        }
        match accept(listener, &shared.stop) {
            Ok(Some(connection)) => {
                if let Some(times) = shared.server.keepalive_s {
                    keep_alive(&connection, times);
                }
                // On another port somebody may have been faster.
                let Some(mut inner) = shared.place() else { return };
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
                let name = Call::Accept.failed(error).name();
                *shared.inner().result.failures.entry(name).or_default() += 1;
                if shared.stop.load(Ordering::Relaxed) {
                    return;
                }
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
        let mut served = Served { shared, received: Vec::new(), answered: 0 };
        let end = served.talk(&connection).unwrap_or_else(End::Failed);
        let answered = u64::from(served.answered);
        let how = shared.server.close.how;
        let mut inner = shared.inner();
        inner.result.answered += answered;
        match end {
            End::Client if shared.server.close.when == ClosesWhen::Never => {
                inner.result.closed_by_client += 1;
                inner.forgotten.push(connection);
            }
            End::Client => {
                inner.result.closed_by_client += 1;
                drop(inner);
                if shared.server.close.when == ClosesWhen::Peer {
                    let _ = pause(shared.server.close.after_ms, &shared.stop);
                }
                shared.closer.close(connection, how, &shared.stop);
            }
            End::Server(how) => {
                drop(inner);
                shared.closer.close(connection, how, &shared.stop);
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
    Server(How),
    /// There is nothing to close any more.
    Failed(Failure),
}

/// A request.
struct Asked {
    old: bool,
    goodbye: bool,
}

struct Served<'a> {
    shared: &'a Shared,
    received: Vec<u8>,
    answered: u32,
}

impl Served<'_> {
    fn talk(&mut self, socket: &OwnedFd) -> Result<End, Failure> {
        let Server { answer, close, .. } = &self.shared.server;
        loop {
            let asked = match self.request(socket) {
                Ok(Some(asked)) => asked,
                Ok(None) => return Ok(End::Client),
                Err(failure) if failure.is_timeout() => return Ok(End::Server(close.how)),
                Err(failure) => return Err(failure),
            };
            let last = close.when == ClosesWhen::Requests && self.answered + 1 >= close.requests;
            let goodbye = asked.goodbye && close.when != ClosesWhen::Never;
            let then = match (last || goodbye, close.how) {
                (false, _) if answer.length => Then::More,
                (true, How::Goodbye) => Then::Goodbye,
                _ => Then::Closes,
            };
            pause(answer.after_ms, &self.shared.stop)?;
            let (begun, rest) = http::answer(asked.old, *answer, then);
            // What is held back goes out with the FIN that follows at once.
            let with_fin = answer.with_fin && then == Then::Closes;
            let patience = Patience::new(None, &self.shared.stop);
            send(socket, &begun, with_fin || rest > 0, &patience)?;
            send_body(socket, rest, with_fin, &patience)?;
            self.answered += 1;
            match then {
                Then::More => {}
                Then::Closes => {
                    if !with_fin {
                        // Who was told that nothing more comes need not wait for it.
                        let after = if close.when == ClosesWhen::Idle { 0 } else { close.after_ms };
                        let _ = pause(after, &self.shared.stop);
                    }
                    return Ok(End::Server(close.how));
                }
                Then::Goodbye => return Ok(self.goodbye(socket)),
            }
        }
    }

    /// The next request; none if the client has closed.
    fn request(&mut self, socket: &OwnedFd) -> Result<Option<Asked>, Failure> {
        let Server { answer, close, .. } = &self.shared.server;
        let idle = (close.when == ClosesWhen::Idle).then(|| Duration::from_millis(close.after_ms));
        if answer.unread {
            await_readable(socket, idle, &self.shared.stop)?;
            return Ok(Some(Asked { old: false, goodbye: false }));
        }
        loop {
            let garbled = |_| Call::Recv.because(Why::Garbled);
            if let Some(head) = Head::of(&self.received).map_err(garbled)? {
                self.received.drain(..head.bytes);
                self.body(socket, head.body.unwrap_or(0))?;
                return Ok(Some(Asked { old: head.old, goodbye: head.goodbye }));
            }
            await_readable(socket, idle, &self.shared.stop)?;
            if receive(socket, &mut self.received)? == 0 {
                return Ok(None);
            }
        }
    }

    /// Reads a body, and keeps nothing of it.
    fn body(&mut self, socket: &OwnedFd, mut left: usize) -> Result<(), Failure> {
        loop {
            let part = left.min(self.received.len());
            self.received.drain(..part);
            left -= part;
            if left == 0 {
                return Ok(());
            }
            await_readable(socket, None, &self.shared.stop)?;
            if receive(socket, &mut self.received)? == 0 {
                return Err(Call::Recv.because(Why::End));
            }
        }
    }

    /// The client was asked to close: it does, or is reset.
    fn goodbye(&self, socket: &OwnedFd) -> End {
        let patience = Duration::from_millis(self.shared.server.close.after_ms.max(1));
        match await_end(socket, patience, &self.shared.stop) {
            Ok(()) => End::Client,
            Err(failure) if failure.is_timeout() => End::Server(How::Reset),
            Err(failure) => End::Failed(failure),
        }
    }
}
