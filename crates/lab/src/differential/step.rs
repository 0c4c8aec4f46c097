//! What is done to both sides, and its text: one line a step, so that a failing sequence can be kept and read.

use std::fmt;
use std::str::FromStr;
use tcp::Flags;

/// What a sequence number counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeqFrom {
    /// RCV.NXT of the kernel's side; before the first connection, the peer's initial sequence number.
    Next,
    /// The end of the window that it announced.
    Edge,
    /// The peer's initial sequence number in the last connection.
    Initial,
}

/// What an acknowledgement number counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckFrom {
    /// SND.NXT of the kernel's side.
    Next,
    /// SND.UNA.
    Unacknowledged,
    /// ISS.
    Initial,
}

/// A segment from the peer, relative to what the kernel's side expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Control bits.
    pub flags: Flags,
    /// SEG.SEQ counts from here,
    pub seq_from: SeqFrom,
    /// by so much.
    pub seq: i32,
    /// SEG.ACK counts from here,
    pub ack_from: AckFrom,
    /// by so much.
    pub ack: i32,
    /// Bytes of data.
    pub length: u16,
    /// TSval less the last one that the kernel's side took; none: no timestamps. TSecr is its last TSval.
    pub ts: Option<i32>,
    /// The window that the peer announces; none: a large one, always the same.
    pub window: Option<u16>,
    /// A SYN carries this window scale option.
    pub scale: Option<u8>,
}

/// Milliseconds in which the first timer of what is sent, or of a closed window, comes (200 ms).
pub(super) const TIMER_MS: u16 = 250;

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The peer sends.
    Segment(Probe),
    /// A listener is put behind the port.
    Listen,
    /// It is taken away.
    Unlisten,
    /// The accept queue of the listener is filled.
    Fill,
    /// connect() to the peer.
    Connect,
    /// So many bytes are sent.
    Send(u16),
    /// shutdown(SHUT_WR).
    Shutdown,
    /// All that was received is read, then close().
    Close,
    /// close() with nothing read.
    CloseUnread,
    /// close() with SO_LINGER 0, after reading.
    Abort,
    /// TCP_LINGER2 is set to -1: no FIN-WAIT-2 without an owner.
    NoLinger2,
    /// SO_KEEPALIVE: a probe after a second without a segment, another one after one more, then a reset.
    Keepalive,
    /// The mini-socket is removed by hand, as `ss -K` does.
    Kill,
    /// So many milliseconds pass.
    Wait(u16),
    /// `TIMER_MS` pass; whichever timers of the kernel come until then, the machine's come with them.
    Timer,
}

/// The settings of the network namespace that matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub struct Settings {
    /// `tcp_rfc1337`.
    pub rfc1337: bool,
    /// `tcp_invalid_ratelimit` has its default of 500 ms, else it is 0.
    pub ratelimit: bool,
    /// `tcp_abort_on_overflow`.
    pub abort_on_overflow: bool,
    /// `tcp_max_tw_buckets` is 0: no mini-socket is made.
    pub table_full: bool,
    /// Timers are as they are everywhere, but `tcp_fin_timeout`, `tcp_orphan_retries`, `tcp_retries2` and
    /// `tcp_syn_retries` are 1; else `rto_min` is 5 s and it is 60.
    pub timers: bool,
    /// Over IPv6.
    pub ipv6: bool,
    /// `tcp_window_scaling`.
    pub scaling: bool,
}

impl Settings {
    /// Each with its name in the text of a sequence.
    fn named(&mut self) -> [(&'static str, &mut bool); 7] {
        [
            ("rfc1337", &mut self.rfc1337),
            ("ratelimit", &mut self.ratelimit),
            ("abort-on-overflow", &mut self.abort_on_overflow),
            ("table-full", &mut self.table_full),
            ("timers", &mut self.timers),
            ("ipv6", &mut self.ipv6),
            ("scaling", &mut self.scaling),
        ]
    }
}

/// A whole sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Settings of the namespace.
    pub settings: Settings,
    /// The peer's initial sequence number.
    pub isn: u32,
    /// The peer's timestamps begin here.
    pub clock: u32,
    /// The steps.
    pub steps: Vec<Step>,
}

const FLAGS: [(Flags, &str); 6] = [
    (Flags::SYN, "SYN"),
    (Flags::FIN, "FIN"),
    (Flags::RST, "RST"),
    (Flags::PSH, "PSH"),
    (Flags::URG, "URG"),
    (Flags::ACK, "ACK"),
];

const SEQS: [(SeqFrom, &str); 3] =
    [(SeqFrom::Next, "next"), (SeqFrom::Edge, "edge"), (SeqFrom::Initial, "isn")];
const ACKS: [(AckFrom, &str); 3] =
    [(AckFrom::Next, "next"), (AckFrom::Unacknowledged, "una"), (AckFrom::Initial, "isn")];

const PLAIN: [(Step, &str); 12] = [
    (Step::Listen, "listen"),
    (Step::Unlisten, "unlisten"),
    (Step::Fill, "fill"),
    (Step::Connect, "connect"),
    (Step::Shutdown, "shutdown"),
    (Step::Close, "close"),
    (Step::CloseUnread, "close-unread"),
    (Step::Abort, "abort"),
    (Step::NoLinger2, "no-linger2"),
    (Step::Keepalive, "keepalive"),
    (Step::Kill, "kill"),
    (Step::Timer, "timer"),
];

