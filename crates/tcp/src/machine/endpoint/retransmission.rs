//! What is sent again when, and when it is given up (net/ipv4/tcp_timer.c).

use super::{Endpoint, Nanos, Timer, nanos};
use crate::State;
use crate::profile::linux::{RETRANSMIT_MAX, RETRANSMIT_MIN, TIMER_LATE};
use core::time::Duration;

pub(super) const LONGEST: Nanos = nanos(RETRANSMIT_MAX.value);

/// net/ipv4/tcp_timer.c tcp_model_timeout(): how long so many retransmissions and the wait after them would take if the
/// first timeout were `first`.
fn model_timeout(retries: u32, first: Duration) -> Nanos {
    let first = nanos(first).max(1);
    let doublings = (LONGEST / first).checked_ilog2().unwrap_or(0);
    let doubled = first.saturating_mul((2 << retries.min(doublings)) - 1);
    doubled.saturating_add(LONGEST.saturating_mul(Nanos::from(retries.saturating_sub(doublings))))
}

/// How late a timer of this length comes on average: longer ones wait in coarser slots (kernel/time/timer.c).
fn late(length: Nanos) -> Nanos {
    TIMER_LATE.value.iter().rev().find(|(from, _)| length >= nanos(*from)).map_or(0, |(_, late)| nanos(*late))
}

impl Endpoint {
    /// The retransmission timeout as it has doubled until now.
    pub(super) fn timeout(&self) -> Nanos {
        let (first, doublings) = match self.state {
            State::SynSent => {
                let linear = self.stack.syn_linear_timeouts;
                (self.stack.retransmit_syn, self.retransmits.saturating_sub(linear))
            }
            State::SynReceived => (self.stack.retransmit_syn, self.retransmits),
            _ => (self.stack.retransmit, self.retransmits),
        };
        let measured = if self.opens() { 0 } else { self.timeouts[0] };
        nanos(first).max(measured).saturating_mul(1 << doublings.min(16)).min(LONGEST)
    }

    /// What is in flight has its timer from now on.
    pub(super) fn start_timer(&mut self, now: Nanos) {
        let length = if self.probes_next() {
            nanos(self.stack.retransmit).max(self.timeouts[1])
        } else {
            self.timeout()
        };
        self.start_timer_of(now, length);
    }

    pub(super) fn start_timer_of(&mut self, now: Nanos, length: Nanos) {
        let late = if self.stack.gives_up_by_time { late(length) } else { 0 };
        self.retransmit_at = Some(now.saturating_add(length).saturating_add(late));
    }

    /// The same, if it has none.
    pub(super) fn arm(&mut self, now: Nanos) {
        if self.retransmit_at.is_none() {
            self.start_timer(now);
        }
    }

    /// True if what was sent again last was no retransmission but a probe of the tail's loss (RFC 8985 section 7).
    pub fn is_probing(&self) -> bool {
        self.retransmits == 0 && self.probed == Some(self.una)
    }

    /// What follows from the round trip as its owner measured it, in nanoseconds: how long a retransmission waits,
    /// and a probe of the tail's loss before it. Shorter than to a near peer
    /// ([`Stack::retransmit`](crate::profile::Stack)) none of them is, and a SYN's is not meant.
    pub const fn set_timeouts(&mut self, retransmission: Nanos, probe: Nanos) {
        self.timeouts = [retransmission, probe];
    }

    const fn opens(&self) -> bool {
        matches!(self.state, State::SynSent | State::SynReceived)
    }

    /// True if what is in flight is first probed for.
    fn probes_next(&self) -> bool {
        self.stack.loss_probe && !self.opens() && self.retransmits == 0 && !self.is_probing()
    }

    /// The timer of what is in flight has come.
    pub(super) fn retransmission_due(&mut self, now: Nanos) {
        if self.gives_up(now) {
            self.fire(now, Timer::RetransmissionGivenUp);
            return;
        }
        if self.probes_next() {
            // net/ipv4/tcp_output.c tcp_send_loss_probe(): neither counted nor followed by a longer timeout. Where one
            // segment is in flight its timer is about as long as the other.
            self.probed = Some(self.una);
        } else {
            if self.retransmits == 0 && !self.opens() {
                self.since = now;
            }
            self.retransmits += 1;
        }
        self.start_timer(now);
        self.fire(now, Timer::RetransmissionDue);
    }

    /// net/ipv4/tcp_timer.c tcp_write_timeout(). A listener's request counts (reqsk_timer_handler()).
    fn gives_up(&self, now: Nanos) -> bool {
        let stack = &self.stack;
        match self.state {
            State::SynReceived if self.request => self.retransmits >= stack.syn_ack_retries,
            State::SynReceived | State::SynSent => {
                let linear = if self.state == State::SynSent { stack.syn_linear_timeouts } else { 0 };
                self.retransmits >= stack.syn_retries.saturating_add(linear)
                    || stack.gives_up_by_time && self.is_over(now, stack.syn_retries, stack.retransmit_syn)
            }
            // A window that was taken back is probed by what is in flight, as long as anything is heard
            // (tcp_rtx_probe0_timed_out()).
            _ if self.window == 0 && !self.orphan => {
                let last = self.acknowledged_at.max(self.since);
                self.retransmits > 0 && now.saturating_sub(last) > LONGEST.saturating_mul(2)
            }
            _ => {
                let retries = match stack.orphan_retries {
                    _ if !self.orphan => stack.retries,
                    // tcp_orphan_retries(): not where the timeout has grown to its longest already.
                    0 if self.timeout() < LONGEST => crate::profile::linux::ORPHAN_RETRIES.value,
                    retries => retries,
                };
                if stack.gives_up_by_time {
                    self.is_over(now, retries, RETRANSMIT_MIN.value)
                } else {
                    self.retransmits >= retries
                }
            }
        }
    }

    /// net/ipv4/tcp_timer.c retransmits_timed_out(): the time since the SYN, or since the first retransmission.
    fn is_over(&self, now: Nanos, retries: u32, first: Duration) -> bool {
        self.retransmits > 0 && now.saturating_sub(self.since) >= model_timeout(retries, first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_doubles_until_it_reaches_the_longest_timeout() {
        let seconds = |retries, first| model_timeout(retries, first) / 100_000_000;
        let min = RETRANSMIT_MIN.value;
        let modelled: [Nanos; 6] = [0, 1, 3, 8, 9, 15].map(|retries| seconds(retries, min));
        assert_eq!(modelled, [2, 6, 30, 1_022, 2_046, 9_246]);
        assert_eq!(seconds(6, Duration::from_secs(1)), 1_270);
        assert!(model_timeout(u32::MAX, Duration::ZERO) > LONGEST);
    }
}
