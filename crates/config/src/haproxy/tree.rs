//! The tree of a file: sections, their lines, the words of a line.

use super::word::{Word, blank, end_of_word};
use crate::leaf::{self, BYTE_ORDER_MARK, Leaf, LeafKind, MAX_LEAVES};
use crate::text::{MAX_BYTES, Place, Problem, Problems, Span, Text};
use evidence::configuration::haproxy::SECTIONS;

/// Parameters of servers that matter here, each with one argument.
pub(super) const PARAMETERS: [&str; 8] =
    ["alpn", "proto", "max-reuse", "maxconn", "pool-low-conn", "pool-max-conn", "pool-purge-delay", "source"];

/// True if this first word begins a section.
pub(super) fn begins_section(word: &[u8]) -> bool {
    SECTIONS.iter().any(|section| section.as_bytes() == word)
}

/// A file of HAProxy, whole and in pieces.
///
/// Any bytes give a tree; what HAProxy would refuse for its form is in [`problems`](Self::problems).
#[derive(Clone, Debug)]
pub struct Tree {
    text: Text,
    leaves: Vec<Leaf>,
    lines: Vec<Row>,
    /// The lines that begin a section.
    headers: Vec<u32>,
    problems: Vec<Problem>,
}

/// A line with at least one word.
#[derive(Clone, Copy, Debug)]
struct Row {
    first: u32,
    past: u32,
    /// Within `.if` and `.endif`: in force on a condition that is not known here.
    conditional: bool,
}

impl Tree {
    /// Reads a file.
    pub fn parse(bytes: impl Into<Vec<u8>>) -> Self {
        let text = Text::new(bytes.into());
        let mut parser = Parser::new(&text);
        parser.run();
        let Parser { leaves, lines, headers, problems, .. } = parser;
        let problems = problems.into_vec();
        Self { text, leaves, lines, headers, problems }
    }

    /// The file, byte for byte.
    pub fn to_bytes(&self) -> Vec<u8> {
        leaf::write(&self.text, &self.leaves)
    }

    /// Its bytes, with places.
    pub fn text(&self) -> &Text {
        &self.text
    }

    /// What HAProxy would refuse, and what was not read.
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

    /// The sections, in order.
    pub fn sections(&self) -> impl DoubleEndedIterator<Item = Section<'_>> {
        self.headers.iter().enumerate().map(|(index, header)| {
            let past = self.headers.get(index + 1).copied();
            Section { tree: self, header: *header, past: past.unwrap_or_else(|| self.count()) }
        })
    }

    /// All lines that have words, in order.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        (0..self.count()).map(|index| Line { tree: self, index })
    }

    fn count(&self) -> u32 {
        u32::try_from(self.lines.len()).unwrap_or(u32::MAX)
    }
}

/// A section: the line that begins it and those up to the next.
#[derive(Clone, Copy)]
pub struct Section<'t> {
    tree: &'t Tree,
    header: u32,
    past: u32,
}

impl<'t> Section<'t> {
    /// The line that begins it.
    pub fn header(self) -> Line<'t> {
        Line { tree: self.tree, index: self.header }
    }

    /// What it is: `frontend`.
    pub fn kind(self) -> String {
        self.header().word(0).map(|word| word.text().into_owned()).unwrap_or_default()
    }

    /// Its name, where it has one.
    pub fn name(self) -> Option<String> {
        let name = self.header().word(1).filter(|_| self.place_of_from() != 1);
        name.map(|word| word.text().into_owned())
    }

    /// The name of the section `defaults` that it says it comes from.
    pub(super) fn from(self) -> Option<Word<'t>> {
        let at = self.place_of_from();
        self.header()
            .word(at)
            .filter(|word| *word.value() == *b"from")
            .and_then(|_| self.header().word(at + 1))
    }

    /// Where `from` stands if it is said: behind the name, which only `defaults` may lack.
    fn place_of_from(self) -> usize {
        if self.header().begins(&["defaults", "from"]) { 1 } else { 2 }
    }

    /// True if a line of it is in force on a condition that its beginning is not under.
    pub(super) fn doubts(self, line: Line<'_>) -> bool {
        line.is_conditional() && !self.header().is_conditional()
    }

    /// Its lines, without the one that begins it.
    pub fn lines(self) -> impl DoubleEndedIterator<Item = Line<'t>> {
        (self.header.saturating_add(1)..self.past).map(move |index| Line { tree: self.tree, index })
    }

    /// Where it begins.
    pub fn place(self) -> Place {
        self.header().place()
    }
}

impl std::fmt::Debug for Section<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.header().fmt(f)
    }
}

/// A line with at least one word.
#[derive(Clone, Copy)]
pub struct Line<'t> {
    tree: &'t Tree,
    index: u32,
}

impl<'t> Line<'t> {
    fn row(self) -> Row {
        let outside = Row { first: 0, past: 0, conditional: false };
        self.tree.lines.get(self.index as usize).copied().unwrap_or(outside)
    }

