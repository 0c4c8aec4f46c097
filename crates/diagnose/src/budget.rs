//! Budgets of ephemeral ports: how many local ports connections to one destination may use, how many are
//! taken and by what, and when none will be left.
//!
//! `connect()` needs a local port that no socket with the same source, destination and destination port
//! holds. So the budget is one per (source address, destination address and port), and a connection to
//! another destination takes nothing from it, with one exception: a port that `bind()` chose is passed over by
//! `connect()` for *every* destination (`__inet_hash_connect()` in net/ipv4/inet\_hashtables.c: a bucket with
//! `fastreuse >= 0`).

mod forecast;
mod pace;

use crate::wording::counted;
use evidence::{Endpoint, Group, Halves, HeldPorts, KnownBy, Namespace, PortUse, Role, Traffic};
use forecast::Forecast;
pub(crate) use pace::{Pace, restarted_timers};
use pace::{RATE_S, Seen};
use schemars::JsonSchema;
use serde::Serialize;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;
use tcp::profile::linux;

/// From here on (in percent of the first half) connections may have gone to the other half because the first
/// was full; below, `connect()` had no reason to.
const NEARLY_FULL_PERCENT: u64 = 95;

/// Past the knee: less than one in so many ports of the first half is free, so that nearly every `connect()`
/// walks the half in vain.
const KNEE_ONE_IN: u64 = 50;

/// A server that answers so many of a capture's SYNs without timestamps has none. Behind one address there may be
/// several, and what some of them do is no help to the rest.
const NEARLY_ALL_PERCENT: u64 = 90;

/// Fewer ports in the other half prove nothing: they are left over from a moment when the first was full.
const BOUND_NOISE: u32 = 10;

/// With so many ports of each half held, destinations whose ports `connect()` chose share some.
const UNSHARED_PERCENT: u64 = 80;

/// Of the ports that could be shared, one in so many may be: not all have to be of the program that calls `bind()`.
const SHARED_ONE_IN: u64 = 100;

/// The ports from one source address to one destination address and port.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// Network namespace.
    pub netns: String,
    /// Source address.
    pub source: String,
    /// Destination address and port.
    pub destination: String,
    /// Ports that automatic choice may use: the range without reserved ports.
    pub ports: u32,
    /// Of them, taken for this destination, whatever by: `time_wait + established + other + bound +
    /// bound_likely`, never more than `ports`.
    pub taken: u32,
    /// Taken by TIME-WAIT.
    pub time_wait: u32,
    /// Taken by established connections.
    pub established: u32,
    /// Taken by sockets in other states.
    pub other: u32,
    /// Taken for every destination by ports that `bind()` is seen to hold, without those in the numbers above.
    pub bound: u32,
    /// The same, but inferred: ports of connections to *other* destinations that lie where only `bind()` looks
    /// first, or that no two destinations share although nearly all ports are held.
    pub bound_likely: u32,
    /// Of `bound_likely`: inferred because no two destinations share them.
    pub unshared: u32,
    /// Of its own ports: likely chosen by `bind()` before `connect()`, and so lost to every other destination.
    pub bound_before_connect: u32,
    /// Of `time_wait`: ports that `connect()` takes all the same, by `tcp_tw_reuse`. They do not block.
    pub reusable: u32,
    /// What `tcp_tw_reuse` does for this destination.
    pub reuse: Reuse,
    /// Captured connections that offered the destination timestamps and got none: `tcp_tw_reuse` can do nothing,
    /// whatever it is. 0 if there is no capture, or if others of them got some.
    pub without_timestamps: u64,
    /// Ports of the range that are reserved, and so not in `ports`.
    pub reserved: u32,
    /// True if the half of the range that `connect()` looks at first is used up, so that every `connect()`
    /// walks it in vain ([`linux::CONNECT_PAST_KNEE_US`]).
    pub past_knee: bool,
    /// Closes a second: the mean over the last `rate_over_s` full seconds.
    pub closes_per_second: f64,
    /// How many seconds the rate is the mean of: 10, or the time since the first close if that is less, or the
    /// delay of a `tcp_tw_reuse` that works; the length of TIME-WAIT where ages are not known; 0 without a close.
    pub rate_over_s: u32,
    /// True if the rate is one to go by: it held for some seconds and has not stopped. False for a single burst.
    pub rate_lasts: bool,
    /// The most closes in one second of the last minute.
    pub peak_per_second: u32,
    /// How long ago that second was; none without a close.
    pub peak_seconds_ago: Option<u32>,
    /// Closes in each second, the latest first; seconds before the oldest close are left out.
    pub closes: Vec<u32>,
    /// Seconds until no port is left at this rate; 0 if none is left now, none if that will not happen or if
    /// the closes have stopped.
    pub seconds_left: Option<f64>,
    /// Who opens these connections, the largest part first, as far as it is known.
    pub owners: Vec<BudgetOwner>,
}

