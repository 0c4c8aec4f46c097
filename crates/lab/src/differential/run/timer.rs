//! The kernel's timers in a sequence that waits for them: the machine's come when they do. When that is is not
//! compared, but what is sent and what becomes of the connection.

use super::Run;
use crate::differential::bench::Bench;
use crate::differential::replies::{are_same, is_resent};
use crate::differential::step::Step;
use std::io;
use tcp::machine::{Nanos, Timer};
use tcp::{Segment, State};

impl Run<'_> {
    /// Does what the kernel's timers have done. What was sent before the look at its socket may be in `replies`
    /// already.
    pub(super) fn follow_timers(
        &mut self,
        bench: &mut Bench,
        at: usize,
        mut replies: Vec<Segment>,
    ) -> io::Result<()> {
        let now = bench.ticks()?;
        let found = bench.sockets.find(self.tuple)?;
        replies.extend(bench.answers(self.tuple)?);
        self.exists = found.is_some();
        for reply in replies {
            self.resent |= is_resent(&self.machine, &reply);
            let said = self.next_timer(now, Timer::RetransmissionDue);
            self.note_step(&Step::Timer, &[reply], &said, found);
            // How much of what is in flight goes again is the kernel's to say, which remembers how it was cut.
            let goes_again = |one: &Segment| one.seq == reply.seq && is_resent(&self.machine, one);
            if !are_same(&[reply], &said) && !said.first().is_some_and(goes_again) {
                self.differs(at, "another timer".to_owned());
                return Ok(());
            }
        }
        if found.is_none() && !matches!(self.machine.state(), State::Closed | State::Listen) {
            let said = self.next_timer(now, Timer::RetransmissionGivenUp);
            self.note_step(&Step::Timer, &[], &said, found);
        }
        if let Some(what) = self.compare_state(found) {
            self.differs(at, what);
        }
        Ok(())
    }

    /// Lets the timer come that the machine has. Whether what is in flight goes again or is given up is a matter of
    /// time: `in_flight` says what the kernel did. How often a window is asked for is not.
    fn next_timer(&mut self, now: Nanos, in_flight: Timer) -> Vec<Segment> {
        let lingers = matches!(self.machine.state(), State::FinWait2 | State::TimeWait);
        match self.machine.poll_timeout() {
            None => return Vec::new(),
            Some(due) if lingers || self.machine.waits_for_window() => self.machine.handle_timeout(due),
            Some(_) => self.machine.fire(now, in_flight),
        }
        if let (Some(row), Some(last)) = (self.machine.take_row(), self.outcome.rows.last_mut()) {
            *last = Some(row);
        }
        std::iter::from_fn(|| self.machine.poll_transmit(now)).collect()
    }
}
