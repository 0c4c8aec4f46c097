//! What is said of a connection.

use super::key::Tuple;
use super::record::{Marks, NONE, Record, Seen};
use super::resets::{Outcome, ResetCause};
use evidence::Endpoint;
use serde::ser::{SerializeSeq as _, SerializeStruct as _};
use serde::{Serialize, Serializer};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use tcp::StateSet;

/// One side of a connection, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    /// The side that sent the first SYN.
    Client,
    /// The other.
    Server,
    /// Both.
    Both,
}

/// How far the opening came, as captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Handshake {
    /// SYN, SYN-ACK, ACK.
    Complete,
    /// The SYN was answered by a reset.
    Refused,
    /// The SYN was not answered, or by an old ACK only.
    Unanswered,
    /// The ACK that completes it is missing.
    Half,
    /// The SYN, or its answer, was not captured.
    Unseen,
}

/// How a connection came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ending {
    /// A FIN of each side, one after the other.
    Graceful,
    /// The FINs passed each other.
    Simultaneous,
    /// A FIN of one side only.
    HalfClosed,
    /// A reset that the peer takes.
    Reset,
    /// A reset in answer to the SYN.
    Refused,
    /// No answer to the SYN.
    Unanswered,
    /// Not by the end of the capture.
    Open,
}

/// Something to know before believing the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Note {
    /// The opening was not captured.
    BeganLate,
    /// Who is the client was guessed from the ports.
    RolesGuessed,
    /// Packets of one direction only.
    OneDirection,
    /// Packets were captured twice; copies count in `packets` only.
    CapturedTwice,
    /// Packets were cut by the snap length.
    Cut,
    /// Segments were acknowledged or skipped that are not in the capture.
    MissingSegments,
    /// A packet bears an earlier time than one before it.
    TimeGoesBack,
    /// A reset that its receiver must ignore.
    IgnoredReset,
    /// The reset that ended it has ACK: its sender gave up by itself, with `SO_LINGER` 0 or data unread.
    ActiveReset,
    /// The sender of a reset went on as if there had been none.
    WentOnAfterReset,
    /// A reset came over another number of hops than the other packets of its side.
    ForeignReset,
    /// The last FIN was not acknowledged.
    LastFinUnacknowledged,
    /// A FIN was sent again with another sequence number.
    FinMoved,
    /// Data was sent to a side that had closed already.
    DataAfterFin,
    /// A reset after the end took the TIME-WAIT away.
    TimeWaitKilled,
    /// The connection that an old ACK belongs to is not in the capture: TIME-WAIT is likely, not proven.
    EarlierNotCaptured,
    /// Both sides sent a SYN.
    SimultaneousOpen,
    /// Seen in several VLANs or tunnels.
    SeveralNetworks,
    /// Messages of HTTP may have been missed, where bytes were.
    HttpUnsure,
    /// The last message of HTTP is not complete: such a response does not count.
    HttpUnfinished,
    /// There may be HTTP in what was not captured.
    HttpHidden,
    /// There were too many connections to follow this one closely, or too many gaps in it at once.
    GivenUp,
    /// It was dropped from the table because there were too many.
    Evicted,
    /// It was dropped from the table because it was quiet for too long.
    Idle,
}

