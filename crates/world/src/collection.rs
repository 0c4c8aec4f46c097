//! The scenarios that come with lastack.

use crate::Scenario;
use crate::scenario::ScenarioError;

/// The text of each, by name, in the order in which they are shown; a test compares it with `scenarios/`.
const TEXTS: &[(&str, &str)] = &[
    ("upstream-keepalive", include_str!("../../../scenarios/upstream-keepalive.toml")),
    ("port-exhaustion", include_str!("../../../scenarios/port-exhaustion.toml")),
    ("close-wait-leak", include_str!("../../../scenarios/close-wait-leak.toml")),
];

/// Their names.
pub fn names() -> impl ExactSizeIterator<Item = &'static str> {
    TEXTS.iter().map(|(name, _)| *name)
}

/// The text of one, as a file that may be copied and changed.
pub fn text(name: &str) -> Option<&'static str> {
    TEXTS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// One of them; none if there is none of that name.
///
/// # Errors
///
/// Never for those that passed the tests.
pub fn scenario(name: &str) -> Option<Result<Scenario, ScenarioError>> {
    text(name).map(Scenario::parse)
}
