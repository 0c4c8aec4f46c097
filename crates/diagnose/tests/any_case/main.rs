//! Cases come from files that anyone may write: whatever they hold, rules answer, and answer the same again.
#![allow(clippy::unwrap_used, clippy::missing_docs_in_private_items, reason = "a test fails by panicking")]

mod cases;
mod configurations;

use diagnose::value;
use evidence::{Case, CaseError};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_case_gets_an_answer_and_the_same_again(text in cases::case()) {
        let text = serde_json::to_vec(&text).unwrap();
        let case = match Case::from_bytes(&text) {
            Ok(case) => case,
            Err(error @ CaseError::Damaged { .. }) => panic!("the test made no case: {error}"),
            Err(_) => return Ok(()),
        };
        let diagnosis = diagnose::diagnose(&case);
        let again = diagnose::diagnose(&Case::from_bytes(&case.to_bytes()).unwrap());
        prop_assert_eq!(&diagnosis.findings, &again.findings);
        prop_assert_eq!(&diagnosis.unknown, &again.unknown);
        for finding in &diagnosis.findings {
            prop_assert!(!finding.claim.contains('\n') && !finding.evidence.is_empty(), "{}", finding.claim);
            for change in finding.remedies.iter().flat_map(|remedy| &remedy.changes) {
                let now = |setting: &str| case.namespaces[0].settings.text(setting).map(str::to_owned);
                match change {
                    diagnose::Change::Setting { setting, from, to } => {
                        let now = now(setting);
                        prop_assert_eq!(now.as_ref(), Some(from), "{}", finding.rule);
                        prop_assert_ne!(from, to, "{}", finding.rule);
                    }
                    diagnose::Change::AtBoot { setting, from, to } => {
                        let now = now(setting).map(|now| value::plain(&now));
                        prop_assert_eq!(now.as_ref(), Some(to), "{}", finding.rule);
                        prop_assert!(!value::same(setting, from, to), "{}", finding.rule);
                    }
                    diagnose::Change::Program(_) => {}
                }
            }
        }
        // A rule that found something in a namespace does not also say that it could not. (What it found in packets
        // may be about another host.)
        for unknown in &diagnosis.unknown {
            let found = |finding: &diagnose::Finding| {
                finding.rule == unknown.rule && !finding.subject.netns.is_empty()
            };
            prop_assert!(!diagnosis.findings.iter().any(found), "{}", unknown.rule);
        }
        // Rules that only packets decide are undecided if none were read, and only then.
        for rule in diagnose::rules().iter().filter(|rule| rule.needs_packets()) {
            let undecided = diagnosis.unknown.iter().any(|unknown| unknown.rule == rule.name());
            let told = diagnosis.findings.iter().any(|finding| finding.rule == rule.name());
            prop_assert_eq!(undecided, case.traffic.is_none() && !told, "{}", rule.name());
        }
    }
}

#[test]
fn sums_without_examples_are_evidence_too() {
    let text = r#"{"schema":"lastack.case/1","traffic":{"files":["a.pcap"],"length_ms":60000,"connections":60,
        "exchanges":[{"client":"10.0.0.1","server":"10.0.0.2:80","connections":60,"length_ms":60000,
        "handshakes":{"complete":60},"endings":{"half-closed":60},"first_closer":{"client":60},
        "not_closed_by":{"server":60}}]}}"#;
    let diagnosis = diagnose::diagnose(&Case::from_bytes(text.as_bytes()).unwrap());
    assert!(!diagnosis.findings.is_empty());
    assert!(
        diagnosis.findings.iter().all(|finding| !finding.evidence.is_empty()),
        "{:?}",
        diagnosis.findings
    );
}
