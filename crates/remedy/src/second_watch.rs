//! A second watch over an apply that was kept, by the guards and the usual rates that its journal has. It changes
//! nothing: what comes of it is for whoever asked, such as a rollout that watches a batch of hosts once all of them
//! are changed.

use crate::guard::{self, Glance, Guard};
use crate::store::{Store, StoreError};
use kernel::{NetnsError, Root};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Guards are looked at so often.
const GLANCE: Duration = Duration::from_millis(250);

/// Why nothing can be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// Where journals are.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A namespace.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// There is none.
    #[error("there is no apply {0}; see `lastack fix --log`")]
    NoSuchApply(String),
    /// Without the usual rates there is nothing to compare with.
    #[error(
        "the apply {0} has not measured the counters before the change: there is nothing to compare with"
    )]
    NotMeasured(String),
    /// Nothing can be watched there any more.
    #[error(
        "the guards of the apply {0} cannot be watched in {1}: the network namespace has gone, or its counters cannot be read"
    )]
    Unwatched(String, String),
}

/// Watches for so long, and says which guards rose faster than they may: none if all held. Ends with the first.
pub fn watch_again(store: &Store, id: &str, length: Duration) -> Result<Vec<String>, WatchError> {
    let root = Root::default();
    let entry = store.entries()?.into_iter().find(|entry| entry.id == id);
    let entry = entry.ok_or_else(|| WatchError::NoSuchApply(id.to_owned()))?;
    let begin = entry.story.begin().ok_or_else(|| WatchError::NoSuchApply(id.to_owned()))?;
    if begin.guards.is_empty() {
        // It is about the next boot.
        return Ok(Vec::new());
    }
    let measured = entry.story.measured().iter();
    let usual: BTreeMap<(&str, &str), f64> = measured
        .filter_map(|row| Some(((row.netns.as_str(), row.counter.as_str()), row.before_per_second?)))
        .collect();
    if usual.is_empty() {
        return Err(WatchError::NotMeasured(id.to_owned()));
    }
    let usual = |guard: &Guard| usual.get(&(guard.netns.name.as_str(), guard.counter.as_str())).copied();
    let guards: BTreeSet<Guard> = if begin.same_boot(&root) {
        begin.guards.clone()
    } else {
        begin
            .guards
            .iter()
            .map(|guard| Guard { netns: guard.netns.after_boot(&root), ..guard.clone() })
            .collect()
    };
    let first = Glance::take(&root, &guards)?;
    let start = Instant::now();
    loop {
        std::thread::sleep(GLANCE.min(length.saturating_sub(start.elapsed())));
        let now = Glance::take(&root, &guards)?;
        let tripped = guard::tripped(&guards, usual, &first, &now);
        let unwatched = guard::unwatched(&guards, |guard| usual(guard).is_some(), &first, &now);
        if tripped.is_empty() && !unwatched.is_empty() {
            return Err(WatchError::Unwatched(id.to_owned(), unwatched.join(", ")));
        }
        if !tripped.is_empty() || start.elapsed() >= length {
            return Ok(tripped.iter().map(ToString::to_string).collect());
        }
    }
}
