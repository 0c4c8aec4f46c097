//! The report as JSON, and the schema of that JSON.

use crate::Report;
use crate::visible::is_plain;
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use std::io::{self, Write};

/// Writes a value as one line of JSON. What a terminal would obey or hide is written as `\u` escapes, so that
/// the line is as harmless on a screen as it is in a pipe; the value that a reader gets is the same.
pub fn write_json<T: Serialize>(value: &T, out: &mut impl Write) -> io::Result<()> {
    value.serialize(&mut Serializer::with_formatter(&mut *out, Harmless))?;
    out.write_all(b"\n")
}

/// The JSON Schema (draft 2020-12) of a report.
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(Report).to_value()
}

struct Harmless;

impl Formatter for Harmless {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        if fragment.is_ascii() && !fragment.contains('\u{7f}') {
            // serde_json has escaped the other controls of ASCII.
            return out.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some(place) = rest.find(|letter| !is_plain(letter)) {
            let (plain, odd) = rest.split_at(place);
            out.write_all(plain.as_bytes())?;
            let Some(letter) = odd.chars().next() else { break };
            for unit in letter.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            rest = &odd[letter.len_utf8()..];
        }
        out.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped_and_reads_back_the_same() {
        let name = "a\u{1b}[2J\u{9b}31m\u{202e}\u{7f}\u{e0041}é中\n\"";
        let mut line = Vec::new();
        write_json(&name, &mut line).unwrap();
        let line = String::from_utf8(line).unwrap();
        assert!(line.trim_end().chars().all(is_plain), "{line}");
        assert!(line.contains("é中"), "{line}");
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), name);
    }
}
