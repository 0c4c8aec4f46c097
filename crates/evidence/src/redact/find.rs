//! Addresses in any text, however they are written.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest text of an IPv6 address: `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255`.
const LONGEST: usize = 45;

/// An address, and where it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// An IPv4 address that is mapped into IPv6 is one of IPv4.
    pub(super) address: IpAddr,
    pub(super) style: Style,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// How an address is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// `10.0.0.1`, `2001:db8::1`.
    Plain,
    /// `::ffff:10.0.0.1`.
    Mapped,
    /// `10-0-0-1`, as clouds and clusters name hosts: `ip-10-0-0-1.ec2.internal`.
    Dashes,
    /// `10_0_0_1`, as in names that are made of an address: `pool_10_0_0_1_8080`.
    Underscores,
}

/// The addresses of a text in their order; none overlaps another. What may be one is taken for one, and what is
/// `known` to be one wherever it stands.
pub(super) fn addresses<'t>(
    text: &'t str,
    known: impl Fn(IpAddr) -> bool + 't,
) -> impl Iterator<Item = Written> + 't {
    let bytes = text.as_bytes();
    let mut at = if may_have_one(bytes) { 0 } else { bytes.len() };
    std::iter::from_fn(move || {
        while at < bytes.len() {
            let start = at;
            at += 1;
            let found = v6(text, start, &known).or_else(|| v4(bytes, start));
            if let Some(written) = found {
                at = written.end;
                return found;
            }
        }
        None
    })
}

/// Most texts have none, and show it at once.
fn may_have_one(bytes: &[u8]) -> bool {
    let (mut colons, mut dots, mut dashes, mut underscores) = (0, 0, 0, 0);
    for byte in bytes {
        colons += usize::from(*byte == b':');
        dots += usize::from(*byte == b'.');
        dashes += usize::from(*byte == b'-');
        underscores += usize::from(*byte == b'_');
    }
    colons >= 2 || dots >= 3 || dashes >= 3 || underscores >= 3
}

fn is_alphanumeric(byte: Option<&u8>) -> bool {
    byte.is_some_and(u8::is_ascii_alphanumeric)
}

/// The longest IPv6 address that begins here, and neither begins nor ends in a word: `bad::cafe` is one, `std::net`
/// none. One that is known is one within a word, too.
fn v6(text: &str, start: usize, known: &impl Fn(IpAddr) -> bool) -> Option<Written> {
    let bytes = text.as_bytes();
    let before = start.checked_sub(1).and_then(|before| bytes.get(before));
    let rest = bytes.get(start..)?;
    if !rest.first()?.is_ascii_hexdigit() && (!rest.starts_with(b"::") || before == Some(&b':')) {
        return None;
    }
    let run = rest
        .iter()
        .take(LONGEST + 1)
        .take_while(|byte| byte.is_ascii_hexdigit() || b":.".contains(byte))
        .count();
    if rest.iter().take(run).filter(|byte| **byte == b':').count() < 2 {
        return None;
    }
    let parsed = |length: usize| {
        let end = start.checked_add(length)?;
        let address = text.get(start..end)?.parse::<Ipv6Addr>().ok()?;
        Some((end, IpAddr::V6(address).to_canonical()))
    };
    let lengths = || (2..=run).rev();
    let word_ends = |length: &usize| !is_alphanumeric(before) && !is_alphanumeric(rest.get(*length));
    let (end, address) = lengths()
        .filter(word_ends)
        .find_map(parsed)
        .or_else(|| lengths().filter_map(parsed).find(|(_, address)| known(*address)))?;
    let style = if address.is_ipv4() { Style::Mapped } else { Style::Plain };
    Some(Written { address, style, start, end })
}

/// Four numbers that begin here, with dots, dashes or underscores between them. Leading zeros are decimal, as nginx
/// reads them.
fn v4(bytes: &[u8], start: usize) -> Option<Written> {
    let before = start.checked_sub(1).and_then(|before| bytes.get(before));
    if before.is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let mut octets = [0_u8; 4];
    let mut end = start;
    let mut between = None;
    for (place, octet) in octets.iter_mut().enumerate() {
        if place > 0 {
            let mark = *bytes.get(end)?;
            if !b".-_".contains(&mark) || *between.get_or_insert(mark) != mark {
                return None;
            }
            end += 1;
        }
        let digits = bytes.get(end..)?.iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
        let number = bytes.get(end..end + digits).filter(|digits| (1..=3).contains(&digits.len()))?;
        *octet = std::str::from_utf8(number).ok()?.parse().ok()?;
        end += digits;
    }
    let style = match between {
        Some(b'-') => Style::Dashes,
        Some(b'_') => Style::Underscores,
        _ => Style::Plain,
    };
    Some(Written { address: Ipv4Addr::from_octets(octets).into(), style, start, end })
}

