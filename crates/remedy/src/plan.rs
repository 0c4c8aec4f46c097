//! What is to be done: the remedies of findings, chosen and checked. A plan is a text that can be read, edited and
//! mailed.

mod offer;
mod text;
mod told;

pub use text::{MAX_PLAN, PlanError};
pub use told::Files;

use crate::durable::Boot;
use crate::merge::merged;
use crate::program::Program;
use diagnose::value;
use diagnose::{Applicability, Diagnosis, Finding};
use evidence::Case;
use offer::Offer;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Name and version of the format.
pub const SCHEMA: &str = "lastack.plan/1";

/// What to change on a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The host it was made for.
    pub host: String,
    /// Its kernel, for people.
    pub kernel: String,
    /// When the host was looked at: RFC 3339.
    pub made_at: String,
    /// The remedies, in the order of the findings.
    pub remedies: Vec<Planned>,
}

/// A remedy in a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// Whether it is to be done.
    pub apply: bool,
    /// The rule that asks for it.
    pub rule: String,
    /// Its name.
    pub name: String,
    /// The network namespace it is about.
    pub netns: String,
    /// Whether a program may do it.
    pub applicability: Applicability,
    /// What it does.
    pub summary: String,
    /// The claims of the findings that ask for it.
    pub why: Vec<String>,
    /// What can go wrong.
    pub risk: String,
    /// What it will do to the numbers of the claims.
    pub expected: String,
    /// What the simulator foretells for this host's own load; none if it was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicted: Option<String>,
    /// What is watched after it.
    pub guards: Vec<String>,
    /// What it changes, in order.
    pub changes: Vec<Change>,
}

/// A change with its inverse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Change {
    /// A setting.
    Setting {
        /// Its name.
        setting: String,
        /// Its value now; going back to it is the inverse.
        from: String,
        /// Its value after.
        to: String,
    },
    /// A setting from the next boot on. Nothing changes now.
    AtBoot {
        /// Its name.
        #[serde(rename = "setting_at_boot")]
        setting: String,
        /// What the files of `sysctl.d` set it to at boot; without our line, which is the inverse, they do again.
        from: String,
        /// Its value now, which is to stay.
        to: String,
    },
    /// A file of a program, as a whole. The program tests it, and takes it.
    File {
        /// Where it is.
        file: PathBuf,
        /// The program.
        program: Program,
        /// What it holds now; going back to it is the inverse.
        from: String,
        /// What it is to hold.
        to: String,
    },
}

impl Planned {
    /// Whether it is safe, by what rules offer under its name and not by what the plan says. Files, and what is to be so at
    /// boot, have a price whoever offers them.
    pub(crate) fn is_safe(&self) -> bool {
        self.changes.iter().all(|change| match change {
            Change::Setting { setting, .. } => {
                value::offered(&self.name, setting) == Some(Applicability::Safe)
            }
            Change::AtBoot { .. } | Change::File { .. } => false,
        })
    }
}

impl Change {
    /// What it changes: a setting's name, or a file.
    pub fn what(&self) -> String {
        match self {
            Self::Setting { setting, .. } => setting.clone(),
            Self::AtBoot { setting, .. } => format!("{setting} at boot"),
            Self::File { file, .. } => file.display().to_string(),
        }
    }
}

/// Which remedies are wanted.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// Those of these rules; of all if there are none.
    pub rules: Vec<String>,
    /// Those of these names; if there are none, those that are safe.
    pub remedies: Vec<String>,
}

/// Why a plan is not carried out. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A name that no finding offers.
    #[error("no finding here offers the remedy {0}; {1}")]
    NotOffered(String, String),
    /// For people.
    #[error("{0} is for a person: lastack cannot do it")]
    ForAPerson(String),
    /// A change of a program's files that cannot be made here.
    #[error("{0} has to be done by hand: {1}")]
    ByHand(String, String),
    /// A change that is never made.
    #[error("{setting} = {to} is refused: {why}")]
    Never {
        /// The setting.
        setting: String,
        /// The value.
        to: String,
        /// Why.
        why: String,
    },
    /// A file that cannot be meant.
    #[error("{0}: {1}")]
    File(PathBuf, &'static str),
    /// Two remedies want different things.
    #[error(
        "{0} and {1} both change {2}, and differ: choose one of them with --remedy, or with `apply` in the plan"
    )]
    Conflict(String, String, String),
    /// Another host's plan.
    #[error(
        "this plan was made for the host {0}, and this is {1}: if it is meant for this one, edit `host` in it"
    )]
    OtherHost(String, String),
}

