//! Replacing a file in one step, with owner, mode and attributes kept, and what was there kept beside it.
//!
//! The new file is made beside the old one, under a name that no program reads (it begins with a dot), and then the two
//! change places (`renameat2` with `RENAME_EXCHANGE`). Only then is it certain what was displaced: if that is not what
//! was expected, because somebody saved the file in that very moment, they change places again. To go back, they change
//! places once more: the old file is then there as it was, with its own inode, and no disk space is needed for it.
//!
//! A file gets the name beside the other one only when it is whole, on disk. So what is found there is known, or is
//! somebody else's that was displaced just before a crash: that is never removed.

use crate::failpoint;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The largest file that is replaced. Configuration is far smaller.
pub(crate) const MAX_FILE: u64 = 4 << 20;

/// The longest list of the names of extended attributes, and the longest value, that the kernel gives
/// (include/uapi/linux/limits.h).
const MAX_ATTRIBUTES: usize = 65_536;

/// Why a file is not replaced.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// A link would be replaced by a file, or what it leads to by surprise.
    #[error("{path} is a link, or lies behind one: the file itself is {real}; name that one", path = .0.display(), real = .1.display())]
    Link(PathBuf, PathBuf),
    /// Replacing it would part it from its other names.
    #[error("{path} has {1} names (hard links), and replacing it would part them", path = .0.display())]
    HardLinks(PathBuf, u64),
    /// A directory, a device, a socket.
    #[error("{} is no ordinary file", .0.display())]
    NotAFile(PathBuf),
    /// Too large.
    #[error("{path} is larger than {most} MiB", path = .0.display(), most = MAX_FILE >> 20)]
    TooLarge(PathBuf),
    /// Not as the plan has it.
    #[error("{} is not what it was when the plan was made: somebody else has changed it; it was left alone", .0.display())]
    Changed(PathBuf),
    /// What is beside it is somebody else's.
    #[error("{} is what somebody saved while lastack replaced it: put it where it belongs, or remove it", .0.display())]
    Displaced(PathBuf),
    /// The operating system.
    #[error("{path}: {why}", path = .0.display(), why = why(.1))]
    Io(PathBuf, io::Error),
}

/// What the operating system said of a file that is to be written, and what helps.
pub(crate) fn why(error: &io::Error) -> String {
    let denied = error.kind() == io::ErrorKind::PermissionDenied;
    match rustix::process::geteuid().is_root() {
        true if denied => {
            "permission denied, for root as well: see `lsattr` (immutable), and security modules".into()
        }
        false if denied => "permission denied: run as root".into(),
        _ => kernel::why(error),
    }
}

/// A place in a directory where a file is, or may be.
#[derive(Debug)]
pub(crate) struct Target {
    path: PathBuf,
    name: OsString,
    folder: OwnedFd,
}

impl Target {
    /// Opens the directory of a file. The path must not lead through a link.
    pub(crate) fn open(path: &Path) -> Result<Self, ReplaceError> {
        let is_link = rustix::fs::lstat(path)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
        if is_link {
            // A link that leads nowhere is named by what it says.
            let leads_to = || std::fs::read_link(path).map(|to| path.with_file_name(to));
            let real = std::fs::canonicalize(path).or_else(|_| leads_to());
            return Err(ReplaceError::Link(path.to_owned(), real.unwrap_or_else(|_| path.to_owned())));
        }
        Self::whatever_is_at(path)
    }

