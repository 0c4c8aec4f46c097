//! The pages of `lastack fix`: a plan, how an apply went, and what was done before.

use crate::Style;
use crate::pen::{Paint, Pen};
use std::io::{self, Write};

/// A plan to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanPage {
    /// The first line.
    pub headline: String,
    /// The remedies.
    pub remedies: Vec<PlanPart>,
    /// What is written when all of it is kept.
    pub when_kept: Vec<DiffPart>,
    /// What somebody should know.
    pub notes: Vec<String>,
    /// What to type next.
    pub next: Vec<String>,
}

/// A remedy in a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanPart {
    /// Whether it is to be done.
    pub apply: bool,
    /// Its name.
    pub name: String,
    /// `safe`, or what must be done for it to be done.
    pub tag: String,
    /// What it does.
    pub summary: String,
    /// Why.
    pub why: Vec<String>,
    /// What changes.
    pub changes: Vec<DiffPart>,
    /// What will come of it.
    pub expected: String,
    /// What the simulator foretells.
    pub predicted: Option<String>,
    /// What can go wrong.
    pub risk: String,
    /// What is watched after it.
    pub guards: Vec<String>,
}

/// A change as lines that go and lines that come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiffPart {
    /// What changes.
    pub what: String,
    /// Lines, each with `-`, `+`, or a space.
    pub lines: Vec<(char, String)>,
    /// What takes it back.
    pub inverse: String,
}

/// Columns of the labels.
const LABELS: usize = 9;

/// Writes a plan.
pub fn write_plan(page: &PlanPage, out: &mut impl Write, style: Style) -> io::Result<()> {
    let mut pen = Pen::new(out, style);
    pen.flow(&[], 0, (Paint::Strong, &page.headline))?;
    for remedy in &page.remedies {
        pen.blank()?;
        part(&mut pen, remedy)?;
    }
    if !page.when_kept.is_empty() {
        pen.heading("When it is kept", "")?;
        page.when_kept.iter().try_for_each(|change| diff(&mut pen, change))?;
    }
    if !page.notes.is_empty() {
        pen.heading("To know", "")?;
        page.notes.iter().try_for_each(|note| pen.flow(&[(Paint::Plain, "  ")], 2, (Paint::Plain, note)))?;
    }
    if !page.next.is_empty() {
        pen.heading("Next", "")?;
        page.next.iter().try_for_each(|command| pen.command(&[], 2, command))?;
    }
    Ok(())
}

fn part<W: Write>(pen: &mut Pen<'_, W>, remedy: &PlanPart) -> io::Result<()> {
    let (paint, mark) = if remedy.apply { (Paint::Good, "[x] ") } else { (Paint::Faint, "[ ] ") };
    pen.flow(
        &[(paint, mark), (Paint::Strong, &remedy.name), (Paint::Plain, "  ")],
        4,
        (Paint::Faint, &remedy.tag),
    )?;
    pen.flow(&[(Paint::Plain, "    ")], 4, (Paint::Plain, &remedy.summary))?;
    if remedy.changes.is_empty() {
        return remedy.predicted.iter().try_for_each(|predicted| labelled(pen, "foretold", predicted));
    }
    several(pen, "why", &remedy.why)?;
    remedy.changes.iter().try_for_each(|change| diff(pen, change))?;
    labelled(pen, "expect", &remedy.expected)?;
    if let Some(predicted) = &remedy.predicted {
        labelled(pen, "foretold", predicted)?;
    }
    labelled(pen, "risk", &remedy.risk)?;
    several(pen, "guards", &remedy.guards)
}

fn diff<W: Write>(pen: &mut Pen<'_, W>, change: &DiffPart) -> io::Result<()> {
    labelled(pen, "change", &change.what)?;
    for (mark, text) in &change.lines {
        let paint = match mark {
            '-' => Paint::Error,
            '+' => Paint::Good,
            _ => Paint::Faint,
        };
        let indent = if pen.is_narrow() { 4 } else { LABELS + 4 };
        pen.line(indent, &[(paint, &format!("{mark} {text}"))])?;
    }
    labelled(pen, "back", &change.inverse)
}

