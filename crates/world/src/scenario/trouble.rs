//! What goes wrong, and what is done while it runs.

use super::Settings;
use serde::{Deserialize, Serialize};
use tcp::{Flags, Segment};

/// Segments that are lost or late at a host.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "WrittenFault")]
pub struct Fault {
    /// The host whose packets are meant.
    pub host: String,
    /// Those it receives; else those it sends.
    pub incoming: bool,
    /// Which of them.
    pub segments: Segments,
    /// What becomes of them.
    pub harm: Harm,
    /// The port it concerns, at either end; none: all.
    pub port: Option<u16>,
    /// From then, milliseconds from the start,
    pub from_ms: u64,
    /// for so long; none: to the end.
    pub for_ms: Option<u64>,
}

/// What a fault does to a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// It is lost.
    Drop,
    /// It is held back on the link for so many milliseconds. Those that are not meant overtake it; nothing is held back
    /// on the loopback interface, which is no link.
    Delay(u64),
}

/// A fault as it is written: `drop = "fins"`, or `delay = "fins"` and `delay_ms = 300`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFault {
    host: String,
    #[serde(default)]
    incoming: bool,
    drop: Option<Segments>,
    delay: Option<Segments>,
    delay_ms: Option<u64>,
    port: Option<u16>,
    #[serde(default)]
    from_ms: u64,
    for_ms: Option<u64>,
}

impl TryFrom<WrittenFault> for Fault {
    type Error = &'static str;

    fn try_from(written: WrittenFault) -> Result<Self, Self::Error> {
        let (segments, harm) = match (written.drop, written.delay, written.delay_ms) {
            (Some(segments), None, None) => (segments, Harm::Drop),
            (None, Some(segments), Some(ms)) => (segments, Harm::Delay(ms)),
            (None, Some(_), None) => return Err("a fault with delay needs delay_ms: for how long"),
            (None, None, _) => return Err("a fault needs drop or delay: what is lost, or late"),
            (Some(_), _, _) => {
                return Err("a fault has drop, or delay and delay_ms: write two faults for both");
            }
        };
        let WrittenFault { host, incoming, port, from_ms, for_ms, .. } = written;
        Ok(Self { host, incoming, segments, harm, port, from_ms, for_ms })
    }
}

/// Which segments a fault means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Segments {
    /// ACKs without data or another flag.
    PureAcks,
    /// Those with FIN.
    Fins,
    /// Those with RST.
    Resets,
    /// SYNs without ACK.
    Syns,
    /// Those with data.
    Data,
    /// All.
    Everything,
}

impl Segments {
    /// True if a segment is among them.
    pub const fn include(self, segment: &Segment) -> bool {
        let flags = segment.flags;
        match self {
            Self::PureAcks => {
                segment.length == 0
                    && flags.has(Flags::ACK)
                    && !flags.has(Flags::SYN)
                    && !flags.has(Flags::FIN)
                    && !flags.has(Flags::RST)
            }
            Self::Fins => flags.has(Flags::FIN),
            Self::Resets => flags.has(Flags::RST),
            Self::Syns => flags.has(Flags::SYN) && !flags.has(Flags::ACK),
            Self::Data => segment.length > 0,
            Self::Everything => true,
        }
    }
}

/// Something done at a time.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Milliseconds from the start.
    pub at_ms: u64,
    /// The host whose settings change.
    pub host: Option<String>,
    /// Its new settings.
    #[serde(default)]
    pub set: Settings,
    /// A server that ends (all its sockets close as the kernel closes them) and starts again.
    pub restart: Option<String>,
    /// A server or client that ends, and does not start again.
    pub end: Option<String>,
    /// Kills the sockets of this host that are in a state (as `ss -K` does), without a packet for TIME-WAIT.
    pub destroy: Option<String>,
}
