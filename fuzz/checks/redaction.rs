//! Any text of a case, with stand-ins.

use evidence::{Case, Gap, Redaction, Unseen};
use std::collections::BTreeSet;
use std::hash::{BuildHasherDefault, DefaultHasher};

/// No address of a text is left in it, wherever it was; and a case stays a case.
pub(crate) fn redaction(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let mut case = Case::default();
    text.lines().next().unwrap_or_default().clone_into(&mut case.host.name);
    case.gaps.push(Gap {
        unseen: Unseen::Text,
        netns: None,
        because: text.clone(),
        how_to_see: String::new(),
    });
    let key = BuildHasherDefault::<DefaultHasher>::default();
    let redaction = Redaction::new(&case, &key);
    let redacted = redaction.apply(&case).expect("a case stays one");
    assert_eq!(redacted.gaps.len(), 2);
    let left = &redacted.gaps[1].because;
    let words = |text: &str| -> BTreeSet<String> {
        text.split(|sign: char| sign.is_whitespace() || "[](),;\"'".contains(sign))
            .map(str::to_lowercase)
            .collect()
    };
    let kept = words(left);
    for word in words(&text) {
        let hidden = word.parse::<std::net::IpAddr>().is_ok_and(|address| {
            let address = address.to_canonical();
            !address.is_loopback() && !address.is_unspecified()
        });
        assert!(!hidden || !kept.contains(&word), "{word} is left of {text:?} in {left:?}");
    }
    assert_eq!(Case::from_bytes(&redacted.to_bytes()).as_ref(), Ok(&redacted));
}
