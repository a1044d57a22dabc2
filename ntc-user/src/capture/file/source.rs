//! The byte stream below a capture: a file or a pipe, decompressed if its first bytes say so.

use std::{
    io::{self, BufReader, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::bufread::MultiGzDecoder;
use zstd::stream::read::Decoder as ZstdDecoder;

/// Compressed bytes read at once. They count as read before they are expanded, so many hide a bomb for a while.
const COMPRESSED_CHUNK: usize = 64 << 10;

/// Bytes looked at before reading: enough to name what is no capture. Every capture has more.
const HEAD: usize = 8;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: u32 = 0xfd2f_b528;
/// Sixteen magic numbers differ in the low four bits. `pzstd` starts its files with such a frame.
const ZSTD_SKIPPABLE_MAGIC: u32 = 0x184d_2a50;

/// The decompressed stream, and what is known of the file under it.
pub(super) struct Source {
    /// Gives the decompressed bytes.
    pub reader: Box<dyn Read + Send>,
    /// Name of the compression, if there is any.
    pub compression: Option<&'static str>,
    /// Bytes taken of the file as it lies on disk.
    pub bytes_read: Arc<AtomicU64>,
}

impl Source {
    /// Looks at the first bytes of `raw` and puts the fitting decompressor before it.
    pub(super) fn detect(mut raw: impl Read + Send + 'static) -> io::Result<Self> {
        let mut head = [0; HEAD];
        let mut have = 0;
        // A pipe may hand out single bytes.
        while have < head.len() {
            match raw.read(&mut head[have..]) {
                Ok(0) => break,
                Ok(n) => have += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let bytes_read = Arc::new(AtomicU64::new(0));
        let counted = Counted { raw, head, head_at: 0, head_end: have, bytes_read: Arc::clone(&bytes_read) };
        let [m0, m1, m2, m3, ..] = head;
        let magic = u32::from_le_bytes([m0, m1, m2, m3]);
        let (reader, compression): (Box<dyn Read + Send>, _) = if head.starts_with(&GZIP_MAGIC) {
            let buffered = BufReader::with_capacity(COMPRESSED_CHUNK, counted);
            (Box::new(MultiGzDecoder::new(buffered)), Some("gzip"))
        } else if magic == ZSTD_MAGIC || magic & !0xf == ZSTD_SKIPPABLE_MAGIC {
            let buffered = BufReader::with_capacity(COMPRESSED_CHUNK, counted);
            (Box::new(ZstdDecoder::with_buffer(buffered)?), Some("zstd"))
        } else {
            (Box::new(counted), None)
        };
        Ok(Self { reader, compression, bytes_read })
    }
}

/// Gives the bytes that were looked at once more, and counts.
struct Counted<R> {
    raw: R,
    head: [u8; HEAD],
    head_at: usize,
    head_end: usize,
    bytes_read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let head = &self.head[self.head_at..self.head_end];
        let n = if head.is_empty() {
            self.raw.read(into)?
        } else {
            let n = head.len().min(into.len());
            into[..n].copy_from_slice(&head[..n]);
            self.head_at += n;
            n
        };
        // A statistic: it orders nothing.
        self.bytes_read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}
