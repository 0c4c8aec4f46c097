//! `lastack lint`, and the configurations that `lastack doctor` is given.

mod fixes;

use crate::arguments::{Lint, LintOf};
use crate::{Outcome, screen};
use anyhow::{Context as _, bail};
use config::Kind;
use evidence::configuration::AS_INCLUDED;
use evidence::{Case, Configuration, Gap, Unseen};
use kernel::programs::{self, Named};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// So much of a file is read to find out whose it is.
const BEGINNING: u64 = 256 << 10;

pub(crate) fn run(options: &Lint) -> Outcome {
    let mut case = read(options)?;
    let read = case.configurations.clone();
    for file in case.configurations.iter_mut().flat_map(|configuration| &mut configuration.files) {
        *file = as_typed(file);
    }
    let lint = report::Lint::new(&case, diagnose::lint(&case));
    let mut text = Vec::new();
    if options.sarif {
        let fixes = fixes::fixes(&lint.findings, &read, as_typed);
        report::write_json(&report::sarif(&lint, &fixes, env!("CARGO_PKG_VERSION")), &mut text)?;
    } else if options.output.json {
        report::write_json(&lint, &mut text)?;
    } else {
        report::write_lint(&lint, &mut text, screen::style(options.output.color))?;
    }
    screen::print(&text)?;
    Ok(ExitCode::from(u8::from(lint.has_problems())))
}

/// The files as a case without a host.
fn read(options: &Lint) -> anyhow::Result<Case> {
    let mut case = Case::default();
    let (mut haproxy, mut sysctl) = (Vec::new(), Vec::new());
    let mut nginx = Vec::new();
    for file in &options.files {
        let kind = match options.of {
            Some(LintOf::Nginx) => Kind::Nginx,
            Some(LintOf::Haproxy) => Kind::Haproxy,
            Some(LintOf::Sysctl) => Kind::Sysctl,
            None => kind(file)?,
        };
        match kind {
            Kind::Nginx => nginx.push(file),
            Kind::Haproxy => haproxy.push(file.clone()),
            Kind::Sysctl => sysctl.push(file.clone()),
        }
    }
    for file in nginx {
        let named = programs::nginx(file, options.nginx_version.as_deref()).with_context(|| shown(file))?;
        take(&mut case, named);
    }
    // A part that another file includes is judged there, with what is in force.
    let included = |one: &Configuration| {
        let part = one.nginx.is_some() && one.files.first().is_some_and(|file| file.ends_with(AS_INCLUDED));
        let is_main = |other: &Configuration| other.files.iter().all(|file| !file.ends_with(AS_INCLUDED));
        part && case.configurations.iter().any(|other| {
            is_main(other) && other.files.iter().skip(1).any(|file| one.files.get(1) == Some(file))
        })
    };
    let kept = case.configurations.iter().filter(|one| !included(one)).cloned().collect();
    case.configurations = kept;
    if !haproxy.is_empty() {
        let named = programs::haproxy(&haproxy, options.haproxy_version.as_deref());
        take(&mut case, named.with_context(|| listed(&haproxy))?);
    }
    if !sysctl.is_empty() {
        take(&mut case, programs::sysctl(&sysctl).with_context(|| listed(&sysctl))?);
    }
    Ok(case)
}

/// Adds the configurations that `lastack doctor` is given by name. One that a running program uses is in the case
/// already. Another one is read with the version of the program that runs, if there is one.
pub(crate) fn add_named(case: &mut Case, nginx: &[PathBuf], haproxy: &[PathBuf]) -> anyhow::Result<()> {
    let version = |case: &Case, of: fn(&Configuration) -> bool| {
        let mut versions = case.configurations.iter().filter(|one| of(one)).map(|one| one.version.clone());
        let first = versions.next().flatten();
        first.filter(|first| versions.all(|other| other.as_ref() == Some(first)))
    };
    for file in nginx {
        let version = version(case, |one| one.nginx.is_some());
        let named = programs::nginx(file, version.as_deref()).with_context(|| shown(file))?;
        take_unless_known(case, named);
    }
    for file in haproxy {
        let version = version(case, |one| one.haproxy.is_some());
        let named =
            programs::haproxy(std::slice::from_ref(file), version.as_deref()).with_context(|| shown(file))?;
        take_unless_known(case, named);
    }
    Ok(())
}

fn take_unless_known(case: &mut Case, named: Named) {
    let first = named.configuration.files.first();
    if !case.configurations.iter().any(|one| one.files.first() == first) {
        take(case, named);
    }
}

fn take(case: &mut Case, named: Named) {
    case.configurations.push(named.configuration);
    case.gaps.extend(named.refused.into_iter().map(|(path, why)| Gap {
        unseen: Unseen::Configuration,
        netns: None,
        because: format!("what {path} says: {why}"),
        how_to_see: "run as somebody who may read it".to_owned(),
    }));
}

/// Whose file it is, by its beginning.
fn kind(file: &Path) -> anyhow::Result<Kind> {
    let metadata = std::fs::metadata(file).with_context(|| shown(file))?;
    if metadata.is_dir() {
        bail!("{}: is a directory; name its files", shown(file));
    }
    if !metadata.is_file() {
        bail!("{}: not a regular file", shown(file));
    }
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).with_context(|| shown(file))?;
    opened.take(BEGINNING).read_to_end(&mut bytes).with_context(|| shown(file))?;
    match Kind::of(&file.to_string_lossy(), &bytes) {
        Some(kind) => Ok(kind),
        None => bail!("{}: neither nginx, HAProxy nor sysctl.d; say whose it is: --of nginx", shown(file)),
    }
}

/// A name below the working directory is shortened to what one would type there.
fn as_typed(file: &str) -> String {
    let here = std::env::current_dir()
        .ok()
        .and_then(|here| Some(format!("{}/", here.to_str()?.trim_end_matches('/'))));
    here.and_then(|here| file.strip_prefix(&here)).unwrap_or(file).to_owned()
}

fn shown(file: &Path) -> String {
    file.display().to_string()
}

fn listed(files: &[PathBuf]) -> String {
    files.iter().map(|file| shown(file)).collect::<Vec<_>>().join(", ")
}
