//! Variables of the environment, as far as files tell what they are (configuration manual, section 2.3).

use super::word::{Word, escape};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// So many variables are followed; more are not known.
const MAX_VARIABLES: usize = 1000;

/// So long a word may get by what stands for its variables.
const MAX_WORD: usize = 64 << 10;

/// HAProxy sets variables of this name itself.
const ITS_OWN: &[u8] = b"HAPROXY_";

/// What a variable is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Variable {
    Set(Vec<u8>),
    Unset,
    Unknown,
}

/// The environment at a line of the files. What it is before the first one is not known.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    known: BTreeMap<Vec<u8>, Variable>,
    /// True after `resetenv`: what is not known is not set.
    empty: bool,
    /// True if there were more than can be followed.
    overflowed: bool,
}

impl Environment {
    /// What a variable is.
    pub(super) fn variable(&self, name: &[u8]) -> Variable {
        if name.starts_with(ITS_OWN) || name.starts_with(b".") || self.overflowed {
            return Variable::Unknown;
        }
        let otherwise = if self.empty { Variable::Unset } else { Variable::Unknown };
        self.known.get(name).cloned().unwrap_or(otherwise)
    }

    /// What `setenv` and its like do with a variable.
    pub(super) fn set(&mut self, name: &[u8], to: Variable) {
        if self.known.len() >= MAX_VARIABLES && !self.known.contains_key(name) {
            self.overflowed = true;
            return;
        }
        self.known.insert(name.to_vec(), to);
    }

    /// `resetenv`: nothing stays but these.
    pub(super) fn reset(&mut self, kept: &[Cow<'_, [u8]>]) {
        for name in kept {
            let now = self.variable(name);
            self.set(name, now);
        }
        self.known.retain(|name, _| kept.iter().any(|one| **one == **name));
        self.empty = true;
    }

    /// Nothing is known any more.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// The words that a word of a file stands for: one, or as many as `"${NAME[*]}"` has. None if that depends on a
    /// variable that is not known.
    pub(super) fn words<'t>(&self, word: Word<'t>) -> Option<Vec<Cow<'t, [u8]>>> {
        if !word.has_variable() {
            return Some(vec![word.value()]);
        }
        let mut words = vec![Vec::new()];
        let mut quote = None;
        let mut rest = word.raw();
        while let [byte, after @ ..] = rest {
            rest = after;
            let last = words.last_mut()?;
            match (*byte, quote) {
                (b'\\', None | Some(b'"')) => {
                    let (escaped, length) = escape(after, quote.is_some());
                    last.push(escaped);
                    rest = after.get(length..).unwrap_or_default();
                }
                (b'$', Some(b'"')) => {
                    let (used, past) = Used::read(after)?;
                    let value = match (self.variable(used.name), used.otherwise) {
                        (Variable::Set(value), _) => value,
                        (Variable::Unset, otherwise) => otherwise.unwrap_or_default().to_vec(),
                        (Variable::Unknown, _) => return None,
                    };
                    let mut parts = value.split(|byte| used.several && *byte == b' ');
                    last.extend_from_slice(parts.next().unwrap_or_default());
                    words.extend(parts.map(<[u8]>::to_vec));
                    rest = past;
                }
                (open @ (b'"' | b'\''), None) => quote = Some(open),
                (close, Some(open)) if close == open => quote = None,
                (byte, _) => last.push(byte),
            }
            if words.len() > MAX_VARIABLES || words.last().is_some_and(|last| last.len() > MAX_WORD) {
                return None;
            }
        }
        if words.len() > 1 {
            // Blanks around the values of a list make no words.
            words.retain(|word| !word.is_empty());
        }
        Some(words.into_iter().map(Cow::Owned).collect())
    }

    /// An address, in which variables stand without quotes, too (`str2sa_range()` of HAProxy); as it is where one is
    /// not known.
    pub(super) fn address<'t>(&self, text: Cow<'t, [u8]>) -> Cow<'t, [u8]> {
        if !text.contains(&b'$') {
            return text;
        }
        let mut expanded = Vec::with_capacity(text.len());
        let mut rest = &*text;
        while let Some(at) = memchr::memchr(b'$', rest) {
            let (before, after) = rest.split_at(at);
            expanded.extend_from_slice(before);
            let Some((used, past)) = Used::read(after.get(1..).unwrap_or_default()) else { return text };
            match self.variable(used.name) {
                Variable::Set(value)
                    if used.otherwise.is_none() && expanded.len() + value.len() < MAX_WORD =>
                {
                    expanded.extend_from_slice(&value);
                }
                _ => return text,
            }
            rest = past;
        }
        expanded.extend_from_slice(rest);
        Cow::Owned(expanded)
    }
}

