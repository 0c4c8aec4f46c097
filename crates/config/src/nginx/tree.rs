//! The tree of a file: directives with their words, blocks within blocks, each with its place.

use super::lexer::{Lexer, Token, blank};
use super::lua;
use crate::leaf::{self, BYTE_ORDER_MARK, Leaf, LeafKind, MAX_LEAVES};
use crate::text::{MAX_BYTES, Place, Problem, Problems, Span, Text};
use std::borrow::Cow;

/// How deep blocks may lie within each other. nginx itself has no use for more than about ten.
pub const MAX_DEPTH: usize = 100;

const NONE: u32 = u32::MAX;

/// A file of nginx, whole and in pieces.
///
/// Any bytes give a tree; what nginx would refuse is in [`problems`](Self::problems), and the tree goes on after it
/// where it can.
#[derive(Clone, Debug)]
pub struct Tree {
    text: Text,
    leaves: Vec<Leaf>,
    directives: Vec<Node>,
    problems: Vec<Problem>,
}

/// A directive, in the order in which they begin.
#[derive(Clone, Copy, Debug)]
struct Node {
    /// The block it is in.
    parent: u32,
    /// Its first word; the mark that ends its words; its last leaf. Leaves by number.
    first: u32,
    mark: u32,
    last: u32,
    /// The directive after it and all within it.
    next: u32,
    ending: Ending,
}

/// How a directive ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With `;`.
    Semicolon,
    /// With a block of directives.
    Block,
    /// With a block of another language.
    Code,
    /// With a block that nothing closes.
    Unclosed,
    /// Not at all: the file or the block around it ends first.
    Missing,
}

impl Tree {
    /// Reads a file.
    pub fn parse(bytes: impl Into<Vec<u8>>) -> Self {
        let text = Text::new(bytes.into());
        let mut parser = Parser::new(&text);
        parser.run();
        let Parser { leaves, directives, problems, .. } = parser;
        let problems = problems.into_vec();
        Self { text, leaves, directives, problems }
    }

    /// The file, byte for byte.
    pub fn to_bytes(&self) -> Vec<u8> {
        leaf::write(&self.text, &self.leaves)
    }

    /// Its bytes, with places.
    pub fn text(&self) -> &Text {
        &self.text
    }

    /// What nginx would refuse, and what was not read.
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

    /// The directives outside all blocks.
    pub fn top(&self) -> Children<'_> {
        Children { tree: self, at: 0, end: self.count() }
    }

    /// All directives, in order.
    pub fn all(&self) -> impl Iterator<Item = Directive<'_>> {
        (0..self.count()).map(|index| Directive { tree: self, index })
    }

    /// The directive with this number, as [`Directive::index`] gives it.
    pub fn directive(&self, index: u32) -> Option<Directive<'_>> {
        (index < self.count()).then_some(Directive { tree: self, index })
    }

    fn count(&self) -> u32 {
        u32::try_from(self.directives.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn leaf(&self, index: u32) -> Option<Leaf> {
        self.leaves.get(index as usize).copied()
    }
}

/// Directives one after another in one block.
#[derive(Clone)]
pub struct Children<'t> {
    tree: &'t Tree,
    at: u32,
    end: u32,
}

impl<'t> Iterator for Children<'t> {
    type Item = Directive<'t>;

    fn next(&mut self) -> Option<Directive<'t>> {
        if self.at >= self.end {
            return None;
        }
        let found = Directive { tree: self.tree, index: self.at };
        self.at = found.node().next;
        Some(found)
    }
}

/// A directive in its tree.
#[derive(Clone, Copy)]
pub struct Directive<'t> {
    tree: &'t Tree,
    index: u32,
}

impl<'t> Directive<'t> {
    fn node(self) -> Node {
        let outside = Node { parent: NONE, first: 0, mark: 0, last: 0, next: NONE, ending: Ending::Missing };
        self.tree.directives.get(self.index as usize).copied().unwrap_or(outside)
    }

    /// Its number in the file.
    pub fn index(self) -> u32 {
        self.index
    }