/// A process that takes a part of a budget.
#[derive(Clone, Debug, PartialEq)]
pub struct BudgetOwner {
    /// Its name.
    pub process: String,
    /// Its id.
    pub pid: u32,
    /// Its part of the sockets, 0 to 1.
    pub share: f64,
    /// How it is known; the way that most of its sockets are known by.
    pub known_by: KnownBy,
}

/// What `tcp_tw_reuse` does for one destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reuse {
    /// Nothing: it is 0 or could not be read.
    #[default]
    Off,
    /// Nothing: it is 2, and neither end is a loopback address.
    LoopbackOnly,
    /// Nothing: `tcp_timestamps` is 0.
    NoTimestamps,
    /// Nothing, as the ports tell: `connect()` went on to the other half although the first held nothing but
    /// old TIME-WAIT sockets. The peer has no timestamps.
    WithoutEffect,
    /// Nothing, as a capture tells: the peer answers SYNs that offer timestamps without.
    PeerWithoutTimestamps,
    /// It lets `connect()` take ports whose TIME-WAIT is older than the delay.
    Works,
}

impl Budget {
    /// Order of display: what runs out first, then what is fullest. Equal ones keep their order.
    pub(crate) fn fullest_first(&self, other: &Self) -> Ordering {
        let seconds = |budget: &Self| budget.seconds_left.unwrap_or(f64::INFINITY);
        let share = |budget: &Self| f64::from(budget.blocked()) / f64::from(budget.ports.max(1));
        seconds(self).total_cmp(&seconds(other)).then_with(|| share(other).total_cmp(&share(self)))
    }

    /// Ports that a new connection to this destination cannot have.
    pub fn blocked(&self) -> u32 {
        self.taken.saturating_sub(self.reusable)
    }

    /// Ports that a new connection to this destination can have.
    pub fn left(&self) -> u32 {
        self.ports.saturating_sub(self.blocked())
    }

    /// True if there are closes of which nobody knows when they were: the rate is the mean over TIME-WAIT.
    pub(crate) fn lacks_ages(&self) -> bool {
        self.closes.is_empty() && self.closes_per_second > 0.0
    }

    /// Who opens these connections: `curl (pid 812)`, `php-fpm (24 processes)`, the largest part first.
    pub(crate) fn opened_by(&self) -> Option<String> {
        opened_by(&self.owners)
    }
}

/// Names at most three programs, the largest part first.
pub(crate) fn opened_by(owners: &[BudgetOwner]) -> Option<String> {
    let mut programs: Vec<(&str, u32, u32, f64)> = Vec::new();
    for owner in owners {
        match programs.iter_mut().find(|program| program.0 == owner.process) {
            Some(program) => {
                program.2 += u32::from(program.1 != owner.pid);
                program.3 += owner.share;
            }
            None => programs.push((&owner.process, owner.pid, 1, owner.share)),
        }
    }
    programs.sort_by(|a, b| b.3.total_cmp(&a.3));
    let named: Vec<String> = programs
        .iter()
        .take(3)
        .map(|(name, pid, processes, _)| match processes {
            1 => format!("{name} (pid {pid})"),
            _ => format!("{name} ({processes} processes)"),
        })
        .collect();
    match (named.is_empty(), programs.len().saturating_sub(named.len())) {
        (true, _) => None,
        (_, 0) => Some(named.join(", ")),
        (_, more) => Some(format!("{} and {}", named.join(", "), counted(more as u64, "more", "more"))),
    }
}

