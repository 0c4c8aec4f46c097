//! What a client says and hears on a connection, and how it ends it.

use super::Simulation;
use super::agenda::Waking;
use super::servers::{HEAD_BYTES, ms};
use super::socket::{SocketRef, Talk};
use super::transport::Drive;
use crate::scenario::{Client, Close, ClosesWhen, How};
use tcp::State;

impl Simulation<'_> {
    /// connect() is back.
    pub(super) fn client_connected(&mut self, at: SocketRef, client: usize) {
        let now = self.now;
        let config = &self.world.clients[client];
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        socket.talk.heard = now;
        let took = now - socket.talk.begun;
        let running = &mut self.clients[client];
        running.connected += 1;
        running.connect.add(took);
        if config.close.when == ClosesWhen::Requests && config.close.requests == 0 && config.pool.is_none() {
            socket.talk.deadline = 0;
            self.later(at, ms(config.close.after_ms).max(self.world.costs.call), Waking::Close);
        } else {
            self.ask(at, client);
        }
    }

    /// The next request.
    pub(super) fn ask(&mut self, at: SocketRef, client: usize) {
        let config = &self.world.clients[client];
        let now = self.now;
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        if socket.talk.closed || socket.talk.closing {
            return;
        }
        socket.talk.asked += 1;
        socket.talk.asked_at = now;
        let deadline = now.saturating_add(ms(config.timeout_ms));
        if socket.talk.deadline == 0 {
            self.later(at, deadline - now, Waking::Deadline);
        }
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        socket.talk.deadline = deadline;
        let ended = socket.talk.eof;
        let last = socket.talk.asked >= config.requests && config.pool.is_none();
        socket.notes.goodbye = last && config.close.how == How::Goodbye;
        let gone = !socket.in_table;
        if gone {
            let error = socket.talk.broken.unwrap_or("EPIPE");
            self.lose(at, client, "send", error);
            return;
        }
        self.drive(at, Drive::Send(HEAD_BYTES.saturating_add(config.request_bytes)));
        if let Some(socket) = self.hosts[at.host].socket_mut(at.slot)
            && ended
        {
            // Its next call finds the end. On a short way a reset has come by then.
            socket.talk.woken = true;
            self.later(at, self.world.costs.call, Waking::Read);
        }
    }

    /// The client looks at what came.
    pub(super) fn client_reads(&mut self, at: SocketRef, client: usize) {
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        socket.talk.woken = false;
        let talk = &mut socket.talk;
        let waits = talk.waits();
        // What nobody reads need not come in full.
        talk.until_eof &= !leaves_answer(&self.world.clients[client], talk);
        if talk.takes_answer() {
            talk.deadline = 0;
            self.answered(at, client);
        } else if waits && talk.eof {
            self.lose(at, client, "recv", "EOF");
            return;
        }
        let config = &self.world.clients[client];
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        if socket.talk.eof || socket.talk.goodbye {
            // What is idle in a pool is looked at when it is taken out, and who thinks about the next request, or rests
            // before it closes, does not look.
            let talk = socket.talk;
            let has_shut_down =
                config.close.how == How::Shutdown && socket.endpoint.state() != State::CloseWait;
            if config.pool.is_some() && !talk.says_close
                || talk.eof && !has_shut_down && !self.reads_on(&talk, client)
            {
                return;
            }
            self.peer_closed(at, config.close);
            self.finish_if_closed(at, client, talk.done);
        }
    }

    /// An answer is complete.
    fn answered(&mut self, at: SocketRef, client: usize) {
        let config = &self.world.clients[client];
        let running = &mut self.clients[client];
        let now = self.now;
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        let talk = &mut socket.talk;
        if !leaves_answer(config, talk) {
            running.requests += 1;
            running.answered_in = now - talk.asked_at;
            // Where there are too few processors, it is answers that come late.
            running.answer.add(running.answered_in + std::mem::take(&mut talk.queued_for));
        }
        let answered = talk.answered;
        if !talk.ok && (answered >= config.requests || config.pool.is_some()) {
            talk.ok = true;
            running.ok += 1;
        }
        let talk = *talk;
        if let Some(error) = talk.broken
            && self.awaits_end(&talk, client)
        {
            self.lose(at, client, "recv", error);
            return;
        }
        if config.pool.is_some() && talk.says_close {
            match config.close.when {
                ClosesWhen::Peer => self.read_on(at, config),
                ClosesWhen::Never => self.finish(at, client),
                ClosesWhen::Requests | ClosesWhen::Idle => {
                    let was_done = talk.done;
                    self.shut(at, config.close.how.bare());
                    self.finish_if_closed(at, client, was_done);
                }
            }
            return;
        }
        if config.pool.is_some() {
            if config.think_ms > 0 && self.clients[client].begun < config.connections {
                self.later(at, ms(config.think_ms), Waking::Keep);
            } else {
                self.keep(at, client);
            }
            return;
        }
        // Who was told that nothing more will be answered asks no more.
        if answered < config.requests && !talk.says_close {
            if config.think_ms == 0 {
                self.ask(at, client);
            } else {
                self.later(at, ms(config.think_ms), Waking::Ask);
            }
            return;
        }
        let after = config.close.after_ms;
        match config.close.when {
            ClosesWhen::Requests if after > 0 && config.close.how != How::Goodbye => {
                self.later(at, ms(after), Waking::Close);
            }
            ClosesWhen::Requests => {
                let after_ms = if after == 0 { config.timeout_ms } else { after };
                self.close(at, Close { after_ms, ..config.close });
                self.finish_if_closed(at, client, talk.done);
            }
            ClosesWhen::Idle => self.later(at, ms(after), Waking::Idle),
            ClosesWhen::Never => self.finish(at, client),
            ClosesWhen::Peer => self.read_on(at, config),
        }
    }

    /// It waits for the other side to close, but not for ever.
    fn read_on(&mut self, at: SocketRef, config: &Client) {
        let patience = ms(config.timeout_ms);
        if let Some(socket) = self.hosts[at.host].socket_mut(at.slot) {
            socket.talk.deadline = self.now.saturating_add(patience);
        }
        self.later(at, patience, Waking::Deadline);
    }

    /// A connection goes back to the pool, if there is room.
    pub(super) fn keep(&mut self, at: SocketRef, client: usize) {
        let config = &self.world.clients[client];
        let now = self.now;
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        socket.talk.waits_since = now;
        let room = self.clients[client].pool.len() < config.pool.unwrap_or(0) as usize;
        if room {
            self.clients[client].pool.push_back(at);
            if let Some(idle) = config.pool_idle_ms {
                self.later(at, ms(idle), Waking::Idle);
            }
        } else if config.close.when != ClosesWhen::Never {
            self.shut(at, config.close.how.bare());
        }
        self.finish(at, client);
    }

    /// The connection's place is free for the next.
    pub(super) fn finish(&mut self, at: SocketRef, client: usize) {
        if let Some(socket) = self.hosts[at.host].socket_mut(at.slot) {
            if socket.talk.done {
                return;
            }
            socket.talk.done = true;
        }
        debug_assert!(self.clients[client].active > 0, "each connection is done once");
        self.turn_ends(client);
    }

    /// The same after a close that may have taken the socket away, and with it whether it was done before.
    pub(super) fn finish_if_closed(&mut self, at: SocketRef, client: usize, was_done: bool) {
        if self.lingers(at) {
            return;
        }
        // Who has shut down its side waits for the other without holding up the next connection.
        let open = self.hosts[at.host]
            .socket(at.slot)
            .is_some_and(|socket| !socket.talk.closed && !has_shut_down(socket.endpoint.state()));
        if !open && !was_done {
            self.finish(at, client);
        }
    }

    /// A call failed: the connection is given up.
    pub(super) fn lose(&mut self, at: SocketRef, client: usize, call: &'static str, error: &'static str) {
        self.fail(client, call, error);
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        if socket.talk.ok && socket.talk.answered < socket.talk.asked {
            self.clients[client].ok -= 1;
        }
        self.finish(at, client);
        self.shut(at, How::Fin);
    }

    /// The connection is gone without a close.
    pub(super) fn client_broken(&mut self, at: SocketRef, client: usize, error: &'static str) {
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        // Behind the end of the stream recv() finds only that, and send() EPIPE (net/ipv4/tcp.c tcp_recvmsg_locked(),
        // tcp_input.c tcp_reset()).
        let (of_send, of_recv) = if socket.talk.eof { ("EPIPE", "EOF") } else { (error, error) };
        socket.talk.broken = Some(of_send);
        if !socket.talk.done && socket.talk.takes_answer() {
            // What came before the reset is still read (net/ipv4/tcp.c tcp_recvmsg_locked()).
            socket.talk.deadline = 0;
            self.answered(at, client);
            return;
        }
        let talk = socket.talk;
        if self.clients[client].pool.contains(&at) {
            // It is looked at when it is taken out.
            return;
        }
        if talk.asked == 0 && talk.heard == 0 {
            self.lose(at, client, "connect", error);
        } else if talk.done {
            self.shut(at, How::Fin);
        } else if talk.waits() || self.awaits_end(&talk, client) {
            self.lose(at, client, "recv", of_recv);
        }
        // Else it thinks about its next request, or waits to close: its next call says it (net/ipv4/tcp.c
        // tcp_sendmsg_locked()).
    }

    /// All is answered, and it reads on until the other side has closed.
    fn reads_on(&self, talk: &Talk, client: usize) -> bool {
        let Client { requests, pool, close, .. } = &self.world.clients[client];
        (talk.says_close || talk.answered >= *requests && pool.is_none())
            && (close.when == ClosesWhen::Peer
                || close.when == ClosesWhen::Requests && close.how == How::Goodbye)
    }

    /// The same, and it has not; who was asked to close does not wait for that.
    fn awaits_end(&self, talk: &Talk, client: usize) -> bool {
        let is_asked = talk.goodbye && self.world.clients[client].close.how != How::Goodbye;
        !talk.eof && !is_asked && self.reads_on(talk, client)
    }

    /// Perhaps it waits too long.
    pub(super) fn deadline(&mut self, at: SocketRef, client: usize) {
        let now = self.now;
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        let talk = socket.talk;
        if talk.deadline == 0 || talk.closing || talk.done {
            return;
        }
        if talk.deadline > now {
            self.later(at, talk.deadline - now, Waking::Deadline);
            return;
        }
        let call = if socket.endpoint.state() == State::SynSent { "connect" } else { "recv" };
        self.lose(at, client, call, "ETIMEDOUT");
    }

    /// A connection of the pool was idle for long, perhaps.
    pub(super) fn pool_idle(&mut self, at: SocketRef, client: usize, idle_ms: u64) {
        if !self.clients[client].pool.contains(&at) {
            return;
        }
        let Some(socket) = self.hosts[at.host].socket(at.slot) else { return };
        let until = socket.talk.idle_since().saturating_add(ms(idle_ms));
        if until > self.now {
            self.later(at, until - self.now, Waking::Idle);
        } else {
            self.clients[client].pool.retain(|pooled| *pooled != at);
            self.shut(at, self.world.clients[client].close.how.bare());
        }
    }
}

/// True if what a client has asked for last is not read, so that its close() is a reset.
pub(super) fn leaves_answer(config: &Client, talk: &Talk) -> bool {
    config.close.how == How::Unread && talk.asked >= config.requests
}

/// True if nothing more will be sent from here, and the other side has not closed.
const fn has_shut_down(state: State) -> bool {
    matches!(state, State::FinWait1 | State::FinWait2)
}
