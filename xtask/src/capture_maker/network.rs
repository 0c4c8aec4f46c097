//! Two namespaces and a pair of virtual interfaces between them: clients and the recorder here, servers there.

use super::{load, servers};
use crate::namespace;
use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The one address of all clients.
pub(super) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
/// Addresses of the servers: this one and those that follow.
const FIRST_SERVER: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 1);
pub(super) const SERVERS: u32 = 16;
/// Interfaces of the two namespaces.
const NEAR: &str = "near";
const FAR: &str = "far";
/// What tcpdump may be behind by, in KiB: the whole recording of some seconds.
const BUFFER_KIB: &str = "131072";
/// After the last connection has closed, its last segments still are on their way, and tcpdump sees a block of packets
/// that is not full only after a second (libpcap's timeout of a `TPACKET_V3` block).
const TAIL: Duration = Duration::from_millis(2_500);
/// The servers end sooner, or are ended.
const GOODBYE: Duration = Duration::from_secs(2);

pub(super) fn server(n: u32) -> Ipv4Addr {
    (u32::from(FIRST_SERVER) + n % SERVERS).into()
}

/// Where the recording is.
pub(super) fn recording(directory: &Path) -> PathBuf {
    directory.join("recording.pcap")
}

/// Starts the servers, connects the two namespaces, and records the load.
pub(super) fn record(directory: &Path, connections: u32) -> anyhow::Result<()> {
    let mut far = Far::start(directory)?;
    run("ip", &["link", "add", NEAR, "type", "veth", "peer", "name", FAR, "netns", &far.pid().to_string()])?;
    bring_up(NEAR, &[CLIENT])?;
    far.go_on()?;
    let recorder = Recorder::start(&recording(directory))?;
    let done = load::run(connections)?;
    std::thread::sleep(TAIL);
    let packets = recorder.stop()?;
    eprintln!("recorded {packets} packets: {done}");
    Ok(())
}

/// In the other namespace: waits for its interface, and serves until standard input ends.
pub(super) fn serve(directory: &Path) -> anyhow::Result<()> {
    say("here")?;
    let mut lines = std::io::stdin().lock();
    lines.read_line(&mut String::new())?;
    bring_up(FAR, &(0..SERVERS).map(server).collect::<Vec<_>>())?;
    let _servers = servers::start(directory)?;
    say("serving")?;
    lines.read_to_end(&mut Vec::new())?;
    Ok(())
}

fn say(word: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{word}").and_then(|()| out.flush())
}

/// Gives an interface its addresses. Without the offloads each packet is recorded as it would be on a wire.
fn bring_up(interface: &str, addresses: &[Ipv4Addr]) -> anyhow::Result<()> {
    let off = ["tx", "off", "rx", "off", "tso", "off", "gso", "off", "gro", "off"];
    run("ethtool", &[&["-K", interface], &off[..]].concat())?;
    for address in addresses {
        run("ip", &["address", "add", &format!("{address}/8"), "dev", interface])?;
    }
    run("ip", &["link", "set", interface, "up"])
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {}", arguments.join(" "), said.trim());
    Ok(())
}

/// A command that ends with this process, however that ends.
pub(super) fn ending_with_us(program: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["capture-maker", "become", program]);
    Ok(command)
}

/// Has the kernel end this process with its parent, and becomes the program.
pub(super) fn turn_into(command: &[OsString]) -> anyhow::Result<()> {
    namespace::end_with_parent()?;
    let Some((program, arguments)) = command.split_first() else { bail!("become what?") };
    Err(Command::new(program).args(arguments).exec()).with_context(|| program.display().to_string())
}

/// The process in the other namespace.
struct Far(Child);

impl Far {
    fn start(directory: &Path) -> anyhow::Result<Self> {
        let arguments = ["capture-maker".into(), "serve".into(), directory.into()];
        let mut command = namespace::inside(arguments)?;
        let far = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut far = Self(far.context("cannot run unshare (package util-linux)")?);
        far.expect("here")?;
        Ok(far)
    }

    /// unshare becomes what it starts.
    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn go_on(&mut self) -> anyhow::Result<()> {
        self.0.stdin.as_mut().context("no pipe")?.write_all(b"\n")?;
        self.expect("serving")
    }

    fn expect(&mut self, word: &str) -> anyhow::Result<()> {
        let out = self.0.stdout.as_mut().context("no pipe")?;
        let mut said = vec![0; word.len() + 1];
        out.read_exact(&mut said).context("the servers failed")?;
        ensure!(said.starts_with(word.as_bytes()), "the servers said {}", String::from_utf8_lossy(&said));
        Ok(())
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        // It ends with its standard input, and takes nginx with it.
        self.0.stdin = None;
        let start = Instant::now();
        while start.elapsed() < GOODBYE && matches!(self.0.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(5));
        }
        // Both fail only for a child that is gone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// tcpdump, and what it says.
struct Recorder {
    child: Child,
    says: BufReader<std::process::ChildStderr>,
}

impl Recorder {
    fn start(file: &Path) -> anyhow::Result<Self> {
        let mut command = ending_with_us("tcpdump")?;
        command
            .args(["-i", NEAR, "-n", "-s", "0", "-B", BUFFER_KIB, "-Z", "root", "-w"])
            .arg(file)
            .arg("tcp");
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let says = BufReader::new(child.stderr.take().context("no pipe")?);
        let mut recorder = Self { child, says };
        let mut said = String::new();
        while !said.contains("listening on") {
            let more = recorder.says.read_line(&mut said)?;
            ensure!(more > 0, "tcpdump does not listen: {}", said.trim());
        }
        Ok(recorder)
    }

    /// Ends the recording and gives its packets. None may be missing.
    fn stop(mut self) -> anyhow::Result<u64> {
        kill_process(Pid::from_child(&self.child), Signal::INT)?;
        let mut said = String::new();
        self.says.read_to_string(&mut said)?;
        let count = |what| {
            let line = said.lines().find_map(|line| line.strip_suffix(what));
            line.and_then(|count| count.trim().parse::<u64>().ok())
                .with_context(|| format!("tcpdump: {said}"))
        };
        let dropped = count(" packets dropped by kernel")?;
        ensure!(dropped == 0, "tcpdump missed {dropped} packets: try again when less else runs");
        let (captured, received) = (count(" packets captured")?, count(" packets received by filter")?);
        ensure!(captured == received, "tcpdump wrote {captured} packets of {received}");
        Ok(captured)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
