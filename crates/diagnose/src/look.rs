//! What a rule looks at: one namespace of a case, with what every rule derives from it derived once.

use crate::wording::{clipped, length, shell_word};
use crate::{Budget, Change, Evidence, Finding, Subject, Verdict};
use evidence::{Case, Gap, Group, Namespace, Process, Unseen};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;
use tcp::State;

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
        Self { case, namespace, budgets: crate::budgets(namespace, case.traffic.as_ref()) }
    }

    /// The gap of this kind that concerns this namespace, if there is one.
    pub(crate) fn gap(&self, unseen: Unseen) -> Option<&'a Gap> {
        self.case.gaps.iter().find(|gap| {
            gap.unseen == unseen && gap.netns.as_ref().is_none_or(|netns| *netns == self.namespace.name)
        })
    }

    /// What a rule says that found nothing: quiet, or unknown if it was looking without one of these.
    pub(crate) fn quiet_unless_unseen(&self, needed: &[Unseen]) -> Verdict {
        match needed.iter().find_map(|unseen| self.gap(*unseen)) {
            Some(gap) => {
                Verdict::Unknown { because: gap.because.clone(), how_to_see: gap.how_to_see.clone() }
            }
            None => Verdict::Quiet,
        }
    }

    /// The findings; without any, what [`Look::quiet_unless_unseen`] says.
    pub(crate) fn found_or(&self, findings: Vec<Finding>, needed: &[Unseen]) -> Verdict {
        if findings.is_empty() { self.quiet_unless_unseen(needed) } else { Verdict::Found(findings) }
    }

    /// Why rises of counters are not known, if they are not. Every rule that needs rises says it in the same
    /// words, so that a report can say it once.
    pub(crate) fn unwatched(&self) -> Option<Verdict> {
        let counters = &self.namespace.counters;
        if counters.watched() {
            None
        } else if counters.interval_ms == 0
            && !counters.end.is_empty()
            && self.gap(Unseen::Counters).is_none()
        {
            Some(Verdict::Unknown {
                because: "counters were read once; rises need a look with a length".to_owned(),
                how_to_see: "lastack doctor --for 10s".to_owned(),
            })
        } else {
            Some(match self.quiet_unless_unseen(&[Unseen::Counters]) {
                Verdict::Quiet => Verdict::Unknown {
                    because: "the case holds no counters of this namespace".to_owned(),
                    how_to_see: "lastack doctor --for 10s".to_owned(),
                },
                unknown => unknown,
            })
        }
    }

    /// How much a counter rose; 0 for one this kernel does not have.
    pub(crate) fn rise(&self, counter: &str) -> u64 {
        self.namespace.counters.rise(counter).unwrap_or(0)
    }

    /// The length of the look.
    pub(crate) fn interval(&self) -> Duration {
        Duration::from_millis(self.namespace.counters.interval_ms)
    }

    /// A counter and its rise as evidence.
    pub(crate) fn risen(&self, counter: &str) -> Evidence {
        let rise = crate::wording::count(self.rise(counter));
        Evidence::new(counter, format!("rose by {rise} in {}", length(self.interval())))
    }

    /// A setting and its value as evidence, if it is there.
    pub(crate) fn set(&self, setting: &str) -> Option<Evidence> {
        self.namespace
            .settings
            .text(setting)
            .map(|value| Evidence::new(setting, format!("is {}", clipped(value))))
    }

    /// The line that sets a setting at boot, as evidence, if there is one.
    pub(crate) fn set_at_boot(&self, setting: &str) -> Option<Evidence> {
        crate::configured::set_at_boot(self.case, self.namespace, setting)
    }

    /// A change of a setting, with what it is now as its inverse; none if that could not be read, or if it
    /// would change nothing.
    #[expect(clippy::needless_pass_by_value, reason = "a number or a text, as it comes")]
    pub(crate) fn change(&self, setting: &str, to: impl ToString) -> Option<Change> {
        let (from, to) = (self.namespace.settings.text(setting)?.to_owned(), to.to_string());
        (from != to).then(|| Change::Setting { setting: setting.to_owned(), from, to })
    }

    /// The process with this index.
    pub(crate) fn process(&self, index: u32) -> Option<&'a Process> {
        self.namespace.processes.get(index as usize)
    }

    /// The process that holds most of these groups' sockets in one of these states, and how many.
    pub(crate) fn holder<'g>(
        &self,
        groups: impl IntoIterator<Item = &'g Group>,
        states: &[State],
    ) -> Option<(&'a Process, u32)> {
        let mut held = BTreeMap::<u32, u32>::new();
        for owner in groups.into_iter().flat_map(|group| &group.owners) {
            let sockets = states.iter().fold(0_u32, |sum, state| sum.saturating_add(owner.states.of(*state)));
            if let (Some(process), 1..) = (owner.process, sockets) {
                let held = held.entry(process).or_default();
                *held = held.saturating_add(sockets);
            }
        }
        let (index, sockets) = held.into_iter().max_by_key(|(index, held)| (*held, Reverse(*index)))?;
        Some((self.process(index)?, sockets))
    }

    /// A subject in this namespace.
    pub(crate) fn subject(&self) -> Subject {
        Subject { netns: self.namespace.name.clone(), ..Subject::default() }
    }

    /// A command as it must be typed to run in this namespace.
    pub(crate) fn command(&self, command: &str) -> String {
        in_namespace(&self.namespace.name, self.namespace.here, command)
    }
}

/// A command as it must be typed where lastack ran to run in a namespace of this name. `here` says that lastack was
/// in it: in a container, which may not enter any namespace, the plain command works. (`nsenter` and not `ip netns
/// exec` for processes: a container's namespace has no name.)
pub fn in_namespace(name: &str, here: bool, command: &str) -> String {
    match name.strip_prefix("pid:") {
        _ if here || name == "host" || name.is_empty() => command.to_owned(),
        Some(pid) => format!("nsenter --net --target {} {command}", shell_word(pid)),
        None if name.contains('/') => format!("nsenter --net={} {command}", shell_word(name)),
        None => format!("ip netns exec {} {command}", shell_word(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_runs_in_the_namespace_it_is_about() {
        let case = Case::default();
        let command = |name: &str| {
            let namespace = Namespace { name: name.into(), ..Namespace::default() };
            Look::new(&case, &namespace).command("ss -t")
        };
        assert_eq!(command("host"), "ss -t");
        assert_eq!(command("blue"), "ip netns exec blue ss -t");
        assert_eq!(command("pid:12"), "nsenter --net --target 12 ss -t");
        assert_eq!(command("/run/x/net"), "nsenter --net=/run/x/net ss -t");
        assert_eq!(command("$(x)"), "ip netns exec '$(x)' ss -t");
        let inside = Namespace { name: "pid:1".into(), here: true, ..Namespace::default() };
        assert_eq!(Look::new(&case, &inside).command("ss -t"), "ss -t");
    }

    #[test]
    fn a_gap_of_another_namespace_is_not_ours() {
        let gap = |netns: Option<&str>| Gap {
            unseen: Unseen::Ages,
            netns: netns.map(str::to_owned),
            because: "permission denied".into(),
            how_to_see: "run as root".into(),
        };
        for (netns, ours) in [(None, true), (Some("blue"), true), (Some("red"), false)] {
            let case = Case { gaps: vec![gap(netns)], ..Case::default() };
            let namespace = Namespace { name: "blue".into(), ..Namespace::default() };
            assert_eq!(Look::new(&case, &namespace).gap(Unseen::Ages).is_some(), ours, "{netns:?}");
        }
    }
}
