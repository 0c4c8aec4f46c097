//! A model of the load of a real host, fitted to what was seen of it: from a [`Case`] to a [`World`] that does the
//! same.
//!
//! The world has one host that stands for the one the case is from (`here`), a host for each peer, and for each pair
//! of them that talks the same way a client and a server: how many connections, how fast, how long they are open, how
//! many requests each carries, and who ends it how. What a case cannot tell is assumed, and each assumption is said
//! with what it rests on. What is uncertain is fitted twice, [`Fit::low`] and [`Fit::high`].
//!
//! Where a capture shows the connections of a pair, it is believed: it has every close and every request. Else ages
//! of TIME-WAIT tell the rate of closes, counters the connections that left nothing behind, and live sockets by
//! Little's law how long one is open.

mod built;
mod captured;
mod idle;
mod listed;
mod talker;

pub use idle::Idle;
pub use talker::{Ends, Pace, Party, Talker};

use crate::scenario::World;
use evidence::{Case, Namespace, Role};
use std::collections::BTreeSet;
use std::net::IpAddr;
use thiserror::Error;

/// A load that goes on is played for so many lengths of TIME-WAIT: one to fill the table, two to see that it stays.
const LENGTHS_PLAYED: u64 = 3;

/// Of a load that is faster than that, so many connections are played: some seconds of work.
const MOST_PLAYED: f64 = 600_000.0;

/// But no less than this part of TIME-WAIT's length, so that the table is full in the end,
const LEAST_LENGTHS: f64 = 1.1;

/// unless even that were more connections than this.
const HARD_LIMIT: f64 = 2_000_000.0;

/// Of a load that is played once, so many connections are played at most: each may stay, and takes memory.
const MOST_ONCE: f64 = 200_000.0;

/// It is played for so long at most, milliseconds: four hours.
const LONGEST_MS: u64 = 14_400_000;

/// Connections a second beyond this are played in part: no host was seen to make so many.
const MOST_A_SECOND: f64 = 50_000.0;

/// A load is said to go on if there were closes in so many of the last [`LATELY_S`] seconds.
const LASTING_SECONDS: usize = 5;
/// The seconds that are looked at for that.
const LATELY_S: usize = 10;

/// The most talkers that are kept apart.
const MOST_TALKERS: usize = 96;

/// From low to high.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Range {
    /// The least.
    pub low: f64,
    /// The most.
    pub high: f64,
}

impl Range {
    /// Just this.
    pub const fn exactly(value: f64) -> Self {
        Self { low: value, high: value }
    }

    /// The range that holds both.
    pub fn of(one: f64, other: f64) -> Self {
        Self { low: one.min(other), high: one.max(other) }
    }

    /// The range that holds another value, too.
    #[must_use]
    pub fn with(self, value: f64) -> Self {
        Self { low: self.low.min(value), high: self.high.max(value) }
    }

    /// All of it by a factor.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        Self { low: self.low * factor, high: self.high * factor }
    }
}

/// Something that was taken for granted, and why.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Assumption {
    /// What.
    pub assumed: String,
    /// What it rests on, as one clause.
    pub because: String,
}

impl Assumption {
    pub(crate) fn new(assumed: impl Into<String>, because: impl Into<String>) -> Self {
        Self { assumed: assumed.into(), because: because.into() }
    }
}

/// What the one who asks knows, and the case does not.
#[derive(Clone, Debug, PartialEq)]
pub struct Knowledge {
    /// Connects that failed for want of a port, while the load that is seen was made: programs log them
    /// (`EADDRNOTAVAIL`), no counter of the kernel does.
    pub failed: u64,
    /// The load is so many times what was seen.
    pub times: f64,
    /// It goes on for so long, milliseconds; none: as the evidence says.
    pub for_ms: Option<u64>,
    /// The network namespace; none: the one with the most sockets.
    pub netns: Option<String>,
    /// Of a load that goes on and is faster than that, so many connections are played; but enough to fill TIME-WAIT.
    pub played: f64,
}

impl Default for Knowledge {
    fn default() -> Self {
        Self { failed: 0, times: 1.0, for_ms: None, netns: None, played: MOST_PLAYED }
    }
}

