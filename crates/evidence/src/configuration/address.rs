//! Which endpoints an address means that nginx or HAProxy is given.
//!
//! Names are not resolved, but `localhost`: one that only a resolver knows means nothing here.

use crate::Endpoint;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// So many ports of one range are looked at.
const MAX_RANGE: usize = 100;

/// A server of nginx; `port` is meant where none is written.
pub fn of_nginx(text: &str, port: u16) -> Vec<Endpoint> {
    if let Ok(end) = text.parse::<std::net::SocketAddr>() {
        return vec![Endpoint::new(end.ip(), end.port())];
    }
    let (host, port) = match text.rsplit_once(':') {
        // The last colon is one of the address.
        Some((_, rest)) if rest.ends_with(']') => (text, port),
        Some((host, number)) => (host, number.parse().unwrap_or(0)),
        None => (text, port),
    };
    if port == 0 {
        return Vec::new();
    }
    hosts(host).into_iter().map(|ip| Endpoint::new(ip, port)).collect()
}

/// What nginx listens at: `80`, `*:80`, `10.0.0.1:80`, `[::]:80`; without an address at any.
pub fn listens_of_nginx(text: &str) -> Vec<Endpoint> {
    let port = text.strip_prefix("*:").unwrap_or(text);
    if let Ok(port) = port.parse::<u16>() {
        return vec![Endpoint { address: None, port: Some(port) }];
    }
    of_nginx(text, 80).into_iter().map(or_any).collect()
}

/// A server of HAProxy. `ports` are those that clients come to: a server without a port is asked at the same, one with
/// `+100` or `-100` at the port so far from it (configuration manual, 5.2).
pub fn of_haproxy(text: &str, ports: &[u16]) -> Vec<Endpoint> {
    let Some((host, port)) = split_of_haproxy(text) else { return Vec::new() };
    let meant: Vec<u16> = match (port, port.strip_prefix('+').unwrap_or(port).parse::<i32>()) {
        ("", _) => ports.to_vec(),
        (_, Ok(offset)) if port.starts_with(['+', '-']) => {
            let moved = ports.iter().map(|port| i32::from(*port).saturating_add(offset));
            moved.filter_map(|port| u16::try_from(port).ok()).collect()
        }
        (_, Ok(port)) => u16::try_from(port).into_iter().collect(),
        (_, Err(_)) => Vec::new(),
    };
    let all = hosts(host);
    let all = all.iter().flat_map(|ip| meant.iter().map(|port| Endpoint::new(*ip, *port)));
    all.filter(|end| end.port > Some(0)).collect()
}

/// True if it is no address of TCP, but a socket of this host: `unix:/run/app.sock`, `abns@app`, `/run/app.sock`.
pub fn is_unix_socket(text: &str) -> bool {
    ["unix:", "unix@", "uxst@", "abns@", "abnsz@", "fd@", "sockpair@", "/"]
        .iter()
        .any(|start| text.starts_with(start))
}

/// What HAProxy binds: addresses with a port or a range of them, separated by commas.
pub fn listens_of_haproxy(text: &str) -> Vec<Endpoint> {
    let all = text.split(',').flat_map(|one| {
        let (host, port) = split_of_haproxy(one).unwrap_or_default();
        let (first, last) = port.split_once('-').unwrap_or((port, port));
        let range = first.parse::<u16>().ok().filter(|first| *first > 0).zip(last.parse::<u16>().ok());
        let ports: Vec<u16> =
            range.into_iter().flat_map(|(first, last)| first..=last).take(MAX_RANGE).collect();
        let hosts = if matches!(host, "" | "*") { vec![Ipv4Addr::UNSPECIFIED.into()] } else { hosts(host) };
        hosts
            .into_iter()
            .flat_map(move |ip| ports.clone().into_iter().map(move |port| or_any(Endpoint::new(ip, port))))
    });
    all.collect()
}

/// True if one who listens there is this server.
pub fn are_met(listens: &[Endpoint], server: Endpoint) -> bool {
    listens.iter().any(|listen| {
        listen.port == server.port && (listen.address.is_none() || listen.address == server.address)
    })
}

/// Host and port of an address of HAProxy; none for one that is not of IP. What follows the last colon is the port,
/// unless a bracket comes after it: `2001:db8::1:80` is port 80 of `2001:db8::1` (configuration manual, 4.2, `bind`).
fn split_of_haproxy(text: &str) -> Option<(&str, &str)> {
    let text = match text.split_once('@') {
        Some(("ipv4" | "ipv6" | "tcp" | "tcp4" | "tcp6", rest)) => rest,
        Some(_) => return None,
        None => text,
    };
    let (host, port) = match text.rsplit_once(':') {
        Some((_, rest)) if rest.contains(']') => (text, ""),
        Some(parts) => parts,
        None => (text, ""),
    };
    (!text.starts_with('/')).then_some((host, port))
}

