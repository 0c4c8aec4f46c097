//! What `--keep` leaves: for each host its case and its captures, under DIR/SCENARIO/VARIANT/HOST.

use super::measures;
use super::running::Played;
use evidence::Case;
use std::io;
use std::path::{Path, PathBuf};

/// What a folder is called until all is in it. One that was left by a run that was killed is written over by the
/// next.
const PARTIAL: &str = ".partial";

/// The case of a host, in its folder, and what its captures end with.
const CASE: &str = "host.case";
const CAPTURE: &str = "pcap";

/// Makes sure that there can be files, before anything runs for their sake, and that nothing is in their place but
/// what an earlier run left: the folders, which are there then. Titles are SCENARIO/VARIANT.
pub(super) fn prepare(keep: &Path, titles: &[String], hosts: &[&str]) -> io::Result<Vec<PathBuf>> {
    let folders: Vec<PathBuf> = titles.iter().map(|title| keep.join(title)).collect();
    for folder in &folders {
        for host in hosts {
            left(&folder.join(host))?;
            left(&folder.join(format!("{host}{PARTIAL}")))?;
        }
        std::fs::create_dir_all(folder)?;
        // No host is called like that.
        let tried = folder.join(PARTIAL);
        match std::fs::create_dir(&tried) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => std::fs::remove_dir(tried)?,
        }
    }
    Ok(folders)
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
    std::fs::write(folder.join(CASE), case.to_bytes())?;
    captures.iter().try_for_each(|(name, bytes)| std::fs::write(folder.join(name), bytes))
}

/// Removes what an earlier run left.
fn remove(folder: &Path) -> io::Result<()> {
    let Some(files) = left(folder)? else { return Ok(()) };
    files.iter().try_for_each(std::fs::remove_file)?;
    std::fs::remove_dir(folder)
}

/// The files of a folder that an earlier run left; none if there is no such folder. The names that lead there are
/// those of a scenario, which may be anybody's: what is not of the lab is an error, and stays.
fn left(folder: &Path) -> io::Result<Option<Vec<PathBuf>>> {
    let strange = |path: &Path| {
        let said = format!("{} was not left by `lab run`, and stays: choose another folder", path.display());
        Err(io::Error::new(io::ErrorKind::AlreadyExists, said))
    };
    match std::fs::symlink_metadata(folder) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return strange(folder),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let (entry, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        let is_ours = name == CASE || entry.extension().is_some_and(|ending| ending == CAPTURE);
        if !is_ours || !std::fs::symlink_metadata(&entry)?.is_file() {
            return strange(&entry);
        }
        files.push(entry);
    }
    // The case is written first: without it, captures are somebody else's.
    if !files.is_empty() && !files.contains(&folder.join(CASE)) {
        return strange(folder);
    }
    Ok(Some(files))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let prepare = |keep: &Path| prepare(keep, &["s/v".to_owned()], &["a"]);
        prepare(&folder.0).unwrap();
        assert_eq!(std::fs::read_dir(folder.0.join("s/v")).unwrap().count(), 0);
        std::fs::write(folder.0.join("file"), "").unwrap();
        prepare(&folder.0.join("file")).unwrap_err();
    }

    /// A scenario may be called "crates" and its host "src".
    #[test]
    fn what_is_not_of_the_lab_is_neither_removed_nor_written_over() {
        let folder = Folder::new("strange");
        let prepare = || prepare(&folder.0, &["s/v".to_owned()], &["a"]);
        let again = || host(&folder.0, "s/v", "a", &Case::default(), &[("a.pcap".to_owned(), vec![1])]);
        again().unwrap();
        for name in ["a", "a.partial"] {
            let place = folder.0.join("s/v").join(name);
            let strange = [(place.join("lib.rs"), "beside a case"), (place.join("more/b.pcap"), "a folder")];
            std::fs::create_dir_all(&place).unwrap();
            std::fs::write(place.join(CASE), "of a run that was killed").unwrap();
            prepare().unwrap();
            for (file, what) in strange {
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(&file, what).unwrap();
                for refused in [prepare().unwrap_err(), again().unwrap_err()] {
                    assert!(refused.to_string().contains("was not left by"), "{name}: {refused}");
                }
                assert_eq!(std::fs::read_to_string(&file).unwrap(), what);
                std::fs::remove_file(&file).unwrap();
            }
            std::fs::remove_dir(place.join("more")).unwrap();
            std::fs::rename(place.join(CASE), place.join("b.pcap")).unwrap();
            prepare().unwrap_err();
            assert!(again().is_err() && place.join("b.pcap").exists(), "captures without a case");
            std::fs::remove_dir_all(&place).unwrap();
            std::os::unix::fs::symlink("/", &place).unwrap();
            prepare().unwrap_err();
            assert!(again().is_err() && place.is_symlink(), "a link");
            std::fs::remove_file(&place).unwrap();
        }
        again().unwrap();
        again().unwrap();
    }
}
