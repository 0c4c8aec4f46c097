//! What the two ends say to each other.
//!
//! With [`Wire::Bytes`] a request is so many `Q`, an answer so many `A`; `DONE` is the client's last word and
//! `GOODBYE` the server's, after which the client closes. With [`Wire::Http`] a `Connection: close` says the same.

use super::{ConnectionHeader, Wire};

/// The longest head of an HTTP message that is taken.
const MAX_HEAD: usize = 64 << 10;

const DONE: &[u8] = b"DONE\n";
const GOODBYE: &[u8] = b"GOODBYE\n";

/// A request, as the server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// To be answered; the client asks for a close, or does not.
    Request { close: bool, bytes: usize },
    /// The client will ask no more.
    Done,
}

/// An answer, as the client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answered {
    /// In full; the server will close after it, or will not.
    Answer { close: bool, bytes: usize },
    /// The server wants the client to close.
    Goodbye,
    /// It goes on until the end of the connection.
    UntilEnd,
}

/// It is neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Garbled;

impl Wire {
    /// The bytes of a request; `last` if the client will ask no more on this connection and wants to say so.
    pub(super) fn request(self, last: bool) -> Vec<u8> {
        match self {
            Self::Bytes { request, .. } => vec![b'Q'; request.max(1) as usize],
            Self::Http { http11, connection, .. } => {
                let version = if http11 { "1.1" } else { "1.0" };
                let header = match (connection, last) {
                    (_, true) | (ConnectionHeader::Close, _) => "Connection: close\r\n",
                    (ConnectionHeader::KeepAlive, _) => "Connection: keep-alive\r\n",
                    (ConnectionHeader::None, _) => "",
                };
                format!("GET / HTTP/{version}\r\nHost: lab\r\n{header}\r\n").into_bytes()
            }
        }
    }

    /// The client's last word, where it is not part of a request.
    pub(super) fn done(self) -> Option<&'static [u8]> {
        matches!(self, Self::Bytes { .. }).then_some(DONE)
    }

    /// The server's last word, where it is not part of an answer.
    pub(super) fn goodbye(self) -> Option<&'static [u8]> {
        matches!(self, Self::Bytes { .. }).then_some(GOODBYE)
    }

    /// The bytes of an answer; `close` if the connection will not be kept.
    pub(super) fn answer(self, close: bool) -> Vec<u8> {
        match self {
            Self::Bytes { answer, .. } => vec![b'A'; answer.max(1) as usize],
            Self::Http { http11, body, content_length, .. } => {
                let version = if http11 { "1.1" } else { "1.0" };
                let length =
                    if content_length { format!("Content-Length: {body}\r\n") } else { String::new() };
                let header = match (close || !content_length, http11) {
                    (true, _) => "Connection: close\r\n",
                    (false, true) => "",
                    (false, false) => "Connection: keep-alive\r\n",
                };
                let mut bytes = format!("HTTP/{version} 200 OK\r\n{length}{header}\r\n").into_bytes();
                bytes.resize(bytes.len() + body as usize, b'A');
                bytes
            }
        }
    }

    /// The request that the received bytes begin with, if it is complete.
    pub(super) fn asked(self, received: &[u8]) -> Result<Option<Asked>, Garbled> {
        match self {
            Self::Bytes { .. } if received.first() == Some(&DONE[0]) => {
                Ok((received.len() >= DONE.len()).then_some(Asked::Done))
            }
            Self::Bytes { request, .. } => {
                let bytes = request.max(1) as usize;
                Ok((received.len() >= bytes).then_some(Asked::Request { close: false, bytes }))
            }
            Self::Http { .. } => Ok(Head::of(received)?
                .map(|head| Asked::Request { close: head.close, bytes: head.bytes + head.body.unwrap_or(0) })
                .filter(|asked| matches!(asked, Asked::Request { bytes, .. } if *bytes <= received.len()))),
        }
    }

    /// The answer that the received bytes begin with, if it is complete.
    pub(super) fn answered(self, received: &[u8]) -> Result<Option<Answered>, Garbled> {
        match self {
            Self::Bytes { .. } if received.first() == Some(&GOODBYE[0]) => {
                Ok((received.len() >= GOODBYE.len()).then_some(Answered::Goodbye))
            }
            Self::Bytes { answer, .. } => {
                let bytes = answer.max(1) as usize;
                Ok((received.len() >= bytes).then_some(Answered::Answer { close: false, bytes }))
            }
            Self::Http { .. } => {
                let Some(head) = Head::of(received)? else { return Ok(None) };
                let Some(body) = head.body else { return Ok(Some(Answered::UntilEnd)) };
                let bytes = head.bytes.saturating_add(body);
                let answer = Answered::Answer { close: head.close, bytes };
                Ok((received.len() >= bytes).then_some(answer))
            }
        }
    }
}

