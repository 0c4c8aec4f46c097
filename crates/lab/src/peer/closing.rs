//! The ways to close.

use super::How;
use super::socket::{await_readable, receive};
use rustix::net::{Shutdown, shutdown, sockopt};
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// A side that waits for the peer's FIN after its own, or for bytes that it will not read, waits so long at most.
const PATIENCE: Duration = Duration::from_secs(120);

/// Closes.
pub(super) fn close(socket: OwnedFd, how: How, stop: &AtomicBool) {
    match how {
        How::Close => {}
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

/// Reads and drops what comes until the peer has closed; false if it did not in time, or reset.
pub(super) fn await_end(socket: &OwnedFd, at_most: Duration, stop: &AtomicBool) -> bool {
    let mut ignored = Vec::new();
    loop {
        if await_readable(socket, Some(at_most), stop).is_err() {
            return false;
        }
        match receive(socket, &mut ignored) {
            Ok(0) => return true,
            Ok(_) => ignored.clear(),
            Err(_) => return false,
        }
    }
}
