//! The clients: short connections to all servers, a few of which end oddly.

use super::network::{self, SERVERS};
use anyhow::{Context as _, ensure};
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Ports of nginx: the second sends fewer packets.
pub(super) const KEEPS: u16 = 80;
pub(super) const SAVES_PACKETS: u16 = 8080;
/// Ports of the odd servers, and one where nobody listens. All lie below the clients' range.
pub(super) const ABORTS: u16 = 1001;
pub(super) const LEAVES_UNREAD: u16 = 1002;
pub(super) const REFUSES: u16 = 1003;

/// Connections at a time.
const CLIENTS: u32 = 12;
/// A call that takes longer has failed; so has a load that takes longer.
const CALL: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(180);
/// Requests of a connection that is kept.
const KEPT: u32 = 5;

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One request, one answer; the server closes.
    Short,
    /// The same with the fewest packets: the first ACK travels with the request, the first FIN with the answer.
    Shortest,
    /// Five requests; the client closes.
    Kept,
    /// Nobody listens.
    Refused,
    /// The client resets after the answer.
    Abort,
    /// The client resets before it asks.
    EarlyAbort,
    /// The client closes without having read the answer.
    Unread,
    /// The client shuts its direction down before the answer comes.
    HalfClose,
    /// The server resets after the answer.
    ServerAbort,
    /// The server closes without having read the request.
    ServerUnread,
}

impl Kind {
    /// Of a thousand connections, how many are of each kind.
    const SHARES: [(Self, u64); 10] = [
        (Self::Shortest, 862),
        (Self::Short, 40),
        (Self::Kept, 3),
        (Self::Refused, 35),
        (Self::Abort, 10),
        (Self::EarlyAbort, 15),
        (Self::Unread, 10),
        (Self::HalfClose, 8),
        (Self::ServerAbort, 8),
        (Self::ServerUnread, 9),
    ];

    fn of(number: u32) -> Self {
        let mut rest = scattered(number) % 1_000;
        for (kind, share) in Self::SHARES {
            if rest < share {
                return kind;
            }
            rest -= share;
        }
        Self::Short
    }

    fn port(self) -> u16 {
        match self {
            Self::Shortest => SAVES_PACKETS,
            Self::Refused => REFUSES,
            Self::ServerAbort => ABORTS,
            Self::ServerUnread => LEAVES_UNREAD,
            _ => KEEPS,
        }
    }
}

/// The finaliser of `SplitMix64`: the same numbers in every run.
fn scattered(number: u32) -> u64 {
    let mixed = (u64::from(number) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Makes the connections and says what became of them. Hardly any may fail otherwise than it is meant to.
pub(super) fn run(connections: u32) -> anyhow::Result<String> {
    let (next, failed) = (AtomicU32::new(0), AtomicU32::new(0));
    let start = Instant::now();
    let first_failure = std::sync::Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while start.elapsed() < LIMIT {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= connections {
                        break;
                    }
                    if let Err(error) = connection(number) {
                        failed.fetch_add(1, Ordering::Relaxed);
                        if let Ok(mut first) = first_failure.lock() {
                            first.get_or_insert(format!("{:?}: {error:#}", Kind::of(number)));
                        }
                    }
                }
            });
        }
    });
    let (started, failed) = (next.into_inner(), failed.into_inner());
    let why = first_failure.into_inner().ok().flatten().unwrap_or_default();
    ensure!(started >= connections, "{started} connections in {} s, not {connections}", LIMIT.as_secs());
    ensure!(failed <= connections / 100, "{failed} of {connections} connections failed; the first: {why}");
    Ok(format!("{connections} connections in {:.1} s, {failed} failed", start.elapsed().as_secs_f64()))
}

fn connection(number: u32) -> anyhow::Result<()> {
    let kind = Kind::of(number);
    let opened =
        open(SocketAddr::from((network::server(number % SERVERS), kind.port())), kind == Kind::Shortest);
    if kind == Kind::Refused {
        ensure!(opened.is_err(), "was accepted");
        return Ok(());
    }
    let mut stream = opened.context("connect")?;
    let abort = |stream: &TcpStream| sockopt::set_socket_linger(stream, Some(Duration::ZERO));
    match kind {
        Kind::Short | Kind::Shortest => {
            ask(&mut stream, "close")?;
            read_to_end(&mut stream)?;
        }
        Kind::Kept => {
            for _ in 0..KEPT {
                ask(&mut stream, "keep-alive")?;
                // The answer comes in one segment: it is smaller than one.
                ensure!(stream.read(&mut [0; 4096])? > 0, "closed early");
            }
        }
        Kind::Abort => {
            ask(&mut stream, "close")?;
            ensure!(stream.read(&mut [0; 4096])? > 0, "no answer");
            abort(&stream)?;
        }
        Kind::EarlyAbort => abort(&stream)?,
        Kind::Unread => {
            ask(&mut stream, "close")?;
            stream.peek(&mut [0; 1])?;
        }
        Kind::HalfClose => {
            ask(&mut stream, "close")?;
            stream.shutdown(Shutdown::Write)?;
            read_to_end(&mut stream)?;
        }
        Kind::ServerAbort | Kind::ServerUnread => {
            ask(&mut stream, "close")?;
            // The reset may overtake the answer.
            let _ = read_to_end(&mut stream);
        }
        Kind::Refused => {}
    }
    Ok(())
}

/// A connection. `TCP_QUICKACK` switched off before it is made has the ACK of the handshake wait for data.
fn open(to: SocketAddr, sparing: bool) -> std::io::Result<TcpStream> {
    let socket =
        rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_timeout(&socket, Timeout::Send, Some(CALL))?;
    sockopt::set_socket_timeout(&socket, Timeout::Recv, Some(CALL))?;
    if sparing {
        sockopt::set_tcp_quickack(&socket, false)?;
    }
    rustix::net::connect(&socket, &to)?;
    Ok(socket.into())
}

fn ask(stream: &mut TcpStream, connection: &str) -> std::io::Result<()> {
    let request = format!(
        "GET /1k HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: load/1\r\nConnection: {connection}\r\n\r\n"
    );
    stream.write_all(request.as_bytes())
}

fn read_to_end(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer)? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_share() {
        assert_eq!(Kind::SHARES.iter().map(|(_, share)| share).sum::<u64>(), 1_000);
        let all: Vec<_> = (0..100_000).map(Kind::of).collect();
        for (kind, share) in Kind::SHARES {
            let count = all.iter().filter(|one| **one == kind).count() as u64;
            assert!(
                count.abs_diff(share * 100) < 60 + share * 5,
                "{kind:?}: {count}, not {share} of a thousand"
            );
        }
    }
}
