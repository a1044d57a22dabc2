//! Traffic that leaves as small packets, and such that the kernel gets super-packets to cut.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsRawFd as _,
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use ntc_tests::patience::patient;

use crate::site::Site;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Tcp,
    Udp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    Small,
    Super,
}

/// Small: so many of so many bytes. Super: so much at once, and the segments of UDP.
const SMALL: (usize, usize) = (5, 100);
const SUPER: usize = 19_200;
const SEGMENT: libc::c_int = 1200;

/// Bytes that have to come.
pub fn payload(size: Size) -> usize {
    match size {
        Size::Small => SMALL.0 * SMALL.1,
        Size::Super => SUPER,
    }
}

/// Sends it and waits until all has come.
pub fn send(site: &Site, version: u8, protocol: Protocol, size: Size, to: u16) -> anyhow::Result<()> {
    let far = SocketAddr::new(site.far_end(version), to);
    match protocol {
        Protocol::Tcp => tcp(site, far, size),
        Protocol::Udp => udp(site, far, size),
    }
}

const PATIENCE: Duration = Duration::from_secs(10);

fn udp(site: &Site, far: SocketAddr, size: Size) -> anyhow::Result<()> {
    let server = site.far.enter(|| Ok(UdpSocket::bind(far)?))?;
    server.set_read_timeout(Some(patient(PATIENCE)))?;
    let any: IpAddr = if far.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let client = site.sender().enter(|| Ok(UdpSocket::bind((any, 0))?))?;
    client.connect(far)?;
    if size == Size::Super {
        const UDP_SEGMENT: libc::c_int = 103;
        let segment = SEGMENT;
        // SAFETY: the value outlives the call, and its length is given.
        let set = unsafe {
            libc::setsockopt(
                client.as_raw_fd(),
                libc::SOL_UDP,
                UDP_SEGMENT,
                (&raw const segment).cast(),
                size_of::<libc::c_int>() as u32,
            )
        };
        ensure!(set == 0, "UDP_SEGMENT: {}", io::Error::last_os_error());
    }
    match size {
        Size::Small => (0..SMALL.0).try_for_each(|_| client.send(&[1; SMALL.1]).map(drop))?,
        Size::Super => drop(client.send(&[1; SUPER]).context("a super-packet")?),
    }
    let (mut came, mut buffer) = (0, vec![0; 1 << 16]);
    while came < payload(size) {
        came += server.recv(&mut buffer).with_context(|| format!("{came} bytes came"))?;
    }
    Ok(())
}

fn tcp(site: &Site, far: SocketAddr, size: Size) -> anyhow::Result<()> {
    let server = site.far.enter(|| Ok(TcpListener::bind(far)?))?;
    thread::scope(|scope| {
        let reading = scope.spawn(move || -> anyhow::Result<()> {
            let (mut stream, _) = server.accept()?;
            stream.set_read_timeout(Some(patient(PATIENCE)))?;
            stream.read_exact(&mut vec![0; payload(size)])?;
            Ok(())
        });
        let mut stream = site.sender().enter(|| Ok(TcpStream::connect(far)?))?;
        stream.set_nodelay(true)?;
        match size {
            Size::Small => (0..SMALL.0).try_for_each(|_| stream.write_all(&[1; SMALL.1]))?,
            Size::Super => stream.write_all(&[1; SUPER])?,
        }
        reading.join().map_err(|_| anyhow::anyhow!("the server died"))??;
        Ok(())
    })
}
