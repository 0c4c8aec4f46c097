//! How far the reading of captures is, on stderr, for a person who waits.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

/// What is read in less needs no sign of life.
const PATIENCE: Duration = Duration::from_secs(1);

/// A bar that appears if it takes long, and leaves nothing behind.
pub(crate) struct Progress {
    start: Instant,
    /// Bytes of all files; none if one of them has no length.
    total: Option<u64>,
    wanted: bool,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Of so many bytes.
    pub(crate) fn new(total: Option<u64>) -> Self {
        Self { start: Instant::now(), total, wanted: io::stderr().is_terminal(), bar: None }
    }

    /// So many bytes have been read, and so many frames.
    pub(crate) fn reached(&mut self, bytes: u64, frames: u64) {
        if !self.wanted || (self.bar.is_none() && self.start.elapsed() < PATIENCE) {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| begin(self.total, self.start));
        bar.set_position(if self.total.is_some() { bytes } else { frames });
    }

    /// Takes it off the screen.
    pub(crate) fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn begin(total: Option<u64>, start: Instant) -> ProgressBar {
    let target = ProgressDrawTarget::stderr_with_hz(5);
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::with_draw_target(Some(total), target),
            "reading: {bytes} of {total_bytes} [{bar:30}] {eta} left",
        ),
        None => (ProgressBar::with_draw_target(None, target), "reading: {human_pos} packets, {elapsed}"),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("##."));
    }
    bar.with_elapsed(start.elapsed())
}
