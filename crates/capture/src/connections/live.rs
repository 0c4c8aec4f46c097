//! The running state of a connection: what is needed only as long as it lives.

use super::holes::{Holes, Left};
use super::key::Side;
use super::record::{End, Marks, NONE, Record, Seen};
use crate::Packet;
use crate::http::{Data, Http};
use tcp::{Flags, Observer, Segment, Seq, StateSet};

/// An acknowledgement this far ahead is taken for one that is behind (half of the window of RFC 9293, halved).
const AHEAD: i32 = 1 << 30;

/// True if an acknowledgement covers everything before `end`.
pub(crate) fn covers(ack: Seq, end: Seq) -> bool {
    (0..AHEAD).contains(&ack.since(end))
}

/// One side, as long as the connection lives.
#[derive(Debug, Default)]
pub(crate) struct Flank {
    /// Behind everything it sent; none before its first segment.
    pub(crate) high: Option<Seq>,
    /// Its last acknowledgement, resets apart.
    pub(crate) ack: Option<Seq>,
    /// Its highest acknowledgement.
    top_ack: Seq,
    /// The window it advertised with `ack`, as on the wire.
    pub(crate) window: u16,
    /// The largest window it advertised, the one of its SYN apart: that is not scaled.
    pub(crate) top_window: u16,
    /// Behind its first FIN.
    pub(crate) fin_end: Seq,
    /// Behind its SYN-ACK.
    syn_ack_end: Seq,
    /// First byte of the data it sent since the other side last sent some.
    burst: Seq,
    /// When it last sent new data.
    last_data_ns: Option<i64>,
    holes: Holes,
    /// It sent new data after the other side's FIN.
    pub(crate) data_after_fin: bool,
}

/// The running state of a connection.
#[derive(Debug)]
pub(crate) struct Live {
    /// Index of its record.
    pub(crate) record: u32,
    /// Used since the last look for one to give up.
    pub(crate) touched: bool,
    pub(crate) flanks: [Flank; 2],
    /// The acknowledgement number of the old ACK that answered a SYN.
    pub(crate) challenge: Option<Seq>,
    /// Who sent the packet before.
    pub(crate) last_sender: Option<Side>,
    /// Who sent new data last.
    pub(crate) last_data: Option<Side>,
    /// A request and the server's FIN passed each other.
    pub(crate) raced: bool,
    observer: Observer,
    pub(crate) http: Http,
}

impl Live {
    /// For a record. If all that was seen are SYNs they are taken up; else nothing is known.
    pub(crate) fn new(index: u32, record: &Record) -> Self {
        let mut flanks = [Flank::default(), Flank::default()];
        let mut observer = Observer::new();
        if !record.marks.has(Marks::GIVEN_UP) && !record.is_over() {
            for (flank, end) in flanks.iter_mut().zip(&record.ends) {
                if end.seen.has(Seen::SYN) {
                    flank.high = Some(Seq::new(end.isn).plus(1));
                }
            }
            observer = observer_of_syns(record);
        }
        Self {
            record: index,
            touched: true,
            flanks,
            challenge: None,
            last_sender: None,
            last_data: None,
            raced: false,
            observer,
            http: Http::default(),
        }
    }

    /// Its place is free: what it has elsewhere in memory is given back. The rest stays as it is, since the next one in
    /// this place is written anew as a whole.
    pub(crate) fn vacate(&mut self) {
        self.record = NONE;
        for flank in &mut self.flanks {
            flank.holes = Holes::default();
        }
        self.http.give_back();
    }

    /// True if the segment sends or acknowledges what its side never did before: then it is no copy.
    pub(crate) fn is_news(&self, side: Side, segment: &Segment) -> bool {
        let flank = &self.flanks[side];
        let sends = segment.span() > 0 && flank.high.is_none_or(|high| high.before(segment.end()));
        let acknowledges =
            segment.flags.has(Flags::ACK) && flank.ack.is_none_or(|ack| ack.before(segment.ack));
        (sends || acknowledges) && !segment.flags.has(Flags::RST)
    }

