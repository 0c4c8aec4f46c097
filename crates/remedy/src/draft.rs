//! From a plan to steps: where each change is to be made, what is there now, and what makes it last.

use crate::durable::{self, Boot, Lasting, Wins};
use crate::guard::{self, Guard};
use crate::journal::Story;
use crate::plan::{Change, Plan, Replaced};
use crate::program::{ProgramError, Running};
use crate::replace::{ReplaceError, Target};
use crate::step::{Kept, Now, Place, Scene, Step, StepError};
use diagnose::value;
use kernel::Root;
use kernel::change::Setting;
use kernel::netns;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Steps, and the contents of files that go with them.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) steps: Vec<Step>,
    /// How many are taken before it is decided whether they stay.
    pub(crate) at_once: usize,
    pub(crate) contents: BTreeMap<String, Vec<u8>>,
    pub(crate) guards: BTreeSet<Guard>,
    /// What is done, a line for each remedy.
    pub(crate) about: Vec<String>,
    /// What somebody should know.
    pub(crate) notes: Vec<String>,
    /// What is not taken back, as somebody else has changed it since.
    pub(crate) left: Vec<String>,
    /// Programs whose files are replaced.
    programs: Vec<Running>,
}

/// What is to be so after the next boot.
struct AtBoot {
    /// What the files say so far.
    files: Boot,
    /// The namespace that they are for.
    inode: Option<u64>,
    settings: Vec<ToLast>,
}

/// A setting that is to be so after the next boot.
struct ToLast {
    netns: Place,
    setting: String,
    before: String,
    value: String,
    why: Vec<String>,
}

impl AtBoot {
    /// Whether a value that a setting has now can be made that of the next boot; the answer is what the files say if
    /// they say that already.
    fn check(
        &self,
        netns: &Place,
        setting: &str,
        (from, to): (&str, &str),
        now: &str,
    ) -> Result<Option<String>, StepError> {
        let cannot = |why| StepError::NotAtBoot { setting: setting.to_owned(), why };
        if Some(netns.inode) != self.inode {
            let why = format!("{} is not the network namespace that files of sysctl.d are for", netns.name);
            return Err(cannot(why));
        }
        if !value::same(setting, now, to) {
            return Err(StepError::changed(setting, now, to));
        }
        let at_boot = self.files.value(setting).unwrap_or_default();
        if value::same(setting, &at_boot, to) {
            return Ok(Some(value::plain(&at_boot)));
        }
        if !value::same(setting, &at_boot, from) {
            return Err(StepError::changed(&format!("{setting} at boot"), &at_boot, from));
        }
        self.files.forbids(setting, to).map_or(Ok(None), |why| Err(cannot(why)))
    }
}

impl Draft {
    /// The steps of a plan. Changes that are made already are left out.
    pub(crate) fn of(root: &Root, plan: &Plan) -> Result<Self, StepError> {
        let mut draft = Self::default();
        let mut boot = AtBoot { files: Boot::read(root), inode: netns::at_boot(root), settings: Vec::new() };
        for remedy in plan.chosen() {
            let (place, found) = Place::named(root, &remedy.netns)?;
            draft.guards.extend(guard::guards(&place, &remedy.guards));
            let mut changes = Vec::new();
            for change in &remedy.changes {
                let (setting, from, to, only_at_boot) = match change {
                    Change::Setting { setting, from, to } => (setting, from, to, false),
                    Change::AtBoot { setting, from, to } => (setting, from, to, true),
                    Change::File { .. } => {
                        changes.push(change.what());
                        continue;
                    }
                };
                let step = Step::Setting {
                    netns: place.clone(),
                    setting: setting.clone(),
                    before: from.clone(),
                    after: value::plain(to),
                };
                let when = if only_at_boot { " at boot" } else { "" };
                let subject = format!("{}{when}", step.subject());
                changes.push(format!("{subject} = {}", value::plain(to)));
                let now = netns::enter(&found, || Setting::find(root, setting)?.read())??;
                let known = if only_at_boot {
                    boot.check(&place, setting, (from, to), &now)?
                } else {
                    value::same(setting, &now, to).then(|| value::plain(&now))
                };
                if let Some(known) = known {
                    draft.notes.push(format!("{subject} is {known} already"));
                    continue;
                }
                if !only_at_boot && !draft.steps.contains(&step) {
                    draft.steps.push(step);
                }
                let mut why = vec![format!("{} ({})", remedy.summary, remedy.name)];
                why.extend(remedy.why.iter().cloned());
                boot.settings.push(ToLast {
                    netns: place.clone(),
                    setting: setting.clone(),
                    before: from.clone(),
                    value: value::plain(to),
                    why,
                });
            }
            draft.about.push(format!("{}: {}", remedy.name, changes.join(", ")));
        }
        for replaced in plan.files()? {
            draft.replace(root, &replaced)?;
        }
        draft.reload_programs();
        draft.at_once = draft.steps.len();
        if draft.at_once == 0 {
            // What is about the next boot moves no counter now.
            draft.guards.clear();
        }
        draft.make_lasting(&boot)?;
        Ok(draft)
    }

