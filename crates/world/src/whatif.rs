//! What a change would do to a load: the same world, as it is and under remedies, each alone and one after the other.
//!
//! ```
//! use world::whatif::{Remedy, Worlds, plan};
//! # let text = world::collection::text("port-exhaustion").unwrap();
//! let scenario = world::Scenario::parse(text)?;
//! let worlds = Worlds::exactly(scenario.variants[0].world.clone(), "client");
//! let pool = Remedy::named("keep-connections".parse().unwrap());
//! let plan = plan(&worlds, &[pool]);
//! let played: Vec<_> = plan.columns.iter().map(|column| column.play(&worlds.here)).collect();
//! assert_eq!(played[0].numbers.failed.high, 200.0);
//! assert_eq!(played[1].numbers.failed.high, 0.0);
//! # Ok::<(), world::scenario::ScenarioError>(())
//! ```
//!
//! Everything here is a function of its arguments; who has several processors plays several columns at once.

mod effect;
mod numbers;

pub use effect::Effect;
pub use numbers::{Numbers, Point};

use crate::cure::{Cure, CureError};
use crate::fit::{Fit, Party, Talker};
use crate::scenario::World;
use crate::simulator::simulate_sampled;
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// So many times a world is looked at while it runs.
const LOOKS: u64 = 120;

/// So many destinations of a remedy are named.
const MOST_NAMED: usize = 3;

/// Among so many connections chance makes no difference that one would see.
const MANY: f64 = 100_000.0;

/// The connections of a model that go to some destinations, for a remedy that is about these; none if these are all,
/// or if nobody is known to go to one of them. A destination is written as findings do: `192.0.2.9:80`.
pub fn only_to<'d>(fit: &Fit, destinations: impl IntoIterator<Item = &'d str> + Clone) -> Option<Only> {
    let mut chosen = BTreeSet::new();
    for to in destinations.clone() {
        let to = to.parse::<SocketAddr>().ok()?;
        let fits = |talker: &Talker, strict: bool| {
            talker.port == to.port()
                && match talker.server {
                    Party::At(address) => address == to.ip(),
                    // A host knows itself by many addresses.
                    Party::Here => !strict,
                    Party::Others => false,
                }
        };
        let strictly = fit.talkers.iter().any(|talker| fits(talker, true));
        let places = (0..).zip(&fit.talkers).filter(|(_, talker)| fits(talker, strictly));
        let named = places.flat_map(|(place, _): (usize, _)| fit.clients.get(place).into_iter().flatten());
        let before = chosen.len();
        chosen.extend(named.cloned());
        if chosen.len() == before {
            return None;
        }
    }
    let to: Vec<&str> = destinations.into_iter().collect();
    let named = to.iter().take(MOST_NAMED).copied().collect::<Vec<_>>().join(", ");
    let more = to.len().saturating_sub(MOST_NAMED);
    let to = if more > 0 { format!("{named} and {more} more") } else { named };
    let are_all = fit.low.clients.iter().all(|client| chosen.contains(&client.name));
    (!are_all && !chosen.is_empty()).then_some(Only { to, clients: chosen })
}

/// The two ends of what is known of a load, and the host that is asked about.
#[derive(Clone, Debug, PartialEq)]
pub struct Worlds {
    /// The worlds that are played: from low to high.
    pub worlds: Vec<World>,
    /// The host.
    pub here: String,
}

impl Worlds {
    /// A world of which everything is known; chance is tried twice.
    pub fn exactly(world: World, here: &str) -> Self {
        let mut other = world.clone();
        other.seed = other.seed.wrapping_add(1);
        Self { worlds: vec![world, other], here: here.to_owned() }
    }

    fn apply(&mut self, cure: &Cure, here: &str, only: &BTreeSet<String>) -> Result<Vec<String>, CureError> {
        let before = self.worlds.clone();
        let mut done = Vec::new();
        for world in &mut self.worlds {
            match cure.apply_to(world, here, only) {
                Ok(said) => done = said,
                Err(error) => {
                    self.worlds = before;
                    return Err(error);
                }
            }
        }
        Ok(done)
    }
}

