//! Namespaces for a stage, and the promise that they go with it.
//!
//! The chain is: the user's `lastack lab run` holds a pipe; `unshare` makes the namespaces and waits; the stage is
//! pid 1 in them and reads the pipe. If the first is killed, the kernel closes the pipe and the stage ends; if
//! `unshare` is killed, `--kill-child` kills the stage; if the stage is killed, the kernel kills whatever else is
//! in its pid namespace. No step needs a process to tidy up.

use rustix::fs::CWD;
use rustix::mount::MountFlags;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Directories over which the stage mounts its tmpfs, the first that exists and hides nothing that is needed: nobody
/// else looks for files of his own in them while a lab runs, and the mount is seen by the stage alone.
const FOLDERS: [&str; 3] = ["/dev/shm", "/mnt", "/tmp"];

/// The largest that all working files of a stage may become together: captures, logs, configuration.
const MAX_FILES: &std::ffi::CStr = c"size=512m,mode=0700";

/// Where programs of the system are besides `PATH`; users other than root often lack these.
const SYSTEM_FOLDERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Why there is no stage.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Neither root nor allowed to make user namespaces.
    #[error(
        "network namespaces cannot be made here: {0}; run as root, or allow unprivileged user namespaces \
         (sysctl kernel.unprivileged_userns_clone=1, or kernel.apparmor_restrict_unprivileged_userns=0), or use \
         --on simulator"
    )]
    NotAllowed(String),
    /// The program of util-linux is missing.
    #[error("`unshare` cannot be run: {0}; install util-linux")]
    NoUnshare(io::Error),
    /// Called by hand.
    #[error("`lastack lab stage` is a part of `lastack lab run`, which starts it in namespaces of its own")]
    NotPidOne,
    /// No place for files.
    #[error("no tmpfs can be mounted in the stage: {0}")]
    NoFiles(io::Error),
}

/// With what privilege a stage is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// As root: namespaces directly.
    Root,
    /// In a user namespace, as the same user with all capabilities over what the stage makes. Not possible then:
    /// host-wide settings and counters, programs that insist on changing their user, and raising the limit of open
    /// files.
    UserNamespace,
}

impl Privilege {
    /// How this user may make namespaces, found out by making some.
    pub fn probe() -> Result<Self, SandboxError> {
        let mut refused = String::new();
        for privilege in [Self::Root, Self::UserNamespace] {
            let mut command = privilege.unshare();
            let tried = command.arg("true").stdin(Stdio::null()).output().map_err(SandboxError::NoUnshare)?;
            if tried.status.success() {
                return Ok(privilege);
            }
            String::from_utf8_lossy(&tried.stderr).trim().clone_into(&mut refused);
        }
        Err(SandboxError::NotAllowed(refused))
    }

    /// `unshare` with the options that make a stage; the program to run in it is still to be named.
    fn unshare(self) -> Command {
        let mut command = Command::new(program("unshare").unwrap_or_else(|| "unshare".into()));
        if self == Self::UserNamespace {
            // Not as a mapped root: programs that find themselves to be root change to another user and fail.
            command.args(["--map-current-user", "--keep-caps"]);
        }
        command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
        command
    }

    /// The command that runs `executable ARGUMENTS` as pid 1 of a stage, with a pipe as standard input, which must
    /// be kept open as long as the stage shall live.
    pub fn stage(self, executable: &Path, arguments: &[&str]) -> Command {
        let mut command = self.unshare();
        command.arg(executable).args(arguments).stdin(Stdio::piped());
        command
    }
}

/// A stage, seen from inside.
#[derive(Debug)]
pub struct Inside(());

impl Inside {
    /// Makes sure that this process is the first of a pid namespace.
    pub fn enter() -> Result<Self, SandboxError> {
        if std::process::id() == 1 { Ok(Self(())) } else { Err(SandboxError::NotPidOne) }
    }

    /// A folder for working files, which goes with the stage. What was in it is not to be seen any more; what is
    /// `needed` still is.
    pub fn mount(&self, needed: &[&Path]) -> Result<PathBuf, SandboxError> {
        let folder = first_without(&FOLDERS, needed)
            .ok_or_else(|| SandboxError::NoFiles(io::ErrorKind::NotFound.into()))?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        rustix::mount::mount("lastack-lab", &folder, "tmpfs", flags, MAX_FILES)
            .map_err(|error| SandboxError::NoFiles(error.into()))?;
        Ok(folder)
    }

    /// From now on the stage ends as soon as its standard input does. Nothing more is to be read from it.
    pub fn end_with_input(&self) {
        std::thread::spawn(|| {
            let mut input = io::stdin().lock();
            let mut ignored = [0; 64];
            while !matches!(input.read(&mut ignored), Ok(0) | Err(_)) {}
            std::process::exit(2);
        });
    }
}

/// The first of these folders that is there and has none of these files in it, nor is one of them.
fn first_without(folders: &[&str], files: &[&Path]) -> Option<PathBuf> {
    // What cannot be resolved is not there, and so in none of them.
    let files: Vec<PathBuf> = files.iter().filter_map(|file| file.canonicalize().ok()).collect();
    let folders = folders.iter().filter_map(|folder| Path::new(folder).canonicalize().ok());
    let mut free =
        folders.filter(|folder| folder.is_dir() && !files.iter().any(|file| file.starts_with(folder)));
    free.next()
}

/// The command that runs `executable ARGUMENTS` in a network namespace of its own, below this process.
pub fn in_new_network(executable: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program("unshare").unwrap_or_else(|| "unshare".into()));
    command.args(["--net", "--"]).arg(executable).args(arguments);
    command
}

/// Where a program is: in `PATH`, or in the system's own folders.
pub fn program(name: impl AsRef<OsStr>) -> Option<PathBuf> {
    let name = name.as_ref();
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM_FOLDERS.map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| {
            rustix::fs::accessat(CWD, file, rustix::fs::Access::EXEC_OK, rustix::fs::AtFlags::empty()).is_ok()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_mounted_over_what_is_needed() {
        let folder = std::env::temp_dir().join(format!("lastack-sandbox-{}", std::process::id()));
        let (first, second) = (folder.join("first"), folder.join("second"));
        std::fs::create_dir_all(first.join("in")).unwrap();
        std::fs::create_dir_all(&second).unwrap();
        std::os::unix::fs::symlink(first.join("in"), second.join("link")).unwrap();
        let none = folder.join("none");
        let folders = [none.to_str().unwrap(), first.to_str().unwrap(), second.to_str().unwrap()];
        let (first, second) = (first.canonicalize().unwrap(), second.canonicalize().unwrap());
        assert_eq!(first_without(&folders, &[&folder, &first.join("gone")]), Some(first.clone()));
        assert_eq!(first_without(&folders, &[&first]), Some(second.clone()));
        // What counts is where it is, not what it is called.
        assert_eq!(first_without(&folders, &[&second.join("link")]), Some(second.clone()));
        assert_eq!(first_without(&folders, &[&first.join("in"), &second]), None);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
