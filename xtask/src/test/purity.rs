//! Purity is checked, not promised: the pure crates take bytes, time and randomness as arguments.

use super::cargo;
use super::step::{self, Outcome};
use anyhow::Context as _;
use std::path::Path;
use std::process::Command;

/// The crates without I/O: a folder of crates/ each.
const PURE: [&str; 8] = ["tcp", "evidence", "pasted", "capture", "config", "diagnose", "report", "world"];

/// Crates that do I/O or reach the system; no pure crate may depend on one.
const IMPURE: [&str; 12] = [
    "aya",
    "getrandom",
    "libc",
    "lastack-kernel",
    "lastack-namespaced",
    "mio",
    "nix",
    "rustix",
    "socket2",
    "tempfile",
    "terminal_size",
    "tokio",
];

/// Each pure crate bans clocks, files and environment in its clippy.toml, and depends on nothing impure.
pub(super) fn check() -> anyhow::Result<Outcome> {
    let mut wrong = Vec::new();
    for name in PURE {
        let bans = Path::new("crates").join(name).join("clippy.toml");
        match std::fs::read_to_string(&bans) {
            Ok(text) => wrong.extend(
                ["std::time::Instant::now", "std::time::SystemTime::now", "std::env::var", "std::fs::read"]
                    .into_iter()
                    .filter(|banned| !text.contains(banned))
                    .map(|banned| format!("{} does not ban {banned}", bans.display())),
            ),
            Err(error) => wrong.push(format!("{}: {error}", bans.display())),
        }
        let package = format!("lastack-{name}");
        let tree = cargo([
            "tree",
            "--package",
            &package,
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .output()
        .context("cargo tree")?;
        if !tree.status.success() {
            wrong.push(format!("cargo tree of {package}: {}", String::from_utf8_lossy(&tree.stderr).trim()));
        }
        let tree = String::from_utf8_lossy(&tree.stdout);
        let depends = tree.lines().filter_map(|line| line.split(' ').next());
        let mut impure: Vec<_> = depends.filter(|crate_| IMPURE.contains(crate_)).collect();
        impure.sort_unstable();
        impure.dedup();
        wrong.extend(impure.iter().map(|crate_| format!("{package} depends on {crate_}")));
    }
    for line in &wrong {
        println!("{line}");
    }
    Ok(if wrong.is_empty() { Outcome::Passed } else { Outcome::Failed(format!("{} in all", wrong.len())) })
}

/// Compiles the pure crates where there is no operating system to reach.
pub(super) fn check_wasm() -> anyhow::Result<Outcome> {
    const TARGET: &str = "wasm32-unknown-unknown";
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let found = Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output()?;
    let directory = String::from_utf8_lossy(&found.stdout).trim().to_owned();
    if !found.status.success() || !Path::new(&directory).is_dir() {
        return Ok(Outcome::Skipped(format!(
            "target {TARGET} is not installed (rustup target add {TARGET})"
        )));
    }
    let packages = PURE.iter().flat_map(|name| ["--package".to_owned(), format!("lastack-{name}")]);
    step::check(cargo(["check", "--target", TARGET]).args(packages))
}
