//! The hosts: who sends, who runs ntc, and the far host, over one kind of line.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::IpAddr,
    process::Stdio,
};

use anyhow::{Context as _, ensure};
use ntc_tests::{
    agent::{Agent, PinDir},
    net::Namespace,
    running::Running,
};
use tempfile::TempDir;

/// A rule gives these the class `voice`, for small packets and for super-packets; no rule knows the others.
pub const VOICE: [u16; 2] = [6001, 6002];
pub const FREE: [u16; 2] = [6004, 6005];

const POLICY: &str =
    "[class.voice]\npriority = \"1:13\"\ndscp = \"EF\"\n[[rule]]\nclass = \"voice\"\nport = \"6001-6002\"\n";
/// Of the line's two ends, by version.
const HERE: [&str; 2] = ["198.51.100.1", "2001:db8:2::1"];
const THERE: [&str; 2] = ["198.51.100.20", "2001:db8:2::20"];

/// What the line to the far host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    Plain,
    Vlan,
    QinQ,
    Pppoe,
}

/// Where ntc runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On a router, which a client sends through.
    Router,
    /// The same, with masquerading on the line.
    RouterNat,
    /// Where the traffic is made.
    Host,
}

/// Hosts, line and all that runs for it.
pub struct Site {
    place: Place,
    // Ends before the namespaces that it is in.
    _line: Vec<Running>,
    client: Option<Namespace>,
    /// Has `r1` under the line, and towards a client `r0`.
    on: Namespace,
    /// Has `f0`.
    pub far: Namespace,
    pub pins: PinDir,
    folder: TempDir,
}

impl Site {
    /// Makes it; otherwise what the machine lacks.
    pub fn build(line: Line, place: Place) -> anyhow::Result<Result<Self, String>> {
        let (on, far) = (host()?, host()?);
        on.veth("r1", &far, "f0")?;
        for (host, device) in [(&on, "r1"), (&far, "f0")] {
            host.ip(&["link", "set", device, "mtu", "1500"])?;
        }
        // Super-packets are cut, and checksums made, behind ntc: as on a card that can do neither.
        on.output("ethtool", &["-K", "r1", "tx", "off", "tso", "off"])?;
        let mut running = Vec::new();
        let [here, there] = match devices(line, &on, &far, &mut running)? {
            Ok(devices) => devices,
            Err(lacks) => return Ok(Err(lacks)),
        };
        for (host, device, own) in [(&on, &here, HERE), (&far, &there, THERE)] {
            if line != Line::Pppoe {
                host.ip(&["address", "add", &format!("{}/24", own[0]), "dev", device])?;
            }
            host.ip(&["address", "add", &format!("{}/64", own[1]), "dev", device, "nodad"])?;
        }
        let mut client = None;
        if place != Place::Host {
            let inside = host()?;
            inside.veth("c0", &on, "r0")?;
            inside.ip(&["address", "add", "192.0.2.20/24", "dev", "c0"])?;
            inside.ip(&["address", "add", "2001:db8:1::20/64", "dev", "c0", "nodad"])?;
            on.ip(&["address", "add", "192.0.2.1/24", "dev", "r0"])?;
            on.ip(&["address", "add", "2001:db8:1::1/64", "dev", "r0", "nodad"])?;
            // What is too large for the line is told, not cut.
            for (host, device) in [(&inside, "c0"), (&on, "r0")] {
                host.ip(&["link", "set", device, "mtu", if line == Line::Pppoe { "1492" } else { "1500" }])?;
            }
            inside.ip(&["route", "add", "default", "via", "192.0.2.1"])?;
            inside.ip(&["-6", "route", "add", "default", "via", "2001:db8:1::1"])?;
            on.enter(|| {
                fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
                Ok(fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1")?)
            })?;
            // PPP has no neighbours: the device is enough.
            far.ip(&["route", "add", "192.0.2.0/24", "via", HERE[0], "dev", &there])?;
            far.ip(&["-6", "route", "add", "2001:db8:1::/64", "via", HERE[1], "dev", &there])?;
            client = Some(inside);
        }
        if place == Place::RouterNat
            && let Err(lacks) = masquerade(&on, &here)?
        {
            return Ok(Err(lacks));
        }
        let pins = PinDir::new(&format!("wire-{line:?}-{place:?}"));
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("policy.toml"), POLICY)?;
        Ok(Ok(Self { place, _line: running, client, on, far, pins, folder }))
    }

    /// An agent on the card, whatever lies on it.
    pub fn agent(&self) -> anyhow::Result<Agent> {
        let policy = self.folder.path().join("policy.toml");
        let policy = policy.to_str().context("a path")?;
        let interfaces: &[&str] = match self.place {
            Place::Host => &["--iface", "r1"],
            Place::Router | Place::RouterNat => &["--capture", "r0", "--enforce", "r0,r1"],
        };
        Agent::start(&self.on, &self.pins.0, &[interfaces, &["--policy", policy]].concat())
    }

