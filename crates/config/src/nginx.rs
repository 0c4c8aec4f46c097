//! nginx: files of directives and blocks.
//!
//! [`Tree`] is one file, byte for byte.

mod lexer;
mod lua;
mod tree;

pub use tree::{Children, Directive, Ending, MAX_DEPTH, Tree, Word};

#[cfg(test)]
mod tests;
