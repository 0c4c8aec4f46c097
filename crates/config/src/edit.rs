//! Edits: bytes that take the place of others. What is not said stays as it is.

use crate::{Leaf, LeafKind, Span, Text};

/// Why an edit cannot be made. Nothing has been changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotEdit {
    /// What is to be changed is not there.
    #[error("{0} is not in these files: read them again")]
    Missing(String),
    /// The program would refuse the file already.
    #[error("{path}:{problem}: mend this first")]
    Broken {
        /// The file.
        path: String,
        /// What is wrong in it.
        problem: String,
    },
    /// What stands there is decided when a request comes, or when the program starts.
    #[error("{0} depends on a variable: it has to be changed by hand")]
    Variable(String),
    /// It is included in several places, where it would need different changes.
    #[error("{0} is included in several places that differ: it has to be changed by hand")]
    Shared(String),
    /// There is nothing that could do this.
    #[error("{0}")]
    Impossible(String),
    /// The result, read again, is not what was meant.
    #[error("the change of {0} did not come out as meant, and was not made")]
    Unproven(String),
}

/// A file before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EditedFile {
    /// Its path.
    pub path: String,
    /// All of it before.
    pub before: Vec<u8>,
    /// All of it after.
    pub after: Vec<u8>,
}

/// What takes the place of which bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Splices(Vec<(Span, Vec<u8>)>);

impl Splices {
    pub(crate) fn replace(&mut self, span: Span, with: impl Into<Vec<u8>>) {
        let splice = (span, with.into());
        if !self.0.contains(&splice) {
            self.0.push(splice);
        }
    }

    pub(crate) fn insert(&mut self, at: u32, text: impl Into<Vec<u8>>) {
        self.replace(Span { start: at, end: at }, text);
    }

    fn sorted(&self) -> Vec<&(Span, Vec<u8>)> {
        let mut sorted: Vec<_> = self.0.iter().collect();
        sorted.sort_by_key(|(span, _)| *span);
        sorted
    }

    /// The text with all of them.
    pub(crate) fn apply(&self, text: &Text) -> Vec<u8> {
        let bytes = text.bytes();
        let mut out = Vec::with_capacity(bytes.len());
        let mut at = 0;
        for (span, with) in self.sorted() {
            out.extend_from_slice(bytes.get(at..span.start as usize).unwrap_or_default());
            out.extend_from_slice(with);
            at = at.max(span.end as usize);
        }
        out.extend_from_slice(bytes.get(at..).unwrap_or_default());
        out
    }

    /// Where a byte is after them. One before which something is put moves on.
    pub(crate) fn moved(&self, offset: u32) -> u32 {
        let mut moved = i64::from(offset);
        for (span, with) in &self.0 {
            if span.end <= offset {
                moved += i64::try_from(with.len()).unwrap_or_default() - i64::from(span.end - span.start);
            }
        }
        u32::try_from(moved).unwrap_or(offset)
    }

    /// True if the leaves after are those before, but for the bytes that were replaced: so nothing ran into what stands
    /// beside it.
    pub(crate) fn hold(
        &self,
        before: (&Text, &[Leaf]),
        after: (&Text, &[Leaf]),
        parse: impl Fn(&[u8]) -> Vec<(LeafKind, Vec<u8>)>,
    ) -> bool {
        let apart = self.sorted().is_sorted_by(|(one, _), (other, _)| one.end <= other.start);
        if !apart {
            return false;
        }
        let content = |text: &Text, leaf: &Leaf| (leaf.kind, text.slice(leaf.span).to_vec());
        let mut expected = Vec::new();
        let mut leaves = before.1.iter().peekable();
        for (span, with) in self.sorted() {
            while let Some(leaf) = leaves.next_if(|leaf| leaf.span.end <= span.start) {
                expected.push(content(before.0, leaf));
            }
            while leaves.next_if(|leaf| leaf.span.start < span.end).is_some() {}
            expected.extend(parse(with));
        }
        expected.extend(leaves.map(|leaf| content(before.0, leaf)));
        after.1.iter().map(|leaf| content(after.0, leaf)).eq(expected)
    }
}

/// Where a line or a directive stands in its line.
pub(crate) struct Lines<'t> {
    text: &'t Text,
}

impl<'t> Lines<'t> {
    pub(crate) fn new(text: &'t Text) -> Self {
        Self { text }
    }

    /// The blanks before a byte, if nothing else stands before it in its line.
    pub(crate) fn indentation(&self, offset: u32) -> Option<&'t [u8]> {
        let line = self.text.line_of(offset);
        let before = self.text.slice(Span { start: line.start, end: offset });
        before.iter().all(|byte| matches!(byte, b' ' | b'\t')).then_some(before)
    }

    /// The end of the line of a byte, if only blanks and a comment stand after it in its line.
    pub(crate) fn free_until(&self, offset: u32) -> Option<u32> {
        let line = self.text.line_of(offset);
        let after = self.text.slice(Span { start: offset.min(line.end), end: line.end });
        let first = after.iter().find(|byte| !matches!(byte, b' ' | b'\t'));
        first.is_none_or(|byte| *byte == b'#').then_some(line.end)
    }

    /// What to take away so that nothing of these bytes stays: with their line, if they have it for themselves; a
    /// comment behind them stays.
    pub(crate) fn removal(&self, span: Span) -> Span {
        let first = self.text.line_of(span.start);
        let last = self.text.line_of(span.end);
        let alone = self.indentation(span.start).is_some();
        let behind = self.text.slice(Span { start: span.end, end: last.end });
        let blanks = behind.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let end = span.end.saturating_add(u32::try_from(blanks).unwrap_or_default());
        if alone && blanks == behind.len() {
            let next = u32::try_from(self.text.next_line(span.end)).unwrap_or(span.end);
            return Span { start: first.start, end: next };
        }
        // What stands before it keeps its blanks, unless nothing follows.
        Span { start: span.start, end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &str) -> Text {
        Text::new(bytes.as_bytes().to_vec())
    }

    #[test]
    fn places_move_with_what_is_put_before_them() {
        let text = text("one two three");
        let mut splices = Splices::default();
        splices.replace(Span { start: 4, end: 7 }, "2");
        splices.insert(0, "zero ");
        splices.insert(0, "zero ");
        assert_eq!(splices.apply(&text), b"zero one 2 three");
        assert_eq!((splices.moved(0), splices.moved(8)), (5, 11));
    }

    #[test]
    fn what_is_removed_takes_its_line_with_it_if_it_is_alone() {
        let removed = |all: &str, part: &str| {
            let text = text(all);
            let start = all.find(part).unwrap();
            let mut splices = Splices::default();
            splices.replace(Lines::new(&text).removal(Span::new(start, start + part.len())), "");
            String::from_utf8(splices.apply(&text)).unwrap()
        };
        assert_eq!(removed("a;\n  b;\nc;\n", "b;"), "a;\nc;\n");
        assert_eq!(removed("a;\r\n  b;\t\r\nc;\r\n", "b;"), "a;\r\nc;\r\n");
        assert_eq!(removed("a;\n  b; # why\nc;\n", "b;"), "a;\n  # why\nc;\n");
        assert_eq!(removed("a; b; c;\n", "b;"), "a; c;\n");
        assert_eq!(removed("b;", "b;"), "");
    }
}
