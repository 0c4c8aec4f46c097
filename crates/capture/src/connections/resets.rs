//! Resets: which ones the peer takes, and what made them.
//!
//! What packets prove, in this order:
//!
//! * `no-listener`: it answers a SYN and acknowledges it (RFC 9293 section 3.10.7.1). Whether a host or a firewall
//!   sent it cannot be seen.
//! * `time-wait-challenge`: the client's answer to an old ACK that met its SYN (section 3.10.7.3), where the earlier
//!   connection of the tuple left TIME-WAIT at the server or is not in the capture. It does not end this connection.
//! * `half-open`: the same where the earlier connection was still open at the server; or a reset without ACK that
//!   repeats the acknowledgement of the segment it answers, from a side that has not closed: it does not know the
//!   connection (section 3.5.1).
//! * `after-close`: the sender of the reset has sent a FIN, and data or a FIN of its peer came after; or both FINs
//!   had been acknowledged.
//! * `idle-timeout-race`: the same, where the server had answered everything, closed unasked, and the client's next
//!   request passed that FIN on its way.
//! * `unread-data`: a reset with ACK (its sender gave up by itself), and the window it last advertised is at most
//!   half of its largest. Had the process read what filled it, a wider window would have been announced (RFC 1122
//!   section 4.2.3.3; net/ipv4/tcp.c `tcp_cleanup_rbuf()`). The window of the reset itself says nothing: Linux
//!   empties the queue before it sends one (measured on 6.18: the same whether the data was read or not).
//! * `abort-by-linger`: a reset with ACK, and the peer sent no data that could have been left unread: none at all,
//!   or HTTP of which all was read. A server read the requests that it answered, if they have no body; a client read
//!   the answers that came before its next request. Where the sender's last word is older than the data, packets do
//!   not tell: on Linux 6.18 the reset after a read answer and the one after an unread one are the same to the bit.
//! * `unknown`: anything else. With [`Note::ActiveReset`](super::Note::ActiveReset) it is one of the last two.
//!
//! A reset whose time to live its side did not use before may be a machine's in the middle: `unread-data` and
//! `abort-by-linger` need one of the sender's own.

use super::key::Side;
use super::live::Live;
use super::record::{Marks, NO_SCALE, NONE, Record, Seen};
use crate::Packet;
use tcp::{Flags, Seq};

/// What made a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResetCause {
    /// The answer to an old ACK out of TIME-WAIT.
    TimeWaitChallenge,
    /// A process closed at once (`SO_LINGER` 0), or its kernel gave up.
    AbortByLinger,
    /// A process closed with data unread.
    UnreadData,
    /// Nobody listens.
    NoListener,
    /// Its sender does not know the connection.
    HalfOpen,
    /// A request met the FIN of a server that had waited long enough.
    IdleTimeoutRace,
    /// Something came after its sender had closed.
    AfterClose,
    /// Packets do not tell.
    Unknown,
}

/// How a SYN on a tuple that was used before was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// By a SYN-ACK.
    Accepted,
    /// By an old ACK.
    Challenged,
    /// Not at all.
    Dropped,
    /// By a reset.
    Reset,
}

impl ResetCause {
    const ALL: [Self; 8] = [
        Self::TimeWaitChallenge,
        Self::AbortByLinger,
        Self::UnreadData,
        Self::NoListener,
        Self::HalfOpen,
        Self::IdleTimeoutRace,
        Self::AfterClose,
        Self::Unknown,
    ];
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Accepted, Self::Challenged, Self::Dropped, Self::Reset];
}

impl Record {
    /// What made its reset.
    pub(crate) fn reset_cause(&self) -> Option<ResetCause> {
        ResetCause::ALL.get(self.verdict.cause().checked_sub(1)?).copied()
    }

    fn set_cause(&mut self, cause: ResetCause) {
        self.verdict.set_cause(cause as u8 + 1);
    }

    /// The first answer to its SYN.
    pub(crate) fn first_answer(&self) -> Option<Outcome> {
        Outcome::ALL.get(self.verdict.outcome().checked_sub(1)?).copied()
    }