/// What names have besides letters and digits.
pub(super) const OF_NAMES: &[u8] = b"-_";

/// Where a word stands in a text at or behind a byte, in whatever case, with neither letters and digits around it nor
/// one of these marks.
pub(super) fn word(text: &str, word: &str, from: usize, marks: &[u8]) -> Option<usize> {
    let bytes = text.as_bytes();
    let is_part =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || marks.contains(byte));
    let last = bytes.len().checked_sub(word.len())?;
    (from..=last).find(|at| {
        let end = at + word.len();
        bytes.get(*at..end).is_some_and(|part| part.eq_ignore_ascii_case(word.as_bytes()))
            && text.is_char_boundary(*at)
            && !is_part(at.checked_sub(1).and_then(|before| bytes.get(before)))
            && !is_part(bytes.get(end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        addresses(text, |address| address.to_string() == "2001:db8::1")
            .map(|written| {
                assert_eq!(text.get(written.start..written.end).map(str::is_empty), Some(false));
                format!("{} {:?}", written.address, written.style)
            })
            .collect()
    }

    #[test]
    fn addresses_are_found_however_they_are_written() {
        for (text, address) in [
            ("10.0.0.1", "10.0.0.1 Plain"),
            ("*:80 10.0.0.1:80", "10.0.0.1 Plain"),
            ("server 010.000.000.001:8080;", "10.0.0.1 Plain"),
            ("10.0.0.1.80", "10.0.0.1 Plain"),
            ("300.10.0.0.1", "10.0.0.1 Plain"),
            ("v10.0.0.1/24", "10.0.0.1 Plain"),
            ("ip-10-0-0-1.eu-west-1.compute.internal", "10.0.0.1 Dashes"),
            ("pool_10_0_0_1_8080", "10.0.0.1 Underscores"),
            ("[2001:db8::1]:80", "2001:db8::1 Plain"),
            ("2001:0DB8:0000:0000:0000:0000:0000:0001", "2001:db8::1 Plain"),
            ("fe80::1%eth0", "fe80::1 Plain"),
            ("2001:db8::1.", "2001:db8::1 Plain"),
            ("2001:db8::1:domain", "2001:db8::1 Plain"),
            ("2001:db8::1xample", "2001:db8::1 Plain"),
            ("to:2001:db8::1", "2001:db8::1 Plain"),
            ("::ffff:10.0.0.1", "10.0.0.1 Mapped"),
            ("[::ffff:a00:1]:80", "10.0.0.1 Mapped"),
            ("64:ff9b::10.0.0.1", "64:ff9b::a00:1 Plain"),
            ("http://[::1]/", "::1 Plain"),
        ] {
            assert_eq!(found(text), [address], "{text}");
        }
        assert_eq!(found("10.0.0.1,10.0.0.2 10.0.0.3-10.0.0.4").len(), 4);
    }

    #[test]
    fn what_only_looks_like_one_is_left() {
        for text in [
            "",
            "1.22.1",
            "10.0.0",
            "256.0.0.1",
            "10.0.0.0001",
            "10-0.0-1",
            "10_0-0_1",
            "2026-11-21T09:23:36Z",
            "12:34:56",
            "aa:bb:cc:dd:ee:ff",
            "std::net::IpAddr",
            "cache::get",
            "a:b:c:d",
            "4f1c2d3e-0000-1000-8000-00805f9b34fb",
        ] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn words_are_whole() {
        assert_eq!(word("Web1.example.com web1", "web1", 0, OF_NAMES), Some(0));
        assert_eq!(word("web1-db web12 xweb1 _web1", "web1", 0, OF_NAMES), None);
        assert_eq!(word("ss_web1-x web12", "web1", 0, &[]), Some(3));
        assert_eq!(word("ü web1 (web1)", "web1", 4, OF_NAMES), Some(9));
        assert_eq!(word("web", "web1", 0, OF_NAMES), None);
    }
}
