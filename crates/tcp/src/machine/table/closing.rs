//! Segments that meet a full socket of an open or closing connection (RFC 9293 section 3.10.7.4).

use super::super::{Condition as If, Event, Kind, Reply, Row, TimerAction};
use super::{SYNCHRONIZED, on};
use crate::State;
use crate::State::{CloseWait, Closed, Closing, Established, FinWait1, FinWait2, LastAck, TimeWait};

const RST: Event = Event::Segment(Kind::Rst);
const SYN: Event = Event::Segment(Kind::Syn);
const SYN_ACK: Event = Event::Segment(Kind::SynAck);
const FIN: Event = Event::Segment(Kind::Fin);
const DATA: Event = Event::Segment(Kind::Data);
const ACK: Event = Event::Segment(Kind::Ack);
const NO_FLAGS: Event = Event::Segment(Kind::NoFlags);

const VALID: &str = "RFC 9293 section 3.10.7.4; net/ipv4/tcp_input.c tcp_validate_incoming()";
const PAWS: &str = "RFC 7323 section 5.3; net/ipv4/tcp_input.c tcp_validate_incoming(): PAWSEstab";
const RESET: &str = "RFC 5961 section 3; net/ipv4/tcp_input.c tcp_reset()";
const CHALLENGE: &str = "RFC 5961 section 4; net/ipv4/tcp_input.c tcp_send_challenge_ack()";
const UNSENT: &str = "RFC 9293 section 3.10.7.4; net/ipv4/tcp_input.c tcp_ack()";
const PROCESS: &str = "RFC 9293 section 3.10.7.4; net/ipv4/tcp_input.c tcp_rcv_state_process()";
const TCP_FIN: &str = "RFC 9293 section 3.10.7.4; net/ipv4/tcp_input.c tcp_fin()";
const AFTER_CLOSE: &str =
    "RFC 1122 section 4.2.2.13; net/ipv4/tcp_input.c tcp_rcv_state_process(): TCPAbortOnData";
const GAP: &str = "RFC 9293 section 3.10.7.4; net/ipv4/tcp_input.c tcp_ofo_queue(), tcp_fin()";
const AFTER_FIN: &str = "net/ipv4/tcp_input.c tcp_rcv_state_process(): what follows a FIN is dropped, or resets if it begins before it";
const TOO_OLD: &str = "RFC 5961 section 5.2; net/ipv4/tcp_input.c tcp_ack(): TCP_TOO_OLD_ACK";
const RESET_OF_FIN: &str = "net/ipv4/tcp_input.c tcp_reset_check()";
const OVERFLOW: &str = "net/ipv4/tcp_minisocks.c tcp_time_wait(): TCPTimeWaitOverflow";
const LINGER2: &str = "net/ipv4/tcp_input.c tcp_rcv_state_process(): TCP_LINGER2 < 0, TCPAbortOnLinger";
const FLAGS: &str = "net/ipv4/tcp_input.c tcp_rcv_established(): TCP_NO_FLAGS";
const WAIT: TimerAction = TimerAction::TimeWait;
const HALF: TimerAction = TimerAction::FinWait2;

/// The peer's FIN was received, and the socket is a full one.
const HAD_FIN: &[State] = &[CloseWait, Closing, LastAck];

