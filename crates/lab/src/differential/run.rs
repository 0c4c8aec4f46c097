//! One sequence on both sides.

mod timer;

use super::Tuple;
use super::bench::Bench;
use super::keepalive::Keepalive;
use super::outcome::{Difference, Exception, Outcome};
use super::replies::{are_same, is_again, without_repeats};
use super::socket;
use super::sockets::Found;
use super::step::{AckFrom, Probe, SeqFrom, Sequence, Settings, Step};
use rustix::fd::OwnedFd;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tcp::machine::{Call, Condition, Endpoint, Event, Kind, Nanos, TimerAction};
use tcp::profile::Stack;
use tcp::{Flags, Segment, Seq, State, Timestamps};

/// With the retransmission timeout of the route.
static LIMITED: Stack = Stack {
    retransmit: RETRANSMIT_MIN,
    loss_probe: false,
    // A port that bind() chose may be taken over at once (net/ipv4/tcp_ipv4.c tcp_twsk_unique(), twp == NULL).
    reuse_delay: Some(Duration::ZERO),
    ..Stack::LINUX
};
/// As the bench sets it where timers matter.
static TIMED: Stack = Stack {
    fin_timeout: Some(Duration::from_secs(1)),
    invalid_ratelimit: None,
    loss_probe: false,
    orphan_retries: 1,
    retries: 1,
    syn_retries: 1,
    ..Stack::LINUX
};
static UNLIMITED: Stack = Stack { invalid_ratelimit: None, ..LIMITED };

/// `rto_min` that the route to the peers must have: nothing is sent again while a sequence runs.
pub const RETRANSMIT_MIN: Duration = Duration::from_secs(5);

/// What the kernel's timers may be off by: two ticks at 250 Hz.
const TICKS_MS: u64 = 8;
/// The peer offers the first; the device's 1500 bytes leave the second over IPv6.
const MSS: u16 = 1_460;
const MSS_V6: u16 = 1_440;
/// So much in flight is most of the first congestion window.
const MUCH: i32 = 5 * 1_460;
/// Of a listener; one more fits into its queue.
const BACKLOG: u16 = 4;
/// The window of the peer, and of connections that fill a queue.
const WINDOW: u16 = 60_000;

pub(super) struct Run<'a> {
    sequence: &'a Sequence,
    number: usize,
    tuple: Tuple,
    machine: Endpoint,
    /// The socket of the connection that the machine is in.
    socket: Option<OwnedFd>,
    /// Those of connections before it, which are over.
    stale: Vec<OwnedFd>,
    listener: Option<OwnedFd>,
    life: u32,
    /// The kernel's last TSval.
    echo: u32,
    exists: bool,
    /// The window that the kernel announced last.
    window: u16,
    /// By how much the kernel may have started its timer later than the machine.
    late_start: Nanos,
    /// SO_KEEPALIVE was set.
    keepalive: Option<Keepalive>,
    /// The kernel sent something again.
    resent: bool,
    /// The window was a small one when the connection was complete.
    small_window: bool,
    trace: String,
    outcome: Outcome,
}

impl<'a> Run<'a> {
    pub(super) fn new(sequence: &'a Sequence, number: usize, tuple: Tuple, shift: u8) -> Self {
        let stack = match sequence.settings {
            Settings { timers: true, .. } => &TIMED,
            Settings { ratelimit: true, .. } => &LIMITED,
            _ => &UNLIMITED,
        };
        let mss = if sequence.settings.ipv6 { MSS_V6 } else { MSS };
        let mut machine = Endpoint::new(stack, Seq::new(0)).with_timestamps(1).with_mss(mss);
        if sequence.settings.scaling {
            machine = machine.with_window_scale(shift);
        }
        machine.set(Condition::Rfc1337, sequence.settings.rfc1337);
        machine.set(Condition::AbortOnOverflow, sequence.settings.abort_on_overflow);
        machine.set(Condition::TableFull, sequence.settings.table_full);
        Self {
            sequence,
            number,
            tuple,
            machine,
            socket: None,
            stale: Vec::new(),
            listener: None,
            life: 0,
            echo: 0,
            exists: false,
            window: 0,
            late_start: 0,
            keepalive: None,
            resent: false,
            small_window: false,
            trace: String::new(),
            outcome: Outcome::default(),
        }
    }

