//! What configurations mean, for the examples and for what is hard.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "the examples are files")]
#![allow(clippy::print_stderr, clippy::unwrap_used, reason = "a test")]

mod conditions;
mod haproxy;
mod nginx;
#[path = "../edits/programs.rs"]
mod programs;
mod sysctl;

/// One of the examples.
fn example(name: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/examples").join(name);
    std::fs::read(path).unwrap()
}
