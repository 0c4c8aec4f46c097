//! The rehearsal of a life: the simulator runs it by itself, and what happens to both hosts is written down.

use super::Simulation;
use super::counters::{Counter, Counts};
use super::host::{Host, Place};
use tcp::machine::Nanos;
use tcp::{Seq, State};

/// Fewer connections than this are not worth a rehearsal.
const FEW: u32 = 16;
/// A life with more events than this runs in full each time.
const MOST_EVENTS: u32 = 100_000;
/// A life that takes longer does, too.
const LONGEST_NS: Nanos = 600_000_000_000;

/// What is written down during a rehearsal, of one host.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    pub(super) now: Nanos,
    /// When the first mini-socket was made.
    mini: Option<Nanos>,
    counted: Vec<(Nanos, Counter)>,
    moved: Vec<(Nanos, State, State)>,
}

impl Record {
    pub(super) fn made_mini(&mut self) {
        self.mini.get_or_insert(self.now);
    }

    pub(super) fn count(&mut self, counter: Counter) {
        self.counted.push((self.now, counter));
    }

    pub(super) fn moved(&mut self, before: State, after: State) {
        self.moved.push((self.now, before, after));
    }
}

/// One side of an undisturbed life. Times are from its first SYN.
#[derive(Clone, Debug)]
pub(super) struct Side {
    pub(super) host: usize,
    pub(super) counted: Vec<(Nanos, Counter)>,
    pub(super) total: Counts,
    /// The state from each time on.
    pub(super) states: Vec<(Nanos, State)>,
    /// From then on it takes a place in the table of mini-sockets; for ever not: `Nanos::MAX`.
    pub(super) is_mini: Nanos,
    /// From then on it is gone, or a mini-socket that only time ends.
    pub(super) resolved: Nanos,
    pub(super) mini: Option<Shape>,
}

/// What a mini-socket looks like, from where its connection began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) state: State,
    /// SND.NXT from the own initial number, RCV.NXT from the peer's.
    pub(super) sent: u32,
    pub(super) received: u32,
    /// When the last timestamp was sent and heard; none: there were none.
    pub(super) heard: Option<(Nanos, Nanos)>,
    pub(super) entered: Nanos,
    pub(super) ends: Nanos,
}

/// An undisturbed life.
#[derive(Clone, Debug)]
pub(super) struct Template {
    /// The client's side, the server's.
    pub(super) sides: [Side; 2],
    pub(super) connected: Nanos,
    /// When answers were complete, and how long each took.
    pub(super) answers: Vec<(Nanos, Nanos)>,
    pub(super) ok: Option<Nanos>,
    /// The client may begin the next.
    pub(super) finished: Nanos,
    /// When it comes to the accept queue, and leaves it.
    pub(super) queued: [Nanos; 2],
    /// From then on nothing of it is on its way, and only time ends what is left.
    pub(super) over: Nanos,
    /// How long a segment is on its way.
    pub(super) latency: Nanos,
}