/// The addresses that a host means.
fn hosts(host: &str) -> Vec<IpAddr> {
    if let Ok(ip) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        return vec![ip];
    }
    if host.eq_ignore_ascii_case("localhost") {
        return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    Vec::new()
}

/// Any address where none is meant.
fn or_any(end: Endpoint) -> Endpoint {
    match end.address {
        Some(address) if address.is_unspecified() => Endpoint { address: None, ..end },
        _ => end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(ends: &[Endpoint]) -> String {
        ends.iter().map(Endpoint::to_string).collect::<Vec<_>>().join(" ")
    }

    /// What 2.6.12 says in `show servers conn` of these, where its clients come to 8000; 0 there is that port.
    #[test]
    fn a_server_of_haproxy_is_where_haproxy_connects_to() {
        for (text, end) in [
            ("2001:db8::1:80", "[2001:db8::1]:80"),
            ("[2001:db8::2]:81", "[2001:db8::2]:81"),
            ("[2001:db8::3]", "[2001:db8::3]:8000"),
            ("::1:8080", "[::1]:8080"),
            ("ipv6@2001:db8::1:82", "[2001:db8::1]:82"),
            ("ipv6@[2001:db8::9]:92", "[2001:db8::9]:92"),
            ("2001:db8:1:2:3:4:5:6:93", "[2001:db8:1:2:3:4:5:6]:93"),
            ("[::1]:", "[::1]:8000"),
            ("10.0.0.1", "10.0.0.1:8000"),
            ("10.0.0.1:", "10.0.0.1:8000"),
            ("10.0.0.9:+100", "10.0.0.9:8100"),
            ("10.0.0.9:-100", "10.0.0.9:7900"),
            ("ipv4@10.0.0.3:84", "10.0.0.3:84"),
            ("localhost:85", "127.0.0.1:85 [::1]:85"),
            // It refuses these: what follows the last colon is a port, and the rest is no address.
            ("2001:db8::1", ""),
            ("::1", ""),
            // Where clients wanted to go, names, and what is not of IP.
            ("*:90", ""),
            (":91", ""),
            ("app.example:80", ""),
            ("unix@/run/app.sock", ""),
            ("/run/app.sock", ""),
            ("10.0.0.1:70000", ""),
            ("10.0.0.1:0", ""),
            ("", ""),
        ] {
            assert_eq!(shown(&of_haproxy(text, &[8_000])), end, "{text}");
        }
        assert_eq!(shown(&of_haproxy("10.0.0.1", &[80, 443])), "10.0.0.1:80 10.0.0.1:443");
        assert_eq!(shown(&of_haproxy("10.0.0.1:+65000", &[80, 8_000])), "10.0.0.1:65080");
        assert_eq!(of_haproxy("10.0.0.1", &[]), []);
    }

    #[test]
    fn a_bind_of_haproxy_may_be_several() {
        for (text, ends) in [
            (":80", "*:80"),
            ("*:80", "*:80"),
            (":::443", "*:443"),
            ("ipv6@:80", "*:80"),
            ("[::]:80", "*:80"),
            ("2001:db8::1:80", "[2001:db8::1]:80"),
            ("10.0.0.1:80,10.0.0.2:8000-8002", "10.0.0.1:80 10.0.0.2:8000 10.0.0.2:8001 10.0.0.2:8002"),
            ("unix@/run/app.sock", ""),
            ("10.0.0.1", ""),
            (":0", ""),
            (":9-8", ""),
        ] {
            assert_eq!(shown(&listens_of_haproxy(text)), ends, "{text}");
        }
        assert_eq!(listens_of_haproxy(":1-65535").len(), MAX_RANGE);
    }

    #[test]
    fn nginx_wants_brackets() {
        for (text, ends) in [
            ("10.0.0.1:8080", "10.0.0.1:8080"),
            ("10.0.0.1", "10.0.0.1:80"),
            ("[::1]", "[::1]:80"),
            ("[::1]:81", "[::1]:81"),
            ("localhost", "127.0.0.1:80 [::1]:80"),
            ("app:80", ""),
            ("10.0.0.1:x", ""),
        ] {
            assert_eq!(shown(&of_nginx(text, 80)), ends, "{text}");
        }
        for (text, ends) in
            [("80", "*:80"), ("*:80", "*:80"), ("[::]:80", "*:80"), ("10.0.0.1:80", "10.0.0.1:80")]
        {
            assert_eq!(shown(&listens_of_nginx(text)), ends, "{text}");
        }
    }
}
