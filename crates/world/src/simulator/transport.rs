//! What a host's TCP does with calls, segments and timers, for its sockets and mini-sockets.

use super::Simulation;
use super::accounting::account;
use super::acks::is_pure;
use super::agenda::What;
use super::counters::Counter;
use super::host::{Ending, Host, Place, Tuple};
use super::linger::is_unacknowledged;
use super::minis::Mini;
use super::network::{Packet, is_loopback};
use super::random::mix;
use super::servers::ms;
use super::settings::{Reuse, Timestamps};
use super::socket::SocketRef;
use super::table::{self, Entry};
use super::tap::Content;
use tcp::machine::{Call, Condition, Endpoint, Nanos, Reply, Timer};
use tcp::profile::linux;
use tcp::{Flags, Segment, Seq, State};

const PROVEN_NS: Nanos = linux::RECYCLE_REMEMBERS.value.as_secs() * 1_000_000_000;
const RECYCLED_NS: u32 = linux::RECYCLED_TIME_WAIT.value.subsec_nanos();
const KILLED_NS: Nanos = linux::TW_KILLED_WITHIN.value.as_secs() * 1_000_000_000;

/// The most data that hosts hand on as one segment (include/net/sock.h GSO_LEGACY_MAX_SIZE, without the headers).
const LARGEST: u32 = 65_200;

/// What is done to an endpoint.
#[derive(Clone, Copy, Debug)]
pub(super) enum Drive<'a> {
    Call(Call),
    /// send() of so many bytes: one message.
    Send(u32),
    /// close() that waits (SO_LINGER), as far as its wait.
    Linger,
    /// send() and close() in one go, so that the last segment has the FIN.
    SendAndClose(u32),
    Segment(&'a Packet),
    Timeout,
    Timer(Timer),
    /// Not by its process: its listener closes before it was accepted, or `ss -K` is called.
    Destroy,
}

/// What its owner hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    Connected,
    Accepted,
    Heard,
    Ended,
    /// It is gone: by a reset, or because nothing was acknowledged.
    Broken(&'static str),
}

