//! What arguments mean: times, versions of nginx, where a pass goes.

use evidence::configuration::nginx::{Protocol, Target};

/// Milliseconds of a time: `30s`, `1h 30m`, `500ms`; a number alone is seconds (ngx_parse_time()).
pub(super) fn milliseconds(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    let mut sum = 0_u64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        let (unit, length) = if rest.starts_with("ms") {
            (1, 2)
        } else {
            match rest.bytes().next() {
                Some(b's') => (1000, 1),
                Some(b'm') => (60_000, 1),
                Some(b'h') => (3_600_000, 1),
                Some(b'd') => (86_400_000, 1),
                Some(b'w') => (604_800_000, 1),
                Some(b'M') => (2_592_000_000, 1),
                Some(b'y') => (31_536_000_000, 1),
                Some(b' ') | None => (1000, 0),
                Some(_) => return None,
            }
        };
        sum = sum.checked_add(number.checked_mul(unit)?)?;
        rest = rest.get(length..)?.trim_start();
    }
    Some(sum)
}

/// A version of nginx, for comparing: `1.29.7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version([u32; 3]);

/// From when on upstreams are spoken to in HTTP/1.1 and pooled without being told to (nginx 1.29.7, CHANGES).
pub(super) const POOLED_BY_DEFAULT: Version = Version([1, 29, 7]);
/// From when on a connection serves 1000 requests and gets an hour old (nginx 1.19.10, CHANGES).
pub(super) const THOUSAND_REQUESTS: Version = Version([1, 19, 10]);
/// From when on upstreams have `keepalive_requests` and `keepalive_timeout` (nginx 1.15.3, CHANGES).
pub(super) const POOL_LIMITS: Version = Version([1, 15, 3]);

impl Version {
    /// Reads `1.22.1`, `nginx/1.22.1`, `nginx version: nginx/1.22.1 (Ubuntu)`, `openresty/1.25.3.1` (whose first three
    /// numbers are nginx's). Other programs that grew out of nginx have numbers of their own.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let word = text.split_whitespace().find(|word| word.contains('.'))?;
        let numbers = match word.rsplit_once('/') {
            Some(("nginx" | "openresty", numbers)) => numbers,
            Some(_) => return None,
            None => word,
        };
        let mut parts = numbers.split(['.', '-', '+', '~']).map(str::parse);
        Some(Self([parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?]))
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self([one, two, three]) = self;
        write!(f, "{one}.{two}.{three}")
    }
}

/// Where the argument of a pass goes, and whether encrypted. `is_upstream` knows the names of the blocks.
pub(super) fn target(protocol: Protocol, text: &str, is_upstream: impl Fn(&str) -> bool) -> (Target, bool) {
    let schemes: &[(&str, bool)] = match protocol {
        Protocol::Http => &[("http://", false), ("https://", true)],
        Protocol::Grpc => &[("grpc://", false), ("grpcs://", true)],
        Protocol::Uwsgi => &[("uwsgi://", false), ("suwsgi://", true)],
        _ => &[],
    };
    let scheme = schemes
        .iter()
        .find(|(scheme, _)| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
    if protocol == Protocol::Http && scheme.is_none() && !text.contains('$') {
        // nginx refuses it: invalid URL prefix.
        return (Target::Other, false);
    }
    let rest = scheme.map_or(text, |(scheme, _)| text.get(scheme.len()..).unwrap_or_default());
    let tls = scheme.is_some_and(|(_, tls)| *tls);
    if let Some(path) = rest.strip_prefix("unix:") {
        // A path may be followed by a colon and what is asked for there.
        let path = if protocol == Protocol::Http { path.split(':').next().unwrap_or(path) } else { path };
        let target = if path.contains('$') {
            Target::Variable { text: format!("unix:{path}") }
        } else {
            Target::Address { address: format!("unix:{path}") }
        };
        return (target, tls);
    }
    // These variables begin with a slash, always.
    let paths = ["/", "?", "$request_uri", "$uri", "$document_uri"];
    let end = paths.iter().filter_map(|path| rest.find(path)).min().unwrap_or(rest.len());
    let authority = rest.get(..end).unwrap_or(rest);
    // What stands before `@` would be a name and a password.
    let authority = authority.rsplit('@').next().unwrap_or(authority).to_owned();
    let target = if authority.contains('$') {
        Target::Variable { text: authority }
    } else if is_upstream(&authority) {
        Target::Upstream { name: authority }
    } else {
        Target::Address { address: authority }
    };
    (target, tls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, expected) in [
            ("75", Some(75_000)),
            ("75s", Some(75_000)),
            ("1h 30m", Some(5_400_000)),
            ("1h30m", Some(5_400_000)),
            ("500ms", Some(500)),
            ("1M", Some(2_592_000_000)),
            ("0", Some(0)),
            ("", None),
            ("s", None),
            ("5x", None),
            ("-1", None),
            ("$t", None),
            ("99999999999999999999", None),
            ("9999999999999999y", None),
        ] {
            assert_eq!(milliseconds(text), expected, "{text}");
        }
    }

    #[test]
    fn versions_of_nginx_are_told_from_those_of_others() {
        for text in ["1.22.1", "nginx/1.22.1", "nginx version: nginx/1.22.1 (Ubuntu)", "openresty/1.22.1.3"] {
            assert_eq!(Version::parse(text), Some(Version([1, 22, 1])), "{text}");
        }
        for text in ["", "nginx", "angie/1.22.1", "1.22", "a.b.c"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
        assert!(POOL_LIMITS < THOUSAND_REQUESTS && THOUSAND_REQUESTS < POOLED_BY_DEFAULT);
    }

    #[test]
    fn a_pass_goes_to_a_block_an_address_or_a_variable() {
        let to = |protocol, text| match target(protocol, text, |name| name == "app") {
            (Target::Upstream { name }, tls) => format!("upstream {name} {tls}"),
            (Target::Address { address }, tls) => format!("address {address} {tls}"),
            (Target::Variable { text }, tls) => format!("variable {text} {tls}"),
            (Target::Other, _) => "other".to_owned(),
        };
        assert_eq!(to(Protocol::Http, "http://app/x/"), "upstream app false");
        assert_eq!(to(Protocol::Http, "HTTPS://app$request_uri"), "upstream app true");
        assert_eq!(to(Protocol::Http, "http://app:8080"), "address app:8080 false");
        assert_eq!(to(Protocol::Http, "http://u:secret@192.0.2.1:80/"), "address 192.0.2.1:80 false");
        assert_eq!(to(Protocol::Http, "http://unix:/run/a.sock:/x"), "address unix:/run/a.sock false");
        assert_eq!(to(Protocol::Http, "htp://app"), "other");
        assert_eq!(to(Protocol::Http, "$backend"), "variable $backend false");
        assert_eq!(to(Protocol::Http, "http://$host:8080/x"), "variable $host:8080 false");
        assert_eq!(to(Protocol::Fastcgi, "unix:/run/php.sock"), "address unix:/run/php.sock false");
        assert_eq!(to(Protocol::Grpc, "grpcs://app"), "upstream app true");
        assert_eq!(to(Protocol::Stream, "app"), "upstream app false");
    }
}