fn several<W: Write>(pen: &mut Pen<'_, W>, label: &str, texts: &[String]) -> io::Result<()> {
    texts
        .iter()
        .enumerate()
        .try_for_each(|(place, text)| labelled(pen, if place == 0 { label } else { "" }, text))
}

fn labelled<W: Write>(pen: &mut Pen<'_, W>, label: &str, text: &str) -> io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let narrow = pen.is_narrow();
    let lead = match (narrow, label) {
        (true, "") => "    ".to_owned(),
        (true, label) => format!("  {label}: "),
        (false, label) => format!("    {label:LABELS$}"),
    };
    let hang = if narrow { 4 } else { LABELS + 4 };
    pen.flow(&[(Paint::Faint, &lead)], hang, (Paint::Plain, text))
}

/// How an apply went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutcomePage {
    /// True if all is well: kept, or nothing was to be done.
    pub good: bool,
    /// The first line.
    pub headline: String,
    /// What somebody should know.
    pub notes: Vec<String>,
    /// What was measured: a row for each counter.
    pub measured: Vec<MeasuredRow>,
    /// What to type next.
    pub next: Vec<String>,
}

/// A counter's rises a second.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MeasuredRow {
    /// The counter.
    pub counter: String,
    /// Before, during and after; none where it was not measured.
    pub per_second: [Option<f64>; 3],
    /// True if it rose faster than it may.
    pub tripped: bool,
}

/// Writes how an apply went.
pub fn write_outcome(page: &OutcomePage, out: &mut impl Write, style: Style) -> io::Result<()> {
    let mut pen = Pen::new(out, style);
    let paint = if page.good { Paint::Good } else { Paint::Warning };
    pen.flow(&[], 0, (paint, &page.headline))?;
    page.notes.iter().try_for_each(|note| pen.flow(&[(Paint::Plain, "  ")], 2, (Paint::Plain, note)))?;
    let (moved, quiet): (Vec<&MeasuredRow>, Vec<&MeasuredRow>) = page
        .measured
        .iter()
        .partition(|row| row.tripped || row.per_second.iter().flatten().any(|rate| *rate > 0.0));
    if !page.measured.is_empty() {
        pen.heading("Measured", "rises a second: before, during, after")?;
    }
    for row in moved {
        let rates = row
            .per_second
            .map(|rate| rate.map_or_else(|| "-".to_owned(), |rate| crate::report::number(rate).into_owned()));
        let mark = if row.tripped { "  tripped" } else { "" };
        let paint = if row.tripped { Paint::Error } else { Paint::Plain };
        let [before, during, after] = &rates;
        if pen.is_narrow() {
            pen.flow(
                &[(Paint::Plain, "  ")],
                4,
                (paint, &format!("{}: {}{mark}", row.counter, rates.join(", "))),
            )?;
        } else {
            pen.line(2, &[(paint, &format!("{:28}{before:>9}{during:>9}{after:>9}{mark}", row.counter))])?;
        }
    }
    if !quiet.is_empty() {
        let names: Vec<&str> = quiet.iter().map(|row| row.counter.as_str()).collect();
        pen.flow(&[(Paint::Plain, "  ")], 2, (Paint::Faint, &format!("did not move: {}", names.join(", "))))?;
    }
    if !page.next.is_empty() {
        pen.heading("Next", "")?;
        page.next.iter().try_for_each(|command| pen.command(&[], 2, command))?;
    }
    Ok(())
}

/// What was done before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogPage {
    /// What was settled just now.
    pub settled: Vec<String>,
    /// The applies, the latest last.
    pub applies: Vec<LogPart>,
}

