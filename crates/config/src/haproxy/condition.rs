//! Conditions of `.if` and `.elif` (configuration manual, section 2.4), as far as files and a version decide them.

use super::environment::{Environment, Variable};
use super::value::Version;

/// How deep parentheses are followed, and how many elements of a condition.
const MAX_DEPTH: usize = 32;

/// What a condition says: true, false, or none if that cannot be known.
type Truth = Option<bool>;

/// What conditions are about.
pub(super) struct Known<'k> {
    pub(super) environment: &'k Environment,
    pub(super) version: Option<&'k Release>,
}

/// A version with what conditions ask of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Release {
    version: Version,
    /// True if the third number is known.
    whole: bool,
    /// True if it is one before the first of its branch: their order is not in the three numbers.
    development: bool,
}

impl Release {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let word =
            text.split_whitespace().find(|word| word.starts_with(|sign: char| sign.is_ascii_digit()))?;
        let version = Version::parse(word)?;
        let numbers = word.split(['.', '-', '+', '~']).take(3);
        let whole = numbers.filter(|part| part.parse::<u32>().is_ok()).count() == 3;
        Some(Self { version, whole, development: word.contains("-dev") })
    }

    /// True if it is at least the one that a condition names.
    fn at_least(&self, named: &[u8]) -> Truth {
        let named = std::str::from_utf8(named).ok()?;
        let (numbers, development) = match named.split_once("-dev") {
            Some((numbers, number)) => {
                number.parse::<u32>().ok()?;
                (numbers, true)
            }
            None => (named, false),
        };
        let mut parts = numbers.split('.').map(str::parse::<u32>);
        let major = parts.next()?.ok()?;
        let minor = parts.next().transpose().ok()?.unwrap_or_default();
        let patch = parts.next().transpose().ok()?.unwrap_or_default();
        if parts.next().is_some() {
            return None;
        }
        let named = Version::new(major, minor, patch);
        let (here, there) = (self.version.branch(), named.branch());
        if here != there {
            return Some(here > there);
        }
        match (self.development, development) {
            // A branch begins with its versions for development.
            (false, true) => Some(true),
            (false, false) if patch == 0 => Some(true),
            (false, false) if self.whole => Some(self.version >= named),
            (true, _) | (false, false) => None,
        }
    }
}

/// What a condition says. What HAProxy would refuse is not known.
pub(super) fn holds(condition: &[u8], known: &Known<'_>) -> Truth {
    if condition.is_empty() {
        return Some(false);
    }
    let mut reader = Reader { rest: condition, known };
    let truth = reader.either(0)?;
    reader.blanks();
    if reader.rest.is_empty() { truth } else { None }
}

struct Reader<'c, 'k> {
    rest: &'c [u8],
    known: &'k Known<'k>,
}