macro_rules! names {
    ($($type:ty { $($variant:ident $name:literal),+ $(,)? })+) => {$(
        impl $type {
            /// As it is written in JSON.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }
    )+};
}

names! {
    Who { Client "client", Server "server", Both "both" }
    Handshake {
        Complete "complete", Refused "refused", Unanswered "unanswered", Half "half", Unseen "unseen",
    }
    Ending {
        Graceful "graceful", Simultaneous "simultaneous", HalfClosed "half-closed", Reset "reset",
        Refused "refused", Unanswered "unanswered", Open "open",
    }
    ResetCause {
        TimeWaitChallenge "time-wait-challenge", AbortByLinger "abort-by-linger", UnreadData "unread-data",
        NoListener "no-listener", HalfOpen "half-open", IdleTimeoutRace "idle-timeout-race",
        AfterClose "after-close", Unknown "unknown",
    }
    Outcome { Accepted "accepted", Challenged "challenged", Dropped "dropped", Reset "reset" }
    Note {
        BeganLate "began-late", RolesGuessed "roles-guessed", OneDirection "one-direction",
        CapturedTwice "captured-twice", Cut "cut", MissingSegments "missing-segments",
        TimeGoesBack "time-goes-back", IgnoredReset "ignored-reset",
        ActiveReset "active-reset", WentOnAfterReset "went-on-after-reset",
        ForeignReset "foreign-reset", LastFinUnacknowledged "last-fin-unacknowledged", FinMoved "fin-moved",
        DataAfterFin "data-after-fin", TimeWaitKilled "time-wait-killed",
        EarlierNotCaptured "earlier-not-captured", SimultaneousOpen "simultaneous-open",
        SeveralNetworks "several-networks", HttpUnsure "http-unsure", HttpHidden "http-hidden",
        HttpUnfinished "http-unfinished",
        GivenUp "given-up", Evicted "evicted", Idle "idle",
    }
}

/// A value for each side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PerSide<T> {
    /// The client's.
    pub client: T,
    /// The server's.
    pub server: T,
}

impl PerSide<bool> {
    /// Who it is true for.
    pub const fn who(self) -> Option<Who> {
        match (self.client, self.server) {
            (true, true) => Some(Who::Both),
            (true, false) => Some(Who::Client),
            (false, true) => Some(Who::Server),
            (false, false) => None,
        }
    }
}

/// Versions of HTTP: a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Versions(u8);

impl Versions {
    const NAMES: [&'static str; 3] = ["0.9", "1.0", "1.1"];

    fn of(names: impl Iterator<Item = &'static str>) -> Self {
        Self(
            names
                .filter_map(|name| Self::NAMES.iter().position(|known| *known == name))
                .fold(0, |set, at| set | 1 << at),
        )
    }

    /// The versions, oldest first.
    pub fn iter(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .into_iter()
            .enumerate()
            .filter(move |(at, _)| self.0 & (1 << at) != 0)
            .map(|(_, name)| name)
    }

    /// These and those.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Serialize for Versions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        self.iter().try_for_each(|name| list.serialize_element(name))?;
        list.end()
    }
}

/// HTTP/1 on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HttpSummary {
    /// Requests.
    pub requests: u32,
    /// Complete responses, with interim ones (1xx).
    pub responses: u32,
    /// Who sent `Connection: close`.
    pub close: PerSide<bool>,
    /// Who sent `Connection: keep-alive`.
    pub keep_alive: PerSide<bool>,
    /// The versions each side spoke.
    pub versions: PerSide<Versions>,
    /// A request says that a proxy sent it: `Via`, `Forwarded` or `X-Forwarded-For`.
    pub relayed: bool,
}

impl Serialize for HttpSummary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("http", 4)?;
        object.serialize_field("requests", &self.requests)?;
        object.serialize_field("responses", &self.responses)?;
        object.serialize_field("close_by", &self.close.who())?;
        object.serialize_field("versions", &self.versions.client.with(self.versions.server))?;
        object.end()
    }
}

/// The tuple was used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Reuse {
    /// Number of the connection that had it.
    pub previous: u32,
    /// Time from its last packet to this one's first, in milliseconds.
    pub after_ms: u32,
    /// How the SYN was answered first.
    pub outcome: Outcome,
}