impl Simulation<'_> {
    /// Runs one life in a world of its own, and writes down what happens.
    pub(super) fn rehearse(&self, client: usize, to: usize, destination: Place) -> Option<Template> {
        let from = self.client_hosts[client];
        let config = &self.world.clients[client];
        let translated = |host: usize| !self.world.hosts[host].nat.is_empty();
        let path = self.network.known_path(from, destination.address);
        let alone = path.is_some_and(|path| path.through.iter().all(|host| !translated(*host)));
        let remaining = config.connections.saturating_sub(self.clients[client].begun);
        if from == to || !alone || translated(to) || remaining < FEW || self.hosts[to].tuned.recycle {
            return None;
        }
        let latency = self.network.latency(path.map_or(0, |path| path.through.len() as u64));
        let mut world = self.world.clone();
        world.faults.clear();
        world.steps.clear();
        world.probes.clear();
        let one = &mut world.clients[client];
        (one.connections, one.start_ms, one.per_second, one.for_ms) = (1, 0, None, None);
        one.burst = 1;
        let mut stage = Simulation::new(&world);
        for (host, real) in stage.hosts.iter_mut().zip(&self.hosts) {
            host.tuned = real.tuned.clone();
            host.ports.set_range(real.tuned.range, &real.tuned.reserved);
            host.record = Some(Box::default());
        }
        stage.destinations[client] = vec![(to, destination)];
        stage.rehearses = true;
        stage.begin(client);
        stage.perform(client, from, to, latency)
    }

    fn perform(mut self, client: usize, from: usize, to: usize, latency: Nanos) -> Option<Template> {
        let (mut syn, mut connected, mut ok, mut finished) = (None, None, None, None);
        let mut answers = Vec::new();
        let mut numbers = [Seq::default(); 2];
        let mut over = false;
        let mut queued = [None; 2];
        let mut gone = 0;
        for _ in 0..MOST_EVENTS {
            for (number, host) in numbers.iter_mut().zip([from, to]) {
                if let Some((_, socket)) = self.hosts[host].sockets.iter().next() {
                    *number = socket.endpoint.iss();
                }
            }
            let open = [from, to].iter().any(|host| self.hosts[*host].sockets.iter().next().is_some());
            // Its client may still be on the way back from close().
            over = !open && !self.agenda.has_packets() && self.clients[client].active == 0;
            if over {
                break;
            }
            let is_met = |host: &usize| self.hosts[*host].sockets.iter().any(|(_, socket)| socket.in_table);
            let goes_on = self.agenda.has_packets() || [from, to].iter().any(is_met);
            let (at, what) = self.agenda.take_until(Nanos::MAX)?;
            if at > LONGEST_NS {
                return None;
            }
            if goes_on {
                gone = at;
            }
            self.now = at;
            for host in &mut self.hosts {
                if let Some(record) = &mut host.record {
                    record.now = at;
                }
            }
            self.happen(what);
            let waits = self.hosts[to].listeners.values().any(|listener| listener.queued > 0);
            match queued {
                [None, _] if waits => queued[0] = Some(at),
                [Some(_), None] if !waits => queued[1] = Some(at),
                _ => {}
            }
            let running = &self.clients[client];
            if syn.is_none() && self.hosts[from].counters[Counter::ActiveOpens as usize] > 0 {
                syn = Some(at);
            }
            if running.connected > 0 {
                connected.get_or_insert(at);
            }
            while (answers.len() as u64) < running.requests {
                answers.push((at, running.answered_in));
            }
            if running.ok > 0 {
                ok.get_or_insert(at);
            }
            if running.active == 0 {
                finished.get_or_insert(at);
            }
        }
        let failed = !self.clients[client].failed.is_empty();
        let (Some(syn), Some(connected), Some(finished), false) = (syn, connected, finished, failed) else {
            return None;
        };
        if !over {
            return None;
        }
        let sides = [(from, numbers), (to, [numbers[1], numbers[0]])];
        let sides = sides.map(|(host, numbers)| self.hosts[host].side(host, syn, numbers, latency));
        let others = (0..self.hosts.len()).filter(|host| ![from, to].contains(host));
        if others.into_iter().any(|host| self.hosts[host].counters.iter().any(|count| *count > 0)) {
            return None;
        }
        let [of_client, of_server] = sides;
        let [Some(enters), Some(leaves)] = queued else { return None };
        let told = answers.iter().map(|(at, _)| *at).chain(ok).fold(connected.max(gone), Nanos::max);
        Some(Template {
            sides: [of_client?, of_server?],
            connected: connected - syn,
            answers: answers.into_iter().map(|(at, took)| (at - syn, took)).collect(),
            ok: ok.map(|at| at - syn),
            finished: finished - syn,
            queued: [enters - syn, leaves - syn],
            over: told - syn,
            latency,
        })
    }
}

impl Host {
    /// What was written down here, from the SYN on; none: something is left that is no mini-socket in TIME-WAIT.
    fn side(&self, host: usize, syn: Nanos, numbers: [Seq; 2], latency: Nanos) -> Option<Side> {
        let record = self.record.as_ref()?;
        let mut total: Counts = [0; Counter::COUNT];
        for (_, counter) in &record.counted {
            total[*counter as usize] += 1;
        }
        let mut minis = self.minis.iter();
        let mini = match (minis.next(), minis.next()) {
            (None, _) => None,
            (Some((_, mini)), None) if mini.residue.state == State::TimeWait => Some(mini.residue),
            _ => return None,
        };
        let since = |number: Seq, first: Seq| number.since(first).cast_unsigned();
        let mini = mini.map(|residue| Shape {
            state: residue.state,
            sent: since(residue.snd_nxt, numbers[0]),
            received: since(residue.rcv_nxt, numbers[1]),
            heard: residue.heard.map(|(_, at)| (at - latency - syn, at - syn)),
            entered: residue.entered - syn,
            // Saturated: it never ends, whenever the life begins.
            ends: if residue.ends == Nanos::MAX { Nanos::MAX } else { residue.ends - syn },
        });
        let moved = record.moved.iter().map(|(at, _, after)| (at - syn, *after));
        Some(Side {
            host,
            counted: record.counted.iter().map(|(at, counter)| (at - syn, *counter)).collect(),
            total,
            is_mini: record.mini.map_or(Nanos::MAX, |at| at - syn),
            resolved: record.moved.last()?.0 - syn,
            states: moved.collect(),
            mini,
        })
    }
}
