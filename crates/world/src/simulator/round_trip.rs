//! The round trip as an endpoint measures it, and the timeouts that follow (net/ipv4/tcp_input.c `tcp_rtt_estimator()`,
//! net/ipv4/tcp_output.c `tcp_schedule_loss_probe()`).

use super::settings::nanos;
use tcp::Seq;
use tcp::machine::Nanos;
use tcp::profile::linux;

/// The shortest timeout.
fn shortest() -> Nanos {
    nanos(linux::RETRANSMIT_MIN.value)
}

/// Something in flight whose acknowledgement is waited for.
#[derive(Clone, Copy, Debug)]
struct Timed {
    end: Seq,
    sent: Nanos,
    /// It went again: only a timestamp tells what is acknowledged (RFC 6298 section 3).
    again: bool,
}

/// What is known of the round trip.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RoundTrip {
    timed: Option<Timed>,
    smoothed: Option<Nanos>,
    deviation: Nanos,
    /// Four times the largest deviation since `until` was sent,
    largest: Nanos,
    until: Seq,
    /// and the one that counts, which falls slowly.
    variation: Nanos,
}

impl RoundTrip {
    /// A segment leaves that ends here and must be acknowledged.
    pub(super) const fn sent(&mut self, now: Nanos, end: Seq, again: bool) {
        match &mut self.timed {
            Some(timed) => timed.again |= again,
            None => self.timed = Some(Timed { end, sent: now, again }),
        }
    }

    /// An acknowledgement has come. `echoed`: when what it answers was sent, by its timestamp. The timeouts of a
    /// retransmission and of a probe, if something was measured.
    pub(super) fn acknowledged(
        &mut self,
        now: Nanos,
        ack: Seq,
        next: Seq,
        echoed: Option<Nanos>,
    ) -> Option<(Nanos, Nanos)> {
        let timed = self.timed.filter(|timed| !ack.before(timed.end) && !next.before(ack))?;
        self.timed = None;
        let sent = if timed.again { echoed? } else { timed.sent };
        let smoothed = self.measured(now.saturating_sub(sent), ack, next);
        let timeout = smoothed.saturating_add(self.variation);
        Some((timeout, timeout.min(smoothed.saturating_mul(2).saturating_add(shortest()))))
    }

    fn measured(&mut self, took: Nanos, ack: Seq, next: Seq) -> Nanos {
        let Some(before) = self.smoothed else {
            self.deviation = took / 2;
            self.variation = took.saturating_mul(2).max(shortest());
            (self.largest, self.until) = (self.variation, next);
            self.smoothed = Some(took);
            return took;
        };
        let off = took.abs_diff(before);
        let smoothed = if took < before { before - off / 8 } else { before + off / 8 };
        self.deviation = if off < self.deviation {
            self.deviation - (self.deviation - off) / 4
        } else {
            // A round trip that has become shorter is no reason to wait longer.
            self.deviation + (off - self.deviation) / if took < before { 32 } else { 4 }
        };
        self.largest = self.largest.max(self.deviation.saturating_mul(4));
        self.variation = self.variation.max(self.largest);
        if self.until.before(ack) {
            self.variation -= (self.variation - self.largest) / 4;
            (self.largest, self.until) = (shortest(), next);
        }
        self.smoothed = Some(smoothed);
        smoothed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Nanos = 1_000_000;

    #[test]
    fn a_long_round_trip_makes_long_timeouts_and_one_that_went_again_is_not_measured() {
        let mut trip = RoundTrip::default();
        trip.sent(0, Seq::new(1), false);
        assert_eq!(trip.acknowledged(MS, Seq::new(0), Seq::new(1), None), None);
        assert_eq!(trip.acknowledged(MS, Seq::new(1), Seq::new(1), None), Some((201 * MS, 201 * MS)));
        // The path becomes slow: the deviation is a quarter of the way there, and counts four times.
        trip.sent(10 * MS, Seq::new(2), false);
        let (timeout, probe) =
            trip.acknowledged(411 * MS, Seq::new(2), Seq::new(2), None).unwrap_or_default();
        assert!((450 * MS..455 * MS).contains(&timeout), "{timeout}");
        assert!((300 * MS..303 * MS).contains(&probe), "{probe}");
        trip.sent(500 * MS, Seq::new(3), false);
        trip.sent(700 * MS, Seq::new(3), true);
        assert_eq!(trip.acknowledged(900 * MS, Seq::new(3), Seq::new(3), None), None);
        // But by its timestamp.
        trip.sent(1_000 * MS, Seq::new(4), true);
        assert!(trip.acknowledged(1_400 * MS, Seq::new(4), Seq::new(4), Some(1_000 * MS)).is_some());
    }

    #[test]
    fn it_forgets_slowly() {
        let mut trip = RoundTrip::default();
        let mut timeouts = Vec::new();
        for turn in 0..40_u32 {
            let (sent, end) = (Nanos::from(turn) * 1_000 * MS, Seq::new(turn + 1));
            trip.sent(sent, end, false);
            let took = if turn == 0 { 400 * MS } else { MS };
            timeouts.extend(trip.acknowledged(sent + took, end, end, None));
        }
        assert_eq!(timeouts[0], (1_200 * MS, 1_000 * MS));
        assert!(
            timeouts.is_sorted_by(|one, next| one.0 >= next.0) && timeouts[39].0 < 210 * MS,
            "{timeouts:?}"
        );
    }
}