/// Why there is no model.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unfit {
    /// No connection was seen that could be one of a load.
    #[error(
        "there is nothing to fit: no connection that ended or is open is in it; look for longer (without --case: --for 30s), \
         or add a capture (--capture FILE)"
    )]
    NoLoad,
    /// There is a capture alone, and no connection in it.
    #[error(
        "there is nothing to fit: no TCP connection is in it; capture where the connections pass, for some seconds \
         (tcpdump -i any -s 128 -w FILE tcp)"
    )]
    NoConnection,
    /// There is a capture alone, and no connection in it came to be.
    #[error(
        "there is nothing to fit: of {0} in it, none was seen to open; lastack read FILE says what became of them"
    )]
    NoneOpened(String),
    /// There is no namespace of that name.
    #[error("it has no network namespace {wanted:?}; it has {there}")]
    NoNamespace {
        /// What was asked for.
        wanted: String,
        /// What there is.
        there: String,
    },
    /// A number that makes no load.
    #[error("{0}")]
    Unusable(String),
}

/// A model of a load.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// The world with everything that is uncertain at its least: even, slow.
    pub low: World,
    /// The same at its most: in bursts, fast.
    pub high: World,
    /// The host in it that stands for the one that was seen.
    pub here: String,
    /// What each host of it stands for: its name, and addresses.
    pub names: Vec<(String, String)>,
    /// Who talks to whom.
    pub talkers: Vec<Talker>,
    /// The clients of the model that each of them became, by name; none if it goes through a proxy.
    pub clients: Vec<Vec<String>>,
    /// The server that each of them goes to, by name; none if it goes through a proxy.
    pub servers: Vec<Option<String>>,
    /// True if the load goes on; false if it was over when it was seen, and is played as it was.
    pub lasts: bool,
    /// How long connections are begun, milliseconds.
    pub for_ms: u64,
    /// What was taken for granted.
    pub assumptions: Vec<Assumption>,
}

/// Fits a model to a case.
///
/// # Errors
///
/// If the case shows no load, or not the namespace that was asked for.
pub fn fit(case: &Case, knowledge: &Knowledge) -> Result<Fit, Unfit> {
    if knowledge.for_ms == Some(0) {
        return Err(Unfit::Unusable("--lasting 0 s leaves no time to play anything".to_owned()));
    }
    if !(knowledge.times > 0.0 && knowledge.times <= 1_000.0) {
        return Err(Unfit::Unusable(format!(
            "a load of {} times what was seen: above 0, at most 1000",
            knowledge.times
        )));
    }
    let mut assumptions = Vec::new();
    let namespace = namespace(case, knowledge, &mut assumptions)?;
    let empty = Namespace::default();
    let place = Place::new(namespace.unwrap_or(&empty), case);
    let mut talkers = captured::talkers(case, &place, &mut assumptions);
    listed::join(namespace.unwrap_or(&empty), &place, &mut talkers, &mut assumptions);
    if talkers.is_empty() {
        return Err(no_load(case));
    }
    shorten(&mut talkers, &mut assumptions);
    talkers.sort_by_key(|talker| std::cmp::Reverse(talker.connections));
    if talkers.len() > MOST_TALKERS {
        let left = sum(talkers.drain(MOST_TALKERS..).map(|talker| talker.connections));
        assumptions.push(Assumption::new(
            format!("{left} connections of the smallest talkers are left out"),
            format!("{MOST_TALKERS} are kept apart"),
        ));
    }
    add_failed(knowledge, namespace.unwrap_or(&empty), &mut talkers, &mut assumptions);
    for talker in &mut talkers {
        talker.scale(knowledge.times);
    }
    if (knowledge.times - 1.0).abs() > f64::EPSILON {
        assumptions.push(Assumption::new(format!("{} times the load", knowledge.times), "it was asked for"));
    }
    built::fit(namespace.unwrap_or(&empty), talkers, knowledge, assumptions)
}

/// The namespace that is modelled.
fn namespace<'c>(
    case: &'c Case,
    knowledge: &Knowledge,
    assumptions: &mut Vec<Assumption>,
) -> Result<Option<&'c Namespace>, Unfit> {
    let names =
        || case.namespaces.iter().map(|namespace| namespace.name.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(wanted) = &knowledge.netns {
        let found = case.namespaces.iter().find(|namespace| namespace.name == *wanted);
        return match found {
            Some(found) => Ok(Some(found)),
            None => Err(Unfit::NoNamespace { wanted: wanted.clone(), there: names() }),
        };
    }
    let sockets = |namespace: &&Namespace| namespace.sockets.by_state.total();
    let most = case.namespaces.iter().rev().max_by_key(sockets);
    if let Some(most) = most.filter(|_| case.namespaces.len() > 1) {
        assumptions.push(Assumption::new(
            format!("only the network namespace {} is modelled", most.name),
            format!("it has the most sockets of {}; --netns names another", names()),
        ));
    }
    Ok(most)
}

