//! Tries `lastack fix` on a stage as its user would: the load, `doctor`, `fix --apply`, the same load,
//! `fix --rollback`.
//!
//! The programs are real: this program again, in the network namespace of the host that is to be repaired. They know
//! of the stage what a user could give them: the host's case, with what its captures show.

use super::restored::Snapshot;
use super::running::{Played, Running};
use super::{Offer, Repaired, StageError};
use crate::host::HostError;
use crate::sandbox;
use kernel::sock_diag::{Query, SockDiag, States};
use kernel::{Root, Selection, netns};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tcp::State;
use world::scenario::Fix;

/// Runs a program in another network namespace; of util-linux, as `unshare` is.
pub(super) const NSENTER: &str = "nsenter";

/// Counters are watched so long before the change, and at least so long after it.
const BASELINE: &str = "300ms";
const GUARD: &str = "2s";

/// A program that takes longer hangs: it is killed, and `fix` takes back what it did.
const PATIENCE: Duration = Duration::from_secs(60);

/// What `fix` says when its changes are made and its guards watch.
const WATCHES: &str = "Guards:";

/// The most that a program may print.
const MAX_PRINTED: u64 = 16 << 20;

/// The folder of what is ours here: cases, the plan, the journal.
const OURS: &str = "fix";

/// When a play is kept: before the change, and with it.
pub(super) const WHEN: [&str; 2] = [BEFORE, REPAIRED];
const BEFORE: &str = "before";
const REPAIRED: &str = "repaired";

/// The states in which sockets wait that nobody needs any more. A minute or two ends all but the last.
const LEFT_BEHIND: [State; 6] =
    [State::TimeWait, State::FinWait1, State::FinWait2, State::Closing, State::LastAck, State::CloseWait];

/// A stage on which `fix` is tried.
pub(super) struct Repair<'a> {
    pub(super) stage: Running<'a>,
    /// Where the stage has its files.
    pub(super) folder: &'a Path,
    pub(super) executable: &'a Path,
}

/// What is done with a play besides judging it: the word says when it was.
type Keep<'k> = &'k mut dyn FnMut(&str, &Played) -> Result<(), StageError>;

/// `doctor --json`, as far as it matters here.
#[derive(Deserialize)]
struct Report {
    findings: Vec<Found>,
}

#[derive(Deserialize)]
struct Found {
    rule: String,
}

/// A plan as `fix --json` prints it.
#[derive(Deserialize)]
struct Plan {
    remedies: Vec<Planned>,
}

#[derive(Deserialize)]
struct Planned {
    apply: bool,
    rule: String,
    name: String,
    changes: Vec<Change>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Change {
    Setting { setting: String, from: String, to: String },
    File { file: String },
}

/// What became of an apply.
#[derive(Deserialize)]
struct Outcome {
    #[serde(rename = "outcome")]
    ended: String,
    because: String,
    /// What it could not do.
    failed: Vec<String>,
}

impl Outcome {
    fn in_words(&self) -> String {
        let mut words = format!("ended with {}: {}", self.ended, self.because);
        self.failed.iter().for_each(|what| words.extend(["; ", what]));
        words
    }

    /// How it ended, unless all is as it was asked for.
    fn wrong(&self) -> Option<String> {
        (self.ended != "kept" || !self.failed.is_empty()).then(|| self.in_words())
    }
}

/// Why it went no further: a failure of the stage, or something that did not go as it must.
enum Stop {
    Stage(StageError),
    Wrong(String),
}

impl<E: Into<StageError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Stage(error.into())
    }
}

fn wrong(what: impl Into<String>) -> Stop {
    Stop::Wrong(what.into())
}

