//! The parts of `lastack lab` that run in namespaces of their own, and how they are started.

use crate::arguments::Lab;
use crate::case_file::said;
use crate::{Outcome, screen};
use anyhow::{Context as _, anyhow};
use lab::sandbox::Privilege;
use lab::stage::{Ended, Play, play};
use std::process::ExitCode;

/// What makes this program a stage.
const STAGE: [&str; 2] = ["lab", "stage"];

/// What makes it a host, before the name.
const HOST: [&str; 2] = ["lab", "host"];

pub(crate) fn run(options: &Lab) -> Outcome {
    match options {
        Lab::Stage => Ok(lab::stage::serve(&HOST)),
        Lab::Host { name } => Ok(lab::host::serve(name)),
        Lab::Play { file, variant, keep } => {
            let scenario = std::fs::read_to_string(file)
                .map_err(|error| anyhow!("{}: {}", file.display(), said(&error)))?;
            let keep = keep.as_deref().map(std::path::absolute).transpose()?;
            let told = Play { scenario, variant: variant.clone(), keep };
            let executable = std::env::current_exe().context("this program does not find itself")?;
            let text = match play(&executable, &STAGE, Privilege::probe()?, &told)? {
                Ended::Ran(ran) => serde_json::to_string_pretty(&ran)?,
                Ended::Skipped(because) => format!("skipped: {because}"),
            };
            screen::print(format!("{text}\n").as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
