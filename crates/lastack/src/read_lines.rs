//! The lines of `lastack read --json`, written in order and made on several threads.

use crate::filter::Filter;
use anyhow::Context as _;
use capture::{Connection, InOrder};
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Where lines go, for as long as somebody reads it.
pub(crate) struct Output {
    out: Box<dyn Write + Send>,
    gone: bool,
}

impl Output {
    /// Standard output.
    pub(crate) fn standard() -> Self {
        Self::to(io::stdout())
    }

    pub(crate) fn to(out: impl Write + Send + 'static) -> Self {
        Self { out: Box::new(out), gone: false }
    }

    /// Writes whole lines and passes them on at once.
    pub(crate) fn write(&mut self, lines: &[u8]) -> anyhow::Result<()> {
        if self.gone {
            return Ok(());
        }
        match self.out.write_all(lines).and_then(|()| self.out.flush()) {
            // A reader that has gone is no failure; the exit code is still told.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.gone = true;
                Ok(())
            }
            result => result.context("cannot write to standard output"),
        }
    }
}

/// Lines that several threads make, a chunk at a time. Each holds what it has made until its turn comes, so that no more
/// than a chunk of each is in memory.
pub(crate) struct Lines<'a> {
    connections: &'a InOrder<'a>,
    filter: Option<&'a Filter>,
    /// The first chunk that nobody has taken.
    next: AtomicUsize,
    turn: Mutex<Turn<'a>>,
    passed: Condvar,
}

struct Turn<'a> {
    /// The chunk that is to be written next.
    chunk: usize,
    output: &'a mut Output,
    /// Why nothing more is written.
    failed: anyhow::Result<()>,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(
        connections: &'a InOrder<'a>,
        filter: Option<&'a Filter>,
        output: &'a mut Output,
    ) -> Self {
        let turn = Mutex::new(Turn { chunk: 0, output, failed: Ok(()) });
        Self { connections, filter, next: AtomicUsize::new(0), turn, passed: Condvar::new() }
    }

    /// Makes and writes lines until there are no more. Any number of threads may do so.
    pub(crate) fn write(&self) {
        let mut lines = Vec::new();
        loop {
            let chunk = self.next.fetch_add(1, Ordering::Relaxed);
            if chunk >= self.connections.chunks() {
                return;
            }
            lines.clear();
            for connection in self.connections.chunk(chunk).filter(|connection| self.takes(connection)) {
                connection.write_line(&mut lines);
            }
            let mut turn = self.lock();
            while turn.chunk != chunk {
                turn = self.passed.wait(turn).unwrap_or_else(PoisonError::into_inner);
            }
            if turn.failed.is_ok() {
                turn.failed = turn.output.write(&lines);
            }
            turn.chunk += 1;
            let over = turn.failed.is_err() || turn.output.gone;
            drop(turn);
            self.passed.notify_all();
            if over {
                self.next.store(usize::MAX / 2, Ordering::Relaxed);
            }
        }
    }

    /// Once no thread writes any more: whether all was written.
    pub(crate) fn end(self) -> anyhow::Result<()> {
        self.turn.into_inner().unwrap_or_else(PoisonError::into_inner).failed
    }

    fn takes(&self, connection: &Connection) -> bool {
        self.filter.is_none_or(|filter| filter.takes(connection))
    }

    fn lock(&self) -> MutexGuard<'_, Turn<'a>> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
