//! When a full socket acknowledges what came: at once, with what it sends anyway, or when its timer comes.

use super::Simulation;
use super::agenda::Waking;
use super::network::Packet;
use super::settings::nanos;
use super::socket::SocketRef;
use tcp::machine::Nanos;
use tcp::profile::linux;
use tcp::{Flags, Segment, Seq};

/// `TCP_MSS_DEFAULT`: what a socket takes for a full segment before it has seen a larger one.
const FIRST_FULL_SEGMENT: u32 = 536;

/// The most data in one segment of Ethernet.
const FULL_SEGMENT: u32 = 1_460;

/// What the kernel keeps in `icsk_ack`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acks {
    /// Acknowledgements that may still go out at once.
    quick: u8,
    /// Data has come.
    begun: bool,
    /// It answers what comes: acknowledgements wait for the answer.
    answers: bool,
    /// When data came last.
    heard: Nanos,
    /// Up to where the last segment sent acknowledged.
    sent: Seq,
    /// The largest segment seen.
    full: u32,
    /// The acknowledgement that waits, and when it was made.
    held: Option<(Segment, Nanos)>,
    /// When its timer comes, if that is on the agenda.
    timer: Option<Nanos>,
}

impl Acks {
    pub(super) const NONE: Self = Self {
        quick: 0,
        begun: false,
        answers: false,
        heard: 0,
        sent: Seq::new(0),
        full: FIRST_FULL_SEGMENT,
        held: None,
        timer: None,
    };

    /// The SYN,ACK acknowledged up to here.
    pub(super) const fn begins(&mut self, sent: Seq) {
        self.sent = sent;
    }

    /// `TCP_QUICKACK`, turned off.
    pub(super) const fn set_answers(&mut self, answers: bool) {
        self.answers = answers;
    }

    /// In-order data or a FIN has come, and this would acknowledge it. True: it waits
    /// (net/ipv4/tcp_input.c tcp_event_data_recv(), tcp_fin(), __tcp_ack_snd_check()).
    pub(super) fn holds(&mut self, now: Nanos, came: &Segment, answer: &Segment) -> bool {
        if came.length > 0 {
            let pause = now.saturating_sub(self.heard);
            if !self.begun || pause > nanos(linux::RETRANSMIT_MIN.value) {
                self.quick = linux::QUICK_ACKS.value;
            }
            self.begun = true;
            self.heard = now;
            self.full = self.full.max(came.length.min(FULL_SEGMENT));
        }
        // The peer has said all it will: only a FIN is to come from here, and it acknowledges.
        self.answers |= came.flags.has(Flags::FIN);
        let waiting = answer.ack.since(self.sent).cast_unsigned();
        let waits = waiting <= self.full && (self.answers || self.quick == 0);
        if waits {
            self.held = Some((*answer, now));
        } else {
            // It is on its way, and accounted for as what was waiting.
            self.quick = self.quick.saturating_sub(u8::from(self.held.is_none()));
        }
        waits
    }

    /// A segment leaves (net/ipv4/tcp_output.c tcp_event_ack_sent(), tcp_event_data_sent()).
    pub(super) fn left(&mut self, now: Nanos, segment: &Segment) {
        if segment.flags.has(Flags::ACK) {
            if self.held.take().is_some() {
                self.quick = self.quick.saturating_sub(1);
            }
            self.sent = segment.ack;
        }
        let soon = now.saturating_sub(self.heard) < nanos(linux::DELAYED_ACK_MIN.value);
        self.answers |= segment.length > 0 && self.begun && soon;
    }
}

impl Simulation<'_> {
    /// Sees to it that an acknowledgement which waits does not do so for ever.
    pub(super) fn watch_ack(&mut self, at: SocketRef) {
        let now = self.now;
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        let Some((_, since)) = socket.acks.held else { return };
        if socket.acks.timer.is_none() {
            let due = since + nanos(linux::DELAYED_ACK_MIN.value);
            socket.acks.timer = Some(due);
            self.later(at, due.saturating_sub(now), Waking::DelayedAck);
        }
    }

    /// The timer has come (net/ipv4/tcp_timer.c tcp_delack_timer_handler()).
    pub(super) fn delayed_ack(&mut self, at: SocketRef) {
        let now = self.now;
        let Some(socket) = self.hosts[at.host].socket_mut(at.slot) else { return };
        socket.acks.timer = None;
        let Some((mut segment, since)) = socket.acks.held.filter(|_| socket.in_table) else { return };
        if since + nanos(linux::DELAYED_ACK_MIN.value) > now {
            self.watch_ack(at);
            return;
        }
        socket.acks.answers = false;
        if let Some(timestamps) = &mut segment.timestamps {
            let ticks = u32::try_from(now / 1_000_000 - since / 1_000_000).unwrap_or(0);
            timestamps.value = timestamps.value.wrapping_add(ticks);
        }
        socket.acks.left(now, &segment);
        let packet = Packet {
            source: socket.tuple.local,
            destination: socket.tuple.remote,
            segment,
            count: 1,
            again: false,
            messages: 0,
            notes: socket.notes,
            content: super::tap::Content::default(),
        };
        self.transmit(at.host, packet);
    }
}

/// True for an acknowledgement that is nothing else.
pub(super) const fn is_pure(segment: &Segment) -> bool {
    segment.length == 0
        && segment.flags.has(Flags::ACK)
        && !segment.flags.has(Flags::SYN)
        && !segment.flags.has(Flags::FIN)
        && !segment.flags.has(Flags::RST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(seq: u32, length: u32) -> Segment {
        Segment { flags: Flags::ACK.with(Flags::PSH), seq: Seq::new(seq), length, ..Segment::default() }
    }

    fn ack(ack: u32) -> Segment {
        Segment { flags: Flags::ACK, ack: Seq::new(ack), ..Segment::default() }
    }

    #[test]
    fn the_first_data_is_acknowledged_at_once_and_what_is_answered_with_the_answer() {
        let mut acks = Acks::NONE;
        assert!(!acks.holds(0, &data(0, 100), &ack(100)));
        acks.left(0, &ack(100));
        acks.left(1_000, &Segment { ack: Seq::new(100), ..data(0, 100) });
        assert!(acks.holds(2_000, &data(100, 100), &ack(200)));
        acks.left(3_000, &Segment { ack: Seq::new(200), ..data(100, 100) });
        assert!(acks.held.is_none());
        // More than a full segment waits for nothing.
        assert!(acks.holds(4_000, &data(200, 500), &ack(700)));
        assert!(!acks.holds(5_000, &data(700, 100), &ack(800)));
    }

    #[test]
    fn a_fin_is_acknowledged_with_the_own_fin() {
        let mut acks = Acks::NONE;
        acks.left(0, &ack(0));
        let fin = Segment { flags: Flags::ACK.with(Flags::FIN), ..Segment::default() };
        assert!(acks.holds(0, &fin, &ack(1)));
        // Even where data came first.
        let mut acks = Acks::NONE;
        assert!(acks.holds(0, &Segment { length: 100, ..fin }, &ack(101)));
    }
}
