//! What cargo has kept of the registry's answers: one file a crate, with the index's line of each version in it.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// The index's line of a version.
#[derive(Deserialize)]
struct Line {
    vers: String,
    yanked: bool,
}

/// Whether the registry has withdrawn a version; None: there is no answer about it.
pub fn yanked(name: &str, version: &str) -> Result<Option<bool>> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(env::home_dir()?.join(".cargo"))).context("no home folder")?;
    let indices = home.join("registry/index");
    for index in fs::read_dir(&indices).with_context(|| indices.display().to_string())? {
        let file = index?.path().join(".cache").join(place(name));
        if let Some(answer) = fs::read(file).ok().and_then(|kept| told(&kept, version)) {
            return Ok(Some(answer));
        }
    }
    Ok(None)
}

/// Where a crate's file is below an index.
fn place(name: &str) -> PathBuf {
    let name = name.to_lowercase();
    let folder = match name.len() {
        1 => "1".to_owned(),
        2 => "2".to_owned(),
        3 => format!("3/{}", &name[..1]),
        _ => format!("{}/{}", &name[..2], &name[2..4]),
    };
    Path::new(&folder).join(name)
}

/// The lines are between zero bytes, their versions before them.
fn told(kept: &[u8], version: &str) -> Option<bool> {
    let lines = kept.split(|&byte| byte == 0).filter_map(|part| serde_json::from_slice::<Line>(part).ok());
    lines.into_iter().find(|line| line.vers == version).map(|line| line.yanked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_withdrawn_version_is_found() {
        let kept =
            b"\x03\x02\0\0\0etag\x000.1.0\0{\"name\":\"x\",\"vers\":\"0.1.0\",\"yanked\":true}\x000.2.0\0\
                     {\"name\":\"x\",\"vers\":\"0.2.0\",\"yanked\":false}\0";
        assert_eq!(
            ["0.1.0", "0.2.0", "0.3.0"].map(|version| told(kept, version)),
            [Some(true), Some(false), None]
        );
    }

    #[test]
    fn short_names_have_folders_of_their_own() {
        let places = ["a", "ab", "abc", "Abcd"].map(place);
        assert_eq!(places, ["1/a", "2/ab", "3/a/abc", "ab/cd/abcd"].map(PathBuf::from));
    }
}
