//! The process that changes the host. It is in a session of its own, so that no terminal takes it along, and hears of
//! the one in front of the terminal by a pipe: when that ends, for whatever reason, the changes are taken back.

use crate::draft::Draft;
use crate::event::{Event, Order, Task};
use crate::failpoint;
use crate::guard::{Glance, Measured, Measuring, Watched};
use crate::journal::{Begin, Journal, Record, VERSION};
use crate::plan::Plan;
use crate::program;
use crate::settle::{self, Reached, Settled, Settling};
use crate::step::{Scene, Step, StepError};
use crate::store::{self, Lock, Store};
use kernel::Root;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// The longest order: a plan with all its files.
const MAX_ORDER: usize = 64 << 20;

/// Guards are looked at so often.
const GLANCE: Duration = Duration::from_millis(250);

const GONE: &str = "the terminal or session, or the process in front of it, has gone";

/// Is the process that changes the host: reads an [`Order`] from standard input and tells what happens on standard
/// output.
pub fn work() -> io::Result<()> {
    // As the leader of a group it cannot leave the session; then it was started by hand, and stays in it.
    let _ = rustix::process::setsid();
    let mut control = Control::default();
    let order: Order = serde_json::from_slice(&control.first_line()?)?;
    let root = Root::default();
    let mut tell = |event: Event| {
        if let Ok(mut line) = serde_json::to_vec(&event) {
            line.push(b'\n');
            // Whoever does not listen any more is noticed where that matters: at the next question.
            let _ = io::stdout().write_all(&line).and_then(|()| io::stdout().flush());
        }
    };
    let done = Worker { root: &root, order: &order, control: &mut control, tell: &mut tell }.run();
    if let Err(because) = done {
        tell(Event::Refused { because });
    }
    Ok(())
}

struct Worker<'a> {
    root: &'a Root,
    order: &'a Order,
    control: &'a mut Control,
    tell: &'a mut dyn FnMut(Event),
}

impl Worker<'_> {
    /// Does what was ordered. An error is one that came before anything was changed.
    fn run(&mut self) -> Result<(), String> {
        let store = Store::at(self.order.state.clone());
        let lock = store.lock().map_err(|error| error.to_string())?;
        for recovered in settle::recover(self.root, &store, &lock).map_err(|error| error.to_string())? {
            if let Some(failed) = recovered.settled.failed.first() {
                return Err(format!(
                    "the apply {} was not finished, and cannot be settled: {failed}",
                    recovered.id
                ));
            }
            (self.tell)(Event::Recovered {
                id: recovered.id,
                kept: recovered.settled.kept,
                left: recovered.settled.left,
            });
        }
        let takes_back = match &self.order.task {
            Task::Apply(_) => None,
            Task::TakeBack(id) => Some(id.clone()),
        };
        let draft = self.draft(&store)?;
        // What is as it was already is taken back, which the journal is to know: `last` is the one before then. What
        // somebody has changed since may be taken back yet.
        if draft.steps.is_empty() && (takes_back.is_none() || !draft.left.is_empty()) {
            (self.tell)(Event::Nothing { notes: draft.notes, left: draft.left });
            return Ok(());
        }
        let scene = Scene { root: self.root, id: "", folder: Path::new("") };
        let mut settings = draft.steps.iter().filter(|step| matches!(step, Step::Setting { .. }));
        settings.try_for_each(|step| scene.check(step)).map_err(|error| error.to_string())?;
        Apply::begin(self, &store, &lock, draft, takes_back)?;
        Ok(())
    }

    fn draft(&self, store: &Store) -> Result<Draft, String> {
        match &self.order.task {
            Task::Apply(text) => {
                let plan = Plan::from_text(text).map_err(|error| error.to_string())?;
                plan.check().map_err(|error| error.to_string())?;
                Draft::of(self.root, &plan).map_err(|error| error.to_string())
            }
            Task::TakeBack(id) => {
                let entries = store.entries().map_err(|error| error.to_string())?;
                let entry = entries.into_iter().find(|entry| entry.id == *id);
                let entry =
                    entry.ok_or_else(|| format!("there is no apply {id}; see `lastack fix --log`"))?;
                Draft::back(self.root, &entry.folder, &entry.story).map_err(|error| error.to_string())
            }
        }
    }
}