    /// Adds the step that replaces a file of a program.
    fn replace(&mut self, root: &Root, replaced: &Replaced<'_>) -> Result<(), StepError> {
        let Replaced { file, program, from, to, .. } = replaced;
        let target = Target::open(file)?;
        let (place, _) = Place::named(root, replaced.netns)?;
        let running = Running::find(root, *program, &place, &[file])?;
        let now = target.read()?;
        if now.as_deref() == Some(to.as_bytes()) {
            self.notes.push(format!("{} is so already", file.display()));
            return Ok(());
        }
        if now.as_deref() != Some(from.as_bytes()) {
            return Err(ReplaceError::Changed(file.to_path_buf()).into());
        }
        let step = self.file_step(file, now, Some(to.clone().into_bytes()));
        self.steps.extend(step);
        if !self.programs.contains(&running) {
            self.programs.push(running);
        }
        Ok(())
    }

    /// Adds the steps that let programs test and take what was replaced: all tests first.
    fn reload_programs(&mut self) {
        let programs = std::mem::take(&mut self.programs);
        self.steps.extend(programs.iter().map(|running| Step::Test { running: running.clone() }));
        self.steps.extend(programs.into_iter().map(|running| Step::Reload { running }));
    }

    /// Adds the file that sets at boot what is set now, where that is the namespace in which it is read.
    fn make_lasting(&mut self, boot: &AtBoot) -> Result<(), StepError> {
        let mut settings: Vec<Lasting<'_>> = Vec::new();
        for wish in &boot.settings {
            let ToLast { netns, setting, before, value, why } = wish;
            if Some(netns.inode) != boot.inode {
                self.notes.push(format!(
                    "{setting} lasts as long as the network namespace {}: set it where that is made, too",
                    netns.name
                ));
            } else if !Path::new(durable::FILE).parent().is_some_and(Path::is_dir) {
                self.notes
                    .push(format!("{setting} lasts until the next boot: this host has no /etc/sysctl.d"));
            } else if let Some(known) = settings.iter_mut().find(|known| known.setting == setting.as_str()) {
                known.why.extend(why.iter().cloned());
            } else {
                settings.push(Lasting { setting, value, before, why: why.clone() });
            }
        }
        if settings.is_empty() {
            return Ok(());
        }
        let target = Target::open(Path::new(durable::FILE))?;
        let old = target.read()?;
        let text = durable::with(old.as_deref(), &settings);
        for Lasting { setting, value, .. } in &settings {
            match boot.files.wins(&text, setting, value) {
                Some(Wins::Always(file)) => self
                    .notes
                    .push(format!("{file} sets {setting} too, and wins at the next boot: change it there")),
                Some(Wins::WithProcps(file)) => self.notes.push(format!(
                    "{file} sets {setting} too, and wins at the next boot if `sysctl --system` runs then: change it there"
                )),
                None => {}
            }
        }
        let step = self.file_step(Path::new(durable::FILE), old, Some(text));
        self.steps.extend(step);
        Ok(())
    }

    /// What our file of sysctl.d holds, and what it is to hold; none if it stays as it is.
    pub(crate) fn lasting(&self) -> Option<(String, String)> {
        let text = |kept: &Option<Kept>| {
            let bytes = kept.as_ref().and_then(|kept| self.contents.get(&kept.name));
            bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
        };
        self.steps.iter().find_map(|step| match step {
            Step::File { path, before, after } if path == Path::new(durable::FILE) => {
                Some((text(before), text(after)))
            }
            _ => None,
        })
    }

