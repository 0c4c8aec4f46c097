//! What `lastack fix` does by itself.

use super::World;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Value;

/// That a variant is what `lastack fix` makes of a world in which something is wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Fix {
    /// The host on which it runs.
    pub host: String,
    /// The rule that must fire there before.
    pub finding: String,
    /// The remedy that is named to it; none: those of the rule that are safe.
    pub remedy: Option<String>,
    /// Servers that must be started anew before the change is in force.
    pub restart: Vec<String>,
    /// The world before: the variant's, but for what the fix changes.
    pub before: World,
}

/// The same as it is written.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenFix {
    pub(super) host: String,
    pub(super) finding: String,
    pub(super) remedy: Option<String>,
    #[serde(default)]
    pub(super) restart: Vec<String>,
    /// Changes of the variant, by path, that undo what the fix does.
    pub(super) before: BTreeMap<String, Value>,
}
