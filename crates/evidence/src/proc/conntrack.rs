//! What conntrack did, in the text of /proc/net/stat/nf_conntrack.

use std::collections::BTreeMap;

/// The sums in the text of /proc/net/stat/nf_conntrack: a line of names, then for each CPU a line of hexadecimal
/// numbers (net/netfilter/nf_conntrack_standalone.c `ct_cpu_seq_show()`). The first column is the number of
/// entries of the whole table in every line, not a statistic.
pub fn conntrack_stats(text: &[u8]) -> BTreeMap<String, u64> {
    let text = String::from_utf8_lossy(text);
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split_ascii_whitespace().collect();
    let mut sums = BTreeMap::new();
    if names.first() != Some(&"entries") {
        return sums;
    }
    for line in lines {
        for (name, value) in names.iter().zip(line.split_ascii_whitespace()).skip(1) {
            // Each is 32 bits, but the kernel may widen them.
            if let Ok(value) = u64::from_str_radix(value, 16) {
                let sum = sums.entry((*name).to_owned()).or_insert(0_u64);
                *sum = sum.saturating_add(value);
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn statistics_are_summed_over_cpus_without_the_first_column() {
        let text =
            b"entries searched insert_failed\n0000000c 00000000 0000000a\n0000000c 00000001 00000001\n";
        assert_eq!(
            conntrack_stats(text),
            BTreeMap::from([("searched".to_owned(), 1), ("insert_failed".to_owned(), 11)])
        );
        assert!(conntrack_stats(b"cpu=0 found=1\n").is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            conntrack_stats(&bytes);
        }
    }
}