impl Simulation<'_> {
    /// Does something to a socket's endpoint, and all that follows from it.
    #[expect(clippy::too_many_lines, reason = "one thing after the other, each once")]
    pub(super) fn drive(&mut self, at: SocketRef, what: Drive<'_>) {
        let now = self.now;
        let minis = self.minis_of_lives(at.host);
        let opening = self.hosts[at.host].socket(at.slot);
        let opening = opening
            .filter(|socket| socket.talk.queued || socket.endpoint.state() == State::SynReceived)
            .map(|socket| socket.tuple.local.port);
        let queue_full = opening.map(|port| self.is_queue_full(at.host, port));
        let text = match what {
            Drive::Send(bytes) | Drive::SendAndClose(bytes) if self.tap.is_some() => {
                let Some(socket) = self.hosts[at.host].socket(at.slot).cloned() else { return };
                self.head_of(&socket, bytes)
            }
            _ => 0,
        };
        if let Drive::Segment(packet) = what {
            self.measure_round_trip(at, packet);
        }
        let host = &mut self.hosts[at.host];
        let surroundings = Surroundings::of(host, now, minis, None);
        let Some(socket) = host.sockets.get_mut(at.slot) else { return };
        surroundings.set(&mut socket.endpoint);
        if let Some(is_full) = queue_full {
            socket.endpoint.set(Condition::QueueFull, is_full);
        }
        let (before, next) = (socket.endpoint.state(), socket.endpoint.rcv_nxt());
        let was_orphan = socket.endpoint.is_orphan() && before != State::TimeWait;
        let is_again = matches!(what, Drive::Timeout);
        match what {
            Drive::Call(call) => socket.endpoint.handle_call(now, call),
            Drive::Send(bytes) => {
                socket.wrote(bytes, text);
                socket.endpoint.handle_send(now, bytes);
            }
            Drive::SendAndClose(bytes) => {
                socket.wrote(bytes, text);
                socket.endpoint.handle_send(now, bytes);
                socket.endpoint.handle_call(now, Call::Close);
            }
            Drive::Linger => socket.endpoint.begin_lingering_close(now),
            Drive::Segment(packet) => socket.endpoint.handle_segment(now, &packet.segment),
            Drive::Timeout => socket.endpoint.handle_timeout(now),
            Drive::Timer(timer) => socket.endpoint.fire(now, timer),
            Drive::Destroy => socket.endpoint.handle_call(now, Call::Abort),
        }
        let after = socket.endpoint.state();
        let mut out = std::mem::take(&mut self.out);
        while let Some(segment) = socket.endpoint.poll_transmit(now) {
            let end = Seq::new(segment.seq.number().wrapping_add(segment.length));
            let messages = if segment.length > 0 { socket.complete_at(end) } else { 0 };
            match out.last_mut() {
                Some(last) if goes_along(&last.segment, &segment) => {
                    last.segment.length += segment.length;
                    last.segment.flags = last.segment.flags.with(segment.flags);
                    last.count += 1;
                    last.messages = messages;
                }
                _ => out.push(Packet {
                    source: socket.tuple.local,
                    destination: socket.tuple.remote,
                    segment,
                    count: 1,
                    again: is_again && !matches!(after, State::SynReceived),
                    messages,
                    notes: socket.notes,
                    content: if segment.length > 0 {
                        socket.content_at(segment.seq)
                    } else {
                        Content::default()
                    },
                }),
            }
        }
        if let Drive::Segment(packet) = what
            && socket.endpoint.rcv_nxt() != next
            && matches!(after, State::Established | State::CloseWait | State::FinWait1 | State::FinWait2)
            && !matches!(before, State::SynSent)
            && let Some(first) = out.first().map(|packet| packet.segment).filter(is_pure)
            && (out.len() > 1 || socket.acks.holds(now, &packet.segment, &first))
        {
            out.remove(0);
        }
        for packet in &out {
            socket.acks.left(now, &packet.segment);
            let segment = &packet.segment;
            let numbers = segment.length
                + u32::from(segment.flags.has(Flags::SYN))
                + u32::from(segment.flags.has(Flags::FIN));
            if numbers > 0 {
                socket.round_trip.sent(now, segment.seq.plus(numbers), is_again);
            }
        }
        let heard = if let Drive::Segment(packet) = what {
            let end = packet.segment.seq.plus(packet.segment.length);
            let came = packet.messages > socket.received && !socket.endpoint.rcv_nxt().before(end);
            if came {
                socket.talk.unread += packet.messages - socket.received;
                socket.received = packet.messages;
                socket.talk.goodbye |= packet.notes.goodbye;
                socket.talk.until_eof |= packet.notes.until_eof;
                socket.talk.says_close |= packet.notes.close;
            }
            if packet.segment.length > 0 {
                socket.talk.heard = now;
            }
            socket.talk.probes = 0;
            socket.talk.alive = now;
            came
        } else {
            false
        };
        let probes = is_again && socket.endpoint.is_probing();
        let row = socket.endpoint.take_row();
        let orphan = socket.endpoint.is_orphan() && after != State::TimeWait && after != State::Closed;
        let owner_holds = !socket.talk.closed;
        let lingers = socket.talk.lingers.then_some((socket.owner, socket.talk.done));
        host.moved(before, after);
        host.orphans = host.orphans + u64::from(orphan) - u64::from(was_orphan);
        if let Some(row) = row {
            let segment = if let Drive::Segment(packet) = what { Some(&packet.segment) } else { None };
            account(host, row, before, after, segment, !out.is_empty());
            // Not where nobody called close(): net/ipv4/tcp.c tcp_abort(), inet_csk_listen_stop().
            if matches!(what, Drive::Call(Call::Abort)) && row.reply == Reply::Abort {
                host.count(Counter::AbortOnData);
            }
        }
        if is_again && !out.is_empty() {
            host.count(Counter::RetransSegs);
            if matches!(after, State::SynSent | State::SynReceived) {
                host.count(Counter::SynRetrans);
                host.count(Counter::Timeouts);
            } else if probes {
                host.count(Counter::LossProbes);
            } else {
                host.count(Counter::Timeouts);
            }
        }
        for packet in out.drain(..) {
            self.transmit(at.host, packet);
        }
        self.out = out;
        self.watch_ack(at);
        if orphan && !was_orphan {
            self.table_grew(at.host);
        }
        self.settle(at, before, after);
        if let Some((owner, done)) = lingers
            && !is_unacknowledged(after)
        {
            self.linger_ends(at, owner, done);
        }
        if !owner_holds {
            return;
        }
        let broke = matches!(what, Drive::Segment(_) | Drive::Timeout | Drive::Timer(_))
            && after == State::Closed
            && before != State::Closed;
        let ended = matches!(
            (before, after),
            (State::Established | State::SynReceived, State::CloseWait)
                | (State::FinWait1, State::Closing | State::TimeWait)
                | (State::FinWait2, State::TimeWait)
        ) || broke && row.is_some_and(|row| row.when.contains(&Condition::TableFull));
        let opened = matches!(after, State::Established | State::CloseWait);
        if before == State::SynSent && opened {
            self.notice(at, Notice::Connected);
        }
        if before == State::SynReceived && opened {
            self.notice(at, Notice::Accepted);
        }
        if heard {
            self.notice(at, Notice::Heard);
        }
        if ended {
            self.notice(at, Notice::Ended);
        } else if broke {
            let reset = matches!(what, Drive::Segment(_));
            self.notice(
                at,
                Notice::Broken(match before {
                    State::SynSent if reset => "ECONNREFUSED",
                    _ if reset => "ECONNRESET",
                    _ => "ETIMEDOUT",
                }),
            );
        }
    }

    /// What an acknowledgement tells of the round trip.
    fn measure_round_trip(&mut self, at: SocketRef, packet: &Packet) {
        let (now, segment) = (self.now, &packet.segment);
        if !segment.flags.has(Flags::ACK) {
            return;
        }
        let tuple = Tuple { local: packet.destination, remote: packet.source };
        let echoed = segment.timestamps.zip(self.clock(at.host, tuple)).map(|(timestamps, clock)| {
            #[expect(clippy::cast_possible_truncation, reason = "a timestamp wraps")]
            let ago = ((now / 1_000_000) as u32).wrapping_add(clock).wrapping_sub(timestamps.echo);
            now.saturating_sub(ms(u64::from(ago)))
        });
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        let next = socket.endpoint.snd_nxt();
        if let Some((timeout, probe)) = socket.round_trip.acknowledged(now, segment.ack, next, echoed) {
            socket.endpoint.set_timeouts(timeout, probe);
        }
    }

    /// Lets what ended go, makes a mini-socket of what is one, and sets the timer of the rest.
    fn settle(&mut self, at: SocketRef, before: State, after: State) {
        let host = &mut self.hosts[at.host];
        let Some(socket) = host.sockets.get_mut(at.slot) else { return };
        if socket.in_table {
            if let Some(mut residue) = socket.endpoint.residue() {
                if host.tuned.recycle
                    && let Some((value, _)) = residue.heard
                {
                    host.proven.insert(socket.tuple.remote.address, (value, self.now));
                    residue.ends = self.now + Nanos::from(RECYCLED_NS);
                }
                socket.in_table = false;
                let (tuple, hold) = (socket.tuple, socket.hold.take());
                let was_orphan = socket.endpoint.is_orphan() && after == State::FinWait2;
                host.orphans -= u64::from(was_orphan);
                if residue.ends - self.now <= KILLED_NS {
                    host.count(Counter::TimeWaitKilled);
                } else {
                    host.count(Counter::TimeWait);
                }
                host.table.remove(table::hash(&tuple), Entry::Socket(at.slot));
                self.add_mini(at.host, &Mini { tuple, hold, residue });
                self.table_grew(at.host);
            } else if after == State::Closed {
                socket.in_table = false;
                let (tuple, hold) = (socket.tuple, socket.hold.take());
                if socket.talk.queued {
                    socket.talk.queued = false;
                    if let Some(listener) = host.listeners.get_mut(&tuple.local.port) {
                        listener.queued -= 1;
                    }
                }
                host.table.remove(table::hash(&tuple), Entry::Socket(at.slot));
                host.release(hold);
            }
        }
        let host = &mut self.hosts[at.host];
        let Some(socket) = host.sockets.get_mut(at.slot) else { return };
        if !socket.in_table && (socket.talk.closed || before == State::SynReceived && after == State::Closed)
        {
            host.sockets.remove(at.slot);
            return;
        }
        if socket.in_table
            && let Some(due) = socket.endpoint.poll_timeout()
            && socket.timeout.is_none_or(|set| due < set)
        {
            socket.timeout = Some(due);
            self.agenda.add(due, What::Timeout(at));
        }
    }

    /// A timer of an endpoint has come, or the time for which one was set once.
    pub(super) fn timeout(&mut self, at: SocketRef) {
        let now = self.now;
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        if socket.timeout != Some(now) {
            return;
        }
        socket.timeout = None;
        if !socket.in_table {
            return;
        }
        match socket.endpoint.poll_timeout() {
            Some(due) if due <= now => self.drive(at, Drive::Timeout),
            Some(due) => {
                socket.timeout = Some(due);
                self.agenda.add(due, What::Timeout(at));
            }
            None => {}
        }
    }

    /// Adds a mini-socket. Its state is counted by the caller.
    pub(super) fn add_mini(&mut self, number: usize, mini: &Mini) {
        let hash = table::hash(&mini.tuple);
        let slot = self.hosts[number].insert_mini(mini, hash);
        self.enqueue(number, slot, mini, hash);
    }

    /// Puts a mini-socket, whose tuple has this hash, where its end will be seen, and its age.
    pub(super) fn enqueue(&mut self, number: usize, slot: u32, mini: &Mini, hash: u64) {
        let host = &mut self.hosts[number];
        let (at, turn) = (mini.residue.ends, host.minis.turn(slot));
        let queue = host.queue_for(at);
        let first = host.ending[queue].all.is_empty();
        host.ending[queue].all.push_back(Ending { at, slot, turn, hash });
        if first {
            self.agenda.add(at, What::Ending { host: number, queue });
        }
        self.watch_age(number, slot, mini);
    }

    /// Puts a TIME-WAIT that connect() may take over in the line of those that grow old.
    pub(super) fn watch_age(&mut self, number: usize, slot: u32, mini: &Mini) {
        let host = &mut self.hosts[number];
        let Mini { residue, tuple, .. } = mini;
        let reuses = match host.tuned.reuse {
            Reuse::Off => false,
            Reuse::On => true,
            Reuse::Loopback => is_loopback(tuple.local.address) || is_loopback(tuple.remote.address),
        };
        if reuses && residue.state == State::TimeWait && residue.heard.is_some() {
            let at = residue.entered.saturating_add(host.tuned.reuse_delay_ns);
            let place = host.aging.iter().rposition(|other| other.0 <= at).map_or(0, |before| before + 1);
            host.aging.insert(place, (at, slot, host.minis.turn(slot)));
        }
    }

    /// The end of mini-sockets.
    pub(super) fn ending(&mut self, number: usize, queue: usize) {
        let now = self.now;
        let host = &mut self.hosts[number];
        while let Some(Ending { at, slot, turn, hash }) = host.pop_ended(queue, now) {
            if host.minis.is_there(slot, turn) && host.minis.ends(slot) == at {
                let mini = host.remove_mini_of(slot, hash);
                host.moved(mini.residue.state, State::Closed);
                host.release(mini.hold);
            }
        }
        if let Some(next) = host.ending[queue].all.front() {
            self.agenda.add(next.at, What::Ending { host: number, queue });
        }
    }

    /// A closed endpoint of a host for a tuple.
    pub(super) fn endpoint(&self, number: usize, tuple: Tuple) -> Endpoint {
        let tuned = &self.hosts[number].tuned;
        let endpoint = Endpoint::new(&tuned.stack, self.initial_number_at(tuple, self.now));
        match self.clock(number, tuple) {
            Some(clock) => endpoint.with_timestamps(clock),
            None => endpoint,
        }
    }

    /// net/core/secure_seq.c: a hash of the tuple and a clock of 64 ns.
    pub(super) fn initial_number_at(&self, tuple: Tuple, at: Nanos) -> Seq {
        #[expect(clippy::cast_possible_truncation, reason = "numbers wrap")]
        Seq::new((self.hash_of(tuple, 1) as u32).wrapping_add((at >> 6) as u32))
    }

    fn hash_of(&self, tuple: Tuple, salt: u64) -> u64 {
        let addresses = u64::from(tuple.local.address) << 32 | u64::from(tuple.remote.address);
        let ports = u64::from(tuple.local.port) << 16 | u64::from(tuple.remote.port);
        mix(mix(self.world.seed ^ salt ^ addresses) ^ ports)
    }

    /// What the timestamp clock showed at time 0 on this tuple; none: timestamps are off.
    pub(super) fn clock(&self, number: usize, tuple: Tuple) -> Option<u32> {
        let offset = match self.hosts[number].tuned.timestamps {
            Timestamps::Off => return None,
            Timestamps::Uptime => 0,
            Timestamps::ByAddresses => {
                let only = |place: Place| Place { port: 0, ..place };
                self.hash_of(Tuple { local: only(tuple.local), remote: only(tuple.remote) }, 2)
            }
            Timestamps::ByTuple => self.hash_of(tuple, 2),
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a timestamp wraps")]
        let ahead = self.world.hosts[number].clock_ahead_ms as u32;
        // Not zero: the machine has been up for a while.
        #[expect(clippy::cast_possible_truncation, reason = "a timestamp wraps")]
        Some((offset as u32).wrapping_add(ahead).wrapping_add(100_000_000))
    }
}

