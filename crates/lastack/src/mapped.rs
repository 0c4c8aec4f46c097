//! Captures as bytes: files are mapped into memory, so that nothing is copied; what cannot be mapped is read.

use anyhow::Context as _;
use capture::Reader;
use memmap2::{Advice, Mmap};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// A capture that is open.
pub(crate) struct Source {
    name: String,
    bytes: Bytes,
}

enum Bytes {
    Mapped(Mmap),
    /// A pipe or a device, or a file that is empty.
    File(File),
    Stdin,
}

/// True if standard input is meant.
pub(crate) fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}

impl Source {
    /// Opens a file; `-` is standard input.
    pub(crate) fn open(file: &Path) -> anyhow::Result<Self> {
        if is_stdin(file) {
            return Ok(Self { name: "standard input".to_owned(), bytes: Bytes::Stdin });
        }
        let name = file.display().to_string();
        let bytes = File::open(file).and_then(Bytes::of);
        match bytes {
            Ok(bytes) => Ok(Self { name, bytes }),
            Err(error) => Err(anyhow::anyhow!("{name}: {}", crate::case_file::said(&error))),
        }
    }

    /// Opens all of them.
    pub(crate) fn open_all(files: &[PathBuf]) -> anyhow::Result<Vec<Self>> {
        if files.iter().filter(|file| is_stdin(file)).count() > 1 {
            anyhow::bail!("standard input (-) can be read only once");
        }
        files.iter().map(|file| Self::open(file)).collect()
    }

    /// The same, so that it can be read twice: a stream is copied to a file that has no name.
    pub(crate) fn rewindable(self) -> anyhow::Result<Self> {
        let copy = |source: &mut dyn io::Read| -> io::Result<Bytes> {
            let mut file = tempfile::tempfile()?;
            io::copy(source, &mut file)?;
            io::Seek::rewind(&mut file)?;
            Bytes::of(file)
        };
        let bytes = match self.bytes {
            Bytes::Mapped(bytes) => Ok(Bytes::Mapped(bytes)),
            Bytes::File(mut file) => copy(&mut file),
            Bytes::Stdin => copy(&mut io::stdin().lock()),
        };
        Ok(Self { bytes: bytes.with_context(|| self.name.clone())?, name: self.name })
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its length in bytes, if it has one.
    pub(crate) fn length(&self) -> Option<u64> {
        match &self.bytes {
            Bytes::Mapped(bytes) => Some(bytes.len() as u64),
            Bytes::File(_) | Bytes::Stdin => None,
        }
    }

    /// Reads it from its beginning.
    pub(crate) fn reader(&self) -> anyhow::Result<Reader<'_>> {
        match &self.bytes {
            Bytes::Mapped(bytes) => Reader::new(bytes),
            Bytes::File(file) => Reader::from_stream(file),
            Bytes::Stdin => Reader::from_stream(io::stdin()),
        }
        .with_context(|| self.name.clone())
    }
}

impl Bytes {
    fn of(file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(ErrorKind::IsADirectory.into());
        }
        if !metadata.is_file() || metadata.len() == 0 {
            return Ok(Self::File(file));
        }
        match map(&file) {
            Ok(bytes) => Ok(Self::Mapped(bytes)),
            // Some file systems cannot.
            Err(_) => Ok(Self::File(file)),
        }
    }
}

#[expect(unsafe_code, reason = "a mapped file is not copied, and costs no memory of its own")]
fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: The map is private and read-only; nothing here writes to it. Another process may still write to the
    // file or truncate it. What it writes is taken as it is found: the readers check each length against the slice
    // each time and rely on no byte that they read before. If the file is truncated (a rotating capture begins it
    // anew), a read behind its end raises SIGBUS, which ends the program: it has written nothing but to stdout.
    let bytes = unsafe { Mmap::map(file)? };
    // Only advice.
    let _ = bytes.advise(Advice::Sequential);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn files_are_mapped_and_what_cannot_be_is_read() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(Source::open(file.path()).unwrap().length(), None, "an empty file has nothing to map");
        file.write_all(&[
            0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0,
        ])
        .unwrap();
        let source = Source::open(file.path()).unwrap();
        assert_eq!(source.length(), Some(24));
        assert!(source.reader().is_ok());
        assert_eq!(source.rewindable().unwrap().length(), Some(24));
        assert!(Source::open(Path::new("/")).is_err());
        assert!(Source::open(Path::new("/nonexistent")).is_err());
        assert_eq!(Source::open(Path::new("/dev/null")).unwrap().length(), None);
    }
}
