//! Talkers of a list of sockets, where no capture shows them: ages of TIME-WAIT are the record of closes, counters know
//! of connections that left nothing behind, and what is open now tells how long one is open.

use super::{Assumption, Ends, LASTING_SECONDS, LATELY_S, Pace, Party, Place, Range, Talker};
use evidence::{Group, Namespace, Role};
use tcp::State;

/// Connections that are open for longer are said to stay open.
const LONG_MS: f64 = 60_000.0;

/// Fewer connections than this in the other half of the ports prove no bind().
const PROOF: u32 = 10;

/// So much more than what TIME-WAIT explains must have been opened before something else is looked for.
const UNEXPLAINED: f64 = 1.2;
/// And so many connections more.
const AT_LEAST: f64 = 5.0;

/// Closes in so many whole seconds tell how fast ports were taken that are all gone. Fewer are a burst.
const STARVED_SECONDS: usize = 2;

/// Where ports are all gone, and how fast they went is not known, so much more may be asked for than they allow.
const BEYOND: f64 = 1.1;

/// Adds the talkers of a namespace to those that a capture shows, and joins what both show.
pub(super) fn join(
    namespace: &Namespace,
    place: &Place,
    talkers: &mut Vec<Talker>,
    assumptions: &mut Vec<Assumption>,
) {
    let was_captured = !talkers.is_empty();
    let mut glimpsed: Vec<Glimpse<'_>> = Vec::new();
    for group in &namespace.sockets.groups {
        let Some(glimpse) = Glimpse::of(namespace, place, group) else { continue };
        let same = |talker: &&mut Talker| {
            talker.client == glimpse.client && talker.server == glimpse.server && talker.port == glimpse.port
        };
        let mut captured = talkers.iter_mut().filter(same).peekable();
        if captured.peek().is_none() {
            glimpsed.push(glimpse);
            continue;
        }
        for talker in captured {
            glimpse.adds_to(talker);
        }
    }
    glimpsed.sort_by_key(|glimpse| (glimpse.client, glimpse.server, glimpse.port));
    let mut own = Vec::new();
    for glimpse in &glimpsed {
        glimpse.talkers(&mut own);
    }
    merge_sources(&mut own);
    if glimpsed.iter().any(|glimpse| glimpse.ageless) {
        assumptions.push(Assumption::new(
            format!(
                "closes are spread evenly over the {} s of TIME-WAIT",
                namespace.settings.time_wait().as_secs()
            ),
            "the list shows TIME-WAIT without its ages: ss -o has them",
        ));
    }
    if !was_captured {
        unexplained(namespace, &glimpsed, &mut own, assumptions);
    }
    if own.is_empty() {
        return;
    }
    say(namespace, &own, glimpsed.iter().any(|glimpse| glimpse.ageless), assumptions);
    talkers.extend(own);
}

/// What a group of sockets shows of a load.
struct Glimpse<'n> {
    group: &'n Group,
    client: Party,
    server: Party,
    port: u16,
    /// Closes a second, the latest first, without what is older than the oldest.
    closes: Vec<u32>,
    process: Option<String>,
    binds: bool,
    /// Closes a second before the ports ran out, if they did: the load goes on, but finds none.
    starved: Option<Range>,
    /// True if the list shows TIME-WAIT without ages: closes are spread over its length.
    ageless: bool,
}

impl<'n> Glimpse<'n> {
    fn of(namespace: &'n Namespace, place: &Place, group: &'n Group) -> Option<Self> {
        let mut closes = group.time_wait.closes_by_age(namespace.settings.time_wait());
        let ageless = group.states.of(State::TimeWait) > 0 && group.time_wait.is_empty();
        if ageless {
            spread(group.states.of(State::TimeWait), &mut closes);
        }
        while closes.last() == Some(&0) {
            closes.pop();
        }
        let process = group.owners.iter().max_by_key(|owner| owner.states.total());
        let process = process.and_then(|owner| namespace.processes.get(owner.process? as usize));
        let process = process.map(|process| process.name.clone());
        let peer = place.party(group.remote.address);
        let (client, server, port) = match group.role {
            Role::Client => (Party::Here, peer, group.remote.port?),
            Role::Server => (peer, Party::Here, group.local.port?),
        };
        let ports = group.ports.taken();
        // connect() takes the first half first, bind() to port 0 the other one.
        let binds = group.role == Role::Client && ports.other >= PROOF && ports.other / 2 > ports.preferred;
        let starved = starved(namespace, group, &closes, ageless);
        Some(Self { group, client, server, port, closes, process, binds, starved, ageless })
    }

