//! Segments that meet a mini-socket: TIME-WAIT and an orphan's FIN-WAIT-2
//! (net/ipv4/tcp_minisocks.c `tcp_timewait_state_process()`, the same from 2.6.32 to 7.3 but for what the profiles
//! name). Numbered as in docs/close-machine.txt; measured on Linux 6.18.

use super::super::{Condition as If, Event, Kind, Reply, Row, TimerAction};
use super::on;
use crate::State::{Closed, FinWait2, SynReceived, TimeWait};

const RST: Event = Event::Segment(Kind::Rst);
const SYN: Event = Event::Segment(Kind::Syn);
const SYN_ACK: Event = Event::Segment(Kind::SynAck);
const FIN: Event = Event::Segment(Kind::Fin);
const DATA: Event = Event::Segment(Kind::Data);
const ACK: Event = Event::Segment(Kind::Ack);
const NO_FLAGS: Event = Event::Segment(Kind::NoFlags);

const MINI: &str = "net/ipv4/tcp_minisocks.c tcp_timewait_state_process()";
const NEW: &str = "RFC 6191 section 2; net/ipv4/tcp_minisocks.c tcp_timewait_state_process() TCP_TW_SYN";
const NOBODY: &str = "net/ipv4/tcp_ipv4.c tcp_v4_rcv(): TCP_TW_SYN falls through to TCP_TW_ACK";
const FULL: &str = "net/ipv4/tcp_ipv4.c tcp_v4_rcv(), tcp_input.c tcp_conn_request(): ListenOverflows";
const KILLS: &str = "RFC 1337 section 3; net/ipv4/tcp_minisocks.c tcp_timewait_state_process() kill";
const LATE: &str = "RFC 9293 section 3.10.7.4; net/ipv4/tcp_minisocks.c tcp_timewait_state_process()";
const HALF: &str = "net/ipv4/tcp_minisocks.c tcp_timewait_state_process(), tw_substate FIN_WAIT2";
const RESTART: TimerAction = TimerAction::TimeWait;

/// A SYN that TIME-WAIT takes for a new connection: the mini-socket goes, the listener answers.
const fn new(when: &'static [If], number: &'static str) -> Row {
    on(&[TimeWait], SYN, when)
        .to(SynReceived)
        .reply(Reply::SynAck)
        .timer(TimerAction::Stop)
        .source(NEW)
        .number(number)
}

/// A SYN that it takes for an old one.
const fn old(when: &'static [If], number: &'static str) -> Row {
    on(&[TimeWait], SYN, when).reply(Reply::LimitedAck).source(MINI).number(number)
}

