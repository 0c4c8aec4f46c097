//! Cases come from files that anyone may write: whatever they hold, there is a page, JSON, a plan that survives its file, and
//! a model or the reason why there is none.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use evidence::Case;
use proptest::prelude::*;
use remedy::{Files, Plan, Wishes};
use world::fit::{Knowledge, fit};
use world::whatif::{self, Remedy, Worlds};

#[path = "../../diagnose/tests/any_case/cases.rs"]
mod cases;
#[path = "../../../fuzz/checks/case.rs"]
mod check;
#[path = "../../diagnose/tests/any_case/configurations.rs"]
mod configurations;

/// The load is played only as far as that.
const MOST_EVENTS: u64 = 2_000;

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_case_gets_a_page_a_plan_and_a_model_or_the_reason_why_not(text in cases::case()) {
        let bytes = serde_json::to_vec(&text).unwrap();
        check::case(&bytes);
        let Ok(case) = Case::from_bytes(&bytes) else { return Ok(()) };
        let diagnosis = diagnose::diagnose(&case);
        match Plan::new(&case, &diagnosis, &Wishes::default(), Files::Elsewhere) {
            Ok((plan, notes)) => {
                prop_assert_eq!(Plan::from_text(&plan.to_text()), Ok(plan));
                prop_assert!(notes.iter().all(|note| !note.contains('\n')), "{notes:?}");
            }
            Err(refusal) => prop_assert!(!refusal.to_string().contains('\n'), "{refusal}"),
        }
        match fit(&case, &Knowledge { played: 100.0, ..Knowledge::default() }) {
            Ok(fit) => {
                let remedies = diagnosis.findings.iter().flat_map(|finding| &finding.remedies);
                let cures = remedies.filter_map(|remedy| Some(Remedy::named(remedy.name.parse().ok()?)));
                let plan = whatif::plan(&Worlds::from(&fit), &cures.collect::<Vec<_>>());
                for world in plan.columns.last().iter().flat_map(|column| &column.worlds) {
                    whatif::play_within(world, &fit.here, MOST_EVENTS);
                }
            }
            Err(unfit) => prop_assert!(!unfit.to_string().contains('\n'), "{unfit}"),
        }
    }
}
