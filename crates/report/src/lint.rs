//! What is wrong with configuration files: as lines that editors understand, as JSON, and as SARIF.

use crate::pen::Style;
use crate::visible;
use diagnose::{Diagnosis, Finding, Severity};
use evidence::Case;
use evidence::configuration::AS_INCLUDED;
use serde::Serialize;
use std::io::{self, Write};

/// Name and version of the JSON.
pub const LINT_SCHEMA: &str = "lastack.lint/1";

/// What is wrong with files.
#[derive(Clone, Debug, Serialize)]
pub struct Lint {
    /// [`LINT_SCHEMA`].
    pub schema: &'static str,
    /// The files that were read.
    pub files: Vec<String>,
    /// What rules say of them, worst first.
    pub findings: Vec<Finding>,
    /// What their programs would refuse, and what was not read.
    pub problems: Vec<LintProblem>,
}

/// Something that a program would refuse, or that was not read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LintProblem {
    /// File and line: `nginx.conf:12`.
    pub at: String,
    /// What.
    pub what: String,
}

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    pub(crate) file: &'a str,
    pub(crate) line: u32,
}

impl Lint {
    /// What the rules say of the configurations of a case, and what was wrong with their text.
    pub fn new(case: &Case, diagnosis: Diagnosis) -> Self {
        let mut files: Vec<String> =
            case.configurations.iter().flat_map(|configuration| &configuration.files).cloned().collect();
        files.retain(|file| !file.ends_with(AS_INCLUDED));
        files.sort();
        files.dedup();
        let told = case.configurations.iter().flat_map(|configuration| {
            configuration.problems.iter().map(|problem| LintProblem {
                at: configuration.at(problem.place),
                what: problem.what.clone(),
            })
        });
        let unread =
            case.gaps.iter().map(|gap| LintProblem { at: gap.because.clone(), what: gap.how_to_see.clone() });
        let problems = told.chain(unread).collect();
        Self { schema: LINT_SCHEMA, files, findings: diagnosis.findings, problems }
    }

    /// True if something is a warning or worse.
    pub fn has_problems(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity >= Severity::Warning)
    }

    /// The place of a piece of evidence, if it is in one of the files.
    pub(crate) fn line<'a>(&self, source: &'a str) -> Option<Line<'a>> {
        let (file, line) = source.rsplit_once(':')?;
        let line = line.parse().ok().filter(|line| *line > 0)?;
        self.files.iter().any(|known| known == file).then_some(Line { file, line })
    }

    /// Where a finding is: its first evidence with a line.
    pub(crate) fn place<'a>(&self, finding: &'a Finding) -> Option<Line<'a>> {
        finding.evidence.iter().find_map(|evidence| self.line(&evidence.source))
    }
}

/// `warning`, as compilers write it.
pub(crate) fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

/// Writes one paragraph a finding, that begins with file and line, as compilers do.
pub fn write_lint(lint: &Lint, out: &mut impl Write, style: Style) -> io::Result<()> {
    let paint = |severity: Severity| {
        let color = match severity {
            Severity::Note => anstyle::AnsiColor::Cyan,
            Severity::Warning => anstyle::AnsiColor::Yellow,
            Severity::Error => anstyle::AnsiColor::Red,
        };
        let painted = anstyle::Style::new().fg_color(Some(color.into())).bold();
        if style.color { painted } else { anstyle::Style::new() }
    };
    for finding in &lint.findings {
        let at =
            lint.place(finding).map(|place| format!("{}:{}: ", place.file, place.line)).unwrap_or_default();
        let paint = paint(finding.severity);
        writeln!(
            out,
            "{}{paint}{}{paint:#}: {} [{}]",
            visible(&at),
            word(finding.severity),
            visible(&finding.claim),
            finding.rule
        )?;
        for evidence in &finding.evidence {
            writeln!(out, "    {}: {}", visible(&evidence.source), visible(&evidence.says))?;
        }
        for remedy in &finding.remedies {
            writeln!(out, "    do: {}", visible(&remedy.summary))?;
        }
    }
    for problem in &lint.problems {
        writeln!(out, "{}: not understood: {}", visible(&problem.at), visible(&problem.what))?;
    }
    let count = |severity| lint.findings.iter().filter(|finding| finding.severity == severity).count();
    let files = lint.files.len();
    writeln!(
        out,
        "{files} {}: {} and {}",
        if files == 1 { "file" } else { "files" },
        counted(count(Severity::Error) + count(Severity::Warning), "warning"),
        counted(count(Severity::Note), "note"),
    )?;
    if !lint.findings.is_empty() {
        writeln!(out, "`lastack explain RULE` says why; `lastack doctor` whether it hurts on this host.")?;
    }
    Ok(())
}

fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