/// An apply under way.
struct Apply<'a, 'w> {
    worker: &'a mut Worker<'w>,
    begin: Begin,
    folder: std::path::PathBuf,
    journal: Journal,
    draft: Draft,
    reached: Vec<Reached>,
    /// The workers of programs before their files were touched, by the step that lets them take those.
    workers: BTreeMap<usize, Vec<program::Worker>>,
}

impl<'a, 'w> Apply<'a, 'w> {
    /// Writes the journal's beginning, and does the rest.
    fn begin(
        worker: &'a mut Worker<'w>,
        store: &Store,
        lock: &Lock,
        draft: Draft,
        takes_back: Option<String>,
    ) -> Result<(), String> {
        let (id, folder) = store.create(lock).map_err(|error| error.to_string())?;
        let begin = Begin {
            version: VERSION,
            id: id.clone(),
            at: format!("{:.9}", jiff::Timestamp::now()),
            boot_id: kernel::host::boot_id(worker.root),
            about: draft.about.clone(),
            steps: draft.steps.clone(),
            at_once: draft.at_once,
            takes_back,
            pid: std::process::id(),
            guards: draft.guards.clone(),
        };
        let written = draft
            .contents
            .iter()
            .try_for_each(|(name, bytes)| keep(&folder, name, bytes))
            .and_then(|()| Journal::create(&folder))
            .and_then(|mut journal| {
                journal.append(&Record::Begin(Box::new(begin.clone())))?;
                store::sync(&folder)?;
                Ok(journal)
            });
        let journal = written.map_err(|error| {
            // Nothing was begun; what cannot be removed is removed by the next run.
            let _ = std::fs::remove_dir_all(&folder);
            format!(
                "the journal cannot be kept in {}: {error}; nothing is changed without one",
                folder.display()
            )
        })?;
        let untouched = vec![Reached::Nothing; draft.steps.len()];
        (worker.tell)(Event::Began { id, notes: draft.notes.clone(), left: draft.left.clone() });
        let workers = BTreeMap::new();
        Self { worker, begin, folder, journal, draft, reached: untouched, workers }.run();
        Ok(())
    }

    fn run(mut self) {
        let guards = std::mem::take(&mut self.draft.guards);
        let mut measuring = Measuring { guards: &guards, before: None, during: None };
        let decision = self.apply(&mut measuring);
        let (keep, because) = match decision {
            Ok(because) => (true, because),
            Err(because) => (false, because),
        };
        failpoint::point("deciding");
        // If this cannot be written, the next run decides against the changes, and so does this one.
        let decided = self.journal.append(&Record::Decided { keep, because: because.clone() });
        let (keep, because) = match decided {
            Ok(()) => (keep, because),
            Err(error) => {
                let because = format!("the journal cannot be written: {error}");
                // It may be on disk nevertheless. The last word counts, if there is room for one.
                let _ = self.journal.append(&Record::Decided { keep: false, because: because.clone() });
                (false, because)
            }
        };
        (self.worker.tell)(Event::Decided { keep, because });
        let settled = self.settle(keep);
        let measured = measuring.rows(None);
        if settled.failed.is_empty() {
            // Without it the next run looks again, and finds that all is done.
            let _ = self.journal.append(&settle::end(keep, measured.clone()));
        }
        (self.worker.tell)(Event::Ended { kept: keep, failed: settled.failed, left: settled.left, measured });
        if measuring.during.is_some() {
            self.after(&measuring);
        }
        self.journal.trim();
    }

    fn settle(&mut self, keep: bool) -> Settled {
        let steps = self.reached.clone();
        let reached = |number: usize| steps.get(number).copied().unwrap_or_default();
        let workers = std::mem::take(&mut self.workers);
        let workers = |number: usize| workers.get(&number).cloned();
        let scene = Scene { root: self.worker.root, id: &self.begin.id, folder: &self.folder };
        let mut settling = Settling {
            scene,
            begin: &self.begin,
            journal: &mut self.journal,
            reached: &reached,
            workers: &workers,
            same_boot: true,
        };
        if keep { settling.forward() } else { settling.back() }
    }

