//! A maker of sockets: real connections over loopback, closed or held.

use crate::namespace::{self, Inside};
use anyhow::{Context as _, bail, ensure};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// Processes that fill TIME-WAIT: one a CPU of a small machine.
const FILLERS: u32 = 2;
/// Processes that hold connections.
const HOLDERS: u32 = 8;
/// Listening ports of the two kinds. They lie below the local range, so that no connection takes one.
const FILL_PORT: u16 = 1001;
const HOLD_PORT: u16 = 1011;
/// What may be asked for: the kernel memory of so many is about 1 GiB (271 bytes a TIME-WAIT socket).
const MOST_TIME_WAIT: u32 = 3_900_000;
const MOST_PAIRS: u32 = 60_000;
/// A fill that takes longer is given up: the first of its sockets are gone by then.
const FILL_LIMIT: Duration = Duration::from_secs(55);

/// `cargo xtask sockets`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// TIME-WAIT sockets to make; each lasts 60 s
    #[arg(long, default_value_t = 0, value_name = "N")]
    time_wait: u32,
    /// Destinations they go to
    #[arg(long, default_value_t = 64, value_name = "N")]
    destinations: u32,
    /// Established sockets to hold, two to a connection
    #[arg(long, default_value_t = 0, value_name = "N")]
    live: u32,
    /// How long to hold them, at most an hour
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    hold: u64,
    #[command(flatten)]
    inside: Inside,
}

/// Makes sockets in a namespace of its own and holds them.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if !options.inside.prepare()? {
        return namespace::run_inside(std::env::args_os().skip(1));
    }
    let held = Held::new(options.live / 2)?;
    let fill = Fill::new(options.destinations)?.add(options.time_wait)?;
    println!(
        "{} TIME-WAIT (in {:.1} s), {} live sockets, for {} s; look: lastack doctor --netns pid:{}",
        namespace::time_wait()?,
        fill.as_secs_f64(),
        held.pairs * 2,
        options.hold,
        std::process::id()
    );
    std::thread::sleep(Duration::from_secs(options.hold));
    Ok(ExitCode::SUCCESS)
}

/// What one process of the maker does.
#[derive(clap::Subcommand)]
pub(crate) enum Part {
    /// Make connections that end in TIME-WAIT here
    Fill {
        count: u32,
        #[arg(long)]
        worker: u32,
        #[arg(long)]
        destinations: u32,
        /// Connections that this worker has made before
        #[arg(long)]
        skip: u32,
    },
    /// Hold connections until standard input ends
    Hold {
        pairs: u32,
        #[arg(long)]
        worker: u32,
    },
}

