//! Where bundles are found by name.

use super::selection::{Selection, SelectionError};
use std::{
    env, fmt, fs,
    path::{Component, Path, PathBuf},
    time::SystemTime,
};

/// Where the machine's owner puts bundles, and where `ntc model use` writes.
const OWN_DIRECTORY: &str = "/var/lib/ntc/models";
/// Where packages put bundles.
const SYSTEM_DIRECTORY: &str = "/usr/lib/ntc/models";
/// Folder of bundles beside the binary, or in the checkout whose `target/<profile>` it is in.
const FOLDER: &str = "models";
/// Every bundle has it.
const MANIFEST: &str = "model.toml";

/// Where a bundle is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the binary.
    BuiltIn,
    /// In this folder.
    Folder(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built in"),
            Self::Folder(folder) => write!(f, "{}", folder.display()),
        }
    }
}

/// Folders of bundles.
#[derive(Clone, Debug)]
pub struct Store {
    folders: Vec<PathBuf>,
}

impl Store {
    /// The folder that is named and no other; else `/var/lib/ntc/models`, those beside the binary, and
    /// `/usr/lib/ntc/models`.
    pub fn new(named: Option<&Path>) -> Self {
        let folders = match named {
            Some(folder) => vec![folder.to_path_buf()],
            None => {
                let binary = env::current_exe().unwrap_or_default();
                // The binary's own folder; of target/release/ntc the checkout, two above.
                let beside = binary.ancestors().skip(1).step_by(2).take(2);
                let beside = beside.map(|folder| folder.join(FOLDER)).filter(|folder| folder.is_dir());
                [OWN_DIRECTORY.into()].into_iter().chain(beside).chain([SYSTEM_DIRECTORY.into()]).collect()
            }
        };
        Self { folders }
    }

    /// The folders that are looked at.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// Which bundle answers where no option names one; `None`: nothing was chosen.
    ///
    /// # Errors
    /// What `ntc model use` wrote cannot be used.
    pub fn selected(&self) -> Result<Option<PathBuf>, SelectionError> {
        Ok(Selection::read(&self.folders[0])?.and_then(|selection| selection.model))
    }

    /// Writes what answers from now on where no option names a bundle, and keeps what was chosen before.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn select(&self, model: Option<PathBuf>) -> Result<(), SelectionError> {
        let previous = self.selected()?;
        Selection { model, previous }.write(&self.folders[0])
    }

    /// When a choice was last written, be it the same once more; `None`: never.
    pub fn chosen(&self) -> Option<SystemTime> {
        Selection::written(&self.folders[0])
    }

    /// What was chosen before.
    ///
    /// # Errors
    /// Nothing was ever chosen, or what was written cannot be used.
    pub fn previous(&self) -> Result<Option<PathBuf>, SelectionError> {
        let folder = &self.folders[0];
        let selection =
            Selection::read(folder)?.ok_or_else(|| SelectionError::None { folder: folder.clone() })?;
        Ok(selection.previous)
    }

    /// Whether it is looked up as a name, not taken as a path.
    pub fn is_name(name: &Path) -> bool {
        matches!(name.components().collect::<Vec<_>>()[..], [Component::Normal(_)])
    }

    /// A bundle's folder by its name. A path (`./name`, `/etc/ntc/name`) is taken as it is.
    pub fn find(&self, name: &Path) -> Option<PathBuf> {
        if !Self::is_name(name) {
            return Some(name.to_path_buf());
        }
        self.folders.iter().map(|folder| folder.join(name)).find(|folder| folder.join(MANIFEST).is_file())
    }

    /// All bundles in the folders: the first of each name, by name.
    pub fn list(&self) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = Vec::new();
        for folder in &self.folders {
            // Not there: nothing in it.
            let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
            let bundles = entries.map(|entry| entry.path()).filter(|path| path.join(MANIFEST).is_file());
            for bundle in bundles {
                if found.iter().all(|known| known.file_name() != bundle.file_name()) {
                    found.push(bundle);
                }
            }
        }
        found.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_up_and_paths_are_taken() {
        let root = tempfile::tempdir().expect("a folder");
        for name in ["b", "a", "empty"] {
            fs::create_dir(root.path().join(name)).expect("made");
            if name != "empty" {
                fs::write(root.path().join(name).join(MANIFEST), "").expect("written");
            }
        }
        let store = Store::new(Some(root.path()));
        assert_eq!(store.list(), [root.path().join("a"), root.path().join("b")]);
        assert_eq!(store.find(Path::new("b")), Some(root.path().join("b")));
        assert_eq!(store.find(Path::new("empty")), None);
        for path in ["./b", "/nowhere", "x/y", ".."] {
            assert_eq!(store.find(Path::new(path)), Some(path.into()));
        }
    }
}
