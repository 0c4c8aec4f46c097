//! The end of an apply, both ways: everything is made so, or everything is taken back. The same whether the process
//! that began it does it, or another after a crash: what is there now decides what is still to do.

use crate::failpoint;
use crate::journal::{Begin, Journal, Record, Undone};
use crate::program::{ProgramError, Worker, is_new};
use crate::replace::why;
use crate::step::{Now, Scene, Step, StepError};
use crate::store::{Entry, Lock, Store, StoreError};
use kernel::Root;
use std::io;

/// What became of an apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// True if the changes stay.
    pub kept: bool,
    /// What could not be done, and must be done again.
    pub failed: Vec<String>,
    /// What was left as somebody else has made it.
    pub left: Vec<String>,
}

/// How far a step came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reached {
    /// Nothing was done.
    #[default]
    Nothing,
    /// It may have been taken.
    Begun,
    /// It was taken.
    Done,
}

/// The apply that is being settled.
pub(crate) struct Settling<'a> {
    pub(crate) scene: Scene<'a>,
    pub(crate) begin: &'a Begin,
    pub(crate) journal: &'a mut Journal,
    /// How far each step came.
    pub(crate) reached: &'a dyn Fn(usize) -> Reached,
    /// The workers of a program before its files were touched, by the step that lets it take them.
    pub(crate) workers: &'a dyn Fn(usize) -> Option<Vec<Worker>>,
    /// Whether the host runs since before the apply.
    pub(crate) same_boot: bool,
}

impl Settling<'_> {
    /// Makes sure that every step is taken.
    pub(crate) fn forward(&mut self) -> Settled {
        let mut settled = Settled { kept: true, failed: Vec::new(), left: Vec::new() };
        let steps = &self.begin.steps;
        self.give_back(&mut settled);
        for (number, step) in steps.iter().enumerate() {
            // A program is told once; again only if nobody knows whether it was.
            let is_told = matches!(step, Step::Test { .. } | Step::Reload { .. });
            if is_told && (self.reached)(number) == Reached::Done {
                continue;
            }
            if matches!(step, Step::Reload { .. }) && !settled.failed.is_empty() {
                settled.failed.push(format!("{}: left out, for what comes before it failed", step.subject()));
                continue;
            }
            let Some(step) = &self.as_it_runs(step, &mut settled) else { continue };
            let done = self.scene.look(step).and_then(|now| match now {
                Now::After => Ok(None),
                Now::Before => {
                    self.note(&Record::Doing { number });
                    self.scene.act(number, step)?;
                    self.note(&Record::Done { number });
                    Ok(None)
                }
                Now::Other(now) => Ok(Some(left(step, &now))),
                Now::Gone => Ok(Some(format!("{}: the network namespace has gone", step.subject()))),
            });
            match done {
                Ok(None) => {}
                Ok(Some(left)) => settled.left.push(left),
                Err(error) => settled.failed.push(error.to_string()),
            }
        }
        self.tidy(&mut settled);
        settled
    }

    /// Takes every step back that may have been taken, the last first.
    pub(crate) fn back(&mut self) -> Settled {
        let mut settled = Settled { kept: false, failed: Vec::new(), left: Vec::new() };
        let steps = &self.begin.steps;
        let is_reload = |step: &Step| matches!(step, Step::Reload { .. });
        self.give_back(&mut settled);
        // Programs last: they are to read what is there again.
        let (reloads, others): (Vec<_>, Vec<_>) =
            steps.iter().enumerate().rev().partition(|(_, step)| is_reload(step));
        for (number, step) in others.into_iter().chain(reloads) {
            if (self.reached)(number) == Reached::Nothing && !self.may_have_read(number, step) {
                continue;
            }
            failpoint::point("undoing");
            let Some(step) = &self.as_it_runs(step, &mut settled) else {
                self.note(&Record::Undone { number, outcome: Undone::Gone });
                continue;
            };
            match self.take_back(number, step) {
                Ok(outcome) => {
                    if let Undone::Left { now } = &outcome {
                        settled.left.push(left(step, now));
                    }
                    self.note(&Record::Undone { number, outcome });
                }
                Err(error) => settled.failed.push(format!("{}: {error}", step.subject())),
            }
        }
        self.tidy(&mut settled);
        settled
    }

    /// Whether a program that was not told has nevertheless read files that were there for a while: somebody else
    /// told it then, or it came only then to what it had been told before.
    fn may_have_read(&self, number: usize, step: &Step) -> bool {
        let Step::Reload { running } = step else { return false };
        let mut before = self.begin.steps.iter().enumerate().take(number);
        let touched = before.any(|(file, step)| {
            matches!(step, Step::File { .. }) && (self.reached)(file) != Reached::Nothing
        });
        let has_read = || match ((self.workers)(number), running.at_rest(self.scene.root)) {
            (Some(before), Ok(now)) => is_new(&before, &now),
            // It has been started anew, or does not come to rest: taking back finds out.
            (None, _) | (_, Err(_)) => true,
        };
        touched && (!self.same_boot || has_read())
    }

    /// The step, if it is about a program about that program as it runs now: it may have been started anew since, and
    /// have read what was there then. None if it does not run any more, and reads what is there when it is started;
    /// or if it cannot be told, which is said.
    fn as_it_runs(&self, step: &Step, settled: &mut Settled) -> Option<Step> {
        let (Step::Test { running } | Step::Reload { running }) = step else { return Some(step.clone()) };
        let root = self.scene.root;
        if self.same_boot && running.check_runs(root).is_ok() {
            return Some(step.clone());
        }
        let running = if self.same_boot { running.clone() } else { running.after_boot(root) };
        match (step, running.again(root, &self.begin.files())) {
            (Step::Test { .. }, Ok(running)) => Some(Step::Test { running }),
            (_, Ok(running)) => Some(Step::Reload { running }),
            (Step::Test { .. }, Err(_)) | (_, Err(ProgramError::NotRunning(..))) => None,
            (_, Err(error)) => {
                settled.left.push(format!("{}: {error}", step.subject()));
                None
            }
        }
    }

    fn take_back(&self, number: usize, step: &Step) -> Result<Undone, StepError> {
        if matches!(step, Step::Setting { .. }) && !self.same_boot {
            // What was set went with the boot; whatever it is now, it is not from this apply.
            return Ok(Undone::Gone);
        }
        match (step, self.scene.look(step)?) {
            (Step::Reload { running }, _) => match self.scene.act(number, step) {
                Ok(()) => Ok(Undone::Restored),
                // It ended meanwhile.
                Err(_) if running.check_runs(self.scene.root).is_err() => Ok(Undone::Gone),
                Err(error) => Err(error),
            },
            (_, Now::Before) => Ok(Undone::Untouched),
            (_, Now::After) => {
                self.scene.act(number, &step.inverse())?;
                failpoint::point("undone");
                Ok(Undone::Restored)
            }
            (_, Now::Other(now)) => Ok(Undone::Left { now }),
            (_, Now::Gone) => Ok(Undone::Gone),
        }
    }

    /// Gives files of somebody else their places back, before it is looked what is there.
    fn give_back(&self, settled: &mut Settled) {
        for (number, step) in self.begin.steps.iter().enumerate() {
            if let Err(error) = self.scene.give_back(number, step) {
                settled.failed.push(error.to_string());
            }
        }
    }

    fn tidy(&self, settled: &mut Settled) {
        for (number, step) in self.begin.steps.iter().enumerate() {
            match self.scene.tidy(number, step) {
                Ok(None) => {}
                Ok(Some(kept)) => settled.left.push(format!(
                    "{}: what somebody saved while it was replaced is in {}: put it where it belongs, or remove it",
                    step.subject(),
                    kept.display()
                )),
                Err(error) => settled.failed.push(error.to_string()),
            }
        }
        failpoint::point("tidied");
    }

    /// Writes a record. A journal that cannot be written any more does not keep the host from being settled: what is
    /// there decides, and without an end in the journal it is looked at again.
    fn note(&mut self, record: &Record) {
        let _ = self.journal.append(record);
    }
}

