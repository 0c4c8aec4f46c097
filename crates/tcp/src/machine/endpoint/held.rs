//! What came before its turn (net/ipv4/tcp_input.c `tcp_data_queue_ofo()`, `tcp_ofo_queue()`).

use crate::Seq;

/// How many pieces are kept; the kernel's limit is memory. What does not fit is as if it had not come.
const PIECES: usize = 12;

/// A segment's data, and its FIN if it has one.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start: Seq,
    /// Behind the data and the FIN.
    end: Seq,
    fin: bool,
}

/// Pieces beyond `rcv_nxt`.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pieces: [Option<Piece>; PIECES],
}

impl Held {
    pub(super) const NOTHING: Self = Self { pieces: [None; PIECES] };

    pub(super) fn clear(&mut self) {
        *self = Self::NOTHING;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.iter().all(Option::is_none)
    }

    /// Keeps a segment, unless all of it is there already; what it covers is no longer needed.
    pub(super) fn keep(&mut self, start: Seq, end: Seq, fin: bool) {
        let within = |piece: &Piece| !start.before(piece.start) && !piece.end.before(end);
        if self.pieces.iter().flatten().any(within) {
            return;
        }
        for slot in &mut self.pieces {
            if slot.is_some_and(|piece| !piece.start.before(start) && !end.before(piece.end)) {
                *slot = None;
            }
        }
        if let Some(free) = self.pieces.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(Piece { start, end, fin });
        }
    }

    /// How far the data goes on from here without a gap, and whether a FIN ends it.
    pub(super) fn reach(&self, mut next: Seq) -> (Seq, bool) {
        let mut used = [false; PIECES];
        loop {
            // The earliest first, as the kernel's queue is sorted.
            let first = (0..PIECES)
                .filter(|at| !used[*at])
                .filter_map(|at| Some((at, self.pieces[at]?)))
                .filter(|(_, piece)| !next.before(piece.start))
                .min_by_key(|(_, piece)| piece.start.since(next));
            let Some((at, piece)) = first else { return (next, false) };
            used[at] = true;
            if next.before(piece.end) {
                next = piece.end;
                if piece.fin {
                    return (next, true);
                }
            }
        }
    }

    /// Forgets what lies before here.
    pub(super) fn drop_before(&mut self, next: Seq) {
        for slot in &mut self.pieces {
            if slot.is_some_and(|piece| !next.before(piece.start)) {
                *slot = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_that_is_filled_gives_all_behind_it_up_to_the_fin() {
        let seq = Seq::new;
        let mut held = Held::NOTHING;
        held.keep(seq(20), seq(31), true);
        held.keep(seq(10), seq(20), false);
        held.keep(seq(40), seq(50), false);
        assert_eq!(held.reach(seq(9)), (seq(9), false));
        assert_eq!(held.reach(seq(10)), (seq(31), true));
        // Data over the FIN takes its place.
        held.keep(seq(15), seq(40), false);
        assert_eq!(held.reach(seq(12)), (seq(50), false));
        held.drop_before(seq(45));
        assert_eq!(held.reach(seq(45)), (seq(45), false));
    }
}