fn name<T: PartialEq>(names: &[(T, &'static str)], value: &T) -> &'static str {
    names.iter().find(|(one, _)| one == value).map_or("?", |(_, name)| name)
}

fn value<T: Copy>(names: &[(T, &'static str)], name: &str) -> Option<T> {
    names.iter().find(|(_, one)| *one == name).map(|(value, _)| *value)
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(probe) => {
                let (seq, ack) = (name(&SEQS, &probe.seq_from), name(&ACKS, &probe.ack_from));
                write!(f, "{} seq={seq}{:+}", probe.flags, probe.seq)?;
                if probe.flags.has(Flags::ACK) {
                    write!(f, " ack={ack}{:+}", probe.ack)?;
                }
                if probe.length > 0 {
                    write!(f, " len={}", probe.length)?;
                }
                probe.ts.map_or(Ok(()), |ts| write!(f, " ts={ts:+}"))?;
                probe.window.map_or(Ok(()), |window| write!(f, " win={window}"))?;
                probe.scale.map_or(Ok(()), |scale| write!(f, " scale={scale}"))
            }
            Self::Send(bytes) => write!(f, "send {bytes}"),
            Self::Wait(ms) => write!(f, "wait {ms}"),
            plain => f.write_str(name(&PLAIN, plain)),
        }
    }
}

/// A line that is not a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAStep(String);

impl fmt::Display for NotAStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "not a step: {}; a step is a call (`close`) or a segment (`FIN,ACK seq=next+0 ack=una+0`)",
            self.0
        )
    }
}

impl std::error::Error for NotAStep {}

/// `next+1`: what it counts from, and by how much.
fn relative<T: Copy>(names: &[(T, &'static str)], text: &str) -> Option<(T, i32)> {
    let sign = text.find(['+', '-'])?;
    Some((value(names, &text[..sign])?, text[sign..].parse().ok()?))
}

fn segment(line: &str) -> Option<Probe> {
    let mut words = line.split_whitespace();
    let mut flags = Flags::NONE;
    for flag in words.next()?.split(',').filter(|flag| *flag != "none") {
        flags = flags.with(value(&FLAGS, flag)?);
    }
    let mut probe = Probe {
        flags,
        seq_from: SeqFrom::Next,
        seq: 0,
        ack_from: AckFrom::Next,
        ack: 0,
        length: 0,
        ts: None,
        window: None,
        scale: None,
    };
    for word in words {
        let (key, text) = word.split_once('=')?;
        match key {
            "seq" => (probe.seq_from, probe.seq) = relative(&SEQS, text)?,
            "ack" => (probe.ack_from, probe.ack) = relative(&ACKS, text)?,
            "len" => probe.length = text.parse().ok()?,
            "ts" => probe.ts = Some(text.parse().ok()?),
            "win" => probe.window = Some(text.parse().ok()?),
            "scale" => probe.scale = Some(text.parse().ok()?),
            _ => return None,
        }
    }
    Some(probe)
}

impl FromStr for Step {
    type Err = NotAStep;

    fn from_str(line: &str) -> Result<Self, NotAStep> {
        let wait = || line.strip_prefix("wait ")?.parse().ok().map(Self::Wait);
        let send = || line.strip_prefix("send ")?.parse().ok().map(Self::Send);
        value(&PLAIN, line)
            .or_else(send)
            .or_else(wait)
            .or_else(|| segment(line).map(Self::Segment))
            .ok_or_else(|| NotAStep(line.to_owned()))
    }
}

impl Sequence {
    /// The machine's timers come when the kernel's do; else each side has its own, and their times are compared.
    pub fn waits_for_timers(&self) -> bool {
        self.steps.contains(&Step::Timer)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("with")?;
        for (name, value) in Settings::named(&mut self.settings.clone()) {
            write!(f, " {name}={}", u8::from(*value))?;
        }
        writeln!(f, " isn={} clock={}", self.isn, self.clock)?;
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

impl FromStr for Sequence {
    type Err = NotAStep;

    /// Lines that are empty or begin with `#` say nothing.
    fn from_str(text: &str) -> Result<Self, NotAStep> {
        let mut sequence = Self { settings: Settings::default(), isn: 0, clock: 0, steps: Vec::new() };
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let Some(with) = line.strip_prefix("with ") else {
                sequence.steps.push(line.parse()?);
                continue;
            };
            for word in with.split_whitespace() {
                let parsed = word.split_once('=').and_then(|(name, text)| {
                    let number: u32 = text.parse().ok()?;
                    match name {
                        "isn" => sequence.isn = number,
                        "clock" => sequence.clock = number,
                        _ => {
                            let mut named = sequence.settings.named();
                            let (_, value) = named.iter_mut().find(|(one, _)| *one == name)?;
                            **value = number != 0;
                        }
                    }
                    Some(())
                });
                parsed.ok_or_else(|| NotAStep(line.to_owned()))?;
            }
        }
        Ok(sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_sequence_is_read_back() {
        let text = "with rfc1337=1 ratelimit=0 abort-on-overflow=0 table-full=1 timers=0 ipv6=1 scaling=1 isn=4294967295 clock=9\nlisten\nfill\nSYN seq=next+0 ts=+0 scale=7\n\
            ACK seq=isn-1 ack=next+0 ts=-5\nsend 10\nwait 30\ntimer\nno-linger2\nFIN,ACK seq=edge+1 ack=una-1 len=3 win=0\nnone seq=next+0\nabort\n";
        let sequence: Sequence = text.parse().expect("reads");
        assert_eq!(sequence.to_string(), text);
        assert_eq!(sequence.steps.len(), 11);
        for wrong in
            ["clos", "ACK seq=next", "ACK seq=near+1", "XYZ seq=next+0", "ACK len=-1", "send", "with x=1"]
        {
            assert!(wrong.parse::<Sequence>().is_err(), "{wrong}");
        }
    }
}
