//! What a scenario promises.

use super::Stage;
use serde::{Deserialize, Deserializer};
use std::collections::{BTreeMap, BTreeSet};

/// What is expected of a variant.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// For each host, the rules that fire there, no more and no fewer. A host that is not named: none.
    #[serde(default)]
    pub findings: BTreeMap<String, BTreeSet<String>>,
    /// Rules that may fire or not, by host, because chance decides.
    #[serde(default)]
    pub possible: BTreeMap<String, BTreeSet<String>>,
    /// Bounds of measures, both included. A count that is absent is 0.
    #[serde(default)]
    pub measures: BTreeMap<String, Bounds>,
    /// Measures that the simulator does not foretell, and why; `*` at the end of a name stands for any rest.
    #[serde(default)]
    pub unpredicted: BTreeMap<String, String>,
}

impl Expect {
    /// Why the simulator does not foretell a measure; none if it does.
    pub fn excuse(&self, name: &str) -> Option<&str> {
        let fits = |pattern: &str| match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == pattern,
        };
        self.unpredicted.iter().find(|(pattern, _)| fits(pattern)).map(|(_, why)| why.as_str())
    }
}

/// From and to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// At least.
    pub min: f64,
    /// At most.
    pub max: f64,
}

impl Bounds {
    /// True if a number lies between them.
    pub fn hold(&self, value: f64) -> bool {
        self.min <= value && value <= self.max
    }
}

impl<'de> Deserialize<'de> for Bounds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "bounds are a number or [least, most]")]
        enum Written {
            One(f64),
            Both(f64, f64),
        }
        Ok(match Written::deserialize(deserializer)? {
            Written::One(value) => Self { min: value, max: value },
            Written::Both(min, max) => Self { min, max },
        })
    }
}

/// What holds between two variants: `less.measure <= factor x more.measure`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relation {
    /// The variant with less,
    pub less: String,
    /// the one with more,
    pub more: String,
    /// of this measure,
    pub measure: String,
    /// by this factor.
    #[serde(default = "one")]
    pub factor: f64,
    /// Where it holds; default: wherever both run.
    pub on: Option<Stage>,
}

const fn one() -> f64 {
    1.0
}
