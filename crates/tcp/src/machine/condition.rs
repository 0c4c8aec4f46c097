//! What else must be so for a row of the table to apply.

/// A fact about the socket, the host or the segment that arrives. Who simulates knows each; who observes may not.
///
/// `rcv_nxt` is the next sequence number expected from the peer, `ts_recent` the last timestamp taken from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// A listener stands behind the port.
    Listener,
    /// None does.
    NoListener,
    /// The listener's accept queue is full.
    QueueFull,
    /// `tcp_abort_on_overflow` is 1.
    AbortOnOverflow,
    /// `tcp_tw_recycle` refuses the SYN: its address showed a newer timestamp, or showed timestamps and the SYN
    /// has none (Linux before 4.12).
    RecycleRefuses,
    /// SEG.SEQ lies behind `rcv_nxt`.
    SeqAbove,
    /// SEG.SEQ is `rcv_nxt`.
    SeqAt,
    /// SEG.SEQ is not `rcv_nxt`.
    SeqNotAt,
    /// SEG.SEQ is `rcv_nxt` or lies before it.
    SeqNotAbove,
    /// SEG.SEQ lies before `rcv_nxt`.
    SeqBelow,
    /// SEG.SEQ is the one before `rcv_nxt`: after a FIN, the number of the FIN.
    SeqOfFin,
    /// No part of the segment lies in the receive window (RFC 9293 section 3.4, `tcp_in_window()`).
    OutOfWindow,
    /// The sequence number is that of the SYN that began this.
    SynAgain,
    /// The segment reaches `rcv_nxt` and goes beyond: it can be taken now.
    InOrder,
    /// It closes the gap before a FIN that came too early.
    FinHeld,
    /// It has data beyond `rcv_nxt`.
    NewData,
    /// It ends one behind `rcv_nxt`: the FIN is all that is new.
    OnlyFinNew,
    /// It has a FIN, too.
    WithFin,
    /// The connection used timestamps, and the socket remembers the peer's.
    HadTimestamps,
    /// It did not, or this system does not look at them here.
    NoTimestamps,
    /// The segment's timestamp is newer than `ts_recent`.
    TsNewer,
    /// The segment's timestamp is newer than `ts_recent` or equal.
    TsNotOlder,
    /// It is equal to `ts_recent`.
    TsEqual,
    /// It has none.
    TsAbsent,
    /// It is older, and PAWS rejects the segment for it (RFC 7323 section 5.3, `tcp_paws_reject()`).
    PawsRejects,
    /// The SYN would open a new connection in TIME-WAIT: rows 1, 2, 5 and 7.
    NewSyn,
    /// The segment has no ACK.
    NoAck,
    /// Its acknowledgement is not acceptable: of something not sent, or (before ESTABLISHED) not of our SYN.
    AckRefused,
    /// It acknowledges something so old that no segment on its way can (RFC 5961 section 5.2).
    AckTooOld,
    /// It acknowledges our FIN.
    AcksFin,
    /// No process owns the socket any more.
    Orphan,
    /// SYN-RECEIVED is a listener's request, not a socket yet; else SYNs crossed.
    Request,
    /// shutdown(WR) was called before the connection was complete.
    ShutdownPending,
    /// The orphan's FIN-WAIT-2 is kept as a mini-socket, as TIME-WAIT is.
    Mini,
    /// `tcp_rfc1337` is 1.
    Rfc1337,
    /// There are `tcp_max_tw_buckets` mini-sockets already.
    TableFull,
    /// There are more orphans than `tcp_max_orphans`, or no memory for one.
    TooManyOrphans,
    /// TCP_LINGER2 is negative.
    Linger2Negative,
    /// Data or the FIN was never sent: the peer's window has no room for it.
    Unsent,
    /// This system says nothing to an acknowledgement of what was never sent (older Linux, in ESTABLISHED).
    QuietAboutUnsent,
}

impl Condition {
    /// Every condition.
    pub const ALL: [Self; 40] = [
        Self::Listener,
        Self::NoListener,
        Self::QueueFull,
        Self::AbortOnOverflow,
        Self::RecycleRefuses,
        Self::SeqAbove,
        Self::SeqAt,
        Self::SeqNotAt,
        Self::SeqNotAbove,
        Self::SeqBelow,
        Self::SeqOfFin,
        Self::OutOfWindow,
        Self::SynAgain,
        Self::InOrder,
        Self::FinHeld,
        Self::NewData,
        Self::OnlyFinNew,
        Self::WithFin,
        Self::HadTimestamps,
        Self::NoTimestamps,
        Self::TsNewer,
        Self::TsNotOlder,
        Self::TsEqual,
        Self::TsAbsent,
        Self::PawsRejects,
        Self::NewSyn,
        Self::NoAck,
        Self::AckRefused,
        Self::AckTooOld,
        Self::AcksFin,
        Self::Orphan,
        Self::Request,
        Self::ShutdownPending,
        Self::Mini,
        Self::Rfc1337,
        Self::TableFull,
        Self::TooManyOrphans,
        Self::Linger2Negative,
        Self::Unsent,
        Self::QuietAboutUnsent,
    ];

    /// A few words for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Listener => "listener",
            Self::NoListener => "no listener",
            Self::QueueFull => "accept queue full",
            Self::AbortOnOverflow => "tcp_abort_on_overflow",
            Self::RecycleRefuses => "tcp_tw_recycle refuses",
            Self::SeqAbove => "seq > rcv_nxt",
            Self::SeqAt => "seq = rcv_nxt",
            Self::SeqNotAt => "seq != rcv_nxt",
            Self::SeqNotAbove => "seq <= rcv_nxt",
            Self::SeqBelow => "seq < rcv_nxt",
            Self::SeqOfFin => "seq = rcv_nxt-1",
            Self::OutOfWindow => "out of window",
            Self::SynAgain => "seq = its SYN's",
            Self::InOrder => "in order",
            Self::FinHeld => "held FIN follows",
            Self::NewData => "new data",
            Self::OnlyFinNew => "only the FIN is new",
            Self::WithFin => "with FIN",
            Self::HadTimestamps => "had timestamps",
            Self::NoTimestamps => "had no timestamps",
            Self::TsNewer => "ts newer",
            Self::TsNotOlder => "ts newer or equal",
            Self::TsEqual => "ts equal",
            Self::TsAbsent => "no ts",
            Self::PawsRejects => "ts older",
            Self::NewSyn => "acceptable",
            Self::NoAck => "without ACK",
            Self::AckRefused => "ack not acceptable",
            Self::AckTooOld => "ack too old",
            Self::AcksFin => "acks the FIN",
            Self::Orphan => "orphan",
            Self::Request => "request",
            Self::ShutdownPending => "shutdown pending",
            Self::Mini => "mini-socket",
            Self::Rfc1337 => "tcp_rfc1337",
            Self::TableFull => "TIME-WAIT table full",
            Self::TooManyOrphans => "too many orphans",
            Self::Linger2Negative => "TCP_LINGER2 < 0",
            Self::Unsent => "unsent",
            Self::QuietAboutUnsent => "quiet about unsent",
        }
    }
}