    /// The tree it is in.
    pub fn tree(self) -> &'t Tree {
        self.tree
    }

    /// Its words, the first of which is its name. Comments among them are left out.
    pub fn words(self) -> impl Iterator<Item = Word<'t>> {
        let Node { first, mark, .. } = self.node();
        let leaves = self.tree.leaves.get(first as usize..mark as usize).unwrap_or_default();
        leaves
            .iter()
            .filter(|leaf| leaf.kind == LeafKind::Word)
            .map(move |leaf| Word { raw: self.tree.text.slice(leaf.span), span: leaf.span })
    }

    /// Its first word; empty for a block without a name.
    pub fn name(self) -> Cow<'t, str> {
        self.words().next().map_or(Cow::Borrowed(""), Word::text)
    }

    /// True if this is its first word.
    pub fn is(self, name: &str) -> bool {
        self.words().next().is_some_and(|word| *word.value() == *name.as_bytes())
    }

    /// The words after its name.
    pub fn arguments(self) -> impl Iterator<Item = Word<'t>> {
        self.words().skip(1)
    }

    /// One of the words after its name, from 0.
    pub fn argument(self, index: usize) -> Option<Word<'t>> {
        self.arguments().nth(index)
    }

    /// How it ends.
    pub fn ending(self) -> Ending {
        self.node().ending
    }

    /// True if directives may stand in it.
    pub fn is_block(self) -> bool {
        matches!(self.ending(), Ending::Block | Ending::Unclosed)
    }

    /// The directives in its block; none if it has no block.
    pub fn children(self) -> Children<'t> {
        let node = self.node();
        Children { tree: self.tree, at: self.index.saturating_add(1), end: node.next.min(self.tree.count()) }
    }

    /// The directive whose block it is in.
    pub fn parent(self) -> Option<Self> {
        let parent = self.node().parent;
        (parent != NONE).then_some(Self { tree: self.tree, index: parent })
    }

    /// All of it: from its first word to `;` or `}`.
    pub fn span(self) -> Span {
        let node = self.node();
        let start = self.tree.leaf(node.first).map_or(0, |leaf| leaf.span.start);
        Span { start, end: self.tree.leaf(node.last).map_or(start, |leaf| leaf.span.end) }
    }

    /// Between its braces; none if it has no block, or nothing closes it.
    pub fn inside(self) -> Option<Span> {
        let node = self.node();
        let (open, close) = (self.tree.leaf(node.mark)?, self.tree.leaf(node.last)?);
        (node.ending == Ending::Block).then_some(Span { start: open.span.end, end: close.span.start })
    }

    /// Where it begins.
    pub fn place(self) -> Place {
        self.tree.text.place(self.span().start)
    }
}

impl std::fmt::Debug for Directive<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words: Vec<_> = self.words().map(Word::text).collect();
        write!(f, "{} {}", self.place(), words.join(" "))
    }
}

/// A word in its file.
#[derive(Clone, Copy, Debug)]
pub struct Word<'t> {
    raw: &'t [u8],
    span: Span,
}

impl<'t> Word<'t> {
    /// As it stands in the file, with quotes and backslashes.
    pub fn raw(self) -> &'t [u8] {
        self.raw
    }

    /// Where it is.
    pub fn span(self) -> Span {
        self.span
    }

    /// What it means: without its quotes, and `\"`, `\'`, `\\`, `\t`, `\r`, `\n` as one byte each.
    pub fn value(self) -> Cow<'t, [u8]> {
        let inner = match self.raw {
            [quote @ (b'"' | b'\''), inner @ ..] => match inner {
                // An escaped quote at the end does not close it; then nothing does.
                [closed @ .., last] if last == quote && closes(closed) => closed,
                _ => inner,
            },
            plain => plain,
        };
        if !inner.contains(&b'\\') {
            return Cow::Borrowed(inner);
        }
        let mut value = Vec::with_capacity(inner.len());
        let mut bytes = inner.iter().copied().peekable();
        while let Some(byte) = bytes.next() {
            let escaped = match bytes.peek() {
                Some(b'"' | b'\'' | b'\\') if byte == b'\\' => bytes.next(),
                Some(b't') if byte == b'\\' => bytes.next().map(|_| b'\t'),
                Some(b'r') if byte == b'\\' => bytes.next().map(|_| b'\r'),
                Some(b'n') if byte == b'\\' => bytes.next().map(|_| b'\n'),
                _ => None,
            };
            value.push(escaped.unwrap_or(byte));
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
}

