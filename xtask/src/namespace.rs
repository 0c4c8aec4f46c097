//! A network namespace of its own for a program that makes many sockets. It ends with the program.

use anyhow::{Context as _, ensure};
use rustix::process::{Resource, Rlimit, Signal};
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, ExitCode};

/// Settings of the namespace, under /proc/sys/net/ipv4/.
const SETTINGS: [(&str, &str); 4] = [
    // From 1024 on, so that 64,512 connections can go to one destination.
    ("ip_local_port_range", "1024 65535"),
    ("tcp_max_tw_buckets", "4000000"),
    // By default TIME-WAIT over loopback is taken over by new connections after a second.
    ("tcp_tw_reuse", "0"),
    // Or some TIME-WAIT die at once: with two CPUs the peer's FIN may overtake its last ACK, which then finds
    // TIME-WAIT, is answered, and the answer is reset by the peer that is already gone.
    ("tcp_rfc1337", "1"),
];

/// How the program says to itself that it has been started again, inside.
#[derive(clap::Args)]
pub(crate) struct Inside {
    /// Inode of the network namespace outside
    #[arg(long, hide = true, value_name = "INODE")]
    inside: Option<u64>,
}

/// Starts this program again in a new namespace, with these arguments, and gives its exit code.
pub(crate) fn run_inside(arguments: impl IntoIterator<Item = OsString>) -> anyhow::Result<ExitCode> {
    let status = inside(arguments)?.status().context("cannot run unshare (package util-linux)")?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::from(2), ExitCode::from))
}

/// What starts this program again in a new namespace, with these arguments.
pub(crate) fn inside(arguments: impl IntoIterator<Item = OsString>) -> anyhow::Result<Command> {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--net", "--"]).arg(std::env::current_exe()?).args(arguments);
    command.args(["--inside", &inode()?.to_string()]);
    Ok(command)
}

impl Inside {
    /// True in the second start, whose namespace it prepares. It refuses to touch the caller's.
    pub(crate) fn prepare(&self) -> anyhow::Result<bool> {
        let Some(outside) = self.inside else { return Ok(false) };
        ensure!(outside != inode()?, "still in the namespace of the caller: its settings stay as they are");
        end_with_parent()?;
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
        ensure!(up.context("cannot run ip (package iproute2)")?.success(), "cannot bring lo up");
        for (name, value) in SETTINGS {
            std::fs::write(format!("/proc/sys/net/ipv4/{name}"), value)
                .with_context(|| format!("cannot set {name}"))?;
        }
        Ok(true)
    }
}

fn inode() -> anyhow::Result<u64> {
    Ok(std::fs::metadata("/proc/self/ns/net").context("no network namespaces here")?.ino())
}

/// Has the kernel end this process when its parent is gone, however that came.
pub(crate) fn end_with_parent() -> anyhow::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).context("prctl")
}

/// Lets this process open `files` files.
pub(crate) fn allow_files(files: u64) -> anyhow::Result<()> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= files) {
        return Ok(());
    }
    let maximum = limit.maximum;
    ensure!(
        maximum.is_none_or(|maximum| maximum >= files),
        "a process may open {} files here and this takes {files}: raise it (ulimit -Hn)",
        maximum.unwrap_or_default()
    );
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: Some(files), maximum })
        .context("setrlimit")
}

/// TIME-WAIT and FIN-WAIT-2 mini-sockets of this namespace, as the kernel counts them.
pub(crate) fn time_wait() -> anyhow::Result<u64> {
    field("tw")
}

/// Full sockets of this namespace, without those that only listen or wait.
pub(crate) fn in_use() -> anyhow::Result<u64> {
    field("inuse")
}

fn field(name: &str) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/net/sockstat")?;
    let line = text.lines().find_map(|line| line.strip_prefix("TCP: ")).context("no TCP in sockstat")?;
    let mut words = line.split(' ');
    let value = words.find(|word| *word == name).and_then(|_| words.next());
    value.and_then(|value| value.parse().ok()).with_context(|| format!("no {name} in sockstat"))
}

/// TIME-WAIT and FIN-WAIT-2 mini-sockets of all namespaces, if this process may see the kernel's slabs. All
/// namespaces share one hash table.
pub(crate) fn time_wait_of_the_host() -> Option<u64> {
    let slabs = std::fs::read_to_string("/proc/slabinfo").ok()?;
    let objects = |slab: &str| {
        slabs.lines().find_map(|line| line.strip_prefix(slab)?.split_whitespace().next()?.parse().ok())
    };
    Some(objects("tw_sock_TCP ").unwrap_or(0) + objects("tw_sock_TCPv6 ").unwrap_or(0))
}
