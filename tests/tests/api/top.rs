//! `ntc top` on a terminal of 80 columns and 24 lines, which `script` makes.

use std::{
    io::{Read as _, Write as _},
    process::{Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use ntc_tests::{
    agent::binary,
    link::{Link, of_port},
    running::Running,
};

/// Reads on until the text is there; gives what was read.
fn until(chunks: &Receiver<String>, seen: &mut String, wanted: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(15);
    while !seen.contains(wanted) {
        let left = deadline.saturating_duration_since(Instant::now());
        seen.push_str(&chunks.recv_timeout(left).with_context(|| format!("no {wanted:?} in {seen:?}"))?);
    }
    seen.clear();
    Ok(())
}

#[test]
fn top_shows_flows_takes_keys_and_leaves() -> anyhow::Result<()> {
    let link = Link::new("api-top")?;
    let mut agent = link.agent(&[])?;
    link.first_packets(45_001, 5)?;
    let label = agent.until(of_port(45_001))?;
    let top =
        format!("stty rows 24 cols 80; exec {} top --pin-dir {}", binary()?.display(), link.pins.0.display());
    let mut child = Running(
        Command::new("script")
            .args(["--quiet", "--return", "--command", &top, "/dev/null"])
            .env("TERM", "xterm-256color")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("script")?,
    );
    let (mut keys, mut screen) =
        (child.0.stdin.take().context("stdin")?, child.0.stdout.take().context("stdout")?);
    let (sender, chunks) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 65_536];
        while let Ok(length @ 1..) = screen.read(&mut buffer) {
            if sender.send(String::from_utf8_lossy(&buffer[..length]).into_owned()).is_err() {
                return;
            }
        }
    });
    let mut seen = String::new();
    until(&chunks, &mut seen, ":45001")?;
    // A name that there is not is a mistake in the filter; the agent answers all the same.
    keys.write_all(b"/nosuch\r")?;
    until(&chunks, &mut seen, "the filter: service")?;
    keys.write_all(b"\x1b")?;
    until(&chunks, &mut seen, ":45001")?;
    keys.write_all(b"p")?;
    until(&chunks, &mut seen, "PAUSED")?;
    keys.write_all(b"p")?;
    until(&chunks, &mut seen, "ready")?;
    keys.write_all(b"2")?;
    until(&chunks, &mut seen, label["service"].as_str().context("a service")?)?;
    keys.write_all(b"?")?;
    until(&chunks, &mut seen, "Ctrl-C")?;
    keys.write_all(b"x4")?;
    until(&chunks, &mut seen, "enforcement")?;
    agent.stop()?;
    until(&chunks, &mut seen, "NO ANSWER")?;
    keys.write_all(b"q")?;
    let deadline = Instant::now() + Duration::from_secs(10);
    let status = loop {
        if let Some(status) = child.0.try_wait()? {
            break status;
        }
        ensure!(Instant::now() < deadline, "it does not leave");
        std::thread::sleep(Duration::from_millis(20));
    };
    ensure!(status.success(), "{status}");

    let gone = link.ntc(&["top"])?;
    let said = String::from_utf8_lossy(&gone.stderr);
    ensure!(gone.status.code() == Some(1) && said.contains("draws on a terminal"), "{said}");
    Ok(())
}
