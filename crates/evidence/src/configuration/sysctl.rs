//! What the files of `sysctl.d` set at boot, in the order that systemd applies. What the command line of the kernel
//! sets (`sysctl.NAME=`), and what programs set later, is in no file.

use super::FilePlace;
use serde::{Deserialize, Serialize};

/// What the files say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sysctl {
    /// Settings by name, in the order of names. A name with `*` is a pattern that no file resolves.
    pub keys: Vec<SysctlKey>,
    /// Files that are not applied.
    pub unapplied: Vec<Unapplied>,
}

/// A setting.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SysctlKey {
    /// With dots: `net.ipv4.tcp_fin_timeout`.
    pub name: String,
    /// The assignment that wins; none if only `-name` stands there, which keeps patterns off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub winner: Option<SysctlValue>,
    /// Where `-name` stands without a value: no pattern sets it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keeps_patterns_off: Option<FilePlace>,
    /// Those that lose, in the order in which they are read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub overridden: Vec<Overridden>,
}

impl Sysctl {
    /// The assignment that decides what a setting is after boot: of its name, or else the last pattern that matches and
    /// is not kept off. Places are in the order in which files are applied.
    pub fn winner(&self, name: &str) -> Option<&SysctlValue> {
        let own = self.keys.iter().find(|key| key.name == name);
        if let Some(key) = own.filter(|key| key.winner.is_some() || key.keeps_patterns_off.is_some()) {
            return key.winner.as_ref();
        }
        let patterns = self.keys.iter().filter_map(|key| key.winner.as_ref());
        let matching =
            patterns.filter(|value| value.pattern.as_deref().is_some_and(|pattern| matches(pattern, name)));
        matching.max_by_key(|value| value.place)
    }
}

/// True if a setting's name fits a pattern: `*` stands for any signs but a dot, `?` for one, `[...]` for one of these.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (mut patterns, mut names) = (pattern.split('.'), name.split('.'));
    loop {
        match (patterns.next(), names.next()) {
            (None, None) => return true,
            (Some(pattern), Some(name)) if part_matches(pattern, name) => {}
            _ => return false,
        }
    }
}

/// As [`matches`], between two dots: one star is gone back to at a time, so it takes no more than the product of both.
fn part_matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().take(300).collect();
    let name: Vec<char> = name.chars().take(300).collect();
    let (mut at, mut in_name) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while in_name < name.len() {
        let one = pattern.get(at..).and_then(|rest| one_matches(rest, name.get(in_name).copied()));
        if pattern.get(at) == Some(&'*') {
            star = Some((at, in_name));
            at += 1;
        } else if let Some(length) = one {
            at += length;
            in_name += 1;
        } else if let Some((after, taken)) = star {
            star = Some((after, taken + 1));
            at = after + 1;
            in_name = taken + 1;
        } else {
            return false;
        }
    }
    pattern.get(at..).is_none_or(|rest| rest.iter().all(|sign| *sign == '*'))
}

/// How many signs of the pattern stand for this one sign; none if they do not.
fn one_matches(pattern: &[char], sign: Option<char>) -> Option<usize> {
    let sign = sign?;
    match pattern {
        ['?', ..] => Some(1),
        ['[', class @ ..] if class.iter().skip(1).any(|sign| *sign == ']') => {
            let negated = matches!(class.first(), Some('!' | '^'));
            let class = class.get(usize::from(negated)..)?;
            // A bracket that comes first is one of the signs.
            let end = 1 + class.iter().skip(1).position(|sign| *sign == ']')?;
            let mut set = class.get(..end)?;
            let mut within = false;
            while let [first, rest @ ..] = set {
                if let ['-', last, after @ ..] = rest {
                    within |= (*first..=*last).contains(&sign);
                    set = after;
                } else {
                    within |= *first == sign;
                    set = rest;
                }
            }
            (within != negated).then_some(end + 2 + usize::from(negated))
        }
        [plain, ..] if *plain == sign => Some(1),
        _ => None,
    }
}

/// An assignment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SysctlValue {
    /// What is written to the setting, to the end of the line: a `#` after the value is a part of it. Blanks within it
    /// are one space each.
    pub value: String,
    /// Where it is.
    pub place: FilePlace,
    /// The name as it is written, if that is a pattern.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// A minus sign before it: it may fail.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub may_fail: bool,
}

/// An assignment that loses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Overridden {
    /// The assignment; its value is empty where `-name` stands.
    pub assignment: SysctlValue,
    /// What it loses to.
    pub by: Loses,
}

/// Why an assignment has no effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loses {
    /// A later line sets the same.
    Later,
    /// It is a pattern, and the setting is named elsewhere, before or after it.
    Named,
    /// Its file is not applied.
    File,
    /// A reason that a newer lastack knows.
    #[default]
    #[serde(other)]
    Other,
}

/// A file that is not applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unapplied {
    /// Which of the files.
    pub file: u32,
    /// The file of the same name in a directory that comes first; none if it is in no directory that is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub masked_by: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stops_at_a_dot() {
        for (pattern, name, expected) in [
            ("net.ipv4.conf.*.rp_filter", "net.ipv4.conf.eth0.rp_filter", true),
            ("net.ipv4.conf.*.rp_filter", "net.ipv4.conf.a.b.rp_filter", false),
            ("net.*", "net.ipv4.ip_forward", false),
            ("*.*.tcp_*_reuse", "net.ipv4.tcp_tw_reuse", true),
            ("e*h*0", "eth0", true),
            ("eth?", "eth0", true),
            ("eth?", "eth", false),
            ("eth[0-3]", "eth2", true),
            ("eth[!0-3]", "eth2", false),
            ("eth[]x]", "eth]", true),
            ("eth[", "eth[", true),
            ("*", "", true),
            ("", "", true),
            ("a*", "", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
