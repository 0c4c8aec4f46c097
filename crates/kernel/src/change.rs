//! Changing a setting: the one write that this crate makes, apart from everything that reads.
//!
//! Only settings that [`crate::settings`] reads can be changed, so that no name becomes a path of its own.
//! The kernel may take a value and keep another (`tcp_max_orphans`), or spell it in its own way
//! (`ip_local_reserved_ports`): what it then says is read back and returned, and the caller compares.

use crate::root::{Root, read_at, why};
use crate::settings::{self, MAX_VALUE};
use rustix::fs::{CWD, Mode, OFlags};
use std::io;
use std::path::PathBuf;

/// A setting of the calling thread's network namespace, which exists in this kernel.
#[derive(Debug)]
pub struct Setting {
    name: String,
    path: PathBuf,
}

/// Why a setting cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// Not one of those that are read.
    #[error("{0} is no setting that lastack knows")]
    Unknown(String),
    /// This kernel has no such setting.
    #[error("{0}: this kernel does not have it, or not in this network namespace")]
    Absent(String),
    /// Not allowed.
    #[error("{0}: permission denied; run as root (it needs CAP_NET_ADMIN where the namespace was made)")]
    Denied(String),
    /// /proc/sys is mounted without the right to write, as in most containers.
    #[error("{0}: /proc/sys is mounted read-only, as in most containers: run it on the host, with --netns")]
    ReadOnly(String),
    /// The kernel does not take the value.
    #[error("{name}: the kernel refuses the value \"{value}\"")]
    Refused {
        /// The setting.
        name: String,
        /// The value.
        value: String,
    },
    /// Anything else.
    #[error("{name}: {}", why(.source))]
    Other {
        /// The setting.
        name: String,
        /// The kernel's reason.
        source: io::Error,
    },
}

impl Setting {
    /// Finds a setting by its full name: `net.ipv4.tcp_tw_reuse`.
    pub fn find(root: &Root, name: &str) -> Result<Self, ChangeError> {
        let path = settings::path(root, name).ok_or_else(|| ChangeError::Unknown(name.to_owned()))?;
        match rustix::fs::stat(&path) {
            Ok(_) => Ok(Self { name: name.to_owned(), path }),
            Err(rustix::io::Errno::NOENT) => Err(ChangeError::Absent(name.to_owned())),
            Err(error) => Err(ChangeError::Other { name: name.to_owned(), source: error.into() }),
        }
    }

    /// What it is now, without white space at the ends.
    pub fn read(&self) -> Result<String, ChangeError> {
        let value = read_at(CWD, &self.path, MAX_VALUE).map_err(|error| self.failed(error, ""))?;
        Ok(String::from_utf8_lossy(value.trim_ascii()).into_owned())
    }

    /// Whether it may be written: opens it for writing, and writes nothing.
    pub fn check_writable(&self) -> Result<(), ChangeError> {
        self.open().map(drop)
    }

    /// Writes it, and gives what it is then. `value` must not be longer than a page: the kernel takes a value in one
    /// piece (fs/proc/proc_sysctl.c `proc_sys_call_handler`).
    pub fn write(&self, value: &str) -> Result<String, ChangeError> {
        let file = self.open()?;
        let line = format!("{value}\n");
        loop {
            match rustix::io::write(&file, line.as_bytes()) {
                Ok(written) if written == line.len() => break,
                Ok(written) => {
                    let text = format!("the kernel took {written} of {} bytes", line.len());
                    return Err(self.failed(io::Error::other(text), value));
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(self.failed(error.into(), value)),
            }
        }
        self.read()
    }

    fn open(&self) -> Result<std::os::fd::OwnedFd, ChangeError> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::NONBLOCK;
        rustix::fs::open(&self.path, flags, Mode::empty()).map_err(|error| self.failed(error.into(), ""))
    }

    fn failed(&self, source: io::Error, value: &str) -> ChangeError {
        let name = self.name.clone();
        match source.kind() {
            io::ErrorKind::PermissionDenied => ChangeError::Denied(name),
            io::ErrorKind::ReadOnlyFilesystem => ChangeError::ReadOnly(name),
            io::ErrorKind::NotFound => ChangeError::Absent(name),
            io::ErrorKind::InvalidInput => ChangeError::Refused { name, value: value.to_owned() },
            _ => ChangeError::Other { name, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(value: &str) -> (tempfile::TempDir, Root) {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::below(directory.path());
        let ipv4 = root.proc.join("sys/net/ipv4");
        std::fs::create_dir_all(&ipv4).unwrap();
        std::fs::write(ipv4.join("tcp_tw_reuse"), value).unwrap();
        (directory, root)
    }

    #[test]
    fn what_is_written_is_read_back() {
        let (_directory, root) = made("2\n");
        let setting = Setting::find(&root, "net.ipv4.tcp_tw_reuse").unwrap();
        assert_eq!(setting.read().unwrap(), "2");
        setting.check_writable().unwrap();
        assert_eq!(setting.read().unwrap(), "2", "asking writes nothing");
        assert_eq!(setting.write("1").unwrap(), "1");
    }

    #[test]
    fn only_known_settings_have_a_path() {
        let (_directory, root) = made("2\n");
        for name in
            ["kernel.core_pattern", "net.ipv4.../../../kernel/core_pattern", "net.ipv4.", "", "tcp_tw_reuse"]
        {
            let error = Setting::find(&root, name).unwrap_err();
            assert!(matches!(error, ChangeError::Unknown(_)), "{name}: {error}");
        }
        let error = Setting::find(&root, "net.ipv4.tcp_tw_recycle").unwrap_err();
        assert!(matches!(error, ChangeError::Absent(_)), "{error}");
    }

    #[test]
    fn a_link_in_place_of_a_setting_is_not_followed() {
        let (directory, root) = made("2\n");
        let precious = directory.path().join("precious");
        std::fs::write(&precious, "precious").unwrap();
        let setting = root.proc.join("sys/net/ipv4/tcp_rfc1337");
        std::os::unix::fs::symlink(&precious, setting).unwrap();
        Setting::find(&root, "net.ipv4.tcp_rfc1337").unwrap().write("1").unwrap_err();
        assert_eq!(std::fs::read_to_string(precious).unwrap(), "precious");
    }
}
