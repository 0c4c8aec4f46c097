//! A client's connection, and a request on it.

use super::Load;
use super::closing::{Closer, await_end};
use super::http::{self, Head};
use super::result::{Call, Failure, Why};
use super::socket::{Patience, is_readable, pause, receive_until, send, send_body};
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use world::scenario::{ClosesWhen, How};

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
    pub(super) fn ask(&mut self, load: &Load, last: bool, stop: &AtomicBool) -> Result<(), Failure> {
        let patience = || Patience::new(Some(Duration::from_millis(load.timeout_ms.max(1))), stop);
        let goodbye = last && load.close.how == How::Goodbye;
        let (head, body) = http::request(load.http, load.request_bytes, goodbye);
        send(&self.socket, &head, body > 0, &patience())?;
        send_body(&self.socket, body, false, &patience())?;
        if last && load.close.how == How::Unread {
            // The answer comes, and is what nobody reads.
            self.answered += 1;
            return Ok(());
        }
        let garbled = |_| Call::Recv.because(Why::Garbled);
        let head = loop {
            if let Some(head) = Head::of(&self.received).map_err(garbled)? {
                break head;
            }
            self.hear(&patience())?;
        };
        self.received.drain(..head.bytes);
        if let Some(mut left) = head.body {
            // Nothing of it is kept.
            loop {
                let part = left.min(self.received.len());
                self.received.drain(..part);
                left -= part;
                if left == 0 {
                    break;
                }
                self.hear(&patience())?;
            }
            self.over |= head.close;
            self.goodbye |= head.goodbye;
        } else {
            self.received.clear();
            while receive_until(&self.socket, &mut self.received, &patience())? > 0 {
                self.received.clear();
            }
            self.over = true;
        }
        self.answered += 1;
        Ok(())
    }

    /// Some bytes more. Their end is none that was expected.
    fn hear(&mut self, patience: &Patience<'_>) -> Result<(), Failure> {
        match receive_until(&self.socket, &mut self.received, patience)? {
            0 => Err(Call::Recv.because(Why::End)),
            _ => Ok(()),
        }
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
                let _ = pause(after, stop);
            }
            (_, How::Goodbye) => {
                let patience = if after > 0 { Duration::from_millis(after) } else { patience };
                if let Err(failure) = await_end(&self.socket, patience, stop) {
                    closer.close(self.socket, How::Reset, stop);
                    return if failure.is_timeout() { Ok(None) } else { Err(failure) };
                }
            }
            (ClosesWhen::Requests | ClosesWhen::Idle, _) => {
                let _ = pause(after, stop);
            }
        }
        // What was not even asked for is not left unread.
        let leaves = load.close.how != How::Unread || self.answered >= load.requests;
        closer.close(self.socket, if leaves { load.close.how } else { load.close.how.bare() }, stop);
        Ok(None)
    }
}
