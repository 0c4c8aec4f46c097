//! Files as a process sees them: below its own root, which in a container is not ours.

use crate::root::{Root, read_prefix};
use glob::{MatchOptions, Pattern};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxAttributes, StatxFlags, openat2};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// So many names of one directory are compared with a pattern.
const MAX_NAMES: usize = 10_000;

/// So many files one pattern stands for at most; more than any configuration may have.
const MAX_MATCHES: usize = 2_001;

/// A `*` does not stand for a leading dot, nor for a slash (glob(7)).
const LIKE_GLOB: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// Files by their absolute paths.
pub(super) enum Files {
    /// Those below a root directory.
    Below {
        /// The directory.
        root: OwnedFd,
        /// Whose root that is.
        view: View,
    },
    /// Copies that somebody made of a host's files.
    Copied(BTreeMap<String, Copy>),
}

/// How a process sees files.
pub(super) enum View {
    /// As we do: paths are resolved as for anybody.
    Ours,
    /// From our root, with mounts of its own: a service of systemd with `PrivateTmp`, or `ip netns exec`. Most files
    /// are ours; this is true as soon as one that was opened is not.
    Mounts(Cell<bool>),
    /// From another root, as in a container.
    Other,
}

/// A copy of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Copy {
    /// What is in it.
    File(Vec<u8>),
    /// It is a link, and this is what it says.
    Link(String),
}

/// So many links lead to one another at most (include/linux/namei.h `MAXSYMLINKS`).
const MAX_LINKS: usize = 40;

/// A file that was read.
pub(super) struct Text {
    pub(super) bytes: Vec<u8>,
    /// When it was last written to, in seconds since 1970.
    pub(super) written_s: i64,
}

impl Files {
    /// Ours.
    pub(super) fn ours() -> io::Result<Self> {
        Self::below(Path::new("/"), View::Ours)
    }

    /// Those below the root of a process.
    pub(super) fn of(root: &Root, pid: u32) -> io::Result<Self> {
        let its_root = open_root(&root.proc.join(format!("{pid}/root")))?;
        let (its, ours) = (rustix::fs::fstat(&its_root)?, rustix::fs::stat("/")?);
        let view = if (its.st_dev, its.st_ino) != (ours.st_dev, ours.st_ino) {
            View::Other
        } else if same_mounts(root, pid) {
            View::Ours
        } else {
            View::Mounts(Cell::new(false))
        };
        Ok(Self::Below { root: its_root, view })
    }

    /// Those below a directory.
    pub(super) fn below(path: &Path, view: View) -> io::Result<Self> {
        Ok(Self::Below { root: open_root(path)?, view })
    }

    /// True if all that was opened is what we see by that name, too.
    pub(super) fn are_ours(&self) -> bool {
        match self {
            Self::Below { view: View::Ours, .. } => true,
            Self::Below { view: View::Mounts(apart), .. } => !apart.get(),
            Self::Below { view: View::Other, .. } | Self::Copied(_) => false,
        }
    }

    /// True if the process sees at this path what we see there.
    pub(super) fn shows_ours(&self, path: &str) -> bool {
        matches!(self, Self::Below { view: View::Ours, .. })
            || self.open(path, OFlags::PATH).is_ok() && self.are_ours()
    }

