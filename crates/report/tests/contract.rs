//! The JSON that others script against: its schema is kept in docs/report.schema.json, and every report of
//! every fixture there is obeys it.
//!
//! After a change of the report: `UPDATE_SCHEMA=1 cargo test -p lastack-report --test contract`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(
    clippy::disallowed_methods,
    reason = "the schema and the fixtures are files; the crate itself opens none"
)]

mod cases;

use cases::Found;
use report::Report;
use serde_json::Value;
use std::path::{Path, PathBuf};

fn json((case, diagnosis): &Found) -> Value {
    let mut text = Vec::new();
    report::write_json(&Report::new(case, diagnosis), &mut text).unwrap();
    let end = text.iter().position(|byte| *byte == b'\n');
    assert_eq!(end, Some(text.len() - 1), "a report is one line");
    serde_json::from_slice(&text).unwrap()
}

/// The schema with every object closed, so that a field it does not know is a mistake.
fn strict_schema() -> jsonschema::Validator {
    fn close(schema: &mut Value) {
        match schema {
            Value::Object(fields) => {
                if fields.contains_key("properties") {
                    fields.insert("additionalProperties".into(), Value::Bool(false));
                }
                fields.values_mut().for_each(close);
            }
            Value::Array(items) => items.iter_mut().for_each(close),
            _ => {}
        }
    }
    let mut schema = report::json_schema();
    close(&mut schema);
    jsonschema::validator_for(&schema).unwrap()
}

fn check(schema: &jsonschema::Validator, name: &str, report: &Value) {
    let errors: Vec<String> =
        schema.iter_errors(report).map(|error| format!("{} at {}", error, error.instance_path())).collect();
    assert!(errors.is_empty(), "{name}: {errors:#?}");
}

#[test]
fn the_schema_in_docs_is_that_of_the_report() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/report.schema.json");
    let now = format!("{:#}\n", report::json_schema());
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&file, &now).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(kept == now, "docs/report.schema.json has drifted: UPDATE_SCHEMA=1 cargo test -p lastack-report");
}

#[test]
fn reports_obey_the_schema() {
    let schema = strict_schema();
    for (name, found) in cases::all() {
        check(&schema, name, &json(&found));
    }
}

#[test]
fn reports_of_all_fixtures_obey_the_schema() {
    let schema = strict_schema();
    let mut seen = 0;
    for file in fixtures() {
        let case = evidence::Case::from_bytes(&std::fs::read(&file).unwrap()).unwrap();
        let diagnosis = diagnose::diagnose(&case);
        check(&schema, &file.display().to_string(), &json(&(case, diagnosis)));
        seen += 1;
    }
    assert!(seen > 0, "no fixture was read");
}

fn fixtures() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../diagnose/fixtures");
    let folders = std::fs::read_dir(root).unwrap().map(|folder| folder.unwrap().path());
    let files = folders
        .filter(|path| path.is_dir())
        .flat_map(|folder| std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()));
    let mut files: Vec<PathBuf> =
        files.filter(|file| file.extension().is_some_and(|extension| extension == "json")).collect();
    files.sort();
    files
}

#[test]
fn the_schema_is_worth_something() {
    let schema = strict_schema();
    let mut report = json(&cases::exhausted());
    report["budgets"][0]["taken"] = "many".into();
    assert!(!schema.is_valid(&report));
    let mut report = json(&cases::exhausted());
    report["findings"][0]["severity"] = "fatal".into();
    assert!(!schema.is_valid(&report));
    let mut report = json(&cases::exhausted());
    report.as_object_mut().unwrap().remove("unknown");
    assert!(!schema.is_valid(&report));
}

/// The fields that DESIGN promises, by hand: a schema that is made from the code would follow any renaming.
#[test]
fn the_promised_fields_are_there() {
    let report = json(&cases::exhausted());
    for pointer in [
        "/schema",
        "/host/name",
        "/host/kernel",
        "/host/taken_at",
        "/host/namespaces",
        "/sockets/by_state/TIME-WAIT",
        "/budgets/0/netns",
        "/budgets/0/source",
        "/budgets/0/destination",
        "/budgets/0/ports",
        "/budgets/0/taken",
        "/budgets/0/time_wait",
        "/budgets/0/established",
        "/budgets/0/other",
        "/budgets/0/closes_per_second",
        "/budgets/0/seconds_left",
        "/budgets/0/owners/0/process",
        "/budgets/0/owners/0/pid",
        "/budgets/0/owners/0/share",
        "/budgets/0/owners/0/known_by",
        "/findings/0/rule",
        "/findings/0/severity",
        "/findings/0/confidence",
        "/findings/0/claim",
        "/findings/0/subject",
        "/findings/0/evidence/0/source",
        "/findings/0/evidence/0/says",
        "/findings/0/remedies/0/name",
        "/findings/0/remedies/0/summary",
        "/findings/0/remedies/0/applicability",
        "/findings/0/remedies/0/risk",
        "/findings/0/remedies/0/changes",
        "/findings/0/remedies/0/expected",
        "/findings/0/remedies/0/guards",
        "/unknown",
    ] {
        assert!(report.pointer(pointer).is_some(), "{pointer}");
    }
    let report = json(&cases::leaking());
    for pointer in ["/unknown/0/rule", "/unknown/0/because", "/unknown/0/how_to_see"] {
        assert!(report.pointer(pointer).is_some(), "{pointer}");
    }
    assert_eq!(report["schema"], "lastack.report/1");
}

#[test]
fn what_does_not_fit_is_counted() {
    let (case, diagnosis) = cases::crowded();
    let report = Report::new(&case, &diagnosis);
    assert_eq!(report.findings.len() + report.not_shown.findings, diagnosis.findings.len());
    assert_eq!(report.budgets.len() + report.not_shown.budgets, diagnosis.budgets.len());
    assert_eq!(report.unknown.len() + report.not_shown.unknown, diagnosis.unknown.len());
    assert_eq!(report.coverage.len() + report.not_shown.coverage, case.gaps.len());
    assert_eq!(report.host.namespaces.len() + report.not_shown.namespaces, case.namespaces.len());
    assert_eq!(report.conntrack.len() + report.not_shown.conntrack, 250);
    assert_eq!(report.closes.len() + report.not_shown.closes, case.namespaces.len());
    let groups: usize = case.namespaces.iter().map(|namespace| namespace.sockets.groups.len()).sum();
    assert_eq!(report.sockets.groups.len() + report.not_shown.groups, groups);
    let listeners: usize = case.namespaces.iter().map(|namespace| namespace.sockets.listeners.len()).sum();
    assert_eq!(report.sockets.listeners.len() + report.not_shown.listeners, listeners);
    assert_eq!(report.sockets.processes.len() + report.not_shown.processes, case.namespaces.len());
    assert!(report.not_shown.findings > 0 && report.not_shown.budgets > 0 && report.not_shown.groups > 0);
    assert!(serde_json::to_vec(&report).unwrap().len() < 2_000_000);
}

#[test]
fn a_report_says_the_same_each_time() {
    for (name, found) in cases::all() {
        assert_eq!(json(&found), json(&found), "{name}");
        let again = evidence::Case::from_bytes(&found.0.to_bytes()).unwrap();
        assert_eq!(json(&(again, found.1.clone())), json(&found), "{name}");
    }
}
