//! What an endpoint knows: every condition, yes or no.

use super::{Endpoint, Nanos, nanos};
use crate::machine::{Condition, Kind};
use crate::{Flags, Segment, State};

impl Endpoint {
    pub(super) fn fact(&self, now: Nanos, condition: Condition, segment: Option<&Segment>) -> bool {
        match condition {
            Condition::NoListener => !self.is_set(Condition::Listener),
            Condition::RecycleRefuses => self.stack.has_recycle && self.is_set(condition),
            Condition::Listener
            | Condition::QueueFull
            | Condition::AbortOnOverflow
            | Condition::Rfc1337
            | Condition::TableFull
            | Condition::TooManyOrphans
            | Condition::Linger2Negative => self.is_set(condition),
            Condition::HadTimestamps => self.compares_timestamps(),
            Condition::NoTimestamps => !self.compares_timestamps(),
            Condition::Unsent => self.has_unsent(),
            Condition::Orphan => self.orphan || self.lingers,
            Condition::Request => self.request,
            Condition::ShutdownPending => self.shutdown_pending,
            Condition::Mini => self.mini,
            Condition::QuietAboutUnsent => self.stack.quiet_about_unsent,
            _ => segment.is_some_and(|segment| self.fact_of(now, condition, segment)),
        }
    }

    /// True if a fact of the host was set.
    pub const fn is_set(&self, condition: Condition) -> bool {
        self.surroundings & 1 << condition as u64 != 0
    }

    fn compares_timestamps(&self) -> bool {
        self.had_timestamps && (self.state != State::TimeWait || self.stack.time_wait_reads_timestamps)
    }

    fn fact_of(&self, now: Nanos, condition: Condition, segment: &Segment) -> bool {
        let above = self.rcv_nxt.before(segment.seq);
        match condition {
            Condition::SeqAbove => above,
            Condition::SeqAt => segment.seq == self.rcv_nxt,
            Condition::SeqNotAt => segment.seq != self.rcv_nxt,
            Condition::SeqNotAbove => !above,
            Condition::SeqBelow => segment.seq.before(self.rcv_nxt),
            Condition::SeqOfFin => segment.seq.plus(1) == self.rcv_nxt,
            Condition::OutOfWindow => !self.in_window(segment),
            Condition::SynAgain => segment.seq == self.irs,
            Condition::InOrder => !above && self.rcv_nxt.before(segment.end()),
            Condition::FinHeld => self.held.reach(segment.end()).1,
            Condition::NewData => {
                let has_fin = segment.flags.has(Flags::FIN);
                segment.span() > 0
                    && self.rcv_nxt.before(segment.end().plus(u32::from(has_fin).wrapping_neg()))
            }
            Condition::OnlyFinNew => segment.flags.has(Flags::FIN) && segment.end() == self.rcv_nxt.plus(1),
            Condition::WithFin => segment.flags.has(Flags::FIN),
            Condition::TsNewer => self.ts_behind(segment).is_some_and(|behind| behind < 0),
            Condition::TsNotOlder => self.ts_behind(segment).is_some_and(|behind| behind <= 0),
            Condition::TsEqual => self.ts_behind(segment) == Some(0),
            Condition::TsAbsent => segment.timestamps.is_none(),
            Condition::PawsRejects => self.paws_rejects(now, segment),
            Condition::NewSyn => {
                !self.paws_rejects(now, segment)
                    && (above
                        || self.compares_timestamps()
                            && self.ts_behind(segment).is_some_and(|behind| behind < 0))
            }
            Condition::NoAck => !segment.flags.has(Flags::ACK),
            Condition::AckRefused => segment.flags.has(Flags::ACK) && self.refuses(segment),
            Condition::AckTooOld => {
                let oldest = self.una.plus(self.max_window.min(self.acknowledged).wrapping_neg());
                segment.flags.has(Flags::ACK) && segment.ack.before(oldest)
            }
            Condition::AcksFin => {
                segment.flags.has(Flags::ACK)
                    && self.fin
                    && self.nxt == self.written.plus(1)
                    && segment.ack == self.nxt
            }
            _ => false,
        }
    }

    /// True if it has a socket of its own: not a listener's request, not a mini-socket.
    fn is_full(&self) -> bool {
        !self.request && !self.mini && self.state != State::TimeWait
    }

    /// RFC 9293 section 3.10.7.4. Full sockets: net/ipv4/tcp_input.c tcp_sequence(), which takes what ends at or
    /// behind the last acknowledgement sent, a FIN that lies just behind the window, and, while nothing waits to be
    /// read, data that only begins in it. Others:
    /// net/ipv4/tcp_minisocks.c tcp_in_window().
    fn in_window(&self, segment: &Segment) -> bool {
        let edge = self.rcv_edge();
        if self.is_full() {
            let data_end = segment.end().plus(u32::from(segment.flags.has(Flags::FIN)).wrapping_neg());
            return !segment.end().before(self.acked)
                && (!edge.before(data_end) || !edge.before(segment.seq) && !self.unread);
        }
        segment.seq == self.rcv_nxt
            || self.rcv_nxt.before(segment.end()) && segment.seq.before(edge)
            || segment.seq == edge && segment.span() == 0
    }

    fn refuses(&self, segment: &Segment) -> bool {
        let ack = segment.ack;
        match self.state {
            State::SynReceived if self.request => ack != self.nxt,
            // Where SYNs crossed, a SYN,ACK must be just that.
            State::SynReceived if Kind::of(segment) == Kind::SynAck => ack != self.nxt || segment.span() != 1,
            // Measured: others will do with the acknowledgement of nothing (ISS).
            State::SynReceived => self.nxt.before(ack) || ack.before(self.iss),
            State::SynSent => self.nxt.before(ack) || !self.iss.before(ack),
            _ => self.nxt.before(ack),
        }
    }

    /// By how much its timestamp is older than the last one taken; as in the kernel, 2^31 is newer.
    fn ts_behind(&self, segment: &Segment) -> Option<i32> {
        segment.timestamps.map(|timestamps| self.ts_recent.wrapping_sub(timestamps.value).cast_signed())
    }

    /// include/net/tcp.h tcp_paws_reject() for mini-sockets and requests. A full socket forgives one tick
    /// (TCP_PAWS_WINDOW) and a repeated acknowledgement (net/ipv4/tcp_input.c tcp_disordered_ack_check()).
    fn paws_rejects(&self, now: Nanos, segment: &Segment) -> bool {
        let age = now.saturating_sub(self.ts_recent_at);
        let sent_syn = self.state == State::SynSent;
        let forgiven = i32::from(self.is_full() && !sent_syn);
        let is_reset = Kind::of(segment) == Kind::Rst;
        (self.compares_timestamps() || sent_syn && self.timestamps.is_some())
            && self.ts_recent != 0
            && self.ts_behind(segment).is_some_and(|behind| behind > forgiven)
            && age < nanos(self.stack.paws_forgets)
            && !(is_reset && age >= nanos(self.stack.paws_spares_resets))
            && !(self.is_full() && self.is_disordered_ack(segment))
    }

    fn is_disordered_ack(&self, segment: &Segment) -> bool {
        // 1.2 of the retransmission timeout, in ticks of a millisecond.
        let replay = i64::try_from(self.timeout() / 1_000_000 * 6 / 5).unwrap_or(i64::MAX);
        Kind::of(segment) == Kind::Ack
            && segment.seq == self.rcv_nxt
            && segment.ack == self.una
            && !self.may_update_window(segment)
            && self.ts_behind(segment).is_some_and(|behind| i64::from(behind) <= replay)
    }
}
