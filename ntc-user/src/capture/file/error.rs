//! What can be wrong with a capture file. Each message stands alone: the file, where, what, and what to do.

use std::{io, path::PathBuf};

use super::window::MAX_EXPANSION;

/// An error of reading capture files.
///
/// An I/O cause is part of the message and not a `source`, so that printing the chain does not say it twice.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The file cannot be opened.
    #[error("{file}: cannot open: {cause}; check the name and that you may read it")]
    Open {
        /// Name of the file.
        file: String,
        /// What the system said.
        cause: io::Error,
    },

    /// Standard input is a terminal, so no capture can come from it.
    #[error("standard input is a terminal; pipe a capture into it, as in `tcpdump -U -w - | ntc classify -`")]
    Terminal,

    /// A folder cannot be listed.
    #[error("{}: cannot list: {cause}; check the name and that you may read it", folder.display())]
    Folder {
        /// The folder, or the entry in it.
        folder: PathBuf,
        /// What the system said.
        cause: io::Error,
    },

    /// A folder has no capture file in it.
    #[error(
        "{}: no capture in this folder (looked for *.pcap, *.pcapng and *.cap, also with .gz or .zst); \
         name a file of another ending itself, it is known by its content",
        folder.display()
    )]
    NoCaptures {
        /// The folder.
        folder: PathBuf,
    },

    /// The file has no byte in it.
    #[error("{file}: is empty; was the capture stopped before it wrote anything?")]
    Empty {
        /// Name of the file.
        file: String,
    },

    /// The first bytes are not those of a capture file.
    #[error("{file}: starts with {found}, not with a pcap or pcapng header; {advice}")]
    NotACapture {
        /// Name of the file.
        file: String,
        /// What it looks like.
        found: String,
        /// What to do.
        advice: &'static str,
    },

    /// A version of the file format that this reader does not know.
    #[error("{file}: {format} version {major}.{minor} at byte {offset} is not supported; {FIX_FILE}")]
    Version {
        /// Name of the file.
        file: String,
        /// Where the header starts.
        offset: u64,
        /// `pcap` or `pcapng`.
        format: &'static str,
        /// Major version.
        major: u16,
        /// Minor version.
        minor: u16,
    },

    /// The system failed to give the next bytes, or they do not decompress.
    #[error(
        "{file}: cannot read on at byte {offset}{}: {cause}; {}",
        of_stream(*.compression),
        read_advice(*.compression)
    )]
    Read {
        /// Name of the file.
        file: String,
        /// Where in the decompressed file.
        offset: u64,
        /// `gzip` or `zstd`, if the file is compressed.
        compression: Option<&'static str>,
        /// What the system or the decompressor said.
        cause: io::Error,
    },

    /// The file ends in the middle of a record, as when the capturing program is killed. All records before were
    /// given out: callers may take this for a warning ([`CaptureError::is_truncated`]).
    #[error(
        "{file}: ends at byte {end}{}, within the record that starts at byte {offset}; all packets before it \
         were read (the capturing program was killed, or the file was copied in part)",
        of_stream(*.compression)
    )]
    Truncated {
        /// Name of the file.
        file: String,
        /// Where the record that is not whole starts, in the decompressed file.
        offset: u64,
        /// Length of the decompressed file.
        end: u64,
        /// `gzip` or `zstd`, if the file is compressed.
        compression: Option<&'static str>,
    },

    /// A record is longer than this reader takes.
    #[error(
        "{file}: the record at byte {offset} claims {length} bytes, more than the {limit} possible; {FIX_FILE}"
    )]
    TooLong {
        /// Name of the file.
        file: String,
        /// Where the record starts, in the decompressed file.
        offset: u64,
        /// Its length, as its header has it.
        length: u64,
        /// The greatest length taken.
        limit: u64,
    },

    /// A compressed file expands beyond what packets do.
    #[error(
        "{file}: expands to more than {MAX_EXPANSION} times its size, {offset} bytes so far: a decompression bomb? All \
         packets before were read; to read on, unpack it and give the plain file"
    )]
    Expansion {
        /// Name of the file.
        file: String,
        /// Bytes that were decompressed.
        offset: u64,
    },

    /// A record contradicts itself or the format.
    #[error("{file}: damaged at byte {offset}: {what}; {FIX_FILE}")]
    Damaged {
        /// Name of the file.
        file: String,
        /// Where the record starts, in the decompressed file.
        offset: u64,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl CaptureError {
    /// Whether the file merely ends early, after all of its whole records were read.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        matches!(self, Self::Truncated { .. })
    }
}

const FIX_FILE: &str = "copy or capture the file again, or try to convert it with `editcap -F pcap IN OUT`";

fn of_stream(compression: Option<&str>) -> &'static str {
    if compression.is_some() { " of the decompressed data" } else { "" }
}

fn read_advice(compression: Option<&str>) -> &'static str {
    match compression {
        Some("gzip") => "check the file with `gzip -t` and copy it again",
        Some(_) => "check the file with `zstd -t` and copy it again",
        None => "check the disk or the program that writes the pipe",
    }
}
