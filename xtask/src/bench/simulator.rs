//! `cargo xtask bench simulator`: how many lives of connections the simulator runs a second, and an hour of a busy
//! host.

use anyhow::Context as _;
use std::process::{Command, ExitCode};
use std::time::Instant;
use world::scenario::World;
use world::{Run, Scenario};

/// What `cargo xtask bench simulator` can be told.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Connections of the first measurement
    #[arg(long, default_value_t = 5_000_000, value_name = "N", value_parser = clap::value_parser!(u32).range(10_000..=50_000_000))]
    lives: u32,
    /// Connections with every segment, for comparison
    #[arg(long, default_value_t = 200_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    in_full: u32,
    /// Minutes of the busy host; the goal is meant for 60
    #[arg(long, default_value_t = 60, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=600))]
    minutes: u32,
}

/// Connections a second of the busy host.
const RATE: u32 = 10_000;

/// Measures. Times are shown, never judged by the exit code.
pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if cfg!(debug_assertions) {
        return again_as_release();
    }
    super::introduce();
    let minutes = options.minutes;
    let connections = RATE * 60 * minutes;
    let load = format!("connections = {connections}\nper_second = {RATE}.0\nconcurrency = 64");
    let what = format!("{minutes} minutes of {RATE} connections a second");
    report(&what, &world(connections, &load)?, world::simulate);
    let short = |connections| world(connections, &format!("connections = {connections}"));
    report("as fast as one client goes", &short(options.lives)?, world::simulate);
    report("the same, every segment", &short(options.in_full)?, world::simulate_in_full);
    Ok(ExitCode::SUCCESS)
}

/// A client that closes first, with ports for all that are in TIME-WAIT at once.
fn world(connections: u32, load: &str) -> anyhow::Result<World> {
    let text = format!(
        "name = \"busy\"\ntitle = \"t\"\nlimit_ms = 600000000\n\
         [[host]]\nname = \"client\"\naddresses = 100\n\
         settings = {{ \"net.ipv4.tcp_max_tw_buckets\" = 4000000 }}\n\
         [[host]]\nname = \"server\"\n\
         [[server]]\nname = \"app\"\nhost = \"server\"\nport = 8080\nclose = {{ when = \"peer\" }}\n\
         [[client]]\nname = \"load\"\nhost = \"client\"\nto = [\"app\"]\nbind = \"address-no-port\"\nsources = 100\n\
         {load}\nclose = {{ when = \"requests\" }}\n"
    );
    let scenario =
        Scenario::parse(&text).with_context(|| format!("the world of {connections} connections"))?;
    let variant = scenario.variants.into_iter().next().context("a scenario without a variant")?;
    Ok(variant.world)
}

fn report(what: &str, world: &World, simulate: fn(&World) -> Run) {
    let (begin, busy) = (Instant::now(), processor_seconds());
    let run = simulate(world);
    let elapsed = begin.elapsed().as_secs_f64();
    let seconds = processor_seconds() - busy;
    let ok = run.measures.get("load.ok").unwrap_or(0.0);
    let waits = run.measures.get("client.peak.TIME-WAIT").unwrap_or(0.0);
    println!(
        "{what}: {ok:.0} lives in {seconds:.1} s of one processor ({elapsed:.1} s passed), {:.0} a second; {:.0} s of virtual time, at most {waits:.0} in \
         TIME-WAIT; peak memory so far {} MB",
        ok / seconds.max(0.01),
        run.end_ms as f64 / 1e3,
        peak_mb(),
    );
}

/// Processor time of this process, in hundredths of a second that the kernel counts.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name: fields 14 and 15 of proc(5), utime and stime.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u32>().ok());
    f64::from(ticks.sum::<u32>()) / 100.0
}

/// The most memory this process has had, in MB.
fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) / 1_000
}

/// The simulator as it is shipped.
fn again_as_release() -> anyhow::Result<ExitCode> {
    let status = Command::new(super::release_build("xtask")?).args(std::env::args_os().skip(1)).status()?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::from(2), ExitCode::from))
}