    pub(super) fn step(&mut self, bench: &mut Bench, at: usize) -> io::Result<()> {
        let Some(step) = self
            .sequence
            .steps
            .get(at)
            .filter(|_| self.outcome.difference.is_none() && self.outcome.exception.is_none())
        else {
            return Ok(());
        };
        let mut replies = bench.answers(self.tuple)?;
        let late = bench.take_late(self.number);
        replies.splice(0..0, late);
        if self.sequence.waits_for_timers() {
            let only_waits = matches!(step, Step::Wait(_) | Step::Timer);
            if only_waits {
                self.outcome.rows.push(None);
            }
            self.follow_timers(bench, at, std::mem::take(&mut replies))?;
            if only_waits || self.outcome.difference.is_some() {
                return Ok(());
            }
        } else if matches!(step, Step::Wait(_)) {
            return self.wait(bench, at, step, &replies);
        }
        let before = self.machine.clone();
        if let Some(odd) = replies.iter().find(|segment| !is_again(&before, segment)) {
            let what = format!("the kernel sent by itself: {}", self.shown(odd));
            self.differs(at, what);
            return Ok(());
        }
        self.resent |= !replies.is_empty();
        self.outcome.exception = self.exception(step);
        if self.outcome.exception.is_some() {
            return Ok(());
        }
        let now = bench.ticks()?;
        self.outcome.rows.push(None);
        let done = self.act(bench, now, step)?;
        let replies = bench.answers(self.tuple)?;
        let found = bench.sockets.find(self.tuple)?;
        let after = if found.is_some_and(|found| found.mini) { bench.ticks()? } else { now };
        self.exists = found.is_some();
        if let Some(first) = replies.iter().find(|segment| segment.flags.has(Flags::SYN)) {
            self.machine.set_next_iss(first.seq);
        }
        if done {
            self.follow(now, step);
        }
        let is_complete = !matches!(
            self.machine.state(),
            State::Closed | State::Listen | State::SynSent | State::SynReceived
        );
        self.small_window |= is_complete && self.machine.max_window() < 2 * u32::from(MSS);
        let mut said = Vec::new();
        while let Some(segment) = self.machine.poll_transmit(now) {
            said.push(segment);
        }
        self.note_step(step, &replies, &said, found);
        self.outcome.exception = self.cut_short(&before, &replies, &said);
        if self.outcome.exception.is_some() {
            return Ok(());
        }
        let fresh = without_repeats(&before, &replies, &said);
        let row = self.outcome.rows.last().copied().flatten();
        if row.is_some_and(|row| row.timer != TimerAction::Keep) {
            self.late_start = after - now;
        }
        let mut what = self.compare(&fresh, &said, found, now, after);
        if said.iter().any(|segment| segment.flags.has(Flags::SYN))
            && bench.scale != self.machine.window_scale()
        {
            what = what.or_else(|| Some(format!("another window scale: {:?}", bench.scale)));
        }
        if let Some(what) = what {
            self.differs(at, what);
            return Ok(());
        }
        for segment in &replies {
            // net/ipv4/tcp_minisocks.c tcp_check_req() takes only the echo of a SYN,ACK's timestamp.
            if segment.flags.has(Flags::SYN) || self.machine.state() != State::SynReceived {
                self.echo = segment.timestamps.map_or(self.echo, |timestamps| timestamps.value);
            }
            let announces = segment.flags.has(Flags::ACK) || segment.flags.has(Flags::SYN);
            if announces && !segment.flags.has(Flags::RST) {
                self.machine.set_window(segment);
                self.window = segment.window;
            }
        }
        self.adopt()
    }

    /// Time has passed: what the kernel sent meanwhile, in all, is what the machine's timers send.
    fn wait(&mut self, bench: &mut Bench, at: usize, step: &Step, replies: &[Segment]) -> io::Result<()> {
        let now = bench.ticks()?;
        let found = bench.sockets.find(self.tuple)?;
        let after = bench.ticks()?;
        self.exists = found.is_some();
        self.outcome.rows.push(None);
        let mut said = Vec::new();
        loop {
            let probe = self.keepalive.as_mut().filter(|keepalive| keepalive.due <= now);
            let due = match (self.machine.poll_timeout().filter(|due| *due <= now), probe) {
                (Some(due), probe) if probe.as_ref().is_none_or(|probe| due <= probe.due) => {
                    self.machine.handle_timeout(due);
                    due
                }
                (_, Some(probe)) => {
                    let due = probe.due;
                    probe.fire(&mut self.machine);
                    due
                }
                _ => break,
            };
            while let Some(segment) = self.machine.poll_transmit(due) {
                said.push(segment);
            }
        }
        self.note_step(step, replies, &said, found);
        if let Some(what) = self.compare(replies, &said, found, now, after) {
            self.differs(at, what);
        }
        Ok(())
    }