    /// True if there were closes in most of the last seconds.
    fn lasts(&self) -> bool {
        self.starved.is_some()
            || self.closes.iter().take(LATELY_S).filter(|closes| **closes > 0).count() >= LASTING_SECONDS
    }

    fn pace(&self) -> Pace {
        match self.starved {
            Some(_) => Pace::Starves,
            None if self.lasts() => Pace::GoesOn,
            None => Pace::Once,
        }
    }

    fn closed(&self) -> u64 {
        self.closes.iter().map(|closes| u64::from(*closes)).sum()
    }

    fn in_state(&self, state: State) -> u64 {
        u64::from(self.group.states.of(state))
    }

    /// Closes a second: the means over the last ten seconds and over all.
    fn rate(&self) -> Range {
        if let Some(starved) = self.starved {
            return starved;
        }
        let mean = |seconds: usize| {
            let seconds = seconds.min(self.closes.len()).max(1);
            let closes: u64 = self.closes.iter().take(seconds).map(|closes| u64::from(*closes)).sum();
            closes as f64 / seconds as f64
        };
        Range::of(mean(LATELY_S), mean(usize::MAX))
    }

    /// What a capture cannot tell: whether it goes on, and what went before it.
    fn adds_to(&self, talker: &mut Talker) {
        talker.process = talker.process.take().or_else(|| self.process.clone());
        talker.binds |= self.binds;
        let shows = match self.group.role {
            Role::Client => talker.ends == Ends::ClientCloses,
            Role::Server => talker.ends == Ends::ServerCloses,
        };
        if shows && self.lasts() {
            let rate = self.rate();
            talker.per_second =
                if talker.lasts() { talker.per_second.with(rate.low).with(rate.high) } else { rate };
            talker.pace = self.pace();
        }
    }

    /// How plainly it shows connections that the other side closes: first whether any end so now or has been closed here,
    /// as kept ones are not; then how many there are.
    fn comes_and_goes(&self) -> (u8, u64) {
        let closed_there = self.in_state(State::CloseWait) + self.in_state(State::LastAck);
        let signs = u8::from(closed_there > 0) + u8::from(self.closed() > 0);
        (signs, self.in_state(State::Established) + closed_there + self.closed())
    }

    fn talkers(&self, into: &mut Vec<Talker>) {
        let named = |ends| {
            let mut talker = Talker::new(self.client, self.server, self.port, ends);
            talker.process.clone_from(&self.process);
            talker.binds = self.binds;
            talker
        };
        // Of a connection within this host, each end is in a group of its own.
        let here_connects = self.group.role == Role::Client;
        let closed = self.closed();
        let lasts = self.lasts();
        let rate = self.rate();
        let open = self.in_state(State::Established);
        let mean = f64::midpoint(rate.low, rate.high);
        let open_ms = if closed > 0 { open as f64 * 1e3 / mean } else { f64::INFINITY };
        let is_short = open_ms <= LONG_MS;
        if closed > 0 {
            let mut talker = named(if here_connects { Ends::ClientCloses } else { Ends::ServerCloses });
            talker.connections = closed;
            talker.over_ms = self.closes.len() as u64 * 1_000;
            talker.pace = self.pace();
            talker.per_second = rate;
            if lasts {
                let peak = self.closes.iter().max().copied().unwrap_or(1);
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below the peak")]
                let mean = mean as u32;
                talker.burst = peak.saturating_sub(mean).max(1);
            }
            if is_short {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "at most a minute"
                )]
                let open_ms = open_ms as u64;
                talker.open_ms = open_ms;
                talker.at_once = u32::try_from(open).unwrap_or(u32::MAX).max(1);
            }
            if here_connects {
                talker.ports_held = u64::from(self.group.ports.taken().total());
            }
            into.push(talker);
        }
        let (waits, leaks) = (State::FinWait2, State::CloseWait);
        let stuck = [
            (open, Ends::StaysOpen, !is_short),
            (
                self.in_state(waits),
                if here_connects { Ends::ServerNeverCloses } else { Ends::ClientNeverCloses },
                true,
            ),
            (
                self.in_state(leaks),
                if here_connects { Ends::ClientNeverCloses } else { Ends::ServerNeverCloses },
                true,
            ),
        ];
        for (count, ends, counts) in stuck {
            if count > 0 && counts {
                let mut talker = named(ends);
                talker.connections = count;
                talker.at_once = u32::try_from(count).unwrap_or(u32::MAX);
                talker.per_second = Range::exactly(count as f64);
                into.push(talker);
            }
        }
    }
}