/// The budgets of a namespace, the fullest first; `traffic` is what captures show of its peers.
pub fn budgets(namespace: &Namespace, traffic: Option<&Traffic>) -> Vec<Budget> {
    let pool = Pool::new(namespace, traffic);
    let destinations = || namespace.sockets.groups.iter().filter_map(|group| Some((group, ends(group)?)));
    let inferred = destinations().filter(|(_, ends)| !pool.unshared.contains_key(&ends.0)).fold(
        Inferred::default(),
        |sum, (group, _)| {
            let one = pool.inferred(group);
            Inferred {
                live: sum.live.saturating_add(one.live),
                time_wait: sum.time_wait.saturating_add(one.time_wait),
            }
        },
    );
    // Live connections on named ports were counted for certain.
    let inferred_live = inferred.live.saturating_sub(pool.named.other);
    let inferred = inferred_live.saturating_add(inferred.time_wait);
    let mut budgets: Vec<Budget> =
        destinations().map(|(group, ends)| pool.budget(namespace, group, ends, inferred)).collect();
    // Stable, so that the same case always gives the same order.
    budgets.sort_by(Budget::fullest_first);
    budgets
}

/// Source and destination of a group that has one of each.
fn ends(group: &Group) -> Option<(IpAddr, IpAddr)> {
    let client = group.role == Role::Client && group.remote.port.is_some();
    client.then_some((group.local.address?, group.remote.address?))
}

/// True if hardly one of so many ports is free.
fn nearly_full(taken: u32, ports: u32) -> bool {
    u64::from(taken) * 100 >= u64::from(ports) * NEARLY_FULL_PERCENT
}

/// What all budgets of a namespace share.
struct Pool {
    /// Ports that automatic choice may use.
    allowed: Halves,
    /// Ports of the range that are reserved.
    reserved: u32,
    /// Of the allowed, those that `bind()` holds.
    bound: Halves,
    /// Of the bound, those of connections whose process named the port.
    named: Halves,
    /// The first half without what `bind()` holds there: what `connect()` has before it must go on.
    first: u32,
    time_wait: Duration,
    reuse_setting: u64,
    reuse_delay: f64,
    timestamps: bool,
    /// True where connect() goes through one half of the range first, as Linux does.
    halved: bool,
    /// True if a TIME-WAIT was reused during the look, by whomever.
    recycles: bool,
    /// What [`Pool::unshared`] says.
    unshared: BTreeMap<IpAddr, u32>,
    /// Local addresses where hardly a port of the other half is free.
    other_full: BTreeSet<IpAddr>,
    /// What [`without_timestamps`] says.
    without_timestamps: BTreeMap<(IpAddr, Endpoint), u64>,
}

/// Connections that offered timestamps and got none, by source and destination; not those to destinations that use
/// them otherwise.
fn without_timestamps(traffic: &Traffic) -> BTreeMap<(IpAddr, Endpoint), u64> {
    let declined = traffic.exchanges.iter().filter_map(|exchange| {
        let opened = |far: &str| exchange.handshakes.get(far).copied().unwrap_or(0);
        let answered = opened("complete").saturating_add(opened("half"));
        let declined = exchange.without_timestamps.count;
        let nearly_all = declined.saturating_mul(100) >= answered.saturating_mul(NEARLY_ALL_PERCENT);
        (declined > 0 && nearly_all).then_some(((exchange.client.address?, exchange.server), declined))
    });
    declined.collect()
}

impl Pool {
    fn new(namespace: &Namespace, traffic: Option<&Traffic>) -> Self {
        let settings = &namespace.settings;
        let range = settings.local_port_range();
        let allowed = range.halves_without(&settings.reserved_ports());
        let within = |halves: Halves| Halves {
            preferred: halves.preferred.min(allowed.preferred),
            other: halves.other.min(allowed.other),
        };
        let bound = within(namespace.sockets.bound.all);
        let time_wait = settings.time_wait();
        let mut pool = Self {
            unshared: BTreeMap::new(),
            other_full: BTreeSet::new(),
            allowed,
            reserved: range.ports().saturating_sub(allowed.total()),
            bound,
            named: within(namespace.sockets.bound.named.unwrap_or_default()),
            first: allowed.preferred - bound.preferred,
            time_wait,
            reuse_setting: settings.number("net.ipv4.tcp_tw_reuse").unwrap_or(0),
            reuse_delay: settings.tw_reuse_delay().min(time_wait).as_secs_f64(),
            timestamps: settings.timestamps(),
            halved: settings.system.is_linux(),
            recycles: namespace.counters.rise("TcpExtTWRecycled").is_some_and(|rise| rise > 0),
            without_timestamps: traffic.map(without_timestamps).unwrap_or_default(),
        };
        pool.unshared = pool.unshared(namespace);
        let full = |held: &&HeldPorts| nearly_full(held.distinct.other, pool.allowed.other);
        let full = namespace.sockets.held.iter().filter(full).filter_map(|held| held.local.address);
        pool.other_full = full.collect();
        pool
    }

