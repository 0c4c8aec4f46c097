//! One step of an apply: what is changed, from what, to what. A step looks before it acts and after, and its inverse is
//! the same step the other way round.

use crate::failpoint;
use crate::plan::Refusal;
use crate::program::{ProgramError, Running};
use crate::replace::{ReplaceError, Target};
use diagnose::value;
use kernel::change::{ChangeError, Setting};
use kernel::netns::{self, Found};
use kernel::{NetnsError, Root, Selection};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::PathBuf;

/// A network namespace that can be found again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Its name when the plan was made.
    pub name: String,
    /// Its number, which it keeps as long as it lives.
    pub inode: u64,
}

impl Place {
    /// Finds it by its number, whatever it is called by now; none if it is gone.
    pub(crate) fn find(&self, root: &Root) -> Result<Option<Found>, NetnsError> {
        let here = netns::find(root, &Selection::Here, &mut Vec::new())?;
        let all = || netns::find(root, &Selection::All, &mut Vec::new());
        let is_it = |found: &Found| found.inode == self.inode;
        if let Some(found) = here.into_iter().find(is_it) {
            return Ok(Some(found));
        }
        Ok(all()?.into_iter().find(is_it))
    }

    /// The same place after the host was started anew. Numbers are given out again then, and may mean another
    /// namespace; a name means the same, unless it is that of a process.
    pub(crate) fn after_boot(&self, root: &Root) -> Self {
        let process = self.name.strip_prefix("pid:").or_else(|| self.name.strip_prefix("/proc/"));
        let process = process.and_then(|rest| rest.split('/').next()?.parse::<u32>().ok());
        let lasts = process.is_none_or(|pid| pid == 1);
        let named = || netns::find(root, &Selection::These(vec![self.name.clone()]), &mut Vec::new()).ok();
        let found = lasts.then(named).flatten().and_then(|found| found.into_iter().next());
        // No namespace has the number 0.
        Self { name: self.name.clone(), inode: found.map_or(0, |found| found.inode) }
    }
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
        if let Step::File { path, after, .. } = step
            && let Some(bytes) = self.kept(after.as_ref())?
        {
            Target::open(path)?.stage(&self.side(number), &bytes)?;
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
                if let Some(after) = &after
                    && !target.is_staged(&side, after)
                {
                    target.stage(&side, after)?;
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

    /// Removes what a step put beside other files.
    pub(crate) fn tidy(&self, number: usize, step: &Step) -> Result<(), StepError> {
        let Step::File { path, .. } = step else { return Ok(()) };
        match Target::open(path) {
            Ok(target) => {
                target.remove(&self.side(number))?;
                Ok(target.sync()?)
            }
            // Nothing can be beside a file whose directory is gone; beside a link nothing was put.
            Err(ReplaceError::Io(_, error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(ReplaceError::Link(..)) => Ok(()),
            Err(error) => Err(error.into()),
        }
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
        let found = |name: &str| Place { name: name.into(), inode: 4_711 }.after_boot(&root).inode;
        assert_eq!(found("/proc/self/ns/net"), here);
        let process = std::process::id();
        for name in [format!("pid:{process}"), format!("/proc/{process}/ns/net"), "no-such-name".into()] {
            assert_eq!(found(&name), 0, "{name}");
        }
    }
}
