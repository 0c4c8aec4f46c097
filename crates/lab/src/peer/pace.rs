//! How fast the machine is while a load runs.
//!
//! The same call takes twice as long a second later where processors are shared with others, or become hot. What a
//! load took says little without that; socket() and close() go through the kernel, too, and nothing of the load's
//! scenario changes what they take.

use super::socket::thread_cpu;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// From one look to the next: a look takes 10 to 20 us of it.
const BETWEEN: Duration = Duration::from_millis(1);

/// So many sockets are opened and closed at a look,
const SOCKETS: u32 = 4;
/// behind so many that bring code and memory into the caches.
const FIRST: u32 = 1;

/// Looks of all workers of a load: no more than it has turns.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Nanoseconds from the begin of the load to the next look.
    next: AtomicU64,
    /// What a socket took at each look, in nanoseconds.
    looks: Mutex<Vec<u32>>,
}

impl Pace {
    /// Looks, if it is time to.
    pub(super) fn look(&self, begin: Instant) {
        let now = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let due = self.next.load(Ordering::Relaxed);
        let next = now.saturating_add(u64::try_from(BETWEEN.as_nanos()).unwrap_or(u64::MAX));
        // One of all workers does it.
        if now < due || self.next.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        let Some(taken) = sockets(FIRST).and_then(|_| sockets(SOCKETS)) else { return };
        if let Ok(mut looks) = self.looks.lock() {
            looks.push(u32::try_from(taken.as_nanos()).unwrap_or(u32::MAX) / SOCKETS);
        }
    }

    /// The median in nanoseconds; none without a look.
    pub(super) fn median(&self) -> Option<u32> {
        let mut looks = self.looks.lock().ok()?;
        looks.sort_unstable();
        looks.get(looks.len() / 2).copied()
    }
}

/// Processor time of so many sockets, opened and closed; none where there can be none.
fn sockets(count: u32) -> Option<Duration> {
    let begin = thread_cpu();
    for _ in 0..count {
        rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).ok()?;
    }
    Some(thread_cpu().saturating_sub(begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_look_is_taken_when_it_is_time() {
        let pace = Pace::default();
        assert_eq!(pace.median(), None);
        let begin = Instant::now();
        pace.look(begin);
        let taken = pace.median().unwrap();
        assert!(taken > 0);
        // The next one is due later, whenever this test comes to it.
        pace.next.store(u64::MAX, Ordering::Relaxed);
        pace.look(begin);
        assert_eq!(pace.looks.lock().unwrap().len(), 1);
        pace.next.store(0, Ordering::Relaxed);
        pace.look(begin);
        assert_eq!(pace.looks.lock().unwrap().len(), 2);
    }
}
