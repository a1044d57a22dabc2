//! The kernel: version, type information, compiler, settings, clock.

use aya::util::KernelVersion;

use super::{Finding, Verdict, read};

/// Loads and passes the tests from here on.
const TESTED: KernelVersion = KernelVersion::new(6, 1, 0);
/// tc programs by TCX, beside those of others and without a qdisc.
const TCX: KernelVersion = KernelVersion::new(6, 6, 0);
/// Ring buffer (5.8), and what else the programs call.
const RING_BUFFER: KernelVersion = KernelVersion::new(5, 8, 0);

pub(super) fn check() -> Vec<Finding> {
    vec![version(), type_information(), compiler(), unprivileged(), clock()]
}

fn version() -> Finding {
    let release = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let finding = |verdict, means: &str| Finding::new("kernel", verdict, format!("Linux {release}"), means);
    match KernelVersion::current() {
        Ok(kernel) if kernel < RING_BUFFER => {
            finding(Verdict::Fail, "no BPF ring buffer: the programs do not load")
                .advice("run Linux 6.6 or later")
        }
        Ok(kernel) if kernel < TESTED => {
            finding(Verdict::Warn, "older than any kernel that ntc was tried on")
                .advice("run Linux 6.6 or later")
        }
        Ok(kernel) if kernel < TCX => {
            finding(Verdict::Note, "no TCX: tc programs hang on the clsact qdisc, which is added")
        }
        Ok(_) => finding(Verdict::Ok, "everything that ntc uses is there"),
        Err(error) => finding(Verdict::Warn, "its version cannot be told").advice(error.to_string()),
    }
}

fn type_information() -> Finding {
    if std::path::Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Finding::new("btf", Verdict::Ok, "/sys/kernel/btf/vmlinux", "maps tell their fields' names");
    }
    Finding::new(
        "btf",
        Verdict::Warn,
        "no /sys/kernel/btf/vmlinux",
        "`bpftool map dump` shows bytes instead of fields; ntc was never tried without it",
    )
    .advice("a kernel with CONFIG_DEBUG_INFO_BTF")
}

fn compiler() -> Finding {
    let finding = |verdict, found: &str, means: &str| Finding::new("jit", verdict, found, means);
    let hardened = read("/proc/sys/net/core/bpf_jit_harden").is_some_and(|level| level == "2");
    match read("/proc/sys/net/core/bpf_jit_enable").as_deref() {
        Some("0") => finding(
            Verdict::Warn,
            "switched off",
            "the programs are interpreted: each packet costs a multiple",
        )
        .advice("sysctl -w net.core.bpf_jit_enable=1"),
        Some(_) if hardened => finding(
            Verdict::Note,
            "on, constants blinded",
            "each packet costs a little more (net.core.bpf_jit_harden=2)",
        ),
        Some(_) => finding(Verdict::Ok, "on", "the programs run as machine code"),
        None => {
            finding(Verdict::Note, "not shown here", "whether the programs are interpreted cannot be told")
                .advice("look at net.core.bpf_jit_enable in the first network namespace: no other shows it")
        }
    }
}

fn unprivileged() -> Finding {
    let setting = read("/proc/sys/kernel/unprivileged_bpf_disabled").unwrap_or_else(|| "unknown".into());
    let found = format!("kernel.unprivileged_bpf_disabled={setting}");
    if setting == "0" {
        return Finding::new(
            "settings",
            Verdict::Note,
            found,
            "any user may load BPF programs; ntc needs none of that",
        )
        .advice("sysctl -w kernel.unprivileged_bpf_disabled=1");
    }
    Finding::new(
        "settings",
        Verdict::Ok,
        found,
        "ntc has capabilities of its own, and memory is not limited by memlock",
    )
}

fn clock() -> Finding {
    let source = read("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    let finding = |verdict, found: &str, means: &str| Finding::new("clock", verdict, found, means);
    if read("/proc/self/timens_offsets").is_some_and(|offsets| moved(&offsets)) {
        return finding(
            Verdict::Fail,
            "this process is in a time namespace with a clock of its own",
            "the kernel stamps packets by another clock: every flow looks idle, or new",
        )
        .advice("run ntc in the host's time namespace");
    }
    match source.as_deref() {
        Some(slow @ ("hpet" | "acpi_pm" | "jiffies")) => finding(
            Verdict::Warn,
            slow,
            "slow to read: each recorded packet costs microseconds; gaps are coarse with jiffies",
        )
        .advice("find out why the kernel gave up the processor's own counter: dmesg | grep -i clocksource"),
        Some(source) => {
            finding(Verdict::Ok, source, "gaps between packets are exact to well below a microsecond")
        }
        None => finding(Verdict::Note, "unknown", "how exact the gaps between packets are cannot be told"),
    }
}

/// Whether `CLOCK_MONOTONIC` differs from the kernel's: `monotonic <seconds> <nanoseconds>`.
fn moved(offsets: &str) -> bool {
    let monotonic = offsets.lines().find_map(|line| line.trim_start().strip_prefix("monotonic"));
    monotonic.is_some_and(|offset| offset.split_whitespace().any(|number| number != "0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_of_its_own_is_seen() {
        assert!(!moved("monotonic           0         0\nboottime            0         0"));
        assert!(!moved("monotonic           0         0\nboottime        86400         0"));
        assert!(moved("monotonic       86400         0\nboottime            0         0"));
        assert!(moved("monotonic          -1 500000000\nboottime            0         0"));
    }
}
