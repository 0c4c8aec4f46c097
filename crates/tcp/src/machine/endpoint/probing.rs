//! Probes of a closed window (RFC 9293 section 3.8.6.1; net/ipv4/tcp_timer.c `tcp_probe_timer()`).

use super::retransmission::LONGEST;
use super::{Endpoint, Nanos, Timer};
use crate::profile::linux;

impl Endpoint {
    /// True if nothing is in flight, and data or the FIN waits for room in the peer's window.
    pub fn waits_for_window(&self) -> bool {
        self.una == self.nxt && self.has_unsent() && self.may_send()
    }

    /// Where nothing more may be sent: who waits for the peer's window asks for it (`tcp_check_probe_timer()`).
    pub(super) fn arm_window_probe(&mut self, now: Nanos) {
        if self.retransmit_at.is_none() && self.waits_for_window() {
            self.start_timer_of(now, self.timeout());
        }
    }

    /// An acknowledgement has come, whatever it says: probes are answered. If there is room now what waits goes out,
    /// else the timer begins anew (net/ipv4/tcp_input.c `tcp_ack_probe()`).
    pub(super) fn window_heard(&mut self, now: Nanos, waited: bool) {
        self.window_probes = 0;
        if waited {
            self.retransmit_at = None;
            if self.next_piece().is_some() {
                self.probe_backoff = 0;
            } else {
                self.start_timer_of(now, self.window_probe_interval());
            }
        }
    }

    fn window_probe_interval(&self) -> Nanos {
        self.timeout().saturating_mul(1 << self.probe_backoff.min(16)).min(LONGEST)
    }

    /// The timer has come. Probes that are answered go on for as long as the application wants it; an orphan's end with
    /// the longest interval all the same.
    pub(super) fn window_probe_due(&mut self, now: Nanos) {
        let longest = self.window_probe_interval() >= LONGEST;
        let most = match self.stack.orphan_retries {
            _ if !self.orphan => self.stack.retries,
            0 if !longest => linux::ORPHAN_RETRIES.value,
            retries => retries,
        };
        let over = self.orphan && longest && u32::from(self.probe_backoff) >= most;
        if over || u32::from(self.window_probes) >= most {
            self.fire(now, Timer::WindowProbeGivenUp);
            return;
        }
        self.retransmit_at = None;
        self.fire(now, Timer::WindowProbeDue);
        if self.waits_for_window() {
            self.window_probes = self.window_probes.saturating_add(1);
            if u32::from(self.probe_backoff) < self.stack.retries {
                self.probe_backoff = self.probe_backoff.saturating_add(1);
            }
            self.start_timer_of(now, self.window_probe_interval());
        } else {
            self.window_probes = 0;
            self.probe_backoff = 0;
        }
    }
}
