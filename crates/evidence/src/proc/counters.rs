//! TCP's counters in the text of /proc/net/snmp and /proc/net/netstat.

use std::collections::BTreeMap;

/// The longest name that is taken; the kernel's have at most 25 letters.
const MAX_NAME: usize = 64;

/// The TCP counters in the text of either file: pairs of lines, names and then values, which begin with the
/// same word. Negative values (`MaxConn -1`: no limit) are no counts and are left out.
pub fn counters(text: &[u8]) -> BTreeMap<String, u64> {
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

    #[test]
    fn only_pairs_of_lines_of_one_table_count() {
        let text =
            b"Tcp: A B\nIp: X\nTcp: 1 2 3\nTcpExt: C\nTcp: A\nTcp: 9\nTcpExt: +5 x\nTcp: D E\nTcp: -4 x";
        assert_eq!(counters(text), BTreeMap::from([("TcpA".into(), 9), ("TcpB".into(), 2)]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            counters(&bytes);
        }

        #[test]
        fn any_lines_of_words_give_counts_only(
            text in "((Tcp|TcpExt|Ip|):( ([A-Z]{0,2}|-?[0-9]{1,21}|\u{fffd})){0,5}\n){0,8}"
        ) {
            for name in counters(text.as_bytes()).keys() {
                prop_assert!(name.starts_with("Tcp"), "{}", name);
            }
        }
    }
}
