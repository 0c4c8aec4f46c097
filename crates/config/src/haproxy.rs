//! HAProxy: files of sections and lines.
//!
//! [`Tree`] is one file, byte for byte; [`evaluate`] says what several of them mean together: what is in force in each
//! frontend and backend; [`edit`] changes them by that meaning.

mod condition;
mod edit;
mod environment;
mod evaluate;
mod in_force;
mod reader;
mod tree;
mod value;
mod word;

pub use edit::{Change, Edited, edit};
pub use evaluate::evaluate;
pub use tree::{Line, Section, Tree};
pub use word::Word;

#[cfg(test)]
mod tests;
