//! Interfaces, and news of them.

use std::{
    io,
    time::{Duration, Instant},
};

use netlink_sys::Socket;
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::watch,
    time::MissedTickBehavior,
};

use super::{attribute, attributes, dump, text, word};

/// Length of `struct ifinfomsg`.
const HEADER: usize = 16;
/// `IFLA_LINK_NETNSID` (include/uapi/linux/if_link.h).
const IFLA_LINK_NETNSID: u16 = 37;
/// `IFLA_XDP_PROG_ID`: of the one program, `IFLA_XDP_DRV_PROG_ID` where there is more than one.
const IFLA_XDP_PROG_ID: u16 = 4;
/// Counters are read so often.
pub const PERIOD: Duration = Duration::from_secs(2);

/// An interface as the kernel tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its index: the same for as long as it lives, whatever its name.
    pub index: u32,
    /// Its name now.
    pub name: String,
    /// `ARPHRD_` number (include/uapi/linux/if_arp.h).
    pub hardware: u16,
    /// The kind of a software device (`bridge`, `vlan`, `tun`); empty for a network card.
    pub kind: String,
    /// The bridge, bond or VRF that it is a port of.
    pub master: Option<u32>,
    /// The device below it, in the same network namespace; of a veth its peer.
    pub below: Option<u32>,
    /// Packets received since it was made.
    pub rx_packets: u64,
    /// Packets sent since it was made.
    pub tx_packets: u64,
    /// Id of the XDP program on it.
    pub xdp: Option<u32>,
}

impl Link {
    /// Its packets begin with an Ethernet header; else with the IP header.
    pub const fn is_ethernet(&self) -> bool {
        matches!(self.hardware, libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK)
    }

    /// Each packet goes out and comes in again.
    pub const fn is_loopback(&self) -> bool {
        self.hardware == libc::ARPHRD_LOOPBACK
    }

    fn parse(message: &[u8]) -> Option<Self> {
        let (header, rest) = message.split_at_checked(HEADER)?;
        let mut link = Self {
            hardware: u16::from_ne_bytes(*header[2..].first_chunk()?),
            index: word(&header[4..])?,
            ..Self::default()
        };
        let mut elsewhere = false;
        for (kind, value) in attributes(rest) {
            match kind {
                libc::IFLA_IFNAME => link.name = text(value),
                libc::IFLA_LINK => link.below = word(value).filter(|index| *index != 0),
                IFLA_LINK_NETNSID => elsewhere = true,
                libc::IFLA_MASTER => link.master = word(value),
                libc::IFLA_LINKINFO => {
                    link.kind = attribute(value, libc::IFLA_INFO_KIND).map(text).unwrap_or_default();
                }
                libc::IFLA_STATS64 => {
                    let count = |at: usize| value.get(at..)?.first_chunk().map(|n| u64::from_ne_bytes(*n));
                    (link.rx_packets, link.tx_packets) =
                        (count(0).unwrap_or_default(), count(8).unwrap_or_default());
                }
                libc::IFLA_XDP => link.xdp = attribute(value, IFLA_XDP_PROG_ID).and_then(word),
                _ => {}
            }
        }
        // An index of another network namespace says nothing here.
        link.below = link.below.filter(|_| !elsewhere);
        Some(link)
    }
}

/// All interfaces of this network namespace.
///
/// # Errors
/// What the kernel said.
pub fn links() -> io::Result<Vec<Link>> {
    let answers = dump(libc::RTM_GETLINK, &[0; HEADER])?;
    Ok(answers.iter().filter_map(|answer| Link::parse(answer)).collect())
}

/// All interfaces at one time.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// In the kernel's order.
    pub links: Vec<Link>,
    /// So many [`PERIOD`]s had passed since the watch began.
    pub periods: u64,
}

/// Takes a snapshot whenever interfaces change, and one each [`PERIOD`].
#[derive(Debug)]
pub struct Watch {
    news: AsyncFd<Socket>,
}

impl Watch {
    /// Listens from now on.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(netlink_sys::protocols::NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.add_membership(libc::RTNLGRP_LINK)?;
        socket.set_non_blocking(true)?;
        // SAFETY: the socket owns its descriptor, closes it only when dropped, and is dropped with the AsyncFd.
        let news = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
        Ok(Self { news: news? })
    }

    /// Goes on until nobody takes snapshots any more. Reading waits for the kernel's lock over all interfaces, which a
    /// driver may hold for long: it is done beside the runtime.
    ///
    /// # Errors
    /// The kernel answers no longer.
    pub async fn run(self, to: watch::Sender<Snapshot>) -> io::Result<()> {
        let mut tick = tokio::time::interval_at((Instant::now() + PERIOD).into(), PERIOD);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut periods = 0;
        loop {
            tokio::select! {
                ready = self.news.readable() => {
                    let mut ready = ready?;
                    drain(ready.get_inner());
                    ready.clear_ready();
                }
                _ = tick.tick() => periods += 1,
                () = to.closed() => return Ok(()),
            }
            let links = tokio::task::spawn_blocking(links).await.map_err(io::Error::other)??;
            to.send_replace(Snapshot { links, periods });
        }
    }
}

/// The list is read anew, so what the news say does not matter; nor that some did not fit (`ENOBUFS`).
fn drain(socket: &Socket) {
    let mut some = Vec::with_capacity(64 * 1024);
    loop {
        some.clear();
        match socket.recv(&mut some, 0) {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
            Err(_) => return,
        }
    }
}
