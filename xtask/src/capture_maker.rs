//! A maker of large captures: real short connections between two network namespaces, recorded, and copied with
//! other addresses and times until there are enough.

mod copies;
mod frame;
mod load;
mod network;
mod servers;

use crate::namespace::{self, Inside};
use crate::scratch::Scratch;
use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Changes whenever the same parameters give another capture.
const VERSION: u32 = 1;
/// Packets that a connection of the load takes, about; the recording is to be a tenth of the capture or less.
const PACKETS_A_CONNECTION: u64 = 8;
/// Connections of a recording: as many as take some seconds.
const FEWEST: u64 = 500;
const MOST: u64 = 70_000;

/// Programs that the maker runs, and their Debian packages.
pub(crate) const PROGRAMS: [(&str, &str); 5] = [
    ("nginx", "nginx-light"),
    ("tcpdump", "tcpdump"),
    ("ethtool", "ethtool"),
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
];

/// What is in a capture, as its maker counted it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Truth {
    /// Packets, all of them TCP.
    pub(crate) packets: u64,
    /// Connections: SYNs of clients, those sent again not counted.
    pub(crate) opening_syns: u64,
    /// SYNs of clients, all of them.
    pub(crate) syns: u64,
    /// Connections whose tuple an earlier one had.
    pub(crate) tuples_again: u64,
    /// Segments with FIN, also those sent again.
    pub(crate) fins: u64,
    /// Segments with RST.
    pub(crate) resets: u64,
}

/// What stands beside the file.
#[derive(Serialize, Deserialize)]
struct Beside {
    version: u32,
    wanted: u64,
    connections_recorded: u64,
    file_bytes: u64,
    truth: Truth,
}

/// A capture that is there.
pub(crate) struct Made {
    /// Its file.
    pub(crate) file: PathBuf,
    /// Bytes of the file.
    pub(crate) bytes: u64,
    /// What is in it.
    pub(crate) truth: Truth,
}

/// The capture of so many packets in a directory: the one that is there, or a new one.
pub(crate) fn ensure_made(directory: &Path, packets: u64, anew: bool) -> anyhow::Result<Made> {
    let file = directory.join(format!("short-{packets}.pcap"));
    let beside = file.with_extension("json");
    if let Some(made) = (!anew).then(|| kept(&file, &beside, packets)).flatten() {
        println!("kept from an earlier run: {}", file.display());
        return Ok(made);
    }
    // tcpdump gives its privileges up, which in a namespace of users it cannot.
    ensure!(rustix::process::geteuid().is_root(), "only root can make the capture: {}", file.display());
    std::fs::create_dir_all(directory)?;
    // Without it the file is not taken for a whole one, wherever this stops.
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    // In a process of its own: the most memory that this one ever took is counted into those it starts later.
    let mut maker = Command::new(std::env::current_exe()?);
    maker.args(["capture-maker", "make", &packets.to_string()]).arg(&file).arg(&beside);
    ensure!(maker.status()?.success(), "no capture was made");
    kept(&file, &beside, packets).with_context(|| format!("{} is not what was made", file.display()))
}

fn make(file: &Path, beside: &Path, packets: u64) -> anyhow::Result<()> {
    let connections = (packets / PACKETS_A_CONNECTION / 10).clamp(FEWEST, MOST);
    let recording = Scratch::new(file.parent().context("a file is in a directory")?, "recording")?;
    let record =
        ["capture-maker".into(), "record".into(), recording.0.clone().into(), connections.to_string().into()];
    ensure!(namespace::run_inside(record)? == ExitCode::SUCCESS, "nothing was recorded");
    let truth = copies::write(&network::recording(&recording.0), connections, file, packets)?;
    let file_bytes = std::fs::metadata(file)?.len();
    let text =
        Beside { version: VERSION, wanted: packets, connections_recorded: connections, file_bytes, truth };
    std::fs::write(beside, serde_json::to_string_pretty(&text)? + "\n")?;
    Ok(())
}

/// What an earlier run left, if it was made in the same way and is whole.
fn kept(file: &Path, beside: &Path, packets: u64) -> Option<Made> {
    let said: Beside = serde_json::from_str(&std::fs::read_to_string(beside).ok()?).ok()?;
    let bytes = std::fs::metadata(file).ok()?.len();
    let same = said.version == VERSION && said.wanted == packets && said.file_bytes == bytes;
    same.then(|| Made { file: file.to_owned(), bytes, truth: said.truth })
}

/// What one process of the maker does.
#[derive(clap::Subcommand)]
pub(crate) enum Part {
    /// Make a capture, and say beside it what is in it
    Make { packets: u64, file: PathBuf, beside: PathBuf },
    /// Make connections from this namespace to one of servers, and record them
    Record {
        directory: PathBuf,
        connections: u32,
        #[command(flatten)]
        inside: Inside,
    },
    /// Serve, in a namespace of its own
    Serve {
        directory: PathBuf,
        #[command(flatten)]
        inside: Inside,
    },
    /// Become this program, which ends with the one that started it
    Become {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<std::ffi::OsString>,
    },
}

impl Part {
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Make { packets, file, beside } => {
                namespace::end_with_parent()?;
                make(file, beside, *packets)?;
            }
            Self::Record { directory, connections, inside } => {
                ensure!(inside.prepare()?, "only in a namespace of its own");
                network::record(directory, *connections)?;
            }
            Self::Serve { directory, inside } => {
                ensure!(inside.prepare()?, "only in a namespace of its own");
                network::serve(directory)?;
            }
            Self::Become { command } => network::turn_into(command)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
