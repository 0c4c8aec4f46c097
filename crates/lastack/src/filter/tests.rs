//! A filter says what it means, and a mistake where it is.

use super::field::{FIELDS, Kind, Seen};
use super::*;
use capture::{Connections, Flow, Options, Packet};
use serde_json::Value as Json;
use tcp::{Flags, Segment, Seq};

/// A client asks twice on one connection; the server closes.
fn connection() -> Connection {
    let mut connections = Connections::new(Options::default());
    let (client, server) = (0xffff_0a00_0001, 0xffff_0a00_0002);
    let mut seq = [1_000_u32, 5_000];
    let mut number = 0_u32;
    let mut send = |from: usize, flags: Flags, payload: &[u8]| {
        number += 1;
        let flow = Flow { source: client, destination: server, source_port: 40_000, destination_port: 80 };
        let back = Flow { source: server, destination: client, source_port: 80, destination_port: 40_000 };
        let length = u32::try_from(payload.len()).unwrap();
        let ack = if flags == Flags::SYN { 0 } else { seq[1 - from] };
        let segment = Segment {
            flags,
            seq: Seq::new(seq[from]),
            ack: Seq::new(ack),
            length,
            window: 500,
            ..Segment::default()
        };
        seq[from] += segment.span();
        let time_ns = 1_700_000_000_000_000_000 + i64::from(number) * 1_000_000;
        let flow = if from == 0 { flow } else { back };
        connections.push(&Packet {
            number: number.into(),
            time_ns,
            flow,
            segment,
            payload,
            ..Packet::default()
        });
    };
    let ack = Flags::ACK;
    send(0, Flags::SYN, b"");
    send(1, Flags::SYN.with(ack), b"");
    send(0, ack, b"");
    for _ in 0..2 {
        send(0, ack.with(Flags::PSH), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        send(1, ack.with(Flags::PSH), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    }
    send(1, Flags::FIN.with(ack), b"");
    send(0, Flags::FIN.with(ack), b"");
    send(1, ack, b"");
    connections.finish();
    let connection = connections.iter().next().unwrap();
    assert_eq!(connections.count(), 1);
    connection
}

#[test]
fn expressions_mean_what_they_say() {
    let connection = connection();
    let holds = |text: &str| Filter::parse(text).unwrap().takes(&connection);
    for text in [
        r#"ending == "graceful""#,
        "ending == graceful",
        "ending!='reset'&&resets.server==0",
        "http.requests >= 2 || first_closer == null",
        "http.requests < 2 || first_closer == server",
        r#"client ~ "10.0.0.""#,
        "client == 10.0.0.1:40000",
        "server !~ \":443\"",
        "http",
        "fins.client && !resets.client",
        "!!fins.client",
        "reuses == null",
        "!reuses",
        "!notes",
        "notes != cut",
        "reuses.after_ms == null",
        "!(reuses.after_ms < 5) && !(reuses.after_ms >= 5)",
        "http.versions == \"1.1\"",
        "http.versions ~ \"1.\"",
        "start >= \"2023-11-14T00:00:00Z\" && end < 2023-11-15T00:00:00+00:00",
        "bytes.client <= 1_000",
        // && binds more closely than ||.
        "syns == 1 || syns == 2 && syns == 3",
        "!(syns == 2 || syns == 3) && (syns == 1)",
        "!syns == 2",
    ] {
        assert!(holds(text), "{text}");
        assert!(!holds(&format!("!({text})")), "{text}");
    }
}

#[test]
fn a_mistake_is_said_with_its_column() {
    for (text, said) in [
        ("", "column 1: expected a field here, such as ending, not the end"),
        ("endign == \"reset\"", "column 1: there is no field `endign`; did you mean `ending`?"),
        ("syns > 1 && request > 2", "column 13: there is no field `request`; did you mean `http.requests`?"),
        ("requests > 2", "column 1: there is no field `requests`; did you mean `http.requests`?"),
        ("zzzzzz", "column 1: there is no field `zzzzzz`; the fields are those of --json"),
        ("ending == \"rest\"", "column 11: `ending` is never `rest`; did you mean `reset`?"),
        ("ending = reset", "column 8: a comparison is written =="),
        ("ending == \"reset", "column 11: the text that begins here has no \" at its end"),
        ("ending ==", "column 10: expected \"graceful\" here, for `ending`"),
        ("syns == one", "column 9: `syns` is a number, and `one` is none"),
        ("syns == \"1\"", "column 9: `syns` is a number: leave out the quotes"),
        ("syns ~ 1", "column 6: `syns` is no text: ~ cannot search it"),
        ("ending < reset", "column 8: `ending` is a text: compare it with ==, != or ~"),
        ("http == 1", "column 6: `http` has fields of its own, such as `http.requests`"),
        ("http > null", "column 6: null can only be compared with == and !="),
        ("start > yesterday", "column 9: `start` is a time, such as \"2026-11-20T12:29:00Z\""),
        ("(syns == 1", "column 11: expected ) here, for the ( at column 1"),
        ("syns == 1)", "column 10: there is no ( for this )"),
        ("syns == 1 & http", "column 11: \"and\" is written &&"),
        ("syns == 1 http", "column 11: expected && or || here, or the end"),
        ("client ~ \"é\" &", "column 14: \"and\" is written &&"),
    ] {
        assert_eq!(Filter::parse(text).unwrap_err().to_string(), format!("--filter, {said}"), "{text}");
    }
    for text in ["(".repeat(100_000), "!".repeat(100_000), "a".repeat(100_000)] {
        assert!(Filter::parse(&text).unwrap_err().to_string().len() < 200);
    }
}

/// Every leaf of the JSON is a field that holds the same, and there are no others.
#[test]
fn the_fields_are_those_of_the_json() {
    let connection = connection();
    let json = serde_json::to_value(&connection).unwrap();
    let mut names = Vec::new();
    for (name, value) in json.as_object().unwrap() {
        names.push(name.clone());
        if let Some(inner) = value.as_object() {
            names.extend(inner.keys().map(|inner| format!("{name}.{inner}")));
        }
    }
    // Left out or null here.
    names.extend(["file", "reuses.previous", "reuses.after_ms", "reuses.outcome"].map(str::to_owned));
    names.sort();
    let mut known: Vec<_> = FIELDS.iter().map(|field| field.name).collect();
    known.sort_unstable();
    assert_eq!(names, known);

    for field in FIELDS.iter().filter(|field| !matches!(field.kind, Kind::Time | Kind::Object)) {
        let at = json.pointer(&format!("/{}", field.name.replace('.', "/")));
        let seen = match field.of(&connection) {
            Seen::Null => Json::Null,
            Seen::Number(number) => Json::from(u64::try_from(number).unwrap()),
            Seen::Text(text) => Json::from(text.into_owned()),
            Seen::List(list) => Json::from(list),
            Seen::There => panic!("{} is an object", field.name),
        };
        if field.name != "file" {
            assert_eq!(at.unwrap_or(&Json::Null), &seen, "{}", field.name);
        }
    }
}
