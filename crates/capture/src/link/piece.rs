//! Bytes of a frame that may have been cut.

/// A part of a frame: what was captured of it, and how long it was on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece<'p> {
    bytes: &'p [u8],
    wire: usize,
}

impl<'p> Piece<'p> {
    pub(super) fn new(bytes: &'p [u8], wire: usize) -> Self {
        Self { bytes, wire: wire.max(bytes.len()) }
    }

    /// What was captured.
    pub(super) fn bytes(self) -> &'p [u8] {
        self.bytes
    }

    /// Bytes on the wire.
    pub(super) fn wire(self) -> usize {
        self.wire
    }

    /// Without its first bytes; `None` if they were not captured.
    pub(super) fn skip(self, count: usize) -> Option<Self> {
        Some(Self { bytes: self.bytes.get(count..)?, wire: self.wire - count })
    }

    /// Only so many bytes; a length that goes beyond the piece says nothing.
    pub(super) fn limit(self, wire: usize) -> Self {
        let wire = wire.min(self.wire);
        Self { bytes: &self.bytes[..wire.min(self.bytes.len())], wire }
    }

    /// The bytes at a place.
    pub(super) fn chunk<const N: usize>(self, at: usize) -> Option<[u8; N]> {
        self.bytes.get(at..)?.first_chunk().copied()
    }

    pub(super) fn u8(self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    /// Of network byte order.
    pub(super) fn u16(self, at: usize) -> Option<u16> {
        self.chunk(at).map(u16::from_be_bytes)
    }

    /// Of network byte order.
    pub(super) fn u32(self, at: usize) -> Option<u32> {
        self.chunk(at).map(u32::from_be_bytes)
    }
}
