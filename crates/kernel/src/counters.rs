//! TCP's counters, named as `nstat` names them.

use crate::root::{self, Root, why};
use std::collections::BTreeMap;
use std::io;

/// The largest file that is read; on 6.18 netstat has 6 KiB.
const MAX_FILE: usize = 256 << 10;

/// The longest name that is taken; the kernel's have at most 25 letters.
const MAX_NAME: usize = 64;

/// Reads /proc/net/snmp and /proc/net/netstat of the calling thread's network namespace: `TcpOutRsts`,
/// `TcpExtTCPTimeWaitOverflow`. Counts since the namespace was made.
pub fn read(root: &Root) -> io::Result<BTreeMap<String, u64>> {
    let net = root.thread_net()?;
    let mut counters = BTreeMap::new();
    for name in ["snmp", "netstat"] {
        let path = net.join(name);
        let bytes = root::read(&path, MAX_FILE)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {}", path.display(), why(&error))))?;
        counters.append(&mut parse(&bytes));
    }
    Ok(counters)
}

/// The TCP counters in the text of either file: pairs of lines, names and then values, which begin with the
/// same word. Negative values (`MaxConn -1`: no limit) are no counts and are left out.
pub fn parse(text: &[u8]) -> BTreeMap<String, u64> {
    let mut counters = BTreeMap::new();
    let mut names: Option<(&[u8], &[u8])> = None;
    for line in text.split(|byte| *byte == b'\n') {
        let Some((prefix, rest)) = split_once(line, b':') else { continue };
        if prefix != b"Tcp" && prefix != b"TcpExt" {
            continue;
        }
        match names.take() {
            Some((of, names)) if of == prefix => {
                for (name, value) in words(names).zip(words(rest)) {
                    if let (Some(name), Some(value)) = (counter_name(prefix, name), count(value)) {
                        counters.insert(name, value);
                    }
                }
            }
            _ => names = Some((prefix, rest)),
        }
    }
    counters
}

fn counter_name(prefix: &[u8], name: &[u8]) -> Option<String> {
    let plausible =
        name.len() <= MAX_NAME && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let name = plausible.then(|| [prefix, name].concat())?;
    String::from_utf8(name).ok()
}

fn count(value: &[u8]) -> Option<u64> {
    // str::parse() would take a plus sign.
    value.first().filter(|first| first.is_ascii_digit())?;
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

fn split_once(line: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let place = line.iter().position(|byte| *byte == at)?;
    Some((&line[..place], &line[place + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
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
    fn only_pairs_of_lines_of_one_table_count() {
        let text =
            b"Tcp: A B\nIp: X\nTcp: 1 2 3\nTcpExt: C\nTcp: A\nTcp: 9\nTcpExt: +5 x\nTcp: D E\nTcp: -4 x";
        assert_eq!(parse(text), BTreeMap::from([("TcpA".into(), 9), ("TcpB".into(), 2)]));
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

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            parse(&bytes);
        }

        #[test]
        fn any_lines_of_words_give_counts_only(
            text in "((Tcp|TcpExt|Ip|):( ([A-Z]{0,2}|-?[0-9]{1,21}|\u{fffd})){0,5}\n){0,8}"
        ) {
            for name in parse(text.as_bytes()).keys() {
                prop_assert!(name.starts_with("Tcp"), "{}", name);
            }
        }
    }
}
