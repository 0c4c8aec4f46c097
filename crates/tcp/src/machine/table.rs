//! The table, in five parts. Within one state and event the order counts: the first row that holds applies.

mod calls;
mod closing;
mod opening;
mod time_wait;
mod timers;

use super::{Condition, Event, Reply, Row, Source, TimerAction};
use crate::{State, StateSet};

const PARTS: [&[Row]; 5] = [&calls::ROWS, &timers::ROWS, &opening::ROWS, &time_wait::ROWS, &closing::ROWS];

const LENGTH: usize = {
    let (mut part, mut length) = (0, 0);
    while part < PARTS.len() {
        length += PARTS[part].len();
        part += 1;
    }
    length
};

/// Every row: the application's calls, the timers, then segments that arrive before, after and while a connection is
/// open.
pub static TABLE: [Row; LENGTH] = ROWS;

pub(super) const ROWS: [Row; LENGTH] = {
    let mut rows = [PARTS[0][0]; LENGTH];
    let (mut part, mut to) = (0, 0);
    while part < PARTS.len() {
        let mut at = 0;
        while at < PARTS[part].len() {
            rows[to] = PARTS[part][at];
            at += 1;
            to += 1;
        }
        part += 1;
    }
    rows
};

/// The states in which both sides know each other's numbers and neither socket is a mini-socket.
const SYNCHRONIZED: &[State] =
    &[State::Established, State::FinWait1, State::FinWait2, State::CloseWait, State::Closing, State::LastAck];

const RFC: &str = "RFC 9293 section 3.10";

/// In these states, on this event, if these hold: nothing happens until the methods below say what.
const fn on(from: &[State], on: Event, when: &'static [Condition]) -> Row {
    Row {
        from: StateSet::of(from),
        on,
        when,
        to: None,
        reply: Reply::Nothing,
        timer: TimerAction::Keep,
        source: Source { text: RFC, number: "" },
    }
}

impl Row {
    const fn to(mut self, state: State) -> Self {
        self.to = Some(state);
        if matches!(state, State::Closed) {
            self.timer = TimerAction::Stop;
        }
        self
    }

    const fn reply(mut self, reply: Reply) -> Self {
        self.reply = reply;
        self
    }

    const fn timer(mut self, timer: TimerAction) -> Self {
        self.timer = timer;
        self
    }

    const fn source(mut self, text: &'static str) -> Self {
        self.source.text = text;
        self
    }

    const fn number(mut self, number: &'static str) -> Self {
        self.source.number = number;
        self
    }
}
