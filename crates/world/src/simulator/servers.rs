//! Servers: how they answer and close.

use super::Simulation;
use super::agenda::{Waking, What};
use super::conversation::leaves_answer;
use super::socket::{Owner, SocketRef};
use super::transport::Drive;
use crate::scenario::{Close, ClosesWhen, How};
use tcp::State;
use tcp::machine::{Call, Nanos, Timer};

/// Bytes of the head of a request or an answer.
pub(super) const HEAD_BYTES: u32 = 100;

pub(super) const fn ms(ms: u64) -> Nanos {
    ms.saturating_mul(1_000_000)
}

impl Simulation<'_> {
    pub(super) fn later(&mut self, at: SocketRef, after: Nanos, waking: Waking) {
        self.agenda.add(self.now.saturating_add(after), What::Wake(at, waking));
    }

    /// A process looks at its socket soon.
    pub(super) fn wake(&mut self, at: SocketRef) {
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        if !socket.talk.woken && !socket.talk.closed {
            socket.talk.woken = true;
            let costs = &self.world.costs;
            let after = match socket.owner {
                Owner::Front(_) | Owner::Back(_) => costs.proxy_turn,
                Owner::Server(_) if socket.talk.queued => costs.accept,
                Owner::Server(_) | Owner::Client(_) => costs.wake,
            };
            self.later(at, after, Waking::Read);
        }
    }

    /// A connection was opened to a listener.
    pub(super) fn accepted(&mut self, at: SocketRef) {
        let now = self.now;
        let host = &mut self.hosts[at.host];
        let Some(socket) = host.sockets.get_mut(at.slot) else { return };
        socket.talk.heard = now;
        socket.talk.read_to = socket.endpoint.rcv_nxt();
        socket.talk.queued = true;
        let port = socket.tuple.local.port;
        if let Some(listener) = host.listeners.get_mut(&port) {
            listener.queued += 1;
        }
        self.queue_grew(at.host, port);
        self.wake(at);
    }

    /// accept(), if the connection still waits for it. False: nobody calls it.
    pub(super) fn accept(&mut self, at: SocketRef) -> bool {
        let host = &mut self.hosts[at.host];
        let Some(socket) = host.sockets.get_mut(at.slot) else { return false };
        if !socket.talk.queued {
            return true;
        }
        if let Owner::Server(server) = socket.owner
            && !self.world.servers[server].accepts
        {
            socket.talk.woken = false;
            return false;
        }
        socket.talk.queued = false;
        if let Some(listener) = host.listeners.get_mut(&socket.tuple.local.port) {
            listener.queued -= 1;
        }
        if let Owner::Server(server) = socket.owner {
            let server = &self.world.servers[server];
            if server.close.when == ClosesWhen::Idle {
                self.later(at, ms(server.close.after_ms), Waking::Idle);
            }
            if server.close.when == ClosesWhen::Requests && server.close.requests == 0 {
                self.later(at, ms(server.close.after_ms).max(self.world.costs.call), Waking::Close);
            }
            if let Some((idle, _, _)) = server.keepalive_s {
                self.later(at, ms(u64::from(idle) * 1_000), Waking::Keepalive);
            }
        }
        true
    }

    /// A server looks at what came.
    pub(super) fn server_reads(&mut self, at: SocketRef, server: usize) {
        if !self.accept(at) {
            return;
        }
        let config = &self.world.servers[server];
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        socket.talk.woken = false;
        let came = std::mem::take(&mut socket.talk.unread);
        socket.talk.asked += came;
        let talk = socket.talk;
        for _ in 0..came {
            if config.answer.after_ms > 0 {
                self.later(at, ms(config.answer.after_ms), Waking::Answer);
            } else {
                self.server_answers(at, server);
            }
        }
        if talk.eof {
            self.peer_closed(at, config.close);
        }
    }

    /// What who closes second does when the other side has closed, or asks for it.
    pub(super) fn peer_closed(&mut self, at: SocketRef, close: Close) {
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        let has_shut_down = close.how == How::Shutdown && socket.endpoint.state() != State::CloseWait;
        let talk = &mut socket.talk;
        let half_closed = talk.closing && has_shut_down || close.how == How::Goodbye;
        if close.when == ClosesWhen::Never || talk.closed || talk.closing && !half_closed {
            return;
        }
        if talk.goodbye && !talk.eof && close.when != ClosesWhen::Peer {
            return;
        }
        talk.closing = true;
        if half_closed {
            self.shut(at, How::Fin);
        } else if close.when == ClosesWhen::Peer && (close.after_ms > 0 || close.how != How::Fin) {
            self.later(at, ms(close.after_ms), Waking::Close);
        } else {
            self.shut(at, close.how.bare());
        }
    }

    pub(super) fn server_answers(&mut self, at: SocketRef, server: usize) {
        let config = &self.world.servers[server];
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        if socket.talk.closed || socket.endpoint.state() == State::Closed {
            return;
        }
        let (answer, close) = (config.answer, config.close);
        socket.talk.answered += 1;
        socket.talk.waits_since = self.now;
        socket.notes.until_eof = !answer.length;
        socket.notes.close |= !answer.length
            || close.when == ClosesWhen::Requests && socket.talk.answered == close.requests.max(1);
        let goodbye = socket.talk.goodbye && close.when != ClosesWhen::Never;
        socket.notes.close |= goodbye;
        let last = !answer.length
            || goodbye
            || close.when == ClosesWhen::Requests && socket.talk.answered == close.requests.max(1);
        // Who was told that nothing more comes need not wait for it.
        let after_ms = if close.when == ClosesWhen::Idle { 0 } else { close.after_ms };
        let bytes = HEAD_BYTES.saturating_add(answer.bytes);
        if last && answer.with_fin {
            socket.talk.closing = true;
            socket.talk.closed = true;
            self.drive(at, Drive::SendAndClose(bytes));
            return;
        }
        socket.notes.goodbye |= last && close.how == How::Goodbye;
        socket.talk.closing |= last;
        self.drive(at, Drive::Send(bytes));
        if last && close.how == How::Goodbye {
            self.later(at, ms(after_ms), Waking::Abort);
        } else if last {
            self.later(at, ms(after_ms).max(self.world.costs.call), Waking::Close);
        }
    }

    /// It closes now, as its close says.
    pub(super) fn close(&mut self, at: SocketRef, close: Close) {
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        if socket.talk.closed {
            return;
        }
        socket.talk.closing = true;
        let how = match (close.how, socket.owner) {
            (How::Unread, Owner::Client(client))
                if !leaves_answer(&self.world.clients[client], &socket.talk) =>
            {
                How::Fin
            }
            (how, _) => how,
        };
        if how == How::Goodbye && !socket.talk.eof {
            // The other side was asked with the last message.
            self.later(at, ms(close.after_ms), Waking::Abort);
            return;
        }
        let eof = socket.talk.eof;
        self.shut(at, if how == How::Shutdown && eof || how == How::Goodbye { How::Fin } else { how });
    }

    /// shutdown() or close().
    pub(super) fn shut(&mut self, at: SocketRef, how: How) {
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        socket.talk.closing = true;
        socket.talk.closed = how != How::Shutdown;
        let call = match how {
            How::Fin | How::Linger | How::Goodbye => Call::Close,
            How::Shutdown => Call::ShutdownWrite,
            How::Reset => Call::Abort,
            How::Unread => Call::CloseUnread,
        };
        let gone = !socket.in_table;
        if gone {
            // shutdown() fails, and close() follows.
            self.hosts[at.host].sockets.remove(at.slot);
            return;
        }
        if how == How::Linger {
            self.begin_linger(at);
        } else {
            self.drive(at, Drive::Call(call));
        }
    }

    /// Nothing came for so long, perhaps.
    pub(super) fn idle(&mut self, at: SocketRef, close: Close) {
        let now = self.now;
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        if socket.talk.closing || socket.talk.closed {
            return;
        }
        let answers = matches!(socket.owner, Owner::Server(_)) && socket.talk.asked > socket.talk.answered;
        let since = if answers { now } else { socket.talk.idle_since() };
        let until = since.saturating_add(ms(close.after_ms));
        if until > now {
            self.later(at, until - now, Waking::Idle);
        } else {
            self.close(at, Close { after_ms: 0, ..close });
        }
    }

    /// After a probe that was answered the whole time passes again (net/ipv4/tcp_timer.c tcp_keepalive_timer(),
    /// include/net/tcp.h keepalive_time_elapsed()).
    pub(super) fn keepalive(&mut self, at: SocketRef, (idle, between, probes): (u32, u32, u32)) {
        let now = self.now;
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        let last = socket.talk.heard.max(socket.talk.alive);
        let until = last.saturating_add(ms(u64::from(idle) * 1_000));
        if socket.talk.probes == 0 && until > now {
            self.later(at, until - now, Waking::Keepalive);
        } else if socket.talk.probes >= probes {
            self.drive(at, Drive::Timer(Timer::KeepaliveGivenUp));
        } else {
            socket.talk.probes += 1;
            self.later(at, ms(u64::from(between) * 1_000), Waking::Keepalive);
            self.drive(at, Drive::Timer(Timer::KeepaliveDue));
        }
    }
}
