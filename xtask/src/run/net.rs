//! The test network: client -- router -- server, three network namespaces joined by veth pairs, IPv4 and IPv6.

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::{fd::AsFd, unix::fs::PermissionsExt},
    path::Path,
    process::Command,
    thread,
};

use anyhow::{Context, Result, anyhow};
use rustix::{
    io::Errno,
    ioctl::{Opcode, Setter, ioctl, opcode},
    process::{Pid, test_kill_process},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use tempfile::TempDir;

use super::process::output;

/// Router interface towards the client.
pub(crate) const TO_CLIENT: &str = "to-client";
/// Router interface towards the server.
pub(crate) const TO_SERVER: &str = "to-server";
/// Server address; the networks are those kept for documentation (RFC 5737, RFC 3849).
pub(crate) const SERVER_V4: &str = "198.51.100.2";
/// Server address.
pub(crate) const SERVER_V6: &str = "2001:db8:2::2";
/// Client address.
pub(crate) const CLIENT_V4: &str = "192.0.2.2";
/// Client address.
pub(crate) const CLIENT_V6: &str = "2001:db8:1::2";

/// Router interface towards the host that floods, where there is one.
pub(crate) const TO_ATTACKER: &str = "to-attacker";

/// One cable: the host at its end, the router's interface, both ends' addresses.
const LINKS: [(&str, &str, [&str; 2], [&str; 2]); 3] = [
    ("client", TO_CLIENT, ["192.0.2.2/24", "2001:db8:1::2/64"], ["192.0.2.1/24", "2001:db8:1::1/64"]),
    ("server", TO_SERVER, ["198.51.100.2/24", "2001:db8:2::2/64"], ["198.51.100.1/24", "2001:db8:2::1/64"]),
    ("attacker", TO_ATTACKER, ["203.0.113.2/24", "2001:db8:3::2/64"], ["203.0.113.1/24", "2001:db8:3::1/64"]),
];

/// Names of the hosts, in the order in which they are made.
const ROLES: [&str; 4] = ["client", "router", "server", "attacker"];

/// The namespaces; dropping them removes them, and the links go with them.
pub(crate) struct Network {
    run: u32,
}

impl Network {
    /// Makes client, router and server. The number of this process is in each name: two runs do not meet.
    pub(crate) fn create() -> Result<Self> {
        Self::of(&ROLES[..3], Self::veth)
    }

    /// The same with a fourth host, which has a cable of its own to the router.
    pub(crate) fn with_attacker() -> Result<Self> {
        Self::of(&ROLES, Self::veth)
    }

    /// Client, router and server, where the cable of one host is not joined: its ends, the host's and the router's, are
    /// TAP devices for the caller to carry frames between.
    pub(crate) fn with_long_cable(of: &str) -> Result<(Self, [File; 2])> {
        let mut ends = None;
        let network = Self::of(&ROLES[..3], |network, host, port| {
            if host == of {
                ends = Some([network.tap(host, "eth0")?, network.tap("router", port)?]);
                return Ok(());
            }
            network.veth(host, port)
        })?;
        Ok((network, ends.context("no such host")?))
    }

    fn of(roles: &[&str], mut cable: impl FnMut(&Self, &str, &str) -> Result<()>) -> Result<Self> {
        remove_stale();
        let network = Self { run: std::process::id() };
        for role in roles {
            output(Command::new("ip").args(["netns", "add", &network.namespace(role)]))?;
            network.ip(role, "link set lo up")?;
        }
        network.sysctl("router", &["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"], "1")?;
        for (host, port, near, far) in LINKS.into_iter().filter(|link| roles.contains(&link.0)) {
            let (host_ns, router_ns) = (network.namespace(host), network.namespace("router"));
            cable(&network, host, port)?;
            network.connect(&host_ns, "eth0", near)?;
            network.connect(&router_ns, port, far)?;
            let gateways = far.map(|cidr| cidr.split('/').next().unwrap_or_default());
            network.ip(host, &format!("-4 route add default via {}", gateways[0]))?;
            network.ip(host, &format!("-6 route add default via {}", gateways[1]))?;
        }
        Ok(network)
    }

    /// Made by a process inside, so that no name appears on the machine itself, not even for a moment.
    fn veth(&self, host: &str, port: &str) -> Result<()> {
        let router = self.namespace("router");
        self.ip(host, &format!("link add eth0 type veth peer name {port} netns {router}"))
    }

    /// A device whose frames are read from a file and written to it; gone with the file.
    fn tap(&self, role: &str, name: &str) -> Result<File> {
        self.enter(role, || {
            let file = File::options()
                .read(true)
                .write(true)
                .open("/dev/net/tun")
                .context("opening /dev/net/tun")?;
            let mut request =
                TapRequest { name: [0; 16], flags: TapRequest::TAP | TapRequest::NO_HEADER, rest: [0; 22] };
            request.name[..name.len()].copy_from_slice(name.as_bytes());
            // SAFETY: TUNSETIFF reads a `struct ifreq`, which is as long as the request and begins as it does.
            unsafe { ioctl(&file, Setter::<{ TapRequest::SET }, _>::new(request)) }
                .context("making a TAP device")?;
            Ok(file)
        })
    }

    /// Name of the namespace of a host.
    pub(crate) fn namespace(&self, role: &str) -> String {
        format!("ntc-{role}-{}", self.run)
    }

    /// Folder of the BPF file system for the agent's maps; the agent removes it.
    pub(crate) fn pin_directory(&self) -> String {
        format!("{}/ntc-run-{}", BpfMount::POINT, self.run)
    }

    /// A command of the machine's own, run in the network namespace of a host. `/sys/fs/bpf` stays what it is, which
    /// `ip netns exec` would hide. Ends with this process, should that die unasked.
    pub(crate) fn command(&self, role: &str, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "TERM", "nsenter"])
            .arg(format!("--net=/run/netns/{}", self.namespace(role)))
            .arg("--")
            .arg(program);
        command
    }

    /// Runs a closure in the network namespace of a host, on a thread of its own: sockets that it opens stay there.
    pub(crate) fn enter<T: Send>(&self, role: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let namespace = self.namespace(role);
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                enter(&namespace)?;
                work()
            });
            inside.join().map_err(|_| anyhow!("a thread in {namespace} died"))?
        })
    }

    /// Runs `ip` in the network namespace of a host.
    pub(crate) fn ip(&self, role: &str, arguments: &str) -> Result<()> {
        output(Command::new("ip").args(["-n", &self.namespace(role)]).args(arguments.split_whitespace()))?;
        Ok(())
    }

    fn connect(&self, namespace: &str, port: &str, addresses: [&str; 2]) -> Result<()> {
        for address in addresses {
            // No duplicate address detection: the addresses are ours, and tests need not wait for it.
            let flag: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
            output(
                Command::new("ip").args(["-n", namespace, "addr", "add", address, "dev", port]).args(flag),
            )?;
        }
        output(Command::new("ip").args(["-n", namespace, "link", "set", port, "up"]))?;
        // Wire packets at every hook and in every capture: no host here merges or defers segmentation.
        output(
            Command::new("nsenter")
                .arg(format!("--net=/run/netns/{namespace}"))
                .args(["ethtool", "-K", port, "tso", "off", "gso", "off", "gro", "off"]),
        )?;
        Ok(())
    }

    fn sysctl(&self, role: &str, names: &[&str], value: &str) -> Result<()> {
        for name in names {
            // /proc/sys/net shows the namespace of whoever opens it.
            output(
                Command::new("nsenter").arg(format!("--net=/run/netns/{}", self.namespace(role))).args([
                    "sh",
                    "-c",
                    &format!("echo {value} > /proc/sys/{name}"),
                ]),
            )?;
        }
        Ok(())
    }
}

