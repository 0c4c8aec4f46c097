//! Captures as they are read: from a mapped file without copying, or from a stream while it grows.

use crate::file::{self, Break, Compression, FileEnding, Format, Refused, Step};
use crate::link::{Decoder, Statistics};
use crate::packet::{Each, Packet, Sink};
use crate::prefetch::prefetch;
use std::io::{BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes asked of a stream at once, and the least that its buffer holds.
const CHUNK: usize = 256 << 10;

/// One capture, read from its first packet to its last.
///
/// ```
/// # fn segments(bytes: &[u8]) -> Result<u64, capture::Refused> {
/// let mut reader = capture::Reader::new(bytes)?;
/// let mut resets = 0;
/// reader.for_each(|packet| resets += u64::from(packet.segment.flags.has(tcp::Flags::RST)));
/// # Ok(resets) }
/// # assert!(segments(b"no capture").is_err());
/// ```
// Readers of several threads lie side by side, and count with each packet: each has lines of cache of its own.
#[repr(align(128))]
#[derive(Debug)]
pub struct Reader<'a> {
    input: Input<'a>,
    format: Format,
    decoder: Decoder,
    /// Where the next record begins: in the mapped bytes, or in the buffer.
    at: usize,
    /// Mapped bytes before this are in the cache, or on their way.
    fetched: usize,
    number: u64,
    ending: Option<FileEnding>,
}

enum Input<'a> {
    Mapped(&'a [u8]),
    Stream(Stream<'a>),
}

impl std::fmt::Debug for Input<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Mapped(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Stream(stream) => write!(f, "a stream, {} bytes behind", stream.passed),
        }
    }
}

/// A stream and the part of it that is at hand.
struct Stream<'a> {
    source: Box<dyn Read + Send + 'a>,
    /// `buffer[..filled]` has been read.
    buffer: Vec<u8>,
    filled: usize,
    /// Bytes before the buffer.
    passed: u64,
    /// Bytes read before decompression.
    consumed: Arc<AtomicU64>,
    ended: bool,
    error: Option<std::io::Error>,
}

