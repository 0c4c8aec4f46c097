//! `cargo xtask bench capture`: lastack beside a bare walk over the records and beside other readers of captures,
//! whole processes, on a capture made for the purpose.

mod answer;
mod rivals;

use self::answer::Answer;
use self::rivals::Rival;
use super::race::{Race, Reader};
use super::table::{self, Goal};
use crate::capture_maker::{self, Made};
use crate::debian;
use crate::scratch::Scratch;
use anyhow::{bail, ensure};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// Rounds if nothing else is said; of those that take most of a minute, one.
const ROUNDS: u32 = 5;
const SLOW_ROUNDS: u32 = 1;
/// No rounds begin that would end later.
const LIMIT: Duration = Duration::from_secs(1_800);
/// Bytes of the file for a first try of each program.
const TRY: u64 = 1 << 20;

/// What `cargo xtask bench capture` can be told.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Packets of the capture; the goals are meant for 5,000,000
    #[arg(long, default_value_t = 5_000_000, value_name = "N", value_parser = clap::value_parser!(u64).range(10_000..=50_000_000))]
    packets: u64,
    /// Times each reader runs [default: 5, and 1 for tshark and tcptrace]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// Install the other programs (Debian, root)
    #[arg(long)]
    install: bool,
    /// Make a new capture though there is one
    #[arg(long)]
    anew: bool,
    /// Without tshark and tcptrace
    #[arg(long)]
    quick: bool,
    /// Measure this program instead of a release build of this checkout
    #[arg(long, value_name = "PATH")]
    lastack: Option<PathBuf>,
}

/// Measures. Only what could not be measured makes it fail.
pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if cfg!(debug_assertions) {
        return again_as_release();
    }
    programs(options.install)?;
    let lastack = super::lastack(options.lastack.as_deref())?;
    let directory = crate::target_dir().join("bench");
    let made = capture_maker::ensure_made(&directory, options.packets, options.anew)?;
    super::introduce();
    println!(
        "{}: {:.0} MB, {} packets, {} connections ({} of them with a tuple used before), {} resets",
        made.file.display(),
        made.bytes as f64 / 1e6,
        made.truth.packets,
        made.truth.opening_syns,
        made.truth.tuples_again,
        made.truth.resets
    );
    if options.packets < 5_000_000 {
        println!("few packets: the goals are for 5,000,000");
    }
    Bench { options, lastack, directory, made }.run()?;
    Ok(ExitCode::SUCCESS)
}

/// The floor must be as fast as it can be: this program built as lastack is.
fn again_as_release() -> anyhow::Result<ExitCode> {
    let status = Command::new(super::release_build("xtask")?).args(std::env::args_os().skip(1)).status()?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::from(2), ExitCode::from))
}

/// Installs what is missing, if that was asked for, and says in one line what stays missing.
fn programs(install: bool) -> anyhow::Result<()> {
    let rivals = || rivals::ALL.iter().map(|rival| (rival.program, rival.package));
    let missing = |all: &mut dyn Iterator<Item = (&'static str, &'static str)>| -> Vec<_> {
        all.filter(|(program, _)| !debian::found(program)).collect()
    };
    let all = missing(&mut capture_maker::PROGRAMS.into_iter().chain(rivals()));
    if install && !all.is_empty() {
        let packages: Vec<_> = all.iter().map(|(_, package)| *package).collect();
        println!("installing {}", packages.join(", "));
        debian::install(&packages)?;
    }
    let list = |missing: Vec<(&str, &str)>| {
        let list = missing.iter().map(|(program, package)| format!("{program} (package {package})"));
        list.collect::<Vec<_>>().join(", ")
    };
    let needed = list(missing(&mut capture_maker::PROGRAMS.into_iter()));
    ensure!(needed.is_empty(), "to make the capture, these are missing: {needed}; --install gets them");
    let absent = list(missing(&mut rivals()));
    if !absent.is_empty() {
        println!("not installed, so not compared: {absent}; --install gets them");
    }
    Ok(())
}

struct Bench<'a> {
    options: &'a Options,
    lastack: PathBuf,
    directory: PathBuf,
    made: Made,
}