fn left(step: &Step, now: &str) -> String {
    let now = if now.is_empty() { "empty" } else { now };
    format!("{} is {now} now: somebody else has changed it; it was left alone", step.subject())
}

/// An apply that was not finished, and what was done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Its name.
    pub id: String,
    /// What became of it.
    pub settled: Settled,
}

/// Why an unfinished apply could not be settled.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The folder.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its beginning cannot be read, and what follows can.
    #[error(
        "the journal {0} is damaged at line {1}, and the apply it is about was not finished: see what it says, set right \
         what it names, and move its folder away"
    )]
    Damaged(String, usize),
    /// From a later version.
    #[error("the journal {0} was written by a later lastack and is not finished: use that one")]
    Newer(String),
    /// The operating system.
    #[error("the journal {0}: {why}", why = why(.1))]
    Io(String, io::Error),
}

/// Settles every apply that was not finished. Whoever holds the lock knows that nobody else is at it.
pub fn recover(root: &Root, store: &Store, _lock: &Lock) -> Result<Vec<Recovered>, RecoverError> {
    let unfinished = store.entries()?.into_iter().filter(|entry| entry.story.ended().is_none());
    unfinished.filter_map(|entry| one(root, &entry).transpose()).collect()
}

fn one(root: &Root, entry: &Entry) -> Result<Option<Recovered>, RecoverError> {
    let io = |error| RecoverError::Io(entry.id.clone(), error);
    let Some(begin) = entry.story.begin() else {
        if let Some(line) = entry.story.damaged {
            return Err(RecoverError::Damaged(entry.id.clone(), line));
        }
        // Nothing is touched before the first record is on disk.
        std::fs::remove_dir_all(&entry.folder).map_err(io)?;
        return Ok(None);
    };
    if begin.version > crate::journal::VERSION {
        return Err(RecoverError::Newer(entry.id.clone()));
    }
    let mut journal = Journal::reopen(&entry.folder, &entry.story).map_err(io)?;
    let keep = entry.story.decision().is_some_and(|(keep, _)| keep);
    if entry.story.decision().is_none() {
        let because = "the process that made the change was killed, or the host went down".to_owned();
        journal.append(&Record::Decided { keep, because }).map_err(io)?;
    }
    let reached = |number| entry.story.reached(number);
    let scene = Scene { root, id: &begin.id, folder: &entry.folder };
    let workers = |number| entry.story.workers(number).map(<[Worker]>::to_vec);
    let same_boot = begin.same_boot(root);
    let begin = &Begin { steps: begin.steps_now(root), ..begin.clone() };
    let mut apply =
        Settling { scene, begin, journal: &mut journal, reached: &reached, workers: &workers, same_boot };
    let done = if keep { apply.forward() } else { apply.back() };
    if done.failed.is_empty() {
        journal.append(&end(keep, Vec::new())).map_err(io)?;
    }
    Ok(Some(Recovered { id: entry.id.clone(), settled: done }))
}

/// The record that ends an apply.
pub(crate) fn end(kept: bool, measured: Vec<crate::guard::Measured>) -> Record {
    Record::Ended { kept, measured, at: format!("{:.9}", jiff::Timestamp::now()) }
}
