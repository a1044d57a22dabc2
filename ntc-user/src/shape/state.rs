//! What ntc put in place of what, for the time after it.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Kind, ShapeError};
use crate::kernel::netlink::qdiscs::Qdisc;

/// Where it is noted.
const FOLDER: &str = "/run/ntc";

/// Noted while ntc's qdisc is there.
#[derive(Debug, Serialize, Deserialize)]
pub struct State {
    /// ntc's.
    pub kind: Kind,
    /// Of ntc's.
    pub major: u16,
    /// What was there before, if it was somebody's.
    pub before: Option<Qdisc>,
}

impl State {
    /// What is noted of an interface.
    pub fn of(index: u32) -> Option<Self> {
        serde_json::from_slice(&fs::read(path(index)).ok()?).ok()
    }

    /// Notes it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn note(&self, index: u32) -> Result<(), ShapeError> {
        let path = path(index);
        let write = || {
            fs::create_dir_all(FOLDER)?;
            fs::write(&path, serde_json::to_vec(self)?)
        };
        write().map_err(|source| ShapeError::State { path: path.display().to_string(), source })
    }

    /// Forgets what is noted.
    pub fn forget(index: u32) {
        // Nothing there: as good.
        let _ = fs::remove_file(path(index));
    }

    /// Whether this qdisc is the one that was noted.
    pub fn is_of(&self, qdisc: &Qdisc) -> bool {
        qdisc.kind == self.kind.name() && qdisc.handle >> 16 == u32::from(self.major)
    }
}

/// An index means something in its network namespace only.
fn path(index: u32) -> PathBuf {
    let namespace = fs::metadata("/proc/thread-self/ns/net").map_or(0, |namespace| namespace.ino());
    Path::new(FOLDER).join(format!("qdisc-{namespace}-{index}.json"))
}
