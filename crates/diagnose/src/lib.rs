//! Rules: from a [`Case`] to findings, each with remedies in the right order and what not to do.
//!
//! Everything here is a function of the case: no I/O, no clock. The same case gives the same diagnosis on
//! any machine. What a rule would need and the case lacks is an [`Unknown`], never silence.
//!
//! ```
//! let diagnosis = diagnose::diagnose(&evidence::Case::default());
//! assert!(diagnosis.findings.is_empty());
//! ```
//!
//! Invariants: findings are sorted, worst first, and in the same order each time; every finding names its
//! rule by the name in the registry; no rule reads a setting or counter by kernel version.

mod budget;
mod finding;
mod keeping;
mod look;
mod myths;
mod owner;
mod packets;
mod place;
mod registry;
mod rules;
mod systems;
mod wording;

pub use budget::{Budget, BudgetOwner, Reuse, budgets};
pub use finding::{
    Applicability, Avoid, Change, Confidence, Evidence, Finding, Remedy, Severity, Subject, Unknown,
};
pub use look::{Look, in_namespace};
pub use packets::TrafficLook;
pub use registry::{Rule, Verdict, rule, rules};

use evidence::Case;

/// What follows from a case.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diagnosis {
    /// Budgets of ephemeral ports, the fullest first.
    pub budgets: Vec<Budget>,
    /// What is wrong, worst first.
    pub findings: Vec<Finding>,
    /// Rules that could not be decided, by rule.
    pub unknown: Vec<Unknown>,
}

impl Diagnosis {
    fn take(&mut self, rule: &Rule, verdict: Verdict) {
        match verdict {
            Verdict::Quiet => {}
            Verdict::Found(findings) => self.findings.extend(findings),
            Verdict::Unknown { because, how_to_see } => {
                let unknown = Unknown { rule: rule.name(), because, how_to_see };
                if !self.unknown.contains(&unknown) {
                    self.unknown.push(unknown);
                }
            }
        }
    }
}

/// Applies every rule to every namespace of a case, and once to its packets.
pub fn diagnose(case: &Case) -> Diagnosis {
    let mut diagnosis = Diagnosis::default();
    let system = case.host.system;
    for namespace in &case.namespaces {
        let look = Look::new(case, namespace);
        for rule in rules().iter().filter(|rule| systems::shows(system, rule)) {
            diagnosis.take(rule, systems::adapted(system, Some(&look), rule.check(&look)));
        }
        diagnosis.budgets.extend(look.budgets);
    }
    let traffic = TrafficLook::new(case);
    for rule in rules().iter().filter(|rule| systems::has(system, rule)) {
        match &traffic {
            Some(look) => {
                diagnosis.take(rule, systems::adapted(system, None, rule.check_traffic(look)));
            }
            None if rule.needs_packets() => diagnosis.take(rule, Rule::without_packets()),
            None => {}
        }
    }
    // Stable: equal findings keep the order of the registry and the namespaces.
    diagnosis.findings.sort_by_key(|finding| std::cmp::Reverse((finding.severity, finding.confidence)));
    diagnosis.budgets.sort_by(Budget::fullest_first);
    diagnosis
}
