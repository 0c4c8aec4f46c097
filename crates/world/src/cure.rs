//! Remedies as changes of a world: settings directly, others by what they do to clients, servers and proxies.
//!
//! Remedies are known by the names that rules give them. Each name is either carried out here, or has its reason in
//! [`because`] why it is not: none is missing in silence (a test holds both against the rules).

mod acts;
mod idle;
mod unsimulated;

use crate::scenario::{Client, World};
use crate::simulator::settings;
use std::collections::BTreeSet;
use std::fmt;
use thiserror::Error;

/// A host of a world has so many addresses at most.
const MOST_ADDRESSES: u16 = 200;

/// The longest value of a setting.
const LONGEST_VALUE: usize = 4_096;

/// Something that is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cure {
    /// A setting gets a value.
    Set {
        /// At this host; none: at the one it is about.
        host: Option<String>,
        /// Its full name.
        setting: String,
        /// The value, as the kernel takes it.
        value: String,
    },
    /// A remedy is carried out.
    Remedy {
        /// As rules name it.
        name: String,
        /// How many, where it has a number: connections of a pool, addresses; none: as many as it needs.
        number: Option<u32>,
    },
}

impl fmt::Display for Cure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set { host: Some(host), setting, value } => write!(f, "{host}: {setting} = {value}"),
            Self::Set { host: None, setting, value } => write!(f, "{setting} = {value}"),
            Self::Remedy { name, number: Some(number) } => write!(f, "{name}={number}"),
            Self::Remedy { name, number: None } => f.write_str(name),
        }
    }
}

/// Why a cure cannot be tried.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CureError {
    /// It is known, but the simulator cannot show it, or it does nothing in this world.
    #[error("{0}")]
    NotSimulated(String),
    /// There is no such setting or remedy, or it cannot have this value.
    #[error("{0}")]
    Wrong(String),
}

/// What a cure is called on the command line: `NAME`, `NAME=NUMBER`.
impl std::str::FromStr for Cure {
    type Err = CureError;

    fn from_str(text: &str) -> Result<Self, CureError> {
        let (name, number) = match text.split_once('=') {
            Some((name, number)) => (name, Some(number)),
            None => (text, None),
        };
        let number = match number.map(str::parse::<u32>) {
            None => None,
            Some(Ok(number)) if (1..=100_000).contains(&number) => Some(number),
            Some(_) => {
                return Err(CureError::Wrong(format!("{text:?}: after = stands a number, 1 to 100000")));
            }
        };
        if name.starts_with("more-") && number.is_some_and(|number| number > u32::from(MOST_ADDRESSES)) {
            return Err(CureError::Wrong(format!("{text:?}: a host has at most {MOST_ADDRESSES} addresses")));
        }
        if acts::find(name).is_none() && unsimulated::because(name).is_none() {
            let near =
                names().filter(|known| shared(known, name) >= 4).max_by_key(|known| shared(known, name));
            let near = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
            return Err(CureError::Wrong(format!(
                "no remedy is called {:?}{near} (lastack whatif --remedy list shows them)",
                name.chars().take(60).collect::<String>()
            )));
        }
        Ok(Self::Remedy { name: name.to_owned(), number })
    }
}

fn shared(one: &str, other: &str) -> usize {
    one.chars().zip(other.chars()).take_while(|(one, other)| one == other).count()
}

/// The remedies that can be tried, by name.
pub fn names() -> impl Iterator<Item = &'static str> {
    acts::ALL.iter().map(|(name, _)| *name)
}

/// Why a remedy cannot be simulated; none if it can, or is not known.
pub fn because(name: &str) -> Option<&'static str> {
    unsimulated::because(name)
}

/// Does something to a world that has only these clients, unless they are none.
fn narrowed<T>(world: &mut World, only: &BTreeSet<String>, act: impl FnOnce(&mut World) -> T) -> T {
    if only.is_empty() {
        return act(world);
    }
    let all = std::mem::take(&mut world.clients);
    world.clients = all.iter().filter(|client| only.contains(&client.name)).cloned().collect();
    let done = act(world);
    let mut changed = std::mem::take(&mut world.clients).into_iter();
    let of =
        |client: Client| if only.contains(&client.name) { changed.next().unwrap_or(client) } else { client };
    world.clients = all.into_iter().map(of).collect();
    done
}

impl Cure {
    /// A change of a setting.
    ///
    /// # Errors
    ///
    /// If the simulator does not read such a setting, or it cannot have this value.
    pub fn set(host: Option<&str>, setting: &str, value: &str) -> Result<Self, CureError> {
        if !settings::reads(setting) {
            let last = |name: &str| name.rsplit('.').next().unwrap_or(name).to_owned();
            let wanted = last(setting);
            let near = settings::read().find(|known| last(known) == wanted);
            let near = near.map_or_else(
                || format!("it reads {}", settings::read().map(last).collect::<Vec<_>>().join(", ")),
                |near| format!("did you mean {near}?"),
            );
            return Err(CureError::Wrong(format!(
                "{:?} is no setting that the simulator reads: {near}",
                setting.chars().take(80).collect::<String>()
            )));
        }
        let value = value.trim();
        if value.len() > LONGEST_VALUE {
            return Err(CureError::Wrong(format!("{setting}: a value of {} bytes is none", value.len())));
        }
        // Of which host it will be is not known yet, nor where its unprivileged ports begin.
        if let Some(why) = settings::mistake(|_| Some("0"), std::iter::once((setting, value))) {
            return Err(CureError::Wrong(why));
        }
        Ok(Self::Set { host: host.map(str::to_owned), setting: setting.to_owned(), value: value.to_owned() })
    }

    /// Carries it out, at a host and for what this has to do with. Returns what it changed, a clause each.
    ///
    /// # Errors
    ///
    /// If it cannot be simulated, or would change nothing here.
    pub fn apply(&self, world: &mut World, here: &str) -> Result<Vec<String>, CureError> {
        self.apply_to(world, here, &BTreeSet::new())
    }

    /// The same, only for connections of these clients, by their names in the world; none: of all. Settings are for all
    /// connections of a host, whoever makes them.
    ///
    /// # Errors
    ///
    /// If it cannot be simulated, or would change nothing here.
    pub fn apply_to(
        &self,
        world: &mut World,
        here: &str,
        only: &BTreeSet<String>,
    ) -> Result<Vec<String>, CureError> {
        let done = match self {
            Self::Set { host, setting, value } => {
                let name = host.as_deref().unwrap_or(here);
                let Some(at) = world.hosts.iter_mut().find(|host| host.name == name) else {
                    let known: Vec<&str> = world.hosts.iter().map(|host| host.name.as_str()).collect();
                    return Err(CureError::Wrong(format!(
                        "there is no host {name:?}: there are {}",
                        known.join(", ")
                    )));
                };
                at.settings.set(setting, value);
                vec![format!("{setting} = {value} at {name}")]
            }
            Self::Remedy { name, number } => {
                if let Some(because) = unsimulated::because(name) {
                    return Err(CureError::NotSimulated(because.to_owned()));
                }
                let act = acts::find(name)
                    .ok_or_else(|| CureError::Wrong(format!("no remedy is called {name:?}")))?;
                let before = world.clone();
                let done = narrowed(world, only, |world| act(world, here, *number));
                if done.is_empty() || *world == before {
                    *world = before;
                    return Err(CureError::NotSimulated(
                        "it changes nothing here: nobody in this load does what it mends".to_owned(),
                    ));
                }
                done
            }
        };
        world.check().map_err(|error| CureError::Wrong(error.to_string()))?;
        Ok(done)
    }
}
