//! The file as it is written: everything at the top level, so that a table's name says what it is.

use super::change::Changed;
use super::{
    Client, Family, Fault, Host, Probe, Proxy, Relation, Scenario, ScenarioError, Server, Settings, Stage,
    Step, World,
};
use crate::Costs;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    name: String,
    title: String,
    #[serde(default)]
    about: String,
    #[serde(default = "both")]
    on: Vec<Stage>,
    #[serde(default)]
    alone: bool,
    #[serde(default, rename = "variant")]
    variants: Vec<Changed>,
    #[serde(default, rename = "relation")]
    relations: Vec<Relation>,
    #[serde(default)]
    unfixed: BTreeMap<String, String>,

    #[serde(default)]
    family: Family,
    #[serde(default = "one")]
    seed: u64,
    #[serde(default = "settle")]
    settle_ms: u64,
    #[serde(default = "limit")]
    limit_ms: u64,
    #[serde(default)]
    settings: Settings,
    #[serde(rename = "host")]
    hosts: Vec<Host>,
    #[serde(default, rename = "server")]
    servers: Vec<Server>,
    #[serde(default, rename = "proxy")]
    proxies: Vec<Proxy>,
    #[serde(default, rename = "client")]
    clients: Vec<Client>,
    #[serde(default, rename = "probe")]
    probes: Vec<Probe>,
    #[serde(default, rename = "fault")]
    faults: Vec<Fault>,
    #[serde(default, rename = "step")]
    steps: Vec<Step>,
}

fn both() -> Vec<Stage> {
    vec![Stage::Kernel, Stage::Simulator]
}

const fn one() -> u64 {
    1
}

const fn settle() -> u64 {
    300
}

const fn limit() -> u64 {
    60_000
}

impl Written {
    /// The scenario, each variant's world made from the document with its changes.
    pub(super) fn scenario(self, document: &toml::Table) -> Result<Scenario, ScenarioError> {
        let mut variants = self.variants.clone();
        if variants.is_empty() {
            variants.push(Changed::as_is());
        }
        let variants = variants.into_iter().map(|changed| changed.variant(document, &self.on));
        Ok(Scenario {
            variants: variants.collect::<Result<_, _>>()?,
            name: self.name,
            title: self.title,
            about: self.about,
            on: self.on,
            alone: self.alone,
            relations: self.relations,
            unfixed: self.unfixed,
        })
    }

    pub(super) fn world(self) -> World {
        World {
            family: self.family,
            seed: self.seed,
            settle_ms: self.settle_ms,
            limit_ms: self.limit_ms,
            settings: self.settings,
            hosts: self.hosts,
            servers: self.servers,
            proxies: self.proxies,
            clients: self.clients,
            probes: self.probes,
            faults: self.faults,
            steps: self.steps,
            costs: Costs::default(),
        }
    }
}
