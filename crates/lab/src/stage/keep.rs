//! What `--keep` leaves: for each host its case and its captures, under DIR/SCENARIO/VARIANT/HOST.

use super::measures;
use super::running::Played;
use evidence::Case;
use std::io;
use std::path::Path;

/// What a folder is called until all is in it. One that was left by a run that was killed is written over by the
/// next.
const PARTIAL: &str = ".partial";

/// Makes sure that there can be files, before anything runs for their sake. `title` is SCENARIO/VARIANT.
pub(super) fn prepare(keep: &Path, title: &str) -> io::Result<()> {
    let folder = keep.join(title);
    std::fs::create_dir_all(&folder)?;
    let tried = folder.join(format!("files{PARTIAL}"));
    std::fs::write(&tried, "")?;
    std::fs::remove_file(tried)
}

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
    let written = files(&partial, case, captures)
        .and_then(|()| remove(&whole))
        .and_then(|()| std::fs::rename(&partial, &whole));
    if written.is_err() {
        // A half of it is of no use, and fills a disk that is full.
        let _ = remove(&partial);
    }
    written
}

fn files(folder: &Path, case: &Case, captures: &[(String, Vec<u8>)]) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("host.case"), case.to_bytes())?;
    captures.iter().try_for_each(|(name, bytes)| std::fs::write(folder.join(name), bytes))
}

fn remove(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A folder of a test's own, which goes with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("lastack-keep-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_cannot_be_kept_as_a_whole_is_not_kept() {
        let folder = Folder::new("half");
        let capture = |name: &str| vec![(name.to_owned(), vec![1, 2, 3])];
        host(&folder.0, "s/v", "a", &Case::default(), &capture("a.pcap")).unwrap();
        let kept = folder.0.join("s/v/a");
        assert_eq!(std::fs::read(kept.join("a.pcap")).unwrap(), [1, 2, 3]);
        // A name with a folder that is not there.
        host(&folder.0, "s/v", "a", &Case::default(), &capture("none/a.pcap")).unwrap_err();
        let left: Vec<_> =
            std::fs::read_dir(folder.0.join("s/v")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, [kept]);
    }

    #[test]
    fn a_folder_that_cannot_be_is_known_before_anything_runs() {
        let folder = Folder::new("early");
        prepare(&folder.0, "s/v").unwrap();
        assert_eq!(std::fs::read_dir(folder.0.join("s/v")).unwrap().count(), 0);
        std::fs::write(folder.0.join("file"), "").unwrap();
        prepare(&folder.0.join("file"), "s/v").unwrap_err();
    }
}
