//! Where journals are: a folder for each apply, and a lock that one process holds while it changes the host.

use crate::failpoint;
use crate::journal::{self, Story};
use crate::replace::why;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Journals that are listed; older ones stay on disk.
const MAX_LISTED: usize = 1_000;

/// Held by root while a host is changed, whichever folder its journals are in.
const HOST_LOCK: &str = "/run/lastack.lock";

/// The folder of all journals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    root: PathBuf,
    /// The lock of the host, if this is one and we are root.
    host: Option<PathBuf>,
}

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else is at work.
    #[error("another `lastack fix` is changing this host: wait until it is done, or see `lastack fix --log`")]
    Busy,
    /// No home.
    #[error(
        "there is no place for the journal: neither $XDG_STATE_HOME nor $HOME is set; name one with --state-dir"
    )]
    NoHome,
    /// Somebody else could have written what is in it.
    #[error(
        "the journal is not kept in {path}: {why}; what it says is done as root: give {path} to yourself alone (`chown`, \
         `chmod go-w`), or name another folder with --state-dir",
        path = .0.display(), why = .1
    )]
    NotOurs(PathBuf, String),
    /// The operating system.
    #[error("the journal cannot be kept in {path}: {why}; nothing is changed without one (see --state-dir)", path = .0.display(), why = why(.1))]
    Io(PathBuf, io::Error),
}

/// Held while the host is changed. It is given back when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _state: File,
    _host: Option<File>,
}

impl Store {
    /// The store in this folder.
    pub fn at(root: PathBuf) -> Self {
        // A network namespace may be a host of its own, as in a container, and has no place for its lock but its folder.
        let is_host =
            rustix::process::geteuid().is_root() && kernel::netns::is_first(&kernel::Root::default());
        Self { root, host: is_host.then(|| HOST_LOCK.into()) }
    }

    /// The usual one: /var/lib/lastack for root, else `$XDG_STATE_HOME/lastack`, which is ~/.local/state/lastack.
    pub fn usual() -> Result<Self, StoreError> {
        if rustix::process::geteuid().is_root() {
            return Ok(Self::at("/var/lib/lastack".into()));
        }
        let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")));
        state.map(|state| Self::at(state.join("lastack"))).ok_or(StoreError::NoHome)
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn journals(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// The folder of an apply.
    pub(crate) fn folder(&self, id: &str) -> PathBuf {
        self.journals().join(id)
    }

    /// Takes the lock, or says that somebody has it.
    pub fn lock(&self) -> Result<Lock, StoreError> {
        let failed = |error: io::Error| StoreError::Io(self.root.clone(), error);
        let journals = self.journals();
        let missing: Vec<&Path> = journals.ancestors().take_while(|folder| !folder.exists()).collect();
        // What is kept of configuration files is nobody else's business.
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&journals).map_err(failed)?;
        missing.iter().filter_map(|folder| folder.parent()).try_for_each(sync).map_err(failed)?;
        self.check_folders()?;
        let state = taken(&self.root.join("lock")).map_err(failed)?.ok_or(StoreError::Busy)?;
        let host = match &self.host {
            // Of two at once, each with a folder of its own, the later one would take back what the earlier one did.
            Some(path) => match taken(path) {
                Ok(lock) => Some(lock.ok_or(StoreError::Busy)?),
                Err(error) if is_nowhere(&error) => None,
                Err(error) => return Err(StoreError::Io(path.clone(), error)),
            },
            None => None,
        };
        Ok(Lock { _state: state, _host: host })
    }

    /// Checks that nobody else can have put anything into the folders.
    fn check_folders(&self) -> Result<(), StoreError> {
        [self.root.clone(), self.journals()].iter().try_for_each(|folder| check_owner(folder))
    }

    /// True if there is something that could be unfinished: without it there is nothing to lock.
    pub fn is_used(&self) -> bool {
        self.journals().is_dir()
    }

    /// Makes the folder of a new apply, named after the time.
    pub(crate) fn create(&self, _lock: &Lock) -> Result<(String, PathBuf), StoreError> {
        let failed = |error: io::Error| StoreError::Io(self.root.clone(), error);
        let now = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string();
        for number in 1_u32.. {
            let id = if number == 1 { now.clone() } else { format!("{now}-{number}") };
            let folder = self.folder(&id);
            match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
                Ok(()) => {
                    sync(&self.journals()).map_err(failed)?;
                    failpoint::point("folder-made");
                    return Ok((id, folder));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(failed(io::ErrorKind::AlreadyExists.into()))
    }

    /// All applies, the latest last.
    pub fn entries(&self) -> Result<Vec<Entry>, StoreError> {
        let entries = match std::fs::read_dir(self.journals()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StoreError::Io(self.root.clone(), error)),
        };
        self.check_folders()?;
        let mut ids: Vec<String> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|id| is_id(id))
            .collect();
        ids.sort_by_key(|id| order(id));
        let ids = ids.split_off(ids.len().saturating_sub(MAX_LISTED));
        let entry = |id: String| {
            let folder = self.folder(&id);
            check_owner(&folder)?;
            check_owner(&folder.join(journal::NAME))?;
            match Story::read(&folder) {
                Ok(story) => Ok(Entry { id, folder, story }),
                // It was made, and nothing more happened.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    Ok(Entry { id, folder, story: Story::default() })
                }
                Err(error) => Err(StoreError::Io(folder, error)),
            }
        };
        ids.into_iter().map(entry).collect()
    }
}

