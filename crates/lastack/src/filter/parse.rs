//! From text to a test.

use super::field::{FIELDS, Field, Kind};
use super::{Comparison, Test, Value};
use std::fmt;

/// Expressions nest no deeper: each level is a frame of the stack.
const DEEPEST: usize = 100;

/// Why an expression was not understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// Letters from the beginning, from 1.
    column: usize,
    what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--filter, column {}: {}", self.column, self.what)
    }
}

impl std::error::Error for Mistake {}

struct Parser<'a> {
    text: &'a str,
    /// In bytes.
    at: usize,
    depth: usize,
}

pub(super) fn parse(text: &str) -> Result<Test, Mistake> {
    let mut state = Parser { text, at: 0, depth: 0 };
    let whole = state.either()?;
    state.skip();
    if state.rest().is_empty() {
        return Ok(whole);
    }
    let said = match state.rest().chars().next() {
        Some(')') => "there is no ( for this )".to_owned(),
        Some('=') => "a comparison is written ==".to_owned(),
        Some('&') => "\"and\" is written &&".to_owned(),
        Some('|') => "\"or\" is written ||".to_owned(),
        _ => "expected && or || here, or the end".to_owned(),
    };
    Err(state.mistake(said))
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn takes(&mut self, token: &str) -> bool {
        self.skip();
        let is = self.rest().starts_with(token);
        if is {
            self.at += token.len();
        }
        is
    }

    fn mistake(&self, what: impl Into<String>) -> Mistake {
        self.mistake_at(self.at, what)
    }

    fn mistake_at(&self, at: usize, what: impl Into<String>) -> Mistake {
        Mistake { column: self.text[..at].chars().count() + 1, what: what.into() }
    }

    fn either(&mut self) -> Result<Test, Mistake> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.mistake("too deeply nested"));
        }
        let mut test = self.both()?;
        while self.takes("||") {
            test = Test::Either(Box::new(test), Box::new(self.both()?));
        }
        self.depth -= 1;
        Ok(test)
    }

    fn both(&mut self) -> Result<Test, Mistake> {
        let mut test = self.one()?;
        while self.takes("&&") {
            test = Test::Both(Box::new(test), Box::new(self.one()?));
        }
        Ok(test)
    }

    fn one(&mut self) -> Result<Test, Mistake> {
        self.skip();
        let mut negated = false;
        // A run of them needs no stack.
        while self.takes("!") {
            negated = !negated;
        }
        let opened = self.at;
        let test = if self.takes("(") {
            let test = self.either()?;
            if !self.takes(")") {
                let column = self.text[..opened].chars().count() + 1;
                return Err(self.mistake(format!("expected ) here, for the ( at column {column}")));
            }
            test
        } else {
            self.comparison()?
        };
        Ok(if negated { Test::Not(Box::new(test)) } else { test })
    }

    fn comparison(&mut self) -> Result<Test, Mistake> {
        let field = self.field()?;
        self.skip();
        let at = self.at;
        // `!` begins a comparison only as `!=` and `!~`.
        let Some((_, comparison)) = Comparison::ALL.into_iter().find(|(token, _)| self.takes(token)) else {
            return Ok(Test::Is(field));
        };
        self.skip();
        let value_at = self.at;
        let value = self.value(field)?;
        self.check(field, comparison, &value, at, value_at)?;
        Ok(Test::Compare(field, comparison, value))
    }

    fn word(&mut self) -> &'a str {
        self.skip();
        let is_part = |letter: char| letter.is_alphanumeric() || "_.-:[]/+".contains(letter);
        let rest = self.rest();
        let end = rest.find(|letter| !is_part(letter)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn field(&mut self) -> Result<&'static Field, Mistake> {
        self.skip();
        let at = self.at;
        let name = self.word();
        if name.is_empty() {
            let found = match self.rest().chars().next() {
                None => "the end".to_owned(),
                Some(letter) => format!("`{letter}`"),
            };
            return Err(self.mistake(format!("expected a field here, such as ending, not {found}")));
        }
        FIELDS.iter().find(|field| field.name == name).ok_or_else(|| {
            let names = FIELDS.iter().map(|field| field.name);
            let near = match nearest(name, names) {
                Some(near) => format!("; did you mean `{near}`?"),
                None => "; the fields are those of --json".to_owned(),
            };
            self.mistake_at(at, format!("there is no field `{}`{near}", short(name)))
        })
    }

    fn value(&mut self, field: &Field) -> Result<Value, Mistake> {
        self.skip();
        let at = self.at;
        let is_number = matches!(field.kind, Kind::Number);
        let (text, quoted) = match self.rest().chars().next() {
            Some(quote @ ('"' | '\'')) => {
                let inside = &self.rest()[1..];
                let Some(end) = inside.find(quote) else {
                    return Err(self.mistake(format!("the text that begins here has no {quote} at its end")));
                };
                self.at += end + 2;
                (&inside[..end], true)
            }
            _ => (self.word(), false),
        };
        match text {
            "" if !quoted => {
                let known = match field.kind {
                    Kind::Number => "a number".to_owned(),
                    Kind::Time => "a time, such as \"2026-11-20T12:29:00Z\"".to_owned(),
                    Kind::Text => "a text in quotes".to_owned(),
                    Kind::Word(words) | Kind::Words(words) => format!("\"{}\"", words[0]),
                    Kind::Object => "null".to_owned(),
                };
                Err(self.mistake(format!("expected {known} here, for `{}`", field.name)))
            }
            "null" if !quoted => Ok(Value::Null),
            text if is_number && !quoted => text.replace('_', "").parse().map(Value::Number).map_err(|_| {
                self.mistake_at(at, format!("`{}` is a number, and `{}` is none", field.name, short(text)))
            }),
            text if field.kind == Kind::Time => match text.parse::<jiff::Timestamp>() {
                Ok(time) => Ok(Value::Number(time.as_nanosecond())),
                Err(_) => Err(self
                    .mistake_at(at, format!("`{}` is a time, such as \"2026-11-20T12:29:00Z\"", field.name))),
            },
            text => Ok(Value::Text(text.to_owned())),
        }
    }

    /// What cannot be meant is a mistake: it would never, or always, hold.
    fn check(
        &self,
        field: &Field,
        comparison: Comparison,
        value: &Value,
        at: usize,
        value_at: usize,
    ) -> Result<(), Mistake> {
        use Comparison::{Contains, Equal, Lacks, Unequal};
        let name = field.name;
        let equality = matches!(comparison, Equal | Unequal);
        match (field.kind, value) {
            (_, Value::Null) if equality => Ok(()),
            (_, Value::Null) => Err(self.mistake_at(at, "null can only be compared with == and !=")),
            (Kind::Object, _) => {
                let near = FIELDS
                    .iter()
                    .find(|inner| inner.name.strip_prefix(name).is_some_and(|inner| inner.starts_with('.')));
                let near = near.map_or("", |inner| inner.name);
                Err(self.mistake_at(at, format!("`{name}` has fields of its own, such as `{near}`")))
            }
            (Kind::Number | Kind::Time, Value::Number(_)) if matches!(comparison, Contains | Lacks) => {
                Err(self.mistake_at(at, format!("`{name}` is no text: ~ cannot search it")))
            }
            (Kind::Number, Value::Text(_)) => {
                Err(self.mistake_at(value_at, format!("`{name}` is a number: leave out the quotes")))
            }
            (Kind::Text | Kind::Word(_) | Kind::Words(_), _)
                if !equality && !matches!(comparison, Contains | Lacks) =>
            {
                Err(self.mistake_at(at, format!("`{name}` is a text: compare it with ==, != or ~")))
            }
            (Kind::Word(words) | Kind::Words(words), Value::Text(text))
                if equality && !words.contains(&text.as_str()) =>
            {
                let near = match nearest(text, words.iter().copied()) {
                    Some(near) => format!("; did you mean `{near}`?"),
                    None => format!("; it is one of {}", words.join(", ")),
                };
                Err(self.mistake_at(value_at, format!("`{name}` is never `{}`{near}", short(text))))
            }
            _ => Ok(()),
        }
    }
}

fn short(text: &str) -> String {
    let mut letters = text.chars();
    let mut kept: String = letters.by_ref().take(40).collect();
    if letters.next().is_some() {
        kept.push('…');
    }
    kept
}

/// The nearest of some names, if it is near: a third of its letters may differ, and what stands before its dot may be
/// missing.
fn nearest<'n>(text: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    if text.chars().count() > 60 {
        return None;
    }
    let far = |name: &str| {
        let last = name.rsplit('.').next().unwrap_or(name);
        distance(text, name).min(distance(text, last))
    };
    let near = names.map(|name| (far(name), name)).min_by_key(|(far, _)| *far);
    near.filter(|(far, _)| far * 3 <= text.len()).map(|(_, name)| name)
}

/// Letters to put in, leave out or change (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (place, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = place + 1;
        for (column, against) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *against);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}