impl<'a> Reader<'a> {
    /// Of the bytes of a whole file. Compressed ones are decompressed while they are read, others are not copied.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Refused> {
        if let Some(compression) = Compression::of(bytes) {
            let consumed = Arc::new(AtomicU64::new(0));
            let counted = Counted { source: bytes, consumed: Arc::clone(&consumed) };
            let source = file::decompress(compression, BufReader::with_capacity(64 << 10, counted));
            return Self::of_stream(Stream::new(source, consumed, Vec::new()));
        }
        let (format, at) = Format::of(bytes, true)?;
        Ok(Self::with(Input::Mapped(bytes), format, at))
    }

    /// Of a stream that may still grow: each packet is given as soon as all of it has arrived. Waits for the first
    /// bytes, which tell the format.
    pub fn from_stream(stream: impl Read + Send + 'a) -> Result<Self, Refused> {
        let consumed = Arc::new(AtomicU64::new(0));
        let mut counted = Counted { source: stream, consumed: Arc::clone(&consumed) };
        // What is compressed shows in its first four bytes; no capture has fewer than 24.
        let mut head = vec![0; 4];
        let mut filled = 0;
        while filled < head.len() {
            match counted.read(&mut head[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        head.truncate(filled);
        let stream = match Compression::of(&head) {
            Some(compression) => {
                let source = file::decompress(compression, file::with_head(head, counted));
                Stream::new(source, consumed, Vec::new())
            }
            None => Stream::new(Box::new(counted), consumed, head),
        };
        Self::of_stream(stream)
    }

    fn of_stream(mut stream: Stream<'a>) -> Result<Self, Refused> {
        // 28 bytes hold the header of each format that is read; what begins otherwise is looked at more closely.
        let mut enough = 28;
        loop {
            while stream.filled < enough && stream.fill(&mut 0, enough) {}
            let variants = file::Pcap::enough(&stream.buffer[..stream.filled]);
            if enough < variants && !stream.ended {
                enough = variants;
                continue;
            }
            match Format::of(&stream.buffer[..stream.filled], false) {
                Ok((format, at)) => return Ok(Self::with(Input::Stream(stream), format, at)),
                Err(_) if !stream.ended && enough < file::ENOUGH_TO_TELL => enough = file::ENOUGH_TO_TELL,
                Err(refused) => return Err(stream.error.map_or(refused, Refused::Io)),
            }
        }
    }

    fn with(input: Input<'a>, format: Format, at: usize) -> Self {
        Self { input, format, decoder: Decoder::default(), at, fetched: 0, number: 0, ending: None }
    }

    /// Gives its packets this number of a file, where several are read.
    #[must_use]
    pub fn with_file(mut self, file: u16) -> Self {
        self.decoder.file = file;
        self
    }

    /// Gives every segment that is left, up to the end of the file or to the break.
    pub fn for_each(&mut self, mut sink: impl FnMut(&Packet<'_>)) {
        while self.advance(u64::MAX, &mut sink) {}
    }

    /// Reads up to so many frames and gives the segments in them; false if there are no more frames. A stream is
    /// waited for only until something has arrived that is new.
    pub fn advance(&mut self, frames: u64, sink: impl FnMut(&Packet<'_>)) -> bool {
        self.advance_into(frames, &mut Each(sink))
    }

    /// The same, and asks which segments are wanted.
    pub fn advance_into(&mut self, frames: u64, sink: &mut impl Sink) -> bool {
        let mut left = frames;
        while left > 0 {
            let Self { input, format, decoder, at, fetched, number, ending } = self;
            if ending.is_some() {
                return false;
            }
            let bytes = match input {
                Input::Mapped(bytes) => bytes,
                Input::Stream(stream) => {
                    // They have just been written.
                    *fetched = usize::MAX;
                    &stream.buffer[..stream.filled]
                }
            };
            let mut walk = Walk { at, fetched, number, left: &mut left, decoder };
            // The classic format gets a loop of its own, in which its step is no call.
            let step = match format {
                Format::Pcap(pcap) => walk.run(bytes, |bytes, at| pcap.step(bytes, at), sink),
                other => walk.run(bytes, |bytes, at| other.step(bytes, at), sink),
            };
            let Some(step) = step else { return true };
            let waited = matches!(self.input, Input::Stream(_)) && left < frames;
            if waited && matches!(step, Step::More { .. }) {
                return true;
            }
            self.other(step);
        }
        true
    }

    /// The time of the next frame, without reading it; `None` at the end.
    pub fn peek_time(&mut self) -> Option<i64> {
        loop {
            if self.ending.is_some() {
                return None;
            }
            let bytes = match &self.input {
                Input::Mapped(bytes) => bytes,
                Input::Stream(stream) => &stream.buffer[..stream.filled],
            };
            match self.format.peek(bytes, self.at) {
                Step::Frame { record, .. } => return Some(record.time_ns),
                other => self.other(other),
            }
        }
    }

    /// Whatever is no frame: more bytes are needed, or the end has come.
    #[cold]
    fn other(&mut self, step: Step) {
        match (step, &mut self.input) {
            (Step::Frame { .. }, _) => {}
            (Step::Skip { next }, _) => self.at = next,
            (Step::More { .. }, Input::Mapped(bytes)) => {
                let rest = bytes.len().saturating_sub(self.at);
                self.cut_short(rest);
            }
            (Step::More { need }, Input::Stream(stream)) => {
                if !stream.fill(&mut self.at, need) {
                    let rest = stream.filled - self.at;
                    match stream.error.take() {
                        Some(error) => self.broken(error.to_string()),
                        None => self.cut_short(rest),
                    }
                }
            }
            (Step::End, _) => self.ending = Some(FileEnding::Complete),
            (Step::Broken(why), _) => self.broken(why.into()),
        }
    }

    fn cut_short(&mut self, rest: usize) {
        if rest == 0 {
            self.ending = Some(FileEnding::Complete);
        } else {
            self.broken(format!("the file ends within a record, {rest} bytes after its beginning"));
        }
    }

    fn broken(&mut self, why: String) {
        let before = match &self.input {
            Input::Mapped(_) => 0,
            Input::Stream(stream) => stream.passed,
        };
        let at = before + self.at as u64;
        self.ending = Some(FileEnding::Broken(Break { at, packet: self.number + 1, why }));
    }

    /// What was read so far.
    pub fn statistics(&self) -> Statistics {
        let mut statistics = self.decoder.statistics();
        statistics.frames = self.number;
        statistics.dropped = self.format.dropped();
        statistics
    }

    /// How the file ended; `None` before that.
    pub fn ending(&self) -> Option<&FileEnding> {
        self.ending.as_ref()
    }

    /// Another reader of the same bytes, from their beginning; `None` if they are read from a stream or have to be
    /// decompressed.
    pub fn another(&self) -> Option<Self> {
        match &self.input {
            Input::Mapped(bytes) => Self::new(bytes).ok(),
            Input::Stream(_) => None,
        }
    }

    /// Bytes of the file read so far, before decompression.
    pub fn consumed(&self) -> u64 {
        match &self.input {
            Input::Mapped(_) => self.at as u64,
            Input::Stream(stream) => stream.consumed.load(Ordering::Relaxed),
        }
    }
}

/// A way through the bytes at hand.
struct Walk<'w> {
    at: &'w mut usize,
    fetched: &'w mut usize,
    number: &'w mut u64,
    /// Frames that are still wanted.
    left: &'w mut u64,
    decoder: &'w mut Decoder,
}

impl Walk<'_> {
    /// Gives the segments of frame after frame, up to a step that is none; `None` if no more are wanted.
    #[inline]
    fn run(
        &mut self,
        bytes: &[u8],
        mut step: impl FnMut(&[u8], usize) -> Step,
        sink: &mut impl Sink,
    ) -> Option<Step> {
        loop {
            if self.at.saturating_add(AHEAD) > *self.fetched {
                *self.fetched = fetch(bytes, *self.at, *self.fetched);
            }
            // Looked at where it lies: a copy of what was just written in parts waits for all writes before it.
            let found = step(bytes, *self.at);
            match &found {
                Step::Frame { record, next } => {
                    *self.number += 1;
                    *self.at = *next;
                    self.decoder.frame(*self.number, record, bytes, sink);
                    *self.left -= 1;
                    if *self.left == 0 {
                        return None;
                    }
                }
                Step::Skip { next } => *self.at = *next,
                _ => return Some(found),
            }
        }
    }
}

/// How far ahead bytes are asked for: several packets pass until memory answers. Twice as far was slower, half as far
/// no faster.
const AHEAD: usize = 4 << 10;
/// Bytes that are asked for at once.
const FETCH: usize = 1 << 10;
const CACHE_LINE: usize = 64;

/// Asks for the bytes that come next; up to where. Where a record begins says only the one before, so the processor
/// would wait for memory once or twice a packet, each time anew; and so it would in one go for all that is read ahead
/// instead of asked for. Measured: 7 % of a large capture.
#[inline]
fn fetch(bytes: &[u8], at: usize, fetched: usize) -> usize {
    let start = fetched.max(at);
    let end = start.saturating_add(FETCH);
    let next = bytes.get(start..end.min(bytes.len())).unwrap_or_default();
    next.iter().step_by(CACHE_LINE).for_each(prefetch);
    end
}

impl<'a> Stream<'a> {
    fn new(source: Box<dyn Read + Send + 'a>, consumed: Arc<AtomicU64>, head: Vec<u8>) -> Self {
        let filled = head.len();
        Self { source, buffer: head, filled, passed: 0, consumed, ended: false, error: None }
    }

    /// Gives up the bytes before `at`, which becomes 0, and waits for more. False if there are no more.
    fn fill(&mut self, at: &mut usize, need: usize) -> bool {
        let passed = (*at).min(self.filled);
        self.buffer.copy_within(passed..self.filled, 0);
        self.filled -= passed;
        self.passed += passed as u64;
        *at -= passed;
        // A length that lies must not cost memory: the buffer grows as bytes arrive.
        let room = need.clamp(CHUNK, self.filled + CHUNK);
        if self.buffer.len() < room {
            self.buffer.resize(room, 0);
        }
        while !self.ended {
            match self.source.read(&mut self.buffer[self.filled..]) {
                Ok(0) => self.ended = true,
                Ok(count) => {
                    self.filled += count;
                    return true;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.error = Some(error);
                    self.ended = true;
                }
            }
        }
        false
    }
}

/// A source that says how much was taken from it.
struct Counted<R> {
    source: R,
    consumed: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.consumed.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
