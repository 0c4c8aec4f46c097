//! What an endpoint sends.

use super::{Endpoint, Event, Flags, Nanos, Reply, Segment, Seq, State, Timer, Timestamps, nanos};

/// Of the option, with what aligns it (RFC 7323 appendix A).
const TIMESTAMPS_LENGTH: u32 = 12;

/// A full socket, its connection complete.
const fn is_open(state: State) -> bool {
    matches!(
        state,
        State::Established
            | State::CloseWait
            | State::FinWait1
            | State::FinWait2
            | State::Closing
            | State::LastAck
    )
}

impl Endpoint {
    /// The next segment to send, if there is one: answers first, then data and FIN as far as the window allows.
    pub fn poll_transmit(&mut self, now: Nanos) -> Option<Segment> {
        let segment = self.next_to_send(now)?;
        if segment.flags.has(Flags::ACK) && !segment.flags.has(Flags::RST) {
            self.acked = segment.ack;
        }
        Some(segment)
    }

    fn next_to_send(&mut self, now: Nanos) -> Option<Segment> {
        if let Some(segment) = self.out[0].take() {
            self.out.rotate_left(1);
            return Some(segment);
        }
        let Some((length, fin)) = self.next_piece() else {
            self.arm_window_probe(now);
            return None;
        };
        let segment = self.piece(now, self.nxt, length, fin);
        self.nxt = segment.end();
        self.arm(now);
        Some(segment)
    }

    /// True in the states in which data or a FIN may wait to be sent.
    pub(super) const fn may_send(&self) -> bool {
        matches!(
            self.state,
            State::Established | State::CloseWait | State::FinWait1 | State::Closing | State::LastAck
        )
    }

    /// How much data the next new segment has, and whether the FIN goes with it; none: nothing may be sent.
    pub(super) fn next_piece(&self) -> Option<(u32, bool)> {
        if !self.may_send() {
            return None;
        }
        let unsent = self.written.since(self.nxt);
        let room = self.una.plus(self.window).since(self.nxt);
        if unsent < 0 || unsent == 0 && !self.fin {
            return None;
        }
        let length = unsent.cast_unsigned().min(self.most_data());
        let fin = self.fin && length == unsent.cast_unsigned();
        // net/ipv4/tcp_output.c tcp_snd_wnd_test(): a segment fits as a whole, with its FIN, or waits.
        (room >= (length + u32::from(fin)).cast_signed()).then_some((length, fin))
    }

    /// As much data as there is room for, where what waits does not fit as a whole.
    fn filling_piece(&self) -> Option<u32> {
        let room = u32::try_from(self.una.plus(self.window).since(self.nxt)).ok()?;
        let unsent = u32::try_from(self.written.since(self.nxt)).ok()?;
        Some(room.min(unsent).min(self.most_data())).filter(|length| *length > 0)
    }

    /// The most data in a segment: the peer's MSS without the options (RFC 6691).
    fn most_data(&self) -> u32 {
        self.mss - if self.had_timestamps { TIMESTAMPS_LENGTH } else { 0 }
    }

    /// Puts the answer of a row on its way. `from` is the state in which the event met it.
    pub(super) fn answer(
        &mut self,
        now: Nanos,
        reply: Reply,
        to: Option<&Segment>,
        from: State,
        by_mini: bool,
    ) {
        let mut segment = match reply {
            // What is new goes out by itself; when the timer has come, what was sent already goes again.
            Reply::Data | Reply::Fin if self.is_retransmission() && self.una.before(self.nxt) => {
                let Some(segment) = self.oldest(now) else { return };
                segment
            }
            Reply::Nothing | Reply::Data | Reply::Fin => return,
            Reply::Syn => {
                if self.retransmits == 0 {
                    self.since = now;
                }
                self.arm(now);
                self.plain(now, Flags::SYN, self.iss, Seq::new(0))
            }
            // net/ipv4/tcp_minisocks.c tcp_check_req(): a repeated SYN.
            Reply::SynAck if from == State::SynReceived && to.is_some() && self.is_limited(now, to) => return,
            Reply::SynAck => {
                self.arm(now);
                self.plain(now, Flags::SYN.with(Flags::ACK), self.iss, self.rcv_nxt)
            }
            Reply::LimitedAck if self.is_limited(now, to) => return,
            Reply::ChallengeAck if self.is_limited(now, None) => return,
            // net/ipv4/tcp_timer.c tcp_keepalive_timer(): not while something is in flight or waits to be.
            Reply::Probe if self.una != self.nxt || self.written.since(self.nxt) > 0 => return,
            // net/ipv4/tcp_input.c tcp_data_snd_check(): what can go out now acknowledges, too. But tcp_fin() answers
            // at once where both have closed.
            Reply::Ack
                if to.is_some()
                    && is_open(from)
                    && (from, self.state) != (State::FinWait1, State::Closing)
                    && self.next_piece().is_some() =>
            {
                return;
            }
            Reply::Ack | Reply::LimitedAck | Reply::ChallengeAck => {
                self.plain(now, Flags::ACK, self.acceptable_seq(), self.rcv_nxt)
            }
            Reply::WindowProbe if !self.waits_for_window() => return,
            Reply::WindowProbe => match self.filling_piece() {
                Some(length) => {
                    let piece = self.piece(now, self.nxt, length, false);
                    self.nxt = piece.end();
                    self.start_timer(now);
                    piece
                }
                None => self.plain(now, Flags::ACK, self.una.plus(u32::MAX), self.rcv_nxt),
            },
            Reply::Probe => self.plain(now, Flags::ACK, self.una.plus(u32::MAX), self.rcv_nxt),
            Reply::Abort => {
                debug_assert!(from != State::Closed, "nothing to abort");
                self.plain(now, Flags::RST.with(Flags::ACK), self.acceptable_seq(), self.rcv_nxt)
            }
            Reply::Rst => {
                let Some(to) = to else { return };
                if to.flags.has(Flags::ACK) {
                    Segment { flags: Flags::RST, seq: to.ack, ..Segment::default() }
                } else {
                    let flags = Flags::RST.with(Flags::ACK);
                    Segment { flags, ack: to.end(), ..Segment::default() }
                }
            }
        };
        // The last ACK before TIME-WAIT is still the full socket's.
        if self.is_mini() && !by_mini && !self.had_timestamps {
            segment.timestamps = None;
        }
        self.queue(segment);
    }