    /// Takes the steps and watches. The answer is why the changes stay, or why they do not.
    fn apply(&mut self, measuring: &mut Measuring<'_>) -> Result<String, String> {
        let words = |error: StepError| error.to_string();
        let scene = Scene { root: self.worker.root, id: &self.begin.id, folder: &self.folder };
        for (number, step) in self.begin.steps.iter().enumerate() {
            scene.check(step).and_then(|()| scene.stage(number, step)).map_err(words)?;
        }
        failpoint::point("staged");
        if self.begin.takes_back.is_some() {
            // Whoever takes something back wants it taken back: there is nothing to watch and nobody to ask.
            return Ok("it was asked for".to_owned());
        }
        // What is only about the next boot changes nothing that could be watched.
        let watched = self.begin.at_once > 0;
        let before_ms = self.worker.order.before_ms;
        if before_ms > 0 && watched {
            (self.worker.tell)(Event::Measuring { for_ms: before_ms });
            let first = self.glance(measuring)?;
            self.worker.control.rest(Duration::from_millis(before_ms))?;
            measuring.before = Some((first, self.glance(measuring)?));
        }
        self.note_workers()?;
        // From before the first change on: what it does while the others are made counts.
        if watched {
            measuring.during = Some((self.glance(measuring)?, self.glance(measuring)?));
        }
        for number in 0..self.begin.at_once {
            self.take(number)?;
            self.hold(measuring)?;
        }
        self.append(&Record::Watching)?;
        if watched {
            let guard = Duration::from_millis(self.worker.order.guard_ms);
            (self.worker.tell)(Event::Watching { for_ms: self.worker.order.guard_ms });
            self.watch(measuring, guard, false)?;
        }
        if !self.worker.order.confirmed {
            let guards = capitalized(&measuring.watched().to_string());
            (self.worker.tell)(Event::Asking { for_ms: self.worker.order.answer_ms, guards });
            let answer = Duration::from_millis(self.worker.order.answer_ms);
            if !self.watch(measuring, answer, true)? {
                return Err("nobody confirmed it in time".to_owned());
            }
        }
        // What comes now is not watched any more: it must be as it was left.
        let scene = Scene { root: self.worker.root, id: &self.begin.id, folder: &self.folder };
        for step in self.begin.steps.iter().skip(self.begin.at_once) {
            scene.check(step).map_err(words)?;
        }
        self.worker.control.listens()?;
        Ok(match (self.worker.order.confirmed, measuring.watched()) {
            (true, Watched::All) => "confirmed beforehand, and the guards held".to_owned(),
            (true, other) => format!("confirmed beforehand; {other}"),
            (false, Watched::All | Watched::NextBoot) => "confirmed".to_owned(),
            (false, other) => format!("confirmed; {other}"),
        })
    }

    /// Waits until the programs whose files are about to change are at rest, and keeps in mind their workers.
    fn note_workers(&mut self) -> Result<(), String> {
        for (number, step) in self.begin.steps.clone().into_iter().enumerate() {
            let Step::Reload { running } = step else { continue };
            let workers = running.at_rest(self.worker.root).map_err(|error| error.to_string())?;
            self.append(&Record::Workers { number, workers: workers.clone() })?;
            self.workers.insert(number, workers);
        }
        Ok(())
    }

    fn take(&mut self, number: usize) -> Result<(), String> {
        let Some(step) = self.begin.steps.get(number).cloned() else { return Ok(()) };
        self.append(&Record::Doing { number })?;
        self.reach(number, Reached::Begun);
        let scene = Scene { root: self.worker.root, id: &self.begin.id, folder: &self.folder };
        scene.act(number, &step).map_err(|error| error.to_string())?;
        failpoint::point("acted");
        self.append(&Record::Done { number })?;
        self.reach(number, Reached::Done);
        (self.worker.tell)(Event::Taken { what: step.subject() });
        Ok(())
    }

    fn reach(&mut self, number: usize, reached: Reached) {
        if let Some(step) = self.reached.get_mut(number) {
            *step = reached;
        }
    }

    /// Looks whether the guards hold, from the first change up to now.
    fn hold(&self, measuring: &mut Measuring<'_>) -> Result<(), String> {
        let Some((_, last)) = &mut measuring.during else { return Ok(()) };
        *last = Glance::take(self.worker.root, measuring.guards).map_err(|error| error.to_string())?;
        measuring.tripped().first().map_or(Ok(()), |tripped| Err(tripped.to_string()))
    }

