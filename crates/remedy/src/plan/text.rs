//! The plan as a file: TOML, with comments that say how to edit it.

use super::{Change, Plan, Planned, SCHEMA};
use crate::program::Program;
use diagnose::Applicability;
use serde::Deserialize;
use std::fmt::Write as _;
use std::path::PathBuf;
use toml::Spanned;

/// The largest plan that is read, in bytes.
pub const MAX_PLAN: usize = 16 << 20;

/// Why a text is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Something is wrong at a place.
    #[error("line {line}: {what}")]
    Wrong {
        /// Line, from 1.
        line: usize,
        /// What is wrong there.
        what: String,
    },
    /// Another kind of file.
    #[error("not a plan of lastack: `schema` is missing; make one with `lastack fix --plan FILE`")]
    NotAPlan,
    /// A later version.
    #[error("a plan in the format {0}; this lastack reads {SCHEMA}: use a newer lastack")]
    Newer(String),
    /// Too large.
    #[error("larger than {} MiB: not a plan", MAX_PLAN >> 20)]
    TooLarge,
}

#[derive(Deserialize)]
struct SchemaOnly {
    schema: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "schema")]
    _schema: String,
    host: String,
    #[serde(default)]
    kernel: String,
    #[serde(default)]
    made_at: String,
    #[serde(default)]
    remedy: Vec<RemedyTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RemedyTable {
    apply: bool,
    rule: Spanned<String>,
    name: String,
    netns: String,
    applicability: Spanned<String>,
    #[serde(default)]
    summary: String,
    #[serde(default)]
    why: Vec<String>,
    #[serde(default)]
    risk: String,
    #[serde(default)]
    expected: String,
    predicted: Option<String>,
    #[serde(default)]
    guards: Vec<String>,
    #[serde(default)]
    change: Vec<ChangeTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeTable {
    setting: Option<String>,
    setting_at_boot: Option<String>,
    file: Option<Spanned<PathBuf>>,
    program: Option<Spanned<String>>,
    from: Spanned<String>,
    to: String,
}

pub(super) fn read(text: &str) -> Result<Plan, PlanError> {
    if text.len() > MAX_PLAN {
        return Err(PlanError::TooLarge);
    }
    let wrong = |error: &toml::de::Error| {
        let place = error.span().map_or(0, |span| span.start);
        PlanError::Wrong { line: line_of(text, place), what: one_line(error.message()) }
    };
    // The schema first: what a later version adds is no mistake of whoever has the file.
    match toml::from_str::<SchemaOnly>(text).map_err(|error| wrong(&error))?.schema {
        None => return Err(PlanError::NotAPlan),
        Some(schema) if schema != SCHEMA => {
            return Err(PlanError::Newer(one_line(&schema).chars().take(40).collect()));
        }
        Some(_) => {}
    }
    let file: File = toml::from_str(text).map_err(|error| wrong(&error))?;
    let remedies = file.remedy.into_iter().map(|table| remedy(text, table)).collect::<Result<_, _>>()?;
    Ok(Plan { host: file.host, kernel: file.kernel, made_at: file.made_at, remedies })
}

fn remedy(text: &str, table: RemedyTable) -> Result<Planned, PlanError> {
    let at = |place: usize, what: String| PlanError::Wrong { line: line_of(text, place), what };
    if diagnose::rule(table.rule.get_ref()).is_none() {
        let what = format!("there is no rule `{}`", one_line(table.rule.get_ref()));
        return Err(at(table.rule.span().start, what));
    }
    let applicability = match table.applicability.get_ref().as_str() {
        "safe" => Applicability::Safe,
        "unsafe" => Applicability::Unsafe,
        "display-only" => Applicability::DisplayOnly,
        other => {
            let what = format!("`{}` is none of safe, unsafe, display-only", one_line(other));
            return Err(at(table.applicability.span().start, what));
        }
    };
    let change = |table: ChangeTable| {
        let at_from = table.from.span().start;
        match (table.setting, table.setting_at_boot, table.file, table.program) {
            (Some(setting), None, None, None) => {
                Ok(Change::Setting { setting, from: table.from.into_inner(), to: table.to })
            }
            (None, Some(setting), None, None) => {
                Ok(Change::AtBoot { setting, from: table.from.into_inner(), to: table.to })
            }
            (None, None, Some(file), Some(program)) => {
                let known = Program::named(program.get_ref());
                let known = known
                    .ok_or_else(|| at(program.span().start, "`program` is nginx or haproxy".to_owned()))?;
                let (from, to) = (table.from.into_inner(), table.to);
                Ok(Change::File { file: file.into_inner(), program: known, from, to })
            }
            _ => {
                let what = "a change has either `setting`, `setting_at_boot`, or `file` and `program`";
                Err(at(at_from, what.to_owned()))
            }
        }
    };
    let at_label = table.applicability.span().start;
    let planned = Planned {
        apply: table.apply,
        rule: table.rule.into_inner(),
        name: table.name,
        netns: table.netns,
        applicability,
        summary: table.summary,
        why: table.why,
        risk: table.risk,
        expected: table.expected,
        predicted: table.predicted,
        guards: table.guards,
        changes: table.change.into_iter().map(change).collect::<Result<_, _>>()?,
    };
    if applicability == Applicability::Safe && !planned.is_safe() {
        let name = one_line(&planned.name);
        let what =
            format!("no rule offers what {name} changes here as `safe`: it is `unsafe`, it has a price");
        return Err(at(at_label, what));
    }
    Ok(planned)
}

/// The line, from 1, in which a byte is.
fn line_of(text: &str, place: usize) -> usize {
    let before = text.as_bytes().get(..place).unwrap_or_default();
    before.split(|byte| *byte == b'\n').count()
}

fn one_line(text: &str) -> String {
    text.chars().take(200).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

const HEAD: &str = "\
# A plan of lastack. To do what has `apply = true`: lastack fix --plan FILE --apply
# It is refused where something is not (any more) as `from` says. Remedies and values may be edited.
";

pub(super) fn write(plan: &Plan) -> String {
    let mut text = HEAD.to_owned();
    // Writing to a string cannot fail.
    let _ = write_all(plan, &mut text);
    text
}

fn write_all(plan: &Plan, to: &mut String) -> std::fmt::Result {
    writeln!(to, "schema = {}", quoted(SCHEMA))?;
    writeln!(to, "host = {}", quoted(&plan.host))?;
    writeln!(to, "kernel = {}", quoted(&plan.kernel))?;
    writeln!(to, "made_at = {}", quoted(&plan.made_at))?;
    for remedy in &plan.remedies {
        writeln!(to, "\n[[remedy]]")?;
        let about = match remedy.applicability {
            Applicability::Safe => "",
            Applicability::Unsafe => "  # it has a price: see risk",
            Applicability::DisplayOnly => "  # for a person",
        };
        writeln!(to, "apply = {}{about}", remedy.apply)?;
        writeln!(to, "name = {}", quoted(&remedy.name))?;
        writeln!(to, "rule = {}", quoted(&remedy.rule))?;
        writeln!(to, "netns = {}", quoted(&remedy.netns))?;
        let applicability = match remedy.applicability {
            Applicability::Safe => "safe",
            Applicability::Unsafe => "unsafe",
            Applicability::DisplayOnly => "display-only",
        };
        writeln!(to, "applicability = {}", quoted(applicability))?;
        writeln!(to, "summary = {}", quoted(&remedy.summary))?;
        list(to, "why", &remedy.why)?;
        writeln!(to, "risk = {}", quoted(&remedy.risk))?;
        writeln!(to, "expected = {}", quoted(&remedy.expected))?;
        if let Some(predicted) = &remedy.predicted {
            writeln!(to, "predicted = {}", quoted(predicted))?;
        }
        list(to, "guards", &remedy.guards)?;
        for change in &remedy.changes {
            writeln!(to, "\n[[remedy.change]]")?;
            match change {
                Change::Setting { setting, from, to: value }
                | Change::AtBoot { setting, from, to: value } => {
                    let key =
                        if matches!(change, Change::AtBoot { .. }) { "setting_at_boot" } else { "setting" };
                    writeln!(to, "{key} = {}", quoted(setting))?;
                    writeln!(to, "from = {}", quoted(from))?;
                    writeln!(to, "to = {}", quoted(value))?;
                }
                Change::File { file, program, from, to: text } => {
                    writeln!(to, "file = {}", quoted(&file.display().to_string()))?;
                    writeln!(to, "program = {}", quoted(program.name()))?;
                    writeln!(to, "from = {}", lines(from))?;
                    writeln!(to, "to = {}", lines(text))?;
                }
            }
        }
    }
    Ok(())
}

fn list(to: &mut String, name: &str, texts: &[String]) -> std::fmt::Result {
    match texts {
        [] => Ok(()),
        texts => {
            writeln!(to, "{name} = [")?;
            texts.iter().try_for_each(|text| writeln!(to, "  {},", quoted(text)))?;
            writeln!(to, "]")
        }
    }
}

/// A basic string of TOML over several lines, so that a file can be read and edited in it.
fn lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(escaped).collect();
    format!("\"\"\"\n{}\"\"\"", lines.join("\n"))
}

/// A basic string of TOML. Whatever a terminal might obey is escaped.
fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}

