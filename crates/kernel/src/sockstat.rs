//! How many sockets there are, as /proc/net/sockstat and sockstat6 count them.

use crate::root::{self, Root};
use evidence::proc;
use std::collections::BTreeMap;

/// The largest file that is read; the kernel writes a few hundred bytes.
const MAX_FILE: usize = 64 << 10;

/// Reads the counts of the calling thread's network namespace: `TCP.inuse`, `TCP.tw`, `TCP6.inuse`; `TCP.orphan`,
/// `TCP.alloc` and `TCP.mem` (pages) are host-wide. Empty if the files cannot be read.
pub fn read(root: &Root) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    if let Ok(net) = root.thread_net() {
        for name in ["sockstat", "sockstat6"] {
            // sockstat6 is absent where IPv6 is off.
            if let Ok(bytes) = root::read(&net.join(name), MAX_FILE) {
                counts.append(&mut proc::sockstat(&bytes));
            }
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn counts_are_named_by_table_and_field() {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/proc-alibaba");
        let counts = read(&Root::below(&fixture));
        assert_eq!(counts.get("TCP.tw"), Some(&8_123));
        assert_eq!(counts.get("TCP6.inuse"), Some(&4));
        assert_eq!(counts.get("sockets.used"), Some(&312));
        assert_eq!(counts.get("UDP.inuse"), None);
    }

    #[test]
    fn a_host_without_the_files_has_no_counts() {
        assert!(read(&Root::below(Path::new("/nowhere"))).is_empty());
    }
}
