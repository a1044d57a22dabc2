//! The labelled captures beside the project, unpacked once.

use std::{
    fs::{self, File},
    path::PathBuf,
    sync::Mutex,
};

use anyhow::Context as _;

use crate::root;

/// The unpacked captures and the labels.
#[derive(Clone, Debug)]
pub struct Corpus {
    /// Folder of the captures.
    pub captures: PathBuf,
    /// `labels.csv.zst`.
    pub labels: PathBuf,
}

/// The corpus; `None`, and said so, where the folder is missing.
///
/// # Errors
/// It is there and cannot be unpacked.
pub fn open(test: &str) -> anyhow::Result<Option<Corpus>> {
    static UNPACKING: Mutex<()> = Mutex::new(());
    let packed = root().join("../shared/corpus/train");
    if !packed.is_dir() {
        crate::skip(test, "no labelled captures in ../shared/corpus beside the project")?;
        return Ok(None);
    }
    let _one_at_a_time = UNPACKING.lock();
    let unpacked = root().join("target/corpus");
    if !unpacked.join("pcap").is_dir() {
        // Under a name of this process's own, then moved: other test processes may be at it, too.
        let half = unpacked.with_extension(std::process::id().to_string());
        let archive = File::open(packed.join("pcap.tar.zst")).context("the captures")?;
        tar::Archive::new(zstd::Decoder::new(archive)?).unpack(&half)?;
        if fs::rename(&half, &unpacked).is_err() {
            fs::remove_dir_all(&half)?;
        }
    }
    Ok(Some(Corpus { captures: unpacked.join("pcap"), labels: packed.join("labels.csv.zst") }))
}
