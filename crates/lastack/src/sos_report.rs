//! Reports of `sos` (sosreport): a folder, or the archive of one. Only what tells of TCP is read, into memory;
//! nothing is unpacked to disk, and no link is followed out of the report.

mod members;

use crate::case_file::{GZIP_MARK, said};
use anyhow::{Context as _, bail};
use evidence::{Case, Gap, Unseen};
use flate2::read::MultiGzDecoder;
use kernel::programs::{self, Copy, Versions};
use lzma_rust2::XzReader;
use pasted::Text;
use pasted::sos::{self, Part};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

/// What is kept of a report: the sockets of a host with some millions of them.
const MOST_BYTES: usize = 512 << 20;

/// An archive unpacks to no more than this, most of which are logs.
const MOST_UNPACKED: u64 = 64 << 30;

/// What unpacking xz may take, KiB: its highest level takes 65 MiB, and a file may say that it needs 4 GiB.
const MOST_FOR_XZ: u32 = 256 << 10;

/// More files than any report has.
const MOST_FILES: usize = 4_000_000;

/// A tar file shows here what it is (POSIX `ustar`).
const TAR_MARK: std::ops::Range<usize> = 257..262;

/// Packages that have nginx itself.
const NGINX: [&str; 5] = ["nginx", "nginx-core", "nginx-light", "nginx-full", "nginx-extras"];

const XZ_MARK: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];

/// What a report holds.
#[derive(Default)]
pub(crate) struct SosReport {
    /// Outputs by their commands, with their paths.
    outputs: BTreeMap<String, (String, Vec<u8>)>,
    configuration: BTreeMap<String, Copy>,
    /// By what the programs wrote, or else by their packages.
    versions: Versions,
    packaged: Versions,
    /// Files that are there and cannot be read.
    refused: Vec<String>,
    bytes: usize,
}

/// Opens a report; none if it is some other file.
pub(crate) fn open(path: &Path) -> anyhow::Result<Option<SosReport>> {
    let name = path.display();
    let metadata = std::fs::metadata(path).map_err(|error| anyhow::anyhow!("{name}: {}", said(&error)))?;
    let report = if metadata.is_dir() {
        folder(path).with_context(|| name.to_string())?
    } else if !metadata.is_file() {
        // A pipe can be read once only.
        return Ok(None);
    } else {
        let Some(archive) = archive(path).with_context(|| name.to_string())? else { return Ok(None) };
        read_archive(archive).with_context(|| name.to_string())?
    };
    if report.outputs.is_empty() {
        bail!(
            "{name}: no report of sos that tells of TCP: it has neither sos_commands/networking nor proc/net; \
             name the files to read"
        );
    }
    Ok(Some(report))
}

impl SosReport {
    /// The outputs that it holds.
    pub(crate) fn texts(&self) -> impl Iterator<Item = Text<'_>> {
        self.outputs.iter().map(|(command, (path, bytes))| Text::written_by(command, path, bytes))
    }

    /// Adds to a case what is in no output: configuration, and what the report lacks.
    pub(crate) fn complete(self, case: &mut Case) {
        let mut gap = |unseen, because: String, how_to_see: &str| {
            case.gaps.push(Gap { unseen, netns: None, because, how_to_see: how_to_see.to_owned() });
        };
        if !self.outputs.keys().any(|command| command.starts_with("ss ")) {
            let because = "the report of sos has no output of ss: sos runs it only where the modules of its kinds of \
                           sockets are loaded";
            gap(Unseen::Sockets, because.to_owned(), "sos report --allow-system-changes, or lastack collect");
        }
        for refused in &self.refused {
            gap(Unseen::Text, refused.clone(), "read the report as who may read it");
        }
        let versions = Versions {
            nginx: self.versions.nginx.or(self.packaged.nginx),
            haproxy: self.versions.haproxy.or(self.packaged.haproxy),
        };
        for named in programs::copied(self.configuration, &versions) {
            for (path, why) in named.refused {
                gap(Unseen::Configuration, format!("what {path} says: {why}"), "give the file by name");
            }
            case.configurations.push(named.configuration);
        }
    }

    /// Takes a file by its path in the report, if it tells of TCP.
    fn take(&mut self, path: &str, content: impl FnOnce() -> io::Result<Copy>) -> anyhow::Result<()> {
        let Some(part) = sos::part(path) else { return Ok(()) };
        let copy = match content() {
            Ok(copy) => copy,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                if self.refused.len() < 5 {
                    self.refused.push(format!("{path}: permission denied"));
                }
                return Ok(());
            }
            Err(error) => bail!("{path}: {}", said(&error)),
        };
        let length = match &copy {
            Copy::File(bytes) => bytes.len(),
            Copy::Link(target) => target.len(),
        };
        self.bytes = self.bytes.saturating_add(length);
        if self.bytes > MOST_BYTES {
            bail!("{path}: more than {} MiB that tell of TCP; give a part of it", MOST_BYTES >> 20);
        }
        match (part, copy) {
            (Part::Configuration { path }, copy) => {
                self.configuration.insert(path, copy);
            }
            (Part::Output { command }, Copy::File(bytes)) => {
                self.outputs.entry(command).or_insert_with(|| (path.to_owned(), bytes));
            }
            (Part::NginxBuild, Copy::File(bytes)) => self.versions.nginx = sos::nginx_version(&bytes),
            (Part::HaproxyTest, Copy::File(bytes)) => self.versions.haproxy = sos::haproxy_version(&bytes),
            (Part::Packages, Copy::File(bytes)) => {
                // The same list may be there twice.
                let tell = |known: &mut Option<String>, names: &[&str]| {
                    *known = known.take().or_else(|| sos::packaged_version(&bytes, names));
                };
                tell(&mut self.packaged.nginx, &NGINX);
                tell(&mut self.packaged.haproxy, &["haproxy"]);
            }
            (_, Copy::Link(_)) => {}
        }
        Ok(())
    }
}

