//! Which files a list of arguments means.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use super::CaptureError;

/// The capture files that `paths` stand for, in order.
///
/// A file is taken whatever its name, and `-` (standard input) stays as it is. A folder stands for all files in it and
/// in the folders below that end in `.pcap`, `.pcapng` or `.cap` and perhaps `.gz` or `.zst`, sorted by name. Links
/// to files are followed, links to folders inside a folder are not, so that no walk is endless.
///
/// # Errors
///
/// When a path does not exist, a folder cannot be listed, or a folder has no capture in it.
pub fn find_captures(paths: &[PathBuf]) -> Result<Vec<PathBuf>, CaptureError> {
    let mut found = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            found.push(path.clone());
            continue;
        }
        let metadata = fs::metadata(path)
            .map_err(|cause| CaptureError::Open { file: path.display().to_string(), cause })?;
        if !metadata.is_dir() {
            found.push(path.clone());
            continue;
        }
        let before = found.len();
        walk(path, &mut found)?;
        if found.len() == before {
            return Err(CaptureError::NoCaptures { folder: path.clone() });
        }
    }
    Ok(found)
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), CaptureError> {
    let failed = |cause: io::Error| CaptureError::Folder { folder: folder.to_owned(), cause };
    let mut entries =
        fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(failed)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_type().map_err(failed)?.is_dir() {
            walk(&path, found)?;
        } else if has_capture_name(&path) && path.is_file() {
            found.push(path);
        }
    }
    Ok(())
}

fn has_capture_name(path: &Path) -> bool {
    let plain = if ends_in(path, &["gz", "zst"]) { path.with_extension("") } else { path.to_owned() };
    ends_in(&plain, &["pcap", "pcapng", "cap"])
}

fn ends_in(path: &Path, extensions: &[&str]) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    extension.is_some_and(|extension| extensions.iter().any(|known| known.eq_ignore_ascii_case(extension)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_stands_for_its_captures_in_order() {
        let root = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, b"x").unwrap();
            path
        };
        let odd = file("odd.txt");
        let expected = [
            file("traces/a.pcap"),
            file("traces/b/1.PCAPNG.gz"),
            file("traces/b/2.cap.zst"),
            file("traces/c.cap"),
            file("traces/d.pcapng"),
        ];
        for name in ["notes.txt", "e.pcap.xz", "f.gz", "pcap", ".pcap", "g.pcap.gz.zst"] {
            file(&format!("traces/{name}"));
        }
        fs::create_dir(root.path().join("traces/z.pcap")).unwrap();
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(root.path(), root.path().join("traces/loop")).unwrap();
            std::os::unix::fs::symlink("nowhere", root.path().join("traces/dangling.pcap")).unwrap();
        }
        let found = find_captures(&[odd.clone(), PathBuf::from("-"), root.path().join("traces")]).unwrap();
        assert_eq!(found[..2], [odd, PathBuf::from("-")]);
        assert_eq!(found[2..], expected);
    }

    #[test]
    fn what_is_missing_is_named() {
        let root = tempfile::tempdir().unwrap();
        let empty = find_captures(&[root.path().to_owned()]).unwrap_err();
        assert!(matches!(&empty, CaptureError::NoCaptures { folder } if folder == root.path()), "{empty}");
        let missing = root.path().join("missing.pcap");
        let error = find_captures(std::slice::from_ref(&missing)).unwrap_err();
        assert!(matches!(&error, CaptureError::Open { file, .. } if *file == missing.display().to_string()));
    }
}
