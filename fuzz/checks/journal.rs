//! A journal is what a crash, a bad disk or an editor left.

use remedy::Story;

/// Any bytes are read to an end; records that count are whole lines, and a journal that is cut off anywhere tells the
/// beginning of the same story.
pub(crate) fn journal(bytes: &[u8]) {
    let story = Story::parse(bytes);
    let lines = bytes.split(|byte| *byte == b'\n').count() - 1;
    assert!(story.records.len() <= lines);
    assert!(story.damaged.is_none_or(|line| (1..=lines).contains(&line)));
    let cut = Story::parse(bytes.get(..bytes.len() / 2).unwrap_or_default());
    assert!(story.records.starts_with(&cut.records));
    // Whoever settles it asks these.
    let _ = (story.begin(), story.decision(), story.ended(), story.measured(), story.undone().count());
}
