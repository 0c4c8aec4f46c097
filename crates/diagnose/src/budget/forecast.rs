//! When no port is left, if closes go on at a rate.

/// The ports of one destination as they come free and are taken again.
pub(super) struct Forecast<'a> {
    /// Ports that are not held by anything that stays.
    pub(super) room: f64,
    /// Closes per second, the latest first: the age of each TIME-WAIT socket.
    pub(super) closes: &'a [u32],
    /// TIME-WAIT sockets whose time is over, not yet cleared away.
    pub(super) overdue: u32,
    /// The part of these closes that holds a port of the range.
    pub(super) scale: f64,
    /// How long a close blocks its port, in seconds: the length of TIME-WAIT or, with a `tcp_tw_reuse` that
    /// works, its delay.
    pub(super) window: f64,
    /// Closes a second from now on.
    pub(super) rate: f64,
}

impl Forecast<'_> {
    /// TIME-WAIT sockets of the last `age` whole seconds; with the last of the history, the overdue ones.
    fn younger_than(&self, age: usize) -> u64 {
        let overdue = if age >= self.closes.len() { u64::from(self.overdue) } else { 0 };
        self.closes.iter().take(age).map(|closes| u64::from(*closes)).sum::<u64>() + overdue
    }

    /// The whole seconds of the window, and what is left of it.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded by the history")]
    fn whole(&self) -> (usize, f64) {
        let whole = self.window.clamp(0.0, self.closes.len() as f64).floor();
        (whole as usize, (self.window - whole).clamp(0.0, 1.0))
    }

    /// Ports that TIME-WAIT blocks now.
    pub(super) fn blocked_now(&self) -> f64 {
        let (whole, rest) = self.whole();
        let partly = self.closes.get(whole).map_or(0.0, |closes| f64::from(*closes) * rest);
        (self.younger_than(whole) as f64 + partly) * self.scale
    }

    /// Seconds until the blocked ports fill the room.
    ///
    /// Ports are blocked by what closed up to now and is younger than the window, less each second, and by
    /// `rate` closes a second from now on. Closes of one second are spread over it evenly, so between two
    /// steps both are straight lines. After one window everything is new and the number stays: what has not
    /// happened by then will not.
    pub(super) fn seconds_left(&self) -> Option<f64> {
        let (whole, rest) = self.whole();
        let (mut time, mut blocked) = (0.0, self.blocked_now());
        if blocked >= self.room {
            return Some(0.0);
        }
        let mut younger = self.younger_than(whole);
        for age in (0..=whole).rev() {
            if age < whole {
                // The oldest second of the window goes, and the overdue with the oldest of all.
                let overdue = if age + 1 == self.closes.len() { u64::from(self.overdue) } else { 0 };
                younger -= u64::from(self.closes[age]) + overdue;
            }
            let next = (whole - age) as f64 + rest;
            let then = younger as f64 * self.scale + self.rate * next;
            if then >= self.room && next > time {
                return Some(time + (self.room - blocked) / (then - blocked) * (next - time));
            }
            (time, blocked) = (next, then);
        }
        None
    }
}
