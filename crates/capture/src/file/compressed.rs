//! gzip and zstd around a capture.

use flate2::{Crc, Decompress, FlushDecompress, Status};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::io::{BufRead, BufReader, Read};

/// Of zstd's frames: what its own program takes without being told to (`ZSTD_WINDOWLOG_LIMIT_DEFAULT`, 27).
const LARGEST_WINDOW: u64 = 1 << 27;
const ZSTD_MAGIC: u32 = 0xfd2f_b528;
/// The lowest of 16 magics of frames to be skipped (RFC 8878 section 3.1.2).
const ZSTD_SKIP: u32 = 0x184d_2a50;

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    Gzip,
    Zstd,
}

impl Compression {
    /// By the first bytes.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let magic = u32::from_le_bytes(*bytes.first_chunk()?);
        match (bytes, magic) {
            ([0x1f, 0x8b, 8, ..], _) => Some(Self::Gzip),
            (_, ZSTD_MAGIC) => Some(Self::Zstd),
            (_, magic) if magic & !0xf == ZSTD_SKIP => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// The bytes within. What can be decompressed before the damage is given before the error.
pub(crate) fn decompress<'a>(
    compression: Compression,
    source: impl BufRead + Send + 'a,
) -> Box<dyn Read + Send + 'a> {
    match compression {
        Compression::Gzip => Box::new(Gzip::new(source)),
        Compression::Zstd => Box::new(Zstd::new(source)),
    }
}

/// The members of a gzip file (RFC 1952), one after the other; zeros behind the last are padding (gzip(1)). Unlike
/// flate2's own reader this one gives all that was decompressed before the damage.
struct Gzip<R> {
    source: R,
    inflate: Decompress,
    sum: Crc,
    inside: bool,
    failed: Option<std::io::Error>,
}

impl<R: BufRead> Gzip<R> {
    fn new(source: R) -> Self {
        Self { source, inflate: Decompress::new(false), sum: Crc::new(), inside: false, failed: None }
    }

    /// Begins the next member; false at the end.
    fn begin(&mut self) -> std::io::Result<bool> {
        loop {
            let here = self.source.fill_buf()?;
            if here.is_empty() {
                return Ok(false);
            }
            let zeros = here.iter().take_while(|byte| **byte == 0).count();
            if zeros == 0 {
                break;
            }
            self.source.consume(zeros);
        }
        let mut head = [0; 10];
        self.source.read_exact(&mut head)?;
        let [0x1f, 0x8b, 8, flags, ..] = head else {
            return Err(std::io::Error::other("what follows is no gzip member"));
        };
        if flags & 4 != 0 {
            let mut length = [0; 2];
            self.source.read_exact(&mut length)?;
            self.pass(u16::from_le_bytes(length).into())?;
        }
        for text in [8, 16] {
            if flags & text != 0 {
                self.pass_text()?;
            }
        }
        if flags & 2 != 0 {
            self.pass(2)?;
        }
        self.inflate.reset(false);
        self.sum.reset();
        Ok(true)
    }

    fn pass(&mut self, count: u64) -> std::io::Result<()> {
        let passed = std::io::copy(&mut (&mut self.source).take(count), &mut std::io::sink())?;
        if passed == count { Ok(()) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
    }

    /// A name or comment, of any length, with a zero behind it.
    fn pass_text(&mut self) -> std::io::Result<()> {
        loop {
            let here = self.source.fill_buf()?;
            if here.is_empty() {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let end = here.iter().position(|byte| *byte == 0);
            let count = end.map_or(here.len(), |end| end + 1);
            self.source.consume(count);
            if end.is_some() {
                return Ok(());
            }
        }
    }

    /// Ends a member: the sum and the length of what it holds.
    fn end(&mut self) -> std::io::Result<()> {
        let mut tail = [0; 8];
        self.source.read_exact(&mut tail)?;
        // The sum, then the length, little-endian both.
        let expected = u64::from(self.sum.amount()) << 32 | u64::from(self.sum.sum());
        if u64::from_le_bytes(tail) == expected {
            Ok(())
        } else {
            Err(std::io::Error::other("the checksum does not fit the data"))
        }
    }

    /// Some bytes, or 0 at the end.
    fn more(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            if !self.inside {
                if !self.begin()? {
                    return Ok(0);
                }
                self.inside = true;
            }
            let here = self.source.fill_buf()?;
            let cut = here.is_empty();
            let (before, given) = (self.inflate.total_in(), self.inflate.total_out());
            let done = self.inflate.decompress(here, buffer, FlushDecompress::None);
            let taken = usize::try_from(self.inflate.total_in() - before).unwrap_or(usize::MAX);
            self.source.consume(taken);
            let count = usize::try_from(self.inflate.total_out() - given).unwrap_or(usize::MAX);
            let fresh = buffer.get(..count).unwrap_or_default();
            self.sum.update(fresh);
            let ended = match done {
                Ok(Status::StreamEnd) => {
                    self.inside = false;
                    self.end()
                }
                Ok(_) if cut && count == 0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => Ok(()),
                Err(error) => Err(std::io::Error::other(error)),
            };
            match ended {
                Err(error) if count == 0 => return Err(error),
                Err(error) => self.failed = Some(error),
                Ok(()) => {}
            }
            if count > 0 {
                return Ok(count);
            }
        }
    }
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let given = match self.failed.take() {
            Some(error) => Err(error),
            None => self.more(buffer),
        };
        given.map_err(|error| told("gzip", &error))
    }
}

