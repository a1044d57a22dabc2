//! The hosts, the link with the tap, and what the interfaces may leave to others.

use std::{
    io::{Read as _, Write as _},
    net::Ipv4Addr,
    os::fd::{AsRawFd as _, FromRawFd as _},
};

use anyhow::{Context as _, ensure};
use ntc_tests::{net::Namespace, tap::Tap};
use tempfile::TempDir;

pub const HOST: &str = "192.0.2.1";
pub const PEER: &str = "192.0.2.2";
pub const HOST6: &str = "2001:db8::1";
pub const PEER6: &str = "2001:db8::2";
/// Behind the router's outside.
pub const SERVER: &str = "198.51.100.2";
const OUTSIDE: &str = "198.51.100.1";
pub const TUNNEL_HOST: &str = "203.0.113.1";
pub const TUNNEL_PEER: &str = "203.0.113.2";
/// Nobody answers there.
const SILENT: &str = "192.0.2.9";

/// Offloads of an interface.
#[derive(Clone, Copy, Debug)]
pub struct Offloads {
    /// It takes super-packets.
    pub tso: bool,
    /// The kernel divides late.
    pub gso: bool,
    /// What comes in is merged.
    pub gro: bool,
}

impl Offloads {
    pub fn set(self, namespace: &Namespace, interface: &str) -> anyhow::Result<()> {
        let word = |on| if on { "on" } else { "off" };
        let (tso, gso, gro) = (word(self.tso), word(self.gso), word(self.gro));
        ethtool(
            namespace,
            interface,
            &["tso", tso, "tx-udp-segmentation", tso, "gso", gso, "gro", gro, "rx-udp-gro-forwarding", gro],
        )
    }
}

/// Switches features of an interface.
fn ethtool(namespace: &Namespace, interface: &str, features: &[&str]) -> anyhow::Result<()> {
    let output = namespace.prepare("ethtool").args(["-K", interface]).args(features).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ethtool -K {interface} {features:?}: {}", said.trim());
    Ok(())
}

/// From `r0` over a bridge with a tap to a peer's `p0`.
pub struct Link {
    bridge: Namespace,
    pub peer: Namespace,
    folder: TempDir,
}

impl Link {
    pub fn new(host: &Namespace) -> anyhow::Result<Self> {
        let (bridge, peer) = (Namespace::new()?, Namespace::new()?);
        host.veth("r0", &bridge, "m0")?;
        bridge.veth("m1", &peer, "p0")?;
        bridge.ip(&["link", "add", "br0", "type", "bridge", "mcast_snooping", "0"])?;
        bridge.ip(&["link", "set", "br0", "up"])?;
        for (namespace, interface) in [(host, "r0"), (&bridge, "m0"), (&bridge, "m1"), (&peer, "p0")] {
            namespace.ip(&["link", "set", interface, "mtu", "1500"])?;
        }
        for port in ["m0", "m1"] {
            bridge.ip(&["link", "set", port, "master", "br0"])?;
        }
        let segments = ["tso", "off", "tx-udp-segmentation", "off", "tx-udp_tnl-segmentation", "off"];
        let segments =
            [&segments[..], &["tx-udp_tnl-csum-segmentation", "off", "gso", "on", "gro", "off"]].concat();
        ethtool(&bridge, "m1", &segments)?;
        ethtool(&peer, "p0", &segments)?;
        host.ip(&["address", "add", &format!("{HOST}/24"), "dev", "r0"])?;
        peer.ip(&["address", "add", &format!("{PEER}/24"), "dev", "p0"])?;
        Ok(Self { bridge, peer, folder: tempfile::tempdir()? })
    }

