//! What HAProxy reads of its files: lines that conditions leave, with what their variables stand for.

use super::condition::{self, Known, Release};
use super::environment::{Environment, Variable};
use super::tree::{PARAMETERS, begins_section};
use super::{Line, Word};
use crate::nginx::shown;
use evidence::{FilePlace, Said};
use std::borrow::Cow;

/// So deep HAProxy lets conditions lie within each other (`MAXNESTEDCONDS`).
const MAX_CONDITIONS: usize = 32;

/// A branch that may be read or not: which `.if`, and which of its branches.
type Branch = (u32, u32);

/// The branches that a line stands in, of those that may be read or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Path(Vec<Branch>);

impl Path {
    /// True if a line of this path is read in any case.
    pub(super) fn is_certain(&self) -> bool {
        self.0.is_empty()
    }

    /// True if a line of this path is read wherever one of the other is.
    pub(super) fn follows_from(&self, other: &Self) -> bool {
        self.0.iter().all(|branch| other.0.contains(branch))
    }

    /// True if lines of both may be read.
    pub(super) fn goes_with(&self, other: &Self) -> bool {
        self.0
            .iter()
            .all(|(block, branch)| other.0.iter().all(|(other, its)| block != other || branch == its))
    }
}

/// An `.if` with its branches, up to `.endif`.
struct Block {
    number: u32,
    branch: u32,
    /// True if all of it stands in what is not read.
    outside: bool,
    /// True if no later branch can be read: this one or one before it is, if none before that is.
    decided: bool,
    /// True if a branch before this one may be read.
    doubt: bool,
    now: Now,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Now {
    Read,
    Perhaps,
    Skipped,
}

impl Block {
    /// The next branch begins. Conditions behind the one that holds are not evaluated.
    fn branch(&mut self, holds: impl FnOnce() -> Option<bool>) {
        self.branch = self.branch.saturating_add(1);
        self.doubt |= self.now == Now::Perhaps;
        let holds = if self.outside || self.decided { Some(false) } else { holds() };
        self.decided |= holds == Some(true);
        self.now = match holds {
            Some(false) => Now::Skipped,
            Some(true) if !self.doubt => Now::Read,
            Some(true) | None => Now::Perhaps,
        };
    }
}

/// Reads lines in order, those of all files.
pub(super) struct Reader {
    release: Option<Release>,
    environment: Environment,
    blocks: Vec<Block>,
    /// How many conditions are open within the innermost that is followed.
    beyond: u32,
    number: u32,
}

impl Reader {
    /// Files are read by HAProxy of this version.
    pub(super) fn new(version: Option<&str>) -> Self {
        Self {
            release: version.and_then(Release::parse),
            environment: Environment::default(),
            blocks: Vec::new(),
            beyond: 0,
            number: 0,
        }
    }

    /// A file begins: conditions end with theirs.
    pub(super) fn begin_file(&mut self) {
        self.blocks.clear();
        self.beyond = 0;
    }

    /// A line, if it may be read and is none about conditions.
    pub(super) fn line<'t>(&mut self, file: u32, line: Line<'t>) -> Option<Spoken<'t>> {
        let place = line.place();
        let place = FilePlace { file, line: place.line, column: place.column };
        let mut words = Vec::new();
        for word in line.words() {
            match self.environment.words(word) {
                Some(known) => {
                    words.extend(known.into_iter().map(|text| Argument { word, text: Some(text) }));
                }
                None => words.push(Argument { word, text: None }),
            }
        }
        let first = words.first()?.text.as_deref().unwrap_or_default();
        match first {
            b".if" if self.beyond > 0 || self.blocks.len() >= MAX_CONDITIONS => self.beyond += 1,
            b".elif" | b".else" | b".endif" if self.beyond > 0 => {
                self.beyond -= u32::from(first == b".endif");
            }
            b".if" => {
                self.number = self.number.saturating_add(1);
                let mut block = Block {
                    number: self.number,
                    branch: 0,
                    outside: self.skips(),
                    decided: false,
                    doubt: false,
                    now: Now::Skipped,
                };
                block.branch(|| self.holds(&words));
                self.blocks.push(block);
            }
            b".elif" | b".else" => {
                if let Some(mut block) = self.blocks.pop() {
                    block.branch(|| if first == b".else" { Some(true) } else { self.holds(&words) });
                    self.blocks.push(block);
                }
            }
            b".endif" => {
                self.blocks.pop();
            }
            _ if first.starts_with(b".") || self.skips() => {}
            _ => {
                let uncertain = self.blocks.iter().filter(|block| block.now == Now::Perhaps);
                let path = Path(uncertain.map(|block| (block.number, block.branch)).collect());
                return Some(Spoken { place, path, words });
            }
        }
        None
    }

    /// True if what stands here is not read.
    fn skips(&self) -> bool {
        self.blocks.iter().any(|block| block.now == Now::Skipped)
    }

    /// What a condition says; its words are put together by single blanks.
    fn holds(&self, words: &[Argument<'_>]) -> Option<bool> {
        let words = words.iter().skip(1).map(|word| word.text.as_deref()).collect::<Option<Vec<_>>>()?;
        let known = Known { environment: &self.environment, version: self.release.as_ref() };
        condition::holds(&words.join(&b' '), &known)
    }

    /// An address, in which variables stand without quotes, too.
    pub(super) fn address(&self, argument: Option<&Argument<'_>>) -> String {
        let Some(argument) = argument else { return String::new() };
        match &argument.text {
            Some(text) => shown(&String::from_utf8_lossy(&self.environment.address(text.clone()))),
            None => argument.shown(),
        }
    }

    /// A line of the section `global`: some set variables.
    pub(super) fn global(&mut self, line: &Spoken<'_>) {
        let first = line.words.first().and_then(|word| word.text.as_deref()).unwrap_or_default();
        if !matches!(first, b"setenv" | b"presetenv" | b"unsetenv" | b"resetenv") {
            return;
        }
        let texts: Option<Vec<_>> = line.words.iter().skip(1).map(|word| word.text.clone()).collect();
        let (Some(texts), true) = (texts, first != b"resetenv" || line.path.is_certain()) else {
            // Whatever it names may have changed.
            match line.words.get(1).and_then(|word| word.text.as_deref()) {
                Some(name) if first == b"setenv" || first == b"presetenv" => self.doubt(name),
                _ => self.environment.forget(),
            }
            return;
        };
        match (first, &texts[..]) {
            (b"resetenv", kept) => self.environment.reset(kept),
            (b"unsetenv", names) if line.path.is_certain() => {
                for name in names {
                    self.environment.set(name, Variable::Unset);
                }
            }
            (b"unsetenv", names) => names.iter().for_each(|name| self.doubt(name)),
            (_, [name, value, ..]) => {
                let value = Variable::Set(value.to_vec());
                match self.environment.variable(name) {
                    now if now == value => {}
                    Variable::Set(_) | Variable::Unknown if first == b"presetenv" => {}
                    _ if line.path.is_certain() => self.environment.set(name, value),
                    _ => self.doubt(name),
                }
            }
            _ => {}
        }
    }

    fn doubt(&mut self, name: &[u8]) {
        self.environment.set(name, Variable::Unknown);
    }
}

