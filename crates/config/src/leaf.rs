//! Leaves: what a file consists of, blanks aside. They lie in order, apart from each other, and only blanks lie
//! between them; so a tree that is written leaf by leaf, with the blanks between, is the file.

use crate::{Span, Text};

/// How many leaves a tree has at most. A file of a million directives is a generated one, and reading it is not
/// worth a gigabyte.
pub const MAX_LEAVES: usize = 1 << 22;

/// What a leaf is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeafKind {
    /// A word, with its quotes and escapes.
    Word,
    /// A mark between words: `;`, `{`, `}`, `=`.
    Mark,
    /// A comment, without its line ending.
    Comment,
    /// Text in another language: what stands between the braces of a Lua block.
    Code,
    /// Bytes that mean nothing where they stand.
    Stray,
}

/// A piece of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Where it is.
    pub span: Span,
    /// What it is.
    pub kind: LeafKind,
}

/// Writes leaves and the blanks between them.
pub(crate) fn write(text: &Text, leaves: &[Leaf]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.bytes().len());
    let mut at = 0;
    for leaf in leaves {
        out.extend_from_slice(text.slice(Span { start: at, end: leaf.span.start }));
        out.extend_from_slice(text.slice(leaf.span));
        at = leaf.span.end;
    }
    out.extend_from_slice(text.read().get(at as usize..).unwrap_or_default());
    out.extend_from_slice(text.unread());
    out
}

/// Why these leaves are not the text: the first that overlaps another, or the first byte between two of them that
/// is no blank. None if all is as it must be.
pub(crate) fn fault(text: &Text, leaves: &[Leaf], blank: fn(u8) -> bool) -> Option<String> {
    let mut at = 0;
    let end = Leaf { span: Span::new(text.read().len(), text.read().len()), kind: LeafKind::Stray };
    for leaf in leaves.iter().chain([&end]) {
        let Span { start, end } = leaf.span;
        if start < at || end < start || end as usize > text.read().len() {
            return Some(format!("a leaf at {start}..{end} after one that ends at {at}"));
        }
        let between = text.slice(Span { start: at, end: start });
        if let Some(byte) = between.iter().find(|byte| !blank(**byte)) {
            return Some(format!("byte {byte:#04x} between {at} and {start} is in no leaf"));
        }
        at = end;
    }
    None
}

/// The UTF-8 byte order mark.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
