//! Settings that somebody changed: the first thing to ask about a host.

use crate::NotShown;
use crate::report::{first, name};
use evidence::Case;
use schemars::JsonSchema;
use serde::Serialize;
use tcp::profile::linux;

/// So many deviations are reported.
const MAX_ROWS: usize = 200;

/// A setting that differs from the kernel's default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Deviation {
    /// Network namespace.
    pub netns: String,
    /// Its name: `net.ipv4.tcp_fin_timeout`.
    pub name: &'static str,
    /// Its value as the kernel prints it.
    pub value: String,
    /// The kernel's default (of newer kernels, where it changed).
    pub default: &'static str,
}

impl Deviation {
    pub(crate) fn of(case: &Case, not_shown: &mut NotShown) -> Vec<Self> {
        let mut rows = Vec::new();
        for namespace in &case.namespaces {
            for (setting, defaults) in linux::DEFAULT_SETTINGS.value {
                if let Some(value) = namespace.settings.text(setting)
                    && !defaults.iter().any(|default| same(default, value))
                {
                    rows.push(Self {
                        netns: name(&namespace.name),
                        name: setting,
                        value: name(value),
                        default: defaults.first().copied().unwrap_or_default(),
                    });
                }
            }
        }
        first(&rows, MAX_ROWS, &mut not_shown.settings).to_vec()
    }
}

/// Equal but for white space: the kernel separates by tabs, people by spaces.
fn same(one: &str, other: &str) -> bool {
    one.split_whitespace().eq(other.split_whitespace())
}
