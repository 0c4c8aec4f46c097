//! Scenarios by name or file.

use crate::case_file;
use anyhow::{Context as _, anyhow, bail};
use std::path::Path;
use world::Scenario;
use world::scenario::MAX_BYTES;

/// A scenario and the text it was read from.
pub(crate) struct Found {
    pub(crate) text: String,
    pub(crate) scenario: Scenario,
}

/// One of the list, or a file: what has a slash or ends in `.toml`.
pub(crate) fn find(name: &str) -> anyhow::Result<Found> {
    let path = Path::new(name);
    let is_file = name.contains('/') || path.extension().is_some_and(|extension| extension == "toml");
    let text = if is_file {
        let bytes = case_file::bounded_file(path, MAX_BYTES).with_context(|| name.to_owned())?;
        String::from_utf8(bytes).map_err(|error| {
            anyhow!("{name}: is no text: byte {} is not UTF-8", error.utf8_error().valid_up_to())
        })?
    } else {
        match world::collection::text(name) {
            Some(text) => text.to_owned(),
            None => bail!("there is no scenario `{name}`{}; `lastack lab list` lists them", near(name)),
        }
    };
    let scenario = Scenario::parse(&text).with_context(|| name.to_owned())?;
    if let Some(unknown) = named_rules(&scenario).find(|rule| diagnose::rule(rule).is_none()) {
        bail!("{name}: it names the rule `{unknown}`, which is none; `lastack explain` lists them");
    }
    Ok(Found { text, scenario })
}

/// Every rule of which a scenario says that it fires, may fire, or is repaired.
fn named_rules(scenario: &Scenario) -> impl Iterator<Item = &str> {
    let variants = scenario.variants.iter().flat_map(|variant| {
        let fire = variant.expect.findings.values().chain(variant.expect.possible.values()).flatten();
        fire.chain(variant.fixes.iter().map(|fix| &fix.finding))
    });
    variants.chain(scenario.unfixed.keys()).map(String::as_str)
}

/// The scenario alone.
pub(crate) fn scenario(name: &str) -> anyhow::Result<Scenario> {
    Ok(find(name)?.scenario)
}

/// The name that was meant, if one is near.
fn near(name: &str) -> String {
    let shared =
        |known: &str| known.chars().zip(name.chars()).take_while(|(one, other)| one == other).count();
    let best = world::collection::names().max_by_key(|known| shared(known));
    match best {
        Some(best) if shared(best) >= 4 => format!(", did you mean `{best}`?"),
        _ => String::new(),
    }
}
