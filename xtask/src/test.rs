//! Every check, each as a named step. All run, even after one has failed.

mod count;
mod leftovers;
mod programs;
mod purity;
mod scenarios;
mod skips;
mod step;

use self::count::Count;
use self::leftovers::Before;
use self::skips::Skips;
use self::step::{Outcome, Report};
use anyhow::Context as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// What `cargo xtask test` can be told.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Install nothing: say what is missing instead
    #[arg(long)]
    no_install: bool,
    /// Run only the steps whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

/// The tests append `NAME<TAB>REASON` lines to the file this variable names.
const SKIP_LOG: &str = "LASTACK_SKIP_LOG";

/// Runs every step and prints the result. The exit code is 1 if a step failed.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let root = crate::root();
    std::env::set_current_dir(&root).with_context(|| format!("no checkout at {}", root.display()))?;
    let scratch = Scratch::new()?;
    let before = Before::look(&scratch.tmp);
    let mut report = Report::new(options.only.clone(), Skips::read(Path::new("xtask/expected-skips.txt"))?);

    report.step("programs", || programs::ensure(!options.no_install));
    report.step("format", || step::check(cargo(["fmt", "--all", "--check"])));
    report.step("clippy", || {
        step::check(cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
    });
    report.step("documentation", || {
        step::check(cargo(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
    });
    report.step("build", || step::check(cargo(["build", "--workspace", "--all-targets"])));
    report.step("tests", || {
        if installed("nextest") {
            let run = cargo([
                "nextest",
                "run",
                "--workspace",
                "--all-targets",
                "--no-fail-fast",
                "--status-level=fail",
            ]);
            step::tests(scratch.prepare(run).arg("--final-status-level=skip"), Count::of_nextest)
        } else {
            let run = cargo(["test", "--workspace", "--all-targets", "--no-fail-fast"]);
            step::tests(scratch.prepare(run), Count::of_libtest)
        }
    });
    report.step("examples in the documentation", || {
        step::tests(
            scratch.prepare(cargo(["test", "--workspace", "--doc", "--no-fail-fast"])),
            Count::of_libtest,
        )
    });
    let lastack = || scratch.prepare(Command::new(crate::target_dir().join("debug").join("lastack")));
    report.step("scenarios", || scenarios::play(&lastack, &scratch.skip_log));
    report.step("repairs", || scenarios::repair(&lastack, &scratch.skip_log));
    report.skips.extend_from_log(&scratch.skip_log);
    report.step("purity", purity::check);
    report.step("wasm32 check", purity::check_wasm);
    report.step("fuzz targets", || {
        // Without its default feature the crate needs no C++ compiler, and no libFuzzer to link to.
        let target = crate::target_dir();
        step::check(
            cargo(["clippy", "--manifest-path", "fuzz/Cargo.toml", "--no-default-features", "--target-dir"])
                .arg(&target)
                .args(["--", "-D", "warnings"]),
        )
    });
    report.step("cargo deny", || {
        if installed("deny") {
            step::check(cargo(["deny", "--workspace", "check", "bans", "licenses", "sources"]))
        } else {
            Ok(Outcome::Skipped("cargo-deny is not installed (cargo install cargo-deny --locked)".to_owned()))
        }
    });
    report.step("nothing left behind", || Ok(before.compare(&scratch.marker)));
    drop(scratch);
    Ok(if report.print() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn cargo<const N: usize>(arguments: [&str; N]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// True if cargo has this subcommand.
fn installed(subcommand: &str) -> bool {
    cargo([subcommand, "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// What belongs to one run: a directory for temporary files, the log of skips, and a mark by which the
/// processes that the tests start are known. The directory goes with the value.
struct Scratch {
    dir: PathBuf,
    tmp: PathBuf,
    skip_log: PathBuf,
    marker: String,
}

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let marker = format!("xtask-test-{}", std::process::id());
        let dir = crate::target_dir().join(&marker);
        let tmp = dir.join("tmp");
        std::fs::create_dir_all(&tmp).with_context(|| format!("cannot make {}", tmp.display()))?;
        Ok(Self { skip_log: dir.join("skips"), dir, tmp, marker })
    }

    fn prepare(&self, mut command: Command) -> Command {
        command.env(SKIP_LOG, &self.skip_log).env("TMPDIR", &self.tmp).env(leftovers::MARK, &self.marker);
        // A snapshot that differs must fail, never be written.
        command.env("INSTA_UPDATE", "no").env("INSTA_FORCE_PASS", "0");
        command
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            eprintln!("cannot remove {}: {error}", self.dir.display());
        }
    }
}