/// Why nothing can be fitted.
fn no_load(case: &Case) -> Unfit {
    match &case.traffic {
        Some(traffic) if case.namespaces.is_empty() => match traffic.connections {
            0 => Unfit::NoConnection,
            1 => Unfit::NoneOpened("one connection".to_owned()),
            many => Unfit::NoneOpened(format!("{many} connections")),
        },
        _ => Unfit::NoLoad,
    }
}

/// What took longer than a load may be played for is played in that time: a clock that jumps makes decades of a second.
fn shorten(talkers: &mut [Talker], assumptions: &mut Vec<Assumption>) {
    let mut longest = 0;
    for talker in talkers {
        talker.open_ms = talker.open_ms.min(LONGEST_MS);
        if !talker.lasts() {
            longest = longest.max(talker.over_ms);
            talker.over_ms = talker.over_ms.min(LONGEST_MS);
        }
    }
    if longest > LONGEST_MS {
        assumptions.push(Assumption::new(
            format!("what took {:.0} hours is played in {}", longest as f64 / 3.6e6, LONGEST_MS / 3_600_000),
            "no load is played for longer; the clock of a capture may have jumped (lastack read shows when it began and \
             how long it is)",
        ));
    }
}

/// A sum of what a file says, which may be anything.
fn sum(counts: impl IntoIterator<Item = u64>) -> u64 {
    counts.into_iter().fold(0, u64::saturating_add)
}

/// Which addresses and ports are this host's.
struct Place {
    addresses: BTreeSet<IpAddr>,
    listens: BTreeSet<u16>,
    /// There is a namespace: packets were captured at this host.
    is_known: bool,
}

impl Place {
    fn new(namespace: &Namespace, case: &Case) -> Self {
        let groups = namespace.sockets.groups.iter();
        let listeners = namespace.sockets.listeners.iter();
        let mut listens: BTreeSet<u16> =
            listeners.clone().filter_map(|listener| listener.address.port).collect();
        let serving = groups.clone().filter(|group| group.role == Role::Server);
        listens.extend(serving.filter_map(|group| group.local.port));
        // Of what has left no socket the list alone tells; and a case without it has the sockets.
        let mut addresses = namespace.addresses.clone();
        addresses.extend(groups.filter_map(|group| group.local.address));
        addresses.extend(
            listeners.filter_map(|listener| listener.address.address).filter(|at| !at.is_unspecified()),
        );
        Self { addresses, listens, is_known: !case.namespaces.is_empty() }
    }

    fn party(&self, address: Option<IpAddr>) -> Party {
        match address {
            Some(address) if self.addresses.contains(&address) || address.is_loopback() => Party::Here,
            Some(address) => Party::At(address),
            None => Party::Others,
        }
    }
}

/// Connects that failed belong to who is out of ports, or else to who makes the most connections.
fn add_failed(
    knowledge: &Knowledge,
    namespace: &Namespace,
    talkers: &mut [Talker],
    assumptions: &mut Vec<Assumption>,
) {
    let range = namespace.settings.local_port_range();
    let ports = u64::from(range.halves_without(&namespace.settings.reserved_ports()).total());
    let own = |talker: &&mut Talker| talker.client == Party::Here && talker.holds_ports();
    let Some(most) = talkers.iter_mut().filter(own).max_by_key(|talker| talker.connections) else { return };
    // An odd range loses its last port.
    let is_spent =
        ports > 0 && most.ports_held.saturating_add(1) >= ports.saturating_mul(u64::from(most.sources));
    if knowledge.failed > 0 {
        let before = most.connections.max(1);
        most.connections = most.connections.saturating_add(knowledge.failed);
        most.per_second = most.per_second.times(most.connections as f64 / before as f64);
        assumptions.push(Assumption::new(
            format!("{} more connects to {} are tried than were made", knowledge.failed, most.destination()),
            "so many failed, as was said (--failed)",
        ));
    } else if is_spent && !most.starves() {
        most.connections = most.connections.saturating_add(1);
        assumptions.push(Assumption::new(
            format!("one connect to {} is tried that failed, besides those that were made", most.destination()),
            "connects that fail for want of a port are in no counter of the kernel, and no port is left: the load may \
             be larger; --failed says how many the program logs",
        ));
    }
}
