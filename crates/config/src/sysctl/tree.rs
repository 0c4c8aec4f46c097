//! The tree of a file: assignments, one a line, as `parse_file()` (src/sysctl/sysctl.c of systemd) reads them.

use crate::leaf::{self, BYTE_ORDER_MARK, Leaf, LeafKind, MAX_LEAVES};
use crate::text::{MAX_BYTES, Place, Problem, Problems, Span, Text};
use std::borrow::Cow;

/// A file of settings, whole and in pieces.
///
/// Any bytes give a tree; lines that systemd ignores with a warning are in [`problems`](Self::problems).
#[derive(Clone, Debug)]
pub struct Tree {
    text: Text,
    leaves: Vec<Leaf>,
    assignments: Vec<Row>,
    problems: Vec<Problem>,
}

/// Spans of an assignment.
#[derive(Clone, Copy, Debug)]
struct Row {
    key: Span,
    value: Option<Span>,
    minus: bool,
}

impl Tree {
    /// Reads a file.
    pub fn parse(bytes: impl Into<Vec<u8>>) -> Self {
        let text = Text::new(bytes.into());
        let mut parser = Parser {
            text: &text,
            leaves: Vec::new(),
            assignments: Vec::new(),
            problems: Problems::default(),
        };
        parser.run();
        let Parser { leaves, assignments, problems, .. } = parser;
        let problems = problems.into_vec();
        Self { text, leaves, assignments, problems }
    }

    /// The file, byte for byte.
    pub fn to_bytes(&self) -> Vec<u8> {
        leaf::write(&self.text, &self.leaves)
    }

    /// Its bytes, with places.
    pub fn text(&self) -> &Text {
        &self.text
    }

    /// Lines that are no assignments, and what was not read.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// What the file consists of, in order.
    pub fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    /// Why the leaves are not the file; for tests: they always are.
    pub fn fault(&self) -> Option<String> {
        leaf::fault(&self.text, &self.leaves, blank)
    }

    /// The assignments, in order.
    pub fn assignments(&self) -> impl Iterator<Item = Assignment<'_>> {
        self.assignments.iter().map(|row| Assignment { text: &self.text, row: *row })
    }
}

/// A line `key = value`, `-key = value` or `-key`.
#[derive(Clone, Copy, Debug)]
pub struct Assignment<'t> {
    text: &'t Text,
    row: Row,
}

impl<'t> Assignment<'t> {
    /// The key as it is written, without the minus sign.
    pub fn key(self) -> Cow<'t, str> {
        String::from_utf8_lossy(self.text.slice(self.row.key))
    }

    /// The key with dots between its parts: see [`normalized`].
    pub fn name(self) -> String {
        normalized(&self.key())
    }

    /// Everything after the equals sign but blanks at both ends: a `#` does not end it. None for `-key`, which
    /// keeps patterns off a setting.
    pub fn value(self) -> Option<Cow<'t, str>> {
        self.row.value.map(|span| String::from_utf8_lossy(self.text.slice(span)))
    }

    /// True if a minus sign stands before it: it may fail.
    pub fn may_fail(self) -> bool {
        self.row.minus
    }

    /// Where the key is.
    pub fn key_span(self) -> Span {
        self.row.key
    }

    /// Where the value is.
    pub fn value_span(self) -> Option<Span> {
        self.row.value
    }

    /// From the minus sign or the key to the end of the value.
    pub fn span(self) -> Span {
        let Row { key, value, minus } = self.row;
        Span { start: key.start.saturating_sub(u32::from(minus)), end: value.unwrap_or(key).end }
    }

    /// Where it begins.
    pub fn place(self) -> Place {
        self.text.place(self.span().start)
    }
}