/// The head of an HTTP message, as far as it says where the message ends and whether another may follow.
struct Head {
    bytes: usize,
    body: Option<usize>,
    close: bool,
}

impl Head {
    fn of(received: &[u8]) -> Result<Option<Self>, Garbled> {
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
        let mut connection = String::new();
        for line in lines {
            let Some((name, value)) = line.split_once(':') else { return Err(Garbled) };
            if name.eq_ignore_ascii_case("content-length") {
                body = Some(value.trim().parse().map_err(|_| Garbled)?);
            } else if name.eq_ignore_ascii_case("connection") {
                connection = value.trim().to_ascii_lowercase();
            }
        }
        let close = connection == "close" || (old && connection != "keep-alive");
        Ok(Some(Self { bytes: end + 4, body, close }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: Wire = Wire::Bytes { request: 3, answer: 5 };

    fn http(http11: bool, connection: ConnectionHeader, content_length: bool) -> Wire {
        Wire::Http { http11, connection, body: 10, content_length }
    }

    #[test]
    fn bytes_are_counted_and_last_words_known() {
        assert_eq!(BYTES.asked(b"QQ"), Ok(None));
        assert_eq!(BYTES.asked(&BYTES.request(false)), Ok(Some(Asked::Request { close: false, bytes: 3 })));
        assert_eq!(BYTES.asked(b"DON"), Ok(None));
        assert_eq!(BYTES.asked(BYTES.done().unwrap()), Ok(Some(Asked::Done)));
        assert_eq!(BYTES.answered(b"AAAA"), Ok(None));
        assert_eq!(
            BYTES.answered(&BYTES.answer(true)),
            Ok(Some(Answered::Answer { close: false, bytes: 5 }))
        );
        assert_eq!(BYTES.answered(BYTES.goodbye().unwrap()), Ok(Some(Answered::Goodbye)));
    }

    #[test]
    fn http_says_whether_the_connection_is_kept() {
        let asks_close = |wire: Wire, last| match wire.asked(&wire.request(last)) {
            Ok(Some(Asked::Request { close, bytes })) => {
                assert_eq!(bytes, wire.request(last).len());
                close
            }
            other => panic!("{other:?}"),
        };
        assert!(!asks_close(http(true, ConnectionHeader::None, true), false));
        assert!(asks_close(http(true, ConnectionHeader::None, true), true));
        assert!(asks_close(http(true, ConnectionHeader::Close, true), false));
        assert!(asks_close(http(false, ConnectionHeader::None, true), false));
        assert!(!asks_close(http(false, ConnectionHeader::KeepAlive, true), false));
    }

    #[test]
    fn an_http_answer_ends_where_it_says_or_with_the_connection() {
        let wire = http(true, ConnectionHeader::None, true);
        let answer = wire.answer(false);
        let bytes = answer.len();
        assert_eq!(wire.answered(&answer), Ok(Some(Answered::Answer { close: false, bytes })));
        assert_eq!(wire.answered(&answer[..bytes - 1]), Ok(None));
        let answer = wire.answer(true);
        let bytes = answer.len();
        assert_eq!(wire.answered(&answer), Ok(Some(Answered::Answer { close: true, bytes })));
        let wire = http(false, ConnectionHeader::None, false);
        assert_eq!(wire.answered(&wire.answer(true)), Ok(Some(Answered::UntilEnd)));
    }

    #[test]
    fn what_is_no_http_is_garbled() {
        let wire = http(true, ConnectionHeader::None, true);
        assert_eq!(wire.asked(b"SSH-2.0-x\r\n\r\n"), Err(Garbled));
        assert_eq!(wire.asked(b"GET / HTTP/1.1\r\nHost\r\n\r\n"), Err(Garbled));
        assert_eq!(wire.answered(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), Err(Garbled));
        assert_eq!(wire.asked(&vec![b'x'; MAX_HEAD + 1]), Err(Garbled));
    }
}
