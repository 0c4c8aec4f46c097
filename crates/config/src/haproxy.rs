//! HAProxy: files of sections and lines.
//!
//! [`Tree`] is one file, byte for byte.

mod tree;
mod word;

pub use tree::{Line, Section, Tree};
pub use word::Word;

#[cfg(test)]
mod tests;
