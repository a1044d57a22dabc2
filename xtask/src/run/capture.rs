//! tcpdump on the client's side of the router.

use std::{
    fs::{self, File},
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use super::{
    net::{Network, TO_CLIENT},
    process::{Group, Interrupt},
    traffic::tail,
};

/// Starts it and waits until it listens; of each packet the first `snaplen` bytes are kept.
pub(crate) fn start(
    network: &Network,
    file: &Path,
    snaplen: u32,
    dir: &Path,
    interrupt: &Interrupt,
) -> Result<Group> {
    let log = dir.join("log/tcpdump.log");
    let mut command = network.command("router", "tcpdump");
    command
        .args(["-Z", "root", "-i", TO_CLIENT, "-B", "32768", "-s"])
        .arg(snaplen.to_string())
        .arg("-w")
        .arg(std::path::absolute(file)?)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log)?);
    let mut capture = Group::spawn(&mut command)?;
    let deadline = Instant::now() + Duration::from_secs(5);
    while !fs::read_to_string(&log)?.contains("listening on") {
        interrupt.check()?;
        if capture.try_wait()?.is_some() || Instant::now() > deadline {
            bail!("tcpdump does not capture: {}", tail(&log));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(capture)
}
