//! What the application asks for (RFC 9293 section 3.10.1 to 3.10.5; net/ipv4/tcp.c).

use super::super::{Call, Condition as If, Event, Reply, Row, TimerAction};
use super::{SYNCHRONIZED, on};
use crate::State::{
    CloseWait, Closed, Closing, Established, FinWait1, FinWait2, LastAck, Listen, SynReceived, SynSent,
    TimeWait,
};

const CONNECT: Event = Event::Call(Call::Connect);
const LISTEN: Event = Event::Call(Call::Listen);
const SEND: Event = Event::Call(Call::Send);
const SHUTDOWN: Event = Event::Call(Call::ShutdownWrite);
const CLOSE: Event = Event::Call(Call::Close);
const UNREAD: Event = Event::Call(Call::CloseUnread);
const ABORT: Event = Event::Call(Call::Abort);

const TCP_CLOSE: &str = "RFC 9293 section 3.10.4; net/ipv4/tcp.c tcp_close(), new_state[]";
const TCP_SHUTDOWN: &str = "RFC 9293 section 3.10.4; net/ipv4/tcp.c tcp_shutdown()";
const ORPHANS: &str = "net/ipv4/tcp.c tcp_close(), tcp_check_oom(): TCPAbortOnMemory";
const ON_CLOSE: &str = "RFC 2525 section 2.17; net/ipv4/tcp.c tcp_close(): TCPAbortOnClose";
const KILLED: &str = "net/ipv4/tcp.c tcp_abort(): ss -K, Linux 6.1 and later";
const ON_DATA: &str = "RFC 9293 section 3.10.5; net/ipv4/tcp.c tcp_disconnect(): TCPAbortOnData";
const ON_UNSENT: &str = "RFC 9293 section 3.10.5; net/ipv4/tcp.c tcp_disconnect(): snd_nxt != write_seq";

pub(super) const ROWS: [Row; 34] = [
    on(&[Closed], CONNECT, &[])
        .to(SynSent)
        .reply(Reply::Syn)
        .source("RFC 9293 section 3.10.1; net/ipv4/tcp_ipv4.c tcp_v4_connect()"),
    on(&[TimeWait], CONNECT, &[If::HadTimestamps])
        .to(SynSent)
        .reply(Reply::Syn)
        .timer(TimerAction::Stop)
        .source("RFC 6191; net/ipv4/tcp_ipv4.c tcp_twsk_unique(): tcp_tw_reuse, or a port chosen by bind()"),
    on(&[Closed], LISTEN, &[]).to(Listen).source("RFC 9293 section 3.10.1; net/ipv4/af_inet.c inet_listen()"),
    on(&[Established, CloseWait], SEND, &[]).reply(Reply::Data).source("RFC 9293 section 3.10.2"),
    on(&[SynSent], SEND, &[]).source("RFC 9293 section 3.10.2: queued until ESTABLISHED"),
    on(&[SynReceived], SEND, &[]).source("RFC 9293 section 3.10.2: queued until ESTABLISHED"),
    // shutdown(SHUT_WR).
    on(&[Established], SHUTDOWN, &[]).to(FinWait1).reply(Reply::Fin).source(TCP_SHUTDOWN),
    on(&[CloseWait], SHUTDOWN, &[]).to(LastAck).reply(Reply::Fin).source(TCP_SHUTDOWN),
    on(&[SynReceived], SHUTDOWN, &[])
        .source("RFC 9293 section 3.10.4; net/ipv4/tcp.c tcp_shutdown(): put off until ESTABLISHED"),
    on(&[SynSent], SHUTDOWN, &[]).to(Closed).source("net/ipv4/tcp.c tcp_shutdown(), new_state[]"),
    on(&[FinWait1, FinWait2, Closing, LastAck, TimeWait], SHUTDOWN, &[]).source(TCP_SHUTDOWN),
    // close(): the socket becomes an orphan.
    on(&[Listen], CLOSE, &[]).to(Closed).source(TCP_CLOSE),
    on(&[SynSent], CLOSE, &[]).to(Closed).source(TCP_CLOSE),
    on(&[Established, FinWait1, CloseWait, Closing, LastAck], CLOSE, &[If::TooManyOrphans])
        .to(Closed)
        .reply(Reply::Abort)
        .source(ORPHANS),
    on(&[SynReceived], CLOSE, &[]).to(FinWait1).reply(Reply::Fin).source(TCP_CLOSE),
    on(&[Established], CLOSE, &[]).to(FinWait1).reply(Reply::Fin).source(TCP_CLOSE),
    on(&[CloseWait], CLOSE, &[]).to(LastAck).reply(Reply::Fin).source(TCP_CLOSE),
    on(&[FinWait2], CLOSE, &[If::Linger2Negative])
        .to(Closed)
        .reply(Reply::Abort)
        .source("net/ipv4/tcp.c tcp_close(): TCPAbortOnLinger"),
    on(&[FinWait2], CLOSE, &[If::TableFull])
        .to(Closed)
        .source("net/ipv4/tcp_minisocks.c tcp_time_wait(): TCPTimeWaitOverflow"),
    // A mini-socket counts among TIME-WAITs, not among orphans. (With tcp_fin_timeout above 60 s it is an orphan first,
    // and too many of them reset it: not followed.)
    on(&[FinWait2], CLOSE, &[])
        .timer(TimerAction::FinWait2)
        .source("net/ipv4/tcp.c tcp_close(), tcp_fin_time()"),
    on(&[FinWait1, Closing, LastAck, TimeWait], CLOSE, &[]).source(TCP_CLOSE),
    // close() while something is unread.
    on(SYNCHRONIZED, UNREAD, &[]).to(Closed).reply(Reply::Abort).source(ON_CLOSE),
    on(&[SynReceived], UNREAD, &[]).to(Closed).reply(Reply::Abort).source(ON_CLOSE),
    on(&[TimeWait], UNREAD, &[]).source("net/ipv4/tcp.c tcp_close(): the socket of TIME-WAIT is another one"),
    // SO_LINGER 0. In CLOSING and LAST-ACK nothing is left to abort on the wire once everything was sent.
    on(&[Listen], ABORT, &[]).to(Closed).source(ON_DATA),
    on(&[SynSent], ABORT, &[]).to(Closed).source(ON_DATA),
    on(&[FinWait2], ABORT, &[If::Mini]).to(Closed).source(KILLED),
    on(&[Established, CloseWait, FinWait1, FinWait2], ABORT, &[])
        .to(Closed)
        .reply(Reply::Abort)
        .source(ON_DATA),
    on(&[SynReceived], ABORT, &[]).to(Closed).reply(Reply::Abort).source(ON_DATA),
    on(&[Closing, LastAck], ABORT, &[If::Orphan]).to(Closed).source(KILLED),
    on(&[Closing, LastAck], ABORT, &[If::Unsent]).to(Closed).reply(Reply::Abort).source(ON_UNSENT),
    on(&[Closing], ABORT, &[]).to(Closed).source(ON_DATA),
    on(&[LastAck], ABORT, &[]).to(Closed).source(ON_DATA),
    on(&[TimeWait], ABORT, &[]).to(Closed).source(KILLED),
];
