//! Which file and line wins for each setting, in the order in which systemd applies them (sysctl.d(5)).

use super::Tree;
use crate::nginx::shown;
use evidence::configuration::sysctl::{
    Loses, Overridden, Sysctl, SysctlKey, SysctlValue, Unapplied, matches,
};
use evidence::{Configuration, ConfigurationProblem, FilePlace};
use std::collections::BTreeMap;

/// The directories, the one that masks the others first. `/lib` is `/usr/lib` where both are one.
pub const DIRECTORIES: [&str; 5] =
    ["/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d"];

/// The file that systemd reads only if a link in one of the directories leads to it, as Debian's `99-sysctl.conf` did
/// up to version 12. `sysctl --system` of procps reads it always, and last.
pub const SYSCTL_CONF: &str = "/etc/sysctl.conf";

/// So many patterns are compared with settings that are named, and so many that lose to one are listed.
const MAX_PATTERNS: usize = 100;
const MAX_LOST: usize = 10_000;

/// A file of settings.
#[derive(Clone, Debug)]
pub struct File {
    /// Its path, as it is found in its directory.
    pub path: String,
    /// Where it leads to, if it is a link: an absolute path.
    pub target: Option<String>,
    /// What it holds.
    pub tree: Tree,
}

/// The facts of these files: all that are in [`DIRECTORIES`], and [`SYSCTL_CONF`] if there is one. In the answer the
/// files are in the order in which they are applied; those that are not applied come last.
pub fn evaluate(files: &[File]) -> Configuration {
    let mut order: Vec<Ranked<'_>> = files.iter().map(Ranked::new).collect();
    let linked =
        order.iter().any(|file| file.rank.is_some() && file.file.target.as_deref() == Some(SYSCTL_CONF));
    // The file and the link to it are one: it is applied by the name of the link.
    order.retain(|file| !(linked && file.file.path == SYSCTL_CONF));
    order.sort_by(|one, other| (one.name, one.rank).cmp(&(other.name, other.rank)));
    let mut first = BTreeMap::new();
    for file in &order {
        if file.rank.is_some() {
            first.entry(file.name).or_insert(file.file.path.as_str());
        }
    }
    let (applied, left_out): (Vec<_>, Vec<_>) = order.into_iter().partition(|file| {
        file.rank.is_some() && first.get(file.name).is_some_and(|path| *path == file.file.path)
    });
    let number_of = |path: &str| applied.iter().position(|file| file.file.path == path);
    let unapplied = (applied.len()..).zip(&left_out).map(|(number, file)| Unapplied {
        file: u32::try_from(number).unwrap_or(u32::MAX),
        masked_by: file.rank.and(first.get(file.name)).and_then(|path| number_of(path)?.try_into().ok()),
    });
    let mut sysctl = Sysctl { unapplied: unapplied.collect(), keys: Vec::new() };
    let mut problems = Vec::new();
    let mut keys: BTreeMap<String, SysctlKey> = BTreeMap::new();
    for (number, file) in (0_u32..).zip(applied.iter().chain(&left_out)) {
        let is_applied = (number as usize) < applied.len();
        for problem in file.file.tree.problems().iter().filter(|_| is_applied) {
            let place = FilePlace { file: number, line: problem.place.line, column: problem.place.column };
            problems.push(ConfigurationProblem { place, what: shown(&problem.what) });
        }
        for one in file.file.tree.assignments() {
            let place = one.place();
            let name = shown(&one.name());
            let assignment = SysctlValue {
                value: one.value().as_deref().map(value).unwrap_or_default(),
                place: FilePlace { file: number, line: place.line, column: place.column },
                pattern: is_pattern(&name).then(|| name.clone()),
                may_fail: one.may_fail(),
            };
            let key = keys.entry(name.clone()).or_insert_with(|| SysctlKey { name, ..SysctlKey::default() });
            if !is_applied {
                key.overridden.push(Overridden { assignment, by: Loses::File });
                continue;
            }
            let keeps_off = one.value().is_none();
            let winner = if keeps_off { None } else { Some(assignment.clone()) };
            if let Some(old) = std::mem::replace(&mut key.winner, winner) {
                key.overridden.push(Overridden { assignment: old, by: Loses::Later });
            }
            if keeps_off {
                key.keeps_patterns_off = Some(assignment.place);
            }
        }
    }
    patterns_lose(&mut keys);
    sysctl.keys = keys.into_values().collect();
    Configuration {
        files: applied.iter().chain(&left_out).map(|file| shown(&file.file.path)).collect(),
        problems,
        sysctl: Some(sysctl),
        ..Configuration::default()
    }
}

/// A setting that is named anywhere is set by no pattern (`apply_all()` skips what is set explicitly). It is said of
/// so many only: there may be as many as patterns times settings.
fn patterns_lose(keys: &mut BTreeMap<String, SysctlKey>) {
    let patterns = keys.values().filter(|key| is_pattern(&key.name)).filter_map(|key| key.winner.clone());
    let patterns: Vec<_> = patterns.take(MAX_PATTERNS).collect();
    let mut left = MAX_LOST;
    for key in keys.values_mut().filter(|key| !is_pattern(&key.name)) {
        if key.winner.is_none() && key.keeps_patterns_off.is_none() {
            continue;
        }
        let loses =
            |pattern: &&SysctlValue| matches(pattern.pattern.as_deref().unwrap_or_default(), &key.name);
        let lost = patterns.iter().filter(loses).take(left).cloned();
        let before = key.overridden.len();
        key.overridden.extend(lost.map(|assignment| Overridden { assignment, by: Loses::Named }));
        left -= key.overridden.len() - before;
    }
}

/// Blanks between numbers are one space, as the kernel's tools print some of them.
fn value(text: &str) -> String {
    shown(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

/// A file with what decides when it is applied.
struct Ranked<'f> {
    file: &'f File,
    name: &'f str,
    /// Its directory; none if nothing reads it there.
    rank: Option<usize>,
}

impl<'f> Ranked<'f> {
    fn new(file: &'f File) -> Self {
        let (directory, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
        let hidden = name.starts_with('.');
        let is_conf = std::path::Path::new(name).extension().is_some_and(|extension| extension == "conf");
        let rank = DIRECTORIES.iter().position(|known| *known == directory).filter(|_| is_conf && !hidden);
        Self { file, name, rank }
    }
}
