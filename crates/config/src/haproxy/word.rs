//! Words of a line, as `parse_line()` (src/tools.c of HAProxy 2.4 and later) cuts them.

use crate::Span;
use std::borrow::Cow;

/// A word in its file.
#[derive(Clone, Copy, Debug)]
pub struct Word<'t> {
    raw: &'t [u8],
    span: Span,
}

/// What separates words; `isspace()` of C.
pub(super) fn blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// What ends a line for HAProxy, wherever it stands.
fn ends_line(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r' | 0)
}

/// Where the word that begins at `start` ends, and the quote that opens in it and does not close in its line.
pub(super) fn end_of_word(bytes: &[u8], start: usize) -> (usize, Option<usize>) {
    let mut at = start;
    let mut quote: Option<(u8, usize)> = None;
    while let Some(byte) = bytes.get(at).copied().filter(|byte| !ends_line(*byte)) {
        match (byte, quote) {
            (b'\\', None | Some((b'"', _))) if bytes.get(at + 1).is_some_and(|next| !ends_line(*next)) => {
                at += 1;
            }
            (b'"' | b'\'', None) => quote = Some((byte, at)),
            (_, Some((open, _))) if byte == open => quote = None,
            (b'#', None) => break,
            (_, None) if blank(byte) => break,
            _ => {}
        }
        at += 1;
    }
    (at, quote.map(|(_, at)| at))
}

impl<'t> Word<'t> {
    pub(super) fn new(raw: &'t [u8], span: Span) -> Self {
        Self { raw, span }
    }

    /// As it stands in the file, with quotes and backslashes.
    pub fn raw(self) -> &'t [u8] {
        self.raw
    }

    /// Where it is.
    pub fn span(self) -> Span {
        self.span
    }

    /// What it means: without its quotes, escapes as the bytes they stand for. Variables of the environment are left
    /// as they are written: their values are not in the file.
    pub fn value(self) -> Cow<'t, [u8]> {
        if !self.raw.iter().any(|byte| matches!(byte, b'"' | b'\'' | b'\\')) {
            return Cow::Borrowed(self.raw);
        }
        let mut value = Vec::with_capacity(self.raw.len());
        let mut quote = None;
        let mut rest = self.raw;
        while let [byte, after @ ..] = rest {
            rest = after;
            match (*byte, quote) {
                (b'\\', None | Some(b'"')) => {
                    let (escaped, length) = escape(after, quote.is_some());
                    value.push(escaped);
                    rest = after.get(length..).unwrap_or_default();
                }
                (open @ (b'"' | b'\''), None) => quote = Some(open),
                (close, Some(open)) if close == open => quote = None,
                (byte, _) => value.push(byte),
            }
        }
        Cow::Owned(value)
    }

    /// What it means, as text; bytes that are no UTF-8 are replaced.
    pub fn text(self) -> Cow<'t, str> {
        match self.value() {
            Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// True if its meaning depends on the environment of the process: `"${NAME}"` in double quotes.
    pub fn has_variable(self) -> bool {
        let mut quote = None;
        let mut bytes = self.raw.iter();
        while let Some(byte) = bytes.next() {
            match (*byte, quote) {
                (b'\\', None | Some(b'"')) => {
                    bytes.next();
                }
                (b'$', Some(b'"')) => return true,
                (open @ (b'"' | b'\''), None) => quote = Some(open),
                (close, Some(open)) if close == open => quote = None,
                _ => {}
            }
        }
        false
    }
}

/// The byte that a backslash and what follows it stand for, and how many of the bytes that follow belong to it.
pub(super) fn escape(after: &[u8], in_quotes: bool) -> (u8, usize) {
    let digit = |at: usize| after.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    match after.first() {
        Some(byte @ (b' ' | b'\\' | b'#' | b'"' | b'\'')) => (*byte, 1),
        Some(b'$') if in_quotes => (b'$', 1),
        Some(b't') => (b'\t', 1),
        Some(b'r') => (b'\r', 1),
        Some(b'n') => (b'\n', 1),
        Some(b'x') => match (digit(1), digit(2)) {
            (Some(high), Some(low)) => (u8::try_from(high * 16 + low).unwrap_or_default(), 3),
            _ => (b'\\', 0),
        },
        _ => (b'\\', 0),
    }
}