    /// Ports of each local address that `bind()` seems to have chosen, as no two destinations share them.
    ///
    /// `connect()` fills the first half for a destination before it goes on to the other. Two destinations with ports
    /// in both halves both had the first to themselves, so that they would share ports: they do not, though hardly a
    /// port of either half is free. `bind()` gives a port to one connection, whatever its destination.
    fn unshared(&self, namespace: &Namespace) -> BTreeMap<IpAddr, u32> {
        let in_other = |group: &Group| group.ports.taken().other >= BOUND_NOISE;
        let full = |half: fn(&Halves) -> u32, held: &Halves| {
            u64::from(half(held)) * 100 >= u64::from(half(&self.allowed)).max(1) * UNSHARED_PERCENT
        };
        let bound = namespace.sockets.held.iter().filter_map(|held| {
            let local = held.local.address.filter(|_| self.halved)?;
            let groups = || {
                let all = namespace.sockets.groups.iter();
                all.filter(move |group| ends(group).is_some_and(|ends| ends.0 == local))
            };
            let in_both = || {
                let taken = groups().map(|group| group.ports.taken());
                taken.filter(|taken| taken.preferred.min(taken.other) >= BOUND_NOISE).map(Halves::total)
            };
            let most = in_both().max()?;
            let rest = in_both().map(u64::from).sum::<u64>() - u64::from(most);
            let is_unshared = rest > 0
                && full(|halves| halves.preferred, &held.distinct)
                && full(|halves| halves.other, &held.distinct)
                && u64::from(held.shared.total()) * SHARED_ONE_IN <= rest
                && !groups().any(|group| self.first_nearly_full(&group.ports));
            let ports = || groups().filter(|group| in_other(group)).map(|group| group.ports.taken().total());
            let ports = ports().fold(0, u32::saturating_add).min(held.distinct.total());
            is_unshared.then_some((local, ports))
        });
        bound.collect()
    }

    /// Of a group's ports, those that are in [`Pool::unshared`].
    fn own_unshared(&self, group: &Group, source: IpAddr) -> u32 {
        let taken = group.ports.taken();
        let counts = self.unshared.contains_key(&source) && taken.other >= BOUND_NOISE;
        if counts { taken.total() } else { 0 }
    }

    fn reuse(
        &self,
        ends: (IpAddr, IpAddr),
        peer_without_timestamps: bool,
        seen: &Seen,
        ports: &PortUse,
    ) -> Reuse {
        // net/ipv4/tcp_ipv4.c tcp_twsk_unique(): either end of the old connection.
        let loopback = ends.0.is_loopback() || ends.1.is_loopback();
        match self.reuse_setting {
            0 => Reuse::Off,
            setting if setting == linux::TW_REUSE_LOOPBACK.value && !loopback => Reuse::LoopbackOnly,
            _ if !self.timestamps => Reuse::NoTimestamps,
            _ if peer_without_timestamps => Reuse::PeerWithoutTimestamps,
            _ if self.reuse_fails(seen, ports) => Reuse::WithoutEffect,
            _ => Reuse::Works,
        }
    }

    /// True if connections went to the other half although hardly a port of the first was out of reach for
    /// a working `tcp_tw_reuse`: live ones and those closed within the delay left more than half of it.
    fn reuse_fails(&self, seen: &Seen, ports: &PortUse) -> bool {
        let live = ports.established.preferred.saturating_add(ports.other.preferred);
        let young = f64::from(seen.peak) * self.reuse_delay.max(1.0);
        !self.recycles
            && self.first_nearly_full(ports)
            && ports.time_wait.other >= (self.allowed.other / 20).max(BOUND_NOISE)
            && young + f64::from(live) < f64::from(self.first) / 2.0
    }

