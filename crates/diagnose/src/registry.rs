//! The rules there are. A rule is one file in `rules/`; its `//!` comment is the page that `lastack explain`
//! prints, and its name here is the only other place that mentions it.

use crate::{Finding, Look};

/// What a rule says of one namespace.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Nothing is wrong.
    Quiet,
    /// This is wrong.
    Found(Vec<Finding>),
    /// The evidence it needs is missing.
    Unknown {
        /// What is missing.
        because: String,
        /// How to see it.
        how_to_see: String,
    },
}

impl From<Vec<Finding>> for Verdict {
    fn from(findings: Vec<Finding>) -> Self {
        if findings.is_empty() { Self::Quiet } else { Self::Found(findings) }
    }
}

/// A rule: its name, its page and its check.
pub struct Rule {
    name: &'static str,
    source: &'static str,
    check: fn(&Look<'_>) -> Verdict,
}

impl Rule {
    /// The rule's name, kebab-case.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The first line of its page.
    pub fn summary(&self) -> &'static str {
        self.source.lines().find_map(|line| line.strip_prefix("//! ")).unwrap_or_default()
    }

    /// Its page, Markdown: the file's own documentation.
    pub fn page(&self) -> String {
        let lines = self.source.lines().take_while(|line| line.starts_with("//!"));
        lines.map(|line| line.trim_start_matches("//!").strip_prefix(' ').unwrap_or("")).fold(
            String::new(),
            |mut page, line| {
                page.push_str(line);
                page.push('\n');
                page
            },
        )
    }

    /// Judges one namespace.
    pub fn check(&self, look: &Look<'_>) -> Verdict {
        (self.check)(look)
    }
}

/// Every rule, in the order of DESIGN's table.
pub fn rules() -> &'static [Rule] {
    crate::rules::ALL
}

/// The rule with this name.
pub fn rule(name: &str) -> Option<&'static Rule> {
    rules().iter().find(|rule| rule.name == name)
}

/// Declares the rules: `"kebab-name" => module`.
macro_rules! registry {
    ($($name:literal => $module:ident,)+) => {
        $(mod $module;)+
        pub(crate) const ALL: &[$crate::registry::Rule] = &[$($crate::registry::Rule::new(
            $name,
            include_str!(concat!("rules/", stringify!($module), ".rs")),
            $module::check,
        ),)+];
    };
}
pub(crate) use registry;

impl Rule {
    pub(crate) const fn new(
        name: &'static str,
        source: &'static str,
        check: fn(&Look<'_>) -> Verdict,
    ) -> Self {
        Self { name, source, check }
    }
}