    /// A segment that is no reset.
    pub(crate) fn segment(&mut self, record: &mut Record, side: Side, packet: &Packet<'_>) {
        let segment = &packet.segment;
        let flags = segment.flags;
        self.observe(side, segment);
        if flags.has(Flags::SYN) && flags.has(Flags::ACK) {
            self.syn_ack(record, side, segment);
        } else if flags.has(Flags::SYN) {
            record.ends[side].seen.add(Seen::SYN);
            record.ends[side].seen.add(Seen::CALLING);
        } else if flags.has(Flags::ACK) {
            self.plain_ack(record, side, segment);
        } else {
            record.ends[side].seen.remove(Seen::CALLING);
        }
        if flags.has(Flags::ACK) {
            self.acknowledge(record, side, segment);
        }
        self.occupy(record, side, packet);
        if flags.has(Flags::FIN) {
            self.fin(record, side, packet);
        }
        if segment.length > 0 {
            self.data(record, side, packet);
        }
        // Data may come later than the FIN behind it.
        if record.ends[side].counts_fin() && segment.span() > 0 && self.flanks[side].holes.is_empty() {
            self.http.end(side, &mut record.http);
        }
        self.last_sender = Some(side);
    }

    /// What the segment proves of the states of both sides.
    pub(crate) fn observe(&mut self, side: Side, segment: &Segment) {
        self.observer.observe(tcp::Side::ALL[side], segment);
    }

    fn syn_ack(&mut self, record: &mut Record, side: Side, segment: &Segment) {
        let peer = 1 - side;
        let end = segment.seq.plus(1);
        if !record.ends[side].seen.has(Seen::SYN_ACK) && record.ends[side].isn != segment.seq.number() {
            // Whatever it sent before, an old ACK perhaps, belongs to other numbers.
            record.ends[side].isn = segment.seq.number();
            self.flanks[side].high = None;
            self.flanks[side].holes = Holes::default();
        }
        record.ends[side].seen.add(Seen::SYN_ACK);
        record.ends[peer].seen.remove(Seen::CALLING);
        self.flanks[side].syn_ack_end = end;
        // The ACK of the handshake may have been captured first.
        if self.flanks[peer].ack.is_some_and(|ack| covers(ack, end)) {
            record.ends[peer].seen.add(Seen::OPENED);
        }
        record.answered_syn(super::resets::Outcome::Accepted);
    }

    /// Neither SYN nor RST, with ACK.
    fn plain_ack(&mut self, record: &mut Record, side: Side, segment: &Segment) {
        let peer = 1 - side;
        if record.ends[peer].seen.has(Seen::SYN_ACK) && covers(segment.ack, self.flanks[peer].syn_ack_end) {
            record.ends[side].seen.add(Seen::OPENED);
        }
        let called = record.ends[peer].seen.has(Seen::CALLING);
        let isn = Seq::new(record.ends[peer].isn);
        if called && segment.length == 0 && !segment.flags.has(Flags::FIN) && segment.ack != isn.plus(1) {
            // An ACK for what the caller never sent: it belongs to an older connection (RFC 9293 section 3.10.7.4).
            record.marks.add(Marks::CHALLENGED);
            self.challenge = Some(segment.ack);
            record.answered_syn(super::resets::Outcome::Challenged);
        }
        record.ends[side].seen.remove(Seen::CALLING);
    }

    fn acknowledge(&mut self, record: &mut Record, side: Side, segment: &Segment) {
        let peer = 1 - side;
        let fin_end = self.flanks[peer].fin_end;
        let flank = &mut self.flanks[side];
        flank.top_ack = if flank.ack.is_some() { flank.top_ack.max(segment.ack) } else { segment.ack };
        flank.ack = Some(segment.ack);
        flank.window = segment.window;
        if !segment.flags.has(Flags::SYN) {
            flank.top_window = flank.top_window.max(segment.window);
        }
        record.ends[side].seen.add(Seen::ACK);
        if record.ends[peer].fins > 0 && covers(segment.ack, fin_end) {
            record.ends[peer].seen.add(Seen::FIN_ACKED);
        }
    }