    /// The SYN was answered; only the first answer counts.
    pub(crate) fn answered_syn(&mut self, outcome: Outcome) {
        if self.verdict.outcome() == 0 {
            self.verdict.set_outcome(outcome as u8 + 1);
        }
    }
}

/// Where a reset's sequence number lies, seen from its receiver (RFC 9293 section 3.10.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It is the answer to a SYN.
    Refusal,
    /// At the number that is expected next, or behind all that was sent.
    Exact,
    /// Elsewhere in the window, or one before it after a FIN (macOS sends it so and Linux takes it).
    Near,
    /// Nothing to compare it with.
    Unknown,
    /// To be ignored.
    Bad,
}

/// The largest scale of a window (RFC 7323 section 2.3): taken where the SYN was not captured.
const MAX_SCALE: u8 = 14;

fn place(record: &Record, live: &Live, side: Side, packet: &Packet<'_>) -> Place {
    let (mine, peers) = (&record.ends[side].seen, &record.ends[1 - side].seen);
    let segment = &packet.segment;
    let no_syn_of_mine = !mine.has(Seen::SYN) && !mine.has(Seen::SYN_ACK);
    if peers.has(Seen::SYN) && no_syn_of_mine && !peers.has(Seen::ACK) {
        // The peer is in SYN-SENT: only an acknowledgement of its SYN counts.
        let expected = Seq::new(record.ends[1 - side].isn).plus(1);
        let acknowledges = segment.ack == expected || live.flanks[1 - side].high == Some(segment.ack);
        return if segment.flags.has(Flags::ACK) && acknowledges { Place::Refusal } else { Place::Bad };
    }
    let (low, high) = (live.flanks[1 - side].ack, live.flanks[side].high);
    let (low, high) = match (low, high) {
        (None, None) => return Place::Unknown,
        (None, Some(high)) => return if segment.seq == high { Place::Exact } else { Place::Unknown },
        (Some(low), high) => (low, high.map_or(low, |high| low.max(high))),
    };
    let ahead = segment.seq.since(low);
    if segment.seq == low || segment.seq == high {
        Place::Exact
    } else if ahead > 0 && segment.seq.before(high) || ahead == -1 && record.ends[side].counts_fin() {
        Place::Near
    } else if ahead < 0 {
        Place::Bad
    } else {
        let scale = match record.ends[1 - side].scale {
            NO_SCALE if peers.has(Seen::SYN) || peers.has(Seen::SYN_ACK) || !no_syn_of_mine => 0,
            NO_SCALE => MAX_SCALE,
            scale => scale.min(MAX_SCALE),
        };
        let window = u64::from(live.flanks[1 - side].window) << scale;
        if u64::from(ahead.unsigned_abs()) <= window { Place::Near } else { Place::Bad }
    }
}

/// Takes a reset.
pub(crate) fn take(record: &mut Record, live: &mut Live, side: Side, packet: &Packet<'_>, before: Before) {
    let segment = &packet.segment;
    let resets = &mut record.ends[side].resets;
    *resets = resets.saturating_add(1);
    let ttl = record.ends[side].ttl;
    record.marks.add_if(ttl != 0 && packet.ttl.abs_diff(ttl) > MAX_TTL_CHANGE, Marks::FOREIGN_RESET);

    if live.challenge == Some(segment.seq) && record.ends[side].seen.has(Seen::SYN) {
        if record.verdict.cause() == 0 {
            record.set_cause(match before {
                Before::OpenAtPeer => ResetCause::HalfOpen,
                Before::Unknown | Before::Over => ResetCause::TimeWaitChallenge,
            });
        }
        live.observe(side, segment);
        return;
    }
    let place = place(record, live, side, packet);
    if place == Place::Bad {
        record.marks.add(Marks::BAD_RESET);
        return;
    }
    live.observe(side, segment);
    if record.marks.has(Marks::RESET) {
        return;
    }
    let cause = cause(record, live, side, packet, place);
    record.marks.add_if(segment.flags.has(Flags::ACK) && place != Place::Refusal, Marks::ACTIVE_RESET);
    record.set_cause(cause);
    if place == Place::Refusal {
        record.answered_syn(Outcome::Reset);
    }
    if record.is_closed() {
        record.marks.add(Marks::RESET_AFTER_END);
        // RFC 1337, and the kernel's answer: a TIME-WAIT socket never resets, and an exact reset kills it.
        let holder = record.first_fin() == Some(side) || record.marks.has(Marks::CROSSED);
        record.marks.add_if(holder || place == Place::Exact, Marks::TIME_WAIT_KILLED);
    } else if record.first_fin().is_none() && record.idle_ms == NONE {
        record.idle_ms = live.quiet_ms(&[0, 1], packet.time_ns);
    }
    record.close_at(packet.time_ns);
    record.marks.add(Marks::RESET);
    record.marks.add_if(side == 1, Marks::RESET_BY_HIGH);
}