/// The frames of a zstd file, one after the other.
struct Zstd<R> {
    source: R,
    decoder: FrameDecoder,
    inside: bool,
    failed: Option<std::io::Error>,
}

impl<R: BufRead> Zstd<R> {
    fn new(source: R) -> Self {
        Self { source, decoder: FrameDecoder::new(), inside: false, failed: None }
    }

    /// Begins the next frame; false at the end.
    fn begin(&mut self) -> std::io::Result<bool> {
        loop {
            if self.source.fill_buf()?.is_empty() {
                return Ok(false);
            }
            let mut magic = [0; 4];
            self.source.read_exact(&mut magic)?;
            match u32::from_le_bytes(magic) {
                ZSTD_MAGIC => break,
                number if number & !0xf == ZSTD_SKIP => {
                    let mut length = [0; 4];
                    self.source.read_exact(&mut length)?;
                    let length = u64::from(u32::from_le_bytes(length));
                    std::io::copy(&mut (&mut self.source).take(length), &mut std::io::sink())?;
                }
                _ => return Err(std::io::Error::other("what follows is no zstd frame")),
            }
        }
        // The decoder would take any window: its size is looked at first (RFC 8878 section 3.1.1.1).
        let mut header = [0; 18];
        header[..4].copy_from_slice(&ZSTD_MAGIC.to_le_bytes());
        self.source.read_exact(&mut header[4..5])?;
        let descriptor = header[4];
        let single = descriptor & 0x20 != 0;
        let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let content = match descriptor >> 6 {
            0 => usize::from(single),
            1 => 2,
            2 => 4,
            _ => 8,
        };
        let length = 5 + usize::from(!single) + dictionary + content;
        self.source.read_exact(&mut header[5..length])?;
        let window = if single {
            let mut size = [0; 8];
            size[..content].copy_from_slice(&header[length - content..length]);
            u64::from_le_bytes(size)
        } else {
            let base = 1u64 << (10 + (header[5] >> 3));
            base + base / 8 * u64::from(header[5] & 7)
        };
        if window > LARGEST_WINDOW {
            return Err(std::io::Error::other(format!(
                "a window of {window} bytes, more than {LARGEST_WINDOW}: decompress it first"
            )));
        }
        self.decoder.init(&header[..length]).map_err(std::io::Error::other)?;
        Ok(true)
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if self.inside {
                let count = self.decoder.read(buffer)?;
                if count > 0 {
                    return Ok(count);
                }
                if self.decoder.is_finished() {
                    self.inside = false;
                }
            }
            if let Some(error) = self.failed.take() {
                return Err(told("zstd", &error));
            }
            if !self.inside {
                match self.begin() {
                    Ok(true) => self.inside = true,
                    Ok(false) => return Ok(0),
                    Err(error) => return Err(told("zstd", &error)),
                }
            }
            let block = self.decoder.decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1));
            if let Err(error) = block {
                // The decoder keeps the last window back while a frame goes on. An empty last block ends it, so
                // that all that was decompressed can be read; behind it stands room for a checksum.
                let cut = self.source.fill_buf().is_ok_and(<[u8]>::is_empty);
                self.failed = Some(if cut {
                    std::io::ErrorKind::UnexpectedEof.into()
                } else {
                    std::io::Error::other(error)
                });
                let end = [1, 0, 0, 0, 0, 0, 0];
                if self.decoder.decode_blocks(&end[..], BlockDecodingStrategy::All).is_err() {
                    self.inside = false;
                }
            }
        }
    }
}

/// An error that says what was being undone.
fn told(what: &str, error: &std::io::Error) -> std::io::Error {
    let text = match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "cut short".to_owned(),
        _ => error.to_string(),
    };
    std::io::Error::new(error.kind(), format!("{what}: {text}"))
}

/// A buffered reader of a stream whose first bytes have been read already.
pub(crate) fn with_head<'a>(head: Vec<u8>, rest: impl Read + Send + 'a) -> impl BufRead + Send + 'a {
    BufReader::with_capacity(64 << 10, std::io::Cursor::new(head).chain(rest))
}
