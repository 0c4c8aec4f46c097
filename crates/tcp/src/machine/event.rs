//! What can happen to a connection.

use crate::{Flags, Segment};

/// What the application asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// connect(): an active open.
    Connect,
    /// listen(): a passive open.
    Listen,
    /// Data to send.
    Send,
    /// shutdown(SHUT_WR): no more data from here; the socket stays with its owner.
    ShutdownWrite,
    /// close() when everything received was read.
    Close,
    /// close() while received data is unread (RFC 2525 section 2.17).
    CloseUnread,
    /// close() with SO_LINGER on and 0 seconds, or what `ss -K` does.
    Abort,
}

/// A time that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// The end of TIME-WAIT.
    TimeWaitEnds,
    /// The end of an orphan's FIN-WAIT-2 (`tcp_fin_timeout`, TCP_LINGER2).
    FinWait2Ends,
    /// Something is not acknowledged in time.
    RetransmissionDue,
    /// It was sent again often enough.
    RetransmissionGivenUp,
    /// Nothing was heard for the keepalive time.
    KeepaliveDue,
    /// No probe was answered.
    KeepaliveGivenUp,
    /// Something waits for room in the peer's window, and nothing is in flight.
    WindowProbeDue,
    /// Probes of the window were not answered, or an orphan's were sent for too long.
    WindowProbeGivenUp,
}

/// What a segment is, by the flag that decides what happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// RST, whatever else is set.
    Rst,
    /// SYN without ACK.
    Syn,
    /// SYN and ACK.
    SynAck,
    /// FIN, with or without data.
    Fin,
    /// Data, and no SYN, FIN or RST.
    Data,
    /// ACK and nothing else; keepalive probes of most systems look like it.
    Ack,
    /// None of SYN, FIN, RST and ACK, and no data.
    NoFlags,
}

impl Kind {
    /// Every kind, in the order of its declaration.
    pub const ALL: [Self; 7] =
        [Self::Rst, Self::Syn, Self::SynAck, Self::Fin, Self::Data, Self::Ack, Self::NoFlags];

    /// The kind of a segment.
    pub const fn of(segment: &Segment) -> Self {
        let flags = segment.flags;
        if flags.has(Flags::RST) {
            Self::Rst
        } else if flags.has(Flags::SYN) {
            if flags.has(Flags::ACK) { Self::SynAck } else { Self::Syn }
        } else if flags.has(Flags::FIN) {
            Self::Fin
        } else if segment.length > 0 {
            Self::Data
        } else if flags.has(Flags::ACK) {
            Self::Ack
        } else {
            Self::NoFlags
        }
    }
}

/// What can happen to a connection: a call, a timer, or a segment that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// The application calls.
    Call(Call),
    /// A timer fires.
    Timer(Timer),
    /// A segment of this kind arrives.
    Segment(Kind),
}

impl Event {
    /// Every event.
    pub const ALL: [Self; 22] = [
        Self::Call(Call::Connect),
        Self::Call(Call::Listen),
        Self::Call(Call::Send),
        Self::Call(Call::ShutdownWrite),
        Self::Call(Call::Close),
        Self::Call(Call::CloseUnread),
        Self::Call(Call::Abort),
        Self::Timer(Timer::TimeWaitEnds),
        Self::Timer(Timer::FinWait2Ends),
        Self::Timer(Timer::RetransmissionDue),
        Self::Timer(Timer::RetransmissionGivenUp),
        Self::Timer(Timer::KeepaliveDue),
        Self::Timer(Timer::KeepaliveGivenUp),
        Self::Timer(Timer::WindowProbeDue),
        Self::Timer(Timer::WindowProbeGivenUp),
        Self::Segment(Kind::Rst),
        Self::Segment(Kind::Syn),
        Self::Segment(Kind::SynAck),
        Self::Segment(Kind::Fin),
        Self::Segment(Kind::Data),
        Self::Segment(Kind::Ack),
        Self::Segment(Kind::NoFlags),
    ];

    /// A few words for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Call(Call::Connect) => "connect()",
            Self::Call(Call::Listen) => "listen()",
            Self::Call(Call::Send) => "send()",
            Self::Call(Call::ShutdownWrite) => "shutdown(WR)",
            Self::Call(Call::Close) => "close()",
            Self::Call(Call::CloseUnread) => "close(), data unread",
            Self::Call(Call::Abort) => "close(), linger 0",
            Self::Timer(Timer::TimeWaitEnds) => "TIME-WAIT is over",
            Self::Timer(Timer::FinWait2Ends) => "FIN-WAIT-2 is over",
            Self::Timer(Timer::RetransmissionDue) => "retransmission",
            Self::Timer(Timer::RetransmissionGivenUp) => "retransmission given up",
            Self::Timer(Timer::KeepaliveDue) => "keepalive",
            Self::Timer(Timer::KeepaliveGivenUp) => "keepalive given up",
            Self::Timer(Timer::WindowProbeDue) => "window probe",
            Self::Timer(Timer::WindowProbeGivenUp) => "window probe given up",
            Self::Segment(Kind::Rst) => "RST",
            Self::Segment(Kind::Syn) => "SYN",
            Self::Segment(Kind::SynAck) => "SYN,ACK",
            Self::Segment(Kind::Fin) => "FIN",
            Self::Segment(Kind::Data) => "data",
            Self::Segment(Kind::Ack) => "ACK",
            Self::Segment(Kind::NoFlags) => "no flags",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_count_from_zero_in_their_order() {
        for (position, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, position);
        }
    }

    #[test]
    fn the_strongest_flag_names_the_segment() {
        let kind =
            |bits, length| Kind::of(&Segment { flags: Flags::from_bits(bits), length, ..Segment::default() });
        assert_eq!(kind(4 | 2 | 1 | 16, 9), Kind::Rst);
        assert_eq!(kind(2 | 1, 0), Kind::Syn);
        assert_eq!(kind(2 | 16, 0), Kind::SynAck);
        assert_eq!(kind(1, 0), Kind::Fin);
        assert_eq!(kind(1 | 16, 9), Kind::Fin);
        assert_eq!(kind(16 | 8, 9), Kind::Data);
        assert_eq!(kind(0, 9), Kind::Data);
        assert_eq!(kind(16, 0), Kind::Ack);
        assert_eq!(kind(8 | 32, 0), Kind::NoFlags);
    }
}
