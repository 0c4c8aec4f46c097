//! `sysctl.conf` and `sysctl.d`: files of assignments.
//!
//! [`Tree`] is one file, byte for byte.

mod tree;

pub use tree::{Assignment, Tree, normalized};

#[cfg(test)]
mod tests;