    /// Addresses of the other version on both ends.
    pub fn ipv6(&self, host: &Namespace) -> anyhow::Result<()> {
        for (namespace, interface, address) in [(host, "r0", HOST6), (&self.peer, "p0", PEER6)] {
            namespace.enter(|| {
                Ok(std::fs::write(format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"), "0")?)
            })?;
            namespace.ip(&["address", "add", &format!("{address}/64"), "dev", interface, "nodad"])?;
        }
        Ok(())
    }

    /// Opens the tap.
    pub fn tap(&self) -> anyhow::Result<Tap> {
        Tap::open(&self.bridge, "m1", self.folder.path().join("tap.pcap"))
    }
}

/// Makes a host a router: a server on its outside, `r1`, and ways there and back.
pub fn server(router: &Namespace, server: &Namespace, peer: &Namespace) -> anyhow::Result<()> {
    router.veth("r1", server, "s0")?;
    for (namespace, interface, address) in [(router, "r1", OUTSIDE), (server, "s0", SERVER)] {
        namespace.ip(&["link", "set", interface, "mtu", "1500"])?;
        namespace.ip(&["address", "add", &format!("{address}/24"), "dev", interface])?;
    }
    server.ip(&["route", "add", "default", "via", OUTSIDE])?;
    peer.ip(&["route", "add", "default", "via", HOST])?;
    forward(router)
}

fn forward(router: &Namespace) -> anyhow::Result<()> {
    router.enter(|| Ok(std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")?))
}

/// A VXLAN between host and peer.
pub fn tunnel(host: &Namespace, peer: &Namespace) -> anyhow::Result<()> {
    for (namespace, interface, [local, remote, inner]) in
        [(host, "r0", [HOST, PEER, TUNNEL_HOST]), (peer, "p0", [PEER, HOST, TUNNEL_PEER])]
    {
        let ends = ["local", local, "remote", remote, "dev", interface];
        let add = ["link", "add", "vx0", "type", "vxlan", "id", "7", "dstport", "4789"];
        namespace.ip(&[&add[..], &ends].concat())?;
        namespace.ip(&["link", "set", "vx0", "up"])?;
        namespace.ip(&["address", "add", &format!("{inner}/24"), "dev", "vx0"])?;
    }
    Ok(())
}

/// Lets an interface take packets of so many bytes (BIG TCP). By netlink: Debian's `ip` knows the setting for IPv6 only.
pub fn big(namespace: &Namespace, interface: &str, bytes: u32) -> anyhow::Result<()> {
    const IFLA_GSO_MAX_SIZE: u16 = 41;
    const IFLA_GSO_IPV4_MAX_SIZE: u16 = 63;
    let index = namespace.index(interface)?;
    // struct nlmsghdr, struct ifinfomsg, two attributes.
    let mut request = Vec::new();
    for word in [0, u32::from(libc::RTM_SETLINK) | 5 << 16, 1, 0, 0, index, 0, 0] {
        request.extend_from_slice(&u32::to_ne_bytes(word));
    }
    for attribute in [IFLA_GSO_MAX_SIZE, IFLA_GSO_IPV4_MAX_SIZE] {
        request.extend_from_slice(&8u16.to_ne_bytes());
        request.extend_from_slice(&attribute.to_ne_bytes());
        request.extend_from_slice(&bytes.to_ne_bytes());
    }
    let len = request.len() as u32;
    request[..4].copy_from_slice(&len.to_ne_bytes());
    let answer = namespace.enter(move || {
        // SAFETY: no pointer is passed.
        let socket = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE) };
        ensure!(socket >= 0, "{}", std::io::Error::last_os_error());
        // SAFETY: a new descriptor that nobody else owns.
        let mut socket = unsafe { std::fs::File::from_raw_fd(socket) };
        socket.write_all(&request)?;
        let mut answer = [0; 256];
        let len = socket.read(&mut answer)?;
        ensure!(len >= 20, "{len} bytes of an answer");
        Ok(i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]))
    })?;
    ensure!(answer == 0, "gso_max_size: {}", std::io::Error::from_raw_os_error(-answer));
    Ok(())
}

/// What a virtual machine sends: packets with a virtio header, on a tun device.
pub struct Guest {
    tun: std::fs::File,
    sequence: u32,
}

const VIRTIO_HEADER: usize = 10;

impl Guest {
    pub fn new(router: &Namespace) -> anyhow::Result<Self> {
        forward(router)?;
        let tun = router.enter(|| {
            let tun = std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
            // SAFETY: all zero is an ifreq.
            let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
            for (to, from) in request.ifr_name.iter_mut().zip(b"tun0") {
                *to = *from as libc::c_char;
            }
            request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as i16;
            // SAFETY: the request is an ifreq with a terminated name, and lives for the call.
            let made = unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF, &raw const request) };
            ensure!(made == 0, "tun: {}", std::io::Error::last_os_error());
            Ok(tun)
        })?;
        router.ip(&["link", "set", "tun0", "up"])?;
        router.ip(&["route", "add", "203.0.113.0/24", "dev", "tun0"])?;
        let neighbour = ["neighbour", "add", SILENT, "lladdr", "02:00:00:00:00:09", "dev", "r0"];
        router.ip(&neighbour)?;
        Ok(Self { tun, sequence: 1 })
    }

    /// Sends a TCP packet, to be divided every `segment_len` bytes; 0: not at all.
    pub fn send(&mut self, payload_len: usize, segment_len: u16, flags: u8) -> anyhow::Result<()> {
        const IP: usize = 20;
        const TCP: usize = 20;
        let (from, to): (Ipv4Addr, Ipv4Addr) = ("203.0.113.5".parse()?, SILENT.parse()?);
        let mut packet = vec![0; VIRTIO_HEADER + IP + TCP + payload_len];
        let (virtio, rest) = packet.split_at_mut(VIRTIO_HEADER);
        // struct virtio_net_hdr: checksum wanted, TCP over IPv4, where headers end, segment, checksum from and at.
        virtio[0] = 1;
        virtio[1] = u8::from(segment_len > 0);
        virtio[2..4].copy_from_slice(&((IP + TCP) as u16).to_ne_bytes());
        virtio[4..6].copy_from_slice(&segment_len.to_ne_bytes());
        virtio[6..8].copy_from_slice(&(IP as u16).to_ne_bytes());
        virtio[8..10].copy_from_slice(&16u16.to_ne_bytes());
        let (ip, tcp) = rest.split_at_mut(IP);
        ip[..4].copy_from_slice(&[0x45, 0, 0, 0]);
        ip[2..4].copy_from_slice(&((IP + TCP + payload_len) as u16).to_be_bytes());
        ip[8..10].copy_from_slice(&[64, 6]);
        ip[12..16].copy_from_slice(&from.octets());
        ip[16..20].copy_from_slice(&to.octets());
        let sum = ntc_tests::frames::checksum(ip);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        tcp[..4].copy_from_slice(&[0x9c, 0x40, 0x01, 0xbb]);
        tcp[4..8].copy_from_slice(&self.sequence.to_be_bytes());
        tcp[12..16].copy_from_slice(&[5 << 4, flags, 0x02, 0x00]);
        self.sequence += payload_len as u32;
        self.tun.write_all(&packet).context("the tun device")
    }
}
