//! What an endpoint takes from a segment that its table lets in.

use super::{Endpoint, Nanos, nanos};
use crate::machine::{Condition, Kind, Reply, Row, TimerAction};
use crate::profile::linux::TIME_WAIT_ISN_STEP;
use crate::{Flags, Segment, State, Timestamps};

impl Endpoint {
    /// Takes from a segment what the row lets in: acknowledgement, window, data, FIN, timestamp.
    pub(super) fn take(&mut self, now: Nanos, row: &Row, segment: &Segment) {
        let holds = |condition| self.fact(now, condition, Some(segment));
        match (self.state, row.after(self.state)) {
            (State::Closed | State::Listen | State::TimeWait, State::SynReceived) => {
                let iss = if self.state == State::TimeWait {
                    self.nxt.plus(TIME_WAIT_ISN_STEP.value)
                } else {
                    self.next_iss
                };
                self.open(iss);
                self.request = true;
                self.synchronize(now, segment);
            }
            (State::SynSent, State::SynReceived) => self.synchronize(now, segment),
            (State::SynSent, State::Established) => {
                self.scaling.settle();
                self.synchronize(now, segment);
                self.acknowledge(now, segment);
            }
            (State::SynReceived, State::Established | State::FinWait1)
                if Kind::of(segment) == Kind::SynAck =>
            {
                if self.ts_recent == 0 || holds(Condition::TsNotOlder) {
                    self.hear(now, segment);
                }
                self.complete(now, segment);
                self.shut_down(now);
            }
            (State::TimeWait, _) => {
                let exact = Kind::of(segment) == Kind::Rst && holds(Condition::SeqAt);
                let quiet = row.timer == TimerAction::TimeWait && row.reply == Reply::Nothing;
                let ignored = exact && holds(Condition::Rfc1337) && !holds(Condition::PawsRejects);
                if quiet || ignored {
                    self.hear(now, segment);
                }
                if ignored && self.stack.ignored_reset_restarts {
                    self.linger_at = Some(now.saturating_add(nanos(self.stack.time_wait)));
                }
            }
            (State::FinWait2, to) if self.mini => {
                if to == State::TimeWait {
                    self.rcv_nxt = segment.end();
                    self.hear(now, segment);
                }
            }
            (State::Closed | State::Listen | State::SynSent, _) => {}
            _ => self.take_in(now, row, segment),
        }
    }

    /// A full socket, or a listener's request, takes a segment if it is acceptable.
    fn take_in(&mut self, now: Nanos, row: &Row, segment: &Segment) {
        let holds = |condition| self.fact(now, condition, Some(segment));
        let refused = [
            Condition::NoAck,
            Condition::PawsRejects,
            Condition::OutOfWindow,
            Condition::AckTooOld,
            Condition::AckRefused,
        ];
        let talks = matches!(Kind::of(segment), Kind::Ack | Kind::Data | Kind::Fin);
        let ignored = !talks || refused.into_iter().any(holds);
        // Header prediction (net/ipv4/tcp_input.c tcp_rcv_established()) looks at an acknowledgement last.
        let newer = |of: Timestamps| of.value.wrapping_sub(self.ts_recent).cast_signed() >= 0;
        let predicted = self.state == State::Established
            && Kind::of(segment) == Kind::Ack
            && segment.seq == self.rcv_nxt
            && self.acked == self.rcv_nxt
            && self.announced(segment) == self.window
            && self.held.is_empty()
            && !holds(Condition::AckRefused)
            && segment.timestamps.is_some_and(newer);
        // net/ipv4/tcp_input.c tcp_replace_ts_recent(), tcp_minisocks.c tcp_check_req().
        let recent = (self.ts_recent == 0 || holds(Condition::TsNotOlder))
            && !self.acked.before(segment.seq)
            && !segment.ack.before(self.una);
        // What the listener's full queue turns away leaves nothing behind.
        let waits = self.state == State::SynReceived && row.to.is_none();
        if predicted || !ignored && !waits && recent {
            self.hear(now, segment);
        }
        if ignored || waits {
            return;
        }
        let in_order = self.fact(now, Condition::InOrder, Some(segment));
        let above = self.rcv_nxt.before(segment.seq);
        if self.request {
            self.request = false;
            self.last_invalid = None;
            if let (false, false, Some(timestamps)) = (self.had_timestamps, above, segment.timestamps) {
                // Measured: kept though none were offered, for the answers of a mini-socket.
                self.ts_recent = timestamps.value;
            }
            // net/ipv4/tcp_minisocks.c tcp_create_openreq_child()
            self.window_seq = segment.seq;
            self.window = self.announced(segment);
            self.max_window = self.window;
            self.una = segment.ack;
            self.retransmit_at = None;
            self.retransmits = 0;
        }
        if self.state == State::SynReceived {
            self.complete(now, segment);
        } else {
            self.acknowledge(now, segment);
        }
        if self.shutdown_pending {
            self.shut_down(now);
            return;
        }
        let takes = match self.state {
            State::SynReceived | State::Established | State::FinWait1 | State::FinWait2 => true,
            // Nothing follows the peer's FIN but, by a quirk, another FIN of which the data is old.
            State::CloseWait | State::Closing | State::LastAck => row.reply == Reply::Ack,
            _ => false,
        };
        if in_order && takes {
            let has_fin = segment.flags.has(Flags::FIN);
            let (reached, held_fin) = self.held.reach(segment.end());
            self.rcv_nxt = if has_fin { segment.end() } else { reached };
            self.unread = true;
            if has_fin || held_fin {
                self.held.clear();
            } else {
                self.held.drop_before(self.rcv_nxt);
            }
        } else if takes && segment.span() > 0 && above && segment.seq.before(self.rcv_edge()) {
            self.held.keep(segment.seq, segment.end(), segment.flags.has(Flags::FIN));
        }
    }

