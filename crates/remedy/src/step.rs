//! One step of an apply: what is changed, from what, to what. A step looks before it acts and after, and its inverse is
//! the same step the other way round.

use crate::failpoint;
use crate::plan::Refusal;
use crate::program::{ProgramError, Running};
use crate::replace::{ReplaceError, Target};
use diagnose::value;
use kernel::change::{ChangeError, Setting};
use kernel::netns::{self, Found};
use kernel::{NetnsError, Root, Selection, process};
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// A network namespace that can be found again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Its name when the plan was made.
    pub name: String,
    /// Its number, which it keeps as long as it lives. Then it is given out again, soon.
    pub inode: u64,
    /// If it is named by a process: when that was started, in ticks since boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<u64>,
}

impl Place {
    /// What a plan means by a name.
    pub(crate) fn named(root: &Root, name: &str) -> Result<(Self, Found), NetnsError> {
        let here = netns::find(root, &Selection::Here, &mut Vec::new())?;
        let found = if let Some(found) = here.into_iter().find(|found| found.name == name) {
            found
        } else {
            let named = netns::find(root, &Selection::These(vec![name.to_owned()]), &mut Vec::new())?;
            named.into_iter().next().ok_or_else(|| NetnsError::NoSuchName(name.to_owned()))?
        };
        let started = process_of(name).and_then(|pid| Some(process::stat(root, pid)?.started));
        Ok((Self { name: name.to_owned(), inode: found.inode, started }, found))
    }

    /// Finds it by its name; none if that has gone, or means another one by now. Its number alone would not do:
    /// another namespace may have that.
    pub(crate) fn find(&self, root: &Root) -> Result<Option<Found>, NetnsError> {
        match Self::named(root, &self.name) {
            Ok((now, found)) => {
                let same_process = self.started.is_none() || self.started == now.started;
                Ok((now.inode == self.inode && same_process).then_some(found))
            }
            Err(error @ (NetnsError::Denied(_) | NetnsError::Other { .. })) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// The same place after the host was started anew. Numbers are given out again then, and may mean another
    /// namespace; a name means the same, unless it is that of a process.
    pub(crate) fn after_boot(&self, root: &Root) -> Self {
        let lasts = process_of(&self.name).is_none_or(|pid| pid == 1);
        let found = lasts.then(|| Self::named(root, &self.name).ok()).flatten();
        // No namespace has the number 0.
        found.map_or_else(|| Self { inode: 0, started: None, ..self.clone() }, |(place, _)| place)
    }
}

/// The process that a network namespace is named by: `pid:N`, `/proc/N/ns/net`. Nowhere else, and at no other time, is
/// that the same one.
pub(crate) fn process_of(netns: &str) -> Option<u32> {
    if let Some(pid) = netns.strip_prefix("pid:") {
        return pid.parse().ok();
    }
    let parts: Vec<&OsStr> = Path::new(netns).iter().collect();
    let of = |pair: &[&OsStr]| match pair {
        [folder, pid] if *folder == "proc" => pid.to_str()?.parse().ok(),
        _ => None,
    };
    parts.windows(2).find_map(of)
}

/// What a file holds, kept in the folder of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The file's name in that folder.
    pub name: String,
    /// Its checksum.
    pub crc32: u32,
}

/// A step, as the journal has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// A setting of a network namespace.
    Setting {
        /// Which namespace.
        netns: Place,
        /// Its name.
        setting: String,
        /// Its value before.
        before: String,
        /// Its value after.
        after: String,
    },
    /// A file as a whole.
    File {
        /// Where it is.
        path: PathBuf,
        /// What it held; none if there was none.
        before: Option<Kept>,
        /// What it is to hold; none if there is to be none.
        after: Option<Kept>,
    },
    /// A program tests its files.
    Test {
        /// Which.
        running: Running,
    },
    /// A program takes its files.
    Reload {
        /// Which.
        running: Running,
    },
}

impl Step {
    /// What it is about, for a sentence.
    pub fn subject(&self) -> String {
        match self {
            Self::Setting { netns, setting, .. } if netns.name == "host" => setting.clone(),
            Self::Setting { netns, setting, .. } => format!("{setting} in {}", netns.name),
            Self::File { path, .. } => path.display().to_string(),
            Self::Test { running } => format!("test of {}", running.program.name()),
            Self::Reload { running } => format!("reload of {}", running.program.name()),
        }
    }