/// True if a quote after these bytes closes the word: an even number of backslashes stands before it.
fn closes(before: &[u8]) -> bool {
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 0
}

struct Parser<'t> {
    text: &'t Text,
    leaves: Vec<Leaf>,
    directives: Vec<Node>,
    problems: Problems,
    /// Blocks that are open: numbers of directives.
    open: Vec<u32>,
    /// The first word of the directive that is being read: number of a leaf.
    pending: Option<u32>,
}

impl<'t> Parser<'t> {
    fn new(text: &'t Text) -> Self {
        Self {
            text,
            leaves: Vec::new(),
            directives: Vec::new(),
            problems: Problems::default(),
            open: Vec::new(),
            pending: None,
        }
    }

    fn next_leaf(&self) -> u32 {
        u32::try_from(self.leaves.len()).unwrap_or(NONE)
    }

    fn next_directive(&self) -> u32 {
        u32::try_from(self.directives.len()).unwrap_or(NONE)
    }

    fn problem(&mut self, at: usize, what: impl Into<String>) {
        self.problems.add(self.text, at, what);
    }

    fn run(&mut self) {
        let bytes = self.text.read();
        let mut start = 0;
        if bytes.starts_with(BYTE_ORDER_MARK) {
            start = BYTE_ORDER_MARK.len();
            self.leaf(LeafKind::Stray, Span::new(0, start));
            self.problem(0, "a byte order mark: nginx takes it for a part of the first directive's name");
        }
        let mut lexer = Lexer::new(bytes, start);
        while let Some(token) = lexer.next() {
            if self.leaves.len() >= MAX_LEAVES {
                let from = match token {
                    Token::Leaf(_, span) | Token::Unclosed(span) => span.start as usize,
                    Token::Unexpected(at) => at,
                };
                self.unread(bytes, from, &format!("more than {MAX_LEAVES} words"));
                break;
            }
            match token {
                Token::Unexpected(at) => {
                    self.problem(at, "a quoted word ends just before this: a blank, `;` or `{` must follow");
                }
                Token::Unclosed(span) => {
                    self.problem(span.start as usize, "a quote opens here that nothing closes");
                    self.word(span);
                }
                Token::Leaf(LeafKind::Word, span) => self.word(span),
                Token::Leaf(LeafKind::Mark, span) => match bytes.get(span.start as usize) {
                    Some(b'{') if self.open.len() >= MAX_DEPTH => {
                        self.unread(
                            bytes,
                            span.start as usize,
                            &format!("{MAX_DEPTH} blocks within each other"),
                        );
                        break;
                    }
                    Some(b'{') => self.open(span, bytes, &mut lexer),
                    Some(b'}') => self.close(span),
                    _ => self.semicolon(span),
                },
                Token::Leaf(kind, span) => self.leaf(kind, span),
            }
        }
        self.finish(bytes.len());
    }

    fn leaf(&mut self, kind: LeafKind, span: Span) {
        self.leaves.push(Leaf { span, kind });
    }

    fn word(&mut self, span: Span) {
        self.pending.get_or_insert(u32::try_from(self.leaves.len()).unwrap_or(NONE));
        self.leaf(LeafKind::Word, span);
    }

    /// Everything from here on is one leaf.
    fn unread(&mut self, bytes: &[u8], from: usize, because: &str) {
        self.problem(from, format!("{because}: the file is not read from here on"));
        self.end_pending();
        self.leaf(LeafKind::Stray, Span::new(from, bytes.len()));
    }