pub(super) const ROWS: [Row; 58] = [
    old(&[If::PawsRejects], "4").timer(RESTART),
    // Measured: no limit on these.
    old(&[If::NewSyn, If::NoListener], "9").reply(Reply::Ack).source(NOBODY),
    on(&[TimeWait], SYN, &[If::NewSyn, If::RecycleRefuses])
        .to(Closed)
        .source("net/ipv4/tcp_input.c tcp_conn_request(), before 4.12: PAWSPassive")
        .number("10r"),
    on(&[TimeWait], SYN, &[If::NewSyn, If::WithFin])
        .to(Closed)
        .source("net/ipv4/tcp_input.c tcp_rcv_state_process(): LISTEN drops a SYN with FIN")
        .number("10f"),
    on(&[TimeWait], SYN, &[If::NewSyn, If::QueueFull]).to(Closed).source(FULL).number("10"),
    new(&[If::HadTimestamps, If::SeqAbove, If::TsNotOlder], "1"),
    new(&[If::HadTimestamps, If::SeqNotAbove, If::TsNewer], "2"),
    old(&[If::HadTimestamps, If::SeqNotAbove, If::TsEqual], "3"),
    new(&[If::HadTimestamps, If::SeqAbove, If::TsAbsent], "5"),
    old(&[If::HadTimestamps, If::SeqNotAbove, If::TsAbsent], "6"),
    new(&[If::NoTimestamps, If::SeqAbove], "7"),
    old(&[If::NoTimestamps, If::SeqNotAbove], "8"),
    // A timestamp that is older but too long ago for PAWS: the sequence number alone decides.
    new(&[If::SeqAbove], "1a"),
    old(&[], "3a"),
    on(&[TimeWait], SYN_ACK, &[]).reply(Reply::LimitedAck).timer(RESTART).source(MINI).number("11"),
    on(&[TimeWait], ACK, &[If::PawsRejects])
        .reply(Reply::LimitedAck)
        .timer(RESTART)
        .source(MINI)
        .number("14"),
    on(&[TimeWait], ACK, &[If::SeqAt]).timer(RESTART).source(MINI).number("12"),
    on(&[TimeWait], ACK, &[]).reply(Reply::LimitedAck).timer(RESTART).source(MINI).number("13"),
    on(&[TimeWait], FIN, &[If::NoAck, If::PawsRejects])
        .reply(Reply::LimitedAck)
        .timer(RESTART)
        .source(MINI)
        .number("15a"),
    on(&[TimeWait], FIN, &[If::NoAck]).reply(Reply::LimitedAck).source(MINI).number("15a"),
    on(&[TimeWait], FIN, &[If::SeqBelow]).reply(Reply::LimitedAck).timer(RESTART).source(LATE).number("15"),
    on(&[TimeWait], FIN, &[]).reply(Reply::LimitedAck).timer(RESTART).source(LATE).number("16"),
    on(&[TimeWait], DATA, &[If::NoAck, If::PawsRejects])
        .reply(Reply::LimitedAck)
        .timer(RESTART)
        .source(MINI)
        .number("16a"),
    on(&[TimeWait], DATA, &[If::NoAck]).reply(Reply::LimitedAck).source(MINI).number("16a"),
    on(&[TimeWait], DATA, &[]).reply(Reply::LimitedAck).timer(RESTART).source(LATE).number("16"),
    on(&[TimeWait], NO_FLAGS, &[If::PawsRejects])
        .reply(Reply::LimitedAck)
        .timer(RESTART)
        .source(MINI)
        .number("13a"),
    on(&[TimeWait], NO_FLAGS, &[If::SeqAt]).timer(RESTART).source(MINI).number("12a"),
    on(&[TimeWait], NO_FLAGS, &[]).reply(Reply::LimitedAck).source(MINI).number("13a"),
    on(&[TimeWait], RST, &[If::PawsRejects]).source(MINI).number("20"),
    on(&[TimeWait], RST, &[If::SeqNotAt]).source(MINI).number("19"),
    // Before 4.4 the ignored reset restarted the timer: the profile says so.
    on(&[TimeWait], RST, &[If::Rfc1337]).source(KILLS).number("18"),
    on(&[TimeWait], RST, &[]).to(Closed).source(KILLS).number("17"),
    // The orphan's FIN-WAIT-2. Its timer is never restarted.
    half(SYN, &[If::Mini, If::PawsRejects]).reply(Reply::LimitedAck).number("F2"),
    half(SYN, &[If::Mini, If::OutOfWindow]).reply(Reply::LimitedAck).number("F2"),
    half(SYN, &[If::Mini, If::SeqBelow]).number("F6"),
    half(SYN, &[If::Mini]).to(Closed).reply(Reply::Rst).number("F1"),
    half(SYN_ACK, &[If::Mini, If::PawsRejects]).reply(Reply::LimitedAck).number("F2"),
    half(SYN_ACK, &[If::Mini, If::OutOfWindow]).reply(Reply::LimitedAck).number("F2"),
    half(SYN_ACK, &[If::Mini, If::SeqBelow, If::OnlyFinNew])
        .to(TimeWait)
        .reply(Reply::Ack)
        .timer(RESTART)
        .number("F3"),
    half(SYN_ACK, &[If::Mini]).to(Closed).reply(Reply::Rst).number("F1"),
    half(FIN, &[If::Mini, If::PawsRejects]).reply(Reply::LimitedAck).number("F5"),
    half(FIN, &[If::Mini, If::OutOfWindow]).reply(Reply::LimitedAck).number("F5"),
    half(FIN, &[If::Mini, If::NoAck]).number("F6"),
    half(FIN, &[If::Mini, If::OnlyFinNew]).to(TimeWait).reply(Reply::Ack).timer(RESTART).number("F3"),
    half(FIN, &[If::Mini]).to(Closed).reply(Reply::Rst).number("F4"),
    half(DATA, &[If::Mini, If::PawsRejects]).reply(Reply::LimitedAck).number("F5"),
    half(DATA, &[If::Mini, If::OutOfWindow]).reply(Reply::LimitedAck).number("F5"),
    half(DATA, &[If::Mini, If::NoAck]).number("F6"),
    half(DATA, &[If::Mini]).to(Closed).reply(Reply::Rst).number("F4"),
    half(ACK, &[If::Mini, If::PawsRejects]).reply(Reply::LimitedAck).number("F5"),
    half(ACK, &[If::Mini, If::OutOfWindow]).reply(Reply::LimitedAck).number("F5"),
    half(ACK, &[If::Mini]).number("F6"),
    half(RST, &[If::Mini, If::PawsRejects]).reply(Reply::LimitedAck).number("F8"),
    half(RST, &[If::Mini, If::OutOfWindow]).reply(Reply::LimitedAck).number("F8"),
    half(RST, &[If::Mini]).to(Closed).number("F7"),
    half(NO_FLAGS, &[If::Mini, If::PawsRejects]).reply(Reply::LimitedAck).number("F5"),
    half(NO_FLAGS, &[If::Mini, If::OutOfWindow]).reply(Reply::LimitedAck).number("F5"),
    half(NO_FLAGS, &[If::Mini]).number("F6"),
];

const fn half(event: Event, when: &'static [If]) -> Row {
    on(&[FinWait2], event, when).source(HALF)
}
