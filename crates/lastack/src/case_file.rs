//! Cases as files: the one thing lastack writes, and only when asked.

use anyhow::{Context as _, anyhow, bail};
use evidence::{Case, MAX_CASE_BYTES};
use std::fs::{File, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Opens a case; `-` is standard input.
pub(crate) fn open(path: &Path) -> anyhow::Result<Case> {
    let is_stdin = path.as_os_str() == "-";
    let name = if is_stdin { "standard input".to_owned() } else { path.display().to_string() };
    let bytes = if is_stdin { bounded(std::io::stdin().lock()) } else { file(path) };
    match bytes {
        Ok(Some(bytes)) => Case::from_bytes(&bytes).with_context(|| name),
        Ok(None) => bail!("{name}: larger than {} MiB: not a case of one host", MAX_CASE_BYTES >> 20),
        Err(error) => bail!("{name}: {}", said(&error)),
    }
}

/// The bytes of a file; none if it is too large, which is known before it is read.
fn file(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(std::io::ErrorKind::IsADirectory.into());
    }
    if metadata.len() > MAX_CASE_BYTES { Ok(None) } else { bounded(file) }
}

/// The bytes of a stream, as far as it may be a case: neither a device nor a disk image is read to its end.
fn bounded(mut stream: impl std::io::Read) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    stream.by_ref().take(HEAD).read_to_end(&mut bytes)?;
    let begins_like_a_case =
        bytes.starts_with(&GZIP_MARK) || bytes.trim_ascii_start().first().is_none_or(|byte| *byte == b'{');
    if begins_like_a_case {
        stream.take(MAX_CASE_BYTES + 1 - bytes.len() as u64).read_to_end(&mut bytes)?;
    }
    Ok((bytes.len() as u64 <= MAX_CASE_BYTES).then_some(bytes))
}

/// The bytes of a file that has at most so many.
pub(crate) fn bounded_file(path: &Path, most: usize) -> anyhow::Result<Vec<u8>> {
    let read = || -> std::io::Result<Vec<u8>> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(std::io::ErrorKind::IsADirectory.into());
        }
        let mut bytes = Vec::new();
        file.take((most as u64).saturating_add(1)).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| anyhow!("{}", said(&error)))?;
    if bytes.len() > most { Err(anyhow!("larger than {} MiB", most >> 20)) } else { Ok(bytes) }
}

/// What is compressed with gzip begins so.
pub(crate) const GZIP_MARK: [u8; 2] = [0x1f, 0x8b];

/// A case shows in its first bytes: `{`, or gzip's mark.
const HEAD: u64 = 4_096;

/// What the operating system said, without its number.
pub(crate) fn said(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::NotFound => "no such file".to_owned(),
        ErrorKind::IsADirectory => "is a directory; name the file in it".to_owned(),
        ErrorKind::NotADirectory => "a part of the path is no directory".to_owned(),
        ErrorKind::AlreadyExists => "is there already; name another file".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => kernel::why(error),
    }
}

/// A place where a case can be saved, checked before the look so that no long look is lost.
pub(crate) struct Place {
    file: PathBuf,
    folder: PathBuf,
    /// True if what is there already may be replaced.
    replaces: bool,
}

impl Place {
    /// Checks that a file can be there.
    pub(crate) fn new(file: &Path) -> anyhow::Result<Self> {
        let shown = file.display();
        let Some(name) = file.file_name().filter(|_| !file.as_os_str().to_string_lossy().ends_with('/'))
        else {
            bail!("{shown}: is a directory; name a file in it, such as {}", file.join("host.case").display());
        };
        if name == "-" {
            bail!("--save -: standard output is for the report; name a file");
        }
        let folder = match file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        match folder.metadata() {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => bail!("{shown}: {} is no directory", folder.display()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                bail!("{shown}: there is no directory {}; make it first", folder.display())
            }
            Err(error) => bail!("{shown}: {}", said(&error)),
        }
        match file.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() || file.is_dir() => {
                bail!(
                    "{shown}: is a directory; name a file in it, such as {}",
                    file.join("host.case").display()
                );
            }
            Ok(metadata) if !metadata.is_file() && !metadata.is_symlink() => {
                bail!("{shown}: is no ordinary file; name another");
            }
            _ => {}
        }
        Ok(Self { file: file.to_owned(), folder, replaces: true })
    }

    /// The same, where nothing may be yet.
    pub(crate) fn unused(file: &Path) -> anyhow::Result<Self> {
        let place = Self::new(file)?;
        if file.symlink_metadata().is_ok() {
            bail!("{}: is there already; name another file", file.display());
        }
        Ok(Self { replaces: false, ..place })
    }

    /// Saves the case: all of it, or nothing, and says how many bytes that are. A link in its place is replaced, not
    /// followed.
    pub(crate) fn save(&self, case: &Case) -> anyhow::Result<u64> {
        let name = self.file.display();
        let save = || -> std::io::Result<u64> {
            // As any new file: the umask decides who may read it.
            let mut file = tempfile::Builder::new()
                .prefix(".lastack-")
                .permissions(Permissions::from_mode(0o666))
                .tempfile_in(&self.folder)?;
            let bytes = case.to_bytes();
            file.write_all(&bytes)?;
            file.as_file().sync_all()?;
            if self.replaces {
                file.persist(&self.file)?;
            } else {
                file.persist_noclobber(&self.file)?;
            }
            Ok(bytes.len() as u64)
        };
        save().map_err(|error| anyhow!("{name}: cannot save the case: {}", said(&error)))
    }
}
