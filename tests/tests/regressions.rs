//! Every input that ever broke a promise, and the seeds of the fuzz targets, through the same functions as the fuzzer's.

use std::{fs, path::Path};

use anyhow::{Context as _, ensure};
use ntc_fuzz::TARGETS;

#[test]
fn every_seed_and_every_finding_keeps_the_promises() -> anyhow::Result<()> {
    let root = ntc_tests::root();
    for (name, target) in TARGETS {
        let mut inputs = 0;
        for folder in [root.join("fuzz/seeds").join(name), root.join("tests/regressions").join(name)] {
            inputs += replay(&folder, target)?;
        }
        ensure!(inputs > 0, "{name}: neither seeds nor regressions");
    }
    Ok(())
}

fn replay(folder: &Path, target: ntc_fuzz::Target) -> anyhow::Result<usize> {
    if !folder.is_dir() {
        return Ok(0);
    }
    let mut inputs = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let input = fs::read(&path)?;
        // On a thread of its own, so that a panic names the file.
        std::thread::spawn(move || target(&input)).join().ok().with_context(|| path.display().to_string())?;
        inputs += 1;
    }
    Ok(inputs)
}
