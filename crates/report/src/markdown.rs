//! The pages of rules, which are Markdown, on a terminal.

use crate::Style;
use crate::pen::{Paint, Pen};
use crate::visible::columns;
use std::io::{self, Write};

/// Writes a page: headings, paragraphs, lists, tables and code. Text is laid out anew, tables and code are
/// kept as they are.
pub fn write(page: &str, out: &mut impl Write, style: Style) -> io::Result<()> {
    let mut pen = Pen::new(out, style);
    let mut paragraph = Paragraph::default();
    let mut in_code = false;
    for line in page.lines() {
        let trimmed = line.trim_end();
        if trimmed.trim_start().starts_with("```") {
            paragraph.end(&mut pen)?;
            in_code = !in_code;
        } else if in_code {
            pen.line(4, &[(Paint::Command, trimmed)])?;
        } else if let Some(heading) = heading(trimmed) {
            paragraph.end(&mut pen)?;
            pen.flow(&[], 0, (Paint::Strong, heading))?;
        } else if trimmed.is_empty() {
            paragraph.end(&mut pen)?;
            pen.blank()?;
        } else if trimmed.starts_with('|') || line.starts_with("    ") && paragraph.is_empty() {
            paragraph.end(&mut pen)?;
            pen.line(0, &[(Paint::Plain, trimmed)])?;
        } else {
            if let Some((indent, mark, text)) = item(trimmed) {
                paragraph.end(&mut pen)?;
                paragraph.lead = format!("{:indent$}{mark} ", "");
                paragraph.text.push_str(text);
                continue;
            }
            paragraph.add(trimmed.trim_start());
        }
    }
    paragraph.end(&mut pen)
}

/// Writes names, each with one line about it.
pub fn write_list<'a>(
    lines: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    out: &mut impl Write,
    style: Style,
) -> io::Result<()> {
    let mut pen = Pen::new(out, style);
    let widest = lines.clone().map(|(name, _)| columns(name)).max().unwrap_or(0);
    for (name, text) in lines {
        if pen.is_narrow() {
            pen.flow(&[], 0, (Paint::Strong, name))?;
            pen.flow(&[(Paint::Plain, "  ")], 2, (Paint::Plain, text))?;
        } else {
            let padding = " ".repeat(widest - columns(name) + 2);
            pen.flow(&[(Paint::Strong, name), (Paint::Plain, &padding)], widest + 2, (Paint::Plain, text))?;
        }
    }
    Ok(())
}

#[derive(Default)]
struct Paragraph {
    lead: String,
    text: String,
}

impl Paragraph {
    fn is_empty(&self) -> bool {
        self.text.is_empty() && self.lead.is_empty()
    }

    fn add(&mut self, text: &str) {
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.text.push_str(text);
    }

    fn end<W: Write>(&mut self, pen: &mut Pen<'_, W>) -> io::Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let hang = self.lead.chars().count();
        pen.flow(&[(Paint::Plain, &self.lead)], hang, (Paint::Plain, &self.text))?;
        *self = Self::default();
        Ok(())
    }
}

fn heading(line: &str) -> Option<&str> {
    let text = line.trim_start_matches('#');
    (text.len() < line.len()).then(|| text.strip_prefix(' ')).flatten()
}

/// A list item: its indentation, its mark and its text.
fn item(line: &str) -> Option<(usize, &str, &str)> {
    let text = line.trim_start();
    let indent = line.len() - text.len();
    let (mark, rest) = text.split_once(' ')?;
    let numbered = mark
        .strip_suffix('.')
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
    (mark == "-" || mark == "*" || numbered).then_some((indent.min(12), mark, rest.trim_start()))
}