impl Bench<'_> {
    fn run(&self) -> anyhow::Result<()> {
        let scratch = Scratch::new(&self.directory, "scratch")?;
        let file = &self.made.file;
        let read = Reader::new(
            "lastack read --json",
            &self.lastack,
            ["read".as_ref(), file.as_os_str(), "--json".as_ref()],
        )
        .may_find_something();
        let floor = Reader::new(
            "floor: walk, tuples, count",
            std::env::current_exe()?,
            ["floor".as_ref(), file.as_os_str()],
        );
        read_through(file)?;
        self.check_floor(&floor)?;
        Answer::of(&read)?.print(&self.made);

        let rivals = self.fit(&scratch)?;
        let (fast, slow): (Vec<&Rival>, Vec<&Rival>) = rivals.into_iter().partition(|rival| !rival.slow);
        let runner =
            |rivals: &[&Rival]| rivals.iter().map(|rival| rival.reader(file, &scratch.0)).collect::<Vec<_>>();
        let (fast_runners, slow_runners) = (runner(&fast), runner(&slow));

        for (rival, runner) in fast.iter().zip(&fast_runners) {
            if let Some(count) = rival.connections(runner)? {
                println!("  {:33} {count:>12} connections", runner.name);
            }
        }

        let deadline = Instant::now() + LIMIT;
        let mut race = Race::new([&read, &floor].into_iter().chain(&fast_runners).collect());
        race.warm_up()?;
        race.run_rounds(self.options.rounds.unwrap_or(ROUNDS), deadline)?;
        let mut goals =
            vec![Goal::ratio(&race, &read, &floor, Some(2.5)), Goal::cpu_ratio(&race, &read, &floor)];
        goals.extend(
            fast_runners
                .iter()
                .zip(&fast)
                .map(|(runner, rival)| Goal::ratio(&race, &read, runner, Some(rival.goal))),
        );
        table::print("fast readers", &race, &goals);
        if !slow.is_empty() {
            let mut race = Race::new([&read].into_iter().chain(&slow_runners).collect());
            race.run_rounds(self.options.rounds.unwrap_or(SLOW_ROUNDS), deadline)?;
            let goals: Vec<_> = slow_runners
                .iter()
                .zip(&slow)
                .map(|(runner, rival)| Goal::ratio(&race, &read, runner, Some(rival.goal)))
                .collect();
            table::print("slow readers", &race, &goals);
        }
        Ok(())
    }

    /// The floor counts what the maker has counted, or one of them is wrong.
    fn check_floor(&self, floor: &Reader) -> anyhow::Result<()> {
        let output = floor.command().stdout(std::process::Stdio::piped()).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let truth = &self.made.truth;
        let tuples = truth.opening_syns - truth.tuples_again;
        let expected = format!(
            "{} packets, 0 not of TCP, {tuples} tuples, {} SYNs of clients, {} FINs, {} resets",
            truth.packets, truth.syns, truth.fins, truth.resets
        );
        ensure!(said.trim() == expected, "the floor counts {}, the maker {expected}", said.trim());
        Ok(())
    }

    /// The rivals that are installed and can read a first part of the file.
    fn fit(&self, scratch: &Scratch) -> anyhow::Result<Vec<&'static Rival>> {
        let part = first_part(&self.made.file, scratch)?;
        let mut fit = Vec::new();
        for rival in rivals::ALL.iter().filter(|rival| debian::found(rival.program)) {
            if rival.slow && self.options.quick {
                continue;
            }
            match rival.reader(&part, &scratch.0).run() {
                Ok(_) => fit.push(rival),
                Err(error) => println!("not compared: {error:#}"),
            }
        }
        Ok(fit)
    }
}

/// Has the file lie in memory before anybody is timed.
fn read_through(file: &Path) -> anyhow::Result<()> {
    std::io::copy(&mut File::open(file)?, &mut std::io::sink())?;
    Ok(())
}

/// Whole records from the beginning of a capture.
fn first_part(file: &Path, scratch: &Scratch) -> anyhow::Result<PathBuf> {
    let mut bytes = Vec::new();
    File::open(file)?.take(TRY).read_to_end(&mut bytes)?;
    let mut end = 24;
    while let Some(length) = bytes.get(end + 8..).and_then(|rest| rest.first_chunk()) {
        let next = end + 16 + usize::try_from(u32::from_ne_bytes(*length))?;
        if next > bytes.len() {
            break;
        }
        end = next;
    }
    if end == 24 {
        bail!("{} has no packets", file.display());
    }
    let part = scratch.0.join("first.pcap");
    std::fs::write(&part, &bytes[..end])?;
    Ok(part)
}
