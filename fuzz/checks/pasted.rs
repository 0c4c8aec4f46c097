//! Pasted text comes from anyone, cut short, and with anything in it.

use crate::case;
use pasted::{Text, read};

/// Any text is refused in one line that names it, or gives a case that is the same each time, that survives its file,
/// and with which all holds that holds for cases. No socket is counted that has no line.
pub(crate) fn pasted(bytes: &[u8]) {
    let text = Text::pasted("ticket.txt", bytes);
    let found = match read(&[text], 7) {
        Ok(found) => found,
        Err(error) => {
            let said = error.to_string();
            assert!(said.starts_with("ticket.txt: ") && said.len() < 1_000, "{said:?}");
            assert!(!said.chars().any(char::is_control), "{said:?}");
            return;
        }
    };
    assert_eq!(read(&[text], 7).as_ref(), Ok(&found));
    let lines = bytes.split(|byte| *byte == b'\n').count() as u64;
    let sockets: u64 = found.namespaces.iter().map(|namespace| namespace.sockets.by_state.total()).sum();
    assert!(sockets <= lines, "{sockets} sockets in {lines} lines");
    // The same text twice is one host, and no socket more.
    let twice = read(&[text, Text::pasted("again.txt", bytes)], 7).expect("the text was read before");
    for (once, twice) in found.namespaces.iter().zip(&twice.namespaces) {
        assert_eq!(once.sockets.by_state, twice.sockets.by_state);
    }
    case::case(&found.to_bytes());
}
