//! Which counters move when a row of the close machine applies.

use super::counters::Counter;
use super::host::Host;
use tcp::machine::{Call, Condition, Event, Reply, Row, Timer};
use tcp::{Flags, Segment, State};

/// Moves the counters that the kernel moves when this row applies.
pub(super) fn account(
    host: &mut Host,
    row: &Row,
    before: State,
    after: State,
    segment: Option<&Segment>,
    answered: bool,
) {
    let mini = matches!(before, State::TimeWait);
    for condition in row.when {
        match condition {
            Condition::PawsRejects if mini => host.count(Counter::PawsTimeWait),
            Condition::PawsRejects if !row.when.contains(&Condition::Mini) => host.count(Counter::PawsEstab),
            Condition::QueueFull => {
                host.count(Counter::ListenOverflows);
                host.count(Counter::ListenDrops);
            }
            Condition::RecycleRefuses => {
                host.count(Counter::PawsPassive);
                host.count(Counter::ListenDrops);
            }
            Condition::TableFull => host.count(Counter::TimeWaitOverflow),
            Condition::TooManyOrphans => host.count(Counter::AbortOnMemory),
            Condition::NewData if row.when.contains(&Condition::Orphan) => host.count(Counter::AbortOnData),
            _ => {}
        }
    }
    if matches!(row.reply, Reply::LimitedAck | Reply::ChallengeAck) {
        let is_syn = segment.is_some_and(|segment| segment.flags.has(Flags::SYN));
        let is_reset = segment.is_some_and(|segment| segment.flags.has(Flags::RST));
        match before {
            State::TimeWait if !answered => host.count(Counter::SkippedTimeWait),
            State::FinWait2 if !answered && row.when.contains(&Condition::Mini) => {
                host.count(Counter::SkippedFinWait2);
            }
            State::TimeWait => {}
            _ if is_syn => {
                host.count(Counter::SynChallenge);
                host.count(Counter::ChallengeAck);
            }
            _ if is_reset => host.count(Counter::ChallengeAck),
            _ => {}
        }
    }
    match row.on {
        Event::Call(Call::CloseUnread) if row.reply == Reply::Abort => host.count(Counter::AbortOnClose),
        // net/ipv4/tcp_timer.c tcp_retransmit_timer() counts the timeout before it asks whether that was the last.
        Event::Timer(Timer::RetransmissionGivenUp) => {
            host.count(Counter::Timeouts);
            host.count(Counter::AbortOnTimeout);
        }
        Event::Timer(Timer::KeepaliveGivenUp | Timer::WindowProbeGivenUp) => {
            host.count(Counter::AbortOnTimeout);
        }
        Event::Timer(Timer::KeepaliveDue) if answered => host.count(Counter::KeepAlive),
        _ => {}
    }
    match (before, after) {
        (State::Closed, State::SynSent) => host.count(Counter::ActiveOpens),
        (State::SynReceived, State::Established | State::CloseWait) => host.count(Counter::PassiveOpens),
        // Not by close(): net/ipv4/tcp.c tcp_done() counts, tcp_close_state() does not.
        (State::SynSent | State::SynReceived, State::Closed) if matches!(row.on, Event::Call(_)) => {}
        (State::SynSent | State::SynReceived, State::Closed) => host.count(Counter::AttemptFails),
        (State::Established | State::CloseWait, State::Closed) => host.count(Counter::EstabResets),
        _ => {}
    }
}
