//! Every TCP socket of a network namespace, through `NETLINK_SOCK_DIAG` (net/ipv4/inet_diag.c).
//!
//! One request for both families walks the kernel's table once; where the kernel refuses that old form, one
//! request a family. Records are handed on as they arrive: nothing here keeps them.

use crate::netlink::{self, Message, Netlink, read_u32};
use evidence::SocketSeen;
use rustix::io::Errno;
use std::io;
use tcp::State;

/// Request of Linux 2.6 for both families at once: `TCPDIAG_GETSOCK` (net/core/sock_diag.c
/// `sock_diag_rcv_msg()`). The kernel walks its table for each request, so one is half the price of two.
const TCPDIAG_GETSOCK: u16 = 18;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const INET_DIAG_REQ_BYTECODE: u16 = 1;
const INET_DIAG_INFO: u16 = 2;
const INET_DIAG_BC_JMP: u8 = 1;
const INET_DIAG_BC_AUTO: u8 = 6;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;

/// Bytes of `struct inet_diag_msg` (include/uapi/linux/inet_diag.h).
const RECORD: usize = 72;
/// `idiag_timer` of a mini-socket.
const TIMER_TIME_WAIT: u8 = 3;
/// Place of `tcpi_last_ack_recv` in `struct tcp_info` (include/uapi/linux/tcp.h).
const INFO_LAST_ACK_RECV: usize = 56;

/// A state's number in the kernel (include/net/tcp_states.h) as a bit.
const fn bit(number: u32) -> u32 {
    1 << number
}

/// Which states are asked for, as the kernel's bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct States(u32);

impl States {
    /// Listening sockets.
    pub const LISTEN: Self = Self(bit(10));
    /// Sockets that are bound, and neither listen nor are connected (asked for since Linux 6.8).
    pub const BOUND: Self = Self(bit(13));
    /// All others: opening, open, closing, TIME-WAIT.
    pub const CONNECTED: Self = Self(0x1fff & !bit(10) & !bit(7));
    /// All others but TIME-WAIT.
    pub const LIVE: Self = Self(Self::CONNECTED.0 & !bit(6));
    /// Full sockets that wait for something: FIN-WAIT-1 and -2, CLOSE-WAIT, LAST-ACK, CLOSING.
    pub const WAITING: Self = Self(bit(4) | bit(5) | bit(8) | bit(9) | bit(11));
}

/// Which of the sockets in those states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// All.
    Any,
    /// Those whose local port the kernel chose.
    Chosen,
    /// Those whose process named the local port in bind().
    Named,
}

/// What is asked of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// States.
    pub states: States,
    /// Ports.
    pub ports: Ports,
    /// Also how long sockets have been idle (`TCP_INFO`).
    pub idle: bool,
}

impl Query {
    /// All sockets in these states.
    pub const fn all(states: States) -> Self {
        Self { states, ports: Ports::Any, idle: false }
    }

    /// The request for both families.
    fn for_both(self) -> Vec<u8> {
        // struct inet_diag_req: family, src_len, dst_len, ext; id; states; dbs.
        let mut body = vec![AF_INET, 0, 0, self.extensions()];
        body.extend_from_slice(&[0; 48]);
        body.extend_from_slice(&self.states.0.to_ne_bytes());
        body.extend_from_slice(&[0; 4]);
        self.add_filter(&mut body);
        netlink::request(TCPDIAG_GETSOCK, netlink::DUMP, &body)
    }

    /// The request for one family.
    fn for_family(self, family: u8) -> Vec<u8> {
        // struct inet_diag_req_v2: family, protocol, ext, pad; states; id.
        let mut body = vec![family, IPPROTO_TCP, self.extensions(), 0];
        body.extend_from_slice(&self.states.0.to_ne_bytes());
        body.extend_from_slice(&[0; 48]);
        self.add_filter(&mut body);
        netlink::request(SOCK_DIAG_BY_FAMILY, netlink::DUMP, &body)
    }

    fn extensions(self) -> u8 {
        if self.idle { 1 << (INET_DIAG_INFO - 1) } else { 0 }
    }

    /// A filter program (`struct inet_diag_bc_op`: code, step if yes, step if no). A socket passes if the
    /// program ends exactly behind its last operation.
    fn add_filter(self, body: &mut Vec<u8>) {
        let operations: &[(u8, u8, u16)] = match self.ports {
            Ports::Any => return,
            Ports::Chosen => &[(INET_DIAG_BC_AUTO, 4, 8)],
            // Chosen ports reach the jump, which leads beyond the end.
            Ports::Named => &[(INET_DIAG_BC_AUTO, 4, 8), (INET_DIAG_BC_JMP, 4, 8)],
        };
        let length = u16::try_from(4 + 4 * operations.len()).unwrap_or(4);
        body.extend_from_slice(&length.to_ne_bytes());
        body.extend_from_slice(&INET_DIAG_REQ_BYTECODE.to_ne_bytes());
        for (code, yes, no) in operations {
            body.extend_from_slice(&[*code, *yes]);
            body.extend_from_slice(&no.to_ne_bytes());
        }
    }
}

