//! The words of TCP closing, the machine that closes, and the one home of kernel constants.
//!
//! This crate has no I/O, no clock and no allocation: it says what a [`State`] is called, how a connection goes from
//! one to the next ([`machine`]), what packets prove about that ([`Observer`]), and what kernels are known to do
//! ([`profile`]). Names are those of RFC 9293; where Linux has its own (a mini-socket, a time-wait bucket), Linux's.
//!
//! ```
//! use tcp::State;
//! assert_eq!(State::TimeWait.to_string(), "TIME-WAIT");
//! assert_eq!("FIN-WAIT-2".parse(), Ok(State::FinWait2));
//! ```
//!
//! Who aborts is closed; its peer may be in any state until it shows:
//!
//! ```
//! use tcp::{Flags, Observer, Segment, Seq, Side, State, StateSet};
//! let abort = Segment { flags: Flags::RST.with(Flags::ACK), seq: Seq::new(7), ..Segment::default() };
//! let mut observer = Observer::new();
//! observer.observe(Side::A, &abort);
//! assert_eq!(observer.states(Side::A), StateSet::one(State::Closed));
//! assert_eq!(observer.states(Side::B), StateSet::ALL);
//! ```
#![no_std]

#[cfg(test)]
extern crate std;

pub mod machine;
mod observe;
pub mod profile;
mod segment;
mod seq;
mod state;
mod state_set;

pub use observe::{Notes, Observer, Side};
pub use segment::{Flags, Segment, Timestamps, UnknownFlag};
pub use seq::Seq;
pub use state::{State, UnknownState};
pub use state_set::StateSet;
