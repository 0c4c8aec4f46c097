//! Whether a program has taken its files. It is told to, and does so in its own time: after the signal nginx's master
//! reads them, starts new workers, waits a tenth of a second and only then looks at signals again. A file that
//! changes meanwhile is read or not, nobody knows which. So it is waited until the master rests, before and after.
//!
//! What shows is the workers: files that were taken have new ones, files that were refused leave those that were
//! there. A new worker alone is no sign: HAProxy's from 3.1 on is started before the files are read, and ends if they
//! are refused. So it is waited until those that served before serve no more: whoever has taken the files tells them
//! to.

use super::{PATIENCE, Program, ProgramError, Running};
use crate::failpoint;
use kernel::{Root, process};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// A master is looked at so often.
const GLANCE: Duration = Duration::from_millis(15);

/// A master rests if it does so at so many glances: at a single one, a signal may have left the queue without being
/// at work yet.
const GLANCES: u32 = 3;

/// A master that has no new worker rests if it waits for signals at so many glances: a second. Before, it may be
/// about to start one.
const GLANCES_ALONE: u32 = 64;

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
    pub(crate) fn reload(&self, root: &Root) -> Result<(), ProgramError> {
        let before = self.at_rest(root)?;
        let served = serving(root, &before);
        self.tell(root)?;
        failpoint::point("told");
        // Without workers the one process does all, and does not show what it has read.
        if before.is_empty() {
            return self.at_rest(root).map(drop);
        }
        let end = Instant::now() + PATIENCE;
        loop {
            let now = self.at_rest(root)?;
            if !is_new(&before, &now) {
                return Err(ProgramError::NotTaken(self.program.name(), self.pid));
            }
            let left: Vec<Worker> = served.iter().filter(|worker| now.contains(worker)).copied().collect();
            if serving(root, &left).is_empty() {
                return Ok(());
            }
            if Instant::now() >= end {
                return Err(self.busy());
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// Waits until the program does nothing about its files any more. The answer is its workers.
    pub(crate) fn at_rest(&self, root: &Root) -> Result<Vec<Worker>, ProgramError> {
        let end = Instant::now() + PATIENCE;
        let mut rested = 0_u32;
        loop {
            self.check_runs(root)?;
            let workers = self.workers(root);
            let glances = self.rests(root, &workers);
            rested = if glances.is_some() { rested.saturating_add(1) } else { 0 };
            if glances.is_some_and(|glances| rested >= glances) {
                return Ok(workers);
            }
            if Instant::now() >= end {
                return Err(self.busy());
            }
            std::thread::sleep(GLANCE);
        }
    }

    fn busy(&self) -> ProgramError {
        ProgramError::Busy(self.program.name(), self.pid, PATIENCE.as_secs())
    }

    fn workers(&self, root: &Root) -> Vec<Worker> {
        let started = process::children(root, self.pid.cast_unsigned()).into_iter();
        let of_it = started.filter(|(_, stat)| self.program.is(&stat.name));
        of_it.map(|(pid, stat)| Worker { pid: pid.cast_signed(), started: stat.started }).collect()
    }

    /// At how many glances on end it must look so to be at rest; none if it does not.
    fn rests(&self, root: &Root, workers: &[Worker]) -> Option<u32> {
        // The master of either holds signals back but when it waits for one. Until it gets to run at all, one is on
        // its way.
        let pid = self.pid.cast_unsigned();
        if process::waits_for(root, pid, self.program.signal().as_raw()) == Some(false) {
            return None;
        }
        match self.program {
            Program::Nginx => Some(GLANCES),
            // Its master starts itself anew, with the workers that are to go as arguments. Up to 3.0 it does so once
            // more when a worker has read the files, or none could; later ones go on with these arguments.
            Program::Haproxy => {
                let line = process::command_line(root, pid).unwrap_or_default();
                let going: Vec<i32> = going(&String::from_utf8_lossy(&line)).collect();
                let done = going.is_empty() || workers.iter().any(|worker| !going.contains(&worker.pid));
                // While it reads the files itself, as up to 3.0, it may sleep, for a name to be resolved; it polls
                // later.
                if done { Some(GLANCES) } else { process::polls(root, pid).then_some(GLANCES_ALONE) }
            }
        }
    }
}

/// The workers that hold a listening socket: whoever is let go closes his own first, and then what is left of his
/// connections.
fn serving(root: &Root, workers: &[Worker]) -> Vec<Worker> {
    // All are in the network namespace of their program.
    let pids: Vec<u32> = workers.iter().map(|worker| worker.pid.cast_unsigned()).collect();
    let listening = kernel::listening(root, &pids);
    workers.iter().filter(|worker| listening.contains(&worker.pid.cast_unsigned())).copied().collect()
}

/// True if some of the workers now were not there before.
pub(crate) fn is_new(before: &[Worker], now: &[Worker]) -> bool {
    now.iter().any(|worker| !before.contains(worker))
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
    fn haproxy_does_not_rest_before_it_hears_the_signal_nor_before_a_worker_has_read_the_files() {
        let below = tempfile::tempdir().unwrap();
        let root = Root::below(below.path());
        let haproxy = Running {
            program: Program::Haproxy,
            pid: 5,
            started: 0,
            netns: crate::step::Place { name: "host".into(), inode: 1, started: None },
            test: Vec::new(),
            unit: None,
        };
        let rests = |state: &str, pending: &str, blocked: &str, line: &str, workers: &[i32]| {
            let folder = root.proc.join("5");
            std::fs::create_dir_all(&folder).unwrap();
            let status = format!("State:\t{state}\nShdPnd:\t{pending}\nSigBlk:\t{blocked}\n");
            std::fs::write(folder.join("status"), status).unwrap();
            std::fs::write(folder.join("cmdline"), line).unwrap();
            let workers: Vec<Worker> = workers.iter().map(|pid| Worker { pid: *pid, started: 1 }).collect();
            haproxy.rests(&root, &workers)
        };
        // As 2.6 shows it after SIGUSR2.
        let (none, usr2, held) = ("0000000000000000", "0000000000000800", "0000000000310a01");
        let (plain, anew) =
            ("haproxy\0-W\0-f\0h.cfg\0", "haproxy\0-sf\x006\0-x\0sockpair@3\0-W\0-f\0h.cfg\0");
        assert_eq!(rests("S (sleeping)", none, none, plain, &[6]), Some(GLANCES));
        assert_eq!(rests("S (sleeping)", usr2, none, plain, &[6]), None, "the signal is on its way");
        assert_eq!(rests("R (running)", none, none, plain, &[6]), None, "the signal is at work");
        assert_eq!(rests("S (sleeping)", none, none, anew, &[6]), None, "it may wait for a name");
        let files = root.proc.join("5/fd");
        std::fs::create_dir(&files).unwrap();
        std::os::unix::fs::symlink("anon_inode:[eventpoll]", files.join("3")).unwrap();
        assert_eq!(rests("S (sleeping)", none, none, anew, &[6]), Some(GLANCES_ALONE));
        assert_eq!(rests("S (sleeping)", none, held, anew, &[6, 24]), None);
        assert_eq!(rests("S (sleeping)", none, none, anew, &[6, 24]), Some(GLANCES));
        assert_eq!(rests("S (sleeping)", none, none, plain, &[24]), Some(GLANCES));
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

    /// A program that does as HAProxy does from 3.1 on: its master starts itself anew and a worker, which reads the
    /// file, and tells the master when it serves; only then are the others let go, which keep what they have.
    const STAND_IN: &str = r#"
import os, select, signal, socket, sys, time
file = sys.argv[sys.argv.index("-f") + 1]
old = [int(pid) for pid in sys.argv[sys.argv.index("-sf") + 1:sys.argv.index("-W")]] if "-sf" in sys.argv else []
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
said, says = os.pipe()
master = os.getpid()
new = os.fork()
if new == 0:
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    time.sleep(0.3)
    text = open(file).read()
    if "broken" in text:
        os._exit(1)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", int(text)))
    listener.listen()
    signal.signal(signal.SIGUSR1, lambda *_: listener.close())
    os.write(says, b"ready")
    os.close(says)
    while os.getppid() == master:
        time.sleep(0.01)
    os._exit(0)
os.close(says)
kept = old
def anew(*_):
    os.execv(sys.argv[0], [sys.argv[0]] + (["-sf"] + [str(pid) for pid in kept] if kept else []) + ["-W", "-f", file])
signal.signal(signal.SIGUSR2, anew)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])
poll = select.epoll()
poll.register(said, select.EPOLLIN)
poll.poll()
if os.read(said, 5) == b"ready":
    for pid in old:
        os.kill(pid, signal.SIGUSR1)
    kept = old + [new]
else:
    os.waitpid(new, 0)
poll.unregister(said)
while True:
    poll.poll()
"#;

    #[test]
    fn a_worker_that_ends_when_it_reads_the_files_has_not_taken_them() {
        const NAME: &str =
            "program::taking::tests::a_worker_that_ends_when_it_reads_the_files_has_not_taken_them";
        let mut pythons = ["/usr/bin/python3", "/usr/local/bin/python3"].into_iter();
        let Some(python) = pythons.find(|path| std::path::Path::new(path).exists()) else {
            namespaced::skip(NAME, "python3 is not installed");
            return;
        };
        let folder = tempfile::tempdir().unwrap();
        let (program, file) = (folder.path().join("haproxy"), folder.path().join("h.cfg"));
        std::fs::write(&program, format!("#!{python}{STAND_IN}")).unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        std::fs::write(&file, port.to_string()).unwrap();
        let mut master = std::process::Command::new(&program).args(["-W", "-f"]).arg(&file).spawn().unwrap();
        let root = &Root::default();
        let pid = master.id().cast_signed();
        let until = |what: &str, holds: &dyn Fn() -> bool| {
            let end = Instant::now() + Duration::from_secs(60);
            while !holds() {
                assert!(Instant::now() < end, "waited in vain: {what}");
                std::thread::sleep(GLANCE);
            }
        };
        let answers = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        until("it serves", &answers);
        let haproxy = Running {
            program: Program::Haproxy,
            pid,
            started: process::stat(root, master.id()).unwrap().started,
            netns: crate::step::Place { name: "host".into(), inode: 1, started: None },
            test: Vec::new(),
            unit: None,
        };
        let reload = |text: &str| {
            std::fs::write(&file, text).unwrap();
            haproxy.reload(root)
        };
        let workers = || haproxy.workers(root);
        let first = workers();
        assert_eq!((first.len(), serving(root, &first)), (1, first.clone()));
        reload(&port.to_string()).unwrap();
        let second = workers();
        assert_eq!(second.len(), 2, "the first keeps its connections");
        let served = serving(root, &second);
        assert!(served.len() == 1 && served != first, "{served:?}");
        // What is read late is refused late.
        assert!(matches!(reload("broken"), Err(ProgramError::NotTaken(..))));
        assert_eq!((workers(), serving(root, &workers())), (second.clone(), served));
        assert!(answers());
        // Taken back it is taken again, though the master still has the arguments of its last start.
        reload(&port.to_string()).unwrap();
        let served = serving(root, &workers());
        assert!(served.len() == 1 && !second.contains(&served[0]), "{served:?}");
        master.kill().unwrap();
        master.wait().unwrap();
        until("its workers have ended", &|| !answers());
    }
}
