//! A case file may come from anyone.

use evidence::Case;

/// Any bytes are refused in one line, or are a case that survives its file and gives a diagnosis, the same each
/// time, that can be written as a page and as JSON.
pub(crate) fn case(bytes: &[u8]) {
    let case = match Case::from_bytes(bytes) {
        Ok(case) => case,
        Err(error) => {
            let said = error.to_string();
            assert!(!said.is_empty() && said.len() < 2_000, "{} bytes", said.len());
            assert!(!said.chars().any(char::is_control), "{said:?}");
            return;
        }
    };
    assert_eq!(Case::from_bytes(&case.to_bytes()).as_ref(), Ok(&case));

    let diagnosis = diagnose::diagnose(&case);
    assert_eq!(diagnose::diagnose(&case), diagnosis);
    assert!(diagnosis.findings.is_sorted_by_key(|finding| std::cmp::Reverse(finding.severity)));
    for finding in &diagnosis.findings {
        assert!(diagnose::rule(finding.rule).is_some(), "{}", finding.rule);
    }
    for budget in &diagnosis.budgets {
        assert!(
            budget.closes_per_second.is_finite() && budget.seconds_left.is_none_or(f64::is_finite),
            "{budget:?}"
        );
    }

    let report = report::Report::new(&case, &diagnosis);
    let mut json = Vec::new();
    report::write_json(&report, &mut json).expect("memory");
    assert!(json.ends_with(b"\n") && std::str::from_utf8(&json).is_ok());
    for width in [1, 40, 80, 200] {
        let mut page = Vec::new();
        report::page::write(&report, &mut page, report::Style { width, color: false }).expect("memory");
        let page = std::str::from_utf8(&page).expect("a page is text");
        assert!(page.ends_with('\n'));
        let odd = page.chars().find(|one| one.is_control() && *one != '\n');
        assert_eq!(odd, None, "at width {width}");
    }
}
