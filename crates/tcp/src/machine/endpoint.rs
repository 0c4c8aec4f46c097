//! One end of a connection, run by the table.

use super::{Call, Condition, Event, Kind, Reply, Row, Timer, TimerAction, rows};
use crate::profile::Stack;
use crate::profile::linux::{TIME_WAIT_ISN_STEP, orphan_fin_wait_2_lifetime_for};
use crate::{Flags, Segment, Seq, State, Timestamps};

mod facts;
mod held;
mod probing;
mod receive;
mod residue;
mod retransmission;
mod scaling;
mod transmit;

pub use residue::Residue;

/// Nanoseconds since some start.
pub type Nanos = u64;

/// How many answers can wait to be taken by [`Endpoint::poll_transmit`].
const OUT: usize = 4;

/// A TCP endpoint without I/O and without a clock: segments, calls and timeouts go in, segments come out.
///
/// It keeps the variables of RFC 9293 section 3.3.1 and asks the [table](super::TABLE) what to do. Data is counted,
/// not kept; of what comes out of order a dozen pieces. After each `handle_` the caller takes
/// all of [`Endpoint::poll_transmit`] and looks at [`Endpoint::poll_timeout`].
///
/// ```
/// use tcp::machine::{Call, Endpoint};
/// use tcp::profile::Stack;
/// use tcp::{Seq, State};
/// let mut client = Endpoint::new(&Stack::LINUX, Seq::new(1_000));
/// let mut server = Endpoint::new(&Stack::LINUX, Seq::new(5_000));
/// server.handle_call(0, Call::Listen);
/// client.handle_call(0, Call::Connect);
/// for _ in 0..2 {
///     while let Some(segment) = client.poll_transmit(0) {
///         server.handle_segment(0, &segment);
///     }
///     while let Some(segment) = server.poll_transmit(0) {
///         client.handle_segment(0, &segment);
///     }
/// }
/// assert_eq!((client.state(), server.state()), (State::Established, State::Established));
/// ```
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub struct Endpoint {
    stack: Stack,
    state: State,
    /// The row that applied last, until it is taken.
    applied: Option<&'static Row>,
    /// How many connections began here.
    life: u32,
    /// The settings and the surroundings that hold, as bits by [`Condition`].
    surroundings: u64,
    /// The initial sequence number of the next connection.
    next_iss: Seq,
    iss: Seq,
    una: Seq,
    nxt: Seq,
    /// The end of all data that the application gave.
    written: Seq,
    /// A FIN goes behind it.
    fin: bool,
    /// SND.WL1, the number of the segment that set the window, and the window.
    window_seq: Seq,
    window: u32,
    /// The largest window that the peer announced.
    max_window: u32,
    /// How many numbers the peer has acknowledged.
    acknowledged: u32,
    irs: Seq,
    rcv_nxt: Seq,
    /// RCV.NXT as the last segment that left acknowledged it; Linux's `rcv_wup`.
    acked: Seq,
    /// In bytes.
    rcv_window: u32,
    scaling: scaling::Scaling,
    /// What came before its turn.
    held: held::Held,
    /// Something received, if only a FIN, was not read yet.
    unread: bool,
    /// The most data in a segment without options: the peer's MSS.
    mss: u32,
    /// Timestamps are offered; the clock ticks a millisecond, from here.
    timestamps: Option<u32>,
    /// Those of the next connection.
    next_timestamps: Option<u32>,
    had_timestamps: bool,
    ts_recent: u32,
    ts_recent_at: Nanos,
    orphan: bool,
    /// close() waits (SO_LINGER): there is an owner, who reads no more.
    lingers: bool,
    mini: bool,
    /// In SYN-RECEIVED: a listener's request.
    request: bool,
    /// In SYN-RECEIVED: shutdown(WR) was called.
    shutdown_pending: bool,
    entered_time_wait: Nanos,
    /// When the last ACK to something unacceptable was sent.
    last_invalid: Option<Nanos>,
    retransmit_at: Option<Nanos>,
    retransmits: u32,
    /// When the SYN went out, or what is in flight was sent again first.
    since: Nanos,
    /// SND.UNA when a probe of the tail's loss went out.
    probed: Option<Seq>,
    /// The timeouts that follow from the round trip: of a retransmission, and of that probe.
    timeouts: [Nanos; 2],
    /// Probes of a closed window that were not answered, and how often the time between them has doubled.
    window_probes: u8,
    probe_backoff: u8,
    /// When the last acknowledgement came.
    acknowledged_at: Nanos,
    /// When TIME-WAIT or FIN-WAIT-2 ends, or an orphan's FIN-WAIT-2 becomes a mini-socket.
    linger_at: Option<Nanos>,
    out: [Option<Segment>; OUT],
}

