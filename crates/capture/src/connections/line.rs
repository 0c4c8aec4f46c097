//! The JSON line of a connection, written by hand: of a million connections, the lines would otherwise cost more than
//! all that is in them. The same as what serde writes of a [`Connection`], and held to it by a test.

use super::answer::{Connection, HttpSummary, PerSide, Reuse, Versions, Who};
use evidence::Endpoint;
use std::io::Write as _;
use std::net::IpAddr;
use tcp::StateSet;

impl Connection {
    /// Appends the line of `lastack read --json`, with its line end.
    pub fn write_line(&self, out: &mut Vec<u8>) {
        let mut line = Line(out);
        line.text("{\"connection\":").number(self.number.into());
        line.text(",\"client\":\"").endpoint(&self.client);
        line.text("\",\"server\":\"").endpoint(&self.server);
        line.text("\",\"start\":\"").time(self.start_ns);
        line.text("\",\"end\":\"").time(self.end_ns);
        if self.file > 0 {
            line.text("\",\"file\":").number(self.file.into());
            line.text(",\"first_packet\":");
        } else {
            line.text("\",\"first_packet\":");
        }
        line.number(self.first_packet);
        line.text(",\"last_packet\":").number(self.last_packet);
        line.text(",\"handshake\":\"").text(self.handshake.name());
        line.text("\",\"syns\":").number(self.syns.into());
        line.text(",\"first_closer\":").name(self.first_closer.map(Who::name));
        line.text(",\"fins\":").sides(self.fins);
        line.text(",\"resets\":").sides(self.resets);
        line.text(",\"ending\":\"").text(self.ending.name());
        line.text("\",\"reset_cause\":").name(self.reset_cause.map(super::ResetCause::name));
        line.text(",\"time_wait_at\":").name(self.time_wait_at.map(Who::name));
        line.text(",\"states\":{\"client\":").states(self.states.client);
        line.text(",\"server\":").states(self.states.server);
        line.text("},\"packets\":").sides(self.packets);
        line.text(",\"bytes\":{\"client\":").number(self.bytes.client);
        line.text(",\"server\":").number(self.bytes.server);
        line.text("},\"retransmits\":").sides(self.retransmits);
        line.text(",\"http\":").http(self.http.as_ref());
        line.text(",\"reuses\":").reuse(self.reuses.as_ref());
        line.text(",\"idle_before_close_ms\":");
        match self.idle_ms {
            Some(idle_ms) => line.number(idle_ms.into()),
            None => line.text("null"),
        };
        line.text(",\"notes\":").list(self.notes.iter().map(|note| note.name()));
        line.text("}\n");
    }
}

struct Line<'a>(&'a mut Vec<u8>);

