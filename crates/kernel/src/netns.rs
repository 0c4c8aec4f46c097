//! Network namespaces: finding them, saying whose they are, and looking from inside one.

use crate::process;
use crate::root::{Root, why};
use evidence::{Gap, Unseen};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// So many holders of a namespace are named.
const MAX_HOLDERS: usize = 5;

/// So many processes are looked at to name them: most of a host's first ones are threads of the kernel.
const MAX_LOOKED_AT: usize = 512;

/// So many processes are tried as a way into a namespace; each may end meanwhile.
const MAX_PATHS: usize = 4;

/// Which network namespaces to look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// The one that the calling thread is in.
    #[default]
    Here,
    /// These: a name below /run/netns, a path (it has a `/`), `pid:N`, or `host`.
    These(Vec<String>),
    /// All that have a name or a process, each once.
    All,
}

/// A network namespace that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name below /run/netns; `host` for the first one of the host; the name docker gave it; or `pid:N` with
    /// its lowest pid.
    pub name: String,
    /// Its number, as in `net:[4026531840]`.
    pub inode: u64,
    /// Whose it is: `nginx (pid 12, container 4f1c2d3e5a6b)`, at most five, then `and 7 more`. Not looked for with
    /// [`Selection::Here`].
    pub holders: Vec<String>,
    /// The processes in it, in ascending order. Not looked for with [`Selection::Here`].
    pub pids: Vec<u32>,
    identity: Identity,
    /// Files that stand for it; empty if the thread that looked for it was in it.
    paths: Vec<PathBuf>,
}

impl Found {
    /// Device and inode.
    pub(crate) fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// True if the thread that looked for it was in it.
    pub fn is_here(&self) -> bool {
        self.paths.is_empty()
    }
}

/// Device and inode.
type Identity = (u64, u64);

/// Why a namespace cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// No such name.
    #[error(
        "no network namespace is called \"{0}\": `ip netns list` shows the names; a container's is `pid:N`, with \
         one of its processes"
    )]
    NoSuchName(String),
    /// No such file.
    #[error("no network namespace at {}: no such file", .0.display())]
    NoSuchFile(PathBuf),
    /// The file is something else.
    #[error("{0} is not a network namespace: name a file like /run/netns/NAME or /proc/PID/ns/net")]
    NotANamespace(String),
    /// No such process.
    #[error("no process {0}: it has ended, or it is not visible from here")]
    NoSuchProcess(u32),
    /// `pid:` without a number.
    #[error("\"{0}\" names no process: write `pid:` and a number, like `pid:1234`")]
    NotAPid(String),
    /// Not allowed.
    #[error(
        "network namespace {0}: permission denied; run as root (it needs CAP_SYS_ADMIN and CAP_SYS_PTRACE)"
    )]
    Denied(String),
    /// It existed a moment ago.
    #[error("network namespace {0} has gone: its last process ended, or its name was deleted")]
    Gone(String),
    /// Anything else.
    #[error("network namespace {name}: {}", why(.source))]
    Other {
        /// Which.
        name: String,
        /// The kernel's reason.
        source: io::Error,
    },
}

