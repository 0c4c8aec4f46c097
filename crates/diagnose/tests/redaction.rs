//! A case says the same with stand-ins: the same rules fire, about what was the same before.
#![allow(clippy::disallowed_methods, reason = "the fixtures are files; the crate itself opens none")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use diagnose::Diagnosis;
use evidence::{Case, Redaction};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::path::{Path, PathBuf};

/// The words of every finding, unknown and budget, in no order: what is as bad is listed in the order of addresses.
fn words(diagnosis: &Diagnosis, redaction: &Redaction) -> Vec<Vec<String>> {
    let findings = diagnosis.findings.iter().map(|finding| serde_json::to_string(finding).unwrap());
    let unknown = diagnosis.unknown.iter().map(|unknown| serde_json::to_string(unknown).unwrap());
    let budgets = diagnosis.budgets.iter().map(|budget| format!("{budget:?}"));
    let split = |text: String| {
        let text = redaction.text(&text).into_owned();
        let mut words: Vec<String> = text.split([' ', ',', '"', '(', ')', ';']).map(str::to_owned).collect();
        words.sort_unstable();
        words
    };
    let mut all: Vec<_> = findings.chain(unknown).chain(budgets).map(split).collect();
    all.sort();
    all
}

/// The same with every address for any: of several that are as bad, the first is named.
fn without_addresses(words: &[Vec<String>]) -> Vec<Vec<String>> {
    let hidden = |word: &String| {
        if word.contains("240.0.0.") || word.contains("100::") { "any".into() } else { word.clone() }
    };
    let mut all: Vec<Vec<String>> = words.iter().map(|words| words.iter().map(hidden).collect()).collect();
    for words in &mut all {
        words.sort_unstable();
    }
    all.sort();
    all
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    files.sort();
    files
}

#[test]
fn every_fixture_is_judged_as_before() {
    let key = BuildHasherDefault::<DefaultHasher>::default();
    let none = Redaction::new(&Case::default(), &key);
    let files = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures"));
    let (mut hidden, mut exact) = (0, 0);
    for file in &files {
        let case = Case::from_bytes(&std::fs::read(file).unwrap()).unwrap();
        let redaction = Redaction::new(&case, &key);
        let redacted = redaction.apply(&case).unwrap();
        let before = words(&diagnose::diagnose(&case), &redaction);
        let after = words(&diagnose::diagnose(&redacted), &none);
        if before == after {
            exact += 1;
        } else {
            assert_eq!(without_addresses(&before), without_addresses(&after), "{}", file.display());
        }
        hidden += redaction.len();
    }
    assert!(files.len() > 150 && exact * 20 > files.len() * 19, "{exact} of {} are the same", files.len());
    assert!(hidden > 300, "{hidden} addresses were hidden");
}