    /// The same step after the host was started anew.
    pub(crate) fn after_boot(&self, root: &Root) -> Self {
        match self.clone() {
            Self::Setting { netns, setting, before, after } => {
                Self::Setting { netns: netns.after_boot(root), setting, before, after }
            }
            Self::Test { running } => Self::Test { running: running.after_boot(root) },
            Self::Reload { running } => Self::Reload { running: running.after_boot(root) },
            same @ Self::File { .. } => same,
        }
    }

    /// The step the other way round.
    pub(crate) fn inverse(&self) -> Self {
        match self.clone() {
            Self::Setting { netns, setting, before, after } => {
                Self::Setting { netns, setting, before: after, after: before }
            }
            Self::File { path, before, after } => Self::File { path, before: after, after: before },
            // Once what it reads is as it was, a program goes back as it went there.
            same @ (Self::Test { .. } | Self::Reload { .. }) => same,
        }
    }
}

/// What a step finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Now {
    /// What was before.
    Before,
    /// What is to be after.
    After,
    /// Neither: somebody else has changed it. The text says to what.
    Other(String),
    /// There is no such place any more.
    Gone,
}

/// Why a step could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// A setting.
    #[error(transparent)]
    Setting(#[from] ChangeError),
    /// A namespace.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// A file.
    #[error(transparent)]
    File(#[from] ReplaceError),
    /// A program.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The plan.
    #[error(transparent)]
    Plan(#[from] Refusal),
    /// The namespace is gone.
    #[error("network namespace {0} has gone")]
    NamespaceGone(String),
    /// Not as the plan has it.
    #[error(
        "{what} is {now}, and was {before} when the plan was made: somebody else has changed it; it was left alone"
    )]
    Changed {
        /// The setting.
        what: String,
        /// Its value now, in words.
        now: String,
        /// Its value when the plan was made, in words.
        before: String,
    },
    /// A value that a setting has now cannot be made that of the next boot.
    #[error("{setting} cannot be set at boot: {why}")]
    NotAtBoot {
        /// The setting.
        setting: String,
        /// Why.
        why: String,
    },
    /// The kernel took a value and kept another.
    #[error("{what}: the kernel was told {wanted} and says {says}")]
    NotTaken {
        /// The setting.
        what: String,
        /// What was written.
        wanted: String,
        /// What was read back.
        says: String,
    },
    /// What the journal keeps is damaged.
    #[error("{0}: damaged in the journal's folder")]
    Damaged(String),
}

impl StepError {
    /// Something that is not as the plan has it.
    pub(crate) fn changed(what: &str, now: &str, before: &str) -> Self {
        Self::Changed { what: what.to_owned(), now: shown(now), before: shown(before) }
    }
}

/// Where steps are taken: the kernel's trees, and the contents that the journal keeps.
pub(crate) struct Scene<'a> {
    pub(crate) root: &'a Root,
    /// The name of the apply, for names of files beside others.
    pub(crate) id: &'a str,
    /// The journal's folder.
    pub(crate) folder: &'a std::path::Path,
}

