//! What clap has to say about a mistake, as one line that says what to do.

use crate::screen;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::process::ExitCode;

/// Help and version go to stdout; anything else that clap has to say becomes one line.
pub(crate) fn said(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // Nothing to say if the reader of the help is gone.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    screen::fail(&one_line(error))
}

fn one_line(error: &clap::Error) -> String {
    let value = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let help = match value(ContextKind::InvalidSubcommand) {
        Some(_) => "lastack --help".to_owned(),
        None => help_command(error),
    };
    let suggested =
        [ContextKind::SuggestedArg, ContextKind::SuggestedValue, ContextKind::SuggestedSubcommand]
            .into_iter()
            .find_map(|kind| match error.get(kind) {
                Some(ContextValue::String(text)) => Some(text.clone()),
                Some(ContextValue::Strings(texts)) => texts.first().cloned(),
                _ => None,
            });
    let subject = value(ContextKind::InvalidArg).unwrap_or_default();
    if error.kind() == ErrorKind::InvalidValue && subject == "[RULE]" {
        let rule = value(ContextKind::InvalidValue).unwrap_or_default();
        return match suggested {
            Some(near) => {
                format!("there is no rule `{rule}`; did you mean `{near}`? `lastack explain` lists them")
            }
            None => format!("there is no rule `{rule}`; `lastack explain` lists them"),
        };
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "what shall it do? try `lastack doctor`, or `lastack --help`".to_owned();
    }
    // clap's own words, as far as they are about the mistake.
    let text = error.render().to_string();
    let said: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty() && !line.starts_with("tip:"))
        .collect();
    let said = said.join(" ");
    let said = said.strip_prefix("error: ").unwrap_or(&said);
    match suggested {
        Some(near) => format!("{said}; did you mean `{near}`? see `{help}`"),
        None => format!("{said}; see `{help}`"),
    }
}

/// The help of the command that was typed, from clap's usage line.
fn help_command(error: &clap::Error) -> String {
    let usage = match error.get(ContextKind::Usage) {
        Some(ContextValue::StyledStr(usage)) => usage.to_string(),
        _ => String::new(),
    };
    let commands =
        ["doctor", "collect", "read", "fix", "lint", "lab", "whatif", "explain", "completions", "man"];
    let words = usage.split_whitespace().find(|word| commands.contains(word));
    words.map_or_else(|| "lastack --help".to_owned(), |command| format!("lastack {command} --help"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Arguments;
    use clap::Parser as _;

    #[test]
    fn a_mistake_is_one_line_that_says_what_to_do() {
        let said = |words: &[&str]| {
            let words = ["lastack"].into_iter().chain(words.iter().copied());
            one_line(&Arguments::try_parse_from(words).unwrap_err())
        };
        for words in [
            &["doctor", "--netsn", "web"][..],
            &["doctor", "--for", "5"],
            &["doctor", "--case", "x", "--all-netns"],
            &["doctor", "--color", "red"],
            &["docter"],
            &["completions"],
            &["explain", "close-wait-leek"],
            &["explain", "a", "b"],
            &[],
        ] {
            let line = said(words);
            assert!(!line.contains('\n') && line.contains("lastack"), "{words:?}: {line}");
        }
        assert_eq!(
            said(&["explain", "close-wait-leek"]),
            "there is no rule `close-wait-leek`; did you mean `close-wait-leak`? `lastack explain` lists them"
        );
    }
}
