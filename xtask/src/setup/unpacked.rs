//! Programs of Debian's that are unpacked beside the sources and never installed: most are daemons.

use std::path::PathBuf;

use anyhow::Result;

use super::Piece;
use crate::{image, workspace};

/// Programs with what they need.
pub struct Unpacked {
    /// Below `.tools`.
    folder: &'static str,
    packages: &'static [&'static str],
    why: &'static str,
}

/// For the guest alone. Its other programs are the machine's own: the guest sees its file system.
pub const GUEST_TOOLS: Unpacked = Unpacked {
    folder: "guest/tools",
    packages: &["busybox-static", "ppp", "pppoe", "wireguard-tools"],
    why: "start the guest, and make its devices",
};

/// Who takes what ntc exports.
pub const COLLECTORS: Unpacked = Unpacked {
    folder: "collectors",
    packages: &["nats-server", "nfdump", "prometheus", "tshark"],
    why: "take in the tests what the agent exports",
};

/// A switch for a controller, and the telephones whose calls go through it.
pub const SWITCH: Unpacked = Unpacked {
    folder: "switch",
    packages: &["openvswitch-switch", "sip-tester"],
    why: "carry the calls that the example of an SDN controller singles out",
};

impl Unpacked {
    /// Where they are: a root of a file system.
    pub fn root(&self) -> PathBuf {
        workspace::tools().join(self.folder)
    }
}

impl Piece for Unpacked {
    fn name(&self) -> String {
        self.packages.join(", ")
    }

    fn why(&self) -> String {
        format!("{} (unpacked, not installed)", self.why)
    }

    fn is_there(&self) -> Result<bool> {
        Ok(image::is_there(&self.root(), self.packages))
    }

    fn install(&self) -> Result<()> {
        image::unpack(&self.root(), self.packages)
    }
}