/// Takes a lock; none if somebody has it.
fn taken(path: &Path) -> io::Result<Option<File>> {
    let mut options = File::options();
    options.create(true).append(true).mode(0o600).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    let file = options.open(path)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// True if there is no place for a lock: a host without /run, or with one that cannot be written to.
fn is_nowhere(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ReadOnlyFilesystem)
}

/// Checks that a file or folder is root's or ours, and that nobody else may write to it. One that is not there is
/// nobody's.
fn check_owner(path: &Path) -> Result<(), StoreError> {
    let stat = match rustix::fs::stat(path) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(StoreError::Io(path.to_owned(), error.into())),
    };
    let owner = stat.st_uid;
    let why = if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        format!("it is of user {owner}")
    } else if Mode::from_raw_mode(stat.st_mode).intersects(Mode::WGRP | Mode::WOTH) {
        format!("others may write to it (mode {:o})", stat.st_mode & 0o7777)
    } else {
        return Ok(());
    };
    Err(StoreError::NotOurs(path.to_owned(), why))
}

/// An apply and its journal.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub id: String,
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// What the journal says.
    pub story: Story,
}

/// `20261121-064012`, perhaps with `-2`.
fn is_id(name: &str) -> bool {
    name.len() >= 15 && name.len() <= 26 && name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}

/// The place in time: `...-10` comes after `...-2`.
fn order(id: &str) -> (String, u64) {
    let (time, number) = id.split_at_checked(15).unwrap_or((id, ""));
    (time.to_owned(), number.trim_start_matches('-').parse().unwrap_or(1))
}

/// Makes what happened to the names of a folder last.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn store(folder: &tempfile::TempDir, name: &str) -> Store {
        Store { root: folder.path().join(name), host: Some(folder.path().join("host.lock")) }
    }

    #[test]
    fn one_host_is_changed_by_one_whatever_the_folders() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (store(&folder, "one"), store(&folder, "other"));
        let lock = one.lock().unwrap();
        assert!(matches!(other.lock(), Err(StoreError::Busy)));
        drop(lock);
        drop(other.lock().unwrap());
        // A link leads elsewhere; without a place there is the folder's own lock.
        let path = folder.path().join("host.lock");
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(folder.path().join("precious"), &path).unwrap();
        assert!(matches!(one.lock(), Err(StoreError::Io(place, _)) if place == path));
        assert!(!folder.path().join("precious").exists());
        let nowhere = Store { host: Some(folder.path().join("no/where")), ..one };
        nowhere.lock().unwrap();
    }

    #[test]
    fn one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder, "state");
        assert!(!store.is_used());
        let lock = store.lock().unwrap();
        assert!(matches!(store.lock(), Err(StoreError::Busy)));
        let ids: Vec<String> = (0..12).map(|_| store.create(&lock).unwrap().0).collect();
        let listed: Vec<String> = store.entries().unwrap().into_iter().map(|entry| entry.id).collect();
        assert_eq!(listed, ids);
        drop(lock);
        store.lock().unwrap();
    }

    #[test]
    fn what_others_may_write_to_is_not_acted_upon() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder, "state");
        let (id, entry) = store.create(&store.lock().unwrap()).unwrap();
        std::fs::write(entry.join(journal::NAME), "").unwrap();
        assert_eq!(store.entries().unwrap().len(), 1, "{id}");
        let journal = entry.join(journal::NAME);
        for place in [store.root.clone(), store.journals(), entry, journal] {
            let mode = |mode| std::fs::set_permissions(&place, PermissionsExt::from_mode(mode)).unwrap();
            mode(0o1777);
            let said = store.entries().unwrap_err().to_string();
            let named =
                said.starts_with(&format!("the journal is not kept in {}: others may", place.display()));
            assert!(named && said.contains("--state-dir"), "{said}");
            mode(0o700);
            store.entries().unwrap();
        }
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let error = Store::at("/proc/lastack".into()).lock().unwrap_err().to_string();
        assert!(error.contains("/proc/lastack"), "{error}");
    }
}
