//! A plan may have been edited, and mailed by anyone.

use remedy::Plan;

/// Any text is refused in one line that names a place, or is a plan that survives being written; whether it may be
/// done is a matter of its words alone.
pub(crate) fn plan(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let plan = match Plan::from_text(text) {
        Ok(plan) => plan,
        Err(error) => {
            let said = error.to_string();
            assert!(!said.is_empty() && said.len() < 2_000, "{} bytes", said.len());
            assert!(!said.chars().any(char::is_control), "{said:?}");
            return;
        }
    };
    assert_eq!(Plan::from_text(&plan.to_text()).as_ref(), Ok(&plan));
    assert_eq!(plan.check(), plan.check());
}