    /// Watches the guards for so long; if somebody was asked, until the answer comes. True if that is yes.
    fn watch(
        &mut self,
        measuring: &mut Measuring<'_>,
        length: Duration,
        asked: bool,
    ) -> Result<bool, String> {
        let start = Instant::now();
        loop {
            let left = length.saturating_sub(start.elapsed());
            let said = self.worker.control.wait(left.min(GLANCE));
            match said {
                Said::Nothing | Said::Keep => {}
                Said::Back => return Err("it was asked to be taken back".to_owned()),
                Said::Gone => return Err(GONE.to_owned()),
            }
            self.hold(measuring)?;
            if asked && said == Said::Keep {
                return Ok(true);
            }
            if start.elapsed() >= length {
                return Ok(false);
            }
        }
    }

    /// Measures once more when all is done, unless nobody wants to know.
    fn after(&mut self, measuring: &Measuring<'_>) {
        let Ok(first) = self.glance(measuring) else { return };
        if self.worker.control.rest(Duration::from_millis(self.worker.order.before_ms)).is_err() {
            return;
        }
        let Ok(last) = self.glance(measuring) else { return };
        let measured: Vec<Measured> = measuring.rows(Some(&(first, last)));
        let _ = self.journal.append(&Record::After { measured: measured.clone() });
        (self.worker.tell)(Event::After { measured });
    }

    fn glance(&self, measuring: &Measuring<'_>) -> Result<Glance, String> {
        Glance::take(self.worker.root, measuring.guards).map_err(|error| error.to_string())
    }

    fn append(&mut self, record: &Record) -> Result<(), String> {
        self.journal.append(record).map_err(|error| format!("the journal cannot be written: {error}"))
    }
}

fn capitalized(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map(char::to_uppercase).into_iter().flatten().chain(letters).collect()
}

/// Keeps contents in the journal's folder.
fn keep(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file =
        std::fs::File::options().write(true).create_new(true).mode(0o600).open(folder.join(name))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    failpoint::point("contents-kept");
    Ok(())
}

/// What the process in front of the terminal said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    Keep,
    Back,
    /// It is not there any more, or has lost who sat before it.
    Gone,
}

/// Hears what is said on standard input.
#[derive(Default)]
struct Control {
    bytes: Vec<u8>,
    gone: bool,
}

impl Control {
    fn first_line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(line) = self.line() {
                return Ok(line);
            }
            if self.gone || self.bytes.len() > MAX_ORDER {
                return Err(io::Error::other("this is a part of `lastack fix --apply`, which starts it"));
            }
            self.read();
        }
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        let end = self.bytes.iter().position(|byte| *byte == b'\n')?;
        let rest = self.bytes.split_off(end.saturating_add(1));
        Some(std::mem::replace(&mut self.bytes, rest))
    }

    fn read(&mut self) {
        let mut bytes = [0; 4_096];
        match rustix::io::read(rustix::stdio::stdin(), &mut bytes) {
            Ok(0) => self.gone = true,
            Ok(length) => self.bytes.extend(bytes.iter().take(length)),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => self.gone = true,
        }
    }

    /// Waits for a word, at most so long.
    fn wait(&mut self, length: Duration) -> Said {
        let end = Instant::now() + length;
        loop {
            if let Some(line) = self.line() {
                match line.trim_ascii() {
                    b"keep" => return Said::Keep,
                    b"back" => return Said::Back,
                    b"gone" => return Said::Gone,
                    _ => continue,
                }
            }
            if self.gone {
                return Said::Gone;
            }
            let left = end.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
            let stdin = rustix::stdio::stdin();
            match poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&timeout)) {
                Ok(0) => return Said::Nothing,
                Ok(_) => self.read(),
                Err(Errno::INTR) => {}
                Err(_) => self.gone = true,
            }
        }
    }

    /// Waits for so long, unless it is told to stop.
    fn rest(&mut self, length: Duration) -> Result<(), String> {
        let end = Instant::now() + length;
        loop {
            match self.wait(end.saturating_duration_since(Instant::now())) {
                Said::Back => return Err("it was asked to be taken back".to_owned()),
                Said::Gone => return Err(GONE.to_owned()),
                Said::Keep => {}
                Said::Nothing => return Ok(()),
            }
        }
    }

    /// Whether somebody is still there.
    fn listens(&mut self) -> Result<(), String> {
        self.rest(Duration::ZERO)
    }
}