/// A folder, walked without following links.
fn folder(path: &Path) -> anyhow::Result<SosReport> {
    let mut report = SosReport::default();
    let mut left = vec![String::new()];
    let mut files = 0_usize;
    while let Some(directory) = left.pop() {
        let entries = match std::fs::read_dir(path.join(&directory)) {
            Ok(entries) => entries,
            Err(error) if !directory.is_empty() => {
                report.refused.push(format!("{directory}: {}", said(&error)));
                continue;
            }
            Err(error) => bail!("{}", said(&error)),
        };
        for entry in entries {
            let entry = entry?;
            files += 1;
            if files > MOST_FILES {
                bail!("more than {MOST_FILES} files: no report of sos");
            }
            // A name that is no text is none of those that are looked for.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let inside = if directory.is_empty() { name } else { format!("{directory}/{name}") };
            let kind = entry.file_type()?;
            if kind.is_dir() {
                if sos::may_hold(&inside) {
                    left.push(inside);
                }
            } else if kind.is_symlink() {
                let target = || std::fs::read_link(entry.path()).map(|to| to.to_string_lossy().into_owned());
                report.take(&inside, || target().map(Copy::Link))?;
            } else if kind.is_file() {
                report.take(&inside, || bounded(File::open(entry.path())?))?;
            }
        }
    }
    Ok(report)
}

fn bounded(file: impl Read) -> io::Result<Copy> {
    let mut bytes = Vec::new();
    file.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Copy::File(bytes))
}

/// The unpacked stream of a tar archive; none if the file is none.
fn archive(path: &Path) -> anyhow::Result<Option<Box<dyn Read>>> {
    let open = || -> io::Result<BufReader<File>> { Ok(BufReader::new(File::open(path)?)) };
    let mut mark = [0_u8; XZ_MARK.len()];
    let marked = filled(&mut open()?, &mut mark)?;
    let unpacked = || -> io::Result<Box<dyn Read>> {
        Ok(if marked >= XZ_MARK.len() && mark == XZ_MARK {
            Box::new(XzReader::new_mem_limit(open()?, true, MOST_FOR_XZ))
        } else if mark.starts_with(&GZIP_MARK) {
            Box::new(MultiGzDecoder::new(open()?))
        } else {
            Box::new(open()?)
        })
    };
    let mut head = [0_u8; 512];
    // A damaged file is told when it is read; here it is only asked what it is.
    let _ = filled(&mut unpacked()?, &mut head);
    let is_tar = head.get(TAR_MARK) == Some(b"ustar");
    if !is_tar && mark == XZ_MARK {
        bail!("compressed with xz, and no archive of a report of sos; unpack it first");
    }
    Ok(is_tar.then_some(unpacked()?))
}

/// Reads until a buffer is full or nothing is left, and says how much that was.
fn filled(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match stream.read(rest) {
            Ok(0) => break,
            Ok(length) => done += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

fn read_archive(unpacked: Box<dyn Read>) -> anyhow::Result<SosReport> {
    let mut report = SosReport::default();
    let mut archive = tar::Archive::new(unpacked.take(MOST_UNPACKED));
    let mut names = members::Names::default();
    for (number, entry) in archive.entries()?.raw(true).enumerate() {
        let mut entry = entry.context("damaged, or cut short")?;
        if number > MOST_FILES {
            bail!("more than {MOST_FILES} files: no report of sos");
        }
        let Some(member) = names.of(&mut entry)? else { continue };
        // All lies in one directory, which has the report's name.
        let Some(inside) = std::str::from_utf8(&member.path).ok().and_then(below_the_first) else { continue };
        let kind = entry.header().entry_type();
        if kind.is_symlink() {
            let target = String::from_utf8_lossy(&member.target.unwrap_or_default()).into_owned();
            report.take(inside, || Ok(Copy::Link(target)))?;
        } else if kind.is_file() {
            report.take(inside, || bounded(&mut entry))?;
        }
    }
    Ok(report)
}

/// `sosreport-web1-2026/proc/net/tcp` without its first directory.
fn below_the_first(path: &str) -> Option<&str> {
    path.strip_prefix("./").unwrap_or(path).split_once('/').map(|(_, inside)| inside)
}