/// Conditions that are facts about the host, which its owner sets.
const SURROUNDINGS: [Condition; 8] = [
    Condition::Listener,
    Condition::QueueFull,
    Condition::AbortOnOverflow,
    Condition::RecycleRefuses,
    Condition::Rfc1337,
    Condition::TableFull,
    Condition::TooManyOrphans,
    Condition::Linger2Negative,
];

const fn nanos(duration: core::time::Duration) -> Nanos {
    let nanos = duration.as_nanos();
    if nanos > u64::MAX as u128 {
        u64::MAX
    } else {
        #[expect(clippy::cast_possible_truncation, reason = "compared the line above")]
        {
            nanos as u64
        }
    }
}

impl Endpoint {
    /// A closed endpoint whose first connection begins at this sequence number. No listener, no timestamps.
    pub const fn new(stack: &Stack, iss: Seq) -> Self {
        let zero = Seq::new(0);
        Self {
            stack: *stack,
            state: State::Closed,
            applied: None,
            life: 0,
            surroundings: 0,
            next_iss: iss,
            iss: zero,
            una: zero,
            nxt: zero,
            written: zero,
            fin: false,
            window_seq: zero,
            window: 0,
            max_window: 0,
            acknowledged: 0,
            irs: zero,
            rcv_nxt: zero,
            acked: zero,
            rcv_window: u16::MAX as u32,
            scaling: scaling::Scaling::OFF,
            held: held::Held::NOTHING,
            unread: false,
            mss: 1_460,
            timestamps: None,
            next_timestamps: None,
            had_timestamps: false,
            ts_recent: 0,
            ts_recent_at: 0,
            orphan: false,
            lingers: false,
            mini: false,
            request: false,
            shutdown_pending: false,
            entered_time_wait: 0,
            last_invalid: None,
            retransmit_at: None,
            retransmits: 0,
            since: 0,
            probed: None,
            timeouts: [0; 2],
            window_probes: 0,
            probe_backoff: 0,
            acknowledged_at: 0,
            linger_at: None,
            out: [None; OUT],
        }
    }

    /// Offers timestamps; at time 0 the clock shows this, and it ticks once a millisecond.
    #[must_use]
    pub const fn with_timestamps(mut self, at_start: u32) -> Self {
        self.timestamps = Some(at_start);
        self.next_timestamps = Some(at_start);
        self
    }

    /// Announces this window, not scaled.
    #[must_use]
    pub const fn with_window(mut self, window: u16) -> Self {
        self.rcv_window = window as u32;
        self
    }

    /// Takes this for the peer's MSS: 1460, unless it is said.
    #[must_use]
    pub const fn with_mss(mut self, mss: u16) -> Self {
        self.mss = mss as u32;
        self
    }

    /// Its state.
    pub const fn state(&self) -> State {
        self.state
    }

