//! What the segment of a probe met, and whether that is what the probe says.

use crate::Measures;
use crate::scenario::{Into, Probe};
use serde::{Deserialize, Serialize};
use tcp::{Flags, State};

/// What came of the segment of a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Met {
    /// The state of the socket before the segment.
    pub before: String,
    /// The flags of the answer, or `nothing`.
    pub reply: String,
    /// The state afterwards.
    pub after: String,
    /// The timer of the state began again.
    pub restarted: bool,
}

impl Met {
    /// From what was seen; a socket that is gone is CLOSED. PSH and URG of an answer do not count.
    pub fn new(before: State, reply: Option<Flags>, after: State, restarted: bool) -> Self {
        let said = Flags::SYN.with(Flags::ACK).with(Flags::FIN).with(Flags::RST).bits();
        let written = |flags: Flags| Flags::from_bits(flags.bits() & said).to_string();
        Self {
            before: before.name().to_owned(),
            reply: reply.map_or_else(|| "nothing".to_owned(), written),
            after: after.name().to_owned(),
            restarted,
        }
    }

    /// What is not as the probe says, in words: `reply ACK, expected SYN,ACK`.
    pub fn astray(&self, probe: &Probe) -> Vec<String> {
        let into = match probe.into {
            Into::TimeWait => State::TimeWait,
            Into::FinWait2 => State::FinWait2,
        };
        let timer = |restarts: bool| if restarts { "begun again" } else { "not begun again" };
        let parts = [
            // A segment that meets something else says nothing about this.
            ("before it", self.before.as_str(), into.name()),
            ("reply", self.reply.as_str(), probe.reply.as_str()),
            ("afterwards", self.after.as_str(), probe.after.as_str()),
            ("timer", timer(self.restarted), timer(probe.restarts.unwrap_or(self.restarted))),
        ];
        let astray = parts.into_iter().filter(|(_, is, expected)| is != expected);
        astray.map(|(what, is, expected)| format!("{what} {is}, expected {expected}")).collect()
    }

    /// Sets the measures of the probe: 1 for what is as it says.
    pub fn measure(&self, probe: &Probe, measures: &mut Measures) {
        let name = &probe.name;
        measures.set(format!("{name}.reply"), f64::from(self.reply == probe.reply));
        measures.set(format!("{name}.after"), f64::from(self.after == probe.after));
        if let Some(restarts) = probe.restarts {
            measures.set(format!("{name}.timer"), f64::from(self.restarted == restarts));
        }
    }
}
