//! The stage: runs one variant of a scenario on the hosts it makes.
//!
//! [`play`] is what the program that the user started calls: it starts a stage and hears from it; [`repair`](fn@repair)
//! does the same where `fix` is to be tried. [`serve`] is the stage's own end.

mod keep;
mod measures;
mod network;
mod probes;
mod proxy;
mod repair;
mod restored;
mod running;
mod tap;
mod timeline;

use crate::host::{self, HostError};
use crate::sandbox::{self, Inside, Privilege, SandboxError};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use world::scenario::ScenarioError;
use world::{Measures, Met, Scenario};

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
    /// Whether it is to be seen what `fix` does,
    #[serde(default)]
    pub repair: bool,
    /// and which of the variant's fixes is to be tried.
    #[serde(default)]
    pub fix: Option<usize>,
}

/// What a stage says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "says", rename_all = "snake_case", deny_unknown_fields)]
enum Said {
    /// All is set up, and it begins.
    Began,
    /// It cannot run that here.
    Skipped { because: String },
    /// It ran.
    Ran(Ran),
    /// `fix` was tried.
    Repaired(Box<Repaired>),
    /// It began, and came to no end.
    Broke { error: String },
    /// It failed before anything ran.
    Failed { error: String },
}

/// What a run showed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ran {
    /// The rules that fired, by host.
    pub findings: BTreeMap<String, BTreeSet<String>>,
    /// Those that fired on what a host's captures show of its peers.
    pub of_peers: BTreeMap<String, BTreeSet<String>>,
    /// Its numbers.
    pub measures: Measures,
    /// What the segment of each probe met.
    #[serde(default)]
    pub probes: BTreeMap<String, Met>,
    /// The counters that this kernel has, without `Tcp` and `TcpExt`.
    #[serde(default)]
    pub counters: BTreeSet<String>,
    /// What the reader of the numbers should know: packets that captures lost, a load that was cut short.
    pub notes: Vec<String>,
}

/// What came of trying `fix`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repaired {
    /// The load before.
    pub before: Ran,
    /// What `fix` can change against what is found then.
    pub offered: Vec<Offer>,
    /// What it changed, a line each.
    pub changes: Vec<String>,
    /// The same load while the changes are in force; none if it did not come to that.
    pub after: Option<Ran>,
    /// What was looked at again when all was taken back.
    pub restored: Option<Restored>,
    /// What did not go as it must, a sentence each.
    pub wrong: Vec<String>,
}

/// A remedy with changes that `fix` offers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// The host.
    pub host: String,
    /// The rule that asks for it.
    pub rule: String,
    /// Its name.
    pub remedy: String,
}

/// So much was compared with what it was before a fix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restored {
    /// Settings below `net`, those of all hosts together.
    pub settings: usize,
    /// Files.
    pub files: usize,
    /// Programs that ran all the time.
    pub programs: usize,
}

/// How a play ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended<T> {
    /// It ran.
    Ran(T),
    /// It could not run here, because of this.
    Skipped(String),
    /// It began and came to no end, because of this: it says nothing of others.
    Broke(String),
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
    /// What is to be kept cannot be.
    #[error("{} cannot be kept: {source}", folder.display())]
    Keep {
        /// Where.
        folder: PathBuf,
        /// Why.
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

/// Runs a variant on a stage of its own. `executable STAGE...` must call [`serve`], `executable HOST... NAME`
/// [`host::serve`].
pub fn play(
    executable: &Path,
    stage: &[&str],
    privilege: Privilege,
    play: &Play,
) -> Result<Ended<Ran>, StageError> {
    match told(executable, stage, privilege, play)? {
        Said::Ran(ran) => Ok(Ended::Ran(ran)),
        other => other.instead(),
    }
}

/// Does what `fix` says on the stage of a variant, and takes it back. `executable` must know `doctor` and `fix`, too.
pub fn repair(
    executable: &Path,
    stage: &[&str],
    privilege: Privilege,
    play: &Play,
) -> Result<Ended<Repaired>, StageError> {
    match told(executable, stage, privilege, &Play { repair: true, ..play.clone() })? {
        Said::Repaired(repaired) => Ok(Ended::Ran(*repaired)),
        other => other.instead(),
    }
}

/// What a stage says when it has been told to play this.
fn told(executable: &Path, stage: &[&str], privilege: Privilege, play: &Play) -> Result<Said, StageError> {
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
    let mut line = serde_json::to_vec(play).map_err(|error| StageError::Failed(error.to_string()))?;
    line.push(b'\n');
    // A stage that has ended already says why below.
    let _ = input.write_all(&line);
    let mut output = BufReader::new(output);
    let mut hear = || {
        let mut said = Vec::new();
        let _ = output.by_ref().take(MAX_LINE).read_until(b'\n', &mut said);
        serde_json::from_slice(&said)
    };
    let first = hear();
    let began = matches!(first, Ok(Said::Began));
    let said = if began { hear() } else { first };
    // Its work is done: the end of its input ends it, and all that runs on it.
    drop(input);
    let _ = child.wait();
    let errors = errors.join().unwrap_or_default();
    said.or_else(|_| {
        let last: Vec<&str> = errors.lines().filter(|line| !line.trim().is_empty()).take(4).collect();
        let died =
            StageError::Died(if last.is_empty() { String::new() } else { format!(": {}", last.join("; ")) });
        if began { Ok(Said::broke(died)) } else { Err(died) }
    })
}

impl Said {
    #[expect(clippy::needless_pass_by_value, reason = "it ends here")]
    fn broke(error: StageError) -> Self {
        Self::Broke { error: error.to_string() }
    }

    /// What is said where nothing ran to its end.
    fn instead<T>(self) -> Result<Ended<T>, StageError> {
        match self {
            Self::Skipped { because } => Ok(Ended::Skipped(because)),
            Self::Broke { error } => Ok(Ended::Broke(error)),
            Self::Failed { error } => Err(StageError::Failed(error)),
            Self::Began | Self::Ran(_) | Self::Repaired(_) => {
                Err(StageError::Failed("it did something else".to_owned()))
            }
        }
    }
}

/// Runs the play that standard input names, as pid 1 of a stage. `host` are the arguments with which this program
/// becomes a host.
pub fn serve(host: &[&str]) -> ExitCode {
    let said = prepare().and_then(|(inside, play)| perform(&inside, &play, host));
    let said = said.unwrap_or_else(|error| Said::Failed { error: error.to_string() });
    match say(&said) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(2),
    }
}

