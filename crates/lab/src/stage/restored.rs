//! Everything on a stage that `fix` may touch, to be compared: settings, files, programs.

use super::{Restored, StageError};
use crate::host::Host;
use kernel::{Root, Selection, netns};
use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use world::scenario::World;

/// The settings of a network namespace.
const SETTINGS: &str = "/proc/sys/net";

/// What stands there and is no setting: it counts.
const COUNTS: [&str; 1] = ["nf_conntrack_count"];

/// A value of a setting is at most a page.
const MAX_VALUE: u64 = 4_096;

/// The file of ours that sets at boot. A stage's namespaces have none; this is the machine's.
const AT_BOOT: &str = "/etc/sysctl.d/99-zz-lastack.conf";

/// A setting, a file or a program.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Setting { host: String, path: PathBuf },
    File(PathBuf),
    Program { host: String, name: String },
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting { host, path } => {
                let name = path.strip_prefix("/proc/sys").unwrap_or(path).display().to_string();
                write!(f, "{} at {host}", name.replace('/', "."))
            }
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Program { host, name } => write!(f, "{name} at {host}"),
        }
    }
}

/// What it is: a value or the reason why there is none, a file's bytes with owner and mode, a process.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Setting(Result<String, String>),
    File { bytes: Vec<u8>, owner: (u32, u32), mode: u32, names: u64 },
    Process { pid: u32, started: String },
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting(Ok(value)) if value.is_empty() => f.write_str("empty"),
            Self::Setting(Ok(value)) => f.write_str(value),
            Self::Setting(Err(why)) => write!(f, "not readable ({why})"),
            Self::File { bytes, owner: (user, group), mode, names } => {
                write!(f, "{} bytes of {user}:{group}, mode {mode:o}, {names} names", bytes.len())
            }
            Self::Process { pid, .. } => write!(f, "process {pid}"),
        }
    }
}

/// How it is on a stage at one moment.
pub(super) struct Snapshot(BTreeMap<Thing, State>);

impl Snapshot {
    /// Looks at all hosts, and at the files below a folder but for those that grow while it runs.
    pub(super) fn take(
        world: &World,
        hosts: &[Host],
        folder: &Path,
        grows: &dyn Fn(&Path) -> bool,
    ) -> Result<Self, StageError> {
        let mut things = BTreeMap::new();
        for host in hosts {
            settings(host, &mut things)?;
            programs(world, host, &mut things);
        }
        let failed = |what: &Path| StageError::io(format!("{} cannot be looked at", what.display()));
        files(folder, grows, &mut things).map_err(failed(folder))?;
        if Path::new(AT_BOOT).exists() {
            file(Path::new(AT_BOOT), &mut things).map_err(failed(Path::new(AT_BOOT)))?;
        }
        Ok(Self(things))
    }

    /// What is not as it was, a sentence each.
    pub(super) fn differences(&self, now: &Self) -> Vec<String> {
        let gone = self.0.iter().filter_map(|(thing, was)| match now.0.get(thing) {
            None => Some(format!("{thing} is gone; it was {was}")),
            Some(is) if is == was => None,
            Some(is) if is.to_string() == was.to_string() => {
                Some(format!("{thing} is another than it was: {is}"))
            }
            Some(is) => Some(format!("{thing} is {is}; it was {was}")),
        });
        let new = now.0.iter().filter(|(thing, _)| !self.0.contains_key(*thing));
        gone.chain(new.map(|(thing, is)| format!("{thing} was not there before; it is {is}"))).collect()
    }

    /// How much it is.
    pub(super) fn counted(&self) -> Restored {
        let mut restored = Restored::default();
        for thing in self.0.keys() {
            match thing {
                Thing::Setting { .. } => restored.settings += 1,
                Thing::File(_) => restored.files += 1,
                Thing::Program { .. } => restored.programs += 1,
            }
        }
        restored
    }
}

/// All that /proc/sys/net shows in a host's namespace.
fn settings(host: &Host, things: &mut BTreeMap<Thing, State>) -> Result<(), StageError> {
    let failed = |error: kernel::NetnsError| {
        StageError::Failed(format!("the settings of {} cannot be read: {error}", host.name()))
    };
    let selection = Selection::These(vec![format!("pid:{}", host.pid())]);
    let found = netns::find(&Root::default(), &selection, &mut Vec::new()).map_err(failed)?;
    for found in found {
        let read = netns::enter(&found, || {
            let mut read = Vec::new();
            values(Path::new(SETTINGS), &mut read).map(|()| read)
        });
        let read = read.map_err(failed)?.map_err(StageError::io(SETTINGS))?;
        things.extend(read.into_iter().map(|(path, value)| {
            (Thing::Setting { host: host.name().to_owned(), path }, State::Setting(value))
        }));
    }
    Ok(())
}

