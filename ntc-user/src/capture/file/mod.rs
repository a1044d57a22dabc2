//! Capture files: pcap and pcapng, plain or packed with gzip or zstd, from a file or from a pipe.
//!
//! | module | job |
//! | --- | --- |
//! | `find` | arguments to files |
//! | `source` | bytes of the file, decompressed |
//! | `window` | the one buffer, and where in the file it stands |
//! | `pcap`, `pcapng`, `interface`, `order` | the formats |
//! | `foreign`, `error` | what is wrong, in words that help |
//!
//! Memory is bounded by the longest record taken, 16 MiB, and no packet is copied or allocated for: a [`Frame`]
//! borrows from the buffer until the next is asked for. The formats are read here and not by the crate `pcap-parser`:
//! measured, this is 1.2 (pcap) to 2.2 times (pcapng) as fast, and the errors of that crate do not tell the place in
//! the file, so most of the code around it would stay.

mod error;
mod find;
mod foreign;
mod interface;
mod order;
mod pcap;
mod pcapng;
mod source;
mod window;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::{
    fs::{File, Metadata},
    io::{self, IsTerminal, Read},
    os::fd::AsFd,
    path::Path,
    sync::atomic::Ordering,
};

pub use self::{error::CaptureError, find::find_captures};
use self::{pcap::PcapReader, pcapng::PcapngReader, source::Source, window::Window};

/// One packet of a capture file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Packet time, ns since the Unix epoch. A Simple Packet Block of pcapng has none: it takes that of the packet
    /// before it.
    pub timestamp_ns: u64,
    /// `LINKTYPE_*` number of the packet's interface, passed on as it is.
    pub link_type: u16,
    /// Length on the wire; at least that of `data`.
    pub wire_len: u32,
    /// The bytes that were captured.
    pub data: &'a [u8],
}

/// How far a file has been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes taken of the file as it lies on disk, so of the compressed ones.
    pub bytes_read: u64,
    /// Size of the file; a pipe has none.
    pub size: Option<u64>,
}

/// An open capture file.
pub struct CaptureFile {
    window: Window,
    format: Format,
    size: Option<u64>,
    /// After the end or an error, nothing comes any more.
    done: bool,
}

enum Format {
    Pcap(PcapReader),
    Pcapng(PcapngReader),
}

/// A packet whose bytes lie in the window, at a place that holds until the window is filled again.
struct Record {
    timestamp_ns: u64,
    link_type: u16,
    wire_len: u32,
    data_at: usize,
    data_len: usize,
}

impl CaptureFile {
    /// Opens a file, or standard input for `-`, and reads its header.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened or does not start as a capture does.
    pub fn open(path: &Path) -> Result<Self, CaptureError> {
        let (name, opened) = if path.as_os_str() == "-" {
            let stdin = io::stdin();
            if stdin.is_terminal() {
                return Err(CaptureError::Terminal);
            }
            // Past the lock and the small buffer of `Stdin`.
            ("standard input".to_owned(), stdin.as_fd().try_clone_to_owned().map(File::from))
        } else {
            (path.display().to_string(), File::open(path))
        };
        let file = match opened {
            Ok(file) => file,
            Err(cause) => return Err(CaptureError::Open { file: name, cause }),
        };
        // Without it the progress has no end: no reason to stop.
        let metadata = file.metadata().ok();
        if metadata.as_ref().is_some_and(Metadata::is_dir) {
            return Err(CaptureError::Open { file: name, cause: io::ErrorKind::IsADirectory.into() });
        }
        let size = metadata.filter(Metadata::is_file).map(|metadata| metadata.len());
        let mut capture = Self::from_reader(name, file)?;
        capture.size = size;
        Ok(capture)
    }

    /// Reads a capture from any stream of bytes. `name` stands for it in messages.
    ///
    /// # Errors
    ///
    /// When the stream cannot be read or does not start as a capture does.
    pub fn from_reader(
        name: impl Into<String>,
        reader: impl Read + Send + 'static,
    ) -> Result<Self, CaptureError> {
        let name = name.into();
        let source = match Source::detect(reader) {
            Ok(source) => source,
            Err(cause) => return Err(CaptureError::Read { file: name, offset: 0, compression: None, cause }),
        };
        let mut window = Window::new(name, source);
        let format = Format::detect(&mut window)?;
        Ok(Self { window, format, size: None, done: false })
    }

    /// The next packet, in the order of the file. It is valid until this is called again.
    ///
    /// After `None` or an error nothing more comes. A file that is cut off gives all its whole packets first and then
    /// [`CaptureError::Truncated`].
    #[inline]
    pub fn next_frame(&mut self) -> Option<Result<Frame<'_>, CaptureError>> {
        if self.done {
            return None;
        }
        let next = match &mut self.format {
            Format::Pcap(reader) => reader.next(&mut self.window),
            Format::Pcapng(reader) => reader.next(&mut self.window),
        };
        match next {
            Ok(Some(record)) => Some(Ok(Frame {
                timestamp_ns: record.timestamp_ns,
                link_type: record.link_type,
                wire_len: record.wire_len,
                data: self.window.slice(record.data_at, record.data_len),
            })),
            Ok(None) => {
                self.done = true;
                None
            }
            Err(error) => {
                self.done = true;
                Some(Err(error))
            }
        }
    }

    /// How far the file has been read. At most a buffer ahead of the packets given out.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let bytes_read = self.window.source.bytes_read.load(Ordering::Relaxed);
        Progress { bytes_read, size: self.size }
    }

    /// The file's name as messages have it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.window.name()
    }
}

impl Format {
    /// Finds the format by its magic number and reads the file's header.
    fn detect(window: &mut Window) -> Result<Self, CaptureError> {
        let whole = match window.require(4) {
            Ok(true) => true,
            Ok(false) => return Err(CaptureError::Empty { file: window.name().to_owned() }),
            // Too short for any capture: what there is decides the message.
            Err(error) if error.is_truncated() => false,
            Err(error) => return Err(error),
        };
        if let (true, Some(&magic)) = (whole, window.bytes().first_chunk()) {
            if PcapngReader::detect(magic) {
                return PcapngReader::open(window).map(Self::Pcapng);
            }
            if let Some(order) = PcapReader::detect(magic) {
                return PcapReader::open(window, order).map(Self::Pcap);
            }
        }
        let (found, advice) = foreign::recognise(window.bytes());
        Err(CaptureError::NotACapture { file: window.name().to_owned(), found, advice })
    }
}
