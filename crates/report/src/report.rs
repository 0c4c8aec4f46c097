//! The report: the JSON contract `lastack.report/1`.

use crate::{BudgetRow, Closes, Deviation, Movement, Sockets, TimeWait, Tracking, TrafficRow};
use diagnose::{Diagnosis, Finding, Severity};
use evidence::{Case, Gap, Namespace};
use schemars::JsonSchema;
use serde::Serialize;
use std::borrow::Cow;

/// Name and version of the report. Fields may be added to a version; a change of meaning makes a new one.
pub const SCHEMA: &str = "lastack.report/1";

/// So many findings are reported; a rule that fires for each of a thousand containers is one problem.
const MAX_FINDINGS: usize = 200;
/// So many namespaces, undecided rules and gaps are listed each.
const MAX_ROWS: usize = 200;
/// So many letters of a name from a host are kept.
const MAX_NAME: usize = 255;

/// What lastack found on a host.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(title = "lastack report")]
pub struct Report {
    /// Always `lastack.report/1`.
    #[schemars(extend("const" = SCHEMA))]
    pub schema: &'static str,
    /// Program and version that made the case.
    pub written_by: String,
    /// The host.
    pub host: HostRow,
    /// The look.
    pub look: LookRow,
    /// The verdict in short.
    pub summary: Summary,
    /// What captures showed; left out if none was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic: Option<TrafficRow>,
    /// TCP sockets of all namespaces.
    pub sockets: Sockets,
    /// TIME-WAIT sockets and the memory they take.
    pub time_wait: TimeWait,
    /// Closes a second, by network namespace, the busiest first; only of connections that this host closed
    /// first (or at once with the peer), because the other side keeps no record.
    pub closes: Vec<Closes>,
    /// Counters of opening and closing that rose during the look.
    pub counters: Vec<Movement>,
    /// Connection tracking, by network namespace, where it is loaded.
    pub conntrack: Vec<Tracking>,
    /// Settings that matter to closing and differ from the kernel's default.
    pub settings: Vec<Deviation>,
    /// Budgets of local ports, the fullest first.
    pub budgets: Vec<BudgetRow>,
    /// What is wrong, worst first.
    pub findings: Vec<Finding>,
    /// Rules that could not be decided.
    pub unknown: Vec<UnknownRow>,
    /// What could not be seen.
    pub coverage: Vec<GapRow>,
    /// How many rows of each list were left out, because a report is bounded.
    pub not_shown: NotShown,
}

/// The host a report is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HostRow {
    /// Its name.
    pub name: String,
    /// Its operating system: `Linux`, `Windows`, `macOS`.
    pub system: &'static str,
    /// Kernel release.
    pub kernel: String,
    /// When the look ended: RFC 3339 with nanoseconds.
    pub taken_at: String,
    /// The network namespaces that were looked at.
    pub namespaces: Vec<NamespaceRow>,
}

/// A network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NamespaceRow {
    /// Its name: `host`, a name under /run/netns, or `pid:N`.
    pub name: String,
    /// Its number, as in `net:[4026531840]`.
    pub inode: u64,
    /// True if lastack ran in it: the commands of its findings are then to be typed there.
    pub here: bool,
    /// Containers and processes that live in it.
    pub holders: Vec<String>,
    /// Its TCP sockets.
    pub sockets: u64,
}

/// The look that the case is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LookRow {
    /// Its length in milliseconds; 0 is a single glance, in which no counter could be seen to move.
    pub length_ms: u64,
}

/// The verdict in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Summary {
    /// The worst severity; null if nothing was found.
    pub worst: Option<Severity>,
    /// Findings of severity `error`.
    pub errors: usize,
    /// Findings of severity `warning`.
    pub warnings: usize,
    /// Findings of severity `note`.
    pub notes: usize,
    /// Rules that could not be decided.
    pub undecided: usize,
}

