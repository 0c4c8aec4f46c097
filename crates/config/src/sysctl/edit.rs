//! Settings in one file of `sysctl.d`.

use super::{Assignment, Tree, normalized};
use crate::edit::{CannotEdit, EditedFile, Lines, Splices};
use crate::nginx::shown;
use crate::{LeafKind, Place};
use evidence::FilePlace;

/// What is to be changed in files that people wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An assignment goes, with its line; comments stay.
    Remove {
        /// The place of the assignment.
        line: FilePlace,
    },
}

/// Makes changes, whose places are those before all of them. The files that are not what they were.
pub fn edit(files: &[(String, Tree)], changes: &[Change]) -> Result<Vec<EditedFile>, CannotEdit> {
    let mut edited = Vec::new();
    for (number, (path, tree)) in (0_u32..).zip(files) {
        let mut splices = Splices::default();
        let mut gone = Vec::new();
        for Change::Remove { line } in changes.iter().filter(|Change::Remove { line }| line.file == number) {
            let start = tree.text().offset(Place { line: line.line, column: line.column });
            let found = tree.assignments().find(|one| Some(one.span().start) == start);
            let missing = || CannotEdit::Missing(format!("a setting at line {}", line.line));
            let span = found.ok_or_else(missing)?.span();
            splices.replace(Lines::new(tree.text()).removal(span), "");
            gone.push(span.start);
        }
        if gone.is_empty() {
            continue;
        }
        let after = Tree::parse(splices.apply(tree.text()));
        if !said(tree, &gone).eq(said(&after, &[])) || after.problems().len() > tree.problems().len() {
            return Err(CannotEdit::Unproven(shown(path)));
        }
        edited.push(EditedFile { path: path.clone(), before: tree.to_bytes(), after: after.to_bytes() });
    }
    if let Some(Change::Remove { line }) =
        changes.iter().find(|Change::Remove { line }| line.file as usize >= files.len())
    {
        return Err(CannotEdit::Missing(format!("file {}", line.file)));
    }
    Ok(edited)
}

/// What the assignments say but those that begin at these bytes: key, value, and whether it may fail.
fn said<'t>(tree: &'t Tree, without: &'t [u32]) -> impl Iterator<Item = (&'t [u8], Option<&'t [u8]>, bool)> {
    let text = tree.text();
    let kept = tree.assignments().filter(|one| !without.contains(&one.span().start));
    kept.map(|one| {
        (text.slice(one.key_span()), one.value_span().map(|span| text.slice(span)), one.may_fail())
    })
}

/// The file with a setting: its value is replaced where it is set last, or it is added at the end, below a comment that
/// says why.
///
/// ```
/// use config::sysctl::{Tree, set};
/// let empty = Tree::parse("");
/// let after = set(&empty, "net.ipv4.ip_local_port_range", "10240 65535", "more ports for the proxy").unwrap();
/// assert_eq!(after, b"# more ports for the proxy\nnet.ipv4.ip_local_port_range = 10240 65535\n");
/// ```
pub fn set(tree: &Tree, key: &str, value: &str, why: &str) -> Result<Vec<u8>, CannotEdit> {
    let name = normalized(key);
    let line = format!("{key} = {value}");
    let check = Tree::parse(line.as_str());
    let says = check.assignments().map(|one| (one.name(), one.value().map(std::borrow::Cow::into_owned)));
    if !says.eq([(name.clone(), Some(value.to_owned()))]) || why.contains(['\n', '\r', '\0']) {
        return Err(CannotEdit::Impossible(format!(
            "`{}` is not one setting with a comment of one line",
            shown(&line)
        )));
    }
    let text = tree.text();
    let mut splices = Splices::default();
    let last = tree.assignments().filter(|one| one.name() == name && one.value().is_some()).last();
    if let Some(old) = last {
        let end = old.span().end;
        match old.value_span() {
            Some(span) if span.start < span.end => splices.replace(span, value),
            // Nothing stands behind its equals sign.
            _ => splices.insert(after_equals(tree, old).unwrap_or(end), format!(" {value}")),
        }
    } else {
        let (bytes, eol) = (text.bytes(), text.line_ending());
        let apart = if bytes.is_empty() || bytes.ends_with(b"\n") { "" } else { eol };
        let comment = if why.is_empty() { String::new() } else { format!("# {why}{eol}") };
        let end = u32::try_from(text.read().len()).unwrap_or(u32::MAX);
        splices.insert(end, format!("{apart}{comment}{line}{eol}"));
    }
    prove(tree, &splices, &name, Some(value))
}

/// The file without a setting, and without the comment lines just above it, up to a blank line or another setting.
pub fn unset(tree: &Tree, key: &str) -> Result<Vec<u8>, CannotEdit> {
    let name = normalized(key);
    let text = tree.text();
    let lines = Lines::new(text);
    let mut splices = Splices::default();
    for one in tree.assignments().filter(|one| one.name() == name) {
        let mut removal = lines.removal(one.span());
        while let Some(comment) = comment_above(tree, removal.start) {
            removal.start = comment;
        }
        splices.replace(removal, "");
    }
    prove(tree, &splices, &name, None)
}

/// Where the line above begins, if it is a comment.
fn comment_above(tree: &Tree, start: u32) -> Option<u32> {
    let above = tree.text().line_of(start.checked_sub(1)?);
    let comments = tree.leaves().iter().filter(|leaf| leaf.kind == LeafKind::Comment);
    let mut within = comments.filter(|leaf| above.start <= leaf.span.start && leaf.span.end <= above.end);
    within.next().map(|_| above.start)
}

fn after_equals(tree: &Tree, one: Assignment<'_>) -> Option<u32> {
    let mark = tree
        .leaves()
        .iter()
        .find(|leaf| leaf.kind == LeafKind::Mark && leaf.span.start >= one.key_span().end);
    mark.map(|leaf| leaf.span.end)
}

/// The new bytes, if they say of this setting what was meant, and of all others what they said.
fn prove(tree: &Tree, splices: &Splices, name: &str, value: Option<&str>) -> Result<Vec<u8>, CannotEdit> {
    let after = Tree::parse(splices.apply(tree.text()));
    let others = |tree: &Tree| -> Vec<(String, Option<String>)> {
        let others = tree.assignments().filter(|one| one.name() != name);
        others.map(|one| (one.name(), one.value().map(std::borrow::Cow::into_owned))).collect()
    };
    let last = after.assignments().filter(|one| one.name() == name).last();
    let said = last.and_then(Assignment::value);
    if said.as_deref() == value
        && others(tree) == others(&after)
        && after.problems().len() <= tree.problems().len()
    {
        return Ok(after.to_bytes());
    }
    Err(CannotEdit::Unproven(shown(name)))
}