    /// Opens an absolute path. A link in a container must not lead out of it: it would name a file of the host.
    fn open(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        match self {
            Self::Below { view: View::Ours, .. } => Ok(rustix::fs::openat(CWD, path, flags, Mode::empty())?),
            Self::Below { root, view } => {
                let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
                let file = openat2(root, path, flags, Mode::empty(), inside)?;
                if let View::Mounts(apart) = view {
                    apart.set(apart.get() || !is_ours(&file, path));
                }
                Ok(file)
            }
            Self::Copied(_) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Reads a regular file, to one byte more than is understood of it.
    pub(super) fn read(&self, path: &str) -> io::Result<Text> {
        if let Self::Copied(copies) = self {
            let bytes = copied(copies, path)?.to_vec();
            return Ok(Text { bytes, written_s: i64::MIN });
        }
        // First only looked at: to open a device may already do something.
        let found = self.open(path, OFlags::PATH)?;
        let stat = rustix::fs::fstat(&found)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return Err(io::ErrorKind::IsADirectory.into()),
            _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
        }
        let again = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&found));
        let bytes = read_prefix(CWD, again, config::MAX_BYTES + 1)?;
        Ok(Text { bytes, written_s: stat.st_mtime })
    }

    /// The names in a directory, sorted.
    pub(super) fn names(&self, directory: &str) -> io::Result<Vec<String>> {
        if let Self::Copied(copies) = self {
            let begins = format!("{}/", directory.trim_end_matches('/'));
            let below = copies.range(begins.clone()..).map_while(|(path, _)| path.strip_prefix(&begins));
            let mut names: Vec<String> =
                below.take(MAX_NAMES).filter_map(|rest| rest.split('/').next()).map(str::to_owned).collect();
            names.dedup();
            return if names.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(names) };
        }
        let directory = self.open(directory, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(directory.as_fd())?.take(MAX_NAMES) {
            // A name that is no text is in no configuration.
            if let Ok(name) = entry?.file_name().to_str()
                && !matches!(name, "." | "..")
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Device and inode of a path.
    pub(super) fn identity(&self, path: &str) -> io::Result<(u64, u64)> {
        let stat = rustix::fs::fstat(self.open(path, OFlags::PATH)?)?;
        Ok((stat.st_dev, stat.st_ino))
    }

    /// Where a link leads to, as an absolute path without `..`; none if it is no link.
    pub(super) fn target(&self, path: &str) -> Option<String> {
        if let Self::Copied(copies) = self {
            let Copy::Link(target) = copies.get(path)? else { return None };
            return Some(resolved(path, target));
        }
        let link = self.open(path, OFlags::PATH | OFlags::NOFOLLOW).ok()?;
        let target = rustix::fs::readlinkat(&link, "", Vec::new()).ok()?.into_string().ok()?;
        Some(resolved(path, &target))
    }

    /// The paths that an absolute pattern stands for, sorted. A pattern without `*`, `?` and `[` is a path.
    pub(super) fn expand(&self, pattern: &str) -> io::Result<Vec<String>> {
        let mut paths = vec![String::new()];
        for part in pattern.split('/').filter(|part| !part.is_empty()) {
            if !part.contains(['*', '?', '[']) {
                for path in &mut paths {
                    *path = format!("{path}/{part}");
                }
                continue;
            }
            let Ok(wanted) = Pattern::new(part) else { return Ok(Vec::new()) };
            let mut next = Vec::new();
            for path in &paths {
                let directory = if path.is_empty() { "/" } else { path };
                let names = match self.names(directory) {
                    Ok(names) => names,
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
                    Err(_) => continue,
                };
                let names = names.into_iter().filter(|name| wanted.matches_with(name, LIKE_GLOB));
                next.extend(names.map(|name| format!("{path}/{name}")));
                next.truncate(MAX_MATCHES);
            }
            paths = next;
        }
        paths.sort();
        Ok(paths)
    }
}

/// Where a link at this path leads to: an absolute path without `..`.
fn resolved(path: &str, target: &str) -> String {
    let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
    let from = if target.starts_with('/') { "" } else { directory };
    let mut parts: Vec<&str> = from.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// A copy, wherever its links lead.
fn copied<'c>(copies: &'c BTreeMap<String, Copy>, path: &str) -> io::Result<&'c [u8]> {
    let mut path = path.to_owned();
    for _ in 0..=MAX_LINKS {
        match copies.get(&path) {
            Some(Copy::File(bytes)) => return Ok(bytes),
            Some(Copy::Link(target)) => path = resolved(&path, target),
            None => return Err(io::ErrorKind::NotFound.into()),
        }
    }
    Err(io::Error::other("its links lead in a circle"))
}

