//! One direction of HTTP/1: segments into order, order into messages.

use super::head::{self, Head, Parsed};
use super::{Data, Messages};

/// What comes next in the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Next {
    /// The first message, if this is HTTP.
    #[default]
    First,
    /// A message.
    Message,
    /// So many bytes of a body.
    Body,
    /// The line with the size of a chunk.
    ChunkSize,
    /// So many bytes of a chunk, with the line end behind it.
    Chunk,
    /// Trailer fields up to an empty line.
    Trailers,
    /// A body up to the end of the stream.
    UntilClose,
    /// Nothing that matters: no HTTP/1, or a tunnel.
    Ignored,
    /// Bytes are missing: the next segment that begins a message.
    Anywhere,
}

/// What a stream makes of bytes.
pub(super) enum Wants {
    /// It took so many.
    More(usize),
    /// It has no use for the rest of the segment.
    Nothing,
    /// A head of so many bytes, to be acted on.
    Act(Head, usize),
    /// The body of an answer without a head.
    Plain,
}

/// A head that is not complete may be so long.
const MAX_HEAD: usize = 64 << 10;
/// Segments that wait for an earlier one, and their bytes.
const MAX_EARLY: usize = 64;
const MAX_EARLY_BYTES: usize = 128 << 10;

#[derive(Debug)]
struct Early {
    seq: u32,
    length: u32,
    bytes: Box<[u8]>,
}

/// What few streams need.
#[derive(Debug, Default)]
struct Waiting {
    /// The beginning of a head or of a line.
    partial: Vec<u8>,
    /// Its first line is complete.
    has_line: bool,
    early: Vec<Early>,
    early_bytes: usize,
}

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// Sequence number of the next byte in order.
    seq: u32,
    /// Bytes left of a body or chunk.
    left: u64,
    next: Next,
    /// `seq` is set.
    begun: bool,
    /// The first byte was the first of the stream.
    from_start: bool,
    /// A message became complete.
    finished: bool,
    waiting: Option<Box<Waiting>>,
}

const fn distance(to: u32, from: u32) -> i32 {
    to.wrapping_sub(from).cast_signed()
}

impl Stream {
    /// A segment arrives. True if its data is the next in order: then `seq` has moved behind it.
    /// Data that was seen before is cut off by the caller of [`Stream::take_early`]; here it is refused or kept.
    pub(super) fn arrive(&mut self, data: &Data<'_>) -> bool {
        if !self.begun {
            self.begun = true;
            self.from_start = data.origin.is_some();
            self.seq = data.origin.unwrap_or(data.seq);
        }
        let gap = distance(data.seq, self.seq);
        if gap == 0 {
            self.seq = data.seq.wrapping_add(data.length);
            return true;
        }
        let end = data.seq.wrapping_add(data.length);
        if distance(end, self.seq) <= 0 {
            return false;
        }
        if matches!(self.next, Next::Ignored | Next::UntilClose) {
            self.seq = end;
            return false;
        }
        if gap > 0
            && matches!(self.next, Next::Body | Next::Chunk)
            && u64::from(gap.unsigned_abs()) <= self.left
        {
            // Inside a body nobody looks: what comes late is passed over like the rest.
            self.left -= u64::from(gap.unsigned_abs());
            self.seq = end;
            return true;
        }
        self.keep_early(data);
        false
    }

    fn keep_early(&mut self, data: &Data<'_>) {
        let waiting = self.waiting.get_or_insert_default();
        if waiting.early.iter().any(|early| early.seq == data.seq && early.length >= data.length) {
            return;
        }
        let bytes = data.bytes.get(..data.length as usize).unwrap_or(data.bytes);
        waiting.early_bytes += bytes.len();
        waiting.early.push(Early { seq: data.seq, length: data.length, bytes: bytes.into() });
    }