impl Scene<'_> {
    /// What is there now.
    pub(crate) fn look(&self, step: &Step) -> Result<Now, StepError> {
        match step {
            Step::Setting { netns, setting, before, after } => {
                let Some(found) = netns.find(self.root)? else { return Ok(Now::Gone) };
                let now = netns::enter(&found, || Setting::find(self.root, setting)?.read())??;
                Ok(if value::same(setting, &now, before) {
                    Now::Before
                } else if value::same(setting, &now, after) {
                    Now::After
                } else {
                    Now::Other(value::plain(&now))
                })
            }
            Step::File { path, before, after } => {
                let now = match Target::open(path) {
                    Ok(target) => target.read()?,
                    Err(ReplaceError::Io(_, error)) if error.kind() == std::io::ErrorKind::NotFound => None,
                    Err(ReplaceError::Link(..)) => return Ok(Now::Other("a link".to_owned())),
                    Err(error) => return Err(error.into()),
                };
                let (before, after) = (self.kept(before.as_ref())?, self.kept(after.as_ref())?);
                Ok(if now == before {
                    Now::Before
                } else if now == after {
                    Now::After
                } else {
                    Now::Other("something else".to_owned())
                })
            }
            // What a program has read cannot be seen; the journal says whether it was told to.
            Step::Test { .. } | Step::Reload { .. } => Ok(Now::Before),
        }
    }

    /// Makes sure that a step can be taken, as far as that can be known without touching anything.
    pub(crate) fn check(&self, step: &Step) -> Result<(), StepError> {
        match (step, self.look(step)?) {
            (_, Now::Before) => {}
            (Step::Setting { netns, .. }, Now::Gone) => {
                return Err(StepError::NamespaceGone(netns.name.clone()));
            }
            (_, now) => return Err(changed(step, &now)),
        }
        match step {
            Step::Setting { netns, setting, .. } => {
                let Some(found) = netns.find(self.root)? else {
                    return Err(StepError::NamespaceGone(netns.name.clone()));
                };
                Ok(netns::enter(&found, || Setting::find(self.root, setting)?.check_writable())??)
            }
            Step::File { path, .. } => Ok(Target::open(path)?.check()?),
            Step::Test { running } | Step::Reload { running } => Ok(running.check_runs(self.root)?),
        }
    }

    /// Puts the new file of a step beside the old one, so that a full disk shows before anything is changed.
    pub(crate) fn stage(&self, number: usize, step: &Step) -> Result<(), StepError> {
        if let Step::File { path, before, after } = step
            && let Some(bytes) = self.kept(after.as_ref())?
        {
            let before = self.kept(before.as_ref())?;
            Target::open(path)?.stage(&self.side(number), &bytes, [before.as_deref(), Some(&bytes)])?;
        }
        Ok(())
    }

    /// Takes a step, and reads back what it did.
    pub(crate) fn act(&self, number: usize, step: &Step) -> Result<(), StepError> {
        match step {
            Step::Setting { netns, setting, before, after } => {
                let Some(found) = netns.find(self.root)? else {
                    return Err(StepError::NamespaceGone(netns.name.clone()));
                };
                let says = netns::enter(&found, || {
                    let name = setting;
                    let setting = Setting::find(self.root, name)?;
                    let now = setting.read()?;
                    if !value::same(name, &now, before) {
                        return Err(changed(step, &Now::Other(value::plain(&now))));
                    }
                    let says = setting.write(after)?;
                    failpoint::point("setting-written");
                    Ok::<_, StepError>(says)
                })??;
                if value::same(setting, &says, after) {
                    return Ok(());
                }
                Err(StepError::NotTaken {
                    what: step.subject(),
                    wanted: after.clone(),
                    says: value::plain(&says),
                })
            }
            Step::File { path, before, after } => {
                let target = Target::open(path)?;
                let (before, after) = (self.kept(before.as_ref())?, self.kept(after.as_ref())?);
                let side = self.side(number);
                if let Some(bytes) = &after
                    && !target.is_staged(&side, bytes)
                {
                    target.stage(&side, bytes, [before.as_deref(), Some(bytes)])?;
                }
                target.turn(&side, before.as_deref(), after.as_deref())?;
                if target.read()? == after { Ok(()) } else { Err(ReplaceError::Changed(path.clone()).into()) }
            }
            Step::Test { running } => Ok(running.test(self.root)?),
            Step::Reload { running } => {
                running.reload(self.root)?;
                failpoint::point("reloaded");
                Ok(())
            }
        }
    }

    /// Gives somebody else's file its place back, if a step displaced it just before a crash.
    pub(crate) fn give_back(&self, number: usize, step: &Step) -> Result<(), StepError> {
        let Step::File { path, before, after } = step else { return Ok(()) };
        let Some(target) = beside(path)? else { return Ok(()) };
        let (before, after) = (self.kept(before.as_ref())?, self.kept(after.as_ref())?);
        target.give_back(&self.side(number), [before.as_deref(), after.as_deref()])?;
        Ok(())
    }

    /// Removes what a step put beside other files. The answer is what is there and is somebody else's: it stays.
    pub(crate) fn tidy(&self, number: usize, step: &Step) -> Result<Option<PathBuf>, StepError> {
        let Step::File { path, before, after } = step else { return Ok(None) };
        let Some(target) = beside(path)? else { return Ok(None) };
        let (before, after) = (self.kept(before.as_ref())?, self.kept(after.as_ref())?);
        let side = self.side(number);
        target.discard_unfinished(&side)?;
        let gone = target.discard(&side, [before.as_deref(), after.as_deref()])?;
        target.sync()?;
        Ok((!gone).then(|| target.beside(&side)))
    }

    /// The name beside a file: no program reads what begins with a dot.
    fn side(&self, number: usize) -> OsString {
        format!(".lastack-{}-{number}", self.id).into()
    }

    /// What the journal keeps, checked.
    pub(crate) fn kept(&self, kept: Option<&Kept>) -> Result<Option<Vec<u8>>, StepError> {
        let Some(kept) = kept else { return Ok(None) };
        let damaged = || StepError::Damaged(self.folder.join(&kept.name).display().to_string());
        if kept.name.contains('/') || kept.name.starts_with('.') {
            return Err(damaged());
        }
        let bytes = std::fs::read(self.folder.join(&kept.name)).map_err(|_| damaged())?;
        if crc32fast::hash(&bytes) == kept.crc32 { Ok(Some(bytes)) } else { Err(damaged()) }
    }
}

