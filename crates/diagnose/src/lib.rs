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
mod configured;
mod finding;
mod keeping;
mod look;
mod myths;
mod owner;
mod packets;
mod place;
mod registry;
mod repair;
mod rules;
mod served;
mod systems;
mod told;
pub mod value;
mod wording;
mod written;

pub use budget::{Budget, BudgetOwner, Reuse, budgets};
pub use configured::ConfigurationLook;
pub use finding::{
    Applicability, Avoid, Change, Confidence, Evidence, Finding, ProgramChange, Remedy, Severity, Subject,
    Unknown,
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
    /// Stable: equal findings keep the order of the registry and the namespaces.
    fn sort(&mut self) {
        self.findings.sort_by_key(|finding| std::cmp::Reverse((finding.severity, finding.confidence)));
    }

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

/// Judges the configurations of a case by themselves: what is wrong with them whoever uses them, and however much.
/// Nothing else of the case is looked at.
pub fn lint(case: &Case) -> Diagnosis {
    let mut diagnosis = Diagnosis::default();
    let look = ConfigurationLook::alone(case);
    for rule in rules() {
        diagnosis.take(rule, rule.check_configuration(&look));
    }
    diagnosis.sort();
    diagnosis
}

/// Applies every rule to every namespace of a case, to its packets and to its configurations.
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
    let configuration = ConfigurationLook::new(case);
    for rule in rules().iter().filter(|rule| systems::has(system, rule)) {
        let told = configuration.as_ref().map_or(Verdict::Quiet, |look| rule.check_configuration(look));
        let is_told = matches!(told, Verdict::Found(_));
        diagnosis.take(rule, systems::adapted(system, None, told));
        match &traffic {
            Some(look) => {
                diagnosis.take(rule, systems::adapted(system, None, rule.check_traffic(look)));
            }
            // Sockets and files have said it.
            None if is_told => {}
            None if rule.needs_packets() => diagnosis.take(rule, Rule::without_packets()),
            None => {}
        }
    }
    diagnosis.sort();
    diagnosis.budgets.sort_by(Budget::fullest_first);
    diagnosis
}
