//! Costs from what a world's run gave.

use super::{Costs, Kind, rounded};
use crate::scenario::World;
use crate::verdict::ENOUGH;
use crate::{Measures, simulate};
use tcp::machine::Nanos;

/// A cost is believed within this factor of what it was before.
const BELIEVED: f64 = 16.0;

/// How often a fit is made better.
const ROUNDS: u32 = 5;
/// So near it is good.
const NEAR: f64 = 0.01;

impl Costs {
    /// These costs, as fast or slow as the machine was when it gave these measures of this world: the kernel's part by
    /// what connect() took, that of processes by how fast loads without a pace were. They foretell other
    /// worlds on that machine, such as other variants of the scenario. None: the measures say nothing of that.
    ///
    /// Two factors and no more, because each cost by itself would be fitted to chance. A world made to tell the costs
    /// one by one was tried and foretold less: on a machine that did nothing else 16 to 28 of 39 rates within 20 %,
    /// against 37 so; costs are not the same from one second to the next on a machine that others use.
    pub fn fitted(&self, world: &World, measured: &Measures) -> Option<Self> {
        let mut fitted = None;
        let mut costs = self.clone();
        for _ in 0..ROUNDS {
            let run = simulate(&World { costs: costs.clone(), ..world.clone() });
            let (kernel, processes) = apart(world, measured, &run.measures);
            if kernel.is_none() && processes.is_none() {
                return None;
            }
            let (kernel, processes) = (kernel.unwrap_or(0.0), processes.unwrap_or(0.0));
            if kernel.abs() < NEAR && processes.abs() < NEAR {
                return Some(costs);
            }
            costs = costs.scaled(kernel.exp(), processes.exp(), self);
            fitted = Some(costs.clone());
        }
        fitted
    }

    /// Of several fits on one machine each cost's median: what a single run owes to chance is left out. None: there are
    /// none.
    pub fn middle_of(fits: &[Self]) -> Option<Self> {
        let first = fits.first()?;
        Some(Self::made(first.processors, |cost, _| {
            let mut costs: Vec<Nanos> = fits.iter().map(cost).collect();
            costs.sort_unstable();
            let (low, high) = (costs[(costs.len() - 1) / 2], costs[costs.len() / 2]);
            low.midpoint(high)
        }))
    }

    /// The kernel's part and that of processes, so many times as much.
    fn scaled(&self, kernel: f64, processes: f64, from: &Self) -> Self {
        Self::made(self.processors, |cost, kind| {
            let times = match kind {
                Kind::Connect | Kind::Walk => kernel,
                Kind::Process => processes,
                // How long a segment is under way, and how fast calls follow each other, decides what meets.
                Kind::Way => return cost(self),
            };
            let by = cost(from) as f64;
            rounded((cost(self) as f64 * times).clamp(by / BELIEVED, by * BELIEVED))
        })
    }
}

/// How much slower the machine was than foretold, as logarithms: its kernel, and its processes.
fn apart(world: &World, measured: &Measures, foretold: &Measures) -> (Option<f64>, Option<f64>) {
    let ratio = |name: &str| {
        let (measured, foretold) = (measured.get(name)?, foretold.get(name)?);
        let ratio = (measured / foretold).ln();
        (measured > 0.0 && foretold > 0.0 && ratio.is_finite()).then_some(ratio)
    };
    let (mut kernel, mut processes) = (Vec::new(), Vec::new());
    for client in &world.clients {
        let count = |what: &str| measured.get(&format!("{}.{what}", client.name)).unwrap_or(0.0);
        if count("connected") >= ENOUGH {
            kernel.extend(ratio(&format!("{}.cpu_us", client.name)));
        }
        if client.per_second.is_none() && count("connected").max(count("requests")) >= ENOUGH {
            processes.extend(ratio(&format!("{}.per_second", client.name)).map(|rate| -rate));
        }
    }
    let mean = |logs: &[f64]| (!logs.is_empty()).then(|| logs.iter().sum::<f64>() / logs.len() as f64);
    (mean(&kernel), mean(&processes))
}
