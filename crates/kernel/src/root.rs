//! Where the kernel's files are, and reading them with a bound.

use rustix::fs::{CWD, Mode, OFlags, RawDir};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The number of the first pid namespace (include/linux/proc_ns.h `PROC_PID_INIT_INO`).
const FIRST_PID_NAMESPACE: &[u8] = b"pid:[4026531836]";

/// The trees that everything here is read below. The default is the host's own; a test makes another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// `/proc`.
    pub proc: PathBuf,
    /// `/sys`.
    pub sys: PathBuf,
    /// `/run`.
    pub run: PathBuf,
    /// `/`, for the files of `sysctl.d`.
    pub files: PathBuf,
}

impl Default for Root {
    fn default() -> Self {
        Self { proc: "/proc".into(), sys: "/sys".into(), run: "/run".into(), files: "/".into() }
    }
}

impl Root {
    /// The trees `proc`, `sys` and `run` of a directory, and itself.
    pub fn below(directory: &Path) -> Self {
        Self {
            proc: directory.join("proc"),
            sys: directory.join("sys"),
            run: directory.join("run"),
            files: directory.to_owned(),
        }
    }

    /// The directory `net` of the calling thread's network namespace.
    ///
    /// `/proc/self/net` is that of the main thread, which may be in another one. `/proc/thread-self` exists
    /// since 3.17; before, `/proc/self/net` serves as long as both are in the same namespace.
    pub(crate) fn thread_net(&self) -> io::Result<PathBuf> {
        let own = self.proc.join("thread-self/net");
        if rustix::fs::stat(&own).is_ok() {
            return Ok(own);
        }
        let main = rustix::fs::stat(self.proc.join("self/ns/net"))?;
        let thread = format!("self/task/{}/ns/net", rustix::thread::gettid().as_raw_nonzero());
        let thread = rustix::fs::stat(self.proc.join(thread))?;
        if (main.st_dev, main.st_ino) == (thread.st_dev, thread.st_ino) {
            return Ok(self.proc.join("self/net"));
        }
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this kernel has no /proc/thread-self to see another namespace with",
        ))
    }

    /// The network namespace file of the calling thread.
    pub(crate) fn thread_namespace(&self) -> PathBuf {
        let own = self.proc.join("thread-self/ns/net");
        if rustix::fs::stat(&own).is_ok() {
            return own;
        }
        self.proc.join(format!("self/task/{}/ns/net", rustix::thread::gettid().as_raw_nonzero()))
    }

    /// True in the pid namespace of the host, where /proc shows every process; none if it does not tell.
    pub(crate) fn sees_all_pids(&self) -> Option<bool> {
        let own = rustix::fs::readlink(self.proc.join("self/ns/pid"), Vec::new()).ok()?;
        Some(own.as_bytes() == FIRST_PID_NAMESPACE)
    }

    /// The processes, in ascending order.
    pub(crate) fn pids(&self) -> io::Result<Vec<u32>> {
        let directory = open_directory(CWD, &self.proc)?;
        let mut pids = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let mut entries = RawDir::new(&directory, &mut buffer);
        while let Some(entry) = entries.next() {
            pids.extend(number(entry?.file_name().to_bytes()));
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }
}

/// The decimal number that a file name is; none if it is something else.
#[inline]
pub(crate) fn number(name: &[u8]) -> Option<u32> {
    if name.is_empty() {
        return None;
    }
    name.iter().try_fold(0_u32, |sum, byte| match byte {
        b'0'..=b'9' => sum.checked_mul(10)?.checked_add(u32::from(byte - b'0')),
        _ => None,
    })
}

/// Opens a directory to look into.
pub(crate) fn open_directory(at: impl AsFd, path: impl rustix::path::Arg) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, path, flags, Mode::empty())?)
}

/// Reads a whole file of at most `limit` bytes; a larger one is an error.
pub(crate) fn read(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    read_at(CWD, path, limit)
}

/// The same, relative to a directory.
pub(crate) fn read_at(at: impl AsFd, path: impl rustix::path::Arg, limit: usize) -> io::Result<Vec<u8>> {
    let bytes = read_prefix(at, path, limit.saturating_add(1))?;
    if bytes.len() > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {limit} bytes")));
    }
    Ok(bytes)
}

/// Reads the first `limit` bytes of a file, or what there is.
pub(crate) fn read_prefix(at: impl AsFd, path: impl rustix::path::Arg, limit: usize) -> io::Result<Vec<u8>> {
    // NONBLOCK so that a named pipe where a file should be cannot stop us.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::openat(at, path, flags, Mode::empty())?;
    let mut bytes = vec![0; limit.min(4 << 10)];
    let mut filled = 0;
    loop {
        match rustix::io::read(&file, &mut bytes[filled..]) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        if filled == limit {
            break;
        }
        if filled == bytes.len() {
            bytes.resize(limit.min(filled * 4), 0);
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// An error as the end of a clause, without its number, and what helps: `permission denied`.
pub fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::NotADirectory => "not a directory".to_owned(),
        io::ErrorKind::IsADirectory => "is a directory".to_owned(),
        io::ErrorKind::ReadOnlyFilesystem => {
            "read-only file system (mount it for writing, or change what it is made from)".to_owned()
        }
        io::ErrorKind::StorageFull => {
            "no space left on this file system (make room, then try again)".to_owned()
        }
        io::ErrorKind::QuotaExceeded => "the disk quota is used up (make room, then try again)".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_end_is_read_to_its_limit_only() {
        let endless = Path::new("/dev/zero");
        assert_eq!(read_prefix(CWD, endless, 10_000).unwrap().len(), 10_000);
        assert_eq!(read(endless, 10_000).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        let directory = tempfile::tempdir().unwrap();
        let exact = directory.path().join("exact");
        std::fs::write(&exact, [7; 5_000]).unwrap();
        assert_eq!(read(&exact, 5_000).unwrap().len(), 5_000);
        assert!(read(&exact, 4_999).is_err());
    }

    #[test]
    fn a_named_pipe_reads_as_empty_instead_of_waiting() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        rustix::fs::mknodat(CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(read(&pipe, 100).unwrap(), b"");
    }

    #[test]
    fn only_names_that_are_numbers_are_processes() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::below(directory.path());
        for name in ["12", "3", "self", "4294967296", "1a", "-5"] {
            std::fs::create_dir_all(root.proc.join(name)).unwrap();
        }
        assert_eq!(root.pids().unwrap(), [3, 12]);
    }

    #[test]
    fn without_thread_self_the_main_threads_files_serve_only_its_own_namespace() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::below(directory.path());
        let thread = format!("self/task/{}/ns", rustix::thread::gettid().as_raw_nonzero());
        std::fs::create_dir_all(root.proc.join("self/ns")).unwrap();
        std::fs::create_dir_all(root.proc.join(&thread)).unwrap();
        std::fs::write(root.proc.join("self/ns/net"), "").unwrap();
        std::fs::hard_link(root.proc.join("self/ns/net"), root.proc.join(&thread).join("net")).unwrap();
        assert_eq!(root.thread_net().unwrap(), root.proc.join("self/net"));
        std::fs::remove_file(root.proc.join(&thread).join("net")).unwrap();
        std::fs::write(root.proc.join(&thread).join("net"), "").unwrap();
        assert_eq!(root.thread_net().unwrap_err().kind(), io::ErrorKind::Unsupported);
        std::fs::create_dir_all(root.proc.join("thread-self/net")).unwrap();
        assert_eq!(root.thread_net().unwrap(), root.proc.join("thread-self/net"));
    }
}
