//! The process in front of the terminal: starts the one that changes the host, shows what it says, and answers it.
//!
//! Each of the two watches the other. If this one ends, the other takes the changes back; if the other ends, or does
//! not come to an end in time, this one does. If both are killed, the next `lastack fix` does, whatever it is asked.

use crate::event::{Event, Order};
use crate::guard::Measured;
use crate::settle::{self, RecoverError, Recovered};
use crate::store::{Lock, Store, StoreError};
use kernel::Root;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// So much longer than was ordered may an apply take: steps, and taking them back. Most of it is for programs that are
/// slow to take their files.
const PATIENCE: Duration = Duration::from_secs(300);

/// So long is waited for another process that is about to end.
const ENDING: Duration = Duration::from_secs(3);

/// The longest line that the other process says.
const MAX_LINE: usize = 16 << 20;

/// How it ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The apply's name; none if none was begun.
    pub id: Option<String>,
    /// Whether the changes stay; none if nothing was changed.
    pub kept: Option<bool>,
    /// Why; or why nothing was changed.
    pub because: String,
    /// True if it was refused.
    pub refused: bool,
    /// What could not be done.
    pub failed: Vec<String>,
    /// What was left as somebody else has made it.
    pub left: Vec<String>,
    /// What somebody should know.
    pub notes: Vec<String>,
    /// What was measured before, during and after.
    pub measured: Vec<Measured>,
}

/// Why nothing can be said of an apply.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// The other process.
    #[error("the process that makes the change cannot be started: {0}")]
    Start(io::Error),
    /// Signals, or waiting.
    #[error("waiting for the process that makes the change: {0}")]
    Wait(io::Error),
    /// It ended early, and what it left cannot be settled.
    #[error("the process that made the change was killed, and the change cannot be settled: {0}")]
    Recover(#[from] RecoverError),
}

/// Carries out an order in a process of its own. `command` starts [`work`](crate::work); `show` is told what happens,
/// and puts the question when it is time; the answer is read from standard input, which must be a terminal then.
pub fn supervise(
    store: &Store,
    order: &Order,
    mut command: Command,
    show: &mut dyn FnMut(&Event),
) -> Result<Outcome, SuperviseError> {
    let (signals, signalled) = UnixStream::pair().map_err(SuperviseError::Wait)?;
    let (hang_ups, hung_up) = UnixStream::pair().map_err(SuperviseError::Wait)?;
    let mut registered = Vec::new();
    for (signal, to) in
        [(SIGHUP, &hung_up), (SIGINT, &signalled), (SIGQUIT, &signalled), (SIGTERM, &signalled)]
    {
        let end = to.try_clone().map_err(SuperviseError::Wait)?;
        registered.push(signal_hook::low_level::pipe::register(signal, end).map_err(SuperviseError::Wait)?);
    }
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(SuperviseError::Start)?;
    let mut supervisor = Supervisor {
        outcome: Outcome::default(),
        ended: false,
        asking: false,
        watched: if order.confirmed { vec![Source::Reader] } else { vec![Source::Reader, Source::Typed] },
        words: child.stdin.take(),
        typed: Vec::new(),
        heard: Vec::new(),
        signals,
        hang_ups,
    };
    let ordered = Duration::from_millis(
        order.before_ms.saturating_mul(2).saturating_add(order.guard_ms).saturating_add(order.answer_ms),
    );
    supervisor.give(order);
    let done = supervisor.follow(&mut child, Instant::now() + ordered + PATIENCE, show);
    // If it is still there it has stopped, and would go on with what is settled here.
    if done.is_err() || !supervisor.ended {
        let _ = child.kill();
    }
    // The end of its standard input is the end of its business.
    drop(supervisor.words.take());
    let _ = child.wait();
    for id in registered {
        signal_hook::low_level::unregister(id);
    }
    if !supervisor.ended {
        "the process that made the change was killed".clone_into(&mut supervisor.outcome.because);
        settle_after(store, &mut supervisor.outcome)?;
    }
    Ok(supervisor.outcome)
}