pub(super) const ROWS: [Row; 68] = [
    // macOS resets with the number of its FIN.
    on(&[CloseWait, Closing, LastAck], RST, &[If::SeqOfFin]).to(Closed).source(RESET_OF_FIN),
    on(SYNCHRONIZED, RST, &[If::OutOfWindow]).source(VALID),
    on(SYNCHRONIZED, RST, &[If::SeqAt]).to(Closed).source(RESET),
    on(SYNCHRONIZED, RST, &[]).reply(Reply::ChallengeAck).source(CHALLENGE),
    on(SYNCHRONIZED, SYN, &[]).reply(Reply::ChallengeAck).source(CHALLENGE),
    on(SYNCHRONIZED, SYN_ACK, &[]).reply(Reply::ChallengeAck).source(CHALLENGE),
    on(SYNCHRONIZED, NO_FLAGS, &[]).source(FLAGS),
    // Acknowledgements alone.
    on(SYNCHRONIZED, ACK, &[If::PawsRejects, If::SeqBelow])
        .source("net/ipv4/tcp_input.c tcp_validate_incoming(): PAWSOldAck"),
    on(SYNCHRONIZED, ACK, &[If::PawsRejects]).reply(Reply::LimitedAck).source(PAWS),
    on(SYNCHRONIZED, ACK, &[If::OutOfWindow]).reply(Reply::LimitedAck).source(VALID),
    on(SYNCHRONIZED, ACK, &[If::AckTooOld]).reply(Reply::ChallengeAck).source(TOO_OLD),
    on(&[Established], ACK, &[If::AckRefused, If::QuietAboutUnsent]).source(UNSENT),
    on(SYNCHRONIZED, ACK, &[If::AckRefused]).reply(Reply::ChallengeAck).source(UNSENT),
    on(&[FinWait1], ACK, &[If::AcksFin, If::Orphan, If::Linger2Negative])
        .to(Closed)
        .reply(Reply::Rst)
        .source(LINGER2),
    on(&[FinWait1], ACK, &[If::AcksFin, If::Orphan, If::TableFull]).to(Closed).source(OVERFLOW),
    on(&[FinWait1], ACK, &[If::AcksFin]).to(FinWait2).timer(HALF).source(PROCESS),
    on(&[Closing], ACK, &[If::AcksFin, If::TableFull]).to(Closed).source(OVERFLOW),
    on(&[Closing], ACK, &[If::AcksFin]).to(TimeWait).timer(WAIT).source(PROCESS),
    on(&[LastAck], ACK, &[If::AcksFin]).to(Closed).source(PROCESS),
    on(SYNCHRONIZED, ACK, &[]).source(PROCESS),
    // Data.
    on(SYNCHRONIZED, DATA, &[If::NoAck]).source(FLAGS),
    on(SYNCHRONIZED, DATA, &[If::PawsRejects]).reply(Reply::LimitedAck).source(PAWS),
    on(SYNCHRONIZED, DATA, &[If::OutOfWindow]).reply(Reply::LimitedAck).source(VALID),
    on(SYNCHRONIZED, DATA, &[If::AckTooOld]).reply(Reply::ChallengeAck).source(TOO_OLD),
    on(&[Established], DATA, &[If::AckRefused, If::QuietAboutUnsent]).source(UNSENT),
    on(SYNCHRONIZED, DATA, &[If::AckRefused]).reply(Reply::ChallengeAck).source(UNSENT),
    on(&[FinWait1, FinWait2], DATA, &[If::Orphan, If::NewData])
        .to(Closed)
        .reply(Reply::Rst)
        .source(AFTER_CLOSE),
    on(&[FinWait1], DATA, &[If::AcksFin, If::Orphan, If::Linger2Negative])
        .to(Closed)
        .reply(Reply::Rst)
        .source(LINGER2),
    on(&[FinWait1], DATA, &[If::AcksFin, If::Orphan, If::TableFull]).to(Closed).source(OVERFLOW),
    on(&[FinWait1], DATA, &[If::AcksFin, If::Orphan]).to(FinWait2).timer(HALF).source(PROCESS),
    on(&[FinWait1], DATA, &[If::AcksFin, If::InOrder, If::FinHeld, If::TableFull])
        .to(Closed)
        .reply(Reply::Ack)
        .source(OVERFLOW),
    on(&[FinWait1], DATA, &[If::AcksFin, If::InOrder, If::FinHeld])
        .to(TimeWait)
        .reply(Reply::Ack)
        .timer(WAIT)
        .source(GAP),
    on(&[FinWait1], DATA, &[If::AcksFin]).to(FinWait2).reply(Reply::Ack).source(PROCESS),
    on(&[FinWait1], DATA, &[If::InOrder, If::FinHeld]).to(Closing).reply(Reply::Ack).source(GAP),
    on(&[FinWait2], DATA, &[If::InOrder, If::FinHeld, If::TableFull])
        .to(Closed)
        .reply(Reply::Ack)
        .source(OVERFLOW),
    on(&[FinWait2], DATA, &[If::InOrder, If::FinHeld]).to(TimeWait).reply(Reply::Ack).timer(WAIT).source(GAP),
    on(&[Established], DATA, &[If::InOrder, If::FinHeld]).to(CloseWait).reply(Reply::Ack).source(GAP),
    on(&[Closing], DATA, &[If::AcksFin, If::TableFull]).to(Closed).source(OVERFLOW),
    on(&[Closing], DATA, &[If::AcksFin]).to(TimeWait).timer(WAIT).source(PROCESS),
    on(&[LastAck], DATA, &[If::AcksFin]).to(Closed).source(PROCESS),
    on(HAD_FIN, DATA, &[If::SeqBelow, If::NewData]).to(Closed).reply(Reply::Rst).source(AFTER_FIN),
    on(HAD_FIN, DATA, &[If::SeqBelow]).reply(Reply::Ack).source(PROCESS),
    on(HAD_FIN, DATA, &[]).source(AFTER_FIN),
    on(&[Established, FinWait1, FinWait2], DATA, &[]).reply(Reply::Ack).source(PROCESS),
    // The peer's FIN, with or without data before it.
    on(SYNCHRONIZED, FIN, &[If::NoAck]).source(FLAGS),
    on(SYNCHRONIZED, FIN, &[If::PawsRejects]).reply(Reply::LimitedAck).source(PAWS),
    on(SYNCHRONIZED, FIN, &[If::OutOfWindow]).reply(Reply::LimitedAck).source(VALID),
    on(SYNCHRONIZED, FIN, &[If::AckTooOld]).reply(Reply::ChallengeAck).source(TOO_OLD),
    on(&[Established], FIN, &[If::AckRefused, If::QuietAboutUnsent]).source(UNSENT),
    on(SYNCHRONIZED, FIN, &[If::AckRefused]).reply(Reply::ChallengeAck).source(UNSENT),
    on(&[FinWait1, FinWait2], FIN, &[If::Orphan, If::NewData])
        .to(Closed)
        .reply(Reply::Rst)
        .source(AFTER_CLOSE),
    on(&[FinWait1], FIN, &[If::AcksFin, If::Orphan, If::Linger2Negative])
        .to(Closed)
        .reply(Reply::Rst)
        .source(LINGER2),
    on(&[FinWait1], FIN, &[If::AcksFin, If::InOrder, If::TableFull])
        .to(Closed)
        .reply(Reply::Ack)
        .source(OVERFLOW),
    on(&[FinWait1], FIN, &[If::AcksFin, If::InOrder])
        .to(TimeWait)
        .reply(Reply::Ack)
        .timer(WAIT)
        .source(TCP_FIN),
    on(&[FinWait1], FIN, &[If::AcksFin]).to(FinWait2).reply(Reply::Ack).timer(HALF).source(PROCESS),
    on(&[FinWait1], FIN, &[If::InOrder]).to(Closing).reply(Reply::Ack).source(TCP_FIN),
    on(&[FinWait1], FIN, &[]).reply(Reply::Ack).source(PROCESS),
    on(&[FinWait2], FIN, &[If::InOrder, If::TableFull]).to(Closed).reply(Reply::Ack).source(OVERFLOW),
    on(&[FinWait2], FIN, &[If::InOrder]).to(TimeWait).reply(Reply::Ack).timer(WAIT).source(TCP_FIN),
    on(&[FinWait2], FIN, &[]).reply(Reply::Ack).source(PROCESS),
    on(&[Established], FIN, &[If::InOrder]).to(CloseWait).reply(Reply::Ack).source(TCP_FIN),
    on(&[Established], FIN, &[]).reply(Reply::Ack).source(PROCESS),
    on(&[Closing], FIN, &[If::AcksFin, If::TableFull]).to(Closed).source(OVERFLOW),
    on(&[Closing], FIN, &[If::AcksFin]).to(TimeWait).timer(WAIT).source(PROCESS),
    on(&[LastAck], FIN, &[If::AcksFin]).to(Closed).source(PROCESS),
    on(HAD_FIN, FIN, &[If::SeqBelow, If::NewData]).to(Closed).reply(Reply::Rst).source(AFTER_FIN),
    on(HAD_FIN, FIN, &[If::SeqBelow]).reply(Reply::Ack).source(PROCESS),
    on(HAD_FIN, FIN, &[]).source(AFTER_FIN),
];
