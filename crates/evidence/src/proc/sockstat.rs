//! How many sockets there are, in the text of /proc/net/sockstat and sockstat6.

use std::collections::BTreeMap;

/// The counts in the text of either file: `TCP: inuse 1 orphan 0`. Only TCP and the sum of all sockets.
pub fn sockstat(text: &[u8]) -> BTreeMap<String, u64> {
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

    #[test]
    fn a_line_cut_short_loses_only_its_last_field() {
        let expected = BTreeMap::from([("TCP.inuse".into(), 7)]);
        assert_eq!(sockstat(b"TCP: inuse 7 orphan -1 tw"), expected);
        assert_eq!(sockstat(b"TCP inuse 7\nTCPX: inuse 7\n\xff: a 1\nTCP: inuse 7"), expected);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            sockstat(&bytes);
        }
    }
}
