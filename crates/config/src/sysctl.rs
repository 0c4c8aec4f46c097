//! `sysctl.conf` and `sysctl.d`: files of assignments.
//!
//! [`Tree`] is one file, byte for byte; [`evaluate`] says which line of which file wins; [`set`] and
//! [`unset`] change one file, which is ours, [`edit`] those of others.

mod edit;
mod evaluate;
mod tree;

pub use edit::{Change, edit, set, unset};
pub use evaluate::{DIRECTORIES, File, SYSCTL_CONF, evaluate};
pub use tree::{Assignment, Tree, normalized};

#[cfg(test)]
mod tests;
