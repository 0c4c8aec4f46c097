//! Text from outside, made harmless before it reaches a terminal.
//!
//! A process may call itself `\x1b[2J`, a namespace may hold a right-to-left override, a case may have been
//! edited by anyone. Nothing of that may move the cursor, hide a line or turn one around.

use std::borrow::Cow;
use std::fmt::Write as _;
use unicode_width::UnicodeWidthChar as _;

/// The text with everything that a terminal would obey, hide or reorder written as an escape: `\n`,
/// `\u{1b}`, `\u{202e}`. Other text stays as it is.
pub fn visible(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if is_plain(letter) {
            shown.push(letter);
        } else {
            shown.extend(letter.escape_default());
        }
    }
    Cow::Owned(shown)
}

/// Neither a control character nor one that Unicode calls default-ignorable or a bidirectional control
/// (Unicode 16 `DerivedCoreProperties.txt` and UAX 9 table 4): those have no width of their own.
pub(crate) fn is_plain(letter: char) -> bool {
    if letter.is_ascii() {
        return !letter.is_ascii_control();
    }
    !(letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'))
}

/// Columns that a text takes on a terminal.
pub(crate) fn columns(text: &str) -> usize {
    text.chars().map(letter_columns).sum()
}

fn letter_columns(letter: char) -> usize {
    letter.width().unwrap_or(0)
}

/// At most so many columns of a text, with `…` for what is cut off.
pub(crate) fn clip(text: &str, most: usize) -> Cow<'_, str> {
    // A text of few bytes has few columns and few combining marks.
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    let (mut taken, mut letters) = (0, 0);
    for (place, letter) in text.char_indices() {
        taken += letter_columns(letter);
        letters += 1;
        // Marks that take no column are limited as well: at most four a column.
        if taken > most || letters > most.saturating_mul(4) {
            let mut cut = &text[..place];
            while columns(cut) + 1 > most
                && let Some((last, _)) = cut.char_indices().next_back()
            {
                cut = &cut[..last];
            }
            return Cow::Owned(format!("{cut}…"));
        }
    }
    Cow::Borrowed(text)
}

/// Breaks a text into lines, the first of `first` columns and the others of `rest`, at spaces where there
/// are any and inside a word that is longer than a line.
pub(crate) fn wrap(text: &str, first: usize, rest: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_ascii_whitespace() {
        let room = if lines.len() == 1 { first } else { rest };
        let width = columns(word);
        let gap = usize::from(used > 0);
        if used + gap + width <= room {
            append(&mut lines, if gap == 1 { " " } else { "" }, word);
            used += gap + width;
            continue;
        }
        if used > 0 || first < rest && width > first {
            lines.push(String::new());
        }
        used = append_long(&mut lines, word, first, rest);
    }
    lines
}

fn append(lines: &mut [String], gap: &str, word: &str) {
    if let Some(line) = lines.last_mut() {
        line.push_str(gap);
        line.push_str(word);
    }
}

/// Puts a word on an empty line and on as many more as it needs; the columns used on the last.
fn append_long(lines: &mut Vec<String>, word: &str, first: usize, rest: usize) -> usize {
    let mut used = 0;
    for letter in word.chars() {
        let room = if lines.len() == 1 { first } else { rest };
        let width = letter_columns(letter);
        if used > 0 && used + width > room {
            lines.push(String::new());
            used = 0;
        }
        if let Some(line) = lines.last_mut() {
            line.push(letter);
        }
        used += width;
    }
    used
}

/// Breaks a shell command into lines that can be pasted as they stand: only at spaces outside quotes, each
/// line but the last ending in ` \`. A word or a quoted part that is longer than a line stays whole, because
/// a break inside it would change the command.
pub(crate) fn wrap_command(command: &str, first: usize, rest: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    let words = shell_words(command);
    let count = words.len();
    let mut used = 0;
    for (place, word) in words.into_iter().enumerate() {
        let room = if lines.len() == 1 { first } else { rest };
        let continuation = if place + 1 < count { 2 } else { 0 };
        let width = columns(word);
        if used > 0 && used + 1 + width + continuation > room {
            append(&mut lines, " ", "\\");
            lines.push(String::new());
            used = 0;
        }
        append(&mut lines, if used > 0 { " " } else { "" }, word);
        used += usize::from(used > 0) + width;
    }
    lines
}

