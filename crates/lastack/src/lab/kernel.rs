//! Variants on this machine's kernel: each in a stage of its own, which is this program again.

use super::answer::Ran;
use super::found::Found;
use anyhow::Context as _;
use lab::sandbox::{Privilege, SandboxError};
use lab::stage::{Ended, Play};
use std::path::Path;
use world::scenario::Variant;
use world::verdict::Outcome;

/// What makes this program a stage.
const STAGE: [&str; 2] = ["lab", "stage"];

/// What makes it a host, before the name.
pub(super) const HOST: [&str; 2] = ["lab", "host"];

/// Runs a variant.
pub(super) fn run(found: &Found, variant: &Variant, keep: Option<&Path>) -> anyhow::Result<Ran> {
    let keep = keep.map(std::path::absolute).transpose().context("the folder of --keep has no path")?;
    let play = Play { scenario: found.text.clone(), variant: variant.name.clone(), keep };
    let executable = std::env::current_exe().context("this program does not find itself")?;
    let privilege = match Privilege::probe() {
        Ok(privilege) => privilege,
        Err(error @ (SandboxError::NotAllowed(_) | SandboxError::NoUnshare(_))) => {
            return Ok(Ran::Skipped(error.to_string()));
        }
        Err(error) => return Err(error.into()),
    };
    let ended = lab::stage::play(&executable, &STAGE, privilege, &play)
        .with_context(|| format!("{}, {}", found.scenario.name, variant.name))?;
    Ok(match ended {
        Ended::Skipped(because) => Ran::Skipped(because),
        Ended::Ran(ran) => {
            let outcome = Outcome { findings: ran.findings, measures: ran.measures, ..Outcome::default() };
            Ran::Done { outcome, notes: ran.notes }
        }
    })
}
