//! A TCP segment as far as opening, closing and timestamps need it.

use crate::Seq;
use core::fmt;
use core::str::FromStr;

/// The control bits of a segment (RFC 9293 section 3.1).
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags(u8);

impl Flags {
    /// No more data from the sender.
    pub const FIN: Self = Self(1);
    /// Synchronises sequence numbers.
    pub const SYN: Self = Self(2);
    /// Resets the connection.
    pub const RST: Self = Self(4);
    /// Push.
    pub const PSH: Self = Self(8);
    /// The acknowledgement number counts.
    pub const ACK: Self = Self(16);
    /// The urgent pointer counts.
    pub const URG: Self = Self(32);
    /// None.
    pub const NONE: Self = Self(0);

    const NAMES: [(Self, &'static str); 6] = [
        (Self::SYN, "SYN"),
        (Self::FIN, "FIN"),
        (Self::RST, "RST"),
        (Self::PSH, "PSH"),
        (Self::URG, "URG"),
        (Self::ACK, "ACK"),
    ];

    /// From the byte on the wire.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// The byte on the wire.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// True if all of these are set.
    pub const fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// These and those.
    #[must_use]
    pub const fn with(self, flags: Self) -> Self {
        Self(self.0 | flags.0)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Flags {
    /// As tcpdump's readers know them: `SYN,ACK`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (_, name) in Self::NAMES.iter().filter(|(flag, _)| self.has(*flag)) {
            if !first {
                f.write_str(",")?;
            }
            f.write_str(name)?;
            first = false;
        }
        if first { f.write_str("none") } else { Ok(()) }
    }
}

/// A text that has a word that names no control bit of RFC 9293.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownFlag;

impl fmt::Display for UnknownFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not flags as RFC 9293 writes them, such as SYN,ACK: SYN, FIN, RST, PSH, URG or ACK")
    }
}

impl core::error::Error for UnknownFlag {}

impl FromStr for Flags {
    type Err = UnknownFlag;

    /// As they are written, in any order; empty or `none`: none.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if matches!(text, "" | "none") {
            return Ok(Self::NONE);
        }
        text.split(',').map(str::trim).try_fold(Self::NONE, |flags, word| {
            let (flag, _) = Self::NAMES.into_iter().find(|(_, name)| *name == word).ok_or(UnknownFlag)?;
            Ok(flags.with(flag))
        })
    }
}

/// The timestamps option (RFC 7323 section 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Timestamps {
    /// TSval: the sender's clock.
    pub value: u32,
    /// TSecr: the last value the sender saw from its peer.
    pub echo: u32,
}

/// A segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Segment {
    /// Control bits.
    pub flags: Flags,
    /// SEG.SEQ.
    pub seq: Seq,
    /// SEG.ACK; means something only with [`Flags::ACK`].
    pub ack: Seq,
    /// Bytes of data, however many of them were captured.
    pub length: u32,
    /// SEG.WND as on the wire, not scaled.
    pub window: u16,
    /// Timestamps, if it carries them.
    pub timestamps: Option<Timestamps>,
}

impl Segment {
    /// The number of sequence numbers it occupies: data, SYN and FIN (SEG.LEN of RFC 9293).
    pub const fn span(&self) -> u32 {
        self.length
            .wrapping_add(self.flags.has(Flags::SYN) as u32)
            .wrapping_add(self.flags.has(Flags::FIN) as u32)
    }

    /// The first sequence number behind it.
    pub const fn end(&self) -> Seq {
        self.seq.plus(self.span())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString as _;

    #[test]
    fn all_flags_parse_back() {
        for bits in 0..64 {
            let flags = Flags::from_bits(bits);
            assert_eq!(flags.to_string().parse(), Ok(flags));
        }
        assert_eq!("ACK, SYN".parse(), Ok(Flags::SYN.with(Flags::ACK)));
        assert_eq!("".parse(), Ok(Flags::NONE));
        for unknown in ["SYN,", "syn", "SYN,none", "SYN ACK", "nothing"] {
            assert_eq!(unknown.parse::<Flags>(), Err(UnknownFlag), "{unknown}");
        }
    }
}