    fn note_step(&mut self, step: &Step, replies: &[Segment], said: &[Segment], found: Option<Found>) {
        let _ = writeln!(self.trace, "  {step}");
        let _ = write!(self.trace, "    kernel :");
        for segment in replies {
            let _ = write!(self.trace, " [{}]", self.shown(segment));
        }
        let _ = writeln!(self.trace, " {}", kernel_state(found));
        let _ = write!(self.trace, "    machine:");
        for segment in said {
            let _ = write!(self.trace, " [{}]", self.shown(segment));
        }
        let mini = if self.machine.is_mini() { " mini" } else { "" };
        let row = self.outcome.rows.last().copied().flatten();
        let because = row.map_or("no row", |row| row.source.text);
        let number = row.map_or("", |row| row.source.number);
        let _ = writeln!(self.trace, " {}{mini}, row {number} {because}", self.machine.state());
    }

    /// What was sent is one of those cases in which the two are known to differ.
    fn cut_short(&mut self, before: &Endpoint, replies: &[Segment], said: &[Segment]) -> Option<Exception> {
        self.resent |= without_repeats(before, replies, said).len() < replies.len();
        let has_data = |segments: &[Segment]| segments.iter().any(|segment| segment.length > 0);
        let new = |segments: &[Segment]| {
            segments.iter().filter(|one| one.span() > 0 && !is_again(before, one)).count()
        };
        if self.small_window && (has_data(said) || has_data(replies)) {
            Some(Exception::SmallWindow)
        } else if self.machine.has_unsent() && has_data(said) && replies.len() == said.len() + 1 {
            Some(Exception::CutBurst)
        } else if (self.resent || before.snd_nxt().since(before.snd_una()) > MUCH) && new(replies) < new(said)
        {
            Some(Exception::Congestion)
        } else {
            None
        }
    }

    /// The next step is one of those in which the two are known to differ.
    fn exception(&self, step: &Step) -> Option<Exception> {
        let Step::Segment(probe) = step else { return None };
        let (machine, segment) = (&self.machine, self.segment(probe));
        let kind = Kind::of(&segment);
        let repeats_syn = segment.seq == machine.irs() && segment.span() > 1;
        if self.window == u16::MAX && machine.rcv_edge().before(segment.end()) {
            return Some(Exception::LargeWindow);
        }
        match machine.state() {
            State::SynReceived if kind == Kind::SynAck && repeats_syn && self.socket.is_none() => {
                Some(Exception::EarlySocket)
            }
            _ => None,
        }
    }

    fn differs(&mut self, step: usize, what: String) {
        self.outcome.difference = Some(Difference { step, what, trace: std::mem::take(&mut self.trace) });
    }

    /// The segment that a probe stands for now.
    fn segment(&self, probe: &Probe) -> Segment {
        let machine = &self.machine;
        let fresh = machine.life() == 0;
        let initial = if fresh { Seq::new(self.sequence.isn) } else { machine.irs() };
        let seq = match probe.seq_from {
            SeqFrom::Next if fresh => initial,
            SeqFrom::Next => machine.rcv_nxt(),
            SeqFrom::Edge => machine.rcv_edge(),
            SeqFrom::Initial => initial,
        };
        let ack = match probe.ack_from {
            AckFrom::Next => machine.snd_nxt(),
            AckFrom::Unacknowledged => machine.snd_una(),
            AckFrom::Initial => machine.iss(),
        };
        let clock = if machine.ts_recent() == 0 { self.sequence.clock } else { machine.ts_recent() };
        let has_ack = probe.flags.has(Flags::ACK);
        let mut segment = Segment {
            flags: probe.flags,
            seq: seq.plus(probe.seq.cast_unsigned()),
            ack: if has_ack { ack.plus(probe.ack.cast_unsigned()) } else { Seq::new(0) },
            length: u32::from(probe.length),
            window: probe.window.unwrap_or(WINDOW),
            timestamps: probe.ts.map(|ts| Timestamps {
                value: clock.wrapping_add(ts.cast_unsigned()),
                echo: if has_ack { self.echo } else { 0 },
            }),
        };
        // Another window than the last is not predicted (docs/exceptions.md).
        let established = machine.state() == State::Established && Kind::of(&segment) == Kind::Data;
        if established
            && (segment.ack.before(machine.snd_una())
                || segment.seq.before(machine.snd_wl1())
                || machine.waits_for_window())
            && machine.announced(&segment) == machine.snd_wnd()
        {
            segment.window ^= 1;
        }
        segment
    }