/// What is true of a host, for its endpoints.
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub(super) struct Surroundings {
    rfc1337: bool,
    table_full: bool,
    too_many_orphans: bool,
    abort_on_overflow: bool,
    recycle_refuses: bool,
}

impl Surroundings {
    pub(super) fn of(host: &Host, now: Nanos, minis: u64, packet: Option<&Packet>) -> Self {
        Self {
            rfc1337: host.tuned.rfc1337,
            table_full: host.minis.len() + minis >= host.tuned.max_time_wait,
            too_many_orphans: host.orphans > host.tuned.max_orphans,
            abort_on_overflow: host.tuned.abort_on_overflow,
            recycle_refuses: packet.is_some_and(|packet| host.tuned.recycle && host.refuses(now, packet)),
        }
    }

    pub(super) fn set(&self, endpoint: &mut Endpoint) {
        endpoint.set(Condition::Rfc1337, self.rfc1337);
        endpoint.set(Condition::TableFull, self.table_full);
        endpoint.set(Condition::TooManyOrphans, self.too_many_orphans);
        endpoint.set(Condition::AbortOnOverflow, self.abort_on_overflow);
        endpoint.set(Condition::RecycleRefuses, self.recycle_refuses);
    }
}

impl Host {
    /// `tcp_tw_recycle`: the SYN's timestamp is older than what the address showed, or it has none.
    fn refuses(&self, now: Nanos, packet: &Packet) -> bool {
        let Some((shown, at)) = self.proven.get(&packet.source.address) else { return false };
        let is_fresh = now.saturating_sub(*at) <= PROVEN_NS;
        let older = |value: u32| shown.wrapping_sub(value).cast_signed() > 1;
        is_fresh && packet.segment.timestamps.is_none_or(|timestamps| older(timestamps.value))
    }
}

/// True if a segment goes out with the one before: segmentation offload, which the receiver's host sees as one.
fn goes_along(last: &Segment, next: &Segment) -> bool {
    last.length > 0
        && next.length > 0
        && !last.flags.has(Flags::FIN)
        && last.seq.plus(last.length) == next.seq
        && last.length + next.length <= LARGEST
}
