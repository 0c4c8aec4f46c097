//! Cases come from files that anyone may write: whatever they hold, there is a page, JSON, a plan that survives its
//! file, and a model or the reason why there is none.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use evidence::Case;
use kernel::{Root, programs};
use proptest::prelude::*;
use remedy::{Change, Files, Plan, Wishes};
use std::path::{Path, PathBuf};
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

/// Texts that fuzzing has found worth keeping.
fn texts(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut files: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Plans what helps a host of this case whose programs read these files; the answer is how many files that changes.
fn planned_here(case: &Case, nginx: &[u8], haproxy: [&[u8]; 2]) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let mut case = case.clone();
    let nginx = programs::nginx(&write("n.conf", nginx), Some("1.22.1"));
    let haproxy =
        programs::haproxy(&[write("0.cfg", haproxy[0]), write("1.cfg", haproxy[1])], Some("2.6.12"));
    case.configurations = [nginx, haproxy].into_iter().flatten().map(|named| named.configuration).collect();
    let mut diagnosis = diagnose::diagnose(&case);
    // A few sockets seldom show what the files say already.
    diagnosis.findings.extend(diagnose::lint(&case).findings);
    let root = Root::below(folder.path());
    let Ok((mut plan, notes)) = Plan::new(&case, &diagnosis, &Wishes::default(), Files::Here(&root)) else {
        return 0;
    };
    assert!(notes.iter().all(|note| !note.contains('\n')), "{notes:?}");
    let mut changed = 0;
    for remedy in &mut plan.remedies {
        remedy.apply = !remedy.changes.is_empty();
        for change in &remedy.changes {
            let Change::File { file, from, to, .. } = change else { continue };
            assert_eq!(std::fs::read(file).unwrap(), from.as_bytes(), "{}", remedy.name);
            assert_ne!(from, to, "{}", remedy.name);
            changed += 1;
        }
    }
    assert_eq!(Plan::from_text(&plan.to_text()).as_ref(), Ok(&plan));
    // All of them together fit each other, or it is said why they do not.
    if let Err(refusal) = plan.check() {
        assert!(!refusal.to_string().contains('\n'), "{refusal}");
    }
    changed
}

#[test]
fn files_of_programs_get_plans_that_survive_their_file() {
    let (nginx, haproxy) = (texts("nginx_config"), texts("haproxy_config"));
    let count = nginx.len().max(haproxy.len());
    let changed: usize = (0..count)
        .map(|number| {
            let nginx = &nginx[number % nginx.len()];
            let [one, other] = [number, number / 2].map(|place| &haproxy[place % haproxy.len()][..]);
            planned_here(&Case::default(), nginx, [one, other])
        })
        .sum();
    println!("{changed} files are changed by the plans for {count} hosts");
    assert!(changed > 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 50, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_case_of_a_host_with_files_gets_a_plan(
        text in cases::case(),
        nginx in prop::sample::select(texts("nginx_config")),
        haproxy in prop::sample::select(texts("haproxy_config")),
        more in prop::sample::select(texts("haproxy_config")),
    ) {
        if let Ok(case) = Case::from_bytes(&serde_json::to_vec(&text).unwrap()) {
            planned_here(&case, &nginx, [&haproxy, &more]);
        }
    }
}
