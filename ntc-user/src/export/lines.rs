//! JSON lines, appended to a file that others may move away (logrotate).

use std::{
    fs::{File, OpenOptions},
    io::{self, Seek as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::task::spawn_blocking;

use super::{host, json, other};
use crate::api::{log::Record, state::Shared};

/// The file.
#[derive(Debug)]
pub struct Lines {
    path: PathBuf,
    host: String,
    file: Option<File>,
}

impl Lines {
    pub fn new(path: PathBuf) -> Self {
        Self { path, host: host(), file: None }
    }

    pub async fn open(&mut self) -> io::Result<()> {
        let path = self.path.clone();
        self.file = Some(spawn_blocking(move || open(&path)).await.map_err(other)??);
        Ok(())
    }

    pub async fn send(&mut self, records: &[Arc<Record>], shared: &Shared) -> io::Result<u64> {
        let mut text = String::new();
        for record in records {
            text.push_str(&json(record, shared, &self.host));
            text.push('\n');
        }
        let (path, file) = (self.path.clone(), self.file.take());
        let written = spawn_blocking(move || append(&path, file, &text));
        self.file = Some(written.await.map_err(other)??);
        Ok(records.len() as u64)
    }
}

fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path);
    file.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// Writes to the file that has the name now: all of it or nothing.
fn append(path: &Path, file: Option<File>, text: &str) -> io::Result<File> {
    let moved = |file: &File| {
        let same = |a: &std::fs::Metadata, b: &std::fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
        !matches!((file.metadata(), path.metadata()), (Ok(a), Ok(b)) if same(&a, &b))
    };
    let mut file = match file {
        Some(file) if !moved(&file) => file,
        _ => open(path)?,
    };
    let end = file.seek(io::SeekFrom::End(0));
    if let Err(error) = file.write_all(text.as_bytes()) {
        if let Ok(end) = end {
            // A disk that is full may have had room for half a line; it is written again later.
            let _ = file.set_len(end);
        }
        return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display())));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_moved_away_is_made_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, old) = (folder.path().join("flows.jsonl"), folder.path().join("flows.jsonl.1"));
        let file = append(&path, None, "1\n").expect("written");
        let file = append(&path, Some(file), "2\n").expect("written");
        std::fs::rename(&path, &old).expect("moved");
        append(&path, Some(file), "3\n").expect("written");
        let read = |path| std::fs::read_to_string(path).expect("readable");
        assert_eq!((read(&old), read(&path)), ("1\n2\n".to_owned(), "3\n".to_owned()));
    }

    #[test]
    fn a_path_that_cannot_be_written_is_named() {
        let error = append(Path::new("/proc/ntc/flows.jsonl"), None, "1\n").expect_err("no such folder");
        assert!(error.to_string().starts_with("/proc/ntc/flows.jsonl: "), "{error}");
    }
}
