//! Several changes of one file, each made from the same text: what all of them make of it together.

use similar::{DiffOp, TextDiff};
use std::ops::Range;

/// Lines that take the place of others.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hunk {
    old: Range<usize>,
    new: Vec<String>,
}

/// A text with all changes; none if two of them change the same lines, or put something in the same place, and differ.
pub(crate) fn merged<'a>(from: &str, all: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut hunks: Vec<Hunk> = Vec::new();
    for to in all {
        for hunk in hunks_of(from, to) {
            if !hunks.contains(&hunk) {
                hunks.push(hunk);
            }
        }
    }
    hunks.sort_by_key(|hunk| (hunk.old.start, hunk.old.end));
    let apart =
        hunks.is_sorted_by(|one, other| one.old.end <= other.old.start && one.old.start < other.old.start);
    if !apart {
        return None;
    }
    let lines: Vec<&str> = from.split_inclusive('\n').collect();
    let mut text = String::new();
    let mut at = 0;
    for hunk in hunks {
        text.extend(lines.get(at..hunk.old.start)?.iter().copied());
        text.extend(hunk.new);
        at = hunk.old.end;
    }
    text.extend(lines.get(at..)?.iter().copied());
    Some(text)
}

fn hunks_of(from: &str, to: &str) -> Vec<Hunk> {
    let old: Vec<&str> = from.split_inclusive('\n').collect();
    let new: Vec<&str> = to.split_inclusive('\n').collect();
    let diff = TextDiff::from_slices(&old, &new);
    // What lies between lines that stay.
    let (mut hunks, mut old_at, mut new_at) = (Vec::new(), 0, 0);
    let end = (old.len()..old.len(), new.len()..new.len());
    let equal = diff.ops().iter().filter(|op| matches!(op, DiffOp::Equal { .. }));
    for (old_stays, new_stays) in equal.map(|op| (op.old_range(), op.new_range())).chain([end]) {
        let lines = new.get(new_at..new_stays.start).unwrap_or_default();
        let hunk =
            Hunk { old: old_at..old_stays.start, new: lines.iter().map(|line| (*line).to_owned()).collect() };
        if !hunk.old.is_empty() || !hunk.new.is_empty() {
            hunks.push(hunk);
        }
        (old_at, new_at) = (old_stays.end, new_stays.end);
    }
    hunks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn changes_of_other_lines_are_all_made() {
        let from = "a\nb\nc\nd\n";
        assert_eq!(merged(from, ["a\nB\nc\nd\n", "a\nb\nc\nd\ne\n", "b\nc\nd\n"]).unwrap(), "B\nc\nd\ne\n");
        assert_eq!(merged(from, ["a\nB\nc\nd\n", "a\nB\nc\nD\n"]).unwrap(), "a\nB\nc\nD\n");
        assert_eq!(merged(from, []).unwrap(), from);
        assert_eq!(merged("a", ["a\nb"]).unwrap(), "a\nb");
    }

    #[test]
    fn changes_of_the_same_lines_are_not_guessed() {
        let from = "a\nb\nc\n";
        assert_eq!(merged(from, ["a\nB\nc\n", "a\nX\nc\n"]), None);
        assert_eq!(merged(from, ["a\nx\nb\nc\n", "a\ny\nb\nc\n"]), None);
        assert_eq!(merged(from, ["a\nc\n", "a\nB\nc\n"]), None);
        assert_eq!(merged(from, ["a\nx\nb\nc\n", "a\nB\nc\n"]), None, "before the line, or in its place?");
    }

    proptest! {
        #[test]
        fn one_change_is_itself(from in "[ab\n]{0,20}", to in "[ab\n]{0,20}") {
            prop_assert_eq!(merged(&from, [to.as_str()]), Some(to.clone()));
            prop_assert_eq!(merged(&from, [to.as_str(), to.as_str(), from.as_str()]), Some(to));
        }

        #[test]
        fn the_order_does_not_matter(from in "[a-c\n]{0,20}", one in "[a-c\n]{0,20}", other in "[a-c\n]{0,20}") {
            prop_assert_eq!(merged(&from, [one.as_str(), &other]), merged(&from, [other.as_str(), &one]));
        }
    }
}
