//! Debian's kernel and what its tests use, for `guest`: unpacked from Debian's packages, never installed.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::Piece;
use crate::{
    image,
    workspace::{self, output},
};

/// Depends on Debian's newest kernel for this architecture.
const META_PACKAGE: &str = "linux-image-amd64";
/// The series of Debian 12, the oldest kernel that ntc is for.
pub const SERIES: &str = "6.1";
/// File with the kernel's release and the parts that were unpacked.
const STAMP: &str = "release";
/// Of the modules, those that the boot and networks need: 60 MB of the 390.
const MODULES: &[&str] = &[
    "arch",
    "crypto",
    "drivers/char/virtio_console.ko",
    "drivers/net/*.ko",
    "drivers/net/bonding",
    "drivers/net/ipvlan",
    "drivers/net/ppp",
    "drivers/net/slip",
    "drivers/net/team",
    "drivers/net/vxlan",
    "drivers/net/wireguard",
    "drivers/virtio",
    "fs/9p",
    "fs/fscache",
    "fs/netfs",
    "fs/overlayfs",
    "lib",
    "net",
];

fn folder() -> PathBuf {
    workspace::tools().join("guest")
}

/// Where the kernel's package is unpacked.
pub fn kernel() -> PathBuf {
    folder().join("kernel")
}

/// Debian's kernel with its modules.
pub struct Kernel;

impl Piece for Kernel {
    fn name(&self) -> String {
        format!("Linux {SERIES}")
    }

    fn why(&self) -> String {
        "Debian's kernel, for the tests that run under it (70 MB, unpacked for an emulated machine)"
            .to_owned()
    }

    fn is_there(&self) -> Result<bool> {
        let stamp = fs::read_to_string(kernel().join(STAMP)).unwrap_or_default();
        Ok(stamp.split_once('\n').is_some_and(|(_, modules)| modules == MODULES.join("\n")))
    }

    fn install(&self) -> Result<()> {
        // The lists of packages may be missing, or so old that the archive has the kernel no longer.
        if self.unpack().is_err() {
            output(image::apt_get().arg("update"))?;
            self.unpack()?;
        }
        Ok(())
    }
}

impl Kernel {
    fn unpack(&self) -> Result<()> {
        let part = kernel().with_extension("part");
        for old in [kernel(), part.clone()] {
            if old.exists() {
                fs::remove_dir_all(&old).with_context(|| format!("cannot remove {}", old.display()))?;
            }
        }
        fs::create_dir_all(&part)?;
        let package = newest()?;
        let release = package.trim_start_matches("linux-image-");
        output(image::apt_get().arg("download").arg(&package).current_dir(&part))?;
        let archive = fs::read_dir(&part)?.next().context("apt-get left no package")??.path();
        let modules = format!("./lib/modules/{release}");
        let mut members = vec![
            "--wildcards".to_owned(),
            "--no-wildcards-match-slash".to_owned(),
            format!("./boot/vmlinuz-{release}"),
            format!("{modules}/modules.*"),
        ];
        members.extend(MODULES.iter().map(|module| format!("{modules}/kernel/{module}")));
        image::extract(&archive, &part, &members)?;
        fs::remove_file(&archive)?;
        fs::rename(part.join(format!("boot/vmlinuz-{release}")), part.join("vmlinuz"))?;
        fs::remove_dir(part.join("boot"))?;
        // `/lib` is a link in the system that this is laid over.
        fs::create_dir(part.join("usr"))?;
        fs::rename(part.join("lib"), part.join("usr/lib"))?;
        output(workspace::command("/sbin/depmod").arg("--basedir").arg(part.join("usr")).arg(release))?;
        fs::write(part.join(STAMP), format!("{release}\n{}", MODULES.join("\n")))?;
        fs::rename(&part, kernel()).with_context(|| format!("cannot write {}", kernel().display()))
    }
}

/// The package of the newest kernel of the series.
fn newest() -> Result<String> {
    let depends = output(workspace::command("apt-cache").args(["depends", META_PACKAGE]))?;
    let names = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    let kernel = names.into_iter().find(|name| name.starts_with("linux-image-"));
    let kernel = kernel.with_context(|| format!("{META_PACKAGE} names no kernel: {depends}"))?;
    ensure!(
        kernel.starts_with(&format!("linux-image-{SERIES}.")),
        "this distribution's kernel is {kernel}, not Debian 12's {SERIES}"
    );
    Ok(kernel.to_owned())
}

/// The release of the unpacked kernel.
pub fn release() -> Result<String> {
    let stamp = fs::read_to_string(kernel().join(STAMP)).context("no kernel for the guest")?;
    Ok(stamp.lines().next().unwrap_or_default().to_owned())
}