    /// Does the step on the kernel's side. False if it cannot be done now: then neither side does it.
    fn act(&mut self, bench: &mut Bench, now: Nanos, step: &Step) -> io::Result<bool> {
        match step {
            Step::Segment(probe) => bench.inject(self.tuple, &self.segment(probe), probe.scale)?,
            // A request of the listener before would be answered by this one.
            Step::Listen if self.listener.is_some() || self.machine.state() == State::SynReceived => {
                return Ok(false);
            }
            Step::Listen => self.listener = Some(socket::listen(self.tuple.local, BACKLOG)?),
            Step::Fill => {
                if self.listener.is_none() || self.machine.is_set(Condition::QueueFull) {
                    return Ok(false);
                }
                self.fill(bench)?;
            }
            Step::Kill => {
                if !self.machine.is_mini() {
                    return Ok(false);
                }
                bench.sockets.destroy(self.tuple)?;
            }
            Step::Unlisten => self.listener = None,
            // The bench has waited, once for all.
            Step::Wait(_) | Step::Timer => {}
            Step::Connect => {
                let may = matches!(self.machine.state(), State::Closed | State::TimeWait);
                if !may || self.listener.is_some() || self.socket.is_some() {
                    return Ok(false);
                }
                self.socket = socket::connect(self.tuple.local, self.tuple.peer)?;
            }
            Step::NoLinger2 => {
                let Some(socket) = &self.socket else { return Ok(false) };
                socket::no_linger2(socket)?;
            }
            Step::Keepalive => {
                let Some(socket) = &self.socket else { return Ok(false) };
                self.keepalive = Some(Keepalive::start(socket, now)?);
            }
            Step::Send(_) | Step::Shutdown | Step::Close | Step::CloseUnread | Step::Abort => {
                self.call(now, step)?;
            }
        }
        Ok(true)
    }

    /// Calls that need a socket: done on both sides, or on none.
    fn call(&mut self, now: Nanos, step: &Step) -> io::Result<()> {
        let Some(socket) = self.socket.take() else { return Ok(()) };
        match step {
            Step::Send(bytes) => {
                let taken = socket::send(&socket, *bytes);
                self.note(now, Event::Call(Call::Send), None);
                self.machine.handle_send(now, taken);
                self.socket = Some(socket);
                return Ok(());
            }
            Step::Shutdown => {
                socket::shutdown(&socket);
                self.call_machine(now, Call::ShutdownWrite);
                self.socket = Some(socket);
                return Ok(());
            }
            Step::Close | Step::Abort => socket::drain(&socket),
            _ => {}
        }
        if *step == Step::Abort {
            socket::linger_zero(&socket)?;
        }
        // What more than one FIN leaves behind cannot be read.
        let call = if socket::has_unread(&socket) {
            Call::CloseUnread
        } else if *step == Step::Abort && !self.machine.is_mini() {
            Call::Abort
        } else {
            // A mini-socket is another one than the application's.
            Call::Close
        };
        drop(socket);
        self.call_machine(now, call);
        Ok(())
    }

    fn call_machine(&mut self, now: Nanos, call: Call) {
        self.note(now, Event::Call(call), None);
        self.machine.handle_call(now, call);
    }

    /// Notes the row that is about to apply.
    fn note(&mut self, now: Nanos, event: Event, segment: Option<&Segment>) {
        if let Some(row) = self.outcome.rows.last_mut() {
            *row = self.machine.row(now, event, segment);
        }
    }

    /// Connections from other ports of the peer, which nobody accepts.
    fn fill(&self, bench: &mut Bench) -> io::Result<()> {
        for port in 0..=BACKLOG {
            let port = self.tuple.peer.port().wrapping_add(1).wrapping_add(port);
            let tuple = Tuple { peer: SocketAddr::new(self.tuple.peer.ip(), port), ..self.tuple };
            let syn = Segment { flags: Flags::SYN, window: WINDOW, ..Segment::default() };
            bench.inject(tuple, &syn, None)?;
            for answer in bench.answers(tuple)? {
                let ack = Segment { flags: Flags::ACK, seq: Seq::new(1), ack: answer.seq.plus(1), ..syn };
                bench.inject(tuple, &ack, None)?;
            }
        }
        Ok(())
    }

