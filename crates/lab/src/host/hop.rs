//! A link of a host that this process carries: what comes out of one TAP device goes into another. It is where the
//! timestamps of a host with a clock of its own are moved, and where segments are held back.

use super::Delay;
use super::clock::{ETHERNET, Which, shift};
use crate::differential::decode;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tappers::Interface;
use tappers::linux::Tap;

/// The stage's network namespace: that of the first process.
const OF_STAGE: &str = "/proc/1/ns/net";

/// The largest frame.
const MTU: usize = 16 << 10;

/// So many frames are held back in one direction of a link, at most; more are lost, as in any queue.
const MOST_HELD: usize = 16 << 10;

/// What is held back at a host now, on all of its links.
#[derive(Clone, Debug, Default)]
pub(super) struct Delays(Arc<RwLock<Vec<(u32, Delay)>>>);

impl Delays {
    /// From now on this is held back.
    pub(super) fn begin(&self, number: u32, delay: Delay) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).push((number, delay));
    }

    /// What comes from now on is not; what is held back already still is.
    pub(super) fn end(&self, number: u32) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).retain(|(known, _)| *known != number);
    }

    /// How long a frame is held back.
    fn of(&self, frame: &[u8], incoming: bool) -> Option<Duration> {
        let delays = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if delays.is_empty() {
            return None;
        }
        let (tuple, segment) = decode(frame.get(ETHERNET..)?)?;
        let ports = [tuple.local.port(), tuple.peer.port()];
        let meant = delays.iter().map(|(_, delay)| delay).filter(|delay| {
            delay.incoming == incoming
                && delay.port.is_none_or(|port| ports.contains(&port))
                && delay.segments.include(&segment)
        });
        meant.map(|delay| Duration::from_millis(delay.ms)).max()
    }
}

/// Makes an interface of this host, and a port in the stage's namespace that it is connected to. Whoever is beyond sees
/// a clock that is so many milliseconds ahead.
pub(super) fn connect(interface: &str, port: &str, ahead_ms: i64, delays: &Delays) -> io::Result<()> {
    let tap =
        |name: &str| -> io::Result<Arc<Tap>> { Ok(Arc::new(Tap::create_named(Interface::new(name)?)?)) };
    let inner = tap(interface)?;
    // A thread of its own goes there, makes the port, and ends.
    let outer = std::thread::scope(|scope| {
        let there = scope.spawn(|| {
            let stage = std::fs::File::open(OF_STAGE)?;
            rustix::thread::move_into_link_name_space(
                std::os::fd::AsFd::as_fd(&stage),
                Some(rustix::thread::LinkNameSpaceType::Network),
            )?;
            tap(port)
        });
        there.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    // The clock is 32 bits of milliseconds and wraps.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it wraps")]
    let ahead = ahead_ms as u32;
    let out = Way { which: Which::Value, by: ahead, incoming: false, delays: delays.clone() };
    let back = Way { which: Which::Echo, by: ahead.wrapping_neg(), incoming: true, delays: delays.clone() };
    out.pass(Arc::clone(&inner), Arc::clone(&outer));
    back.pass(outer, inner);
    Ok(())
}

/// One direction of a link.
struct Way {
    which: Which,
    by: u32,
    incoming: bool,
    delays: Delays,
}

impl Way {
    /// Passes frames on, for ever.
    fn pass(self, from: Arc<Tap>, to: Arc<Tap>) {
        let (late, waiting) = channel();
        let end = Arc::clone(&to);
        std::thread::spawn(move || let_go(&waiting, &end));
        std::thread::spawn(move || self.carry(&from, &to, &late));
    }

    fn carry(&self, from: &Tap, to: &Tap, late: &Sender<Held>) {
        let mut frame = vec![0; MTU];
        let mut number = 0;
        loop {
            match from.recv(&mut frame) {
                Ok(length) => {
                    let frame = &mut frame[..length];
                    if self.by != 0 {
                        shift(frame, self.which, self.by);
                    }
                    match self.delays.of(frame, self.incoming) {
                        // What the other end does not take is lost, as on any link.
                        None => drop(to.send(frame)),
                        Some(wait) => {
                            number += 1;
                            let due = Instant::now() + wait;
                            // The other thread lives as long as this one.
                            let _ = late.send(Held { due, number, frame: frame.to_vec() });
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Not up yet.
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }
}

/// A frame that waits; in the order of their times, and then of their coming.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    due: Instant,
    number: u64,
    frame: Vec<u8>,
}

/// Sends frames on when their time has come.
fn let_go(held: &Receiver<Held>, to: &Tap) {
    let mut waiting: BinaryHeap<Reverse<Held>> = BinaryHeap::new();
    loop {
        let now = Instant::now();
        let came = match waiting.peek() {
            None => held.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(Reverse(next)) => held.recv_timeout(next.due.saturating_duration_since(now)),
        };
        match came {
            Ok(frame) if waiting.len() < MOST_HELD => waiting.push(Reverse(frame)),
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = Instant::now();
        while waiting.peek().is_some_and(|Reverse(next)| next.due <= now) {
            if let Some(Reverse(next)) = waiting.pop() {
                let _ = to.send(&next.frame);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::differential::{Tuple, encode};
    use tcp::{Flags, Segment};
    use world::scenario::Segments;

    fn frame(flags: Flags, length: u32) -> Vec<u8> {
        let tuple = Tuple { local: "10.1.1.1:80".parse().unwrap(), peer: "10.1.2.1:40000".parse().unwrap() };
        let mut frame = vec![0; 12];
        frame.extend([0x08, 0x00]);
        frame.extend(encode(tuple, &Segment { flags, length, ..Segment::default() }));
        frame
    }

    #[test]
    fn what_is_meant_is_held_back_for_the_longest_delay() {
        let delays = Delays::default();
        let (ack, fin) = (frame(Flags::ACK, 0), frame(Flags::ACK.with(Flags::FIN), 0));
        assert_eq!(delays.of(&fin, true), None);
        let delay = |segments, port, ms| Delay { incoming: true, segments, port, ms };
        delays.begin(1, delay(Segments::Fins, Some(80), 100));
        delays.begin(2, delay(Segments::Everything, Some(81), 900));
        delays.begin(3, delay(Segments::Everything, None, 50));
        let wait = |frame: &[u8], incoming| delays.of(frame, incoming).map(|wait| wait.as_millis());
        assert_eq!((wait(&fin, true), wait(&fin, false), wait(&ack, true)), (Some(100), None, Some(50)));
        assert_eq!(wait(&fin[..30], true), None);
        delays.end(3);
        assert_eq!((wait(&fin, true), wait(&ack, true)), (Some(100), None));
        assert_eq!(wait(&frame(Flags::ACK.with(Flags::FIN), 9), true), Some(100));
    }
}
