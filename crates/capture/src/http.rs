//! HTTP/1 in both directions of a connection: how many requests and responses, and who asked for the close.
//!
//! Messages are followed by their length, so bodies are passed over without a look. A direction decides by its first
//! bytes whether it is HTTP at all. Where bytes are missing or were cut off, it takes up again at the next segment
//! that begins a message, and the answer is marked as unsure.

mod head;
mod stream;

use head::{Head, Method, Start, Version};
use stream::{Stream, Wants};

/// What is kept of a connection's HTTP.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Messages {
    /// Messages of each side.
    count: [u32; 2],
    bits: u32,
}

impl Messages {
    const REQUESTS: u32 = 1;
    const RESPONSES: u32 = 1 << 2;
    const CLOSE: u32 = 1 << 4;
    const KEEP_ALIVE: u32 = 1 << 6;
    const V09: u32 = 1 << 8;
    const V10: u32 = 1 << 10;
    const V11: u32 = 1 << 12;
    const UNSURE: u32 = 1 << 14;
    /// Bytes of a head that begins were not captured, before any message was understood.
    const HIDDEN: u32 = 1 << 15;
    /// The capture or the connection ended within a body.
    const UNFINISHED: u32 = 1 << 16;
    /// A request went through a proxy before.
    const RELAYED: u32 = 1 << 18;

    const fn has(self, bit: u32, side: usize) -> bool {
        self.bits & (bit << side) != 0
    }

    const fn set(&mut self, bit: u32, side: usize) {
        self.bits |= bit << side;
    }

    /// The side that sent requests, if there is HTTP.
    pub(crate) fn asking_side(self) -> Option<usize> {
        (0..2)
            .find(|side| self.has(Self::REQUESTS, *side))
            .or_else(|| (0..2).find(|side| self.has(Self::RESPONSES, *side)).map(|side| 1 - side))
    }

    /// Requests and responses.
    pub(crate) fn counts(self) -> (u32, u32) {
        match self.asking_side() {
            Some(side) => (self.count[side], self.count[1 - side]),
            None => (0, 0),
        }
    }

    /// True if a side said `Connection: close`.
    pub(crate) const fn close(self, side: usize) -> bool {
        self.has(Self::CLOSE, side)
    }

    /// True if a side said `Connection: keep-alive`.
    pub(crate) const fn keep_alive(self, side: usize) -> bool {
        self.has(Self::KEEP_ALIVE, side)
    }

    /// The versions a side spoke, oldest first.
    pub(crate) fn versions(self, side: usize) -> impl Iterator<Item = &'static str> {
        [(Self::V09, "0.9"), (Self::V10, "1.0"), (Self::V11, "1.1")]
            .into_iter()
            .filter(move |(bit, _)| self.has(*bit, side))
            .map(|(_, name)| name)
    }

    /// True if a request says that a proxy sent it.
    pub(crate) const fn is_relayed(self) -> bool {
        self.bits & Self::RELAYED != 0
    }

    /// True if messages may have been missed.
    pub(crate) const fn is_unsure(self) -> bool {
        self.bits & Self::UNSURE != 0
    }

    /// True if the last message of a side is not complete.
    pub(crate) const fn is_unfinished(self) -> bool {
        self.has(Self::UNFINISHED, 0) || self.has(Self::UNFINISHED, 1)
    }

    /// True if there may be HTTP that the capture hides.
    pub(crate) const fn is_hidden(self) -> bool {
        self.bits & Self::HIDDEN != 0
    }
}

/// What the response to a request is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Answer {
    /// A head, and perhaps a body.
    #[default]
    Usual,
    /// A head only.
    HeadOnly,
    /// A tunnel, if it says yes.
    Tunnel,
    /// A body without a head: HTTP/0.9.
    Plain,
}

/// Requests that wait for their responses, two bits each. Of more than 32 the last ones are taken for usual.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    bits: u64,
    remembered: u8,
    more: u32,
}

impl Asked {
    const MOST: u8 = 32;

