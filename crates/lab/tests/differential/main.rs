//! The close machine equals the kernel (docs/exceptions.md says where it does not).
#![allow(
    clippy::print_stdout,
    reason = "a difference and a skip are said where the test is run by hand, too"
)]

mod bench;
mod random;
mod regressions;
mod rows;
mod timers;