impl From<&Fit> for Worlds {
    fn from(fit: &Fit) -> Self {
        let (low, high) = (fit.low.clone(), fit.high.clone());
        let connections: f64 = high.clients.iter().map(|client| f64::from(client.connections)).sum();
        let alike = World { seed: high.seed, ..low.clone() } == high;
        let here = fit.here.clone();
        // Chance evens out in so many: once is enough where nothing else is uncertain.
        if alike && connections > MANY {
            return Self { worlds: vec![high], here };
        }
        Self { worlds: vec![low, high], here }
    }
}

/// A remedy: a name, and the changes that it makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// What it is called.
    pub name: String,
    /// The host at which it is carried out; none: the one that is asked about.
    pub host: Option<String>,
    /// What it changes.
    pub cures: Vec<Cure>,
    /// The connections that it is about; none: all.
    pub only: Option<Only>,
}

/// The connections that a remedy is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Only {
    /// Where they go, in words.
    pub to: String,
    /// The clients of the model that make them, by name.
    pub clients: BTreeSet<String>,
}

impl Remedy {
    /// One of a single change, called as that.
    pub fn named(cure: Cure) -> Self {
        let name = match &cure {
            Cure::Set { setting, value, host } => {
                let short = setting.rsplit('.').next().unwrap_or(setting);
                let at = host.as_ref().map_or_else(String::new, |host| format!("{host}: "));
                format!("{at}{short} = {value}")
            }
            Cure::Remedy { .. } => cure.to_string(),
        };
        Self { name, host: None, cures: vec![cure], only: None }
    }
}

/// What a column of the table stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Nothing is changed.
    AsItIs,
    /// One remedy.
    Alone,
    /// It, and all those before it.
    Together,
}

/// Worlds that are to be played, and what was changed in them.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// What it stands for.
    pub kind: Kind,
    /// The remedies, in order.
    pub remedies: Vec<String>,
    /// What they changed, a clause each.
    pub changes: Vec<String>,
    /// The worlds, from low to high.
    pub worlds: Vec<World>,
}

/// What is to be played, and what cannot be.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// First as it is, then each remedy alone, then together.
    pub columns: Vec<Column>,
    /// Which of them has everything that does something: all remedies together, or the only one; the first if none
    /// does.
    pub whole: usize,
    /// Remedies that are not simulated, alone or together with those before them, and why.
    pub left_out: Vec<(String, String)>,
}

/// Puts remedies to worlds. One that changes nothing, or cannot be simulated, is left out with its reason.
pub fn plan(worlds: &Worlds, remedies: &[Remedy]) -> Plan {
    let as_it_is = Column {
        kind: Kind::AsItIs,
        remedies: Vec::new(),
        changes: Vec::new(),
        worlds: worlds.worlds.clone(),
    };
    let mut plan = Plan { columns: vec![as_it_is], whole: 0, left_out: Vec::new() };
    let mut together = worlds.clone();
    let (mut names, mut all_changes) = (Vec::new(), Vec::new());
    let mut joint = Vec::new();
    for remedy in remedies {
        let mut alone = worlds.clone();
        let changes = match carry_out(&mut alone, remedy) {
            Ok(changes) => changes,
            Err(why) => {
                plan.left_out.push((remedy.name.clone(), why));
                continue;
            }
        };
        if let Some(same) = plan.columns.iter().find(|column| column.worlds == alone.worlds) {
            let same = same.remedies.first().map_or("as it is", String::as_str);
            plan.left_out.push((remedy.name.clone(), format!("in this load it is the same as {same}")));
            continue;
        }
        plan.columns.push(Column {
            kind: Kind::Alone,
            remedies: vec![remedy.name.clone()],
            changes,
            worlds: alone.worlds,
        });
        let changes = match carry_out(&mut together, remedy) {
            Ok(changes) => changes,
            // An earlier one has made it superfluous.
            Err(why) => {
                plan.left_out.push((remedy.name.clone(), format!("after {}, {why}", names.join(", "))));
                continue;
            }
        };
        if names.is_empty() {
            plan.whole = plan.columns.len() - 1;
        }
        names.push(remedy.name.clone());
        all_changes.extend(changes);
        if names.len() > 1 {
            joint.push(Column {
                kind: Kind::Together,
                remedies: names.clone(),
                changes: all_changes.clone(),
                worlds: together.worlds.clone(),
            });
        }
    }
    if !joint.is_empty() {
        plan.columns.extend(joint);
        plan.whole = plan.columns.len() - 1;
    }
    plan
}