/// A connection and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Its number, from 1 in the order of first packets.
    pub number: u32,
    /// Which of several files its first packet is from, from 0.
    pub file: u16,
    /// The side that sent the first SYN; where none was captured, the higher port.
    pub client: Endpoint,
    /// The other side.
    pub server: Endpoint,
    /// Time of its earliest packet, in nanoseconds since 1970.
    pub start_ns: i64,
    /// Time of its latest packet.
    pub end_ns: i64,
    /// Time of the first FIN, or of the reset that ended it; none if there was neither, or 71 minutes after the start.
    pub closed_ns: Option<i64>,
    /// Number of its first packet in the file.
    pub first_packet: u64,
    /// Number of its last packet in the file.
    pub last_packet: u64,
    /// How far the opening came.
    pub handshake: Handshake,
    /// SYNs of the client, with those sent again.
    pub syns: u32,
    /// Whose FIN came first; both if they passed each other.
    pub first_closer: Option<Who>,
    /// FINs, with those sent again.
    pub fins: PerSide<u32>,
    /// Resets, with those to be ignored.
    pub resets: PerSide<u32>,
    /// How it ended.
    pub ending: Ending,
    /// What made its reset, or the first of them.
    pub reset_cause: Option<ResetCause>,
    /// Who sent the reset that ended it.
    pub reset_by: Option<Who>,
    /// Who is left in TIME-WAIT.
    pub time_wait_at: Option<Who>,
    /// The states that each side may be in by now, as far as packets prove.
    pub states: PerSide<StateSet>,
    /// Packets.
    pub packets: PerSide<u32>,
    /// Bytes of data, each once.
    pub bytes: PerSide<u64>,
    /// Segments sent again.
    pub retransmits: PerSide<u32>,
    /// HTTP/1, if it is that.
    pub http: Option<HttpSummary>,
    /// The connection that had the tuple before.
    pub reuses: Option<Reuse>,
    /// A SYN of it was answered by an old ACK.
    pub challenged: bool,
    /// The client's SYN offered timestamps, and the server's SYN-ACK has none: they were not used.
    pub without_timestamps: bool,
    /// Quiet time between the last data and the first FIN or reset, in milliseconds.
    pub idle_ms: Option<u32>,
    /// What to know before believing the rest.
    pub notes: Vec<Note>,
}

fn endpoint(tuple: &Tuple, side: usize) -> Endpoint {
    Endpoint::new(IpAddr::V6(Ipv6Addr::from_bits(tuple.addresses[side])), tuple.ports[side])
}

impl Connection {
    pub(super) fn of(record: &Record, tuple: &Tuple) -> Self {
        let (client, roles_known) = record.client(tuple.ports);
        let server = 1 - client;
        let (c, s) = (&record.ends[client], &record.ends[server]);
        let who = |side: usize| if side == client { Who::Client } else { Who::Server };
        let shape = Shape::of(record, client);
        let first_closer = record
            .first_fin()
            .map(|side| if record.marks.has(Marks::CROSSED) { Who::Both } else { who(side) });
        let by = usize::from(record.marks.has(Marks::RESET_BY_HIGH));
        let mut connection = Self {
            number: record.number,
            file: record.file,
            client: endpoint(tuple, client),
            server: endpoint(tuple, server),
            start_ns: record.start_ns,
            end_ns: record.end_ns,
            closed_ns: record.closed_ns(),
            first_packet: record.first_packet(),
            last_packet: record.last_packet(),
            handshake: shape.handshake,
            syns: record.syns,
            first_closer,
            fins: PerSide { client: c.fins.into(), server: s.fins.into() },
            resets: PerSide { client: c.resets, server: s.resets },
            ending: shape.ending,
            reset_cause: record.reset_cause().or((c.resets + s.resets > 0).then_some(ResetCause::Unknown)),
            reset_by: record.marks.has(Marks::RESET).then(|| who(by)),
            time_wait_at: shape.time_wait.map(|sides| match sides {
                [true, true] => Who::Both,
                [high_is_not_in, _] => who(usize::from(!high_is_not_in)),
            }),
            states: PerSide { client: record.states(client), server: record.states(server) },
            packets: PerSide { client: c.packets, server: s.packets },
            bytes: PerSide { client: c.bytes, server: s.bytes },
            retransmits: PerSide { client: c.retransmits, server: s.retransmits },
            http: http(record, client),
            reuses: (record.previous != 0).then(|| Reuse {
                previous: record.previous,
                after_ms: record.after_ms,
                outcome: record.first_answer().unwrap_or(if record.syns > 0 {
                    Outcome::Dropped
                } else {
                    Outcome::Accepted
                }),
            }),
            challenged: record.marks.has(Marks::CHALLENGED),
            without_timestamps: c.seen.has(Seen::TIMESTAMPS)
                && s.seen.has(Seen::SYN_ACK)
                && s.seen.has(Seen::NO_TIMESTAMPS),
            idle_ms: (record.idle_ms != NONE).then_some(record.idle_ms),
            notes: Vec::new(),
        };
        connection.take_notes(record, roles_known, &shape);
        connection
    }