    /// A directive whose words end with the leaf that comes next.
    fn directive(&mut self, ending: Ending) -> u32 {
        let mark = self.next_leaf();
        let index = self.next_directive();
        self.directives.push(Node {
            parent: self.open.last().copied().unwrap_or(NONE),
            first: self.pending.take().unwrap_or(mark),
            mark,
            last: mark,
            next: index.saturating_add(1),
            ending,
        });
        index
    }

    fn semicolon(&mut self, span: Span) {
        if self.pending.is_some() {
            self.directive(Ending::Semicolon);
            self.leaf(LeafKind::Mark, span);
        } else {
            self.problem(span.start as usize, "unexpected `;`");
            self.leaf(LeafKind::Stray, span);
        }
    }

    fn open(&mut self, span: Span, bytes: &[u8], lexer: &mut Lexer<'_>) {
        if self.pending.is_none() {
            self.problem(span.start as usize, "unexpected `{`: the name of the block is missing");
        }
        let lua = self.pending.and_then(|first| self.leaves.get(first as usize)).is_some_and(|leaf| {
            Word { raw: self.text.slice(leaf.span), span: leaf.span }.value().ends_with(b"_by_lua_block")
        });
        let index = self.directive(if lua { Ending::Code } else { Ending::Unclosed });
        self.leaf(LeafKind::Mark, span);
        if !lua {
            self.open.push(index);
            return;
        }
        let start = lexer.at();
        let close = lua::end_of_block(bytes, start);
        let end = close.unwrap_or(bytes.len());
        if start < end {
            self.leaf(LeafKind::Code, Span::new(start, end));
        }
        match close {
            Some(close) => self.leaf(LeafKind::Mark, Span::new(close, close + 1)),
            None => self.problem(span.start as usize, "a block of Lua opens here that nothing closes"),
        }
        let last = self.next_leaf().saturating_sub(1);
        if let Some(node) = self.directives.get_mut(index as usize) {
            node.last = last;
        }
        lexer.skip_to(close.map_or(bytes.len(), |close| close + 1));
    }

    fn close(&mut self, span: Span) {
        if self.pending.is_some() {
            self.problem(span.start as usize, "unexpected `}`: the `;` before it is missing");
        }
        self.end_pending();
        let Some(index) = self.open.pop() else {
            self.problem(span.start as usize, "unexpected `}`: no block is open");
            self.leaf(LeafKind::Stray, span);
            return;
        };
        let (last, next) = (self.next_leaf(), self.next_directive());
        if let Some(node) = self.directives.get_mut(index as usize) {
            *node = Node { ending: Ending::Block, last, next, ..*node };
        }
        self.leaf(LeafKind::Mark, span);
    }

    /// Words that no mark ends.
    fn end_pending(&mut self) {
        if self.pending.is_some() {
            let index = self.directive(Ending::Missing);
            if let Some(node) = self.directives.get_mut(index as usize) {
                node.last = node.mark.saturating_sub(1);
            }
        }
    }

    fn finish(&mut self, end: usize) {
        if let Some(first) = self.pending.and_then(|first| self.leaves.get(first as usize)) {
            self.problem(first.span.start as usize, "the file ends before the `;` of this directive");
        }
        self.end_pending();
        let (last, next) = (self.next_leaf().saturating_sub(1), self.next_directive());
        while let Some(index) = self.open.pop() {
            let Some(node) = self.directives.get_mut(index as usize) else { continue };
            *node = Node { last, next, ..*node };
            let (first, mark) = (node.first, node.mark);
            let at = self.leaves.get(mark as usize).map_or(0, |leaf| leaf.span.start as usize);
            let name = self.leaves.get(first as usize).map_or(&b""[..], |leaf| self.text.slice(leaf.span));
            let name: String =
                String::from_utf8_lossy(name).chars().take(40).flat_map(char::escape_debug).collect();
            self.problem(at, format!("the block of `{name}` opens here, and nothing closes it"));
        }
        if !self.text.unread().is_empty() {
            self.problem(
                end,
                format!("more than {} MiB: the file is not read from here on", MAX_BYTES >> 20),
            );
        }
    }
}
