//! A sign of life on stderr while a look lasts, for a person who waits.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// Shorter looks need no sign of life.
const PATIENCE: Duration = Duration::from_secs(1);

/// Does the work, and counts the seconds if it is long and stderr is a terminal.
pub(crate) fn shown_during<T>(length: Duration, work: impl FnOnce() -> T) -> T {
    if length <= PATIENCE || !io::stderr().is_terminal() {
        return work();
    }
    let (done, is_done) = mpsc::channel::<()>();
    let shown = thread::spawn(move || {
        let start = Instant::now();
        while is_done.recv_timeout(Duration::from_millis(250)) == Err(RecvTimeoutError::Timeout) {
            let passed = start.elapsed().as_secs().min(length.as_secs());
            // A terminal that went away does not end the look.
            let _ = write!(io::stderr(), "\rlooking: {passed} of {} s", length.as_secs());
        }
        let _ = write!(io::stderr(), "\r{:40}\r", "");
    });
    let result = work();
    drop(done);
    // The thread only prints; if it could not, nothing is lost.
    let _ = shown.join();
    result
}