/// What a dump was like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dumped {
    /// Records that made no sense and were passed over.
    pub malformed: u64,
    /// The table changed in a way that may have hidden sockets.
    pub interrupted: bool,
}

impl Dumped {
    /// Adds what another dump was like.
    pub fn merge(&mut self, other: Self) {
        self.malformed += other.malformed;
        self.interrupted |= other.interrupted;
    }
}

/// The state of a dump after one datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More datagrams follow.
    More,
    /// That was the last.
    Done,
    /// The kernel refused or broke off, with this error number.
    Refused(i32),
}

/// Reads one datagram of a dump: each socket goes to `each`, with its idle time in milliseconds if that came.
pub fn parse(
    datagram: &[u8],
    dumped: &mut Dumped,
    each: &mut impl FnMut(&SocketSeen, Option<u32>),
) -> Progress {
    for message in netlink::messages(datagram) {
        match message {
            Message::Record { body, interrupted, .. } => {
                dumped.interrupted |= interrupted;
                match record(body) {
                    Some(socket) => each(&socket, idle_ms(&body[RECORD..])),
                    None => dumped.malformed += 1,
                }
            }
            Message::Done(Ok(())) => return Progress::Done,
            Message::Error(0) => {}
            Message::Done(Err(error)) | Message::Error(error) => return Progress::Refused(error),
            Message::Malformed => dumped.malformed += 1,
        }
    }
    Progress::More
}

#[inline]
fn record(body: &[u8]) -> Option<SocketSeen> {
    let body: &[u8; RECORD] = body.first_chunk()?;
    let state = State::from_linux(body[1])?;
    let wide = match body[0] {
        AF_INET => false,
        AF_INET6 => true,
        _ => return None,
    };
    Some(SocketSeen {
        state,
        mini: body[2] == TIMER_TIME_WAIT || state == State::TimeWait,
        local: address(wide, body, 8),
        local_port: u16::from_be_bytes([body[4], body[5]]),
        remote: address(wide, body, 24),
        remote_port: u16::from_be_bytes([body[6], body[7]]),
        left_ms: Some(read_u32(body, 52)),
        retransmits: body[3],
        receive_queue: read_u32(body, 56),
        send_queue: Some(read_u32(body, 60)),
        uid: Some(read_u32(body, 64)),
        inode: Some(read_u32(body, 68)),
        cookie: u64::from(read_u32(body, 44)) | u64::from(read_u32(body, 48)) << 32,
    })
}

/// An address as 128 bits, IPv4 mapped into IPv6.
#[inline]
fn address(wide: bool, body: &[u8; RECORD], at: usize) -> u128 {
    if wide {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&body[at..at + 16]);
        u128::from_be_bytes(bytes)
    } else {
        0xffff_0000_0000
            | u128::from(u32::from_be_bytes([body[at], body[at + 1], body[at + 2], body[at + 3]]))
    }
}

#[inline]
fn idle_ms(attributes: &[u8]) -> Option<u32> {
    if attributes.is_empty() {
        return None;
    }
    let (_, info) = netlink::attributes(attributes).find(|(kind, _)| *kind == INET_DIAG_INFO)?;
    info.get(INFO_LAST_ACK_RECV..INFO_LAST_ACK_RECV + 4).map(|bytes| read_u32(bytes, 0))
}

/// A connection to the kernel's socket tables, in the namespace of the thread that opened it.
pub struct SockDiag {
    netlink: Netlink,
    /// The kernel answers requests for both families; learnt from the first.
    both: bool,
}

impl SockDiag {
    /// Opens it.
    pub fn open() -> io::Result<Self> {
        Ok(Self { netlink: Netlink::open(rustix::net::netlink::SOCK_DIAG)?, both: true })
    }

    /// Asks, and hands every socket on as it arrives, with its idle time in milliseconds if that was asked.
    pub fn dump(
        &mut self,
        query: Query,
        mut each: impl FnMut(&SocketSeen, Option<u32>),
    ) -> io::Result<Dumped> {
        let mut dumped = Dumped::default();
        if self.both {
            match self.run(&query.for_both(), &mut dumped, &mut each) {
                Err(error) if is_unsupported(&error) => self.both = false,
                other => return other.map(|()| dumped),
            }
        }
        self.run(&query.for_family(AF_INET), &mut dumped, &mut each)?;
        match self.run(&query.for_family(AF_INET6), &mut dumped, &mut each) {
            // A kernel without IPv6.
            Err(error) if is_unsupported(&error) => Ok(dumped),
            other => other.map(|()| dumped),
        }
    }