/// As many a second as there are seconds for; what is left over is the latest.
fn spread(count: u32, closes: &mut [u32]) {
    let seconds = u32::try_from(closes.len()).unwrap_or(u32::MAX).max(1);
    for (second, closes) in closes.iter_mut().enumerate() {
        let left_over = second < (count % seconds) as usize;
        *closes = count / seconds + u32::from(left_over);
    }
}

/// The rate of closes before the ports ran out: of the seconds between the first close and the last, those two left
/// out, which are cut. None if ports are left, or if that were too few seconds to tell a rate from a burst.
fn starved(namespace: &Namespace, group: &Group, closes: &[u32], ageless: bool) -> Option<Range> {
    let settings = &namespace.settings;
    let ports = settings.local_port_range().halves_without(&settings.reserved_ports()).total();
    // An odd range loses its last port.
    if group.role != Role::Client || ports == 0 || group.ports.taken().total().saturating_add(1) < ports {
        return None;
    }
    if ageless {
        let mean = f64::from(group.states.of(State::TimeWait)) / closes.len().max(1) as f64;
        return Some(Range { low: mean, high: mean * BEYOND });
    }
    let first = closes.iter().position(|closes| *closes > 0)?;
    let inner = closes.get(first.checked_add(1)?..closes.len().checked_sub(1)?)?;
    if inner.len() < STARVED_SECONDS {
        return None;
    }
    let seconds = inner.len() as f64;
    let mean = inner.iter().map(|closes| f64::from(*closes)).sum::<f64>() / seconds;
    // As far as a mean of so many seconds that differ so much may be off.
    let spread = inner.iter().map(|closes| (f64::from(*closes) - mean).powi(2)).sum::<f64>() / seconds;
    let error = (spread / seconds).sqrt();
    Some(Range { low: mean - error, high: mean + error })
}

/// The same destination from several local addresses is one talker with several sources.
fn merge_sources(talkers: &mut Vec<Talker>) {
    let mut merged: Vec<Talker> = Vec::new();
    for talker in talkers.drain(..) {
        let same = |one: &&mut Talker| {
            (one.client, one.server, one.port, one.ends, one.pace)
                == (talker.client, talker.server, talker.port, talker.ends, talker.pace)
        };
        let Some(one) = merged.iter_mut().find(same) else {
            merged.push(talker);
            continue;
        };
        one.connections = one.connections.saturating_add(talker.connections);
        one.over_ms = one.over_ms.max(talker.over_ms);
        one.per_second = Range {
            low: one.per_second.low + talker.per_second.low,
            high: one.per_second.high + talker.per_second.high,
        };
        one.at_once = one.at_once.saturating_add(talker.at_once);
        one.burst = one.burst.max(talker.burst);
        one.open_ms = one.open_ms.max(talker.open_ms);
        one.ports_held = one.ports_held.saturating_add(talker.ports_held);
        one.sources = one.sources.saturating_add(1);
    }
    *talkers = merged;
}

