//! What a rule looks at: one namespace of a case, with what every rule derives from it derived once.

use crate::Budget;
use evidence::{Case, Namespace};

/// One namespace of a case, prepared for the rules.
pub struct Look<'a> {
    /// The whole case: host-wide facts and gaps.
    pub case: &'a Case,
    /// The namespace the rule judges.
    pub namespace: &'a Namespace,
    /// Its budgets.
    pub budgets: Vec<Budget>,
}

impl<'a> Look<'a> {
    /// Prepares a namespace.
    pub fn new(case: &'a Case, namespace: &'a Namespace) -> Self {
        Self { case, namespace, budgets: crate::budgets(namespace) }
    }
}