    fn push(&mut self, answer: Answer) {
        if self.remembered < Self::MOST && self.more == 0 {
            self.bits |= (answer as u64) << (2 * self.remembered);
            self.remembered += 1;
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    fn count(self) -> u32 {
        self.more.saturating_add(u32::from(self.remembered))
    }

    /// The first of them.
    const fn first(self) -> Answer {
        match self.bits & 3 {
            1 => Answer::HeadOnly,
            2 => Answer::Tunnel,
            3 => Answer::Plain,
            _ => Answer::Usual,
        }
    }

    fn pop(&mut self) -> Answer {
        let first = self.first();
        if self.remembered > 0 {
            self.bits >>= 2;
            self.remembered -= 1;
        } else {
            self.more = self.more.saturating_sub(1);
        }
        first
    }
}

/// The running state of both directions.
#[derive(Debug, Default)]
pub(crate) struct Http {
    streams: [Stream; 2],
    asked: Asked,
    /// A request had a body: its answer does not show that it was read.
    has_bodies: bool,
}

/// Data of a segment, and what is known of the stream it is part of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Data<'a> {
    /// Which side sends it.
    pub(crate) side: usize,
    /// Sequence number of its first byte.
    pub(crate) seq: u32,
    /// The bytes, as far as captured.
    pub(crate) bytes: &'a [u8],
    /// Their number on the wire.
    pub(crate) length: u32,
    /// Sequence number of the stream's first byte, if the side's SYN was seen.
    pub(crate) origin: Option<u32>,
}

impl Http {
    /// Takes the data of a segment.
    pub(crate) fn take(&mut self, data: Data<'_>, messages: &mut Messages) {
        let side = data.side;
        if self.streams[side].arrive(&data) {
            self.advance(side, data.bytes, data.length, messages);
            // Segments that came too early may follow now.
            while let Some((bytes, length)) = self.streams[side].take_early() {
                self.advance(side, &bytes, length, messages);
            }
        }
        if self.streams[side].is_overfull() {
            self.give_up_waiting(side, messages);
        }
    }

    /// Gives back the memory of what waits.
    pub(crate) fn give_back(&mut self) {
        self.streams.iter_mut().for_each(Stream::give_back);
    }

    /// A side has sent its FIN: a body without a length is complete.
    pub(crate) fn end(&mut self, side: usize, messages: &mut Messages) {
        self.streams[side].end();
        self.collect(side, messages);
    }

    /// A side has sent its FIN, and nobody knows whether all bytes before it came: whether a body without a length is
    /// complete cannot be told.
    pub(crate) fn end_somewhere(&mut self, side: usize, messages: &mut Messages) {
        if self.streams[side].lose_end() {
            messages.bits |= Messages::UNSURE;
        }
    }

    /// True if what this side has sent shows that it read all that came: it answered each request, and none had a
    /// body; or it asked the next question after whole answers to all before, and got nothing since.
    ///
    /// The caller knows that this side sent data last.
    pub(crate) fn shows_all_was_read(&self, side: usize, messages: Messages) -> bool {
        let peer = 1 - side;
        if messages.is_unsure() || messages.is_hidden() || !self.streams[peer].is_between_messages() {
            return false;
        }
        match messages.asking_side() {
            Some(asking) if asking == peer => self.asked.count() == 0 && !self.has_bodies,
            Some(_) => self.asked.count() == 1,
            None => false,
        }
    }

    /// Counts the responses that are complete by now.
    fn collect(&mut self, side: usize, messages: &mut Messages) {
        if self.streams[side].take_finished() && messages.has(Messages::RESPONSES, side) {
            messages.count[side] = messages.count[side].saturating_add(1);
        }
    }

    /// No more segments will come: what waits for a missing one is read without it.
    pub(crate) fn finish(&mut self, messages: &mut Messages) {
        for side in 0..2 {
            self.give_up_waiting(side, messages);
            self.streams[side].close(side, messages);
            if self.streams[side].is_in_a_body() {
                messages.set(Messages::UNFINISHED, side);
            }
        }
    }

