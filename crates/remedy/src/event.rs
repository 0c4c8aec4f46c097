//! What the process that changes the host and the one in front of the terminal say to each other: a JSON object a line.

use crate::guard::Measured;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What is to be done; the first line that the changing process reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// Where journals are.
    pub state: PathBuf,
    /// What to do.
    pub task: Task,
    /// How long the counters are watched before the change.
    pub before_ms: u64,
    /// How long they are watched after it.
    pub guard_ms: u64,
    /// How long an answer is waited for.
    pub answer_ms: u64,
    /// True if it was confirmed beforehand: then nobody is asked.
    pub confirmed: bool,
}

/// What an order is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Carry out the plan, given as its text.
    Apply(String),
    /// Take back the apply of this name.
    TakeBack(String),
}

/// What happens, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// An earlier apply was not finished, and is settled now.
    Recovered {
        /// Its name.
        id: String,
        /// True if its changes stay.
        kept: bool,
        /// What was left as somebody else has made it.
        left: Vec<String>,
    },
    /// Nothing was changed.
    Refused {
        /// Why.
        because: String,
    },
    /// There is nothing to change.
    Nothing {
        /// Why.
        notes: Vec<String>,
        /// What was left as somebody else has made it.
        left: Vec<String>,
    },
    /// The journal is on disk.
    Began {
        /// The apply's name.
        id: String,
        /// What somebody should know.
        notes: Vec<String>,
        /// What was left as somebody else has made it, and is no part of this.
        left: Vec<String>,
    },
    /// Counters are watched before the change.
    Measuring {
        /// For so long.
        for_ms: u64,
    },
    /// A step was taken, and read back.
    Taken {
        /// What.
        what: String,
    },
    /// Guards are watched.
    Watching {
        /// For so long.
        for_ms: u64,
    },
    /// Whether it is to stay. Without an answer in time it does not.
    Asking {
        /// So long.
        for_ms: u64,
        /// How the guards are, as a sentence without its end.
        guards: String,
    },
    /// Whether the changes stay, and why.
    Decided {
        /// True if they stay.
        keep: bool,
        /// Why.
        because: String,
    },
    /// All is done.
    Ended {
        /// True if the changes stay.
        kept: bool,
        /// What could not be done.
        failed: Vec<String>,
        /// What was left as somebody else has made it.
        left: Vec<String>,
        /// What was measured before and during.
        measured: Vec<Measured>,
    },
    /// What was measured afterwards, and all before.
    After {
        /// A row for each guard.
        measured: Vec<Measured>,
    },
}
