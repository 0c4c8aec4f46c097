//! The life of a TCP connection, written once, as data.
//!
//! [`TABLE`] has one [`Row`] for each thing that can happen to a connection: in these states, on this [`Event`], if
//! these [`Condition`]s hold, it goes there, answers this, and does that to its timer, because this source says so.
//! Three readers use it:
//!
//! * [`Endpoint`] *simulates*: it knows every fact, so the first row whose conditions hold is what happens;
//! * [`Observer`](crate::Observer) *observes*: it does not know the facts, so it follows every row; what a state
//!   can lead to ([`reach`]) and which states can send a segment ([`senders`]) are computed from the table;
//! * [`diagram`] *explains*: text and SVG are drawn from it.
//!
//! A state is that of one connection, one tuple. What Linux keeps in a second socket is a condition here: that a
//! listener stands behind the port, that the socket is an orphan's 256-byte mini-socket. When a connection has
//! ended its state is CLOSED, also where a listener goes on listening; RFC 9293 would call that LISTEN.
//! A row that leaves CLOSED or TIME-WAIT for the start of a life begins *another* connection ([`Row::opens`]).

pub mod condition;
pub mod diagram;
mod endpoint;
pub mod event;
mod reach;
mod table;

pub use condition::Condition;
pub use endpoint::{Endpoint, Nanos, Residue};
pub use event::{Call, Event, Kind, Timer};
pub(crate) use reach::abort_senders;
pub use reach::{reach, senders};
pub use table::TABLE;

use crate::{State, StateSet};

/// What a side sends when a row applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// Nothing.
    Nothing,
    /// `<SEQ=ISS><CTL=SYN>`.
    Syn,
    /// `<SEQ=ISS><ACK=RCV.NXT><CTL=SYN,ACK>`.
    SynAck,
    /// `<SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>`.
    Ack,
    /// The same in answer to what is not acceptable; Linux sends one in `tcp_invalid_ratelimit` (500 ms) for a
    /// SYN or a segment without data, the others in silence.
    LimitedAck,
    /// The same as a challenge ACK (RFC 5961): Linux sends one in `tcp_invalid_ratelimit`, whatever it answers.
    ChallengeAck,
    /// Data, sent as far as the window allows, with the FIN behind it if there is one.
    Data,
    /// The FIN, as soon as the data before it is sent.
    Fin,
    /// A keepalive probe: `<SEQ=SND.UNA-1><ACK=RCV.NXT><CTL=ACK>`.
    Probe,
    /// A probe of the peer's window: the same, or as much data as there is room for.
    WindowProbe,
    /// The answer of who knows no such connection: `<SEQ=SEG.ACK><CTL=RST>`, or
    /// `<SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>` to a segment without ACK.
    Rst,
    /// An abort: `<SEQ=SND.NXT><ACK=RCV.NXT><CTL=RST,ACK>`.
    Abort,
}

/// What a row does to the timer that ends TIME-WAIT or FIN-WAIT-2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimerAction {
    /// It runs on, or there is none.
    Keep,
    /// It starts, or starts again, with the whole length of TIME-WAIT.
    TimeWait,
    /// The time of an orphan's FIN-WAIT-2 begins.
    FinWait2,
    /// It stops.
    Stop,
}

/// Where it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// RFC and section, or the kernel's file and function.
    pub text: &'static str,
    /// The row of the tables of TIME-WAIT (`1` to `20`) and FIN-WAIT-2 (`F1`...) in docs/close-machine.txt.
    pub number: &'static str,
}

/// One row of the machine.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// In any of these states,
    pub from: StateSet,
    /// on this event,
    pub on: Event,
    /// if all of these hold,
    pub when: &'static [Condition],
    /// the connection is in this state afterwards; none: in the one it was in.
    pub to: Option<State>,
    /// It answers this
    pub reply: Reply,
    /// and does this to its timer.
    pub timer: TimerAction,
    /// Who says so.
    pub source: Source,
}

impl Row {
    /// The state behind the row.
    pub const fn after(&self, from: State) -> State {
        match self.to {
            Some(to) => to,
            None => from,
        }
    }

    /// True if this row does not continue a connection but begins another on the same tuple.
    pub const fn opens(&self, from: State) -> bool {
        matches!(from, State::Closed | State::TimeWait)
            && matches!(self.to, Some(State::Listen | State::SynSent | State::SynReceived))
    }

    /// Whether its conditions hold: yes, no, or not known.
    pub fn holds(&self, fact: &impl Fn(Condition) -> Option<bool>) -> Option<bool> {
        let mut known = Some(true);
        for condition in self.when {
            match fact(*condition) {
                Some(false) => return Some(false),
                Some(true) => {}
                None => known = None,
            }
        }
        known
    }
}

/// The rows that may apply, in order: those whose conditions hold or are not known, up to and with the first
/// that surely holds. With every fact known that is one row.
pub fn rows(
    state: State,
    event: Event,
    fact: impl Fn(Condition) -> Option<bool>,
) -> impl Iterator<Item = &'static Row> {
    let mut decided = false;
    TABLE.iter().filter(move |row| row.from.has(state) && row.on == event).filter(move |row| {
        if decided {
            return false;
        }
        let holds = row.holds(&fact);
        decided = holds == Some(true);
        holds != Some(false)
    })
}