fn values(folder: &Path, read: &mut Vec<(PathBuf, Result<String, String>)>) -> std::io::Result<()> {
    use std::io::Read as _;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            values(&path, read)?;
        } else if !COUNTS.iter().any(|name| entry.file_name() == *name) {
            let mut bytes = Vec::new();
            // Some can only be written.
            let value = std::fs::File::open(&path)
                .and_then(|file| file.take(MAX_VALUE).read_to_end(&mut bytes))
                .map(|_| String::from_utf8_lossy(bytes.trim_ascii()).into_owned())
                .map_err(|error| error.kind().to_string());
            read.push((path, value));
        }
    }
    Ok(())
}

/// The proxies that a host runs: its own children, by which their masters are known.
fn programs(world: &World, host: &Host, things: &mut BTreeMap<Thing, State>) {
    let wanted = world.proxies.iter().filter(|proxy| proxy.host == host.name()).map(super::proxy::program);
    let wanted: Vec<&str> = wanted.collect();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // `12 (nginx) S 3 ...`: the parent is the second word behind the name, the time of its start the twentieth.
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((name, rest)) =
            stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')).map(|(name, rest)| {
                (name.to_owned(), rest.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>())
            })
        else {
            continue;
        };
        let of_host = rest.get(1).and_then(|parent| parent.parse().ok()) == Some(host.pid());
        if of_host && wanted.contains(&name.as_str()) {
            let started = rest.get(19).cloned().unwrap_or_default();
            let thing = Thing::Program { host: host.name().to_owned(), name };
            things.insert(thing, State::Process { pid, started });
        }
    }
}

fn files(
    folder: &Path,
    grows: &dyn Fn(&Path) -> bool,
    things: &mut BTreeMap<Thing, State>,
) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
        if grows(&path) {
            continue;
        }
        if kind.is_dir() { files(&path, grows, things)? } else { file(&path, things)? }
    }
    Ok(())
}

fn file(path: &Path, things: &mut BTreeMap<Thing, State>) -> std::io::Result<()> {
    let about = std::fs::symlink_metadata(path)?;
    let bytes = if about.is_file() { std::fs::read(path)? } else { Vec::new() };
    let state =
        State::File { bytes, owner: (about.uid(), about.gid()), mode: about.mode(), names: about.nlink() };
    things.insert(Thing::File(path.to_owned()), state);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn look(folder: &Path) -> Snapshot {
        let mut things = BTreeMap::new();
        files(folder, &|path| path.extension().is_some_and(|end| end == "pcap"), &mut things).unwrap();
        Snapshot(things)
    }

    #[test]
    fn whatever_changes_of_a_file_is_seen() {
        let folder = std::env::temp_dir().join(format!("lab-restored-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("below")).unwrap();
        let (conf, other) = (folder.join("below/nginx.conf"), folder.join(".lastack-1"));
        std::fs::write(&conf, "one").unwrap();
        std::fs::write(folder.join("a.pcap"), "grows").unwrap();
        let before = look(&folder);
        assert_eq!(before.counted(), Restored { files: 1, ..Restored::default() });
        assert!(before.differences(&look(&folder)).is_empty());

        std::fs::write(&conf, "two").unwrap();
        std::fs::write(&other, "").unwrap();
        let said = before.differences(&look(&folder));
        assert!(said.len() == 2 && said[0].contains("another than it was"), "{said:?}");
        assert!(said[1].contains("was not there before"), "{said:?}");

        std::fs::write(&conf, "one").unwrap();
        std::fs::remove_file(&other).unwrap();
        assert!(before.differences(&look(&folder)).is_empty());
        std::fs::set_permissions(&conf, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(before.differences(&look(&folder))[0].contains("mode 100600"));
        std::fs::remove_file(&conf).unwrap();
        assert!(before.differences(&look(&folder))[0].contains("is gone"));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_setting_is_called_as_sysctl_calls_it() {
        let path = PathBuf::from("/proc/sys/net/ipv4/tcp_tw_reuse");
        let thing = Thing::Setting { host: "client".to_owned(), path };
        let value = |text: &str| {
            Snapshot([(thing.clone(), State::Setting(Ok(text.to_owned())))].into_iter().collect())
        };
        let said = value("0").differences(&value("1"));
        assert_eq!(said, ["net.ipv4.tcp_tw_reuse at client is 1; it was 0"]);
    }
}
