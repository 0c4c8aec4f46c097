//! Numbers that a side skipped and may still send.

use tcp::Seq;

/// Gaps of one side that are kept apart. A loss of every other segment in a window of 700 kB has so many.
const MOST: usize = 256;

/// A range that is not there, up to the number before `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hole {
    from: Seq,
    to: Seq,
    /// All of it is missing. Else some of it is there, and nobody knows which part.
    exact: bool,
}

/// What is known of gaps that are not filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// There are none.
    Nothing,
    /// Bytes are missing.
    Missing,
    /// There were too many at once to tell.
    Untold,
}

/// Ranges of sequence numbers that were skipped, in their order.
#[derive(Debug, Default)]
pub(super) struct Holes(Vec<Hole>);

impl Holes {
    /// Numbers are skipped, later ones than all before.
    pub(super) fn add(&mut self, from: Seq, to: Seq) {
        if self.0.len() < MOST {
            self.0.push(Hole { from, to, exact: true });
        } else if let Some(last) = self.0.last_mut() {
            // The last two become one, with the data between them.
            (last.to, last.exact) = (to, false);
        }
    }

    /// Fills a range; how much of it was missing, at most.
    pub(super) fn fill(&mut self, from: Seq, to: Seq) -> u32 {
        let mut filled = 0;
        let mut at = 0;
        while let Some(hole) = self.0.get(at).copied() {
            let first = hole.from.max(from);
            let last = if to.before(hole.to) { to } else { hole.to };
            if !first.before(last) {
                at += 1;
                continue;
            }
            filled += last.since(first).unsigned_abs();
            let left = Hole { to: first, ..hole };
            let right = Hole { from: last, ..hole };
            match (hole.from.before(first), last.before(hole.to)) {
                (true, true) if self.0.len() < MOST => {
                    self.0[at] = left;
                    self.0.insert(at + 1, right);
                }
                (true, true) => self.0[at].exact = false,
                (true, false) => self.0[at] = left,
                (false, true) => self.0[at] = right,
                (false, false) => {
                    self.0.remove(at);
                    continue;
                }
            }
            at += 1;
        }
        filled
    }

    /// What is left of them.
    pub(super) fn left(&self) -> Left {
        if self.0.is_empty() {
            Left::Nothing
        } else if self.0.iter().any(|hole| hole.exact) {
            Left::Missing
        } else {
            Left::Untold
        }
    }

    /// True if nothing is missing.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// The numbers wrap around on the way.
    const START: u32 = u32::MAX - 500;

    fn seq(at: u32) -> Seq {
        Seq::new(START).plus(at)
    }

    /// Every other number up to `count` pairs of them is skipped.
    fn skipped(count: u32) -> Holes {
        let mut holes = Holes::default();
        (0..count).for_each(|at| holes.add(seq(2 * at), seq(2 * at + 1)));
        holes
    }

    #[test]
    fn as_many_as_are_kept_apart_are_filled_in_any_order() {
        let most = u32::try_from(MOST).unwrap();
        let mut holes = skipped(most);
        for at in (0..most).rev().step_by(2).chain((0..most).step_by(2)) {
            assert_eq!(holes.left(), Left::Missing);
            assert_eq!(holes.fill(seq(2 * at), seq(2 * at + 1)), 1);
            assert_eq!(holes.fill(seq(2 * at), seq(2 * at + 1)), 0, "sent again");
        }
        assert_eq!(holes.left(), Left::Nothing);
    }

    #[test]
    fn of_more_it_is_not_said_that_bytes_are_missing() {
        let most = u32::try_from(MOST).unwrap();
        let mut holes = skipped(most + 3);
        assert_eq!(holes.left(), Left::Missing);
        (0..most + 3).for_each(|at| _ = holes.fill(seq(2 * at), seq(2 * at + 1)));
        assert_eq!(holes.left(), Left::Untold);
        assert_eq!(holes.0.len(), 3);
        holes.fill(seq(0), seq(2 * most + 9));
        assert_eq!(holes.left(), Left::Nothing);
    }

    #[test]
    fn a_gap_that_cannot_be_split_any_more_is_uncertain() {
        let most = u32::try_from(MOST).unwrap();
        let mut holes = skipped(most - 1);
        holes.add(seq(2 * most), seq(2 * most + 9));
        holes.fill(seq(2 * most + 3), seq(2 * most + 4));
        assert_eq!(holes.0.len(), MOST);
        assert!(!holes.0[MOST - 1].exact);
    }

    proptest! {
        #[test]
        fn few_gaps_are_known_to_the_byte(
            runs in prop::collection::vec((1_u32..30, 1_u32..30), 1..20),
            fills in prop::collection::vec((0_u32..900, 1_u32..60), 0..60),
        ) {
            let (mut holes, mut missing) = (Holes::default(), BTreeSet::new());
            let mut at = 0;
            for (skip, there) in runs {
                holes.add(seq(at), seq(at + skip));
                missing.extend(at..at + skip);
                at += skip + there;
            }
            for (from, length) in fills {
                let filled = (from..from + length).filter(|number| missing.remove(number)).count();
                prop_assert_eq!(holes.fill(seq(from), seq(from + length)) as usize, filled);
                let left = if missing.is_empty() { Left::Nothing } else { Left::Missing };
                prop_assert_eq!(holes.left(), left);
            }
        }
    }
}
