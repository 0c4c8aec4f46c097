//! Sockets with the options that a peer is told.

use super::result::{Call, Failure, Why};
use super::{Bind, Load, Server};
use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, shutdown};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Whoever waits looks so often whether it is to stop.
const LOOKS: Duration = Duration::from_millis(50);

/// What a body is sent in.
static CHUNK: [u8; 16 << 10] = [b'Q'; 16 << 10];

fn stream(to: &SocketAddr) -> Result<OwnedFd, Failure> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(|error| Call::Socket.failed(error))
}

/// A listening socket, which does not block.
pub(super) fn listen(server: &Server, at: &SocketAddr) -> Result<OwnedFd, Failure> {
    let socket = stream(at)?;
    let bind = |error| Call::Bind.failed(error);
    sockopt::set_socket_reuseaddr(&socket, server.reuse_address).map_err(bind)?;
    if at.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true).map_err(bind)?;
    }
    rustix::net::bind(&socket, at).map_err(bind)?;
    rustix::net::listen(&socket, i32::try_from(server.backlog).unwrap_or(i32::MAX)).map_err(bind)?;
    rustix::io::ioctl_fionbio(&socket, true).map_err(bind)?;
    Ok(socket)
}

/// The next connection of a listener, or none if it is to stop.
pub(super) fn accept(listener: &OwnedFd, stop: &AtomicBool) -> Result<Option<OwnedFd>, Errno> {
    loop {
        match rustix::net::accept_with(listener, SocketFlags::CLOEXEC) {
            Ok(connection) => {
                // What is written goes out at once: who closes first must not depend on Nagle's wait.
                let _ = sockopt::set_tcp_nodelay(&connection, true);
                return Ok(Some(connection));
            }
            Err(Errno::AGAIN) => {
                if stop.load(Ordering::Relaxed) {
                    return Ok(None);
                }
                wait_readable(listener, LOOKS);
            }
            Err(Errno::INTR | Errno::CONNABORTED) => {}
            Err(error) => return Err(error),
        }
    }
}

/// True if this kernel lets a socket have a range of ports of its own: Linux 6.3 and later, and some before.
pub(crate) fn has_own_ports() -> bool {
    let socket = stream(&SocketAddr::from(([0; 4], 0)));
    socket.is_ok_and(|socket| set_ports(&socket, (1, 1)).is_ok())
}

/// `IP_LOCAL_PORT_RANGE`, for IPv6 as well.
fn set_ports(socket: &OwnedFd, (first, last): (u16, u16)) -> Result<(), Errno> {
    let range = u32::from(first) | u32::from(last) << 16;
    setsockopt(socket, own_ports::IpLocalPortRange, &range)
        .map_err(|error| Errno::from_raw_os_error(error as i32))
}

mod own_ports {
    #![allow(missing_docs, unreachable_pub, reason = "made by a macro")]

    use nix::{libc, setsockopt_impl, sockopt_impl};

    /// include/uapi/linux/in.h
    const IP_LOCAL_PORT_RANGE: libc::c_int = 51;

    sockopt_impl!(IpLocalPortRange, SetOnly, libc::IPPROTO_IP, IP_LOCAL_PORT_RANGE, u32);
}

/// A client's socket, bound but not connected.
pub(super) fn client(to: &SocketAddr, load: &Load, turn: u32) -> Result<OwnedFd, Failure> {
    let socket = stream(to)?;
    let timeout = Duration::from_millis(load.timeout_ms.max(1));
    let option = |error| Call::Socket.failed(error);
    // On Linux the time limit of send(), which does not wait here, is that of connect().
    sockopt::set_socket_timeout(&socket, Timeout::Send, Some(timeout)).map_err(option)?;
    // What is waited for longer is asked for again, so that a stop is heard meanwhile.
    sockopt::set_socket_timeout(&socket, Timeout::Recv, Some(timeout.min(LOOKS))).map_err(option)?;
    sockopt::set_tcp_nodelay(&socket, true).map_err(option)?;
    if let Some(ports) = load.ports {
        set_ports(&socket, ports).map_err(option)?;
    }
    if let Some(bind) = &load.bind {
        let failed = |error| Call::Bind.failed(error);
        sockopt::set_socket_reuseaddr(&socket, bind.reuse_address).map_err(failed)?;
        if bind.without_port {
            setsockopt(&socket, IpBindAddressNoPort, &true)
                .map_err(|error| failed(Errno::from_raw_os_error(error as i32)))?;
        }
        rustix::net::bind(&socket, &source(to, bind, turn)).map_err(failed)?;
    }
    Ok(socket)
}

