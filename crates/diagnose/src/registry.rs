//! The rules there are. A rule is one file in `rules/`; its `//!` comment is the page that `lastack explain`
//! prints, and its name here is the only other place that mentions it.

use crate::{ConfigurationLook, Finding, Look, TrafficLook};

/// What a rule says of one namespace, of the packets, or of configurations.
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

/// A rule: its name, its page and what it judges: namespaces, packets, configurations.
pub struct Rule {
    pub(crate) name: &'static str,
    pub(crate) source: &'static str,
    pub(crate) check: Option<fn(&Look<'_>) -> Verdict>,
    pub(crate) check_traffic: Option<fn(&TrafficLook<'_>) -> Verdict>,
    pub(crate) check_configuration: Option<fn(&ConfigurationLook<'_>) -> Verdict>,
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

    /// Judges one namespace; quiet if only packets decide.
    pub fn check(&self, look: &Look<'_>) -> Verdict {
        self.check.map_or(Verdict::Quiet, |check| check(look))
    }

    /// Judges what captures showed; quiet if packets say nothing of it.
    pub fn check_traffic(&self, look: &TrafficLook<'_>) -> Verdict {
        self.check_traffic.map_or(Verdict::Quiet, |check| check(look))
    }

    /// Judges what programs and the kernel are told by files; quiet if files say nothing of it.
    pub fn check_configuration(&self, look: &ConfigurationLook<'_>) -> Verdict {
        self.check_configuration.map_or(Verdict::Quiet, |check| check(look))
    }

    /// True if packets decide, and nothing that a glance at sockets shows.
    pub fn needs_packets(&self) -> bool {
        self.check.is_none() && self.check_traffic.is_some()
    }

    /// True if files decide, or help to.
    pub fn reads_configurations(&self) -> bool {
        self.check_configuration.is_some()
    }

    /// True if packets decide, or help to.
    pub fn reads_packets(&self) -> bool {
        self.check_traffic.is_some()
    }

    /// What every rule that only packets decide says if none were read: the same words, so that a report can say
    /// them once.
    pub fn without_packets() -> Verdict {
        Verdict::Unknown {
            because: "no packets were read".to_owned(),
            how_to_see: "lastack read FILE, or lastack doctor --capture FILE".to_owned(),
        }
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

/// Declares the rules and what they judge: `"kebab-name" => module { check, check_traffic }`.
macro_rules! registry {
    ($($name:literal => $module:ident { $($judges:ident),+ },)+) => {
        $(mod $module;)+
        pub(crate) const ALL: &[$crate::registry::Rule] = &[$($crate::registry::Rule {
            $($judges: Some($module::$judges),)+
            ..$crate::registry::Rule::new(
                $name,
                include_str!(concat!("rules/", stringify!($module), ".rs")),
            )
        },)+];
    };
}
pub(crate) use registry;

impl Rule {
    pub(crate) const fn new(name: &'static str, source: &'static str) -> Self {
        Self { name, source, check: None, check_traffic: None, check_configuration: None }
    }
}
