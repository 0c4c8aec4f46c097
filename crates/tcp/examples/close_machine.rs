//! Prints the close machine: `close_machine svg` or `close_machine text`, for docs/close-machine.svg and .txt.
#![allow(clippy::print_stdout, reason = "that is what it is for")]

use std::process::ExitCode;
use tcp::machine::diagram;

fn main() -> ExitCode {
    let mut drawn = String::new();
    let written = match std::env::args_os().nth(1).as_ref().and_then(|what| what.to_str()) {
        Some("svg") => diagram::svg(&mut drawn),
        Some("text") => diagram::text(&mut drawn),
        _ => Err(std::fmt::Error),
    };
    print!("{drawn}");
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(2) }
}
