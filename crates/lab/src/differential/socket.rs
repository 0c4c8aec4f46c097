//! Sockets of this process, as the kernel's side of a connection.

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

fn stream(local: SocketAddr) -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let family = if local.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    rustix::net::bind(&socket, &local)?;
    Ok(socket)
}

/// A listener whose accept queue holds `backlog + 1`.
pub(super) fn listen(local: SocketAddr, backlog: u16) -> io::Result<OwnedFd> {
    let socket = stream(local)?;
    rustix::net::listen(&socket, i32::from(backlog))?;
    Ok(socket)
}

/// A socket that has sent its SYN. None: a TIME-WAIT that cannot be taken over has its addresses and ports.
pub(super) fn connect(local: SocketAddr, peer: SocketAddr) -> io::Result<Option<OwnedFd>> {
    let socket = stream(local)?;
    match rustix::net::connect(&socket, &peer) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(Some(socket)),
        Err(Errno::ADDRNOTAVAIL) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The next connection of a listener, if one waits.
pub(super) fn accept(listener: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    match rustix::net::accept_with(listener, flags) {
        Ok(socket) => {
            sockopt::set_tcp_nodelay(&socket, true)?;
            Ok(Some(socket))
        }
        Err(Errno::AGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Sends, and says how many bytes were taken: none if the buffer is full or the socket's state does not allow it.
pub(super) fn send(socket: &OwnedFd, bytes: u16) -> u32 {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    let taken = rustix::net::send(socket, &vec![0; usize::from(bytes)], flags).unwrap_or(0);
    u32::try_from(taken).unwrap_or(u32::MAX)
}

/// shutdown(SHUT_WR); what the socket's state does not allow does nothing.
pub(super) fn shutdown(socket: &OwnedFd) {
    let _ = rustix::net::shutdown(socket, Shutdown::Write);
}

/// Reads all there is.
pub(super) fn drain(socket: &OwnedFd) {
    let mut buffer = [0; 4_096];
    while matches!(rustix::net::recv(socket, &mut buffer[..], RecvFlags::DONTWAIT), Ok((_, 1..))) {}
}

/// True if received data waits to be read.
pub(super) fn has_unread(socket: &OwnedFd) -> bool {
    rustix::io::ioctl_fionread(socket).is_ok_and(|bytes| bytes > 0)
}

/// close() will abort.
pub(super) fn linger_zero(socket: &OwnedFd) -> io::Result<()> {
    Ok(sockopt::set_socket_linger(socket, Some(Duration::ZERO))?)
}

/// Nothing waits in FIN-WAIT-2 for the peer once this is closed.
pub(super) fn no_linger2(socket: &OwnedFd) -> io::Result<()> {
    Ok(nix::sys::socket::setsockopt(socket, linger2::TcpLinger2, &-1)?)
}

mod linger2 {
    #![allow(missing_docs, unreachable_pub, reason = "made by a macro")]

    use nix::{libc, setsockopt_impl, sockopt_impl};

    sockopt_impl!(TcpLinger2, SetOnly, libc::IPPROTO_TCP, libc::TCP_LINGER2, i32);
}