/// `SO_KEEPALIVE`: idle seconds before the first probe, seconds between, probes.
pub(super) fn keep_alive(socket: &OwnedFd, (idle, between, probes): (u32, u32, u32)) {
    // What the kernel refuses is outside its bounds, and its own values stay.
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    let _ = sockopt::set_tcp_keepidle(socket, seconds(idle));
    let _ = sockopt::set_tcp_keepintvl(socket, seconds(between));
    let _ = sockopt::set_tcp_keepcnt(socket, probes);
    let _ = sockopt::set_socket_keepalive(socket, true);
}

/// The end that the client of this turn binds to.
fn source(to: &SocketAddr, bind: &Bind, turn: u32) -> SocketAddr {
    let fits = |address: &IpAddr| {
        address.is_ipv4() == to.is_ipv4() && address.is_loopback() == to.ip().is_loopback()
    };
    let addresses: Vec<IpAddr> = bind.addresses.iter().copied().filter(fits).collect();
    let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
    let place = turn as usize % addresses.len().max(1);
    SocketAddr::new(addresses.get(place).copied().unwrap_or(any), bind.port)
}

/// Connects, and says how long that took and how much CPU time.
pub(super) fn connect(socket: &OwnedFd, to: &SocketAddr) -> (Result<(), Failure>, Duration, Duration) {
    let (cpu, begin) = (thread_cpu(), Instant::now());
    let connected = rustix::net::connect(socket, to).map_err(|error| Call::Connect.failed(error));
    (connected, begin.elapsed(), thread_cpu().saturating_sub(cpu))
}

/// The socket on which a worker waits in connect(), for whoever stops it meanwhile. A connect() that could look around by
/// itself would cost something else than one that waits.
#[derive(Debug, Default)]
pub(super) struct Connecting {
    socket: Mutex<Option<Arc<OwnedFd>>>,
}

impl Connecting {
    fn socket(&self) -> MutexGuard<'_, Option<Arc<OwnedFd>>> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this socket may be waited for.
    pub(super) fn begin(&self, socket: &Arc<OwnedFd>) {
        *self.socket() = Some(Arc::clone(socket));
    }

    /// It is not any more.
    pub(super) fn end(&self) {
        *self.socket() = None;
    }

    /// Whoever waits need not any more: net/ipv4/af_inet.c inet_shutdown() wakes it.
    pub(super) fn interrupt(&self) {
        if let Some(socket) = &*self.socket() {
            let _ = shutdown(socket, Shutdown::Both);
        }
    }
}

/// CPU time of the calling thread.
pub(super) fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Sends all of it; with `more`, what does not fill a segment waits for what follows: more, or the FIN.
pub(super) fn send(
    socket: &OwnedFd,
    mut bytes: &[u8],
    more: bool,
    patience: &Patience<'_>,
) -> Result<(), Failure> {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let flags = if more { flags | SendFlags::MORE } else { flags };
    while !bytes.is_empty() {
        match rustix::net::send(socket, bytes, flags) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                patience.goes_on(Call::Send)?;
                wait(socket, PollFlags::OUT, patience.left());
            }
            Err(error) => return Err(Call::Send.failed(error)),
        }
    }
    Ok(())
}

/// Sends a body of so many bytes. `more`: what follows at once goes out with its end.
pub(super) fn send_body(
    socket: &OwnedFd,
    mut bytes: u32,
    more: bool,
    patience: &Patience<'_>,
) -> Result<(), Failure> {
    while bytes > 0 {
        let part = bytes.min(u32::try_from(CHUNK.len()).unwrap_or(u32::MAX));
        bytes -= part;
        send(socket, &CHUNK[..part as usize], more || bytes > 0, patience)?;
    }
    Ok(())
}

/// How long a call that waits is called again.
#[derive(Debug)]
pub(super) struct Patience<'a> {
    end: Option<Instant>,
    stop: &'a AtomicBool,
}

impl<'a> Patience<'a> {
    /// So long, or until it is to stop.
    pub(super) fn new(at_most: Option<Duration>, stop: &'a AtomicBool) -> Self {
        Self { end: at_most.and_then(|at_most| Instant::now().checked_add(at_most)), stop }
    }

    /// So long at most until it is looked again.
    fn left(&self) -> Duration {
        self.end.map_or(LOOKS, |end| end.saturating_duration_since(Instant::now()).min(LOOKS))
    }

