//! The text of files below /proc, as far as a case holds what is in them. A live look reads the files, and people
//! paste them: both are read by the same lines.
//!
//! The text may be of any kernel, cut short, or no such file at all: what makes no sense is left out.

mod conntrack;
mod counters;
mod sockstat;

pub use conntrack::conntrack_stats;
pub use counters::counters;
pub use sockstat::sockstat;