fn escaped(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            letter if is_odd(letter) => {
                let _ = write!(quoted, "\\U{:08X}", u32::from(letter));
            }
            letter => quoted.push(letter),
        }
    }
    quoted
}

/// Controls, and what turns the direction of text or is not seen.
fn is_odd(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Files, Refusal, Wishes};
    use proptest::prelude::*;

    fn plan() -> Plan {
        let change = |setting: &str, from: &str, to: &str| Change::Setting {
            setting: setting.into(),
            from: from.into(),
            to: to.into(),
        };
        let planned = |name: &str, applicability, changes| Planned {
            apply: true,
            rule: "ephemeral-ports-exhausted".into(),
            name: name.into(),
            netns: "host".into(),
            applicability,
            summary: "Do \"this\"".into(),
            why: vec!["because\n\u{1b}[2J\u{202e}".into()],
            risk: String::new(),
            expected: "better".into(),
            predicted: Some("470 a second".into()),
            guards: vec!["TcpOutRsts".into()],
            changes,
        };
        Plan {
            host: "vm".into(),
            kernel: "6.18".into(),
            made_at: "2026-11-21T06:00:00Z".into(),
            remedies: vec![
                planned("tw-reuse", Applicability::Unsafe, vec![change("net.ipv4.tcp_tw_reuse", "2", "1")]),
                planned(
                    "keep-at-boot",
                    Applicability::Unsafe,
                    vec![Change::AtBoot {
                        setting: "net.ipv4.tcp_rfc1337".into(),
                        from: "1".into(),
                        to: "0".into(),
                    }],
                ),
                Planned { apply: false, ..planned("pool", Applicability::DisplayOnly, Vec::new()) },
            ],
        }
    }

    #[test]
    fn a_plan_reads_back_and_shows_nothing_that_a_terminal_obeys() {
        let text = plan().to_text();
        assert_eq!(Plan::from_text(&text), Ok(plan()));
        assert!(text.chars().all(|letter| letter == '\n' || !is_odd(letter)), "{text}");
        plan().check().unwrap();
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let text = plan().to_text();
        let wrong =
            |from: &str, to: &str| Plan::from_text(&text.replacen(from, to, 1)).unwrap_err().to_string();
        let line = |needle: &str| text.lines().position(|line| line.contains(needle)).unwrap() + 1;
        let said = wrong("netns =", "nets =");
        assert!(said.starts_with(&format!("line {}: unknown field `nets`", line("netns ="))), "{said}");
        let said = wrong("apply = true  #", "apply = yes  #");
        assert!(said.starts_with(&format!("line {}: ", line("apply = true  "))), "{said}");
        let said = wrong("\"unsafe\"", "\"harmless\"");
        assert_eq!(
            said,
            format!("line {}: `harmless` is none of safe, unsafe, display-only", line("\"unsafe\""))
        );
        let said = wrong("ephemeral-ports-exhausted", "no-rule");
        assert_eq!(said, format!("line {}: there is no rule `no-rule`", line("rule =")));
        let said = wrong("from = \"2\"\n", "");
        assert!(said.contains("missing field `from`"), "{said}");
        // What it is does not come from the plan.
        for (label, others) in [("\"unsafe\"", "tw-reuse"), ("\"unsafe\"", "recycle-off")] {
            let text = text.replacen("tw-reuse", others, 1);
            let said = Plan::from_text(&text.replacen(label, "\"safe\"", 1)).unwrap_err().to_string();
            assert!(said.starts_with(&format!("line {}: no rule offers", line(label))), "{said}");
        }
        let at_boot = text.rfind("\"unsafe\"").unwrap();
        let said = Plan::from_text(&format!("{}\"safe\"{}", &text[..at_boot], &text[at_boot + 8..]));
        assert!(said.is_err_and(|error| error.to_string().contains("keep-at-boot changes here")));
        let safe = text.replacen("tw-reuse", "rfc1337-off", 1).replacen("tcp_tw_reuse", "tcp_rfc1337", 1);
        Plan::from_text(&safe.replacen("\"unsafe\"", "\"safe\"", 1)).unwrap();
        assert_eq!(Plan::from_text("a = 1"), Err(PlanError::NotAPlan));
        assert_eq!(wrong("plan/1", "plan/9"), PlanError::Newer("lastack.plan/9".into()).to_string());
        assert!(Plan::from_text(&wrong("[[remedy]]", "[[remedy")).is_err());
    }

    #[test]
    fn an_edited_plan_is_checked_like_any_other() {
        let refused = |from: &str, to: &str| {
            Plan::from_text(&plan().to_text().replacen(from, to, 1)).unwrap().check().unwrap_err()
        };
        assert!(matches!(refused("to = \"1\"", "to = \"7\""), Refusal::Never { .. }));
        assert!(matches!(refused("tcp_tw_reuse", "tcp_mem"), Refusal::Never { .. }));
        assert!(matches!(refused("\"unsafe\"", "\"display-only\""), Refusal::ForAPerson(_)));
        assert!(matches!(refused("apply = false", "apply = true"), Refusal::ForAPerson(_)));
        // Advice that is called something else is none that can be done.
        let text = plan().to_text().replacen("apply = false", "apply = true", 1);
        let done = Plan::from_text(&text.replacen("\"display-only\"", "\"unsafe\"", 1)).unwrap();
        assert!(matches!(done.check(), Err(Refusal::ForAPerson(_))));
        // A rule unlocks what its own remedy does, and nothing else that is called after it.
        let shorter = |name: &str| {
            let mut plan = plan();
            let remedy = &mut plan.remedies[0];
            (remedy.rule, remedy.name) = ("fin-wait-2-waiting".into(), name.into());
            let setting = "net.ipv4.tcp_fin_timeout".into();
            remedy.changes = vec![Change::Setting { setting, from: "60".into(), to: "15".into() }];
            plan.check()
        };
        assert_eq!(shorter("shorter-fin-timeout"), Ok(()));
        assert!(matches!(shorter("mine"), Err(Refusal::Never { .. })));
        let mut twice = plan();
        let mut second = twice.remedies[0].clone();
        second.changes[0] =
            Change::Setting { setting: "net.ipv4.tcp_tw_reuse".into(), from: "2".into(), to: "0".into() };
        twice.remedies.push(second);
        assert!(matches!(twice.check(), Err(Refusal::Conflict(..))));
        // What is changed now does not stay what it is.
        let mut both = plan();
        both.remedies[1].changes[0] =
            Change::AtBoot { setting: "net.ipv4.tcp_tw_reuse".into(), from: "1".into(), to: "2".into() };
        assert!(matches!(both.check(), Err(Refusal::Conflict(..))));
        assert!(matches!(plan().check_host("other"), Err(Refusal::OtherHost(..))));
    }

    #[test]
    fn unsafe_remedies_must_be_named() {
        let case = evidence::Case::default();
        let finding = diagnose::Finding {
            rule: "time-wait-at-client",
            severity: diagnose::Severity::Warning,
            confidence: diagnose::Confidence::Certain,
            claim: "so".into(),
            subject: diagnose::Subject { netns: "host".into(), ..Default::default() },
            evidence: Vec::new(),
            remedies: ["a", "b", "c"]
                .into_iter()
                .zip([Applicability::Safe, Applicability::Unsafe, Applicability::DisplayOnly])
                .map(|(name, applicability)| diagnose::Remedy {
                    name,
                    summary: name.into(),
                    applicability,
                    risk: String::new(),
                    changes: vec![diagnose::Change::Setting {
                        setting: format!("net.{name}"),
                        from: "1".into(),
                        to: "2".into(),
                    }],
                    expected: String::new(),
                    guards: Vec::new(),
                })
                .collect(),
            avoid: Vec::new(),
            next: None,
        };
        let diagnosis =
            diagnose::Diagnosis { findings: vec![finding.clone(), finding], ..Default::default() };
        let chosen = |remedies: &[&str]| {
            let remedies = remedies.iter().map(|name| (*name).to_owned()).collect();
            let wishes = Wishes { rules: Vec::new(), remedies };
            let (plan, _) = Plan::new(&case, &diagnosis, &wishes, Files::Elsewhere).unwrap();
            assert_eq!(plan.remedies.len(), 3, "the same is asked for once");
            plan.chosen().map(|remedy| remedy.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(chosen(&[]), ["a"]);
        assert_eq!(chosen(&["b"]), ["b"]);
        assert_eq!(chosen(&["a", "b"]), ["a", "b"]);
        // The same as advice for another place is not what was meant.
        let mut elsewhere = diagnosis.findings[0].clone();
        elsewhere.subject.netns = "web".into();
        elsewhere.remedies.retain(|remedy| remedy.name == "b");
        elsewhere.remedies[0].changes.clear();
        let both = diagnose::Diagnosis {
            findings: vec![diagnosis.findings[0].clone(), elsewhere.clone()],
            ..Default::default()
        };
        let wishes = Wishes { remedies: vec!["b".into()], ..Wishes::default() };
        let (plan, _) = Plan::new(&case, &both, &wishes, Files::Elsewhere).unwrap();
        assert_eq!(plan.chosen().map(|remedy| remedy.netns.as_str()).collect::<Vec<_>>(), ["host"]);
        let advice = diagnose::Diagnosis { findings: vec![elsewhere], ..Default::default() };
        let (plan, _) = Plan::new(&case, &advice, &wishes, Files::Elsewhere).unwrap();
        assert!(matches!(plan.check(), Err(Refusal::ForAPerson(_))));
        let wishes = Wishes { remedies: vec!["z".into()], ..Wishes::default() };
        let plan = Plan::new(&case, &diagnosis, &wishes, Files::Elsewhere);
        assert!(matches!(plan, Err(Refusal::NotOffered(..))));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in any::<String>(), tail in "[a-z=\\[\\]\" .\n#]{0,60}") {
            let _ = Plan::from_text(&text);
            let _ = Plan::from_text(&format!("{}{tail}", plan().to_text()));
        }

        #[test]
        fn any_words_survive_the_file(words in any::<String>()) {
            let mut plan = plan();
            plan.remedies[0].summary = words;
            prop_assert_eq!(Plan::from_text(&plan.to_text()), Ok(plan));
        }

        #[test]
        fn any_file_survives_the_file(from in any::<String>(), to in "[\"\\\\'\r\n\ta-c]{0,20}") {
            let mut plan = plan();
            let program = Program::Nginx;
            plan.remedies[0].changes.push(Change::File { file: "/etc/nginx/nginx.conf".into(), program, from, to });
            prop_assert_eq!(Plan::from_text(&plan.to_text()), Ok(plan));
        }
    }
}
