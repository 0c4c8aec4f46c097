//! close() with SO_LINGER on and more than zero seconds: it waits until its FIN is acknowledged, or for so long, and
//! goes on as any other then.
//!
//! net/ipv4/tcp.c `__tcp_close()`, net/core/stream.c `sk_stream_wait_close()`; seen on 6.18, where the wait resets
//! nothing and shortens nothing. Whoever called is held meanwhile: a client begins nothing else. Servers have a thread
//! for each connection, and are not.

use super::Simulation;
use super::agenda::{Waking, What};
use super::servers::ms;
use super::socket::{Owner, SocketRef};
use super::transport::Drive;
use tcp::State;
use tcp::machine::Call;
use tcp::profile::linux;

impl Simulation<'_> {
    /// close() is called, and waits if it has something to wait for.
    pub(super) fn begin_linger(&mut self, at: SocketRef) {
        self.drive(at, Drive::Linger);
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        if !is_unacknowledged(socket.endpoint.state()) {
            self.drive(at, Drive::Call(Call::Close));
            return;
        }
        socket.talk.lingers = true;
        let close = match socket.owner {
            Owner::Client(client) => self.world.clients[client].close,
            Owner::Server(server) => self.world.servers[server].close,
            // Proxies close as their programs do.
            Owner::Front(_) | Owner::Back(_) => return,
        };
        let longest = ms(u64::from(close.linger_s.unwrap_or(0)) * 1_000);
        self.later(at, longest + longest / linux::WAIT_SLACK_PART.value, Waking::Lingered);
    }

    /// Its wait is over, one way or the other; `done`: nobody waits for its owner's turn any more.
    pub(super) fn linger_ends(&mut self, at: SocketRef, owner: Owner, done: bool) {
        // What is TIME-WAIT, or gone, has no socket any more.
        if let Some(socket) = self.hosts[at.host].socket_mut(at.slot) {
            socket.talk.lingers = false;
            socket.talk.done = true;
            self.drive(at, Drive::Call(Call::Close));
        }
        if let Owner::Client(client) = owner
            && !done
        {
            self.agenda.add(self.now + self.world.costs.wake, What::Done { client });
        }
    }

    /// True if a client's close() waits: its turn ends with that.
    pub(super) fn lingers(&self, at: SocketRef) -> bool {
        self.hosts[at.host].socket(at.slot).is_some_and(|socket| socket.talk.lingers)
    }
}

/// net/core/stream.c `sk_stream_closing()`: a FIN is sent, or waits to be, and is not acknowledged.
pub(super) const fn is_unacknowledged(state: State) -> bool {
    matches!(state, State::FinWait1 | State::Closing | State::LastAck)
}