/// `None` of the outer option: it is not a condition.
impl<'c> Reader<'c, '_> {
    fn blanks(&mut self) {
        while let [b' ' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    fn take(&mut self, sign: &[u8]) -> bool {
        self.blanks();
        let rest = self.rest.strip_prefix(sign);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn either(&mut self, depth: usize) -> Option<Truth> {
        let mut truth = self.both(depth)?;
        while self.take(b"||") {
            let other = self.both(depth)?;
            truth = match (truth, other) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            };
        }
        Some(truth)
    }

    fn both(&mut self, depth: usize) -> Option<Truth> {
        let mut truth = self.one(depth)?;
        while self.take(b"&&") {
            let other = self.one(depth)?;
            truth = match (truth, other) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            };
        }
        Some(truth)
    }

    fn one(&mut self, depth: usize) -> Option<Truth> {
        let mut negated = false;
        while self.take(b"!") {
            negated = !negated;
        }
        let truth = if self.take(b"(") {
            if depth >= MAX_DEPTH {
                return None;
            }
            let truth = self.either(depth + 1)?;
            if !self.take(b")") {
                return None;
            }
            truth
        } else if self.rest.first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'-') {
            self.number()?
        } else {
            self.predicate()?
        };
        Some(truth.map(|truth| truth != negated))
    }

    /// `strtol(, 0)`, of which it matters only whether it is zero.
    fn number(&mut self) -> Option<Truth> {
        let text = self.rest.strip_prefix(b"-").unwrap_or(self.rest);
        let hexadecimal = text.strip_prefix(b"0x").or_else(|| text.strip_prefix(b"0X"));
        let digits = hexadecimal.unwrap_or(text);
        let is_digit = |byte: &u8| match hexadecimal {
            Some(_) => byte.is_ascii_hexdigit(),
            None => byte.is_ascii_digit(),
        };
        let (number, rest) =
            digits.split_at_checked(digits.iter().take_while(|byte| is_digit(byte)).count())?;
        // A digit that octal numbers do not have would end it.
        let octal = hexadecimal.is_none() && number.len() > 1 && number.starts_with(b"0");
        if number.is_empty() || octal && number.iter().any(|byte| *byte > b'7') {
            return None;
        }
        self.rest = rest;
        Some(Some(number.iter().any(|byte| *byte != b'0')))
    }

    fn predicate(&mut self) -> Option<Truth> {
        let open = memchr::memchr(b'(', self.rest)?;
        let (name, rest) = self.rest.split_at_checked(open)?;
        if name.is_empty() || !name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
            return None;
        }
        let close = memchr::memchr(b')', rest)?;
        let inner = rest.get(1..close)?;
        self.rest = rest.get(close + 1..)?;
        // Quotes and backslashes have a meaning of their own there.
        if inner.iter().any(|byte| matches!(byte, b'"' | b'\'' | b'\\' | b'(')) {
            return None;
        }
        let mut arguments = inner.split(|byte| *byte == b',');
        let arguments = (arguments.next(), arguments.next(), arguments.next());
        Some(match (name, arguments) {
            (b"defined", (Some(name), None, _)) => match self.known.environment.variable(name) {
                Variable::Set(_) => Some(true),
                Variable::Unset => Some(false),
                Variable::Unknown => None,
            },
            (b"streq", (Some(one), Some(other), None)) => Some(one == other),
            (b"strneq", (Some(one), Some(other), None)) => Some(one != other),
            (b"version_atleast", (Some(named), None, _)) => self.at_least(named),
            (b"version_before", (Some(named), None, _)) => self.at_least(named).map(|at_least| !at_least),
            // Among them `feature`, which no version decides.
            _ => None,
        })
    }

    fn at_least(&self, named: &'c [u8]) -> Truth {
        self.known.version?.at_least(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        let mut environment = Environment::default();
        environment.set(b"A", Variable::Set(Vec::new()));
        environment.set(b"NONE", Variable::Unset);
        environment
    }

    /// What `haproxy -cc` of Debian's 2.6.12 says to each.
    #[test]
    fn conditions_are_what_haproxy_takes_them_for() {
        let environment = environment();
        let release = Release::parse("2.6.12-1+deb12u4");
        let known = Known { environment: &environment, version: release.as_ref() };
        for (condition, expected) in CONDITIONS {
            assert_eq!(holds(condition.as_bytes(), &known), *expected, "{condition}");
        }
    }

    const CONDITIONS: &[(&str, Truth)] = &[
        ("", Some(false)),
        ("0", Some(false)),
        ("00", Some(false)),
        ("1", Some(true)),
        ("-1", Some(true)),
        ("0x10", Some(true)),
        ("010", Some(true)),
        (" 1 ", Some(true)),
        ("1&&1", Some(true)),
        ("1 && 0", Some(false)),
        ("1 || 1 && 0", Some(true)),
        ("0 && 1 || 1", Some(true)),
        ("( 1 )", Some(true)),
        ("!(0)", Some(true)),
        ("! 0", Some(true)),
        ("!!1", Some(true)),
        ("defined(A)", Some(true)),
        ("!defined(NONE)", Some(true)),
        ("streq(a,a)", Some(true)),
        ("streq( a,a)", Some(false)),
        ("streq(a, a)", Some(false)),
        ("streq(,)", Some(true)),
        ("strneq(a,b)", Some(true)),
        ("streq(a b,a b)", Some(true)),
        ("streq(a,b) || streq(a,a) && !streq(b,b)", Some(false)),
        ("version_atleast(2)", Some(true)),
        ("version_atleast(2.6)", Some(true)),
        ("version_atleast(2.6.12)", Some(true)),
        ("version_atleast(2.6.13)", Some(false)),
        ("version_atleast(2.6-dev3)", Some(true)),
        ("version_atleast(2.7-dev0)", Some(false)),
        ("version_before(2.6.12)", Some(false)),
        ("version_before(2.6.13)", Some(true)),
        // What depends on how it was built or started.
        ("feature(OPENSSL)", None),
        ("defined(B)", None),
        ("defined(B) && 0", Some(false)),
        ("defined(B) || 1", Some(true)),
        ("defined(B) || 0", None),
        // What HAProxy refuses, or a later one knows.
        (" ", None),
        ("1 &&", None),
        ("1 || (0", None),
        ("1x", None),
        ("5 5", None),
        ("yes", None),
        ("streq(a)", None),
        ("streq(\"a,b\",a)", None),
        ("version_atleast(2.6.12-1)", None),
        ("strstr(abc,b)", None),
    ];

    #[test]
    fn a_version_decides_as_much_as_is_known_of_it() {
        let environment = Environment::default();
        let says = |version: &str, condition: &str| {
            let release = Release::parse(version);
            holds(condition.as_bytes(), &Known { environment: &environment, version: release.as_ref() })
        };
        assert_eq!(says("2.6", "version_atleast(2.6)"), Some(true));
        assert_eq!(says("2.6", "version_atleast(2.6.3)"), None);
        assert_eq!(says("2.6", "version_before(2.6.3)"), None);
        assert_eq!(says("2.6-dev3", "version_atleast(2.6-dev2)"), None);
        assert_eq!(says("2.6-dev3", "version_atleast(2.5.9)"), Some(true));
        assert_eq!(says("", "version_atleast(2.5.9)"), None);
    }

    #[test]
    fn any_condition_is_read_to_its_end() {
        let environment = Environment::default();
        let known = Known { environment: &environment, version: None };
        for condition in ["(".repeat(100_000), "!".repeat(100_000), "1||".repeat(100_000), "(1)".repeat(9)] {
            assert_eq!(holds(condition.as_bytes(), &known), None);
        }
    }
}
