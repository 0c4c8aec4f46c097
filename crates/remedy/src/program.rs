//! Programs whose configuration is changed: which process runs, how its files are tested, and how it takes them.
//!
//! A program is reloaded the way it runs: by systemd where that started it and can, else by the signal that its own
//! documentation names (nginx: SIGHUP to the master; HAProxy in master-worker mode: SIGUSR2). A HAProxy without a
//! master cannot take new files without being started anew, and is left to a person.

mod taking;

pub use taking::Worker;
pub(crate) use taking::is_new;

use crate::step::Place;
use kernel::programs::{self, Kind, Started};
use kernel::{Root, netns, process};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A test or a reload that takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// So much of what a program says is kept.
const MAX_SAID: u64 = 16 << 10;

/// A program that reads configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Program {
    /// nginx.
    Nginx,
    /// HAProxy.
    Haproxy,
}

impl Program {
    /// What tells its master to take its files.
    const fn signal(self) -> Signal {
        match self {
            Self::Nginx => Signal::HUP,
            Self::Haproxy => Signal::USR2,
        }
    }

    /// Its name, as the kernel has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Nginx => Kind::Nginx,
            Self::Haproxy => Kind::Haproxy,
        }
    }

    /// Whether a process of this name is one of it.
    fn is(self, comm: &str) -> bool {
        Kind::of(comm) == Some(self.kind())
    }

    /// The program of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Nginx, Self::Haproxy].into_iter().find(|program| program.name() == name)
    }
}

/// A program as it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Which.
    pub program: Program,
    /// Its first process: nginx's and HAProxy's master.
    pub pid: i32,
    /// When that was started, in ticks since boot: another process may get its number.
    pub started: u64,
    /// The network namespace that it is in: a test binds what the files say, and resolves names there.
    pub netns: Place,
    /// How its files are tested: a program and its arguments.
    pub test: Vec<String>,
    /// The unit of systemd that it is the main process of, if that can be reloaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// Why a program cannot take its files.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It does not run.
    #[error("{0} does not run here (network namespace {1}): change its files by hand, and start it")]
    NotRunning(&'static str, String),
    /// More than one has this file.
    #[error(
        "{1} processes of {0} read this file: which one is to take it cannot be told; reload them by hand"
    )]
    Several(&'static str, usize),
    /// It has files of its own.
    #[error("{0} (process {1}) sees other files than we do, as in a container: change them where it is made")]
    Elsewhere(&'static str, u32),
    /// Its file, or whoever it runs as, is not trusted: starting it would be doing what somebody else says.
    #[error("{0} (process {1}) is not started by lastack to test its files: {2}; test and reload it by hand")]
    NotTrusted(&'static str, u32, String),
    /// It has no master.
    #[error(
        "this haproxy runs without a master (-W, or master-worker in its file): it cannot take new files without being started anew; do that by hand"
    )]
    NoMaster,
    /// Its test found something.
    #[error("{0}: {1}")]
    Test(String, String),
    /// Not one of its files.
    #[error("{1} is none of the files of {0}, which reads {2}")]
    NotItsFile(&'static str, String, String),
    /// It went away, or cannot be reached.
    #[error("{0} (process {1}) cannot be told to take its files: {2}")]
    Reload(&'static str, i32, String),
    /// It was told, and its workers are those that were there.
    #[error(
        "{0} (process {1}) was told to take its files and goes on with what it had: its error log says why"
    )]
    NotTaken(&'static str, i32),
    /// It does not come to rest.
    #[error(
        "{0} (process {1}) has been taking its files for {2} s: try again when it is done, or see its error log"
    )]
    Busy(&'static str, i32, u64),
}

