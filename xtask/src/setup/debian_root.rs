//! A fresh Debian 12, as debootstrap makes it, for the trial of the packages. Shared with the guest read-only.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};

use super::Piece;
use crate::workspace::{self, output};

/// The suite.
const SUITE: &str = "bookworm";
/// What the trial uses beyond the packages that every Debian has: who asks over HTTP, and the guest's end.
const MORE: &str = "curl,busybox-static,dbus";
/// File with what it was made from.
const STAMP: &str = "made-from";

/// Where it is.
pub fn debian_root() -> PathBuf {
    workspace::tools().join("debian")
}

/// The piece.
pub struct DebianRoot;

impl Piece for DebianRoot {
    fn name(&self) -> String {
        format!("a root of Debian {SUITE}")
    }

    fn why(&self) -> String {
        "where the packages are tried (debootstrap, 300 MB, some minutes)".to_owned()
    }

    fn is_there(&self) -> Result<bool> {
        Ok(fs::read_to_string(debian_root().join(STAMP)).is_ok_and(|made| made == MORE))
    }

    fn install(&self) -> Result<()> {
        let part = debian_root().with_extension("part");
        for old in [debian_root(), part.clone()] {
            if old.exists() {
                fs::remove_dir_all(&old).with_context(|| format!("cannot remove {}", old.display()))?;
            }
        }
        let mut debootstrap = workspace::command("/usr/sbin/debootstrap");
        debootstrap.arg(format!("--include={MORE}")).arg(SUITE).arg(&part).arg(mirror()?);
        output(&mut debootstrap)?;
        // Where packages come from in the guest: from the job's folder alone.
        fs::write(part.join("etc/apt/sources.list"), "")?;
        fs::write(part.join("etc/hostname"), "trial\n")?;
        fs::write(part.join(STAMP), MORE)?;
        fs::rename(&part, debian_root()).with_context(|| format!("cannot write {}", debian_root().display()))
    }
}

/// Where this machine's apt has the suite from.
fn mirror() -> Result<String> {
    let mut apt = workspace::command("apt-get");
    apt.args(["indextargets", "--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"]);
    let sources = output(&mut apt)?;
    let of_suite = |line: &str| line.strip_prefix(&format!("{SUITE} main ")).map(str::to_owned);
    match sources.lines().find_map(of_suite) {
        Some(mirror) => Ok(mirror),
        None => bail!("apt has no source of Debian {SUITE}; it knows:\n{sources}"),
    }
}
