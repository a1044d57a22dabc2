//! The services that are generated, as `services/*.toml` describe them.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use crate::run::services::Transport;

/// A file of descriptions.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Family {
    service: Vec<Service>,
}

/// A protocol with what speaks it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Service {
    /// Protocol, in nDPI's spelling: the truth of its flows.
    pub(super) label: String,
    /// nDPI's category of it.
    pub(super) category: String,
    /// Standard port.
    pub(super) port: u16,
    /// Over which transports it is served there.
    pub(super) transport: Vec<Transport>,
    /// Further ports, for data or media.
    pub(super) block: Option<Block>,
    /// Servers with clients.
    pub(super) pair: Vec<Pair>,
}

/// Consecutive ports that a server takes besides.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Block {
    /// Their transport.
    pub(super) transport: Transport,
    /// What is on them.
    pub(super) label: String,
    /// nDPI's category of that.
    pub(super) category: String,
    /// Of these ports, every so-manyth: RTP has the even ones.
    #[serde(default = "one")]
    pub(super) step: u16,
}

/// A server and clients of it, other ones than those of `cargo xtask run`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pair {
    /// Name in logs, in the labels and for `--services`.
    pub(super) name: String,
    /// Programs and libraries that speak.
    pub(super) implementations: Vec<String>,
    /// Debian packages of them.
    #[serde(default)]
    pub(super) packages: Vec<String>,
    /// Files in the folder of the pair, written before the servers start.
    #[serde(default)]
    pub(super) files: Vec<File>,
    /// Shell lines that are run on the server before.
    #[serde(default)]
    pub(super) prepare: Vec<String>,
    /// Shell lines of the servers, which stay in the foreground.
    pub(super) server: Vec<String>,
    /// Shell lines of the clients: of these one is drawn again and again.
    pub(super) client: Vec<String>,
    /// Seconds between two of them, the median.
    #[serde(default = "pause")]
    pub(super) pause: f64,
    /// Whether it speaks IPv6.
    #[serde(default = "yes")]
    pub(super) ipv6: bool,
    /// Whether its port can be chosen.
    #[serde(default = "yes")]
    pub(super) movable: bool,
    /// Whether the server listens as the kernel's socket tables tell; otherwise it is given a second.
    #[serde(default = "yes")]
    pub(super) listens: bool,
}

/// A configuration file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// Below the folder of the pair.
    pub(super) path: String,
    /// What is in it, to be filled in.
    pub(super) text: String,
}

fn pause() -> f64 {
    0.7
}

fn one() -> u16 {
    1
}

fn yes() -> bool {
    true
}

/// Reads all descriptions, in the order of the files' names.
pub(super) fn read(folder: &Path) -> Result<Vec<Service>> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .with_context(|| format!("listing {}", folder.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    let mut services = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path)?;
        let family: Family = toml::from_str(&text).with_context(|| path.display().to_string())?;
        services.extend(family.service);
    }
    let mut names = BTreeSet::new();
    for service in &services {
        ensure!(!service.transport.is_empty(), "{} has no transport", service.label);
        for pair in &service.pair {
            ensure!(names.insert(&pair.name), "there are two pairs {}", pair.name);
        }
    }
    Ok(services)
}

/// Keeps the pairs that are named, by their own names or by the labels of their services.
pub(super) fn choose(mut services: Vec<Service>, wanted: &[String]) -> Result<Vec<Service>> {
    if wanted.is_empty() {
        return Ok(services);
    }
    let is = |name: &str| wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(name));
    for name in wanted {
        let known = services.iter().any(|service| {
            service.label.eq_ignore_ascii_case(name)
                || service.pair.iter().any(|pair| pair.name.eq_ignore_ascii_case(name))
        });
        if !known {
            bail!("no service is called {name}; --list shows them");
        }
    }
    for service in &mut services {
        let all = is(&service.label);
        service.pair.retain(|pair| all || is(&pair.name));
    }
    services.retain(|service| !service.pair.is_empty());
    Ok(services)
}

/// Every Debian package of the services, each once.
pub(super) fn packages(services: &[Service]) -> Vec<&str> {
    let pairs = services.iter().flat_map(|service| &service.pair);
    let packages: BTreeSet<_> = pairs.flat_map(|pair| &pair.packages).map(String::as_str).collect();
    packages.into_iter().collect()
}

/// Whether some of them are of `models/traffic/src`, which are built first.
pub(super) fn in_machine_code(services: &[Service]) -> bool {
    let pairs = services.iter().flat_map(|service| &service.pair);
    pairs.flat_map(|pair| pair.server.iter().chain(&pair.client)).any(|line| line.contains("{rust}"))
}
