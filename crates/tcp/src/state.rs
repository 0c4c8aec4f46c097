//! The states of RFC 9293 section 3.3.2.

use core::fmt;
use core::str::FromStr;

/// A state of a TCP connection (RFC 9293 section 3.3.2), written as the RFC writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Waiting for a connection request.
    Listen,
    /// A SYN was sent, nothing came back yet.
    SynSent,
    /// SYNs went both ways, the last ACK of the handshake is awaited.
    SynReceived,
    /// Data flows.
    Established,
    /// We closed first; our FIN is not acknowledged.
    FinWait1,
    /// We closed first; our FIN is acknowledged, the peer has not closed.
    FinWait2,
    /// The peer closed; our application has not.
    CloseWait,
    /// Both closed at once; our FIN is not acknowledged.
    Closing,
    /// The peer closed first, then we; our FIN is not acknowledged.
    LastAck,
    /// Closed here first (or at once); waits so that old segments die out.
    TimeWait,
    /// No connection. On Linux also a socket that is bound and neither listens nor connects.
    Closed,
}

impl State {
    /// Every state, in the order of a connection's life.
    pub const ALL: [Self; 11] = [
        Self::Listen,
        Self::SynSent,
        Self::SynReceived,
        Self::Established,
        Self::FinWait1,
        Self::FinWait2,
        Self::CloseWait,
        Self::Closing,
        Self::LastAck,
        Self::TimeWait,
        Self::Closed,
    ];

    /// How many states there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The name of RFC 9293: `TIME-WAIT`, `FIN-WAIT-2`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Listen => "LISTEN",
            Self::SynSent => "SYN-SENT",
            Self::SynReceived => "SYN-RECEIVED",
            Self::Established => "ESTABLISHED",
            Self::FinWait1 => "FIN-WAIT-1",
            Self::FinWait2 => "FIN-WAIT-2",
            Self::CloseWait => "CLOSE-WAIT",
            Self::Closing => "CLOSING",
            Self::LastAck => "LAST-ACK",
            Self::TimeWait => "TIME-WAIT",
            Self::Closed => "CLOSED",
        }
    }

    /// True for a full socket in the middle of opening or closing, which a healthy one soon leaves: its age matters.
    pub const fn is_transient(self) -> bool {
        matches!(
            self,
            Self::SynSent | Self::FinWait1 | Self::FinWait2 | Self::CloseWait | Self::Closing | Self::LastAck
        )
    }

    /// The state of Linux's number, as sock_diag and /proc/net/tcp tell it (include/net/tcp_states.h). A request that
    /// was not completed (`TCP_NEW_SYN_RECV`) is SYN-RECEIVED; a socket that is only bound (`TCP_BOUND_INACTIVE`) is
    /// CLOSED.
    #[inline]
    pub const fn from_linux(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Established,
            2 => Self::SynSent,
            3 | 12 => Self::SynReceived,
            4 => Self::FinWait1,
            5 => Self::FinWait2,
            6 => Self::TimeWait,
            7 | 13 => Self::Closed,
            8 => Self::CloseWait,
            9 => Self::LastAck,
            10 => Self::Listen,
            11 => Self::Closing,
            _ => return None,
        })
    }

    /// Position in [`State::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text that names no state of RFC 9293.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownState;

impl fmt::Display for UnknownState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a TCP state as RFC 9293 writes it, such as TIME-WAIT")
    }
}

impl core::error::Error for UnknownState {}

impl FromStr for State {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|state| state.name() == text).ok_or(UnknownState)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_back_and_indexes_are_positions() {
        for (position, state) in State::ALL.into_iter().enumerate() {
            assert_eq!(state.name().parse(), Ok(state));
            assert_eq!(state.index(), position);
        }
        assert_eq!("TIME_WAIT".parse::<State>(), Err(UnknownState));
    }
}
