//! Netfilter flowtables: established flows that they carry pass by tc.

use std::{io::ErrorKind, path::Path, process::Command};

use super::{Finding, Verdict};

pub(super) fn check() -> Finding {
    let finding = |verdict, found: String, means: &str| Finding::new("flowtables", verdict, found, means);
    let unknown = |why: String| {
        if Path::new("/sys/module/nf_flow_table").exists() {
            finding(Verdict::Note, why, "flows in a flowtable are neither accounted nor enforced; whether there is one cannot be told")
                .advice("nft list flowtables, as root")
        } else {
            finding(Verdict::Ok, "the kernel has no flowtable module loaded".into(), "no flow passes by tc")
        }
    };
    let output = match Command::new("nft").args(["list", "flowtables"]).output() {
        Ok(output) if output.status.success() => output,
        Ok(output) => return unknown(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return unknown("there is no `nft` to ask".into());
        }
        Err(error) => return unknown(format!("nft: {error}")),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let names: Vec<_> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("flowtable "))
        .map(|name| name.trim_end_matches(" {"))
        .collect();
    if names.is_empty() {
        return finding(Verdict::Ok, "none".into(), "no flow passes by tc");
    }
    finding(
        Verdict::Warn,
        names.join(", "),
        "flows that a flowtable carries are neither accounted nor enforced after their first packets",
    )
    .advice("take ntc's interfaces out of the flowtable, or leave the offloaded traffic to it")
}