    /// Sequence numbers that the segment takes: new ones, ones that were missing, or ones sent again.
    fn occupy(&mut self, record: &mut Record, side: Side, packet: &Packet<'_>) {
        let segment = &packet.segment;
        let (start, end) = (segment.seq, segment.end());
        let (flank, kept) = (&mut self.flanks[side], &mut record.ends[side]);
        let Some(high) = flank.high else {
            flank.high = Some(end);
            kept.bytes += u64::from(segment.length);
            return;
        };
        if segment.span() == 0 {
            return;
        }
        if high.before(end) {
            let fresh = if start.before(high) {
                end.since(high).unsigned_abs() + flank.holes.fill(start, high)
            } else {
                segment.span()
            };
            if high.before(start) {
                flank.holes.add(high, start);
            }
            flank.high = Some(end);
            // SYN and FIN take a number each, and are no data.
            kept.bytes += u64::from(fresh.min(segment.length));
            return;
        }
        let filled = flank.holes.fill(start, end);
        kept.bytes += u64::from(filled.min(segment.length));
        let is_probe = segment.span() == 1 && segment.length == 1 && start.plus(1) == high;
        let before_all = !kept.seen.has(Seen::SYN) && !Seq::new(kept.isn).plus(1).before(end);
        if before_all {
            // The capture began with a later segment: this one is early, not late.
            kept.bytes += u64::from(segment.length);
        } else if filled == 0 && !is_probe {
            kept.retransmits = kept.retransmits.saturating_add(1);
        }
    }

    fn fin(&mut self, record: &mut Record, side: Side, packet: &Packet<'_>) {
        let segment = &packet.segment;
        let peer = 1 - side;
        let first = record.first_fin();
        let end = segment.end();
        if record.ends[side].fins == 0 {
            self.flanks[side].fin_end = end;
            record.close_at(packet.time_ns);
            if first.is_none() {
                record.marks.add_if(side == 1, Marks::FIRST_FIN_IS_HIGH);
                self.first_to_close(record, side, packet);
            } else {
                let crossed = segment.flags.has(Flags::ACK) && segment.ack.before(self.flanks[peer].fin_end);
                record.marks.add_if(crossed, Marks::CROSSED);
            }
        } else if self.flanks[side].fin_end != end {
            record.marks.add(Marks::FIN_MOVED);
        }
        let fins = &mut record.ends[side].fins;
        *fins = fins.saturating_add(1);
    }

    /// The first FIN: how long had nobody sent anything, and was something on its way?
    fn first_to_close(&mut self, record: &mut Record, side: Side, packet: &Packet<'_>) {
        let peer = 1 - side;
        let segment = &packet.segment;
        let unacknowledged = self.last_data == Some(peer)
            && segment.flags.has(Flags::ACK)
            && self.flanks[peer].burst == segment.ack;
        if unacknowledged && segment.length == 0 {
            self.raced |= may_race(record, side);
            record.idle_ms = self.quiet_ms(&[side], packet.time_ns);
        } else if segment.length == 0 {
            record.idle_ms = self.quiet_ms(&[0, 1], packet.time_ns);
        } else {
            record.idle_ms = 0;
        }
    }

    /// Time since one of these sides last sent data, in milliseconds.
    pub(crate) fn quiet_ms(&self, sides: &[Side], now_ns: i64) -> u32 {
        let last = sides.iter().filter_map(|side| self.flanks[*side].last_data_ns).max();
        last.map_or(NONE, |last| milliseconds(last, now_ns))
    }

