//! Where the load comes from: a case, a capture, this host now, or a scenario.

use crate::arguments::WhatIf as Options;
use crate::{case_file, lab, progress, read};
use anyhow::{Context as _, bail};
use evidence::Case;
use world::fit::{Fit, Knowledge, fit};
use world::scenario::{Scenario, Variant};
use world::whatif::Worlds;

/// A load, and what is known of it.
pub(super) struct Source {
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) worlds: Worlds,
    pub(super) of: Of,
}

/// What it was made from.
pub(super) enum Of {
    /// A model fitted to a case.
    Case(Box<Case>, Box<Fit>),
    /// A scenario.
    Scenario(Box<Scenario>),
}

impl Source {
    /// Finds it, or says why there is none.
    pub(super) fn find(options: &Options) -> anyhow::Result<Self> {
        if let Some(name) = &options.scenario {
            return scenario(name);
        }
        let captured = (!options.capture.is_empty()).then(|| read::traffic(&options.capture)).transpose()?;
        let (kind, mut case) = match (&options.case, &captured) {
            (Some(file), _) => ("case", case_file::open(file)?),
            (None, Some(_)) => ("capture", Case::default()),
            (None, None) => ("look", progress::shown_during(options.length, || look(options))?),
        };
        if let Some(captured) = captured {
            case.traffic = Some(captured.traffic);
            case.gaps.extend(captured.gaps);
        }
        let name = match (&*case.host.name, options.capture.first()) {
            ("", Some(file)) => file.display().to_string(),
            ("", None) => "this host".to_owned(),
            (host, _) => host.to_owned(),
        };
        let fit = fit(&case, &knowledge(options)).with_context(|| name.clone())?;
        Ok(Self { kind, name, worlds: Worlds::from(&fit), of: Of::Case(Box::new(case), Box::new(fit)) })
    }

    pub(super) const fn is_scenario(&self) -> bool {
        matches!(self.of, Of::Scenario(_))
    }

    /// The hosts of the model.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &str> {
        self.worlds.worlds.iter().take(1).flat_map(|world| &world.hosts).map(|host| host.name.as_str())
    }

    /// The scenario's variant of a name.
    pub(super) fn variant(&self, name: &str) -> Option<&Variant> {
        match &self.of {
            Of::Scenario(scenario) => scenario.variant(name),
            Of::Case(..) => None,
        }
    }

    /// The variants that `--remedy` names.
    pub(super) fn variants_asked(&self, options: &Options) -> Vec<&Variant> {
        options.remedy.iter().filter_map(|name| self.variant(name)).collect()
    }
}

fn knowledge(options: &Options) -> Knowledge {
    Knowledge {
        failed: options.failed,
        times: options.load,
        for_ms: options.lasting.map(|length| u64::try_from(length.as_millis()).unwrap_or(u64::MAX)),
        // A look has what was asked for, and nothing else.
        netns: options.case.as_ref().and_then(|_| options.netns.first().cloned()),
        ..Knowledge::default()
    }
}

fn look(options: &Options) -> anyhow::Result<Case> {
    let selection = match options.netns.as_slice() {
        [] => kernel::Selection::Here,
        names => kernel::Selection::These(names.to_vec()),
    };
    let options = kernel::Options { selection, duration: options.length, ..kernel::Options::default() };
    Ok(kernel::look(&options)?)
}

/// The first variant of a scenario, and the host whose load it is: a proxy's, or the first client's.
fn scenario(name: &str) -> anyhow::Result<Source> {
    let scenario = lab::find(name)?;
    let Some(first) = scenario.variants.first() else { bail!("{name}: there is no variant") };
    let world = first.world.clone();
    let proxies = world.proxies.iter().map(|proxy| &proxy.host);
    let Some(here) = proxies.chain(world.clients.iter().map(|client| &client.host)).next().cloned() else {
        bail!("{name}: nobody connects in it, so that there is no load to change");
    };
    Ok(Source {
        kind: "scenario",
        name: scenario.name.clone(),
        worlds: Worlds::exactly(world, &here),
        of: Of::Scenario(Box::new(scenario)),
    })
}