fn say(said: &Said) -> io::Result<()> {
    let mut line = serde_json::to_vec(said)?;
    line.push(b'\n');
    let mut output = io::stdout().lock();
    output.write_all(&line)?;
    output.flush()
}

fn prepare() -> Result<(Inside, Play), StageError> {
    let inside = Inside::enter()?;
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

fn perform(inside: &Inside, play: &Play, arguments: &[&str]) -> Result<Said, StageError> {
    let scenario = Scenario::parse(&play.scenario)?;
    let variant = scenario
        .variant(&play.variant)
        .ok_or_else(|| StageError::Failed(format!("the scenario has no variant {:?}", play.variant)))?;
    let fix = play.fix.filter(|_| play.repair).and_then(|place| variant.fixes.get(place));
    let world = fix.map_or(&variant.world, |fix| &fix.before);
    let without = (play.repair && sandbox::program(repair::NSENTER).is_none())
        .then(|| format!("not installed: {}", repair::NSENTER));
    if let Some(because) = running::impossible(world).or(without) {
        return Ok(Said::Skipped { because });
    }
    let number = play.fix.map(|place| format!(".{}", place.saturating_add(1))).unwrap_or_default();
    let title = format!("{}/{}", scenario.name, variant.name);
    // What is kept of a fix is kept of each of its plays.
    let title_of = |when: &str| format!("{title}{number}.{when}");
    let executable = std::env::current_exe().map_err(StageError::io("this program does not find itself"))?;
    let kept = match &play.keep {
        Some(keep) => {
            let titles = if play.repair { repair::WHEN.map(title_of).to_vec() } else { vec![title.clone()] };
            let hosts: Vec<&str> = world.hosts.iter().map(|host| host.name.as_str()).collect();
            keep::prepare(keep, &titles, &hosts)
                .map_err(StageError::io(format!("nothing can be kept in {}", keep.display())))?
        }
        None => Vec::new(),
    };
    let needed: Vec<&Path> = kept.iter().chain([&executable]).map(PathBuf::as_path).collect();
    let folder = inside.mount(&needed)?;
    let mut stage = match running::Running::set_up(world, &folder, &executable, arguments) {
        Ok(stage) => stage,
        // Not all settings of a network namespace are there for whoever made it in a user namespace.
        Err(StageError::Host(HostError::Failed { host, error }))
            if error.starts_with(host::SETTING) && !rustix::process::geteuid().is_root() =>
        {
            return Ok(Said::Skipped { because: format!("host {host}: {error}; root has all settings") });
        }
        Err(error) => return Err(error),
    };
    let kept = |title: &str, played: &running::Played| match &play.keep {
        Some(keep) => keep::write(keep, title, played)
            .map_err(|source| StageError::Keep { folder: keep.clone(), source }),
        None => Ok(()),
    };
    say(&Said::Began).map_err(StageError::io("nobody hears the stage"))?;
    if play.repair {
        let mut kept = |when: &str, played: &_| kept(&title_of(when), played);
        let fixed = repair::Repair { stage, folder: &folder, executable: &executable };
        return match fixed.run(fix, &mut kept) {
            Ok(done) => Ok(Said::Repaired(Box::new(done))),
            Err(error @ StageError::Keep { .. }) => Err(error),
            Err(error) => Ok(Said::broke(error)),
        };
    }
    let played = match stage.play() {
        Ok(played) => played,
        Err(error) => return Ok(Said::broke(error)),
    };
    kept(&title, &played)?;
    Ok(Said::Ran(running::Running::judge(&played)))
}
