//! The kernel's counters, as far as closing moves them.

/// Declares the counters with the names the kernel prints.
macro_rules! counters {
    ($($variant:ident $name:literal,)*) => {
        /// A counter of `Tcp:` or `TcpExt:`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Counter { $($variant,)* }

        impl Counter {
            pub(super) const NAMES: &'static [&'static str] = &[$($name,)*];
        }
    };
}

counters! {
    ActiveOpens "ActiveOpens",
    PassiveOpens "PassiveOpens",
    AttemptFails "AttemptFails",
    EstabResets "EstabResets",
    InSegs "InSegs",
    OutSegs "OutSegs",
    OutRsts "OutRsts",
    RetransSegs "RetransSegs",
    TimeWait "TW",
    TimeWaitKilled "TWKilled",
    TimeWaitRecycled "TWRecycled",
    TimeWaitOverflow "TCPTimeWaitOverflow",
    PawsPassive "PAWSPassive",
    PawsEstab "PAWSEstab",
    PawsTimeWait "PAWSTimewait",
    SkippedTimeWait "TCPACKSkippedTimeWait",
    SkippedFinWait2 "TCPACKSkippedFinWait2",
    ChallengeAck "TCPChallengeACK",
    SynChallenge "TCPSYNChallenge",
    AbortOnClose "TCPAbortOnClose",
    AbortOnData "TCPAbortOnData",
    AbortOnTimeout "TCPAbortOnTimeout",
    AbortOnMemory "TCPAbortOnMemory",
    ListenOverflows "ListenOverflows",
    ListenDrops "ListenDrops",
    SynRetrans "TCPSynRetrans",
    Timeouts "TCPTimeouts",
    LossProbes "TCPLossProbes",
    KeepAlive "TCPKeepAlive",
}

impl Counter {
    pub(super) const COUNT: usize = Self::NAMES.len();
}

/// By how much each rose.
pub(super) type Counts = [u64; Counter::COUNT];
