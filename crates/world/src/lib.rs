//! Worlds in which connections end: how they are described ([`scenario`]), those that come with lastack
//! ([`collection`]), and whether a run was as expected ([`verdict`]).
//!
//! A [`Scenario`] says which hosts there are, who serves and who connects, how each side closes, what goes wrong on
//! the way, and what is expected of it. The same description runs in the simulator and on a real kernel, and
//! both give the same [measures](measure::Measures), so that each checks the other.

mod case;
pub mod collection;
pub mod costs;
pub mod cure;
pub mod fit;
pub mod measure;
mod met;
pub mod repeated;
pub mod scenario;
mod simulator;
mod traffic;
pub mod verdict;
pub mod whatif;

pub use costs::Costs;
pub use measure::Measures;
pub use met::Met;
pub use scenario::Scenario;
pub use simulator::{
    HostSample, Run, Sample, Upstream, counters, simulate, simulate_in_full, simulate_sampled,
    simulate_watched,
};
