//! What /proc says of one process: its name, its container, its limit of open files; who started it and when, and
//! what it waits for.

use crate::root::{Root, read_prefix};
use rustix::fs::CWD;
use std::path::{Path, PathBuf};

/// The kernel keeps 15 bytes of a name; of a kernel thread's, up to 63.
const MAX_NAME: usize = 64;

/// Bytes of /proc/PID/cgroup that are read: a line for each hierarchy, at most 13 of them.
const MAX_CGROUP: usize = 16 << 10;

/// Bytes of /proc/PID/limits that are read; it has 16 lines of 80.
const MAX_LIMITS: usize = 8 << 10;

/// Bytes of /proc/PID/stat that are read; it is one line of some fifty numbers.
const MAX_STAT: usize = 4 << 10;

/// Bytes of /proc/PID/status that are read; its longest line names the groups of a user.
const MAX_STATUS: usize = 64 << 10;

/// Bytes of a command line that are read.
const MAX_COMMAND_LINE: usize = 64 << 10;

/// What /proc/PID/stat says of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The name that it has given itself. Not trusted.
    pub name: String,
    /// Who started it, or has taken it over.
    pub parent: u32,
    /// When it was started, in ticks since boot: with it a number that was given out again is told apart.
    pub started: u64,
}

impl Stat {
    /// Fields 2, 3, 4 and 22 (proc_pid_stat(5)); a name may hold anything, and ends with the last parenthesis.
    fn parse(text: &str) -> Option<Self> {
        let (before, after) = text.rsplit_once(')')?;
        let (_, name) = before.split_once('(')?;
        let mut fields = after.split_ascii_whitespace();
        // One that has ended, and whom nobody has asked how: it does nothing any more.
        if matches!(fields.next()?, "Z" | "X") {
            return None;
        }
        let parent = fields.next()?.parse().ok()?;
        let started = fields.nth(17)?.parse().ok()?;
        Some(Self { name: name.to_owned(), parent, started })
    }
}

/// What is known of a process; none if it has ended.
pub fn stat(root: &Root, pid: u32) -> Option<Stat> {
    Stat::parse(&text(root, pid, "stat", MAX_STAT)?)
}

/// The processes that one has started and that have not ended.
pub fn children(root: &Root, parent: u32) -> Vec<(u32, Stat)> {
    let pids = root.pids().unwrap_or_default().into_iter();
    pids.filter_map(|pid| Some((pid, stat(root, pid)?))).filter(|(_, stat)| stat.parent == parent).collect()
}

/// What it was started with, each argument ended by NUL, unless it has written something over that.
pub fn command_line(root: &Root, pid: u32) -> Option<Vec<u8>> {
    read_prefix(CWD, root.proc.join(format!("{pid}/cmdline")), MAX_COMMAND_LINE).ok()
}

/// The file of its program by the name that it had then: an update puts another one there while it runs.
pub fn executable(root: &Root, pid: u32) -> std::io::Result<PathBuf> {
    let link = rustix::fs::readlink(root.proc.join(format!("{pid}/exe")), Vec::new())?;
    Ok(link.to_string_lossy().trim_end_matches(" (deleted)").into())
}

/// The unit that a process runs in, where systemd is what runs here.
pub fn unit(root: &Root, pid: u32) -> Option<String> {
    if !root.run.join("systemd/system").is_dir() {
        return None;
    }
    let groups = text(root, pid, "cgroup", MAX_CGROUP)?;
    let paths = groups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    paths
        .filter_map(|path| path.rsplit('/').next())
        .find(|name| name.ends_with(".service"))
        .map(str::to_owned)
}

/// True if it has something to poll with: it has come to its loop, or nearly so.
pub fn polls(root: &Root, pid: u32) -> bool {
    files(root, pid).any(|link| link == Path::new("anon_inode:[eventpoll]"))
}

/// Whether it sleeps, and would hear this signal; none if that cannot be seen.
pub fn waits_for(root: &Root, pid: u32, signal: i32) -> Option<bool> {
    text(root, pid, "status", MAX_STATUS).map(|status| waits_by(&status, signal))
}

/// The users whose rights it has: its own, those that it acts by, those that it may take up again, and those by which
/// it opens files (proc_pid_status(5), `Uid`). None if it has ended.
pub(crate) fn users(root: &Root, pid: u32) -> Option<Vec<u32>> {
    let status = text(root, pid, "status", MAX_STATUS)?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().map(|user| user.parse().ok()).collect()
}

