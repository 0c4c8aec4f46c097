//! A plan for more than one host: a playbook of Ansible that carries it, a batch of hosts at a time.
//!
//! What happens on a host is `lastack fix --apply` there, with its own journal and guards; the playbook decides which
//! hosts are next, and what a batch does of which one host does not hold. The plan is in it as a block of text that
//! YAML takes as it is (a literal scalar) and that Ansible does not take for a template (`!unsafe`).

use crate::plan::{Plan, Refusal};
use crate::step::process_of;
use std::fmt::Write as _;
use std::time::Duration;

const TEMPLATE: &str = include_str!("playbook.yml");

/// The place of the plan in the template: a line.
const PLAN: &str = "@plan@\n";

/// How deep the plan is indented.
const INDENT: &str = "      ";

/// How long hosts are watched.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    /// After the change.
    pub guard: Duration,
    /// Before it.
    pub baseline: Duration,
}

/// Why there is no playbook for a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaybookError {
    /// It is never carried out.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nothing is chosen.
    #[error(
        "nothing in the plan is to be done: set `apply = true` in it where it is, or name it with --remedy"
    )]
    NothingChosen,
    /// A process number means another process elsewhere.
    #[error(
        "{remedy} is about the network namespace {netns}, which no other host has: set `netns` in the plan to `host`, or to a \
         name that it has on all hosts"
    )]
    NetnsOfOneHost {
        /// The remedy.
        remedy: String,
        /// The namespace.
        netns: String,
    },
}

/// The playbook of a plan.
pub fn playbook(plan: &Plan, watch: Watch) -> Result<String, PlaybookError> {
    plan.check()?;
    if plan.chosen().next().is_none() {
        return Err(PlaybookError::NothingChosen);
    }
    if let Some(remedy) = plan.chosen().find(|remedy| process_of(&remedy.netns).is_some()) {
        let (remedy, netns) = (remedy.name.clone(), remedy.netns.clone());
        return Err(PlaybookError::NetnsOfOneHost { remedy, netns });
    }
    let text = printable(&plan.to_text());
    let digest = format!("{:08x}", crc32fast::hash(text.as_bytes()));
    let filled = |part: &str| {
        part.replace("@digest@", &digest)
            .replace("@guard@", &length(watch.guard))
            .replace("@baseline@", &length(watch.baseline))
    };
    // The plan comes in last: what it says is not for filling in.
    let (before, after) = TEMPLATE.split_once(PLAN).unwrap_or((TEMPLATE, ""));
    let mut playbook = filled(before);
    for line in text.lines() {
        let indent = if line.is_empty() { "" } else { INDENT };
        playbook.extend([indent, line, "\n"]);
    }
    playbook.push_str(&filled(after));
    Ok(playbook)
}

/// A length as `lastack` reads it.
fn length(length: Duration) -> String {
    match (length.as_secs(), length.subsec_nanos()) {
        (seconds, 0) => format!("{seconds}s"),
        _ => format!("{}ms", length.as_millis()),
    }
}

/// The same plan, without the two characters that TOML allows in a string and YAML nowhere (YAML 1.2.2, section 5.1).
/// Everything else that YAML forbids, or takes for the end of a line, the plan's text has as an escape already.
fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '\u{fffe}' | '\u{ffff}') {
            // Writing to a string cannot fail.
            let _ = write!(printable, "\\U{:08X}", u32::from(letter));
        } else {
            printable.push(letter);
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Change, Planned};
    use diagnose::Applicability;
    use proptest::prelude::*;

    const WATCH: Watch = Watch { guard: Duration::from_secs(60), baseline: Duration::from_millis(500) };

    fn plan(words: &str) -> Plan {
        Plan {
            host: words.into(),
            kernel: words.into(),
            made_at: String::new(),
            remedies: vec![Planned {
                apply: true,
                rule: "fin-timeout-misread".into(),
                name: words.into(),
                netns: "host".into(),
                applicability: Applicability::Unsafe,
                summary: words.into(),
                why: vec![words.into()],
                risk: words.into(),
                expected: words.into(),
                predicted: None,
                guards: vec![words.into()],
                changes: vec![Change::Setting {
                    setting: "net.ipv4.tcp_fin_timeout".into(),
                    from: "30".into(),
                    to: "60".into(),
                }],
            }],
        }
    }

    /// The plan in a playbook, by the rules of YAML for a literal block: all lines at least as deep as the first.
    fn block(playbook: &str) -> String {
        let (_, rest) = playbook.split_once("lastack_plan: !unsafe |\n").unwrap();
        let lines = rest.lines().take_while(|line| line.is_empty() || line.starts_with(INDENT));
        lines.flat_map(|line| [line.strip_prefix(INDENT).unwrap_or(line), "\n"]).collect()
    }

    #[test]
    fn what_the_plan_leaves_open_is_filled_in_and_nothing_else() {
        let text = playbook(&plan("@guard@ @digest@ @plan@\n"), WATCH).unwrap();
        assert!(text.contains("default('60s')") && text.contains("default('500ms')"), "{text}");
        assert_eq!(Plan::from_text(&block(&text)), Ok(plan("@guard@ @digest@ @plan@\n")));
        assert_eq!(text.matches("@digest@").count(), block(&text).matches("@digest@").count());
        assert!(playbook(&plan("x"), WATCH).unwrap().lines().all(|line| !line.contains('@')));
    }

    #[test]
    fn a_plan_that_cannot_go_elsewhere_is_refused() {
        let refused = |change: &dyn Fn(&mut Planned)| {
            let mut plan = plan("x");
            plan.remedies.iter_mut().for_each(change);
            playbook(&plan, WATCH).unwrap_err().to_string()
        };
        assert!(refused(&|remedy| remedy.apply = false).starts_with("nothing in the plan is to be done"));
        for netns in ["pid:12", "/proc/4711/ns/net"] {
            let said = refused(&|remedy| remedy.netns = netns.into());
            assert!(said.contains(&format!("namespace {netns}, which no other")), "{said}");
        }
        assert!(refused(&|remedy| remedy.changes.clear()).contains("is for a person"));
    }

    proptest! {
        #[test]
        fn any_words_stay_in_the_block(words in any::<String>(), odd in "[\u{85}\u{2028}\u{feff}\u{fffe}\u{ffff}{%}\"'\n\r\t: #-]{0,20}") {
            let plan = plan(&format!("{words}{odd}"));
            let text = playbook(&plan, WATCH).unwrap();
            prop_assert_eq!(Plan::from_text(&block(&text)), Ok(plan));
            let is_printable = |letter: char| matches!(letter, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}'
                | '\u{e000}'..='\u{fffd}' | '\u{10000}'..) && !matches!(letter, '\u{2028}' | '\u{2029}' | '\u{feff}');
            prop_assert!(text.chars().all(is_printable));
        }
    }
}
