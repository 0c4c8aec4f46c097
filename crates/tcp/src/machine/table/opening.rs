//! Segments before a connection is open (RFC 9293 sections 3.10.7.1 to 3.10.7.4).

use super::super::{Condition as If, Event, Kind, Reply, Row};
use super::on;
use crate::State::{CloseWait, Closed, Established, FinWait1, Listen, SynReceived, SynSent};

const RST: Event = Event::Segment(Kind::Rst);
const SYN: Event = Event::Segment(Kind::Syn);
const SYN_ACK: Event = Event::Segment(Kind::SynAck);
const FIN: Event = Event::Segment(Kind::Fin);
const DATA: Event = Event::Segment(Kind::Data);
const ACK: Event = Event::Segment(Kind::Ack);
const NO_FLAGS: Event = Event::Segment(Kind::NoFlags);

const CLOSED: &str = "RFC 9293 section 3.10.7.1; net/ipv4/tcp_ipv4.c tcp_v4_rcv() no_tcp_socket";
const LISTENS: &str = "RFC 9293 section 3.10.7.2; net/ipv4/tcp_input.c tcp_rcv_state_process()";
const REQUEST: &str = "RFC 9293 section 3.10.7.2; net/ipv4/tcp_input.c tcp_conn_request()";
const FULL: &str = "net/ipv4/tcp_input.c tcp_conn_request(): ListenOverflows";
const RECYCLE: &str = "net/ipv4/tcp_input.c tcp_conn_request(), before 4.12: PAWSPassive";
const SENT: &str = "RFC 9293 section 3.10.7.3; net/ipv4/tcp_input.c tcp_rcv_synsent_state_process()";
const RECEIVED: &str = "RFC 9293 section 3.10.7.4; net/ipv4/tcp_minisocks.c tcp_check_req()";
const OVERFLOW: &str = "net/ipv4/tcp_minisocks.c tcp_check_req(): tcp_abort_on_overflow";
const ORPHANED: &str = "net/ipv4/tcp_ipv4.c tcp_v4_rcv(): a request whose listener is gone is dropped";
const EARLY: &str = "net/ipv4/tcp_input.c tcp_rcv_state_process(), SYN_RECV: tcp_shutdown() was put off";
const CROSSED: &str = "RFC 9293 section 3.5 figure 7; net/ipv4/tcp_input.c tcp_validate_incoming()";

