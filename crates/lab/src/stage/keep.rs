//! What `--keep` leaves: for each host its case and its captures, under DIR/SCENARIO/VARIANT/HOST.

use super::measures;
use super::running::Played;
use evidence::Case;
use std::io;
use std::path::Path;

/// What a folder is called until all is in it. One that was left by a run that was killed is written over by the
/// next.
const PARTIAL: &str = ".partial";

/// Writes the files of all hosts. `title` is SCENARIO/VARIANT.
pub(super) fn write(keep: &Path, title: &str, played: &Played) -> io::Result<()> {
    let mut hosts = played.hosts.iter();
    hosts.try_for_each(|(host, case, captures)| {
        self::host(keep, title, host, &measures::named(case.clone(), host), captures)
    })
}

fn host(keep: &Path, title: &str, host: &str, case: &Case, captures: &[(String, Vec<u8>)]) -> io::Result<()> {
    let folder = keep.join(title);
    let partial = folder.join(format!("{host}{PARTIAL}"));
    let whole = folder.join(host);
    remove(&partial)?;
    std::fs::create_dir_all(&partial)?;
    std::fs::write(partial.join("host.case"), case.to_bytes())?;
    for (name, bytes) in captures {
        std::fs::write(partial.join(name), bytes)?;
    }
    remove(&whole)?;
    std::fs::rename(&partial, &whole)
}

fn remove(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
