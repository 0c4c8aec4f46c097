//! `cargo xtask bench`: lastack beside other programs that answer a part of its questions.

mod capture;
mod race;
mod simulator;
mod sockets;
mod table;

use anyhow::{Context as _, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// What there is to measure.
#[derive(clap::Subcommand)]
pub(crate) enum Bench {
    /// Read many sockets: `lastack doctor --for 0 --json` beside a bare dump and beside ss
    Sockets(sockets::Options),
    /// Read a large capture: `lastack read --json` beside a bare walk and beside other readers
    Capture(capture::Options),
    /// Run worlds in virtual time: lives a second, and an hour of a busy host
    Simulator(simulator::Options),
}

/// Measures. Times are shown, never judged by the exit code: a machine has neighbours.
pub(crate) fn run(bench: &Bench) -> anyhow::Result<ExitCode> {
    match bench {
        Bench::Sockets(options) => sockets::run(options),
        Bench::Capture(options) => capture::run(options),
        Bench::Simulator(options) => simulator::run(options),
    }
}

/// The lastack to measure: the one that was named, or a release build of this checkout.
fn lastack(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    match named {
        Some(path) => path.canonicalize().with_context(|| format!("--lastack {}", path.display())),
        None => release_build("lastack"),
    }
}

/// Builds a program of this workspace as it is shipped.
fn release_build(package: &str) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--package", package]).current_dir(crate::root());
    ensure!(command.status()?.success(), "{package} could not be built");
    Ok(crate::target_dir().join("release").join(package))
}

/// Says what the figures below were taken on, and how.
fn introduce() {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "{} CPUs, load {}; whole processes in turn, output to /dev/null; ratios are taken round by round",
        std::thread::available_parallelism().map_or(1, usize::from),
        load.split(' ').take(3).collect::<Vec<_>>().join(" "),
    );
}
