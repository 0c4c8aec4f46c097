//! What is to be said of each packet of a connection.

use capture::{Connection, Packet, ResetCause, Who};
use report::{Step, length_text};
use tcp::{Flags, Observer, Seq, Side, State, StateSet};

/// Quiet for so long is worth a word, in nanoseconds.
const QUIET_NS: i64 = 1_000_000_000;
/// Numbers further apart belong to different connections: the largest window there is (RFC 7323 section 2.3).
const FAR: u32 = 1 << 30;

/// What is known of one side so far.
#[derive(Clone, Copy, Default)]
struct End {
    /// The number that counts as 0.
    base: Option<Seq>,
    /// The furthest number used.
    nxt: Option<Seq>,
    /// The furthest acknowledgement sent, and the window with it.
    ack: Option<Seq>,
    window: u16,
    /// The number of its FIN.
    fin: Option<Seq>,
    called: bool,
}

/// Follows a connection.
pub(super) struct Follow<'a> {
    connection: &'a Connection,
    observer: Observer,
    ends: [End; 2],
    last_ns: Option<i64>,
    reset_told: bool,
}

impl<'a> Follow<'a> {
    pub(super) fn new(connection: &'a Connection) -> Self {
        Self {
            connection,
            observer: Observer::new(),
            ends: [End::default(); 2],
            last_ns: None,
            reset_told: false,
        }
    }

    /// The next packet.
    pub(super) fn step(&mut self, who: Who, packet: &Packet<'_>) -> Step {
        let from_client = who == Who::Client;
        let side = if from_client { Side::A } else { Side::B };
        self.observer.observe(side, &packet.segment);
        let mut step = Step {
            packet: packet.number,
            file: packet.file,
            after_ns: packet.time_ns.saturating_sub(self.connection.start_ns),
            from: who.name(),
            flags: packet.segment.flags.to_string(),
            length: packet.segment.length,
            window: packet.segment.window,
            client: names(self.observer.states(Side::A)),
            server: names(self.observer.states(Side::B)),
            ..Step::default()
        };
        let quiet = self.last_ns.map_or(0, |last| packet.time_ns.saturating_sub(last));
        if quiet >= QUIET_NS {
            step.remarks.push(format!("after {} of quiet", length_text(quiet)));
        } else if quiet < 0 {
            step.remarks.push("its time is before the one above".to_owned());
        }
        self.last_ns = Some(packet.time_ns);
        self.numbers(usize::from(!from_client), packet, &mut step);
        if packet.segment.flags.has(Flags::RST) && !self.reset_told {
            self.reset_told = true;
            if let Some(cause) = self.connection.reset_cause.filter(|cause| *cause != ResetCause::Unknown) {
                step.remarks.push(format!("{cause}: {}", cause_in_words(cause)));
            }
        }
        step.http = first_line(packet.payload);
        step
    }

    /// Sequence numbers: where this segment lies, what is new in it, and what it acknowledges.
    fn numbers(&mut self, from: usize, packet: &Packet<'_>, step: &mut Step) {
        let segment = &packet.segment;
        let flags = segment.flags;
        let (syn, fin, ack) = (flags.has(Flags::SYN), flags.has(Flags::FIN), flags.has(Flags::ACK));
        let [one, other] = &mut self.ends;
        let (mine, peer) = if from == 0 { (one, other) } else { (other, one) };
        let zero_answer = flags.has(Flags::RST) && segment.seq == Seq::new(0);
        let stray_ack = ack
            && !syn
            && mine.base.is_none()
            && peer.called
            && peer.nxt.is_some_and(|nxt| segment.ack != nxt);
        if syn {
            if mine.called && mine.base == Some(segment.seq) {
                step.remarks.push("sent again".to_owned());
            }
            mine.called = true;
            mine.base = Some(segment.seq);
            mine.nxt = Some(
                mine.nxt
                    .filter(|nxt| near(*nxt, segment.seq))
                    .map_or(segment.end(), |nxt| nxt.max(segment.end())),
            );
        } else if mine.base.is_none() && !stray_ack && !zero_answer {
            // The first byte seen counts as 1, as if a SYN had come before.
            mine.base = Some(segment.seq.plus(u32::MAX));
        }
        step.seq =
            mine.base.filter(|base| near(*base, segment.seq)).map(|base| i64::from(segment.seq.since(base)));
        if ack {
            if peer.base.is_none() && !peer.called && !stray_ack {
                peer.base = Some(segment.ack.plus(u32::MAX));
            }
            step.ack = peer
                .base
                .filter(|base| near(*base, segment.ack))
                .map(|base| i64::from(segment.ack.since(base)));
        }
        if stray_ack && flags == Flags::ACK {
            let what = if self.connection.challenged {
                "an old ACK: the server still has an earlier connection of this tuple"
            } else {
                "acknowledges a number that was not sent here"
            };
            step.remarks.push(what.to_owned());
            return;
        }
        if flags.has(Flags::RST) {
            return;
        }
        if !syn && step.seq.is_some() {
            place(mine, segment.seq, segment.end(), segment.length, fin, step);
        }
        if ack && step.ack.is_some() {
            acknowledge(mine, peer, packet, step);
        }
    }
}

