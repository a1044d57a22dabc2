//! phones - switch - office, all of one network. ntc captures at the switch's port towards the phones; the
//! controller is beside the switch.

use std::{
    fs,
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use ntc_tests::{
    agent::{Agent, PinDir},
    net::Namespace,
    patience::{patient, until},
    root,
    running::Running,
    skip,
    switch::{Datapath, Switch},
    tap::Tap,
    unpacked::SWITCH,
};
use ntc_user::api::listen::socket_of;
use serde_json::Value;
use tempfile::TempDir;

pub const PHONES: &str = "192.0.2.10";
pub const OFFICE: &str = "192.0.2.20";
/// The switch's ports: towards the phones, towards the office.
pub const PORTS: [&str; 2] = ["p1", "p2"];
/// Where the controller listens for the switch.
const CONTROLLER: &str = "6653";
/// Of the example's entries.
pub const COOKIE: u64 = 0x6e_7463;

pub struct Site {
    /// Ends first: it lives in the namespaces.
    pub switch: Switch,
    pub phones: Namespace,
    pub router: Namespace,
    pub office: Namespace,
    pub pins: PinDir,
    pub folder: TempDir,
}

/// Whether all that a test needs is here; else says what is missing.
pub fn at_hand(test: &str, datapath: Datapath) -> anyhow::Result<bool> {
    if !python().exists() {
        skip(test, "no os-ken beside the sources: `cargo xtask setup test` installs it")?;
        return Ok(false);
    }
    Ok(SWITCH.at_hand(test)? && datapath.at_hand(test)?)
}

fn python() -> PathBuf {
    root().join(".tools/controller/bin/python")
}

impl Site {
    pub fn new(test: &str, datapath: Datapath) -> anyhow::Result<Self> {
        let (phones, router, office) = (Namespace::new()?, Namespace::new()?, Namespace::new()?);
        for ((host, address), port) in [(&phones, PHONES), (&office, OFFICE)].into_iter().zip(PORTS) {
            host.ip(&["link", "add", "e0", "type", "veth", "peer", "name", port, "netns", router.name()])?;
            // What leaves a real card is whole; a veth would pass half-made checksums and packets of 64 kB.
            host.output("ethtool", &["-K", "e0", "tx", "off", "tso", "off", "gso", "off"])?;
            host.ip(&["address", "add", &format!("{address}/24"), "dev", "e0"])?;
            host.ip(&["link", "set", "e0", "up"])?;
            router.ip(&["link", "set", port, "up"])?;
        }
        let switch = Switch::start(&router, datapath, &PORTS, &format!("tcp:127.0.0.1:{CONTROLLER}"))?;
        Ok(Self { phones, router, office, pins: PinDir::new(test), folder: tempfile::tempdir()?, switch })
    }

    /// An agent that captures and leaves all packets alone. A flow is over soon after the call.
    pub fn agent(&self) -> anyhow::Result<Agent> {
        let idle = patient(Duration::from_secs(10)).as_secs().to_string();
        // Each packet comes in or goes out here. What the userspace datapath sends looks as if this host had made it: on
        // both ports, a packet would be two.
        Agent::start(&self.router, &self.pins.0, &["--capture", PORTS[0], "--udp-idle", &idle])
    }

    /// The example, with options of its own.
    pub fn controller(&self, options: &[&str]) -> anyhow::Result<Controller> {
        let socket = format!("unix:{}", socket_of(&self.pins.0).display());
        let mut command = self.router.prepare(python());
        command
            .arg(root().join("docs/examples/osken_calls.py"))
            .args(["--ofp-listen-host", "127.0.0.1", "--ofp-tcp-listen-port", CONTROLLER, "--ntc", &socket])
            .args(options)
            .stdout(Stdio::piped());
        Controller::start(&mut command)
    }

    /// A tap on each host's interface.
    pub fn taps(&self) -> anyhow::Result<[Tap; 2]> {
        let open = |host: &Namespace, name: &str| Tap::open(host, "e0", self.folder.path().join(name));
        Ok([open(&self.phones, "phones.pcap")?, open(&self.office, "office.pcap")?])
    }

    /// Packets of the calls' entries, summed up, and how many entries there are.
    pub fn counted(&self) -> anyhow::Result<(usize, u64)> {
        let entries = self.switch.entries()?;
        let calls: Vec<_> = entries.iter().filter(|entry| entry.cookie == COOKIE).collect();
        Ok((calls.len(), calls.iter().map(|entry| entry.packets).sum()))
    }

    /// What switch and hosts are like, for who looks for the reason of a failure.
    pub fn state(&self) -> String {
        let of = |host: &Namespace, program: &str, arguments: &[&str]| {
            host.output(program, arguments).unwrap_or_else(|error| format!("{error:#}"))
        };
        let entries = self.switch.ofctl("dump-flows", &[]).unwrap_or_else(|error| format!("{error:#}"));
        format!(
            "entries: {entries}\nthe switch: {}\nits links: {}\nneighbours of the phones: {}\nlisteners in the office: {}",
            self.switch.log(),
            of(&self.router, "ip", &["-stats", "link"]),
            of(&self.phones, "ip", &["neighbour"]),
            of(&self.office, "ss", &["--no-header", "--tcp", "--udp", "--listening", "--numeric"]),
        )
    }

    /// Writes a file for a program.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> anyhow::Result<String> {
        let path = self.folder.path().join(name);
        fs::write(&path, content)?;
        Ok(path.to_str().context("a path")?.to_owned())
    }
}

/// The example at work.
pub struct Controller {
    _process: Running,
    lines: Arc<Mutex<Vec<Value>>>,
}

impl Controller {
    fn start(command: &mut std::process::Command) -> anyhow::Result<Self> {
        let mut process = Running(command.spawn()?);
        let stdout = process.0.stdout.take().context("stdout")?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        std::thread::spawn(move || {
            use std::io::BufRead as _;
            for line in std::io::BufReader::new(stdout).lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        let controller = Self { _process: process, lines };
        for event in ["switch", "live"] {
            controller.until(event)?;
        }
        Ok(controller)
    }

    /// What it has said of this kind.
    pub fn said(&self, event: &str) -> Vec<Value> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter(|line| line["event"] == event).cloned().collect()
    }

    /// Waits until it has said so.
    fn until(&self, event: &str) -> anyhow::Result<()> {
        let said = until("the controller", Duration::from_secs(60), || {
            Ok((!self.said(event).is_empty()).then_some(()))
        });
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone();
        said.with_context(|| format!("no {event:?} in {lines:?}"))?;
        ensure!(self.said("refused").is_empty(), "the switch refused something: {lines:?}");
        Ok(())
    }
}
