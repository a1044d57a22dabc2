//! Which kernel modules must be loaded before which.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

/// Files of the modules and all that they need, in the order of loading, relative to `folder`, which has the files
/// that depmod wrote. Those that are built into the kernel are left out.
pub fn in_order(folder: &Path, wanted: &[&str]) -> Result<Vec<String>> {
    let read = |name| {
        fs::read_to_string(folder.join(name)).with_context(|| format!("no {name} in {}", folder.display()))
    };
    order(&read("modules.dep")?, &read("modules.builtin")?, wanted)
}

fn order(dependencies: &str, builtin: &str, wanted: &[&str]) -> Result<Vec<String>> {
    let mut order: Vec<String> = Vec::new();
    for name in wanted {
        if builtin.lines().any(|file| module(file) == *name) {
            continue;
        }
        let line = dependencies.lines().filter_map(|line| line.split_once(':'));
        let (file, needs) = line
            .into_iter()
            .find(|(file, _)| module(file) == *name)
            .with_context(|| format!("no module {name}"))?;
        // Each is listed before what it needs itself.
        for file in needs.split_whitespace().rev().chain([file]) {
            if !order.iter().any(|known| known == file) {
                order.push(file.to_owned());
            }
        }
    }
    Ok(order)
}

/// A module's name by its file: the kernel makes no difference between `-` and `_`.
fn module(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split('.').next().unwrap_or(name).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_comes_first_and_once() -> Result<()> {
        let dependencies = "kernel/fs/9p/9p.ko: kernel/fs/netfs/netfs.ko kernel/net/9p/9pnet.ko\n\
                            kernel/net/9p/9pnet.ko:\n\
                            kernel/drivers/virtio/virtio-pci.ko: kernel/v/legacy.ko kernel/v/virtio.ko";
        let found =
            order(dependencies, "kernel/a/virtio_blk.ko\n", &["virtio_blk", "virtio_pci", "9p", "9pnet"])?;
        let expected = [
            "kernel/v/virtio.ko",
            "kernel/v/legacy.ko",
            "kernel/drivers/virtio/virtio-pci.ko",
            "kernel/net/9p/9pnet.ko",
            "kernel/fs/netfs/netfs.ko",
            "kernel/fs/9p/9p.ko",
        ];
        assert_eq!(found, expected);
        assert!(order(dependencies, "", &["overlay"]).is_err());
        Ok(())
    }
}
