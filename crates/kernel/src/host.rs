//! The host's name, its kernel and its boot.

use crate::root::{Root, read_prefix};
use evidence::Host;
use rustix::fs::CWD;

/// The longest name that is taken; the kernel keeps 64 bytes of each.
const MAX_NAME: usize = 256;

/// Reads the host's name and kernel release; empty where they cannot be read.
pub fn read(root: &Root) -> Host {
    let text = |name: &str| {
        let path = root.proc.join("sys/kernel").join(name);
        let bytes = read_prefix(CWD, &path, MAX_NAME).unwrap_or_default();
        String::from_utf8_lossy(bytes.trim_ascii()).into_owned()
    };
    Host { name: text("hostname"), kernel: text("osrelease"), ..Host::default() }
}

/// Which boot of the host this is; empty where that cannot be read.
pub fn boot_id(root: &Root) -> String {
    let bytes = read_prefix(CWD, root.proc.join("sys/kernel/random/boot_id"), MAX_NAME).unwrap_or_default();
    String::from_utf8_lossy(bytes.trim_ascii()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn name_and_release_are_trimmed_and_bounded() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let host = read(&Root::below(&fixtures.join("proc-3.10")));
        assert_eq!((host.name.as_str(), host.kernel.as_str()), ("web1", "3.10.0-957.el7.x86_64"));
        let directory = tempfile::tempdir().unwrap();
        let root = Root::below(directory.path());
        std::fs::create_dir_all(root.proc.join("sys/kernel")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", root.proc.join("sys/kernel/hostname")).unwrap();
        let host = read(&root);
        assert_eq!((host.name.len(), host.kernel.as_str()), (MAX_NAME, ""));
    }
}