    fn take_notes(&mut self, record: &Record, roles_known: bool, shape: &Shape) {
        let marks = record.marks;
        let either = |seen| record.ends.iter().any(|end| end.seen.has(seen));
        let silent = record.ends.iter().any(|end| end.packets == 0);
        let unanswered = matches!(shape.handshake, Handshake::Unanswered);
        let both_closed = record.ends.iter().all(|end| end.fins > 0);
        let orderly = matches!(shape.ending, Ending::Graceful | Ending::Simultaneous);
        let earlier_unknown =
            record.reset_cause() == Some(ResetCause::TimeWaitChallenge) && !marks.has(Marks::REUSES);
        let handshake = self.handshake;
        let (syns, to_itself) = (self.syns, self.client == self.server);
        let notes = &mut self.notes;
        // One after the other: a list of them all would be written and read again for each connection.
        let mut note = |is: bool, note| {
            if is {
                notes.push(note);
            }
        };
        note(handshake == Handshake::Unseen && syns == 0, Note::BeganLate);
        note(!roles_known, Note::RolesGuessed);
        note(silent && !unanswered && !to_itself, Note::OneDirection);
        note(marks.has(Marks::TWICE), Note::CapturedTwice);
        note(either(Seen::CUT), Note::Cut);
        note(either(Seen::MISSING), Note::MissingSegments);
        note(marks.has(Marks::TIME_BACK), Note::TimeGoesBack);
        note(marks.has(Marks::BAD_RESET), Note::IgnoredReset);
        note(marks.has(Marks::ACTIVE_RESET), Note::ActiveReset);
        note(marks.has(Marks::WENT_ON), Note::WentOnAfterReset);
        note(marks.has(Marks::FOREIGN_RESET), Note::ForeignReset);
        note(both_closed && orderly && !record.is_closed(), Note::LastFinUnacknowledged);
        note(marks.has(Marks::FIN_MOVED), Note::FinMoved);
        note(marks.has(Marks::DATA_AFTER_FIN), Note::DataAfterFin);
        note(orderly && marks.has(Marks::TIME_WAIT_KILLED), Note::TimeWaitKilled);
        note(earlier_unknown, Note::EarlierNotCaptured);
        note(marks.has(Marks::BOTH_CALLED), Note::SimultaneousOpen);
        note(marks.has(Marks::SEVERAL_CONTEXTS), Note::SeveralNetworks);
        note(record.http.asking_side().is_some() && record.http.is_unsure(), Note::HttpUnsure);
        note(record.http.is_unfinished(), Note::HttpUnfinished);
        note(record.http.asking_side().is_none() && record.http.is_hidden(), Note::HttpHidden);
        note(marks.has(Marks::GIVEN_UP) || marks.has(Marks::GAPS_UNTOLD), Note::GivenUp);
    }
}

/// What a record amounts to.
struct Shape {
    handshake: Handshake,
    ending: Ending,
    /// Sides left in TIME-WAIT, by side of the key.
    time_wait: Option<[bool; 2]>,
}

