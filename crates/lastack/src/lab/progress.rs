//! How far a run of the lab is, on stderr, for a person who waits.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal as _};
use std::time::Duration;

/// A bar over all variants, if there is a terminal; it leaves nothing behind.
pub(super) struct Progress(Option<ProgressBar>);

impl Progress {
    /// Over so many variants.
    pub(super) fn new(variants: usize) -> Self {
        if !io::stderr().is_terminal() {
            return Self(None);
        }
        let length = u64::try_from(variants).unwrap_or(u64::MAX);
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr_with_hz(5));
        if let Ok(style) = ProgressStyle::with_template("{pos} of {len} [{bar:30}] {elapsed} {msg}") {
            bar.set_style(style.progress_chars("##."));
        }
        bar.enable_steady_tick(Duration::from_millis(250));
        Self(Some(bar))
    }

    /// This one runs now.
    pub(super) fn at(&self, scenario: &str, variant: &str) {
        if let Some(bar) = &self.0 {
            bar.set_message(format!("{scenario}: {variant}"));
        }
    }

    /// One more is done.
    pub(super) fn done(&self) {
        if let Some(bar) = &self.0 {
            bar.inc(1);
        }
    }

    /// Prints something while the bar is out of the way.
    pub(super) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Takes it off the screen.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
