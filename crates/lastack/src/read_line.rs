//! A connection as a line of JSON, the same bytes as `serde_json` writes, in a third of the time: nothing here needs
//! escapes, and most times share their second with the one before.

use capture::{Connection, PerSide};
use evidence::Endpoint;
use std::io::Write as _;
use std::net::IpAddr;
use tcp::StateSet;

/// Writes lines.
#[derive(Default)]
pub(crate) struct Lines {
    line: Vec<u8>,
    /// The second that was written last, as `2026-11-20T12:29:03`.
    second: i64,
    second_text: String,
}

impl Lines {
    /// The line of a connection, with its end.
    pub(crate) fn line(&mut self, connection: &Connection) -> &[u8] {
        self.line.clear();
        let c = connection;
        self.key("{\"connection\":").number(c.number.into());
        self.key(",\"client\":").endpoint(c.client).key(",\"server\":").endpoint(c.server);
        self.key(",\"start\":").time(c.start_ns).key(",\"end\":").time(c.end_ns);
        if c.file > 0 {
            self.key(",\"file\":").number(c.file.into());
        }
        self.key(",\"first_packet\":").number(c.first_packet);
        self.key(",\"last_packet\":").number(c.last_packet);
        self.key(",\"handshake\":").word(Some(c.handshake.name()));
        self.key(",\"syns\":").number(c.syns.into());
        self.key(",\"first_closer\":").word(c.first_closer.map(capture::Who::name));
        self.key(",\"fins\":").counts(c.fins).key(",\"resets\":").counts(c.resets);
        self.key(",\"ending\":").word(Some(c.ending.name()));
        self.key(",\"reset_cause\":").word(c.reset_cause.map(capture::ResetCause::name));
        self.key(",\"time_wait_at\":").word(c.time_wait_at.map(capture::Who::name));
        self.key(",\"states\":{\"client\":").states(c.states.client);
        self.key(",\"server\":").states(c.states.server).key("}");
        self.key(",\"packets\":").counts(c.packets);
        self.key(",\"bytes\":").sides(c.bytes.client, c.bytes.server);
        self.key(",\"retransmits\":").counts(c.retransmits);
        self.key(",\"http\":");
        if let Some(http) = &c.http {
            self.key("{\"requests\":").number(http.requests.into());
            self.key(",\"responses\":").number(http.responses.into());
            self.key(",\"close_by\":").word(http.close.who().map(capture::Who::name));
            self.key(",\"versions\":").words(http.versions.client.with(http.versions.server).iter()).key("}");
        } else {
            self.key("null");
        }
        self.key(",\"reuses\":");
        if let Some(reuse) = c.reuses {
            self.key("{\"previous\":").number(reuse.previous.into());
            self.key(",\"after_ms\":").number(reuse.after_ms.into());
            self.key(",\"outcome\":").word(Some(reuse.outcome.name())).key("}");
        } else {
            self.key("null");
        }
        self.key(",\"idle_before_close_ms\":");
        match c.idle_ms {
            Some(idle) => self.number(idle.into()),
            None => self.key("null"),
        };
        self.key(",\"notes\":").words(c.notes.iter().map(|note| note.name())).key("}\n");
        &self.line
    }

    fn key(&mut self, text: &str) -> &mut Self {
        self.line.extend_from_slice(text.as_bytes());
        self
    }

    fn number(&mut self, mut number: u64) -> &mut Self {
        let mut digits = [0; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.line.extend_from_slice(&digits[at..]);
        self
    }

    /// One of our own words: none needs an escape.
    fn word(&mut self, word: Option<&str>) -> &mut Self {
        match word {
            Some(word) => self.key("\"").key(word).key("\""),
            None => self.key("null"),
        }
    }

    fn words<'w>(&mut self, words: impl Iterator<Item = &'w str>) -> &mut Self {
        self.key("[");
        for (place, word) in words.enumerate() {
            self.key(if place > 0 { ",\"" } else { "\"" }).key(word).key("\"");
        }
        self.key("]")
    }

