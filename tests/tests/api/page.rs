//! The page for people, driven in a real browser on live traffic. What it does is in `tests/page/check.mjs`.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::ensure;
use ntc_tests::{
    certificate,
    link::{Call, Link, of_call, text},
    root, skip,
};

use crate::roles::{READER, WRITER, tokens};

/// New flows come from this port and those behind it.
const FIRST_PORT: u16 = 46_001;

#[test]
fn the_page_shows_live_traffic_to_who_has_a_browser() -> anyhow::Result<()> {
    if !root().join(".tools/page/installed.json").exists() {
        return Ok(skip(
            "the_page_shows_live_traffic_to_who_has_a_browser",
            "no Playwright: `cargo xtask setup page` installs it",
        )?);
    }
    let (link, folder) = (Link::new("api-page")?, tempfile::tempdir()?);
    link.addresses()?;
    let (tokens, [certificate, key]) = (tokens(folder.path())?, certificate::of(folder.path(), "192.0.2.1")?);
    let mut agent = link.agent(&[
        "--api-listen",
        "127.0.0.1:8080,192.0.2.1:8443",
        "--api-tokens",
        &tokens,
        "--api-rate",
        "1000",
        "--api-tls-cert",
        &certificate,
        "--api-tls-key",
        &key,
    ])?;
    let call = Call::begin(&link)?;
    agent.until(|event| of_call(event) && event["stage"] == "final")?;
    // RTP from here on, whatever the model thinks of it.
    link.promote()?;
    let done = AtomicBool::new(false);
    let checked = thread::scope(|scope| {
        let traffic = scope.spawn(|| -> anyhow::Result<()> {
            for port in (FIRST_PORT..).take_while(|_| !done.load(Ordering::Relaxed)) {
                link.first_packets(port, 5)?;
                thread::sleep(Duration::from_millis(300));
            }
            Ok(())
        });
        let checked = link
            .agent_side
            .prepare("timeout")
            .args(["300", "node"])
            .arg(root().join("tests/page/check.mjs"))
            .args(["http://127.0.0.1:8080", "https://192.0.2.1:8443", READER, WRITER])
            .arg(FIRST_PORT.to_string())
            .env("HOME", folder.path())
            .output();
        done.store(true, Ordering::Relaxed);
        traffic.join().map_err(|_| anyhow::anyhow!("the traffic died"))??;
        anyhow::Ok(checked?)
    })?;
    ensure!(checked.status.success(), "{}", text(&checked));
    call.end()?;
    agent.stop()?;
    Ok(())
}
