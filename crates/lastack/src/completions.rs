//! `lastack completions`.

use crate::arguments::{Arguments, Completions};
use crate::{Outcome, screen};
use clap::CommandFactory as _;
use serde::Serialize;
use std::process::ExitCode;

#[derive(Serialize)]
struct Completion<'a> {
    schema: &'static str,
    shell: String,
    script: &'a str,
}

pub(crate) fn run(options: &Completions) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Arguments::command(), "lastack", &mut script);
    let mut text = Vec::new();
    if options.json {
        let script = &String::from_utf8_lossy(&script);
        let shell = options.shell.to_string();
        report::write_json(&Completion { schema: "lastack.completions/1", shell, script }, &mut text)?;
    }
    screen::print(if options.json { &text } else { &script })?;
    Ok(ExitCode::SUCCESS)
}
