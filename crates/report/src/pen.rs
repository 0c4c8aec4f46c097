//! Writes lines of a given width. Every text that reaches the page passes here, and is made visible here.

use crate::visible::{clip, columns, visible, wrap, wrap_command};
use std::io::{self, Write};

/// How a page is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Columns of the terminal. A page uses at most [`Style::WIDEST`] of them: longer lines are hard to read.
    pub width: usize,
    /// Whether to use ANSI colours.
    pub color: bool,
}

impl Style {
    /// The widest page, in columns.
    pub const WIDEST: usize = 120;
}

/// A text longer than this is cut: nothing that lacks an end belongs on a page.
const MAX_COLUMNS: usize = 2_000;

/// What a piece of text is, which decides its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    Plain,
    Strong,
    Faint,
    Error,
    Warning,
    Note,
    Good,
    Command,
}

impl Paint {
    fn style(self) -> anstyle::Style {
        let colored = |color: anstyle::AnsiColor| color.on_default();
        match self {
            Self::Plain => anstyle::Style::new(),
            Self::Strong => anstyle::Style::new().bold(),
            Self::Faint => anstyle::Style::new().dimmed(),
            Self::Error => colored(anstyle::AnsiColor::Red).bold(),
            Self::Warning => colored(anstyle::AnsiColor::Yellow).bold(),
            Self::Note => colored(anstyle::AnsiColor::Cyan).bold(),
            Self::Good => colored(anstyle::AnsiColor::Green).bold(),
            Self::Command => colored(anstyle::AnsiColor::Cyan),
        }
    }
}

/// A text with its paint.
pub(crate) type Piece<'a> = (Paint, &'a str);

/// Writes a page.
pub(crate) struct Pen<'a, W> {
    out: &'a mut W,
    style: Style,
}

impl<'a, W: Write> Pen<'a, W> {
    pub(crate) fn new(out: &'a mut W, style: Style) -> Self {
        Self { out, style: Style { width: style.width.clamp(1, Style::WIDEST), ..style } }
    }

    /// Columns of a line.
    pub(crate) fn width(&self) -> usize {
        self.style.width
    }

    /// True if there is no room for columns of labels.
    pub(crate) fn is_narrow(&self) -> bool {
        self.style.width < 60
    }

    pub(crate) fn blank(&mut self) -> io::Result<()> {
        self.out.write_all(b"\n")
    }

    /// A heading over a part of the page, with a remark after it.
    pub(crate) fn heading(&mut self, text: &str, remark: &str) -> io::Result<()> {
        self.blank()?;
        if remark.is_empty() {
            return self.flow(&[], 0, (Paint::Strong, text));
        }
        let gap = if self.is_narrow() { " " } else { "  " };
        self.flow(&[(Paint::Strong, text), (Paint::Plain, gap)], 2, (Paint::Faint, remark))
    }

    /// A paragraph: the lead as it is, then the text, its further lines indented by `hang` columns.
    pub(crate) fn flow(&mut self, lead: &[Piece<'_>], hang: usize, text: Piece<'_>) -> io::Result<()> {
        let width = self.style.width;
        // Where the indentation would eat the line, there is none.
        let hang = if hang * 2 > width { width.min(8) / 4 } else { hang };
        let shown: Vec<(Paint, String)> = lead
            .iter()
            .map(|(paint, text)| (*paint, clip(&visible(text), MAX_COLUMNS).into_owned()))
            .collect();
        let lead_columns: usize = shown.iter().map(|(_, text)| columns(text)).sum();
        // The kernel separates by tabs; in running text they are spaces.
        let body = text.1.replace('\t', " ");
        let body = visible(&body);
        let body = clip(&body, MAX_COLUMNS);
        if lead_columns > 0 && lead_columns + columns(&body).min(8) > width {
            // The lead does not leave room for a word: it gets lines of its own.
            let whole: String = shown.iter().map(|(_, text)| text.as_str()).collect();
            let indent = whole.len() - whole.trim_start().len();
            let indent = if indent * 2 > width { 0 } else { indent };
            let paint = shown
                .iter()
                .find(|(_, text)| !text.trim().is_empty())
                .map_or(Paint::Plain, |(paint, _)| *paint);
            for line in wrap(&whole, width - indent, width - indent) {
                self.line(indent, &[(paint, line.as_str())])?;
            }
            return if body.is_empty() {
                Ok(())
            } else {
                self.lines(hang, text.0, &wrap(&body, width - hang, width - hang))
            };
        }
        let lines = wrap(&body, width.saturating_sub(lead_columns), width - hang);
        let mut pieces: Vec<Piece<'_>> = shown.iter().map(|(paint, text)| (*paint, text.as_str())).collect();
        pieces.extend(lines.first().map(|line| (text.0, line.as_str())));
        self.line(0, &pieces)?;
        self.lines(hang, text.0, lines.get(1..).unwrap_or_default())
    }

    fn lines(&mut self, indent: usize, paint: Paint, lines: &[String]) -> io::Result<()> {
        lines.iter().try_for_each(|line| self.line(indent, &[(paint, line.as_str())]))
    }

    /// A command to copy, after a lead. It moves to a line of its own, then to the left, before it is broken; it is
    /// broken only where a shell reads on.
    pub(crate) fn command(&mut self, lead: &[Piece<'_>], indent: usize, command: &str) -> io::Result<()> {
        let command = visible(command);
        let command = clip(&command, MAX_COLUMNS);
        let width = self.style.width;
        let lead_columns: usize = lead.iter().map(|(_, text)| columns(text)).sum();
        if lead_columns > 0 && lead_columns + 2 + columns(&command) > width {
            self.flow(lead, 0, (Paint::Plain, ""))?;
            return self.command(&[], indent, &command);
        }
        let indent = if lead_columns > 0 {
            lead_columns
        } else if indent + 2 + columns(&command) <= width {
            indent
        } else {
            indent.min(2)
        };
        let room = width.saturating_sub(indent + 2);
        for (place, line) in wrap_command(&command, room, room).iter().enumerate() {
            let prompt = if place == 0 { "$ " } else { "  " };
            let mut pieces = if place == 0 { lead.to_vec() } else { Vec::new() };
            pieces.extend([(Paint::Faint, prompt), (Paint::Command, line.as_str())]);
            self.line(if place == 0 && lead_columns > 0 { 0 } else { indent }, &pieces)?;
        }
        Ok(())
    }

    /// One line as it is, without spaces at its end.
    pub(crate) fn line(&mut self, indent: usize, pieces: &[Piece<'_>]) -> io::Result<()> {
        let last = pieces.iter().rposition(|(_, text)| !text.trim_end().is_empty());
        let Some(last) = last else { return self.blank() };
        write!(self.out, "{:indent$}", "")?;
        for (place, (paint, text)) in pieces.iter().enumerate().take(last + 1) {
            let shown = visible(text);
            let shown = if place == last { shown.trim_end() } else { &*shown };
            let style = paint.style();
            if self.style.color && *paint != Paint::Plain && !shown.trim().is_empty() {
                write!(self.out, "{style}{shown}{style:#}")?;
            } else {
                self.out.write_all(shown.as_bytes())?;
            }
        }
        self.blank()
    }
}
