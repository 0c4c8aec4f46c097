//! Every rule against cases written by hand: `fixtures/RULE/fires-*.json` must fire it, `quiet-*.json` must
//! not, and nothing may fire on `fixtures/healthy/*.json`.
//!
//! A fixture is a case (`lastack.case/1`); what it leaves out has its default, and `about` says in one
//! sentence what it shows. What a rule says of a `fires-*` is kept beside it as a snapshot: read it, then
//! accept it with `INSTA_UPDATE=always cargo test -p lastack-diagnose --test fixtures`.
#![allow(clippy::disallowed_methods, reason = "the fixtures are files; the crate itself opens none")]
#![allow(clippy::unwrap_used, clippy::missing_docs_in_private_items, reason = "a test fails by panicking")]

use diagnose::{Applicability, Change, Finding, ProgramChange, Rule, Verdict};
use evidence::Case;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const HEADINGS: [&str; 6] = [
    "## What it sees",
    "## Why it hurts",
    "## How to prove it",
    "## What to do",
    "## What not to do",
    "## Sources",
];

/// One test a rule, so that a failure names it. The list is checked against the registry.
macro_rules! fixtures {
    ($($name:literal => $test:ident,)+) => {
        const LISTED: &[&str] = &[$($name),+];
        $(#[test] fn $test() { check_rule($name); })+
    };
}

fixtures! {
    "ephemeral-ports-exhausted" => ephemeral_ports_exhausted,
    "time-wait-at-client" => time_wait_at_client,
    "time-wait-at-server" => time_wait_at_server,
    "upstream-keepalive-off" => upstream_keepalive_off,
    "upstream-keepalive-unpooled" => upstream_keepalive_unpooled,
    "upstream-keepalive-small" => upstream_keepalive_small,
    "client-without-pool" => client_without_pool,
    "time-wait-table-full" => time_wait_table_full,
    "time-wait-table-small" => time_wait_table_small,
    "syn-meets-time-wait" => syn_meets_time_wait,
    "timestamps-behind-nat" => timestamps_behind_nat,
    "time-wait-recycle" => time_wait_recycle,
    "reuse-without-effect" => reuse_without_effect,
    "fin-timeout-misread" => fin_timeout_misread,
    "close-wait-leak" => close_wait_leak,
    "fin-wait-2-waiting" => fin_wait_2_waiting,
    "last-ack-unanswered" => last_ack_unanswered,
    "abort-instead-of-close" => abort_instead_of_close,
    "idle-timeout-race" => idle_timeout_race,
    "accept-queue-full" => accept_queue_full,
    "conntrack-full" => conntrack_full,
    "bind-without-reuseaddr" => bind_without_reuseaddr,
    "listener-in-ephemeral-range" => listener_in_ephemeral_range,
    "setting-not-durable" => setting_not_durable,
}

#[test]
fn every_rule_of_the_registry_is_tested_here() {
    let registry: Vec<&str> = diagnose::rules().iter().map(Rule::name).collect();
    assert_eq!(registry, LISTED, "add the rule to the list in this file, in the registry's order");
}

#[test]
fn every_folder_of_fixtures_belongs_to_a_rule() {
    for entry in std::fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name == "healthy" || diagnose::rule(&name).is_some(), "fixtures/{name} belongs to no rule");
    }
}

#[test]
fn nothing_is_wrong_with_a_healthy_host() {
    let files = cases("healthy", "");
    assert!(files.len() >= 5, "fixtures/healthy holds {} hosts", files.len());
    for file in files {
        let diagnosis = diagnose::diagnose(&read(&file));
        let said: Vec<_> =
            diagnosis.findings.iter().map(|finding| format!("{}: {}", finding.rule, finding.claim)).collect();
        assert!(said.is_empty(), "{}: a false alarm: {said:#?}", file.display());
    }
}