impl Running {
    /// Finds the one in a network namespace that reads one of these files.
    pub(crate) fn find(
        root: &Root,
        program: Program,
        netns: &Place,
        files: &[&Path],
    ) -> Result<Self, ProgramError> {
        let mut running = programs::running(root);
        running.retain(|one| one.kind == program.kind() && one.net.1 == netns.inode);
        let Some(first) = running.first().map(|one| one.pid) else {
            return Err(ProgramError::NotRunning(program.name(), netns.name.clone()));
        };
        // Anybody may call a process so, and let it have our files as arguments.
        let of_others = |one: &Started| Some((one.pid, programs::other_user(root, one.pid)?));
        let other = running.iter().find_map(of_others);
        running.retain(|one| of_others(one).is_none());
        if let (true, Some((pid, user))) = (running.is_empty(), other) {
            return Err(ProgramError::NotTrusted(program.name(), pid, format!("it runs as user {user}")));
        }
        running.retain(|one| one.sees_our_files(root));
        if running.is_empty() {
            return Err(ProgramError::Elsewhere(program.name(), first));
        }
        let mut read = Vec::new();
        running.retain(|one| {
            let its = one.files(root).unwrap_or_else(|(path, _)| vec![path]);
            let holds = |file: &&Path| {
                its.iter().any(|path| {
                    Path::new(path) == *file || std::fs::canonicalize(path).is_ok_and(|real| real == **file)
                })
            };
            read.extend(its.first().cloned());
            files.iter().any(holds)
        });
        match running.as_slice() {
            [] => {
                let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
                Err(ProgramError::NotItsFile(program.name(), files.join(", "), read.join(", ")))
            }
            [one] => Self::of(root, program, netns, one),
            several => Err(ProgramError::Several(program.name(), several.len())),
        }
    }

    fn of(root: &Root, program: Program, netns: &Place, started: &Started) -> Result<Self, ProgramError> {
        if !started.has_master() {
            return Err(ProgramError::NoMaster);
        }
        let pid = started.pid.cast_signed();
        let failed = |why: String| ProgramError::Reload(program.name(), pid, why);
        let stat = process::stat(root, started.pid).ok_or_else(|| failed("it has ended".to_owned()))?;
        let executable = executable(root, program, started.pid)?;
        let question: &[&str] = match program {
            Program::Nginx => &["-t", "-q"],
            // Not -q: it would keep the reason to itself.
            Program::Haproxy => &["-c"],
        };
        let question = question.iter().map(|word| (*word).to_owned());
        let test = [executable].into_iter().chain(question).chain(started.what_is_read()).collect();
        let unit = process::unit(root, started.pid).filter(|unit| is_reloadable(unit, started.pid));
        let netns = netns.clone();
        Ok(Self { program, pid, started: stat.started, netns, test, unit })
    }

    /// The same after the host was started anew.
    pub(crate) fn after_boot(&self, root: &Root) -> Self {
        Self { netns: self.netns.after_boot(root), ..self.clone() }
    }

    /// As it runs now: it may have been started anew since.
    pub(crate) fn again(&self, root: &Root, files: &[&Path]) -> Result<Self, ProgramError> {
        Self::find(root, self.program, &self.netns, files)
    }

    /// Checks that it is still the process that was found.
    pub(crate) fn check_runs(&self, root: &Root) -> Result<(), ProgramError> {
        let is_it = |stat: process::Stat| stat.started == self.started && self.program.is(&stat.name);
        if process::stat(root, self.pid.cast_unsigned()).is_some_and(is_it) {
            return Ok(());
        }
        Err(ProgramError::Reload(self.program.name(), self.pid, "it has ended".to_owned()))
    }

    /// Lets the program test its files as they are now: where it is, in its network namespace and its directory.
    pub(crate) fn test(&self, root: &Root) -> Result<(), ProgramError> {
        let [program, arguments @ ..] = self.test.as_slice() else { return Ok(()) };
        // What was found may have been a while ago, and is read from a file by whoever settles.
        self.check_runs(root)?;
        let pid = self.pid.cast_unsigned();
        if executable(root, self.program, pid)? != *program {
            let why = format!("{program} is not what it runs");
            return Err(ProgramError::NotTrusted(self.program.name(), pid, why));
        }
        let failed = |said: String| ProgramError::Test(self.test.join(" "), said);
        let found = self.netns.find(root).map_err(|error| failed(error.to_string()))?;
        let found =
            found.ok_or_else(|| failed(format!("the network namespace {} has gone", self.netns.name)))?;
        let mut command = Command::new(program);
        command.args(arguments).current_dir(root.proc.join(format!("{}/cwd", self.pid)));
        let tested = netns::enter(&found, || run(&mut command).map(drop))
            .map_err(|error| failed(error.to_string()))?;
        tested.map_err(failed)
    }

