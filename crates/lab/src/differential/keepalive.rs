//! Keepalive with short times. The close machine has rows for what its timer does, and no timer: who drives it keeps
//! one, as the simulator does.

use rustix::fd::OwnedFd;
use rustix::net::sockopt;
use std::io;
use std::time::Duration;
use tcp::machine::{Endpoint, Nanos, Timer};

/// TCP_KEEPIDLE and TCP_KEEPINTVL, the shortest there are.
const BETWEEN: Duration = Duration::from_secs(1);
const BETWEEN_NS: Nanos = 1_000_000_000;
/// TCP_KEEPCNT.
const PROBES: u32 = 2;

/// The timer of a connection on the machine's side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keepalive {
    pub(super) due: Nanos,
    probes: u32,
}

impl Keepalive {
    /// Switches it on at the kernel's socket, and begins to count.
    pub(super) fn start(socket: &OwnedFd, now: Nanos) -> io::Result<Self> {
        sockopt::set_tcp_keepidle(socket, BETWEEN)?;
        sockopt::set_tcp_keepintvl(socket, BETWEEN)?;
        sockopt::set_tcp_keepcnt(socket, PROBES)?;
        sockopt::set_socket_keepalive(socket, true)?;
        Ok(Self::heard(now))
    }

    /// Something came.
    pub(super) const fn heard(now: Nanos) -> Self {
        Self { due: now + BETWEEN_NS, probes: 0 }
    }

    /// The timer has come (net/ipv4/tcp_timer.c tcp_keepalive_timer()).
    pub(super) fn fire(&mut self, machine: &mut Endpoint) {
        let due = self.due;
        self.due += BETWEEN_NS;
        if machine.snd_una() != machine.snd_nxt() || machine.has_unsent() {
            machine.fire(due, Timer::KeepaliveDue);
        } else if self.probes == PROBES {
            machine.fire(due, Timer::KeepaliveGivenUp);
        } else {
            self.probes += 1;
            machine.fire(due, Timer::KeepaliveDue);
        }
    }
}
