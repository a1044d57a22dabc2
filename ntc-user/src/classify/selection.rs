//! Which bundle answers where no option says so: what `ntc model use` writes, and agents follow.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Name of the file in a folder of bundles.
const FILE: &str = "current.toml";

/// The file cannot be used, and why.
#[derive(Debug, Error)]
pub enum SelectionError {
    /// It cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `ntc model use` was never used here.
    #[error("{}: no model was chosen yet", folder.join(FILE).display())]
    None {
        /// Where it would write.
        folder: PathBuf,
    },
    /// It is not what it should be.
    #[error("{}: {source}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Place and mistake.
        source: Box<toml::de::Error>,
    },
}

/// What was chosen, by name or folder. `None`: the bundle in the binary.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// Name or folder.
    pub model: Option<PathBuf>,
    /// What was chosen before.
    pub previous: Option<PathBuf>,
}

impl Selection {
    /// The one in a folder; `None` where nothing was chosen.
    ///
    /// # Errors
    /// It is there and cannot be used.
    pub fn read(folder: &Path) -> Result<Option<Self>, SelectionError> {
        let path = folder.join(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text)
                .map(Some)
                .map_err(|source| SelectionError::Syntax { path, source: Box::new(source) }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(SelectionError::File { path, source }),
        }
    }

    /// When the one in a folder was written; `None` where nothing was chosen.
    pub fn written(folder: &Path) -> Option<SystemTime> {
        fs::metadata(folder.join(FILE)).and_then(|file| file.modified()).ok()
    }

    /// Writes it in place of the one that is there: who reads meanwhile gets the one or the other.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn write(&self, folder: &Path) -> Result<(), SelectionError> {
        let (path, fresh) = (folder.join(FILE), folder.join(format!("{FILE}.new")));
        let text = toml::to_string(self).unwrap_or_else(|_| unreachable!("two paths are TOML"));
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&fresh, format!("# Written by `ntc model use`.\n{text}")))
            .and_then(|()| fs::File::open(&fresh)?.sync_all())
            .and_then(|()| fs::rename(&fresh, &path))
            .map_err(|source| SelectionError::File { path, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_chosen_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("made");
        assert_eq!(Selection::read(&folder).expect("nothing yet"), None);
        for (model, previous) in [(Some("a"), None), (None, Some("/x/y"))] {
            let selection = Selection { model: model.map(Into::into), previous: previous.map(Into::into) };
            selection.write(&folder).expect("written");
            assert_eq!(Selection::read(&folder).expect("read"), Some(selection));
        }
        fs::write(folder.join(FILE), "modell = \"a\"").expect("written");
        let said = Selection::read(&folder).expect_err("a mistake").to_string();
        assert!(said.contains("modell") && said.contains(FILE), "{said}");
    }
}