impl Shape {
    fn of(record: &Record, client: usize) -> Self {
        let marks = record.marks;
        let (c, s) = (&record.ends[client], &record.ends[1 - client]);
        let answered = c.seen.has(Seen::SYN_ACK) || s.seen.has(Seen::SYN_ACK);
        let called = c.seen.has(Seen::SYN);
        let opened = c.seen.has(Seen::OPENED) || s.seen.has(Seen::OPENED);
        // A reset that its own sender does not heed, and both close after it: forged, or meant for another.
        let survived = marks.has(Marks::WENT_ON) && record.is_closed() && !marks.has(Marks::RESET_AFTER_END);
        let reset = marks.has(Marks::RESET) && !marks.has(Marks::RESET_AFTER_END) && !survived;
        let refused = reset && record.reset_cause() == Some(ResetCause::NoListener);
        let challenged_only = marks.has(Marks::CHALLENGED) && c.bytes + s.bytes == 0;
        let unanswered = called && !answered && (!s.seen.has(Seen::ACK) || challenged_only);
        let fins = [record.ends[0].fins > 0, record.ends[1].fins > 0];
        let ending = match fins {
            _ if refused => Ending::Refused,
            _ if reset => Ending::Reset,
            [true, true] if marks.has(Marks::CROSSED) => Ending::Simultaneous,
            [true, true] => Ending::Graceful,
            [false, false] if unanswered && !c.seen.has(Seen::ACK) => Ending::Unanswered,
            [false, false] => Ending::Open,
            _ => Ending::HalfClosed,
        };
        let handshake = if called && answered {
            if opened { Handshake::Complete } else { Handshake::Half }
        } else if refused {
            Handshake::Refused
        } else if unanswered && !c.seen.has(Seen::ACK) {
            Handshake::Unanswered
        } else {
            Handshake::Unseen
        };
        // TIME-WAIT is where a side has its FIN acknowledged and has got the other's, and was not the last to close.
        let acked = |side: usize| record.ends[side].seen.has(Seen::FIN_ACKED);
        let time_wait = record
            .first_fin()
            .filter(|_| fins == [true, true] && !reset && !marks.has(Marks::TIME_WAIT_KILLED))
            .map(|first| {
                let crossed = marks.has(Marks::CROSSED);
                [0, 1].map(|side| acked(side) && (crossed || side == first))
            })
            .filter(|sides| *sides != [false, false]);
        Self { handshake, ending, time_wait }
    }
}

fn http(record: &Record, client: usize) -> Option<HttpSummary> {
    let messages = record.http;
    messages.asking_side()?;
    let (requests, responses) = messages.counts();
    let server = 1 - client;
    Some(HttpSummary {
        requests,
        responses,
        close: PerSide { client: messages.close(client), server: messages.close(server) },
        keep_alive: PerSide { client: messages.keep_alive(client), server: messages.keep_alive(server) },
        versions: PerSide {
            client: Versions::of(messages.versions(client)),
            server: Versions::of(messages.versions(server)),
        },
        relayed: messages.is_relayed(),
    })
}

/// States, in the order of a connection's life.
struct States(StateSet);

impl Serialize for States {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.states().map(tcp::State::name))
    }
}

/// A time as RFC 3339 writes it, with nanoseconds.
struct Time(i64);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(time) => serializer.collect_str(&format_args!("{time:.9}")),
            Err(_) => serializer.serialize_none(),
        }
    }
}

impl Serialize for Connection {
    /// One line of `lastack read --json`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_struct("connection", 24)?;
        line.serialize_field("connection", &self.number)?;
        line.serialize_field("client", &self.client)?;
        line.serialize_field("server", &self.server)?;
        line.serialize_field("start", &Time(self.start_ns))?;
        line.serialize_field("end", &Time(self.end_ns))?;
        if self.file > 0 {
            line.serialize_field("file", &self.file)?;
        }
        line.serialize_field("first_packet", &self.first_packet)?;
        line.serialize_field("last_packet", &self.last_packet)?;
        line.serialize_field("handshake", &self.handshake)?;
        line.serialize_field("syns", &self.syns)?;
        line.serialize_field("first_closer", &self.first_closer)?;
        line.serialize_field("fins", &self.fins)?;
        line.serialize_field("resets", &self.resets)?;
        line.serialize_field("ending", &self.ending)?;
        line.serialize_field("reset_cause", &self.reset_cause)?;
        line.serialize_field("time_wait_at", &self.time_wait_at)?;
        let states = self.states;
        let states = PerSide { client: States(states.client), server: States(states.server) };
        line.serialize_field("states", &states)?;
        line.serialize_field("packets", &self.packets)?;
        line.serialize_field("bytes", &self.bytes)?;
        line.serialize_field("retransmits", &self.retransmits)?;
        line.serialize_field("http", &self.http)?;
        line.serialize_field("reuses", &self.reuses)?;
        line.serialize_field("idle_before_close_ms", &self.idle_ms)?;
        line.serialize_field("notes", &self.notes)?;
        line.end()
    }
}