    /// The row of the table that applied last, once; none: none has since.
    pub const fn take_row(&mut self) -> Option<&'static Row> {
        self.applied.take()
    }

    /// How often what is in flight was sent again.
    pub const fn retransmits(&self) -> u32 {
        self.retransmits
    }

    /// From now on it is a system of this kind: settings of the host have changed.
    pub const fn set_stack(&mut self, stack: &Stack) {
        self.stack = *stack;
    }

    /// How many connections have begun here; the last of them is the one whose state this is.
    pub const fn life(&self) -> u32 {
        self.life
    }

    /// ISS of the last connection.
    pub const fn iss(&self) -> Seq {
        self.iss
    }

    /// RCV.NXT.
    pub const fn rcv_nxt(&self) -> Seq {
        self.rcv_nxt
    }

    /// IRS, the peer's initial sequence number in the last connection.
    pub const fn irs(&self) -> Seq {
        self.irs
    }

    /// The end of the receive window that was last announced.
    pub const fn rcv_edge(&self) -> Seq {
        self.acked.plus(self.rcv_window)
    }

    /// SND.UNA.
    pub const fn snd_una(&self) -> Seq {
        self.una
    }

    /// SND.WL1: the number of the segment that set it.
    pub const fn snd_wl1(&self) -> Seq {
        self.window_seq
    }

    /// SND.WND in bytes: the window that the peer announced, as far as it counts.
    pub const fn snd_wnd(&self) -> u32 {
        self.window
    }

    /// True if data or the FIN waits for room in the peer's window.
    pub fn has_unsent(&self) -> bool {
        self.written.since(self.nxt) + i32::from(self.fin) > 0
    }

    /// The largest window that the peer has announced.
    pub const fn max_window(&self) -> u32 {
        self.max_window
    }

    /// The last timestamp taken from the peer (TS.Recent of RFC 7323); 0 before there was one.
    pub const fn ts_recent(&self) -> u32 {
        self.ts_recent
    }

    /// SND.NXT.
    pub const fn snd_nxt(&self) -> Seq {
        self.nxt
    }

    /// True if no process owns it.
    pub const fn is_orphan(&self) -> bool {
        self.orphan
    }

    /// True if it is kept as Linux's mini-socket.
    pub const fn is_mini(&self) -> bool {
        self.mini || matches!(self.state, State::TimeWait)
    }

    /// Where the next connection's sequence numbers begin.
    pub const fn set_next_iss(&mut self, iss: Seq) {
        self.next_iss = iss;
    }

    /// What the next connection's timestamp clock shows at time 0; none: it offers no timestamps. Without this, as with
    /// the connection before.
    pub const fn set_next_timestamps(&mut self, at_start: Option<u32>) {
        self.next_timestamps = at_start;
    }

    /// Sets a fact of the host: one of its settings, a full queue or table, a listener. Others are the endpoint's
    /// own and stay as they are.
    pub fn set(&mut self, condition: Condition, holds: bool) {
        if SURROUNDINGS.contains(&condition) {
            let bit = 1 << condition as u64;
            self.surroundings = if holds { self.surroundings | bit } else { self.surroundings & !bit };
        }
    }

    /// The application sends so many bytes.
    pub fn handle_send(&mut self, now: Nanos, bytes: u32) {
        if !self.fin && matches!(self.state, State::Established | State::CloseWait) {
            self.written = self.written.plus(bytes);
        }
        self.handle_call(now, Call::Send);
    }

    /// The application asks for something. What its state does not allow does nothing, as an error of the call would.
    pub fn handle_call(&mut self, now: Nanos, call: Call) {
        // Who closed has no socket to call any more.
        if self.orphan && !matches!(call, Call::Connect | Call::Listen | Call::Abort) {
            return;
        }
        let reuses = matches!((call, self.state), (Call::Connect, State::TimeWait));
        if reuses && !self.may_reuse(now) {
            return;
        }
        let Some(row) = self.row(now, Event::Call(call), None) else { return };
        match call {
            // net/ipv4/tcp_ipv4.c tcp_twsk_unique(): it goes on from the old numbers, and remembers the timestamp.
            Call::Connect if reuses => self.open(self.nxt.plus(TIME_WAIT_ISN_STEP.value)),
            Call::Connect => {
                self.ts_recent = 0;
                self.open(self.next_iss);
            }
            Call::ShutdownWrite => {
                self.fin |= matches!(row.reply, Reply::Fin);
                self.shutdown_pending |= self.state == State::SynReceived;
            }
            Call::Close => {
                self.fin |= matches!(row.reply, Reply::Fin);
                self.orphan = true;
                self.shutdown_pending = false;
                self.unread = false;
            }
            Call::Listen => self.set(Condition::Listener, true),
            Call::Send | Call::CloseUnread | Call::Abort => {}
        }
        self.apply(now, row, None);
    }

    /// close() with SO_LINGER on and more than zero seconds, as far as its wait: the FIN goes out, and what still comes is
    /// refused as after any close(), but the socket is no orphan yet: it is sent again as often as an owner's, and does
    /// not count against `tcp_max_orphans`. [`Call::Close`] follows when the wait is over: the state is none of FIN-WAIT-1,
    /// CLOSING and LAST-ACK any more, or the time has passed (net/ipv4/tcp.c `__tcp_close()`, net/core/stream.c
    /// `sk_stream_wait_close()`; seen on 6.18).
    pub fn begin_lingering_close(&mut self, now: Nanos) {
        if self.orphan {
            return;
        }
        self.handle_call(now, Call::ShutdownWrite);
        self.unread = false;
        self.lingers = self.state != State::Closed;
    }

    /// A segment arrives.
    pub fn handle_segment(&mut self, now: Nanos, segment: &Segment) {
        self.handle_scaled(now, segment, None);
    }

    /// The same for a SYN with this window scale option; that of any other segment says nothing.
    pub fn handle_scaled(&mut self, now: Nanos, segment: &Segment, scale: Option<u8>) {
        let Some(row) = self.row(now, Event::Segment(Kind::of(segment)), Some(segment)) else { return };
        if self.state == State::SynSent && matches!(row.to, Some(State::Established | State::SynReceived)) {
            self.scaling.hear(scale);
        }
        let bad_ack = self.state == State::SynSent && row.reply == Reply::Rst;
        let was_pending = self.shutdown_pending;
        let life = self.life;
        self.take(now, row, segment);
        if self.life != life {
            self.scaling.hear(scale);
            self.scaling.settle();
        }
        self.apply(now, row, Some(segment));
        if was_pending && !self.shutdown_pending && matches!(Kind::of(segment), Kind::Data | Kind::Fin) {
            self.handle_segment(now, segment);
        }
        if bad_ack
            && self.retransmits == 0
            && let Some(soon) = self.stack.bad_ack_resends_syn
        {
            // Once: the retransmission that follows counts.
            self.retransmit_at = Some(now.saturating_add(nanos(soon)));
        }
    }

    /// When [`Self::handle_timeout`] has something to do; none: never.
    pub fn poll_timeout(&self) -> Option<Nanos> {
        match (self.retransmit_at, self.linger_at) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Time has come this far.
    pub fn handle_timeout(&mut self, now: Nanos) {
        if self.retransmit_at.is_some_and(|at| at <= now) {
            if self.waits_for_window() {
                self.window_probe_due(now);
            } else {
                self.retransmission_due(now);
            }
        }
        if self.linger_at.is_some_and(|at| at <= now) {
            if self.state == State::FinWait2 && !self.mini && self.stack.mini_fin_wait_2 {
                // The part of tcp_fin_timeout above TIME-WAIT's length is over: the same again as a mini-socket.
                self.mini = true;
                self.linger_at = self.beyond_time_wait().map(|more| now.saturating_add(more));
            } else if self.state == State::TimeWait {
                self.fire(now, Timer::TimeWaitEnds);
            } else {
                self.fire(now, Timer::FinWait2Ends);
            }
        }
    }

    /// A keepalive timer that its owner runs has come, or has been given up.
    pub fn fire(&mut self, now: Nanos, timer: Timer) {
        if let Some(row) = self.row(now, Event::Timer(timer), None) {
            self.apply(now, row, None);
        }
    }

    /// The row that applies if this happens now; none: nothing does.
    pub fn row(&self, now: Nanos, event: Event, segment: Option<&Segment>) -> Option<&'static Row> {
        rows(self.state, event, |condition| Some(self.fact(now, condition, segment))).next()
    }

    /// Begins a connection.
    fn open(&mut self, iss: Seq) {
        self.life += 1;
        self.iss = iss;
        self.una = iss;
        self.nxt = iss.plus(1);
        self.written = self.nxt;
        self.window = 0;
        self.max_window = 0;
        self.acknowledged = 0;
        self.request = false;
        self.shutdown_pending = false;
        self.unread = false;
        self.held.clear();
        self.scaling.begin();
        self.fin = false;
        self.orphan = false;
        self.lingers = false;
        self.mini = false;
        self.timestamps = self.next_timestamps;
        self.had_timestamps = false;
        self.last_invalid = None;
        self.retransmits = 0;
        self.probed = None;
        self.timeouts = [0; 2];
        self.window_probes = 0;
        self.probe_backoff = 0;
        self.retransmit_at = None;
    }

    /// Goes where the row leads, sets its timer, answers.
    fn apply(&mut self, now: Nanos, row: &'static Row, segment: Option<&Segment>) {
        let from = self.state;
        self.applied = Some(row);
        let by_mini = self.is_mini();
        self.state = row.after(from);
        match row.timer {
            TimerAction::Keep => {}
            TimerAction::Stop => self.linger_at = None,
            TimerAction::TimeWait => {
                if from != State::TimeWait {
                    self.entered_time_wait = now;
                    if !self.mini {
                        self.last_invalid = None;
                    }
                }
                self.mini = false;
                self.orphan = true;
                self.linger_at = Some(now.saturating_add(nanos(self.stack.time_wait)));
            }
            TimerAction::FinWait2 => {
                self.wait_for_fin(now, segment.is_some_and(|segment| segment.flags.has(Flags::FIN)));
            }
        }
        match self.state {
            State::Closed | State::Listen | State::FinWait2 | State::TimeWait => {
                self.retransmit_at = None;
                self.retransmits = 0;
            }
            _ => {}
        }
        if self.state == State::Closed {
            self.orphan = false;
            self.mini = false;
            self.fin = false;
            self.linger_at = None;
        }
        self.answer(now, row.reply, segment, from, by_mini);
    }

    /// An orphan in FIN-WAIT-2 does not wait for ever (net/ipv4/tcp.c tcp_close(), tcp_rcv_state_process()).
    /// Where a FIN came along, out of order, the full socket stays to see it again.
    fn wait_for_fin(&mut self, now: Nanos, saw_fin: bool) {
        let Some(timeout) = self.stack.fin_timeout.filter(|_| self.orphan) else { return };
        if !self.stack.mini_fin_wait_2 {
            self.linger_at = Some(now.saturating_add(nanos(timeout)));
            return;
        }
        self.mini = timeout <= self.stack.time_wait && !saw_fin;
        if self.mini {
            self.last_invalid = None;
        }
        let first = self.beyond_time_wait().unwrap_or(nanos(timeout));
        self.linger_at = Some(now.saturating_add(first));
    }

    /// Half of the lifetime of an orphan's FIN-WAIT-2, if its timeout is longer than TIME-WAIT.
    fn beyond_time_wait(&self) -> Option<Nanos> {
        let timeout = self.stack.fin_timeout.filter(|timeout| *timeout > self.stack.time_wait)?;
        Some(nanos(orphan_fin_wait_2_lifetime_for(timeout, self.stack.time_wait)) / 2)
    }

    /// `tcp_tw_reuse`: a second after TIME-WAIT began (net/ipv4/tcp_ipv4.c tcp_twsk_unique()).
    fn may_reuse(&self, now: Nanos) -> bool {
        self.stack.reuse_delay.is_some_and(|delay| now >= self.entered_time_wait.saturating_add(nanos(delay)))
    }
}
