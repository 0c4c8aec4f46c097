//! The scenarios that come with lastack.

use crate::Scenario;
use crate::scenario::ScenarioError;

/// The text of each, by name, in the order in which they are shown; a test compares it with `scenarios/`.
const TEXTS: &[(&str, &str)] = &[
    ("upstream-keepalive", include_str!("../../../scenarios/upstream-keepalive.toml")),
    ("port-exhaustion", include_str!("../../../scenarios/port-exhaustion.toml")),
    ("close-wait-leak", include_str!("../../../scenarios/close-wait-leak.toml")),
    ("accept-queue-full", include_str!("../../../scenarios/accept-queue-full.toml")),
    ("somaxconn", include_str!("../../../scenarios/somaxconn.toml")),
    ("fin-timeout", include_str!("../../../scenarios/fin-timeout.toml")),
    ("goodbye", include_str!("../../../scenarios/goodbye.toml")),
    ("healthy", include_str!("../../../scenarios/healthy.toml")),
    ("idle-timeout-race", include_str!("../../../scenarios/idle-timeout-race.toml")),
    ("last-ack-lost", include_str!("../../../scenarios/last-ack-lost.toml")),
    ("linger-zero", include_str!("../../../scenarios/linger-zero.toml")),
    ("listener-in-ephemeral-range", include_str!("../../../scenarios/listener-in-ephemeral-range.toml")),
    ("restart-bind", include_str!("../../../scenarios/restart-bind.toml")),
    ("time-wait-memory", include_str!("../../../scenarios/time-wait-memory.toml")),
    ("time-wait-overflow", include_str!("../../../scenarios/time-wait-overflow.toml")),
    ("unread-data", include_str!("../../../scenarios/unread-data.toml")),
    ("custom-time-wait-length", include_str!("../../../scenarios/custom-time-wait-length.toml")),
    ("abort-on-overflow", include_str!("../../../scenarios/abort-on-overflow.toml")),
    ("half-open-queue", include_str!("../../../scenarios/half-open-queue.toml")),
    ("lvs-direct-routing", include_str!("../../../scenarios/lvs-direct-routing.toml")),
    ("lvs-nat", include_str!("../../../scenarios/lvs-nat.toml")),
    ("nat-timestamps", include_str!("../../../scenarios/nat-timestamps.toml")),
    ("recycle-behind-nat", include_str!("../../../scenarios/recycle-behind-nat.toml")),
    ("snat-exhaustion", include_str!("../../../scenarios/snat-exhaustion.toml")),
    ("syn-into-fin-wait-2", include_str!("../../../scenarios/syn-into-fin-wait-2.toml")),
    ("syn-into-time-wait", include_str!("../../../scenarios/syn-into-time-wait.toml")),
    ("windows-ports", include_str!("../../../scenarios/windows-ports.toml")),
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
