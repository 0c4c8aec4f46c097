//! What a program says of itself: `nginx -V`, `haproxy -vv`.
//!
//! The program that is asked is the one that runs, `/proc/PID/exe`, not one of the same name. It is started only where
//! nobody but the administrator, or we ourselves, can have put it there; a container's never is. nginx has what it
//! would say as a text in its file, which is read then.

use super::Kind;
use super::files::Files;
use super::trusted::may_be_started;
use crate::root::Root;
use rustix::fs::{CWD, Mode, OFlags};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A program that has not answered by then is ended.
const PATIENCE: Duration = Duration::from_secs(2);

/// So much of an answer is read; nginx with many modules says 4 KiB.
const MAX_ANSWER: u64 = 64 << 10;

/// So much of a program's file is searched; nginx has 1 to 10 MiB.
const MAX_PROGRAM: usize = 64 << 20;

/// What a program says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Build {
    /// `nginx version: nginx/1.22.1`, `HAProxy version 2.6.12-1+deb12u4 2026/10/17`.
    pub(super) version: Option<String>,
    /// The directory that nginx begins relative names in, unless it is told another one.
    pub(super) prefix: Option<String>,
    /// The file that nginx reads, unless it is told another one.
    pub(super) main_file: Option<String>,
}

/// Asks the program that a process runs, which sees these files.
pub(super) fn ask(root: &Root, pid: u32, kind: Kind, files: &Files) -> Build {
    let path = root.proc.join(format!("{pid}/exe"));
    let answer = if may_be_started(&path, kind, files) { started(&path, kind) } else { None };
    let answer = answer.or_else(|| (kind == Kind::Nginx).then(|| read_in(&path)).flatten());
    answer.map_or_else(Build::default, |answer| understood(&answer, kind))
}

fn started(path: &PathBuf, kind: Kind) -> Option<String> {
    let flag = match kind {
        Kind::Nginx => "-V",
        Kind::Haproxy => "-vv",
    };
    let child = Command::new(path)
        .arg(flag)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.ok()?;
    let end = Instant::now() + PATIENCE;
    // The answer fits into the pipe; a program that says more stands still, and is ended.
    let finished = loop {
        match child.try_wait() {
            Ok(Some(_)) => break true,
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(2)),
            _ => break false,
        }
    };
    if !finished {
        // It has ended by itself if this fails.
        let _ = child.kill();
        let _ = child.wait();
        return None;
    }
    let mut answer = Vec::new();
    // nginx speaks on standard error, HAProxy on standard output.
    child.stderr.take()?.take(MAX_ANSWER).read_to_end(&mut answer).ok()?;
    child.stdout.take()?.take(MAX_ANSWER).read_to_end(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

/// The texts that `nginx -V` prints, out of its file.
fn read_in(path: &Path) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = std::fs::File::from(rustix::fs::openat(CWD, path, flags, Mode::empty()).ok()?);
    let mut bytes = Vec::new();
    file.take(MAX_PROGRAM as u64).read_to_end(&mut bytes).ok()?;
    let line = |start: &str| {
        let at = memchr::memmem::find(&bytes, start.as_bytes())?;
        let rest = bytes.get(at..)?;
        let length = rest.iter().take(16 << 10).position(|byte| matches!(byte, b'\n' | 0))?;
        Some(String::from_utf8_lossy(rest.get(..length)?).into_owned())
    };
    let version = line("nginx version: ")?;
    Some(format!("{version}\n{}", line("configure arguments:").unwrap_or_default()))
}

fn understood(answer: &str, kind: Kind) -> Build {
    let line = |start: &str| answer.lines().find_map(|line| line.strip_prefix(start));
    let clean = |text: &str| -> String { text.chars().filter(|c| !c.is_control()).take(200).collect() };
    match kind {
        Kind::Nginx => {
            let arguments = line("configure arguments:").unwrap_or_default();
            let argument = |name: &str| {
                let found = arguments.split_ascii_whitespace().find_map(|word| word.strip_prefix(name));
                found.map(clean)
            };
            let prefix = argument("--prefix=");
            let below = |name: String| match &prefix {
                Some(prefix) if !name.starts_with('/') => format!("{prefix}/{name}"),
                _ => name,
            };
            Build {
                version: line("nginx version: ").map(clean),
                // auto/options and auto/init of nginx.
                main_file: Some(below(
                    argument("--conf-path=").unwrap_or_else(|| "conf/nginx.conf".to_owned()),
                )),
                prefix: prefix.or_else(|| Some("/usr/local/nginx".to_owned())),
            }
        }
        Kind::Haproxy => {
            // Before 2.0 it wrote `HA-Proxy`.
            let version = ["HAProxy version ", "HA-Proxy version "].into_iter().find_map(line);
            Build { version: version.and_then(|text| text.split(' ').next()).map(clean), ..Build::default() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn an_answer_is_understood() {
        let nginx = "nginx version: nginx/1.22.1\nbuilt with OpenSSL\nconfigure arguments: --with-cc-opt='-g -O2' \
                     --prefix=/usr/share/nginx --conf-path=/etc/nginx/nginx.conf --with-debug\n";
        assert_eq!(
            understood(nginx, Kind::Nginx),
            Build {
                version: Some("nginx/1.22.1".into()),
                prefix: Some("/usr/share/nginx".into()),
                main_file: Some("/etc/nginx/nginx.conf".into()),
            }
        );
        let own =
            understood("nginx version: nginx/1.30.0\nconfigure arguments: --prefix=/opt/n\n", Kind::Nginx);
        assert_eq!(own.main_file.as_deref(), Some("/opt/n/conf/nginx.conf"));
        let haproxy = "HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/\nStatus: long-term";
        assert_eq!(understood(haproxy, Kind::Haproxy).version.as_deref(), Some("2.6.12-1+deb12u4"));
        assert_eq!(understood("segfault\n", Kind::Haproxy).version, None);
    }

    #[test]
    fn a_program_without_end_is_ended_and_one_that_talks_too_much_too() {
        let folder = tempfile::tempdir().unwrap();
        for script in ["#!/bin/sh\nexec sleep 1000\n", "#!/bin/sh\nexec cat /dev/zero\n"] {
            let path = folder.path().join("haproxy");
            std::fs::write(&path, script).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            assert_eq!(started(&path, Kind::Haproxy), None);
        }
    }

    #[test]
    fn what_nginx_would_say_stands_in_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nginx");
        let bytes = b"\x7fELF\0nginx version: nginx/1.25.3\n\0more\0configure arguments: --prefix=/x\n\0";
        std::fs::write(&path, bytes).unwrap();
        let build = understood(&read_in(&path).unwrap(), Kind::Nginx);
        assert_eq!(build.version.as_deref(), Some("nginx/1.25.3"));
        assert_eq!(build.main_file.as_deref(), Some("/x/conf/nginx.conf"));
        std::fs::write(&path, "a file without it").unwrap();
        assert_eq!(read_in(&path), None);
    }
}