impl Part {
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        namespace::end_with_parent()?;
        match *self {
            Self::Fill { count, worker, destinations, skip } => fill(count, worker, destinations, skip)?,
            Self::Hold { pairs, worker } => hold(pairs, worker)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// TIME-WAIT sockets, spread over destinations.
pub(crate) struct Fill {
    destinations: u32,
    made: u32,
}

impl Fill {
    /// Nothing yet.
    pub(crate) fn new(destinations: u32) -> anyhow::Result<Self> {
        ensure!(
            (FILLERS..=10_000).contains(&destinations),
            "destinations: {FILLERS} to 10000, not {destinations}"
        );
        Ok(Self { destinations, made: 0 })
    }

    /// Adds TIME-WAIT sockets, and gives the time it took.
    pub(crate) fn add(&mut self, count: u32) -> anyhow::Result<Duration> {
        let all = self.made.saturating_add(count);
        ensure!(all <= MOST_TIME_WAIT, "{all} TIME-WAIT sockets: at most {MOST_TIME_WAIT}");
        let ports = u64::from(self.destinations) * 64_000;
        ensure!(
            u64::from(all) <= ports,
            "{all} TIME-WAIT sockets do not fit {} destinations",
            self.destinations
        );
        let start = Instant::now();
        let destinations = self.destinations / FILLERS;
        let workers = (0..FILLERS).map(|worker| {
            let share = share(count, FILLERS, worker).to_string();
            let skip = share_text(self.made, worker);
            let mut command = part("fill")?;
            command.args([&share, "--worker", &worker.to_string()]);
            command.args(["--destinations", &destinations.to_string(), "--skip", &skip]);
            Ok(Ending(command.stdin(Stdio::null()).spawn()?))
        });
        let mut workers: Vec<Ending> = workers.collect::<anyhow::Result<_>>()?;
        for worker in &mut workers {
            worker.finish(start + FILL_LIMIT)?;
        }
        self.made = all;
        Ok(start.elapsed())
    }
}

fn share(count: u32, workers: u32, worker: u32) -> u32 {
    count / workers + u32::from(worker < count % workers)
}

fn share_text(made: u32, worker: u32) -> String {
    share(made, FILLERS, worker).to_string()
}

fn part(name: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["part", name]);
    Ok(command)
}

/// A child that ends with this value.
struct Ending(Child);

impl Ending {
    fn finish(&mut self, deadline: Instant) -> anyhow::Result<()> {
        loop {
            match self.0.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("a maker of sockets failed: {status}"),
                None if Instant::now() > deadline => {
                    bail!("the sockets were not made in {} s", FILL_LIMIT.as_secs())
                }
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        // Both fail only for a child that is gone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One connection after the other, each closed by the client first, so that the client's end stays in TIME-WAIT
/// and the server's is gone. Nothing waits: over loopback each step is done when the call returns.
fn fill(count: u32, worker: u32, destinations: u32, skip: u32) -> anyhow::Result<()> {
    let port = FILL_PORT + u16::try_from(worker)?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).context("bind")?;
    for made in skip..skip + count {
        let to = SocketAddrV4::new(address(worker, made % destinations), port);
        let client = TcpStream::connect(to).with_context(|| format!("connection {made} to {to}"))?;
        let (mut server, _) = listener.accept().context("accept")?;
        drop(client);
        ensure!(server.read(&mut [0; 1]).context("read")? == 0, "data from a client that sends none");
    }
    Ok(())
}

/// The n-th destination of a worker, in 127.0.0.0/8.
fn address(worker: u32, n: u32) -> Ipv4Addr {
    let [.., third, fourth] = (n / 250 * 256 + n % 250 + 1).to_be_bytes();
    let [.., second] = (worker + 1).to_be_bytes();
    Ipv4Addr::new(127, second, third, fourth)
}

/// Connections held by several processes until this value goes.
pub(crate) struct Held {
    /// How many.
    pub(crate) pairs: u32,
    workers: Vec<Ending>,
}

impl Held {
    /// Makes them.
    pub(crate) fn new(pairs: u32) -> anyhow::Result<Self> {
        ensure!(pairs <= MOST_PAIRS, "{pairs} connections: at most {MOST_PAIRS}");
        let mut held = Self { pairs, workers: Vec::new() };
        for worker in 0..if pairs == 0 { 0 } else { HOLDERS } {
            let mut command = part("hold")?;
            command.args([&share(pairs, HOLDERS, worker).to_string(), "--worker", &worker.to_string()]);
            let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
            held.workers.push(Ending(child));
        }
        for worker in &mut held.workers {
            let mut ready = [0; 1];
            let out = worker.0.stdout.as_mut().context("no pipe")?;
            out.read_exact(&mut ready).context("a holder of connections failed")?;
        }
        Ok(held)
    }
}

/// Opens connections, says so, and holds both ends of each.
fn hold(pairs: u32, worker: u32) -> anyhow::Result<()> {
    namespace::allow_files(u64::from(pairs) * 2 + 64)?;
    let port = HOLD_PORT + u16::try_from(worker)?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).context("bind")?;
    let to = SocketAddrV4::new(address(worker, 0), port);
    let connections = (0..pairs).map(|_| Ok((TcpStream::connect(to)?, listener.accept()?.0)));
    let connections: Vec<_> = connections.collect::<std::io::Result<_>>().context("connect")?;
    std::io::stdout().write_all(b"+").and_then(|()| std::io::stdout().flush())?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    drop(connections);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_differ_by_one_at_most() {
        for count in [0, 1, 7, 8, 100_001] {
            let shares: Vec<_> = (0..HOLDERS).map(|worker| share(count, HOLDERS, worker)).collect();
            assert_eq!(shares.iter().sum::<u32>(), count);
            assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1, "{shares:?}");
        }
    }

    #[test]
    fn destinations_are_distinct_and_usable() {
        let all: std::collections::BTreeSet<_> =
            (0..FILLERS).flat_map(|worker| (0..5_000).map(move |n| address(worker, n))).collect();
        assert_eq!(all.len(), 10_000);
        assert!(all.iter().all(|address| address.is_loopback() && !matches!(address.octets()[3], 0 | 255)));
    }
}
