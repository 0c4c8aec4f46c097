//! The laboratory: what the close machine says, held against a real Linux kernel.
//!
//! Everything here changes network settings and sockets, and so belongs into a network namespace of its own:
//! whoever calls it has made one.

pub mod differential;
pub mod tun;
