//! Images: Debian packages, unpacked beside the sources and never installed.
//!
//! Installing two dozen daemons on a developer's machine would enable their units at the next boot, open ports and
//! push out the mail or time daemon that is there. So apt only downloads what the machine lacks. Each host of the
//! demonstration sees the result as an overlay over `/usr` and `/etc`, in a mount namespace of its own; the guest
//! kernel sees it as an overlay over the whole file system.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::workspace::output;

/// File that names what the image was made from.
const STAMP: &str = "packages";

/// Where the demonstration's image lies under the folder of downloaded tools.
pub fn root(tools: &Path) -> PathBuf {
    tools.join("services")
}

/// Whether the image is there and made from these packages.
pub fn is_there(root: &Path, packages: &[&str]) -> bool {
    fs::read_to_string(root.join(STAMP)).is_ok_and(|made_from| made_from == stamp(packages))
}

fn stamp(packages: &[&str]) -> String {
    packages.join("\n")
}

/// Makes the image, unless it is there and made from these packages.
pub fn unpack(root: &Path, packages: &[&str]) -> Result<()> {
    if is_there(root, packages) {
        return Ok(());
    }
    fs::create_dir_all(root.parent().context("the image has no parent folder")?)?;
    // Asked again under the lock: another run may have made it while this one waited. It ends with this function.
    let lock = File::create(root.with_extension("lock"))?;
    lock.lock()?;
    if is_there(root, packages) {
        return Ok(());
    }
    println!(
        "{}: downloading {} Debian packages and what they need (unpacked, not installed)",
        root.file_name().unwrap_or_default().display(),
        packages.len()
    );
    let part = root.with_extension("part");
    for old in [root, &part] {
        if old.exists() {
            fs::remove_dir_all(old).with_context(|| format!("removing {}", old.display()))?;
        }
    }
    let archives = part.join("archives");
    fs::create_dir_all(archives.join("partial"))?;
    // Package lists may be missing or old: the second try has new ones.
    if download(&archives, packages).is_err() {
        output(apt_get().arg("update"))?;
        download(&archives, packages)?;
    }
    // Some packages still ship ./bin or ./lib: merge them as the system does.
    for name in ["bin", "sbin", "lib", "lib64"] {
        fs::create_dir_all(part.join("usr").join(name))?;
        symlink(Path::new("usr").join(name), part.join(name))?;
    }
    fs::create_dir_all(part.join("etc"))?;
    for entry in fs::read_dir(&archives)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ext| ext == "deb") {
            extract(&path, &part, &[])?;
        }
    }
    fs::remove_dir_all(&archives)?;
    fs::write(part.join(STAMP), stamp(packages))?;
    // A download that was cut off never looks like a finished one.
    fs::rename(&part, root).with_context(|| format!("moving the image to {}", root.display()))
}

/// apt-get, asking nothing.
pub fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["-q", "-y"]);
    command
}

/// Fetches the packages and those of their dependencies that the machine lacks; changes nothing else.
fn download(archives: &Path, packages: &[&str]) -> Result<()> {
    let mut directory = std::ffi::OsString::from("Dir::Cache::archives=");
    directory.push(archives.canonicalize()?);
    output(
        apt_get()
            .args(["install", "--download-only", "--no-install-recommends"])
            .args(["-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=root", "-o"])
            .arg(directory)
            .args(packages),
    )?;
    Ok(())
}

/// Unpacks a package, or only these members of it: paths that begin with `./`.
pub fn extract(package: &Path, root: &Path, members: &[String]) -> Result<()> {
    let mut tarball = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped())
        .spawn()
        .context("starting dpkg-deb")?;
    let stream = tarball.stdout.take().context("dpkg-deb has no output")?;
    let unpacked = Command::new("tar")
        .args(["--extract", "--keep-directory-symlink", "--directory"])
        .arg(root)
        .args(members)
        .stdin(stream)
        .status()
        .context("starting tar")?;
    if !tarball.wait()?.success() || !unpacked.success() {
        bail!("unpacking {} failed", package.display());
    }
    Ok(())
}
