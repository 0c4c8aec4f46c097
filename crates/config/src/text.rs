//! The bytes of a file, and where in them something stands.

use std::fmt;

/// How many bytes of a file are read. Generated maps and lists of networks reach a few megabytes; what lies beyond
/// is kept as it is, and said.
pub const MAX_BYTES: usize = 16 << 20;

/// A run of bytes: `start..end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        // Offsets lie below `MAX_BYTES`; an offset beyond is never made.
        Self { start: u32::try_from(start).unwrap_or(u32::MAX), end: u32::try_from(end).unwrap_or(u32::MAX) }
    }

    /// As a range of indexes.
    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A line and a column, both from 1. The column counts bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line, from 1.
    pub line: u32,
    /// Byte in its line, from 1.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// The bytes of a file with the beginnings of its lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    bytes: Vec<u8>,
    /// Where each line begins, in the part that is read; the first at 0.
    lines: Vec<u32>,
}

impl Text {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let read = bytes.get(..MAX_BYTES).unwrap_or(&bytes);
        let ends = memchr::memchr_iter(b'\n', read);
        let lines = std::iter::once(0).chain(ends.map(|end| u32::try_from(end + 1).unwrap_or(u32::MAX)));
        Self { lines: lines.collect(), bytes }
    }

    /// All bytes, as they were given.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The part that is read: all but what is beyond [`MAX_BYTES`].
    pub(crate) fn read(&self) -> &[u8] {
        self.bytes.get(..MAX_BYTES).unwrap_or(&self.bytes)
    }

    /// The part beyond [`MAX_BYTES`].
    pub(crate) fn unread(&self) -> &[u8] {
        self.bytes.get(MAX_BYTES..).unwrap_or_default()
    }

    /// The bytes of a span; empty if it lies outside.
    pub fn slice(&self, span: Span) -> &[u8] {
        self.bytes.get(span.range()).unwrap_or_default()
    }

    /// Line and column of a byte.
    pub fn place(&self, offset: u32) -> Place {
        let line = self.lines.partition_point(|start| *start <= offset).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or_default();
        Place {
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: offset.saturating_sub(start).saturating_add(1),
        }
    }

    /// The byte at a line and a column; none if there is no such line.
    pub(crate) fn offset(&self, place: Place) -> Option<u32> {
        let line = usize::try_from(place.line).ok()?.checked_sub(1)?;
        self.lines.get(line)?.checked_add(place.column.checked_sub(1)?)
    }

    /// The line that a byte is in, without its line ending.
    pub(crate) fn line_of(&self, offset: u32) -> Span {
        let line = self.lines.partition_point(|start| *start <= offset).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or_default() as usize;
        let end = self.lines.get(line).map_or(self.read().len(), |next| *next as usize - 1);
        let end = if end > start && self.bytes.get(end - 1) == Some(&b'\r') { end - 1 } else { end };
        Span::new(start, end)
    }

    /// Where the line after the one that a byte is in begins; the end of the text if there is none.
    pub(crate) fn next_line(&self, offset: u32) -> usize {
        let line = self.lines.partition_point(|start| *start <= offset);
        self.lines.get(line).map_or(self.read().len(), |next| *next as usize)
    }

    /// What ends most lines here: `\n`, or `\r\n`.
    pub fn line_ending(&self) -> &'static str {
        let ends = memchr::memchr_iter(b'\n', self.read());
        let (mut plain, mut carriage) = (0_usize, 0_usize);
        for end in ends {
            if end > 0 && self.bytes.get(end - 1) == Some(&b'\r') {
                carriage += 1;
            } else {
                plain += 1;
            }
        }
        if carriage > plain { "\r\n" } else { "\n" }
    }
}

/// Something that the program itself would refuse, or that could not be read. The rest of the tree stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What is wrong there.
    pub what: String,
}

/// Problems, as many as are worth reading.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    found: Vec<Problem>,
    more: usize,
}

impl Problems {
    const MOST: usize = 50;

    pub(crate) fn add(&mut self, text: &Text, offset: usize, what: impl Into<String>) {
        if self.found.len() < Self::MOST {
            let place = text.place(u32::try_from(offset).unwrap_or(u32::MAX));
            self.found.push(Problem { place, what: what.into() });
        } else {
            self.more += 1;
        }
    }

    pub(crate) fn into_vec(mut self) -> Vec<Problem> {
        if self.more > 0
            && let Some(last) = self.found.last()
        {
            let place = last.place;
            self.found.push(Problem { place, what: format!("{} more problems after this one", self.more) });
        }
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_from_one() {
        let text = Text::new(b"ab\r\ncd\n".to_vec());
        let places: Vec<_> = (0..8).map(|offset| text.place(offset).to_string()).collect();
        assert_eq!(places, ["1:1", "1:2", "1:3", "1:4", "2:1", "2:2", "2:3", "3:1"]);
        assert_eq!(text.slice(text.line_of(1)), b"ab");
        assert_eq!(text.slice(text.line_of(5)), b"cd");
        assert_eq!((text.next_line(1), text.next_line(5), text.next_line(7)), (4, 7, 7));
        assert!((0..8).all(|offset| text.offset(text.place(offset)) == Some(offset)));
        assert_eq!(text.offset(Place { line: 9, column: 1 }), None);
    }

    #[test]
    fn the_line_ending_is_what_most_lines_have() {
        assert_eq!(Text::new(b"a\r\nb\r\nc\n".to_vec()).line_ending(), "\r\n");
        assert_eq!(Text::new(b"a".to_vec()).line_ending(), "\n");
    }
}
