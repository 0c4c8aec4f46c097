//! Netlink, as far as dumps need it: a request out, datagrams full of messages back.
//!
//! The kernel is trusted to be the kernel, its bytes are not trusted to be well-formed: recorded and fuzzed
//! datagrams go through the same code.

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Bytes of `struct nlmsghdr`.
pub const HEADER: usize = 16;
/// Flag of a request that asks for a dump (`NLM_F_REQUEST | NLM_F_DUMP`).
pub const DUMP: u16 = 0x301;

const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 0x10;

/// The kernel fills at most 32 KiB a datagram (net/netlink/af_netlink.c `netlink_dump()`).
const RECEIVE_BYTES: usize = 64 << 10;

/// A dump that says nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A netlink socket with its receive buffer.
pub struct Netlink {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens a socket in the network namespace of the calling thread; without a protocol it is `NETLINK_ROUTE`,
    /// number 0.
    pub fn open(protocol: impl Into<Option<Protocol>>) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let socket =
            rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol.into())?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        rustix::net::sockopt::set_socket_timeout(
            &socket,
            rustix::net::sockopt::Timeout::Recv,
            Some(PATIENCE),
        )?;
        Ok(Self { socket, buffer: vec![0; RECEIVE_BYTES] })
    }

    /// Sends a request.
    pub fn send(&self, request: &[u8]) -> io::Result<()> {
        rustix::net::send(&self.socket, request, SendFlags::empty())?;
        Ok(())
    }

    /// Receives the next datagram.
    pub fn receive(&mut self) -> io::Result<&[u8]> {
        loop {
            match rustix::net::recv(&self.socket, &mut self.buffer[..], RecvFlags::TRUNC) {
                Ok((_, length)) if length > RECEIVE_BYTES => {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "a datagram larger than the kernel makes",
                    ));
                }
                Ok((_, length)) => return Ok(&self.buffer[..length]),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "the kernel did not answer in 30 s"));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A request: a header, `body`, and its length filled in.
pub fn request(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&flags.to_ne_bytes());
    message.extend_from_slice(&1_u32.to_ne_bytes());
    message.extend_from_slice(&0_u32.to_ne_bytes());
    message.extend_from_slice(body);
    message
}

/// What one message of a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A record of the dump: its type and what follows the header.
    Record {
        /// `nlmsg_type`.
        kind: u16,
        /// What follows the header.
        body: &'a [u8],
        /// The table changed while it was dumped (`NLM_F_DUMP_INTR`).
        interrupted: bool,
    },
    /// The dump is complete, or ended with an error number.
    Done(Result<(), i32>),
    /// The request was refused with this error number; 0 is an acknowledgement.
    Error(i32),
    /// The rest of the datagram makes no sense.
    Malformed,
}

/// The messages of a datagram. Never reads beyond it, and ends after the first one that makes no sense.
pub fn messages(datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() {
                return None;
            }
            let Some((header, _)) = rest.split_at_checked(HEADER) else {
                rest = &[];
                return Some(Message::Malformed);
            };
            let length = read_u32(header, 0) as usize;
            let kind = read_u16(header, 4);
            let interrupted = read_u16(header, 6) & NLM_F_DUMP_INTR != 0;
            if length < HEADER || length > rest.len() {
                rest = &[];
                return Some(Message::Malformed);
            }
            let body = &rest[HEADER..length];
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
            return Some(match kind {
                NLMSG_NOOP => continue,
                // The kernel writes -errno; a DONE without a number is a plain end.
                NLMSG_DONE => Message::Done(match error_number(body) {
                    Some(error) if error != 0 => Err(error),
                    _ => Ok(()),
                }),
                NLMSG_ERROR => error_number(body).map_or(Message::Malformed, Message::Error),
                _ => Message::Record { kind, body, interrupted },
            });
        }
    })
}

/// Whether a dump goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More datagrams follow.
    More,
    /// That was the last.
    End,
}

/// Gives each record of one kind to `take`, and whether its dump was interrupted.
pub fn records(datagram: &[u8], wanted: u16, mut take: impl FnMut(&[u8], bool)) -> io::Result<Progress> {
    for message in messages(datagram) {
        match message {
            Message::Record { kind, body, interrupted } if kind == wanted => take(body, interrupted),
            Message::Record { .. } | Message::Error(0) => {}
            Message::Done(Ok(())) => return Ok(Progress::End),
            Message::Done(Err(error)) | Message::Error(error) => {
                return Err(io::Error::from_raw_os_error(error));
            }
            Message::Malformed => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a message that makes no sense"));
            }
        }
    }
    Ok(Progress::More)
}

fn error_number(body: &[u8]) -> Option<i32> {
    Some(i32::from_ne_bytes(body.get(..4)?.try_into().ok()?).saturating_neg())
}

/// The attributes (`struct nlattr`) in a byte slice: type without flags, and value.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    const FLAGS: u16 = 0xc000;
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(read_u16(rest.get(..4)?, 0));
        let kind = read_u16(rest, 2) & !FLAGS;
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

/// Reads a number in host byte order; the caller has checked the length.
#[inline]
pub(crate) fn read_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

#[inline]
pub(crate) fn read_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// An attribute as it goes over the socket.
#[cfg(test)]
pub(crate) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap();
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_length_that_lies_ends_the_datagram() {
        let mut datagram = request(20, 0, &[7; 8]);
        assert!(matches!(messages(&datagram).next(), Some(Message::Record { kind: 20, body: [7, ..], .. })));
        for lie in [0_u32, 15, 25, u32::MAX] {
            datagram[..4].copy_from_slice(&lie.to_ne_bytes());
            assert_eq!(messages(&datagram).collect::<Vec<_>>(), [Message::Malformed], "{lie}");
        }
    }

    #[test]
    fn done_and_error_carry_the_error_number() {
        let done = request(NLMSG_DONE, 2, &(-22_i32).to_ne_bytes());
        assert_eq!(messages(&done).next(), Some(Message::Done(Err(22))));
        let error = request(NLMSG_ERROR, 0, &(-2_i32).to_ne_bytes());
        assert_eq!(messages(&error).next(), Some(Message::Error(2)));
        assert_eq!(messages(&request(NLMSG_DONE, 2, &[])).next(), Some(Message::Done(Ok(()))));
        assert_eq!(messages(&request(NLMSG_ERROR, 0, &[])).next(), Some(Message::Malformed));
    }

    proptest! {
        #[test]
        fn no_bytes_can_make_it_panic_or_run_for_ever(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            prop_assert!(messages(&bytes).count() <= bytes.len() / HEADER + 1);
            prop_assert!(attributes(&bytes).count() <= bytes.len() / 4 + 1);
        }
    }
}