fn carry_out(worlds: &mut Worlds, remedy: &Remedy) -> Result<Vec<String>, String> {
    let here = remedy.host.clone().unwrap_or_else(|| worlds.here.clone());
    let before = worlds.worlds.clone();
    let mut changes = Vec::new();
    let everywhere = BTreeSet::new();
    let clients = remedy.only.as_ref().map_or(&everywhere, |only| &only.clients);
    for cure in &remedy.cures {
        match worlds.apply(cure, &here, clients) {
            Ok(done) => changes.extend(done),
            Err(error) => {
                worlds.worlds = before;
                return Err(error.to_string());
            }
        }
    }
    if worlds.worlds == before {
        return Err("it changes nothing here: it is so already".to_owned());
    }
    if let Some(only) = &remedy.only {
        changes.insert(0, format!("only for connections to {}", only.to));
    }
    Ok(changes)
}

/// What came of a column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Played {
    /// Its numbers, each from the least to the most.
    pub numbers: Numbers,
    /// How it went, of the world with the most.
    pub over_time: Vec<Point>,
    /// The same of the one with the least; none if there is one alone.
    pub over_time_low: Option<Vec<Point>>,
}

impl Column {
    /// Plays all of its worlds.
    pub fn play(&self, here: &str) -> Played {
        let each: Vec<Played> = self.worlds.iter().map(|world| play(world, here)).collect();
        Played::joined(&each)
    }
}

impl Played {
    /// The ranges that hold all of them; the courses of the last and of the first.
    pub fn joined(each: &[Self]) -> Self {
        let numbers = each
            .iter()
            .map(|played| &played.numbers)
            .fold(None, |all: Option<Numbers>, one| Some(all.map_or(*one, |all| all.with(one))));
        Self {
            numbers: numbers.unwrap_or_default(),
            over_time: each.last().map(|last| last.over_time.clone()).unwrap_or_default(),
            over_time_low: (each.len() > 1)
                .then(|| each.first().map(|first| first.over_time.clone()))
                .flatten(),
        }
    }
}

/// Plays one world.
pub fn play(world: &World, here: &str) -> Played {
    play_within(world, here, u64::MAX).unwrap_or_default()
}

/// The same, if no more than so many events happen in it: each is a microsecond's work or so.
pub fn play_within(world: &World, here: &str, most_events: u64) -> Option<Played> {
    let length = world.clients.iter().map(|client| {
        let paced = client.per_second.map_or(0.0, |rate| f64::from(client.connections) / rate * 1e3);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within a week")]
        let paced = paced as u64;
        client.start_ms.saturating_add(paced.max(1_000))
    });
    let length = length.max().unwrap_or(1_000).saturating_add(world.settle_ms).min(world.limit_ms);
    let (run, samples) = simulate_sampled(world, (length / LOOKS).clamp(10, 10_000), most_events)?;
    Some(Played {
        numbers: Numbers::of(world, here, &run, &samples),
        over_time: numbers::over_time(world, here, &samples),
        over_time_low: None,
    })
}