/// `NAME`, `{NAME}`, `{NAME-default}`, `{NAME[*]}` behind a dollar sign.
struct Used<'t> {
    name: &'t [u8],
    otherwise: Option<&'t [u8]>,
    several: bool,
}

impl<'t> Used<'t> {
    /// What stands behind a dollar sign, and what comes after that.
    fn read(after: &'t [u8]) -> Option<(Self, &'t [u8])> {
        let braces = after.first() == Some(&b'{');
        let text = after.get(usize::from(braces)..)?;
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || (*byte == b'.' && braces);
        let length = text.iter().take_while(|byte| is_name(byte)).count();
        let (name, rest) = text.split_at_checked(length)?;
        if name.is_empty() {
            return None;
        }
        if !braces {
            return Some((Self { name, otherwise: None, several: false }, rest));
        }
        let (inner, past) = rest.split_at_checked(rest.iter().position(|byte| *byte == b'}')?)?;
        let past = past.get(1..)?;
        let (inner, several) = match inner.strip_suffix(b"[*]") {
            Some(inner) => (inner, true),
            None => (inner, false),
        };
        let otherwise = match inner {
            [] => None,
            [b'-', otherwise @ ..] => Some(otherwise),
            _ => return None,
        };
        Some((Self { name, otherwise, several }, past))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Span;

    fn environment() -> Environment {
        let mut environment = Environment::default();
        environment.set(b"A", Variable::Set(b"127.0.0.1".to_vec()));
        environment.set(b"LIST", Variable::Set(b" maxconn  7".to_vec()));
        environment.set(b"NONE", Variable::Unset);
        environment
    }

    fn words(environment: &Environment, raw: &str) -> Option<Vec<String>> {
        let words = environment.words(Word::new(raw.as_bytes(), Span::new(0, raw.len())))?;
        Some(words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect())
    }

    #[test]
    fn variables_stand_in_double_quotes() {
        let known = environment();
        let one = |raw: &str| words(&known, raw).map(|words| words.join("|"));
        for (raw, expected) in [
            (r#""$A:80""#, Some("127.0.0.1:80")),
            (r#"x"${A}"y"#, Some("x127.0.0.1y")),
            (r#""${A-1.2.3.4}""#, Some("127.0.0.1")),
            (r#""${NONE-1.2.3.4}:8""#, Some("1.2.3.4:8")),
            (r#""$NONE""#, Some("")),
            (r#"p"${LIST[*]}""#, Some("p|maxconn|7")),
            (r#""$LIST""#, Some(" maxconn  7")),
            (r#"'$A'"\$A"$A"#, Some("$A$A$A")),
            (r#""${B-1.2.3.4}""#, None),
            (r#""${A""#, None),
            (r#""$""#, None),
            (r#""${.LINE}""#, None),
            (r#""$HAPROXY_CFGFILES""#, None),
        ] {
            assert_eq!(one(raw).as_deref(), expected, "{raw}");
        }
    }

    #[test]
    fn addresses_have_variables_without_quotes() {
        let known = environment();
        let address = |text: &'static str| {
            String::from_utf8_lossy(&known.address(Cow::Borrowed(text.as_bytes()))).into_owned()
        };
        assert_eq!(address("${A}:80"), "127.0.0.1:80");
        assert_eq!(address("$A:$A"), "127.0.0.1:127.0.0.1");
        assert_eq!(address("${B}:80"), "${B}:80");
        assert_eq!(address("${NONE}:80"), "${NONE}:80");
    }

    #[test]
    fn what_is_reset_is_not_set() {
        let mut known = environment();
        assert_eq!(known.variable(b"B"), Variable::Unknown);
        known.reset(&[Cow::Borrowed(b"LIST"), Cow::Borrowed(b"PATH")]);
        assert_eq!(known.variable(b"A"), Variable::Unset);
        assert_eq!(known.variable(b"B"), Variable::Unset);
        assert_eq!(known.variable(b"PATH"), Variable::Unknown);
        assert_eq!(known.variable(b"LIST"), Variable::Set(b" maxconn  7".to_vec()));
        known.forget();
        assert_eq!(known.variable(b"B"), Variable::Unknown);
    }
}
