//! The package for arm64: built by a cross-compiler, and its user-space part run with an emulated processor.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};

use super::Architecture;
use crate::workspace;

/// Where Debian's cross-compiler has the system's libraries.
const SYSTEM: &str = "/usr/aarch64-linux-gnu";
/// What such a processor's kernel says of it. The emulated process would read this machine's, in which ONNX Runtime finds
/// no core, and dies of that.
const CPUINFO: &str = "processor\t: 0
Features\t: fp asimd evtstrm cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3
";
/// Puts a file there, for the command that follows alone.
const WITH_CPUINFO: &str = r#"mount --bind "$0" /proc/cpuinfo && exec "$@""#;
/// Captures of several forms that both builds label.
const CAPTURES: &str = "fuzz/seeds/capture";

/// Compiles the agent.
pub fn agent() -> Result<()> {
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--release", "--package", "ntc-user", "--bin", "ntc"]);
    cargo.args(["--target", Architecture::Arm64.target()]);
    // In place of the system's own linker, which .cargo/config.toml names.
    workspace::run(cargo.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc"))
}

/// Labels captures by what the package brings, and by this machine's build: the labels must be the same.
pub fn classify(package: &Path, here: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let root: PathBuf = folder.path().join("root");
    workspace::output(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&root))?;
    let captures = workspace::root().join(CAPTURES);
    let cpuinfo = folder.path().join("cpuinfo");
    std::fs::write(&cpuinfo, CPUINFO)?;
    let mut emulated = workspace::command("unshare");
    emulated.args(["--mount", "sh", "-c", WITH_CPUINFO]).arg(cpuinfo);
    emulated.args(["qemu-aarch64-static", "-L", SYSTEM]).arg(root.join("usr/bin/ntc"));
    emulated.env("ORT_DYLIB_PATH", root.join("usr/lib/ntc/libonnxruntime.so"));
    let there = labels(emulated, &captures, &folder.path().join("there"))?;
    let here = labels(workspace::command(here), &captures, &folder.path().join("here"))?;
    ensure!(!here.is_empty() && here == there, "other labels on arm64:\n{there:#?}\n{here:#?}");
    println!("arm64, emulated: {} flows labelled as here", there.len());
    Ok(())
}

/// Start, ports and service of each flow.
fn labels(mut ntc: Command, captures: &Path, output: &Path) -> Result<Vec<String>> {
    ntc.arg("classify").arg(captures).args(["--format", "json", "--output"]).arg(output);
    let ended = ntc.output()?;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    // 3: some of the captures are damaged on purpose.
    ensure!(matches!(ended.status.code(), Some(0 | 3)), "{}: {said}", ended.status);
    let mut labels = Vec::new();
    for line in std::fs::read_to_string(output)?.lines() {
        let flow: serde_json::Value = serde_json::from_str(line)?;
        labels.push(
            ["first_ts_ns", "src_port", "dst_port", "service"].map(|key| flow[key].to_string()).join(" "),
        );
    }
    labels.sort();
    Ok(labels)
}
