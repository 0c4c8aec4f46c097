//! Timers (RFC 9293 section 3.10.8; net/ipv4/tcp_timer.c).

use super::super::{Event, Reply, Row, Timer};
use super::on;
use crate::State::{
    CloseWait, Closed, Closing, Established, FinWait1, FinWait2, LastAck, SynReceived, SynSent, TimeWait,
};

const TIME_WAIT_ENDS: Event = Event::Timer(Timer::TimeWaitEnds);
const FIN_WAIT_2_ENDS: Event = Event::Timer(Timer::FinWait2Ends);
const DUE: Event = Event::Timer(Timer::RetransmissionDue);
const GIVEN_UP: Event = Event::Timer(Timer::RetransmissionGivenUp);
const KEEPALIVE: Event = Event::Timer(Timer::KeepaliveDue);
const SILENT: Event = Event::Timer(Timer::KeepaliveGivenUp);

const CLOSED_WINDOW: Event = Event::Timer(Timer::WindowProbeDue);
const STAYS_CLOSED: Event = Event::Timer(Timer::WindowProbeGivenUp);

const RETRANSMIT: &str = "RFC 9293 section 3.10.8; net/ipv4/tcp_timer.c tcp_retransmit_timer()";
const KEEP: &str = "RFC 9293 section 3.8.4; net/ipv4/tcp_timer.c tcp_keepalive_timer()";

pub(super) const ROWS: [Row; 12] = [
    on(&[TimeWait], TIME_WAIT_ENDS, &[])
        .to(Closed)
        .source("RFC 9293 section 3.10.8; net/ipv4/inet_timewait_sock.c tw_timer_handler()"),
    on(&[FinWait2], FIN_WAIT_2_ENDS, &[])
        .to(Closed)
        .source("net/ipv4/inet_timewait_sock.c tw_timer_handler(): tcp_fin_timeout"),
    on(&[SynSent], DUE, &[]).reply(Reply::Syn).source(RETRANSMIT),
    on(&[SynReceived], DUE, &[])
        .reply(Reply::SynAck)
        .source("net/ipv4/inet_connection_sock.c reqsk_timer_handler()"),
    on(&[Established, CloseWait], DUE, &[]).reply(Reply::Data).source(RETRANSMIT),
    on(&[FinWait1, Closing, LastAck], DUE, &[]).reply(Reply::Fin).source(RETRANSMIT),
    on(&[SynSent, SynReceived, Established, CloseWait, FinWait1, Closing, LastAck], GIVEN_UP, &[])
        .to(Closed)
        .source(
            "net/ipv4/tcp_timer.c tcp_write_timeout(): tcp_syn_retries, tcp_retries2, tcp_orphan_retries",
        ),
    on(&[Established, CloseWait, FinWait2], KEEPALIVE, &[]).reply(Reply::Probe).source(KEEP),
    on(&[Established, CloseWait, FinWait2], SILENT, &[]).to(Closed).reply(Reply::Abort).source(KEEP),
    on(&[FinWait1, Closing, LastAck], KEEPALIVE, &[])
        .source("net/ipv4/tcp_timer.c tcp_keepalive_timer(): put off while something is in flight"),
    on(&[Established, CloseWait, FinWait1, Closing, LastAck], CLOSED_WINDOW, &[])
        .reply(Reply::WindowProbe)
        .source("RFC 9293 section 3.8.6.1; net/ipv4/tcp_timer.c tcp_probe_timer()"),
    on(&[Established, CloseWait, FinWait1, Closing, LastAck], STAYS_CLOSED, &[])
        .to(Closed)
        .source("net/ipv4/tcp_timer.c tcp_probe_timer(): tcp_retries2, tcp_orphan_retries"),
];
