//! `cargo xtask bench sockets`: lastack beside the kernel's own dump and beside ss, whole processes, on sockets
//! made for the purpose.

use super::race::{Race, Reader};
use super::table::{self, Goal};
use crate::namespace::{self, Inside};
use crate::sockets::{Fill, Held};
use anyhow::{Context as _, ensure};
use clap::ValueEnum as _;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What `cargo xtask bench sockets` can be told.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// These measurements instead of all
    #[arg(long, value_delimiter = ',')]
    only: Vec<Only>,
    /// Times each reader runs
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Part of the sockets, for a quick try: the goals are meant for 1
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    scale: f64,
    /// Measure this program instead of a release build of this checkout
    #[arg(long, value_name = "PATH")]
    lastack: Option<PathBuf>,
    #[command(flatten)]
    inside: Inside,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Only {
    /// 10,000 sockets: what a small host has
    #[value(name = "10k")]
    TenThousand,
    /// 72,000 live sockets in 8 processes, with their owners
    #[value(name = "owners")]
    Owners,
    /// 1,000,000 TIME-WAIT
    #[value(name = "1m")]
    Million,
    /// Memory for 100,000 and 1,000,000 TIME-WAIT of the same destinations
    #[value(name = "memory")]
    Memory,
}

/// TIME-WAIT goes to so many destinations.
const DESTINATIONS: u32 = 64;
/// The first TIME-WAIT sockets of a fill are gone 60 s after it began; measuring stops before.
const USABLE: Duration = Duration::from_secs(58);
/// A fill that must be done again waits for the last one to be gone, this long at most.
const DRAIN: Duration = Duration::from_secs(90);
/// Fills of one measurement.
const FILLS: u32 = 4;

/// What shares its sockets; each group has a namespace of its own, or one would wait for the other's TIME-WAIT.
const GROUPS: [&[Only]; 3] = [&[Only::TenThousand], &[Only::Owners], &[Only::Million, Only::Memory]];

