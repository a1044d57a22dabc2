//! The services of the test network: real servers, real clients, and the truth about their flows.

mod directory;
mod files;
mod mail;
mod management;
mod messaging;
mod names;
mod storage;
mod voice;
mod web;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{
    host::{Host, Program},
    net::{CLIENT_V4, CLIENT_V6, SERVER_V4, SERVER_V6},
    process::{Group, Interrupt},
    traffic::{self, Workload},
};

/// All services, in the order of the summary.
pub(crate) const ALL: [&Service; 17] = [
    &web::HTTP,
    &web::HTTPS,
    &names::DNS,
    &management::NTP,
    &management::SSH,
    &management::SNMP,
    &messaging::MQTT,
    &messaging::COAP,
    &voice::SIP,
    &voice::STUN,
    &mail::SMTP,
    &mail::POP3,
    &files::FTP,
    &files::TFTP,
    &files::RSYNC,
    &storage::POSTGRESQL,
    &directory::LDAP,
];

/// A server with its clients.
pub(crate) struct Service {
    /// Name in logs and messages.
    pub(crate) name: &'static str,
    /// Programs and libraries that speak: `cargo xtask generate` uses none of them.
    #[cfg_attr(not(test), expect(dead_code, reason = "a test compares the two"))]
    pub(crate) implementations: &'static [&'static str],
    /// Debian packages of server and client.
    pub(crate) packages: &'static [&'static str],
    /// Whose flows are whose.
    pub(crate) endpoints: &'static [Endpoint],
    /// Writes the configuration and says which servers to start.
    pub(crate) servers: fn(&Site) -> Result<Vec<Program>>,
    /// What the client does in one round, one program after another.
    pub(crate) exchange: fn(&Site, &Peer, usize) -> Vec<Program>,
    /// Seconds from the start of one round to the start of the next.
    pub(crate) interval: f64,
}

impl Workload for Service {
    fn name(&self) -> &str {
        self.name
    }

    fn listeners(&self) -> Vec<(Transport, u16)> {
        self.endpoints
            .iter()
            .filter(|endpoint| endpoint.listens())
            .map(|endpoint| (endpoint.transport, endpoint.port))
            .collect()
    }

    fn servers(&self, site: &Site) -> Result<Vec<Program>> {
        (self.servers)(site)
    }

    fn offset(&self, round: usize) -> Duration {
        Duration::from_secs_f64(self.interval * round as f64)
    }

    /// Both address families in turns.
    fn exchange(&self, site: &Site, round: usize) -> Vec<Program> {
        (self.exchange)(site, &PEERS[round % PEERS.len()], round / PEERS.len())
    }
}

/// Transport protocol of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    /// Name in the agent's events.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    /// IP protocol number.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

/// Server ports whose flows are of one protocol. The truth: no packet is looked at.
pub(crate) struct Endpoint {
    /// Transport protocol.
    pub(crate) transport: Transport,
    /// First port.
    pub(crate) port: u16,
    /// Significant bits of the port: a range is `port & mask`, as the traffic counters can match it.
    pub(crate) mask: u16,
    /// Protocol, in nDPI's spelling.
    pub(crate) protocol: &'static str,
}

impl Endpoint {
    const fn tcp(port: u16, protocol: &'static str) -> Self {
        Self { transport: Transport::Tcp, port, mask: 0xffff, protocol }
    }

    const fn udp(port: u16, protocol: &'static str) -> Self {
        Self { transport: Transport::Udp, port, mask: 0xffff, protocol }
    }

    /// Whether a server listens there all the time: ports of data connections come and go, and port 20 only calls out.
    pub(crate) const fn listens(&self) -> bool {
        self.mask == 0xffff && self.port != 20
    }

    /// The 256 ports from `port` on.
    const fn range(transport: Transport, port: u16, protocol: &'static str) -> Self {
        Self { transport, port, mask: 0xff00, protocol }
    }
}

/// Where the services run.
pub(crate) struct Site {
    /// The serving host.
    pub(crate) server: Host,
    /// The using host.
    pub(crate) client: Host,
    /// Temporary folder of the run.
    pub(crate) dir: PathBuf,
    /// Ends the waits.
    pub(crate) interrupt: Interrupt,
}

impl Site {
    /// Folder of a service, made on first use.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.dir.join(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// Path in the folder of a service, for a command line.
    pub(crate) fn path(&self, service: &str, file: &str) -> String {
        self.dir.join(service).join(file).display().to_string()
    }

    /// Writes a file into the folder of a service; its path.
    pub(crate) fn write(&self, service: &str, file: &str, content: impl AsRef<[u8]>) -> Result<String> {
        let path = self.folder(service)?.join(file);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, content)?;
        Ok(path.display().to_string())
    }

    /// Runs a step of the preparation on the server.
    pub(crate) fn prepare(&self, service: &str, program: &Program) -> Result<()> {
        self.server.run(program, &self.log(service, "prepare"), &self.interrupt)
    }

    /// Log file of one side of a service.
    pub(crate) fn log(&self, service: &str, side: &str) -> PathBuf {
        self.dir.join("log").join(format!("{service}.{side}.log"))
    }
}

/// The server as the client names it in this round.
pub(crate) struct Peer {
    /// 4 or 6.
    pub(crate) version: u8,
    /// Server address.
    pub(crate) address: &'static str,
    /// Server address as in a URL.
    pub(crate) host: &'static str,
    /// The client's own address.
    pub(crate) own: &'static str,
}

/// IPv4 and IPv6, taken in turns.
pub(crate) const PEERS: [Peer; 2] = [
    Peer { version: 4, address: SERVER_V4, host: SERVER_V4, own: CLIENT_V4 },
    Peer { version: 6, address: SERVER_V6, host: "[2001:db8:2::2]", own: CLIENT_V6 },
];

/// Every package of every service.
pub(crate) fn packages() -> Vec<&'static str> {
    let mut packages: Vec<_> = ALL.iter().flat_map(|service| service.packages).copied().collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// Every endpoint of every service.
pub(crate) fn endpoints() -> impl Iterator<Item = &'static Endpoint> {
    ALL.iter().flat_map(|service: &&'static Service| service.endpoints)
}

/// Bytes that compress badly and are the same in every run.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        })
        .collect()
}

/// Starts all servers; an error if one does not serve.
pub(crate) fn start(site: &Site) -> Result<Vec<Group>> {
    let servers: Result<Vec<_>> =
        traffic::start_servers(site, &ALL).into_iter().map(|(_, servers)| servers).collect();
    Ok(servers?.into_iter().flatten().collect())
}

/// A folder of files of these sizes in bytes, named `1`, `2` ...
fn sized_files(folder: &Path, sizes: &[usize]) -> Result<()> {
    fs::create_dir_all(folder)?;
    for (number, &size) in sizes.iter().enumerate() {
        fs::write(folder.join((number + 1).to_string()), noise(size))?;
    }
    Ok(())
}
