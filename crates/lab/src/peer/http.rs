//! The HTTP/1 that the two ends speak: as much of it as says where a message ends and whether another may follow.
//!
//! A message with `Goodbye` is the last one of its sender, who asks the other side to close first; a mere `Connection:
//! close` announces that the server will.

use world::scenario::{Answer, Http};

/// The longest head of a message that is taken.
const MAX_HEAD: usize = 64 << 10;

/// The longest body of a message that is taken.
const MAX_BODY: usize = 1 << 30;

/// So much of an answer's body is made together with its head, so that small ones are one segment.
const MAX_BEGUN: u32 = 64 << 10;

/// The last word.
const GOODBYE: &str = "Goodbye: yes\r\n";

/// It is no HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Garbled;

/// The head and the body of a request. `goodbye`: the client will ask no more.
pub(super) fn request(http: Http, body: u32, goodbye: bool) -> (Vec<u8>, u32) {
    let version = if http == Http::V1_0 { "1.0" } else { "1.1" };
    let method = if body > 0 { "POST" } else { "GET" };
    let length = if body > 0 { format!("Content-Length: {body}\r\n") } else { String::new() };
    let close = if http == Http::V1_1Close { "Connection: close\r\n" } else { "" };
    let goodbye = if goodbye { GOODBYE } else { "" };
    let head = format!("{method} / HTTP/{version}\r\nHost: lab\r\n{length}{close}{goodbye}\r\n");
    (head.into_bytes(), body)
}

/// What follows an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Perhaps another one.
    More,
    /// The server closes.
    Closes,
    /// The server waits for the client to close.
    Goodbye,
}

/// An answer in the version of its request: its head with the first bytes of its body, and how many are still to be
/// sent.
pub(super) fn answer(old: bool, answer: Answer, then: Then) -> (Vec<u8>, u32) {
    let version = if old { "1.0" } else { "1.1" };
    let length = if answer.length { format!("Content-Length: {}\r\n", answer.bytes) } else { String::new() };
    let connection = match (then != Then::More || !answer.length, old) {
        (true, _) => "Connection: close\r\n",
        (false, true) => "Connection: keep-alive\r\n",
        (false, false) => "",
    };
    let goodbye = if then == Then::Goodbye { GOODBYE } else { "" };
    let mut bytes = format!("HTTP/{version} 200 OK\r\n{length}{connection}{goodbye}\r\n").into_bytes();
    let begun = answer.bytes.min(MAX_BEGUN);
    bytes.resize(bytes.len() + begun as usize, b'A');
    (bytes, answer.bytes - begun)
}

/// What the head of a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of the head.
    pub(super) bytes: usize,
    /// Bytes of the body; none: it goes on to the end of the connection.
    pub(super) body: Option<usize>,
    /// The sender will not use the connection again, or asks the other side not to.
    pub(super) close: bool,
    /// The sender asks the other side to close.
    pub(super) goodbye: bool,
    /// It is HTTP/1.0.
    pub(super) old: bool,
}

impl Head {
    /// Of the message that the received bytes begin with, if its head is complete.
    pub(super) fn of(received: &[u8]) -> Result<Option<Self>, Garbled> {
        let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") else {
            return if received.len() > MAX_HEAD { Err(Garbled) } else { Ok(None) };
        };
        let head = std::str::from_utf8(&received[..end]).map_err(|_| Garbled)?;
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let old = first.contains("HTTP/1.0");
        if !old && !first.contains("HTTP/1.1") {
            return Err(Garbled);
        }
        // A request without a length has no body; an answer without one goes on to the end.
        let mut body = if first.starts_with("HTTP/") { None } else { Some(0) };
        let mut goodbye = false;
        let mut connection = String::new();
        for line in lines {
            let Some((name, value)) = line.split_once(':') else { return Err(Garbled) };
            if name.eq_ignore_ascii_case("content-length") {
                let length = value.trim().parse().ok().filter(|length| *length <= MAX_BODY);
                body = Some(length.ok_or(Garbled)?);
            } else if name.eq_ignore_ascii_case("connection") {
                connection = value.trim().to_ascii_lowercase();
            } else if name.eq_ignore_ascii_case("goodbye") {
                goodbye = true;
            }
        }
        let close = connection == "close" || (old && connection != "keep-alive");
        Ok(Some(Self { bytes: end + 4, body, close, goodbye, old }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(bytes: &[u8]) -> Head {
        Head::of(bytes).unwrap().unwrap()
    }

    #[test]
    fn requests_say_whether_the_connection_is_kept() {
        let close = |http, goodbye| head(&request(http, 0, goodbye).0).close;
        assert!(!close(Http::V1_1, false));
        assert!(!close(Http::V1_1, true));
        assert!(head(&request(Http::V1_1, 0, true).0).goodbye);
        assert!(close(Http::V1_1Close, false));
        assert!(close(Http::V1_0, false));
        let (bytes, body) = request(Http::V1_1, 5_000, false);
        assert_eq!((head(&bytes).body, head(&bytes).bytes, body), (Some(5_000), bytes.len(), 5_000));
    }

    #[test]
    fn answers_end_where_they_say_or_with_the_connection() {
        let told = Answer { bytes: 10, ..Answer::default() };
        let bytes = answer(false, told, Then::More).0;
        let known = head(&bytes);
        assert_eq!((known.bytes + 10, known.body, known.close), (bytes.len(), Some(10), false));
        assert!(!head(&answer(true, told, Then::More).0).close);
        assert!(head(&answer(false, told, Then::Closes).0).close);
        assert!(head(&answer(false, told, Then::Goodbye).0).goodbye);
        let (begun, rest) = answer(false, Answer { bytes: 1 << 30, ..told }, Then::More);
        assert!(begun.len() < 70_000 && head(&begun).body == Some(1 << 30));
        assert_eq!(begun.len() - head(&begun).bytes + rest as usize, 1 << 30);
        let untold = Answer { length: false, ..told };
        assert_eq!(head(&answer(false, untold, Then::Closes).0).body, None);
    }

    #[test]
    fn what_is_no_http_is_garbled() {
        assert_eq!(Head::of(b"SSH-2.0-x\r\n\r\n"), Err(Garbled));
        assert_eq!(Head::of(b"GET / HTTP/1.1\r\nHost\r\n\r\n"), Err(Garbled));
        assert_eq!(Head::of(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), Err(Garbled));
        assert_eq!(Head::of(&vec![b'x'; MAX_HEAD + 1]), Err(Garbled));
        assert_eq!(Head::of(b"GET / HTTP/1.1\r\n"), Ok(None));
    }
}
