//! One crafted segment that meets a socket which is closing.

use serde::Deserialize;

/// A probe: its host opens a connection to `to`, brings the *server's* socket into a state, and sends one segment.
///
/// What comes back and what became of the socket is judged ([`Met`](crate::Met)), and measured as `PROBE.reply`,
/// `PROBE.after` and `PROBE.timer`: 1 if as expected.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Its name: the row of the table it checks.
    pub name: String,
    /// The host that sends; it answers nothing by itself on the probe's ports.
    pub host: String,
    /// The server it meets. For `no_listener` it stops listening before the segment.
    pub to: String,
    /// The state the server's socket is in.
    pub into: Into,
    /// The old connection negotiated timestamps.
    #[serde(default)]
    pub timestamps: bool,
    /// Nobody listens any more when the segment comes.
    #[serde(default)]
    pub no_listener: bool,
    /// The accept queue is full when the segment comes.
    #[serde(default)]
    pub queue_full: bool,
    /// What is sent.
    pub send: ProbeSegment,
    /// The flags of the answer (`"SYN,ACK"`, `"ACK"`, `"RST"`, `"RST,ACK"`), or `"nothing"`.
    pub reply: String,
    /// The state of the tuple afterwards, as RFC 9293 names it.
    pub after: String,
    /// The timer of the state begins again; none: it is not looked at.
    pub restarts: Option<bool>,
}

/// The state a probe meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Into {
    /// TIME-WAIT: the server closed first, the probe's host second.
    #[serde(rename = "TIME-WAIT")]
    TimeWait,
    /// FIN-WAIT-2 without an owner: the server closed, the probe's host did not.
    #[serde(rename = "FIN-WAIT-2")]
    FinWait2,
}

/// The segment.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeSegment {
    /// Its flags, with commas: `"SYN"`, `"RST,ACK"`; empty: none.
    pub flags: String,
    /// Its sequence number, from the server's RCV.NXT.
    #[serde(default)]
    pub seq: i64,
    /// Its timestamp, from the last one the server heard; none: the option is absent.
    pub ts: Option<i64>,
    /// Bytes of data.
    #[serde(default)]
    pub bytes: u32,
}