impl Repair<'_> {
    /// Plays the load, and asks what `fix` offers. With a fix it is done, held against the load, and taken back.
    pub(super) fn run(mut self, fix: Option<&Fix>, keep: Keep<'_>) -> Result<Repaired, StageError> {
        let mut repaired = Repaired::default();
        std::fs::create_dir(self.folder.join(OURS)).map_err(StageError::io(OURS))?;
        let played = self.stage.play()?;
        keep(BEFORE, &played)?;
        repaired.before = Running::judge(&played);
        let tried = self.offers(&played, &mut repaired).and_then(|()| match fix {
            Some(fix) => self.fix(fix, &played, keep, &mut repaired),
            None => Ok(()),
        });
        match tried {
            Ok(()) => {}
            Err(Stop::Wrong(what)) => repaired.wrong.push(what),
            Err(Stop::Stage(error)) => return Err(error),
        }
        Ok(repaired)
    }

    /// All that `fix` could change, at each host.
    fn offers(&self, played: &Played, repaired: &mut Repaired) -> Result<(), Stop> {
        let mut offered = BTreeSet::new();
        for (host, case, _) in &played.hosts {
            let file = self.case_of(host);
            std::fs::write(&file, case.to_bytes()).map_err(StageError::io("a case"))?;
            let sees = self.sees(host, played);
            let words = ["fix", "--json"].into_iter().chain(sees.iter().map(String::as_str));
            let plan: Plan = self.json(host, &words.collect::<Vec<_>>())?;
            let changing = plan.remedies.into_iter().filter(|remedy| !remedy.changes.is_empty());
            offered.extend(changing.map(|remedy| Offer {
                host: host.clone(),
                rule: remedy.rule,
                remedy: remedy.name,
            }));
        }
        repaired.offered = offered.into_iter().collect();
        Ok(())
    }

    fn fix(
        &mut self,
        fix: &Fix,
        played: &Played,
        keep: Keep<'_>,
        repaired: &mut Repaired,
    ) -> Result<(), Stop> {
        let host = fix.host.as_str();
        let sees = self.sees(host, played);
        let sees = || sees.iter().map(String::as_str);
        let words = ["doctor", "--json"].into_iter().chain(sees());
        let report: Report = self.json(host, &words.collect::<Vec<_>>())?;
        if !report.findings.iter().any(|found| found.rule == fix.finding) {
            let found: Vec<&str> = report.findings.iter().map(|found| found.rule.as_str()).collect();
            return Err(wrong(format!(
                "`doctor` does not find {} at {host} before the fix; it finds {}",
                fix.finding,
                if found.is_empty() { "nothing".to_owned() } else { found.join(", ") }
            )));
        }
        let plan = shown(&self.ours("plan.toml"));
        let mut words = vec!["fix", "--json", "--finding", &fix.finding, "--plan", &plan];
        words.extend(sees());
        words.extend(fix.remedy.iter().flat_map(|name| ["--remedy", name.as_str()]));
        let planned: Plan = self.json(host, &words)?;
        let chosen = planned.remedies.into_iter().filter(|remedy| remedy.apply);
        repaired.changes = chosen.flat_map(|remedy| remedy.changes).map(Change::in_words).collect();
        if repaired.changes.is_empty() {
            return Err(wrong(format!("`fix` has nothing to apply against {} at {host}", fix.finding)));
        }
        self.age(played)?;
        let before = self.snapshot()?;
        let journal = shown(&self.ours("journal"));
        let watched = ["--yes", "--json", "--guard", GUARD, "--baseline", BASELINE, "--state-dir", &journal];
        let apply: Vec<&str> = ["fix", "--plan", &plan, "--apply"].into_iter().chain(watched).collect();
        let mut applying = self.start(host, &apply)?;
        // Its guards are to see the load that it is made for.
        if !applying.says(WATCHES) {
            let how = applying.ended::<Outcome>(&[0, 1, 2])?.in_words();
            return Err(wrong(format!("`fix --apply`, before it watched, {how}")));
        }
        for name in &fix.restart {
            self.stage.end(name)?;
            if let Some(server) = self.stage.world.servers.iter().find(|server| server.name == *name) {
                self.stage.serve(server)?;
            }
        }
        let played = self.stage.play()?;
        keep(REPAIRED, &played)?;
        repaired.after = Some(Running::judge(&played));
        if let Some(how) = applying.ended::<Outcome>(&[0, 1, 2])?.wrong() {
            return Err(wrong(format!("`fix --apply` {how}")));
        }
        self.age(&played)?;
        let rollback = ["fix", "--rollback", "last"].into_iter().chain(watched[1..].iter().copied());
        let rollback: Vec<&str> = rollback.collect();
        if let Some(how) = self.start(host, &rollback)?.ended::<Outcome>(&[0, 1, 2])?.wrong() {
            return Err(wrong(format!("`fix --rollback` {how}")));
        }
        let now = self.snapshot()?;
        let differ = before.differences(&now);
        if differ.is_empty() {
            repaired.restored = Some(now.counted());
        }
        repaired.wrong.extend(differ.into_iter().map(|what| format!("after `fix --rollback`: {what}")));
        Ok(())
    }

    /// Ends what goes by itself with time: faults, and sockets that the load has left.
    fn age(&mut self, played: &Played) -> Result<(), StageError> {
        self.stage.mend_all()?;
        let left = played.hosts.iter().map(|(_, case, _)| {
            let sockets = case.namespaces.iter().map(|namespace| &namespace.sockets.by_state);
            sockets.flat_map(|states| LEFT_BEHIND.map(|state| states.of(state))).fold(0, u32::saturating_add)
        });
        let places: Vec<usize> =
            left.enumerate().filter(|(_, left)| *left > 0).map(|(place, _)| place).collect();
        for place in places {
            let names = LEFT_BEHIND.map(|state| super::timeline::ss_name(state.name()));
            let states = names.iter().flat_map(|name| ["state", name.as_str()]);
            let command: Vec<&str> = ["ss", "-tK"].into_iter().chain(states).collect();
            let host = &mut self.stage.hosts[place];
            host.run(&command)?;
            let stay = waiting(host.pid())?;
            if stay > 0 {
                let error = format!(
                    "{stay} sockets stay when they are destroyed: has this kernel INET_DIAG_DESTROY?"
                );
                return Err(HostError::Failed { host: host.name().to_owned(), error }.into());
            }
        }
        Ok(())
    }

    /// What `doctor` and `fix` are given to see: the case of the load. What a proxy is told is changed only where it
    /// runs, so that there they look at the host as it is now, and are given its captures.
    fn sees(&self, host: &str, played: &Played) -> Vec<String> {
        if !self.stage.world.proxies.iter().any(|proxy| proxy.host == host) {
            return vec!["--case".to_owned(), shown(&self.case_of(host))];
        }
        let captures =
            played.hosts.iter().filter(|(name, ..)| name == host).flat_map(|(.., captures)| captures);
        let captures =
            captures.flat_map(|(name, _)| ["--capture".to_owned(), shown(&self.folder.join(name))]);
        ["--for", "0"].map(str::to_owned).into_iter().chain(captures).collect()
    }

    fn case_of(&self, host: &str) -> PathBuf {
        self.ours(&format!("{host}.case"))
    }

    fn ours(&self, name: &str) -> PathBuf {
        self.folder.join(OURS).join(name)
    }

    fn snapshot(&self) -> Result<Snapshot, StageError> {
        let ours = self.folder.join(OURS);
        let grows =
            |path: &Path| path == ours || path.extension().is_some_and(|extension| extension == "pcap");
        Snapshot::take(self.stage.world, &self.stage.hosts, self.folder, &grows)
    }

    /// Starts this program in the network namespace of a host.
    fn start(&self, host: &str, words: &[&str]) -> Result<Called, Stop> {
        let pid = self.stage.hosts.get(self.stage.place(host)).map_or(0, crate::host::Host::pid);
        let nsenter = sandbox::program(NSENTER).unwrap_or_else(|| NSENTER.into());
        let mut command = Command::new(nsenter);
        command.arg(format!("--net=/proc/{pid}/ns/net")).arg("--").arg(self.executable).args(words);
        let what = format!("`lastack {}` at {host}", words.join(" "));
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Ok(Called::new(what.clone(), spawned.map_err(StageError::io(what))?))
    }

    /// What it prints as JSON; it says that something is wrong, or not.
    fn json<T: DeserializeOwned>(&self, host: &str, words: &[&str]) -> Result<T, Stop> {
        self.start(host, words)?.ended(&[0, 1])
    }
}

