//! `lastack`: shows how TCP connections end on a machine, and what is wrong with that.
//!
//! Wiring only: arguments, files, exit codes and the terminal. What is read is the business of `kernel`, what
//! it means of `diagnose`, how it is said of `report`, and what is changed of `remedy`.

mod arguments;
mod case_file;
mod collect;
mod completions;
mod doctor;
mod explain;
mod filter;
mod fix;
mod lab;
mod lint;
mod look_length;
mod man;
mod mapped;
mod mistake;
mod pasted_files;
mod progress;
mod read;
mod read_follow;
mod read_lines;
mod read_progress;
mod screen;
mod sequence;
mod sos_report;
mod whatif;

use arguments::{Arguments, Command};
use clap::Parser as _;
use std::process::ExitCode;

/// How a command ended: 0, or 1 if something is wrong.
type Outcome = anyhow::Result<ExitCode>;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return mistake::said(&error),
    };
    let outcome = match &arguments.command {
        Command::Doctor(options) => doctor::run(options),
        Command::Collect(options) => collect::run(options),
        Command::Read(options) => read::run(options),
        Command::Explain(options) => explain::run(options),
        Command::Lint(options) => lint::run(options),
        Command::Lab(options) => lab::run(options),
        Command::Whatif(options) => whatif::run(options),
        Command::Fix(options) => fix::run(options),
        Command::FixWorker => fix::work(),
        Command::Completions(options) => completions::run(options),
        Command::Man(options) => man::run(options),
    };
    outcome.unwrap_or_else(|error| screen::fail(&format!("{error:#}")))
}
