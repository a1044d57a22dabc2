//! `ntc policy nft`: the mark is saved to the connection, and packets that come back have it from there.

use std::{io::Write as _, process::Stdio};

use anyhow::{Context as _, ensure};
use ntc_tests::skip;

use crate::router::{FILM, FREE, Router};

/// Counts what the ruleset is to bring about: marks of connections that go out, of packets that come back, and another
/// bit of the connection's mark, which has to stay.
const PROBE: &str = "
table inet probe {
    chain out { type filter hook postrouting priority 0; oifname r1 ct mark & 0x00ff0000 == MARK counter; }
    chain back { type filter hook forward priority 0; iifname r1 meta mark & 0x00ff0000 == MARK counter; }
    chain first { type filter hook prerouting priority -300; iifname r0 udp dport 6002 meta mark set meta mark | 0x1; }
    chain other { type filter hook postrouting priority -200; oifname r1 udp dport 6002 ct mark set ct mark | 0x5; }
    chain kept { type filter hook postrouting priority 10; oifname r1 ct mark & 0xff00ffff == 0x5 counter; }
}
";

#[test]
fn the_mark_is_saved_to_the_connection_and_comes_back() -> anyhow::Result<()> {
    let test = "the_mark_is_saved_to_the_connection_and_comes_back";
    let router = Router::new("nft")?;
    let probed = router.router.prepare("nft").args(["add", "table", "inet", "probe"]).output();
    match probed {
        Err(_) => return Ok(skip(test, "there is no program nft on this machine")?),
        Ok(output) if !output.status.success() => {
            return Ok(skip(
                test,
                &format!("no nf_tables: {}", String::from_utf8_lossy(&output.stderr).trim()),
            )?);
        }
        Ok(_) => {}
    }
    let rules = router.ntc_policy(&["nft"])?;
    // Twice: it takes its own place.
    nft(&router, &rules)?;
    nft(&router, &rules)?;
    let mark = mark(&rules, "film", &router)?;
    nft(&router, &PROBE.replace("MARK", &mark))?;
    let agent = router.agent()?;
    for (port, datagrams) in [(FILM, 7), (FREE, 5)] {
        let (near, far) = router.line(port)?;
        let mut buffer = [0; 512];
        for _ in 0..datagrams {
            near.send(&[0; 100])?;
            let length = far.recv(&mut buffer).context("there")?;
            far.send(&buffer[..length])?;
            near.recv(&mut buffer).context("and back")?;
        }
    }
    let counted = |chain: &str| -> anyhow::Result<String> {
        let told = router.router.output("nft", &["list", "chain", "inet", "probe", chain])?;
        let (_, after) = told.split_once("counter packets ").context("a counter")?;
        Ok(after.split(' ').next().unwrap_or_default().to_owned())
    };
    for chain in ["out", "back", "kept"] {
        ensure!(counted(chain)? == "7", "{chain}: {} packets, not those of one flow", counted(chain)?);
    }
    agent.stop()?;
    Ok(())
}

/// The mark of a class, as `ntc policy show` gives it for a flow of its rule.
fn mark(rules: &str, class: &str, router: &Router) -> anyhow::Result<String> {
    let told = router.ntc_policy(&["show", "udp 192.0.2.20:36002 198.51.100.20:6002"])?;
    let mark = told.lines().find_map(|line| line.strip_prefix("mark ")).context("a mark")?.trim();
    let mark = mark.split('/').next().context("a mark")?;
    ensure!(told.contains(&format!("class     {class}")) && rules.contains(mark), "{told}\n{rules}");
    Ok(mark.to_owned())
}

fn nft(router: &Router, rules: &str) -> anyhow::Result<()> {
    let mut command = router.router.prepare("nft");
    let mut child = command.args(["--file", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().context("stdin")?.write_all(rules.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{}\n{rules}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
