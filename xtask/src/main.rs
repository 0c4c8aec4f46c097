//! `cargo xtask`: everything about lastack that is not lastack itself. README.md beside this crate explains it.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for a developer's terminal and a CI log"
)]

mod bench;
mod capture_maker;
mod debian;
mod dump;
mod floor;
mod namespace;
mod scratch;
mod sockets;
mod test;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tests, benchmarks and generated files")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run every check; CI runs this and nothing else
    Test(test::Options),
    /// Measure
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Make sockets in a network namespace of their own and hold them, to try things on
    Sockets(sockets::Options),
    /// What the other tasks start
    #[command(subcommand, hide = true)]
    Part(sockets::Part),
    /// What the maker of captures starts
    #[command(subcommand, hide = true)]
    CaptureMaker(capture_maker::Part),
}

fn main() -> ExitCode {
    match quick().unwrap_or_else(|| run(Arguments::parse().task)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// What others are measured by, without the milliseconds that reading the command line costs.
fn quick() -> Option<anyhow::Result<ExitCode>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["dump"] => Some(dump::run(false)),
        ["dump", "--each-family"] => Some(dump::run(true)),
        ["floor", file] => Some(floor::run(file)),
        _ => None,
    }
}

fn run(task: Task) -> anyhow::Result<ExitCode> {
    match task {
        Task::Test(options) => test::run(&options),
        Task::Bench(bench) => bench::run(&bench),
        Task::Sockets(options) => sockets::run(&options),
        Task::Part(part) => part.run(),
        Task::CaptureMaker(part) => part.run(),
    }
}

/// The root of the checkout this program was started from.
fn root() -> PathBuf {
    // cargo sets the variable at run time too; the one of compile time is for a binary started by hand.
    let crate_dir = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    crate_dir.parent().map_or_else(|| PathBuf::from("."), PathBuf::from)
}

/// Where cargo puts what it builds.
fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}
