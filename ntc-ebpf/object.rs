//! How a BPF object is built: part of the build scripts of the crates that embed one.
//!
//! With the pinned stable compiler, so that host and BPF come from one LLVM: `RUSTC_BOOTSTRAP=1` lets it
//! build `core` for the BPF target. Not by aya-build, whose flags lack `target-cpu=v3` (atomics).

#[path = "flags.rs"]
mod flags;

use std::{
    env,
    error::Error,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

const TARGET: &str = "bpfel-unknown-none";

/// Builds one binary of `ntc-ebpf` and puts it into `OUT_DIR` under the name `object`.
pub fn build(binary: &str, features: &[&str], object: &str) -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("..");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    for watched in ["ntc-ebpf", "ntc-common/src", "Cargo.lock", ".tools/bin/bpf-linker"] {
        println!("cargo:rerun-if-changed={}", root.join(watched).display());
    }
    if env::var("CARGO_CFG_TARGET_ENDIAN")? != "little" {
        return Err("ntc's BPF object is built for little-endian machines only".into());
    }

    let target_dir = out.join("bpf");
    let mut cargo = Command::new(env::var("CARGO")?);
    cargo
        .current_dir(root.join("ntc-ebpf"))
        .args(["build", "--release", "--quiet", "-Z", "build-std=core", "--target", TARGET])
        .args(["--bin", binary, "--features", &features.join(","), "--target-dir"])
        .arg(&target_dir)
        .env("PATH", tools_first(&root)?)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(&root)?)
        // This build's wrapper and flags are for the host.
        .env_remove("RUSTC")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER");
    if !cargo.status()?.success() {
        return Err(
            "the BPF object was not built (above says why); `cargo xtask setup` installs its linker".into()
        );
    }
    std::fs::copy(target_dir.join(TARGET).join("release").join(binary), out.join(object))?;
    Ok(())
}

fn rustflags(root: &Path) -> Result<String, Box<dyn Error>> {
    let mut flags = flags::flags(&env::var("CARGO_CFG_TARGET_ARCH")?);
    // BTF names source files: the same ones wherever the checkout is.
    flags.push(format!("--remap-path-prefix={}=ntc", root.canonicalize()?.display()));
    Ok(flags.join("\x1f"))
}

/// PATH with the linker that `cargo xtask setup` installed in front.
fn tools_first(root: &Path) -> Result<OsString, Box<dyn Error>> {
    let mut path = OsString::from(root.join(".tools/bin"));
    path.push(":");
    path.push(env::var_os("PATH").unwrap_or_default());
    Ok(path)
}
