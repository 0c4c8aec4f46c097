//! The ways to close.

use super::result::{Call, Failure, Why};
use super::socket::{await_readable, receive, receive_now};
use nix::sys::pthread::pthread_kill;
use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{Shutdown, shutdown, sockopt};
use signal_hook::{consts::SIGUSR1, flag};
use std::os::fd::OwnedFd;
use std::os::unix::thread::JoinHandleExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use world::scenario::{Close, How};

/// A side that waits for bytes that it will not read waits so long at most.
const PATIENCE: Duration = Duration::from_secs(120);

/// True once this process lives through the signal that wakes who waits in close().
static WOKEN: OnceLock<bool> = OnceLock::new();

/// So often sockets that are shut down are looked at, at least.
const LOOKS: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };

/// Reads and drops what comes until the peer has closed.
pub(super) fn await_end(socket: &OwnedFd, at_most: Duration, stop: &AtomicBool) -> Result<(), Failure> {
    let mut ignored = Vec::new();
    loop {
        await_readable(socket, Some(at_most), stop)?;
        if receive(socket, &mut ignored)? == 0 {
            return Ok(());
        }
        ignored.clear();
    }
}

impl Failure {
    /// True if the time was over.
    pub(super) fn is_timeout(self) -> bool {
        self == Call::Recv.because(Why::Timeout)
    }
}

/// Closes sockets. Those that are shut down are held until their peer has closed, too, without keeping anybody.
#[derive(Debug)]
pub(super) struct Closer {
    /// SO_LINGER: close() waits so long for the acknowledgement of its FIN.
    linger: Option<Duration>,
    shut_down: Arc<Mutex<Vec<OwnedFd>>>,
    stop: Arc<AtomicBool>,
    holder: Mutex<Option<JoinHandle<()>>>,
}

impl Closer {
    /// Closes as it is told.
    pub(super) fn new(close: Close) -> Self {
        let linger = close.linger_s.filter(|_| close.how == How::Linger);
        if linger.is_some() {
            let _ = WOKEN.get_or_init(|| flag::register(SIGUSR1, Arc::default()).is_ok());
        }
        Self {
            linger: linger.map(|seconds| Duration::from_secs(seconds.into())),
            shut_down: Arc::default(),
            stop: Arc::default(),
            holder: Mutex::default(),
        }
    }

    /// True if a close() may wait.
    pub(super) const fn lingers(&self) -> bool {
        self.linger.is_some()
    }

    /// Lets a thread go on that waits in close(): any signal ends that wait, and the rest of the close goes on without
    /// it (net/core/stream.c sk_stream_wait_close()). Nothing else could: the descriptor is gone.
    pub(super) fn interrupt<T>(&self, thread: &JoinHandle<T>) {
        if self.linger.is_some() && WOKEN.get() == Some(&true) && !thread.is_finished() {
            // A thread that has just ended has nothing to wait for.
            let _ = pthread_kill(thread.as_pthread_t(), Signal::SIGUSR1);
        }
    }

    /// Closes. A goodbye that was answered is followed by a plain close().
    pub(super) fn close(&self, socket: OwnedFd, how: How, stop: &AtomicBool) {
        match how {
            How::Fin | How::Goodbye => {}
            How::Shutdown => {
                if shutdown(&socket, Shutdown::Write).is_ok() {
                    self.hold(socket);
                    return;
                }
            }
            How::Reset => {
                // A socket that the peer has reset already takes no options any more, and needs none.
                let _ = sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
            }
            How::Linger => {
                let _ = sockopt::set_socket_linger(&socket, self.linger);
            }
            How::Unread => {
                let _ = await_readable(&socket, Some(PATIENCE), stop);
            }
        }
        drop(socket);
    }

    fn hold(&self, socket: OwnedFd) {
        self.shut_down.lock().unwrap_or_else(PoisonError::into_inner).push(socket);
        let mut holder = self.holder.lock().unwrap_or_else(PoisonError::into_inner);
        if holder.is_none() {
            let (sockets, stop) = (Arc::clone(&self.shut_down), Arc::clone(&self.stop));
            *holder = Some(std::thread::spawn(move || close_second(&sockets, &stop)));
        }
    }
}

impl Drop for Closer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let holder = self.holder.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(holder) = holder {
            let _ = holder.join();
        }
    }
}

/// Closes each socket when its peer has.
fn close_second(sockets: &Mutex<Vec<OwnedFd>>, stop: &AtomicBool) {
    let mut held = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        held.append(&mut sockets.lock().unwrap_or_else(PoisonError::into_inner));
        let mut wanted: Vec<PollFd<'_>> = held.iter().map(|held| PollFd::new(held, PollFlags::IN)).collect();
        let ready: Vec<bool> = match poll(&mut wanted, Some(&LOOKS)) {
            Ok(_) => wanted.iter().map(|one| !one.revents().is_empty()).collect(),
            Err(_) => vec![false; held.len()],
        };
        let mut ready = ready.into_iter();
        held.retain(|socket| !(ready.next() == Some(true) && is_over(socket)));
    }
}

/// Reads and drops what there is; true if it was the end.
fn is_over(socket: &OwnedFd) -> bool {
    let mut ignored = Vec::new();
    loop {
        match receive_now(socket, &mut ignored) {
            Ok(Some(0)) | Err(_) => return true,
            Ok(Some(_)) => ignored.clear(),
            Ok(None) => return false,
        }
    }
}