/// Finds the namespaces of a selection, `host` first, each once. Processes whose namespace cannot be seen are a
/// gap if all namespaces are wanted.
pub fn find(root: &Root, selection: &Selection, gaps: &mut Vec<Gap>) -> Result<Vec<Found>, NetnsError> {
    let mut atlas = Atlas::new(root);
    match selection {
        Selection::Here => Ok(vec![atlas.here()]),
        Selection::These(specs) => {
            // First what was asked for wrongly, before every process is looked at.
            let wanted: Vec<_> = specs.iter().map(|spec| atlas.resolve(spec)).collect::<Result<_, _>>()?;
            atlas.survey();
            let mut seen = BTreeSet::new();
            let mut found = Vec::new();
            for (spec, (identity, path)) in specs.iter().zip(wanted) {
                if seen.insert(identity) {
                    found.push(atlas.found(identity, Some((spec, path))));
                }
            }
            Ok(found)
        }
        Selection::All => {
            let (denied, all) = atlas.survey();
            if denied > 0 {
                gaps.push(Gap {
                    unseen: Unseen::Namespace,
                    netns: None,
                    because: format!(
                        "the network namespaces of {denied} of {all} processes: permission denied"
                    ),
                    how_to_see: "run as root, with CAP_SYS_PTRACE".to_owned(),
                });
            }
            let mut all: BTreeSet<Identity> = atlas.pids.keys().copied().collect();
            all.extend(atlas.names.keys());
            all.extend(atlas.own);
            if all.is_empty() {
                return Ok(vec![atlas.here()]);
            }
            let mut found: Vec<Found> = all.into_iter().map(|identity| atlas.found(identity, None)).collect();
            found.sort_by(|one, other| {
                let place = |found: &Found| (Some(found.identity) != atlas.host, found.pids.first().copied());
                (place(one), &one.name).cmp(&(place(other), &other.name))
            });
            Ok(found)
        }
    }
}