/// One apply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogPart {
    /// Its name.
    pub id: String,
    /// True if its changes stay.
    pub kept: bool,
    /// What became of it, and why.
    pub outcome: String,
    /// What was done.
    pub about: Vec<String>,
    /// What somebody should know.
    pub notes: Vec<String>,
}

/// Writes what was done before.
pub fn write_log(page: &LogPage, out: &mut impl Write, style: Style) -> io::Result<()> {
    let mut pen = Pen::new(out, style);
    for line in &page.settled {
        pen.flow(&[], 2, (Paint::Warning, line))?;
    }
    if page.applies.is_empty() {
        return pen.flow(&[], 0, (Paint::Plain, "Nothing has been changed by `lastack fix` here."));
    }
    for apply in &page.applies {
        let paint = if apply.kept { Paint::Good } else { Paint::Faint };
        pen.flow(&[(Paint::Strong, &apply.id), (Paint::Plain, "  ")], 2, (paint, &apply.outcome))?;
        for line in apply.about.iter().chain(&apply.notes) {
            pen.flow(&[(Paint::Plain, "  ")], 4, (Paint::Plain, line))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> PlanPage {
        PlanPage {
            headline: "1 of 2 remedies is to be applied".into(),
            remedies: vec![
                PlanPart {
                    apply: true,
                    name: "fin-timeout-default".into(),
                    tag: "safe".into(),
                    summary: "Set it back \u{1b}[2J to what it was".into(),
                    why: vec!["fin-timeout-misread: it was lowered".into()],
                    changes: vec![DiffPart {
                        what: "net.ipv4.tcp_fin_timeout".into(),
                        lines: vec![('-', "5".into()), ('+', "60".into())],
                        inverse: "net.ipv4.tcp_fin_timeout = 5".into(),
                    }],
                    expected: "nothing moves".into(),
                    predicted: Some(
                        "failed connects 233..234 -> 0 a second; local ports left 0 -> 3,997".into(),
                    ),
                    risk: "more sockets".into(),
                    guards: vec!["TcpExtTCPTimeWaitOverflow does not rise".into()],
                },
                PlanPart {
                    name: "pool".into(),
                    tag: "for a person".into(),
                    summary: "Keep connections".into(),
                    predicted: Some("TIME-WAIT 4,000 -> 0".into()),
                    ..PlanPart::default()
                },
            ],
            when_kept: vec![DiffPart {
                what: "/etc/sysctl.d/99-zz-lastack.conf".into(),
                lines: vec![(' ', "line 1:".into()), ('+', "net.ipv4.tcp_fin_timeout = 60".into())],
                inverse: "these lines go again".into(),
            }],
            notes: vec!["a note".into()],
            next: vec!["lastack fix --apply".into()],
        }
    }

    #[test]
    fn a_plan_shows_each_change_as_a_diff_with_its_inverse() {
        let mut out = Vec::new();
        write_plan(&page(), &mut out, Style { width: 80, color: false }).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }

    #[test]
    fn an_outcome_shows_what_moved() {
        let row = |counter: &str, during: f64, tripped| MeasuredRow {
            counter: counter.into(),
            per_second: [Some(0.0), Some(during), None],
            tripped,
        };
        let page = OutcomePage {
            good: false,
            headline: "Taken back: TcpAttemptFails rose".into(),
            notes: vec!["a note".into()],
            measured: vec![row("TcpAttemptFails", 31.5, true), row("TcpOutRsts", 0.0, false)],
            next: Vec::new(),
        };
        let mut out = Vec::new();
        write_outcome(&page, &mut out, Style { width: 80, color: false }).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }

    #[test]
    fn nothing_reaches_the_terminal_raw_and_words_keep_within_the_page() {
        for width in [1, 40, 60, 120] {
            let mut out = Vec::new();
            write_plan(&page(), &mut out, Style { width, color: false }).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(text.chars().all(|letter| letter == '\n' || !letter.is_control()), "{text}");
            assert!(width < 40 || text.lines().all(|line| line.chars().count() <= width), "{text}");
        }
    }
}