/// A line that is read, or may be.
pub(super) struct Spoken<'t> {
    pub(super) place: FilePlace,
    pub(super) path: Path,
    pub(super) words: Vec<Argument<'t>>,
}

/// A word of a line.
pub(super) struct Argument<'t> {
    word: Word<'t>,
    /// What it means; none if that depends on a variable that is not known.
    text: Option<Cow<'t, [u8]>>,
}

impl Argument<'_> {
    /// As text; as it is written, if it has a variable that is not known.
    pub(super) fn shown(&self) -> String {
        match &self.text {
            Some(text) => shown(&String::from_utf8_lossy(text)),
            None => shown(&self.word.text()),
        }
    }

    /// True if it is this word.
    pub(super) fn is(&self, word: &str) -> bool {
        self.text.as_deref() == Some(word.as_bytes())
    }

    /// True if it depends on what is not known.
    pub(super) fn is_unknown(&self) -> bool {
        self.text.is_none()
    }
}

impl<'t> Spoken<'t> {
    /// A word as text, from 0; as it is written, if it has a variable that is not known.
    pub(super) fn text(&self, index: usize) -> String {
        self.words.get(index).map(Argument::shown).unwrap_or_default()
    }

    /// True if it begins a section.
    pub(super) fn begins_section(&self) -> bool {
        self.words.first().and_then(|word| word.text.as_deref()).is_some_and(begins_section)
    }

    /// The name of the section that it begins, and that of the section `defaults` which that comes from.
    pub(super) fn names(&self) -> (Option<&Argument<'t>>, Option<&Argument<'t>>) {
        let is = |index: usize, word: &str| self.words.get(index).is_some_and(|found| found.is(word));
        // Only `defaults` may lack a name.
        let from = if is(0, "defaults") && is(1, "from") { 1 } else { 2 };
        let name = self.words.get(1).filter(|_| from != 1);
        (name, if is(from, "from") { self.words.get(from + 1) } else { None })
    }

    /// An argument, if it can be known before HAProxy starts; `doubt` if the line itself may not be read.
    pub(super) fn said(&self, index: usize, doubt: bool) -> Said<String> {
        match self.words.get(index) {
            Some(argument) => self.said_of(argument, doubt),
            None => unknown("an argument is missing", self.place),
        }
    }

    pub(super) fn said_of(&self, argument: &Argument<'t>, doubt: bool) -> Said<String> {
        if doubt {
            unknown(BETWEEN, self.place)
        } else if argument.text.is_none() {
            unknown("it is a variable of the environment", self.place)
        } else {
            Said::Written { value: argument.shown(), place: self.place }
        }
    }

    /// The parameters of a server that matter here, each with its argument.
    pub(super) fn parameters(&self) -> impl Iterator<Item = (&'static str, Option<&Argument<'t>>)> {
        let before = match self.words.first() {
            Some(word) if word.is("server-template") => 4,
            Some(word) if word.is("server") => 3,
            _ => 1,
        };
        let mut words = self.words.iter().skip(before);
        std::iter::from_fn(move || {
            loop {
                let word = words.next()?;
                if let Some(name) = PARAMETERS.iter().find(|name| word.is(name)) {
                    return Some((*name, words.next()));
                }
            }
        })
    }
}

/// Why a line says nothing for certain.
pub(super) const BETWEEN: &str = "it stands between `.if` and `.endif`";

pub(super) fn unknown<T>(because: &str, place: FilePlace) -> Said<T> {
    Said::Unknown { because: because.to_owned(), place: Some(place) }
}