    /// The same where somebody may have put a link there since.
    pub(crate) fn whatever_is_at(path: &Path) -> Result<Self, ReplaceError> {
        let failed = |error: io::Error| ReplaceError::Io(path.to_owned(), error);
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(ReplaceError::NotAFile(path.to_owned()));
        };
        let real = std::fs::canonicalize(folder).map_err(failed)?.join(name);
        if real != path {
            let real = std::fs::canonicalize(path).unwrap_or(real);
            return Err(ReplaceError::Link(path.to_owned(), real));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::open(folder, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
        Ok(Self { path: path.to_owned(), name: name.to_owned(), folder })
    }

    /// What the file holds; none if there is none.
    pub(crate) fn read(&self) -> Result<Option<Vec<u8>>, ReplaceError> {
        self.read_name(&self.name)
    }

    /// Checks that the file may be replaced at all: an ordinary one, with one name.
    fn check_names(&self) -> Result<(), ReplaceError> {
        let Some(file) = self.open_name(&self.name)? else { return Ok(()) };
        let stat = rustix::fs::fstat(&file).map_err(|error| self.failed(error))?;
        #[expect(clippy::useless_conversion, reason = "its width differs between platforms")]
        let names = u64::from(stat.st_nlink);
        if names > 1 { Err(ReplaceError::HardLinks(self.path.clone(), names)) } else { Ok(()) }
    }

    /// Checks both that it may be replaced, and that a file could be made beside it.
    pub(crate) fn check(&self) -> Result<(), ReplaceError> {
        self.check_names()?;
        self.check_writable()
    }

    /// Checks that a file could be made beside it.
    fn check_writable(&self) -> Result<(), ReplaceError> {
        let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
        rustix::fs::accessat(&self.folder, ".", access, AtFlags::EACCESS).map_err(|error| self.failed(error))
    }

    /// Checks that there is room for a file beside it. Once that is made, no more is needed.
    pub(crate) fn check_room(&self) -> Result<(), ReplaceError> {
        // Some file systems do not say how large they are, and then not what is free either.
        let system = rustix::fs::fstatvfs(&self.folder).map_err(|error| self.failed(error))?;
        let free = if rustix::process::geteuid().is_root() { system.f_bfree } else { system.f_bavail };
        if system.f_blocks > 0 && free == 0 {
            return Err(self.failed(rustix::io::Errno::NOSPC));
        }
        Ok(())
    }

    /// Makes a file beside the place that holds these bytes, with owner, mode and attributes of the file that is there
    /// now; of root and readable by all if there is none. It is on disk when this returns. What is under `side` already
    /// must be one of `ours`.
    pub(crate) fn stage(
        &self,
        side: &OsStr,
        bytes: &[u8],
        ours: [Option<&[u8]>; 2],
    ) -> Result<(), ReplaceError> {
        if !self.discard(side, ours)? {
            return Err(ReplaceError::Displaced(self.beside(side)));
        }
        let unfinished = unfinished(side);
        self.remove(&unfinished)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let staged = rustix::fs::openat(&self.folder, &unfinished, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| self.failed(error))?;
        failpoint::point("file-staging");
        match self.open_name(&self.name)? {
            Some(model) => copy_metadata(&model, &staged).map_err(|error| self.failed(error))?,
            None => {
                rustix::fs::fchmod(&staged, Mode::from_raw_mode(0o644))
                    .map_err(|error| self.failed(error))?;
            }
        }
        let mut staged = File::from(staged);
        let written = staged.write_all(bytes).and_then(|()| staged.sync_all());
        written.map_err(|error| ReplaceError::Io(self.path.clone(), error))?;
        failpoint::point("file-written");
        self.rename(&unfinished, side).map_err(|error| self.failed(error))?;
        self.sync()
    }

    /// Turns what is at the place from one content into another, in one step. What shall be there must have been staged
    /// under `side`; what was there is under `side` afterwards.
    pub(crate) fn turn(
        &self,
        side: &OsStr,
        from: Option<&[u8]>,
        to: Option<&[u8]>,
    ) -> Result<(), ReplaceError> {
        let swap = |back: bool| match (from, to) {
            (Some(_), Some(_)) => self.exchange(side),
            (None, Some(_)) if back => self.rename(&self.name, side),
            (Some(_), None) if !back => self.rename(&self.name, side),
            (None, Some(_)) | (Some(_), None) => self.rename(side, &self.name),
            (None, None) => Ok(()),
        };
        let changed = || ReplaceError::Changed(self.path.clone());
        if self.read()?.as_deref() != from {
            return Err(changed());
        }
        match swap(false) {
            Err(Errno::EXIST | Errno::NOENT) => return Err(changed()),
            done => done.map_err(|error| self.failed(error))?,
        }
        failpoint::point("file-swapped");
        // What cannot be read is not what was expected either.
        if from.is_some() && !self.holds(side, from) {
            match swap(true) {
                // It was saved once more: that stays, and what it took the place of is kept beside it.
                Ok(()) if to.is_some() && !self.holds(side, to) => {
                    self.exchange(side).map_err(|error| self.failed(error))?;
                }
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(self.failed(error)),
            }
            self.sync()?;
            return Err(changed());
        }
        self.sync()
    }

    /// Gives somebody else's file its place back, which was displaced just before a crash, if what took its place is
    /// still there. `ours` is what we have had at this place, before and after. True if it has its place back; none if
    /// nothing was displaced.
    pub(crate) fn give_back(
        &self,
        side: &OsStr,
        ours: [Option<&[u8]>; 2],
    ) -> Result<Option<bool>, ReplaceError> {
        if !self.exists(side)? || ours.iter().any(|our| our.is_some() && self.holds(side, *our)) {
            return Ok(None);
        }
        // An earlier version of lastack gave a file this name before it was whole.
        let begun = |part: &[u8]| ours.iter().flatten().any(|whole| whole.starts_with(part));
        if self.read_name(side).is_ok_and(|found| found.is_some_and(|part| begun(&part))) {
            return Ok(Some(false));
        }
        let done = match self.read() {
            Ok(None) if ours.contains(&None) => self.rename(side, &self.name),
            Ok(now @ Some(_)) if ours.contains(&now.as_deref()) => self.exchange(side),
            // There is something of somebody else's again.
            Ok(_) | Err(_) => return Ok(Some(false)),
        };
        done.map_err(|error| self.failed(error))?;
        self.sync()?;
        failpoint::point("given-back");
        Ok(Some(true))
    }

    /// Removes what is under `side` if it is one of these. False if it is something else, which stays.
    pub(crate) fn discard(&self, side: &OsStr, ours: [Option<&[u8]>; 2]) -> Result<bool, ReplaceError> {
        if !self.exists(side)? {
            return Ok(true);
        }
        let is_ours = ours.iter().any(|our| our.is_some() && self.holds(side, *our));
        if is_ours { self.remove(side).map(|()| true) } else { Ok(false) }
    }

    /// Removes what was never finished.
    pub(crate) fn discard_unfinished(&self, side: &OsStr) -> Result<(), ReplaceError> {
        self.remove(&unfinished(side))
    }

    /// The path of a name beside the place.
    pub(crate) fn beside(&self, side: &OsStr) -> PathBuf {
        self.path.with_file_name(side)
    }

    /// True if what is under `side` holds exactly these bytes.
    pub(crate) fn is_staged(&self, side: &OsStr, bytes: &[u8]) -> bool {
        self.holds(side, Some(bytes))
    }

    /// True if a name is known to hold this.
    fn holds(&self, name: &OsStr, bytes: Option<&[u8]>) -> bool {
        self.read_name(name).is_ok_and(|found| found.as_deref() == bytes)
    }

    fn exists(&self, name: &OsStr) -> Result<bool, ReplaceError> {
        match rustix::fs::statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn remove(&self, side: &OsStr) -> Result<(), ReplaceError> {
        match rustix::fs::unlinkat(&self.folder, side, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn exchange(&self, side: &OsStr) -> Result<(), Errno> {
        rustix::fs::renameat_with(&self.folder, side, &self.folder, &self.name, RenameFlags::EXCHANGE)
    }

    fn rename(&self, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
        rustix::fs::renameat_with(&self.folder, from, &self.folder, to, RenameFlags::NOREPLACE)
    }

    /// Makes what was done to names in the directory last.
    pub(crate) fn sync(&self) -> Result<(), ReplaceError> {
        rustix::fs::fsync(&self.folder).map_err(|error| self.failed(error))
    }

    fn open_name(&self, name: &OsStr) -> Result<Option<OwnedFd>, ReplaceError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match rustix::fs::openat(&self.folder, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(ReplaceError::Link(self.path.clone(), self.path.clone())),
            Err(error) => return Err(self.failed(error)),
        };
        let stat = rustix::fs::fstat(&file).map_err(|error| self.failed(error))?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            Ok(Some(file))
        } else {
            Err(ReplaceError::NotAFile(self.path.clone()))
        }
    }

    fn read_name(&self, name: &OsStr) -> Result<Option<Vec<u8>>, ReplaceError> {
        let Some(file) = self.open_name(name)? else { return Ok(None) };
        let mut bytes = Vec::new();
        let read = File::from(file).take(MAX_FILE.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|error| ReplaceError::Io(self.path.clone(), error))?;
        if bytes.len() as u64 > MAX_FILE {
            Err(ReplaceError::TooLarge(self.path.clone()))
        } else {
            Ok(Some(bytes))
        }
    }

    fn failed(&self, error: Errno) -> ReplaceError {
        ReplaceError::Io(self.path.clone(), error.into())
    }
}

/// What a file is called until it is whole.
fn unfinished(side: &OsStr) -> OsString {
    let mut name = side.to_owned();
    name.push("~");
    name
}

/// Gives a file owner, mode and extended attributes (access lists, SELinux labels) of another.
fn copy_metadata(model: &OwnedFd, copy: &OwnedFd) -> Result<(), Errno> {
    let stat = rustix::fs::fstat(model)?;
    let own = rustix::fs::fstat(copy)?;
    let owner = (own.st_uid != stat.st_uid).then(|| rustix::process::Uid::from_raw(stat.st_uid));
    let group = (own.st_gid != stat.st_gid).then(|| rustix::process::Gid::from_raw(stat.st_gid));
    if owner.is_some() || group.is_some() {
        rustix::fs::fchown(copy, owner, group)?;
    }
    // After the owner: changing that takes bits from the mode.
    rustix::fs::fchmod(copy, Mode::from_raw_mode(stat.st_mode))?;
    let mut names = vec![0_u8; MAX_ATTRIBUTES];
    let length = match rustix::fs::flistxattr(model, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => 0,
        Err(error) => return Err(error),
    };
    let names = names.get(..length).unwrap_or_default();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0_u8; MAX_ATTRIBUTES];
        let length = match rustix::fs::fgetxattr(model, name, &mut value[..]) {
            Ok(length) => length,
            // It went away meanwhile, or is none of those that can be read.
            Err(Errno::NODATA) => continue,
            Err(error) => return Err(error),
        };
        let value = value.get(..length).unwrap_or_default();
        rustix::fs::fsetxattr(copy, name, value, rustix::fs::XattrFlags::empty())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    const SIDE: &str = ".side";

    fn side() -> &'static OsStr {
        OsStr::new(SIDE)
    }

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        (folder, path)
    }

    #[test]
    fn a_file_changes_in_one_step_and_back_to_the_same_inode() {
        let (_keep, folder) = folder();
        let path = folder.join("nginx.conf");
        std::fs::write(&path, "before").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let inode = path.metadata().unwrap().ino();
        let target = Target::open(&path).unwrap();
        target.check().unwrap();
        target.stage(side(), b"after", [None; 2]).unwrap();
        assert_eq!(target.read().unwrap().unwrap(), b"before");
        target.turn(side(), Some(b"before"), Some(b"after")).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"after");
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o640);
        assert!(target.is_staged(side(), b"before"));
        target.turn(side(), Some(b"after"), Some(b"before")).unwrap();
        target.remove(side()).unwrap();
        assert_eq!(
            (std::fs::read(&path).unwrap(), path.metadata().unwrap().ino()),
            (b"before".to_vec(), inode)
        );
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn files_come_and_go() {
        let (_keep, folder) = folder();
        let path = folder.join("99.conf");
        let target = Target::open(&path).unwrap();
        assert_eq!(target.read().unwrap(), None);
        target.stage(side(), b"new", [None; 2]).unwrap();
        target.turn(side(), None, Some(b"new")).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o644);
        target.turn(side(), Some(b"new"), None).unwrap();
        assert!(!path.exists());
        target.turn(side(), None, Some(b"new")).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn what_somebody_saved_meanwhile_stays() {
        let (_keep, folder) = folder();
        let path = folder.join("nginx.conf");
        std::fs::write(&path, "theirs").unwrap();
        let target = Target::open(&path).unwrap();
        target.stage(side(), b"after", [None; 2]).unwrap();
        let error = target.turn(side(), Some(b"before"), Some(b"after")).unwrap_err();
        assert!(matches!(error, ReplaceError::Changed(_)), "{error}");
        let error = target.turn(side(), None, Some(b"after")).unwrap_err();
        assert!(matches!(error, ReplaceError::Changed(_)), "{error}");
        let error = target.turn(OsStr::new(".other"), Some(b"before"), None).unwrap_err();
        assert!(matches!(error, ReplaceError::Changed(_)), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"theirs");
        assert!(target.is_staged(side(), b"after"));
        std::fs::remove_file(&path).unwrap();
        let error = target.turn(side(), Some(b"before"), Some(b"after")).unwrap_err();
        assert!(matches!(error, ReplaceError::Changed(_)), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn what_was_displaced_before_a_crash_gets_its_place_back() {
        let (_keep, folder) = folder();
        let path = folder.join("nginx.conf");
        let ours: [Option<&[u8]>; 2] = [Some(b"before"), Some(b"after")];
        let large = "x".repeat(usize::try_from(MAX_FILE).unwrap() + 1);
        for theirs in ["theirs", &large, "a link"] {
            let target = Target::open(&path).unwrap();
            // Saved between the look and the exchange, which a kill followed.
            target.stage(side(), b"after", ours).unwrap();
            if theirs == "a link" {
                symlink("/etc/hostname", &path).unwrap();
            } else {
                std::fs::write(&path, theirs).unwrap();
            }
            target.exchange(side()).unwrap();
            assert!(matches!(target.stage(side(), b"before", ours), Err(ReplaceError::Displaced(_))));
            assert!(!target.discard(side(), ours).unwrap());
            assert_eq!(target.give_back(side(), ours).unwrap(), Some(true));
            let is_link = path.symlink_metadata().unwrap().is_symlink();
            assert!(
                is_link == (theirs == "a link")
                    && (is_link || std::fs::read_to_string(&path).unwrap() == theirs)
            );
            assert_eq!(target.give_back(side(), ours).unwrap(), None);
            assert!(target.discard(side(), ours).unwrap());
            std::fs::remove_file(&path).unwrap();
            assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
        }
        // Saved once more since: both are kept.
        let target = Target::open(&path).unwrap();
        std::fs::write(folder.join(SIDE), "theirs").unwrap();
        std::fs::write(&path, "theirs too").unwrap();
        assert_eq!(target.give_back(side(), ours).unwrap(), Some(false));
        assert!(!target.discard(side(), ours).unwrap());
        assert_eq!(std::fs::read(folder.join(SIDE)).unwrap(), b"theirs");
        // What may be a part of ours is not put anywhere.
        std::fs::write(folder.join(SIDE), "aft").unwrap();
        std::fs::write(&path, "before").unwrap();
        assert_eq!(target.give_back(side(), ours).unwrap(), Some(false));
        std::fs::write(folder.join(SIDE), "theirs").unwrap();
        // It was to be taken away, and there is nothing at its place.
        std::fs::remove_file(&path).unwrap();
        assert_eq!(target.give_back(side(), [Some(b"before"), None]).unwrap(), Some(true));
        assert_eq!(std::fs::read(&path).unwrap(), b"theirs");
    }

    #[test]
    fn links_are_named_and_left() {
        let (_keep, folder) = folder();
        let (real, link) = (folder.join("real"), folder.join("link"));
        std::fs::write(&real, "x").unwrap();
        symlink(&real, &link).unwrap();
        let error = Target::open(&link).unwrap_err().to_string();
        assert!(error.contains(&*real.to_string_lossy()), "{error}");
        let behind = folder.join("folder");
        symlink(&folder, &behind).unwrap();
        assert!(matches!(Target::open(&behind.join("real")).unwrap_err(), ReplaceError::Link(..)));
        symlink("/nowhere", folder.join("masked")).unwrap();
        assert!(matches!(Target::open(&folder.join("masked")).unwrap_err(), ReplaceError::Link(..)));
        std::fs::hard_link(&real, folder.join("second")).unwrap();
        let error = Target::open(&real).unwrap().check().unwrap_err();
        assert!(matches!(error, ReplaceError::HardLinks(_, 2)), "{error}");
        assert!(matches!(Target::open(&folder).unwrap().check().unwrap_err(), ReplaceError::NotAFile(_)));
    }
}
