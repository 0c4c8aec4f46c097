//! Variants: the world with changes.

use super::file::Written;
use super::fix::WrittenFix;
use super::{Expect, Fix, ScenarioError, Stage, Variant, World, check, in_words};
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::{Table, Value};

/// A variant as it is written.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Changed {
    name: String,
    #[serde(default)]
    about: String,
    on: Option<Vec<Stage>>,
    /// By path: `client.load`, `host.server.settings`, or a key of the top level. A table's keys are set in what is
    /// there; anything else replaces it. `false` takes out a table of an array, or a key that
    /// is not true or false itself.
    #[serde(default)]
    change: BTreeMap<String, Value>,
    #[serde(default)]
    expect: Expect,
    #[serde(default, rename = "fix")]
    fixes: Vec<WrittenFix>,
}

impl Changed {
    /// The one variant of a scenario that names none.
    pub(super) fn as_is() -> Self {
        let name = "as-is".to_owned();
        Self {
            name,
            about: String::new(),
            on: None,
            change: BTreeMap::new(),
            expect: Expect::default(),
            fixes: Vec::new(),
        }
    }

    /// The variant: its world is the document's with the changes.
    pub(super) fn variant(self, document: &Table, on: &[Stage]) -> Result<Variant, ScenarioError> {
        let mut document = document.clone();
        let world = self.changed(&mut document, &self.change)?;
        let fixes = self.fixes.iter().map(|fix| {
            Ok(Fix {
                host: fix.host.clone(),
                finding: fix.finding.clone(),
                remedy: fix.remedy.clone(),
                restart: fix.restart.clone(),
                before: self.changed(&mut document.clone(), &fix.before)?,
            })
        });
        let fixes = fixes.collect::<Result<_, _>>()?;
        let on = self.on.unwrap_or_else(|| on.to_vec());
        Ok(Variant { name: self.name, about: self.about, on, world, expect: self.expect, fixes })
    }

    /// The world of a document with these changes.
    fn changed(
        &self,
        document: &mut Table,
        changes: &BTreeMap<String, Value>,
    ) -> Result<World, ScenarioError> {
        for (path, value) in changes {
            change(document, path, value).map_err(|why| self.error(path, why))?;
        }
        let written: Written = document.clone().try_into().map_err(|error: toml::de::Error| {
            let paths: Vec<&str> = changes.keys().map(String::as_str).collect();
            self.error(&paths.join(", "), in_words(error.message()))
        })?;
        let world = written.world();
        check::world(&world).map_err(|error| match error {
            ScenarioError::World { place, why } => {
                ScenarioError::World { place: format!("variant {:?}: {place}", self.name), why }
            }
            other => other,
        })?;
        Ok(world)
    }

    fn error(&self, path: &str, why: String) -> ScenarioError {
        ScenarioError::Change { variant: self.name.clone(), path: path.to_owned(), why }
    }
}

/// Arrays of tables that have names.
const NAMED: [&str; 5] = ["host", "server", "proxy", "client", "probe"];

/// Keys of the top level that are not the world's.
const OF_THE_SCENARIO: [&str; 8] =
    ["name", "title", "about", "on", "alone", "variant", "relation", "unfixed"];

/// Applies one change.
fn change(document: &mut Table, path: &str, value: &Value) -> Result<(), String> {
    let (kind, rest) = path.split_once('.').map_or((path, None), |(kind, rest)| (kind, Some(rest)));
    if let Some(rest) = rest {
        if !NAMED.contains(&kind) {
            return Err(format!("{kind:?} is not one of {}", NAMED.join(", ")));
        }
        let (name, field) = rest.split_once('.').map_or((rest, None), |(name, field)| (name, Some(field)));
        let tables = document.get_mut(kind).and_then(Value::as_array_mut);
        let tables = tables.ok_or_else(|| format!("the scenario has no {kind}"))?;
        let at = tables.iter().position(|table| table.get("name").and_then(Value::as_str) == Some(name));
        let at = at.ok_or_else(|| format!("no {kind} is called {name:?}"))?;
        return match (field, value) {
            (None, Value::Boolean(false)) => {
                tables.remove(at);
                Ok(())
            }
            (None, Value::Table(_)) => {
                merge(&mut tables[at], value);
                Ok(())
            }
            (None, _) => Err("a table of what to set is needed, or false to take it out".to_owned()),
            (Some(field), _) => {
                let table = tables[at].as_table_mut().ok_or_else(|| format!("{kind} is no table"))?;
                set(table, field, value);
                Ok(())
            }
        };
    }
    if OF_THE_SCENARIO.contains(&kind) {
        return Err(format!("{kind} is the scenario's, not a part of its world: nothing would change"));
    }
    set(document, kind, value);
    Ok(())
}

fn set(table: &mut Table, key: &str, value: &Value) {
    match table.get_mut(key) {
        // What is no switch is taken out.
        Some(there) if *value == Value::Boolean(false) && !there.is_bool() => {
            table.remove(key);
        }
        Some(there) => merge(there, value),
        None => {
            table.insert(key.to_owned(), value.clone());
        }
    }
}

/// Sets each key of a table in what is there; replaces anything else.
fn merge(there: &mut Value, value: &Value) {
    match (there, value) {
        (Value::Table(there), Value::Table(value)) => {
            for (key, value) in value {
                set(there, key, value);
            }
        }
        (there, value) => *there = value.clone(),
    }
}