    /// The connection is complete: a shutdown(WR) that was put off sends its FIN, before what came is looked at.
    fn shut_down(&mut self, now: Nanos) {
        if self.shutdown_pending {
            self.shutdown_pending = false;
            self.fin = true;
            // It waits if it does not lie in the window.
            if !self.una.plus(self.window).before(self.nxt.plus(1)) {
                self.send_fin(now);
            }
        }
    }

    /// What makes a connection complete sets the window, whichever was known before (net/ipv4/tcp_input.c
    /// tcp_rcv_state_process(), TCP_SYN_RECV).
    fn complete(&mut self, now: Nanos, segment: &Segment) {
        self.acknowledge(now, segment);
        self.window_seq = segment.seq;
        self.window = self.announced(segment);
    }

    fn synchronize(&mut self, now: Nanos, segment: &Segment) {
        self.irs = segment.seq;
        // Data in a SYN is not taken (no TCP Fast Open).
        self.rcv_nxt = segment.seq.plus(1);
        self.acked = self.rcv_nxt;
        self.window_seq = segment.seq;
        self.window = self.announced(segment);
        self.max_window = self.window;
        self.had_timestamps = self.timestamps.is_some() && segment.timestamps.is_some();
        // Who called remembers the timestamp of the TIME-WAIT that it took over.
        if self.state != State::SynSent {
            self.ts_recent = 0;
        }
        self.hear(now, segment);
    }

    /// Remembers its timestamp.
    fn hear(&mut self, now: Nanos, segment: &Segment) {
        if let (true, Some(timestamps)) = (self.had_timestamps, segment.timestamps) {
            self.ts_recent = timestamps.value;
            self.ts_recent_at = now;
        }
    }

    fn acknowledge(&mut self, now: Nanos, segment: &Segment) {
        if segment.ack.before(self.una) {
            return;
        }
        let waited = self.waits_for_window();
        self.acknowledged_at = now;
        if self.may_update_window(segment) {
            self.window_seq = segment.seq;
            self.window = self.announced(segment);
            self.max_window = self.max_window.max(self.window);
        }
        if self.una.before(segment.ack) {
            self.acknowledged = self.acknowledged.saturating_add(segment.ack.since(self.una).cast_unsigned());
            self.una = segment.ack;
            self.retransmits = 0;
            self.probe_backoff = 0;
            self.retransmit_at = None;
            if self.una.before(self.nxt) {
                self.start_timer(now);
            }
        }
        self.window_heard(now, waited);
    }

    /// RFC 9293 section 3.10.7.4; net/ipv4/tcp_input.c tcp_may_update_window().
    pub(super) fn may_update_window(&self, segment: &Segment) -> bool {
        let window = self.announced(segment);
        self.una.before(segment.ack)
            || self.window_seq.before(segment.seq)
            || self.window_seq == segment.seq && (window > self.window || window == 0)
    }
}