/// A place beside which something may be: nothing is where the directory is gone, and behind a link nothing was put.
fn beside(path: &Path) -> Result<Option<Target>, StepError> {
    match Target::whatever_is_at(path) {
        Ok(target) => Ok(Some(target)),
        Err(ReplaceError::Io(_, error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(ReplaceError::Link(..)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn changed(step: &Step, now: &Now) -> StepError {
    match step {
        Step::Setting { before, .. } => StepError::Changed {
            what: step.subject(),
            now: match now {
                Now::Other(value) => shown(value),
                Now::After => "already what it is to become".to_owned(),
                Now::Before | Now::Gone => "gone".to_owned(),
            },
            before: shown(before),
        },
        Step::File { path, .. } => ReplaceError::Changed(path.clone()).into(),
        Step::Test { running } | Step::Reload { running } => {
            ProgramError::Reload(running.program.name(), running.pid, "it has changed".to_owned()).into()
        }
    }
}

fn shown(value: &str) -> String {
    if value.is_empty() { "empty".to_owned() } else { value::plain(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_boot_a_place_is_found_by_its_name_or_not_at_all() {
        let root = Root::default();
        let here = netns::find(&root, &Selection::Here, &mut Vec::new()).unwrap().remove(0).inode;
        let found =
            |name: &str| Place { name: name.into(), inode: 4_711, started: None }.after_boot(&root).inode;
        assert_eq!(found("/proc/self/ns/net"), here);
        let process = std::process::id();
        for name in [format!("pid:{process}"), format!("/proc/{process}/ns/net"), "no-such-name".into()] {
            assert_eq!(found(&name), 0, "{name}");
        }
    }

    #[test]
    fn a_number_that_was_given_out_again_is_not_the_place() {
        let root = Root::default();
        let process = format!("pid:{}", std::process::id());
        let (place, found) = Place::named(&root, &process).unwrap();
        assert_eq!(place.find(&root).unwrap(), Some(found));
        // The number is there, but what had it then has gone: its name, or the process that it was named by.
        for other in [
            Place { name: "no-such-name".into(), ..place.clone() },
            Place { name: "pid:4194999".into(), ..place.clone() },
            Place { started: place.started.map(|ticks| ticks - 1), ..place.clone() },
            Place { inode: place.inode + 1, ..place.clone() },
        ] {
            assert_eq!(other.find(&root).unwrap(), None, "{other:?}");
        }
        // As earlier versions wrote it.
        let text = format!("{{\"name\":\"{process}\",\"inode\":{}}}", place.inode);
        let earlier: Place = serde_json::from_str(&text).unwrap();
        assert!(earlier.find(&root).unwrap().is_some());
    }

    #[test]
    fn a_process_gives_its_number_to_a_name() {
        for name in ["pid:12", "/proc/12/ns/net", "/proc//12/./ns/net", "/host/proc/12/task/12/ns/net"] {
            assert_eq!(process_of(name), Some(12), "{name}");
        }
        for name in ["host", "web", "pid:x", "/run/netns/12", "/proc/self/ns/net", "/proc/thread-self/ns/net"]
        {
            assert_eq!(process_of(name), None, "{name}");
        }
    }
}