pub(super) const ROWS: [Row; 100] = [
    // No connection.
    on(&[Closed], RST, &[]).source(CLOSED),
    on(&[Closed], SYN, &[If::NoListener]).reply(Reply::Rst).source(CLOSED),
    on(&[Closed, Listen], SYN, &[If::WithFin]).source(LISTENS),
    on(&[Closed, Listen], SYN, &[If::RecycleRefuses]).source(RECYCLE),
    on(&[Closed, Listen], SYN, &[If::QueueFull]).source(FULL),
    on(&[Closed, Listen], SYN, &[]).to(SynReceived).reply(Reply::SynAck).source(REQUEST),
    on(&[Closed], SYN_ACK, &[]).reply(Reply::Rst).source(CLOSED),
    on(&[Closed], FIN, &[If::Listener, If::NoAck]).source(LISTENS),
    on(&[Closed], FIN, &[]).reply(Reply::Rst).source(CLOSED),
    on(&[Closed], DATA, &[If::Listener, If::NoAck]).source(LISTENS),
    on(&[Closed], DATA, &[]).reply(Reply::Rst).source(CLOSED),
    on(&[Closed], ACK, &[]).reply(Reply::Rst).source(CLOSED),
    on(&[Closed], NO_FLAGS, &[If::Listener]).source(LISTENS),
    on(&[Closed], NO_FLAGS, &[]).reply(Reply::Rst).source(CLOSED),
    on(&[Listen], RST, &[]).source(LISTENS),
    on(&[Listen], SYN_ACK, &[]).reply(Reply::Rst).source(LISTENS),
    on(&[Listen], FIN, &[If::NoAck]).source(LISTENS),
    on(&[Listen], FIN, &[]).reply(Reply::Rst).source(LISTENS),
    on(&[Listen], DATA, &[If::NoAck]).source(LISTENS),
    on(&[Listen], DATA, &[]).reply(Reply::Rst).source(LISTENS),
    on(&[Listen], ACK, &[]).reply(Reply::Rst).source(LISTENS),
    on(&[Listen], NO_FLAGS, &[]).source(LISTENS),
    // Our SYN is out. To an acknowledgement that is not of it, the reset takes that very number: it is what ends
    // a TIME-WAIT on the other side (row 17).
    on(&[SynSent], RST, &[If::NoAck]).source(SENT),
    on(&[SynSent], RST, &[If::AckRefused]).source(SENT),
    on(&[SynSent], RST, &[]).to(Closed).source(SENT),
    // After connect() took a TIME-WAIT over, whose timestamp it remembers.
    on(&[SynSent], SYN, &[If::PawsRejects])
        .source("net/ipv4/tcp_input.c tcp_rcv_synsent_state_process(): PAWS check"),
    on(&[SynSent], SYN, &[]).to(SynReceived).reply(Reply::SynAck).source(SENT),
    on(&[SynSent], SYN_ACK, &[If::AckRefused]).reply(Reply::Rst).source(SENT),
    on(&[SynSent], SYN_ACK, &[]).to(Established).reply(Reply::Ack).source(SENT),
    on(&[SynSent], FIN, &[If::NoAck]).source(SENT),
    on(&[SynSent], FIN, &[If::AckRefused]).reply(Reply::Rst).source(SENT),
    on(&[SynSent], FIN, &[]).source(SENT),
    on(&[SynSent], DATA, &[If::NoAck]).source(SENT),
    on(&[SynSent], DATA, &[If::AckRefused]).reply(Reply::Rst).source(SENT),
    on(&[SynSent], DATA, &[]).source(SENT),
    on(&[SynSent], ACK, &[If::AckRefused]).reply(Reply::Rst).source(SENT),
    on(&[SynSent], ACK, &[]).source(SENT),
    on(&[SynSent], NO_FLAGS, &[]).source(SENT),
    // SYNs went both ways. RFC 9293 returns to LISTEN on a reset; here a listener is another socket. A listener's
    // request is judged before there is a socket for it; where SYNs crossed there is one, and its rules hold.
    on(&[SynReceived], RST, &[If::Request, If::NoListener]).to(Closed).source(ORPHANED),
    on(&[SynReceived], SYN, &[If::Request, If::NoListener]).to(Closed).reply(Reply::Rst).source(ORPHANED),
    on(&[SynReceived], SYN_ACK, &[If::Request, If::NoListener]).to(Closed).reply(Reply::Rst).source(ORPHANED),
    on(&[SynReceived], FIN, &[If::Request, If::NoListener]).to(Closed).reply(Reply::Rst).source(ORPHANED),
    on(&[SynReceived], DATA, &[If::Request, If::NoListener]).to(Closed).reply(Reply::Rst).source(ORPHANED),
    on(&[SynReceived], ACK, &[If::Request, If::NoListener]).to(Closed).reply(Reply::Rst).source(ORPHANED),
    on(&[SynReceived], NO_FLAGS, &[If::Request, If::NoListener])
        .to(Closed)
        .reply(Reply::Rst)
        .source(ORPHANED),
    on(&[SynReceived], RST, &[If::Request, If::PawsRejects]).source(RECEIVED),
    on(&[SynReceived], RST, &[If::OutOfWindow]).source(RECEIVED),
    on(&[SynReceived], RST, &[If::SeqAt]).to(Closed).source(RECEIVED),
    on(&[SynReceived], RST, &[]).reply(Reply::ChallengeAck).source(CROSSED),
    on(&[SynReceived], SYN, &[If::Request, If::PawsRejects]).reply(Reply::LimitedAck).source(RECEIVED),
    on(&[SynReceived], SYN, &[If::Request, If::SynAgain]).reply(Reply::SynAck).source(RECEIVED),
    on(&[SynReceived], SYN, &[If::Request, If::OutOfWindow]).reply(Reply::LimitedAck).source(RECEIVED),
    on(&[SynReceived], SYN, &[If::Request]).to(Closed).reply(Reply::Rst).source(RECEIVED),
    on(&[SynReceived], SYN, &[]).reply(Reply::ChallengeAck).source(CROSSED),
    on(&[SynReceived], SYN_ACK, &[If::Request, If::AckRefused]).reply(Reply::Rst).source(RECEIVED),
    on(&[SynReceived], SYN_ACK, &[If::Request, If::PawsRejects]).reply(Reply::LimitedAck).source(RECEIVED),
    on(&[SynReceived], SYN_ACK, &[If::Request, If::OutOfWindow]).reply(Reply::LimitedAck).source(RECEIVED),
    on(&[SynReceived], SYN_ACK, &[If::Request]).to(Closed).reply(Reply::Rst).source(RECEIVED),
    on(&[SynReceived], SYN_ACK, &[If::PawsRejects]).reply(Reply::ChallengeAck).source(CROSSED),
    on(&[SynReceived], SYN_ACK, &[If::AckRefused]).reply(Reply::ChallengeAck).source(CROSSED),
    on(&[SynReceived], SYN_ACK, &[If::SynAgain, If::ShutdownPending])
        .to(FinWait1)
        .reply(Reply::Ack)
        .source(EARLY),
    on(&[SynReceived], SYN_ACK, &[If::SynAgain]).to(Established).reply(Reply::Ack).source(CROSSED),
    on(&[SynReceived], SYN_ACK, &[]).reply(Reply::ChallengeAck).source(CROSSED),
    on(&[SynReceived], FIN, &[If::Request, If::AckRefused]).reply(Reply::Rst).source(RECEIVED),
    on(&[SynReceived], FIN, &[If::Request, If::PawsRejects]).reply(Reply::LimitedAck).source(RECEIVED),
    on(&[SynReceived], FIN, &[If::Request, If::OutOfWindow]).reply(Reply::LimitedAck).source(RECEIVED),
    on(&[SynReceived], DATA, &[If::Request, If::AckRefused]).reply(Reply::Rst).source(RECEIVED),
    on(&[SynReceived], DATA, &[If::Request, If::PawsRejects]).reply(Reply::LimitedAck).source(RECEIVED),
    on(&[SynReceived], DATA, &[If::Request, If::OutOfWindow]).reply(Reply::LimitedAck).source(RECEIVED),
    on(&[SynReceived], ACK, &[If::Request, If::AckRefused]).reply(Reply::Rst).source(RECEIVED),
    on(&[SynReceived], ACK, &[If::Request, If::PawsRejects]).reply(Reply::LimitedAck).source(RECEIVED),
    on(&[SynReceived], ACK, &[If::Request, If::OutOfWindow]).reply(Reply::LimitedAck).source(RECEIVED),
    on(&[SynReceived], FIN, &[If::NoAck]).source(RECEIVED),
    on(&[SynReceived], FIN, &[If::PawsRejects]).reply(Reply::LimitedAck).source(RECEIVED),
    on(&[SynReceived], FIN, &[If::OutOfWindow]).reply(Reply::LimitedAck).source(RECEIVED),
    on(&[SynReceived], FIN, &[If::AckRefused]).reply(Reply::Rst).source(RECEIVED),
    on(&[SynReceived], FIN, &[If::Request, If::QueueFull, If::AbortOnOverflow])
        .to(Closed)
        .reply(Reply::Rst)
        .source(OVERFLOW),
    on(&[SynReceived], FIN, &[If::Request, If::QueueFull]).source(FULL),
    on(&[SynReceived], FIN, &[If::ShutdownPending]).to(FinWait1).source(EARLY),
    on(&[SynReceived], FIN, &[If::InOrder]).to(CloseWait).reply(Reply::Ack).source(RECEIVED),
    on(&[SynReceived], FIN, &[]).to(Established).reply(Reply::Ack).source(RECEIVED),
    on(&[SynReceived], DATA, &[If::NoAck]).source(RECEIVED),
    on(&[SynReceived], ACK, &[If::PawsRejects, If::SeqBelow]).source(CROSSED),
    on(&[SynReceived], ACK, &[If::PawsRejects]).reply(Reply::LimitedAck).source(RECEIVED),
    on(&[SynReceived], DATA, &[If::PawsRejects]).reply(Reply::LimitedAck).source(RECEIVED),
    on(&[SynReceived], ACK, &[If::OutOfWindow]).reply(Reply::LimitedAck).source(RECEIVED),
    on(&[SynReceived], DATA, &[If::OutOfWindow]).reply(Reply::LimitedAck).source(RECEIVED),
    on(&[SynReceived], ACK, &[If::AckRefused]).reply(Reply::Rst).source(RECEIVED),
    on(&[SynReceived], DATA, &[If::AckRefused]).reply(Reply::Rst).source(RECEIVED),
    on(&[SynReceived], ACK, &[If::Request, If::QueueFull, If::AbortOnOverflow])
        .to(Closed)
        .reply(Reply::Rst)
        .source(OVERFLOW),
    on(&[SynReceived], DATA, &[If::Request, If::QueueFull, If::AbortOnOverflow])
        .to(Closed)
        .reply(Reply::Rst)
        .source(OVERFLOW),
    on(&[SynReceived], ACK, &[If::Request, If::QueueFull]).source(FULL),
    on(&[SynReceived], DATA, &[If::Request, If::QueueFull]).source(FULL),
    on(&[SynReceived], ACK, &[If::ShutdownPending]).to(FinWait1).source(EARLY),
    on(&[SynReceived], DATA, &[If::ShutdownPending]).to(FinWait1).source(EARLY),
    on(&[SynReceived], ACK, &[]).to(Established).source(RECEIVED),
    on(&[SynReceived], DATA, &[]).to(Established).reply(Reply::Ack).source(RECEIVED),
    on(&[SynReceived], NO_FLAGS, &[If::Request, If::PawsRejects]).reply(Reply::LimitedAck).source(RECEIVED),
    on(&[SynReceived], NO_FLAGS, &[If::Request, If::OutOfWindow]).reply(Reply::LimitedAck).source(RECEIVED),
    on(&[SynReceived], NO_FLAGS, &[]).source(RECEIVED),
];
