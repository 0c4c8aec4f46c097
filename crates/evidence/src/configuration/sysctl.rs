//! What the files of `sysctl.d` set at boot, in the order that systemd applies.

use super::FilePlace;
use serde::{Deserialize, Serialize};

/// What the files say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sysctl {
    /// Settings by name, in the order of names. A name with `*` is a pattern that no file resolves.
    pub keys: Vec<SysctlKey>,
    /// Files that are not applied.
    pub unapplied: Vec<Unapplied>,
}

/// A setting.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SysctlKey {
    /// With dots: `net.ipv4.tcp_fin_timeout`.
    pub name: String,
    /// The assignment that wins; none if only `-name` stands there, which keeps patterns off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub winner: Option<SysctlValue>,
    /// Those that lose, in the order in which they are read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub overridden: Vec<Overridden>,
}

/// An assignment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SysctlValue {
    /// What is written to the setting, to the end of the line: a `#` after the value is a part of it.
    pub value: String,
    /// Where it is.
    pub place: FilePlace,
    /// The name as it is written, if that is a pattern.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// A minus sign before it: it may fail.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub may_fail: bool,
}

/// An assignment that loses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Overridden {
    /// The assignment; its value is empty where `-name` stands.
    pub assignment: SysctlValue,
    /// What it loses to.
    pub by: Loses,
}

/// Why an assignment has no effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loses {
    /// A later line sets the same.
    Later,
    /// It is a pattern, and the setting is named elsewhere, before or after it.
    Named,
    /// Its file is not applied.
    File,
    /// A reason that a newer lastack knows.
    #[default]
    #[serde(other)]
    Other,
}

/// A file that is not applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unapplied {
    /// Which of the files.
    pub file: u32,
    /// The file of the same name in a directory that comes first; none if it is in no directory that is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub masked_by: Option<u32>,
}
