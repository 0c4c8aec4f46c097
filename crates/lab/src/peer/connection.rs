//! A client's connection, and a request on it.

use super::Load;
use super::closing::{Closer, await_end};
use super::http::{self, Head};
use super::result::{Call, Failure, Why};
use super::server::pause;
use super::socket::{is_readable, receive, send};
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use world::scenario::{ClosesWhen, How};

/// What a body is sent in.
const CHUNK: [u8; 16 << 10] = [b'Q'; 16 << 10];

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) socket: OwnedFd,
    received: Vec<u8>,
    /// Requests that were answered.
    pub(super) answered: u32,
    /// The server has said that no more will be answered.
    pub(super) over: bool,
    /// The server has asked this side to close.
    goodbye: bool,
}

impl Connection {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self { socket, received: Vec::new(), answered: 0, over: false, goodbye: false }
    }

    /// True if something came that nobody asked for: the end, as a rule.
    pub(super) fn is_stale(&self) -> bool {
        is_readable(&self.socket)
    }

    /// A request and its answer; `last` if it is the last one that is known to be.
    pub(super) fn ask(&mut self, load: &Load, last: bool) -> Result<(), Failure> {
        let goodbye = last && load.close.how == How::Goodbye;
        let (head, mut body) = http::request(load.http, load.request_bytes, goodbye);
        send(&self.socket, &head, body > 0)?;
        while body > 0 {
            let part = body.min(u32::try_from(CHUNK.len()).unwrap_or(u32::MAX));
            body -= part;
            send(&self.socket, &CHUNK[..part as usize], body > 0)?;
        }
        if last && load.close.how == How::Unread {
            // The answer comes, and is what nobody reads.
            self.answered += 1;
            return Ok(());
        }
        let garbled = |_| Call::Recv.because(Why::Garbled);
        loop {
            let head = Head::of(&self.received).map_err(garbled)?;
            let whole = head.and_then(|head| Some(head.bytes + head.body?));
            if let (Some(head), Some(whole)) = (head, whole)
                && self.received.len() >= whole
            {
                self.received.drain(..whole);
                self.over |= head.close;
                self.goodbye |= head.goodbye;
                break;
            }
            if receive(&self.socket, &mut self.received)? == 0 {
                if head.is_some() && whole.is_none() {
                    self.over = true;
                    break;
                }
                return Err(Call::Recv.because(Why::End));
            }
        }
        self.answered += 1;
        Ok(())
    }

    /// Closes when it is time to; gives the socket back if that is never.
    pub(super) fn finish(
        self,
        load: &Load,
        closer: &Closer,
        stop: &AtomicBool,
    ) -> Result<Option<OwnedFd>, Failure> {
        let patience = Duration::from_millis(load.timeout_ms.max(1));
        let after = load.close.after_ms;
        match (load.close.when, load.close.how) {
            (ClosesWhen::Never, _) => return Ok(Some(self.socket)),
            (ClosesWhen::Peer, _) => {
                if !self.goodbye {
                    await_end(&self.socket, patience, stop)?;
                }
                pause(after);
            }
            (_, How::Goodbye) => {
                let patience = if after > 0 { Duration::from_millis(after) } else { patience };
                if let Err(failure) = await_end(&self.socket, patience, stop) {
                    closer.close(self.socket, How::Reset);
                    return if failure.is_timeout() { Ok(None) } else { Err(failure) };
                }
            }
            (ClosesWhen::Requests | ClosesWhen::Idle, _) => pause(after),
        }
        closer.close(self.socket, load.close.how);
        Ok(None)
    }
}
