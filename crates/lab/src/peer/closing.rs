//! The ways to close.

use super::result::{Call, Failure, Why};
use super::socket::{await_readable, receive};
use rustix::net::{Shutdown, shutdown, sockopt};
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use world::scenario::How;

/// A side that waits for the peer's FIN after its own, or for bytes that it will not read, waits so long at most.
const PATIENCE: Duration = Duration::from_secs(120);

/// Closes. A goodbye that was answered is followed by a plain close().
pub(super) fn close(socket: OwnedFd, how: How, stop: &AtomicBool) {
    match how {
        How::Fin | How::Goodbye => {}
        How::Shutdown => {
            if shutdown(&socket, Shutdown::Write).is_ok() {
                let _ = await_end(&socket, PATIENCE, stop);
            }
        }
        How::Reset => {
            // A socket that the peer has reset already takes no options any more, and needs none.
            let _ = sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
        }
        How::Unread => {
            let _ = await_readable(&socket, Some(PATIENCE), stop);
        }
    }
    drop(socket);
}

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