/// True if a process has no mounts of its own.
fn same_mounts(root: &Root, pid: u32) -> bool {
    let identity = |process: &str| {
        let stat = rustix::fs::stat(root.proc.join(process).join("ns/mnt"));
        stat.map(|stat| (stat.st_dev, stat.st_ino))
    };
    matches!((identity(&pid.to_string()), identity("self")), (Ok(its), Ok(ours)) if its == ours)
}

/// True if a file that another mount namespace has at a path is ours, and will be when ours is replaced: a mount of
/// that file alone would stay.
fn is_ours(file: &OwnedFd, path: &str) -> bool {
    let (Ok(its), Ok(ours)) = (rustix::fs::fstat(file), rustix::fs::stat(path)) else { return false };
    let alone = || {
        let stat = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::empty());
        stat.is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
    };
    let directory = FileType::from_raw_mode(its.st_mode) == FileType::Directory;
    (its.st_dev, its.st_ino) == (ours.st_dev, ours.st_ino) && (directory || !alone())
}

fn open_root(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn tree() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("inside");
        std::fs::create_dir_all(inside.join("etc/conf.d")).unwrap();
        std::fs::write(folder.path().join("secret"), "outside").unwrap();
        for name in ["b.conf", "a.conf", ".hidden.conf", "c.txt"] {
            std::fs::write(inside.join("etc/conf.d").join(name), name).unwrap();
        }
        symlink("../../../../../secret", inside.join("etc/up")).unwrap();
        symlink("/etc/conf.d/a.conf", inside.join("etc/absolute")).unwrap();
        folder
    }

    #[test]
    fn a_pattern_stands_for_what_glob_says() {
        let folder = tree();
        let files = Files::below(&folder.path().join("inside"), View::Other).unwrap();
        assert_eq!(files.expand("/etc/conf.d/*.conf").unwrap(), ["/etc/conf.d/a.conf", "/etc/conf.d/b.conf"]);
        assert_eq!(files.expand("/e*/conf.?/[ab].conf").unwrap().len(), 2);
        assert_eq!(files.expand("/etc/no/*.conf").unwrap(), Vec::<String>::new());
        assert_eq!(files.expand("/etc/plain").unwrap(), ["/etc/plain"]);
        assert_eq!(files.expand("/etc/conf.d/[").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn no_link_leads_out_of_a_root() {
        let folder = tree();
        let files = Files::below(&folder.path().join("inside"), View::Other).unwrap();
        assert_eq!(files.read("/etc/absolute").unwrap().bytes, b"a.conf");
        assert_eq!(files.read("/etc/up").err().map(|error| error.kind()), Some(io::ErrorKind::NotFound));
        assert!(files.read("/etc/conf.d").is_err_and(|error| error.kind() == io::ErrorKind::IsADirectory));
    }

    #[test]
    fn with_mounts_of_its_own_a_process_sees_our_files_but_for_those_that_are_others() {
        let folder = tree();
        let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        let mounts = || Files::below(Path::new("/"), View::Mounts(Cell::new(false))).unwrap();
        let files = mounts();
        assert!(files.are_ours(), "nothing was opened yet");
        assert_eq!(files.read(&path("secret")).unwrap().bytes, b"outside");
        assert_eq!(files.expand(&path("inside/etc/conf.d/[ab].conf")).unwrap().len(), 2);
        assert!(files.are_ours() && files.shows_ours(&path("secret")));
        // As if other things were mounted below: what it has at these names is not what we have.
        let root = open_root(folder.path()).unwrap();
        let apart = Files::Below { root, view: View::Mounts(Cell::new(false)) };
        assert_eq!(apart.read("/secret").unwrap().bytes, b"outside");
        assert!(!apart.are_ours() && !apart.shows_ours("/secret"));
    }

    #[test]
    fn a_device_is_not_read() {
        let files = Files::ours().unwrap();
        assert!(files.read("/dev/zero").is_err_and(|error| error.to_string().contains("regular")));
    }
}
