//! What arguments mean: times, versions of HAProxy.

/// Milliseconds of a time: a number with `us`, `ms`, `s`, `m`, `h` or `d`; a number alone is milliseconds
/// (configuration manual, section 2.5).
pub(super) fn milliseconds(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text.get(..digits)?.parse().ok()?;
    match text.get(digits..)? {
        "us" => Some(number.div_ceil(1000)),
        "" | "ms" => Some(number),
        "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        "d" => number.checked_mul(86_400_000),
        _ => None,
    }
}

/// A version of HAProxy, for comparing: `2.6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version([u32; 3]);

/// From when on `http-reuse safe` is the default (HAProxy 2.0; configuration manual, `http-reuse`).
pub(super) const REUSE_BY_DEFAULT: Version = Version([2, 0, 0]);

impl Version {
    pub(super) fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self([major, minor, patch])
    }

    /// The versions that it is one of: 2.6 of 2.6.12.
    pub(super) fn branch(self) -> [u32; 2] {
        let Self([major, minor, _]) = self;
        [major, minor]
    }

    /// Reads `2.6.12`, `2.8`, `HAProxy version 2.6.12-1+deb12u4 2026/10/17`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let word =
            text.split_whitespace().find(|word| word.starts_with(|sign: char| sign.is_ascii_digit()))?;
        let mut parts = word.split(|sign: char| !sign.is_ascii_digit()).map(str::parse);
        let (major, minor) = (parts.next()?.ok()?, parts.next()?.ok()?);
        Some(Self([major, minor, parts.next().and_then(Result::ok).unwrap_or_default()]))
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self([one, two, three]) = self;
        write!(f, "{one}.{two}.{three}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_without_a_unit_are_milliseconds() {
        for (text, expected) in [
            ("50000", Some(50_000)),
            ("5s", Some(5000)),
            ("1m", Some(60_000)),
            ("1500us", Some(2)),
            ("1d", Some(86_400_000)),
            ("5x", None),
            ("s", None),
            ("", None),
            ("99999999999999999d", None),
        ] {
            assert_eq!(milliseconds(text), expected, "{text}");
        }
    }

    #[test]
    fn versions_are_read_as_haproxy_prints_them() {
        let version = Version::parse("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/");
        assert_eq!(version.unwrap().to_string(), "2.6.12");
        assert_eq!(Version::parse("HA-Proxy version 1.8.19-1 2019/02/12").unwrap().to_string(), "1.8.19");
        assert_eq!(Version::parse("3.2"), Some(Version([3, 2, 0])));
        assert_eq!(Version::parse("haproxy"), None);
    }
}