/// The words of a command, quotes kept with what they hold.
fn shell_words(command: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut start, mut quote, mut escaped) = (None, None, false);
    for (place, letter) in command.char_indices() {
        match (quote, letter) {
            (None, ' ') if !escaped => {
                words.extend(start.take().map(|start| &command[start..place]));
                continue;
            }
            (None, '\'' | '"') if !escaped => quote = Some(letter),
            (Some(open), _) if letter == open && !escaped => quote = None,
            _ => {}
        }
        escaped = letter == '\\' && !escaped && quote != Some('\'');
        start.get_or_insert(place);
    }
    words.extend(start.map(|start| &command[start..]));
    words
}

/// A word as a POSIX shell reads it back unchanged.
pub fn shell_quoted(word: &str) -> Cow<'_, str> {
    let safe = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=,@%+".contains(letter);
    if !word.is_empty() && word.chars().all(safe) {
        return Cow::Borrowed(word);
    }
    let mut quoted = String::with_capacity(word.len() + 2);
    let _ = write!(quoted, "'{}'", word.replace('\'', r"'\''"));
    Cow::Owned(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        assert_eq!(visible("nginx: worker"), "nginx: worker");
        assert_eq!(visible("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(visible("\u{9b}31m\u{7f}"), "\\u{9b}31m\\u{7f}");
        assert_eq!(visible("x\u{202e}cod.exe"), "x\\u{202e}cod.exe");
        assert_eq!(visible("caf\u{e9} \u{4e2d}\u{6587}"), "caf\u{e9} \u{4e2d}\u{6587}");
    }

    #[test]
    fn clipping_counts_columns_not_letters() {
        assert_eq!(clip("abcdef", 6), "abcdef");
        assert_eq!(clip("abcdefg", 6), "abcde…");
        assert_eq!(clip("\u{4e2d}\u{6587}\u{4e2d}\u{6587}", 5), "\u{4e2d}\u{6587}…");
        assert!(clip(&"e\u{301}".repeat(4), 4).contains('e'));
        assert!(clip(&"\u{301}".repeat(1_000), 10).chars().count() <= 41);
    }

    #[test]
    fn lines_break_at_spaces_and_inside_long_words_only() {
        assert_eq!(wrap("closed in TIME-WAIT here", 9, 12), ["closed in", "TIME-WAIT", "here"]);
        assert_eq!(wrap("abcdefghij k", 4, 4), ["abcd", "efgh", "ij k"]);
        assert_eq!(wrap("", 4, 4), [""]);
        assert_eq!(wrap("ab", 0, 0), ["a", "b"]);
    }

    #[test]
    fn a_broken_command_is_still_the_command() {
        assert_eq!(wrap_command("ss -tan state time-wait", 80, 80), ["ss -tan state time-wait"]);
        assert_eq!(wrap_command("ss -tan state time-wait", 12, 14), ["ss -tan \\", "state \\", "time-wait"]);
        assert_eq!(wrap_command("ss '( dport = :80 )'", 8, 8), ["ss \\", "'( dport = :80 )'"]);
        assert_eq!(wrap_command("echo it\\'s a", 8, 8), ["echo \\", "it\\'s a"]);
    }

    #[test]
    fn quoting_survives_quotes() {
        assert_eq!(shell_quoted("net.ipv4.tcp_fin_timeout=60"), "net.ipv4.tcp_fin_timeout=60");
        assert_eq!(shell_quoted("a=1 2"), "'a=1 2'");
        assert_eq!(shell_quoted("it's"), r"'it'\''s'");
        assert_eq!(shell_quoted(""), "''");
    }

    proptest! {
        #[test]
        fn no_line_is_too_long_and_no_letter_is_lost(text in "\\PC{0,200}", first in 2_usize..60, rest in 2_usize..60) {
            let text = visible(&text).into_owned();
            let lines = wrap(&text, first, rest);
            for (place, line) in lines.iter().enumerate() {
                prop_assert!(columns(line) <= if place == 0 { first } else { rest }, "{line:?}");
            }
            let kept = |text: &str| text.chars().filter(|letter| !letter.is_ascii_whitespace()).collect::<String>();
            prop_assert_eq!(kept(&lines.concat()), kept(&text));
        }

        #[test]
        fn continued_commands_join_to_the_command(words in prop::collection::vec("[a-z'\"(]{1,12}", 1..12), width in 1_usize..40) {
            let command = words.join(" ");
            prop_assert_eq!(wrap_command(&command, width, width).join("\n").replace(" \\\n", " "), command);
        }

        #[test]
        fn a_clipped_text_fits(text in "\\PC{0,80}", most in 1_usize..40) {
            prop_assert!(columns(&clip(&visible(&text), most)) <= most);
        }
    }
}
