//! Streams of messages, cut anywhere.

use super::*;
use proptest::prelude::*;

const CLIENT: usize = 0;
const SERVER: usize = 1;

/// Data in pieces: side, offset in its stream, bytes, and how many of them were captured.
type Piece = (usize, u32, Vec<u8>, usize);

fn read(pieces: &[Piece]) -> Messages {
    read_from(pieces, Some(0))
}

fn read_from(pieces: &[Piece], origin: Option<u32>) -> Messages {
    let mut http = Http::default();
    let mut messages = Messages::default();
    for (side, seq, bytes, captured) in pieces {
        let length = u32::try_from(bytes.len()).unwrap();
        http.take(
            Data { side: *side, seq: *seq, bytes: &bytes[..*captured.min(&bytes.len())], length, origin },
            &mut messages,
        );
    }
    http.finish(&mut messages);
    messages
}

/// Each text follows the one before of its side.
fn said(texts: &[(usize, &str)]) -> Messages {
    let mut at = [0; 2];
    let pieces: Vec<Piece> = texts
        .iter()
        .map(|(side, text)| {
            let seq = at[*side];
            at[*side] += u32::try_from(text.len()).unwrap();
            (*side, seq, text.as_bytes().to_vec(), usize::MAX)
        })
        .collect();
    read(&pieces)
}

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn a_proxy_shows_itself_by_its_fields() {
    let relayed = |side, field: &str| {
        let kind = if side == CLIENT { "GET / HTTP/1.1" } else { "HTTP/1.1 204 x" };
        said(&[(side, &format!("{kind}\r\nHost: x\r\n{field}\r\n\r\n"))]).is_relayed()
    };
    for field in ["Via: 1.1 front", "X-FORWARDED-FOR: 192.0.2.1", "forwarded: for=192.0.2.1", "via :"] {
        assert!(relayed(CLIENT, field), "{field}");
        assert!(!relayed(SERVER, field), "a response is relayed the other way");
    }
    for field in ["Viable: x", "X-Forwarded-Proto: https", "X-Real-IP: 192.0.2.1", "Vi", "F: via"] {
        assert!(!relayed(CLIENT, field), "{field}");
    }
}

