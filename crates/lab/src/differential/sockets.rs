//! What the kernel knows of one connection: asked for by its tuple, without a dump.

use super::Tuple;
use kernel::netlink::{self, Message, Netlink};
use kernel::sock_diag::{self, Dumped, Progress};
use std::io;
use std::net::IpAddr;
use tcp::State;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const ENOENT: i32 = 2;

/// The kernel's socket of a tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its state.
    pub state: State,
    /// It is a mini-socket.
    pub mini: bool,
    /// Milliseconds until its timer, if it is a mini-socket.
    pub left_ms: u32,
}

/// Asks for sockets by their tuple and removes them (net/ipv4/inet_diag.c `inet_diag_find_one_icsk()`).
pub struct Sockets {
    netlink: Netlink,
}

impl Sockets {
    /// Of the network namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        Ok(Self { netlink: Netlink::open(rustix::net::netlink::SOCK_DIAG)? })
    }

    /// The socket of this tuple. None: there is none; a listener is not one.
    pub fn find(&mut self, tuple: Tuple) -> io::Result<Option<Found>> {
        self.netlink.send(&request(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, tuple))?;
        let mut found = None;
        let progress = sock_diag::parse(self.netlink.receive()?, &mut Dumped::default(), &mut |socket, _| {
            found =
                Some(Found { state: socket.state, mini: socket.mini, left_ms: socket.left_ms.unwrap_or(0) });
        });
        match progress {
            Progress::Refused(ENOENT) => Ok(None),
            Progress::Refused(error) => Err(io::Error::from_raw_os_error(error)),
            Progress::More | Progress::Done => Ok(found.filter(|found| found.state != State::Listen)),
        }
    }

    /// Removes the socket of this tuple, if there is one; a full socket sends a reset.
    pub fn destroy(&mut self, tuple: Tuple) -> io::Result<()> {
        if self.find(tuple)?.is_none() {
            return Ok(());
        }
        self.netlink.send(&request(SOCK_DESTROY, NLM_F_REQUEST | NLM_F_ACK, tuple))?;
        let error = netlink::messages(self.netlink.receive()?).find_map(|message| match message {
            Message::Error(error) => Some(error),
            _ => None,
        });
        match error {
            None | Some(0 | ENOENT) => Ok(()),
            Some(error) => Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// `struct inet_diag_req_v2` behind its header: family, protocol, extensions, states, `struct inet_diag_sockid`.
fn request(kind: u16, flags: u16, tuple: Tuple) -> Vec<u8> {
    let family = if tuple.local.is_ipv4() { AF_INET } else { AF_INET6 };
    let mut body = vec![family, IPPROTO_TCP, 0, 0];
    body.extend(u32::MAX.to_ne_bytes());
    body.extend(tuple.local.port().to_be_bytes());
    body.extend(tuple.peer.port().to_be_bytes());
    for address in [tuple.local.ip(), tuple.peer.ip()] {
        match address {
            IpAddr::V4(address) => {
                body.extend(address.octets());
                body.extend([0; 12]);
            }
            IpAddr::V6(address) => body.extend(address.octets()),
        }
    }
    body.extend([0; 4]);
    // INET_DIAG_NOCOOKIE: whichever socket it is.
    body.extend([0xff; 8]);
    netlink::request(kind, flags, &body)
}
