//! Files with text that others pasted.

use crate::case_file::{GZIP_MARK, said};
use crate::sos_report::{self, SosReport};
use anyhow::bail;
use evidence::Case;
use flate2::read::MultiGzDecoder;
use pasted::Text;
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io::Read;
use std::path::{Path, PathBuf};

/// All files together have so many bytes at most: the sockets of a host with some millions of them.
const MOST_BYTES: u64 = 512 << 20;

/// Reads files of one host into a case; `-` is standard input. A folder or an archive is a report of sos.
pub(crate) fn read(files: &[PathBuf]) -> anyhow::Result<Case> {
    let mut left = MOST_BYTES;
    let mut read = Vec::new();
    let mut reports = Vec::new();
    for file in files {
        if file.as_os_str() != "-"
            && let Some(report) = sos_report::open(file)?
        {
            reports.push(report);
            continue;
        }
        let (name, bytes) = open(file, left)?;
        left = left.saturating_sub(bytes.len() as u64);
        read.push((name, bytes));
    }
    let texts = read.iter().map(|(name, bytes)| Text::pasted(name, bytes));
    let texts: Vec<Text<'_>> = reports.iter().flat_map(SosReport::texts).chain(texts).collect();
    let mut case = pasted::read(&texts, RandomState::new().hash_one(0_u8))?;
    drop(texts);
    for report in reports {
        report.complete(&mut case);
    }
    Ok(case)
}

/// The name and the bytes of a file, if they are no more than `most`.
fn open(path: &Path, most: u64) -> anyhow::Result<(String, Vec<u8>)> {
    let (name, read) = if path.as_os_str() == "-" {
        ("standard input".to_owned(), bounded(std::io::stdin().lock(), most))
    } else {
        (path.display().to_string(), File::open(path).and_then(|file| bounded(file, most)))
    };
    let unpacked = |bytes: Vec<u8>| {
        if bytes.starts_with(&GZIP_MARK) { bounded(MultiGzDecoder::new(&*bytes), most) } else { Ok(bytes) }
    };
    let read = read.and_then(unpacked);
    match read {
        Ok(bytes) if bytes.len() as u64 > most => {
            bail!("{name}: more than {} MiB of text; give a part of it", MOST_BYTES >> 20)
        }
        Ok(bytes) if is_case(&bytes) => bail!("{name}: is a case, no text; open it with --case"),
        Ok(bytes) => Ok((name, bytes)),
        Err(error) => bail!("{name}: {}", said(&error)),
    }
}

fn bounded(stream: impl Read, most: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.take(most + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// True for what `doctor --save` writes, unpacked.
fn is_case(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"{\"schema\":\"lastack.case/")
}
