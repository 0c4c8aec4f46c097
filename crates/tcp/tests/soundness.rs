//! The observer is never wrong: two endpoints talk over a network that delays, drops, duplicates and reorders; a tap
//! on it shows any part of the packets. Whatever was shown, the true state of each side is in its set.

use proptest::prelude::*;
use tcp::machine::{Call, Condition, Endpoint, Kind, Nanos, Timer};
use tcp::profile::Stack;
use tcp::{Flags, Observer, Segment, Seq, Side, State, StateSet};

const MS: Nanos = 1_000_000;

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Call(bool, Call),
    Send(bool, u32),
    Fire(bool, Timer),
    /// Time passes, in milliseconds.
    Wait(u64),
    /// The packet at this place of those on the way arrives; taken modulo their number.
    Deliver(usize),
    Lose(usize),
    Duplicate(usize),
    /// The tap sees a packet, which stays on its way.
    Show(usize),
    Set(bool, Condition, bool),
}

/// A packet on its way, of a connection of its sender.
#[derive(Clone, Copy, Debug)]
struct Packet {
    from: Side,
    life: u32,
    segment: Segment,
    shown: bool,
}

struct Run {
    now: Nanos,
    ends: [Endpoint; 2],
    wire: Vec<Packet>,
    /// What the tap can still show of what arrived or was lost.
    passed: Vec<Packet>,
    observer: Observer,
    /// The last connection of each side of which something was shown, and whether its beginning was.
    shown: [Option<(u32, bool)>; 2],
    first_iss: [Seq; 2],
    /// Every connection of each side and where its numbers begin.
    lives: [Vec<(u32, Seq)>; 2],
    trace: Vec<String>,
}

impl Run {
    fn new(ends: [Endpoint; 2], first_iss: [Seq; 2]) -> Self {
        Self {
            first_iss,
            lives: [vec![], vec![]],
            now: 0,
            ends,
            wire: Vec::new(),
            passed: Vec::new(),
            observer: Observer::new(),
            shown: [None; 2],
            trace: Vec::new(),
        }
    }

    /// Takes what an endpoint sends. Its state at this moment is the one in which it sent.
    fn collect(&mut self) {
        for side in Side::ALL {
            let end = &mut self.ends[side.index()];
            // Each connection begins far behind the one before, as a clock makes it.
            end.set_next_iss(self.first_iss[side.index()].plus(end.life() * (1 << 24)));
            let begun = (end.life(), end.iss());
            if begun.0 > 0 && self.lives[side.index()].last() != Some(&begun) {
                self.lives[side.index()].push(begun);
            }
            while let Some(segment) = end.poll_transmit(self.now) {
                self.trace.push(format!("  {side:?} in {} sends {segment:?}", end.state()));
                self.wire.push(Packet { from: side, life: end.life(), segment, shown: false });
            }
        }
    }

    fn arrive(&mut self, packet: Packet) {
        let to = packet.from.other();
        let before = self.ends[to.index()].state();
        self.ends[to.index()].handle_segment(self.now, &packet.segment);
        self.trace.push(format!("  {to:?} {before} takes {:?}", packet.segment.flags));
        self.collect();
    }

    /// Shows every packet that was not yet shown.
    fn show_all(&mut self) {
        for at in 0..self.wire.len() {
            if !self.wire[at].shown {
                self.wire[at].shown = true;
                let packet = self.wire[at];
                self.show(packet);
            }
        }
    }

    /// Shows a packet if that is within what the observer relies on: a later connection begins with a SYN, and
    /// late segments of an older one can be told from it.
    fn show(&mut self, packet: Packet) {
        let begins = matches!(Kind::of(&packet.segment), Kind::Syn | Kind::SynAck);
        match self.shown[packet.from.index()] {
            Some((life, _)) if packet.life > life && !begins => return,
            Some((life, began)) if packet.life < life && (begins || !began) => return,
            _ => {}
        }
        // Nor does it see an acknowledgement of a connection of which it has not seen the beginning, nor, once it has
        // seen an acknowledgement of one, segments of that side that are older.
        let to = packet.from.other().index();
        if packet.segment.flags.has(Flags::ACK) && !begins {
            let acknowledged = self.lives[to].iter().rfind(|(_, iss)| !packet.segment.ack.before(*iss));
            match (self.shown[to], acknowledged) {
                (Some((life, _)), Some((of, _))) if *of > life => return,
                (None, Some((of, _))) => self.shown[to] = Some((*of, false)),
                _ => {}
            }
        }
        self.trace.push(format!("  shown: {:?} {:?}", packet.from, packet.segment));
        let seen = &mut self.shown[packet.from.index()];
        *seen = match *seen {
            Some((life, began)) if life > packet.life => Some((life, began)),
            Some((life, began)) if life == packet.life => Some((life, began || begins)),
            _ => Some((packet.life, begins)),
        };
        self.observer.observe(packet.from, &packet.segment);
    }

