//! Programs of others, run to their end or kept running.

use super::{Answer, Program};
use crate::sandbox;
use std::io::{self, BufRead as _, Read, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Programs that are run to their end get so long.
const RUN_LIMIT: Duration = Duration::from_secs(10);

/// A program that was started must be ready by then.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// A program that was told to end gets so long before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// So much of what a program prints is kept.
const MAX_OUTPUT: u64 = 256 << 10;
const MAX_ERRORS: u64 = 64 << 10;

/// Runs a program to its end with this input; gives what it printed. A failure says its last line.
pub(crate) fn run(program: &str, arguments: &[&str], input: &str) -> Result<(String, String), String> {
    let what = || format!("{program} {}", arguments.join(" "));
    let mut child = command(program)?
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{}: {error}", what()))?;
    let output = collected(child.stdout.take(), MAX_OUTPUT);
    let errors = collected(child.stderr.take(), MAX_ERRORS);
    if let Some(mut pipe) = child.stdin.take() {
        // A program that does not read its input says why on standard error.
        let _ = pipe.write_all(input.as_bytes());
    }
    let status = within(&mut child, RUN_LIMIT).map_err(|error| format!("{}: {error}", what()))?;
    let text = |collected: mpsc::Receiver<Vec<u8>>| {
        String::from_utf8_lossy(&collected.recv().unwrap_or_default()).into_owned()
    };
    let (output, errors) = (text(output), text(errors));
    if status.success() {
        return Ok((output, errors));
    }
    let said: Vec<&str> = errors.lines().map(str::trim).filter(|line| !line.is_empty()).take(4).collect();
    Err(format!("{}: {status}: {}", what(), said.join("; ")))
}

fn command(program: &str) -> Result<Command, String> {
    let found = sandbox::program(program).ok_or_else(|| format!("the program {program} is not installed"))?;
    Ok(Command::new(found))
}

/// Reads a stream to its end in a thread, and keeps its beginning.
fn collected(stream: Option<impl Read + Send + 'static>, keep: u64) -> mpsc::Receiver<Vec<u8>> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        if let Some(mut stream) = stream {
            let _ = stream.by_ref().take(keep).read_to_end(&mut kept);
            let _ = io::copy(&mut stream, &mut io::sink());
        }
        let _ = send.send(kept);
    });
    receive
}

/// Waits for the end of a child, and kills it if that takes too long.
fn within(child: &mut Child, limit: Duration) -> Result<std::process::ExitStatus, String> {
    let end = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(2)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("did not end within {} s and was killed", limit.as_secs()));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// A program that goes on.
pub(super) struct RunningProgram {
    name: String,
    child: Child,
    errors: mpsc::Receiver<String>,
}

impl RunningProgram {
    pub(super) fn start(program: &Program) -> Result<Self, String> {
        let (name, arguments) = program.command.split_first().ok_or("no program is named")?;
        let mut child = command(name)?
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{name}: {error}"))?;
        let (is_ready, ready) = mpsc::channel();
        let errors = read_errors(child.stderr.take(), program.ready.clone(), is_ready);
        let mut running = Self { name: name.clone(), child, errors };
        let end = Instant::now() + READY_LIMIT;
        if program.ready.is_some() && ready.recv_timeout(READY_LIMIT).is_err() {
            return Err(running.not_ready("did not say that it is ready"));
        }
        if let Some(port) = program.listens {
            while !is_listened_on(port) {
                if Instant::now() > end || !matches!(running.child.try_wait(), Ok(None)) {
                    return Err(running.not_ready(&format!("does not listen on port {port}")));
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(running)
    }

    /// Why it is not ready, in its own words; it is killed.
    fn not_ready(&mut self, what: &str) -> String {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let said = self.errors.recv_timeout(STOP_LIMIT).unwrap_or_default();
        let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).take(4).collect();
        format!("{} {what}: {}", self.name, said.join("; "))
    }

    pub(super) fn end(mut self, stop: bool) -> Result<Answer, String> {
        if stop && let Ok(None) = self.child.try_wait() {
            let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
            if let Some(pid) = pid {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
        }
        let ended = within(&mut self.child, STOP_LIMIT);
        let errors = self.errors.recv_timeout(STOP_LIMIT).unwrap_or_default();
        let status = ended.map_err(|error| format!("{} {error}", self.name))?;
        if !stop && !status.success() {
            return Err(format!("{}: {status}: {}", self.name, errors.lines().last().unwrap_or_default()));
        }
        Ok(Answer::Printed { output: String::new(), errors })
    }
}

impl Drop for RunningProgram {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// True if a socket of this namespace listens on a port, as /proc/net/tcp shows it:
/// `0: 00000000:0050 00000000:0000 0A`.
fn is_listened_on(port: u16) -> bool {
    let port = format!(":{port:04X}");
    ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"].iter().any(|file| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.lines().any(|line| {
            let mut words = line.split_ascii_whitespace().skip(1);
            words.next().is_some_and(|local| local.ends_with(&port)) && words.nth(1) == Some("0A")
        })
    })
}

/// Reads standard error line by line: says when the awaited text was there, and gives all of it at the end.
fn read_errors(
    stream: Option<impl Read + Send + 'static>,
    awaited: Option<String>,
    is_ready: mpsc::Sender<()>,
) -> mpsc::Receiver<String> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut said = String::new();
        let Some(stream) = stream else { return };
        let mut lines = io::BufReader::new(stream);
        let mut line = Vec::new();
        while let Ok(1..) = lines.by_ref().take(MAX_ERRORS).read_until(b'\n', &mut line) {
            let text = String::from_utf8_lossy(&line);
            if awaited.as_deref().is_some_and(|awaited| text.contains(awaited)) {
                let _ = is_ready.send(());
            }
            if said.len() as u64 + text.len() as u64 <= MAX_ERRORS {
                said.push_str(&text);
            }
            line.clear();
        }
        let _ = send.send(said);
    });
    receive
}