    fn give_up_waiting(&mut self, side: usize, messages: &mut Messages) {
        while self.streams[side].has_early() {
            let missing = self.streams[side].gap();
            self.streams[side].miss(missing, side, messages);
            self.collect(side, messages);
            while let Some((bytes, length)) = self.streams[side].take_early() {
                self.advance(side, &bytes, length, messages);
            }
        }
    }

    /// Bytes in order: `length` of them, of which `bytes` were captured.
    fn advance(&mut self, side: usize, bytes: &[u8], length: u32, messages: &mut Messages) {
        let mut bytes = bytes.get(..length as usize).unwrap_or(bytes);
        let cut = length - u32::try_from(bytes.len()).unwrap_or(length);
        let plain = self.asked.first() == Answer::Plain;
        while !bytes.is_empty() {
            match self.streams[side].eat(bytes, plain) {
                Wants::More(used) => {
                    bytes = bytes.get(used..).unwrap_or_default();
                    self.collect(side, messages);
                }
                Wants::Nothing => break,
                Wants::Act(head, used) => {
                    bytes = bytes.get(used..).unwrap_or_default();
                    self.on_head(side, &head, messages);
                    self.collect(side, messages);
                }
                Wants::Plain => {
                    // The answer to HTTP/0.9 is a body and nothing else.
                    self.asked.pop();
                    messages.set(Messages::RESPONSES, side);
                    messages.set(Messages::V09, side);
                    self.streams[side].until_close();
                    break;
                }
            }
        }
        if cut > 0 {
            self.streams[side].miss(cut, side, messages);
            self.collect(side, messages);
        }
    }

    fn on_head(&mut self, side: usize, head: &Head, messages: &mut Messages) {
        let (kind, other) = match head.start {
            Start::Request(_) => (Messages::REQUESTS, Messages::RESPONSES),
            Start::Response(_) => (Messages::RESPONSES, Messages::REQUESTS),
        };
        if messages.has(other, side) || messages.has(kind, 1 - side) {
            // One direction asks, the other answers; whatever this is, it is not that.
            messages.bits |= Messages::UNSURE;
            self.streams[side].ignore();
            return;
        }
        messages.set(kind, side);
        if let Some(version) = head.version {
            messages.set(
                match version {
                    Version::V09 => Messages::V09,
                    Version::V10 => Messages::V10,
                    Version::V11 => Messages::V11,
                },
                side,
            );
        }
        if head.close {
            messages.set(Messages::CLOSE, side);
        }
        if head.keep_alive {
            messages.set(Messages::KEEP_ALIVE, side);
        }
        match head.start {
            Start::Request(method) => {
                if head.relayed {
                    messages.bits |= Messages::RELAYED;
                }
                messages.count[side] = messages.count[side].saturating_add(1);
                self.asked.push(match method {
                    _ if head.version == Some(Version::V09) => Answer::Plain,
                    Method::Head => Answer::HeadOnly,
                    Method::Connect => Answer::Tunnel,
                    Method::Other => Answer::Usual,
                });
                self.has_bodies |= head.chunked || head.length.unwrap_or(0) > 0;
                // RFC 9112 section 6.3: a request without either has no body.
                self.streams[side].body(head.chunked, Some(head.length.unwrap_or(0)));
            }
            Start::Response(code) => self.on_response(side, head, code),
        }
    }

    fn on_response(&mut self, side: usize, head: &Head, code: u16) {
        if (100..200).contains(&code) && code != 101 {
            self.streams[side].body(false, Some(0));
            return;
        }
        let answer = self.asked.pop();
        // RFC 9112 section 6.3, in its order.
        let success = (200..300).contains(&code);
        if code == 101 || answer == Answer::Tunnel && success {
            self.streams.iter_mut().for_each(Stream::ignore);
            self.streams[side].finish();
        } else if answer == Answer::HeadOnly || matches!(code, 204 | 304) {
            self.streams[side].body(false, Some(0));
        } else {
            self.streams[side].body(head.chunked, head.length);
        }
    }
}

#[cfg(test)]
mod tests;
