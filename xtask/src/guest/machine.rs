//! The machine: qemu with as little around it as the job needs.

use std::{
    ffi::OsString,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::Result;

use super::{Job, initramfs};
use crate::{setup, workspace};

/// What the guest's console is joined to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Console {
    /// The terminal, keyboard included.
    Terminal,
    /// Standard output alone.
    Output,
}

/// As many as the tests need to have two at once on one flow.
const PROCESSORS: &str = "2";
const MEMORY: &str = "2G";
/// An error in the kernel ends the guest. Watchdogs would take an emulator that waits for a processor for one.
/// What protects against faults of real processors costs much in an emulated one.
const KERNEL_ARGUMENTS: &str = "console=ttyS0 panic=-1 oops=panic nowatchdog mitigations=off";

/// The command that runs a job and ends with it, after `limit_s` at the latest (0: no limit).
pub fn command(job: &Job, limit_s: u32) -> Result<Command> {
    job.write()?;
    let initramfs = job.folder().join("initramfs");
    initramfs::write(&initramfs, job.root)?;

    // Also ends the guest if this program is no longer there to do so.
    let mut command = workspace::command("timeout");
    command.args(["--foreground", "--kill-after=10", &limit_s.to_string(), "qemu-system-x86_64"]);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    // Both processors run at once, as real ones do.
    command.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", PROCESSORS, "-m", MEMORY]);
    command.arg("-kernel").arg(setup::guest_kernel().join("vmlinuz")).arg("-initrd").arg(initramfs);
    command.args(["-append", KERNEL_ARGUMENTS]);
    command.arg("-chardev").arg(option("file,id=log,path=", &job.kernel_log()));
    command.args(["-serial", "chardev:log", "-device", "virtio-serial-pci"]);
    command.args(["-chardev", "stdio,id=out,signal=off"]);
    command.args(["-device", "virtconsole,chardev=out"]);
    for (name, folder) in job.root.layers() {
        share(&mut command, name, &folder, ",readonly=on");
    }
    share(&mut command, "job", job.folder(), "");
    if job.console == Console::Output {
        command.stdin(Stdio::null());
    }
    Ok(command)
}

/// Shares a folder over 9p. Inode numbers are remapped: it may hold mount points.
fn share(command: &mut Command, name: &str, folder: &Path, more: &str) {
    let mut local = option(&format!("local,id={name},security_model=none,multidevs=remap,path="), folder);
    local.push(more);
    command.arg("-fsdev").arg(local);
    command.args(["-device", &format!("virtio-9p-pci,fsdev={name},mount_tag={name}")]);
}

/// A path at the end of a qemu option, in which commas are doubled.
fn option(before: &str, path: &Path) -> OsString {
    format!("{before}{}", path.display().to_string().replace(',', ",,")).into()
}