    /// The tree it is in.
    pub fn tree(self) -> &'t Tree {
        self.tree
    }

    /// Its words.
    pub fn words(self) -> impl Iterator<Item = Word<'t>> {
        let Row { first, past, .. } = self.row();
        let leaves = self.tree.leaves.get(first as usize..past as usize).unwrap_or_default();
        leaves
            .iter()
            .filter(|leaf| leaf.kind == LeafKind::Word)
            .map(move |leaf| Word::new(self.tree.text.slice(leaf.span), leaf.span))
    }

    /// One of its words, from 0.
    pub fn word(self, index: usize) -> Option<Word<'t>> {
        self.words().nth(index)
    }

    /// True if it begins with these words.
    pub fn begins(self, words: &[&str]) -> bool {
        let mut found = self.words();
        words.iter().all(|wanted| found.next().is_some_and(|word| *word.value() == *wanted.as_bytes()))
    }

    /// How many words stand before the parameters of a server: what it is, its name, its address.
    pub(super) fn before_parameters(self) -> usize {
        match self.word(0).as_ref().map(|word| word.value()).as_deref() {
            Some(b"server-template") => 4,
            Some(b"server") => 3,
            _ => 1,
        }
    }

    /// The parameters of a server, each with the word behind it: `pool-max-conn`, `100`. Of those that take several
    /// arguments, or none, the next word may be another parameter.
    pub(super) fn parameters(self) -> impl Iterator<Item = (Word<'t>, Option<Word<'t>>)> {
        let mut words = self.words().skip(self.before_parameters()).peekable();
        std::iter::from_fn(move || {
            let word = words.next()?;
            let known = PARAMETERS.iter().any(|name| *word.value() == *name.as_bytes());
            Some((word, if known { words.next() } else { words.peek().copied() }))
        })
    }

    /// True if it stands between `.if` and `.endif`.
    pub fn is_conditional(self) -> bool {
        self.row().conditional
    }

    /// From its first word to its last.
    pub fn span(self) -> Span {
        let mut spans = self.words().map(Word::span);
        let first = spans.next().unwrap_or_default();
        Span { start: first.start, end: spans.last().unwrap_or(first).end }
    }

    /// Where it begins.
    pub fn place(self) -> Place {
        self.tree.text.place(self.span().start)
    }
}

impl std::fmt::Debug for Line<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words: Vec<_> = self.words().map(Word::text).collect();
        write!(f, "{} {}", self.place(), words.join(" "))
    }
}

struct Parser<'t> {
    text: &'t Text,
    leaves: Vec<Leaf>,
    lines: Vec<Row>,
    headers: Vec<u32>,
    problems: Problems,
    /// The first leaf of the line that is being read, if it has a word.
    line: Option<u32>,
    /// How many `.if` are open.
    conditions: u32,
}

impl<'t> Parser<'t> {
    fn new(text: &'t Text) -> Self {
        Self {
            text,
            leaves: Vec::new(),
            lines: Vec::new(),
            headers: Vec::new(),
            problems: Problems::default(),
            line: None,
            conditions: 0,
        }
    }

    fn leaf(&mut self, kind: LeafKind, start: usize, end: usize) {
        self.leaves.push(Leaf { span: Span::new(start, end), kind });
    }

    fn problem(&mut self, at: usize, what: impl Into<String>) {
        self.problems.add(self.text, at, what);
    }

    fn run(&mut self) {
        let bytes = self.text.read();
        let mut at = 0;
        if bytes.starts_with(BYTE_ORDER_MARK) {
            at = BYTE_ORDER_MARK.len();
            self.leaf(LeafKind::Stray, 0, at);
            self.problem(0, "a byte order mark: HAProxy takes it for a part of the first word");
        }
        while let Some(byte) = bytes.get(at).copied() {
            let rest = bytes.get(at..).unwrap_or_default();
            let line_end = || memchr::memchr(b'\n', rest).map_or(bytes.len(), |length| at + length);
            if byte == b'\n' {
                self.end_line();
                at += 1;
            } else if byte == b'\r' && !matches!(bytes.get(at + 1), Some(b'\n') | None) || byte == 0 {
                let end = line_end();
                let what = if byte == 0 { "a NUL byte" } else { "a carriage return" };
                self.problem(at, format!("{what} within a line: HAProxy ignores the rest of the line"));
                self.leaf(LeafKind::Stray, at, end);
                at = end;
            } else if blank(byte) {
                at += 1;
            } else if self.leaves.len() >= MAX_LEAVES {
                self.problem(at, format!("more than {MAX_LEAVES} words: the file is not read from here on"));
                self.leaf(LeafKind::Stray, at, bytes.len());
                at = bytes.len();
            } else if byte == b'#' {
                let mut end = line_end();
                while end > at && bytes.get(end - 1) == Some(&b'\r') {
                    end -= 1;
                }
                self.leaf(LeafKind::Comment, at, end);
                at = end;
            } else {
                let (end, unclosed) = end_of_word(bytes, at);
                if let Some(quote) = unclosed {
                    self.problem(quote, "a quote opens here that nothing closes in its line");
                }
                self.line.get_or_insert(u32::try_from(self.leaves.len()).unwrap_or(u32::MAX));
                self.leaf(LeafKind::Word, at, end);
                at = end;
            }
        }
        self.end_line();
        if !self.text.unread().is_empty() {
            let what = format!("more than {} MiB: the file is not read from here on", MAX_BYTES >> 20);
            self.problem(bytes.len(), what);
        }
    }

    fn end_line(&mut self) {
        let Some(first) = self.line.take() else { return };
        let past = u32::try_from(self.leaves.len()).unwrap_or(u32::MAX);
        let Some(leaf) = self.leaves.get(first as usize).copied() else { return };
        let word = Word::new(self.text.slice(leaf.span), leaf.span).value();
        match &*word {
            b".if" => self.conditions = self.conditions.saturating_add(1),
            b".endif" => self.conditions = self.conditions.saturating_sub(1),
            name if begins_section(name) => {
                self.headers.push(u32::try_from(self.lines.len()).unwrap_or(u32::MAX));
            }
            name if self.headers.is_empty() && !name.starts_with(b".") => {
                self.problem(leaf.span.start as usize, "a line before the first section");
            }
            _ => {}
        }
        self.lines.push(Row { first, past, conditional: self.conditions > 0 });
    }
}
