//! How many sockets there are, as /proc/net/sockstat and sockstat6 count them.

use crate::root::{self, Root};
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
                counts.append(&mut parse(&bytes));
            }
        }
    }
    counts
}

/// The counts in the text of either file: `TCP: inuse 1 orphan 0`. Only TCP and the sum of all sockets.
pub fn parse(text: &[u8]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for line in String::from_utf8_lossy(text).lines() {
        let Some((table @ ("sockets" | "TCP" | "TCP6"), rest)) = line.split_once(':') else { continue };
        let mut words = rest.split_ascii_whitespace();
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            if let Ok(value) = value.parse()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            {
                counts.insert(format!("{table}.{name}"), value);
            }
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
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
    fn a_line_cut_short_loses_only_its_last_field() {
        let expected = BTreeMap::from([("TCP.inuse".into(), 7)]);
        assert_eq!(parse(b"TCP: inuse 7 orphan -1 tw"), expected);
        assert_eq!(parse(b"TCP inuse 7\nTCPX: inuse 7\n\xff: a 1\nTCP: inuse 7"), expected);
        assert!(read(&Root::below(Path::new("/nowhere"))).is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            parse(&bytes);
        }
    }
}
