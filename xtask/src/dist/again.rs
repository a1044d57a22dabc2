//! The same commit built once more in another folder: the packages must be the same, byte for byte.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use crate::workspace;

/// Builds the commit again in a clone, and compares the checksums.
pub fn compare(folder: &Path) -> Result<()> {
    let changed = workspace::output(workspace::command("git").args(["status", "--porcelain"]))?;
    ensure!(changed.is_empty(), "not of one commit, there are changes:\n{changed}");
    let clone: PathBuf = workspace::target()?.join("again");
    if clone.exists() {
        fs::remove_dir_all(&clone).with_context(|| format!("cannot empty {}", clone.display()))?;
    }
    workspace::run(workspace::command("git").args(["clone", "--quiet", "."]).arg(&clone))?;
    symlink(workspace::tools().canonicalize()?, clone.join(".tools"))?;
    let mut dist = workspace::cargo();
    dist.current_dir(&clone).env_remove("CARGO_TARGET_DIR").args(["xtask", "dist"]);
    workspace::run(&mut dist)?;
    let (first, second) = (sums(folder)?, sums(&clone.join("target/dist"))?);
    for (name, sum) in &first {
        let verdict = if second.get(name) == Some(sum) { "the same" } else { "DIFFERS" };
        println!("{verdict}  {name}  {sum}");
    }
    ensure!(first == second, "two builds of one commit differ; `diffoscope` tells where");
    Ok(())
}

fn sums(folder: &Path) -> Result<BTreeMap<String, String>> {
    let path = folder.join("SHA256SUMS");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let line = |line: &str| line.split_once("  ").map(|(sum, name)| (name.to_owned(), sum.to_owned()));
    Ok(text.lines().filter_map(line).collect())
}
