//! The TCP header and its options.

use super::{Around, Layers, Piece};
use crate::{Flow, Packet};
use tcp::{Flags, Segment, Seq, Timestamps};

/// Bytes of the header up to the window: what a segment needs to be of use. The snap length may have cut the rest.
const NEEDED: usize = 16;
const HEADER: usize = 20;

impl Layers<'_> {
    pub(super) fn tcp(&mut self, piece: Piece<'_>, around: Around) {
        let Some(head) = piece.chunk::<NEEDED>(0) else {
            self.statistics.headers_cut += 1;
            return;
        };
        let short = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let long = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let header = usize::from(head[12] >> 4) * 4;
        if header < HEADER {
            return;
        }
        let bytes = piece.bytes();
        let flags = Flags::from_bits(head[13]);
        let in_options = bytes.get(HEADER..header.min(bytes.len())).unwrap_or_default();
        let options = options(in_options, flags);
        self.statistics.segments += 1;
        (self.sink)(&Packet {
            number: self.number,
            file: self.file,
            time_ns: self.time_ns,
            flow: Flow {
                source: around.source,
                destination: around.destination,
                source_port: short(0),
                destination_port: short(2),
            },
            context: around.context.0,
            segment: Segment {
                flags,
                seq: Seq::new(long(4)),
                ack: Seq::new(long(8)),
                length: u32::try_from(piece.wire().saturating_sub(header)).unwrap_or(u32::MAX),
                window: short(14),
                timestamps: options.timestamps(),
            },
            window_scale: options.window_scale(),
            payload: bytes.get(header..).unwrap_or_default(),
            ip_id: around.ip_id,
            ttl: around.ttl,
            cut: self.cut,
        });
    }
}

const NO_OPERATION: u8 = 1;
const WINDOW_SCALE: u8 = 3;
const TIMESTAMPS: u8 = 8;

/// What was found among the options (RFC 7323): plain numbers that fit into two registers. As `Option`s they would be
/// written in parts and at once be copied as a whole, and the processor waits for that with every packet.
#[derive(Clone, Copy, Default)]
pub(super) struct Options {
    /// Both timestamps as they came.
    stamps: u64,
    found: u8,
    shift: u8,
}

impl Options {
    const STAMPS: u8 = 1;
    const SCALE: u8 = 2;

    const fn of_stamps(option: [u8; 8]) -> Self {
        Self { stamps: u64::from_be_bytes(option), found: Self::STAMPS, shift: 0 }
    }

    /// The timestamps.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "each is a half of it")]
    pub(super) const fn timestamps(self) -> Option<Timestamps> {
        let (value, echo) = ((self.stamps >> 32) as u32, self.stamps as u32);
        if self.found & Self::STAMPS != 0 { Some(Timestamps { value, echo }) } else { None }
    }

    /// The window scale of a SYN.
    #[inline]
    pub(super) const fn window_scale(self) -> Option<u8> {
        if self.found & Self::SCALE != 0 { Some(self.shift) } else { None }
    }
}

/// Reads the options of a segment.
#[inline]
pub(super) fn options(options: &[u8], flags: Flags) -> Options {
    // RFC 7323 appendix A: this is how they are written once a connection stands.
    if let Some([NO_OPERATION, NO_OPERATION, TIMESTAMPS, 10, value @ ..]) = options.first_chunk::<12>()
        && !flags.has(Flags::SYN)
    {
        return Options::of_stamps(*value);
    }
    if options.is_empty() { Options::default() } else { walk(options, flags) }
}

fn walk(mut options: &[u8], flags: Flags) -> Options {
    let mut all = Options::default();
    loop {
        match options {
            [] | [0, ..] => break,
            [NO_OPERATION, rest @ ..] => options = rest,
            [kind, length, rest @ ..] => {
                // The length counts kind and length too; less makes no sense, and what follows then neither.
                let Some(value) = usize::from(*length).checked_sub(2).and_then(|length| rest.get(..length))
                else {
                    break;
                };
                match (*kind, value) {
                    (TIMESTAMPS, value) if all.found & Options::STAMPS == 0 => {
                        if let Ok(value) = value.try_into() {
                            all.stamps = u64::from_be_bytes(value);
                            all.found |= Options::STAMPS;
                        }
                    }
                    (WINDOW_SCALE, [shift]) if flags.has(Flags::SYN) && all.found & Options::SCALE == 0 => {
                        all.shift = *shift;
                        all.found |= Options::SCALE;
                    }
                    _ => {}
                }
                options = &rest[value.len()..];
            }
            [_] => break,
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(bytes: &[u8], flags: Flags) -> (Option<Timestamps>, Option<u8>) {
        let found = super::options(bytes, flags);
        (found.timestamps(), found.window_scale())
    }

    const STAMPS: Timestamps = Timestamps { value: 0x0102_0304, echo: 0x0506_0708 };

    #[test]
    fn timestamps_are_found_wherever_they_stand() {
        let aligned = [1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(options(&aligned, Flags::ACK), (Some(STAMPS), None));
        assert_eq!(options(&aligned, Flags::SYN), (Some(STAMPS), None));
        let after_others = [2, 4, 5, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 3, 3, 7];
        assert_eq!(options(&after_others, Flags::SYN), (Some(STAMPS), Some(7)));
        assert_eq!(options(&after_others, Flags::ACK), (Some(STAMPS), None), "a scale counts only in a SYN");
    }

    #[test]
    fn options_that_lie_end_the_walk() {
        for broken in [
            &[8, 10, 1, 2][..],
            &[3, 0, 1],
            &[3],
            &[3, 1, 3, 3, 7],
            &[0, 3, 3, 7],
            &[8, 9, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert_eq!(options(broken, Flags::SYN), (None, None), "{broken:?}");
        }
        assert_eq!(options(&[3, 3, 7, 8, 200], Flags::SYN), (None, Some(7)));
    }
}
