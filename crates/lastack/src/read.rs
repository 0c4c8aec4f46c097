//! `lastack read`.

use crate::arguments::Read;
use crate::{Outcome, screen};
use anyhow::Context as _;
use capture::{Connections, Endless, FileEnding, Merge, Options, Reader};
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Frames between two looks for connections that are done with.
const BATCH: u64 = 256;

pub(crate) fn run(options: &Read) -> Outcome {
    let readers = options.files.iter().map(|file| open(file)).collect::<anyhow::Result<Vec<_>>>()?;
    let endless = options.files.iter().any(|file| is_stdin(file)).then(Endless::default);
    let mut connections =
        Connections::new(Options { seed: RandomState::new().hash_one(0), endless, ..Options::default() });
    let mut merge = Merge::new(readers);
    let mut out = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    let written = (|| {
        while merge.advance(BATCH, |packet| connections.push(packet)) {
            if endless.is_some() {
                write_ended(&mut connections, &mut out)?;
            }
        }
        connections.finish();
        match endless {
            Some(_) => write_ended(&mut connections, &mut out),
            None => connections.iter().try_for_each(|connection| write_line(&connection, &mut out)),
        }
    })();
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            return Err(error).context("cannot write to standard output");
        }
        _ => {}
    }
    Ok(said_of_files(&options.files, &merge))
}

fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}

fn open(file: &Path) -> anyhow::Result<Reader<'static>> {
    if is_stdin(file) {
        return Reader::from_stream(io::stdin()).context("standard input");
    }
    let opened = File::open(file).with_context(|| file.display().to_string())?;
    Reader::from_stream(opened).with_context(|| file.display().to_string())
}

fn write_line(connection: &capture::Connection, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, connection)?;
    out.write_all(b"\n")
}

fn write_ended(connections: &mut Connections, out: &mut impl Write) -> io::Result<()> {
    let mut any = false;
    while let Some(connection) = connections.take_ended() {
        write_line(&connection, out)?;
        any = true;
    }
    if any { out.flush() } else { Ok(()) }
}

/// Where files broke off; the exit code says so only if nothing could be read of any.
fn said_of_files(files: &[PathBuf], merge: &Merge<'_>) -> ExitCode {
    let mut nothing = true;
    for (file, reader) in files.iter().zip(merge.readers()) {
        nothing &= reader.statistics().frames == 0;
        if let Some(FileEnding::Broken(broken)) = reader.ending() {
            screen::fail(&format!("{}: {broken}", file.display()));
        } else {
            nothing = false;
        }
    }
    ExitCode::from(if nothing { 2 } else { 0 })
}