/// A key as the kernel's tools print it: dots between the parts, a slash for a dot within one. What separates the parts
/// is the first of both signs that occurs (sysctl.d(5)): `net/ipv4/conf/eth0.5/forwarding` and
/// `net.ipv4.conf.eth0/5.forwarding` are the same.
pub fn normalized(key: &str) -> String {
    let key = key.strip_prefix("/proc/sys/").unwrap_or(key);
    let swap = key.find(['/', '.']).is_some_and(|at| key.as_bytes().get(at) == Some(&b'/'));
    // As a path first: with slashes between the parts, of which several are one.
    let path: String = if swap {
        key.to_owned()
    } else {
        key.chars()
            .map(|sign| {
                if sign == '.' {
                    '/'
                } else if sign == '/' {
                    '.'
                } else {
                    sign
                }
            })
            .collect()
    };
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let parts: Vec<_> = parts.iter().map(|part| part.replace('.', "/")).collect();
    parts.join(".")
}

/// What may stand around keys, values and lines.
fn blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0)
}

/// What ends a line for systemd's `read_line()`.
fn ends_line(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r' | 0)
}

/// The part without blanks at its ends.
fn stripped(bytes: &[u8], mut span: Span) -> Span {
    while span.start < span.end && bytes.get(span.start as usize).copied().is_some_and(blank) {
        span.start += 1;
    }
    while span.start < span.end && bytes.get(span.end as usize - 1).copied().is_some_and(blank) {
        span.end -= 1;
    }
    span
}

struct Parser<'t> {
    text: &'t Text,
    leaves: Vec<Leaf>,
    assignments: Vec<Row>,
    problems: Problems,
}

impl Parser<'_> {
    fn leaf(&mut self, kind: LeafKind, span: Span) {
        if span.start < span.end {
            self.leaves.push(Leaf { span, kind });
        }
    }

    fn run(&mut self) {
        let bytes = self.text.read();
        let mut at = 0;
        if bytes.starts_with(BYTE_ORDER_MARK) {
            at = BYTE_ORDER_MARK.len();
            self.leaf(LeafKind::Stray, Span::new(0, at));
            self.problems.add(self.text, 0, "a byte order mark: it is taken for a part of the first key");
        }
        while at < bytes.len() {
            let rest = bytes.get(at..).unwrap_or_default();
            if self.leaves.len() >= MAX_LEAVES {
                let what = format!("more than {MAX_LEAVES} words: the file is not read from here on");
                self.problems.add(self.text, at, what);
                self.leaf(LeafKind::Stray, Span::new(at, bytes.len()));
                break;
            }
            let end = rest.iter().position(|byte| ends_line(*byte)).map_or(bytes.len(), |length| at + length);
            self.line(bytes, stripped(bytes, Span::new(at, end)));
            at = end + 1;
        }
        if !self.text.unread().is_empty() {
            let what = format!("more than {} MiB: the file is not read from here on", MAX_BYTES >> 20);
            self.problems.add(self.text, bytes.len(), what);
        }
    }

    fn line(&mut self, bytes: &[u8], line: Span) {
        let content = self.text.slice(line);
        let minus = match content {
            [] => return,
            [b'#' | b';', ..] => return self.leaf(LeafKind::Comment, line),
            [first, ..] => *first == b'-',
        };
        let equals =
            memchr::memchr(b'=', content).and_then(|at| u32::try_from(at).ok()).map(|at| line.start + at);
        if equals.is_none() && !minus {
            self.problems.add(self.text, line.start as usize, "no assignment: `key = value` is expected");
            return self.leaf(LeafKind::Stray, line);
        }
        let mut key = Span { start: line.start, end: equals.unwrap_or(line.end) };
        if minus {
            key.start += 1;
            self.leaf(LeafKind::Mark, Span { start: line.start, end: key.start });
        }
        let key = stripped(bytes, key);
        self.leaf(LeafKind::Word, key);
        let value = equals.map(|equals| {
            self.leaf(LeafKind::Mark, Span { start: equals, end: equals + 1 });
            let value = stripped(bytes, Span { start: equals + 1, end: line.end });
            self.leaf(LeafKind::Word, value);
            value
        });
        if key.start == key.end {
            self.problems.add(self.text, line.start as usize, "no key before the equals sign");
        } else {
            self.assignments.push(Row { key, value, minus });
        }
    }
}
