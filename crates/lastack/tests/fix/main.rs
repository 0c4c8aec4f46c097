//! `lastack fix` on a host of its own: what is changed, what is taken back, and what is refused.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod at_boot;
mod conntrack;
mod guarded;
mod haproxy;
mod killed;
mod nginx;
mod programs;
mod rebooted;
mod refused;
mod sandbox;
mod ssh;
mod told;
mod units;