impl Change {
    fn in_words(self) -> String {
        let value = |text: String| if text.is_empty() { "(empty)".to_owned() } else { text };
        match self {
            Self::Setting { setting, from, to } => format!("{setting}: {} to {}", value(from), value(to)),
            Self::File { file } => {
                let name = Path::new(&file).file_name().map(|name| name.to_string_lossy().into_owned());
                name.unwrap_or(file)
            }
        }
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// How many sockets of a host wait in one of these states.
fn waiting(pid: u32) -> Result<u32, StageError> {
    let failed =
        |error: &dyn std::fmt::Display| StageError::Failed(format!("sockets cannot be counted: {error}"));
    let selection = Selection::These(vec![format!("pid:{pid}")]);
    let found = netns::find(&Root::default(), &selection, &mut Vec::new()).map_err(|error| failed(&error))?;
    let mut waiting = 0_u32;
    for found in &found {
        let counted = netns::enter(found, || {
            let mut here = 0_u32;
            let dumped = SockDiag::open().and_then(|mut diag| {
                diag.dump(Query::all(States::CONNECTED), |seen, _| {
                    here = here.saturating_add(u32::from(LEFT_BEHIND.contains(&seen.state)));
                })
            });
            dumped.map(|_| here)
        });
        let counted = counted.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
        waiting = waiting.saturating_add(counted);
    }
    Ok(waiting)
}

/// A program that runs, its output read beside it.
struct Called {
    what: String,
    child: Child,
    printed: mpsc::Receiver<Vec<u8>>,
    errors: mpsc::Receiver<String>,
    said: Vec<String>,
}

impl Called {
    fn new(what: String, mut child: Child) -> Self {
        let (print, printed) = mpsc::channel();
        let (say, errors) = mpsc::channel();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = stdout.map(|stdout| stdout.take(MAX_PRINTED).read_to_end(&mut bytes));
            let _ = print.send(if matches!(read, Some(Ok(_))) { bytes } else { Vec::new() });
        });
        std::thread::spawn(move || {
            let lines = stderr.into_iter().flat_map(|stderr| BufReader::new(stderr).lines());
            lines.map_while(Result::ok).try_for_each(|line| say.send(line))
        });
        Self { what, child, printed, errors, said: Vec::new() }
    }

