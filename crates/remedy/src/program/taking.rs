//! Whether a program has taken its files. It is told to, and does so in its own time: after the signal nginx's master reads
//! them, starts new workers, waits a tenth of a second and only then looks at signals again. A file that changes meanwhile is
//! read or not, nobody knows which. So it is waited until the master rests, before and after.
//!
//! What shows is the workers: files that were taken have new ones, files that were refused leave those that were there.

use super::{PATIENCE, Program, ProgramError, Running, Stat, bounded};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::{Duration, Instant};

/// A master is looked at so often.
const GLANCE: Duration = Duration::from_millis(15);

/// A master rests if it does so at so many glances: at a single one, a signal may have left the queue without being
/// at work yet.
const GLANCES: u32 = 3;

/// A process that a program has started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Worker {
    /// Its number.
    pub pid: i32,
    /// When it was started, in ticks since boot.
    pub started: u64,
}

impl Running {
    /// Tells the program to take its files, and returns when it has.
    pub(crate) fn reload(&self, proc: &Path) -> Result<(), ProgramError> {
        let before = self.at_rest(proc)?;
        self.tell(proc)?;
        let after = self.at_rest(proc)?;
        // Without workers the one process does all, and does not show what it has read.
        if before.is_empty() || is_new(&before, &after) {
            return Ok(());
        }
        Err(ProgramError::NotTaken(self.program.name(), self.pid))
    }

    /// Waits until the program does nothing about its files any more. The answer is its workers.
    pub(crate) fn at_rest(&self, proc: &Path) -> Result<Vec<Worker>, ProgramError> {
        let end = Instant::now() + PATIENCE;
        let mut rested = 0_u32;
        loop {
            self.check_runs(proc)?;
            let workers = self.workers(proc);
            rested = if self.rests(proc, &workers) { rested.saturating_add(1) } else { 0 };
            if rested >= GLANCES {
                return Ok(workers);
            }
            if Instant::now() >= end {
                return Err(ProgramError::Busy(self.program.name(), self.pid, PATIENCE.as_secs()));
            }
            std::thread::sleep(GLANCE);
        }
    }

    fn workers(&self, proc: &Path) -> Vec<Worker> {
        let entries = std::fs::read_dir(proc).into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let worker = |pid| {
            let stat = Stat::read(proc, pid)?;
            (stat.parent == self.pid && self.program.is(&stat.name))
                .then_some(Worker { pid, started: stat.started })
        };
        let mut workers: Vec<Worker> = pids.filter_map(worker).collect();
        workers.sort_unstable();
        workers
    }

    fn rests(&self, proc: &Path, workers: &[Worker]) -> bool {
        // The master of either holds signals back but when it waits for one. Until it gets to run at all, one is on its way.
        let status = bounded(&proc.join(format!("{}/status", self.pid)));
        if status.is_some_and(|status| !waits_for(&status, self.program.signal())) {
            return false;
        }
        match self.program {
            Program::Nginx => true,
            // Its master starts itself anew, with the workers that are to go as arguments; a worker that is not among them
            // has read the files.
            Program::Haproxy => {
                let line = bounded(&proc.join(format!("{}/cmdline", self.pid))).unwrap_or_default();
                let going: Vec<i32> = going(&line).collect();
                going.is_empty() || workers.iter().any(|worker| !going.contains(&worker.pid))
            }
        }
    }
}

/// True if some of the workers now were not there before.
pub(crate) fn is_new(before: &[Worker], now: &[Worker]) -> bool {
    now.iter().any(|worker| !before.contains(worker))
}

/// True if a process sleeps, and would hear this signal: it is neither held back nor on its way. By proc_pid_status(5).
fn waits_for(status: &str, signal: Signal) -> bool {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim)
    };
    let bit = signal.as_raw().checked_sub(1).and_then(|place| 1_u64.checked_shl(place.cast_unsigned()));
    let has = |name: &str| {
        let mask = field(name).and_then(|mask| u64::from_str_radix(mask, 16).ok());
        mask.zip(bit).is_some_and(|(mask, bit)| mask & bit != 0)
    };
    field("State").is_none_or(|state| state.starts_with('S'))
        && !["SigPnd", "ShdPnd", "SigBlk"].into_iter().any(has)
}

