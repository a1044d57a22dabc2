//! The Python environment of the training package in `models/`.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use super::Piece;
use crate::workspace;

/// The distribution's interpreter: only it sees the distribution's PyTorch. One earlier in PATH may be of another version.
pub const SYSTEM_PYTHON: &str = "/usr/bin/python3";

/// The interpreter of the environment.
pub fn python() -> PathBuf {
    folder().join("bin/python")
}

fn folder() -> PathBuf {
    workspace::tools().join("training")
}

fn requirements() -> PathBuf {
    workspace::root().join("models/requirements.txt")
}

/// Written last, as a copy of the requirements that were installed: a change of theirs installs again.
fn stamp() -> PathBuf {
    folder().join("requirements.installed")
}

/// A virtual environment that sees the distribution's PyTorch and has the rest by pip.
pub struct Environment;

impl Piece for Environment {
    fn name(&self) -> String {
        "training environment".to_owned()
    }

    fn why(&self) -> String {
        "trains models and tests the training package (models/requirements.txt)".to_owned()
    }

    fn is_there(&self) -> Result<bool> {
        let wanted = fs::read(requirements()).context("cannot read models/requirements.txt")?;
        Ok(fs::read(stamp()).is_ok_and(|installed| installed == wanted))
    }

    fn install(&self) -> Result<()> {
        if !python().is_file() {
            workspace::run(
                workspace::command(SYSTEM_PYTHON)
                    .args(["-m", "venv", "--clear", "--system-site-packages"])
                    .arg(folder()),
            )?;
        }
        workspace::run(
            workspace::command(python())
                .args(["-m", "pip", "install", "--quiet", "--requirement"])
                .arg(requirements()),
        )?;
        fs::copy(requirements(), stamp())?;
        Ok(())
    }
}
