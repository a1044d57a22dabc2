//! Pictures of what people see, taken by a browser and a terminal on the router (`tests/page/pictures.mjs`).

use std::{
    fs::File,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{
    net::Network,
    process::{Group, Interrupt},
    traffic::tail,
};
use crate::workspace;

/// Where the page is, on the router's loopback.
const LISTEN: &str = "127.0.0.1:8080";
/// The pictures are begun so long before the last client, and done by then.
const BEFORE_THE_END: u64 = 12;
/// Beyond the end of the traffic they may take so long.
const LIMIT: Duration = Duration::from_secs(60);

/// What the agent is told where pictures are to be taken.
pub(super) fn options(folder: Option<&Path>) -> &'static [&'static str] {
    if folder.is_some() { &["--api-listen", LISTEN] } else { &[] }
}

/// Opens the page and `ntc top`; the pictures come when the page has drawn for most of the run.
pub(super) fn start(
    network: &Network,
    ntc: &Path,
    folder: &Path,
    log: &Path,
    duration: u64,
) -> Result<Group> {
    let log = File::create(log)?;
    let mut command = network.command("router", "node");
    command
        .arg(workspace::root().join("tests/page/pictures.mjs"))
        .arg(format!("http://{LISTEN}"))
        .arg(ntc)
        .arg(network.pin_directory())
        .arg(std::path::absolute(folder)?)
        .arg(duration.saturating_sub(BEFORE_THE_END).to_string())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    Group::spawn(&mut command)
}

/// Waits until they are there.
pub(super) fn finish(mut pictures: Group, log: &Path, interrupt: &Interrupt) -> Result<()> {
    match pictures
        .wait_until(Instant::now() + LIMIT, interrupt)?
        .context("the pictures are not done in time")?
    {
        status if status.success() => Ok(()),
        status => bail!("the pictures: {status}: {}", tail(log)),
    }
}