/// The processes that HAProxy is told to let go: `-sf PID...` and `-st PID...`.
fn going(line: &str) -> impl Iterator<Item = i32> {
    let mut listed = false;
    line.split_terminator('\0').filter_map(move |word| {
        if matches!(word, "-sf" | "-st") {
            listed = true;
            return None;
        }
        let pid = word.parse().ok().filter(|_| listed);
        listed = pid.is_some();
        pid
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_master_that_holds_signals_back_is_at_work() {
        let status = |state: &str, pending: &str, blocked: &str| {
            format!(
                "Name:\tnginx\nState:\t{state}\nSigPnd:\t0000000000000000\nShdPnd:\t{pending}\nSigBlk:\t{blocked}\n"
            )
        };
        let (none, hup, others) = ("0000000000000000", "0000000000000001", "0000000000012a02");
        assert!(waits_for(&status("S (sleeping)", none, none), Signal::HUP));
        assert!(waits_for(&status("S (sleeping)", others, others), Signal::HUP));
        assert!(!waits_for(&status("S (sleeping)", none, hup), Signal::HUP));
        assert!(!waits_for(&status("S (sleeping)", hup, none), Signal::HUP));
        assert!(!waits_for(&status("R (running)", none, none), Signal::HUP));
        // A kernel that does not tell.
        assert!(waits_for("Name:\tnginx\n", Signal::HUP));
    }

    #[test]
    fn haproxy_does_not_rest_before_it_hears_the_signal_nor_before_a_worker_has_read_the_files() {
        let proc = tempfile::tempdir().unwrap();
        let haproxy = Running {
            program: Program::Haproxy,
            pid: 5,
            started: 0,
            netns: crate::step::Place { name: "host".into(), inode: 1 },
            test: Vec::new(),
            unit: None,
        };
        let rests = |state: &str, pending: &str, blocked: &str, line: &str, workers: &[i32]| {
            let folder = proc.path().join("5");
            std::fs::create_dir_all(&folder).unwrap();
            let status = format!("State:\t{state}\nShdPnd:\t{pending}\nSigBlk:\t{blocked}\n");
            std::fs::write(folder.join("status"), status).unwrap();
            std::fs::write(folder.join("cmdline"), line).unwrap();
            let workers: Vec<Worker> = workers.iter().map(|pid| Worker { pid: *pid, started: 1 }).collect();
            haproxy.rests(proc.path(), &workers)
        };
        // As 2.6 shows it after SIGUSR2.
        let (none, usr2, held) = ("0000000000000000", "0000000000000800", "0000000000310a01");
        let (plain, anew) =
            ("haproxy\0-W\0-f\0h.cfg\0", "haproxy\0-sf\x006\0-x\0sockpair@3\0-W\0-f\0h.cfg\0");
        assert!(rests("S (sleeping)", none, none, plain, &[6]));
        assert!(!rests("S (sleeping)", usr2, none, plain, &[6]), "the signal is on its way");
        assert!(!rests("R (running)", none, none, plain, &[6]), "the signal is at work");
        assert!(!rests("S (sleeping)", none, none, anew, &[6]));
        assert!(!rests("S (sleeping)", none, held, anew, &[6, 24]));
        assert!(rests("S (sleeping)", none, none, anew, &[6, 24]));
        assert!(rests("S (sleeping)", none, none, plain, &[24]));
    }

    #[test]
    fn haproxy_says_whom_it_lets_go() {
        let listed = |line: &str| going(line).collect::<Vec<_>>();
        assert_eq!(listed("haproxy\0-sf\x0032\x0033\0-x\0sockpair@3\0-W\0-p\x0077\0"), [32, 33]);
        assert_eq!(listed("haproxy\0-W\0-f\0h.cfg\0-st\x007\0-sf\x008\0"), [7, 8]);
        assert_eq!(listed("haproxy\0-W\0-f\x007\0"), [0; 0]);
    }

    #[test]
    fn only_a_worker_that_was_not_there_is_new() {
        let worker = |pid, started| Worker { pid, started };
        assert!(!is_new(&[worker(1, 1), worker(2, 1)], &[worker(2, 1)]));
        assert!(is_new(&[worker(1, 1)], &[worker(1, 2)]));
    }
}