/// Settles what a process left that was killed.
fn settle_after(store: &Store, outcome: &mut Outcome) -> Result<(), SuperviseError> {
    if !store.is_used() {
        outcome.refused = true;
        return Ok(());
    }
    let lock = wait_for_lock(store, ENDING).map_err(RecoverError::from)?;
    let recovered = settle::recover(&Root::default(), store, &lock)?;
    let ours = recovered.into_iter().find(|recovered| Some(&recovered.id) == outcome.id.as_ref());
    if let Some(Recovered { settled, .. }) = ours {
        outcome.kept = Some(settled.kept);
        outcome.left.extend(settled.left);
        outcome.failed = settled.failed;
    } else {
        // It came to its end, and was killed before it could say so; or it had not begun.
        let entries = store.entries().map_err(RecoverError::from)?;
        let entry = entries.iter().find(|entry| Some(&entry.id) == outcome.id.as_ref());
        outcome.kept = entry.and_then(|entry| entry.story.ended());
        outcome.refused = outcome.kept.is_none();
    }
    Ok(())
}

/// Takes the lock, and waits a little for somebody who is about to give it back.
pub fn wait_for_lock(store: &Store, patience: Duration) -> Result<Lock, StoreError> {
    let end = Instant::now() + patience;
    loop {
        match store.lock() {
            Err(StoreError::Busy) if Instant::now() < end => std::thread::sleep(Duration::from_millis(10)),
            locked => return locked,
        }
    }
}

/// Where something comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Worker,
    /// A signal that means no.
    Signal,
    /// The signal that says that the terminal has gone.
    HangUp,
    /// Standard input.
    Typed,
    /// Whoever reads what is printed: he has gone.
    Reader,
}

struct Supervisor {
    outcome: Outcome,
    ended: bool,
    asking: bool,
    /// What of the terminal or session is still there, as far as is known: who reads, and who types.
    watched: Vec<Source>,
    words: Option<ChildStdin>,
    typed: Vec<u8>,
    heard: Vec<u8>,
    /// Where a byte comes for each signal that means no.
    signals: UnixStream,
    /// The same for the one that says that the terminal has gone.
    hang_ups: UnixStream,
}

impl Supervisor {
    fn give(&mut self, order: &Order) {
        if let Ok(mut line) = serde_json::to_vec(order) {
            line.push(b'\n');
            self.say(&line);
        }
    }

    /// Says something. If it is not heard, the other process has ended, and that shows at once.
    fn say(&mut self, words: &[u8]) {
        if let Some(to) = &mut self.words {
            let _ = to.write_all(words).and_then(|()| to.flush());
        }
    }

