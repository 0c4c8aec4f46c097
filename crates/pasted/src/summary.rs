//! The sums of `ss -s`, under the names of /proc/net/sockstat, from which it takes them.

use crate::text::Line;
use std::collections::BTreeMap;

/// Reads `Total: 312` and `TCP: 14 (estab 7, closed 5, orphaned 0, timewait 4)`.
pub(crate) fn read<'a>(lines: impl Iterator<Item = Line<'a>>) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for Line { says, .. } in lines {
        if let Some(rest) = says.trim_start().strip_prefix("Total:") {
            let total = rest.split_ascii_whitespace().next().and_then(|total| total.parse().ok());
            sums.extend(total.map(|total| ("sockets.used".to_owned(), total)));
        }
        let Some((_, inside)) = says.split_once("(estab ") else { continue };
        for part in inside.split(',') {
            let mut words = part.split_ascii_whitespace();
            let name = match words.next() {
                Some("orphaned") => "TCP.orphan",
                Some("timewait") => "TCP.tw",
                _ => continue,
            };
            // Older releases: `timewait 4/0`.
            let value = words.next().and_then(|value| value.split(['/', ')']).next()?.parse().ok());
            sums.extend(value.map(|value| (name.to_owned(), value)));
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::lines;

    #[test]
    fn sums_of_old_and_new_releases_are_read() {
        for text in [
            "Total: 11\nTCP:   14 (estab 7, closed 5, orphaned 2, timewait 4)\n",
            "Total: 11 (kernel 0)\nTCP:   14 (estab 7, closed 5, orphaned 2, synrecv 0, timewait 4/0), ports 0\n",
        ] {
            let sums = read(lines(text, 0, 1));
            let of = |name: &str| sums.get(name).copied();
            assert_eq!((of("sockets.used"), of("TCP.orphan"), of("TCP.tw")), (Some(11), Some(2), Some(4)));
        }
    }
}
