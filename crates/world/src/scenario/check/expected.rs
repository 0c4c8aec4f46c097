//! What a scenario expects: of hosts and measures that there are, within bounds that something can lie in.

use super::wrong;
use crate::measure::names::check as measure;
use crate::scenario::{Bounds, Scenario, ScenarioError, Stage, Variant};
use std::fmt::Display;

/// Where something runs is said once, and at least one stage is left.
pub(super) fn stages(place: impl Display, on: &[Stage]) -> Result<(), ScenarioError> {
    let twice = on.iter().enumerate().any(|(at, stage)| on.iter().skip(at + 1).any(|other| other == stage));
    if on.is_empty() || twice {
        return Err(wrong(place, "on: \"kernel\", \"simulator\" or both, each once"));
    }
    Ok(())
}

/// Hosts, bounds and names of measures of a variant.
pub(super) fn variant(variant: &Variant) -> Result<(), ScenarioError> {
    let place = format!("variant {:?}", variant.name);
    let expect = &variant.expect;
    for host in expect.findings.keys().chain(expect.possible.keys()) {
        if variant.world.host(host).is_none() {
            return Err(wrong(place, format_args!("findings are expected at {host:?}, which is no host")));
        }
    }
    for (name, Bounds { min, max }) in &expect.measures {
        if !(min <= max && min.is_finite()) {
            return Err(wrong(
                place,
                format_args!("{name} = [{min}, {max}]: the first is not above the last"),
            ));
        }
        measure(&variant.world, name).map_err(|why| wrong(&place, why))?;
    }
    for name in expect.unpredicted.keys().filter(|name| !name.ends_with('*')) {
        measure(&variant.world, name).map_err(|why| wrong(&place, why))?;
    }
    Ok(())
}

/// What holds between variants.
pub(super) fn relations(scenario: &Scenario) -> Result<(), ScenarioError> {
    for relation in &scenario.relations {
        for name in [&relation.less, &relation.more] {
            let Some(variant) = scenario.variant(name) else {
                return Err(wrong("relation", format_args!("no variant is called {name:?}")));
            };
            measure(&variant.world, &relation.measure)
                .map_err(|why| wrong("relation", format_args!("{why}, in variant {name:?}")))?;
        }
        if !(relation.factor.is_finite() && relation.factor >= 0.0) {
            return Err(wrong("relation", format_args!("factor = {}: 0 or more", relation.factor)));
        }
    }
    Ok(())
}
