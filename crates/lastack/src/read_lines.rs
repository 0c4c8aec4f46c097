//! Connections of files, made on several threads, added up and written as lines in order.

use crate::filter::Filter;
use anyhow::Context as _;
use capture::{Connection, InOrder, TrafficTally};
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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

/// Connections that several threads tell, a chunk at a time: each makes the connections of its chunk and their lines,
/// and holds them until its turn comes, when it adds them up and writes the lines. So no more than a chunk of each is
/// in memory, sums and lines have their order, and no connection is made twice. Measured: 2 % of a large capture.
pub(crate) struct Told<'a> {
    connections: &'a InOrder<'a>,
    filter: Option<&'a Filter>,
    /// The first chunk that nobody has taken.
    next: AtomicUsize,
    /// Somebody reads the lines.
    read: AtomicBool,
    turn: Mutex<Turn<'a>>,
    passed: Condvar,
}

struct Turn<'a> {
    /// The chunk that is to be told next.
    chunk: usize,
    tally: &'a mut TrafficTally,
    output: Option<&'a mut Output>,
    /// Why nothing more is written.
    failed: anyhow::Result<()>,
}

impl<'a> Told<'a> {
    pub(crate) fn new(
        connections: &'a InOrder<'a>,
        filter: Option<&'a Filter>,
        tally: &'a mut TrafficTally,
        output: Option<&'a mut Output>,
    ) -> Self {
        let read = AtomicBool::new(output.is_some());
        let turn = Mutex::new(Turn { chunk: 0, tally, output, failed: Ok(()) });
        Self { connections, filter, next: AtomicUsize::new(0), read, turn, passed: Condvar::new() }
    }

    /// Tells chunks until there are no more. Any number of threads may do so.
    pub(crate) fn tell(&self) {
        let (mut connections, mut lines) = (Vec::new(), Vec::new());
        loop {
            let chunk = self.next.fetch_add(1, Ordering::Relaxed);
            if chunk >= self.connections.chunks() {
                return;
            }
            connections.clear();
            connections.extend(self.connections.chunk(chunk).filter(|connection| self.takes(connection)));
            lines.clear();
            if self.read.load(Ordering::Relaxed) {
                for connection in &connections {
                    connection.write_line(&mut lines);
                }
            }
            let mut turn = self.lock();
            while turn.chunk != chunk {
                turn = self.passed.wait(turn).unwrap_or_else(PoisonError::into_inner);
            }
            if turn.tell(&connections, &lines) {
                self.read.store(false, Ordering::Relaxed);
            }
            let over = turn.failed.is_err();
            drop(turn);
            self.passed.notify_all();
            if over {
                self.next.store(usize::MAX / 2, Ordering::Relaxed);
            }
        }
    }

    /// Once no thread tells any more: whether all was written.
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

impl Turn<'_> {
    /// Tells the next chunk; true if nobody reads its lines. Without a reader the sums go on: they are what the exit
    /// code says.
    fn tell(&mut self, connections: &[Connection], lines: &[u8]) -> bool {
        for connection in connections {
            self.tally.add(connection);
        }
        self.chunk += 1;
        let Some(output) = &mut self.output else { return true };
        if self.failed.is_ok() {
            self.failed = output.write(lines);
        }
        output.gone
    }
}
