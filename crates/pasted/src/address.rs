//! Addresses with ports, as each tool writes them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One end of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// 128 bits, IPv4 mapped into IPv6; 0 is every address.
    pub(crate) address: u128,
    /// 0 is none.
    pub(crate) port: u16,
    /// True if it is written as an IPv6 address.
    pub(crate) wide: bool,
    /// True if somebody hid the address, or a name stands in its place: only the port is known.
    pub(crate) masked: bool,
}

/// Why a word is no end of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoEnd {
    /// It has a name where the number of its port would be: the tool ran without `-n`.
    Named,
    /// It makes no sense.
    Odd,
}

/// What stands between an address and its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// `10.0.0.1:80`, everywhere but on BSD.
    Colon,
    /// `10.0.0.1.80`, on macOS and BSD.
    Dot,
}

/// Reads `10.0.0.1:80`, `[::1]:80`, `::1:80`, `*:80`, `[fe80::1%eth0]:80`, `[fe80::1]%eth0:80`, `10.0.0.1%eth0:80`.
pub(crate) fn end(word: &str, before: Before) -> Result<End, NoEnd> {
    let mark = match before {
        Before::Colon => ':',
        Before::Dot => '.',
    };
    let (address, port) = word.rsplit_once(mark).ok_or(NoEnd::Odd)?;
    let port = match port {
        "*" => 0,
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().map_err(|_| NoEnd::Odd)?
        }
        name if is_name(name) => return Err(NoEnd::Named),
        _ => return Err(NoEnd::Odd),
    };
    from_parts(address, port)
}

/// The same where an address and its port stand in columns of their own.
pub(crate) fn from_parts(address: &str, port: u16) -> Result<End, NoEnd> {
    // The interface stands inside the brackets or behind them.
    let address = address.split('%').next().unwrap_or_default();
    let bare = address.strip_prefix('[').unwrap_or(address);
    let bare = bare.strip_suffix(']').unwrap_or(bare);
    if bare.is_empty() || bare == "*" {
        return Ok(End { address: 0, port, wide: true, masked: false });
    }
    if let Ok(address) = bare.parse::<Ipv4Addr>() {
        let bits = if address.is_unspecified() { 0 } else { address.to_ipv6_mapped().to_bits() };
        return Ok(End { address: bits, port, wide: false, masked: false });
    }
    if let Ok(address) = bare.parse::<Ipv6Addr>() {
        let any = IpAddr::V6(address).to_canonical().is_unspecified();
        return Ok(End { address: if any { 0 } else { address.to_bits() }, port, wide: true, masked: false });
    }
    if is_mask(bare) {
        return Ok(End { address: 0, port, wide: false, masked: true });
    }
    Err(NoEnd::Odd)
}

/// A host's or a service's name: it has a letter, and nothing that neither may have.
fn is_name(word: &str) -> bool {
    word.bytes().any(|byte| byte.is_ascii_alphabetic())
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// What stands in the place of an address: a name, `x.x.x.x`, `10.0.0.xxx`, `<redacted>`, `***`.
fn is_mask(word: &str) -> bool {
    word.bytes().any(|byte| byte.is_ascii_alphabetic() || b"*#".contains(&byte))
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:*#<>(){}[]".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(word: &str, before: Before) -> String {
        match end(word, before) {
            Ok(end) => {
                let address = IpAddr::V6(Ipv6Addr::from_bits(end.address)).to_canonical();
                let masked = if end.masked { " masked" } else { "" };
                format!("{address} {}{}{masked}", end.port, if end.wide { " wide" } else { "" })
            }
            Err(error) => format!("{error:?}"),
        }
    }

    #[test]
    fn every_tools_way_of_writing_is_read() {
        for (word, read) in [
            ("10.0.0.1:80", "10.0.0.1 80"),
            ("0.0.0.0:*", ":: 0"),
            ("*:80", ":: 80 wide"),
            ("[::]:80", ":: 80 wide"),
            (":::80", ":: 80 wide"),
            ("::1:80", "::1 80 wide"),
            ("[::ffff:10.0.0.1]:80", "10.0.0.1 80 wide"),
            ("::ffff:10.0.0.1:80", "10.0.0.1 80 wide"),
            ("[fe80::1]%eth0:22", "fe80::1 22 wide"),
            ("[fe80::1%12]:22", "fe80::1 22 wide"),
            ("127.0.0.53%lo:53", "127.0.0.53 53"),
            ("localhost:80", ":: 80 masked"),
            ("x.x.x.x:80", ":: 80 masked"),
            ("10.0.0.xxx:80", ":: 80 masked"),
            ("***.***.***.***:80", ":: 80 masked"),
            ("<redacted>:80", ":: 80 masked"),
            ("[REDACTED]:80", ":: 80 masked"),
            ("[2001:db8::xxxx]:80", ":: 80 masked"),
            ("2001:db8:x::x:80", ":: 80 masked"),
            ("x.x.x.x:xx", "Named"),
            ("<redacted>", "Odd"),
            ("10.0.0.256:80", "Odd"),
            ("10.0.0.1:http", "Named"),
            ("10.0.0.1:65536", "Odd"),
            ("10.0.0.1", "Odd"),
            ("users:((", "Odd"),
            ("", "Odd"),
        ] {
            assert_eq!(shown(word, Before::Colon), read, "{word}");
        }
        for (word, read) in [
            ("192.168.1.5.54321", "192.168.1.5 54321"),
            ("*.80", ":: 80 wide"),
            ("*.*", ":: 0 wide"),
            ("::1.631", "::1 631 wide"),
            ("fe80::1%lo0.123", "fe80::1 123 wide"),
            ("host.local.http", "Named"),
        ] {
            assert_eq!(shown(word, Before::Dot), read, "{word}");
        }
    }
}
