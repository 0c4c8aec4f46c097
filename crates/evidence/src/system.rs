//! The operating system of a host. lastack looks at Linux only; others are known from what people paste.

use serde::{Deserialize, Serialize};

/// A host's operating system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum System {
    /// Linux.
    #[default]
    Linux,
    /// Windows since Vista and Server 2008.
    Windows,
    /// macOS.
    Macos,
    /// One that a newer version of lastack knows about.
    #[serde(other)]
    Other,
}

impl System {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linux => "Linux",
            Self::Windows => "Windows",
            Self::Macos => "macOS",
            Self::Other => "another system",
        }
    }

    /// True for the system that lastack itself runs on.
    pub fn is_linux(&self) -> bool {
        *self == Self::Linux
    }
}