    /// True if hardly a port is left in the half that `connect()` looks at first.
    fn first_nearly_full(&self, ports: &PortUse) -> bool {
        nearly_full(ports.taken().preferred, self.first)
    }

    /// Ports of one destination that `bind()` seems to have chosen.
    ///
    /// `connect()` looks at the half of the first port's parity first, `bind()` to port 0 at the other. Ports
    /// of the other half, taken while the first has room, were chosen by `bind()` before `connect()`.
    ///
    /// Unless the first half was full once and has emptied since. Then what is left in the other half is
    /// older than what came later: the latest TIME-WAIT sockets must be in the first half, and of live
    /// connections, which end in any order, not many more can be left in the other half than in the first.
    ///
    /// And unless there are about as many in each half: `connect()` of a socket with a range of its own
    /// (`IP_LOCAL_PORT_RANGE`, which no socket shows) takes port after port of that, while `bind()` comes to the first
    /// half only where the other is full.
    fn inferred(&self, group: &Group) -> Inferred {
        let ports = &group.ports;
        let live = |half: fn(&Halves) -> u32| half(&ports.established).saturating_add(half(&ports.other));
        let (first, other) = (live(|halves| halves.preferred), live(|halves| halves.other));
        let time_wait = ports.time_wait;
        if !self.halved || other.max(time_wait.other) < BOUND_NOISE || self.first_nearly_full(ports) {
            return Inferred::default();
        }
        let latest = || {
            let closes = group.time_wait.closes_by_age(self.time_wait);
            closes.iter().take(RATE_S as usize).map(|closes| u64::from(*closes)).sum::<u64>()
        };
        let uneven = time_wait.other / 2 > time_wait.preferred
            || group.local.address.is_some_and(|local| self.other_full.contains(&local));
        let bound_closed =
            time_wait.other >= BOUND_NOISE && uneven && latest() > u64::from(time_wait.preferred);
        Inferred {
            live: if other >= BOUND_NOISE && other / 2 > first { other } else { 0 },
            time_wait: if bound_closed { time_wait.other } else { 0 },
        }
    }

