//! Exports: real collectors take what a real agent sends of live traffic.

mod broker;
mod ipfix;
mod lines;
mod scrape;

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use ntc_tests::link::{Link, text};
use serde_json::Value;

/// Looks again until there is something, for so long as a flow takes to end and its label to go.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let deadline = Instant::now() + Duration::from_secs(40);
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!("never came: {what}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What the agent tells of its only export.
pub(crate) fn export(link: &Link) -> anyhow::Result<Value> {
    let socket = ntc_user::api::listen::socket_of(&link.pins.0);
    let output = std::process::Command::new("curl")
        .args(["--silent", "--unix-socket"])
        .arg(socket)
        .arg("http://localhost/v1/stats")
        .output()?;
    let stats: Value = serde_json::from_slice(&output.stdout).with_context(|| text(&output))?;
    Ok(stats["exports"][0].clone())
}