    fn run(
        &mut self,
        request: &[u8],
        dumped: &mut Dumped,
        each: &mut impl FnMut(&SocketSeen, Option<u32>),
    ) -> io::Result<()> {
        self.netlink.send(request)?;
        loop {
            match parse(self.netlink.receive()?, dumped, each) {
                Progress::More => {}
                Progress::Done => return Ok(()),
                Progress::Refused(error) => return Err(io::Error::from_raw_os_error(error)),
            }
        }
    }
}

/// Errors by which kernels say that they do not know a request.
fn is_unsupported(error: &io::Error) -> bool {
    [Errno::NOENT, Errno::INVAL, Errno::OPNOTSUPP, Errno::AFNOSUPPORT, Errno::PROTONOSUPPORT]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn datagram(bytes: &[u8; RECORD], attributes: &[u8]) -> Vec<u8> {
        let mut body = bytes.to_vec();
        body.extend_from_slice(attributes);
        netlink::request(SOCK_DIAG_BY_FAMILY, 2, &body)
    }

    fn parsed(datagram: &[u8]) -> (Vec<(SocketSeen, Option<u32>)>, Dumped, Progress) {
        let (mut sockets, mut dumped) = (Vec::new(), Dumped::default());
        let progress = parse(datagram, &mut dumped, &mut |socket, idle| sockets.push((*socket, idle)));
        (sockets, dumped, progress)
    }

    fn time_wait() -> [u8; RECORD] {
        let mut record = [0; RECORD];
        record[..8].copy_from_slice(&[AF_INET, 6, 3, 0, 0x1f, 0x90, 0xc3, 0x50]);
        record[8..12].copy_from_slice(&[10, 0, 0, 1]);
        record[24..28].copy_from_slice(&[10, 0, 0, 2]);
        record[44..52].copy_from_slice(&7_u64.to_ne_bytes());
        record[52..56].copy_from_slice(&59_999_u32.to_ne_bytes());
        record
    }

    #[test]
    fn a_time_wait_record_is_read_field_by_field() {
        let (sockets, dumped, progress) = parsed(&datagram(&time_wait(), &[]));
        assert_eq!((dumped, progress), (Dumped::default(), Progress::More));
        let (socket, idle) = sockets[0];
        assert_eq!(
            (socket.state, socket.mini, socket.local_port, socket.remote_port, socket.left_ms, socket.cookie),
            (State::TimeWait, true, 8080, 50000, Some(59_999), 7)
        );
        assert_eq!(socket.local, std::net::Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped().to_bits());
        assert_eq!(idle, None);
    }

    #[test]
    fn idle_time_comes_from_tcp_info() {
        let mut info = vec![0_u8; 240];
        info[INFO_LAST_ACK_RECV..INFO_LAST_ACK_RECV + 4].copy_from_slice(&61_000_u32.to_ne_bytes());
        let mut attribute = 244_u16.to_ne_bytes().to_vec();
        attribute.extend_from_slice(&INET_DIAG_INFO.to_ne_bytes());
        attribute.extend_from_slice(&info);
        assert_eq!(parsed(&datagram(&time_wait(), &attribute)).0[0].1, Some(61_000));
        // An old kernel's shorter tcp_info, and a cut one.
        assert_eq!(parsed(&datagram(&time_wait(), &attribute[..40])).0[0].1, None);
    }

    #[test]
    fn strange_records_are_counted_not_guessed() {
        let mut unknown_state = time_wait();
        unknown_state[1] = 14;
        let mut unknown_family = time_wait();
        unknown_family[0] = 1;
        let mut bytes = datagram(&unknown_state, &[]);
        bytes.extend(datagram(&unknown_family, &[]));
        bytes.extend(netlink::request(SOCK_DIAG_BY_FAMILY, 2, &[0; 12]));
        bytes.extend(datagram(&time_wait(), &[]));
        let (sockets, dumped, _) = parsed(&bytes);
        assert_eq!((sockets.len(), dumped.malformed), (1, 3));
    }

    #[test]
    fn requests_have_the_sizes_the_kernel_checks() {
        assert_eq!(Query::all(States::LISTEN).for_both().len(), 16 + 60);
        assert_eq!(Query::all(States::LISTEN).for_family(AF_INET).len(), 16 + 56);
        let named = Query { ports: Ports::Named, ..Query::all(States::LIVE) }.for_both();
        assert_eq!(named.len(), 16 + 60 + 4 + 8);
        assert_eq!(&named[76..], [12, 0, 1, 0, 6, 4, 8, 0, 1, 4, 8, 0]);
    }

    proptest! {
        #[test]
        fn no_bytes_can_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..1024)) {
            parsed(&bytes);
        }

        #[test]
        fn a_damaged_datagram_never_yields_more_sockets(at in 0_usize..176, value in any::<u8>()) {
            let mut bytes = datagram(&time_wait(), &[]);
            bytes.extend(datagram(&time_wait(), &[]));
            bytes[at] = value;
            prop_assert!(parsed(&bytes).0.len() <= 2);
        }
    }
}