/// Where a segment lies among those of its side before it.
fn place(mine: &mut End, seq: Seq, end: Seq, length: u32, fin: bool, step: &mut Step) {
    if let Some(nxt) = mine.nxt {
        if end != seq && !nxt.before(end) {
            let probe = length <= 1 && !fin && seq.plus(1) == nxt;
            step.remarks.push(if probe { "keep-alive probe".to_owned() } else { "sent again".to_owned() });
        } else if length == 0 && !fin && seq.plus(1) == nxt {
            step.remarks.push("keep-alive probe".to_owned());
        } else if seq.before(nxt) && nxt.before(end) && end != seq {
            step.remarks.push("partly sent again".to_owned());
        } else if nxt.before(seq) {
            let missing = seq.since(nxt);
            step.remarks.push(format!("{missing} bytes before it are missing"));
        }
    }
    mine.nxt = Some(mine.nxt.map_or(end, |nxt| nxt.max(end)));
    if fin {
        mine.fin = Some(end);
    }
}

/// What is new in an acknowledgement and its window.
fn acknowledge(mine: &mut End, peer: &End, packet: &Packet<'_>, step: &mut Step) {
    let segment = &packet.segment;
    let now = segment.ack;
    let before = mine.ack.or(peer.base);
    if let Some(before) = before.filter(|before| before.before(now)) {
        let mut bytes = i64::from(now.since(before));
        if peer.called && peer.base == Some(before) {
            step.acknowledges.push("SYN".to_owned());
            bytes -= 1;
        } else if mine.ack.is_none() {
            // The number that counts as 0 has no byte.
            bytes -= 1;
        }
        let fin = peer.fin.is_some_and(|fin| before.before(fin) && !now.before(fin));
        bytes -= i64::from(fin);
        if bytes > 0 {
            step.acknowledges.push(format!("{bytes} bytes"));
        }
        if fin {
            step.acknowledges.push("FIN".to_owned());
        }
        if peer.nxt.is_some_and(|nxt| nxt.before(now)) {
            step.remarks.push("acknowledges what was not seen".to_owned());
        }
    } else if mine.ack == Some(now) && segment.span() == 0 && segment.flags == Flags::ACK {
        let waiting = peer.nxt.is_some_and(|nxt| now.before(nxt));
        if segment.window != mine.window {
            if mine.window == 0 {
                step.remarks.push("its window is open again".to_owned());
            }
        } else if waiting {
            step.remarks.push("the same ACK again: something before it is missing".to_owned());
        } else if !step.remarks.iter().any(|remark| remark.starts_with("keep-alive")) {
            step.remarks.push("the same ACK again".to_owned());
        }
    }
    if segment.window == 0 && (mine.window != 0 || mine.ack.is_none()) {
        step.remarks.push("its window is 0: it can take no more".to_owned());
    }
    mine.window = segment.window;
    mine.ack = Some(mine.ack.map_or(now, |ack| ack.max(now)));
}

fn near(one: Seq, other: Seq) -> bool {
    one.since(other).unsigned_abs() <= FAR
}

fn names(states: StateSet) -> Vec<&'static str> {
    states.states().map(State::name).collect()
}

/// The first line of a message of HTTP/1, if this is the beginning of one.
fn first_line(payload: &[u8]) -> Option<String> {
    const MOST: usize = 200;
    let head = &payload[..payload.len().min(MOST)];
    let end = head.iter().position(|byte| *byte == b'\r' || *byte == b'\n').unwrap_or(head.len());
    let line = std::str::from_utf8(&head[..end]).ok()?;
    let is_request = line.rsplit_once(' ').is_some_and(|(_, version)| version.starts_with("HTTP/1."));
    (is_request || line.starts_with("HTTP/1.")).then(|| line.to_owned())
}

/// What made a reset, as a clause.
pub(super) const fn cause_in_words(cause: ResetCause) -> &'static str {
    match cause {
        ResetCause::TimeWaitChallenge => {
            "the client's answer to an old ACK out of TIME-WAIT; it will try again"
        }
        ResetCause::AbortByLinger => "the process closed at once (SO_LINGER 0), or its kernel gave up",
        ResetCause::UnreadData => "the process closed with data unread",
        ResetCause::NoListener => "nobody listens there",
        ResetCause::HalfOpen => "its sender does not know this connection",
        ResetCause::IdleTimeoutRace => "a request met the FIN of a server that had waited long enough",
        ResetCause::AfterClose => "something came after its sender had closed",
        ResetCause::Unknown => "packets do not tell",
    }
}
