//! What /proc says of one process: its name, its container, its limit of open files.

use crate::root::{Root, read_prefix};
use rustix::fs::CWD;

/// The kernel keeps 15 bytes of a name; of a kernel thread's, up to 63.
const MAX_NAME: usize = 64;

/// Bytes of /proc/PID/cgroup that are read: a line for each hierarchy, at most 13 of them.
const MAX_CGROUP: usize = 16 << 10;

/// Bytes of /proc/PID/limits that are read; it has 16 lines of 80.
const MAX_LIMITS: usize = 8 << 10;

/// The name that the process has given itself (`comm`), made valid UTF-8; empty if it is gone. Not trusted.
pub(crate) fn name(root: &Root, pid: u32) -> String {
    let path = root.proc.join(format!("{pid}/comm"));
    let bytes = read_prefix(CWD, &path, MAX_NAME).unwrap_or_default();
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    String::from_utf8_lossy(bytes).into_owned()
}

/// The container that the process runs in, if its control group tells.
pub(crate) fn container(root: &Root, pid: u32) -> Option<String> {
    let path = root.proc.join(format!("{pid}/cgroup"));
    let bytes = read_prefix(CWD, &path, MAX_CGROUP).ok()?;
    container_in(&String::from_utf8_lossy(&bytes))
}

/// True for a thread of the kernel (and for a zombie): it has no command line.
pub(crate) fn has_no_program(root: &Root, pid: u32) -> bool {
    let path = root.proc.join(format!("{pid}/cmdline"));
    read_prefix(CWD, &path, 1).is_ok_and(|bytes| bytes.is_empty())
}

/// The soft limit of open files; none if it is unlimited or cannot be read.
pub(crate) fn open_files_limit(root: &Root, pid: u32) -> Option<u64> {
    let path = root.proc.join(format!("{pid}/limits"));
    let bytes = read_prefix(CWD, &path, MAX_LIMITS).ok()?;
    let text = String::from_utf8_lossy(&bytes);
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
