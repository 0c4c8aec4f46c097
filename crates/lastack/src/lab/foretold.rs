//! What the simulator foretells of the kernel: at which costs, and how far it is off.

use serde::Serialize;
use std::collections::BTreeMap;
use std::num::NonZero;
use world::Costs;
use world::repeated::Spread;
use world::scenario::Variant;
use world::verdict::{self, Outcome};

/// A measure on both stages.
#[derive(Serialize)]
pub(super) struct Held {
    pub(super) name: String,
    predicted: f64,
    measured: f64,
    /// The least and the most of several runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    runs: Option<[f64; 2]>,
    /// How far they are apart, as a part of the larger.
    apart: f64,
    pub(super) within: bool,
    /// Why it is not foretold, if the scenario says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    excused: Option<String>,
}

impl Held {
    pub(super) fn new(compared: verdict::Compared, spreads: &BTreeMap<String, Spread>) -> Self {
        let verdict::Compared { name, predicted, measured, apart, within, excused } = compared;
        let runs = spreads.get(&name).map(|spread| [spread.least, spread.most]);
        Self { name, predicted, measured, runs, apart, within, excused }
    }

    /// `load.per_second: foretold 26000, measured 20479 (16284 to 22472)`
    pub(super) fn shown(&self) -> String {
        let number = |value: f64| if value < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") };
        let Self { name, predicted, measured, runs, .. } = self;
        let runs = runs.map(|[least, most]| format!(" ({} to {})", number(least), number(most)));
        let (predicted, measured) = (number(*predicted), number(*measured));
        format!("{name}: foretold {predicted}, measured {measured}{}", runs.unwrap_or_default())
    }
}

/// What things cost on this machine at the pace of the default costs, as far as the variants of a scenario have told.
#[derive(Default)]
pub(super) struct Machine(Vec<Costs>);

impl Machine {
    /// What things cost while this variant ran: what they cost in those before it, and how fast the machine was meanwhile.
    pub(super) fn foretells(&mut self, variant: &Variant, real: Option<&Outcome>) -> Costs {
        let Some(real) = real else { return Costs::default() };
        let pace = Costs::pace(&variant.world, &real.measures).unwrap_or(1.0);
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        let known = Costs { processors: u32::try_from(processors).ok(), ..Costs::default() };
        let foretold = Costs::middle_of(&self.0).unwrap_or_else(|| known.clone()).at_pace(pace);
        let fitted = known.at_pace(pace).fitted(&variant.world, &real.measures);
        self.0.extend(fitted.map(|fitted| fitted.at_pace(pace.recip())));
        foretold
    }
}
