//! The fields of a connection, as its JSON has them.

use capture::{Connection, Ending, Handshake, HttpSummary, Note, Outcome, ResetCause, Who};
use std::borrow::Cow;
use tcp::{State, StateSet};

/// A field.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    of: fn(&Connection) -> Seen,
}

/// What a field holds, null aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Number,
    /// RFC 3339, compared as nanoseconds since 1970.
    Time,
    /// Any text.
    Text,
    /// One of these.
    Word(&'static [&'static str]),
    /// Some of these.
    Words(&'static [&'static str]),
    /// Fields of its own.
    Object,
}

/// What a field of a connection holds.
#[derive(Debug, PartialEq)]
pub(super) enum Seen {
    Null,
    Number(i128),
    Text(Cow<'static, str>),
    List(Vec<&'static str>),
    There,
}

impl Field {
    pub(super) fn of(&self, connection: &Connection) -> Seen {
        (self.of)(connection)
    }
}

const SIDES: &[&str] = &[Who::Client.name(), Who::Server.name(), Who::Both.name()];
const HANDSHAKES: &[&str] = &[
    Handshake::Complete.name(),
    Handshake::Refused.name(),
    Handshake::Unanswered.name(),
    Handshake::Half.name(),
    Handshake::Unseen.name(),
];
const ENDINGS: &[&str] = &[
    Ending::Graceful.name(),
    Ending::Simultaneous.name(),
    Ending::HalfClosed.name(),
    Ending::Reset.name(),
    Ending::Refused.name(),
    Ending::Unanswered.name(),
    Ending::Open.name(),
];
const CAUSES: &[&str] = &[
    ResetCause::TimeWaitChallenge.name(),
    ResetCause::AbortByLinger.name(),
    ResetCause::UnreadData.name(),
    ResetCause::NoListener.name(),
    ResetCause::HalfOpen.name(),
    ResetCause::IdleTimeoutRace.name(),
    ResetCause::AfterClose.name(),
    ResetCause::Unknown.name(),
];
const OUTCOMES: &[&str] =
    &[Outcome::Accepted.name(), Outcome::Challenged.name(), Outcome::Dropped.name(), Outcome::Reset.name()];
const STATES: &[&str] = &{
    let mut names = [""; State::ALL.len()];
    let mut place = 0;
    while place < names.len() {
        names[place] = State::ALL[place].name();
        place += 1;
    }
    names
};
const VERSIONS: &[&str] = &["0.9", "1.0", "1.1"];
const NOTES: &[&str] = &[
    Note::BeganLate.name(),
    Note::RolesGuessed.name(),
    Note::OneDirection.name(),
    Note::CapturedTwice.name(),
    Note::Cut.name(),
    Note::MissingSegments.name(),
    Note::TimeGoesBack.name(),
    Note::IgnoredReset.name(),
    Note::ActiveReset.name(),
    Note::WentOnAfterReset.name(),
    Note::ForeignReset.name(),
    Note::LastFinUnacknowledged.name(),
    Note::FinMoved.name(),
    Note::DataAfterFin.name(),
    Note::TimeWaitKilled.name(),
    Note::EarlierNotCaptured.name(),
    Note::SimultaneousOpen.name(),
    Note::SeveralNetworks.name(),
    Note::HttpUnsure.name(),
    Note::HttpUnfinished.name(),
    Note::HttpHidden.name(),
    Note::GivenUp.name(),
    Note::Evicted.name(),
    Note::Idle.name(),
];

fn who(who: Option<Who>) -> Seen {
    who.map_or(Seen::Null, |who| Seen::Text(who.name().into()))
}

fn states(states: StateSet) -> Seen {
    Seen::List(states.states().map(State::name).collect())
}

fn http(connection: &Connection, of: impl Fn(&HttpSummary) -> Seen) -> Seen {
    connection.http.as_ref().map_or(Seen::Null, of)
}

const fn field(name: &'static str, kind: Kind, of: fn(&Connection) -> Seen) -> Field {
    Field { name, kind, of }
}

/// All of them, in the order of the JSON.
pub(super) const FIELDS: &[Field] = &[
    field("connection", Kind::Number, |c| Seen::Number(c.number.into())),
    field("client", Kind::Text, |c| Seen::Text(c.client.to_string().into())),
    field("server", Kind::Text, |c| Seen::Text(c.server.to_string().into())),
    field("start", Kind::Time, |c| Seen::Number(c.start_ns.into())),
    field("end", Kind::Time, |c| Seen::Number(c.end_ns.into())),
    field("file", Kind::Number, |c| Seen::Number(c.file.into())),
    field("first_packet", Kind::Number, |c| Seen::Number(c.first_packet.into())),
    field("last_packet", Kind::Number, |c| Seen::Number(c.last_packet.into())),
    field("handshake", Kind::Word(HANDSHAKES), |c| Seen::Text(c.handshake.name().into())),
    field("syns", Kind::Number, |c| Seen::Number(c.syns.into())),
    field("first_closer", Kind::Word(SIDES), |c| who(c.first_closer)),
    field("fins", Kind::Object, |_| Seen::There),
    field("fins.client", Kind::Number, |c| Seen::Number(c.fins.client.into())),
    field("fins.server", Kind::Number, |c| Seen::Number(c.fins.server.into())),
    field("resets", Kind::Object, |_| Seen::There),
    field("resets.client", Kind::Number, |c| Seen::Number(c.resets.client.into())),
    field("resets.server", Kind::Number, |c| Seen::Number(c.resets.server.into())),
    field("ending", Kind::Word(ENDINGS), |c| Seen::Text(c.ending.name().into())),
    field("reset_cause", Kind::Word(CAUSES), |c| {
        c.reset_cause.map_or(Seen::Null, |cause| Seen::Text(cause.name().into()))
    }),
    field("time_wait_at", Kind::Word(SIDES), |c| who(c.time_wait_at)),
    field("states", Kind::Object, |_| Seen::There),
    field("states.client", Kind::Words(STATES), |c| states(c.states.client)),
    field("states.server", Kind::Words(STATES), |c| states(c.states.server)),
    field("packets", Kind::Object, |_| Seen::There),
    field("packets.client", Kind::Number, |c| Seen::Number(c.packets.client.into())),
    field("packets.server", Kind::Number, |c| Seen::Number(c.packets.server.into())),
    field("bytes", Kind::Object, |_| Seen::There),
    field("bytes.client", Kind::Number, |c| Seen::Number(c.bytes.client.into())),
    field("bytes.server", Kind::Number, |c| Seen::Number(c.bytes.server.into())),
    field("retransmits", Kind::Object, |_| Seen::There),
    field("retransmits.client", Kind::Number, |c| Seen::Number(c.retransmits.client.into())),
    field("retransmits.server", Kind::Number, |c| Seen::Number(c.retransmits.server.into())),
    field("http", Kind::Object, |c| http(c, |_| Seen::There)),
    field("http.requests", Kind::Number, |c| http(c, |http| Seen::Number(http.requests.into()))),
    field("http.responses", Kind::Number, |c| http(c, |http| Seen::Number(http.responses.into()))),
    field("http.close_by", Kind::Word(SIDES), |c| http(c, |http| who(http.close.who()))),
    field("http.versions", Kind::Words(VERSIONS), |c| {
        http(c, |http| Seen::List(http.versions.client.with(http.versions.server).iter().collect()))
    }),
    field("reuses", Kind::Object, |c| c.reuses.map_or(Seen::Null, |_| Seen::There)),
    field("reuses.previous", Kind::Number, |c| {
        c.reuses.map_or(Seen::Null, |reuse| Seen::Number(reuse.previous.into()))
    }),
    field("reuses.after_ms", Kind::Number, |c| {
        c.reuses.map_or(Seen::Null, |reuse| Seen::Number(reuse.after_ms.into()))
    }),
    field("reuses.outcome", Kind::Word(OUTCOMES), |c| {
        c.reuses.map_or(Seen::Null, |reuse| Seen::Text(reuse.outcome.name().into()))
    }),
    field("idle_before_close_ms", Kind::Number, |c| {
        c.idle_ms.map_or(Seen::Null, |idle| Seen::Number(idle.into()))
    }),
    field("notes", Kind::Words(NOTES), |c| Seen::List(c.notes.iter().map(|note| note.name()).collect())),
];