impl Line<'_> {
    // Inlined, a text of known length is a few stores instead of a call.
    #[inline]
    fn text(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// A decimal number. Most have one digit.
    #[inline]
    fn number(&mut self, number: u64) -> &mut Self {
        if number < 10 {
            self.0.push(b'0' + digit(number));
            return self;
        }
        self.long_number(number)
    }

    fn long_number(&mut self, number: u64) -> &mut Self {
        let digits = number.checked_ilog10().map_or(1, |tens| tens as usize + 1);
        let start = self.0.len();
        // Room of a fixed size first: a copy whose length is known needs no call. Measured: 4 % of a large capture.
        self.0.extend_from_slice(&[b'0'; 20]);
        if let Some(places) = self.0.get_mut(start..start + digits) {
            padded(places, number);
        }
        self.0.truncate(start + digits);
        self
    }

    fn name(&mut self, name: Option<&str>) {
        match name {
            Some(name) => self.text("\"").text(name).text("\""),
            None => self.text("null"),
        };
    }

    fn list<'b>(&mut self, names: impl Iterator<Item = &'b str>) -> &mut Self {
        self.text("[");
        for (at, name) in names.enumerate() {
            self.text(if at > 0 { ",\"" } else { "\"" }).text(name).text("\"");
        }
        self.text("]")
    }

    fn sides(&mut self, sides: PerSide<u32>) {
        self.text("{\"client\":").number(sides.client.into());
        self.text(",\"server\":").number(sides.server.into()).text("}");
    }

    fn states(&mut self, states: StateSet) {
        self.list(states.states().map(tcp::State::name));
    }

    fn http(&mut self, http: Option<&HttpSummary>) {
        let Some(http) = http else {
            self.text("null");
            return;
        };
        self.text("{\"requests\":").number(http.requests.into());
        self.text(",\"responses\":").number(http.responses.into());
        self.text(",\"close_by\":").name(http.close.who().map(Who::name));
        let versions: Versions = http.versions.client.with(http.versions.server);
        self.text(",\"versions\":").list(versions.iter()).text("}");
    }

    fn reuse(&mut self, reuse: Option<&Reuse>) {
        let Some(reuse) = reuse else {
            self.text("null");
            return;
        };
        self.text("{\"previous\":").number(reuse.previous.into());
        self.text(",\"after_ms\":").number(reuse.after_ms.into());
        self.text(",\"outcome\":\"").text(reuse.outcome.name()).text("\"}");
    }

    fn endpoint(&mut self, endpoint: &Endpoint) {
        if let (Some(IpAddr::V4(address)), Some(port)) = (endpoint.address, endpoint.port) {
            for (at, octet) in address.octets().into_iter().enumerate() {
                if at > 0 {
                    self.text(".");
                }
                self.number(octet.into());
            }
            self.text(":").number(port.into());
        } else {
            // Writing to memory cannot fail.
            let _ = write!(self.0, "{endpoint}");
        }
    }

    /// RFC 3339 with nanoseconds. Every time of 64 bits is one: from 1677 to 2262.
    fn time(&mut self, time_ns: i64) {
        const SECOND: i64 = 1_000_000_000;
        let (seconds, nanoseconds) = (time_ns.div_euclid(SECOND), time_ns.rem_euclid(SECOND));
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let [year, month, day] = date(days);
        let second = second.unsigned_abs();
        let mut text = *b"0000-00-00T00:00:00.000000000Z";
        padded(&mut text[..4], year);
        padded(&mut text[5..7], month);
        padded(&mut text[8..10], day);
        padded(&mut text[11..13], second / 3_600);
        padded(&mut text[14..16], second / 60 % 60);
        padded(&mut text[17..19], second % 60);
        // In three parts, none of which waits for another.
        let nanoseconds = nanoseconds.unsigned_abs();
        padded(&mut text[20..23], nanoseconds / 1_000_000);
        padded(&mut text[23..26], nanoseconds / 1_000 % 1_000);
        padded(&mut text[26..29], nanoseconds % 1_000);
        self.0.extend_from_slice(&text);
    }
}

/// Adds a number to places that are zeros.
#[inline]
fn padded(places: &mut [u8], mut number: u64) {
    for place in places.iter_mut().rev() {
        *place += digit(number % 10);
        number /= 10;
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a digit")]
const fn digit(number: u64) -> u8 {
    number as u8
}

/// Year, month and day of so many days after 1970-01-01 in the Gregorian calendar. Years begin in March here, so that
/// the leap day is the last (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
const fn date(days: i64) -> [u64; 3] {
    const ERA_DAYS: i64 = 146_097;
    let days = days + 719_468;
    let era = days.div_euclid(ERA_DAYS);
    let day_of_era = days.rem_euclid(ERA_DAYS).unsigned_abs();
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era.unsigned_abs() * 400 + if month <= 2 { 1 } else { 0 };
    [year, month, day]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn times_are_written_as_the_calendar_library_writes_them(time_ns: i64) {
            let mut ours = Vec::new();
            Line(&mut ours).time(time_ns);
            let time = jiff::Timestamp::from_nanosecond(i128::from(time_ns)).unwrap();
            prop_assert_eq!(String::from_utf8(ours).unwrap(), format!("{time:.9}"));
        }

        #[test]
        fn numbers_are_written_in_decimal(number: u64) {
            let mut ours = Vec::new();
            Line(&mut ours).number(number);
            prop_assert_eq!(String::from_utf8(ours).unwrap(), number.to_string());
        }
    }
}