    pub(super) fn has_early(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| !waiting.early.is_empty())
    }

    pub(super) fn is_overfull(&self) -> bool {
        self.waiting
            .as_ref()
            .is_some_and(|waiting| waiting.early.len() > MAX_EARLY || waiting.early_bytes > MAX_EARLY_BYTES)
    }

    /// How many bytes are missing before the earliest segment that waits.
    pub(super) fn gap(&self) -> u32 {
        let early = self.waiting.iter().flat_map(|waiting| &waiting.early);
        early.map(|early| distance(early.seq, self.seq)).min().map_or(0, |gap| gap.max(0).unsigned_abs())
    }

    /// The next segment that waited and follows now, without what was seen of it.
    /// What is entirely old is dropped.
    pub(super) fn take_early(&mut self) -> Option<(Box<[u8]>, u32)> {
        loop {
            let waiting = self.waiting.as_mut()?;
            let at = waiting.early.iter().position(|early| distance(early.seq, self.seq) <= 0)?;
            let early = waiting.early.swap_remove(at);
            waiting.early_bytes -= early.bytes.len();
            let old = distance(self.seq, early.seq).max(0).unsigned_abs();
            if old >= early.length {
                continue;
            }
            self.seq = early.seq.wrapping_add(early.length);
            let bytes = early.bytes.get(old as usize..).unwrap_or_default().into();
            return Some((bytes, early.length - old));
        }
    }

    /// So many bytes in order were not captured.
    pub(super) fn miss(&mut self, count: u32, side: usize, messages: &mut Messages) {
        if count == 0 {
            return;
        }
        if self.has_early() {
            self.seq = self.seq.wrapping_add(count);
        }
        match self.next {
            Next::Ignored | Next::UntilClose => return,
            Next::Body | Next::Chunk if u64::from(count) <= self.left => {
                self.left -= u64::from(count);
                self.after_count();
                return;
            }
            _ => {}
        }
        self.close(side, messages);
        if messages.asking_side().is_some() {
            messages.bits |= Messages::UNSURE;
        } else if self.next == Next::First {
            messages.bits |= Messages::HIDDEN;
        }
        self.next = Next::Anywhere;
    }

    /// No more bytes follow. A head whose first line is there counts, even if the rest was not captured.
    pub(super) fn close(&mut self, side: usize, messages: &mut Messages) {
        let Some(waiting) = &mut self.waiting else { return };
        if !matches!(self.next, Next::First | Next::Message | Next::Anywhere) || waiting.partial.is_empty() {
            return;
        }
        let mut text = std::mem::take(&mut waiting.partial);
        text.extend_from_slice(b"\r\n\r\n");
        if let Parsed::Head(head, _) = head::parse(&text)
            && text[..text.len() - 4].contains(&b'\n')
        {
            let bit = match head.start {
                head::Start::Request(_) => Messages::REQUESTS,
                head::Start::Response(_) => Messages::RESPONSES,
            };
            messages.set(bit, side);
            if bit == Messages::REQUESTS {
                messages.count[side] = messages.count[side].saturating_add(1);
            }
            messages.bits |= Messages::UNSURE;
        }
    }

    pub(super) fn give_back(&mut self) {
        self.waiting = None;
    }

    pub(super) fn ignore(&mut self) {
        self.next = Next::Ignored;
        self.waiting = None;
    }

    /// The side has closed.
    pub(super) fn end(&mut self) {
        if self.next == Next::UntilClose {
            self.finished = true;
            self.next = Next::Message;
        }
    }

    /// The side has closed, and part of what it sent may be missing. True if that leaves a body in doubt.
    pub(super) fn lose_end(&mut self) -> bool {
        let in_doubt = self.next == Next::UntilClose;
        if in_doubt {
            self.next = Next::Anywhere;
        }
        in_doubt
    }

    /// A message is complete with its head.
    pub(super) fn finish(&mut self) {
        self.finished = true;
    }

    /// True once for each complete message.
    pub(super) fn take_finished(&mut self) -> bool {
        std::mem::take(&mut self.finished)
    }

    pub(super) fn is_in_a_body(&self) -> bool {
        matches!(self.next, Next::Body | Next::ChunkSize | Next::Chunk | Next::Trailers | Next::UntilClose)
    }

    /// True if all that came in order was whole messages, and nothing waits.
    pub(super) fn is_between_messages(&self) -> bool {
        let waits = |waiting: &Waiting| !waiting.partial.is_empty() || !waiting.early.is_empty();
        matches!(self.next, Next::First | Next::Message) && !self.waiting.as_deref().is_some_and(waits)
    }

    /// All that follows is the body, with the segments that came early.
    pub(super) fn until_close(&mut self) {
        self.next = Next::UntilClose;
        let ends = self.waiting.take().into_iter().flat_map(|waiting| waiting.early);
        let end = |early: Early| early.seq.wrapping_add(early.length);
        self.seq = ends.map(end).fold(self.seq, |last, end| if distance(end, last) > 0 { end } else { last });
    }

    /// What follows a head: chunks, so many bytes, or all up to the end.
    pub(super) fn body(&mut self, chunked: bool, length: Option<u64>) {
        (self.next, self.left) = match length {
            _ if chunked => (Next::ChunkSize, 0),
            Some(0) => (Next::Message, 0),
            Some(length) => (Next::Body, length),
            None => return self.until_close(),
        };
        self.finished = self.next == Next::Message;
    }

    /// Takes bytes in order. `plain` if the answer may come without a head.
    pub(super) fn eat(&mut self, bytes: &[u8], plain: bool) -> Wants {
        match self.next {
            Next::Ignored | Next::UntilClose => Wants::Nothing,
            Next::Body | Next::Chunk => {
                let used = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= used as u64;
                self.after_count();
                Wants::More(used)
            }
            Next::ChunkSize => self.chunk_size(bytes),
            Next::Trailers => self.trailers(bytes),
            Next::First | Next::Message | Next::Anywhere => self.message(bytes, plain),
        }
    }

    fn after_count(&mut self) {
        if self.left == 0 {
            self.finished = self.next == Next::Body;
            self.next = if self.next == Next::Chunk { Next::ChunkSize } else { Next::Message };
        }
    }

    fn message(&mut self, bytes: &[u8], plain: bool) -> Wants {
        let Some(waiting) = self.waiting.as_mut().filter(|waiting| !waiting.partial.is_empty()) else {
            return match head::parse(bytes) {
                Parsed::Head(head, length) => Wants::Act(head, length),
                Parsed::Partial => {
                    let waiting = self.waiting.get_or_insert_default();
                    waiting.partial.extend_from_slice(bytes);
                    waiting.has_line = memchr::memchr(b'\n', bytes).is_some();
                    Wants::Nothing
                }
                Parsed::Other if plain => Wants::Plain,
                Parsed::Other => self.not_a_message(bytes),
            };
        };
        let partial = &mut waiting.partial;
        let before = partial.len();
        partial.extend_from_slice(bytes);
        // A long head in small pieces is read again only for its first line, and for the empty one that ends it.
        let tail = &partial[before.saturating_sub(3)..];
        let ends = |end: &[u8]| memchr::memmem::find(tail, end).is_some();
        let parsed = if ends(b"\n\r\n") || ends(b"\n\n") || !waiting.has_line && ends(b"\n") {
            head::parse(partial)
        } else {
            Parsed::Partial
        };
        waiting.has_line |= memchr::memchr(b'\n', bytes).is_some();
        match parsed {
            Parsed::Head(head, length) => {
                partial.clear();
                Wants::Act(head, length.saturating_sub(before))
            }
            Parsed::Partial if partial.len() <= MAX_HEAD => Wants::Nothing,
            Parsed::Partial | Parsed::Other => {
                *partial = Vec::new();
                if plain { Wants::Plain } else { self.not_a_message(&[]) }
            }
        }
    }

    fn not_a_message(&mut self, bytes: &[u8]) -> Wants {
        if self.next == Next::First && self.from_start {
            if let Some(length) = proxy_header(bytes) {
                return Wants::More(length);
            }
            self.ignore();
        } else {
            self.next = Next::Anywhere;
        }
        Wants::Nothing
    }

    fn chunk_size(&mut self, bytes: &[u8]) -> Wants {
        let (line, used) = match self.line(bytes) {
            Ok(line) => line,
            Err(wants) => return wants,
        };
        // RFC 9112 section 7.1: hexadecimal digits, then perhaps extensions.
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let size =
            std::str::from_utf8(&line[..digits]).ok().and_then(|text| u64::from_str_radix(text, 16).ok());
        match size {
            Some(0) => self.next = Next::Trailers,
            Some(size) => {
                self.next = Next::Chunk;
                self.left = size.saturating_add(2);
            }
            None => {
                self.next = Next::Anywhere;
                return Wants::Nothing;
            }
        }
        Wants::More(used)
    }

    fn trailers(&mut self, bytes: &[u8]) -> Wants {
        match self.line(bytes) {
            Ok((line, used)) => {
                if line.is_empty() {
                    self.finished = true;
                    self.next = Next::Message;
                }
                Wants::More(used)
            }
            Err(wants) => wants,
        }
    }

    /// The next line without its end, and how many of these bytes belong to it.
    fn line(&mut self, bytes: &[u8]) -> Result<(Vec<u8>, usize), Wants> {
        let end = memchr::memchr(b'\n', bytes);
        let partial = &mut self.waiting.get_or_insert_default().partial;
        partial.extend_from_slice(&bytes[..end.unwrap_or(bytes.len())]);
        let Some(end) = end else {
            if partial.len() > MAX_HEAD {
                partial.clear();
                self.next = Next::Anywhere;
            }
            return Err(Wants::Nothing);
        };
        let mut line = std::mem::take(partial);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok((line, end + 1))
    }
}

/// Length of the header that a balancer puts before the first request (PROXY protocol, versions 1 and 2).
fn proxy_header(bytes: &[u8]) -> Option<usize> {
    const LONGEST_LINE: usize = 107;
    const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
    if bytes.starts_with(b"PROXY ") {
        return memchr::memchr(b'\n', bytes.get(..LONGEST_LINE.min(bytes.len()))?).map(|end| end + 1);
    }
    bytes.starts_with(SIGNATURE).then_some(())?;
    let length = u16::from_be_bytes([*bytes.get(14)?, *bytes.get(15)?]);
    Some(16 + usize::from(length)).filter(|length| *length <= bytes.len())
}
