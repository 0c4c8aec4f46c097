//! From bytes to words and marks, as `ngx_conf_read_token()` (src/core/ngx_conf_file.c) cuts them.

use crate::{LeafKind, Span};

/// What the lexer found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A leaf.
    Leaf(LeafKind, Span),
    /// A word with this quote at its beginning and none at its end: it reaches to the end of the file.
    Unclosed(Span),
    /// A byte that follows a closing quote; the next token begins with it.
    Unexpected(usize),
}

/// Reads tokens one after another.
pub(super) struct Lexer<'t> {
    bytes: &'t [u8],
    at: usize,
    /// A quoted word has just ended: a blank or a mark must follow.
    after_quote: bool,
}

/// What may stand between two leaves.
pub(super) fn blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

impl<'t> Lexer<'t> {
    pub(super) fn new(bytes: &'t [u8], at: usize) -> Self {
        Self { bytes, at, after_quote: false }
    }

    /// Where the next token will be looked for.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Goes on elsewhere: after what another lexer has read.
    pub(super) fn skip_to(&mut self, at: usize) {
        self.at = at;
        self.after_quote = false;
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn mark(&mut self, start: usize) -> Token {
        self.at = start + 1;
        Token::Leaf(LeafKind::Mark, Span::new(start, self.at))
    }

    pub(super) fn next(&mut self) -> Option<Token> {
        let after_quote = std::mem::take(&mut self.after_quote);
        let before = self.at;
        while self.peek().is_some_and(blank) {
            self.at += 1;
        }
        let start = self.at;
        let byte = self.peek()?;
        if after_quote && before == start && !matches!(byte, b';' | b'{' | b')') {
            return Some(Token::Unexpected(start));
        }
        Some(match byte {
            b';' | b'{' | b'}' => self.mark(start),
            b'#' => {
                let rest = self.bytes.get(start..).unwrap_or_default();
                let end = memchr::memchr(b'\n', rest).map_or(self.bytes.len(), |length| start + length);
                // The carriage return belongs to the line ending.
                let end = if self.bytes.get(end.wrapping_sub(1)) == Some(&b'\r') && end < self.bytes.len() {
                    end - 1
                } else {
                    end
                };
                self.at = end;
                Token::Leaf(LeafKind::Comment, Span::new(start, end))
            }
            b'"' | b'\'' => self.quoted(start, byte),
            _ => self.plain(start),
        })
    }

    /// A word in quotes: up to the same quote without a backslash before it.
    fn quoted(&mut self, start: usize, quote: u8) -> Token {
        self.at = start + 1;
        while let Some(byte) = self.peek() {
            self.at += 1;
            if byte == b'\\' {
                self.at = (self.at + 1).min(self.bytes.len());
            } else if byte == quote {
                self.after_quote = true;
                return Token::Leaf(LeafKind::Word, Span::new(start, self.at));
            }
        }
        Token::Unclosed(Span::new(start, self.at))
    }

    /// A word without quotes: up to a blank, `;` or `{`. The `{` of `${name}` belongs to it; so do `}`, `#` and quotes.
    fn plain(&mut self, start: usize) -> Token {
        let mut variable = false;
        while let Some(byte) = self.peek() {
            match byte {
                b'{' if variable => {}
                b'\\' => {
                    variable = false;
                    self.at = (self.at + 1).min(self.bytes.len());
                }
                b';' | b'{' => break,
                _ if blank(byte) => break,
                _ => variable = byte == b'$',
            }
            self.at = (self.at + 1).min(self.bytes.len());
        }
        Token::Leaf(LeafKind::Word, Span::new(start, self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<String> {
        let mut lexer = Lexer::new(text.as_bytes(), 0);
        let mut all = Vec::new();
        while let Some(token) = lexer.next() {
            all.push(match token {
                Token::Leaf(kind, span) => format!("{kind:?} {}", &text[span.range()]),
                Token::Unclosed(span) => format!("unclosed {}", &text[span.range()]),
                Token::Unexpected(at) => format!("unexpected at {at}"),
            });
        }
        all
    }

    #[test]
    fn words_end_where_nginx_ends_them() {
        // Each line was given to `nginx -t` 1.22.1, which took it or refused it as it is read here.
        assert_eq!(tokens("set $a b}c;"), ["Word set", "Word $a", "Word b}c", "Mark ;"]);
        assert_eq!(tokens("set $a b#c;"), ["Word set", "Word $a", "Word b#c", "Mark ;"]);
        assert_eq!(tokens("set $a ${b}c;"), ["Word set", "Word $a", "Word ${b}c", "Mark ;"]);
        assert_eq!(tokens("set $a x\"y z\";"), ["Word set", "Word $a", "Word x\"y", "Word z\"", "Mark ;"]);
        assert_eq!(tokens("a \"x\"y;"), ["Word a", "Word \"x\"", "unexpected at 5", "Word y", "Mark ;"]);
        assert_eq!(
            tokens("if ($a = \"x\"){"),
            ["Word if", "Word ($a", "Word =", "Word \"x\"", "Word )", "Mark {"]
        );
        assert_eq!(tokens("a b\\;c \\\n;"), ["Word a", "Word b\\;c", "Word \\\n", "Mark ;"]);
    }

    #[test]
    fn quotes_hold_marks_and_line_ends() {
        assert_eq!(tokens("a 'b;\n\\'{' \"$\";"), ["Word a", "Word 'b;\n\\'{'", "Word \"$\"", "Mark ;"]);
        assert_eq!(tokens("a \"b; }\n"), ["Word a", "unclosed \"b; }\n"]);
        assert_eq!(tokens("a '\\"), ["Word a", "unclosed '\\"]);
    }

    #[test]
    fn a_comment_ends_before_its_line_ending() {
        assert_eq!(tokens("# a; {\r\nb;"), ["Comment # a; {", "Word b", "Mark ;"]);
        assert_eq!(tokens("a;#b\r"), ["Word a", "Mark ;", "Comment #b\r"]);
    }
}