/// A reset long after the end.
pub(crate) fn after_the_end(record: &mut Record, side: Side) {
    if record.marks.has(Marks::RESET) {
        return;
    }
    record.set_cause(ResetCause::AfterClose);
    record.marks.add(Marks::RESET);
    record.marks.add(Marks::RESET_AFTER_END);
    record.marks.add_if(side == 1, Marks::RESET_BY_HIGH);
    let holder = record.first_fin() == Some(side) || record.marks.has(Marks::CROSSED);
    record.marks.add_if(holder, Marks::TIME_WAIT_KILLED);
}

/// A route may change; a machine in the middle is more hops away than that.
const MAX_TTL_CHANGE: u8 = 3;

/// What is known of the connection that had the tuple before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// It is not in the capture.
    Unknown,
    /// It had ended, or its server had closed.
    Over,
    /// Its server had not closed.
    OpenAtPeer,
}

fn cause(record: &Record, live: &Live, side: Side, packet: &Packet<'_>, place: Place) -> ResetCause {
    let segment = &packet.segment;
    let peer = 1 - side;
    if place == Place::Refusal {
        return ResetCause::NoListener;
    }
    if record.is_closed() {
        return ResetCause::AfterClose;
    }
    let is_answer = !segment.flags.has(Flags::ACK);
    if record.ends[side].fins > 0 {
        if live.raced && record.first_fin() == Some(side) {
            return ResetCause::IdleTimeoutRace;
        }
        let peer_went_on = live.flanks[peer].data_after_fin || record.ends[peer].fins > 0;
        return if peer_went_on { ResetCause::AfterClose } else { ResetCause::Unknown };
    }
    if is_answer {
        // RFC 9293 section 3.10.7.1: <SEQ=SEG.ACK><CTL=RST> answers what no connection takes.
        let answers = live.last_sender == Some(peer) && live.flanks[peer].ack == Some(segment.seq);
        return if answers { ResetCause::HalfOpen } else { ResetCause::Unknown };
    }
    if record.marks.has(Marks::FOREIGN_RESET) {
        return ResetCause::Unknown;
    }
    let flank = &live.flanks[side];
    if record.ends[peer].bytes > 0 && u32::from(flank.window) * 2 <= u32::from(flank.top_window) {
        return ResetCause::UnreadData;
    }
    let nothing_came = record.ends[peer].bytes == 0 && record.ends[peer].seen.has(Seen::ISN);
    let all_was_read = live.last_data == Some(side)
        && live.flanks[peer].high == Some(segment.ack)
        && live.http.shows_all_was_read(side, record.http);
    if record.is_seen_from_start() && (nothing_came || all_was_read) {
        return ResetCause::AbortByLinger;
    }
    ResetCause::Unknown
}

impl Record {
    /// True if the capture has the opening of the connection.
    pub(crate) const fn is_seen_from_start(&self) -> bool {
        self.ends[0].seen.has(Seen::SYN) || self.ends[1].seen.has(Seen::SYN)
    }
}
