//! What findings offer: remedies, those that are the same once.

use super::told::Told;
use super::{Change, Planned, Wishes};
use diagnose::value;
use diagnose::{Applicability, Finding, ProgramChange, Remedy};
use std::fmt::Write as _;

/// A remedy, and what it changes in the files of programs.
pub(super) struct Offer {
    pub(super) planned: Planned,
    pub(super) edits: Vec<ProgramChange>,
}

impl Offer {
    pub(super) fn new(finding: &Finding, remedy: &Remedy, wishes: &Wishes, told: &Told<'_>) -> Self {
        let named = wishes.remedies.iter().any(|name| name == remedy.name);
        let safe = remedy.applicability == Applicability::Safe;
        let (mut changes, mut edits) = (Vec::new(), Vec::new());
        for change in &remedy.changes {
            match change {
                diagnose::Change::Setting { setting, from, to } => changes.push(Change::Setting {
                    setting: setting.clone(),
                    from: value::plain(from),
                    to: value::plain(to),
                }),
                diagnose::Change::AtBoot { setting, from, to } => changes.push(Change::AtBoot {
                    setting: setting.clone(),
                    from: value::plain(from),
                    to: value::plain(to),
                }),
                diagnose::Change::Program(change) => edits.push(change.clone()),
            }
        }
        let netns = edits.first().and_then(|edit| told.netns(edit)).unwrap_or(&finding.subject.netns);
        let planned = Planned {
            apply: named || safe && wishes.remedies.is_empty(),
            rule: finding.rule.to_owned(),
            name: remedy.name.to_owned(),
            netns: netns.to_owned(),
            applicability: remedy.applicability,
            summary: remedy.summary.clone(),
            why: vec![format!("{}: {}", finding.rule, finding.claim)],
            risk: remedy.risk.clone(),
            expected: remedy.expected.clone(),
            predicted: None,
            guards: remedy.guards.clone(),
            changes,
        };
        Self { planned, edits }
    }

    /// True if it is one remedy: the same changes, or the same advice, or files of the same program.
    pub(super) fn is_for(&self, other: &Self) -> bool {
        let (one, another) = (&self.planned, &other.planned);
        if one.netns != another.netns || one.changes != another.changes {
            return false;
        }
        let of = |edits: &[ProgramChange]| edits.first().map(|edit| edit.configuration);
        match (of(&self.edits), of(&other.edits)) {
            (None, None) if one.changes.is_empty() => {
                (&one.name, &one.summary) == (&another.name, &another.summary)
            }
            (None, None) => true,
            (one_of, other_of) => one_of == other_of && one.name == another.name,
        }
    }

    pub(super) fn join(&mut self, other: Self) {
        self.planned.apply |= other.planned.apply;
        let known = |why: &String| self.planned.why.contains(why);
        let why: Vec<String> = other.planned.why.into_iter().filter(|why| !known(why)).collect();
        self.planned.why.extend(why);
        let more: Vec<ProgramChange> =
            other.edits.into_iter().filter(|edit| !self.edits.contains(edit)).collect();
        if !more.is_empty() && self.planned.summary != other.planned.summary {
            let _ = write!(self.planned.summary, "; {}", other.planned.summary);
        }
        self.edits.extend(more);
    }
}

impl Planned {
    /// Makes it advice.
    pub(super) fn leave_to_a_person(&mut self) {
        self.apply = false;
        self.applicability = Applicability::DisplayOnly;
        self.changes.clear();
        self.guards.clear();
    }
}