impl Plan {
    /// The plan for the findings of a case, and what somebody should know of it.
    pub fn new(
        case: &Case,
        diagnosis: &Diagnosis,
        wishes: &Wishes,
        files: Files<'_>,
    ) -> Result<(Self, Vec<String>), Refusal> {
        let mut told = told::Told::new(case, files);
        let boot = match files {
            Files::Here(root) => Some(Boot::read(root)),
            Files::Elsewhere => None,
        };
        let mut offers: Vec<Offer> = Vec::new();
        let wanted = |finding: &&Finding| {
            wishes.rules.is_empty() || wishes.rules.iter().any(|rule| rule == finding.rule)
        };
        for finding in diagnosis.findings.iter().filter(wanted) {
            for remedy in &finding.remedies {
                let offer = Offer::new(finding, remedy, wishes, &told);
                // Several findings may ask for the same.
                match offers.iter_mut().find(|other| other.is_for(&offer)) {
                    Some(other) => other.join(offer),
                    None => offers.push(offer),
                }
            }
        }
        let mut notes = Vec::new();
        let mut by_hand = Vec::new();
        let mut remedies: Vec<Planned> = Vec::new();
        for Offer { mut planned, edits } in offers {
            let forbidden = planned.changes.iter().find_map(|change| match (change, &boot) {
                (Change::AtBoot { setting, to, .. }, Some(boot)) => boot.forbids(setting, to),
                _ => None,
            });
            if let Some(why) = forbidden {
                by_hand.push((planned.name.clone(), why));
                planned.leave_to_a_person();
            }
            if !edits.is_empty() {
                match told.changes(&edits) {
                    Ok((changes, said)) => {
                        planned.changes.extend(changes);
                        notes.extend(said);
                    }
                    Err(why) => {
                        by_hand.push((planned.name.clone(), why));
                        planned.leave_to_a_person();
                    }
                }
            }
            remedies.push(planned);
        }
        for name in &wishes.remedies {
            let named = || remedies.iter().filter(|remedy| remedy.name == *name);
            if named().next().is_none() {
                return Err(Refusal::NotOffered(name.clone(), offered(&remedies)));
            }
            if named().any(|remedy| !remedy.changes.is_empty()) {
                // It may be advice elsewhere, as for the program of another host: it is done where it can be.
                let advice = |remedy: &&mut Planned| remedy.name == *name && remedy.changes.is_empty();
                remedies.iter_mut().filter(advice).for_each(|remedy| remedy.apply = false);
            } else if let Some((_, why)) = by_hand.iter().find(|(other, _)| other == name) {
                return Err(Refusal::ByHand(name.clone(), why.clone()));
            }
        }
        notes.extend(by_hand.into_iter().map(|(name, why)| format!("{name} has to be done by hand: {why}")));
        notes.dedup();
        let plan = Self {
            host: case.host.name.clone(),
            kernel: case.host.kernel.clone(),
            made_at: case.host.taken_at.clone(),
            remedies,
        };
        Ok((plan, notes))
    }

    /// The remedies that are to be done.
    pub fn chosen(&self) -> impl Iterator<Item = &Planned> {
        self.remedies.iter().filter(|remedy| remedy.apply)
    }

