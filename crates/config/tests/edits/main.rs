//! Edits by meaning: what they change, what they leave alone, and that the programs take the result.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "the programs read files")]
#![allow(clippy::print_stderr, clippy::unwrap_used, reason = "a test")]

mod haproxy;
mod nginx;
mod programs;
mod sysctl;
