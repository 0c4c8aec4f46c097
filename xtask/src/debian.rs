//! Programs of others, and how Debian installs them.

use std::path::Path;
use std::process::{Command, Stdio};

/// Where a file forbids the packages to start their services (invoke-rc.d(8), deb-systemd-invoke(1)).
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// True if the program is in `PATH`, or where Debian keeps root's programs.
pub(crate) fn found(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|directory| directory.join(program).is_file())
}

/// Installs packages and says whether that went well. Their services are not started.
pub(crate) fn install(packages: &[&str]) -> anyhow::Result<bool> {
    let _policy = Policy::forbid_services()?;
    // The lists of a fresh image are often empty or old: fetch them if the first try fails.
    Ok(apt(&["install"], packages)? || (apt(&["update"], &[])? && apt(&["install"], packages)?))
}

fn apt(arguments: &[&str], packages: &[&str]) -> anyhow::Result<bool> {
    let status = Command::new("apt-get")
        .args(["-q", "-y", "--no-install-recommends"])
        .args(arguments)
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .status()?;
    Ok(status.success())
}

/// The file that forbids services; it goes with this value if it was not there before.
struct Policy {
    ours: bool,
}

impl Policy {
    fn forbid_services() -> anyhow::Result<Self> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        if Path::new(POLICY).exists() {
            return Ok(Self { ours: false });
        }
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(POLICY)?;
        let ours = Self { ours: true };
        file.write_all(b"#!/bin/sh\nexit 101\n")?;
        Ok(ours)
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if self.ours {
            // It stays only if somebody else has taken it away.
            let _ = std::fs::remove_file(POLICY);
        }
    }
}
