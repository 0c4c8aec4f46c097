//! What the configuration of a program says: facts, each with its place. The text of the files is not kept, and no
//! value that may be a secret.

pub mod address;
pub mod haproxy;
pub mod nginx;
pub mod sysctl;

use serde::{Deserialize, Serialize};
use std::fmt;

/// What the name of a file ends with that is none: the blocks around a part that was given alone.
pub const AS_INCLUDED: &str = " (as included)";

/// The configuration of one program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Configuration {
    /// The program's version, as whoever looked found it: `1.22.1`. Defaults depend on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The process that runs with it; none if its files were named, and nobody was seen to use them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<Running>,
    /// The files that were read, by path; places point into this list.
    pub files: Vec<String>,
    /// What the program would refuse, and what was not read: files that were missing, or too large.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<ConfigurationProblem>,
    /// If it is nginx.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nginx: Option<nginx::Nginx>,
    /// If it is HAProxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub haproxy: Option<haproxy::Haproxy>,
    /// If it is the settings of the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sysctl: Option<sysctl::Sysctl>,
}

impl Configuration {
    /// A place for people: `/etc/nginx/nginx.conf:12`.
    pub fn at(&self, place: FilePlace) -> String {
        let file =
            self.files.get(place.file as usize).map_or("(a file that is not in this case)", String::as_str);
        format!("{file}:{}", place.line)
    }
}

/// A process that was started with a configuration. It may still hold an older text of it: programs read their files
/// when they start, and when they are told to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Running {
    /// The network namespace it is in, by its name in the case.
    pub netns: String,
    /// Its id in the pid namespace of the observer; of several, that of the one that started the others.
    pub pid: u32,
    /// Its name as the kernel keeps it (`comm`): `nginx`, `haproxy`.
    pub name: String,
    /// The container it runs in, where /proc/PID/cgroup tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Processes that it started to do the work; none if it does it itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<u32>,
    /// True if one of its files was written to after the process had started: what runs may be older than what is read.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub older_than_files: bool,
}

/// A place in one of the files of a configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct FilePlace {
    /// Which of [`Configuration::files`].
    pub file: u32,
    /// Line, from 1.
    pub line: u32,
    /// Byte in its line, from 1.
    pub column: u32,
}

/// Something the program would refuse, or that was not read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigurationProblem {
    /// Where.
    pub place: FilePlace,
    /// What.
    pub what: String,
}

/// What a configuration says about one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "known")]
pub enum Said<T> {
    /// It stands there.
    Written {
        /// What stands there.
        value: T,
        /// Where.
        place: FilePlace,
    },
    /// Nothing says it, and then this version of the program does this.
    Default {
        /// What it does.
        value: T,
    },
    /// It cannot be told.
    Unknown {
        /// Why, as one clause.
        because: String,
        /// What stands there and cannot be understood.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<FilePlace>,
    },
}

impl<T> Said<T> {
    /// The value, whether it is written or the program's own.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Written { value, .. } | Self::Default { value } => Some(value),
            Self::Unknown { .. } => None,
        }
    }

    /// Where it stands.
    pub fn place(&self) -> Option<FilePlace> {
        match self {
            Self::Written { place, .. } => Some(*place),
            Self::Default { .. } => None,
            Self::Unknown { place, .. } => *place,
        }
    }

    /// True if it stands in a file.
    pub fn is_written(&self) -> bool {
        matches!(self, Self::Written { .. })
    }

    /// Why it cannot be told.
    pub fn because(&self) -> Option<&str> {
        match self {
            Self::Unknown { because, .. } => Some(because),
            _ => None,
        }
    }

    /// The same with another value.
    pub fn map<U>(self, to: impl FnOnce(T) -> U) -> Said<U> {
        match self {
            Self::Written { value, place } => Said::Written { value: to(value), place },
            Self::Default { value } => Said::Default { value: to(value) },
            Self::Unknown { because, place } => Said::Unknown { because, place },
        }
    }
}

/// Of a case that was written before this was read.
impl<T> Default for Said<T> {
    fn default() -> Self {
        Self::Unknown { because: "it was not read".to_owned(), place: None }
    }
}

impl<T: fmt::Display> fmt::Display for Said<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Written { value, .. } => write!(f, "{value}"),
            Self::Default { value } => write!(f, "{value} by default"),
            Self::Unknown { because, .. } => write!(f, "unknown: {because}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_survives_its_file() {
        let place = FilePlace { file: 0, line: 7, column: 3 };
        let mut configuration = Configuration {
            version: Some("1.22.1".into()),
            files: vec!["/etc/nginx/nginx.conf".into()],
            problems: vec![ConfigurationProblem { place, what: "unexpected `;`".into() }],
            nginx: Some(nginx::Nginx::default()),
            ..Configuration::default()
        };
        configuration.nginx.as_mut().unwrap().passes.push(nginx::Pass {
            target: nginx::Target::Variable { text: "$backend".into() },
            read_timeout_ms: Said::Written { value: 60_000, place },
            ..nginx::Pass::default()
        });
        let text = serde_json::to_string(&configuration).unwrap();
        assert_eq!(serde_json::from_str::<Configuration>(&text).unwrap(), configuration);
        assert_eq!(configuration.at(place), "/etc/nginx/nginx.conf:7");
        assert!(configuration.at(FilePlace { file: 1, ..place }).contains("not in this case"));
    }

    #[test]
    fn a_fact_that_an_older_case_lacks_is_unknown() {
        let pass: nginx::Pass = serde_json::from_str("{}").unwrap();
        assert_eq!(pass.read_timeout_ms.because(), Some("it was not read"));
        assert_eq!(pass.protocol, nginx::Protocol::Other);
    }
}
