//! Packages of Node.js, in the versions of a lock file, which has a digest of each.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use super::Piece;
use crate::workspace;

/// What npm installs from: both are copied to where it installs.
const FILES: [&str; 2] = ["package.json", "package-lock.json"];

/// A folder with a lock file, and where what it names is installed.
pub struct Locked {
    name: &'static str,
    /// Below `.tools`.
    folder: &'static str,
    /// Below the project's root.
    source: &'static str,
    why: &'static str,
}

/// Playwright without the browsers that it would bring: the distribution's Chromium is driven.
pub const PLAYWRIGHT: Locked = Locked {
    name: "Playwright",
    folder: "page",
    source: "tests/page",
    why: "drives the agent's page in a browser (tests/page/package-lock.json)",
};

/// Servers and clients of many protocols, beside those of Python and Debian.
pub const SPEAKERS: Locked = Locked {
    name: "servers and clients of Node.js",
    folder: "generating-node",
    source: "models/traffic",
    why: "serve and ask in generated traffic (models/traffic/package-lock.json)",
};

impl Locked {
    /// The folder of its packages.
    pub fn modules(&self) -> PathBuf {
        self.path().join("node_modules")
    }

    fn path(&self) -> PathBuf {
        workspace::tools().join(self.folder)
    }

    /// Written last, as a copy of the lock file that was installed: a change of it installs again.
    fn stamp(&self) -> PathBuf {
        self.path().join("installed.json")
    }
}

impl Piece for Locked {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn why(&self) -> String {
        self.why.to_owned()
    }

    fn is_there(&self) -> Result<bool> {
        let path = workspace::root().join(self.source).join(FILES[1]);
        let wanted = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(fs::read(self.stamp()).is_ok_and(|installed| installed == wanted))
    }

    fn install(&self) -> Result<()> {
        fs::create_dir_all(self.path())?;
        let source = workspace::root().join(self.source);
        for file in FILES {
            fs::copy(source.join(file), self.path().join(file))?;
        }
        let mut npm = workspace::command("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
        workspace::run(npm.current_dir(self.path()))?;
        fs::copy(source.join(FILES[1]), self.stamp())?;
        Ok(())
    }
}