    /// A step that replaces a file, and its contents; none if nothing changes.
    fn file_step(&mut self, path: &Path, before: Option<Vec<u8>>, after: Option<Vec<u8>>) -> Option<Step> {
        if before == after {
            return None;
        }
        let number = self.steps.len();
        let mut keep = |which: &str, bytes: Option<Vec<u8>>| {
            let bytes = bytes?;
            let kept = Kept { name: format!("{which}-{number}"), crc32: crc32fast::hash(&bytes) };
            self.contents.insert(kept.name.clone(), bytes);
            Some(kept)
        };
        Some(Step::File {
            path: path.to_owned(),
            before: keep("before", before),
            after: keep("after", after),
        })
    }

    /// The steps that take an earlier apply back. What somebody has changed since is left out, and said.
    pub(crate) fn back(root: &Root, folder: &Path, story: &Story) -> Result<Self, StepError> {
        let Some(begin) = story.begin() else { return Ok(Self::default()) };
        let scene = Scene { root, id: &begin.id, folder };
        let mut draft = Self::default();
        let files = begin.files();
        for step in begin.steps_now(root).iter().rev() {
            let what = step.subject();
            match (step, scene.look(step)?) {
                (Step::Test { .. }, _) => {}
                // As it runs now: it may have been started anew since.
                (Step::Reload { running }, _) => match running.again(root, &files) {
                    Ok(running) => draft.programs.push(running),
                    // It reads what is there when it is started.
                    Err(error @ ProgramError::NotRunning(..)) => draft.notes.push(error.to_string()),
                    Err(error) => draft.left.push(format!("{what}: {error}")),
                },
                (_, Now::Before) => draft.notes.push(format!("{what} is what it was already")),
                (_, Now::Gone) => draft.notes.push(format!("{what}: the network namespace has gone")),
                (Step::Setting { .. }, Now::After) => draft.steps.push(step.inverse()),
                (Step::File { path, before, after }, Now::After) => {
                    let (before, after) = (scene.kept(before.as_ref())?, scene.kept(after.as_ref())?);
                    let back = draft.file_step(path, after, before);
                    draft.steps.extend(back);
                }
                // Other settings have come into our file since.
                (Step::File { path, before, after }, Now::Other(_)) if path == Path::new(durable::FILE) => {
                    let (before, after) = (scene.kept(before.as_ref())?, scene.kept(after.as_ref())?);
                    let now = Target::open(path)?.read()?;
                    let (back, left) = durable::taken_back(
                        before.as_deref(),
                        after.as_deref().unwrap_or_default(),
                        now.as_deref().unwrap_or_default(),
                    );
                    draft.left.extend(left);
                    let back = draft.file_step(path, now, back);
                    draft.steps.extend(back);
                }
                (Step::File { .. }, Now::Other(_)) => {
                    draft.left.push(format!("{what}: somebody has changed it since; it was left alone"));
                }
                (Step::Setting { .. }, Now::Other(now)) => {
                    let now = if now.is_empty() { "empty".to_owned() } else { now };
                    draft.left.push(format!(
                        "{what} is {now} now: somebody has changed it since; it was left alone"
                    ));
                }
            }
            if let Step::Setting { netns, .. } = step {
                draft.guards.extend(guard::guards(netns, &[]));
            }
        }
        let other_file =
            |step: &Step| matches!(step, Step::File { path, .. } if path != Path::new(durable::FILE));
        if draft.steps.iter().any(other_file) {
            draft.reload_programs();
        }
        draft.at_once = draft.steps.len();
        draft.about = begin.about.iter().map(|about| format!("back: {about}")).collect();
        Ok(draft)
    }

    /// Checks what can be checked without touching anything.
    pub(crate) fn rehearse(&self, root: &Root) -> Result<(), StepError> {
        let scene = Scene { root, id: "rehearsal", folder: Path::new("/nonexistent") };
        self.steps.iter().try_for_each(|step| match step {
            Step::Setting { .. } | Step::Test { .. } | Step::Reload { .. } => scene.check(step),
            Step::File { path, .. } => {
                let target = Target::open(path)?;
                Ok(target.check().and_then(|()| target.check_room())?)
            }
        })
    }
}