    /// Does the step on the machine's side, unless it was done already.
    fn follow(&mut self, now: Nanos, step: &Step) {
        match step {
            Step::Segment(probe) => {
                let segment = self.segment(probe);
                self.note(now, Event::Segment(Kind::of(&segment)), Some(&segment));
                self.keepalive = self.keepalive.map(|_| Keepalive::heard(now));
                self.machine.handle_scaled(now, &segment, probe.scale);
            }
            Step::Listen if self.machine.life() == 0 => self.call_machine(now, Call::Listen),
            Step::Listen => self.machine.set(Condition::Listener, true),
            Step::Fill => self.machine.set(Condition::QueueFull, true),
            Step::Kill => self.call_machine(now, Call::Abort),
            Step::Unlisten => {
                if self.machine.state() == State::Listen {
                    self.call_machine(now, Call::Close);
                }
                self.machine.set(Condition::Listener, false);
                self.machine.set(Condition::QueueFull, false);
            }
            Step::Connect => self.call_machine(now, Call::Connect),
            Step::NoLinger2 => self.machine.set(Condition::Linger2Negative, true),
            _ => {}
        }
        if self.machine.life() != self.life {
            self.small_window = false;
            // It was set for the socket before.
            self.machine.set(Condition::Linger2Negative, false);
            self.life = self.machine.life();
            if *step != Step::Connect {
                self.stale.extend(self.socket.take());
            }
        }
    }

    /// Takes the connection from the listener once it is complete.
    fn adopt(&mut self) -> io::Result<()> {
        if let (None, Some(listener)) = (&self.socket, &self.listener)
            && !self.machine.is_set(Condition::QueueFull)
            && self.exists
            && !matches!(self.machine.state(), State::SynReceived)
        {
            self.socket = socket::accept(listener)?;
        }
        Ok(())
    }

    fn compare(
        &self,
        replies: &[Segment],
        said: &[Segment],
        found: Option<Found>,
        now: Nanos,
        after: Nanos,
    ) -> Option<String> {
        if !are_same(replies, said) {
            return Some("another reply".to_owned());
        }
        if let Some(what) = self.compare_state(found) {
            return Some(what);
        }
        // Where timers are not compared that of a mini-socket depends on one, too: it is at least 3.5 times the
        // retransmission timeout as that has grown (net/ipv4/tcp_minisocks.c tcp_time_wait()).
        let timed = found.filter(|found| found.mini && !self.sequence.waits_for_timers());
        let (Some(found), Some(until)) = (timed, self.machine.poll_timeout()) else {
            return None;
        };
        let low = until.saturating_sub(after) / 1_000_000;
        let high = (until.saturating_sub(now) + self.late_start) / 1_000_000 + 1;
        let left = u64::from(found.left_ms);
        (left + TICKS_MS < low || left > high + TICKS_MS)
            .then(|| format!("another timer: the kernel's has {left} ms, the machine's {low} to {high}"))
    }

    fn compare_state(&self, found: Option<Found>) -> Option<String> {
        let state = match self.machine.state() {
            State::Closed | State::Listen => None,
            state => Some((state, self.machine.is_mini())),
        };
        let kernel = found.map(|found| (found.state, found.mini));
        (state != kernel).then(|| "another state".to_owned())
    }

    fn shown(&self, segment: &Segment) -> String {
        let machine = &self.machine;
        let mut text = segment.flags.to_string();
        let _ = write!(text, " seq=next{:+}", segment.seq.since(machine.snd_nxt()));
        if segment.flags.has(Flags::ACK) {
            let _ = write!(text, " ack=next{:+}", segment.ack.since(machine.rcv_nxt()));
        }
        let _ = write!(text, " win={}", segment.window);
        if segment.length > 0 {
            let _ = write!(text, " len={}", segment.length);
        }
        if let Some(timestamps) = segment.timestamps {
            let _ =
                write!(text, " ecr={:+}", timestamps.echo.wrapping_sub(machine.ts_recent()).cast_signed());
        }
        text
    }

    /// Removes what is left of it in the kernel.
    pub(super) fn end(mut self, bench: &mut Bench) -> io::Result<Outcome> {
        self.listener = None;
        for socket in self.socket.take().into_iter().chain(self.stale.drain(..)) {
            socket::linger_zero(&socket)?;
        }
        bench.sockets.destroy(self.tuple)?;
        bench.answers(self.tuple)?;
        Ok(self.outcome)
    }
}

fn kernel_state(found: Option<Found>) -> String {
    match found {
        None => "no socket".to_owned(),
        Some(found) => {
            let mini = if found.mini { format!(" mini {} ms", found.left_ms) } else { String::new() };
            format!("{}{mini}", found.state)
        }
    }
}
