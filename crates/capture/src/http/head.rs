//! The head of an HTTP/1 message: what of it decides where the message ends and whether the connection lives on
//! (RFC 9112 sections 2, 3, 4, 6, 7 and 9).

/// A version of HTTP/1, or of what came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// A request line without a version.
    V09,
    /// HTTP/1.0.
    V10,
    /// HTTP/1.1 and what calls itself a later 1.
    V11,
}

/// What kind of message it heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// A request.
    Request(Method),
    /// A response, with its status code.
    Response(u16),
}

/// The methods that change what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// Its response has no body.
    Head,
    /// A 2xx response to it makes the connection a tunnel.
    Connect,
    /// Any other.
    Other,
}

/// A head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "fields that are there or not, each by itself")]
pub(crate) struct Head {
    pub(crate) start: Start,
    /// None if it is malformed: servers answer such a request all the same, if only to refuse it.
    pub(crate) version: Option<Version>,
    /// `Content-Length`, if it is one number.
    pub(crate) length: Option<u64>,
    /// The last transfer coding is `chunked`.
    pub(crate) chunked: bool,
    /// `Connection: close`.
    pub(crate) close: bool,
    /// `Connection: keep-alive`.
    pub(crate) keep_alive: bool,
    /// `Via`, `Forwarded` or `X-Forwarded-For`: it went through a proxy.
    pub(crate) relayed: bool,
}

/// What the bytes at the start of a message are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// A head of so many bytes.
    Head(Head, usize),
    /// The beginning of a head, so far.
    Partial,
    /// No HTTP/1.
    Other,
}

/// The longest start line that is waited for.
const MAX_LINE: usize = 32 << 10;
/// Registered methods have up to 17 characters.
const MAX_METHOD: usize = 32;

