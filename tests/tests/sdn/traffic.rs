//! Calls by SIPp, and what else goes over the same switch.

use std::{
    fs::File,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use ntc_tests::{
    net::Namespace,
    patience::{patient, until},
    root,
    running::Running,
    tap::Tap,
    unpacked::SWITCH,
};

use crate::site::{OFFICE, PHONES, Site};

/// Signalling and speech of the answering side.
const SIP: u16 = 5060;
const SPEECH: u16 = 30_464;
/// The web server's.
const WEB: u16 = 80;

/// Bytes of a G.711 second, noise as any.
const SECOND: usize = 8_000;

/// Who answers calls and sends the speech back.
pub fn answering(site: &Site) -> anyhow::Result<Running> {
    let mut sipp = sipp(site, &site.office);
    sipp.args(["-sn", "uas", "-i", OFFICE, "-mi", OFFICE, "-p", &SIP.to_string(), "-rtp_echo"]);
    let running = Running(sipp.args(["-mp", &SPEECH.to_string()]).spawn()?);
    until("who answers", Duration::from_secs(20), || {
        let bound = site.office.output("ss", &["--no-header", "--udp", "--listening", "--numeric"])?;
        Ok(bound.contains(&format!(":{SIP} ")).then_some(()))
    })?;
    Ok(running)
}

/// So many calls at once, each of its own telephone, with speech for that time; to be waited for.
pub fn calls(site: &Site, calls: u16, time: Duration) -> anyhow::Result<Vec<Running>> {
    let noise =
        (0..SECOND * (time.as_secs() as usize + 1)).map(|i| (i.wrapping_mul(2_654_435_761) >> 16) as u8);
    let speech = site.file("speech.alaw", noise.collect::<Vec<_>>())?;
    let scenario = std::fs::read_to_string(root().join("xtask/src/run/services/call.xml"))?;
    let pause = format!("milliseconds=\"{}\"", time.as_millis());
    let scenario = scenario.replace("SPEECH", &speech).replace("milliseconds=\"2000\"", &pause);
    let scenario = site.file("call.xml", scenario)?;
    let call = |number: u16| -> anyhow::Result<Running> {
        let mut sipp = sipp(site, &site.phones);
        sipp.arg(format!("{OFFICE}:{SIP}"))
            .args(["-sf", &scenario, "-i", PHONES, "-mi", PHONES, "-s", "bob"]);
        sipp.args([
            "-m",
            "1",
            "-p",
            &(5062 + 2 * number).to_string(),
            "-mp",
            &(16_384 + 20 * number).to_string(),
        ]);
        Ok(Running(sipp.spawn()?))
    };
    (0..calls).map(call).collect()
}

fn sipp(site: &Site, host: &Namespace) -> Command {
    let mut sipp = SWITCH.inside(host, "sipp");
    sipp.env("TERM", "dumb").arg("-nostdin").current_dir(site.folder.path());
    sipp.stdin(Stdio::null()).stdout(Stdio::null());
    sipp
}

/// Waits for its good end.
pub fn ends_well(what: &str, running: &mut Running, limit: Duration) -> anyhow::Result<()> {
    let status = until(what, limit, || Ok(running.0.try_wait()?))?;
    ensure!(status.success(), "{what}: {status}");
    Ok(())
}

/// A web server in the office.
pub fn web(site: &Site) -> anyhow::Result<Running> {
    site.file("page", vec![b'x'; 200_000])?;
    let mut server = site.office.prepare("python3");
    server
        .args(["-m", "http.server", &WEB.to_string(), "--bind", OFFICE, "--directory"])
        .arg(site.folder.path());
    let said = site.folder.path().join("web.log");
    let running = Running(server.stdout(Stdio::null()).stderr(File::create(&said)?).spawn()?);
    let mut last = String::new();
    let fetched = until("the web server", Duration::from_secs(20), || {
        Ok(fetch(site).map_err(|error| last = format!("{error:#}")).ok())
    });
    fetched.with_context(|| {
        let said = std::fs::read_to_string(said).unwrap_or_default();
        format!("the last fetch said: {last}; the web server: {said:?}; {}", site.state())
    })?;
    Ok(running)
}

/// A page from there.
pub fn fetch(site: &Site) -> anyhow::Result<()> {
    let url = format!("http://{OFFICE}/page");
    let limit = patient(Duration::from_secs(10)).as_secs().to_string();
    site.phones
        .output("curl", &["--silent", "--show-error", "--max-time", &limit, "--output", "/dev/null", &url])?;
    Ok(())
}

/// A packet on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    pub udp: bool,
    pub dscp: u8,
    pub ports: [u16; 2],
}

impl Passed {
    /// Whether it belongs to a call, by its ports: the truth, which nobody else here goes by.
    pub fn of_call(&self) -> bool {
        self.udp && self.ports.iter().any(|port| [SIP, SPEECH].contains(port))
    }
}

/// TCP and UDP packets that a tap has seen.
pub fn passed(tap: &Tap) -> anyhow::Result<Vec<Passed>> {
    let parse = |frame: &Vec<u8>| {
        let ip = frame.get(14..).filter(|_| frame.get(12..14) == Some(&[8, 0][..]))?;
        let (header, transport) = ip.split_at_checked(usize::from(ip.first()? & 15) * 4)?;
        let port = |at: usize| Some(u16::from_be_bytes(transport.get(at..at + 2)?.try_into().ok()?));
        let protocol = header[9];
        [6, 17].contains(&protocol).then_some(())?;
        Some(Passed { udp: protocol == 17, dscp: header[1] >> 2, ports: [port(0)?, port(2)?] })
    };
    Ok(tap.frames().context("a tap")?.iter().filter_map(parse).collect())
}