    fn states(&mut self, states: StateSet) -> &mut Self {
        self.words(states.states().map(tcp::State::name))
    }

    fn counts(&mut self, counts: PerSide<u32>) -> &mut Self {
        self.sides(counts.client.into(), counts.server.into())
    }

    fn sides(&mut self, client: u64, server: u64) -> &mut Self {
        self.key("{\"client\":").number(client).key(",\"server\":").number(server).key("}")
    }

    fn endpoint(&mut self, endpoint: Endpoint) -> &mut Self {
        self.key("\"");
        if let (Some(IpAddr::V4(address)), Some(port)) = (endpoint.address, endpoint.port) {
            for (place, part) in address.octets().into_iter().enumerate() {
                self.key(if place > 0 { "." } else { "" }).number(part.into());
            }
            self.key(":").number(port.into());
        } else {
            // Writing to memory does not fail.
            let _ = write!(self.line, "{endpoint}");
        }
        self.key("\"")
    }

    fn time(&mut self, time_ns: i64) -> &mut Self {
        const SECOND: i64 = 1_000_000_000;
        let (second, rest) = (time_ns.div_euclid(SECOND), time_ns.rem_euclid(SECOND));
        if second != self.second || self.second_text.is_empty() {
            let Ok(time) = jiff::Timestamp::from_second(second) else { return self.key("null") };
            self.second = second;
            self.second_text = time.to_string();
            // The Z comes behind the fraction.
            self.second_text.pop();
        }
        self.line.push(b'"');
        self.line.extend_from_slice(self.second_text.as_bytes());
        let mut fraction = *b".000000000Z\"";
        let mut rest = rest;
        for digit in fraction[1..10].iter_mut().rev() {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
        self.line.extend_from_slice(&fraction);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capture::{Connections, Ending, Flow, Note, Options, Outcome, Packet, ResetCause, Reuse, Who};

    #[test]
    fn the_bytes_are_those_of_serde() {
        let mut connections = Connections::new(Options::default());
        let payload = b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n";
        for (number, port) in (1_u64..).zip([1_u16, 2, 65_535]) {
            let flow = Flow {
                source: u128::from(port) << 32 | 7,
                destination: 0xffff_0a00_0002,
                source_port: port,
                destination_port: 80,
            };
            let segment =
                tcp::Segment { flags: tcp::Flags::ACK, length: 37, window: 9, ..tcp::Segment::default() };
            connections.push(&Packet {
                number,
                time_ns: i64::from(port) * 999_999_999,
                flow,
                segment,
                payload,
                ..Packet::default()
            });
        }
        connections.finish();
        let mut all: Vec<Connection> = connections.iter().collect();
        let mut other = all[0].clone();
        other.http = None;
        other.file = 3;
        other.reuses = Some(Reuse { previous: 9, after_ms: 1_000, outcome: Outcome::Challenged });
        other.idle_ms = Some(u32::MAX);
        other.ending = Ending::Reset;
        other.reset_cause = Some(ResetCause::UnreadData);
        other.first_closer = Some(Who::Both);
        other.time_wait_at = Some(Who::Client);
        other.bytes.server = u64::MAX;
        other.notes = vec![Note::Cut, Note::Idle];
        other.client = "10.200.30.4:5".parse().unwrap();
        all.push(other);
        for time in [0, -1, 1, 1_700_000_000_123_456_789, i64::MAX, i64::MIN] {
            all.push(Connection { start_ns: time, end_ns: time, ..all[0].clone() });
        }
        let mut lines = Lines::default();
        for connection in &all {
            let expected = serde_json::to_string(connection).unwrap() + "\n";
            assert_eq!(std::str::from_utf8(lines.line(connection)).unwrap(), expected);
        }
    }
}
