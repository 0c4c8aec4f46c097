//! Budgets of local ports as rows of the report.

use crate::NotShown;
use crate::report::{first, name, rounded};
use crate::talkers::in_words;
use diagnose::{Budget, Diagnosis, Reuse};
use schemars::JsonSchema;
use serde::Serialize;

/// So many budgets are reported, the fullest.
const MAX_BUDGETS: usize = 100;

/// So many owners of one budget.
const MAX_OWNERS: usize = 10;

/// A history is no longer than this many seconds.
const MAX_HISTORY: usize = 600;

/// A time further off than this says nothing: a rate does not hold for a day.
const MAX_SECONDS_LEFT: f64 = 86_400.0;

/// The local ports from one source address to one destination.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct BudgetRow {
    /// Network namespace.
    pub netns: String,
    /// Source address.
    pub source: String,
    /// Destination address and port.
    pub destination: String,
    /// Ports that automatic choice may use: the range without reserved ports.
    pub ports: u32,
    /// Of them, taken for this destination, whatever by.
    pub taken: u32,
    /// Taken by TIME-WAIT.
    pub time_wait: u32,
    /// Taken by established connections.
    pub established: u32,
    /// Taken by sockets in other states.
    pub other: u32,
    /// Taken for every destination, by ports that bind() is seen to hold, without those in the numbers above.
    pub bound: u32,
    /// The same, inferred from where the ports of other connections lie, or from that hardly one of them is held to
    /// two destinations although nearly all are held.
    pub bound_likely: u32,
    /// Of this budget's own ports: likely chosen by bind() before connect(), and so lost to every other
    /// destination.
    pub bound_before_connect: u32,
    /// Of `time_wait`: ports that connect() takes all the same, by `tcp_tw_reuse`. They do not block.
    pub reusable: u32,
    /// What `tcp_tw_reuse` does for this destination.
    pub reuse: Reuse,
    /// Ports that a new connection can have: `ports - taken + reusable`.
    pub left: u32,
    /// Ports of the range that are reserved, and so not in `ports`.
    pub reserved: u32,
    /// True if the half of the range that connect() looks at first is used up, so that every connect() walks
    /// it in vain and takes about a millisecond of CPU.
    pub past_knee: bool,
    /// Closes a second, over the last `rate_over_s` seconds.
    pub closes_per_second: f64,
    /// How many seconds the rate is the mean of: the length of TIME-WAIT where ages are not known; 0 without a close.
    pub rate_over_s: u32,
    /// True if the rate is one to go by: it held for some seconds and has not stopped. False for a single burst.
    pub rate_lasts: bool,
    /// The most closes in one second of the last minute.
    pub peak_per_second: u32,
    /// How long ago that second was; null without a close.
    pub peak_seconds_ago: Option<u32>,
    /// Closes in each of the last seconds, the latest first, up to the oldest there is a trace of.
    pub closes: Vec<u32>,
    /// Seconds until no port is left at this rate; 0 if none is left now, null if that is not in sight.
    pub seconds_left: Option<f64>,
    /// Who opens these connections, the largest part first; at most 10.
    pub owners: Vec<OwnerRow>,
    /// All of them in words: `php-fpm (24 processes)`; null if none is known.
    pub opened_by: Option<String>,
}

/// A process that takes a part of a budget.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct OwnerRow {
    /// Its name.
    pub process: String,
    /// Its id.
    pub pid: u32,
    /// Its part of the sockets, 0 to 1.
    pub share: f64,
    /// How it is known: by the `inode` of a socket that it holds open, by the `cookie` of one that it held
    /// earlier in this look, by its being the `listener` on the port, or only by its `uid`.
    #[schemars(with = "String", extend("enum" = ["inode", "cookie", "listener", "uid"]))]
    pub known_by: evidence::KnownBy,
}

impl BudgetRow {
    pub(crate) fn of(diagnosis: &Diagnosis, not_shown: &mut NotShown) -> Vec<Self> {
        first(&diagnosis.budgets, MAX_BUDGETS, &mut not_shown.budgets).iter().map(Self::new).collect()
    }

    fn new(budget: &Budget) -> Self {
        Self {
            netns: name(&budget.netns),
            source: budget.source.clone(),
            destination: budget.destination.clone(),
            ports: budget.ports,
            taken: budget.taken,
            time_wait: budget.time_wait,
            established: budget.established,
            other: budget.other,
            bound: budget.bound,
            bound_likely: budget.bound_likely,
            bound_before_connect: budget.bound_before_connect,
            reusable: budget.reusable,
            reuse: budget.reuse,
            left: budget.left(),
            reserved: budget.reserved,
            past_knee: budget.past_knee,
            closes_per_second: rounded(budget.closes_per_second),
            rate_over_s: budget.rate_over_s,
            rate_lasts: budget.rate_lasts,
            peak_per_second: budget.peak_per_second,
            peak_seconds_ago: budget.peak_seconds_ago,
            closes: budget.closes.iter().copied().take(MAX_HISTORY).collect(),
            seconds_left: budget
                .seconds_left
                .filter(|seconds| (0.0..=MAX_SECONDS_LEFT).contains(seconds))
                .map(rounded),
            owners: budget
                .owners
                .iter()
                .take(MAX_OWNERS)
                .map(|owner| OwnerRow {
                    process: name(&owner.process),
                    pid: owner.pid,
                    share: rounded(owner.share),
                    known_by: owner.known_by,
                })
                .collect(),
            opened_by: in_words(
                budget.owners.iter().map(|owner| (owner.process.as_str(), owner.pid, owner.share)),
            ),
        }
    }

    /// Whole per cent of the ports that a new connection cannot have; 100 only if none is left.
    pub fn percent(&self) -> u32 {
        let blocked = self.ports.saturating_sub(self.left);
        if self.left == 0 {
            return 100;
        }
        u32::try_from(u64::from(blocked) * 100 / u64::from(self.ports.max(1))).unwrap_or(100)
    }
}