/// Measures. Times are shown, never judged by the exit code: a machine has neighbours.
pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    ensure!(options.scale > 0.0 && options.scale <= 2.0, "--scale: above 0, at most 2");
    if options.inside.prepare()? {
        let lastack = options.lastack.as_deref().context("--inside without --lastack")?;
        Sockets { options, readers: Readers::new(lastack)? }.run()?;
        return Ok(ExitCode::SUCCESS);
    }
    let lastack = super::lastack(options.lastack.as_deref())?;
    super::introduce();
    if let Some(others) = namespace::time_wait_of_the_host().filter(|others| *others > 10_000) {
        println!(
            "{others} TIME-WAIT of other namespaces lie in the same table, which every reader walks: wait for their end"
        );
    }
    if options.scale < 1.0 {
        println!("scaled to {}: the goals are for 1", options.scale);
    }
    for group in GROUPS {
        let wanted = group.iter().filter(|one| options.only.is_empty() || options.only.contains(one));
        let names: Vec<_> =
            wanted.filter_map(|one| Some(one.to_possible_value()?.get_name().to_owned())).collect();
        if names.is_empty() {
            continue;
        }
        let mut arguments: Vec<OsString> = ["bench", "sockets", "--only"].map(OsString::from).into();
        arguments.extend([names.join(",").into(), "--rounds".into(), options.rounds.to_string().into()]);
        arguments.extend([
            "--scale".into(),
            options.scale.to_string().into(),
            "--lastack".into(),
            lastack.clone().into(),
        ]);
        let code = namespace::run_inside(arguments)?;
        if code != ExitCode::SUCCESS {
            return Ok(code);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The programs that are compared.
struct Readers {
    doctor: Reader,
    one_request: Reader,
    two_requests: Reader,
    ss: Reader,
    ss_owners: Reader,
}

impl Readers {
    fn new(lastack: &Path) -> anyhow::Result<Self> {
        let here = std::env::current_exe()?;
        let dump = |name, each: &[&str]| Reader::new(name, here.clone(), [&["dump"], each].concat());
        let ss = |name, arguments| Reader::new(name, "ss", [arguments]);
        Ok(Self {
            doctor: Reader::new("lastack doctor --for 0 --json", lastack, ["doctor", "--for", "0", "--json"])
                .may_find_something(),
            one_request: dump("bare dump, one request", &[]),
            two_requests: dump("bare dump, one request a family", &["--each-family"]),
            ss: ss("ss -tan", "-tan"),
            ss_owners: ss("ss -tanp", "-tanp"),
        })
    }
}

struct Sockets<'a> {
    options: &'a Options,
    readers: Readers,
}

impl Sockets<'_> {
    fn run(&self) -> anyhow::Result<()> {
        let wanted = |one| self.options.only.contains(&one);
        if wanted(Only::TenThousand) {
            self.ten_thousand()?;
        }
        if wanted(Only::Owners) {
            self.owners()?;
        }
        if wanted(Only::Million) || wanted(Only::Memory) {
            self.million(wanted(Only::Million), wanted(Only::Memory))?;
        }
        Ok(())
    }

    fn scaled(&self, count: u32) -> u32 {
        let scaled = (f64::from(count) * self.options.scale).round();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most twice a constant"
        )]
        let scaled = scaled as u32;
        scaled.max(DESTINATIONS)
    }

    /// First TIME-WAIT only, which is what `ss -tan` reads as well; then with live sockets, whose owners lastack
    /// looks for and `ss -tan` does not.
    fn ten_thousand(&self) -> anyhow::Result<()> {
        let readers = &self.readers;
        let start = Instant::now();
        Fill::new(DESTINATIONS)?.add(self.scaled(10_000))?;
        for (pairs, goal) in [(0, Some(1.0 / 3.0)), (self.scaled(500), None)] {
            let held = Held::new(pairs)?;
            let mut race = Race::on_sockets(vec![&readers.doctor, &readers.one_request, &readers.ss]);
            race.warm_up()?;
            race.run_rounds(self.options.rounds, start + USABLE)?;
            let title =
                format!("10k: {} TIME-WAIT and {} with their owners", race.time_wait(), live(held.pairs));
            table::print(
                &title,
                &race,
                &[
                    Goal::ratio(&race, &readers.doctor, &readers.ss, goal),
                    Goal::ratio(&race, &readers.doctor, &readers.one_request, None),
                ],
            );
        }
        Ok(())
    }

    fn owners(&self) -> anyhow::Result<()> {
        let readers = &self.readers;
        let held = Held::new(self.scaled(36_000))?;
        let mut race = Race::on_sockets(vec![&readers.doctor, &readers.one_request, &readers.ss_owners]);
        race.warm_up()?;
        race.run_rounds(self.options.rounds, Instant::now() + Duration::from_secs(600))?;
        let seen = namespace::in_use()?;
        let title = format!("owners: {} in 8 processes ({seen} in use)", live(held.pairs));
        table::print(
            &title,
            &race,
            &[
                Goal::ratio(&race, &readers.doctor, &readers.ss_owners, Some(1.0 / 4.0)),
                Goal::peak(&race, &readers.doctor, Some(64.0)),
            ],
        );
        Ok(())
    }

    fn million(&self, speed: bool, memory: bool) -> anyhow::Result<()> {
        let readers = &self.readers;
        let (few, many) = (self.scaled(100_000), self.scaled(1_000_000));
        let all = vec![&readers.one_request, &readers.doctor, &readers.two_requests, &readers.ss];
        let mut race = Race::on_sockets(if speed { all } else { vec![&readers.doctor] });
        race.warm_up()?;
        let mut before = Race::on_sockets(vec![&readers.doctor]);
        let mut fills = Vec::new();
        let mut left = self.options.rounds;
        while left > 0 && u32::try_from(fills.len()).is_ok_and(|fills| fills < FILLS) {
            drained()?;
            let start = Instant::now();
            let mut fill = Fill::new(DESTINATIONS)?;
            let mut took = Duration::ZERO;
            if memory && fills.is_empty() {
                took += fill.add(few)?;
                before.run_rounds(self.options.rounds.min(3), start + USABLE)?;
                took += fill.add(many - few)?;
            } else {
                took += fill.add(many)?;
            }
            fills.push(format!("{:.0} s", took.as_secs_f64()));
            left -= race.run_rounds(left, start + USABLE)?;
        }
        if memory {
            let title =
                format!("memory: {} TIME-WAIT to the same {DESTINATIONS} destinations", before.time_wait());
            table::print(&title, &before, &[Goal::peak(&before, &readers.doctor, Some(64.0))]);
        }
        let title = format!(
            "1m: {} TIME-WAIT to {DESTINATIONS} destinations, filled in {}",
            race.time_wait(),
            fills.join(", ")
        );
        let mut goals = vec![Goal::peak(&race, &readers.doctor, Some(64.0))];
        if memory {
            goals.push(Goal::growth(&race, &before, &readers.doctor, Some(1.0)));
        }
        if speed {
            goals.push(Goal::ratio(&race, &readers.doctor, &readers.one_request, Some(1.2)));
            goals.push(Goal::ratio(&race, &readers.doctor, &readers.two_requests, None));
            goals.push(Goal::ratio(&race, &readers.doctor, &readers.ss, Some(1.0 / 7.0)));
        }
        table::print(&title, &race, &goals);
        Ok(())
    }
}

fn live(pairs: u32) -> String {
    format!("{} live sockets", pairs * 2)
}

/// Waits until no TIME-WAIT is left.
fn drained() -> anyhow::Result<()> {
    let start = Instant::now();
    while namespace::time_wait()? > 0 {
        ensure!(start.elapsed() < DRAIN, "TIME-WAIT did not end in {} s", DRAIN.as_secs());
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}
