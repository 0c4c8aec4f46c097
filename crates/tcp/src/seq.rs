//! Sequence numbers: 32 bits that wrap (RFC 9293 section 3.4).

use core::fmt;

/// A sequence or acknowledgement number. Arithmetic wraps and is total; comparison looks at the shorter way round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seq(u32);

impl Seq {
    /// From the number on the wire.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number on the wire.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// This many numbers further on.
    #[must_use]
    pub const fn plus(self, count: u32) -> Self {
        Self(self.0.wrapping_add(count))
    }

    /// How far this lies behind (positive) or before (negative) another, the shorter way round.
    pub const fn since(self, other: Self) -> i32 {
        self.0.wrapping_sub(other.0).cast_signed()
    }

    /// True if this comes before another (`SEG.SEQ < other` of RFC 9293).
    pub const fn before(self, other: Self) -> bool {
        self.since(other) < 0
    }

    /// The later of two.
    #[must_use]
    pub const fn max(self, other: Self) -> Self {
        if self.before(other) { other } else { self }
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_wrap() {
        let last = Seq::new(u32::MAX);
        assert_eq!(last.plus(2), Seq::new(1));
        assert!(last.before(Seq::new(0)));
        assert_eq!(Seq::new(0).since(last), 1);
        assert_eq!(last.max(Seq::new(3)), Seq::new(3));
    }

    proptest! {
        #[test]
        fn arithmetic_is_total(a in any::<u32>(), b in any::<u32>()) {
            let (first, second) = (Seq::new(a), Seq::new(b));
            prop_assert_eq!(second.plus(first.since(second).cast_unsigned()), first);
            if a != b && a.wrapping_sub(b) != 1 << 31 {
                prop_assert_ne!(first.before(second), second.before(first));
            }
        }
    }
}