    fn follow(
        &mut self,
        child: &mut Child,
        end: Instant,
        show: &mut dyn FnMut(&Event),
    ) -> Result<(), SuperviseError> {
        let Some(stdout) = child.stdout.take() else { return Ok(()) };
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let ready = self.wait(&stdout, left)?;
            if ready.contains(&Source::Signal) {
                let _ = rustix::io::read(&self.signals, &mut [0_u8; 64]);
                self.asking = false;
                self.say(b"back\n");
            }
            if ready.contains(&Source::HangUp) {
                let _ = rustix::io::read(&self.hang_ups, &mut [0_u8; 64]);
                self.gone(Source::HangUp);
            }
            if ready.contains(&Source::Reader) {
                self.gone(Source::Reader);
            }
            if ready.contains(&Source::Typed) {
                self.listen();
            }
            if ready.contains(&Source::Worker) {
                let mut bytes = [0; 4_096];
                match rustix::io::read(&stdout, &mut bytes) {
                    Ok(0) => return Ok(()),
                    Ok(length) => self.heard.extend(bytes.iter().take(length)),
                    Err(Errno::INTR) => {}
                    Err(_) => return Ok(()),
                }
                if self.heard.len() > MAX_LINE {
                    return Ok(());
                }
                self.hear(show);
            }
        }
    }

    /// Waits until something comes, and says from where.
    fn wait(&self, worker: &ChildStdout, longest: Duration) -> Result<Vec<Source>, SuperviseError> {
        let (stdin, out, err) = (rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr());
        let coming = PollFlags::IN;
        let mut fds = vec![
            (Source::Worker, PollFd::new(worker, coming)),
            (Source::Signal, PollFd::new(&self.signals, coming)),
            (Source::HangUp, PollFd::new(&self.hang_ups, coming)),
        ];
        if self.watched.contains(&Source::Typed) {
            fds.push((Source::Typed, PollFd::new(&stdin, coming)));
        }
        if self.watched.contains(&Source::Reader) {
            // That a reader has gone is told unasked; a file and /dev/null never lose theirs.
            fds.extend(
                [&out, &err].map(|printed| (Source::Reader, PollFd::new(printed, PollFlags::empty()))),
            );
        }
        let (sources, mut fds): (Vec<_>, Vec<_>) = fds.into_iter().unzip();
        let timeout = Timespec::try_from(longest).unwrap_or(Timespec { tv_sec: 60, tv_nsec: 0 });
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(SuperviseError::Wait(error.into())),
        }
        let is_ready = |source: Source, told: PollFlags| match source {
            Source::Reader => told.intersects(PollFlags::ERR | PollFlags::HUP),
            _ => !told.is_empty(),
        };
        let told = sources.into_iter().zip(&fds).filter(|(source, fd)| is_ready(*source, fd.revents()));
        Ok(told.map(|(source, _)| source).collect())
    }

    /// Says that nobody is here any more to see what happens: a session that was lost without a terminal shows in
    /// nothing else.
    fn gone(&mut self, what: Source) {
        self.watched.retain(|source| *source != what);
        self.asking = false;
        self.say(b"gone\n");
    }

    /// Reads what was typed: the answer, if there is a question.
    fn listen(&mut self) {
        let mut bytes = [0; 512];
        match rustix::io::read(rustix::stdio::stdin(), &mut bytes) {
            Ok(length @ 1..) if self.asking => self.typed.extend(bytes.iter().take(length)),
            // Typed before there was a question: it is no answer to it.
            Ok(1..) | Err(Errno::INTR) => return,
            // The end: of the terminal, or of what somebody wanted to say.
            Ok(_) | Err(_) => {
                self.gone(Source::Typed);
                return;
            }
        }
        if let Some(end) = self.typed.iter().position(|byte| *byte == b'\n') {
            let answer = self.typed.get(..end).unwrap_or_default().trim_ascii().to_ascii_lowercase();
            self.asking = false;
            self.say(if matches!(answer.as_slice(), b"y" | b"yes") { b"keep\n" } else { b"back\n" });
        }
    }

    fn hear(&mut self, show: &mut dyn FnMut(&Event)) {
        while let Some(end) = self.heard.iter().position(|byte| *byte == b'\n') {
            let rest = self.heard.split_off(end.saturating_add(1));
            let line = std::mem::replace(&mut self.heard, rest);
            let Ok(event) = serde_json::from_slice::<Event>(&line) else { continue };
            self.note(&event);
            show(&event);
        }
    }

    fn note(&mut self, event: &Event) {
        let outcome = &mut self.outcome;
        match event.clone() {
            Event::Recovered { .. }
            | Event::Measuring { .. }
            | Event::Taken { .. }
            | Event::Watching { .. } => {}
            Event::Asking { .. } => self.asking = true,
            Event::Refused { because } => {
                (outcome.refused, outcome.because) = (true, because);
                self.ended = true;
            }
            Event::Nothing { notes, left } => {
                (outcome.notes, outcome.left) = (notes, left);
                self.ended = true;
            }
            Event::Began { id, notes, left } => {
                (outcome.id, outcome.notes, outcome.left) = (Some(id), notes, left);
            }
            Event::Decided { because, .. } => {
                outcome.because = because;
                self.asking = false;
            }
            Event::Ended { kept, failed, left, measured } => {
                outcome.kept = Some(kept);
                outcome.left.extend(left);
                (outcome.failed, outcome.measured) = (failed, measured);
                self.ended = true;
            }
            Event::After { measured } => outcome.measured = measured,
        }
    }
}