    /// Tells the program to take its files; it does that when it comes to it.
    fn tell(&self, root: &Root) -> Result<(), ProgramError> {
        let failed = |why: String| ProgramError::Reload(self.program.name(), self.pid, why);
        if let Some(unit) = &self.unit {
            return run(Command::new("systemctl").args(["reload", "--", unit])).map(drop).map_err(failed);
        }
        self.check_runs(root)?;
        let pid = Pid::from_raw(self.pid).ok_or_else(|| failed("no such process".to_owned()))?;
        kill_process(pid, self.program.signal()).map_err(|error| failed(error.to_string()))
    }

    /// What it is told by, for people.
    pub fn way(&self) -> String {
        match (&self.unit, self.program) {
            (Some(unit), _) => format!("systemctl reload {unit}"),
            (None, Program::Nginx) => format!("kill -HUP {}", self.pid),
            (None, Program::Haproxy) => format!("kill -USR2 {}", self.pid),
        }
    }
}

/// What a program is started by to test its files. An update replaces the file under a running one: its name is what the
/// new one is started by.
fn executable(root: &Root, program: Program, pid: u32) -> Result<String, ProgramError> {
    let path = programs::executable(root, pid, program.kind())
        .map_err(|why| ProgramError::NotTrusted(program.name(), pid, why))?;
    Ok(path.to_string_lossy().into_owned())
}

/// Whether a unit is told to reload for the sake of this process. It may have no way to; or it is somebody else's: of a
/// supervisor, of the session in which the program was started by hand, of a container whose units are not ours.
fn is_reloadable(unit: &str, pid: u32) -> bool {
    let mut question = Command::new("systemctl");
    question.args(["show", "--property=CanReload", "--property=MainPID", "--", unit]);
    run(&mut question).is_ok_and(|told| is_reloaded_by(&told, pid))
}

fn is_reloaded_by(told: &str, pid: u32) -> bool {
    let says = |line: &str| told.lines().any(|told| told.trim() == line);
    says("CanReload=yes") && says(&format!("MainPID={pid}"))
}

/// Runs a program to its end, within a time: what it printed, or what it complained of if it failed.
fn run(command: &mut Command) -> Result<String, String> {
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.map_err(|error| error.to_string())?;
    let printed = child.stdout.take().map(heard);
    let said = child.stderr.take().map(heard);
    let done = wait(&mut child);
    if done.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let text = |heard: Option<JoinHandle<String>>| heard.and_then(|heard| heard.join().ok());
    match done {
        Ok(true) => Ok(text(printed).unwrap_or_default()),
        Ok(false) => {
            let said = text(said).unwrap_or_default();
            let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
            Err(if said.is_empty() { "it failed and said nothing".to_owned() } else { said })
        }
        Err(error) => Err(error),
    }
}

/// Hears what a program says, so that it need not wait.
fn heard(from: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut said = Vec::new();
        // What cannot be read was not said.
        let _ = from.take(MAX_SAID).read_to_end(&mut said);
        String::from_utf8_lossy(&said).into_owned()
    })
}

fn wait(child: &mut Child) -> Result<bool, String> {
    let end = Instant::now() + PATIENCE;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status.success()),
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(5)),
            Ok(None) => return Err(format!("it took longer than {} s", PATIENCE.as_secs())),
            Err(error) => return Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_reloaded_for_its_main_process_only() {
        assert!(is_reloaded_by("CanReload=yes\nMainPID=39\n", 39));
        for other in
            ["CanReload=no\nMainPID=39\n", "CanReload=yes\nMainPID=3\n", "CanReload=yes\nMainPID=0\n", ""]
        {
            assert!(!is_reloaded_by(other, 39), "{other}");
        }
    }

    #[test]
    fn what_a_failing_test_says_is_told() {
        assert_eq!(
            run(Command::new("sh").args(["-c", "echo broken at line 3 >&2; exit 1"])),
            Err("broken at line 3".into())
        );
        assert_eq!(run(&mut Command::new("true")), Ok(String::new()));
        assert!(run(&mut Command::new("/nonexistent/program")).is_err());
    }
}
