//! The one buffer of a capture file: it holds the records that were read but not yet given out.

use std::{
    io::{self, ErrorKind},
    sync::atomic::Ordering,
};

use bytes::BytesMut;

use super::{CaptureError, source::Source};

/// Bytes asked of the file at once. 256 KiB and 1 MiB measure alike; 64 KiB and 4 MiB are slower with large packets.
const CHUNK: usize = 256 << 10;

/// The longest record, its header included. The buffer never grows over it.
pub(super) const MAX_RECORD: usize = 16 << 20;

/// Decompressed bytes that no compression is too good for: so many take a second or two to read.
const TRUSTED_EXPANSION: u64 = 256 << 20;

/// Decompressed bytes for each one of the file, beyond [`TRUSTED_EXPANSION`]. gzip ends at 1032, zstd at 32,768. Jumbo
/// frames of UDP with nothing but zeros in them come to 498 (`zstd -3`) and 651 (`zstd -19`).
pub(super) const MAX_EXPANSION: u64 = 900;

/// The unread part of a stream, in a buffer that moves along it.
pub(super) struct Window {
    name: String,
    pub source: Source,
    /// All of it is initialised; `start..end` is what was read and not consumed.
    buffer: BytesMut,
    start: usize,
    end: usize,
    /// Place of `buffer[0]` in the stream.
    base: u64,
}

impl Window {
    pub(super) fn new(name: String, source: Source) -> Self {
        Self { name, source, buffer: BytesMut::zeroed(CHUNK), start: 0, end: 0, base: 0 }
    }

    /// Makes sure that `need` bytes lie in the window. `false` if the stream ended before the first of them; an
    /// error if it ended before the last.
    #[inline]
    pub(super) fn require(&mut self, need: usize) -> Result<bool, CaptureError> {
        if self.end - self.start >= need { Ok(true) } else { self.fill(need) }
    }

    /// What lies in the window: at least what was last required.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Moves past `length` bytes of those in the window. They stay where they are until the next `require`.
    /// Returns their place for [`Window::slice`].
    #[inline]
    pub(super) fn consume(&mut self, length: usize) -> usize {
        let at = self.start;
        self.start = (at + length).min(self.end);
        at
    }

    /// Bytes that were consumed just now.
    #[inline]
    pub(super) fn slice(&self, at: usize, length: usize) -> &[u8] {
        &self.buffer[at..at + length]
    }

    /// Moves past `length` bytes, which need not be in the window or fit in it.
    pub(super) fn skip(&mut self, mut length: u64) -> Result<(), CaptureError> {
        let record = self.offset();
        while length > 0 {
            if self.start == self.end && !self.fill(1)? {
                return Err(self.truncated(record));
            }
            let step = length.min((self.end - self.start) as u64);
            self.start += step as usize;
            length -= step;
        }
        Ok(())
    }

    /// Place of the first byte of the window in the stream.
    pub(super) fn offset(&self) -> u64 {
        self.base + self.start as u64
    }

    #[cold]
    fn fill(&mut self, need: usize) -> Result<bool, CaptureError> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.base += self.start as u64;
        self.end -= self.start;
        self.start = 0;
        while self.end < need {
            if self.end == self.buffer.len() {
                // By what has come, not by what a header promises: a false length costs no memory.
                let grown = (self.end * 2).min(MAX_RECORD).max(self.end + 1);
                self.buffer.resize(grown, 0);
            }
            match self.source.reader.read(&mut self.buffer[self.end..]) {
                Ok(0) if self.end == 0 => return Ok(false),
                Ok(0) => return Err(self.truncated(self.base)),
                Ok(n) => {
                    self.end += n;
                    self.check_expansion()?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The compressed stream itself is cut off.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Err(self.truncated(self.base));
                }
                Err(cause) => return Err(self.unreadable(cause)),
            }
        }
        Ok(true)
    }

    /// A few bytes of the file may not keep the reader busy for hours.
    fn check_expansion(&self) -> Result<(), CaptureError> {
        let expanded = self.base + self.end as u64;
        if self.source.compression.is_none() || expanded <= TRUSTED_EXPANSION {
            return Ok(());
        }
        let packed = self.source.bytes_read.load(Ordering::Relaxed);
        if expanded / MAX_EXPANSION <= packed {
            return Ok(());
        }
        Err(CaptureError::Expansion { file: self.name.clone(), offset: expanded })
    }

    #[cold]
    fn unreadable(&self, cause: io::Error) -> CaptureError {
        CaptureError::Read {
            file: self.name.clone(),
            offset: self.base + self.end as u64,
            compression: self.source.compression,
            cause,
        }
    }

    /// The stream ended within the record that starts at `record`.
    #[cold]
    pub(super) fn truncated(&self, record: u64) -> CaptureError {
        CaptureError::Truncated {
            file: self.name.clone(),
            offset: record,
            end: self.base + self.end as u64,
            compression: self.source.compression,
        }
    }

    /// The record at the start of the window is wrong.
    #[cold]
    pub(super) fn damaged(&self, what: &'static str) -> CaptureError {
        CaptureError::Damaged { file: self.name.clone(), offset: self.offset(), what }
    }

    /// The record at the start of the window is too long.
    #[cold]
    pub(super) fn too_long(&self, length: u64, limit: u64) -> CaptureError {
        CaptureError::TooLong { file: self.name.clone(), offset: self.offset(), length, limit }
    }

    /// The header at the start of the window is of an unknown version.
    #[cold]
    pub(super) fn version(&self, format: &'static str, major: u16, minor: u16) -> CaptureError {
        CaptureError::Version { file: self.name.clone(), offset: self.offset(), format, major, minor }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read};

    use super::*;

    fn window(reader: impl Read + Send + 'static) -> Window {
        Window::new("test".to_owned(), Source::detect(reader).unwrap())
    }

    #[test]
    fn the_offset_follows_the_stream() {
        let bytes: Vec<u8> = (0..3 * CHUNK).map(|at| (at / 7) as u8).collect();
        let mut window = window(Cursor::new(bytes.clone()));
        let mut at = 0;
        while window.require(1000).unwrap_or(false) {
            assert_eq!(window.offset(), at as u64);
            assert_eq!(window.bytes()[..1000], bytes[at..at + 1000]);
            let place = window.consume(1000);
            assert_eq!(window.slice(place, 1000), &bytes[at..at + 1000]);
            at += 1000;
        }
        assert_eq!(at, bytes.len() / 1000 * 1000);
    }

    #[test]
    fn a_false_length_costs_no_memory() {
        let mut window = window(Cursor::new(vec![1; 2 * CHUNK]));
        assert!(window.require(MAX_RECORD).unwrap_err().is_truncated());
        assert!(window.buffer.len() <= 4 * CHUNK);
    }

    #[test]
    fn the_buffer_stays_within_its_bound() {
        let mut window = window(io::repeat(1));
        window.skip(12_345).unwrap();
        assert!(window.require(MAX_RECORD).unwrap());
        assert_eq!((window.buffer.len(), window.offset()), (MAX_RECORD, 12_345));
    }
}
