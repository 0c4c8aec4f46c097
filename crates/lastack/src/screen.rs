//! The terminal: how wide it is, whether it has colours, and what happens when nobody reads any more.

use crate::arguments::Color;
use anyhow::Context as _;
use report::Style;
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::process::ExitCode;

/// Width where there is no terminal to ask: a ticket, a mail, a file.
const WIDTH_ELSEWHERE: usize = 100;

/// Writes to stdout in one go. A reader that has gone is no error: `lastack doctor | head -1`.
pub(crate) fn print(text: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}

/// Says in one line why it failed.
pub(crate) fn fail(why: &str) -> ExitCode {
    let why = report::visible(why);
    // Nobody is left to tell if stderr is closed.
    let _ = writeln!(io::stderr(), "lastack: {why}");
    ExitCode::from(2)
}

/// How a page on stdout is laid out.
pub(crate) fn style(color: Color) -> Style {
    let terminal = io::stdout().is_terminal();
    let width =
        if terminal { terminal_size::terminal_size().map(|(width, _)| usize::from(width.0)) } else { None };
    let columns = || std::env::var("COLUMNS").ok()?.trim().parse().ok();
    Style {
        width: width.filter(|width| *width > 0).or_else(columns).unwrap_or(WIDTH_ELSEWHERE),
        color: match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => colors(terminal, |name| std::env::var(name).ok()),
        },
    }
}

/// Whether to use colours where nobody said so: <https://no-color.org> before <https://bixense.com/clicolors>.
fn colors(terminal: bool, variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    if set("NO_COLOR").is_some() {
        return false;
    }
    if set("CLICOLOR_FORCE").is_some_and(|value| value != "0") {
        return true;
    }
    terminal
        && set("CLICOLOR").is_none_or(|value| value != "0")
        && set("TERM").is_some_and(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::colors;

    #[test]
    fn colors_are_for_terminals_that_want_them() {
        let with = |terminal, variables: &[(&str, &str)]| {
            colors(terminal, |name| {
                variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert!(with(true, &[("TERM", "xterm")]));
        assert!(!with(false, &[("TERM", "xterm")]));
        assert!(!with(true, &[("TERM", "dumb")]));
        assert!(!with(true, &[]));
        assert!(!with(true, &[("TERM", "xterm"), ("NO_COLOR", "1")]));
        assert!(with(true, &[("TERM", "xterm"), ("NO_COLOR", "")]));
        assert!(with(false, &[("CLICOLOR_FORCE", "1")]));
        assert!(!with(false, &[("CLICOLOR_FORCE", "0")]));
        assert!(!with(false, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
        assert!(!with(true, &[("TERM", "xterm"), ("CLICOLOR", "0")]));
    }
}
