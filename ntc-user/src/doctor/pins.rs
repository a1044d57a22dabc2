//! What is pinned, and whether its agent lives.

use std::{path::Path, time::Duration};

use ntc_common::ABI_VERSION;

use super::{Finding, Verdict};
use crate::kernel::{heartbeat, owner, pins, tables};

pub(super) async fn check(directory: &Path) -> Vec<Finding> {
    let mut findings = vec![own(directory).await];
    for other in pins::other_versions(directory) {
        let (verdict, found) = match owner::of_pins(&other) {
            Some(owner) => {
                (Verdict::Fail, format!("{}, of a live agent of another version ({owner})", other.display()))
            }
            None => (Verdict::Warn, format!("{}, of another version, without an agent", other.display())),
        };
        findings.push(
            Finding::new(
                "pins",
                verdict,
                found,
                "two versions on one interface would account each packet twice",
            )
            .advice("stop that agent, then `ntc detach`"),
        );
    }
    findings
}

async fn own(directory: &Path) -> Finding {
    let place = directory.display();
    let finding = |verdict, found: String, means: &str| Finding::new("pins", verdict, found, means);
    if !directory.exists() {
        return finding(
            Verdict::Ok,
            format!("none in {place}"),
            "no agent runs, and none has left anything behind",
        );
    }
    let missing = pins::PINNED.iter().filter(|map| !directory.join(map).exists()).count();
    let owner = owner::of_pins(directory);
    if missing == pins::PINNED.len() && owner.is_none() {
        return finding(Verdict::Ok, format!("none in {place}"), "the directory is ready for an agent");
    }
    if missing > 0 {
        return finding(
            Verdict::Warn,
            format!("{missing} of {} maps are missing in {place}", pins::PINNED.len()),
            "an agent is starting, or these are of another build; a new agent makes the missing ones",
        )
        .advice("`ntc detach`, if no agent is starting");
    }
    let Some(owner) = owner else {
        return finding(
            Verdict::Warn,
            format!("maps of ABI {ABI_VERSION} in {place}, without an agent"),
            "labels do not count; the next agent takes them over if sizes fit",
        )
        .advice("`ntc run` to take them over, `ntc detach` to remove them");
    };
    match beats(directory).await {
        Ok(true) => finding(
            Verdict::Ok,
            format!("maps of ABI {ABI_VERSION} in {place}, agent alive ({owner}), heartbeat fresh"),
            "labels count",
        ),
        Ok(false) => finding(
            Verdict::Fail,
            format!(
                "maps of ABI {ABI_VERSION} in {place}, agent there ({owner}), but its heart does not beat"
            ),
            "labels do not count: every packet is left alone",
        )
        .advice("the agent is stopped or stuck: look at its state with `ps`, and restart it"),
        Err(error) => finding(
            Verdict::Note,
            format!("maps of ABI {ABI_VERSION} in {place}, agent alive ({owner})"),
            "whether its heart beats cannot be told",
        )
        .advice(error.to_string()),
    }
}

/// Whether the deadline moves. User space cannot compare it with the kernel's jiffies, only with itself.
async fn beats(directory: &Path) -> Result<bool, crate::kernel::KernelError> {
    let before = tables::counts(directory)?.heartbeat.set_at;
    // A beat may be late under load; a look each tenth of a second ends the wait early.
    for _ in 0..heartbeat::PERIOD.as_millis() * 2 / 100 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if tables::counts(directory)?.heartbeat.set_at != before {
            return Ok(true);
        }
    }
    Ok(false)
}
