//! `--filter`: which connections are shown.
//!
//! ```text
//! either     = both { "||" both }
//! both       = one { "&&" one }
//! one        = "!" one | "(" either ")" | FIELD [ comparison ]
//! comparison = ( "==" | "!=" | "<" | "<=" | ">" | ">=" | "~" | "!~" ) VALUE
//! VALUE      = "text" | 'text' | word | number | true | false | null
//! ```
//!
//! A field is one of the JSON of a connection: `ending`, `http.requests`. Alone it asks whether there is something:
//! neither null nor 0 nor an empty list. `~` asks whether a text contains another. What holds for one element of a
//! list holds for the list. Null is equal to null only, and neither less nor greater than anything.

mod field;
mod parse;

use capture::Connection;
use field::{Field, Seen};
use std::cmp::Ordering;

pub(crate) use parse::Mistake;

/// An expression that was understood.
#[derive(Debug)]
pub(crate) struct Filter(Test);

#[derive(Debug)]
enum Test {
    Either(Box<Self>, Box<Self>),
    Both(Box<Self>, Box<Self>),
    Not(Box<Self>),
    Is(&'static Field),
    Compare(&'static Field, Comparison, Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
    Contains,
    Lacks,
}

/// What a field is compared with.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Null,
    Number(i128),
    Text(String),
}

impl Filter {
    /// Understands an expression.
    pub(crate) fn parse(text: &str) -> Result<Self, Mistake> {
        parse::parse(text).map(Self)
    }

    /// True if the connection is to be shown.
    pub(crate) fn takes(&self, connection: &Connection) -> bool {
        self.0.holds(connection)
    }
}

impl Test {
    fn holds(&self, connection: &Connection) -> bool {
        match self {
            Self::Either(one, other) => one.holds(connection) || other.holds(connection),
            Self::Both(one, other) => one.holds(connection) && other.holds(connection),
            Self::Not(test) => !test.holds(connection),
            Self::Is(field) => match field.of(connection) {
                Seen::Null | Seen::Number(0) => false,
                Seen::Number(_) | Seen::Text(_) | Seen::There => true,
                Seen::List(list) => !list.is_empty(),
            },
            Self::Compare(field, comparison, value) => comparison.holds(&field.of(connection), value),
        }
    }
}

impl Comparison {
    const ALL: [(&'static str, Self); 8] = [
        // Longer ones first.
        ("==", Self::Equal),
        ("!=", Self::Unequal),
        ("<=", Self::AtMost),
        (">=", Self::AtLeast),
        ("!~", Self::Lacks),
        ("<", Self::Less),
        (">", Self::Greater),
        ("~", Self::Contains),
    ];

    fn holds(self, seen: &Seen, value: &Value) -> bool {
        match self {
            Self::Unequal => !Self::Equal.holds(seen, value),
            Self::Lacks => !Self::Contains.holds(seen, value),
            Self::Equal => match (seen, value) {
                (Seen::Null, Value::Null) => true,
                (Seen::Number(seen), Value::Number(value)) => seen == value,
                (Seen::Text(seen), Value::Text(value)) => **seen == **value,
                (Seen::List(list), Value::Text(value)) => list.contains(&value.as_str()),
                _ => false,
            },
            Self::Contains => match (seen, value) {
                (Seen::Text(seen), Value::Text(value)) => seen.contains(value.as_str()),
                (Seen::List(list), Value::Text(value)) => list.iter().any(|one| one.contains(value.as_str())),
                _ => false,
            },
            Self::Less | Self::AtMost | Self::Greater | Self::AtLeast => {
                let (Seen::Number(seen), Value::Number(value)) = (seen, value) else { return false };
                match seen.cmp(value) {
                    Ordering::Less => matches!(self, Self::Less | Self::AtMost),
                    Ordering::Equal => matches!(self, Self::AtMost | Self::AtLeast),
                    Ordering::Greater => matches!(self, Self::Greater | Self::AtLeast),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