#[test]
fn a_page_has_a_summary_and_the_fixed_headings_in_order() {
    let mut wrong = Vec::new();
    for rule in diagnose::rules() {
        let page = rule.page();
        let headings: Vec<&str> = page.lines().filter(|line| line.starts_with("## ")).collect();
        if headings != HEADINGS {
            wrong.push(format!("{}: headings are {headings:?}", rule.name()));
        }
        if !rule.summary().ends_with('.') || rule.summary().starts_with('#') {
            wrong.push(format!("{}: the first line is no sentence: {:?}", rule.name(), rule.summary()));
        }
        if let Some(long) = page.lines().find(|line| line.chars().count() > 114) {
            wrong.push(format!("{}: a line is too long: {long:?}", rule.name()));
        }
        for section in page.split("\n## ").skip(1) {
            if section.lines().skip(1).all(|line| line.trim().is_empty()) {
                wrong.push(format!("{}: an empty section: {section:?}", rule.name()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn check_rule(name: &str) {
    let rule = diagnose::rule(name).unwrap_or_else(|| panic!("{name} is not in the registry"));
    let (firing, quiet) = (cases(name, "fires-"), cases(name, "quiet-"));
    assert!(!firing.is_empty(), "fixtures/{name} has no fires-*.json");
    assert!(!quiet.is_empty(), "fixtures/{name} has no quiet-*.json");
    for file in quiet {
        let found = findings(rule, &read(&file));
        assert!(found.is_empty(), "{}: must be quiet, says {}", file.display(), shown(&found));
    }
    for file in firing {
        let case = read(&file);
        let found = findings(rule, &case);
        assert!(!found.is_empty(), "{}: must fire {name}", file.display());
        for finding in &found {
            check_finding(rule, &case, finding);
        }
        // The same case gives the same words, also after it went through a file.
        let again = Case::from_bytes(&case.to_bytes()).unwrap();
        assert_eq!(findings(rule, &again), found);
        let stem = file.file_stem().unwrap().to_str().unwrap();
        insta::with_settings!({
            snapshot_path => file.parent().unwrap(),
            prepend_module_to_snapshot => false,
            omit_expression => true,
            description => about(&file),
        }, {
            insta::assert_snapshot!(stem, shown(&found));
        });
    }
}

/// What every finding must have, whatever its rule.
fn check_finding(rule: &Rule, case: &Case, finding: &Finding) {
    let claim = &finding.claim;
    assert_eq!(finding.rule, rule.name(), "{claim}");
    assert!(!claim.is_empty() && !claim.contains('\n'), "a claim is one line: {claim:?}");
    assert!(!finding.evidence.is_empty(), "no evidence: {claim}");
    let namespace = case.namespaces.iter().find(|namespace| namespace.name == finding.subject.netns);
    if namespace.is_none() {
        check_packets(case, finding);
    }
    let mut names = BTreeSet::new();
    for remedy in &finding.remedies {
        let name = remedy.name;
        let kebab = name.split('-').all(|word| {
            !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        });
        assert!(kebab, "{name} is not kebab-case");
        assert!(names.insert(name), "{name} is offered twice: {claim}");
        for text in [&remedy.summary, &remedy.risk, &remedy.expected] {
            assert!(!text.is_empty(), "{name} leaves summary, risk or expected empty");
        }
        if remedy.applicability == Applicability::DisplayOnly {
            continue;
        }
        assert!(!remedy.changes.is_empty(), "{name} can be applied, but says not what to change");
        // What is about the next boot moves no counter now.
        let at_boot = remedy.changes.iter().all(|change| matches!(change, Change::AtBoot { .. }));
        assert_ne!(remedy.guards.is_empty(), !at_boot, "{name} can be applied: what guards it?");
        for change in &remedy.changes {
            match change {
                // The inverse must be what is set now, not what the rule believes.
                Change::Setting { setting, from, to } => {
                    let now = namespace.unwrap().settings.text(setting);
                    assert_eq!(
                        now,
                        Some(from.as_str()),
                        "{name}: {setting} is not what going back would set"
                    );
                    assert_ne!(from, to, "{name} changes nothing");
                    let known = diagnose::value::offered(name, setting);
                    assert_eq!(known, Some(remedy.applicability), "{name}: {setting}");
                }
                Change::AtBoot { setting, from, to } => {
                    let now = namespace.unwrap().settings.text(setting).map(diagnose::value::plain);
                    assert_eq!(now.as_ref(), Some(to), "{name}: {setting} is not what is to stay");
                    assert!(!diagnose::value::same(setting, from, to), "{name} changes nothing");
                }
                Change::Program(change) => {
                    let configuration = &case.configurations[change.configuration];
                    assert!(configuration.files.contains(&change.file), "{name}: {change:?}");
                    assert!(change.line > 0 && !change.what.is_empty(), "{name}: {change:?}");
                }
            }
        }
    }
}

/// What a finding must have that is about packets.
fn check_packets(case: &Case, finding: &Finding) {
    let claim = &finding.claim;
    assert!(case.traffic.is_some() && finding.subject.netns.is_empty(), "about nothing in the case: {claim}");
    let named = finding.evidence.iter().any(|evidence| evidence.says.starts_with("packets "));
    assert!(named || finding.next.is_none(), "names no packets, and yet a connection to see: {claim}");
    // A capture may be of another host: only what this host's programs are told is changed.
    for remedy in &finding.remedies {
        let told = remedy.changes.iter().all(|change| matches!(change, Change::Program(_)));
        let applied = remedy.applicability != Applicability::DisplayOnly;
        assert!(told && applied != remedy.changes.is_empty(), "{}: {claim}", remedy.name);
    }
}

fn findings(rule: &Rule, case: &Case) -> Vec<Finding> {
    let mut all = Vec::new();
    if let Some(look) = diagnose::TrafficLook::new(case)
        && let Verdict::Found(found) = rule.check_traffic(&look)
    {
        all.extend(found);
    }
    if let Some(look) = diagnose::ConfigurationLook::new(case)
        && let Verdict::Found(found) = rule.check_configuration(&look)
    {
        all.extend(found);
    }
    for namespace in &case.namespaces {
        if let Verdict::Found(found) = rule.check(&diagnose::Look::new(case, namespace)) {
            all.extend(found);
        }
    }
    all
}

#[test]
fn one_rule_at_most_speaks_of_how_a_client_keeps_its_connections() {
    let rules = [
        "upstream-keepalive-off",
        "upstream-keepalive-unpooled",
        "upstream-keepalive-small",
        "client-without-pool",
    ];
    for folder in rules {
        for file in cases(folder, "fires-") {
            let case = read(&file);
            let mut spoke = BTreeSet::new();
            for finding in rules.iter().flat_map(|rule| findings(diagnose::rule(rule).unwrap(), &case)) {
                // Of two ways to one server each is told, and says that sockets do not tell them apart.
                let several =
                    finding.evidence.iter().any(|one| one.says.contains("another way to these servers"));
                let way = finding.evidence.first().filter(|_| several).map(|one| one.source.clone());
                let exchange = (finding.subject.source, finding.subject.destination, way);
                assert!(spoke.insert(exchange.clone()), "{}: twice about {exchange:?}", file.display());
            }
        }
    }
}

/// Findings as a person would want to review them.
fn shown(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let subject = serde_json::to_string(&finding.subject).unwrap();
        writeln!(text, "{:?}, {:?}: {}", finding.severity, finding.confidence, finding.claim).unwrap();
        writeln!(text, "  subject {subject}").unwrap();
        for evidence in &finding.evidence {
            writeln!(text, "  evidence {}: {}", evidence.source, evidence.says).unwrap();
        }
        for remedy in &finding.remedies {
            writeln!(text, "  remedy {} ({:?}): {}", remedy.name, remedy.applicability, remedy.summary)
                .unwrap();
            for change in &remedy.changes {
                match change {
                    Change::Setting { setting, from, to } => {
                        writeln!(text, "    {setting}: {from:?} -> {to:?}").unwrap();
                    }
                    Change::AtBoot { setting, from, to } => {
                        writeln!(text, "    {setting} at boot: {from:?} -> {to:?}").unwrap();
                    }
                    Change::Program(change) => {
                        let ProgramChange { program, file, line, what, .. } = change;
                        writeln!(text, "    {program} {file}:{line}: {what}").unwrap();
                    }
                }
            }
            writeln!(text, "    risk: {}", remedy.risk).unwrap();
            writeln!(text, "    expected: {}", remedy.expected).unwrap();
            for guard in &remedy.guards {
                writeln!(text, "    guard: {guard}").unwrap();
            }
        }
        for avoid in &finding.avoid {
            writeln!(text, "  avoid {}: {}", avoid.what, avoid.because).unwrap();
        }
        if let Some(next) = &finding.next {
            writeln!(text, "  next {next}").unwrap();
        }
    }
    text
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// The JSON files of a folder whose names start so, by name.
fn cases(folder: &str, start: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(root().join(folder)) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(start))
        .collect();
    files.sort();
    files
}

fn read(file: &Path) -> Case {
    let case = Case::from_bytes(&std::fs::read(file).unwrap());
    case.unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn about(file: &Path) -> String {
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let about = json.get("about").and_then(serde_json::Value::as_str);
    about.unwrap_or_else(|| panic!("{} has no \"about\"", file.display())).to_owned()
}
