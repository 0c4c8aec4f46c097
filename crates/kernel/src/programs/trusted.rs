//! Programs that we start ourselves: those that nobody but root and we can have put there, and can change.
//!
//! A process calls itself what it likes, and may be anybody's. What it runs is started by us only if it is a process of
//! root or ours, too: with its arguments go files, and in those nginx finds modules to load.

use super::Kind;
use super::files::Files;
use crate::process;
use crate::root::Root;
use rustix::fs::{FileType, Mode, Stat};
use std::path::{Path, PathBuf};

/// True if the file is ours and called as the program is, and nobody can have changed it but root and us.
pub(super) fn may_be_started(path: &Path, kind: Kind, files: &Files) -> bool {
    let Ok(target) = rustix::fs::readlink(path, Vec::new()) else { return false };
    let target = target.to_string_lossy().into_owned();
    // A program that was replaced while it ran.
    let target = target.strip_suffix(" (deleted)").unwrap_or(&target);
    let named = target.rsplit('/').next().is_some_and(|name| kind.names().contains(&name));
    let Ok(stat) = rustix::fs::stat(path) else { return false };
    named
        && is_kept_from_others(&stat)
        && files.shows_ours(target)
        && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// True if it is root's or ours, and nobody else may write to it.
fn is_kept_from_others(stat: &Stat) -> bool {
    is_file_of_ours(stat.st_uid) && !Mode::from_raw_mode(stat.st_mode).intersects(Mode::WGRP | Mode::WOTH)
}

/// True for root and for us.
fn is_ours(user: u32) -> bool {
    user == 0 || user == rustix::process::geteuid().as_raw()
}

/// What owners are shown as that have no number in a user namespace (kernel.overflowuid).
const UNMAPPED: u32 = 65_534;

/// The same of the owner of a file. In a user namespace with few users, as one that was made without privilege, the
/// files of the host's root are nobody's. Who is root there has no more rights than who made it, and runs them, too.
fn is_file_of_ours(owner: u32) -> bool {
    let is_unmapped = || std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| !maps(&map, UNMAPPED));
    is_ours(owner) || owner == UNMAPPED && is_unmapped()
}

/// True if a user has a number of his own, by /proc/PID/uid_map: lines of first number here, there, and how many.
fn maps(map: &str, user: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_ascii_whitespace().map(|number| number.parse::<u32>().ok());
        let (first, count) = (numbers.next().flatten(), numbers.nth(1).flatten());
        // What is not understood is taken to be one.
        first
            .zip(count)
            .is_none_or(|(first, count)| user.checked_sub(first).is_some_and(|place| place < count))
    })
}

/// The user that a process runs as, if that is neither root nor we.
pub fn other_user(root: &Root, pid: u32) -> Option<u32> {
    // Of a process that has ended nothing is known, and nothing is started for its sake.
    process::users(root, pid)?.into_iter().find(|user| !is_ours(*user))
}

/// The file of the program that a process runs, to be started by its name; else why it is not, as a clause.
pub fn executable(root: &Root, pid: u32, kind: Kind) -> Result<PathBuf, String> {
    let users = process::users(root, pid).ok_or_else(|| "it has ended".to_owned())?;
    if let Some(user) = users.into_iter().find(|user| !is_ours(*user)) {
        return Err(format!("it runs as user {user}"));
    }
    let path = process::executable(root, pid).map_err(|error| error.to_string())?;
    let files = Files::of(root, pid).map_err(|error| error.to_string())?;
    if !may_be_started(&root.proc.join(format!("{pid}/exe")), kind, &files) {
        let why =
            "is not called as the program is, is not what we have by that name, or others may change it";
        return Err(format!("its program {} {why}", path.display()));
    }
    match changed_by_others(&path) {
        Some(place) => Err(format!("others may change {}", place.display())),
        None => Ok(path),
    }
}

/// The file or the folder above it by which others could put another program at this path. An update may have
/// replaced the file while it ran: what is there now counts, too.
fn changed_by_others(path: &Path) -> Option<&Path> {
    let may_change = |place: &&Path| {
        let Ok(stat) = rustix::fs::lstat(*place) else { return true };
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let sticky = is_folder && Mode::from_raw_mode(stat.st_mode).contains(Mode::SVTX);
        // What is root's or ours is taken away or renamed by nobody else where that bit is set.
        let kept = if sticky { is_file_of_ours(stat.st_uid) } else { is_kept_from_others(&stat) };
        !kept || (*place != path && !is_folder)
    };
    path.ancestors().find(may_change)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn only_what_nobody_else_can_change_is_started() {
        let folder = tempfile::tempdir().unwrap();
        let program = |name: &str, mode: u32| {
            let path = folder.path().join(name);
            std::fs::write(&path, "#!/bin/sh\necho 'HAProxy version 9.9.9 today'\n").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let link = folder.path().join(format!("{name}-exe"));
            let _ = std::fs::remove_file(&link);
            std::os::unix::fs::symlink(&path, &link).unwrap();
            link
        };
        let ours = Files::ours().unwrap();
        let may_be_started = |path: &Path, kind| super::may_be_started(path, kind, &ours);
        assert!(may_be_started(&program("haproxy", 0o755), Kind::Haproxy));
        assert!(!may_be_started(&program("haproxy", 0o775), Kind::Haproxy), "its group may have changed it");
        assert!(!may_be_started(&program("sh", 0o755), Kind::Haproxy), "another program");
        assert!(!may_be_started(&program("haproxy", 0o755), Kind::Nginx), "another program");
        assert!(!may_be_started(Path::new("/proc/4194999/exe"), Kind::Nginx));
    }

    #[test]
    fn a_folder_that_others_may_write_to_hides_what_is_started() {
        let folder = tempfile::tempdir().unwrap();
        let (above, path) = (folder.path().join("sbin"), folder.path().join("sbin/nginx"));
        std::fs::create_dir(&above).unwrap();
        std::fs::write(&path, "").unwrap();
        let modes = |folder: u32, file: u32| {
            std::fs::set_permissions(&above, Permissions::from_mode(folder)).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(file)).unwrap();
            changed_by_others(&path).map(Path::to_owned)
        };
        assert_eq!(modes(0o755, 0o755), None, "below /tmp, where what is ours is ours");
        assert_eq!(modes(0o775, 0o755), Some(above.clone()));
        assert_eq!(modes(0o1777, 0o755), None);
        assert_eq!(modes(0o755, 0o757), Some(path.clone()));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(changed_by_others(&path), Some(path.as_path()), "nobody knows what will be there");
    }

    #[test]
    fn nobody_is_somebody_where_he_has_a_number() {
        assert!(maps("         0          0 4294967295\n", UNMAPPED));
        assert!(maps("0 1000 1\n1 100000 65536\n", UNMAPPED));
        assert!(!maps("0 1000 1\n", UNMAPPED) && maps("0 1000 1\n", 0));
        assert!(!maps("0 1000 1\n1000 100000 64534\n", UNMAPPED));
        assert!(maps("what\n", UNMAPPED));
    }

    #[test]
    fn what_a_process_runs_is_its_users() {
        let root = Root::default();
        assert_eq!(other_user(&root, std::process::id()), None);
        assert_eq!(other_user(&root, 4_194_999), None);
        let refused = executable(&root, std::process::id(), Kind::Nginx).unwrap_err();
        assert!(refused.contains("is not called as the program is"), "{refused}");
        assert_eq!(executable(&root, 4_194_999, Kind::Nginx), Err("it has ended".to_owned()));
    }
}