const fn is_token(byte: u8) -> bool {
    // RFC 9110 section 5.6.2.
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

/// True if this may be the first bytes of a message. Quick: it is asked of every segment of unknown streams.
pub(crate) fn may_begin(bytes: &[u8]) -> bool {
    let bytes = without_empty_lines(bytes);
    if bytes.len() >= 5 && bytes.starts_with(b"HTTP/") || b"HTTP/".starts_with(bytes) {
        return true;
    }
    if !bytes[0].is_ascii_uppercase() {
        return false;
    }
    match bytes.iter().take(MAX_METHOD + 1).position(|byte| !is_token(*byte)) {
        Some(end) => matches!(bytes[end], b' ' | b'\r' | b'\n'),
        None => bytes.len() <= MAX_METHOD,
    }
}

/// RFC 9112 section 2.2: empty lines before a start line are skipped.
fn without_empty_lines(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
    &bytes[start..]
}

/// Reads the head at the start of these bytes.
pub(crate) fn parse(bytes: &[u8]) -> Parsed {
    let rest = without_empty_lines(bytes);
    let skipped = bytes.len() - rest.len();
    if rest.is_empty() {
        return Parsed::Partial;
    }
    if !may_begin(rest) {
        return Parsed::Other;
    }
    let Some(end) = memchr::memchr(b'\n', rest) else {
        return if rest.len() > MAX_LINE { Parsed::Other } else { Parsed::Partial };
    };
    let line = without_return(&rest[..end]);
    let Some((start, version)) = start_line(line).or_else(|| malformed(line, &rest[end + 1..])) else {
        return Parsed::Other;
    };
    let mut head = Head {
        start,
        version,
        length: None,
        chunked: false,
        close: false,
        keep_alive: false,
        relayed: false,
    };
    let mut at = end + 1;
    if version == Some(Version::V09) && !begins_with_field(&rest[at..]) {
        return Parsed::Head(head, skipped + at);
    }
    loop {
        let Some(length) = memchr::memchr(b'\n', &rest[at..]) else { return Parsed::Partial };
        let line = without_return(&rest[at..at + length]);
        at += length + 1;
        if line.is_empty() {
            return Parsed::Head(head, skipped + at);
        }
        // Most fields are none of ours: their first letter says so.
        if matches!(line[0] | 0x20, b'c' | b't' | b'v' | b'f' | b'x') {
            field(line, &mut head);
        }
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Methods that make a line a request even where the rest of it is not as it should be: those of RFC 9110, WebDAV
/// and UPnP, as Wireshark knows them.
const METHODS: [&[u8]; 46] = [
    b"GET",
    b"HEAD",
    b"POST",
    b"PUT",
    b"DELETE",
    b"OPTIONS",
    b"TRACE",
    b"CONNECT",
    b"PATCH",
    b"LINK",
    b"UNLINK",
    b"CCM_POST",
    b"PROPFIND",
    b"PROPPATCH",
    b"MKCOL",
    b"COPY",
    b"MOVE",
    b"LOCK",
    b"UNLOCK",
    b"POLL",
    b"BCOPY",
    b"BMOVE",
    b"SEARCH",
    b"BDELETE",
    b"BPROPPATCH",
    b"BPROPFIND",
    b"X-MS-ENUMATTS",
    b"LABEL",
    b"MERGE",
    b"REPORT",
    b"UPDATE",
    b"CHECKIN",
    b"CHECKOUT",
    b"UNCHECKOUT",
    b"VERSION-CONTROL",
    b"MKACTIVITY",
    b"BASELINE-CONTROL",
    b"MKWORKSPACE",
    b"RPC_CONNECT",
    b"RPC_IN_DATA",
    b"RPC_OUT_DATA",
    b"NOTIFY",
    b"SUBSCRIBE",
    b"UNSUBSCRIBE",
    b"M-SEARCH",
    b"ORDERPATCH",
];

/// A request line with a known method and a version that is none, or with none and with fields behind it.
fn malformed(line: &[u8], rest: &[u8]) -> Option<(Start, Option<Version>)> {
    let method = line.split(|byte| *byte == b' ').next()?;
    if !METHODS.contains(&method) {
        return None;
    }
    let has_version = memchr::memmem::find(line, b"HTTP/").is_some();
    // SIP and RTSP have the methods too.
    let of_others = [&b" SIP/"[..], b" RTSP/"].iter().any(|name| memchr::memmem::find(line, name).is_some());
    (has_version || !of_others && begins_with_field(rest))
        .then_some((Start::Request(method_of(method)), None))
}

/// True if a field follows: `Host: x`.
fn begins_with_field(bytes: &[u8]) -> bool {
    let name = bytes.iter().take_while(|byte| is_token(**byte)).count();
    name > 0 && bytes.get(name) == Some(&b':')
}

fn method_of(name: &[u8]) -> Method {
    match name {
        b"HEAD" => Method::Head,
        b"CONNECT" => Method::Connect,
        _ => Method::Other,
    }
}

fn start_line(line: &[u8]) -> Option<(Start, Option<Version>)> {
    if let Some(rest) = line.strip_prefix(b"HTTP/") {
        let (version, rest) = (version(rest.get(..3)?)?, rest.get(3..)?);
        let code = rest.strip_prefix(b" ")?.get(..3)?;
        if !code.iter().all(u8::is_ascii_digit) || rest.get(4).is_some_and(u8::is_ascii_digit) {
            return None;
        }
        let code = code.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
        return Some((Start::Response(code), Some(version)));
    }
    let method_end = line.iter().position(|byte| *byte == b' ')?;
    let name = &line[..method_end];
    if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
        return None;
    }
    let method = method_of(name);
    let target = &line[method_end + 1..];
    if let Some(space) = memchr::memrchr(b' ', target)
        && let Some(number) = target[space + 1..].strip_prefix(b"HTTP/")
    {
        return Some((Start::Request(method), Some(version(number)?)));
    }
    // HTTP/0.9 has GET only, and a target in sight: anything else is some other line of text.
    let plain = target.first() == Some(&b'/') && target.iter().all(u8::is_ascii_graphic);
    (name == b"GET" && plain).then_some((Start::Request(method), Some(Version::V09)))
}

fn version(number: &[u8]) -> Option<Version> {
    match number {
        b"1.0" => Some(Version::V10),
        [b'1', b'.', b'1'..=b'9'] => Some(Version::V11),
        // Seen from servers that never learned the number they speak.
        b"0.9" => Some(Version::V10),
        _ => None,
    }
}

fn field(line: &[u8], head: &mut Head) {
    let Some(colon) = memchr::memchr(b':', line) else { return };
    let (name, value) = (line[..colon].trim_ascii_end(), line[colon + 1..].trim_ascii());
    if matches!(line[0] | 0x20, b'v' | b'f' | b'x') {
        // RFC 9110 section 7.6.3, RFC 7239, and what was there before it.
        let names = [&b"via"[..], b"forwarded", b"x-forwarded-for"];
        head.relayed |= names.iter().any(|relay| name.eq_ignore_ascii_case(relay));
    } else if name.eq_ignore_ascii_case(b"content-length") {
        // RFC 9110 section 8.6: a list of equal numbers is that number.
        let number = value.split(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
        if head.length.is_none() {
            head.length = std::str::from_utf8(number).ok().and_then(|number| number.parse().ok());
        }
    } else if name.eq_ignore_ascii_case(b"connection") {
        for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            head.close |= option.eq_ignore_ascii_case(b"close");
            head.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
        let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
        head.chunked = last.eq_ignore_ascii_case(b"chunked");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head(text: &str) -> Head {
        match parse(text.as_bytes()) {
            Parsed::Head(head, length) => {
                assert_eq!(length, text.len());
                head
            }
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn heads_say_where_messages_end_and_who_closes() {
        let request = head("GET /a b HTTP/1.1\r\nHost: x\r\nConnection: Keep-Alive, Upgrade\r\n\r\n");
        assert_eq!((request.start, request.version), (Start::Request(Method::Other), Some(Version::V11)));
        assert!(request.keep_alive && !request.close);
        let response = head("HTTP/1.0 200 OK\nContent-Length : 12, 12\nconnection: close\n\n");
        assert_eq!((response.start, response.version), (Start::Response(200), Some(Version::V10)));
        assert_eq!((response.length, response.close), (Some(12), true));
        assert!(head("HTTP/1.1 200\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n").chunked);
        assert!(!head("HTTP/1.1 200\r\nTransfer-Encoding: chunked, gzip\r\n\r\n").chunked);
        assert_eq!(head("\r\nHEAD / HTTP/1.1\r\n\r\n").start, Start::Request(Method::Head));
        assert_eq!(head("CONNECT a:443 HTTP/1.1\r\n\r\n").start, Start::Request(Method::Connect));
        assert_eq!(head("GET /old\r\n").version, Some(Version::V09));
        assert_eq!(head("GET / HTTP/1.\r\nHost: x\r\n\r\n").version, None);
        assert_eq!(head("OPTIONS\r\nHost: x\r\n\r\n").version, None);
    }

    #[test]
    fn what_is_no_http_1_is_told_at_once() {
        for text in [
            "SSH-2.0-OpenSSH_9.2\r\n",
            "220 mail ESMTP\r\n",
            "EHLO example.org\r\n",
            "OPTIONS sip:x SIP/2.0\r\nVia: y\r\n\r\n",
            "GET key\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "GET nothing at all\r\n",
            "HTTP/1.1 2000\r\n\r\n",
            "\x16\x03\x01",
            "get / HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(parse(text.as_bytes()), Parsed::Other, "{text:?}");
        }
    }

    #[test]
    fn every_beginning_of_a_head_is_partial() {
        for text in [
            "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 204 No Content\r\nA: b\r\n\r\n",
        ] {
            for length in 0..text.len() {
                assert_eq!(parse(&text.as_bytes()[..length]), Parsed::Partial, "{length}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..200), line in "(HTTP/1.1 [0-9]{0,4}|[A-Z]{0,9} [ -~]{0,20})(\r\n[ -~]{0,20}){0,5}") {
            let _ = parse(&bytes);
            match parse(line.as_bytes()) {
                Parsed::Head(_, length) => prop_assert!(length <= line.len()),
                Parsed::Partial | Parsed::Other => {}
            }
        }
    }
}
