//! Programs of Debian's that are unpacked beside the sources by `cargo xtask setup test`.

use std::{path::PathBuf, process::Command};

use crate::{net::Namespace, root};

/// Some of them, with what they need.
#[derive(Debug)]
pub struct Unpacked {
    /// Below `.tools`, as in `xtask/src/setup/unpacked.rs`.
    folder: &'static str,
    what: &'static str,
}

/// Who takes what ntc exports.
pub const COLLECTORS: Unpacked = Unpacked { folder: "collectors", what: "collectors" };
/// Open vSwitch, and SIPp, whose calls go through it.
pub const SWITCH: Unpacked = Unpacked { folder: "switch", what: "switch and telephones" };

/// Where a program may be.
const PLACES: [&str; 3] = ["usr/bin", "usr/sbin", "usr/lib/openvswitch-switch"];

impl Unpacked {
    /// Whether they are here; else says that the test is skipped.
    ///
    /// # Errors
    /// It cannot be said.
    pub fn at_hand(&self, test: &str) -> std::io::Result<bool> {
        let there = self.root().join("packages").exists();
        if !there {
            let what = self.what;
            crate::skip(
                test,
                &format!("no {what} beside the sources: `cargo xtask setup test` unpacks them"),
            )?;
        }
        Ok(there)
    }

    /// One of them, to be run in a namespace.
    pub fn inside(&self, namespace: &Namespace, program: &str) -> Command {
        let mut command = namespace.prepare("env");
        command.arg(self.libraries()).arg(self.path(program));
        command
    }

    /// One of them, to be run here.
    pub fn here(&self, program: &str) -> Command {
        let mut command = Command::new("env");
        command.arg(self.libraries()).arg(self.path(program));
        command
    }

    /// The root of their file system.
    pub fn root(&self) -> PathBuf {
        root().join(".tools").join(self.folder)
    }

    fn path(&self, program: &str) -> PathBuf {
        let mut places = PLACES.map(|place| self.root().join(place).join(program)).into_iter();
        let first = places.next().unwrap_or_default();
        if first.exists() { first } else { places.find(|place| place.exists()).unwrap_or(first) }
    }

    /// Their own libraries, for them alone.
    fn libraries(&self) -> String {
        let architecture = std::env::consts::ARCH;
        let folder = self.root().join(format!("usr/lib/{architecture}-linux-gnu"));
        format!("LD_LIBRARY_PATH={}", folder.display())
    }
}