/// Does something inside a namespace. The calling thread stays where it is: another one goes there, unless the
/// namespace is the one that [`find`] was called in, as for [`Selection::Here`]; then no privilege is needed.
pub fn enter<T: Send>(found: &Found, act: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
    if found.is_here() {
        return Ok(act());
    }
    std::thread::scope(|scope| {
        let inside = std::thread::Builder::new().spawn_scoped(scope, || {
            go_into(found)?;
            Ok(act())
        });
        let inside = inside.map_err(|source| NetnsError::Other { name: found.name.clone(), source })?;
        inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Moves the calling thread.
fn go_into(found: &Found) -> Result<(), NetnsError> {
    let name = || found.name.clone();
    let mut refused = NetnsError::Gone(name());
    for path in &found.paths {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let moved = rustix::fs::open(path, flags, Mode::empty()).and_then(|file| {
            let stat = rustix::fs::fstat(&file)?;
            // The process ended and another has its number now.
            if (stat.st_dev, stat.st_ino) != found.identity {
                return Err(Errno::SRCH);
            }
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(LinkNameSpaceType::Network))
        });
        match moved {
            Ok(()) => return Ok(()),
            Err(Errno::NOENT | Errno::SRCH) => {}
            Err(Errno::PERM | Errno::ACCESS) => refused = NetnsError::Denied(name()),
            Err(Errno::INVAL) => return Err(NetnsError::NotANamespace(path.display().to_string())),
            Err(error) => return Err(NetnsError::Other { name: name(), source: error.into() }),
        }
    }
    Err(refused)
}

/// What is known of the namespaces of a host.
struct Atlas<'a> {
    root: &'a Root,
    /// The calling thread's.
    own: Option<Identity>,
    /// The host's first one, if it can be told.
    host: Option<Identity>,
    names: BTreeMap<Identity, Given>,
    /// Processes by namespace, ascending. Filled by the survey.
    pids: BTreeMap<Identity, Vec<u32>>,
}

/// A name that someone gave to a namespace.
struct Given {
    name: String,
    path: PathBuf,
    /// Given by docker, whose names for the host's and for its containers say less than ours.
    by_docker: bool,
}

impl<'a> Atlas<'a> {
    fn new(root: &'a Root) -> Self {
        let own = identity(&root.thread_namespace()).ok();
        let host = if is_first(root) {
            own
        } else if root.sees_all_pids() == Some(true) {
            // kthreadd, the parent of the kernel's threads, never leaves the first one; pid 1 may refuse even root.
            let first = ["2/ns/net", "1/ns/net"].map(|path| identity(&root.proc.join(path)));
            first.into_iter().find_map(Result::ok)
        } else {
            None
        };
        let mut atlas = Self { root, own, host, names: BTreeMap::new(), pids: BTreeMap::new() };
        atlas.read_names();
        atlas
    }

    fn name_directories(&self) -> [(PathBuf, bool); 2] {
        [(self.root.run.join("netns"), false), (self.root.run.join("docker/netns"), true)]
    }

    fn read_names(&mut self) {
        for (directory, by_docker) in self.name_directories() {
            let Ok(entries) = std::fs::read_dir(directory) else { continue };
            let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            paths.sort();
            for path in paths {
                // After a restart of the host a name may be left as an empty file.
                if let (Ok(identity), true) = (identity(&path), self.may_be_namespace(&path))
                    && let Some(name) = path.file_name()
                {
                    let name = name.to_string_lossy().into_owned();
                    self.names.entry(identity).or_insert(Given { name, path, by_docker });
                }
            }
        }
    }

    /// True if the file lies where the kernel keeps its namespaces; it may still be one of another kind. That
    /// is a file system of its own since 3.19, /proc before.
    fn may_be_namespace(&self, path: &Path) -> bool {
        let kind = |path: &Path| rustix::fs::statfs(path).map(|system| system.f_type).ok();
        self.own.is_none() || kind(path) == kind(&self.root.thread_namespace())
    }

    /// Looks at the namespace of every process; how many refused, of how many.
    fn survey(&mut self) -> (usize, usize) {
        let mut denied = 0;
        let pids = self.root.pids().unwrap_or_default();
        for pid in &pids {
            match identity(&self.root.proc.join(format!("{pid}/ns/net"))) {
                Ok(identity) => self.pids.entry(identity).or_default().push(*pid),
                Err(Errno::ACCESS | Errno::PERM) => denied += 1,
                Err(_) => {}
            }
        }
        (denied, pids.len())
    }

    /// The namespace that a specification means, and the file that stands for it.
    fn resolve(&self, spec: &str) -> Result<(Identity, PathBuf), NetnsError> {
        let denied_or = |error: Errno, otherwise: NetnsError| match error {
            Errno::ACCESS | Errno::PERM => NetnsError::Denied(spec.to_owned()),
            Errno::NOENT | Errno::SRCH | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::INVAL => otherwise,
            other => NetnsError::Other { name: spec.to_owned(), source: other.into() },
        };
        if let Some(number) = spec.strip_prefix("pid:") {
            let pid = number.parse().ok().filter(|pid| *pid > 0);
            let pid = pid.ok_or_else(|| NetnsError::NotAPid(spec.to_owned()))?;
            let path = self.root.proc.join(format!("{pid}/ns/net"));
            let identity =
                identity(&path).map_err(|error| denied_or(error, NetnsError::NoSuchProcess(pid)))?;
            return Ok((identity, path));
        }
        if spec.contains('/') {
            let path = PathBuf::from(spec);
            let identity =
                identity(&path).map_err(|error| denied_or(error, NetnsError::NoSuchFile(path.clone())))?;
            return self.checked(identity, path);
        }
        let no_such_name = || NetnsError::NoSuchName(spec.to_owned());
        if matches!(spec, "" | "." | "..") {
            return Err(no_such_name());
        }
        for (directory, _) in self.name_directories() {
            let path = directory.join(spec);
            match identity(&path) {
                Ok(identity) => return self.checked(identity, path),
                Err(Errno::NOENT) => {}
                Err(error) => return Err(denied_or(error, no_such_name())),
            }
        }
        match self.host {
            Some(host) if spec == "host" => Ok((host, self.root.proc.join("2/ns/net"))),
            _ => Err(no_such_name()),
        }
    }

    fn checked(&self, identity: Identity, path: PathBuf) -> Result<(Identity, PathBuf), NetnsError> {
        if self.may_be_namespace(&path) {
            Ok((identity, path))
        } else {
            Err(NetnsError::NotANamespace(path.display().to_string()))
        }
    }

    /// The calling thread's namespace.
    fn here(&mut self) -> Found {
        let Some(own) = self.own else {
            // Without /proc nothing is known of it, but it can be looked at.
            return Found {
                name: "here".to_owned(),
                inode: 0,
                holders: Vec::new(),
                pids: Vec::new(),
                identity: (0, 0),
                paths: Vec::new(),
            };
        };
        if self.host != Some(own) && !self.names.contains_key(&own) {
            // It is called after its first process.
            self.survey();
        }
        Found { holders: Vec::new(), pids: Vec::new(), ..self.found(own, None) }
    }

    fn found(&self, identity: Identity, asked: Option<(&String, PathBuf)>) -> Found {
        let pids = self.pids.get(&identity).cloned().unwrap_or_default();
        let mut paths = Vec::new();
        if self.own != Some(identity) {
            paths.extend(asked.as_ref().map(|(_, path)| path.clone()));
            paths.extend(self.names.get(&identity).map(|name| name.path.clone()));
            let by_pid = pids.iter().map(|pid| self.root.proc.join(format!("{pid}/ns/net")));
            paths.extend(by_pid.take(MAX_PATHS));
        }
        Found {
            name: self.name(identity, &pids, asked.map(|(spec, _)| spec.as_str())),
            inode: identity.1,
            holders: self.holders(&pids),
            pids,
            identity,
            paths,
        }
    }

    fn name(&self, identity: Identity, pids: &[u32], asked: Option<&str>) -> String {
        let named = self.names.get(&identity);
        if let Some(named) = named.filter(|named| !named.by_docker) {
            return named.name.clone();
        }
        if self.host == Some(identity) {
            return "host".to_owned();
        }
        if let Some(named) = named {
            return named.name.clone();
        }
        match (asked.filter(|spec| spec.starts_with("pid:")), pids.first(), asked) {
            (Some(pid), ..) => pid.to_owned(),
            (None, Some(pid), _) => format!("pid:{pid}"),
            (None, None, Some(path)) => path.to_owned(),
            // Its processes ended while we looked, or are those of others.
            (None, None, None) => format!("net:[{}]", identity.1),
        }
    }

    /// The first processes with a program, each name and container once.
    fn holders(&self, pids: &[u32]) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let mut holders = Vec::new();
        for pid in pids.iter().take(MAX_LOOKED_AT) {
            if holders.len() == MAX_HOLDERS {
                break;
            }
            let name = process::name(self.root, *pid);
            if name.is_empty() || process::has_no_program(self.root, *pid) {
                continue;
            }
            let container = process::container(self.root, *pid);
            let shown = match &container {
                Some(container) => format!("{} (pid {pid}, container {container})", printable(&name)),
                None => format!("{} (pid {pid})", printable(&name)),
            };
            if seen.insert((name, container)) {
                holders.push(shown);
            }
        }
        match pids.len() - holders.len() {
            0 => {}
            more if holders.is_empty() => holders.push(format!("{more} processes")),
            more => holders.push(format!("and {more} more")),
        }
        holders
    }
}

/// True if the caller is in the host's first network namespace.
pub fn is_first(root: &Root) -> bool {
    // Only that one has this setting: it counts for the whole host.
    root.proc.join("sys/net/ipv4/tcp_max_orphans").exists()
}

/// The network namespace of the host's first process, by its number: what `sysctl.d` says is set there at boot.
pub fn at_boot(root: &Root) -> Option<u64> {
    identity(&root.proc.join("1/ns/net")).ok().map(|(_, inode)| inode)
}

fn identity(path: &Path) -> Result<Identity, Errno> {
    let stat = rustix::fs::statat(CWD, path, rustix::fs::AtFlags::empty())?;
    Ok((stat.st_dev, stat.st_ino))
}

/// A process chooses its name, and may put anything into it.
fn printable(name: &str) -> String {
    let escape = |character: char| {
        let shown = !character.is_control();
        shown
            .then_some(character)
            .into_iter()
            .chain((!shown).then(|| character.escape_default()).into_iter().flatten())
    };
    name.chars().flat_map(escape).collect()
}

#[cfg(test)]
mod tests;
