//! What `lastack fix` would write into the files of findings, as replacements of their text.

use config::{EditedFile, Sources};
use diagnose::{Change, Finding, ProgramChange, Remedy};
use evidence::Configuration;
use evidence::configuration::AS_INCLUDED;
use kernel::{Root, programs};
use report::{Fix, FixedFile, Replacement};
use similar::{DiffOp, TextDiff};
use std::collections::BTreeMap;

/// For each finding, what its remedies write into files. A remedy that cannot be written is advice, as it is said to
/// be. `files` are the configurations as they were read; `named` says what a file is called in the answer.
pub(super) fn fixes(
    findings: &[Finding],
    files: &[Configuration],
    named: impl Fn(&str) -> String,
) -> Vec<Vec<Fix>> {
    let mut read = Read { files, sources: BTreeMap::new() };
    let mut of = |finding: &Finding| {
        finding.remedies.iter().filter_map(|remedy| fix(remedy, &mut read, &named)).collect()
    };
    findings.iter().map(&mut of).collect()
}

/// The text of the configurations, each read once, when it is first changed.
struct Read<'a> {
    files: &'a [Configuration],
    sources: BTreeMap<usize, Option<Sources>>,
}

impl Read<'_> {
    fn sources(&mut self, number: usize) -> Option<&Sources> {
        let configuration = self.files.get(number)?;
        let read = || programs::sources(&Root::default(), configuration).ok();
        self.sources.entry(number).or_insert_with(read).as_ref()
    }
}

fn fix(remedy: &Remedy, read: &mut Read<'_>, named: impl Fn(&str) -> String) -> Option<Fix> {
    let edits: Vec<&ProgramChange> = remedy
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::Program(change) => Some(change),
            Change::Setting { .. } | Change::AtBoot { .. } => None,
        })
        .collect();
    let number = edits.first()?.configuration;
    // One program is told at a time.
    if edits.iter().any(|edit| edit.configuration != number) {
        return None;
    }
    let sources = read.sources(number)?;
    let edits: Vec<_> = edits.into_iter().map(|edit| edit.edit.clone()).collect();
    let edited = sources.edit(&edits).ok()?;
    let changed = edited.files.iter().map(|file| replaced(file, named(&file.path)));
    let changed: Vec<FixedFile> = changed.collect::<Option<_>>()?;
    (!changed.is_empty()).then(|| Fix { description: remedy.summary.clone(), files: changed })
}

/// The lines that change; none if they are not all in a file that is text.
fn replaced(file: &EditedFile, name: String) -> Option<FixedFile> {
    // What a part is taken to stand in is nobody's file.
    if file.path.ends_with(AS_INCLUDED) {
        return None;
    }
    let (before, after) = (std::str::from_utf8(&file.before).ok()?, std::str::from_utf8(&file.after).ok()?);
    let old: Vec<&str> = before.split_inclusive('\n').collect();
    let new: Vec<&str> = after.split_inclusive('\n').collect();
    // Line and column, from 1, of what comes behind so many lines.
    let place = |lines: usize| match old.get(lines.wrapping_sub(1)) {
        Some(last) if !last.ends_with('\n') => (lines, last.chars().count().saturating_add(1)),
        _ => (lines.saturating_add(1), 1),
    };
    let diff = TextDiff::from_slices(&old, &new);
    let changed = diff.ops().iter().filter(|op| !matches!(op, DiffOp::Equal { .. }));
    let replacements = changed.map(|op| Replacement {
        from: place(op.old_range().start),
        to: place(op.old_range().end),
        text: new.get(op.new_range()).unwrap_or_default().concat(),
    });
    Some(FixedFile { file: name, replacements: replacements.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_change_are_replaced_and_no_others() {
        let places = |before: &str, after: &str| {
            let file = EditedFile { path: "a".into(), before: before.into(), after: after.into() };
            let fixed = replaced(&file, "a".into()).unwrap();
            fixed.replacements.into_iter().map(|one| (one.from, one.to, one.text)).collect::<Vec<_>>()
        };
        assert_eq!(places("a\nb\nc\n", "a\nB\nc\n"), [((2, 1), (3, 1), "B\n".to_owned())]);
        assert_eq!(places("a\nc\n", "a\nb\nc\n"), [((2, 1), (2, 1), "b\n".to_owned())]);
        assert_eq!(places("a\nb\n", "a\n"), [((2, 1), (3, 1), String::new())]);
        assert_eq!(places("a\né", "a\nx"), [((2, 1), (2, 2), "x".to_owned())]);
        assert_eq!(places("a", "a\nb\n"), [((1, 1), (1, 2), "a\nb\n".to_owned())]);
        assert_eq!(places("", "b\n"), [((1, 1), (1, 1), "b\n".to_owned())]);
        let part = EditedFile { path: format!("a{AS_INCLUDED}"), before: b"a".into(), after: b"b".into() };
        assert_eq!(replaced(&part, "a".into()), None);
        let bytes = EditedFile { path: "a".into(), before: b"\xff".into(), after: b"b".into() };
        assert_eq!(replaced(&bytes, "a".into()), None);
    }
}
