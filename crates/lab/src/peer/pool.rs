//! Connections that a client keeps for its next requests.

use super::Load;
use super::closing::Closer;
use super::connection::Connection;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// So often it is looked for connections that were idle for too long.
const SWEEP: Duration = Duration::from_millis(5);

#[derive(Debug, Default)]
pub(super) struct Pool {
    idle: Mutex<Vec<(Connection, Instant)>>,
}

impl Pool {
    fn idle(&self) -> MutexGuard<'_, Vec<(Connection, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection that was used last. Those that the server has closed meanwhile are closed, too.
    pub(super) fn take(&self) -> Option<Connection> {
        loop {
            let (connection, _) = self.idle().pop()?;
            if !connection.is_stale() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection, or gives it back if there is no room.
    pub(super) fn put(&self, connection: Connection, most: u32) -> Option<Connection> {
        let mut idle = self.idle();
        if idle.len() >= most as usize {
            return Some(connection);
        }
        idle.push((connection, Instant::now()));
        None
    }

    /// Closes what was idle for so long.
    fn sweep(&self, longest: Duration, load: &Load, closer: &Closer, stop: &AtomicBool) {
        let mut old = Vec::new();
        {
            let mut idle = self.idle();
            let mut place = 0;
            while place < idle.len() {
                if idle[place].1.elapsed() >= longest {
                    old.push(idle.remove(place).0);
                } else {
                    place += 1;
                }
            }
        }
        for connection in old {
            closer.close(connection.socket, load.close.how.bare(), stop);
        }
    }
}

/// What a load that is done leaves open: its pool, which goes on to close what is idle for too long, and what it is
/// never to close. Dropping it closes all.
#[derive(Debug)]
#[expect(dead_code, reason = "it is there to be dropped")]
pub struct Leftover {
    pub(super) sweeper: Option<Sweeper>,
    pub(super) pool: Arc<Pool>,
    pub(super) closer: Arc<Closer>,
    pub(super) kept: Vec<OwnedFd>,
}

/// The thread that closes idle connections.
#[derive(Debug)]
pub(super) struct Sweeper {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sweeper {
    pub(super) fn start(pool: &Arc<Pool>, load: &Load, closer: &Arc<Closer>) -> Option<Self> {
        let longest = Duration::from_millis(load.pool_idle_ms?);
        let stop = Arc::new(AtomicBool::new(false));
        let (pool, load, closer) = (Arc::clone(pool), load.clone(), Arc::clone(closer));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                pool.sweep(longest, &load, &closer, &told);
                std::thread::sleep(SWEEP);
            }
        });
        Some(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