/// Connections that counters know of and TIME-WAIT does not explain: the other side closed them first.
fn unexplained(
    namespace: &Namespace,
    glimpsed: &[Glimpse<'_>],
    talkers: &mut Vec<Talker>,
    assumptions: &mut Vec<Assumption>,
) {
    for (counter, ends, here_connects) in
        [("TcpActiveOpens", Ends::ServerCloses, true), ("TcpPassiveOpens", Ends::ClientCloses, false)]
    {
        let Some(opened) = namespace.counters.rate(counter) else { continue };
        let lost =
            if here_connects { namespace.counters.rate("TcpAttemptFails").unwrap_or(0.0) } else { 0.0 };
        // A connection within this host counts on both sides.
        let is_here = |client: Party, server: Party| {
            if here_connects { client == Party::Here } else { server == Party::Here }
        };
        let side = |talker: &&Talker| is_here(talker.client, talker.server) && talker.lasts();
        // An empty sum of floats is -0.
        let explained = 0.0 + talkers.iter().filter(side).map(|talker| talker.per_second.high).sum::<f64>();
        let rest = opened - lost - explained;
        let seconds = namespace.counters.interval_ms as f64 / 1e3;
        if opened - lost < explained * UNEXPLAINED || rest * seconds < AT_LEAST {
            continue;
        }
        // Over a short look, what was closed within the last second explains as much.
        let recent: u64 = glimpsed
            .iter()
            .filter(|glimpse| is_here(glimpse.client, glimpse.server) && !glimpse.lasts())
            .map(Glimpse::closed)
            .sum();
        if rest * seconds <= recent as f64 * UNEXPLAINED {
            continue;
        }
        // Of what is closed within this host, one end is in TIME-WAIT here: that explains it.
        let within = |glimpse: &Glimpse<'_>| glimpse.client == Party::Here && glimpse.server == Party::Here;
        let could = |glimpse: &&Glimpse<'_>| {
            is_here(glimpse.client, glimpse.server) && !within(glimpse) && glimpse.comes_and_goes().1 > 0
        };
        let who = glimpsed.iter().filter(could).max_by_key(|glimpse| glimpse.comes_and_goes());
        let (client, server, port) = match (who, here_connects) {
            (Some(glimpse), _) => (glimpse.client, glimpse.server, glimpse.port),
            (None, true) => (Party::Here, Party::Others, 80),
            (None, false) => {
                let port = namespace.sockets.listeners.iter().find_map(|listener| listener.address.port);
                (Party::Others, Party::Here, port.unwrap_or(80))
            }
        };
        let mut talker = Talker::new(client, server, port, ends);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rise of a counter")]
        let connections = (rest * seconds).round() as u64;
        talker.connections = connections;
        talker.over_ms = namespace.counters.interval_ms.max(1);
        talker.pace = if seconds >= 0.9 { Pace::GoesOn } else { Pace::Once };
        let chance = (connections as f64).sqrt() / seconds;
        talker.per_second = Range { low: (rest - chance).max(rest * 0.1), high: rest + chance };
        assumptions.push(Assumption::new(
            format!("{rest:.0} connections a second with {} are closed by the other side first", talker.destination()),
            format!(
                "{counter} rises by {opened:.0} a second, and TIME-WAIT here explains {explained:.0}; a capture would \
                 show who closes"
            ),
        ));
        talkers.push(talker);
    }
}

/// What a list of sockets does not tell.
fn say(
    namespace: &Namespace,
    talkers: &[Talker],
    glimpsed_without_ages: bool,
    assumptions: &mut Vec<Assumption>,
) {
    let lasting = talkers.iter().filter(|talker| talker.lasts());
    for talker in lasting.clone().filter(|talker| talker.starves()) {
        if glimpsed_without_ages {
            assumptions.push(Assumption::new(
                format!(
                    "{} is asked for as many connections as its ports allow, and up to a tenth more",
                    talker.destination()
                ),
                "no port is left; how fast they went is not known without ages of TIME-WAIT, and what fails is in no counter",
            ));
            continue;
        }
        assumptions.push(Assumption::new(
            format!("{} is asked for {:.0} connections a second", talker.destination(), talker.per_second.high),
            "so many were closed a second, by the ages of TIME-WAIT, until no port was left; what fails since then is in \
             no counter",
        ));
    }
    if !glimpsed_without_ages && lasting.clone().any(|talker| !talker.starves()) {
        assumptions.push(Assumption::new(
            "the load goes on at the rate of the last seconds",
            format!(
                "TIME-WAIT by age: closes in most of the last {LATELY_S} s; low and high are the means over {LATELY_S} s \
                 and over {} s",
                namespace.settings.time_wait().as_secs()
            ),
        ));
    }
    if !glimpsed_without_ages && lasting.clone().any(|talker| talker.burst > 1) {
        assumptions.push(Assumption::new(
            "connections begin evenly (low) or in bursts (high)",
            "ages of TIME-WAIT show closes by second, not within one: a burst has what the fullest second had more than \
             the mean",
        ));
    }
    if talkers.iter().any(|talker| !talker.lasts() && talker.ends != Ends::StaysOpen) {
        assumptions.push(Assumption::new(
            "what was closed in a few seconds only is played once",
            "TIME-WAIT by age shows no closes in most of the last seconds; --lasting says that it goes on",
        ));
    }
    assumptions.push(Assumption::new(
        "each connection carries one request",
        "sockets do not tell; a capture does (--capture)",
    ));
    if talkers.iter().any(|talker| talker.lasts() && talker.open_ms > 0) {
        assumptions.push(Assumption::new(
            "connections are open for as long as Little's law says",
            "those that are open now, divided by the closes a second",
        ));
    }
}
