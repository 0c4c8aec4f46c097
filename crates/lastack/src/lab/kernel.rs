//! Variants on this machine's kernel: each in a stage of its own, which is this program again.

use super::answer::Ran;
use super::found::Found;
use anyhow::Context as _;
use lab::sandbox::{Privilege, SandboxError};
use lab::stage::{Ended, Play, Repaired, StageError};
use std::path::Path;
use world::scenario::Variant;
use world::verdict::Outcome;

/// What makes this program a stage.
const STAGE: [&str; 2] = ["lab", "stage"];

/// What makes it a host, before the name.
pub(super) const HOST: [&str; 2] = ["lab", "host"];

/// Runs a variant.
pub(super) fn run(found: &Found, variant: &Variant, keep: Option<&Path>) -> anyhow::Result<Ran> {
    let ended = on_stage(found, variant, keep, lab::stage::play)?;
    Ok(match ended {
        Ended::Skipped(because) => Ran::Skipped(because),
        Ended::Broke(error) => Ran::Broke(error),
        Ended::Ran(ran) => {
            let lab::stage::Ran { findings, of_peers, measures, probes, counters, notes } = ran;
            let outcome = Outcome { findings, of_peers, measures, probes, counters, ..Outcome::default() };
            Ran::Done { outcome, notes }
        }
    })
}

/// Tries one of a variant's fixes; without one it shows what `fix` offers.
pub(super) fn repair(
    found: &Found,
    variant: &Variant,
    fix: Option<usize>,
    keep: Option<&Path>,
) -> anyhow::Result<Ended<Repaired>> {
    on_stage(found, variant, keep, |executable, stage, privilege, play| {
        lab::stage::repair(executable, stage, privilege, &Play { fix, ..play.clone() })
    })
}

/// Does something on the stage of a variant, if this user can have one.
fn on_stage<T>(
    found: &Found,
    variant: &Variant,
    keep: Option<&Path>,
    act: impl FnOnce(&Path, &[&str], Privilege, &Play) -> Result<Ended<T>, StageError>,
) -> anyhow::Result<Ended<T>> {
    let keep = keep.map(std::path::absolute).transpose().context("the folder of --keep has no path")?;
    let play = Play { scenario: found.text.clone(), variant: variant.name.clone(), keep, ..Play::default() };
    let executable = std::env::current_exe().context("this program does not find itself")?;
    let privilege = match Privilege::probe() {
        Ok(privilege) => privilege,
        Err(error @ (SandboxError::NotAllowed(_) | SandboxError::NoUnshare(_))) => {
            return Ok(Ended::Skipped(error.to_string()));
        }
        Err(error) => return Err(error.into()),
    };
    act(&executable, &STAGE, privilege, &play)
        .with_context(|| format!("{}, {}", found.scenario.name, variant.name))
}