    /// The files that are to be replaced, each with all that the chosen remedies change in it.
    pub(crate) fn files(&self) -> Result<Vec<Replaced<'_>>, Refusal> {
        let mut files: BTreeMap<&Path, Vec<(&Planned, &Program, &str, &str)>> = BTreeMap::new();
        for remedy in self.chosen() {
            for change in &remedy.changes {
                if let Change::File { file, program, from, to } = change {
                    files.entry(file).or_default().push((remedy, program, from, to));
                }
            }
        }
        let replaced = files.into_iter().filter_map(|(file, all)| {
            let (first, program, from, _) = *all.first()?;
            let conflict = |other: &Planned| {
                Refusal::Conflict(first.name.clone(), other.name.clone(), file.display().to_string())
            };
            let alike = |(remedy, its, before, _): &&(&Planned, &Program, &str, &str)| {
                *its == program && *before == from && remedy.netns == first.netns
            };
            if let Some((other, ..)) = all.iter().find(|one| !alike(one)) {
                return Some(Err(conflict(other)));
            }
            let Some(to) = merged(from, all.iter().map(|(.., to)| *to)) else {
                return Some(Err(conflict(all.get(1).map_or(first, |(other, ..)| *other))));
            };
            Some(Ok(Replaced { file, program: *program, netns: &first.netns, from, to }))
        });
        replaced.collect()
    }

    /// Whether all that is to be done may be done.
    pub fn check(&self) -> Result<(), Refusal> {
        let mut asked: BTreeMap<(&str, &str), (&Planned, &Change)> = BTreeMap::new();
        for remedy in self.chosen() {
            if remedy.applicability == Applicability::DisplayOnly || remedy.changes.is_empty() {
                return Err(Refusal::ForAPerson(remedy.name.clone()));
            }
            for change in &remedy.changes {
                match change {
                    Change::Setting { setting, from, to } | Change::AtBoot { setting, from, to } => {
                        // A rule may ask for what is else never done, by the remedy that it offers.
                        let is_offered = value::offered(&remedy.name, setting).is_some();
                        let rule = if is_offered { remedy.rule.as_str() } else { "" };
                        let to = value::plain(to);
                        let why = match change {
                            Change::AtBoot { .. } => value::refused_at_boot(rule, setting, from, &to),
                            _ => value::refused(rule, setting, from, &to),
                        };
                        if let Some(why) = why {
                            return Err(Refusal::Never { setting: setting.clone(), to, why });
                        }
                        let (other, before) =
                            *asked.entry((&remedy.netns, setting)).or_insert((remedy, change));
                        if before != change {
                            let names = [other, remedy].map(|remedy| remedy.name.clone());
                            let [one, other] = names;
                            return Err(Refusal::Conflict(one, other, setting.clone()));
                        }
                    }
                    Change::File { file, to, .. } => {
                        let why = if !file.is_absolute() {
                            "a file is named from the root on"
                        } else if to.trim().is_empty() {
                            "an empty file cannot be meant"
                        } else {
                            ""
                        };
                        if !why.is_empty() {
                            return Err(Refusal::File(file.clone(), why));
                        }
                    }
                }
            }
        }
        self.files().map(drop)
    }

    /// Whether it is for this host.
    pub fn check_host(&self, here: &str) -> Result<(), Refusal> {
        if self.host == here { Ok(()) } else { Err(Refusal::OtherHost(self.host.clone(), here.to_owned())) }
    }

    /// Reads a plan as [`Plan::to_text`] writes it, and as people edit it.
    pub fn from_text(text: &str) -> Result<Self, PlanError> {
        text::read(text)
    }

    /// The plan as a text to be read, edited and mailed.
    pub fn to_text(&self) -> String {
        text::write(self)
    }
}

/// Which remedies there are that can be done, for somebody who named another.
fn offered(remedies: &[Planned]) -> String {
    let mut names: Vec<&str> = remedies
        .iter()
        .filter(|remedy| !remedy.changes.is_empty())
        .map(|remedy| remedy.name.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        "none that can be applied is offered".to_owned()
    } else {
        format!("there are {}", names.join(", "))
    }
}

/// A file that is to be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replaced<'a> {
    pub(crate) file: &'a Path,
    pub(crate) program: Program,
    /// The network namespace that the program is in.
    pub(crate) netns: &'a str,
    pub(crate) from: &'a str,
    pub(crate) to: String,
}