    fn budget(&self, namespace: &Namespace, group: &Group, ends: (IpAddr, IpAddr), inferred: u32) -> Budget {
        let mut seen = Seen::new(group, self.time_wait);
        let ports = self.allowed.total();
        let own = &group.ports;
        let without_timestamps = self.without_timestamps.get(&(ends.0, group.remote)).copied().unwrap_or(0);
        let reuse = self.reuse(ends, without_timestamps > 0, &seen, own);
        if reuse == Reuse::Works && seen.pace.by_age {
            // A port that is taken again is one TIME-WAIT less: only the seconds in which none can be are complete.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the range")]
            let complete = self.reuse_delay.floor().clamp(1.0, f64::from(RATE_S)) as u32;
            seen.pace = Pace::of(&seen.closes, group.time_wait.overdue() > 0, complete);
        }
        let time_wait = own.time_wait.total().min(ports);
        let established = own.established.total().min(ports);
        let other = own.other.total().min(ports);
        // A named port of this very destination is in the numbers above already. Which of the named ports
        // are its own is not known: at most as many as it has live connections in that half.
        let live = |half: fn(&Halves) -> u32| half(&own.established).saturating_add(half(&own.other));
        let own_named = Halves {
            preferred: self.named.preferred.min(live(|halves| halves.preferred)),
            other: self.named.other.min(live(|halves| halves.other)),
        };
        let bound_first = self.bound.preferred.saturating_sub(own_named.preferred);
        let bound_other = self.bound.other.saturating_sub(own_named.other);
        let bound = bound_first + bound_other;
        let by_half = if self.unshared.contains_key(&ends.0) { 0 } else { self.inferred(group).total() };
        let own_unshared = self.own_unshared(group, ends.0);
        let own_bound = by_half.max(own_unshared);
        let likely = inferred.saturating_sub(by_half).min(self.allowed.other.saturating_sub(bound_other));
        let unshared = {
            let counted = [time_wait, established, other, bound, likely];
            let rest = counted.iter().fold(ports, |rest, some| rest.saturating_sub(*some));
            // One port may be bound at several addresses.
            let most = self.unshared.values().copied().max().unwrap_or(0);
            most.saturating_sub(own_unshared).min(rest)
        };
        let bound_likely = likely + unshared;
        let sum = [time_wait, established, other, bound, bound_likely].map(u64::from).iter().sum::<u64>();
        let taken = u32::try_from(sum).unwrap_or(u32::MAX).min(ports);

        let window = if reuse == Reuse::Works { self.reuse_delay } else { self.time_wait.as_secs_f64() };
        // The countdown has the TIME-WAIT sockets on ports outside the range, too. Which they are is not
        // known, so that each second gets its part.
        let counted = group.time_wait.total();
        let scale = if counted > time_wait { f64::from(time_wait) / f64::from(counted) } else { 1.0 };
        let stays = taken - time_wait.min(taken) + time_wait.saturating_sub(counted);
        let forecast = Forecast {
            room: f64::from(ports.saturating_sub(stays)),
            closes: &seen.closes,
            overdue: group.time_wait.overdue(),
            scale,
            window,
            rate: if seen.pace.stopped || !seen.pace.by_age { 0.0 } else { seen.pace.per_second * scale },
        };
        let reusable = if reuse == Reuse::Works {
            // Rounded so that a port is called reusable only if it is.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to u32::MAX")]
            let young = forecast.blocked_now().ceil() as u32;
            counted.min(time_wait).saturating_sub(young)
        } else {
            0
        };
        let blocked_first = {
            let young = if reuse == Reuse::Works { time_wait - reusable } else { u32::MAX };
            live(|halves| halves.preferred).saturating_add(own.time_wait.preferred.min(young))
        };
        let first = self.allowed.preferred.saturating_sub(bound_first);
        let free_first = u64::from(first.saturating_sub(blocked_first));
        let mut budget = Budget {
            netns: namespace.name.clone(),
            source: ends.0.to_string(),
            destination: group.remote.to_string(),
            ports,
            taken,
            time_wait,
            established,
            other,
            bound,
            bound_likely,
            unshared,
            bound_before_connect: own_bound.min(ports),
            reusable,
            reuse,
            without_timestamps,
            reserved: self.reserved,
            past_knee: self.halved && ports > 0 && free_first * KNEE_ONE_IN < u64::from(first).max(1),
            closes_per_second: seen.pace.per_second,
            rate_over_s: seen.pace.over_s,
            rate_lasts: seen.pace.lasts(),
            peak_per_second: seen.peak,
            peak_seconds_ago: seen.peak_seconds_ago,
            closes: Vec::new(),
            seconds_left: None,
            owners: owners(namespace, group),
        };
        budget.seconds_left = if budget.left() == 0 { Some(0.0) } else { forecast.seconds_left() };
        budget.closes = seen.closes;
        budget
            .closes
            .truncate(budget.closes.iter().rposition(|closes| *closes > 0).map_or(0, |last| last + 1));
        budget.closes.shrink_to_fit();
        budget
    }
}

/// Ports of one destination that `bind()` seems to have chosen.
#[derive(Clone, Copy, Default)]
struct Inferred {
    live: u32,
    time_wait: u32,
}

impl Inferred {
    fn total(self) -> u32 {
        self.live.saturating_add(self.time_wait)
    }
}
fn owners(namespace: &Namespace, group: &Group) -> Vec<BudgetOwner> {
    let all = group.states.total().max(1) as f64;
    // Parts of one process that are known in different ways are one part.
    let mut parts: Vec<(u32, u64, u64, KnownBy)> = Vec::new();
    for owner in &group.owners {
        let (Some(process), sockets) = (owner.process, owner.states.total()) else {
            continue;
        };
        match parts.iter_mut().find(|part| part.0 == process) {
            Some(part) => {
                part.1 += sockets;
                if sockets > part.2 {
                    (part.2, part.3) = (sockets, owner.known_by);
                }
            }
            None => parts.push((process, sockets, sockets, owner.known_by)),
        }
    }
    parts.sort_by_key(|part| std::cmp::Reverse(part.1));
    let named = parts.into_iter().filter_map(|(process, sockets, _, known_by)| {
        let process = namespace.processes.get(process as usize)?;
        let share = (sockets as f64 / all).min(1.0);
        Some(BudgetOwner { process: process.name.clone(), pid: process.pid, share, known_by })
    });
    named.collect()
}

#[cfg(test)]
mod tests;
