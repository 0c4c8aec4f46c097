//! What was found, as JSON for programs and as a page for the engineer on call.
//!
//! A [`Report`] is made of a case and its diagnosis, and of nothing else: the same case gives the same bytes
//! on any machine. It is bounded: what does not fit is counted in [`NotShown`], never dropped in silence.
//!
//! ```
//! let case = evidence::Case::default();
//! let report = report::Report::new(&case, &diagnose::diagnose(&case));
//! assert_eq!(report.schema, "lastack.report/1");
//!
//! let mut page = Vec::new();
//! report::page::write(&report, &mut page, report::Style { width: 80, color: false }).unwrap();
//! assert!(page.ends_with(b"\n"));
//! ```
//!
//! This crate does no I/O of its own, reads no clock and no environment, and judges nothing: that is the
//! business of `diagnose`. Invariants: no number is NaN or infinite; nothing that came from a host reaches a
//! terminal before it passed [`visible`]; no line of a page of 40 columns or more is wider than the page,
//! except a command whose single word is (a break inside it would change it).

mod budgets;
mod closing;
mod contents;
mod deviations;
mod experiment;
mod fix;
mod json;
mod lint;
pub mod markdown;

pub mod page;
mod pen;
mod plot;

mod report;
mod sarif;
mod sequence;
mod talkers;
mod traffic;
mod visible;
mod whatif;

pub use budgets::{BudgetRow, OwnerRow};
pub use closing::{Closes, Movement, TimeWait, Tracking};
pub use contents::{CONTENTS_SCHEMA, ConfigurationContents, Contents, NamespaceContents, write_contents};
pub use deviations::Deviation;
pub use experiment::{
    Apart, ApartRow, ExperimentPage, Failed, Probes, ScenarioSum, StageRow, VariantPart, write_experiment,
    write_sums,
};
pub use fix::{
    DiffPart, LogPage, LogPart, MeasuredRow, OutcomePage, PlanPage, PlanPart, write_log, write_outcome,
    write_plan,
};
pub use json::{json_schema, write_json};
pub use lint::{LINT_SCHEMA, Lint, LintProblem, write_lint};
pub use pen::Style;
pub use plot::write_plot;
pub use report::{
    GapRow, HostRow, LookRow, NamespaceRow, NotShown, Report, SCHEMA, Summary, UnknownRow, thousands,
};
pub use sarif::{Fix, FixedFile, Replacement, sarif};
pub use sequence::{Folded, SequencePage, Step, length_text};
pub use talkers::{GroupRow, ListenerRow, ProcessRow, ProgramRow, Sockets};
pub use traffic::{HttpRow, OverTime, PeerRow, Shown, Sides, TrafficRow};
pub use visible::{shell_quoted, visible};
pub use whatif::{
    Assumed, LoadRow, ModelHost, NotSimulated, OutcomeRow, OverTimeRow, Span, WHATIF_SCHEMA, WhatIf,
    write_whatif,
};