    fn goes_on(&self, call: Call) -> Result<(), Failure> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(call.because(Why::Stopped));
        }
        if self.end.is_some_and(|end| Instant::now() >= end) {
            return Err(call.because(Why::Timeout));
        }
        Ok(())
    }
}

/// Waits for as many milliseconds, or until it is to stop.
pub(super) fn pause(milliseconds: u64, stop: &AtomicBool) -> Result<(), Failure> {
    let pause = Duration::from_millis(milliseconds);
    let begin = Instant::now();
    while let Some(left) = pause.checked_sub(begin.elapsed()).filter(|left| !left.is_zero()) {
        if stop.load(Ordering::Relaxed) {
            return Err(Call::Recv.because(Why::Stopped));
        }
        std::thread::sleep(left.min(LOOKS));
    }
    Ok(())
}

/// Receives some bytes, as long as there is patience.
pub(super) fn receive_until(
    socket: &OwnedFd,
    buffer: &mut Vec<u8>,
    patience: &Patience<'_>,
) -> Result<usize, Failure> {
    loop {
        match receive_with(socket, buffer, RecvFlags::empty()) {
            Err(Errno::AGAIN) => patience.goes_on(Call::Recv)?,
            received => return received.map_err(|error| Call::Recv.failed(error)),
        }
    }
}

/// Receives some bytes behind what is in the buffer; none at the end of the stream.
pub(super) fn receive(socket: &OwnedFd, buffer: &mut Vec<u8>) -> Result<usize, Failure> {
    receive_with(socket, buffer, RecvFlags::empty()).map_err(|error| Call::Recv.failed(error))
}

/// The same without waiting; nothing if nothing is there.
pub(super) fn receive_now(socket: &OwnedFd, buffer: &mut Vec<u8>) -> Result<Option<usize>, Failure> {
    match receive_with(socket, buffer, RecvFlags::DONTWAIT) {
        Ok(received) => Ok(Some(received)),
        Err(Errno::AGAIN) => Ok(None),
        Err(error) => Err(Call::Recv.failed(error)),
    }
}

fn receive_with(socket: &OwnedFd, buffer: &mut Vec<u8>, flags: RecvFlags) -> Result<usize, Errno> {
    let mut chunk = [0; 16 << 10];
    loop {
        match rustix::net::recv(socket, &mut chunk[..], flags) {
            Ok((received, _)) => {
                buffer.extend_from_slice(&chunk[..received]);
                return Ok(received);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Waits until there is something to read: data, the end, or an error.
pub(super) fn await_readable(
    socket: &OwnedFd,
    at_most: Option<Duration>,
    stop: &AtomicBool,
) -> Result<(), Failure> {
    let end = at_most.map(|at_most| Instant::now() + at_most);
    loop {
        let left = end.map_or(LOOKS, |end| end.saturating_duration_since(Instant::now()).min(LOOKS));
        if wait_readable(socket, left) {
            return Ok(());
        }
        if stop.load(Ordering::Relaxed) {
            return Err(Call::Recv.because(Why::Stopped));
        }
        if end.is_some_and(|end| Instant::now() >= end) {
            return Err(Call::Recv.because(Why::Timeout));
        }
    }
}

/// True if there is something to read now: data, the end, or an error.
pub(super) fn is_readable(socket: &OwnedFd) -> bool {
    wait_readable(socket, Duration::ZERO)
}

fn wait_readable(socket: &OwnedFd, at_most: Duration) -> bool {
    wait(socket, PollFlags::IN, at_most)
}

fn wait(socket: &OwnedFd, what: PollFlags, at_most: Duration) -> bool {
    let mut wanted = [PollFd::new(socket, what)];
    let at_most = Timespec::try_from(at_most).ok();
    poll(&mut wanted, at_most.as_ref()).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_taken_in_turn() {
        let bind = Bind {
            addresses: vec![
                "10.0.0.1".parse().unwrap(),
                "fd00::1".parse().unwrap(),
                "127.0.0.1".parse().unwrap(),
                "10.0.0.2".parse().unwrap(),
            ],
            port: 100,
            ..Bind::default()
        };
        let to = "10.0.0.9:80".parse().unwrap();
        let sources: Vec<String> = (0..3).map(|turn| source(&to, &bind, turn).to_string()).collect();
        assert_eq!(sources, ["10.0.0.1:100", "10.0.0.2:100", "10.0.0.1:100"]);
        let to = "[fd00::9]:80".parse().unwrap();
        assert_eq!(source(&to, &bind, 1).to_string(), "[fd00::1]:100");
        assert_eq!(source(&to, &Bind::default(), 1).to_string(), "[::]:0");
    }
}