    /// Waits until a line on its standard error begins so; false if it ends without.
    fn says(&mut self, begin: &str) -> bool {
        let end = Instant::now() + PATIENCE;
        while let Ok(line) = self.errors.recv_timeout(end.saturating_duration_since(Instant::now())) {
            let is_it = line.starts_with(begin);
            self.said.push(line);
            if is_it {
                return true;
            }
        }
        false
    }

    /// Waits for its end; it must be one of these, and what it printed JSON.
    fn ended<T: DeserializeOwned>(mut self, codes: &[i32]) -> Result<T, Stop> {
        let end = Instant::now() + PATIENCE;
        let status = loop {
            match self.child.try_wait().map_err(StageError::io(self.what.clone()))? {
                Some(status) => break status,
                None if Instant::now() > end => {
                    let _ = self.child.kill();
                    let _ = self.child.wait();
                    return Err(wrong(format!("{}: no end within {} s", self.what, PATIENCE.as_secs())));
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        self.said.extend(self.errors.iter());
        let printed = self.printed.recv().unwrap_or_default();
        let good = |status: ExitStatus| status.code().is_some_and(|code| codes.contains(&code));
        match serde_json::from_slice(&printed) {
            Ok(value) if good(status) => Ok(value),
            _ => {
                let last = self.said.last().map_or("it said nothing", String::as_str);
                Err(wrong(format!("{}: {status}: {last}", self.what)))
            }
        }
    }
}
