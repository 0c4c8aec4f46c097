//! The floor of every reader of sockets: ask the kernel for all of them, receive the answer, and drop it.

use anyhow::bail;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::os::fd::OwnedFd;
use std::process::ExitCode;

/// `NLM_F_REQUEST | NLM_F_DUMP` (linux/netlink.h).
const DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// linux/inet_diag.h: one walk over the tables for both families, which ss uses too.
const TCPDIAG_GETSOCK: u16 = 18;
/// linux/sock_diag.h: one walk for one family.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// Bytes of a header, and of a NLMSG_DONE message: the header and a status.
const HEADER: usize = 16;
const DONE: usize = 20;
/// All states: 1 to 12 (include/net/tcp_states.h).
const ALL_STATES: u32 = 0x1fff & !1;

/// Receives every TCP socket of this namespace with one request, or with one for each family.
pub(crate) fn run(each_family: bool) -> anyhow::Result<ExitCode> {
    let flags = SocketFlags::CLOEXEC;
    let protocol = Some(netlink::SOCK_DIAG);
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 0))?;
    let bytes = if each_family {
        receive(&socket, &by_family(2))? + receive(&socket, &by_family(10))?
    } else {
        receive(&socket, &both_families())?
    };
    println!("{bytes}");
    Ok(ExitCode::SUCCESS)
}

/// `struct inet_diag_req_v2`: family, protocol, extensions, padding, states, and a socket id of 48 bytes.
fn by_family(family: u8) -> Vec<u8> {
    let mut body = vec![family, 6, 0, 0];
    body.extend(ALL_STATES.to_ne_bytes());
    body.resize(56, 0);
    request(SOCK_DIAG_BY_FAMILY, &body)
}

/// `struct inet_diag_req`: family, two lengths, extensions, a socket id of 48 bytes, states, and `dbs`.
fn both_families() -> Vec<u8> {
    let mut body = vec![0; 52];
    body.extend(ALL_STATES.to_ne_bytes());
    body.extend([0; 4]);
    request(TCPDIAG_GETSOCK, &body)
}

fn request(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut message = u32::try_from(HEADER + body.len()).unwrap_or(0).to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(DUMP.to_ne_bytes());
    message.extend(1_u32.to_ne_bytes());
    message.extend(0_u32.to_ne_bytes());
    message.extend(body);
    message
}

/// Sends a request, receives to the end of the dump, and gives the bytes received.
fn receive(socket: &OwnedFd, request: &[u8]) -> anyhow::Result<usize> {
    rustix::net::send(socket, request, SendFlags::empty())?;
    // The kernel fills 32 KiB at most (net/netlink/af_netlink.c `netlink_dump()`).
    let mut buffer = vec![0; 64 << 10];
    let mut bytes = 0;
    loop {
        let (length, _) = rustix::net::recv(socket, &mut buffer[..], RecvFlags::empty())?;
        let datagram = &buffer[..length];
        bytes += length;
        if kind(datagram, 0) == Some(NLMSG_ERROR) {
            bail!("the kernel refused the dump");
        }
        // The end of a dump is the last message of its datagram: to find it the others need not be walked.
        if length >= DONE && is_done(datagram, length - DONE) {
            return Ok(bytes);
        }
        if length == 0 {
            bail!("the dump ended without an end");
        }
    }
}

fn kind(datagram: &[u8], at: usize) -> Option<u16> {
    datagram.get(at + 4..at + 6)?.try_into().ok().map(u16::from_ne_bytes)
}

fn is_done(datagram: &[u8], at: usize) -> bool {
    datagram.get(at..at + 4) == Some(&20_u32.to_ne_bytes()[..]) && kind(datagram, at) == Some(NLMSG_DONE)
}
