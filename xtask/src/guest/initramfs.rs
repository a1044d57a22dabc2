//! The guest's first file system: a shell, the modules that reach this machine's files, and the script that does.

use std::{
    fs::{self, File},
    io::{BufWriter, Cursor, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result};
use cpio::newc::{Builder, ModeFileType, trailer};

use super::{Root, modules};
use crate::setup;

/// Devices, the shared file system and the overlay; all others are loaded on demand from there.
const MODULES: &[&str] = &["virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay"];
/// Mount points, and where busybox makes its links.
const FOLDERS: &[&str] =
    &["bin", "dev", "proc", "sys", "modules", "root", "job", "kernel", "tools", "memory", "new"];

/// Writes the archive.
pub fn write(path: &Path, root: Root) -> Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    let mut number = 0;
    let mut add = |name: &str, kind: ModeFileType, content: &[u8]| -> Result<()> {
        number += 1;
        let entry = Builder::new(name).ino(number).nlink(1).mode(0o755).set_mode_file_type(kind);
        let size = u32::try_from(content.len()).with_context(|| format!("{name} is too large"))?;
        let mut entry = entry.write(&mut out, size);
        std::io::copy(&mut Cursor::new(content), &mut entry)?;
        entry.finish()?;
        Ok(())
    };
    for folder in FOLDERS {
        add(folder, ModeFileType::Directory, &[])?;
    }
    let busybox = setup::GUEST_TOOLS.root().join("usr/bin/busybox");
    add(
        "bin/busybox",
        ModeFileType::Regular,
        &fs::read(&busybox).with_context(|| busybox.display().to_string())?,
    )?;
    add("init", ModeFileType::Regular, include_bytes!("init.sh"))?;
    let script: &[u8] = match root {
        Root::Machine => include_bytes!("machine.sh"),
        Root::Debian => include_bytes!("debian.sh"),
    };
    add("root.sh", ModeFileType::Regular, script)?;
    let layers: String = root.layers().iter().map(|(name, _)| format!("{name}\n")).collect();
    add("layers", ModeFileType::Regular, layers.as_bytes())?;
    let folder = setup::guest_kernel().join("usr/lib/modules").join(setup::guest_release()?);
    let mut names = String::new();
    for (place, file) in modules::in_order(&folder, MODULES)?.iter().enumerate() {
        let name = format!("modules/{place:02}.ko");
        add(&name, ModeFileType::Regular, &fs::read(folder.join(file))?)?;
        names.push_str(&format!("/{name}\n"));
    }
    add("modules/order", ModeFileType::Regular, names.as_bytes())?;
    trailer(&mut out)?;
    out.flush()?;
    Ok(())
}
