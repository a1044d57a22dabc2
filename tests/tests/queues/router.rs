//! client - router - far host, with ntc's queues on the router's outside.

use std::{fs, net::UdpSocket, path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use ntc_tests::{
    agent::{Agent, PinDir, binary},
    net::Namespace,
    patience::patient,
};
use tempfile::TempDir;

pub const CLIENT: &str = "192.0.2.20";
pub const FAR: &str = "198.51.100.20";
/// Of the policy's rules.
pub const VOICE: u16 = 6001;
pub const FILM: u16 = 6002;
pub const COPY: u16 = 6003;
/// No rule has it.
pub const FREE: u16 = 6004;

const POLICY: &str = r#"
[class.voice]
priority = "1:13"
dscp = "EF"
[class.film]
priority = "1:14"
dscp = "AF41"
[class.copy]
priority = "1:16"
dscp = "LE"
[class.realtime]
priority = "1:17"
dscp = "CS5"
[[rule]]
class = "voice"
port = 6001
[[rule]]
class = "film"
port = 6002
[[rule]]
class = "copy"
port = 6003
"#;

/// The hosts; the router has `r0` inside and `r1` outside.
pub struct Router {
    pub client: Namespace,
    pub router: Namespace,
    pub far: Namespace,
    pub pins: PinDir,
    folder: TempDir,
}

impl Router {
    pub fn new(test: &str) -> anyhow::Result<Self> {
        let (client, router, far) = (Namespace::new()?, Namespace::new()?, Namespace::new()?);
        client.veth("c0", &router, "r0")?;
        router.veth("r1", &far, "f0")?;
        for (host, device, address) in [
            (&client, "c0", "192.0.2.20/24"),
            (&router, "r0", "192.0.2.1/24"),
            (&router, "r1", "198.51.100.1/24"),
            (&far, "f0", "198.51.100.20/24"),
        ] {
            host.ip(&["address", "add", address, "dev", device])?;
        }
        client.ip(&["route", "add", "default", "via", "192.0.2.1"])?;
        far.ip(&["route", "add", "default", "via", "198.51.100.1"])?;
        router.enter(|| Ok(fs::write("/proc/sys/net/ipv4/ip_forward", "1")?))?;
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("policy.toml"), POLICY)?;
        Ok(Self { client, router, far, pins: PinDir::new(test), folder })
    }

    fn policy(&self) -> anyhow::Result<String> {
        let path: &Path = &self.folder.path().join("policy.toml");
        Ok(path.to_str().context("a path")?.to_owned())
    }

    /// `ntc qdisc apply` on the outside.
    pub fn queues(&self, more: &[&str]) -> anyhow::Result<()> {
        let policy = self.policy()?;
        let words = ["qdisc", "apply", "--iface", "r1", "--rate", "1gbit", "--policy", &policy];
        let output = self.router.prepare(binary()?).args(words).args(more).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// An agent that captures inside and enforces on both sides.
    pub fn agent(&self) -> anyhow::Result<Agent> {
        self.agent_with(&[])
    }

    /// One that leaves its programs behind however it ends.
    pub fn agent_that_stays(&self) -> anyhow::Result<Agent> {
        self.agent_with(&["--stay"])
    }

    fn agent_with(&self, more: &[&str]) -> anyhow::Result<Agent> {
        let policy = self.policy()?;
        let arguments = [&["--capture", "r0", "--enforce", "r0,r1", "--policy", &policy], more].concat();
        Agent::start(&self.router, &self.pins.0, &arguments)
    }

    /// What `ntc policy` says.
    pub fn ntc_policy(&self, words: &[&str]) -> anyhow::Result<String> {
        let policy = self.policy()?;
        let mut command = self.router.prepare(binary()?);
        // Of the file, whatever agent may run on this machine.
        command.arg("policy").args(words).args(["--policy", &policy, "--pin-dir", "/sys/fs/bpf/ntc-none"]);
        let output = command.output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// A socket of the client's that speaks to a port of the far host, and that one's.
    pub fn line(&self, port: u16) -> anyhow::Result<(UdpSocket, UdpSocket)> {
        let bind = |host: &Namespace, address: &str, port: u16| {
            host.enter(|| {
                let socket = UdpSocket::bind((address, port))?;
                socket.set_read_timeout(Some(patient(Duration::from_secs(2))))?;
                Ok(socket)
            })
        };
        let (near, far) = (bind(&self.client, CLIENT, 30_000 + port)?, bind(&self.far, FAR, port)?);
        near.connect((FAR, port))?;
        far.connect((CLIENT, 30_000 + port))?;
        Ok((near, far))
    }

    /// Sends so many datagrams, each of which has to come.
    pub fn send(&self, port: u16, datagrams: usize, bytes: usize) -> anyhow::Result<()> {
        let (near, far) = self.line(port)?;
        for number in 0..datagrams {
            near.send(&vec![0; bytes])?;
            far.recv(&mut [0; 2048]).with_context(|| format!("datagram {number} to port {port}"))?;
        }
        Ok(())
    }

    /// Packets and bytes of the HTB classes of the outside, by minor number.
    pub fn htb(&self) -> anyhow::Result<Vec<(u16, u64, u64)>> {
        let text = self.router.output("tc", &["-s", "class", "show", "dev", "r1"])?;
        let mut classes = Vec::new();
        let mut class = None;
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match (&words[..], class) {
                (["class", "htb", handle, ..], _) => {
                    let (_, minor) = handle.split_once(':').context("a handle")?;
                    class = Some(u16::from_str_radix(minor, 16)?);
                }
                (["Sent", bytes, "bytes", packets, ..], Some(minor)) => {
                    classes.push((minor, packets.parse()?, bytes.parse()?));
                    class = None;
                }
                _ => {}
            }
        }
        Ok(classes)
    }
}