    /// The state of the connection that the observer speaks of: the last of which something was shown.
    fn truth(&self, side: Side) -> State {
        let end = &self.ends[side.index()];
        match self.shown[side.index()] {
            Some((life, _)) if life < end.life() => State::Closed,
            _ => end.state(),
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        for side in Side::ALL {
            let (truth, set) = (self.truth(side), self.observer.states(side));
            prop_assert!(
                set.has(truth),
                "{side:?} is in {truth}, not in {set}, notes {:?}\n{}",
                self.observer.notes().names().collect::<Vec<_>>(),
                self.trace.join("\n")
            );
        }
        Ok(())
    }

    fn step(&mut self, step: Step) {
        self.trace.push(format!("{step:?}"));
        let at = usize::from;
        match step {
            Step::Call(side, call) => self.ends[at(side)].handle_call(self.now, call),
            Step::Send(side, bytes) => self.ends[at(side)].handle_send(self.now, bytes),
            Step::Fire(side, timer) => self.ends[at(side)].fire(self.now, timer),
            Step::Set(side, condition, holds) => self.ends[at(side)].set(condition, holds),
            Step::Wait(ms) => {
                let until = self.now + ms * MS;
                while let Some(due) = self.ends.iter().filter_map(Endpoint::poll_timeout).min() {
                    if due > until {
                        break;
                    }
                    self.now = self.now.max(due);
                    for end in &mut self.ends {
                        end.handle_timeout(self.now);
                    }
                    self.collect();
                }
                self.now = until;
            }
            Step::Deliver(index) if !self.wire.is_empty() => {
                let packet = self.wire.remove(index % self.wire.len());
                self.passed.push(packet);
                self.arrive(packet);
            }
            Step::Lose(index) if !self.wire.is_empty() => {
                let packet = self.wire.remove(index % self.wire.len());
                self.passed.push(packet);
            }
            Step::Duplicate(index) if !self.wire.is_empty() => {
                let packet = self.wire[index % self.wire.len()];
                self.wire.push(packet);
            }
            Step::Show(index) => {
                let count = self.wire.len() + self.passed.len();
                if count > 0 {
                    let index = index % count;
                    let packet = match self.wire.get_mut(index) {
                        Some(packet) => packet,
                        None => &mut self.passed[index - self.wire.len()],
                    };
                    packet.shown = true;
                    let packet = *packet;
                    self.show(packet);
                }
            }
            Step::Deliver(_) | Step::Lose(_) | Step::Duplicate(_) => {}
        }
        self.collect();
    }
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        4 => Just(Call::Close),
        3 => Just(Call::ShutdownWrite),
        1 => Just(Call::CloseUnread),
        1 => Just(Call::Abort),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let timer = prop_oneof![
        3 => Just(Timer::KeepaliveDue),
        1 => Just(Timer::KeepaliveGivenUp),
        1 => Just(Timer::RetransmissionGivenUp),
        2 => Just(Timer::WindowProbeDue),
        1 => Just(Timer::WindowProbeGivenUp),
    ];
    let condition = prop_oneof![
        Just(Condition::TableFull),
        Just(Condition::Rfc1337),
        Just(Condition::TooManyOrphans),
        Just(Condition::Linger2Negative),
        Just(Condition::QueueFull),
        Just(Condition::AbortOnOverflow),
    ];
    prop_oneof![
        // First in, first out most of the time.
        20 => Just(Step::Deliver(0)),
        4 => (0..6_usize).prop_map(Step::Deliver),
        4 => (0..6_usize).prop_map(Step::Lose),
        3 => (0..6_usize).prop_map(Step::Duplicate),
        10 => any::<usize>().prop_map(Step::Show),
        4 => (any::<bool>(), call()).prop_map(|(side, call)| Step::Call(side, call)),
        // Never just as much as the window, so that no FIN waits for room in it.
        4 => (any::<bool>(), 1..6_u32).prop_map(|(side, count)| Step::Send(side, count * 400)),
        2 => (any::<bool>(), timer).prop_map(|(side, timer)| Step::Fire(side, timer)),
        5 => prop_oneof![1..400_u64, 1_000..70_000_u64].prop_map(Step::Wait),
        1 => (any::<bool>(), condition, any::<bool>()).prop_map(|(side, condition, holds)| Step::Set(side, condition, holds)),
    ]
}

fn ends() -> impl Strategy<Value = ([Endpoint; 2], [Seq; 2])> {
    let end =
        || (any::<u32>(), any::<bool>(), prop_oneof![Just(u16::MAX), Just(1_001_u16)], 0..Stack::ALL.len());
    (end(), end()).prop_map(|(one, other)| {
        let ends = [one, other].map(|(iss, timestamps, window, stack)| {
            let end = Endpoint::new(&ALL[stack], Seq::new(iss)).with_window(window);
            if timestamps { end.with_timestamps(iss.rotate_left(7)) } else { end }
        });
        (ends, [Seq::new(one.0), Seq::new(other.0)])
    })
}

static ALL: [Stack; 9] = Stack::ALL;

/// How the two come together.
#[derive(Clone, Copy, Debug)]
enum Opening {
    /// The first step is a connect() of A, B listens.
    Connect,
    /// The handshake is complete.
    Complete,
    /// Both connect.
    Both,
    /// Nobody listens.
    Refused,
}

fn open((ends, first_iss): ([Endpoint; 2], [Seq; 2]), opening: Opening) -> Run {
    let mut run = Run::new(ends, first_iss);
    if matches!(opening, Opening::Connect | Opening::Complete) {
        run.step(Step::Call(true, Call::Listen));
    }
    run.step(Step::Call(false, Call::Connect));
    match opening {
        Opening::Both => run.step(Step::Call(true, Call::Connect)),
        Opening::Complete => {
            for _ in 0..3 {
                run.step(Step::Deliver(0));
            }
        }
        Opening::Connect | Opening::Refused => {}
    }
    run
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn the_true_state_is_in_the_set(
        ends in ends(),
        opening in prop_oneof![
            2 => Just(Opening::Connect),
            5 => Just(Opening::Complete),
            1 => Just(Opening::Both),
            1 => Just(Opening::Refused),
        ],
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let mut run = open(ends, opening);
        run.check()?;
        for step in steps {
            run.step(step);
            run.check()?;
        }
    }

    /// Every packet is shown as it leaves: what a tap at both ends would see.
    #[test]
    fn in_a_run_shown_in_full_too(ends in ends(), steps in prop::collection::vec(step(), 0..80)) {
        let mut run = open(ends, Opening::Complete);
        for step in steps {
            if !matches!(step, Step::Show(_)) {
                run.step(step);
            }
            run.show_all();
            run.check()?;
        }
    }
}

#[test]
fn a_run_shown_in_full_says_more_than_nothing() {
    // A deterministic run of 200 closes: how many states are left for each side at the end.
    let (mut left, mut ends_seen) = (0, StateSet::EMPTY);
    for case in 0..200_u32 {
        let numbers = [1, 2].map(|salt| Seq::new(case.wrapping_mul(7_919 * salt)));
        let mut run = open((numbers.map(|iss| Endpoint::new(&ALL[0], iss)), numbers), Opening::Complete);
        let mut steps = vec![Step::Send(false, 400), Step::Deliver(0), Step::Deliver(0)];
        let first = case % 2 == 1;
        steps.extend([Step::Call(first, Call::Close), Step::Deliver(0), Step::Deliver(0)]);
        if case % 5 == 0 {
            steps.push(Step::Send(!first, 400));
        }
        steps.extend([Step::Call(!first, Call::Close), Step::Deliver(0), Step::Deliver(0)]);
        for step in steps {
            run.step(step);
            run.show_all();
        }
        for side in Side::ALL {
            left += run.observer.states(side).len();
            ends_seen = ends_seen.with(run.truth(side));
            assert!(run.observer.states(side).has(run.truth(side)));
        }
    }
    assert!(left <= 900, "{left} states are left for 400 sides");
    assert!(ends_seen.has(State::TimeWait) && ends_seen.has(State::Closed), "{ends_seen}");
    assert_eq!(Kind::of(&Segment::default()), Kind::NoFlags);
}