    fn data(&mut self, record: &mut Record, side: Side, packet: &Packet<'_>) {
        let segment = &packet.segment;
        let peer = 1 - side;
        let start = segment.seq.plus(u32::from(segment.flags.has(Flags::SYN)));
        let end = start.plus(segment.length);
        // `high` has moved on already: new data ends there.
        let is_new = self.flanks[side].high.is_some_and(|high| end.plus(1).since(high) >= 0);
        if is_new {
            if self.last_data != Some(side) {
                self.flanks[side].burst = start;
                if self.last_data == Some(peer) {
                    record.ends[side].seen.add(Seen::ANSWERED);
                }
            }
            if record.ends[peer].fins > 0 {
                self.flanks[side].data_after_fin = true;
                let unaware = !segment.flags.has(Flags::ACK) || segment.ack.before(self.flanks[peer].fin_end);
                let asks_anew = self.last_data == Some(peer) && record.first_fin() == Some(peer);
                self.raced |= unaware && asks_anew && may_race(record, peer);
                record.marks.add_if(!unaware, Marks::DATA_AFTER_FIN);
            }
            self.flanks[side].last_data_ns = Some(packet.time_ns);
            self.last_data = Some(side);
        }
        let kept = &record.ends[side];
        let origin =
            (kept.seen.has(Seen::SYN) || kept.seen.has(Seen::SYN_ACK)).then(|| kept.isn.wrapping_add(1));
        let data = Data { side, seq: start.number(), bytes: packet.payload, length: segment.length, origin };
        self.http.take(data, &mut record.http);
    }

    /// No more packets will come, or no more are looked at so closely.
    pub(crate) fn finish(&mut self, record: &mut Record) {
        for side in 0..2 {
            let left = self.flanks[side].holes.left();
            record.marks.add_if(left == Left::Untold, Marks::GAPS_UNTOLD);
            if left == Left::Untold && record.ends[side].counts_fin() {
                self.http.end_somewhere(side, &mut record.http);
            }
        }
        self.http.finish(&mut record.http);
        for side in 0..2 {
            record.verdict.set_states(side, self.observer.states(tcp::Side::ALL[side]));
            let (flank, peer) = (&self.flanks[side], &self.flanks[1 - side]);
            let unseen = match (flank.high, peer.ack) {
                (Some(high), Some(_)) => peer.top_ack.since(high) > 0 && covers(peer.top_ack, high),
                _ => false,
            };
            if unseen || flank.holes.left() == Left::Missing {
                record.ends[side].seen.add(Seen::MISSING);
            }
        }
    }
}

/// An observer that was shown the SYNs of a record.
fn observer_of_syns(record: &Record) -> Observer {
    let mut observer = Observer::new();
    for (side, end) in tcp::Side::ALL.into_iter().zip(&record.ends) {
        if end.seen.has(Seen::SYN) {
            observer
                .observe(side, &Segment { flags: Flags::SYN, seq: Seq::new(end.isn), ..Segment::default() });
        }
    }
    observer
}

impl Record {
    /// The states that a side may be in by now.
    pub(crate) fn states(&self, side: Side) -> StateSet {
        if self.marks.has(Marks::GIVEN_UP) {
            return StateSet::ALL;
        }
        let of_syns = || observer_of_syns(self).states(tcp::Side::ALL[side]);
        self.verdict.states(side).unwrap_or_else(of_syns)
    }
}

/// True if a request that comes now finds a side that has answered all before and closes unasked.
fn may_race(record: &Record, side: Side) -> bool {
    record.ends[side].seen.has(Seen::ANSWERED) && !record.http.close(side) && !record.http.close(1 - side)
}

/// From one time to a later one, in whole milliseconds; 0 if it is earlier.
pub(crate) fn milliseconds(from_ns: i64, to_ns: i64) -> u32 {
    const NANOSECONDS: i64 = 1_000_000;
    u32::try_from((to_ns.saturating_sub(from_ns) / NANOSECONDS).max(0)).unwrap_or(NONE - 1)
}

impl End {
    pub(crate) const fn counts_fin(&self) -> bool {
        self.fins > 0
    }
}