/// A rule that could not be decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UnknownRow {
    /// The rule.
    pub rule: &'static str,
    /// What is missing.
    pub because: String,
    /// How to see it.
    pub how_to_see: String,
}

/// Something that could not be seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct GapRow {
    /// What is missing: `sockets`, `owners`, `settings`, `counters`, `conntrack`, `ages`, `bound-ports`,
    /// `slabs`, `namespace`, `packets`, `text`, `configuration`, `addresses`, `other`.
    #[schemars(with = "String")]
    pub unseen: evidence::Unseen,
    /// The namespace it is missing from; null if it concerns the whole host.
    pub netns: Option<String>,
    /// Why.
    pub because: String,
    /// What to do to see it.
    pub how_to_see: String,
}

/// Rows that were left out of each list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NotShown {
    /// Of `host.namespaces`.
    pub namespaces: usize,
    /// Of `sockets.groups`.
    pub groups: usize,
    /// Of `sockets.programs`.
    pub programs: usize,
    /// Of `sockets.processes`.
    pub processes: usize,
    /// Of `sockets.listeners`.
    pub listeners: usize,
    /// Of `closes`.
    pub closes: usize,
    /// Of `counters`.
    pub counters: usize,
    /// Of `conntrack`.
    pub conntrack: usize,
    /// Of `settings`.
    pub settings: usize,
    /// Of `budgets`.
    pub budgets: usize,
    /// Of `findings`.
    pub findings: usize,
    /// Of `unknown`.
    pub unknown: usize,
    /// Of `coverage`.
    pub coverage: usize,
}

impl Report {
    /// Makes the report of a case and what follows from it.
    pub fn new(case: &Case, diagnosis: &Diagnosis) -> Self {
        let mut not_shown = NotShown::default();
        let of = |severity| diagnosis.findings.iter().filter(|finding| finding.severity == severity).count();
        Self {
            schema: SCHEMA,
            written_by: name(&case.written_by),
            host: HostRow {
                name: name(&case.host.name),
                system: case.host.system.name(),
                kernel: name(&case.host.kernel),
                taken_at: name(&case.host.taken_at),
                namespaces: first(&case.namespaces, MAX_ROWS, &mut not_shown.namespaces)
                    .iter()
                    .map(NamespaceRow::new)
                    .collect(),
            },
            look: LookRow {
                length_ms: case.namespaces.iter().map(|netns| netns.counters.interval_ms).max().unwrap_or(0),
            },
            summary: Summary {
                worst: diagnosis.findings.iter().map(|finding| finding.severity).max(),
                errors: of(Severity::Error),
                warnings: of(Severity::Warning),
                notes: of(Severity::Note),
                undecided: diagnosis.unknown.len(),
            },
            traffic: case.traffic.as_ref().map(TrafficRow::new),
            sockets: Sockets::new(case, &mut not_shown),
            time_wait: TimeWait::new(case),
            closes: Closes::of(case, &mut not_shown),
            counters: Movement::of(case, &mut not_shown),
            conntrack: Tracking::of(case, &mut not_shown),
            settings: Deviation::of(case, &mut not_shown),
            budgets: BudgetRow::of(diagnosis, &mut not_shown),
            findings: first(&diagnosis.findings, MAX_FINDINGS, &mut not_shown.findings).to_vec(),
            unknown: first(&diagnosis.unknown, MAX_ROWS, &mut not_shown.unknown)
                .iter()
                .map(|unknown| UnknownRow {
                    rule: unknown.rule,
                    because: unknown.because.clone(),
                    how_to_see: unknown.how_to_see.clone(),
                })
                .collect(),
            coverage: first(&case.gaps, MAX_ROWS, &mut not_shown.coverage).iter().map(GapRow::new).collect(),
            not_shown,
        }
    }

    /// True if it is of captures and of no host.
    pub(crate) fn is_of_captures(&self) -> bool {
        self.traffic.is_some() && self.host.namespaces.is_empty()
    }

