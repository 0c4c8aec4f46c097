//! Budgets of ephemeral ports: how many local ports connections to one destination may use, how many are
//! taken and by what, and when none will be left.

use evidence::{KnownBy, Namespace};
use std::cmp::Ordering;

/// The ports from one source address to one destination address and port.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// Network namespace.
    pub netns: String,
    /// Source address.
    pub source: String,
    /// Destination address and port.
    pub destination: String,
    /// Ports that automatic choice may use: the range without reserved ports.
    pub ports: u32,
    /// Of them, taken for this destination, whatever by: `time_wait + established + other + bound`.
    pub taken: u32,
    /// Taken by TIME-WAIT.
    pub time_wait: u32,
    /// Taken by established connections.
    pub established: u32,
    /// Taken by sockets in other states.
    pub other: u32,
    /// Taken for every destination by ports that bind() holds.
    pub bound: u32,
    /// Ports of the range that are reserved, and so not in `ports`.
    pub reserved: u32,
    /// Closes a second, over the last seconds.
    pub closes_per_second: f64,
    /// Seconds until no port is left at this rate; none if that will not happen.
    pub seconds_left: Option<f64>,
    /// Who opens these connections.
    pub owners: Vec<BudgetOwner>,
}

/// A process that takes a part of a budget.
#[derive(Clone, Debug, PartialEq)]
pub struct BudgetOwner {
    /// Its name.
    pub process: String,
    /// Its id.
    pub pid: u32,
    /// Its part of the sockets, 0 to 1.
    pub share: f64,
    /// How it is known.
    pub known_by: KnownBy,
}

impl Budget {
    /// Order of display.
    pub(crate) fn fullest_first(&self, _other: &Self) -> Ordering {
        Ordering::Equal
    }
}

/// The budgets of a namespace, the fullest first.
pub fn budgets(_namespace: &Namespace) -> Vec<Budget> {
    Vec::new()
}