#[test]
fn requests_and_responses_are_counted_by_their_length() {
    for (texts, counts) in [
        (&[(CLIENT, GET), (SERVER, OK)][..], (1, 1)),
        (&[(CLIENT, GET), (CLIENT, GET), (SERVER, OK), (SERVER, OK)], (2, 2)),
        (
            &[
                (CLIENT, "HEAD / HTTP/1.1\r\n\r\n"),
                (SERVER, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
                (CLIENT, GET),
                (SERVER, OK),
            ],
            (2, 2),
        ),
        (
            &[
                (CLIENT, GET),
                (SERVER, "HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n"),
                (CLIENT, GET),
                (SERVER, OK),
            ],
            (2, 2),
        ),
        (&[(CLIENT, GET), (SERVER, "HTTP/1.1 100 Continue\r\n\r\n"), (SERVER, OK)], (1, 2)),
        (&[(CLIENT, "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nGET"), (CLIENT, GET), (SERVER, OK)], (2, 1)),
        (
            &[
                (CLIENT, GET),
                (
                    SERVER,
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;a=b\r\nHTTP\r\nB\r\n/1.1 200 \r\n\r\n0\r\nT: r\r\n\r\n",
                ),
                (SERVER, OK),
            ],
            (1, 2),
        ),
        // A response without a length ends with the connection; here it does not end.
        (&[(CLIENT, GET), (SERVER, "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")], (1, 0)),
        // A tunnel is silent, whatever it carries.
        (
            &[
                (CLIENT, "CONNECT a:1 HTTP/1.1\r\n\r\n"),
                (SERVER, "HTTP/1.1 200 OK\r\n\r\n"),
                (CLIENT, GET),
                (SERVER, OK),
            ],
            (1, 1),
        ),
        (&[(CLIENT, GET), (SERVER, "HTTP/1.1 101 Switching\r\n\r\n"), (CLIENT, GET), (SERVER, OK)], (1, 1)),
        (
            &[
                (CLIENT, "CONNECT a:1 HTTP/1.1\r\n\r\n"),
                (SERVER, "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"),
                (CLIENT, GET),
                (SERVER, OK),
            ],
            (2, 2),
        ),
        (&[(CLIENT, "GET /old\r\n"), (SERVER, "<html>")], (1, 0)),
        (&[(CLIENT, "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n"), (CLIENT, GET), (SERVER, OK)], (1, 1)),
    ] {
        assert_eq!(said(texts).counts(), counts, "{texts:?}");
        assert!(!said(texts).is_unsure(), "{texts:?}");
    }
}

#[test]
fn a_body_without_a_length_is_complete_with_the_fin() {
    let mut http = Http::default();
    let mut messages = Messages::default();
    let text = b"HTTP/1.0 200 OK\r\n\r\nall of it";
    http.take(Data { side: SERVER, seq: 0, bytes: text, length: 28, origin: Some(0) }, &mut messages);
    assert_eq!(messages.counts(), (0, 0));
    http.end(SERVER, &mut messages);
    assert_eq!(messages.counts(), (0, 1));
}

#[test]
fn what_came_early_of_a_body_up_to_the_close_begins_no_message() {
    let mut http = Http::default();
    let mut messages = Messages::default();
    let head = "HTTP/1.0 200 OK\r\n\r\n";
    let behind = u32::try_from(head.len()).unwrap();
    let mut send = |seq: u32, text: &str| {
        let length = u32::try_from(text.len()).unwrap();
        let data = Data { side: SERVER, seq, bytes: text.as_bytes(), length, origin: Some(0) };
        http.take(data, &mut messages);
    };
    for _ in 0..2 {
        send(behind + 30, "POST /");
        send(0, head);
        send(behind, &"x".repeat(30));
    }
    http.end(SERVER, &mut messages);
    http.take(
        Data { side: SERVER, seq: behind + 30, bytes: b"POST /", length: 6, origin: Some(0) },
        &mut messages,
    );
    http.finish(&mut messages);
    assert_eq!((messages.counts(), messages.is_unsure()), ((0, 1), false));
}

#[test]
fn who_closes_and_in_which_version_is_kept_by_side() {
    let messages = said(&[
        (CLIENT, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
        (SERVER, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
    ]);
    assert_eq!((messages.close(CLIENT), messages.close(SERVER)), (false, true));
    assert_eq!((messages.keep_alive(CLIENT), messages.keep_alive(SERVER)), (true, false));
    assert!(messages.versions(CLIENT).eq(["1.0"]) && messages.versions(SERVER).eq(["1.1"]));
}

#[test]
fn what_is_no_http_has_none() {
    for text in ["SSH-2.0-x\r\n", "\u{16}\u{3}\u{1}", "220 x ESMTP\r\n", "GET\n", "a"] {
        let messages = said(&[(CLIENT, text), (CLIENT, GET)]);
        assert_eq!(messages.asking_side(), None, "{text:?}");
    }
}

#[test]
fn a_stream_that_began_before_the_capture_is_taken_up_at_the_next_message() {
    let half = "rest of a body".as_bytes().to_vec();
    let pieces = [
        (SERVER, 100, half.clone(), usize::MAX),
        (CLIENT, 50, GET.into(), usize::MAX),
        (SERVER, 114, OK.into(), usize::MAX),
    ];
    assert_eq!(read_from(&pieces, None).counts(), (1, 1));
    // From its first byte on it would have been HTTP: then it is something else.
    assert_eq!(read_from(&pieces, Some(100)).counts().1, 0);
}

#[test]
fn bytes_that_are_missing_are_passed_over_in_a_body_and_make_a_head_unsure() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
    let at = u32::try_from(head.len()).unwrap();
    let body = [
        (SERVER, 0, head.as_bytes().to_vec(), usize::MAX),
        (SERVER, at + 900, vec![b'x'; 100], usize::MAX),
        (SERVER, at + 1000, OK.into(), usize::MAX),
    ];
    assert_eq!(read(&body).counts(), (0, 2));
    assert!(!read(&body).is_unsure());
    let cut = [
        (SERVER, 0, [head.as_bytes(), &[b'x'; 1000]].concat(), head.len() + 3),
        (SERVER, at + 1000, OK.into(), usize::MAX),
    ];
    assert_eq!(read(&cut).counts(), (0, 2));
    let in_head = [
        (CLIENT, 0, GET.into(), usize::MAX),
        (SERVER, 0, OK.into(), 20),
        (SERVER, u32::try_from(OK.len()).unwrap(), OK.into(), usize::MAX),
    ];
    let messages = read(&in_head);
    assert!(messages.is_unsure());
    assert_eq!(messages.counts(), (1, 1));
    // Nothing but the snap length's worth of TLS or HTTP: nobody can tell.
    let hidden = read(&[(CLIENT, 0, GET.into(), 0)]);
    assert!(hidden.is_hidden() && hidden.asking_side().is_none());
}

#[test]
fn early_segments_are_kept_within_bounds() {
    let mut http = Http::default();
    let mut messages = Messages::default();
    for piece in (1..100_000_u32).rev() {
        http.take(
            Data { side: CLIENT, seq: piece * 3, bytes: b"GET", length: 3, origin: Some(0) },
            &mut messages,
        );
    }
    http.finish(&mut messages);
    // A head that never ends is given up.
    let mut http = Http::default();
    http.take(
        Data { side: CLIENT, seq: 0, bytes: b"GET / HTTP/1.1\r\n", length: 16, origin: Some(0) },
        &mut messages,
    );
    for line in 0..50_000_u32 {
        http.take(
            Data { side: CLIENT, seq: 16 + line * 6, bytes: b"A: b\r\n", length: 6, origin: Some(0) },
            &mut messages,
        );
    }
    assert_eq!(messages.counts().0, 0);
}

/// A conversation of known counts, as its two streams.
fn conversation() -> impl Strategy<Value = ([Vec<u8>; 2], (u32, u32))> {
    let exchange = (0_u8..5, 0_usize..40, prop::bool::ANY);
    prop::collection::vec(exchange, 1..8).prop_map(|exchanges| {
        let mut streams = [Vec::new(), Vec::new()];
        let mut counts = (0, 0);
        for (kind, size, long) in exchanges {
            let body = vec![b'\n'; size];
            let filler = "X-Filler: abcdefghijklmnopqrstuvwxyz\r\n".repeat(usize::from(long) * 20);
            counts = (counts.0 + 1, counts.1 + 1);
            let [asks, answers] = &mut streams;
            match kind {
                0 => asks.extend(format!("HEAD / HTTP/1.1\r\n{filler}\r\n").bytes()),
                1 => {
                    asks.extend(format!("PUT / HTTP/1.1\r\nContent-Length: {size}\r\n{filler}\r\n").bytes());
                    asks.extend(&body);
                }
                _ => asks.extend(format!("GET / HTTP/1.1\r\n{filler}\r\n").bytes()),
            }
            if kind == 2 {
                counts.1 += 1;
                answers.extend(b"HTTP/1.1 103 Early Hints\r\n\r\n");
            }
            if kind == 3 && size > 0 {
                answers.extend(
                    format!("HTTP/1.1 200 OK\r\n{filler}Transfer-Encoding: chunked\r\n\r\n{size:X}\r\n")
                        .bytes(),
                );
                answers.extend(&body);
                answers.extend(b"\r\n0\r\n\r\n");
            } else {
                answers.extend(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n{filler}\r\n").bytes());
                if kind != 0 {
                    answers.extend(&body);
                }
            }
        }
        (streams, counts)
    })
}

proptest! {
    /// However it is cut into segments, reordered a little and sent again, the counts are the same.
    #[test]
    fn cuts_and_disorder_change_nothing(
        (streams, counts) in conversation(),
        cuts in prop::collection::vec(1_usize..400, 1..40),
        swaps in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        again in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let mut pieces: Vec<Piece> = Vec::new();
        for (side, stream) in streams.iter().enumerate() {
            let mut own: Vec<Piece> = Vec::new();
            let mut at = 0;
            for cut in cuts.iter().cycle() {
                if at >= stream.len() {
                    break;
                }
                let end = (at + cut).min(stream.len());
                own.push((side, u32::try_from(at).unwrap(), stream[at..end].to_vec(), usize::MAX));
                at = end;
            }
            for swap in &swaps {
                let place = swap.index(own.len());
                if place + 1 < own.len() {
                    own.swap(place, place + 1);
                }
            }
            for index in &again {
                let place = index.index(own.len());
                own.insert(place, own[place].clone());
            }
            pieces.extend(own);
        }
        let messages = read(&pieces);
        prop_assert_eq!(messages.counts(), counts);
        prop_assert!(!messages.is_unsure());
    }

    /// Any pieces, anywhere: no panic, and no more messages than bytes.
    #[test]
    fn any_pieces_are_survived(
        pieces in prop::collection::vec((0_usize..2, any::<u32>().prop_map(|at| at % 300), prop::collection::vec(any::<u8>(), 1..60), 0_usize..60), 0..40),
        texts in prop::collection::vec((0_usize..2, 0_u32..300, prop::sample::select(vec![GET, OK, "0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"])), 0..20),
        origin in prop::option::of(0_u32..10),
    ) {
        let texts = texts.into_iter().map(|(side, seq, text)| (side, seq, text.as_bytes().to_vec(), usize::MAX));
        let all: Vec<Piece> = pieces.into_iter().chain(texts).collect();
        let bytes: usize = all.iter().map(|(_, _, bytes, _)| bytes.len()).sum();
        let (requests, responses) = read_from(&all, origin).counts();
        prop_assert!((requests + responses) as usize * 5 <= bytes + 10);
    }
}
