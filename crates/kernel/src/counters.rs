//! TCP's counters, named as `nstat` names them.

use crate::root::{self, Root, why};
use evidence::proc;
use std::collections::BTreeMap;
use std::io;

/// The largest file that is read; on 6.18 netstat has 6 KiB.
const MAX_FILE: usize = 256 << 10;

/// Reads /proc/net/snmp and /proc/net/netstat of the calling thread's network namespace: `TcpOutRsts`,
/// `TcpExtTCPTimeWaitOverflow`. Counts since the namespace was made.
pub fn read(root: &Root) -> io::Result<BTreeMap<String, u64>> {
    let net = root.thread_net()?;
    let mut counters = BTreeMap::new();
    for name in ["snmp", "netstat"] {
        let path = net.join(name);
        let bytes = root::read(&path, MAX_FILE)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {}", path.display(), why(&error))))?;
        counters.append(&mut proc::counters(&bytes));
    }
    Ok(counters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn fixture(name: &str) -> Root {
        Root::below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name))
    }

    #[test]
    fn names_are_those_of_nstat() {
        let counters = read(&fixture("proc-3.10")).unwrap();
        assert_eq!(counters.get("TcpOutRsts"), Some(&77));
        assert_eq!(counters.get("TcpExtPAWSPassive"), Some(&4_242));
        assert_eq!(counters.get("TcpMaxConn"), None, "-1 is no count");
        assert_eq!(counters.get("TcpExtTCPTimeWaitOverflow"), None, "this kernel does not have it");
        assert!(counters.keys().all(|name| name.starts_with("Tcp")), "{counters:?}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read(&Root::below(Path::new("/nowhere"))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let directory = tempfile::tempdir().unwrap();
        let root = Root::below(directory.path());
        std::fs::create_dir_all(root.proc.join("thread-self/net")).unwrap();
        let error = read(&root).unwrap_err().to_string();
        assert!(error.ends_with("thread-self/net/snmp: no such file"), "{error}");
    }

    #[test]
    fn this_kernel_counts_what_rules_need() {
        let counters = read(&Root::default()).unwrap();
        for name in
            ["TcpOutRsts", "TcpEstabResets", "TcpExtTW", "TcpExtListenOverflows", "TcpExtTCPAbortOnData"]
        {
            assert!(counters.contains_key(name), "{name}");
        }
    }
}
