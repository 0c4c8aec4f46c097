//! A pasted text: as it came, made readable, and cut into lines.

use crate::lead;
use std::borrow::Cow;

/// One text with the name that people know it by: a file's.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// What errors and gaps call it.
    pub name: &'a str,
    /// What is in it: UTF-8 as most shells write it, or UTF-16 as `netstat > file` in PowerShell does.
    pub bytes: &'a [u8],
    /// The command that wrote it, where that is known from elsewhere. Then it may also say nothing.
    pub command: Option<&'a str>,
}

impl<'a> Text<'a> {
    /// A text that somebody pasted.
    pub fn pasted(name: &'a str, bytes: &'a [u8]) -> Self {
        Self { name, bytes, command: None }
    }

    /// What a command wrote.
    pub fn written_by(command: &'a str, name: &'a str, bytes: &'a [u8]) -> Self {
        Self { name, bytes, command: Some(command) }
    }
}

/// The characters of a text: without colours, without a mark of byte order, without what stands before its lines.
pub(crate) fn characters(bytes: &[u8]) -> Cow<'_, str> {
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] => Cow::Owned(wide(rest, u16::from_le_bytes)),
        [0xfe, 0xff, rest @ ..] => Cow::Owned(wide(rest, u16::from_be_bytes)),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest),
        _ => String::from_utf8_lossy(bytes),
    };
    let text = match memchr::memchr(0x1b, text.as_bytes()) {
        Some(_) => Cow::Owned(without_colours(&text)),
        None => text,
    };
    lead::without(lead::without_entities(text))
}

fn wide(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    char::decode_utf16(units).map(|read| read.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// Terminals colour what `ss` and `ip` write, and prompts: ESC, `[`, parameters, a letter (ECMA-48 5.4).
fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut parts = text.split('\u{1b}');
    plain.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let rest = part.strip_prefix('[').map_or(part, |sequence| {
            let end = sequence.find(|letter: char| ('\u{40}'..='\u{7e}').contains(&letter));
            end.map_or("", |end| sequence.get(end + 1..).unwrap_or_default())
        });
        plain.push_str(rest);
    }
    plain
}

/// A line and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// Counted from 1.
    pub(crate) number: u32,
    /// The byte at which it begins.
    pub(crate) start: usize,
    /// The byte after it and its line break.
    pub(crate) end: usize,
    /// What it says, without the white space at its end.
    pub(crate) says: &'a str,
}

/// The lines of a text, or of a part of it that begins at byte `start` with line `number`.
pub(crate) fn lines(text: &str, mut start: usize, mut number: u32) -> impl Iterator<Item = Line<'_>> {
    std::iter::from_fn(move || {
        let rest = text.get(start..).filter(|rest| !rest.is_empty())?;
        let length = memchr::memchr(b'\n', rest.as_bytes()).map_or(rest.len(), |at| at + 1);
        let line = Line {
            number,
            start,
            end: start + length,
            says: rest.get(..length).unwrap_or_default().trim_end(),
        };
        (start, number) = (line.end, number.saturating_add(1));
        Some(line)
    })
}

/// What a message quotes of a line: its beginning, without control characters.
pub(crate) fn quoted(line: &str) -> String {
    const MOST: usize = 60;
    let mut shown: String = line.trim().chars().take(MOST).flat_map(char::escape_debug).collect();
    if line.trim().chars().nth(MOST).is_some() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_however_they_were_saved() {
        let utf16 = |mark: [u8; 2], unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
            mark.into_iter().chain("TCP é\r\n".encode_utf16().flat_map(unit)).collect()
        };
        assert_eq!(characters(&utf16([0xff, 0xfe], u16::to_le_bytes)), "TCP é\r\n");
        assert_eq!(characters(&utf16([0xfe, 0xff], u16::to_be_bytes)), "TCP é\r\n");
        assert_eq!(characters(b"\xef\xbb\xbfTCP"), "TCP");
        assert_eq!(characters(b"\x1b[01;32mESTAB\x1b[0m 0\x1b[1"), "ESTAB 0");
        assert_eq!(characters(b"ESTAB \xff"), "ESTAB \u{fffd}");
    }

    #[test]
    fn lines_know_their_place() {
        let text = "a\r\n\nb  \nc";
        let all: Vec<_> = lines(text, 0, 1).map(|line| (line.number, line.says)).collect();
        assert_eq!(all, [(1, "a"), (2, ""), (3, "b"), (4, "c")]);
        let rest: Vec<_> = lines(text, 4, 3).map(|line| (line.number, line.says)).collect();
        assert_eq!(rest, [(3, "b"), (4, "c")]);
    }
}