/// True if the signal is neither held back nor on its way. By proc_pid_status(5).
fn waits_by(status: &str, signal: i32) -> bool {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim)
    };
    let bit = signal.checked_sub(1).and_then(|place| 1_u64.checked_shl(place.cast_unsigned()));
    let has = |name: &str| {
        let mask = field(name).and_then(|mask| u64::from_str_radix(mask, 16).ok());
        mask.zip(bit).is_some_and(|(mask, bit)| mask & bit != 0)
    };
    field("State").is_none_or(|state| state.starts_with('S'))
        && !["SigPnd", "ShdPnd", "SigBlk"].into_iter().any(has)
}

/// What its open files are; nothing of a process that cannot be looked into.
pub(crate) fn files(root: &Root, pid: u32) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(root.proc.join(format!("{pid}/fd"))).into_iter().flatten().flatten();
    entries.filter_map(|file| std::fs::read_link(file.path()).ok())
}

fn text(root: &Root, pid: u32, file: &str, limit: usize) -> Option<String> {
    let bytes = read_prefix(CWD, root.proc.join(format!("{pid}/{file}")), limit).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The name that the process has given itself (`comm`), made valid UTF-8; empty if it is gone. Not trusted.
pub(crate) fn name(root: &Root, pid: u32) -> String {
    let path = root.proc.join(format!("{pid}/comm"));
    let bytes = read_prefix(CWD, &path, MAX_NAME).unwrap_or_default();
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    String::from_utf8_lossy(bytes).into_owned()
}

/// The container that the process runs in, if its control group tells.
pub(crate) fn container(root: &Root, pid: u32) -> Option<String> {
    container_in(&text(root, pid, "cgroup", MAX_CGROUP)?)
}

/// True for a thread of the kernel (and for a zombie): it has no command line.
pub(crate) fn has_no_program(root: &Root, pid: u32) -> bool {
    let path = root.proc.join(format!("{pid}/cmdline"));
    read_prefix(CWD, &path, 1).is_ok_and(|bytes| bytes.is_empty())
}

/// The soft limit of open files; none if it is unlimited or cannot be read.
pub(crate) fn open_files_limit(root: &Root, pid: u32) -> Option<u64> {
    let text = text(root, pid, "limits", MAX_LIMITS)?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// The container in the text of /proc/PID/cgroup, `hierarchy:controllers:path` a line.
///
/// Engines name a control group by the 64 hexadecimal digits of the container: docker (`docker/ID`,
/// `docker-ID.scope`), containerd (`cri-containerd-ID.scope`, `…slice:cri-containerd:ID`, `kubepods/…/ID`),
/// CRI-O (`crio-ID.scope`), podman (`libpod-ID.scope`). The innermost counts; 12 digits are kept, as `docker ps`
/// shows. LXC names its own (`lxc/NAME`, `lxc.payload.NAME`).
fn container_in(text: &str) -> Option<String> {
    let paths = || text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    paths().find_map(by_id).or_else(|| paths().find_map(by_lxc_name))
}

fn by_id(path: &str) -> Option<String> {
    path.rsplit('/').find_map(|group| {
        let name = group.strip_suffix(".scope").or_else(|| group.strip_suffix(".service")).unwrap_or(group);
        let (engine, id) = name.rsplit_once(['-', ':']).unwrap_or(("", name));
        // conmon watches a container from outside.
        let is_id = id.len() == 64 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (is_id && !engine.ends_with("conmon")).then(|| id[..12].to_owned())
    })
}

fn by_lxc_name(path: &str) -> Option<String> {
    let mut groups = path.split('/');
    let name = loop {
        let group = groups.next()?;
        if group == "lxc" || group == "lxc.payload" {
            break groups.next()?;
        }
        if let Some(name) = group.strip_prefix("lxc.payload.") {
            break name;
        }
    };
    (!name.is_empty()).then(|| name.chars().take(64).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    #[test]
    fn every_engines_control_group_gives_the_container() {
        let id = "4f1c2d3e5a6b7c8d9e0f4f1c2d3e5a6b7c8d9e0f4f1c2d3e5a6b7c8d9e0f0123";
        assert_eq!(id.len(), 64);
        for path in [
            "12:pids:/docker/ID",
            "0::/system.slice/docker-ID.scope",
            "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-ID.scope",
            "1:name=systemd:/system.slice/containerd.service/kubepods-besteffort-pod5e.slice:cri-containerd:ID",
            "3:cpu:/kubepods/besteffort/pod5e3a/ID",
            "0::/kubepods.slice/crio-ID.scope/container",
            "0::/machine.slice/libpod-ID.scope/container",
            "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope",
            "0::/ecs/3a7/ID",
            "9:name=systemd:/\n8:pids:/docker/ID\n0::/",
            "0::/docker/ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff/docker/ID",
        ] {
            assert_eq!(container_in(&path.replace("ID", id)).as_deref(), Some("4f1c2d3e5a6b"), "{path}");
        }
        for path in ["0::/lxc/web/init.scope", "0::/lxc.payload.web/system.slice", "0::/lxc.payload/web"] {
            assert_eq!(container_in(path).as_deref(), Some("web"), "{path}");
        }
        for path in [
            "0::/",
            "",
            "0::/user.slice/user-0.slice/session-4.scope",
            "0::/machine.slice/libpod-conmon-ID.scope",
            "0::/kubepods.slice/crio-conmon-ID.scope",
            "4:memory:/process_api/1b8b3ca470128b0c0c89d299f7b09139",
            "docker/ID",
            "0::/lxc",
            "0::/lxc.payload.",
        ] {
            assert_eq!(container_in(&path.replace("ID", id)), None, "{path}");
        }
    }

    #[test]
    fn a_process_name_may_hold_anything() {
        let stat = Stat::parse("12 (a) (b c) S 7 1 1 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0").unwrap();
        assert_eq!((stat.name.as_str(), stat.parent, stat.started), ("a) (b c", 7, 4_711));
        let ended = "12 (nginx) Z 7 1 1 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        for text in [ended, "", "12", "12 (x", "12 (x) S", "12 x S 1"] {
            assert!(Stat::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn whoever_holds_signals_back_is_at_work() {
        let status = |state: &str, pending: &str, blocked: &str| {
            format!(
                "Name:\tnginx\nState:\t{state}\nSigPnd:\t0000000000000000\nShdPnd:\t{pending}\nSigBlk:\t{blocked}\n"
            )
        };
        let (none, hup, others) = ("0000000000000000", "0000000000000001", "0000000000012a02");
        assert!(waits_by(&status("S (sleeping)", none, none), 1));
        assert!(waits_by(&status("S (sleeping)", others, others), 1));
        assert!(!waits_by(&status("S (sleeping)", none, hup), 1));
        assert!(!waits_by(&status("S (sleeping)", hup, none), 1));
        assert!(!waits_by(&status("R (running)", none, none), 1));
        // A kernel that does not tell, and numbers that are no signals.
        assert!(waits_by("Name:\tnginx\n", 1));
        assert!(
            waits_by(&status("S (sleeping)", hup, hup), 0) && waits_by("", 4_000) && waits_by("", i32::MIN)
        );
    }

    #[test]
    fn who_was_started_is_found_and_what_runs() {
        let root = Root::default();
        let own = std::process::id();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pids = || children(&root, own).into_iter().map(|(pid, _)| pid);
        assert!(pids().any(|pid| pid == child.id()));
        assert!(executable(&root, child.id()).is_ok_and(|file| file.is_absolute()));
        assert!(!polls(&root, child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!pids().any(|pid| pid == child.id()));
        assert_eq!((stat(&root, child.id()), waits_for(&root, child.id(), 1)), (None, None));
    }

    #[test]
    fn a_process_has_the_rights_of_four_users() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::below(folder.path());
        std::fs::create_dir_all(root.proc.join("7")).unwrap();
        // A name is no line of its own: the kernel escapes what is in it.
        let status = "Name:\tnginx\\nUid:\t0\nUid:\t1000\t0\t0\t0\nGid:\t0\t0\t0\t0\n";
        std::fs::write(root.proc.join("7/status"), status).unwrap();
        assert_eq!(users(&root, 7), Some(vec![1_000, 0, 0, 0]));
        assert_eq!(users(&root, 8), None);
    }

    #[test]
    fn a_unit_is_one_of_the_systemd_that_runs() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::below(folder.path());
        let process = root.proc.join("7");
        std::fs::create_dir_all(&process).unwrap();
        std::fs::write(process.join("cgroup"), "0::/system.slice/nginx.service\n").unwrap();
        assert_eq!(unit(&root, 7), None, "systemd does not run");
        std::fs::create_dir_all(root.run.join("systemd/system")).unwrap();
        assert_eq!(unit(&root, 7).as_deref(), Some("nginx.service"));
        std::fs::write(process.join("cgroup"), "0::/user.slice/user-0.slice/session-4.scope\n").unwrap();
        assert_eq!(unit(&root, 7), None);
    }

    #[test]
    fn a_hostile_name_is_cut_and_made_text() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let root = Root::below(&fixtures.join("proc-hostile"));
        assert_eq!(name(&root, 66), "a\u{fffd}b\u{1b}[31m");
        assert_eq!(name(&root, 4_000_000), "");
        assert_eq!(open_files_limit(&root, 66), None, "unlimited");
        let root = Root::below(&fixtures.join("proc-alibaba"));
        assert_eq!(name(&root, 812), "nginx");
        assert_eq!(open_files_limit(&root, 812), Some(65_535));
    }

    proptest! {
        #[test]
        fn any_control_group_is_read_without_panic(text in any::<String>(), path in "(/[a-f0-9:.-]{0,70}){0,4}") {
            container_in(&text);
            container_in(&format!("0::{path}"));
        }
    }
}
