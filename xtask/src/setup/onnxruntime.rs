//! ONNX Runtime's shared library, which the agent loads when it starts.
//!
//! Its makers publish it for Linux inside the Python wheel, with a digest that the package index serves for ever;
//! only the library and its licences are taken out.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::Piece;
use crate::workspace;

/// The release that ships.
pub const VERSION: &str = "1.32.0";

/// The wheel for an architecture: pip's name of the platform, and SHA-256.
fn wheel(arch: &str) -> Result<(&'static str, &'static str)> {
    Ok(match arch {
        "x86_64" => {
            ("manylinux_2_28_x86_64", "5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d")
        }
        "aarch64" => {
            ("manylinux_2_28_aarch64", "2303372a85299b6757b0e11e1cbf13e410ddf7e10c37f4b37e99d1c90e7daf7c")
        }
        other => {
            bail!("there is no ONNX Runtime wheel for {other}; set ORT_DYLIB_PATH to a library of yours")
        }
    })
}

/// The library at `.tools/onnxruntime/libonnxruntime.so`, where `.cargo/config.toml` points `ORT_DYLIB_PATH`.
pub struct OnnxRuntime {
    /// The processor, by Rust's name.
    pub arch: &'static str,
}

impl OnnxRuntime {
    /// For this machine.
    pub const HERE: Self = Self { arch: std::env::consts::ARCH };
    /// For packages that are built for arm64.
    pub const ARM64: Self = Self { arch: "aarch64" };

    /// Where it is.
    pub fn folder(&self) -> PathBuf {
        let here = self.arch == std::env::consts::ARCH;
        workspace::tools().join(if here {
            "onnxruntime".to_owned()
        } else {
            format!("onnxruntime-{}", self.arch)
        })
    }
}

impl Piece for OnnxRuntime {
    fn name(&self) -> String {
        format!("ONNX Runtime {VERSION} ({})", self.arch)
    }

    fn why(&self) -> String {
        "runs the models (14 MB from the Python package index)".to_owned()
    }

    fn is_there(&self) -> Result<bool> {
        let version = fs::read_to_string(self.folder().join("VERSION")).unwrap_or_default();
        Ok(version == VERSION && self.folder().join("libonnxruntime.so").is_file())
    }

    fn install(&self) -> Result<()> {
        let work = self.folder().with_extension("part");
        remove(&work)?;
        fs::create_dir_all(&work)?;
        let wheel = download(&work, self.arch)?;
        let unpacked = work.join("wheel");
        workspace::run(
            workspace::command(super::python::SYSTEM_PYTHON)
                .args(["-m", "zipfile", "-e"])
                .arg(&wheel)
                .arg(&unpacked),
        )?;
        let ready = work.join("ready");
        fs::create_dir_all(&ready)?;
        let package = unpacked.join("onnxruntime");
        let library = format!("capi/libonnxruntime.so.{VERSION}");
        for (from, to) in [
            (library.as_str(), "libonnxruntime.so"),
            ("LICENSE", "LICENSE"),
            ("ThirdPartyNotices.txt", "ThirdPartyNotices.txt"),
        ] {
            fs::rename(package.join(from), ready.join(to))
                .with_context(|| format!("the wheel has no {from}"))?;
        }
        fs::write(ready.join("VERSION"), VERSION)?;
        remove(&self.folder())?;
        fs::rename(&ready, self.folder())?;
        remove(&work)
    }
}

/// Fetches the wheel with a pip of its own (a bare system has none) and lets pip compare the digest.
///
/// The wheel is named in full, so that any Python can fetch it: no Python code of it is ever run.
fn download(work: &Path, arch: &str) -> Result<PathBuf> {
    let (platform, sha256) = wheel(arch)?;
    let venv = workspace::tools().join("venv");
    if !venv.join("bin/pip").is_file() {
        workspace::run(
            workspace::command(super::python::SYSTEM_PYTHON).args(["-m", "venv", "--clear"]).arg(&venv),
        )?;
    }
    let requirements = work.join("requirements.txt");
    fs::write(&requirements, format!("onnxruntime=={VERSION} --hash=sha256:{sha256}\n"))?;
    workspace::run(
        workspace::command(venv.join("bin/pip"))
            .args(["download", "--quiet", "--no-deps", "--only-binary=:all:", "--python-version=3.11"])
            .args([
                "--implementation=cp",
                "--abi=cp311",
                "--platform",
                platform,
                "--require-hashes",
                "--dest",
            ])
            .arg(work)
            .arg("--requirement")
            .arg(&requirements),
    )?;
    let mut files = fs::read_dir(work)?.filter_map(Result::ok).map(|entry| entry.path());
    files.find(|path| path.extension().is_some_and(|end| end == "whl")).context("pip left no wheel")
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
