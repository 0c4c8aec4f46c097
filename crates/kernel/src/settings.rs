//! Sysctl settings, by probing: one that this kernel does not have is simply absent.

use crate::root::{Root, open_directory, read_at, why};
use evidence::{Gap, Settings, Unseen};
use rustix::fs::CWD;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

/// The longest value that is read. The longest real one is `ip_local_reserved_ports` with every other port.
pub(crate) const MAX_VALUE: usize = 256 << 10;

/// Where a setting is; none if it is none of those that are read.
pub(crate) fn path(root: &Root, name: &str) -> Option<PathBuf> {
    evidence::SETTINGS.into_iter().find_map(|(prefix, names)| {
        let leaf = name.strip_prefix(prefix)?;
        let folder = root.proc.join("sys").join(prefix.replace('.', "/"));
        names.contains(&leaf).then(|| folder.join(leaf))
    })
}

/// Reads the settings of the calling thread's network namespace. What exists and cannot be read is a gap.
pub fn read(root: &Root, gaps: &mut Vec<Gap>) -> Settings {
    let mut settings = Settings::default();
    // Names by what kept them from being read.
    let mut unread: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (prefix, names) in evidence::SETTINGS {
        let path = root.proc.join("sys").join(prefix.replace('.', "/"));
        let directory = match open_directory(CWD, path) {
            Ok(directory) => directory,
            // conntrack need not be loaded.
            Err(error) if error.kind() == io::ErrorKind::NotFound && prefix == "net.netfilter." => continue,
            Err(error) => {
                unread.entry(why(&error)).or_default().push(format!("{prefix}*"));
                continue;
            }
        };
        for name in names {
            match read_at(&directory, *name, MAX_VALUE) {
                Ok(value) => {
                    let value = String::from_utf8_lossy(value.trim_ascii()).into_owned();
                    settings.values.insert(format!("{prefix}{name}"), value);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => unread.entry(why(&error)).or_default().push(format!("{prefix}{name}")),
            }
        }
    }
    gaps.extend(unread.into_iter().map(|(why, names)| {
        let more = match names.len() {
            1 => String::new(),
            many => format!(" and {} more", many - 1),
        };
        let first = names.into_iter().next().unwrap_or_default();
        Gap {
            unseen: Unseen::Settings,
            netns: None,
            how_to_see: if why == "permission denied" {
                "run as root".to_owned()
            } else {
                format!("check that /proc is mounted and `sysctl {first}` works")
            },
            because: format!("{first}{more}: {why}"),
        }
    }));
    settings
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn fixture(name: &str) -> Root {
        Root::below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name))
    }

    #[test]
    fn an_old_kernel_has_recycle_and_lacks_what_came_later() {
        let mut gaps = Vec::new();
        let settings = read(&fixture("proc-3.10"), &mut gaps);
        assert_eq!(settings.number("net.ipv4.tcp_tw_recycle"), Some(1));
        assert_eq!(settings.text("net.ipv4.tcp_tw_reuse_delay"), None);
        assert_eq!(settings.text("net.ipv4.ip_local_port_range"), Some("32768\t61000"));
        assert_eq!(settings.local_port_range().ports(), 28_233);
        assert_eq!(settings.text("net.netfilter.nf_conntrack_max"), None);
        assert_eq!(gaps, []);
    }

    #[test]
    fn a_vendors_length_of_time_wait_is_seen() {
        let mut gaps = Vec::new();
        let settings = read(&fixture("proc-alibaba"), &mut gaps);
        assert_eq!(settings.time_wait().as_secs(), 5);
        assert_eq!(settings.number("net.netfilter.nf_conntrack_tcp_timeout_time_wait"), Some(120));
        assert!(settings.reserved_ports().contains(33_000));
        assert_eq!(gaps, []);
    }

    #[test]
    fn what_cannot_be_read_is_a_gap_and_the_rest_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::below(directory.path());
        let ipv4 = root.proc.join("sys/net/ipv4");
        std::fs::create_dir_all(ipv4.join("tcp_tw_reuse")).unwrap();
        std::fs::create_dir_all(ipv4.join("tcp_rfc1337")).unwrap();
        std::fs::write(ipv4.join("tcp_fin_timeout"), "  30 \n").unwrap();
        std::fs::write(ipv4.join("tcp_mem"), vec![b'1'; 1 << 20]).unwrap();
        std::os::unix::fs::symlink("/dev/zero", ipv4.join("tcp_syncookies")).unwrap();
        let mut gaps = Vec::new();
        let settings = read(&root, &mut gaps);
        assert_eq!(settings, Settings::from_iter([("net.ipv4.tcp_fin_timeout", "30")]));
        let because: Vec<&str> = gaps.iter().map(|gap| gap.because.as_str()).collect();
        assert_eq!(
            because,
            [
                "net.ipv4.tcp_tw_reuse and 1 more: is a directory",
                "net.ipv4.tcp_syncookies and 1 more: larger than 262144 bytes",
                "net.core.*: no such file",
            ]
        );
    }

    #[test]
    fn this_kernels_settings_are_read() {
        let mut gaps = Vec::new();
        let settings = read(&Root::default(), &mut gaps);
        assert!(settings.number("net.ipv4.tcp_fin_timeout").is_some(), "{gaps:?}");
        assert!(settings.text("net.ipv4.ip_local_port_range").is_some_and(|range| !range.ends_with('\n')));
    }
}