    /// True if a finding is a warning or worse: the program then ends with 1.
    pub fn has_problems(&self) -> bool {
        self.summary.worst >= Some(Severity::Warning)
    }
}

impl NamespaceRow {
    fn new(namespace: &Namespace) -> Self {
        Self {
            name: name(&namespace.name),
            inode: namespace.inode,
            here: namespace.here,
            holders: namespace.holders.iter().take(MAX_ROWS).map(|holder| name(holder)).collect(),
            sockets: namespace.sockets.by_state.total(),
        }
    }
}

impl GapRow {
    pub(crate) fn new(gap: &Gap) -> Self {
        Self {
            unseen: gap.unseen,
            netns: gap.netns.as_deref().map(name),
            because: gap.because.clone(),
            how_to_see: gap.how_to_see.clone(),
        }
    }
}

/// A name from a host, no longer than names are.
pub(crate) fn name(text: &str) -> String {
    match text.char_indices().nth(MAX_NAME) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The first rows, and how many are left.
pub(crate) fn first<'a, T>(rows: &'a [T], most: usize, left: &mut usize) -> &'a [T] {
    *left = rows.len().saturating_sub(most);
    rows.get(..most).unwrap_or(rows)
}

/// The rows that sort first, sorted, and how many are left: without sorting them all.
pub(crate) fn foremost<T>(
    mut rows: Vec<T>,
    most: usize,
    left: &mut usize,
    order: impl Fn(&T, &T) -> std::cmp::Ordering,
) -> Vec<T> {
    *left = rows.len().saturating_sub(most);
    if *left > 0 {
        rows.select_nth_unstable_by(most, &order);
        rows.truncate(most);
    }
    rows.sort_unstable_by(order);
    rows
}

/// A number with as many digits as it deserves: whole from 100 on, one place from 10 on, two below. What is
/// no number (a division by nothing) is 0.
pub(crate) fn rounded(number: f64) -> f64 {
    if !number.is_finite() {
        return 0.0;
    }
    let scale = match number.abs() {
        size if size >= 100.0 => 1.0,
        size if size >= 10.0 => 10.0,
        _ => 100.0,
    };
    let near = (number * scale).round() / scale;
    // -0.0 would be printed with its sign.
    if near == 0.0 || !near.is_finite() { 0.0 } else { near }
}

/// The text for people: the same digits, thousands apart.
pub(crate) fn number(number: f64) -> Cow<'static, str> {
    let number = rounded(number);
    if number.abs() >= 100.0 && number < 9e15 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "below 2^53, shown as size"
        )]
        let whole = number.abs() as u64;
        return Cow::Owned(format!("{}{}", if number < 0.0 { "-" } else { "" }, thousands(whole)));
    }
    Cow::Owned(format!("{number}"))
}

/// `28232` as `28,232`.
pub fn thousands(number: impl Into<u64>) -> String {
    let digits = number.into().to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_they_deserve() {
        let shown = |numbers: [f64; 5]| numbers.map(|number| rounded(number).to_string());
        assert_eq!(shown([1234.567, 99.96, 12.345, 0.126, -0.001]), ["1235", "100", "12.3", "0.13", "0"]);
        assert_eq!(shown([f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0]), ["0"; 5]);
        assert_eq!([28_232.4, 470.0, 9.5, 0.0].map(number), ["28,232", "470", "9.5", "0"]);
        assert!(number(f64::MAX).len() > 100);
        assert_eq!([0_u64, 999, 1_000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn the_foremost_rows_are_those_a_full_sort_would_give() {
        let rows = vec![5, 3, 9, 1, 7, 2];
        let mut left = 0;
        assert_eq!(foremost(rows.clone(), 3, &mut left, Ord::cmp), [1, 2, 3]);
        assert_eq!(left, 3);
        assert_eq!(foremost(rows, 6, &mut left, Ord::cmp), [1, 2, 3, 5, 7, 9]);
        assert_eq!(left, 0);
    }
}