/// `struct ifreq`, as TUNSETIFF reads it (linux/if.h, linux/if_tun.h).
#[repr(C)]
struct TapRequest {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

impl TapRequest {
    /// TUNSETIFF.
    const SET: Opcode = opcode::write::<std::ffi::c_int>(b'T', 202);
    /// IFF_TAP.
    const TAP: u16 = 0x0002;
    /// IFF_NO_PI.
    const NO_HEADER: u16 = 0x1000;
}

/// Moves the calling thread into a network namespace.
pub(crate) fn enter(namespace: &str) -> Result<()> {
    let file = File::open(format!("/run/netns/{namespace}")).with_context(|| namespace.to_owned())?;
    Ok(move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?)
}

impl Drop for Network {
    fn drop(&mut self) {
        // The agent takes its maps away itself, unless it died.
        let _ = fs::remove_dir_all(self.pin_directory());
        for role in ROLES {
            // Not all of them exist if making them failed half-way.
            let _ = output(Command::new("ip").args(["netns", "del", &self.namespace(role)]));
        }
    }
}

/// Folder of the runs' temporary folders. Not $TMPDIR: the hosts' own /run and /var would hide what lies there.
const TEMPORARY: &str = "/tmp";

/// Makes the temporary folder of this run; the number of this process is in its name too.
pub(crate) fn temporary_folder() -> Result<TempDir> {
    let folder = tempfile::Builder::new()
        .prefix(&format!("ntc-run-{}-", std::process::id()))
        // The servers' own users must get through to their folders.
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir_in(TEMPORARY)?;
    Ok(folder)
}

/// Removes what runs left that were killed before they could: the number in the name is no live process.
fn remove_stale() {
    for name in names("/run/netns") {
        let of_run = ROLES.iter().find_map(|role| name.strip_prefix(&format!("ntc-{role}-")));
        if of_run.is_some_and(is_dead) {
            let _ = output(Command::new("ip").args(["netns", "del", &name]));
        }
    }
    for folder in [TEMPORARY, BpfMount::POINT] {
        for name in names(folder) {
            let of_run = name.strip_prefix("ntc-run-").and_then(|rest| rest.split('-').next());
            if of_run.is_some_and(is_dead) {
                let _ = fs::remove_dir_all(Path::new(folder).join(name));
            }
        }
    }
}

fn names(folder: &str) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
}

fn is_dead(run: &str) -> bool {
    run.parse().ok().and_then(Pid::from_raw).is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH))
}

/// The BPF file system, mounted for the time of the run where the machine has none mounted.
pub(crate) struct BpfMount {
    mounted: bool,
}

impl BpfMount {
    const POINT: &str = "/sys/fs/bpf";

    /// Mounts it if need be.
    pub(crate) fn ensure() -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").context("reading the mount table")?;
        let there = mounts.lines().any(|line| {
            let mut fields = line.split(' ').skip(1);
            fields.next() == Some(Self::POINT) && fields.next() == Some("bpf")
        });
        if !there {
            output(Command::new("mount").args(["-t", "bpf", "bpf", Self::POINT]))
                .with_context(|| format!("mounting a BPF file system on {}", Self::POINT))?;
        }
        Ok(Self { mounted: !there })
    }
}

impl Drop for BpfMount {
    fn drop(&mut self) {
        if self.mounted {
            // Another run may have begun to use it: then it is busy and stays.
            let _ = output(Command::new("umount").arg(Self::POINT));
        }
    }
}
