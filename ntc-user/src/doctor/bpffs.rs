//! The BPF file system, in which maps are pinned.

use std::path::Path;

use rustix::fs::{Access, access};

use super::{Finding, Verdict};
use crate::kernel::pins::{BPF_FS, is_bpf_fs};

pub(super) fn check(pin_dir: &Path) -> Finding {
    // What is there of the way to the pins.
    let there = pin_dir.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let finding = |verdict, found: String, means: &str| Finding::new("bpffs", verdict, found, means);
    let root = rustix::process::geteuid().is_root();
    match is_bpf_fs(there) {
        Ok(true) if access(there, Access::WRITE_OK | Access::EXEC_OK).is_err() => finding(
            Verdict::Fail,
            format!("{} is not writable for this user", there.display()),
            "ntc cannot pin its maps and does not start",
        )
        .advice("start ntc as root with --user, or have the directory made for it (docs/operating.md, Privileges)"),
        Ok(true) => finding(Verdict::Ok, there.display().to_string(), "labels can be pinned for others to read"),
        _ if pin_dir.starts_with(BPF_FS) && root => finding(
            Verdict::Note,
            format!("not mounted at {BPF_FS}"),
            "`ntc run` mounts it when it is started as root",
        ),
        _ if pin_dir.starts_with(BPF_FS) => finding(
            Verdict::Fail,
            format!("none that this user can see at {BPF_FS}"),
            "ntc cannot pin its maps and does not start",
        )
        .advice(format!("mount -t bpf bpf {BPF_FS}, or chmod o+x {BPF_FS} if it is closed")),
        _ => finding(
            Verdict::Fail,
            format!("{} is not on a BPF file system", pin_dir.display()),
            "ntc cannot pin its maps and does not start",
        )
        .advice("give --pin-dir below /sys/fs/bpf"),
    }
}
