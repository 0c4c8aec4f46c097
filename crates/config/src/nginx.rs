//! nginx: files of directives and blocks.
//!
//! [`Tree`] is one file, byte for byte; [`Sources`] are all files of a configuration, where files are included by
//! others; [`evaluate`] says what they mean: which locations pass on to what, and what is in force there; [`edit`]
//! changes them by that meaning.

mod edit;
mod evaluate;
mod level;
mod lexer;
mod lua;
mod sources;
mod tree;
mod value;
mod variables;

pub use edit::{Change, Edited, edit};
pub use evaluate::evaluate;
pub use sources::Sources;
pub(crate) use sources::shown;
pub use tree::{Children, Directive, Ending, MAX_DEPTH, Tree, Word};

#[cfg(test)]
mod tests;