    /// Who sends.
    pub fn sender(&self) -> &Namespace {
        self.client.as_ref().unwrap_or(&self.on)
    }

    /// The far host's address.
    pub fn far_end(&self, version: u8) -> IpAddr {
        address(THERE, version)
    }

    /// The address of the line's near end.
    pub fn outside(&self, version: u8) -> IpAddr {
        address(HERE, version)
    }
}

fn address(of: [&str; 2], version: u8) -> IpAddr {
    of[usize::from(version == 6)].parse().unwrap_or_else(|_| unreachable!("a constant"))
}

/// One that speaks IPv6, too.
fn host() -> anyhow::Result<Namespace> {
    let host = Namespace::new()?;
    host.enter(|| {
        for devices in ["all", "default", "lo"] {
            fs::write(format!("/proc/sys/net/ipv6/conf/{devices}/disable_ipv6"), "0")?;
        }
        Ok(())
    })?;
    Ok(host)
}

/// The devices at both ends that have addresses.
fn devices(
    line: Line,
    on: &Namespace,
    far: &Namespace,
    running: &mut Vec<Running>,
) -> anyhow::Result<Result<[String; 2], String>> {
    let tags: &[(&str, &str, &str)] = match line {
        Line::Plain => return Ok(Ok(["r1".into(), "f0".into()])),
        Line::Vlan => &[("v1", "802.1Q", "7")],
        Line::QinQ => &[("o1", "802.1ad", "5"), ("v1", "802.1Q", "7")],
        Line::Pppoe => return pppoe(on, far, running),
    };
    for (host, card) in [(on, "r1"), (far, "f0")] {
        let mut under = card;
        for (name, protocol, id) in tags {
            let device = ["link", under, "name", name, "type", "vlan", "proto", protocol, "id", id];
            if !host.device(&device)? {
                return Ok(Err("this kernel has no VLAN devices".into()));
            }
            host.ip(&["link", "set", name, "up"])?;
            under = name;
        }
    }
    Ok(Ok(["v1".into(), "v1".into()]))
}

fn pppoe(
    on: &Namespace,
    far: &Namespace,
    running: &mut Vec<Running>,
) -> anyhow::Result<Result<[String; 2], String>> {
    if !std::path::Path::new("/dev/ppp").exists() {
        return Ok(Err("no /dev/ppp: this kernel has no PPP, or its module is not loaded".into()));
    }
    let options = tempfile::NamedTempFile::new()?;
    fs::write(options.path(), "noauth\n+ipv6\nnodetach\n")?;
    let mut server = far.prepare("pppoe-server");
    server.args(["-F", "-I", "f0", "-L", THERE[0], "-R", HERE[0], "-N", "1", "-O"]).arg(options.path());
    let Ok(server) = server.stdout(Stdio::null()).spawn() else {
        return Ok(Err("there is no program pppoe-server on this machine".into()));
    };
    running.push(Running(server));
    let mut client = on.prepare("pppd");
    client.args(["plugin", "rp-pppoe.so", "r1", "ifname", "p1", "noauth", "+ipv6", "nodetach"]);
    // Both begin at once: the first offer may go to nobody.
    client.args(["nodefaultroute", "persist", "holdoff", "1", "maxfail", "20", "logfd", "1"]);
    let mut client = Running(client.stdout(Stdio::piped()).spawn()?);
    let mut said = Vec::new();
    let mut up = [false; 2];
    for line in BufReader::new(client.0.stdout.take().context("stdout")?).lines() {
        let line = line?;
        up[0] |= line.contains("remote IP address");
        up[1] |= line.contains("remote LL address");
        said.push(line);
        if up == [true; 2] {
            break;
        }
    }
    ensure!(up == [true; 2], "pppd: {said:#?}");
    running.push(client);
    let there = far.output("ip", &["-o", "link", "show", "type", "ppp"])?;
    let there = there.split(": ").nth(1).context("the far end of PPP")?.to_owned();
    Ok(Ok(["p1".into(), there]))
}

fn masquerade(on: &Namespace, device: &str) -> anyhow::Result<Result<(), String>> {
    let rules = format!(
        "table inet t {{ chain c {{ type nat hook postrouting priority 100; oifname {device} masquerade; }}\n}}\n"
    );
    let Ok(mut child) =
        on.prepare("nft").args(["--file", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()
    else {
        return Ok(Err("there is no program nft on this machine".into()));
    };
    child.stdin.take().context("stdin")?.write_all(rules.as_bytes())?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    Ok(if output.status.success() {
        Ok(())
    } else {
        Err(format!("no NAT by nf_tables: {}", said.lines().next().unwrap_or_default()))
    })
}
