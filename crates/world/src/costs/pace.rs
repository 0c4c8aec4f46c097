//! Costs of a machine that is faster or slower than the one they were measured on, or than it was then.

use super::{Costs, Kind, rounded};
use crate::Measures;
use crate::scenario::World;

/// What socket() and close() take, in microseconds, where and when other things cost what [`Costs::default`] says.
const SOCKET_US: f64 = 1.45;

/// Where they take twice as long, everything else takes 2 to the power of this as long: what waits for memory does not
/// follow in full. Measured: 0.75 in 183 pairs of a run's processor time of connect() and its [`pace`](Costs::pace), of
/// 29 variants, and less if that had no chance in it.
const FOLLOWS: f64 = 0.8;

/// The same of ports that are walked in vain: mostly memory.
const WALKS_FOLLOW: f64 = 0.5;

impl Costs {
    /// How many times as slow as that of the default costs a machine was while it gave these measures: by what
    /// socket() and close() took between connections (`CLIENT.socket_us`). No scenario has an influence on that, but all that
    /// slows a load down slows them down in the same moment: other guests of the host, heat. None: nobody looked.
    pub fn pace(world: &World, measured: &Measures) -> Option<f64> {
        let looked = |name: &str| measured.get(&format!("{name}.socket_us")).filter(|taken| *taken > 0.0);
        let logs: Vec<f64> =
            world.clients.iter().filter_map(|client| looked(&client.name)).map(f64::ln).collect();
        (!logs.is_empty()).then(|| (logs.iter().sum::<f64>() / logs.len() as f64).exp() / SOCKET_US)
    }

    /// These costs where a machine is so many times as slow.
    #[must_use]
    pub fn at_pace(&self, pace: f64) -> Self {
        let (all, walked) = (pace.powf(FOLLOWS), pace.powf(WALKS_FOLLOW));
        Self::made(self.processors, |cost, kind| {
            rounded(cost(self) as f64 * if kind == Kind::Walk { walked } else { all })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_as_slow_and_back() {
        let costs = Costs::default();
        assert_eq!(costs.at_pace(1.0), costs);
        let slow = costs.at_pace(2.0);
        assert_eq!((slow.connect, slow.link, slow.turn), (10_447, 5_223, 31_340));
        assert_eq!((slow.thousand_ports, slow.processors), (70_711, costs.processors));
        let back = slow.at_pace(0.5);
        assert!(back.connect.abs_diff(costs.connect) <= 1 && back.request.abs_diff(costs.request) <= 1);
    }
}
