//! What an endpoint knows: every condition, yes or no.

use super::{Endpoint, Nanos, nanos};
use crate::machine::{Condition, Kind};
use crate::{Flags, Segment, Seq, State};

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
            Condition::Orphan => self.orphan,
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
        let ahead = segment.seq.since(self.rcv_nxt);
        match condition {
            Condition::SeqAbove => ahead > 0,
            Condition::SeqAt => ahead == 0,
            Condition::SeqNotAt => ahead != 0,
            Condition::SeqNotAbove => ahead <= 0,
            Condition::OutOfWindow => !self.in_window(segment),
            Condition::SynAgain => segment.seq == self.irs,
            Condition::InOrder => ahead <= 0 && self.rcv_nxt.before(segment.end()),
            Condition::NewData => segment.length > 0 && self.rcv_nxt.before(segment.seq.plus(segment.length)),
            Condition::OnlyFinNew => segment.flags.has(Flags::FIN) && segment.end() == self.rcv_nxt.plus(1),
            Condition::TsNewer => self.ts_ahead(segment).is_some_and(|ahead| ahead > 0),
            Condition::TsNotOlder => self.ts_ahead(segment).is_some_and(|ahead| ahead >= 0),
            Condition::TsEqual => self.ts_ahead(segment) == Some(0),
            Condition::TsAbsent => segment.timestamps.is_none(),
            Condition::PawsRejects => self.paws_rejects(now, segment),
            Condition::NewSyn => {
                !self.paws_rejects(now, segment)
                    && (ahead > 0
                        || self.compares_timestamps()
                            && self.ts_ahead(segment).is_some_and(|ahead| ahead > 0))
            }
            Condition::NoAck => !segment.flags.has(Flags::ACK),
            Condition::AckRefused => segment.flags.has(Flags::ACK) && self.refuses(segment.ack),
            Condition::AcksFin => {
                segment.flags.has(Flags::ACK)
                    && self.fin
                    && self.nxt == self.written.plus(1)
                    && segment.ack == self.nxt
            }
            _ => false,
        }
    }

    /// RFC 9293 section 3.10.7.4; net/ipv4/tcp_minisocks.c tcp_in_window().
    fn in_window(&self, segment: &Segment) -> bool {
        let end_of_window = self.rcv_nxt.plus(u32::from(self.rcv_window));
        segment.seq == self.rcv_nxt
            || self.rcv_nxt.before(segment.end()) && segment.seq.before(end_of_window)
            || segment.seq == end_of_window && segment.span() == 0
    }

    fn refuses(&self, ack: Seq) -> bool {
        let too_new = self.nxt.before(ack);
        match self.state {
            State::SynSent | State::SynReceived => too_new || !self.iss.before(ack),
            _ => too_new,
        }
    }

    fn ts_ahead(&self, segment: &Segment) -> Option<i32> {
        segment.timestamps.map(|timestamps| timestamps.value.wrapping_sub(self.ts_recent).cast_signed())
    }

    /// include/net/tcp.h tcp_paws_reject().
    fn paws_rejects(&self, now: Nanos, segment: &Segment) -> bool {
        let age = now.saturating_sub(self.ts_recent_at);
        let is_reset = Kind::of(segment) == Kind::Rst;
        self.compares_timestamps()
            && self.ts_recent != 0
            && self.ts_ahead(segment).is_some_and(|ahead| ahead < 0)
            && age < nanos(self.stack.paws_forgets)
            && !(is_reset && age >= nanos(self.stack.paws_spares_resets))
    }
}
