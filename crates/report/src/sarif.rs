//! Findings about files as SARIF 2.1.0 (OASIS), which code hosts and editors show beside the line.

use crate::lint::{Line, Lint, word};
use diagnose::Finding;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// What a remedy would write into files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// What it does.
    pub description: String,
    /// The files that it changes.
    pub files: Vec<FixedFile>,
}

/// What changes in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedFile {
    /// The file, by the name that findings have for it.
    pub file: String,
    /// In the order of places, none of which overlap.
    pub replacements: Vec<Replacement>,
}

/// A text that takes the place of another one. Places are line and column, from 1, in characters, of the text before
/// all replacements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// Where what goes begins.
    pub from: (usize, usize),
    /// What comes behind it.
    pub to: (usize, usize),
    /// What comes.
    pub text: String,
}

/// The SARIF log of a lint; `fixes` are those of each of its findings. `version` is that of the program. Files whose
/// names are relative stay so, against the root of the sources; others are `file:` URIs.
pub fn sarif(lint: &Lint, fixes: &[Vec<Fix>], version: &str) -> Value {
    let judging: Vec<&diagnose::Rule> =
        diagnose::rules().iter().filter(|rule| rule.reads_configurations()).collect();
    let rules: Vec<Value> = judging
        .iter()
        .map(|rule| {
            json!({
                "id": rule.name(),
                "shortDescription": { "text": rule.summary() },
                "help": { "text": rule.page(), "markdown": rule.page() },
                "defaultConfiguration": { "level": "warning" },
            })
        })
        .collect();
    let fixes = fixes.iter().map(Vec::as_slice).chain(std::iter::repeat(&[][..]));
    let results = lint.findings.iter().zip(fixes);
    let results: Vec<Value> =
        results.map(|(finding, fixes)| result(lint, finding, fixes, &judging)).collect();
    let notifications: Vec<Value> = lint
        .problems
        .iter()
        .map(|problem| {
            let mut notification = json!({ "level": "warning", "message": { "text": problem.what } });
            let locations: Vec<Value> =
                lint.line(&problem.at).map(|line| location(line, None)).into_iter().collect();
            if let Some(fields) = notification.as_object_mut().filter(|_| !locations.is_empty()) {
                fields.insert("locations".to_owned(), Value::Array(locations));
            }
            notification
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "lastack", "semanticVersion": version, "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "artifacts": lint.files.iter().map(|file| json!({ "location": { "uri": uri(file) } })).collect::<Vec<_>>(),
            "results": results,
            "invocations": [{ "executionSuccessful": true, "toolExecutionNotifications": notifications }],
        }],
    })
}

fn result(log: &Lint, finding: &Finding, fixes: &[Fix], judging: &[&diagnose::Rule]) -> Value {
    let mut text = format!("{}.", finding.claim);
    for remedy in &finding.remedies {
        let _ = write!(text, " {}.", remedy.summary);
    }
    let place = log.place(finding);
    let related = finding.evidence.iter().filter_map(|evidence| {
        let line = log.line(&evidence.source)?;
        (Some(line) != place).then(|| location(line, Some(&evidence.says)))
    });
    let index = judging.iter().position(|rule| rule.name() == finding.rule);
    json!({
        "ruleId": finding.rule,
        "ruleIndex": index.map_or(-1, |index| i64::try_from(index).unwrap_or(-1)),
        "level": word(finding.severity),
        "message": { "text": text },
        "locations": place.map(|line| location(line, None)).into_iter().collect::<Vec<_>>(),
        "relatedLocations": related.collect::<Vec<_>>(),
        "fixes": fixes.iter().map(fix).collect::<Vec<_>>(),
    })
}

fn fix(fix: &Fix) -> Value {
    let replacement = |one: &Replacement| {
        let (from, to) = (one.from, one.to);
        json!({
            "deletedRegion": { "startLine": from.0, "startColumn": from.1, "endLine": to.0, "endColumn": to.1 },
            "insertedContent": { "text": one.text },
        })
    };
    let file = |one: &FixedFile| {
        json!({
            "artifactLocation": { "uri": uri(&one.file) },
            "replacements": one.replacements.iter().map(replacement).collect::<Vec<_>>(),
        })
    };
    json!({
        "description": { "text": fix.description },
        "artifactChanges": fix.files.iter().map(file).collect::<Vec<_>>(),
    })
}

fn location(line: Line<'_>, says: Option<&str>) -> Value {
    let mut location = json!({
        "physicalLocation": {
            "artifactLocation": { "uri": uri(line.file) },
            "region": { "startLine": line.line },
        },
    });
    if let (Some(says), Some(fields)) = (says, location.as_object_mut()) {
        fields.insert("message".to_owned(), json!({ "text": says }));
    }
    location
}

/// A path as a URI reference (RFC 3986): bytes that are not unreserved are written as `%XX`.
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len() + 8);
    if path.starts_with('/') {
        uri.push_str("file://");
    }
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_uri_reference() {
        assert_eq!(uri("conf/a b%[1].conf"), "conf/a%20b%25%5B1%5D.conf");
        assert_eq!(uri("/etc/nginx/nginx.conf"), "file:///etc/nginx/nginx.conf");
        assert_eq!(uri("a:b"), "a%3Ab");
        assert_eq!(uri("é"), "%C3%A9");
    }
}
