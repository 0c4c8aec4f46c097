//! The stage: runs one variant of a scenario on the hosts it makes.
//!
//! [`play`] is what the program that the user started calls: it starts a stage and hears from it. [`serve`] is the
//! stage's own end.

mod keep;
mod measures;
mod network;
mod probes;
mod proxy;
mod running;
mod tap;
mod timeline;

use crate::host::HostError;
use crate::sandbox::{Inside, Privilege, SandboxError};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use world::scenario::ScenarioError;
use world::{Measures, Scenario};

/// The longest line that a stage or the program that started it says.
const MAX_LINE: u64 = 16 << 20;

/// So many of a stage's last words on standard error are kept for its epitaph.
const MAX_ERRORS: u64 = 8 << 10;

/// What is to be run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Play {
    /// The scenario's file, as text.
    pub scenario: String,
    /// The variant's name.
    pub variant: String,
    /// The folder that is to keep the case and the captures of each host.
    pub keep: Option<PathBuf>,
}

/// What a stage says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "says", rename_all = "snake_case", deny_unknown_fields)]
enum Said {
    /// It cannot run that here.
    Skipped { because: String },
    /// It ran.
    Ran(Ran),
    /// It failed.
    Failed { error: String },
}

/// What a run showed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ran {
    /// The rules that fired, by host.
    pub findings: BTreeMap<String, BTreeSet<String>>,
    /// Its numbers.
    pub measures: Measures,
    /// What the reader of the numbers should know: packets that captures lost, a load that was cut short.
    pub notes: Vec<String>,
}

/// How a play ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// It ran.
    Ran(Ran),
    /// It could not run here, because of this.
    Skipped(String),
}

/// Why a play came to no end.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// No namespaces.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A host.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The scenario.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// A namespace of the stage cannot be looked at.
    #[error("the stage cannot look at its hosts: {0}")]
    Look(#[from] kernel::LookError),
    /// The stage cannot be started, or a file in it cannot be written.
    #[error("{what}: {source}")]
    Io {
        /// What was done.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The stage ended without a last word.
    #[error("the stage ended early{0}")]
    Died(String),
    /// In the stage's words.
    #[error("{0}")]
    Failed(String),
}

impl StageError {
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// Runs a play on a stage of its own. `executable STAGE...` must call [`serve`], `executable HOST... NAME`
/// [`host::serve`](crate::host::serve).
pub fn play(
    executable: &Path,
    stage: &[&str],
    privilege: Privilege,
    play: &Play,
) -> Result<Ended, StageError> {
    let mut command = privilege.stage(executable, stage);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(StageError::io(format!("{} cannot be run", executable.display())))?;
    let (Some(mut input), Some(output), Some(errors)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(StageError::Died(String::new()));
    };
    let errors = std::thread::spawn(move || {
        let mut kept = Vec::new();
        let mut errors = errors;
        let _ = errors.by_ref().take(MAX_ERRORS).read_to_end(&mut kept);
        let _ = io::copy(&mut errors, &mut io::sink());
        String::from_utf8_lossy(&kept).into_owned()
    });
    let mut told = serde_json::to_vec(play).map_err(|error| StageError::Failed(error.to_string()))?;
    told.push(b'\n');
    // A stage that has ended already says why below.
    let _ = input.write_all(&told);
    let mut said = Vec::new();
    let _ = BufReader::new(output).take(MAX_LINE).read_until(b'\n', &mut said);
    // Its work is done: the end of its input ends it, and all that runs on it.
    drop(input);
    let _ = child.wait();
    let errors = errors.join().unwrap_or_default();
    match serde_json::from_slice(&said) {
        Ok(Said::Ran(ran)) => Ok(Ended::Ran(ran)),
        Ok(Said::Skipped { because }) => Ok(Ended::Skipped(because)),
        Ok(Said::Failed { error }) => Err(StageError::Failed(error)),
        Err(_) => {
            let last: Vec<&str> = errors.lines().filter(|line| !line.trim().is_empty()).take(4).collect();
            let last = if last.is_empty() { String::new() } else { format!(": {}", last.join("; ")) };
            Err(StageError::Died(last))
        }
    }
}

/// Runs the play that standard input names, as pid 1 of a stage. `host` are the arguments with which this program
/// becomes a host.
pub fn serve(host: &[&str]) -> ExitCode {
    let said = match prepare().and_then(|(inside, play)| perform(&inside, &play, host)) {
        Ok(Ended::Ran(ran)) => Said::Ran(ran),
        Ok(Ended::Skipped(because)) => Said::Skipped { because },
        Err(error) => Said::Failed { error: error.to_string() },
    };
    let mut line = serde_json::to_vec(&said).unwrap_or_default();
    line.push(b'\n');
    let mut output = io::stdout().lock();
    match output.write_all(&line).and_then(|()| output.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(2),
    }
}

fn prepare() -> Result<(Inside, Play), StageError> {
    let inside = Inside::settle()?;
    let mut line = Vec::new();
    io::stdin()
        .lock()
        .take(MAX_LINE)
        .read_until(b'\n', &mut line)
        .map_err(StageError::io("the stage was told nothing"))?;
    inside.end_with_input();
    let play = serde_json::from_slice(&line)
        .map_err(|error| StageError::Failed(format!("the stage was told nonsense: {error}")))?;
    Ok((inside, play))
}

fn perform(inside: &Inside, play: &Play, host: &[&str]) -> Result<Ended, StageError> {
    let scenario = Scenario::parse(&play.scenario)?;
    let variant = scenario
        .variant(&play.variant)
        .ok_or_else(|| StageError::Failed(format!("the scenario has no variant {:?}", play.variant)))?;
    if let Some(because) = running::impossible(&variant.world) {
        return Ok(Ended::Skipped(because));
    }
    let executable = std::env::current_exe().map_err(StageError::io("this program does not find itself"))?;
    let stage = running::Running::set_up(&variant.world, inside.folder(), &executable, host)?;
    let title = format!("{}/{}", scenario.name, variant.name);
    stage.run(&title, play.keep.as_deref()).map(Ended::Ran)
}
