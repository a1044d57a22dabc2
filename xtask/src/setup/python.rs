//! Python environments: of the training package in `models/`, of labelling and generated traffic beside it, of the tests,
//! and of the example in `docs/examples/`.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use super::Piece;
use crate::workspace;

/// The distribution's interpreter: only it sees the distribution's PyTorch. One earlier in PATH may be of another version.
pub const SYSTEM_PYTHON: &str = "/usr/bin/python3";

/// A virtual environment with a list of requirements, installed by pip.
pub struct Environment {
    /// Its folder below `.tools`.
    folder: &'static str,
    /// File below the project's root.
    requirements: &'static str,
    /// Whether it sees the distribution's packages.
    sees_system: bool,
    /// Shown when it is installed.
    why: &'static str,
}

/// Sees the distribution's PyTorch and has the rest by pip.
pub const TRAINING: Environment = Environment {
    folder: "training",
    requirements: "models/requirements.txt",
    sees_system: true,
    why: "trains models and tests the training package (models/requirements.txt)",
};

/// nDPI, as nfstream brings it.
pub const LABELLING: Environment = Environment {
    folder: "labelling",
    requirements: "models/labelling.txt",
    sees_system: false,
    why: "labels captures by nDPI's payload inspection (models/labelling.txt)",
};

/// Servers and clients of many protocols.
pub const GENERATING: Environment = Environment {
    folder: "generating",
    requirements: "models/generating.txt",
    sees_system: false,
    why: "serves and asks in generated traffic (models/generating.txt)",
};

/// Schemathesis, which reads the OpenAPI document and asks what it allows and what it does not.
pub const ASKING: Environment = Environment {
    folder: "asking",
    requirements: "tests/requirements.txt",
    sees_system: false,
    why: "asks the query interface by its own document (tests/requirements.txt)",
};

/// os-ken, a library for SDN controllers.
pub const CONTROLLER: Environment = Environment {
    folder: "controller",
    requirements: "docs/examples/requirements.txt",
    sees_system: false,
    why: "runs the example of an SDN controller (docs/examples/requirements.txt)",
};

/// The lists of all environments.
pub fn requirements() -> impl Iterator<Item = PathBuf> {
    [&TRAINING, &LABELLING, &GENERATING, &ASKING, &CONTROLLER].into_iter().map(Environment::requirements)
}

impl Environment {
    /// The interpreter of the environment.
    pub fn python(&self) -> PathBuf {
        self.path().join("bin/python")
    }

    fn path(&self) -> PathBuf {
        workspace::tools().join(self.folder)
    }

    fn requirements(&self) -> PathBuf {
        workspace::root().join(self.requirements)
    }

    /// Written last, as a copy of the requirements that were installed: a change of theirs installs again.
    fn stamp(&self) -> PathBuf {
        self.path().join("requirements.installed")
    }
}

impl Piece for Environment {
    fn name(&self) -> String {
        format!("{} environment", self.folder)
    }

    fn why(&self) -> String {
        self.why.to_owned()
    }

    fn is_there(&self) -> Result<bool> {
        let path = self.requirements();
        let wanted = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(fs::read(self.stamp()).is_ok_and(|installed| installed == wanted))
    }

    fn install(&self) -> Result<()> {
        if !self.python().is_file() {
            let mut venv = workspace::command(SYSTEM_PYTHON);
            venv.args(["-m", "venv", "--clear"]);
            if self.sees_system {
                venv.arg("--system-site-packages");
            }
            workspace::run(venv.arg(self.path()))?;
        }
        workspace::run(
            workspace::command(self.python())
                .args(["-m", "pip", "install", "--quiet", "--requirement"])
                .arg(self.requirements()),
        )?;
        fs::copy(self.requirements(), self.stamp())?;
        Ok(())
    }
}
