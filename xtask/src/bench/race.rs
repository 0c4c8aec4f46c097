//! Runs programs in turn and measures each from its start to its end.

use crate::namespace;
use anyhow::{Context as _, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::ffi::OsString;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use wait4::Wait4 as _;

/// A program that still runs after this is ended.
const LIMIT: Timespec = Timespec { tv_sec: 600, tv_nsec: 0 };

/// A program that reads sockets or a capture.
pub(super) struct Reader {
    /// What it is called in tables.
    pub(super) name: &'static str,
    program: OsString,
    arguments: Vec<OsString>,
    /// Exit code 1 says "findings".
    one_is_fine: bool,
    /// What it says on standard error is not shown.
    quiet: bool,
}

impl Reader {
    pub(super) fn new(
        name: &'static str,
        program: impl Into<OsString>,
        arguments: impl IntoIterator<Item: Into<OsString>>,
    ) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self { name, program: program.into(), arguments, one_is_fine: false, quiet: false }
    }

    /// Its exit code 1 is an answer, not a failure.
    pub(super) fn may_find_something(self) -> Self {
        Self { one_is_fine: true, ..self }
    }

    /// It talks about itself.
    pub(super) fn quiet(self) -> Self {
        Self { quiet: true, ..self }
    }

    /// The program with its arguments and nothing on standard input.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null());
        if self.quiet {
            command.stderr(Stdio::null());
        }
        command
    }

    /// Runs it once.
    pub(super) fn run(&self) -> anyhow::Result<Sample> {
        let start = Instant::now();
        let child = self.command().spawn();
        self.wait(child.with_context(|| format!("cannot run {}", self.program.display()))?, start)
    }

    /// Waits for its end, and asks that it be a good one.
    pub(super) fn wait(&self, mut child: Child, start: Instant) -> anyhow::Result<Sample> {
        let handle = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).context("pidfd_open")?;
        let late =
            poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&LIMIT)).is_ok_and(|ready| ready == 0);
        if late {
            child.kill()?;
        }
        let end = child.wait4()?;
        let wall = start.elapsed();
        match end.status.code() {
            _ if late => bail!("{}: not done in {} s", self.name, LIMIT.tv_sec),
            Some(0) => {}
            Some(1) if self.one_is_fine => {}
            _ => bail!("{}: {}", self.name, end.status),
        }
        Ok(Sample { wall, cpu: end.rusage.utime + end.rusage.stime, peak_bytes: end.rusage.maxrss })
    }
}

/// One run of one reader.
#[derive(Clone, Copy)]
pub(super) struct Sample {
    /// From the start of the process until it was waited for.
    pub(super) wall: Duration,
    /// User and system time.
    pub(super) cpu: Duration,
    /// Largest resident set. Never less than that of this program, which the kernel counts into a child
    /// between fork and exec.
    pub(super) peak_bytes: u64,
}

/// Readers side by side.
pub(super) struct Race<'a> {
    /// Who takes part.
    pub(super) readers: Vec<&'a Reader>,
    /// For each round, one sample a reader.
    pub(super) rounds: Vec<Vec<Sample>>,
    /// Whether sockets are what is read.
    on_sockets: bool,
    fewest: u64,
    most: u64,
}

impl<'a> Race<'a> {
    pub(super) fn new(readers: Vec<&'a Reader>) -> Self {
        Self { readers, rounds: Vec::new(), on_sockets: false, fewest: u64::MAX, most: 0 }
    }

    /// A race that also counts TIME-WAIT, which must not change meanwhile.
    pub(super) fn on_sockets(readers: Vec<&'a Reader>) -> Self {
        Self { on_sockets: true, ..Self::new(readers) }
    }

    /// Runs each once, unmeasured, so that its pages are in memory.
    pub(super) fn warm_up(&self) -> anyhow::Result<()> {
        self.readers.iter().try_for_each(|reader| reader.run().map(drop))
    }

    /// Runs rounds, each in another order, and gives how many there was time for before the deadline.
    pub(super) fn run_rounds(&mut self, rounds: u32, deadline: Instant) -> anyhow::Result<u32> {
        let mut longest = Duration::ZERO;
        for done in 0..rounds {
            let start = Instant::now();
            if start + longest > deadline {
                return Ok(done);
            }
            self.count_time_wait()?;
            let mut samples: Vec<Option<Sample>> = vec![None; self.readers.len()];
            for turn in 0..self.readers.len() {
                let next = (turn + self.rounds.len()) % self.readers.len();
                samples[next] = Some(self.readers[next].run()?);
            }
            self.count_time_wait()?;
            self.rounds.push(samples.into_iter().flatten().collect());
            longest = longest.max(start.elapsed());
        }
        Ok(rounds)
    }

    fn count_time_wait(&mut self) -> anyhow::Result<()> {
        if !self.on_sockets {
            return Ok(());
        }
        let count = namespace::time_wait()?;
        self.fewest = self.fewest.min(count);
        self.most = self.most.max(count);
        Ok(())
    }

    /// How many TIME-WAIT sockets there were, before and after each round.
    pub(super) fn time_wait(&self) -> String {
        if self.rounds.is_empty() {
            "no".to_owned()
        } else if self.fewest == self.most {
            self.most.to_string()
        } else {
            format!("{} to {}", self.fewest, self.most)
        }
    }

    /// What one reader measured, round by round.
    pub(super) fn samples(&self, reader: &Reader) -> Vec<Sample> {
        let Some(index) = self.readers.iter().position(|other| other.name == reader.name) else {
            return Vec::new();
        };
        self.rounds.iter().map(|round| round[index]).collect()
    }
}