    /// The number of an acknowledgement: where the peer has taken its window back, one that still lies in it
    /// (net/ipv4/tcp_output.c tcp_acceptable_seq()).
    fn acceptable_seq(&self) -> Seq {
        let edge = self.una.plus(self.window);
        let taken_back = edge.before(self.nxt) && !self.is_rounding(self.nxt.since(edge));
        if !self.is_mini() && !self.request && taken_back { edge } else { self.nxt }
    }

    /// True if it is the retransmission timer that is answered. A call is not, whatever was sent again before.
    fn is_retransmission(&self) -> bool {
        self.applied.is_some_and(|row| row.on == Event::Timer(Timer::RetransmissionDue))
    }

    fn queue(&mut self, segment: Segment) {
        if let Some(free) = self.out.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(segment);
        }
    }

    /// Sends the FIN when nothing was sent before it.
    pub(super) fn send_fin(&mut self, now: Nanos) {
        let fin = self.piece(now, self.nxt, 0, true);
        self.nxt = fin.end();
        self.arm(now);
        self.queue(fin);
    }

    /// net/ipv4/tcp_input.c tcp_oow_rate_limited(): a SYN or a segment without data is answered once in a while.
    /// None: whatever it is, tcp_send_challenge_ack().
    fn is_limited(&mut self, now: Nanos, to: Option<&Segment>) -> bool {
        let Some(limit) = self.stack.invalid_ratelimit else { return false };
        let counts = to.is_none_or(|segment| segment.flags.has(Flags::SYN) || segment.span() == 0);
        if !counts {
            return false;
        }
        if self.last_invalid.is_some_and(|last| now < last.saturating_add(nanos(limit))) {
            return true;
        }
        self.last_invalid = Some(now);
        false
    }

    /// The oldest that is not acknowledged.
    fn oldest(&self, now: Nanos) -> Option<Segment> {
        let first = self.una.max(self.iss.plus(1));
        let fin_sent = self.fin && self.written.before(self.nxt);
        let data = self.nxt.since(first) - i32::from(fin_sent);
        let data = u32::try_from(data).ok()?;
        // net/ipv4/tcp_output.c __tcp_retransmit_skb(): as far as the window goes, if it was not closed altogether.
        let room = u32::try_from(self.una.plus(self.window).since(first)).unwrap_or(0);
        let room = if room == 0 { u32::MAX } else { room };
        let length = data.min(self.most_data()).min(room);
        let fin = fin_sent && length == data;
        (length > 0 || fin).then(|| self.piece(now, first, length, fin))
    }

    fn piece(&self, now: Nanos, seq: Seq, length: u32, fin: bool) -> Segment {
        let mut flags = Flags::ACK;
        if length > 0 {
            flags = flags.with(Flags::PSH);
        }
        if fin {
            flags = flags.with(Flags::FIN);
        }
        Segment { length, ..self.plain(now, flags, seq, self.rcv_nxt) }
    }

    fn plain(&self, now: Nanos, flags: Flags, seq: Seq, ack: Seq) -> Segment {
        // Who called has offered them, and does so again if SYNs crossed.
        let offers = if self.is_mini() {
            // net/ipv4/tcp_ipv4.c tcp_v4_timewait_ack(): where there is one to echo.
            self.timestamps.is_some() && self.ts_recent != 0
        } else {
            self.had_timestamps || flags.has(Flags::SYN) && !self.request
        };
        let timestamps = self.timestamps.filter(|_| offers).map(|at_start| {
            #[expect(clippy::cast_possible_truncation, reason = "a timestamp wraps (RFC 7323 section 5.4)")]
            let ticks = (now / 1_000_000) as u32;
            Timestamps { value: at_start.wrapping_add(ticks), echo: self.ts_recent }
        });
        Segment { flags, seq, ack, length: 0, window: self.window_on_wire(flags), timestamps }
    }
}
